/* lrn: y = x / (bias + alpha / size * sum of x^2 over `size` channels around)^beta. */
#include <math.h>

#include "ops/elementwise.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

enum { MAX_SIZE = 65535 };
enum { CELL_GRAIN = 512 }; /* floats an item handles at least */

static clq_status lrn_infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_lrn_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    /* Written so that NaN fails them; powers are then of normal positive numbers. */
    if (attrs->size < 1 || attrs->size > MAX_SIZE ||
        !(attrs->alpha >= 0 && isfinite(attrs->alpha)) ||
        !(attrs->bias > 0 && isnormal(attrs->bias)) || !isfinite(attrs->beta)) {
        return clq_op_broken(node,
                             "size %d must be 1 to 65535, bias %g positive, alpha %g 0 or "
                             "more, beta %g finite",
                             attrs->size, (double)attrs->bias, (double)attrs->alpha,
                             (double)attrs->beta);
    }
    *output = graph->values[node->inputs[0]].shape;
    return CLQ_OK;
}

static int64_t count_of(const clq_op_run *run) {
    return clq_shape_count(&run->in[0].shape);
}

static int channels_of(const clq_op_run *run) {
    return (int)run->in[0].shape.dim[run->in[0].shape.rank - 1];
}

#define LRN_ARGUMENTS(run, attrs)                                                                  \
    CLQ_I32(count_of(run) / channels_of(run)), CLQ_I32(channels_of(run)), CLQ_I32((attrs)->size),  \
        CLQ_F32((attrs)->alpha), CLQ_F32((attrs)->beta), CLQ_F32((attrs)->bias)

static clq_status lrn_forward(clq_op_run *run) {
    const clq_lrn_attrs *attrs = run->node->attrs;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "lrn_f32", NULL, &kernel));
    return CLQ_LAUNCH(
        run->device, kernel, CLQ_RANGE1(clq_work_items(run->device, count_of(run), CELL_GRAIN)),
        CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), LRN_ARGUMENTS(run, attrs));
}

static clq_status lrn_backward(clq_op_run *run) {
    const clq_lrn_attrs *attrs = run->node->attrs;
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "lrn_grad_f32", NULL, &kernel));
    return CLQ_LAUNCH(
        run->device, kernel, CLQ_RANGE1(clq_work_items(run->device, count_of(run), CELL_GRAIN)),
        CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->grad_out.buffer), CLQ_BUF(run->grad_in[0].buffer),
        CLQ_I32(run->accumulate[0]), LRN_ARGUMENTS(run, attrs));
}

const clq_op clq_op_lrn = {
    .name = "lrn",
    .attrs_size = sizeof(clq_lrn_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = lrn_infer,
    .forward = lrn_forward,
    .backward = lrn_backward,
    .backward_reads = CLQ_READS_INPUT,
};

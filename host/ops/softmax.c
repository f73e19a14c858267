/* softmax, log_softmax: along one stored axis. lp_normalization: x by the length of its rows along
 * one, by the sum of magnitudes or of squares. */
#include "base/arguments.h"
#include "ops/reduction.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status infer_axis(const clq_graph *graph, const clq_node *node, int axis,
                             clq_shape *output) {
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    if (axis < 0 || axis >= x->rank) {
        return clq_op_broken(node, "axis %d must be one of the input's %d", axis, x->rank);
    }
    *output = *x;
    return CLQ_OK;
}

/* Two tables of a number a row, between a few launches. */
typedef struct tables {
    clq_buffer *first, *second;
} tables;

static clq_status reserve_tables(const clq_op_run *run, const clq_reduction *rows) {
    return clq_scratch_reserve(run->device, 2 * (size_t)rows->rows * sizeof(float));
}

static clq_status take_tables(const clq_op_run *run, const clq_reduction *rows, tables *t) {
    const size_t bytes = (size_t)rows->rows * sizeof(float);
    CLQ_TRY(clq_scratch_take(run->device, bytes, &t->first));
    return clq_scratch_take(run->device, bytes, &t->second);
}

static void free_tables(tables *t) {
    clq_buffer_release(t->first);
    clq_buffer_release(t->second);
}

/* ---- softmax ---- */

static clq_status softmax_infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_softmax_attrs *attrs = node->attrs;
    return infer_axis(graph, node, attrs->axis, output);
}

static bool softmax_fixes_batch(const clq_graph *graph, const clq_node *node) {
    const clq_softmax_attrs *attrs = node->attrs;
    (void)graph;
    return attrs->axis == 0;
}

static clq_reduction softmax_rows(const clq_op_run *run) {
    const clq_softmax_attrs *attrs = run->node->attrs;
    return clq_reduction_of(&run->in[0], 1u << attrs->axis);
}

static bool is_log(const clq_op_run *run) {
    return run->node->op == &clq_op_log_softmax;
}

static clq_status softmax_prepare(clq_op_run *run) {
    const clq_reduction rows = softmax_rows(run);
    return reserve_tables(run, &rows);
}

static clq_status softmax_forward(clq_op_run *run) {
    const clq_reduction rows = softmax_rows(run);
    clq_buffer *x = run->in[0].buffer;
    clq_status status = CLQ_OK;
    clq_kernel *kernel = NULL;
    tables t = {0};
    CLQ_TRY(clq_kernel_get(run->device, "softmax_f32", NULL, &kernel));
    CLQ_GOTO(status, cleanup, take_tables(run, &rows, &t));
    CLQ_GOTO(status, cleanup, clq_reduce_largest(run->device, &rows, x, t.first, 1));
    CLQ_GOTO(status, cleanup, clq_reduce_exp(run->device, &rows, x, t.first, t.second, false));
    CLQ_GOTO(status, cleanup,
             CLQ_LAUNCH(run->device, kernel, clq_reduction_range(run->device, &rows), CLQ_BUF(x),
                        CLQ_BUF(t.first), CLQ_BUF(t.second), CLQ_BUF(run->out.buffer),
                        CLQ_I32(is_log(run)), CLQ_REDUCTION(rows)));
cleanup:
    free_tables(&t);
    return status;
}

static clq_status softmax_backward(clq_op_run *run) {
    const clq_reduction rows = softmax_rows(run);
    clq_buffer *y = run->out.buffer, *dy = run->grad_out.buffer;
    clq_status status = CLQ_OK;
    clq_kernel *kernel = NULL;
    tables t = {0};
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "softmax_grad_f32", NULL, &kernel));
    CLQ_GOTO(status, cleanup, take_tables(run, &rows, &t));
    CLQ_GOTO(status, cleanup,
             is_log(run) ? clq_reduce_sum(run->device, &rows, dy, NULL, t.first, CLQ_TERM_X,
                                          CLQ_FINISH_NONE)
                         : clq_reduce_dot(run->device, &rows, y, dy, t.first));
    CLQ_GOTO(status, cleanup,
             CLQ_LAUNCH(run->device, kernel, clq_reduction_range(run->device, &rows), CLQ_BUF(y),
                        CLQ_BUF(dy), CLQ_BUF(t.first), CLQ_BUF(run->grad_in[0].buffer),
                        CLQ_I32(is_log(run)), CLQ_I32(run->accumulate[0]), CLQ_REDUCTION(rows)));
cleanup:
    free_tables(&t);
    return status;
}

#define SOFTMAX_OPERATOR(NAME)                                                                     \
    const clq_op clq_op_##NAME = {                                                                 \
        .name = #NAME,                                                                             \
        .attrs_size = sizeof(clq_softmax_attrs),                                                   \
        .min_inputs = 1,                                                                           \
        .max_inputs = 1,                                                                           \
        .infer = softmax_infer,                                                                    \
        .fixes_batch = softmax_fixes_batch,                                                        \
        .prepare = softmax_prepare,                                                                \
        .forward = softmax_forward,                                                                \
        .backward = softmax_backward,                                                              \
        .flags = CLQ_OP_IN_PLACE,                                                                  \
        .backward_reads = CLQ_READS_OUTPUT,                                                        \
    };
SOFTMAX_OPERATOR(softmax)
SOFTMAX_OPERATOR(log_softmax)

int clq_graph_logits(const clq_graph *graph) {
    CLQ_NEEDS_OR(CLQ_NO_VALUE, graph);
    const int output = clq_graph_output(graph);
    const clq_value *value = output == CLQ_NO_VALUE ? NULL : &graph->values[output];
    if (value == NULL || value->producer < 0 || value->shape.rank != 2) {
        return output;
    }
    const clq_node *node = &graph->nodes[value->producer];
    const bool softmax = node->op == &clq_op_softmax || node->op == &clq_op_log_softmax;
    return softmax && ((const clq_softmax_attrs *)node->attrs)->axis == 1 ? node->inputs[0]
                                                                          : output;
}

/* ---- lp_normalization ---- */

static clq_status lp_infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_lp_normalization_attrs *attrs = node->attrs;
    if (attrs->p != 1 && attrs->p != 2) {
        return clq_op_broken(node, "p is %d, must be 1 or 2", attrs->p);
    }
    return infer_axis(graph, node, attrs->axis, output);
}

static bool lp_fixes_batch(const clq_graph *graph, const clq_node *node) {
    const clq_lp_normalization_attrs *attrs = node->attrs;
    (void)graph;
    return attrs->axis == 0;
}

static clq_reduction lp_rows(const clq_op_run *run) {
    const clq_lp_normalization_attrs *attrs = run->node->attrs;
    return clq_reduction_of(&run->in[0], 1u << attrs->axis);
}

static bool of_magnitudes(const clq_op_run *run) {
    const clq_lp_normalization_attrs *attrs = run->node->attrs;
    return attrs->p == 1;
}

static clq_status lp_prepare(clq_op_run *run) {
    const clq_reduction rows = lp_rows(run);
    return reserve_tables(run, &rows);
}

static clq_status find_lengths(const clq_op_run *run, const clq_reduction *rows,
                               clq_buffer *lengths) {
    const bool magnitudes = of_magnitudes(run);
    return clq_reduce_sum(run->device, rows, run->in[0].buffer, NULL, lengths,
                          magnitudes ? CLQ_TERM_ABS : CLQ_TERM_SQUARE,
                          magnitudes ? CLQ_FINISH_NONE : CLQ_FINISH_ROOT);
}

static clq_status lp_forward(clq_op_run *run) {
    const clq_reduction rows = lp_rows(run);
    clq_status status = CLQ_OK;
    clq_kernel *kernel = NULL;
    tables t = {0};
    CLQ_TRY(clq_kernel_get(run->device, "lp_normalize_f32", NULL, &kernel));
    CLQ_GOTO(status, cleanup, take_tables(run, &rows, &t));
    CLQ_GOTO(status, cleanup, find_lengths(run, &rows, t.first));
    CLQ_GOTO(status, cleanup,
             CLQ_LAUNCH(run->device, kernel, clq_reduction_range(run->device, &rows),
                        CLQ_BUF(run->in[0].buffer), CLQ_BUF(t.first), CLQ_BUF(run->out.buffer),
                        CLQ_REDUCTION(rows)));
cleanup:
    free_tables(&t);
    return status;
}

static clq_status lp_backward(clq_op_run *run) {
    const clq_reduction rows = lp_rows(run);
    clq_buffer *y = run->out.buffer, *dy = run->grad_out.buffer;
    clq_status status = CLQ_OK;
    clq_kernel *kernel = NULL;
    tables t = {0};
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "lp_normalize_grad_f32", NULL, &kernel));
    CLQ_GOTO(status, cleanup, take_tables(run, &rows, &t));
    CLQ_GOTO(status, cleanup, find_lengths(run, &rows, t.first));
    CLQ_GOTO(status, cleanup, clq_reduce_dot(run->device, &rows, y, dy, t.second));
    CLQ_GOTO(status, cleanup,
             CLQ_LAUNCH(run->device, kernel, clq_reduction_range(run->device, &rows), CLQ_BUF(y),
                        CLQ_BUF(dy), CLQ_BUF(t.first), CLQ_BUF(t.second),
                        CLQ_BUF(run->grad_in[0].buffer), CLQ_I32(of_magnitudes(run)),
                        CLQ_I32(run->accumulate[0]), CLQ_REDUCTION(rows)));
cleanup:
    free_tables(&t);
    return status;
}

const clq_op clq_op_lp_normalization = {
    .name = "lp_normalization",
    .attrs_size = sizeof(clq_lp_normalization_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = lp_infer,
    .fixes_batch = lp_fixes_batch,
    .prepare = lp_prepare,
    .forward = lp_forward,
    .backward = lp_backward,
    .backward_reads = CLQ_READS_INPUT | CLQ_READS_OUTPUT,
};

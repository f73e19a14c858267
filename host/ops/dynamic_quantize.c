/* dynamic_quantize: reals to the nearest of 256 that codes 0..255 stand for, whose scale and zero
 * point come from the sample's own range: what dynamically quantized networks round what a layer
 * reads to. */
#include "ops/elementwise.h"
#include "ops/reduction.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

enum { CELL_GRAIN = 512 }; /* floats an item handles at least */

static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    *output = graph->values[node->inputs[0]].shape;
    return CLQ_OK;
}

/* A row is a sample. */
static clq_reduction samples_of(const clq_op_run *run) {
    return clq_reduction_of(&run->in[0], (1u << run->in[0].shape.rank) - 2);
}

static clq_status prepare(clq_op_run *run) {
    return clq_scratch_reserve(run->device, 2 * (size_t)run->batch * sizeof(float));
}

static clq_status forward(clq_op_run *run) {
    const clq_reduction samples = samples_of(run);
    const size_t bytes = (size_t)samples.rows * sizeof(float);
    const int64_t count = clq_shape_count(&run->in[0].shape);
    clq_buffer *x = run->in[0].buffer, *least = NULL, *most = NULL;
    clq_status status = CLQ_OK;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "dynamic_quantize_f32", NULL, &kernel));
    CLQ_GOTO(status, cleanup, clq_scratch_take(run->device, bytes, &least));
    CLQ_GOTO(status, cleanup, clq_scratch_take(run->device, bytes, &most));
    CLQ_GOTO(status, cleanup, clq_reduce_largest(run->device, &samples, x, least, -1));
    CLQ_GOTO(status, cleanup, clq_reduce_largest(run->device, &samples, x, most, 1));
    CLQ_GOTO(status, cleanup,
             CLQ_LAUNCH(run->device, kernel,
                        CLQ_RANGE1(clq_work_items(run->device, count, CELL_GRAIN)), CLQ_BUF(x),
                        CLQ_BUF(least), CLQ_BUF(most), CLQ_BUF(run->out.buffer),
                        CLQ_I32(samples.rows), CLQ_I32(samples.row)));
cleanup:
    clq_buffer_release(least);
    clq_buffer_release(most);
    return status;
}

/* Straight through: nothing lies outside its own range. */
static clq_status backward(clq_op_run *run) {
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    return clq_copy_or_add(run->device, run->grad_out.buffer, run->grad_in[0].buffer,
                           clq_shape_count(&run->out.shape), run->accumulate[0]);
}

const clq_op clq_op_dynamic_quantize = {
    .name = "dynamic_quantize",
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .flags = CLQ_OP_IN_PLACE,
};

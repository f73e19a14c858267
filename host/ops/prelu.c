/* prelu: y = x, or slope x below 0, with a learned slope for each channel or one for all. */
#include "ops/prelu.h"

#include "ops/elementwise.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

enum { GRAIN = 4096, MAX_PARTS = 256, PART = 4096 }; /* floats of an item; of a part at least */

/* ---- launches ---- */

clq_status clq_prelu_values(clq_device *device, clq_buffer *x, clq_buffer *slope, clq_buffer *y,
                            int columns, int64_t count) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(device, "prelu_f32", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, CLQ_RANGE1(clq_work_items(device, count, GRAIN)), CLQ_BUF(x),
                      CLQ_BUF(slope), CLQ_BUF(y), CLQ_I32(columns), CLQ_I32(count));
}

clq_status clq_prelu_slopes(clq_device *device, clq_buffer *x, clq_buffer *slope, clq_buffer *dy,
                            clq_buffer *dx, int columns, int64_t count, bool accumulate) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(device, "prelu_grad_f32", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, CLQ_RANGE1(clq_work_items(device, count, GRAIN)), CLQ_BUF(x),
                      CLQ_BUF(slope), CLQ_BUF(dy), CLQ_BUF(dx), CLQ_I32(columns),
                      CLQ_I32(accumulate), CLQ_I32(count));
}

/* Pieces that a column is summed in: the same on all devices. */
static int parts_of(int columns, int64_t count) {
    const int64_t rows = count / columns;
    const int64_t parts = count / PART < MAX_PARTS ? count / PART + 1 : MAX_PARTS;
    return (int)(parts < rows ? parts : rows);
}

size_t clq_prelu_scratch(int columns, int64_t count) {
    return (size_t)parts_of(columns, count) * (size_t)columns * sizeof(float);
}

clq_status clq_prelu_slope_gradient(clq_device *device, clq_buffer *x, clq_buffer *dy,
                                    clq_buffer *gradient, int columns, int64_t count) {
    const int parts = parts_of(columns, count);
    clq_buffer *partial = NULL;
    clq_kernel *sums = NULL, *reduce = NULL;
    CLQ_TRY(clq_kernel_get(device, "prelu_slope_sums_f32", NULL, &sums));
    CLQ_TRY(clq_kernel_get(device, "prelu_slope_reduce_f32", NULL, &reduce));
    CLQ_TRY(clq_scratch_take(device, clq_prelu_scratch(columns, count), &partial));
    clq_status status = CLQ_LAUNCH(
        device, sums, CLQ_RANGE1(clq_work_items(device, (int64_t)parts * columns, 1)), CLQ_BUF(x),
        CLQ_BUF(dy), CLQ_BUF(partial), CLQ_I32(columns), CLQ_I32(parts), CLQ_I32(count));
    if (status == CLQ_OK) {
        status = CLQ_LAUNCH(device, reduce, CLQ_RANGE1(clq_work_items(device, columns, GRAIN)),
                            CLQ_BUF(partial), CLQ_BUF(gradient), CLQ_I32(columns), CLQ_I32(parts));
    }
    clq_buffer_release(partial);
    return status;
}

/* ---- the operator ---- */

static int columns_of(const clq_op_run *run) {
    return (int)run->in[1].shape.dim[0];
}

static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    const clq_value *slope = &graph->values[node->inputs[1]];
    const bool one = slope->shape.rank == 1 && slope->shape.dim[0] == 1;
    CLQ_TRY(clq_want_vector(graph, node, 1, CLQ_VALUE_PARAMETER, one ? 1 : x->dim[x->rank - 1],
                            "slope"));
    if (slope->dtype != CLQ_F32) {
        return clq_op_broken(node, "slope must be F32");
    }
    *output = *x;
    return CLQ_OK;
}

static clq_status prepare(clq_op_run *run) {
    return run->mode != CLQ_EXEC_TRAIN
               ? CLQ_OK
               : clq_scratch_reserve(
                     run->device,
                     clq_prelu_scratch(columns_of(run), clq_shape_count(&run->out.shape)));
}

static clq_status forward(clq_op_run *run) {
    return clq_prelu_values(run->device, run->in[0].buffer, run->in[1].buffer, run->out.buffer,
                            columns_of(run), clq_shape_count(&run->out.shape));
}

/* The slopes' first: dx may be dy. */
static clq_status backward(clq_op_run *run) {
    const int64_t count = clq_shape_count(&run->out.shape);
    if (run->grad_in[1].buffer != NULL && !run->frozen) {
        CLQ_TRY(clq_prelu_slope_gradient(run->device, run->in[0].buffer, run->grad_out.buffer,
                                         run->grad_in[1].buffer, columns_of(run), count));
    }
    return run->grad_in[0].buffer == NULL
               ? CLQ_OK
               : clq_prelu_slopes(run->device, run->in[0].buffer, run->in[1].buffer,
                                  run->grad_out.buffer, run->grad_in[0].buffer, columns_of(run),
                                  count, run->accumulate[0]);
}

const clq_op clq_op_prelu = {
    .name = "prelu",
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .flags = CLQ_OP_IN_PLACE,
    .backward_reads = CLQ_READS_INPUT,
    .quantized = &clq_unary_quantized,
};

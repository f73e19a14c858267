/* resize in the quantized modes: equation (12i). Codes keep their meaning. */
#include "ops/quantized_run.h"
#include "ops/registry.h"
#include "ops/resize.h"

static const clq_resize_attrs *attrs_of(const clq_op_run *run) {
    return run->node->attrs;
}

static clq_status prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    CLQ_TRY(clq_check_shared(run));
    CLQ_TRY(clq_resize_prepare_as(run, true));
    clq_resize_state *state = run->state;
    return run->mode == CLQ_EXEC_QAT && attrs_of(run)->mode == CLQ_RESIZE_CUBIC
               ? clq_buffer_create(run->device, (size_t)clq_shape_count(&run->out.shape),
                                   &state->mask)
               : CLQ_OK;
}

static clq_status forward_int8(clq_op_run *run) {
    const clq_resize_state *state = run->state;
    const clq_int8_range range = clq_int8_range_of(run->out.value, CLQ_ACT_NONE);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "int8_resize", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_resize_range(run->device, &run->out.shape),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer),
                      CLQ_RESIZE_AXES(state->forward),
                      CLQ_RESIZE_SHAPE(run->in[0].shape.dim, run->out.shape.dim),
                      CLQ_I32(2 * state->bits), CLQ_I32(range.zero_point), CLQ_I32(range.lo),
                      CLQ_I32(range.hi), CLQ_F32(attrs_of(run)->outside), CLQ_F32(range.scale));
}

static clq_status forward(clq_op_run *run) {
    const clq_resize_state *state = run->state;
    clq_kernel *kernel = NULL;
    if (run->mode == CLQ_EXEC_INT8) {
        return forward_int8(run);
    }
    CLQ_TRY(clq_kernel_get(run->device, "resize_codes", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_resize_range(run->device, &run->out.shape),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), CLQ_BUF(state->mask),
                      CLQ_TABLES(run), CLQ_INDEX(run, out), CLQ_RESIZE_AXES(state->forward),
                      CLQ_RESIZE_SHAPE(run->in[0].shape.dim, run->out.shape.dim),
                      CLQ_I32(2 * state->bits), CLQ_F32(attrs_of(run)->outside));
}

static clq_status backward(clq_op_run *run) {
    const clq_resize_state *state = run->state;
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    if (state->mask != NULL) {
        CLQ_TRY(clq_kernel_get(run->device, "mask_gradient", NULL, &kernel));
        CLQ_TRY(CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                           CLQ_BUF(state->mask), CLQ_BUF(run->grad_out.buffer), CLQ_I32(count)));
    }
    return run->node->op->backward(run);
}

const clq_quantized_op clq_resize_quantized = {prepare, NULL, forward, backward, clq_resize_release,
                                               0};

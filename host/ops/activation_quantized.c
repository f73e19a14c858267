/* relu and relu6 as nodes of their own, which clamp codes. run->state is INT8's table of 256 bytes.
 */
#include "ops/quantized_run.h"

static clq_status prepare(clq_op_run *run) {
    clq_buffer *table = NULL;
    CLQ_TRY(clq_check_codes(run, true));
    CLQ_TRY(clq_check_shared(run));
    if (run->mode == CLQ_EXEC_INT8) {
        CLQ_TRY(clq_buffer_create(run->device, 256, &table));
    }
    run->state = table;
    return CLQ_OK;
}

static clq_status load_parameters(clq_op_run *run) {
    uint8_t table[256];
    if (run->mode != CLQ_EXEC_INT8) {
        return CLQ_OK;
    }
    const clq_int8_range range = clq_int8_range_of(run->in[0].value, run->node->op->as_act);
    for (int q = 0; q < 256; q++) {
        table[q] = (uint8_t)(q < range.lo ? range.lo : q > range.hi ? range.hi : q);
    }
    return clq_buffer_write(run->state, 0, sizeof table, table);
}

static void release(clq_op_run *run) {
    clq_buffer_release(run->state);
}

static clq_status forward(clq_op_run *run) {
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    if (run->mode == CLQ_EXEC_INT8) {
        return clq_int8_lookup(run->device, run->in[0].buffer, run->state, run->out.buffer,
                               clq_pixels(&run->out), clq_channels(&run->out));
    }
    CLQ_TRY(clq_kernel_get(run->device, "clip_codes", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), CLQ_TABLES(run),
                      CLQ_INDEX(run, out), CLQ_I32(run->node->op->as_act), CLQ_I32(count));
}

static clq_status backward(clq_op_run *run) {
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "clip_codes_gradient", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->grad_out.buffer),
                      CLQ_BUF(run->grad_in[0].buffer), CLQ_TABLES(run), CLQ_INDEX(run, out),
                      CLQ_I32(run->node->op->as_act), CLQ_I32(run->accumulate[0]), CLQ_I32(count));
}

const clq_quantized_op clq_activation_quantized = {prepare,  load_parameters, forward,
                                                   backward, release,         CLQ_READS_INPUT};

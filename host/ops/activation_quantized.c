/* relu and relu6 as nodes of their own, which clamp codes; tanh and sigmoid, which are tables of
 * 256 bytes (computed in QAT, where the scales are on the device). run->state is the table, or in
 * QAT clq_kept_create's of a scale that is learned. */
#include <math.h>

#include "kernels/include/scales.h"
#include "ops/quantized_run.h"
#include "ops/registry.h"

static bool clamps(const clq_op_run *run) {
    return run->node->op->as_act != CLQ_ACT_NONE;
}

static bool is_sigmoid(const clq_op_run *run) {
    return run->node->op == &clq_op_sigmoid;
}

/* ---- tables ---- */

static bool has_table(const clq_op_run *run) {
    return run->mode == CLQ_EXEC_INT8 || (run->mode == CLQ_EXEC_FAKE_QUANT && !clamps(run));
}

/* Whether its own rounding has a scale that is learned. */
static bool learns(const clq_op_run *run) {
    return run->mode == CLQ_EXEC_QAT && !clamps(run) &&
           clq_is_learned(run->qstate, run->graph, run->out.value);
}

static void fill_clamp(const clq_op_run *run, uint8_t table[256]) {
    const clq_int8_range range = clq_int8_range_of(run->in[0].value, run->node->op->as_act);
    for (int q = 0; q < 256; q++) {
        table[q] = (uint8_t)(q < range.lo ? range.lo : q > range.hi ? range.hi : q);
    }
}

static void fill_curve(const clq_op_run *run, clq_int8_range x, clq_int8_range y,
                       uint8_t table[256]) {
    for (int q = 0; q < 256; q++) {
        const double real = (double)x.scale * (q - x.zero_point);
        const double f = is_sigmoid(run) ? 1 / (1 + exp(-real)) : tanh(real);
        table[q] = (uint8_t)clq_quantize_code((float)f, y.scale, (float)y.zero_point, (float)y.lo,
                                              (float)y.hi);
    }
}

/* As the tables on the device say. */
static clq_status read_qparams(const clq_op_run *run, const clq_tensor *tensor,
                               clq_int8_range *range) {
    const size_t at = (size_t)clq_table_index(run->graph, tensor) * 4;
    int32_t zero_point = 0;
    CLQ_TRY(clq_buffer_read(run->qstate->scale, at, sizeof range->scale, &range->scale));
    CLQ_TRY(clq_buffer_read(run->qstate->zero_point, at, sizeof zero_point, &zero_point));
    range->zero_point = clq_code_byte(tensor->value, zero_point);
    return CLQ_OK;
}

static clq_status prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    if (clamps(run)) {
        CLQ_TRY(clq_check_shared(run));
    }
    clq_buffer *state = NULL;
    if (has_table(run)) {
        CLQ_TRY(clq_buffer_create(run->device, 256, &state));
    } else if (learns(run)) {
        CLQ_TRY(clq_kept_create(run, &state));
    }
    run->state = state;
    return CLQ_OK;
}

static clq_status load_parameters(clq_op_run *run) {
    uint8_t table[256];
    if (!has_table(run)) {
        return CLQ_OK;
    }
    clq_int8_range x = clq_int8_range_of(run->in[0].value, CLQ_ACT_NONE);
    clq_int8_range y = clq_int8_range_of(run->out.value, CLQ_ACT_NONE);
    if (clamps(run)) {
        fill_clamp(run, table);
    } else {
        if (run->mode == CLQ_EXEC_FAKE_QUANT) {
            CLQ_TRY(read_qparams(run, &run->in[0], &x));
            CLQ_TRY(read_qparams(run, &run->out, &y));
        }
        fill_curve(run, x, y, table);
    }
    return clq_buffer_write(run->state, 0, sizeof table, table);
}

static void release(clq_op_run *run) {
    clq_buffer_release(run->state);
}

/* ---- forward ---- */

static clq_status clamp_codes(clq_op_run *run, int64_t count) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "clip_codes", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), CLQ_TABLES(run),
                      CLQ_INDEX(run, out), CLQ_I32(run->node->op->as_act), CLQ_I32(count));
}

static clq_status look_up_codes(clq_op_run *run, int64_t count) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "lookup_codes", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), CLQ_BUF(run->state),
                      CLQ_TABLES(run), CLQ_INDEX(run, in[0]), CLQ_INDEX(run, out), CLQ_I32(count));
}

static clq_status forward(clq_op_run *run) {
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    if (run->mode == CLQ_EXEC_INT8) {
        return clq_int8_lookup(run->device, run->in[0].buffer, run->state, run->out.buffer,
                               clq_pixels(&run->out), clq_channels(&run->out));
    }
    if (clamps(run)) {
        return clamp_codes(run, count);
    }
    if (run->mode == CLQ_EXEC_FAKE_QUANT) {
        return look_up_codes(run, count);
    }
    CLQ_TRY(clq_kernel_get(run->device, "curve_codes_train", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_observing_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer),
                      CLQ_BUF(learns(run) ? run->state : NULL), CLQ_TABLES(run),
                      CLQ_BUF(run->qstate->range), CLQ_INDEX(run, in[0]), CLQ_INDEX(run, out),
                      CLQ_I32(is_sigmoid(run)), CLQ_I32(count));
}

/* ---- backward ---- */

static clq_status backward(clq_op_run *run) {
    const int64_t count = clq_shape_count(&run->out.shape);
    const clq_range range = clq_codes_range(run->device, count);
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    if (clamps(run)) {
        CLQ_TRY(clq_kernel_get(run->device, "clip_codes_gradient", NULL, &kernel));
        return CLQ_LAUNCH(run->device, kernel, range, CLQ_BUF(run->in[0].buffer),
                          CLQ_BUF(run->grad_out.buffer), CLQ_BUF(run->grad_in[0].buffer),
                          CLQ_TABLES(run), CLQ_INDEX(run, out), CLQ_I32(run->node->op->as_act),
                          CLQ_I32(run->accumulate[0]), CLQ_I32(count));
    }
    if (learns(run)) {
        CLQ_TRY(clq_learned_gradient(run, run->state, false));
    }
    CLQ_TRY(clq_kernel_get(run->device, "curve_codes_gradient", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, range, CLQ_BUF(run->in[0].buffer),
                      CLQ_BUF(run->grad_out.buffer), CLQ_BUF(run->grad_in[0].buffer),
                      CLQ_TABLES(run), CLQ_INDEX(run, in[0]), CLQ_INDEX(run, out),
                      CLQ_I32(is_sigmoid(run)), CLQ_I32(run->accumulate[0]), CLQ_I32(count));
}

const clq_quantized_op clq_activation_quantized = {prepare,  load_parameters, forward,
                                                   backward, release,         CLQ_READS_INPUT};

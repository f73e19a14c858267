/* Functions of one number on codes: a table with an entry for each of x's 256 bytes. Where scales
 * are the graph's, the host makes it in double, for FAKE_QUANT and INT8 alike; in QAT, where they
 * change on the device, the device makes it in float before each forward. */
#include <math.h>
#include <string.h>

#include "kernels/include/scales.h"
#include "ops/quantized_run.h"
#include "ops/unary.h"

enum { BYTES = 256 };
/* Parts of QAT's table: table_codes of kernels/quant/elementwise.cl. */
enum { SLOPES = 3, PARTS = 5 };

typedef struct table_state {
    clq_buffer *table;         /* (256) U8 of INT8, F32 of FAKE_QUANT; F32 (PARTS, 256) of QAT */
    clq_buffer *x, *y, *slope; /* QAT: F32 (256), reals */
    clq_buffer *one;           /* QAT: F32 (256), a gradient */
    clq_buffer *kept;          /* QAT: clq_kept_create's, where the output's scale is learned */
} table_state;

static void release(clq_op_run *run) {
    table_state *state = run->state;
    if (state != NULL) {
        clq_buffer *buffers[] = {state->table, state->x,   state->y,
                                 state->slope, state->one, state->kept};
        for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
            clq_buffer_release(buffers[i]);
        }
        clq_free(state);
    }
}

static clq_status prepare(clq_op_run *run) {
    const size_t floats = BYTES * sizeof(float);
    CLQ_TRY(clq_check_codes(run, true));
    table_state *state = clq_calloc(1, sizeof *state);
    run->state = state;
    if (state == NULL) {
        return CLQ_NO_MEMORY;
    }
    if (run->mode != CLQ_EXEC_QAT) {
        return clq_buffer_create(run->device, run->mode == CLQ_EXEC_INT8 ? BYTES : floats,
                                 &state->table);
    }
    const float one = 1;
    uint32_t bits;
    memcpy(&bits, &one, sizeof bits);
    CLQ_TRY(clq_buffer_create(run->device, PARTS * floats, &state->table));
    CLQ_TRY(clq_buffer_create(run->device, floats, &state->x));
    CLQ_TRY(clq_buffer_create(run->device, floats, &state->y));
    CLQ_TRY(clq_buffer_create(run->device, floats, &state->slope));
    CLQ_TRY(clq_buffer_create(run->device, floats, &state->one));
    CLQ_TRY(clq_buffer_fill(state->one, 0, floats, bits));
    return clq_is_learned(run->qstate, run->graph, run->out.value)
               ? clq_kept_create(run, &state->kept)
               : CLQ_OK;
}

/* ---- the host's tables ---- */

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

/* Where f is no number, as of log and sqrt below 0, the lowest code. */
static void fill_table(const clq_op_run *run, clq_int8_range x, clq_int8_range y,
                       uint8_t table[BYTES]) {
    const clq_unary_function f = clq_unary_function_of(run->node);
    for (int q = 0; q < BYTES; q++) {
        const double real = (double)x.scale * (q - x.zero_point);
        const float value = (float)clq_unary_value(f.function, real, f.attrs.alpha, f.attrs.beta);
        table[q] = (uint8_t)clq_quantize_code(isnan(value) ? -INFINITY : value, y.scale,
                                              (float)y.zero_point, (float)y.lo, (float)y.hi);
    }
}

static clq_status load_parameters(clq_op_run *run) {
    const table_state *state = run->state;
    uint8_t table[BYTES];
    float codes[BYTES];
    clq_int8_range x = clq_int8_range_of(run->in[0].value, CLQ_ACT_NONE);
    clq_int8_range y = clq_int8_range_of(run->out.value, CLQ_ACT_NONE);
    if (run->mode == CLQ_EXEC_INT8) {
        fill_table(run, x, y, table);
        return clq_buffer_write(state->table, 0, sizeof table, table);
    }
    if (run->mode == CLQ_EXEC_QAT) {
        return CLQ_OK;
    }
    CLQ_TRY(read_qparams(run, &run->in[0], &x));
    CLQ_TRY(read_qparams(run, &run->out, &y));
    fill_table(run, x, y, table);
    for (int q = 0; q < BYTES; q++) {
        codes[q] = (float)(table[q] - y.zero_point);
    }
    return clq_buffer_write(state->table, 0, sizeof codes, codes);
}

/* ---- the device's, in QAT ---- */

static clq_status make_table(clq_op_run *run) {
    const table_state *state = run->state;
    const clq_unary_function f = clq_unary_function_of(run->node);
    const clq_range range = clq_codes_range(run->device, BYTES);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "table_reals", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(run->device, kernel, range, CLQ_BUF(state->x), CLQ_TABLES(run),
                       CLQ_INDEX(run, in[0]), CLQ_I32(1)));
    CLQ_TRY(clq_unary_values(run->device, &f, state->x, state->y, BYTES));
    CLQ_TRY(clq_unary_slopes(run->device, &f,
                             CLQ_UNARY_KEEPS_OUTPUT(f.function) ? state->y : state->x, state->one,
                             state->slope, BYTES, false));
    CLQ_TRY(clq_kernel_get(run->device, "table_codes", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, range, CLQ_BUF(state->x), CLQ_BUF(state->y),
                      CLQ_BUF(state->slope), CLQ_BUF(state->table), CLQ_TABLES(run),
                      CLQ_INDEX(run, out), CLQ_I32(BYTES));
}

/* ---- forward and backward ---- */

static clq_status forward(clq_op_run *run) {
    const table_state *state = run->state;
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    if (run->mode == CLQ_EXEC_INT8) {
        return clq_int8_lookup(run->device, run->in[0].buffer, state->table, run->out.buffer,
                               clq_pixels(&run->out), clq_channels(&run->out));
    }
    if (run->mode == CLQ_EXEC_FAKE_QUANT) {
        CLQ_TRY(clq_kernel_get(run->device, "lookup_codes", NULL, &kernel));
        return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                          CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer),
                          CLQ_BUF(state->table), CLQ_TABLES(run), CLQ_INDEX(run, in[0]), CLQ_I32(1),
                          CLQ_I32(count));
    }
    CLQ_TRY(make_table(run));
    CLQ_TRY(clq_kernel_get(run->device, "lookup_codes_train", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_observing_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), CLQ_BUF(state->kept),
                      CLQ_BUF(state->table), CLQ_TABLES(run), CLQ_BUF(run->qstate->range),
                      CLQ_INDEX(run, in[0]), CLQ_INDEX(run, out), CLQ_I32(1), CLQ_I32(count));
}

static clq_status backward(clq_op_run *run) {
    const table_state *state = run->state;
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    if (state->kept != NULL) {
        CLQ_TRY(clq_learned_gradient(run, state->kept, false));
    }
    CLQ_TRY(clq_kernel_get(run->device, "lookup_codes_gradient", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->grad_out.buffer),
                      CLQ_BUF(run->grad_in[0].buffer), CLQ_BUF(state->table), CLQ_TABLES(run),
                      CLQ_INDEX(run, in[0]), CLQ_I32(1), CLQ_I32(SLOPES),
                      CLQ_I32(run->accumulate[0]), CLQ_I32(count));
}

const clq_quantized_op clq_unary_quantized = {prepare,  load_parameters, forward,
                                              backward, release,         CLQ_READS_INPUT};

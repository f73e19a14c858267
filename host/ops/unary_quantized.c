/* Functions of one number on codes: a table with an entry for each of x's 256 bytes, and for each
 * channel of a prelu that has a slope for each. Where scales are the graph's, the host makes it in
 * double, for FAKE_QUANT and INT8 alike; in QAT, where they change on the device, the device makes
 * it in float before each forward. */
#include <math.h>
#include <string.h>

#include "kernels/include/scales.h"
#include "ops/prelu.h"
#include "ops/quantized_run.h"
#include "ops/registry.h"
#include "ops/unary.h"

enum { BYTES = 256 };
/* Parts of QAT's table: table_codes of kernels/quant/elementwise.cl. */
enum { SLOPES = 3, NEGATIVES, PARTS };

/* Entries are (256, columns). */
typedef struct table_state {
    int columns;
    clq_buffer *table;         /* U8 of INT8, F32 of FAKE_QUANT; of QAT F32 (PARTS, entries) */
    clq_buffer *x, *y, *slope; /* QAT: F32 (entries), reals */
    clq_buffer *one;           /* QAT: F32 (entries), a gradient */
    clq_buffer *kept;          /* QAT: clq_kept_create's, where the output's scale is learned */
} table_state;

static bool is_prelu(const clq_op_run *run) {
    return run->node->op == &clq_op_prelu;
}

static int64_t entries_of(const table_state *state) {
    return (int64_t)BYTES * state->columns;
}

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

static clq_status prepare_qat(clq_op_run *run, table_state *state) {
    const size_t floats = (size_t)entries_of(state) * sizeof(float);
    const float one = 1;
    uint32_t bits;
    memcpy(&bits, &one, sizeof bits);
    CLQ_TRY(clq_buffer_create(run->device, PARTS * floats, &state->table));
    CLQ_TRY(clq_buffer_create(run->device, floats, &state->x));
    CLQ_TRY(clq_buffer_create(run->device, floats, &state->y));
    CLQ_TRY(clq_buffer_create(run->device, floats, &state->slope));
    CLQ_TRY(clq_buffer_create(run->device, floats, &state->one));
    CLQ_TRY(clq_buffer_fill(state->one, 0, floats, bits));
    if (is_prelu(run)) {
        const int64_t count = clq_shape_count(&run->out.shape);
        CLQ_TRY(clq_scratch_reserve(run->device, (size_t)count * sizeof(float) +
                                                     clq_prelu_scratch(state->columns, count)));
    }
    return clq_is_learned(run->qstate, run->graph, run->out.value)
               ? clq_kept_create(run, &state->kept)
               : CLQ_OK;
}

static clq_status prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    table_state *state = clq_calloc(1, sizeof *state);
    run->state = state;
    if (state == NULL) {
        return CLQ_NO_MEMORY;
    }
    state->columns = is_prelu(run) ? (int)run->in[1].shape.dim[0] : 1;
    const size_t entries = (size_t)entries_of(state);
    return run->mode == CLQ_EXEC_QAT
               ? prepare_qat(run, state)
               : clq_buffer_create(run->device,
                                   run->mode == CLQ_EXEC_INT8 ? entries : entries * sizeof(float),
                                   &state->table);
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

/* One column of a table. Where f is no number, as of log and sqrt below 0, the lowest code. */
static void fill_column(const clq_unary_function *f, clq_int8_range x, clq_int8_range y,
                        int columns, uint8_t *table) {
    for (int q = 0; q < BYTES; q++) {
        const double real = (double)x.scale * (q - x.zero_point);
        const float value =
            (float)clq_unary_value(f->function, real, f->attrs.alpha, f->attrs.beta);
        table[(size_t)q * (size_t)columns] =
            (uint8_t)clq_quantize_code(isnan(value) ? -INFINITY : value, y.scale,
                                       (float)y.zero_point, (float)y.lo, (float)y.hi);
    }
}

/* A prelu is a leaky_relu in each column. */
static clq_status fill_table(const clq_op_run *run, clq_int8_range x, clq_int8_range y,
                             uint8_t *table) {
    const int columns = ((const table_state *)run->state)->columns;
    if (!is_prelu(run)) {
        const clq_unary_function f = clq_unary_function_of(run->node);
        fill_column(&f, x, y, 1, table);
        return CLQ_OK;
    }
    float *slopes = clq_calloc((size_t)columns, sizeof *slopes);
    if (slopes == NULL) {
        return CLQ_NO_MEMORY;
    }
    const clq_status status =
        clq_buffer_read(run->in[1].buffer, 0, (size_t)columns * sizeof *slopes, slopes);
    for (int c = 0; status == CLQ_OK && c < columns; c++) {
        const clq_unary_function f = {CLQ_UNARY_LEAKY_RELU, {slopes[c], 0}};
        fill_column(&f, x, y, columns, table + c);
    }
    clq_free(slopes);
    return status;
}

/* FAKE_QUANT holds codes less z. */
static clq_status write_table(const clq_op_run *run, const uint8_t *table, int32_t zero_point) {
    const table_state *state = run->state;
    const size_t entries = (size_t)entries_of(state);
    if (run->mode == CLQ_EXEC_INT8) {
        return clq_buffer_write(state->table, 0, entries, table);
    }
    float *codes = clq_calloc(entries, sizeof *codes);
    if (codes == NULL) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < entries; i++) {
        codes[i] = (float)(table[i] - zero_point);
    }
    const clq_status status = clq_buffer_write(state->table, 0, entries * sizeof *codes, codes);
    clq_free(codes);
    return status;
}

static clq_status load_parameters(clq_op_run *run) {
    clq_int8_range x = clq_int8_range_of(run->in[0].value, CLQ_ACT_NONE);
    clq_int8_range y = clq_int8_range_of(run->out.value, CLQ_ACT_NONE);
    if (run->mode == CLQ_EXEC_QAT) {
        return CLQ_OK;
    }
    if (run->mode == CLQ_EXEC_FAKE_QUANT) {
        CLQ_TRY(read_qparams(run, &run->in[0], &x));
        CLQ_TRY(read_qparams(run, &run->out, &y));
    }
    uint8_t *table = clq_calloc((size_t)entries_of(run->state), 1);
    if (table == NULL) {
        return CLQ_NO_MEMORY;
    }
    clq_status status = fill_table(run, x, y, table);
    if (status == CLQ_OK) {
        status = write_table(run, table, y.zero_point);
    }
    clq_free(table);
    return status;
}

/* ---- the device's, in QAT ---- */

static clq_status compute(clq_op_run *run) {
    const table_state *state = run->state;
    const int64_t entries = entries_of(state);
    if (is_prelu(run)) {
        CLQ_TRY(clq_prelu_values(run->device, state->x, run->in[1].buffer, state->y, state->columns,
                                 entries));
        return clq_prelu_slopes(run->device, state->x, run->in[1].buffer, state->one, state->slope,
                                state->columns, entries, false);
    }
    const clq_unary_function f = clq_unary_function_of(run->node);
    CLQ_TRY(clq_unary_values(run->device, &f, state->x, state->y, entries));
    return clq_unary_slopes(run->device, &f,
                            CLQ_UNARY_KEEPS_OUTPUT(f.function) ? state->y : state->x, state->one,
                            state->slope, entries, false);
}

static clq_status make_table(clq_op_run *run) {
    const table_state *state = run->state;
    const int64_t entries = entries_of(state);
    const clq_range range = clq_codes_range(run->device, entries);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "table_reals", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(run->device, kernel, range, CLQ_BUF(state->x), CLQ_TABLES(run),
                       CLQ_INDEX(run, in[0]), CLQ_I32(state->columns)));
    CLQ_TRY(compute(run));
    CLQ_TRY(clq_kernel_get(run->device, "table_codes", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, range, CLQ_BUF(state->x), CLQ_BUF(state->y),
                      CLQ_BUF(state->slope), CLQ_BUF(state->table), CLQ_TABLES(run),
                      CLQ_INDEX(run, out), CLQ_I32(entries));
}

/* ---- forward and backward ---- */

static clq_status forward(clq_op_run *run) {
    const table_state *state = run->state;
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    if (run->mode == CLQ_EXEC_INT8) {
        clq_status (*look_up)(clq_device *, clq_buffer *, clq_buffer *, clq_buffer *, int64_t,
                              int) =
            state->columns > 1 ? clq_int8_lookup_channels : clq_int8_lookup;
        return look_up(run->device, run->in[0].buffer, state->table, run->out.buffer,
                       clq_pixels(&run->out), clq_channels(&run->out));
    }
    if (run->mode == CLQ_EXEC_FAKE_QUANT) {
        CLQ_TRY(clq_kernel_get(run->device, "lookup_codes", NULL, &kernel));
        return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                          CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer),
                          CLQ_BUF(state->table), CLQ_TABLES(run), CLQ_INDEX(run, in[0]),
                          CLQ_I32(state->columns), CLQ_I32(count));
    }
    CLQ_TRY(make_table(run));
    CLQ_TRY(clq_kernel_get(run->device, "lookup_codes_train", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_observing_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), CLQ_BUF(state->kept),
                      CLQ_BUF(state->table), CLQ_TABLES(run), CLQ_BUF(run->qstate->range),
                      CLQ_INDEX(run, in[0]), CLQ_INDEX(run, out), CLQ_I32(state->columns),
                      CLQ_I32(count));
}

/* dx = grad_out times a part of the table, or dx += it */
static clq_status multiply(clq_op_run *run, int part, clq_buffer *dx, bool accumulate) {
    const table_state *state = run->state;
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "lookup_codes_gradient", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->grad_out.buffer), CLQ_BUF(dx),
                      CLQ_BUF(state->table), CLQ_TABLES(run), CLQ_INDEX(run, in[0]),
                      CLQ_I32(state->columns), CLQ_I32(part), CLQ_I32(accumulate), CLQ_I32(count));
}

/* A prelu's slopes: sums of the gradient times the negative reals. */
static clq_status slope_gradient(clq_op_run *run) {
    const table_state *state = run->state;
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_buffer *terms = NULL;
    CLQ_TRY(clq_scratch_take(run->device, (size_t)count * sizeof(float), &terms));
    clq_status status = multiply(run, NEGATIVES, terms, false);
    if (status == CLQ_OK) {
        status = clq_prelu_slope_gradient(run->device, NULL, terms, run->grad_in[1].buffer,
                                          state->columns, count);
    }
    clq_buffer_release(terms);
    return status;
}

static clq_status backward(clq_op_run *run) {
    const table_state *state = run->state;
    if (state->kept != NULL) {
        CLQ_TRY(clq_learned_gradient(run, state->kept, false));
    }
    if (is_prelu(run) && run->grad_in[1].buffer != NULL && !run->frozen) {
        CLQ_TRY(slope_gradient(run)); /* before dx, which may be dy */
    }
    return run->grad_in[0].buffer == NULL
               ? CLQ_OK
               : multiply(run, SLOPES, run->grad_in[0].buffer, run->accumulate[0]);
}

const clq_quantized_op clq_unary_quantized = {prepare,  load_parameters, forward,
                                              backward, release,         CLQ_READS_INPUT};

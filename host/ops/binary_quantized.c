/* add, sub, mul, min, max on codes: equations (11) and (24) to (26), and (11f), (11s), ... A
 * constant is codes of the node's own, made of the parameter whenever parameters are loaded. */

#include "graph/codes.h"
#include "graph/node.h"
#include "ops/binary.h"
#include "ops/multiplier.h"
#include "ops/quantized_run.h"

enum { NO_CONSTANT = -1, WORD_GRAIN = 1024 };

typedef struct binary_codes {
    int which;            /* operand that is a constant */
    clq_buffer *constant; /* its codes: floats less the zero point, or in INT8 bytes with pitch */
    clq_buffer *largest;  /* (2): of its elements, where its scale follows them */
    clq_buffer *kept;     /* QAT: clq_kept_create's */
} binary_codes;

/* Two activations of one shape have kernels of their own. */
static bool adds_whole(const clq_op_run *run) {
    const binary_codes *state = run->state;
    return run->node->op == &clq_op_add && state->which == NO_CONSTANT &&
           clq_operand_is_whole(run, 0) && clq_operand_is_whole(run, 1);
}

static const char *options_of(const clq_op_run *run) {
    return clq_binary_options(clq_binary_of(run->node->op), run->requantizer);
}

/* The run with the constant's codes in the place of its reals. */
static clq_op_run on_codes(const clq_op_run *run) {
    const binary_codes *state = run->state;
    clq_op_run codes = *run;
    if (state->which != NO_CONSTANT) {
        codes.in[state->which].buffer = state->constant;
    }
    return codes;
}

/* ---- the constant ---- */

/* Codes of S8 as the mode keeps them: centred floats, or bytes with pitch. */
static clq_status upload_constant(const clq_op_run *run, const clq_value *value,
                                  const int8_t *codes) {
    const binary_codes *state = run->state;
    const size_t count = (size_t)clq_shape_count(&value->shape),
                 size = clq_buffer_size(state->constant);
    const size_t channels = (size_t)value->shape.dim[value->shape.rank - 1];
    const size_t pitch = (channels + 3) / 4 * 4;
    uint8_t *data = clq_calloc(size, 1);
    if (!data) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        if (run->mode == CLQ_EXEC_INT8) {
            data[i / channels * pitch + i % channels] = (uint8_t)clq_code_byte(value, codes[i]);
        } else {
            ((float *)(void *)data)[i] = (float)(codes[i] - value->q.zero_point);
        }
    }
    const clq_status status = clq_buffer_write(state->constant, 0, size, data);
    clq_free(data);
    return status;
}

static size_t constant_bytes(const clq_op_run *run, const clq_shape *shape) {
    const int64_t channels = shape->dim[shape->rank - 1], count = clq_shape_count(shape);
    return run->mode == CLQ_EXEC_INT8 ? (size_t)(count / channels * ((channels + 3) / 4 * 4))
                                      : (size_t)count * sizeof(float);
}

static clq_status prepare_constant(clq_op_run *run, binary_codes *state) {
    const clq_value *value = run->in[state->which].value;
    int8_t *codes = NULL;
    if (value->q.count == 0) {
        return clq_fail(CLQ_USAGE, "its constant \"%s\" is not quantized", value->name);
    }
    if (value->dtype == CLQ_F32 && run->mode == CLQ_EXEC_INT8) {
        return clq_fail(CLQ_USAGE, "its constant \"%s\" holds no codes", value->name);
    }
    CLQ_TRY(clq_buffer_create(run->device, constant_bytes(run, &value->shape), &state->constant));
    if (value->dtype == CLQ_F32) {
        return clq_buffer_create(run->device, 2 * sizeof(float), &state->largest);
    }
    CLQ_TRY(clq_value_codes(value, &codes));
    const clq_status status = upload_constant(run, value, codes);
    clq_free(codes);
    return status;
}

/* Equation (27), on the device. */
static clq_status choose_scale(const clq_op_run *run, const binary_codes *state) {
    const clq_tensor *constant = &run->in[state->which];
    const int64_t count = clq_shape_count(&constant->shape);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_buffer_fill(state->largest, 0, 2 * sizeof(float), 0));
    CLQ_TRY(clq_kernel_get(run->device, "weights_largest", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(run->device, kernel, clq_observing_range(run->device, count),
                       CLQ_BUF(constant->buffer), CLQ_BUF(state->largest), CLQ_I32(0),
                       CLQ_I32(count)));
    CLQ_TRY(clq_kernel_get(run->device, "constant_scale", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, CLQ_RANGE1(1), CLQ_BUF(state->largest),
                      CLQ_BUF(run->qstate->scale), CLQ_I32(clq_table_index(run->graph, constant)),
                      CLQ_F32(clq_qtype_get(constant->value->q.type)->highest),
                      CLQ_I32(run->qstate->max_shift));
}

static clq_status load_parameters(clq_op_run *run) {
    const binary_codes *state = run->state;
    clq_kernel *kernel = NULL;
    if (state->largest == NULL) {
        return CLQ_OK; /* no constant, or codes that stay */
    }
    const clq_tensor *constant = &run->in[state->which];
    const int64_t count = clq_shape_count(&constant->shape);
    if (run->qstate->choose_constant_scales) {
        CLQ_TRY(choose_scale(run, state));
    }
    CLQ_TRY(clq_kernel_get(run->device, "quantize_codes", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                      CLQ_BUF(constant->buffer), CLQ_BUF(state->constant), CLQ_TABLES(run),
                      CLQ_I32(clq_table_index(run->graph, constant)), CLQ_I32(count));
}

/* ---- preparing ---- */

static clq_status prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    CLQ_TRY(clq_check_factors(run->graph, run->node));
    binary_codes *state = clq_calloc(1, sizeof *state);
    if (!state) {
        return CLQ_NO_MEMORY;
    }
    run->state = state;
    state->which = clq_is_constant(run->in[0].value)   ? 0
                   : clq_is_constant(run->in[1].value) ? 1
                                                       : NO_CONSTANT;
    if (state->which != NO_CONSTANT) {
        CLQ_TRY(prepare_constant(run, state));
    }
    if (run->mode != CLQ_EXEC_QAT) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_binary_reserve(run));
    return clq_kept_create(run, &state->kept);
}

static void release(clq_op_run *run) {
    binary_codes *state = run->state;
    if (state) {
        clq_buffer_release(state->constant);
        clq_buffer_release(state->largest);
        clq_buffer_release(state->kept);
        clq_free(state);
    }
}

/* ---- INT8 ---- */

clq_status clq_binary_factors(clq_binary kind, clq_requantizer requantizer, float a_scale,
                              float b_scale, float y_scale, int32_t factors[4]) {
    int32_t of_a[2] = {0}, of_b[2] = {0};
    clq_add_factors add;
    switch (kind) {
    case CLQ_BINARY_ADD:
    case CLQ_BINARY_SUB:
        CLQ_TRY(clq_multiplier_add(requantizer, a_scale, b_scale, y_scale, &add));
        of_a[0] = add.a;
        of_b[0] = add.b;
        of_a[1] = add.shift;
        break;
    case CLQ_BINARY_MUL:
        CLQ_TRY(clq_multiplier_sum(requantizer, a_scale, b_scale, y_scale, of_a));
        break;
    case CLQ_BINARY_MIN:
    case CLQ_BINARY_MAX:
        CLQ_TRY(clq_multiplier_sum(requantizer, a_scale, 1.0f, y_scale, of_a));
        CLQ_TRY(clq_multiplier_sum(requantizer, b_scale, 1.0f, y_scale, of_b));
        break;
    default:
        break;
    }
    factors[0] = of_a[0];
    factors[1] = of_b[0];
    factors[2] = of_a[1];
    factors[3] = of_b[1];
    return CLQ_OK;
}

static clq_status forward_int8(const clq_op_run *run) {
    const clq_op_run codes = on_codes(run);
    const clq_int8_range a = clq_int8_range_of(run->in[0].value, CLQ_ACT_NONE);
    const clq_int8_range b = clq_int8_range_of(run->in[1].value, CLQ_ACT_NONE);
    const clq_int8_range y = clq_int8_range_of(run->out.value, clq_node_act(run->node));
    clq_kernel *kernel = NULL;
    clq_broadcast shape;
    int32_t f[4];
    if (adds_whole(run)) {
        return clq_int8_add(run->device, run->requantizer, run->in[0].buffer, a, run->in[1].buffer,
                            b, run->out.buffer, y, clq_pixels(&run->out), clq_channels(&run->out));
    }
    CLQ_TRY(clq_binary_factors(clq_binary_of(run->node->op), run->requantizer, a.scale, b.scale,
                               y.scale, f));
    clq_broadcast_make(&codes.out, &codes.in[0], &codes.in[1], &shape);
    CLQ_TRY(clq_kernel_get(run->device, "int8_binary", options_of(run), &kernel));
    return CLQ_LAUNCH(
        run->device, kernel, CLQ_RANGE1(clq_work_items(run->device, shape.count, WORD_GRAIN)),
        CLQ_BUF(codes.in[0].buffer), CLQ_BUF(codes.in[1].buffer), CLQ_BUF(run->out.buffer),
        CLQ_I32(a.zero_point), CLQ_I32(b.zero_point), CLQ_I32(f[0]), CLQ_I32(f[1]), CLQ_I32(f[2]),
        CLQ_I32(f[3]), CLQ_I32(y.zero_point), CLQ_I32(y.lo), CLQ_I32(y.hi), CLQ_I32(shape.channels),
        CLQ_BROADCAST(shape));
}

/* ---- on floats ---- */

/* Entries of the tables, and the activation. */
#define ENTRIES(run)                                                                               \
    CLQ_INDEX(run, in[0]), CLQ_INDEX(run, in[1]), CLQ_INDEX(run, out),                             \
        CLQ_I32(clq_node_act((run)->node))

/* Two activations of one shape. */
static clq_status add_whole(const clq_op_run *run) {
    const char *option = clq_requantizer_option(run->requantizer);
    const int64_t count = clq_shape_count(&run->out.shape);
    const binary_codes *state = run->state;
    clq_kernel *kernel = NULL;
    if (run->mode == CLQ_EXEC_FAKE_QUANT) {
        CLQ_TRY(clq_kernel_get(run->device, "add_codes", option, &kernel));
        return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                          CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->in[1].buffer),
                          CLQ_BUF(run->out.buffer), CLQ_TABLES(run), ENTRIES(run), CLQ_I32(count));
    }
    if (!run->qstate->observe) {
        CLQ_TRY(clq_kernel_get(run->device, "add_codes_train", option, &kernel));
        return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                          CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->in[1].buffer),
                          CLQ_BUF(run->out.buffer), CLQ_KEPT(run, state->kept), CLQ_TABLES(run),
                          ENTRIES(run), CLQ_I32(count));
    }
    CLQ_TRY(clq_kernel_get(run->device, "add_codes_observe", option, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_observing_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->in[1].buffer),
                      CLQ_BUF(run->out.buffer), CLQ_KEPT(run, state->kept), CLQ_TABLES(run),
                      CLQ_BUF(run->qstate->range), ENTRIES(run), CLQ_I32(count));
}

static clq_status forward(clq_op_run *run) {
    const binary_codes *state = run->state;
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    clq_broadcast shape;
    if (run->mode == CLQ_EXEC_INT8) {
        return forward_int8(run);
    }
    if (adds_whole(run)) {
        return add_whole(run);
    }
    const clq_op_run codes = on_codes(run);
    clq_broadcast_make(&codes.out, &codes.in[0], &codes.in[1], &shape);
    if (run->mode == CLQ_EXEC_FAKE_QUANT) {
        CLQ_TRY(clq_kernel_get(run->device, "binary_codes", options_of(run), &kernel));
        return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                          CLQ_BUF(codes.in[0].buffer), CLQ_BUF(codes.in[1].buffer),
                          CLQ_BUF(run->out.buffer), CLQ_TABLES(run), ENTRIES(run),
                          CLQ_BROADCAST(shape));
    }
    CLQ_TRY(clq_kernel_get(run->device, "binary_codes_train", options_of(run), &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_observing_range(run->device, count),
                      CLQ_BUF(codes.in[0].buffer), CLQ_BUF(codes.in[1].buffer),
                      CLQ_BUF(run->out.buffer), CLQ_KEPT(run, state->kept), CLQ_TABLES(run),
                      CLQ_BUF(run->qstate->range), CLQ_I32(run->qstate->observe), ENTRIES(run),
                      CLQ_BROADCAST(shape));
}

/* ---- backward ---- */

static clq_status add_whole_backward(const clq_op_run *run) {
    const binary_codes *state = run->state;
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_buffer *mask = state->kept;
    clq_buffer *da = run->grad_in[0].buffer, *db = run->grad_in[1].buffer;
    /* x + x: both halves go to the one gradient of x, one after the other. */
    const bool twice = da != NULL && da == db;
    clq_kernel *kernel = NULL;
    if (clq_is_learned(run->qstate, run->graph, run->out.value)) {
        CLQ_TRY(clq_learned_gradient(run, state->kept, false)); /* masks the gradient too */
        mask = NULL;
    }
    CLQ_TRY(clq_kernel_get(run->device, "add_codes_gradient", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count), CLQ_BUF(mask),
                       CLQ_BUF(run->grad_out.buffer), CLQ_BUF(da), CLQ_BUF(twice ? NULL : db),
                       CLQ_I32(run->accumulate[0]), CLQ_I32(run->accumulate[1]), CLQ_I32(count)));
    if (!twice) {
        return CLQ_OK;
    }
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count), CLQ_BUF(mask),
                      CLQ_BUF(run->grad_out.buffer), CLQ_BUF(NULL), CLQ_BUF(db), CLQ_I32(false),
                      CLQ_I32(true), CLQ_I32(count));
}

/* clq_whole_gradients of products, minima and maxima: in reals, of codes. */
static clq_status gradients_on_codes(const clq_op_run *run, clq_buffer *da, bool add_to_a,
                                     clq_buffer *db, bool add_to_b) {
    /* Only who is the smaller hangs on the requantizer. */
    const clq_requantizer requantizer =
        run->node->op == &clq_op_mul ? CLQ_REQUANT_FLOAT : run->requantizer;
    clq_kernel *kernel = NULL;
    clq_broadcast shape;
    clq_broadcast_make(&run->out, &run->in[0], &run->in[1], &shape);
    CLQ_TRY(clq_kernel_get(run->device, "binary_codes_grad",
                           clq_binary_options(clq_binary_of(run->node->op), requantizer), &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, shape.count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->in[1].buffer),
                      CLQ_BUF(run->grad_out.buffer), CLQ_BUF(da), CLQ_BUF(db), CLQ_TABLES(run),
                      ENTRIES(run), CLQ_I32(add_to_a), CLQ_I32(add_to_b),
                      CLQ_I32(da != NULL && da == db), CLQ_BROADCAST(shape));
}

/* The constant's gradient goes straight through its rounding, where nothing was clamped. */
static clq_status mask_constant(const clq_op_run *run) {
    const binary_codes *state = run->state;
    const clq_tensor *constant = &run->in[state->which];
    clq_buffer *gradient = run->grad_in[state->which].buffer;
    const int64_t count = clq_shape_count(&constant->shape);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "quantize_codes_gradient", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                      CLQ_BUF(constant->buffer), CLQ_BUF(gradient), CLQ_BUF(gradient),
                      CLQ_TABLES(run), CLQ_I32(clq_table_index(run->graph, constant)),
                      CLQ_I32(false), CLQ_I32(count));
}

static clq_status backward(clq_op_run *run) {
    const binary_codes *state = run->state;
    const bool linear = run->node->op == &clq_op_add || run->node->op == &clq_op_sub;
    if (adds_whole(run)) {
        return add_whole_backward(run);
    }
    const clq_op_run codes = on_codes(run);
    CLQ_TRY(clq_pass_gradient(run, state->kept));
    CLQ_TRY(clq_binary_backward(&codes, linear ? clq_binary_gradients : gradients_on_codes));
    return state->which != NO_CONSTANT && run->grad_in[state->which].buffer != NULL
               ? mask_constant(run)
               : CLQ_OK;
}

const clq_quantized_op clq_binary_quantized = {prepare,  load_parameters, forward,
                                               backward, release,         CLQ_READS_INPUT};
/* Its gradient is the output's. */
const clq_quantized_op clq_add_quantized = {prepare,  load_parameters, forward,
                                            backward, release,         0};

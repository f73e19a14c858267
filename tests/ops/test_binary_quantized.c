/* add, sub, mul, min, max with broadcasting and constants in the three quantized modes, against
 * plain loops. */
#include <math.h>

#include "graph/codes.h"
#include "kernels/include/scales.h"
#include "ops/binary.h"
#include "support/quant_run.h"
#include "support/ref_requantize.h"

static const char *const names[] = {"add", "sub", "mul", "div", "min", "max"};
static const int quantized[] = {CLQ_BINARY_ADD, CLQ_BINARY_SUB, CLQ_BINARY_MUL, CLQ_BINARY_MIN,
                                CLQ_BINARY_MAX};
enum { OPERATORS = sizeof quantized / sizeof *quantized, BATCH = 2 };
enum { MODES = 3 };
static const clq_exec_mode modes[MODES] = {CLQ_EXEC_FAKE_QUANT, CLQ_EXEC_QAT, CLQ_EXEC_INT8};

/* ---- operands ---- */

typedef struct operand {
    clq_shape shape; /* in the graph */
    bool constant;
    float scale;
    int32_t zero_point;
    clq_qtype type;
    clq_shape real_shape; /* with the batch */
    int *codes;           /* centred */
} operand;

typedef struct meeting {
    clq_shape a, b;
    int constant; /* operand that is one, -1: none */
} meeting;

#define S1(c)                                                                                      \
    {                                                                                              \
        1, {                                                                                       \
            c                                                                                      \
        }                                                                                          \
    }
#define S2(c)                                                                                      \
    {                                                                                              \
        2, {                                                                                       \
            1, c                                                                                   \
        }                                                                                          \
    }
#define S4(h, w, c)                                                                                \
    {                                                                                              \
        4, {                                                                                       \
            1, h, w, c                                                                             \
        }                                                                                          \
    }

#define S5(d, h, w, c)                                                                             \
    {                                                                                              \
        5, {                                                                                       \
            1, d, h, w, c                                                                          \
        }                                                                                          \
    }

/* Channels that fill their words and others, around vectors of 16. */
static const meeting meetings[] = {
    {S4(3, 3, 5), S4(3, 3, 5), -1},
    {S4(5, 4, 20), S4(1, 1, 20), -1}, /* gates */
    {S2(17), S4(5, 4, 17), -1},       /* of lower rank */
    {S4(5, 4, 33), S1(33), 1},        /* a constant for each channel */
    {S4(4, 5, 32), S1(32), 1},
    {S1(1), S4(5, 4, 18), 0},        /* one number */
    {S4(5, 3, 18), S4(5, 3, 1), -1}, /* masks */
    {S4(4, 3, 4), S4(4, 1, 1), -1},
    {S4(3, 1, 7), S4(1, 5, 1), -1}, /* neither is whole */
    {S4(3, 5, 1), S4(1, 5, 1), -1}, /* a last axis of 1 */
    {S2(33), S2(33), 1},            /* the same for each image */
    {S4(3, 4, 6), S4(3, 1, 6), 1},
    {S5(3, 4, 2, 6), S5(1, 4, 1, 6), -1}, /* five axes */
    {S4(23, 17, 12), S4(1, 1, 12), -1},   /* several work-items */
};
enum { MEETINGS = sizeof meetings / sizeof *meetings };

/* Also of types whose bytes are moved, and that have narrower bounds. */
static const clq_qtype types[] = {CLQ_Q_U8, CLQ_Q_S8, CLQ_Q_U4, CLQ_Q_S5};

static size_t count_of(const clq_shape *shape) {
    return (size_t)clq_shape_count(shape);
}

/* Random codes of the type less a zero point within it. */
static operand make_operand(clq_shape shape, bool constant, clq_requantizer kind, clq_qtype type,
                            float scale, uint64_t stream) {
    const clq_qtype_info *info = clq_qtype_get(type);
    operand o = {.shape = shape, .constant = constant, .type = type, .real_shape = shape};
    o.real_shape.dim[0] = constant ? shape.dim[0] : BATCH;
    const size_t count = count_of(&o.real_shape);
    float *random = random_floats(count, 0, 1, stream);
    o.scale = ref_scale_for(kind, scale * 255 / (float)(info->highest - info->lowest));
    o.zero_point = info->lowest + (info->highest - info->lowest) / 3;
    o.codes = malloc(count * sizeof *o.codes);
    for (size_t i = 0; i < count; i++) {
        const int code =
            info->lowest + (int)(random[i] * (float)(info->highest - info->lowest + 1));
        o.codes[i] = (code > info->highest ? info->highest : code) - o.zero_point;
    }
    free(random);
    return o;
}

static size_t element(const clq_shape *out, const operand *o, size_t at) {
    size_t index = 0, step = 1;
    for (int axis = out->rank - 1; axis >= 0; axis--) {
        const size_t place = at % (size_t)out->dim[axis];
        const int64_t own = clq_broadcast_dim(&o->real_shape, o->constant, out->rank, axis);
        at /= (size_t)out->dim[axis];
        index += own > 1 ? place * step : 0;
        step *= (size_t)own;
    }
    return index;
}

/* ---- the reference ---- */

/* The code before it is clamped, less the zero point; of minima and maxima who is taken. */
static double code_of(int op, clq_requantizer kind, const operand *a, int qa, const operand *b,
                      int qb, float y_scale, double lo, double hi, bool *first) {
    const float product = a->scale * b->scale;
    if (op == CLQ_BINARY_ADD || op == CLQ_BINARY_SUB) {
        return ref_requantized_add(kind, qa, a->scale, op == CLQ_BINARY_SUB ? -qb : qb, b->scale,
                                   y_scale);
    }
    if (op == CLQ_BINARY_MUL) {
        return ref_requantize(kind, qa * qb, product / y_scale);
    }
    const double ca = ref_requantize(kind, qa, a->scale / y_scale);
    const double cb = ref_requantize(kind, qb, b->scale / y_scale);
    const double ta = fmin(fmax(ca, lo), hi), tb = fmin(fmax(cb, lo), hi);
    *first = op == CLQ_BINARY_MIN ? ta <= tb : ta >= tb;
    return op == CLQ_BINARY_MIN ? fmin(ca, cb) : fmax(ca, cb);
}

static float real_of(int op, const operand *a, int qa, const operand *b, int qb) {
    const float ra = (float)qa * a->scale, rb = (float)qb * b->scale;
    return op == CLQ_BINARY_ADD   ? ra + rb
           : op == CLQ_BINARY_SUB ? ra - rb
           : op == CLQ_BINARY_MUL ? ra * rb
           : op == CLQ_BINARY_MIN ? fminf(ra, rb)
                                  : fmaxf(ra, rb);
}

typedef struct expectation {
    clq_shape shape;
    int *codes; /* centred */
    float *dy;
    double *da, *db;
    float seen[2];
} expectation;

static void free_expectation(expectation *e) {
    free(e->codes), free(e->dy), free(e->da), free(e->db);
}

static expectation expect(int op, clq_requantizer kind, const operand *a, const operand *b,
                          const operand *y, clq_act act) {
    const clq_qtype_info *info = clq_qtype_get(y->type);
    const size_t n = count_of(&y->real_shape);
    expectation e = {.shape = y->real_shape,
                     .codes = malloc(n * sizeof *e.codes),
                     .dy = random_floats(n, -1, 1, 9),
                     .da = calloc(count_of(&a->real_shape), sizeof *e.da),
                     .db = calloc(count_of(&b->real_shape), sizeof *e.db)};
    const double z = y->zero_point, six = rintf(6.0f / y->scale);
    const double lo = act == CLQ_ACT_NONE ? info->lowest - z : 0;
    const double hi = act == CLQ_ACT_RELU6 ? fmin(six, info->highest - z) : info->highest - z;
    for (size_t i = 0; i < n; i++) {
        const size_t ia = element(&e.shape, a, i), ib = element(&e.shape, b, i);
        const int qa = a->codes[ia], qb = b->codes[ib];
        bool first = false;
        const double code = code_of(op, kind, a, qa, b, qb, y->scale, lo, hi, &first);
        float real = real_of(op, a, qa, b, qb);
        e.codes[i] = (int)fmin(fmax(code, lo), hi);
        real = act != CLQ_ACT_NONE && real < 0 ? 0 : real;
        real = act == CLQ_ACT_RELU6 && real > 6 ? 6 : real;
        e.seen[0] = fmaxf(e.seen[0], -real);
        e.seen[1] = fmaxf(e.seen[1], real);
        if (code >= lo && code <= hi) {
            const double g = (double)e.dy[i];
            e.da[ia] += op == CLQ_BINARY_MUL   ? g * qb * (double)b->scale
                        : op <= CLQ_BINARY_SUB ? g
                                               : g * first;
            e.db[ib] += op == CLQ_BINARY_MUL   ? g * qa * (double)a->scale
                        : op == CLQ_BINARY_SUB ? -g
                        : op == CLQ_BINARY_ADD ? g
                                               : g * !first;
        }
    }
    return e;
}

/* ---- on the device ---- */

static int put_operand(quant_test *t, const char *name, const operand *o, clq_exec_mode mode) {
    const size_t count = count_of(&o->real_shape);
    int value = 0;
    if (o->constant) {
        int8_t *codes = malloc(count);
        float *reals = malloc(count * sizeof *reals);
        for (size_t i = 0; i < count; i++) {
            codes[i] = (int8_t)(o->codes[i] + o->zero_point);
            reals[i] = (float)o->codes[i] * o->scale;
        }
        const bool real = mode != CLQ_EXEC_INT8;
        assert_ok(clq_graph_add_parameter(t->graph, name, CLQ_VALUE_PARAMETER,
                                          real ? CLQ_F32 : CLQ_S8, o->shape,
                                          real ? (void *)reals : (void *)codes, &value));
        free(codes), free(reals);
    } else {
        assert_ok(clq_graph_add_input(t->graph, name, o->shape, &value));
    }
    assert_ok(clq_qparams_set(&t->graph->values[value].q, 1, &o->scale, o->zero_point, o->type));
    return value;
}

static void feed(const quant_test *t, int input, const operand *o) {
    const clq_tensor *in = &t->run.in[input];
    const size_t channels = (size_t)o->shape.dim[o->shape.rank - 1];
    const size_t count = count_of(&o->real_shape), size = clq_buffer_size(in->buffer);
    const int offset = clq_qtype_get(o->type)->lowest < 0 ? 128 : 0;
    void *data = calloc(size, 1);
    for (size_t k = 0; k < count; k++) {
        if (in->dtype == CLQ_U8) {
            ((uint8_t *)data)[k / channels * (size_t)in->pitch + k % channels] =
                (uint8_t)(o->codes[k] + o->zero_point + offset);
        } else {
            ((float *)data)[k] = (float)o->codes[k];
        }
    }
    assert_ok(clq_buffer_write(in->buffer, 0, size, data));
    free(data);
}

static void begin(quant_test *t, int op, clq_requantizer kind, clq_act act, const operand *a,
                  const operand *b, const operand *y, clq_exec_mode mode) {
    const clq_binary_attrs attrs = {act};
    const quant_meaning meaning = {y->scale, y->zero_point};
    quant_begin(t);
    assert_ok(clq_graph_set_requantizer(t->graph, kind));
    const int inputs[2] = {put_operand(t, "a", a, mode), put_operand(t, "b", b, mode)};
    quant_node(t, names[op], &attrs, inputs, 2, &meaning, mode, BATCH);
    clq_graph *graph = t->graph;
    assert_ok(clq_qparams_set(&graph->values[clq_graph_output(graph)].q, 1, &y->scale,
                              y->zero_point, y->type));
    if (t->qstate) { /* made before the output had its type */
        clq_qstate_destroy(t->qstate);
        assert_ok(clq_qstate_create(test_device, graph, &t->qstate));
        t->run.qstate = t->qstate;
    }
    for (int k = 0; k < 2; k++) {
        if (!(k == 0 ? a : b)->constant) {
            feed(t, k, k == 0 ? a : b);
        }
    }
}

static void assert_codes(const quant_test *t, const operand *y, const expectation *e) {
    const clq_tensor *out = &t->run.out;
    const size_t channels = (size_t)e->shape.dim[e->shape.rank - 1], count = count_of(&e->shape);
    const size_t size = clq_buffer_size(out->buffer);
    const int zero = y->zero_point + (clq_qtype_get(y->type)->lowest < 0 ? 128 : 0);
    int *codes = malloc(count * sizeof *codes);
    void *data = malloc(size);
    assert_ok(clq_buffer_read(out->buffer, 0, size, data));
    for (size_t k = 0; k < count; k++) {
        codes[k] = out->dtype == CLQ_U8
                       ? ((uint8_t *)data)[k / channels * (size_t)out->pitch + k % channels] - zero
                       : (int)((float *)data)[k];
        assert_true(out->dtype == CLQ_U8 || ((float *)data)[k] == (float)codes[k]);
    }
    assert_equal_s32(codes, e->codes, clq_test_shape_of(count));
    free(data), free(codes);
}

/* Sums of up to 1000 numbers of about 1. */
static void assert_gradient(const quant_test *t, int input, const double *expected) {
    const size_t count = count_of(&t->run.in[input].shape);
    float *floats = malloc(count * sizeof *floats);
    for (size_t i = 0; i < count; i++) {
        floats[i] = (float)expected[i];
    }
    assert_buffer_close(t->run.grad_in[input].buffer, floats, count, 2e-4, 1e-5);
    free(floats);
}

static void check_training(quant_test *t, const operand *y, const expectation *e) {
    float seen[2];
    t->qstate->observe = true;
    assert_ok(t->run.node->op->quantized->forward(&t->run));
    assert_codes(t, y, e);
    quant_seen(t, seen);
    assert_true(fabsf(seen[0] - e->seen[0]) <= 1e-6f * e->seen[0] &&
                fabsf(seen[1] - e->seen[1]) <= 1e-6f * e->seen[1]);
    quant_backward(t, e->dy);
    assert_gradient(t, 0, e->da);
    assert_gradient(t, 1, e->db);
}

static clq_shape result_of(const clq_shape *a, const clq_shape *b) {
    clq_shape shape = a->rank > b->rank ? *a : *b;
    for (int axis = 1; axis < shape.rank; axis++) {
        const int64_t da = clq_broadcast_dim(a, a->rank == 1, shape.rank, axis);
        const int64_t db = clq_broadcast_dim(b, b->rank == 1, shape.rank, axis);
        shape.dim[axis] = da > db ? da : db;
    }
    return shape;
}

static void check(int op, clq_requantizer kind, const meeting *m, clq_qtype type, clq_act act,
                  bool trains) {
    const clq_qtype of_constant = m->constant >= 0 ? CLQ_Q_S8 : type;
    const float y_scale = op == CLQ_BINARY_MUL ? 0.11f : 0.029f;
    operand a = make_operand(m->a, m->constant == 0, kind, m->constant == 0 ? of_constant : type,
                             0.031f, 1);
    operand b = make_operand(m->b, m->constant == 1, kind, m->constant == 1 ? of_constant : type,
                             0.042f, 2);
    operand y = make_operand(result_of(&m->a, &m->b), false, kind, type, y_scale, 3);
    expectation e = expect(op, kind, &a, &b, &y, act);
    for (int i = 0; i < MODES; i++) {
        quant_test t;
        if (modes[i] == CLQ_EXEC_QAT && !trains) {
            continue;
        }
        begin(&t, op, kind, act, &a, &b, &y, modes[i]);
        if (modes[i] == CLQ_EXEC_QAT) {
            quant_want_gradient(&t, 0, NULL);
            quant_want_gradient(&t, 1, NULL);
        }
        quant_forward(&t);
        assert_codes(&t, &y, &e);
        if (modes[i] == CLQ_EXEC_QAT) {
            check_training(&t, &y, &e);
        }
        quant_end(&t);
    }
    free(a.codes), free(b.codes), free(y.codes);
    free_expectation(&e);
}

static void check_operators(bool all) {
    for (int o = 0; o < OPERATORS; o++) {
        for (int kind = 0; kind < CLQ_REQUANT_COUNT; kind++) {
            if (!ref_takes((clq_requantizer)kind, test_device) ||
                !(all || clq_test_all() || kind == (o + 1) % CLQ_REQUANT_COUNT)) {
                continue;
            }
            for (int m = 0; m < MEETINGS; m++) {
                check(quantized[o], (clq_requantizer)kind, &meetings[m], types[(m + o) % 4],
                      (clq_act)(m % 3), true);
            }
        }
    }
}

static void operators_give_the_codes_of_plain_loops(void **state) {
    (void)state;
    check_operators(false);
    for (int m = 0; m < MEETINGS; m++) { /* and the usual requantizer of what networks have most */
        check(CLQ_BINARY_MUL, CLQ_REQUANT_FLOAT, &meetings[m], CLQ_Q_U8, CLQ_ACT_NONE, true);
    }
}

/* The kernels of all are one source. */
static void operators_give_them_on_gpus(void **state) {
    (void)state;
    for (int m = 0; m < MEETINGS; m++) {
        check(CLQ_BINARY_MUL, CLQ_REQUANT_FLOAT, &meetings[m], types[m % 4], (clq_act)(m % 3),
              true);
    }
    if (clq_test_all()) {
        check_operators(true);
    }
}

/* A power of two never clamps a constant for being the nearest one. */
static void constants_keep_their_largest(void **state) {
    (void)state;
    static const float largest[] = {1.4f, 1.0f, 127, 0.9f, 3e-5f, 1e30f};
    for (size_t i = 0; i < sizeof largest / sizeof *largest; i++) {
        const float any = clq_constant_scale(largest[i], 127, CLQ_ANY_SCALE);
        const float pow2 = clq_constant_scale(largest[i], 127, 8);
        int exponent;
        assert_true(any == largest[i] / 127);
        assert_true(frexpf(pow2, &exponent) == 0.5f);
        assert_true(largest[i] / pow2 <= 127 || pow2 == 256);
        assert_true(largest[i] / pow2 > 63.4f || pow2 == 1 / 256.0f);
    }
    assert_true(clq_constant_scale(0, 127, CLQ_ANY_SCALE) == 1);
}

/* Its scale follows the constant on the device as on the host; the gradient is that of the reals.
 */
static void trained_constants_have_their_own_scale(void **state) {
    (void)state;
    enum { C = 21 };
    static const float unit = 1;
    const clq_shape x_shape = S2(C), shape = S1(C);
    const quant_meaning x = {0.03f, 100}, y = {0.06f, 90};
    const clq_binary_attrs attrs = {CLQ_ACT_NONE};
    float *reals = random_floats(C, -1.7f, 1.2f, 5), most = 0;
    uint8_t *codes = random_codes(BATCH * C, 6);
    quant_test t;
    quant_begin(&t);
    int inputs[2] = {quant_activation(&t, &x_shape, x)};
    inputs[1] = quant_parameter(&t, "c", shape, CLQ_F32, reals, 1, &unit, CLQ_Q_S8_NARROW);
    quant_node(&t, "mul", &attrs, inputs, 2, &y, CLQ_EXEC_QAT, BATCH);
    quant_input(&t, 0, codes);
    t.qstate->choose_constant_scales = true;
    for (int max_shift = -1; max_shift < 9; max_shift += 9) {
        float scale;
        t.qstate->max_shift = max_shift;
        for (int i = 0; i < C; i++) {
            most = fmaxf(most, fabsf(reals[i]));
        }
        if (t.run.state) {
            t.run.node->op->quantized->release(&t.run);
        }
        quant_forward(&t);
        assert_ok(clq_buffer_read(t.qstate->scale, (size_t)inputs[1] * 4, 4, &scale));
        assert_true(scale == clq_constant_scale(most, 127, max_shift));
        uint8_t *out = quant_output(&t);
        for (int i = 0; i < BATCH * C; i++) {
            const float q = rintf(reals[i % C] / scale), product = x.scale * scale;
            const float code =
                rintf((float)(codes[i] - x.zero_point) * q * (product / y.scale)) + 90;
            assert_true(out[i] == (code < 0 ? 0 : code > 255 ? 255 : (int)code));
        }
        free(out);
    }
    quant_end(&t);
    free(reals), free(codes);
}

static void constants_without_scales_are_refused(void **state) {
    (void)state;
    const clq_shape x_shape = S2(4), shape = S1(4);
    const quant_meaning x = {0.03f, 100};
    const clq_binary_attrs attrs = {CLQ_ACT_NONE};
    quant_test t;
    quant_begin(&t);
    int inputs[2] = {quant_activation(&t, &x_shape, x)};
    assert_ok(clq_graph_add_parameter(t.graph, "c", CLQ_VALUE_PARAMETER, CLQ_F32, shape, NULL,
                                      &inputs[1]));
    quant_node(&t, "mul", &attrs, inputs, 2, &x, CLQ_EXEC_FAKE_QUANT, BATCH);
    assert_status(t.run.node->op->quantized->prepare(&t.run), CLQ_USAGE);
    assert_error_has("\"c\"");
    quant_end(&t);
}

int main(void) {
    const struct CMUnitTest on_cpu[] = {
        cmocka_unit_test(operators_give_the_codes_of_plain_loops),
        cmocka_unit_test(constants_keep_their_largest),
        cmocka_unit_test(trained_constants_have_their_own_scale),
        cmocka_unit_test(constants_without_scales_are_refused),
    };
    const struct CMUnitTest on_gpu[] = {
        cmocka_unit_test(operators_give_them_on_gpus),
    };
    return cmocka_run_group_tests_name("cpu schedule", on_cpu, open_cpu_schedule, close_device) +
           cmocka_run_group_tests_name("gpu schedule", on_gpu, open_gpu_schedule, close_device);
}

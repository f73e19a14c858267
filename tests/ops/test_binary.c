/* add, sub, mul, div, min, max, pow on reals: broadcasting, activations, gradients. */
#include <math.h>
#include <string.h>

#include "ops/binary.h"
#include "support/op_run.h"

static const char *const names[] = {"add", "sub", "mul", "div", "min", "max", "pow"};

static double apply(int op, double a, double b) {
    switch (op) {
    case CLQ_BINARY_ADD:
        return a + b;
    case CLQ_BINARY_SUB:
        return a - b;
    case CLQ_BINARY_MUL:
        return a * b;
    case CLQ_BINARY_DIV:
        return a / b;
    case CLQ_BINARY_MIN:
        return b < a ? b : a;
    case CLQ_BINARY_MAX:
        return b > a ? b : a;
    default:
        return pow(a, b);
    }
}

static double act_of(clq_act act, double y) {
    y = act != CLQ_ACT_NONE && y < 0 ? 0 : y;
    return act == CLQ_ACT_RELU6 && y > 6 ? 6 : y;
}

/* ---- shapes ---- */

typedef struct meeting {
    clq_shape out, a, b;
} meeting;

#define S2(n, c)                                                                                   \
    {                                                                                              \
        2, {                                                                                       \
            n, c                                                                                   \
        }                                                                                          \
    }
#define S3(n, l, c)                                                                                \
    {                                                                                              \
        3, {                                                                                       \
            n, l, c                                                                                \
        }                                                                                          \
    }
#define S4(n, h, w, c)                                                                             \
    {                                                                                              \
        4, {                                                                                       \
            n, h, w, c                                                                             \
        }                                                                                          \
    }

#define S5(n, d, h, w, c)                                                                          \
    {                                                                                              \
        5, {                                                                                       \
            n, d, h, w, c                                                                          \
        }                                                                                          \
    }

static const meeting meetings[] = {
    {S4(2, 3, 3, 5), S4(2, 3, 3, 5), S4(2, 3, 3, 5)},
    {S4(2, 5, 4, 17), S4(2, 5, 4, 17), S4(2, 1, 1, 17)},  /* gates */
    {S4(2, 5, 4, 17), S2(2, 17), S4(2, 5, 4, 17)},        /* of lower rank */
    {S4(3, 5, 4, 33), S4(3, 5, 4, 33), S4(1, 1, 1, 33)},  /* a channel each */
    {S4(2, 5, 4, 16), S4(1, 1, 1, 1), S4(2, 5, 4, 16)},   /* one number */
    {S4(2, 5, 4, 18), S4(2, 5, 4, 18), S4(2, 5, 4, 1)},   /* masks */
    {S4(2, 3, 5, 7), S4(2, 3, 1, 7), S4(2, 1, 5, 1)},     /* neither is whole */
    {S4(2, 3, 4, 5), S4(2, 1, 4, 1), S4(1, 3, 1, 5)},     /* as many axes as can alternate */
    {S4(2, 4, 5, 1), S4(2, 4, 5, 1), S4(2, 1, 5, 1)},     /* a last axis of 1 */
    {S2(3, 33), S2(3, 33), S2(3, 1)},                     /* rows */
    {S3(2, 9, 19), S3(2, 9, 19), S3(1, 9, 19)},           /* the same for each image */
    {S4(2, 40, 40, 3), S4(1, 1, 1, 3), S4(2, 40, 40, 3)}, /* sums in pieces */
    {S4(3, 30, 30, 20), S4(3, 30, 30, 20), S4(1, 1, 1, 20)},
    {S4(1, 60, 60, 5), S4(1, 1, 1, 1), S4(1, 60, 60, 5)},
    {S5(2, 3, 4, 2, 5), S5(2, 3, 4, 2, 5), S5(2, 1, 4, 1, 5)}, /* five axes */
    {S5(2, 3, 4, 2, 5), S5(2, 3, 1, 2, 1), S5(1, 1, 4, 1, 5)},
    {S2(1, 1), S2(1, 1), S2(1, 1)},
};
enum { MEETINGS = sizeof meetings / sizeof *meetings };

static size_t count_of(const clq_shape *shape) {
    return (size_t)clq_shape_count(shape);
}

/* The operand's element for element `at` of the result. */
static size_t element(const clq_shape *out, const clq_shape *operand, size_t at) {
    size_t index = 0, step = 1;
    for (int axis = out->rank - 1; axis >= 0; axis--) {
        const size_t place = at % (size_t)out->dim[axis];
        const int64_t own = clq_broadcast_dim(operand, false, out->rank, axis);
        at /= (size_t)out->dim[axis];
        index += own > 1 ? place * step : 0;
        step *= (size_t)own;
    }
    return index;
}

/* ---- one operator on one pair of shapes ---- */

/* What is added to gradients in double from differences of the function itself. */
static void add_gradients(int op, clq_act act, double a, double b, double dy, double *da,
                          double *db) {
    static const double e = 1e-6;
    const double y = apply(op, a, b);
    if (act_of(act, y) == y) { /* nothing that is drawn lies on a bound */
        *da += dy * (apply(op, a + e, b) - apply(op, a - e, b)) / (2 * e);
        *db += dy * (apply(op, a, b + e) - apply(op, a, b - e)) / (2 * e);
    }
}

/* Largest magnitude of what is added up: sums of floats err by that. */
static double check_tolerance(const clq_shape *out, const clq_shape *operand) {
    return 4e-6 * sqrt((double)(count_of(out) / count_of(operand)));
}

static void check(int op, const meeting *m, clq_act act, bool accumulate) {
    const size_t n = count_of(&m->out), na = count_of(&m->a), nb = count_of(&m->b);
    const bool positive = op == CLQ_BINARY_DIV || op == CLQ_BINARY_POW;
    float *a = random_floats(na, positive ? 0.3f : -3, 3, 1);
    float *b = random_floats(nb, positive ? 0.4f : -3, 2.5f, 2);
    float *dy = random_floats(n, -1, 1, 3), *start = random_floats(na, -1, 1, 4);
    float *y = malloc(n * sizeof *y), *da = malloc(na * sizeof *da), *db = malloc(nb * sizeof *db);
    double *exact_da = calloc(na, sizeof *exact_da), *exact_db = calloc(nb, sizeof *exact_db);
    const clq_binary_attrs attrs = {act};
    op_test t;
    for (size_t i = 0; i < n; i++) {
        const size_t ia = element(&m->out, &m->a, i), ib = element(&m->out, &m->b, i);
        y[i] = (float)act_of(act, apply(op, (double)a[ia], (double)b[ib]));
        add_gradients(op, act, (double)a[ia], (double)b[ib], (double)dy[i], &exact_da[ia],
                      &exact_db[ib]);
    }
    for (size_t i = 0; i < na; i++) {
        da[i] = (float)(exact_da[i] + (accumulate ? (double)start[i] : 0));
    }
    for (size_t i = 0; i < nb; i++) {
        db[i] = (float)exact_db[i];
    }
    op_begin(&t, names[op], &attrs, CLQ_EXEC_TRAIN);
    op_input(&t, 0, m->a, a);
    op_input(&t, 1, m->b, b);
    op_output(&t, m->out);
    op_want_gradient(&t, 0, accumulate ? start : NULL);
    op_want_gradient(&t, 1, NULL);
    op_forward(&t);
    op_backward(&t, dy);
    assert_buffer_close(t.run.out.buffer, y, n, op <= CLQ_BINARY_MUL ? 0 : 1e-6,
                        op <= CLQ_BINARY_MUL ? 2e-7 : 4e-6);
    assert_buffer_close(t.run.grad_in[0].buffer, da, na, check_tolerance(&m->out, &m->a), 1e-5);
    assert_buffer_close(t.run.grad_in[1].buffer, db, nb, check_tolerance(&m->out, &m->b), 1e-5);
    op_end(&t);
    free(a), free(b), free(dy), free(start), free(y), free(da), free(db);
    free(exact_da), free(exact_db);
}

static void check_operator(int op) {
    for (int i = 0; i < MEETINGS; i++) {
        check(op, &meetings[i], (clq_act)(i % 3), i % 2 == 1);
        if (i < 2) {
            check(op, &meetings[i], CLQ_ACT_NONE, i % 2 == 0);
        }
    }
}

static void every_operator_meets_every_shape(void **state) {
    (void)state;
    for (int op = 0; op < CLQ_BINARY_COUNT; op++) {
        check_operator(op);
    }
}

/* The kernels of all are one source: the others in the exhaustive tests. */
static void operators_meet_shapes_on_gpus(void **state) {
    (void)state;
    for (int op = 0; op < CLQ_BINARY_COUNT; op++) {
        if (clq_test_all() || op == CLQ_BINARY_MUL) {
            check_operator(op);
        }
    }
}

/* x op x: both gradients go to the one of x, which may lie in the memory of the output's. */
static void one_value_may_be_both_operands(void **state) {
    (void)state;
    enum { COUNT = 37 };
    const clq_shape shape = S2(1, COUNT);
    const clq_binary_attrs attrs = {CLQ_ACT_NONE};
    float *x = random_floats(COUNT, -3, 3, 1), *dy = random_floats(COUNT, -1, 1, 2);
    for (int in_place = 0; in_place < 2; in_place++) {
        float dx[COUNT];
        op_test t;
        for (int i = 0; i < COUNT; i++) {
            dx[i] = dy[i] * x[i] + dy[i] * x[i];
        }
        op_begin(&t, "mul", &attrs, CLQ_EXEC_TRAIN);
        op_input(&t, 0, shape, x);
        t.run.in[1] = t.run.in[0];
        t.node.input_count = 2;
        op_output(&t, shape);
        op_forward(&t);
        t.run.grad_out = op_tensor(shape, dy);
        t.run.grad_in[0] = in_place ? t.run.grad_out : op_tensor(shape, NULL);
        t.run.grad_in[1] = t.run.grad_in[0];
        t.run.accumulate[1] = true;
        assert_ok(t.node.op->backward(&t.run));
        assert_buffer_close(t.run.grad_in[0].buffer, dx, COUNT, 0, 0);
        op_end(&t);
    }
    free(x), free(dy);
}

/* Of equal elements a's is taken, and gets the gradient; a NaN stays one. */
static void ties_go_to_the_first(void **state) {
    (void)state;
    const clq_shape shape = S2(1, 4);
    const clq_binary_attrs attrs = {CLQ_ACT_NONE};
    const float a[4] = {1, -2, NAN, 3}, b[4] = {1, -2, 0, NAN}, dy[4] = {5, 6, 7, 8};
    for (int op = CLQ_BINARY_MIN; op <= CLQ_BINARY_MAX; op++) {
        op_test t;
        op_begin(&t, names[op], &attrs, CLQ_EXEC_TRAIN);
        op_input(&t, 0, shape, a);
        op_input(&t, 1, shape, b);
        op_output(&t, shape);
        op_want_gradient(&t, 0, NULL);
        op_want_gradient(&t, 1, NULL);
        op_forward(&t);
        op_backward(&t, dy);
        float *y = read_floats(t.run.out.buffer), *da = read_floats(t.run.grad_in[0].buffer);
        float *db = read_floats(t.run.grad_in[1].buffer);
        assert_true(y[0] == 1 && y[1] == -2 && isnan(y[2]) && isnan(y[3]));
        assert_true(da[0] == 5 && da[1] == 6 && db[0] == 0 && db[1] == 0);
        free(y), free(da), free(db);
        op_end(&t);
    }
}

int main(void) {
    const struct CMUnitTest on_cpu[] = {
        cmocka_unit_test(every_operator_meets_every_shape),
        cmocka_unit_test(one_value_may_be_both_operands),
        cmocka_unit_test(ties_go_to_the_first),
    };
    const struct CMUnitTest on_gpu[] = {
        cmocka_unit_test(operators_meet_shapes_on_gpus),
        cmocka_unit_test(one_value_may_be_both_operands),
    };
    return cmocka_run_group_tests_name("cpu schedule", on_cpu, open_cpu_schedule, close_device) +
           cmocka_run_group_tests_name("gpu schedule", on_gpu, open_gpu_schedule, close_device);
}

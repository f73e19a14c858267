/* Reductions over axes, forward and backward, against plain loops in double. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/op_run.h"
#include "support/ref_reduce.h"

/* Sums of up to 100 elements round by about 1e-6 of their terms. */
static const double ABSOLUTE = 1e-5, RELATIVE = 1e-5;

typedef struct reduce_case {
    clq_shape x;
    unsigned axes;
} reduce_case;

/* Rows along memory, with and without a full set of lanes, and side by side, around a vector; two
 * groups of axes; all; one element. */
static const reduce_case cases[] = {
    {{2, {3, 5}}, 2},        {{2, {2, 131}}, 2},       {{3, {2, 7, 33}}, 2},
    {{3, {2, 3, 16}}, 4},    {{4, {2, 3, 5, 17}}, 6},  {{4, {2, 3, 4, 19}}, 10},
    {{4, {1, 9, 2, 5}}, 14}, {{4, {1, 66, 1, 17}}, 2}, {{4, {2, 4, 1, 3}}, 4},
};
enum { CASES = sizeof cases / sizeof *cases };

static const char *const kinds[] = {"mean", "sum", "max",        "min",        "prod",
                                    "l1",   "l2",  "sum_square", "log_sum_exp"};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const char *name_of(const char *kind) {
    static char name[32];
    snprintf(name, sizeof name, "reduce_%s", kind);
    return name;
}

static clq_shape output_of(const clq_shape *x, unsigned axes) {
    clq_shape y = *x;
    for (int i = 0; i < x->rank; i++) {
        y.dim[i] = axes >> i & 1 ? 1 : x->dim[i];
    }
    return y;
}

/* Near 1 for products, else a few levels, so that extremes are equal. */
static float *values_for(const char *kind, size_t count) {
    const bool product = strcmp(kind, "prod") == 0, coarse = strcmp(kind, "max") == 0;
    float *x = random_floats(count, product ? 0.5f : -4, product ? 1.4f : 4, 1);
    for (size_t i = 0; i < count; i++) {
        x[i] = coarse ? rintf(x[i]) : x[i];
        x[i] = product && i % 11 == 3 ? 0 : x[i];
    }
    return x;
}

static float *as_floats(const double *from, size_t count, const float *start) {
    float *to = malloc(count * sizeof *to);
    for (size_t i = 0; i < count; i++) {
        to[i] = (float)(from[i] + (start ? (double)start[i] : 0));
    }
    return to;
}

/* What the first schedule computed: the second must give the same bits. */
static float *seen[KINDS * CASES];

static void check_bits(int at, clq_buffer *buffer, size_t count) {
    float *y = read_floats(buffer);
    if (!seen[at]) {
        seen[at] = y;
        return;
    }
    assert_equal_bits(y, seen[at], count * sizeof *y);
    free(y);
    free(seen[at]);
    seen[at] = NULL;
}

static void check_reduce(int kind, int at, bool accumulate) {
    const reduce_case *c = &cases[at];
    const clq_reduce_attrs attrs = {.axes = c->axes, .keep = true};
    const clq_shape y_shape = output_of(&c->x, c->axes);
    const size_t inputs = (size_t)clq_shape_count(&c->x), rows = (size_t)clq_shape_count(&y_shape);
    double *y = malloc(rows * sizeof *y), *dx = malloc(inputs * sizeof *dx);
    float *x = values_for(kinds[kind], inputs), *dy = random_floats(rows, -1, 1, 2);
    float *start = random_floats(inputs, -1, 1, 3);
    op_test t;
    ref_reduce(kinds[kind], &c->x, c->axes, x, y);
    ref_reduce_grad(kinds[kind], &c->x, c->axes, x, dy, dx);
    float *y_floats = as_floats(y, rows, NULL),
          *dx_floats = as_floats(dx, inputs, accumulate ? start : NULL);
    op_begin(&t, name_of(kinds[kind]), &attrs, CLQ_EXEC_TRAIN);
    op_input(&t, 0, c->x, x);
    op_output(&t, y_shape);
    op_want_gradient(&t, 0, accumulate ? start : NULL);
    op_forward(&t);
    op_backward(&t, dy);
    assert_buffer_close(t.run.out.buffer, y_floats, rows, ABSOLUTE, RELATIVE);
    assert_buffer_close(t.run.grad_in[0].buffer, dx_floats, inputs, ABSOLUTE, RELATIVE);
    check_bits(kind * CASES + at, t.run.out.buffer, rows);
    op_end(&t);
    free(x), free(dy), free(start), free(y), free(dx), free(y_floats), free(dx_floats);
}

static void test_reductions(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        for (int i = 0; i < CASES; i++) {
            check_reduce(k, i, (i + k) % 2 == 1);
        }
    }
}

/* A sum of many keeps its digits. */
static void test_long_sums(void **state) {
    (void)state;
    enum { COUNT = 300000 };
    const clq_reduce_attrs attrs = {.axes = 2, .keep = true};
    float *x = random_floats(COUNT, 0, 1, 1), y;
    double sum = 0;
    op_test t;
    for (int i = 0; i < COUNT; i++) {
        sum += (double)x[i];
    }
    op_begin(&t, "reduce_sum", &attrs, CLQ_EXEC_FLOAT);
    op_input(&t, 0, (clq_shape){2, {1, COUNT}}, x);
    op_output(&t, (clq_shape){2, {1, 1}});
    op_forward(&t);
    assert_ok(clq_buffer_read(t.run.out.buffer, 0, sizeof y, &y));
    assert_true(fabs((double)y - sum) < 2e-6 * sum);
    op_end(&t);
    free(x);
}

static void check_arg(const char *op, const clq_arg_attrs *attrs, clq_shape x_shape,
                      const float *x) {
    const clq_shape y_shape = output_of(&x_shape, 1u << attrs->axis);
    const size_t rows = (size_t)clq_shape_count(&y_shape);
    float *index = malloc(rows * sizeof *index);
    op_test t;
    ref_arg_max(&x_shape, attrs->axis, strcmp(op, "arg_min") == 0 ? -1 : 1, attrs->last, x, index);
    op_begin(&t, op, attrs, CLQ_EXEC_FLOAT);
    op_input(&t, 0, x_shape, x);
    op_output(&t, y_shape);
    op_forward(&t);
    assert_buffer_close(t.run.out.buffer, index, rows, 0, 0);
    op_end(&t);
    free(index);
}

static void test_arg(void **state) {
    (void)state;
    static const clq_shape shapes[] = {
        {2, {3, 5}}, {2, {2, 131}}, {3, {2, 7, 33}}, {3, {2, 70, 3}}};
    for (int s = 0; s < 4; s++) {
        const size_t count = (size_t)clq_shape_count(&shapes[s]);
        float *x = random_floats(count, -3, 3, 1);
        for (size_t i = 0; i < count; i++) {
            x[i] = i % 37 == 36 ? NAN : rintf(x[i]);
        }
        for (int last = 0; last < 2; last++) {
            const clq_arg_attrs attrs = {.axis = 1, .keep = true, .last = last};
            check_arg("arg_max", &attrs, shapes[s], x);
            check_arg("arg_min", &attrs, shapes[s], x);
        }
        free(x);
    }
}

/* Whatever the size of x, log(sum exp(x)) is found; nothing finite gives an infinity. */
static void test_log_sum_exp(void **state) {
    (void)state;
    const clq_reduce_attrs attrs = {.axes = 2, .keep = true};
    const float x[] = {1e4f,      1e4f,      -INFINITY, -2e4f, -INFINITY, -2e4f,
                       -INFINITY, -INFINITY, -INFINITY, 3,     INFINITY,  0};
    const float y[] = {1e4f + 0.6931472f, -2e4f + 0.6931472f, -INFINITY, INFINITY};
    op_test t;
    op_begin(&t, "reduce_log_sum_exp", &attrs, CLQ_EXEC_FLOAT);
    op_input(&t, 0, (clq_shape){2, {4, 3}}, x);
    op_output(&t, (clq_shape){2, {4, 1}});
    op_forward(&t);
    assert_buffer_close(t.run.out.buffer, y, 4, 0, 1e-6);
    op_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_long_sums),
        cmocka_unit_test(test_arg),
        cmocka_unit_test(test_log_sum_exp),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

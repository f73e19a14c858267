/* The functions of one number: values and slopes against their definitions in double, in place,
 * accumulating, at the ends of the floats. */
#include <math.h>
#include <string.h>

#include "ops/unary.h"
#include "support/op_run.h"
#include "support/ref_unary.h"

/* A function is a program of its own: each schedule takes some, unless all are wanted. */
enum { IN_TURN = 5 };

static bool is_taken(int u) {
    const clq_device_info *info = clq_device_get_info(test_device);
    return clq_test_takes(u + 2 * (info->schedule == CLQ_SCHEDULE_GPU), IN_TURN);
}

/* OpenCL lets exp and tanh err by 3 and 5 units in the last place (of 6e-8), erf and pow by 16; of
 * a sum or product of two, gelu and mish are the longest. PoCL keeps within 1.1e-7 (1 + |y|). */
static const double ABSOLUTE = 1e-6, RELATIVE = 2e-6;

static clq_unary_function function_of(const ref_unary *u) {
    const clq_node node = {.op = clq_op_find(u->op), .attrs = (void *)&u->attrs};
    assert_non_null(node.op);
    return clq_unary_function_of(&node);
}

/* ---- on the host, in double ---- */

static void host_functions_are_as_defined(void **state) {
    (void)state;
    for (int k = 0; k < REF_UNARIES; k++) {
        const ref_unary *u = &ref_unaries[k];
        const clq_unary_function f = function_of(u);
        for (int i = 0; i <= 4001; i++) {
            const double x = u->low + (u->high - u->low) * i / 4001.0;
            const double y = clq_unary_value(f.function, x, f.attrs.alpha, f.attrs.beta);
            const double v = CLQ_UNARY_KEEPS_OUTPUT(f.function) ? y : x;
            const double slope = clq_unary_slope(f.function, v, f.attrs.alpha, f.attrs.beta);
            const double expected = ref_unary_value(u, x), steep = ref_unary_slope(u, x);
            if (!(fabs(y - expected) <= 1e-13 * (1 + fabs(expected)))) {
                fail_msg("%s(%g) is %.17g, not %.17g", u->op, x, y, expected);
            }
            if (!ref_unary_kink(u, x) && !(fabs(slope - steep) <= 1e-6 * (1 + fabs(steep)))) {
                fail_msg("%s'(%g) is %.12g, differences say %.12g", u->op, x, slope, steep);
            }
        }
    }
}

/* ---- on the device ---- */

static void check(const ref_unary *u, size_t count, bool accumulate, bool in_place) {
    const clq_shape shape = {2, {1, (int64_t)count}};
    float *x = random_floats(count, u->low, u->high, 1), *dy = random_floats(count, -1, 1, 2);
    float *start = random_floats(count, -1, 1, 3), *y = malloc(count * 4), *dx = malloc(count * 4);
    op_test t;
    for (size_t i = 0; i < count; i++) {
        while (ref_unary_kink(u, x[i])) {
            x[i] += 0.01f;
        }
        y[i] = (float)ref_unary_value(u, x[i]);
        dx[i] = (float)(dy[i] * ref_unary_slope(u, x[i]) + (accumulate ? start[i] : 0));
    }
    op_begin(&t, u->op, &u->attrs, CLQ_EXEC_TRAIN);
    op_input(&t, 0, shape, x);
    op_output(&t, shape);
    op_want_gradient(&t, 0, accumulate ? start : NULL);
    t.run.grad_out = op_tensor(shape, dy);
    if (in_place && CLQ_UNARY_KEEPS_OUTPUT(function_of(u).function)) {
        clq_buffer_release(t.run.out.buffer);
        t.run.out.buffer = t.run.in[0].buffer;
    }
    if (in_place) {
        clq_buffer_release(t.run.grad_in[0].buffer);
        t.run.grad_in[0].buffer = t.run.grad_out.buffer;
    }
    op_forward(&t);
    assert_ok(t.node.op->backward(&t.run));
    assert_buffer_close(t.run.out.buffer, y, count, ABSOLUTE, RELATIVE);
    assert_buffer_close(t.run.grad_in[0].buffer, dx, count, ABSOLUTE, RELATIVE);
    op_end(&t);
    free(x), free(dy), free(start), free(y), free(dx);
}

static void values_and_gradients(void **state) {
    (void)state;
    for (int u = 0; u < REF_UNARIES; u++) {
        if (is_taken(u)) {
            check(&ref_unaries[u], 1, false, false);
            check(&ref_unaries[u], 17, true, false);
            check(&ref_unaries[u], 16411, true, false);
            check(&ref_unaries[u], 4099, false, true);
        }
    }
}

/* Where y itself is a float, nothing on the way to it or to the slope is none; a NaN stays one. */
static void nothing_overflows(void **state) {
    (void)state;
    const float x[] = {3e38f, -3e38f, 1e20f, -1e20f, 1e10f, -1e10f, 200,    -200,
                       89,    -89,    17,    -17,    0,     -0.0f,  1e-40f, NAN};
    enum { N = sizeof x / sizeof *x };
    const clq_shape shape = {2, {1, N}};
    float ones[N];
    for (int i = 0; i < N; i++) {
        ones[i] = 1;
    }
    for (int k = 0; k < REF_UNARIES; k++) {
        const ref_unary *u = &ref_unaries[k];
        const clq_unary_function f = function_of(u);
        if (!is_taken(k)) {
            continue;
        }
        op_test t;
        op_begin(&t, u->op, &u->attrs, CLQ_EXEC_TRAIN);
        op_input(&t, 0, shape, x);
        op_output(&t, shape);
        op_want_gradient(&t, 0, NULL);
        op_forward(&t);
        op_backward(&t, ones);
        float *y = read_floats(t.run.out.buffer), *slope = read_floats(t.run.grad_in[0].buffer);
        for (int i = 0; i < N; i++) {
            const double value = clq_unary_value(f.function, x[i], f.attrs.alpha, f.attrs.beta);
            if (isnan(x[i])) {
                assert_true(isnan(y[i]));
            } else if (fabs(value) < 1e38 && fabs(x[i]) < 1e38 && (x[i] >= 1e-30f || u->low < 0)) {
                if (!(fabs(y[i] - value) <= ABSOLUTE + RELATIVE * fabs(value)) ||
                    !isfinite(slope[i])) {
                    fail_msg("%s(%g) is %g with slope %g, not %g", u->op, (double)x[i],
                             (double)y[i], (double)slope[i], value);
                }
            }
        }
        free(y), free(slope);
        op_end(&t);
    }
}

/* ---- prelu: exact but for the order of sums ---- */

static void check_prelu(int64_t rows, int64_t channels, int64_t columns, bool accumulate) {
    const size_t n = (size_t)(rows * channels);
    const clq_shape shape = {2, {rows, channels}};
    float *x = random_floats(n, -9, 9, 1), *dy = random_floats(n, -1, 1, 2);
    float *start = random_floats(n, -1, 1, 3), *slope = random_floats((size_t)columns, -1, 1, 4);
    float *y = malloc(n * 4), *dx = malloc(n * 4), *dslope = malloc((size_t)columns * 4);
    double *sums = calloc((size_t)columns, sizeof *sums);
    op_test t;
    for (size_t i = 0; i < n; i++) {
        const size_t c = i % (size_t)channels % (size_t)columns;
        const float g = x[i] < 0 ? slope[c] * dy[i] : dy[i];
        y[i] = x[i] < 0 ? slope[c] * x[i] : x[i];
        dx[i] = accumulate ? start[i] + g : g;
        sums[c] += x[i] < 0 ? (double)dy[i] * (double)x[i] : 0;
    }
    for (int64_t c = 0; c < columns; c++) {
        dslope[c] = (float)sums[c];
    }
    op_begin(&t, "prelu", NULL, CLQ_EXEC_TRAIN);
    op_input(&t, 0, shape, x);
    op_input(&t, 1, (clq_shape){1, {columns}}, slope);
    op_output(&t, shape);
    op_want_gradient(&t, 0, accumulate ? start : NULL);
    op_want_gradient(&t, 1, NULL);
    op_forward(&t);
    op_backward(&t, dy);
    assert_buffer_close(t.run.out.buffer, y, n, 0, 0);
    assert_buffer_close(t.run.grad_in[0].buffer, dx, n, 0, 0);
    assert_buffer_close(t.run.grad_in[1].buffer, dslope, (size_t)columns, 2e-3, 1e-5);
    op_end(&t);
    free(x), free(dy), free(start), free(slope), free(y), free(dx), free(dslope), free(sums);
}

static void prelu_has_slopes(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{1, 1}, {1, 17}, {37, 19}, {1031, 16}, {4099, 5}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_prelu(shapes[i][0], shapes[i][1], shapes[i][1], i % 2);
        check_prelu(shapes[i][0], shapes[i][1], 1, i % 2 == 0);
    }
}

/* ---- what is refused ---- */

static void slopes_are_a_vector(void **state) {
    (void)state;
    static const struct {
        clq_shape shape;
        clq_dtype dtype;
        bool right;
    } cases[] = {{{1, {4}}, CLQ_F32, true},
                 {{1, {1}}, CLQ_F32, true},
                 {{1, {3}}, CLQ_F32, false},
                 {{2, {1, 4}}, CLQ_F32, false},
                 {{1, {4}}, CLQ_S8, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clq_graph *graph = NULL;
        int inputs[2], y;
        assert_ok(clq_graph_create("test", &graph));
        assert_ok(clq_graph_add_input(graph, "x", (clq_shape){4, {1, 2, 3, 4}}, &inputs[0]));
        assert_ok(clq_graph_add_parameter(graph, "slope", CLQ_VALUE_PARAMETER, cases[i].dtype,
                                          cases[i].shape, NULL, &inputs[1]));
        assert_status(clq_graph_add_node(graph, "prelu", "f", NULL, inputs, 2, &y),
                      cases[i].right ? CLQ_OK : CLQ_BAD_DATA);
        inputs[1] = inputs[0]; /* an activation is no slope */
        assert_status(clq_graph_add_node(graph, "prelu", "g", NULL, inputs, 2, &y), CLQ_BAD_DATA);
        clq_graph_destroy(graph);
    }
}

static void attributes_are_numbers(void **state) {
    (void)state;
    static const struct {
        const char *op;
        clq_unary_attrs attrs;
        bool right;
    } cases[] = {
        {"clip", {-INFINITY, 3}, true},
        {"clip", {0, INFINITY}, true},
        {"clip", {2, 1}, true},
        {"clip", {NAN, 1}, false},
        {"clip", {0, NAN}, false},
        {"leaky_relu", {INFINITY, 0}, false},
        {"leaky_relu", {0.1f, 0}, true},
        {"leaky_relu", {NAN, 0}, false},
        {"celu", {0, 0}, false},
        {"celu", {-1, 0}, true},
        {"selu", {1, INFINITY}, false},
        {"pow_const", {-INFINITY, 0}, false},
        {"hard_sigmoid", {0, NAN}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clq_graph *graph = NULL;
        int x, y;
        assert_ok(clq_graph_create("test", &graph));
        assert_ok(clq_graph_add_input(graph, "x", (clq_shape){4, {1, 2, 3, 4}}, &x));
        assert_status(clq_graph_add_node(graph, cases[i].op, "f", &cases[i].attrs, &x, 1, &y),
                      cases[i].right ? CLQ_OK : CLQ_BAD_DATA);
        if (cases[i].right) {
            assert_true(clq_shape_equal(&graph->values[y].shape, &graph->values[x].shape));
        } else {
            assert_error_has(cases[i].op);
        }
        clq_graph_destroy(graph);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_functions_are_as_defined),
        cmocka_unit_test(values_and_gradients),
        cmocka_unit_test(nothing_overflows),
        cmocka_unit_test(prelu_has_slopes),
        cmocka_unit_test(slopes_are_a_vector),
        cmocka_unit_test(attributes_are_numbers),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

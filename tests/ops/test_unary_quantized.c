/* The functions of one number on codes: tables, the same in the simulated and the integer network,
 * against the definitions; QAT's, which the device makes. */
#include <math.h>

#include "support/quant_run.h"
#include "support/ref_unary.h"

/* A function's program, which QAT needs, takes time to build: each schedule takes some, unless all
 * are wanted. */
enum { IN_TURN = 5 };

static const quant_meaning x_meaning = {0.061f, 117};

/* What the function gives on x's codes, in 256 steps where it is finite and below 20. */
static quant_meaning y_meaning(const ref_unary *u) {
    double low = 0, high = 0;
    for (int q = 0; q < 256; q++) {
        const double y = ref_unary_value(u, (double)x_meaning.scale * (q - x_meaning.zero_point));
        if (fabs(y) < 20) {
            low = fmin(low, y);
            high = fmax(high, y);
        }
    }
    const float scale = (float)((high - low) / 255);
    return (quant_meaning){scale, (int32_t)rint(-low / scale)};
}

/* The code of f(x), and f'(x) where that was not clamped and is a number. */
static uint8_t apply(const ref_unary *u, const quant_meaning *y, int code, double *slope) {
    const double x = (double)x_meaning.scale * (code - x_meaning.zero_point);
    const float f = (float)ref_unary_value(u, x);
    const float wide = isnan(f) ? -INFINITY : rintf(f / y->scale) + (float)y->zero_point;
    *slope = wide >= 0 && wide <= 255 ? ref_unary_slope(u, x) : 0;
    *slope = isfinite(*slope) ? *slope : 0;
    return (uint8_t)(wide < 0 ? 0 : wide > 255 ? 255 : wide);
}

static void begin(quant_test *t, const ref_unary *u, clq_exec_mode mode, int batch,
                  int64_t channels, const uint8_t *x) {
    const clq_shape shape = {2, {1, channels}};
    const quant_meaning y = y_meaning(u);
    quant_begin(t);
    const int input = quant_activation(t, &shape, x_meaning);
    quant_node(t, u->op, &u->attrs, &input, 1, &y, mode, batch);
    quant_input(t, 0, x);
}

static int codes_apart(const quant_test *t, const uint8_t *expected, int count) {
    uint8_t *y = quant_output(t);
    int apart = 0;
    for (int i = 0; i < count; i++) {
        assert_true(abs(y[i] - expected[i]) <= 1);
        apart += y[i] != expected[i];
    }
    free(y);
    return apart;
}

static bool is_taken(int u) {
    const clq_device_info *info = clq_device_get_info(test_device);
    return clq_test_takes(u + 2 * (info->schedule == CLQ_SCHEDULE_GPU), IN_TURN);
}

/* Every code there is. The float of QAT may lie on the other side of a tie. */
static void every_code(void **state) {
    (void)state;
    enum { COUNT = 256 * 3 };
    uint8_t x[COUNT], expected[COUNT];
    double slope;
    for (int k = 0; k < REF_UNARIES; k++) {
        const ref_unary *u = &ref_unaries[k];
        const quant_meaning y = y_meaning(u);
        quant_test t;
        for (int i = 0; i < COUNT; i++) {
            x[i] = (uint8_t)(i % 256);
            expected[i] = apply(u, &y, x[i], &slope);
        }
        for (int int8 = 0; int8 < 2; int8++) {
            begin(&t, u, int8 ? CLQ_EXEC_INT8 : CLQ_EXEC_FAKE_QUANT, 256, 3, x);
            quant_forward(&t);
            assert_int_equal(codes_apart(&t, expected, COUNT), 0);
            quant_end(&t);
        }
        if (is_taken(k)) {
            begin(&t, u, CLQ_EXEC_QAT, 256, 3, x);
            quant_forward(&t);
            assert_true(codes_apart(&t, expected, COUNT) <= 3);
            quant_end(&t);
        }
    }
}

static void gradient_is_the_slope(void **state) {
    (void)state;
    enum { COUNT = 37 * 19 };
    for (int k = 0; k < REF_UNARIES; k++) {
        const ref_unary *u = &ref_unaries[k];
        const quant_meaning y = y_meaning(u);
        uint8_t *x = random_codes(COUNT, 1);
        float *dy = random_floats(COUNT, -1, 1, 3), *start = random_floats(COUNT, -1, 1, 4);
        float expected[COUNT], seen[2], most[2] = {0, 0};
        if (is_taken(k)) {
            const bool accumulate = k % 2;
            for (int i = 0; i < COUNT; i++) {
                double slope;
                while (ref_unary_kink(u, (double)x_meaning.scale * (x[i] - x_meaning.zero_point))) {
                    x[i]++;
                }
                apply(u, &y, x[i], &slope);
                expected[i] = (float)((accumulate ? (double)start[i] : 0) + (double)dy[i] * slope);
                const double real =
                    ref_unary_value(u, (double)x_meaning.scale * (x[i] - x_meaning.zero_point));
                most[0] = fmaxf(most[0], isfinite(real) ? (float)-real : 0);
                most[1] = fmaxf(most[1], isfinite(real) ? (float)real : 0);
            }
            quant_test t;
            begin(&t, u, CLQ_EXEC_QAT, 37, 19, x);
            quant_want_gradient(&t, 0, accumulate ? start : NULL);
            quant_forward(&t);
            quant_backward(&t, dy);
            quant_seen(&t, seen);
            assert_buffer_close(t.run.grad_in[0].buffer, expected, COUNT, 1e-5, 1e-5);
            if (u->low <
                0) { /* elsewhere codes below 0 are no numbers and seen as they are coded */
                assert_true(fabsf(seen[0] - most[0]) <= 1e-5f * (1 + most[0]));
                assert_true(fabsf(seen[1] - most[1]) <= 1e-5f * (1 + most[1]));
            }
            quant_end(&t);
        }
        free(x), free(dy), free(start);
    }
}

/* log and sqrt of codes below 0, and 1 / 0, are codes like others; nothing that is not finite
 * widens a range or multiplies a gradient. */
static void no_number_is_a_code(void **state) {
    (void)state;
    static const char *const ops[] = {"log", "sqrt", "reciprocal"};
    const uint8_t x[4] = {0, 116, 117, 200}, lowest[3] = {0, 0, 0};
    const float dy[4] = {1, 1, 1, 1};
    for (int k = 0; k < 3; k++) {
        const ref_unary *u = &ref_unaries[k];
        for (int i = 0; i < REF_UNARIES; i++) {
            u = strcmp(ref_unaries[i].op, ops[k]) == 0 ? &ref_unaries[i] : u;
        }
        quant_test t;
        float seen[2];
        begin(&t, u, CLQ_EXEC_QAT, 1, 4, x);
        quant_want_gradient(&t, 0, NULL);
        quant_forward(&t);
        quant_backward(&t, dy);
        quant_seen(&t, seen);
        assert_true(isfinite(seen[0]) && isfinite(seen[1]));
        uint8_t *y = quant_output(&t);
        float *dx = read_floats(t.run.grad_in[0].buffer);
        if (k < 2) {
            assert_memory_equal(y, lowest, 2);
            assert_true(dx[0] == 0 && dx[1] == 0);
        } else {
            assert_int_equal(y[2], 255);
        }
        for (int i = 0; i < 4; i++) {
            assert_true(isfinite(dx[i]));
        }
        free(y), free(dx);
        quant_end(&t);
    }
}

/* ---- prelu: a slope for each channel, or one ---- */

static void begin_prelu(quant_test *t, clq_exec_mode mode, int batch, int64_t channels,
                        int64_t columns, const float *slope, const quant_meaning *y,
                        const uint8_t *x) {
    const clq_shape shape = {2, {1, channels}};
    int inputs[2];
    quant_begin(t);
    inputs[0] = quant_activation(t, &shape, x_meaning);
    assert_ok(clq_graph_add_parameter(t->graph, "slope", CLQ_VALUE_PARAMETER, CLQ_F32,
                                      (clq_shape){1, {columns}}, slope, &inputs[1]));
    quant_node(t, "prelu", NULL, inputs, 2, y, mode, batch);
    quant_input(t, 0, x);
}

static void prelu_has_a_table_for_each_channel(void **state) {
    (void)state;
    static const clq_exec_mode modes[] = {CLQ_EXEC_FAKE_QUANT, CLQ_EXEC_QAT, CLQ_EXEC_INT8};
    static const quant_meaning y_meaning = {0.043f, 90};
    enum { BATCH = 300, MOST = 33 };
    for (int k = 0; k < 6; k++) {
        const int64_t channels = k < 3 ? MOST : 4 * k - 9, columns = k % 2 ? channels : 1;
        const size_t count = (size_t)(BATCH * channels);
        uint8_t *x = random_codes(count, 1), *expected = malloc(count);
        float *slope = random_floats(MOST, -1, 1, 2), *dy = random_floats(count, -1, 1, 3);
        float *dx = malloc(count * sizeof *dx), dslope[MOST];
        double sums[MOST] = {0};
        for (size_t i = 0; i < count; i++) {
            const size_t c = i % (size_t)channels % (size_t)columns;
            const double real = (double)x_meaning.scale * (x[i] - x_meaning.zero_point);
            const float y = (float)(real < 0 ? (double)slope[c] * real : real);
            const float wide = rintf(y / y_meaning.scale) + (float)y_meaning.zero_point;
            const bool passes = wide >= 0 && wide <= 255;
            expected[i] = (uint8_t)(wide < 0 ? 0 : wide > 255 ? 255 : wide);
            dx[i] = passes ? (real < 0 ? slope[c] * dy[i] : dy[i]) : 0;
            sums[c] += passes && real < 0 ? (double)dy[i] * real : 0;
        }
        for (int64_t c = 0; c < columns; c++) {
            dslope[c] = (float)sums[c];
        }
        for (int m = 0; m < 3; m++) {
            quant_test t;
            begin_prelu(&t, modes[m], BATCH, channels, columns, slope, &y_meaning, x);
            quant_forward(&t);
            assert_true(codes_apart(&t, expected, (int)count) <=
                        (modes[m] == CLQ_EXEC_QAT ? (int)count / 100 : 0));
            if (modes[m] == CLQ_EXEC_QAT) {
                quant_want_gradient(&t, 0, NULL);
                quant_want_gradient(&t, 1, NULL);
                quant_backward(&t, dy);
                assert_buffer_close(t.run.grad_in[0].buffer, dx, count, 1e-6, 1e-6);
                assert_buffer_close(t.run.grad_in[1].buffer, dslope, (size_t)columns, 2e-3, 1e-5);
            }
            quant_end(&t);
        }
        free(x), free(expected), free(slope), free(dy), free(dx);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code),
        cmocka_unit_test(gradient_is_the_slope),
        cmocka_unit_test(no_number_is_a_code),
        cmocka_unit_test(prelu_has_a_table_for_each_channel),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

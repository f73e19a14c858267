/* Activations, addition, flatten and dropout: forward, gradients, in place, accumulating. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "ops/elementwise.h"
#include "support/op_run.h"

/* Around the vectors (16) and large enough for several work-items. */
static const int64_t counts[] = {1, 15, 16, 17, 4095, 16411};
enum { COUNTS = sizeof counts / sizeof *counts };

/* ---- activations; the functions that round are test_unary.c's ---- */

static float f(const char *op, float x) {
    return strcmp(op, "relu") == 0 ? fmaxf(x, 0) : fminf(fmaxf(x, 0), 6);
}

static bool passes(const char *op, float x) {
    return x > 0 && (strcmp(op, "relu") == 0 || x < 6);
}

static void check_activation(const char *op, int64_t count, bool accumulate) {
    const size_t n = (size_t)count;
    const clq_shape shape = {2, {1, count}};
    float *x = random_floats(n, -9, 9, 1), *dy = random_floats(n, -1, 1, 2);
    float *start = random_floats(n, -1, 1, 3), *y = malloc(n * 4), *dx = malloc(n * 4);
    op_test t;
    for (size_t i = 0; i < n; i++) {
        y[i] = f(op, x[i]);
        dx[i] = (passes(op, x[i]) ? dy[i] : 0) + (accumulate ? start[i] : 0);
    }
    op_begin(&t, op, NULL, CLQ_EXEC_TRAIN);
    op_input(&t, 0, shape, x);
    op_output(&t, shape);
    op_want_gradient(&t, 0, accumulate ? start : NULL);
    op_forward(&t);
    op_backward(&t, dy);
    assert_buffer_close(t.run.out.buffer, y, n, 0, 0);
    assert_buffer_close(t.run.grad_in[0].buffer, dx, n, 0, 0);
    op_end(&t);
    free(x), free(dy), free(start), free(y), free(dx);
}

static const char *const activations[] = {"relu", "relu6"};

static void test_activations(void **state) {
    (void)state;
    for (int a = 0; a < 2; a++) {
        for (int i = 0; i < COUNTS; i++) {
            check_activation(activations[a], counts[i], false);
            check_activation(activations[a], counts[i], true);
        }
    }
}

/* Infinities saturate, NaN stays. */
static void test_special_values(void **state) {
    (void)state;
    const float x[] = {INFINITY, -INFINITY, NAN, -0.0f, 0.0f, 1e-40f, 88, -88, 700, -700};
    enum { N = sizeof x / sizeof *x };
    const clq_shape shape = {2, {1, N}};
    for (int a = 0; a < 2; a++) {
        op_test t;
        op_begin(&t, activations[a], NULL, CLQ_EXEC_FLOAT);
        op_input(&t, 0, shape, x);
        op_output(&t, shape);
        op_forward(&t);
        float *y = read_floats(t.run.out.buffer);
        for (int i = 0; i < N; i++) {
            assert_true(isnan(x[i]) ? isnan(y[i]) : y[i] == f(activations[a], x[i]));
        }
        free(y);
        op_end(&t);
    }
}

static void test_activation_in_place(void **state) {
    (void)state;
    const clq_shape shape = {2, {1, 4099}};
    float *x = random_floats(4099, -9, 9, 1), *dy = random_floats(4099, -1, 1, 2);
    for (int a = 0; a < 2; a++) {
        float *results[2][2];
        for (int in_place = 0; in_place < 2; in_place++) {
            op_test t;
            op_begin(&t, activations[a], NULL, CLQ_EXEC_TRAIN);
            op_input(&t, 0, shape, x);
            op_output(&t, shape);
            op_want_gradient(&t, 0, NULL);
            t.run.grad_out = op_tensor(shape, dy);
            if (in_place) {
                clq_buffer_release(t.run.out.buffer);
                clq_buffer_release(t.run.grad_in[0].buffer);
                t.run.out.buffer = t.run.in[0].buffer;
                t.run.grad_in[0].buffer = t.run.grad_out.buffer;
            }
            op_forward(&t);
            assert_ok(t.node.op->backward(&t.run));
            results[in_place][0] = read_floats(t.run.out.buffer);
            results[in_place][1] = read_floats(t.run.grad_in[0].buffer);
            op_end(&t);
        }
        for (int k = 0; k < 2; k++) {
            assert_equal_bits(results[0][k], results[1][k], 4099 * sizeof(float));
            free(results[0][k]);
            free(results[1][k]);
        }
    }
    free(x), free(dy);
}

/* ---- addition ---- */

static void check_addition(int64_t count, clq_act act, bool accumulate) {
    const size_t n = (size_t)count;
    const clq_shape shape = {2, {1, count}};
    const clq_add_attrs attrs = {act};
    float *a = random_floats(n, -4, 4, 1), *b = random_floats(n, -4, 4, 2);
    float *dy = random_floats(n, -1, 1, 3), *start = random_floats(n, -1, 1, 4);
    float *y = malloc(n * 4), *da = malloc(n * 4), *db = malloc(n * 4);
    op_test t;
    for (size_t i = 0; i < n; i++) {
        const float sum = a[i] + b[i];
        y[i] = act == CLQ_ACT_NONE ? sum : fmaxf(sum, 0);
        y[i] = act == CLQ_ACT_RELU6 ? fminf(y[i], 6) : y[i];
        const bool through = act == CLQ_ACT_NONE || (y[i] > 0 && (act == CLQ_ACT_RELU || y[i] < 6));
        da[i] = through ? dy[i] : 0;
        db[i] = da[i] + (accumulate ? start[i] : 0);
    }
    op_begin(&t, "add", &attrs, CLQ_EXEC_TRAIN);
    op_input(&t, 0, shape, a);
    op_input(&t, 1, shape, b);
    op_output(&t, shape);
    op_want_gradient(&t, 0, NULL);
    op_want_gradient(&t, 1, accumulate ? start : NULL);
    op_forward(&t);
    op_backward(&t, dy);
    assert_buffer_close(t.run.out.buffer, y, n, 0, 0);
    assert_buffer_close(t.run.grad_in[0].buffer, da, n, 0, 0);
    assert_buffer_close(t.run.grad_in[1].buffer, db, n, 0, 0);
    op_end(&t);
    free(a), free(b), free(dy), free(start), free(y), free(da), free(db);
}

static void test_addition(void **state) {
    (void)state;
    for (int i = 0; i < COUNTS; i++) {
        for (int act = CLQ_ACT_NONE; act <= CLQ_ACT_RELU6; act++) {
            check_addition(counts[i], act, false);
            check_addition(counts[i], act, true);
        }
    }
}

/* ---- flatten ---- */

static void test_flatten(void **state) {
    (void)state;
    const clq_shape x_shape = {4, {2, 3, 5, 7}}, y_shape = {2, {2, 105}};
    float *x = random_floats(210, -1, 1, 1), *dy = random_floats(210, -1, 1, 2);
    op_test t;
    op_begin(&t, "flatten", NULL, CLQ_EXEC_TRAIN);
    op_input(&t, 0, x_shape, x);
    op_output(&t, y_shape);
    op_want_gradient(&t, 0, x);
    op_forward(&t);
    op_backward(&t, dy);
    assert_buffer_close(t.run.out.buffer, x, 210, 0, 0);
    for (int i = 0; i < 210; i++) {
        dy[i] += x[i];
    }
    assert_buffer_close(t.run.grad_in[0].buffer, dy, 210, 0, 0);
    op_end(&t);
    free(x), free(dy);
}

/* ---- dropout ---- */

static float *dropped(float probability, int64_t count, uint64_t seed, uint64_t step, int node,
                      bool gradient) {
    const clq_shape shape = {2, {1, count}};
    const clq_dropout_attrs attrs = {probability};
    float *ones = malloc((size_t)count * sizeof *ones);
    op_test t;
    for (int64_t i = 0; i < count; i++) {
        ones[i] = 1;
    }
    op_begin(&t, "dropout", &attrs, CLQ_EXEC_TRAIN);
    t.run.seed = seed;
    t.run.step = step;
    t.run.node_index = node;
    op_input(&t, 0, shape, ones);
    op_output(&t, shape);
    op_want_gradient(&t, 0, NULL);
    op_forward(&t);
    op_backward(&t, ones);
    float *result = read_floats(gradient ? t.run.grad_in[0].buffer : t.run.out.buffer);
    op_end(&t);
    free(ones);
    return result;
}

/* The mask is the host's own Philox numbers, in both directions. */
static void test_dropout_mask(void **state) {
    (void)state;
    const float probability = 0.3f;
    for (int i = 0; i < COUNTS; i++) {
        const size_t n = (size_t)counts[i];
        float *y = dropped(probability, counts[i], 7, 12345678901, 3, false);
        float *dx = dropped(probability, counts[i], 7, 12345678901, 3, true);
        size_t kept = 0;
        for (size_t k = 0; k < n; k++) {
            uint32_t bits[4];
            clq_philox(7 ^ UINT64_C(0x64726f706f757400), UINT64_C(12345678901) << 16 | 3, k / 4,
                       bits);
            const bool keep = clq_uniform(bits[k % 4]) >= probability;
            assert_true(keep ? y[k] == 1.0f / (1.0f - probability) : y[k] == 0);
            kept += keep;
        }
        assert_equal_bits(y, dx, n * sizeof(float));
        if (n > 10000) {
            assert_true(fabs((double)kept / (double)n - 0.7) < 0.02);
        }
        free(y), free(dx);
    }
}

static void test_dropout_masks_differ(void **state) {
    (void)state;
    float *base = dropped(0.5f, 256, 1, 1, 1, false);
    float *others[] = {dropped(0.5f, 256, 2, 1, 1, false), dropped(0.5f, 256, 1, 2, 1, false),
                       dropped(0.5f, 256, 1, 1, 2, false)};
    for (int i = 0; i < 3; i++) {
        assert_memory_not_equal(base, others[i], 256 * sizeof(float));
        free(others[i]);
    }
    free(base);
}

static void test_dropout_inference(void **state) {
    (void)state;
    const clq_shape shape = {2, {1, 100}};
    const clq_dropout_attrs attrs = {0.9f};
    float *x = random_floats(100, -1, 1, 1);
    op_test t;
    op_begin(&t, "dropout", &attrs, CLQ_EXEC_FLOAT);
    op_input(&t, 0, shape, x);
    op_output(&t, shape);
    op_forward(&t);
    assert_buffer_close(t.run.out.buffer, x, 100, 0, 0);
    op_end(&t);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_activation_in_place),
        cmocka_unit_test(test_addition),
        cmocka_unit_test(test_flatten),
        cmocka_unit_test(test_dropout_mask),
        cmocka_unit_test(test_dropout_masks_differ),
        cmocka_unit_test(test_dropout_inference),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

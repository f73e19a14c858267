/* Every operator's backward against central differences of its own forward. For L = sum r_i y_i
 * with random r, backward of dy = r must give
 *
 *   dL/dx_k = (L(x_k + e) - L(x_k - e)) / 2e  +-  tolerance
 *
 * L is summed in double from float outputs: with e = 2^-6 and |y| about 1 the outputs' rounding
 * costs about 1e-7 * sqrt(outputs) / e = 1e-4, the third derivative about e^2 = 2e-4. Hence an
 * absolute tolerance of 2e-3 and a relative one of 1e-2. (Convolutions: tests/exec; functions of
 * one number: test_unary.c.) */
#include <math.h>

#include "ops/registry.h"
#include "support/op_run.h"

static const float STEP = 0x1p-6f;
static const double ABSOLUTE = 2e-3, RELATIVE = 1e-2;
enum { MAX_CHECKED = 20 }; /* elements of an input that are moved */

typedef struct gradient_case {
    const char *op;
    const void *attrs;
    int inputs; /* that are differentiated; batch_norm has two states more */
    clq_shape in[3], out;
} gradient_case;

#define NHWC(n, h, w, c)                                                                           \
    {                                                                                              \
        4, {                                                                                       \
            n, h, w, c                                                                             \
        }                                                                                          \
    }
#define VEC(c)                                                                                     \
    {                                                                                              \
        1, {                                                                                       \
            c                                                                                      \
        }                                                                                          \
    }

static const clq_batch_norm_attrs norm = {.epsilon = 1e-3f, .momentum = 0.1f};
static const clq_add_attrs plain_add = {CLQ_ACT_NONE};
static const clq_dropout_attrs half = {0.5f};
static const clq_pool_attrs overlapping = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1, 1, 1}};
static const clq_pad_channels_attrs halving = {2, 2, 3};
static const clq_reduce_attrs pixels = {.axes = 6, .keep = true}, rows = {.axes = 2, .keep = true};

static const gradient_case cases[] = {
    {"relu", NULL, 1, {NHWC(2, 3, 3, 5)}, NHWC(2, 3, 3, 5)},
    {"relu6", NULL, 1, {NHWC(2, 3, 3, 5)}, NHWC(2, 3, 3, 5)},
    {"prelu", NULL, 2, {NHWC(2, 3, 3, 5), VEC(5)}, NHWC(2, 3, 3, 5)},
    {"prelu", NULL, 2, {NHWC(2, 3, 3, 5), VEC(1)}, NHWC(2, 3, 3, 5)},
    {"add", &plain_add, 2, {NHWC(2, 3, 3, 5), NHWC(2, 3, 3, 5)}, NHWC(2, 3, 3, 5)},
    {"flatten", NULL, 1, {NHWC(2, 3, 3, 5)}, {2, {2, 45}}},
    {"dropout", &half, 1, {NHWC(2, 3, 3, 5)}, NHWC(2, 3, 3, 5)},
    {"max_pool", &overlapping, 1, {NHWC(2, 7, 5, 3)}, NHWC(2, 4, 3, 3)},
    {"avg_pool", &overlapping, 1, {NHWC(2, 7, 5, 3)}, NHWC(2, 4, 3, 3)},
    {"global_avg_pool", NULL, 1, {NHWC(2, 3, 5, 17)}, {2, {2, 17}}},
    {"shortcut_a", &halving, 1, {NHWC(2, 5, 4, 3)}, NHWC(2, 3, 2, 8)},
    {"reduce_mean", &pixels, 1, {NHWC(2, 3, 2, 5)}, NHWC(2, 1, 1, 5)},
    {"reduce_max", &pixels, 1, {NHWC(2, 3, 2, 5)}, NHWC(2, 1, 1, 5)},
    {"reduce_l2", &rows, 1, {NHWC(2, 3, 2, 5)}, NHWC(2, 1, 2, 5)},
    {"reduce_log_sum_exp", &rows, 1, {NHWC(2, 3, 2, 5)}, NHWC(2, 1, 2, 5)},
    {"reduce_prod", &rows, 1, {NHWC(2, 3, 2, 5)}, NHWC(2, 1, 2, 5)},
    {"batch_norm", &norm, 3, {NHWC(3, 3, 2, 5), VEC(5), VEC(5)}, NHWC(3, 3, 2, 5)},
    {"batch_norm", &norm, 3, {NHWC(4, 2, 2, 16), VEC(16), VEC(16)}, NHWC(4, 2, 2, 16)},
    {"batch_norm", &norm, 3, {NHWC(3, 3, 3, 7), VEC(7), VEC(7)}, NHWC(3, 3, 3, 7)},
};
enum { CASES = sizeof cases / sizeof *cases };

/* A random order of values 0.04 apart and 0.02 from 0: no step of 2^-6 meets a kink or changes
 * which of two is larger. */
static float *spread_floats(size_t count, uint64_t stream) {
    float *order = random_floats(count, 0, 1, stream), *data = malloc(count * sizeof *data);
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) {
        size_t rank = 0;
        for (size_t k = 0; k < count; k++) {
            rank += order[k] < order[i] || (order[k] == order[i] && k < i);
        }
        data[i] = 0.04f * ((float)rank - 0.5f * (float)(count / 2 * 2)) + 0.02f;
    }
    free(order);
    return data;
}

static size_t count_of(clq_shape shape) {
    return (size_t)clq_shape_count(&shape);
}

/* sum r_i y_i of the forward on inputs x; with `gradients` also those. */
static double run(const gradient_case *c, float *const *x, const float *r, float **gradients) {
    const size_t outputs = count_of(c->out);
    double sum = 0;
    op_test t;
    op_begin(&t, c->op, c->attrs, CLQ_EXEC_TRAIN);
    t.run.seed = 5;
    for (int i = 0; i < c->inputs; i++) {
        op_input(&t, i, c->in[i], x[i]);
        op_want_gradient(&t, i, NULL);
    }
    for (int i = c->inputs; t.node.op == &clq_op_batch_norm && i < 5; i++) {
        op_input(&t, i, c->in[1], x[1]); /* running statistics, which training does not read */
    }
    op_output(&t, c->out);
    op_forward(&t);
    float *y = read_floats(t.run.out.buffer);
    for (size_t i = 0; i < outputs; i++) {
        sum += (double)r[i] * y[i];
    }
    free(y);
    if (gradients) {
        op_backward(&t, r);
        for (int i = 0; i < c->inputs; i++) {
            gradients[i] = read_floats(t.run.grad_in[i].buffer);
        }
    }
    op_end(&t);
    return sum;
}

static void check_input(const gradient_case *c, float *const *x, const float *r, int input,
                        const float *gradient) {
    const size_t count = count_of(c->in[input]),
                 checked = count < MAX_CHECKED ? count : MAX_CHECKED;
    for (size_t k = 0; k < checked; k++) {
        const size_t at = k * count / checked;
        const float middle = x[input][at];
        x[input][at] = middle + STEP;
        const double above = run(c, x, r, NULL);
        x[input][at] = middle - STEP;
        const double below = run(c, x, r, NULL);
        x[input][at] = middle;
        const double expected = (above - below) / (2 * STEP);
        if (!(fabs(gradient[at] - expected) <= ABSOLUTE + RELATIVE * fabs(expected))) {
            fail_msg("%s: gradient of input %d at %zu is %g, differences say %g", c->op, input, at,
                     (double)gradient[at], expected);
        }
    }
}

static void test_gradients(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        const gradient_case *c = &cases[i];
        float *x[3] = {NULL}, *gradients[3] = {NULL};
        float *r = random_floats(count_of(c->out), -1, 1, 9);
        for (int k = 0; k < c->inputs; k++) {
            x[k] = spread_floats(count_of(c->in[k]), (uint64_t)k);
        }
        run(c, x, r, gradients);
        for (int k = 0; k < c->inputs; k++) {
            check_input(c, x, r, k, gradients[k]);
        }
        for (int k = 0; k < c->inputs; k++) {
            free(x[k]), free(gradients[k]);
        }
        free(r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gradients)};
    return RUN_ON_BOTH_SCHEDULES(tests);
}

/* Softmax, normalization and matrix products, forward and backward, against plain loops in double;
 * gradients against differences of these. */
#include <math.h>
#include <string.h>

#include "support/op_run.h"
#include "support/ref_reduce.h"

/* Rows of up to 150 elements of a size of 4; gradients of normalization divide by deviations. */
static const double ABSOLUTE = 2e-5, RELATIVE = 2e-5;

typedef struct op_case op_case;
typedef void reference(const op_case *c, double *const in[3], double *y);

struct op_case {
    const char *op;
    const void *attrs;
    reference *ref;
    int inputs;
    clq_shape in[3], out;
    bool accumulate;
};

static size_t count_of(clq_shape shape) {
    return (size_t)clq_shape_count(&shape);
}

/* ---- references ---- */

/* f(x, a row's table) for each element. */
static void ref_softmax(const op_case *c, double *const in[3], double *y) {
    const clq_softmax_attrs *attrs = c->attrs;
    const unsigned axes = 1u << attrs->axis;
    const size_t count = count_of(c->out);
    double *top = calloc(count, sizeof *top), *sum = calloc(count, sizeof *sum);
    for (size_t i = 0; i < count; i++) {
        const size_t k = ref_row(&c->out, axes, i, NULL);
        top[k] = fmax(top[k], in[0][i]); /* of several rows one is above 0 */
    }
    for (size_t i = 0; i < count; i++) {
        sum[ref_row(&c->out, axes, i, NULL)] +=
            exp(in[0][i] - top[ref_row(&c->out, axes, i, NULL)]);
    }
    for (size_t i = 0; i < count; i++) {
        const size_t k = ref_row(&c->out, axes, i, NULL);
        const double v = in[0][i] - top[k] - log(sum[k]);
        y[i] = strcmp(c->op, "softmax") == 0 ? exp(v) : v;
    }
    free(top);
    free(sum);
}

static void ref_lp(const op_case *c, double *const in[3], double *y) {
    const clq_lp_normalization_attrs *attrs = c->attrs;
    const unsigned axes = 1u << attrs->axis;
    const size_t count = count_of(c->out);
    double *sum = calloc(count, sizeof *sum);
    for (size_t i = 0; i < count; i++) {
        sum[ref_row(&c->out, axes, i, NULL)] += pow(fabs(in[0][i]), attrs->p);
    }
    for (size_t i = 0; i < count; i++) {
        y[i] = in[0][i] / pow(sum[ref_row(&c->out, axes, i, NULL)], 1.0 / attrs->p);
    }
    free(sum);
}

/* x (outer, pixels, channels) in groups. */
static void ref_norm(const op_case *c, double *const in[3], double *y) {
    const clq_shape *x = &c->in[0];
    const int64_t count = clq_shape_count(x);
    int64_t channels = x->dim[x->rank - 1], outer = x->dim[0], groups = channels;
    float epsilon;
    if (strcmp(c->op, "layer_norm") == 0) {
        const clq_layer_norm_attrs *attrs = c->attrs;
        channels = 1;
        for (int i = x->rank - attrs->axes; i < x->rank; i++) {
            channels *= x->dim[i];
        }
        outer = count / channels;
        groups = 1;
        epsilon = attrs->epsilon;
    } else if (strcmp(c->op, "group_norm") == 0) {
        const clq_group_norm_attrs *attrs = c->attrs;
        groups = attrs->groups;
        epsilon = attrs->epsilon;
    } else {
        const clq_instance_norm_attrs *attrs = c->attrs;
        epsilon = attrs->epsilon;
    }
    const int64_t image = count / outer, each = channels / groups;
    for (int64_t k = 0; k < outer * groups; k++) {
        const int64_t n = k / groups, g = k % groups;
        double mean = 0, variance = 0, size = (double)(image / groups);
        for (int pass = 0; pass < 3; pass++) {
            for (int64_t i = n * image; i < (n + 1) * image; i++) {
                const int64_t ch = i % channels;
                if (ch / each != g) {
                    continue;
                }
                const double d = in[0][i] - mean;
                mean += pass == 0 ? in[0][i] / size : 0;
                variance += pass == 1 ? d * d / size : 0;
                if (pass == 2) {
                    y[i] = d / sqrt(variance + (double)epsilon) * (c->inputs > 1 ? in[1][ch] : 1) +
                           (c->inputs > 2 ? in[2][ch] : 0);
                }
            }
        }
    }
}

static void ref_lrn(const op_case *c, double *const in[3], double *y) {
    const clq_lrn_attrs *attrs = c->attrs;
    const int64_t channels = c->out.dim[c->out.rank - 1], count = clq_shape_count(&c->out);
    for (int64_t i = 0; i < count; i++) {
        const int64_t ch = i % channels, first = ch - (attrs->size - 1) / 2;
        double sum = 0;
        for (int64_t j = first; j < first + attrs->size; j++) {
            sum += j >= 0 && j < channels ? pow(in[0][i - ch + j], 2) : 0;
        }
        y[i] = in[0][i] / pow((double)attrs->bias + (double)attrs->alpha / attrs->size * sum,
                              (double)attrs->beta);
    }
}

/* The element of an operand that stands at row and column of its matrices, in y's batch. */
static double element_of(const clq_shape *shape, const double *data, bool transposed,
                         const clq_shape *y, int64_t batch, int64_t row, int64_t column) {
    const int rank = shape->rank;
    int64_t at = 0, place[CLQ_MAX_RANK];
    for (int i = rank - 3; i >= 0; i--) {
        place[i] = shape->dim[i] == 1 ? 0 : batch % y->dim[i];
        batch /= y->dim[i];
    }
    place[rank - 2] = transposed ? column : row;
    place[rank - 1] = transposed ? row : column;
    for (int i = 0; i < rank; i++) {
        at = at * shape->dim[i] + place[i];
    }
    return data[at];
}

static void ref_matmul(const op_case *c, double *const in[3], double *y) {
    const clq_matmul_attrs *attrs = c->attrs;
    const int64_t rows = c->out.dim[c->out.rank - 2], columns = c->out.dim[c->out.rank - 1];
    const int64_t depth = c->in[0].dim[c->in[0].rank - (attrs->transpose_a ? 2 : 1)];
    for (int64_t i = 0; i < clq_shape_count(&c->out); i++) {
        const int64_t s = i % columns, r = i / columns % rows, batch = i / columns / rows;
        y[i] = 0;
        for (int64_t k = 0; k < depth; k++) {
            y[i] += element_of(&c->in[0], in[0], attrs->transpose_a, &c->out, batch, r, k) *
                    element_of(&c->in[1], in[1], attrs->transpose_b, &c->out, batch, k, s);
        }
    }
}

/* ---- cases: rows along memory and across it, around a vector and all lanes ---- */

#define AXIS(n)                                                                                    \
    &(const clq_softmax_attrs) {                                                                   \
        n                                                                                          \
    }
#define ROWS_OF(n, p)                                                                              \
    &(const clq_lp_normalization_attrs) {                                                          \
        n, p                                                                                       \
    }

static const op_case cases[] = {
    {"softmax", AXIS(1), ref_softmax, 1, {{2, {3, 5}}}, {2, {3, 5}}, false},
    {"softmax", AXIS(1), ref_softmax, 1, {{2, {2, 147}}}, {2, {2, 147}}, true},
    {"softmax", AXIS(1), ref_softmax, 1, {{3, {2, 5, 19}}}, {3, {2, 5, 19}}, false},
    {"log_softmax", AXIS(2), ref_softmax, 1, {{3, {2, 3, 66}}}, {3, {2, 3, 66}}, false},
    {"log_softmax", AXIS(2), ref_softmax, 1, {{4, {1, 2, 7, 17}}}, {4, {1, 2, 7, 17}}, true},
    {"lp_normalization", ROWS_OF(3, 2), ref_lp, 1, {{4, {1, 2, 3, 33}}}, {4, {1, 2, 3, 33}}, true},
    {"lp_normalization", ROWS_OF(1, 1), ref_lp, 1, {{3, {2, 4, 17}}}, {3, {2, 4, 17}}, false},
    {"layer_norm",
     &(const clq_layer_norm_attrs){1, 1e-3f},
     ref_norm,
     3,
     {{3, {2, 3, 37}}, {1, {37}}, {1, {37}}},
     {3, {2, 3, 37}},
     false},
    {"layer_norm",
     &(const clq_layer_norm_attrs){3, 1e-3f},
     ref_norm,
     2,
     {{4, {2, 2, 3, 5}}, {1, {30}}},
     {4, {2, 2, 3, 5}},
     true},
    {"instance_norm",
     &(const clq_instance_norm_attrs){1e-3f},
     ref_norm,
     3,
     {{4, {2, 3, 3, 18}}, {1, {18}}, {1, {18}}},
     {4, {2, 3, 3, 18}},
     true},
    {"group_norm",
     &(const clq_group_norm_attrs){2, 1e-3f},
     ref_norm,
     3,
     {{4, {2, 2, 2, 38}}, {1, {38}}, {1, {38}}},
     {4, {2, 2, 2, 38}},
     false},
    {"group_norm",
     &(const clq_group_norm_attrs){1, 1e-3f},
     ref_norm,
     1,
     {{4, {1, 3, 2, 5}}},
     {4, {1, 3, 2, 5}},
     false},
    {"lrn",
     &(const clq_lrn_attrs){5, 0.3f, 0.75f, 2},
     ref_lrn,
     1,
     {{4, {1, 2, 2, 13}}},
     {4, {1, 2, 2, 13}},
     false},
    {"lrn",
     &(const clq_lrn_attrs){4, 0.3f, 0.6f, 1},
     ref_lrn,
     1,
     {{3, {2, 2, 3}}},
     {3, {2, 2, 3}},
     true},
    {"matmul",
     &(const clq_matmul_attrs){false, false},
     ref_matmul,
     2,
     {{3, {2, 7, 5}}, {3, {2, 5, 17}}},
     {3, {2, 7, 17}},
     false},
    {"matmul",
     &(const clq_matmul_attrs){true, false},
     ref_matmul,
     2,
     {{4, {2, 3, 5, 6}}, {4, {2, 1, 5, 33}}},
     {4, {2, 3, 6, 33}},
     true},
    {"matmul",
     &(const clq_matmul_attrs){false, true},
     ref_matmul,
     2,
     {{4, {2, 1, 2, 19}}, {4, {2, 3, 16, 19}}},
     {4, {2, 3, 2, 16}},
     false},
    {"matmul",
     &(const clq_matmul_attrs){true, true},
     ref_matmul,
     2,
     {{3, {1, 4, 13}}, {3, {1, 3, 4}}},
     {3, {1, 13, 3}},
     true},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- the test ---- */

/* What the first schedule computed: the second must give the same bits. */
static float *seen[CASES];

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

/* sum r_j y_j's slopes of input k, from differences; the expected gradient. */
static float *slopes(const op_case *c, double *const in[3], const float *r, int k,
                     const float *start) {
    const double step = 1e-5;
    const size_t count = count_of(c->in[k]), outputs = count_of(c->out);
    double *above = malloc(outputs * sizeof *above), *below = malloc(outputs * sizeof *below);
    float *slope = malloc(count * sizeof *slope);
    for (size_t i = 0; i < count; i++) {
        const double middle = in[k][i];
        double sum = start ? (double)start[i] : 0;
        in[k][i] = middle + step;
        c->ref(c, in, above);
        in[k][i] = middle - step;
        c->ref(c, in, below);
        in[k][i] = middle;
        for (size_t j = 0; j < outputs; j++) {
            sum += (double)r[j] * (above[j] - below[j]) / (2 * step);
        }
        slope[i] = (float)sum;
    }
    free(above);
    free(below);
    return slope;
}

static void check_case(int at) {
    const op_case *c = &cases[at];

    const size_t outputs = count_of(c->out);
    float *r = random_floats(outputs, -1, 1, 9), *expected = malloc(outputs * sizeof *expected);
    float *x[3] = {NULL}, *start[3] = {NULL};
    double *exact[3] = {NULL}, *y = malloc(outputs * sizeof *y);
    op_test t;
    op_begin(&t, c->op, c->attrs, CLQ_EXEC_TRAIN);
    for (int k = 0; k < c->inputs; k++) {
        const size_t count = count_of(c->in[k]);
        x[k] = random_floats(count, -3, 4, (uint64_t)k);
        exact[k] = malloc(count * sizeof **exact);
        for (size_t i = 0; i < count; i++) {
            exact[k][i] = (double)x[k][i];
        }
        /* gradients of parameters are never added to */
        start[k] = c->accumulate && c->in[k].rank > 1 ? random_floats(count, -1, 1, 20) : NULL;
        op_input(&t, k, c->in[k], x[k]);
        op_want_gradient(&t, k, start[k]);
    }
    op_output(&t, c->out);
    op_forward(&t);
    c->ref(c, exact, y);
    for (size_t i = 0; i < outputs; i++) {
        expected[i] = (float)y[i];
    }
    assert_buffer_close(t.run.out.buffer, expected, outputs, ABSOLUTE, RELATIVE);
    check_bits(at, t.run.out.buffer, outputs);
    op_backward(&t, r);
    for (int k = 0; k < c->inputs; k++) {
        float *slope = slopes(c, exact, r, k, start[k]);
        assert_buffer_close(t.run.grad_in[k].buffer, slope, count_of(c->in[k]), ABSOLUTE, RELATIVE);
        free(slope);
    }
    for (int k = 0; k < c->inputs; k++) {
        free(x[k]), free(exact[k]), free(start[k]);
    }
    op_end(&t);
    free(r), free(expected), free(y);
}

static void test_cases(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_case(i);
    }
}

/* Whatever their size; a class at -infinity has the probability 0. */
static void test_extremes(void **state) {
    (void)state;
    const clq_softmax_attrs attrs = {1};
    const float x[] = {3e38f, 3e38f, 0, -INFINITY, 5e4f, -5e4f, 5e4f, -INFINITY};
    const float y[] = {0.5f, 0.5f, 0, 0, 0.5f, 0, 0.5f, 0};
    const float log_y[] = {-0.6931472f, -0.6931472f, -3e38f,      -INFINITY,
                           -0.6931472f, -100000.7f,  -0.6931472f, -INFINITY};
    for (int logarithm = 0; logarithm < 2; logarithm++) {
        op_test t;
        op_begin(&t, logarithm ? "log_softmax" : "softmax", &attrs, CLQ_EXEC_FLOAT);
        op_input(&t, 0, (clq_shape){2, {2, 4}}, x);
        op_output(&t, (clq_shape){2, {2, 4}});
        op_forward(&t);
        assert_buffer_close(t.run.out.buffer, logarithm ? log_y : y, 8, 1e-7, 1e-6);
        op_end(&t);
    }
}

/* A row of zeros has no direction, and no gradient. */
static void test_no_length(void **state) {
    (void)state;
    const clq_lp_normalization_attrs attrs = {1, 2};
    const float x[4] = {0}, ones[] = {1, 1, 1, 1};
    op_test t;
    op_begin(&t, "lp_normalization", &attrs, CLQ_EXEC_TRAIN);
    op_input(&t, 0, (clq_shape){2, {1, 4}}, x);
    op_output(&t, (clq_shape){2, {1, 4}});
    op_want_gradient(&t, 0, NULL);
    op_forward(&t);
    op_backward(&t, ones);
    assert_buffer_close(t.run.out.buffer, x, 4, 0, 0);
    assert_buffer_close(t.run.grad_in[0].buffer, x, 4, 0, 0);
    op_end(&t);
}

/* Each sample by its own range, which has 0 in it; gradients go straight through. */
static void test_dynamic_quantize(void **state) {
    (void)state;
    enum { SAMPLES = 3, COUNT = 35 };
    const clq_shape shape = {3, {SAMPLES, 5, 7}};
    float x[SAMPLES * COUNT], expected[SAMPLES * COUNT], ones[SAMPLES * COUNT];
    float sums[SAMPLES * COUNT];
    op_test t;
    clq_test_fill_f32(x, COUNT, -3, 4, 1);
    clq_test_fill_f32(x + COUNT, COUNT, 1, 9, 2);
    memset(x + 2 * COUNT, 0, COUNT * sizeof *x);
    for (int n = 0; n < SAMPLES; n++) {
        float least = 0, most = 0;
        for (int i = n * COUNT; i < (n + 1) * COUNT; i++) {
            least = fminf(least, x[i]);
            most = fmaxf(most, x[i]);
        }
        const float scale = most == least ? 1 : (most - least) / 255;
        const float zero = rintf(-least / scale);
        for (int i = n * COUNT; i < (n + 1) * COUNT; i++) {
            expected[i] = scale * (fminf(fmaxf(rintf(x[i] / scale) + zero, 0), 255) - zero);
            ones[i] = 1;
            sums[i] = 1 + x[i];
        }
    }
    op_begin(&t, "dynamic_quantize", NULL, CLQ_EXEC_TRAIN);
    op_input(&t, 0, shape, x);
    op_output(&t, shape);
    op_want_gradient(&t, 0, x);
    op_forward(&t);
    op_backward(&t, ones);
    assert_buffer_close(t.run.out.buffer, expected, SAMPLES * COUNT, 0, 0);
    assert_buffer_close(t.run.grad_in[0].buffer, sums, SAMPLES * COUNT, 0, 0);
    op_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dynamic_quantize),
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_no_length),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

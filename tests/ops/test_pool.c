/* Pooling and the parameterless shortcut against plain loops. */
#include <math.h>
#include <string.h>

#include "support/op_run.h"
#include "support/ref_ops.h"

/* Sums of at most a window's 63 values. */
static const double ABSOLUTE = 1e-6, RELATIVE = 2e-6;

typedef struct pool_case {
    int n, h, w, c, kernel[2], stride[2], pad[4];
    bool ceil_mode, count_include_pad;
    int dilation[2];
} pool_case;

static const pool_case cases[] = {
    {1, 4, 4, 16, {2, 2}, {2, 2}, {0, 0, 0, 0}, false, false, {1, 1}},
    {2, 7, 5, 3, {3, 3}, {2, 2}, {1, 1, 1, 1}, false, false, {1, 1}},
    {2, 7, 5, 3, {3, 3}, {2, 2}, {1, 1, 1, 1}, false, true, {1, 1}},
    {1, 8, 9, 17, {3, 2}, {1, 2}, {1, 0, 0, 1}, false, true, {1, 1}},
    {1, 6, 6, 33, {3, 3}, {2, 2}, {0, 0, 0, 0}, true, false, {1, 1}},
    {1, 6, 6, 15, {3, 3}, {2, 2}, {1, 1, 1, 1}, true, true, {1, 1}},
    {3, 5, 8, 64, {2, 3}, {3, 2}, {1, 1, 0, 1}, true, true, {1, 1}},
    {1, 11, 7, 20, {5, 5}, {1, 1}, {2, 2, 2, 2}, false, false, {1, 1}},
    {2, 9, 7, 48, {9, 7}, {1, 1}, {0, 0, 0, 0}, false, false, {1, 1}},
    {1, 16, 2, 1, {16, 2}, {16, 2}, {0, 0, 0, 0}, false, false, {1, 1}},
    {1, 3, 3, 31, {1, 1}, {2, 2}, {0, 0, 0, 0}, false, false, {1, 1}},
    {2, 9, 8, 18, {3, 2}, {2, 1}, {2, 1, 1, 0}, false, false, {2, 3}},
    {1, 8, 9, 3, {2, 3}, {2, 2}, {1, 2, 2, 1}, true, true, {3, 2}},
};
enum { CASES = sizeof cases / sizeof *cases };

/* torch's rule: a window may not begin beyond the image and its leading padding. */
static int output_size(int size, int kernel, int stride, int before, int after, bool ceil_mode) {
    const int room = size + before + after - kernel;
    int out = (ceil_mode ? room + stride - 1 : room) / stride + 1;
    if (ceil_mode && (out - 1) * stride >= size + before) {
        out--;
    }
    return out;
}

static ref_pool geometry(const pool_case *c) {
    ref_pool p = {.n = c->n,
                  .ih = c->h,
                  .iw = c->w,
                  .c = c->c,
                  .kh = c->kernel[0],
                  .kw = c->kernel[1],
                  .sh = c->stride[0],
                  .sw = c->stride[1],
                  .count_include_pad = c->count_include_pad,
                  .dh = c->dilation[0],
                  .dw = c->dilation[1]};
    memcpy(p.pad, c->pad, sizeof p.pad);
    p.oh = output_size(c->h, (p.kh - 1) * p.dh + 1, p.sh, c->pad[0], c->pad[2], c->ceil_mode);
    p.ow = output_size(c->w, (p.kw - 1) * p.dw + 1, p.sw, c->pad[1], c->pad[3], c->ceil_mode);
    return p;
}

static clq_pool_attrs attributes(const pool_case *c) {
    clq_pool_attrs attrs = {.count_include_pad = c->count_include_pad, .ceil_mode = c->ceil_mode};
    memcpy(attrs.kernel, c->kernel, sizeof attrs.kernel);
    memcpy(attrs.stride, c->stride, sizeof attrs.stride);
    memcpy(attrs.pad, c->pad, sizeof attrs.pad);
    memcpy(attrs.dilation, c->dilation, sizeof attrs.dilation);
    return attrs;
}

/* Values from a few levels, so that windows hold equal maxima. */
static float *coarse_floats(size_t count, uint64_t stream) {
    float *data = random_floats(count, -4, 4, stream);
    for (size_t i = 0; i < count; i++) {
        data[i] = rintf(data[i]);
    }
    return data;
}

static void check_pool(const char *op, const pool_case *c, bool accumulate) {
    const bool is_max = strcmp(op, "max_pool") == 0;
    const ref_pool p = geometry(c);
    const clq_pool_attrs attrs = attributes(c);
    const size_t inputs = (size_t)(p.n * p.ih * p.iw * p.c);
    const size_t outputs = (size_t)(p.n * p.oh * p.ow * p.c);
    const clq_shape x_shape = {4, {p.n, p.ih, p.iw, p.c}}, y_shape = {4, {p.n, p.oh, p.ow, p.c}};
    float *x = coarse_floats(inputs, 1), *dy = random_floats(outputs, -1, 1, 2);
    float *start = random_floats(inputs, -1, 1, 3);
    float *y = malloc(outputs * 4), *dx = malloc(inputs * 4);
    op_test t;
    if (is_max) {
        ref_max_pool(&p, x, y);
        ref_max_pool_grad(&p, x, dy, dx);
    } else {
        ref_avg_pool(&p, x, y);
        ref_avg_pool_grad(&p, dy, dx);
    }
    for (size_t i = 0; accumulate && i < inputs; i++) {
        dx[i] += start[i];
    }
    op_begin(&t, op, &attrs, CLQ_EXEC_TRAIN);
    op_input(&t, 0, x_shape, x);
    op_output(&t, y_shape);
    op_want_gradient(&t, 0, accumulate ? start : NULL);
    op_forward(&t);
    op_backward(&t, dy);
    assert_buffer_close(t.run.out.buffer, y, outputs, is_max ? 0 : ABSOLUTE, RELATIVE);
    assert_buffer_close(t.run.grad_in[0].buffer, dx, inputs, 4 * ABSOLUTE, RELATIVE);
    op_end(&t);
    free(x), free(dy), free(start), free(y), free(dx);
}

static void test_max_pool(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_pool("max_pool", &cases[i], false);
        check_pool("max_pool", &cases[i], true);
    }
}

static void test_avg_pool(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_pool("avg_pool", &cases[i], false);
        check_pool("avg_pool", &cases[i], true);
    }
}

/* Inference keeps no indices. */
static void test_max_pool_inference(void **state) {
    (void)state;
    const pool_case *c = &cases[1];
    const ref_pool p = geometry(c);
    const clq_pool_attrs attrs = attributes(c);
    const size_t inputs = (size_t)(p.n * p.ih * p.iw * p.c);
    const size_t outputs = (size_t)(p.n * p.oh * p.ow * p.c);
    float *x = random_floats(inputs, -3, -1, 1), *y = malloc(outputs * 4);
    op_test t;
    ref_max_pool(&p, x, y);
    op_begin(&t, "max_pool", &attrs, CLQ_EXEC_FLOAT);
    op_input(&t, 0, (clq_shape){4, {p.n, p.ih, p.iw, p.c}}, x);
    op_output(&t, (clq_shape){4, {p.n, p.oh, p.ow, p.c}});
    op_forward(&t);
    assert_null(t.run.state);
    assert_buffer_close(t.run.out.buffer, y, outputs, 0, 0);
    op_end(&t);
    free(x), free(y);
}

static void test_max_pool_nan(void **state) {
    (void)state;
    const clq_pool_attrs attrs = {.kernel = {2, 2}, .stride = {2, 2}};
    float x[4 * 16];
    for (int i = 0; i < 64; i++) {
        x[i] = (float)i;
    }
    x[16] = NAN;
    op_test t;
    op_begin(&t, "max_pool", &attrs, CLQ_EXEC_FLOAT);
    op_input(&t, 0, (clq_shape){4, {1, 2, 2, 16}}, x);
    op_output(&t, (clq_shape){4, {1, 1, 1, 16}});
    op_forward(&t);
    float *y = read_floats(t.run.out.buffer);
    assert_true(isnan(y[0]));
    assert_true(y[1] == 49);
    free(y);
    op_end(&t);
}

static void test_window_too_large(void **state) {
    (void)state;
    const clq_pool_attrs attrs = {.kernel = {300, 300}, .stride = {1, 1}};
    op_test t;
    op_begin(&t, "max_pool", &attrs, CLQ_EXEC_TRAIN);
    op_input(&t, 0, (clq_shape){4, {1, 300, 300, 1}}, NULL);
    op_output(&t, (clq_shape){4, {1, 1, 1, 1}});
    assert_status(t.node.op->prepare(&t.run), CLQ_USAGE);
    op_end(&t);
}

/* ---- global ---- */

static void check_global(const char *op) {
    const bool is_max = strcmp(op, "global_max_pool") == 0;
    const int shapes[][4] = {{2, 7, 9, 5}, {3, 1, 1, 17}, {1, 4, 4, 80}};
    for (int s = 0; s < 3; s++) {
        const int *d = shapes[s];
        const ref_pool p = {.n = d[0],
                            .ih = d[1],
                            .iw = d[2],
                            .c = d[3],
                            .oh = 1,
                            .ow = 1,
                            .kh = d[1],
                            .kw = d[2],
                            .sh = 1,
                            .sw = 1,
                            .dh = 1,
                            .dw = 1};
        const size_t inputs = (size_t)(d[0] * d[1] * d[2] * d[3]), outputs = (size_t)(d[0] * d[3]);
        float *x = random_floats(inputs, -1, 1, 1), *dy = random_floats(outputs, -1, 1, 2);
        float *y = malloc(outputs * 4), *dx = malloc(inputs * 4);
        op_test t;
        if (is_max) {
            ref_max_pool(&p, x, y);
            ref_max_pool_grad(&p, x, dy, dx);
        } else {
            ref_avg_pool(&p, x, y);
            ref_avg_pool_grad(&p, dy, dx);
        }
        op_begin(&t, op, NULL, CLQ_EXEC_TRAIN);
        op_input(&t, 0, (clq_shape){4, {d[0], d[1], d[2], d[3]}}, x);
        op_output(&t, (clq_shape){2, {d[0], d[3]}});
        op_want_gradient(&t, 0, NULL);
        op_forward(&t);
        op_backward(&t, dy);
        assert_buffer_close(t.run.out.buffer, y, outputs, ABSOLUTE, RELATIVE);
        assert_buffer_close(t.run.grad_in[0].buffer, dx, inputs, ABSOLUTE, RELATIVE);
        op_end(&t);
        free(x), free(dy), free(y), free(dx);
    }
}

static void test_global_pools(void **state) {
    (void)state;
    check_global("global_avg_pool");
    check_global("global_max_pool");
}

/* ---- shortcut_a ---- */

static void check_shortcut(int n, int h, int w, int c, int stride, int front, int back,
                           bool accumulate) {
    const clq_pad_channels_attrs attrs = {stride, front, back};
    const int oh = (h + stride - 1) / stride, ow = (w + stride - 1) / stride;
    const int channels = front + c + back;
    const size_t inputs = (size_t)(n * h * w * c), outputs = (size_t)(n * oh * ow * channels);
    float *x = random_floats(inputs, -1, 1, 1), *dy = random_floats(outputs, -1, 1, 2);
    float *dx = random_floats(inputs, -1, 1, 3), *start = random_floats(inputs, -1, 1, 3);
    float *y = calloc(outputs, 4);
    op_test t;
    memset(dx, 0, accumulate ? 0 : inputs * 4);
    for (int i = 0; i < n * oh * ow * c; i++) {
        const int k = i % c, q = i / c % ow, r = i / c / ow % oh, image = i / c / ow / oh;
        const int in = ((image * h + r * stride) * w + q * stride) * c + k;
        const int out = ((image * oh + r) * ow + q) * channels + front + k;
        y[out] = x[in];
        dx[in] += dy[out];
    }
    op_begin(&t, "shortcut_a", &attrs, CLQ_EXEC_TRAIN);
    op_input(&t, 0, (clq_shape){4, {n, h, w, c}}, x);
    op_output(&t, (clq_shape){4, {n, oh, ow, channels}});
    op_want_gradient(&t, 0, accumulate ? start : NULL);
    op_forward(&t);
    op_backward(&t, dy);
    assert_buffer_close(t.run.out.buffer, y, outputs, 0, 0);
    assert_buffer_close(t.run.grad_in[0].buffer, dx, inputs, 0, 0);
    op_end(&t);
    free(x), free(dy), free(dx), free(start), free(y);
}

static void test_shortcut_a(void **state) {
    (void)state;
    check_shortcut(2, 8, 8, 16, 2, 8, 8, false);
    check_shortcut(2, 8, 8, 16, 2, 8, 8, true);
    check_shortcut(1, 7, 5, 3, 2, 1, 2, false);
    check_shortcut(1, 7, 5, 33, 3, 0, 5, true);
    check_shortcut(3, 4, 6, 17, 1, 4, 0, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_max_pool),           cmocka_unit_test(test_avg_pool),
        cmocka_unit_test(test_max_pool_inference), cmocka_unit_test(test_max_pool_nan),
        cmocka_unit_test(test_window_too_large),   cmocka_unit_test(test_global_pools),
        cmocka_unit_test(test_shortcut_a),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

/* Pools, flatten and shortcut_a in the three quantized modes, against plain loops. */
#include <math.h>

#include "support/quant_run.h"
#include "support/ref_ops.h"
#include "support/ref_requantize.h"

static const clq_exec_mode modes[] = {CLQ_EXEC_FAKE_QUANT, CLQ_EXEC_QAT, CLQ_EXEC_INT8};
static clq_requantizer requantizer;
static quant_meaning x_meaning, y_meaning;

/* For the tests that follow. */
static void use(clq_requantizer kind) {
    requantizer = kind;
    x_meaning = (quant_meaning){ref_scale_for(kind, 0.037f), 91};
    y_meaning = (quant_meaning){ref_scale_for(kind, 0.0291f), 133};
}

static int use_float(void **state) {
    (void)state;
    use(CLQ_REQUANT_FLOAT);
    return 0;
}

typedef struct pool_case {
    int n, h, w, c, kernel[2], stride[2], pad[4];
    bool ceil_mode, count_include_pad;
    int dilation[2];
} pool_case;

static const pool_case cases[] = {
    {1, 4, 4, 16, {2, 2}, {2, 2}, {0, 0, 0, 0}, false, false, {1, 1}},
    {2, 7, 5, 3, {3, 3}, {2, 2}, {1, 1, 1, 1}, false, true, {1, 1}},
    {1, 8, 9, 17, {3, 2}, {1, 2}, {1, 0, 0, 1}, false, false, {1, 1}},
    {1, 6, 6, 15, {3, 3}, {2, 2}, {1, 1, 1, 1}, true, true, {1, 1}},
    {2, 9, 7, 33, {9, 7}, {1, 1}, {0, 0, 0, 0}, false, false, {1, 1}},
    {1, 1, 1, 1, {1, 1}, {1, 1}, {0, 0, 0, 0}, false, false, {1, 1}},
    {2, 9, 8, 18, {3, 2}, {2, 1}, {2, 1, 1, 0}, false, false, {2, 3}},
    {1, 8, 9, 3, {2, 3}, {2, 2}, {1, 2, 2, 1}, true, true, {3, 2}},
};
enum { CASES = sizeof cases / sizeof *cases };

static clq_pool_attrs attributes(const pool_case *c) {
    clq_pool_attrs attrs = {.count_include_pad = c->count_include_pad, .ceil_mode = c->ceil_mode};
    memcpy(attrs.kernel, c->kernel, sizeof attrs.kernel);
    memcpy(attrs.stride, c->stride, sizeof attrs.stride);
    memcpy(attrs.pad, c->pad, sizeof attrs.pad);
    memcpy(attrs.dilation, c->dilation, sizeof attrs.dilation);
    return attrs;
}

static void begin(quant_test *t, const char *op, const pool_case *c, clq_exec_mode mode,
                  const quant_meaning *y, const uint8_t *codes) {
    const clq_pool_attrs attrs = attributes(c);
    const clq_shape shape = {4, {1, c->h, c->w, c->c}};
    const bool has_attrs = strncmp(op, "global", 6) != 0;
    quant_begin(t);
    assert_ok(clq_graph_set_requantizer(t->graph, requantizer));
    const int input = quant_activation(t, &shape, x_meaning);
    quant_node(t, op, has_attrs ? &attrs : NULL, &input, 1, y, mode, c->n);
    quant_input(t, 0, codes);
}

/* The geometry of the node under test. */
static ref_pool geometry_of(const quant_test *t, const pool_case *c, bool global) {
    const int64_t *y = t->run.out.shape.dim;
    ref_pool p = {.n = c->n, .ih = c->h, .iw = c->w, .c = c->c, .oh = 1, .ow = 1, .dh = 1, .dw = 1};
    p.kh = global ? c->h : c->kernel[0];
    p.kw = global ? c->w : c->kernel[1];
    p.sh = global ? 1 : c->stride[0];
    p.sw = global ? 1 : c->stride[1];
    if (!global) {
        memcpy(p.pad, c->pad, sizeof p.pad);
        p.count_include_pad = c->count_include_pad;
        p.dh = c->dilation[0];
        p.dw = c->dilation[1];
        p.oh = (int)y[1];
        p.ow = (int)y[2];
    }
    return p;
}

static float *as_reals(const uint8_t *codes, size_t count, float scale) {
    float *real = malloc(count * sizeof *real);
    for (size_t i = 0; i < count; i++) {
        real[i] = scale * (float)(codes[i] - x_meaning.zero_point);
    }
    return real;
}

static void check_max_pools(bool global) {
    const char *op = global ? "global_max_pool" : "max_pool";
    for (int i = 0; i < CASES; i++) {
        const size_t xs = (size_t)(cases[i].n * cases[i].h * cases[i].w * cases[i].c);
        uint8_t *x = random_codes(xs, 1);
        float *centred = as_reals(x, xs, 1), *dy = random_floats(xs * 4, -1, 1, 2);
        for (int m = 0; m < 3; m++) {
            quant_test t;
            begin(&t, op, &cases[i], modes[m], &x_meaning, x);
            const ref_pool p = geometry_of(&t, &cases[i], global);
            const size_t ys = (size_t)clq_shape_count(&t.run.out.shape);
            float *expected = malloc(ys * sizeof *expected);
            ref_max_pool(&p, centred, expected);
            if (modes[m] == CLQ_EXEC_QAT) {
                quant_want_gradient(&t, 0, NULL);
            }
            quant_forward(&t);
            uint8_t *y = quant_output(&t);
            for (size_t k = 0; k < ys; k++) {
                assert_int_equal(y[k], (int)expected[k] + x_meaning.zero_point);
            }
            if (modes[m] == CLQ_EXEC_QAT) {
                float *dx = malloc(xs * sizeof *dx);
                quant_backward(&t, dy);
                ref_max_pool_grad(&p, centred, dy, dx);
                assert_buffer_close(t.run.grad_in[0].buffer, dx, xs, 1e-6, 1e-6);
                free(dx);
            }
            free(y);
            free(expected);
            quant_end(&t);
        }
        free(x);
        free(centred);
        free(dy);
    }
}

static void max_pools_keep_the_greatest_code(void **state) {
    (void)state;
    check_max_pools(false);
    check_max_pools(true);
}

/* Equations (12), (12f), (12s), and whether each code was clamped. */
static void expected_average(const ref_pool *p, const uint8_t *x, uint8_t *y, bool *passes) {
    size_t at = 0;
    for (int n = 0; n < p->n; n++) {
        for (int oh = 0; oh < p->oh; oh++) {
            for (int ow = 0; ow < p->ow; ow++) {
                for (int c = 0; c < p->c; c++, at++) {
                    int sum = 0, inside = 0, padded = 0;
                    for (int kh = 0; kh < p->kh; kh++) {
                        for (int kw = 0; kw < p->kw; kw++) {
                            const int ih = oh * p->sh - p->pad[0] + kh * p->dh;
                            const int iw = ow * p->sw - p->pad[1] + kw * p->dw;
                            padded += ih < p->ih + p->pad[2] && iw < p->iw + p->pad[3];
                            if (ih < 0 || ih >= p->ih || iw < 0 || iw >= p->iw) {
                                continue;
                            }
                            inside++;
                            sum += x[((n * p->ih + ih) * p->iw + iw) * p->c + c] -
                                   x_meaning.zero_point;
                        }
                    }
                    const int count = p->count_include_pad ? padded : inside;
                    const double code = ref_requantized_mean(requantizer, sum, count,
                                                             x_meaning.scale, y_meaning.scale) +
                                        y_meaning.zero_point;
                    passes[at] = code >= 0 && code <= 255;
                    y[at] = (uint8_t)(code < 0 ? 0 : code > 255 ? 255 : code);
                }
            }
        }
    }
}

static void check_average(const pool_case *c, bool global) {
    const char *op = global ? "global_avg_pool" : "avg_pool";
    const size_t xs = (size_t)(c->n * c->h * c->w * c->c);
    uint8_t *x = random_codes(xs, 1);
    float *dy = random_floats(xs * 4, -1, 1, 2), *start = random_floats(xs, -1, 1, 3);
    float *dx = malloc(xs * sizeof *dx);
    for (int m = 0; m < 3; m++) {
        quant_test t;
        begin(&t, op, c, modes[m], &y_meaning, x);
        const ref_pool p = geometry_of(&t, c, global);
        const size_t ys = (size_t)clq_shape_count(&t.run.out.shape);
        uint8_t *expected = malloc(ys), *y;
        bool *passes = malloc(ys * sizeof *passes);
        expected_average(&p, x, expected, passes);
        if (modes[m] == CLQ_EXEC_QAT) {
            t.qstate->observe = true;
            quant_want_gradient(&t, 0, start);
        }
        quant_forward(&t);
        y = quant_output(&t);
        assert_equal_u8(y, expected, clq_test_shape_of(ys / (size_t)c->c, (size_t)c->c));
        if (modes[m] == CLQ_EXEC_QAT) {
            quant_backward(&t, dy);
            float *g = malloc(ys * sizeof *g);
            for (size_t k = 0; k < ys; k++) {
                g[k] = passes[k] ? dy[k] : 0;
            }
            ref_avg_pool_grad(&p, g, dx);
            for (size_t k = 0; k < xs; k++) {
                dx[k] += start[k];
            }
            assert_buffer_close(t.run.grad_in[0].buffer, dx, xs, 1e-6, 1e-5);
            free(g);
        }
        free(y);
        free(expected);
        free(passes);
        quant_end(&t);
    }
    free(x);
    free(dy);
    free(start);
    free(dx);
}

static void averages_are_those_of_plain_loops(void **state) {
    (void)state;
    for (int i = 0; i < CASES * CLQ_REQUANT_COUNT; i++) {
        use((clq_requantizer)(i / CASES));
        if (ref_takes(requantizer, test_device)) {
            check_average(&cases[i % CASES], false);
            check_average(&cases[i % CASES], true);
        }
    }
}

static void averages_are_observed(void **state) {
    (void)state;
    const pool_case c = {2, 3, 3, 17, {3, 3}, {1, 1}, {0, 0, 0, 0}, false, false, {1, 1}};
    uint8_t *x = random_codes(2 * 9 * 17, 1);
    float *real = as_reals(x, 2 * 9 * 17, x_meaning.scale), y[2 * 17], seen[2];
    float low = 0, high = 0;
    quant_test t;
    begin(&t, "global_avg_pool", &c, CLQ_EXEC_QAT, &y_meaning, x);
    const ref_pool p = geometry_of(&t, &c, true);
    ref_avg_pool(&p, real, y);
    for (int i = 0; i < 2 * 17; i++) {
        low = fmaxf(low, -y[i]);
        high = fmaxf(high, y[i]);
    }
    t.qstate->observe = true;
    quant_forward(&t);
    quant_seen(&t, seen);
    assert_true(fabsf(seen[0] - low) < 1e-5f && fabsf(seen[1] - high) < 1e-5f);
    quant_end(&t);
    free(x);
    free(real);
}

/* ---- operators that move codes ---- */

static void flatten_repacks(void **state) {
    (void)state;
    const int64_t shapes[][3] = {{2, 3, 5}, {1, 1, 3}, {4, 4, 16}, {3, 1, 7}};
    for (int s = 0; s < 4; s++) {
        const size_t each = (size_t)(shapes[s][0] * shapes[s][1] * shapes[s][2]);
        uint8_t *x = random_codes(3 * each, 1);
        for (int m = 0; m < 3; m++) {
            const clq_shape shape = {4, {1, shapes[s][0], shapes[s][1], shapes[s][2]}};
            quant_test t;
            quant_begin(&t);
            const int input = quant_activation(&t, &shape, x_meaning);
            quant_node(&t, "flatten", NULL, &input, 1, &x_meaning, modes[m], 3);
            quant_input(&t, 0, x);
            quant_forward(&t);
            uint8_t *y = quant_output(&t);
            assert_equal_u8(y, x, clq_test_shape_of(3, each));
            free(y);
            quant_end(&t);
        }
        free(x);
    }
}

static void shortcut_a_pads_with_zero_points(void **state) {
    (void)state;
    enum { N = 2, H = 5, W = 4, C = 7, FRONT = 3, BACK = 2, OC = FRONT + C + BACK, OH = 3, OW = 2 };
    const clq_pad_channels_attrs attrs = {.stride = 2, .front = FRONT, .back = BACK};
    const clq_shape shape = {4, {1, H, W, C}};
    uint8_t *x = random_codes(N * H * W * C, 1), expected[N * OH * OW * OC];
    for (int i = 0; i < N * OH * OW * OC; i++) {
        const int c = i % OC - FRONT, w = i / OC % OW, h = i / OC / OW % OH, n = i / OC / OW / OH;
        expected[i] = c < 0 || c >= C ? (uint8_t)x_meaning.zero_point
                                      : x[((n * H + 2 * h) * W + 2 * w) * C + c];
    }
    for (int m = 0; m < 3; m++) {
        quant_test t;
        quant_begin(&t);
        const int input = quant_activation(&t, &shape, x_meaning);
        quant_node(&t, "shortcut_a", &attrs, &input, 1, &x_meaning, modes[m], N);
        quant_input(&t, 0, x);
        quant_forward(&t);
        uint8_t *y = quant_output(&t);
        assert_equal_u8(y, expected, clq_test_shape_of(N, OH, OW, OC));
        free(y);
        quant_end(&t);
    }
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(max_pools_keep_the_greatest_code, use_float),
        cmocka_unit_test_setup(averages_are_those_of_plain_loops, use_float),
        cmocka_unit_test_setup(averages_are_observed, use_float),
        cmocka_unit_test_setup(flatten_repacks, use_float),
        cmocka_unit_test_setup(shortcut_a_pads_with_zero_points, use_float),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

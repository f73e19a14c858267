/* resize on floats and on codes against plain loops, on both schedules. */
#include <math.h>
#include <string.h>

#include "ops/resize_taps.h"
#include "support/quant_run.h"

typedef struct resize_case {
    int n, h, w, c, oh, ow;
    clq_resize_attrs attrs;
} resize_case;

#define TO(OH, OW) .size = {OH, OW}

static const resize_case cases[] = {
    {2,
     4,
     5,
     3,
     8,
     10,
     {TO(8, 10), .coordinates = CLQ_RESIZE_ASYMMETRIC, .rounding = CLQ_RESIZE_FLOOR}},
    {1, 6, 7, 17, 9, 5, {TO(9, 5)}},
    {1, 6, 7, 16, 9, 5, {TO(9, 5), .rounding = CLQ_RESIZE_ROUND_PREFER_CEIL}},
    {1,
     5,
     4,
     1,
     7,
     9,
     {TO(7, 9), .rounding = CLQ_RESIZE_CEIL, .coordinates = CLQ_RESIZE_TF_HALF_PIXEL_FOR_NN}},
    {2, 4, 5, 3, 8, 10, {TO(8, 10), .mode = CLQ_RESIZE_LINEAR}},
    {1,
     7,
     5,
     20,
     13,
     11,
     {TO(13, 11), .mode = CLQ_RESIZE_LINEAR, .coordinates = CLQ_RESIZE_ALIGN_CORNERS}},
    {1,
     9,
     8,
     33,
     1,
     3,
     {TO(1, 3), .mode = CLQ_RESIZE_LINEAR, .coordinates = CLQ_RESIZE_PYTORCH_HALF_PIXEL}},
    {1, 1, 1, 5, 4, 3, {TO(4, 3), .mode = CLQ_RESIZE_LINEAR}},
    {1,
     8,
     6,
     4,
     6,
     9,
     {.scale = {0.8f, 1.5f},
      .mode = CLQ_RESIZE_LINEAR,
      .coordinates = CLQ_RESIZE_HALF_PIXEL_SYMMETRIC}},
    {1,
     8,
     6,
     4,
     6,
     9,
     {.scale = {0.8f, 1.5f}, .mode = CLQ_RESIZE_LINEAR, .coordinates = CLQ_RESIZE_ASYMMETRIC}},
    {1,
     6,
     6,
     2,
     5,
     7,
     {TO(5, 7), .mode = CLQ_RESIZE_LINEAR, .coordinates = CLQ_RESIZE_TF_CROP_AND_RESIZE,
      .box_begin = {-0.2f, 0.1f}, .box_end = {0.8f, 1.3f}, .outside = 0.75f}},
    {2, 5, 6, 18, 9, 13, {TO(9, 13), .mode = CLQ_RESIZE_CUBIC, .cubic = -0.75f}},
    {1,
     7,
     7,
     3,
     4,
     3,
     {TO(4, 3), .mode = CLQ_RESIZE_CUBIC, .cubic = -0.5f, .exclude_outside = true}},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- the reference: coordinates and weights as the ONNX standard words them ---- */

static double coordinate(const clq_resize_attrs *a, int axis, int in, int out, int i) {
    const double scale = a->scale[axis] > 0 ? (double)a->scale[axis] : (double)out / in;
    const double begin = (double)a->box_begin[axis], end = (double)a->box_end[axis];
    switch (a->coordinates) {
    case CLQ_RESIZE_HALF_PIXEL_SYMMETRIC:
        return in / 2.0 * (1 - out / (scale * in)) + (i + 0.5) / scale - 0.5;
    case CLQ_RESIZE_PYTORCH_HALF_PIXEL:
        return out > 1 ? (i + 0.5) / scale - 0.5 : 0;
    case CLQ_RESIZE_ALIGN_CORNERS:
        return out > 1 ? i * (in - 1.0) / (out - 1.0) : 0;
    case CLQ_RESIZE_ASYMMETRIC:
        return i / scale;
    case CLQ_RESIZE_TF_HALF_PIXEL_FOR_NN:
        return (i + 0.5) / scale;
    case CLQ_RESIZE_TF_CROP_AND_RESIZE:
        return out > 1 ? begin * (in - 1) + i * (end - begin) * (in - 1) / (out - 1)
                       : 0.5 * (begin + end) * (in - 1);
    default:
        return (i + 0.5) / scale - 0.5;
    }
}

static double keys(double a, double t) {
    t = fabs(t);
    return t < 1   ? (a + 2) * t * t * t - (a + 3) * t * t + 1
           : t < 2 ? a * t * t * t - 5 * a * t * t + 8 * a * t - 4 * a
                   : 0;
}

/* The weight of input pixel p for output pixel i; *beyond: it lies outside. */
static double weight(const clq_resize_attrs *a, int axis, int in, int out, int i, int p,
                     bool *beyond) {
    const double x = coordinate(a, axis, in, out, i), most = in - 1;
    *beyond = a->coordinates == CLQ_RESIZE_TF_CROP_AND_RESIZE && (x < 0 || x > most);
    if (a->mode == CLQ_RESIZE_NEAREST) {
        const double at = a->rounding == CLQ_RESIZE_FLOOR               ? floor(x)
                          : a->rounding == CLQ_RESIZE_CEIL              ? ceil(x)
                          : a->rounding == CLQ_RESIZE_ROUND_PREFER_CEIL ? floor(x + 0.5)
                                                                        : ceil(x - 0.5);
        return fmin(fmax(at, 0), most) == p;
    }
    if (a->mode == CLQ_RESIZE_LINEAR) {
        return fmax(0, 1 - fabs(fmin(fmax(x, 0), most) - p));
    }
    double sum = 0, all = 0;
    for (int t = -1; t <= 2; t++) {
        const double at = floor(x) + t, value = keys((double)a->cubic, x - at);
        const bool inside = at >= 0 && at <= most;
        sum += fmin(fmax(at, 0), most) == p && (inside || !a->exclude_outside) ? value : 0;
        all += inside || !a->exclude_outside ? value : 0;
    }
    return sum / all;
}

/* y, and dx += what dy brings; either may be NULL. */
static void ref_resize(const resize_case *k, const float *x, float *y, const float *dy, float *dx) {
    for (int n = 0; n < k->n; n++) {
        for (int i = 0; i < k->oh * k->ow * k->c; i++) {
            const int c = i % k->c, w = i / k->c % k->ow, h = i / k->c / k->ow;
            const size_t to = (size_t)n * (size_t)(k->oh * k->ow * k->c) + (size_t)i;
            bool beyond_h = false, beyond_w = false;
            double sum = 0;
            for (int p = 0; p < k->h; p++) {
                for (int q = 0; q < k->w; q++) {
                    const double by = weight(&k->attrs, 0, k->h, k->oh, h, p, &beyond_h) *
                                      weight(&k->attrs, 1, k->w, k->ow, w, q, &beyond_w);
                    const size_t at = (size_t)(((n * k->h + p) * k->w + q) * k->c + c);
                    sum += y ? by * (double)x[at] : 0;
                    if (dx && !beyond_h && !beyond_w) {
                        dx[at] += (float)(by * (double)dy[to]);
                    }
                }
            }
            if (y) {
                y[to] = beyond_h || beyond_w ? k->attrs.outside : (float)sum;
            }
        }
    }
}

/* ---- floats ---- */

static void check_floats(const resize_case *k, bool accumulate) {
    const size_t xs = (size_t)(k->n * k->h * k->w * k->c),
                 ys = (size_t)(k->n * k->oh * k->ow * k->c);
    float *x = random_floats(xs, -1, 1, 1), *dy = random_floats(ys, -1, 1, 2);
    float *start = random_floats(xs, -1, 1, 3), *y = malloc(ys * sizeof *y);
    float *dx = calloc(xs, sizeof *dx);
    op_test t;
    if (accumulate) {
        memcpy(dx, start, xs * sizeof *dx);
    }
    ref_resize(k, x, y, dy, dx);
    op_begin(&t, "resize", &k->attrs, CLQ_EXEC_TRAIN);
    op_input(&t, 0, (clq_shape){4, {k->n, k->h, k->w, k->c}}, x);
    op_output(&t, (clq_shape){4, {k->n, k->oh, k->ow, k->c}});
    op_want_gradient(&t, 0, accumulate ? start : NULL);
    op_forward(&t);
    op_backward(&t, dy);
    /* Weights of coordinates up to 13, which are floats. */
    assert_buffer_close(t.run.out.buffer, y, ys, 5e-6, 1e-6);
    assert_buffer_close(t.run.grad_in[0].buffer, dx, xs, 2e-5, 1e-6);
    op_end(&t);
    free(x), free(dy), free(start), free(y), free(dx);
}

static void floats_are_those_of_plain_loops(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_floats(&cases[i], i % 2 == 1);
    }
}

/* Middles that floats miss by a little: where ONNX Runtime 1.32 finds their pixels. */
static void ties_are_found(void **state) {
    (void)state;
    static const struct {
        int in, out, pixel, from;
        clq_resize_coordinates coordinates;
        clq_resize_rounding rounding;
    } ties[] = {{27, 30, 15, 14, CLQ_RESIZE_ASYMMETRIC, CLQ_RESIZE_ROUND_PREFER_CEIL},
                {23, 58, 29, 12, CLQ_RESIZE_ASYMMETRIC, CLQ_RESIZE_ROUND_PREFER_CEIL},
                {30, 1, 0, 15, CLQ_RESIZE_HALF_PIXEL, CLQ_RESIZE_ROUND_PREFER_CEIL},
                {28, 62, 15, 6, CLQ_RESIZE_PYTORCH_HALF_PIXEL, CLQ_RESIZE_ROUND_PREFER_FLOOR},
                {29, 36, 18, 14, CLQ_RESIZE_ASYMMETRIC, CLQ_RESIZE_ROUND_PREFER_FLOOR}};
    for (size_t i = 0; i < sizeof ties / sizeof *ties; i++) {
        const clq_resize_attrs attrs = {.coordinates = ties[i].coordinates,
                                        .rounding = ties[i].rounding};
        clq_resize_taps taps = {0};
        assert_ok(clq_resize_taps_make(&attrs, 0, ties[i].in, ties[i].out, &taps));
        assert_int_equal(taps.from[taps.first[ties[i].pixel]], ties[i].from);
        clq_resize_taps_free(&taps);
    }
}

/* ---- codes ---- */

static const quant_meaning meaning = {0.037f, 91};
static const clq_exec_mode modes[] = {CLQ_EXEC_FAKE_QUANT, CLQ_EXEC_QAT, CLQ_EXEC_INT8};

/* Equation (12i) of one pixel before the clamp, from weights in 2^-11. */
static double wide_code(const resize_case *k, const uint8_t *x, size_t to) {
    const int c = (int)to % k->c, w = (int)to / k->c % k->ow, h = (int)to / k->c / k->ow % k->oh;
    const int n = (int)to / k->c / k->ow / k->oh;
    bool beyond_h = false, beyond_w = false;
    double sum = 0;
    for (int p = 0; p < k->h; p++) {
        for (int q = 0; q < k->w; q++) {
            const double by = rint(2048 * weight(&k->attrs, 0, k->h, k->oh, h, p, &beyond_h)) *
                              rint(2048 * weight(&k->attrs, 1, k->w, k->ow, w, q, &beyond_w));
            sum += by * (x[((n * k->h + p) * k->w + q) * k->c + c] - meaning.zero_point);
        }
    }
    return (beyond_h || beyond_w ? rint((double)(k->attrs.outside / meaning.scale))
                                 : rint(sum * 0x1p-22)) +
           meaning.zero_point;
}

/* The gradient of input x; no dy where a cubic output may be at its bound by the clamp or not. */
static void check_gradient(const resize_case *k, quant_test *t, const double *wide) {
    const size_t xs = (size_t)(k->n * k->h * k->w * k->c),
                 ys = (size_t)(k->n * k->oh * k->ow * k->c);
    float *dy = random_floats(ys, -1, 1, 2), *dx = calloc(xs, sizeof *dx);
    for (size_t i = 0; k->attrs.mode == CLQ_RESIZE_CUBIC && i < ys; i++) {
        dy[i] = fabs(wide[i]) <= 1 || fabs(wide[i] - 255) <= 1 ? 0 : dy[i];
    }
    quant_backward(t, dy);
    for (size_t i = 0; i < ys; i++) {
        dy[i] = wide[i] < 0 || wide[i] > 255 ? 0 : dy[i];
    }
    ref_resize(k, NULL, NULL, dy, dx);
    assert_buffer_close(t->run.grad_in[0].buffer, dx, xs, 2e-5, 1e-6);
    free(dy), free(dx);
}

/* Cubic weights that round to another sum differ from the reference's in the largest one. */
static void check_codes(const resize_case *k) {
    const size_t xs = (size_t)(k->n * k->h * k->w * k->c),
                 ys = (size_t)(k->n * k->oh * k->ow * k->c);
    const clq_shape shape = {4, {1, k->h, k->w, k->c}};
    const int slack = k->attrs.mode == CLQ_RESIZE_CUBIC;
    uint8_t *x = random_codes(xs, 1), *first = NULL;
    double *wide = malloc(ys * sizeof *wide);
    for (int m = 0; m < 3; m++) {
        quant_test t;
        quant_begin(&t);
        const int input = quant_activation(&t, &shape, meaning);
        quant_node(&t, "resize", &k->attrs, &input, 1, &meaning, modes[m], k->n);
        assert_int_equal(t.run.out.shape.dim[1], k->oh);
        assert_int_equal(t.run.out.shape.dim[2], k->ow);
        quant_input(&t, 0, x);
        if (modes[m] == CLQ_EXEC_QAT) {
            quant_want_gradient(&t, 0, NULL);
        }
        quant_forward(&t);
        uint8_t *y = quant_output(&t);
        for (size_t i = 0; i < ys; i++) {
            wide[i] = wide_code(k, x, i);
            const int expected = (int)fmin(fmax(wide[i], 0), 255);
            assert_in_range(y[i] + slack, expected, expected + 2 * slack);
            assert_true(!first || y[i] == first[i]);
        }
        if (modes[m] == CLQ_EXEC_QAT) {
            check_gradient(k, &t, wide);
        }
        free(first);
        first = y;
        quant_end(&t);
    }
    free(first), free(x), free(wide);
}

static void codes_are_those_of_plain_loops(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_codes(&cases[i]);
    }
}

/* ---- weights and refusals ---- */

static void weights_add_up(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        clq_resize_taps taps[2] = {{0}, {0}};
        int bits = 0;
        assert_ok(clq_resize_taps_make(&cases[i].attrs, 0, cases[i].h, cases[i].oh, &taps[0]));
        assert_ok(clq_resize_taps_make(&cases[i].attrs, 1, cases[i].w, cases[i].ow, &taps[1]));
        assert_true(clq_resize_weight_bits(taps, &bits));
        assert_int_equal(bits, 11);
        int32_t *codes = calloc((size_t)taps[1].count + 1, sizeof *codes);
        clq_resize_weight_codes(&taps[1], bits, codes);
        for (int o = 0; o < taps[1].out; o++) {
            int sum = 0;
            for (int t = taps[1].first[o]; t < taps[1].first[o + 1]; t++) {
                sum += codes[t];
            }
            assert_int_equal(sum, taps[1].first[o] < taps[1].first[o + 1] ? 2048 : 0);
        }
        free(codes);
        clq_resize_taps_free(&taps[0]);
        clq_resize_taps_free(&taps[1]);
    }
}

static clq_status add_resize(clq_resize_attrs attrs, clq_shape shape, clq_shape *y) {
    clq_graph *graph = NULL;
    int x, out;
    assert_ok(clq_graph_create("net", &graph));
    assert_ok(clq_graph_add_input(graph, "x", shape, &x));
    const clq_status status = clq_graph_add_node(graph, "resize", "up", &attrs, &x, 1, &out);
    if (status == CLQ_OK) {
        *y = graph->values[out].shape;
    } else {
        assert_error_has("resize \"up\"");
    }
    clq_graph_destroy(graph);
    return status;
}

static void sizes_follow_scales(void **state) {
    (void)state;
    const clq_shape x = {4, {1, 10, 7, 3}};
    clq_shape y;
    assert_ok(add_resize((clq_resize_attrs){.scale = {0.7f, 2.5f}}, x, &y));
    assert_int_equal(y.dim[1], 7); /* 0.7f is below 0.7, its product with 10 is 7 */
    assert_int_equal(y.dim[2], 17);
    assert_int_equal(y.dim[3], 3);
    assert_ok(add_resize((clq_resize_attrs){.size = {3, 0}, .scale = {0.25f, 1}}, x, &y));
    assert_int_equal(y.dim[1], 3);
    assert_int_equal(y.dim[2], 7);
    assert_ok(add_resize((clq_resize_attrs){.scale = {2, 2},
                                            .coordinates = CLQ_RESIZE_TF_CROP_AND_RESIZE,
                                            .box_end = {0.5f, 1}},
                         x, &y));
    assert_int_equal(y.dim[1], 10);
    assert_int_equal(y.dim[2], 14);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    static const clq_resize_attrs bad[] = {
        {.size = {(1 << 23) + 1, 4}}, /* of 10 more than 2^19 times as many */
        {.size = {0, 4}},
        {.size = {-1, 4}},
        {.scale = {0.05f, 1}}, /* less than a pixel */
        {.scale = {-1, 1}},
        {.scale = {NAN, 1}},
        {.scale = {INFINITY, 1}},
        {.scale = {1e-30f, 1}},
        {TO(4, 4), .mode = (clq_resize_mode)3},
        {TO(4, 4), .coordinates = (clq_resize_coordinates)-1},
        {TO(4, 4), .rounding = (clq_resize_rounding)9},
        {TO(4, 4), .mode = CLQ_RESIZE_CUBIC, .cubic = 1e9f},
        {TO(4, 4), .mode = CLQ_RESIZE_CUBIC, .cubic = NAN},
        {TO(4, 4), .outside = INFINITY},
        {TO(4, 4), .coordinates = CLQ_RESIZE_TF_CROP_AND_RESIZE, .box_end = {NAN, 1}},
        {.scale = {1, 1}, .coordinates = CLQ_RESIZE_TF_CROP_AND_RESIZE, .box_begin = {1, 0}},
        {TO(1 << 30, 1 << 30)},
    };
    clq_shape y;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(add_resize(bad[i], (clq_shape){4, {1, 10, 7, 3}}, &y), CLQ_BAD_DATA);
    }
    assert_status(add_resize((clq_resize_attrs){TO(4, 4)}, (clq_shape){2, {1, 10}}, &y),
                  CLQ_BAD_DATA);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_are_those_of_plain_loops),
        cmocka_unit_test(codes_are_those_of_plain_loops),
        cmocka_unit_test(ties_are_found),
        cmocka_unit_test(weights_add_up),
        cmocka_unit_test(sizes_follow_scales),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

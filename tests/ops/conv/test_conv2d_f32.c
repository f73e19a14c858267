/* FP32 convolution against the loop nests, in all directions, with both schedules. Small integers
 * as data make every sum exact, so that results must be equal whatever the order. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clquant/device.h"
#include "device/tuning.h"
#include "ops/conv/conv2d_f32.h"
#include "ops/conv/conv2d_f32_plan.h"
#include "support/clq_test.h"
#include "support/ref_conv2d.h"
#include "support/schedules.h"

/* ---- shapes ---- */

/* One shape; both axes alike unless kw is given. */
typedef struct shape_case {
    int n, ih, iw, ic, oc, k, stride, pad, dilation, groups;
    int kw, stride_w, pad_w, dilation_w; /* 0: as for the height */
    int extra; /* rows and columns of padding at the bottom and right beyond pad */
} shape_case;

/* n, ih x iw x ic, oc, kernel, stride, pad, dilation, groups */
#define SQUARE(n_, ih_, iw_, ic_, oc_, k_, s_, p_, d_, g_)                                         \
    .n = n_, .ih = ih_, .iw = iw_, .ic = ic_, .oc = oc_, .k = k_, .stride = s_, .pad = p_,         \
    .dilation = d_, .groups = g_

static const shape_case cases[] = {
    /* tile edges in channels and pixels */
    {SQUARE(1, 5, 5, 1, 1, 3, 1, 1, 1, 1)},
    {SQUARE(2, 7, 5, 3, 16, 3, 1, 1, 1, 1)},
    {SQUARE(1, 6, 7, 4, 15, 3, 1, 1, 1, 1)},
    {SQUARE(3, 5, 3, 15, 17, 1, 1, 0, 1, 1)},
    {SQUARE(1, 9, 11, 16, 16, 3, 1, 1, 1, 1)},
    {SQUARE(2, 8, 8, 17, 31, 3, 1, 1, 1, 1)},
    {SQUARE(1, 13, 7, 31, 33, 3, 1, 1, 1, 1)},
    {SQUARE(1, 7, 7, 33, 64, 3, 1, 1, 1, 1)},
    {SQUARE(1, 6, 6, 64, 65, 3, 1, 1, 1, 1)},
    {SQUARE(1, 5, 9, 65, 16, 3, 1, 1, 1, 1)},
    {SQUARE(1, 4, 4, 129, 130, 1, 1, 0, 1, 1)},
    {SQUARE(37, 1, 1, 19, 10, 1, 1, 0, 1, 1)},
    {SQUARE(1, 1, 1, 64, 100, 1, 1, 0, 1, 1)},
    {SQUARE(1, 3, 4, 96, 48, 1, 1, 0, 1, 1)},
    /* rows of tiles: 5 pixels each (7 x 7), unequal shares, a last row of one pixel, odd depth */
    {SQUARE(1, 7, 7, 37, 64, 1, 1, 0, 1, 1)},
    {SQUARE(1, 7, 7, 128, 48, 3, 1, 1, 1, 1)},
    {SQUARE(1, 13, 14, 50, 96, 1, 2, 0, 1, 1)},
    {SQUARE(1, 11, 29, 33, 32, 1, 1, 0, 1, 1)},
    /* strides, kernels, padding */
    {SQUARE(2, 9, 9, 16, 32, 3, 2, 1, 1, 1)},
    {SQUARE(1, 8, 10, 3, 16, 3, 2, 1, 1, 1)},
    {SQUARE(2, 8, 8, 33, 17, 3, 2, 1, 1, 1)},
    {SQUARE(2, 9, 7, 32, 24, 1, 2, 0, 1, 1)},
    {SQUARE(1, 11, 11, 4, 20, 1, 3, 0, 1, 1)},
    {SQUARE(1, 10, 13, 5, 7, 3, 3, 1, 1, 1)},
    {SQUARE(1, 14, 14, 40, 8, 3, 3, 0, 1, 1)},
    {SQUARE(1, 19, 17, 3, 24, 7, 2, 3, 1, 1)},
    {SQUARE(1, 12, 9, 6, 12, 5, 1, 2, 1, 1)},
    {SQUARE(1, 12, 9, 48, 12, 5, 2, 0, 1, 1)},
    {SQUARE(1, 9, 9, 8, 8, 7, 1, 0, 1, 1)},
    {SQUARE(1, 2, 2, 8, 8, 3, 2, 1, 1, 1)},
    {SQUARE(1, 1, 1, 8, 8, 3, 2, 1, 1, 1)},
    {SQUARE(1, 2, 3, 35, 8, 1, 3, 0, 1, 1)},
    /* dilation, alone and with strides; unequal axes; asymmetric padding */
    {SQUARE(1, 13, 13, 8, 16, 3, 1, 2, 2, 1)},
    {SQUARE(1, 15, 12, 40, 16, 3, 2, 2, 2, 1)},
    {SQUARE(1, 16, 16, 5, 9, 3, 3, 2, 2, 1)},
    {SQUARE(1, 17, 13, 34, 6, 3, 2, 1, 3, 1)},
    {SQUARE(1, 9, 14, 6, 10, 3, 2, 1, 1, 1), .kw = 5, .stride_w = 1, .pad_w = 2, .dilation_w = 1},
    {SQUARE(1, 14, 9, 33, 10, 1, 1, 0, 1, 1), .kw = 3, .stride_w = 3, .pad_w = 2, .dilation_w = 2},
    {SQUARE(1, 8, 8, 16, 16, 3, 2, 0, 1, 1), .extra = 1},
    {SQUARE(2, 7, 6, 36, 5, 3, 1, 0, 1, 1), .extra = 2},
    /* groups */
    {SQUARE(1, 7, 7, 8, 12, 3, 1, 1, 1, 2)},
    {SQUARE(2, 6, 5, 32, 32, 3, 2, 1, 1, 4)},
    {SQUARE(1, 5, 5, 66, 34, 3, 1, 1, 1, 2)},
    {SQUARE(1, 6, 6, 80, 80, 1, 1, 0, 1, 2)},
    {SQUARE(1, 6, 6, 5, 15, 3, 1, 1, 1, 5)},
    {SQUARE(1, 7, 7, 68, 136, 3, 1, 2, 2, 2)},
    /* depthwise */
    {SQUARE(2, 7, 9, 16, 16, 3, 1, 1, 1, 16)},
    {SQUARE(1, 8, 8, 33, 33, 3, 2, 1, 1, 33)},
    {SQUARE(1, 9, 7, 3, 3, 5, 1, 2, 1, 3)},
    {SQUARE(1, 11, 13, 24, 24, 3, 3, 1, 2, 24)},
    {SQUARE(2, 6, 6, 17, 17, 3, 2, 0, 1, 17), .extra = 1},
    {SQUARE(1, 14, 15, 40, 40, 3, 1, 1, 1, 40)},
    {SQUARE(2, 15, 29, 32, 32, 3, 2, 1, 1, 32)},
    {SQUARE(1, 9, 16, 24, 24, 5, 1, 2, 1, 24)},
    {SQUARE(1, 16, 33, 16, 16, 7, 2, 3, 1, 16)},
    {SQUARE(1, 6, 4, 12, 12, 3, 1, 0, 1, 12)},
    {SQUARE(1, 8, 15, 8, 8, 3, 2, 1, 1, 8), .kw = 3, .stride_w = 1, .pad_w = 1, .dilation_w = 1},
    /* many pixels: several blocks, parts and tiles an item */
    {SQUARE(6, 20, 21, 16, 16, 3, 1, 1, 1, 1)},
    {SQUARE(4, 19, 19, 3, 33, 3, 1, 1, 1, 1)},
    {SQUARE(9, 15, 16, 33, 18, 1, 1, 0, 1, 1)},
    {SQUARE(2, 40, 37, 3, 8, 7, 2, 3, 1, 1)},
};
enum { CASE_COUNT = sizeof cases / sizeof *cases };
/* Of the present group; the directions take turns in the cases. */
static int cases_in_turn, candidates_in_turn, picked_in_turn;

static clq_conv_geometry geometry_of(const shape_case *c) {
    clq_conv_geometry g = {
        .n = c->n,
        .ih = c->ih,
        .iw = c->iw,
        .ic = c->ic,
        .oc = c->oc,
        .kh = c->k,
        .kw = c->kw ? c->kw : c->k,
        .stride_h = c->stride,
        .stride_w = c->kw ? c->stride_w : c->stride,
        .pad_top = c->pad,
        .pad_left = c->kw ? c->pad_w : c->pad,
        .dilation_h = c->dilation,
        .dilation_w = c->kw ? c->dilation_w : c->dilation,
        .groups = c->groups,
    };
    g.oh = (g.ih + 2 * g.pad_top + c->extra - g.dilation_h * (g.kh - 1) - 1) / g.stride_h + 1;
    g.ow = (g.iw + 2 * g.pad_left + c->extra - g.dilation_w * (g.kw - 1) - 1) / g.stride_w + 1;
    return g;
}

/* CLQ_TEST_MAX_MAC in the environment leaves out cases of more multiply-adds, for interpreters such
 * as Oclgrind. */
static bool too_large(const clq_conv_geometry *g) {
    const char *most = getenv("CLQ_TEST_MAX_MAC");
    const size_t products = ref_conv2d_y_count(g) * (size_t)(g->kh * g->kw * (g->ic / g->groups));
    return most && products > strtoull(most, NULL, 10);
}

static void print_case(int index, const clq_conv_geometry *g) {
    print_message("case %d: n %d, %dx%dx%d -> %dx%dx%d, kernel %dx%d, stride %dx%d, pad %dx%d, "
                  "dilation %dx%d, groups %d\n",
                  index, g->n, g->ih, g->iw, g->ic, g->oh, g->ow, g->oc, g->kh, g->kw, g->stride_h,
                  g->stride_w, g->pad_top, g->pad_left, g->dilation_h, g->dilation_w, g->groups);
}

/* ---- buffers ---- */

/* A device tensor between two guards: a view in the middle of a larger buffer. */
typedef struct guarded {
    clq_buffer *parent, *view;
    size_t count, guard; /* floats */
} guarded;

static const float guard_value = -12345.5f;

static guarded guarded_create(clq_device *device, const float *data, size_t count) {
    guarded g = {.count = count, .guard = 64};
    const size_t alignment = clq_device_get_info(device)->base_alignment;
    while (g.guard * sizeof(float) % alignment) {
        g.guard *= 2;
    }
    const size_t all = count + 2 * g.guard;
    float *host = malloc(all * sizeof *host);
    for (size_t i = 0; i < all; i++) {
        host[i] = guard_value;
    }
    if (data) {
        memcpy(host + g.guard, data, count * sizeof *data);
    }
    assert_ok(clq_buffer_create(device, all * sizeof *host, &g.parent));
    assert_ok(clq_buffer_write(g.parent, 0, all * sizeof *host, host));
    assert_ok(clq_buffer_view(g.parent, g.guard * sizeof *host, count * sizeof *host, &g.view));
    free(host);
    return g;
}

/* The contents, to be freed; fails when a guard was written. */
static float *guarded_read(const guarded *g) {
    const size_t all = g->count + 2 * g->guard;
    float *host = malloc(all * sizeof *host), *data = malloc(g->count * sizeof *data);
    assert_ok(clq_buffer_read(g->parent, 0, all * sizeof *host, host));
    for (size_t i = 0; i < g->guard; i++) {
        assert_true(host[i] == guard_value);
        assert_true(host[g->guard + g->count + i] == guard_value);
    }
    memcpy(data, host + g->guard, g->count * sizeof *data);
    free(host);
    return data;
}

static void guarded_release(guarded *g) {
    clq_buffer_release(g->view);
    clq_buffer_release(g->parent);
}

static float *random_integers(size_t count, uint64_t stream) {
    float *data = malloc(count * sizeof *data);
    clq_test_fill_f32(data, count, -3.49f, 3.49f, stream);
    for (size_t i = 0; i < count; i++) {
        data[i] = rintf(data[i]);
    }
    return data;
}

/* ---- one convolution with its data ---- */

typedef struct fixture {
    clq_conv_geometry g;
    size_t x_count, w_count, y_count;
    float *x, *w, *y, *bias; /* y: residual, or the gradient dy */
    guarded dx, dw, dy, db;  /* device copies of x, w, y, bias */
    clq_conv2d_f32 *conv;
} fixture;

static fixture fixture_create(clq_device *device, clq_conv_geometry g, int directions,
                              bool integers) {
    fixture f = {.g = g};
    f.x_count = ref_conv2d_x_count(&g);
    f.w_count = ref_conv2d_w_count(&g);
    f.y_count = ref_conv2d_y_count(&g);
    f.x = random_integers(f.x_count, 1);
    f.w = random_integers(f.w_count, 2);
    f.y = random_integers(f.y_count, 3);
    f.bias = random_integers((size_t)g.oc, 4);
    if (!integers) {
        clq_test_fill_normal(f.x, f.x_count, 1, 1);
        clq_test_fill_normal(f.w, f.w_count, 1, 2);
        clq_test_fill_normal(f.y, f.y_count, 1, 3);
        clq_test_fill_normal(f.bias, (size_t)g.oc, 1, 4);
    }
    f.dx = guarded_create(device, f.x, f.x_count);
    f.dw = guarded_create(device, f.w, f.w_count);
    f.dy = guarded_create(device, f.y, f.y_count);
    f.db = guarded_create(device, f.bias, (size_t)g.oc);
    assert_ok(clq_conv2d_f32_create(device, &g, directions, &f.conv));
    assert_ok(clq_conv2d_f32_load_weights(f.conv, f.dw.view));
    return f;
}

static void fixture_free(fixture *f) {
    clq_conv2d_f32_destroy(f->conv);
    guarded_release(&f->dx);
    guarded_release(&f->dw);
    guarded_release(&f->dy);
    guarded_release(&f->db);
    free(f->x);
    free(f->w);
    free(f->y);
    free(f->bias);
}

/* Exact comparison that names the case. */
static void check(int index, const clq_conv_geometry *g, const char *what, const guarded *actual,
                  const float *expected, clq_test_shape shape) {
    char message[256];
    float *got = guarded_read(actual);
    const bool same = clq_test_close_f32(got, expected, shape, 0, 0, message, sizeof message);
    free(got);
    if (!same) {
        print_case(index, g);
        fail_msg("%s: %s", what, message);
    }
}

/* ---- tests; *state is the device ---- */

/* Weights packed once, and in every third case for each use. */
static int packing(int index) {
    return index % 3 == 0 ? CLQ_CONV_REPACK : 0;
}

static void check_forward(clq_device *device, int i, clq_conv_geometry g) {
    fixture f = fixture_create(device, g, CLQ_CONV_FORWARD | packing(i), true);
    const bool bias = i % 3 != 0, residual = i % 2 != 0;
    const clq_act act = (clq_act)(i % 3);
    guarded out = guarded_create(device, NULL, f.y_count);
    float *expected = malloc(f.y_count * sizeof *expected);
    ref_conv2d_f32(&f.g, f.x, f.w, bias ? f.bias : NULL, residual ? f.y : NULL, act, expected);
    assert_ok(clq_conv2d_f32_forward(f.conv, f.dx.view, bias ? f.db.view : NULL,
                                     residual ? f.dy.view : NULL, act, out.view));
    check(i, &f.g, "y", &out, expected,
          clq_test_shape_of((size_t)f.g.n, (size_t)f.g.oh, (size_t)f.g.ow, (size_t)f.g.oc));
    free(expected);
    guarded_release(&out);
    fixture_free(&f);
}

static void test_forward(void **state) {
    for (int i = 0; i < CASE_COUNT; i++) {
        const clq_conv_geometry g = geometry_of(&cases[i]);
        if (!too_large(&g) && clq_test_takes(i, cases_in_turn)) {
            check_forward(*state, i, g);
        }
    }
}

static void test_backward_data(void **state) {
    clq_device *device = *state;
    for (int i = 0; i < CASE_COUNT; i++) {
        const clq_conv_geometry g = geometry_of(&cases[i]);
        if (too_large(&g) || !clq_test_takes(i + 1, cases_in_turn)) {
            continue;
        }
        fixture f = fixture_create(device, g, CLQ_CONV_BACKWARD_DATA | packing(i), true);
        const bool accumulate = i % 2 != 0;
        guarded out = guarded_create(device, f.x, f.x_count);
        float *expected = malloc(f.x_count * sizeof *expected);
        memcpy(expected, f.x, f.x_count * sizeof *expected);
        ref_conv2d_f32_backward_data(&f.g, f.y, f.w, accumulate, expected);
        assert_ok(clq_conv2d_f32_backward_data(f.conv, f.dy.view, out.view, accumulate));
        check(i, &f.g, "dx", &out, expected,
              clq_test_shape_of((size_t)f.g.n, (size_t)f.g.ih, (size_t)f.g.iw, (size_t)f.g.ic));
        free(expected);
        guarded_release(&out);
        fixture_free(&f);
    }
}

static void test_backward_weights(void **state) {
    clq_device *device = *state;
    for (int i = 0; i < CASE_COUNT; i++) {
        const clq_conv_geometry g = geometry_of(&cases[i]);
        if (too_large(&g) || !clq_test_takes(i + 2, cases_in_turn)) {
            continue;
        }
        fixture f = fixture_create(device, g, CLQ_CONV_BACKWARD_WEIGHTS, true);
        const bool bias = i % 4 != 0;
        guarded dw = guarded_create(device, NULL, f.w_count);
        guarded db = guarded_create(device, NULL, (size_t)f.g.oc);
        float *expected = malloc(f.w_count * sizeof *expected);
        float *expected_bias = malloc((size_t)f.g.oc * sizeof *expected_bias);
        ref_conv2d_f32_backward_weights(&f.g, f.x, f.y, expected, expected_bias);
        assert_ok(clq_conv2d_f32_backward_weights(f.conv, f.dx.view, f.dy.view, dw.view,
                                                  bias ? db.view : NULL));
        check(i, &f.g, "dw", &dw, expected,
              clq_test_shape_of((size_t)f.g.oc, (size_t)f.g.kh, (size_t)f.g.kw,
                                (size_t)(f.g.ic / f.g.groups)));
        if (bias) {
            check(i, &f.g, "db", &db, expected_bias, clq_test_shape_of((size_t)f.g.oc));
        }
        free(expected);
        free(expected_bias);
        guarded_release(&dw);
        guarded_release(&db);
        fixture_free(&f);
    }
}

/* Runs all directions on real data; the results are appended to out[0..2]. */
static void run_all(clq_device *device, fixture *f, float *out[3]) {
    guarded y = guarded_create(device, NULL, f->y_count);
    guarded dx = guarded_create(device, NULL, f->x_count);
    guarded dw = guarded_create(device, NULL, f->w_count);
    assert_ok(clq_conv2d_f32_forward(f->conv, f->dx.view, f->db.view, NULL, CLQ_ACT_NONE, y.view));
    assert_ok(clq_conv2d_f32_backward_data(f->conv, f->dy.view, dx.view, false));
    assert_ok(clq_conv2d_f32_backward_weights(f->conv, f->dx.view, f->dy.view, dw.view, NULL));
    out[0] = guarded_read(&y);
    out[1] = guarded_read(&dx);
    out[2] = guarded_read(&dw);
    guarded_release(&y);
    guarded_release(&dx);
    guarded_release(&dw);
}

/* Real data: close to the double-precision sums, and the same bits on a second run. */
static void test_real_data(void **state) {
    static const int picked[] = {4, 7, 8, 14, 21, 37, 42, 47, 49};
    clq_device *device = *state;
    for (size_t i = 0; i < sizeof picked / sizeof *picked; i++) {
        const clq_conv_geometry g = geometry_of(&cases[picked[i]]);
        if (too_large(&g) || !clq_test_takes((int)i, picked_in_turn)) {
            continue;
        }
        fixture f = fixture_create(device, g, 7, false);
        const size_t counts[3] = {f.y_count, f.x_count, f.w_count};
        float *first[3], *second[3], *expected[3];
        run_all(device, &f, first);
        run_all(device, &f, second);
        for (int d = 0; d < 3; d++) {
            expected[d] = calloc(counts[d], sizeof(float));
        }
        ref_conv2d_f32(&f.g, f.x, f.w, f.bias, NULL, CLQ_ACT_NONE, expected[0]);
        ref_conv2d_f32_backward_data(&f.g, f.y, f.w, false, expected[1]);
        ref_conv2d_f32_backward_weights(&f.g, f.x, f.y, expected[2], NULL);
        for (int d = 0; d < 3; d++) {
            assert_equal_bits(first[d], second[d], counts[d] * sizeof(float));
            assert_close_f32(first[d], expected[d], clq_test_shape_of(counts[d]), 2e-4, 2e-5);
            free(first[d]);
            free(second[d]);
            free(expected[d]);
        }
        fixture_free(&f);
    }
}

/* The forward with a choice as if `clquant tune` had kept it (NULL: none); the output, to be freed.
 * *used: how it ran. */
static float *run_as(clq_device *device, const fixture *f, const char *choice,
                     clq_conv_choice *used) {
    char key[CLQ_CONV_KEY];
    clq_conv2d_f32 *conv = NULL;
    clq_conv_key(device, CLQ_CONV_F32, &f->g, key);
    assert_ok(clq_tuning_set(device, key, choice));
    assert_ok(clq_conv2d_f32_create(device, &f->g, CLQ_CONV_FORWARD, &conv));
    assert_ok(clq_tuning_set(device, key, NULL));
    assert_ok(clq_conv2d_f32_load_weights(conv, f->dw.view));
    *used = *clq_conv2d_f32_choice(conv);
    guarded y = guarded_create(device, NULL, f->y_count);
    assert_ok(
        clq_conv2d_f32_forward(conv, f->dx.view, f->db.view, f->dy.view, CLQ_ACT_RELU, y.view));
    float *out = guarded_read(&y);
    guarded_release(&y);
    clq_conv2d_f32_destroy(conv);
    return out;
}

static void check_candidates(clq_device *device, int index) {
    const clq_conv_geometry g = geometry_of(&cases[index]);
    char text[CLQ_CHOICE_TEXT];
    clq_conv_candidates candidates;
    clq_conv_choice used;
    fixture f = fixture_create(device, g, CLQ_CONV_FORWARD, false);
    float *expected = malloc(f.y_count * sizeof *expected);
    float *first = run_as(device, &f, NULL, &used);
    ref_conv2d_f32(&f.g, f.x, f.w, f.bias, f.y, CLQ_ACT_RELU, expected);
    assert_close_f32(first, expected, clq_test_shape_of(f.y_count), 2e-4, 2e-5);
    clq_f32_candidates(clq_device_get_info(device), &f.g, &candidates);
    assert_true(candidates.count > 0);
    assert_memory_equal(&used, &candidates.list[0], sizeof used);
    for (int i = 0; i < candidates.count; i++) {
        char message[256];
        if (!clq_test_takes(i + index, candidates_in_turn)) {
            continue;
        }
        clq_conv_choice_text(&candidates.list[i], text);
        float *y = run_as(device, &f, text, &used);
        assert_memory_equal(&used, &candidates.list[i], sizeof used);
        if (!clq_test_equal_bits(y, first, f.y_count * sizeof *y, message, sizeof message)) {
            print_case(index, &g);
            fail_msg("%s: %s", text, message);
        }
        free(y);
    }
    free(first);
    free(expected);
    fixture_free(&f);
}

/* Whatever is chosen, real data give the same bits: the products are added in one order. */
static void test_candidates(void **state) {
    static const int picked[] = {5, 8, 10, 16, 21, 22, 30, 37, 42, 47, 49};
    for (size_t i = 0; i < sizeof picked / sizeof *picked; i++) {
        const clq_conv_geometry g = geometry_of(&cases[picked[i]]);
        if (!too_large(&g) && clq_test_takes((int)i, picked_in_turn)) {
            check_candidates(*state, picked[i]);
        }
    }
}

/* What no plan can follow is left aside. */
static void test_stale_choices(void **state) {
    static const char *const stale[] = {"nonsense",
                                        "kernel=tile tile=7x9",
                                        "kernel=tile items=1x9999",
                                        "kernel=tile items=2x2 cols=3",
                                        "kernel=patch block=4096x4096",
                                        "kernel=patch items=2x1",
                                        "kernel=group group=9",
                                        "kernel=mma",
                                        "kernel=depthwise"};
    const clq_conv_geometry g = geometry_of(&cases[10]);
    fixture f = fixture_create(*state, g, CLQ_CONV_FORWARD, false);
    clq_conv_choice expected, used;
    free(run_as(*state, &f, NULL, &expected));
    for (size_t i = 0; i < sizeof stale / sizeof *stale; i++) {
        free(run_as(*state, &f, stale[i], &used));
        assert_memory_equal(&used, &expected, sizeof used);
    }
    fixture_free(&f);
}

/* A NaN must reach the output through ReLU, or a diverged network would look fine. */
static void test_nan_passes_relu(void **state) {
    clq_device *device = *state;
    const shape_case c = {SQUARE(1, 4, 4, 5, 19, 3, 1, 1, 1, 1)};
    fixture f = fixture_create(device, geometry_of(&c), CLQ_CONV_FORWARD, true);
    guarded out = guarded_create(device, NULL, f.y_count);
    const float nan_value = NAN;
    assert_ok(clq_buffer_write(f.dx.view, 0, sizeof nan_value, &nan_value));
    assert_ok(clq_conv2d_f32_forward(f.conv, f.dx.view, NULL, NULL, CLQ_ACT_RELU, out.view));
    float *y = guarded_read(&out);
    assert_true(isnan(y[0]));
    assert_true(isnan(y[18]));
    assert_false(isnan(y[15 * 19]));
    free(y);
    guarded_release(&out);
    fixture_free(&f);
}

static void test_wrong_direction_is_refused(void **state) {
    clq_device *device = *state;
    const shape_case c = {SQUARE(1, 4, 4, 5, 6, 3, 1, 1, 1, 1)};
    fixture f = fixture_create(device, geometry_of(&c), CLQ_CONV_FORWARD, true);
    assert_status(clq_conv2d_f32_backward_data(f.conv, f.dy.view, f.dx.view, false), CLQ_INTERNAL);
    assert_status(clq_conv2d_f32_backward_weights(f.conv, f.dx.view, f.dy.view, f.dw.view, NULL),
                  CLQ_INTERNAL);
    fixture_free(&f);
}

static void test_too_large_is_refused(void **state) {
    clq_conv2d_f32 *conv = NULL;
    clq_conv_geometry g = geometry_of(&cases[0]);
    g.ic = g.oc = 1 << 20;
    assert_status(clq_conv2d_f32_create(*state, &g, CLQ_CONV_FORWARD, &conv), CLQ_NO_MEMORY);
    assert_error_has("limit");
    g = geometry_of(&cases[0]);
    g.n = 1 << 28;
    assert_status(clq_conv2d_f32_create(*state, &g, CLQ_CONV_FORWARD, &conv), CLQ_NO_MEMORY);
    assert_null(conv);
}

/* Every allocation of creation failing in turn leaves nothing behind. */
static void test_out_of_memory(void **state) {
    clq_device *device = *state;
    const shape_case c = {SQUARE(1, 4, 4, 5, 6, 3, 2, 1, 1, 1)};
    const clq_conv_geometry g = geometry_of(&c);
    clq_conv2d_f32 *conv = NULL;
    assert_ok(clq_conv2d_f32_create(device, &g, 7, &conv)); /* builds the kernels */
    clq_conv2d_f32_destroy(conv);
    uint64_t before, after, peak;
    clq_device_memory(device, &before, &peak);
    for (long nth = 1;; nth++) {
        conv = NULL;
        clq_test_fail_allocation(nth);
        const clq_status status = clq_conv2d_f32_create(device, &g, 7, &conv);
        const long made = clq_test_allocations();
        clq_test_restore_allocator();
        if (status == CLQ_OK) {
            clq_conv2d_f32_destroy(conv);
            assert_true(made < nth);
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
        assert_null(conv);
        clq_device_memory(device, &after, &peak);
        assert_int_equal(before, after);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_backward_data),
        cmocka_unit_test(test_backward_weights),
        cmocka_unit_test(test_real_data),
        cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_stale_choices),
        cmocka_unit_test(test_nan_passes_relu),
        cmocka_unit_test(test_wrong_direction_is_refused),
        cmocka_unit_test(test_too_large_is_refused),
        cmocka_unit_test(test_out_of_memory),
    };
    const struct {
        const char *name;
        CMFixtureFunction open;
        unsigned simd_bytes;
        int cases_in_turn, candidates_in_turn, picked_in_turn;
    } groups[] = {
        {"conv2d_f32, CPU schedule", open_cpu, 0, 11, 61, 5},
        {"conv2d_f32, CPU schedule, 16-byte vectors", open_cpu_16, 16, 1, 1, 1},
        {"conv2d_f32, CPU schedule, 32-byte vectors", open_cpu_32, 32, 1, 1, 1},
        {"conv2d_f32, CPU schedule, 64-byte vectors", open_cpu_64, 64, 1, 1, 1},
        {"conv2d_f32, GPU schedule", open_gpu, 0, 19, 61, 9},
    };
    const unsigned own = own_simd_bytes();
    int failed = 0;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        const unsigned width = groups[i].simd_bytes; /* another's: in an exhaustive test */
        if (!width || (clq_test_all() && width != own)) {
            cases_in_turn = groups[i].cases_in_turn;
            candidates_in_turn = groups[i].candidates_in_turn;
            picked_in_turn = groups[i].picked_in_turn;
            failed += _cmocka_run_group_tests(groups[i].name, tests, sizeof tests / sizeof *tests,
                                              groups[i].open, close_device);
        }
    }
    return failed;
}

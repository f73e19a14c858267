/* 1x1 convolutions as matrix products by CLBlast. Small integers make every sum exact. Skipped in a
 * build without CLBlast. */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device/tuning.h"
#include "ops/conv/conv2d_f32.h"
#include "ops/conv/conv2d_f32_gemm.h"
#include "support/ref_conv2d.h"

static clq_device *device;

static clq_conv_geometry geometry_of(int n, int h, int w, int ic, int oc) {
    return (clq_conv_geometry){.n = n,
                               .ih = h,
                               .iw = w,
                               .ic = ic,
                               .oc = oc,
                               .kh = 1,
                               .kw = 1,
                               .oh = h,
                               .ow = w,
                               .stride_h = 1,
                               .stride_w = 1,
                               .dilation_h = 1,
                               .dilation_w = 1,
                               .groups = 1};
}

static float *random_integers(size_t count, uint64_t stream) {
    float *data = malloc(count * sizeof *data);
    clq_test_fill_f32(data, count, -3.49f, 3.49f, stream);
    for (size_t i = 0; i < count; i++) {
        data[i] = rintf(data[i]);
    }
    return data;
}

static clq_buffer *upload(const float *data, size_t count) {
    clq_buffer *buffer;
    assert_ok(clq_buffer_create(device, count * sizeof *data, &buffer));
    assert_ok(clq_buffer_write(buffer, 0, count * sizeof *data, data));
    return buffer;
}

typedef enum residual_kind { NO_RESIDUAL, OWN_RESIDUAL, RESIDUAL_IN_PLACE } residual_kind;

/* Compares with the reference. Weights are loaded from a buffer that then changes. */
static void check(clq_conv_geometry g, bool with_bias, residual_kind kind, clq_act act) {
    const size_t x_count = ref_conv2d_x_count(&g), w_count = ref_conv2d_w_count(&g);
    const size_t y_count = ref_conv2d_y_count(&g);
    float *x = random_integers(x_count, 1), *w = random_integers(w_count, 2);
    float *residual = random_integers(y_count, 3), *bias = random_integers((size_t)g.oc, 4);
    float *expected = malloc(y_count * sizeof *expected),
          *actual = malloc(y_count * sizeof *actual);
    clq_buffer *dx = upload(x, x_count), *dw = upload(w, w_count), *dy = upload(residual, y_count);
    clq_buffer *dr = upload(residual, y_count), *db = upload(bias, (size_t)g.oc);
    clq_conv_gemm gemm = {0};
    ref_conv2d_f32(&g, x, w, with_bias ? bias : NULL, kind == NO_RESIDUAL ? NULL : residual, act,
                   expected);
    assert_true(clq_conv_gemm_suits(device, &g));
    assert_ok(clq_conv_gemm_init(&gemm, device, &g));
    assert_ok(clq_conv_gemm_load_weights(&gemm, dw));
    assert_ok(clq_buffer_fill(dw, 0, w_count * sizeof *w, 0x7fc00000)); /* NaN */
    assert_ok(clq_conv_gemm_run(&gemm, dx, with_bias ? db : NULL,
                                kind == NO_RESIDUAL    ? NULL
                                : kind == OWN_RESIDUAL ? dr
                                                       : dy,
                                act, dy));
    assert_ok(clq_buffer_read(dy, 0, y_count * sizeof *actual, actual));
    assert_close_f32(actual, expected,
                     clq_test_shape_of((size_t)g.n, (size_t)g.oh, (size_t)g.ow, (size_t)g.oc), 0,
                     0);
    clq_conv_gemm_free(&gemm);
    clq_buffer *buffers[] = {dx, dw, dy, dr, db};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        clq_buffer_release(buffers[i]);
    }
    float *arrays[] = {x, w, residual, bias, expected, actual};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        free(arrays[i]);
    }
}

static void skip_without_clblast(void) {
    if (!clq_has_gemm_f32()) {
        clq_test_skip("built without CLBlast");
    }
}

static void test_epilogues(void **state) {
    (void)state;
    skip_without_clblast();
    for (int kind = NO_RESIDUAL; kind <= RESIDUAL_IN_PLACE; kind++) {
        for (int act = CLQ_ACT_NONE; act <= CLQ_ACT_RELU6; act++) {
            check(geometry_of(2, 5, 7, 19, 23), act != CLQ_ACT_RELU, (residual_kind)kind,
                  (clq_act)act);
        }
    }
    check(geometry_of(1, 4, 4, 8, 8), false, RESIDUAL_IN_PLACE, CLQ_ACT_NONE);
}

static void test_shapes(void **state) {
    static const int shapes[][5] = {{1, 1, 1, 1, 1},     {1, 1, 1, 64, 100}, {37, 1, 1, 19, 10},
                                    {1, 13, 7, 128, 33}, {3, 15, 16, 5, 65}, {1, 32, 32, 300, 320}};
    (void)state;
    skip_without_clblast();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *s = shapes[i];
        if (s[4] > 256 && !clq_test_all()) { /* for which CLBlast compiles another kernel */
            continue;
        }
        check(geometry_of(s[0], s[1], s[2], s[3], s[4]), true, OWN_RESIDUAL, CLQ_ACT_RELU);
    }
}

/* What CLBlast cannot do, and what the environment does not ask for, stays with the sum over taps.
 */
static void test_choice(void **state) {
    (void)state;
    skip_without_clblast();
    clq_conv_geometry g = geometry_of(1, 6, 6, 8, 8);
    assert_true(clq_conv_gemm_suits(device, &g));
    g.stride_h = g.stride_w = 2;
    g.oh = g.ow = 3;
    assert_false(clq_conv_gemm_suits(device, &g));
    g = geometry_of(1, 6, 6, 8, 8);
    g.groups = 2;
    assert_false(clq_conv_gemm_suits(device, &g));
    g = geometry_of(1, 6, 6, 8, 8);
    g.kh = 3;
    g.pad_top = 1;
    assert_false(clq_conv_gemm_suits(device, &g));
}

/* The same through the public convolution, with and without a launch of CLBlast. */
static void test_tuned(void **state) {
    static const char *const choices[] = {"kernel=gemm", "kernel=group"};
    const clq_conv_geometry g = geometry_of(1, 6, 6, 8, 8);
    char key[CLQ_CONV_KEY];
    const float ones[36 * 8] = {1};
    (void)state;
    skip_without_clblast();
    clq_conv_key(device, CLQ_CONV_F32, &g, key);
    for (int i = 0; i < 4; i++) { /* both choices, for inference and for training */
        const int directions = CLQ_CONV_FORWARD | (i < 2 ? CLQ_CONV_TUNE : 0);
        clq_conv2d_f32 *conv = NULL;
        const clq_profile_entry *entries;
        size_t count, products = 0;
        assert_ok(clq_tuning_set(device, key, choices[i % 2]));
        assert_ok(clq_conv2d_f32_create(device, &g, directions, &conv));
        assert_ok(clq_tuning_set(device, key, NULL));
        clq_buffer *x = upload(ones, 36 * 8), *w = upload(ones, 64), *y = upload(ones, 36 * 8);
        assert_ok(clq_device_profile(device, true));
        assert_ok(clq_conv2d_f32_load_weights(conv, w));
        assert_ok(clq_conv2d_f32_forward(conv, x, NULL, NULL, CLQ_ACT_NONE, y));
        assert_ok(clq_device_profile_entries(device, &entries, &count));
        for (size_t e = 0; e < count; e++) {
            products += strcmp(entries[e].kernel, "clblast_gemm") == 0;
        }
        assert_int_equal(products, i == 0);
        assert_int_equal(clq_conv2d_f32_choice(conv) == NULL, i == 0);
        assert_ok(clq_device_profile(device, false));
        clq_buffer_release(x);
        clq_buffer_release(w);
        clq_buffer_release(y);
        clq_conv2d_f32_destroy(conv);
    }
}

static void test_without_clblast(void **state) {
    (void)state;
    const clq_conv_geometry g = geometry_of(1, 6, 6, 8, 8);
    if (clq_has_gemm_f32()) {
        skip();
    }
    assert_false(clq_conv_gemm_suits(device, &g));
    assert_status(clq_gemm_f32(device, 1, 1, 1, NULL, NULL, false, NULL), CLQ_USAGE);
}

static int open_device(void **state) {
    (void)state;
    return clq_test_open("gpu", &device) == CLQ_OK ? 0 : -1;
}

static int close_device(void **state) {
    (void)state;
    clq_device_close(device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_epilogues),
                                       cmocka_unit_test(test_shapes), cmocka_unit_test(test_choice),
                                       cmocka_unit_test(test_tuned),
                                       cmocka_unit_test(test_without_clblast)};
    return cmocka_run_group_tests_name("conv2d_f32_gemm", tests, open_device, close_device);
}

/* The weights' gradient by Winograd's algorithm against the loop nest, on the CPU schedule. */
#include <math.h>
#include <stdlib.h>

#include "clquant/device.h"
#include "ops/conv/conv2d_f32.h"
#include "ops/conv/conv2d_f32_winograd_weights.h"
#include "ops/conv/winograd_case.h"
#include "support/clq_test.h"
#include "support/ref_conv2d.h"
#include "support/schedules.h"

enum { GUARD = 64 }; /* floats behind a result that must stay as they are */
static const float guard_value = -12345.5f;

/* ---- one convolution with its data ---- */

typedef struct fixture {
    clq_conv_geometry g;
    size_t w_count, b_count;
    float *x, *dy, *dw, *db; /* the last two as the reference has them */
    float w_tolerance, b_tolerance;
    clq_buffer *x_buffer, *dy_buffer;
} fixture;

static float largest(const float *data, size_t count) {
    float most = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmaxf(most, data[i]);
    }
    return most;
}

/* As for the forward (test_conv2d_winograd.c), errors spread over a kernel's taps and are measured
 * against the largest sum of |products|. */
static fixture fixture_create(clq_device *device, clq_conv_geometry g) {
    fixture f = {.g = g, .w_count = ref_conv2d_w_count(&g), .b_count = (size_t)g.oc};
    const size_t x_count = ref_conv2d_x_count(&g), y_count = ref_conv2d_y_count(&g);
    f.x = random_floats(x_count, 1);
    f.dy = random_floats(y_count, 2);
    f.dw = malloc(f.w_count * sizeof *f.dw);
    f.db = malloc(f.b_count * sizeof *f.db);
    float *x = magnitudes(f.x, x_count), *dy = magnitudes(f.dy, y_count);
    ref_conv2d_f32_backward_weights(&g, x, dy, f.dw, f.db);
    f.w_tolerance = 1e-6f * largest(f.dw, f.w_count);
    f.b_tolerance = 1e-6f * largest(f.db, f.b_count);
    free(x);
    free(dy);
    ref_conv2d_f32_backward_weights(&g, f.x, f.dy, f.dw, f.db);
    f.x_buffer = upload(device, f.x, x_count);
    f.dy_buffer = upload(device, f.dy, y_count);
    return f;
}

static void fixture_free(fixture *f) {
    clq_buffer_release(f->x_buffer);
    clq_buffer_release(f->dy_buffer);
    free(f->x);
    free(f->dy);
    free(f->dw);
    free(f->db);
}

static clq_buffer *guarded(clq_device *device, size_t count) {
    const size_t all = count + GUARD;
    float *data = malloc(all * sizeof *data);
    for (size_t i = 0; i < all; i++) {
        data[i] = guard_value;
    }
    clq_buffer *buffer = upload(device, data, all);
    free(data);
    return buffer;
}

/* The contents, to be freed; releases the buffer. */
static float *read_guarded(clq_buffer *buffer, size_t count) {
    const size_t all = count + GUARD;
    float *data = malloc(all * sizeof *data);
    assert_ok(clq_buffer_read(buffer, 0, all * sizeof *data, data));
    for (size_t i = count; i < all; i++) {
        assert_true(data[i] == guard_value);
    }
    clq_buffer_release(buffer);
    return data;
}

static void check(const fixture *f, const float *result, const float *expected, size_t count,
                  float tolerance, const char *what) {
    char message[256];
    const clq_conv_geometry *g = &f->g;
    if (!clq_test_close_f32(result, expected, clq_test_shape_of(count), tolerance, 0, message,
                            sizeof message)) {
        print_message("%s of n %d, %dx%dx%d -> %d channels, pad %d\n", what, g->n, g->ih, g->iw,
                      g->ic, g->oc, g->pad_top);
        fail_msg("%s", message);
    }
}

/* Both gradients are right, and without a bias the weights' has the same bits. */
static void check_fixture(clq_device *device, const fixture *f) {
    clq_conv_winograd_weights conv = {0};
    clq_buffer *dw = guarded(device, f->w_count), *db = guarded(device, f->b_count);
    clq_buffer *again = guarded(device, f->w_count);
    assert_ok(clq_conv_winograd_weights_init(&conv, device, &f->g));
    assert_ok(clq_conv_winograd_weights_run(&conv, f->x_buffer, f->dy_buffer, dw, db));
    assert_ok(clq_conv_winograd_weights_run(&conv, f->x_buffer, f->dy_buffer, again, NULL));
    float *w = read_guarded(dw, f->w_count), *b = read_guarded(db, f->b_count);
    float *w_again = read_guarded(again, f->w_count);
    check(f, w, f->dw, f->w_count, f->w_tolerance, "weights");
    check(f, b, f->db, f->b_count, f->b_tolerance, "bias");
    assert_equal_bits(w, w_again, f->w_count * sizeof *w);
    clq_conv_winograd_weights_free(&conv);
    free(w);
    free(b);
    free(w_again);
}

/* ---- tests; *state is the device ---- */

/* Images of 1 to 9 pixels, padding 0 to 2, one to three images, channels around vectors and
 * tiles. */
static void test_shapes(void **state) {
    clq_device *device = *state;
    const int v = (int)clq_device_get_info(device)->simd_bytes / (int)sizeof(float);
    const int channels[] = {v, v + 1, 2 * v - 1, 64, 2 * v + 1, 67};
    for (int i = 0; i < 27; i++) {
        const int h = i % 9 + 1, w = (4 * i + 2) % 9 + 1, pad = i / 9;
        if (h + 2 * pad >= 3 && w + 2 * pad >= 3 && clq_test_takes(i + i / 3, 3)) {
            fixture f = fixture_create(
                device, geometry(i % 3 + 1, h, w, channels[i % 6], channels[(i + i / 6) % 6], pad));
            check_fixture(device, &f);
            fixture_free(&f);
        }
    }
}

/* More blocks of tiles than a launch has parts, the last not full; more channels than an item
 * sums; so few that items transform their own tiles. */
static void test_many_tiles(void **state) {
    clq_device *device = *state;
    const int v = (int)clq_device_get_info(device)->simd_bytes / (int)sizeof(float);
    const clq_conv_geometry g[] = {geometry(1, 121, 122, v, 65, 1), geometry(3, 5, 6, 150, 40, 1),
                                   geometry(1, 121, 122, 16, 2 * v, 1),
                                   geometry(3, 9, 7, 32, v, 0)};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(clq_winograd_weights_own(device, &g[i]), i >= 2);
        fixture f = fixture_create(device, g[i]);
        check_fixture(device, &f);
        fixture_free(&f);
    }
}

/* Through the interface that the operators use. */
static void test_through_conv2d(void **state) {
    clq_device *device = *state;
    fixture f = fixture_create(device, geometry(1, 28, 28, 64, 64, 1));
    clq_conv2d_f32 *conv = NULL;
    clq_buffer *dw = guarded(device, f.w_count);
    assert_true(clq_winograd_weights_choose(device, &f.g));
    assert_ok(clq_conv2d_f32_create(device, &f.g,
                                    CLQ_CONV_BACKWARD_WEIGHTS | CLQ_CONV_WINOGRAD_WEIGHTS, &conv));
    assert_ok(clq_conv2d_f32_backward_weights(conv, f.x_buffer, f.dy_buffer, dw, NULL));
    float *result = read_guarded(dw, f.w_count);
    check(&f, result, f.dw, f.w_count, f.w_tolerance, "weights");
    clq_conv2d_f32_destroy(conv);
    free(result);
    fixture_free(&f);
}

static void test_choice(void **state) {
    const clq_device *device = *state;
    const clq_conv_geometry good = geometry(8, 32, 32, 64, 64, 1);
    assert_true(clq_winograd_weights_choose(device, &good));
    clq_conv_geometry g = geometry(8, 32, 32, 1, 64, 1); /* few channels */
    assert_false(clq_winograd_weights_choose(device, &g));
    g = good;
    g.stride_w = 2;
    assert_false(clq_winograd_weights_choose(device, &g));
    g = good;
    g.groups = 2;
    assert_false(clq_winograd_weights_choose(device, &g));
}

/* Every allocation failing in turn leaves nothing behind. */
static void test_out_of_memory(void **state) {
    clq_device *device = *state;
    fixture f = fixture_create(device, geometry(1, 6, 6, 16, 16, 1));
    clq_buffer *dw = guarded(device, f.w_count);
    uint64_t before, after, peak;
    clq_device_memory(device, &before, &peak);
    clq_status status = CLQ_NO_MEMORY;
    for (long nth = 1; status != CLQ_OK; nth++) {
        clq_conv_winograd_weights conv = {0};
        clq_test_fail_allocation(nth);
        status = clq_conv_winograd_weights_init(&conv, device, &f.g);
        if (status == CLQ_OK) {
            status = clq_conv_winograd_weights_run(&conv, f.x_buffer, f.dy_buffer, dw, NULL);
        }
        clq_test_restore_allocator();
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
        clq_conv_winograd_weights_free(&conv);
        clq_device_memory(device, &after, &peak);
        assert_int_equal(before, after);
    }
    clq_buffer_release(dw);
    fixture_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),         cmocka_unit_test(test_many_tiles),
        cmocka_unit_test(test_through_conv2d), cmocka_unit_test(test_choice),
        cmocka_unit_test(test_out_of_memory),
    };
    const struct CMUnitTest widths[] = {cmocka_unit_test(test_shapes)};
    int failed = 0;
    failed += cmocka_run_group_tests_name("conv2d_winograd_weights", tests, open_cpu, close_device);
    if (clq_test_all()) {
        failed += cmocka_run_group_tests_name("conv2d_winograd_weights, 16 bytes", widths,
                                              open_cpu_16, close_device);
        failed += cmocka_run_group_tests_name("conv2d_winograd_weights, 64 bytes", widths,
                                              open_cpu_64, close_device);
    }
    return failed;
}

/* Winograd convolution against the loop nests, forward and backward-data, on the CPU schedule. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clquant/device.h"
#include "ops/conv/conv2d_f32.h"
#include "ops/conv/conv2d_f32_winograd.h"
#include "ops/conv/winograd_case.h"
#include "support/clq_test.h"
#include "support/ref_conv2d.h"
#include "support/schedules.h"

enum { GUARD = 64 }; /* floats behind a result that must stay as they are */
static const float guard_value = -12345.5f;

/* ---- one convolution with its data ---- */

typedef struct fixture {
    clq_conv_geometry g;
    bool backward;
    size_t src_count, w_count, dst_count;
    float *src, *w, *bias, *residual;
    float *expected;
    float tolerance;
    clq_buffer *src_buffer, *w_buffer, *bias_buffer, *residual_buffer; /* the last two or NULL */
    clq_act act;
} fixture;

static void reference(const fixture *f, const float *src, const float *w, float *dst) {
    if (f->backward) {
        ref_conv2d_f32_backward_data(&f->g, src, w, false, dst);
    } else {
        ref_conv2d_f32(&f->g, src, w, NULL, NULL, CLQ_ACT_NONE, dst);
    }
}

/* The rounding errors of a tile's positions spread over all its outputs, so they are measured
 * against the largest sum of |products|. 1e-6 of that is eight units of 2^-23; a sum in any order
 * may be out by half a unit a product, and the transforms multiply by up to five in either
 * direction, but errors mostly cancel: seen are 1.1 units with the 2 x 2 tile, 3.5 with 4 x 4. */
static float tolerance_of(const fixture *f) {
    float *src = magnitudes(f->src, f->src_count), *w = magnitudes(f->w, f->w_count);
    float *sums = malloc(f->dst_count * sizeof *sums), largest = 0;
    reference(f, src, w, sums);
    for (size_t i = 0; i < f->dst_count; i++) {
        largest = fmaxf(largest, sums[i]);
    }
    free(src);
    free(w);
    free(sums);
    return 1e-6f * largest;
}

/* `variant` chooses among bias, residual and activation. */
static fixture fixture_create(clq_device *device, clq_conv_geometry g, bool backward, int variant) {
    fixture f = {.g = g, .backward = backward, .act = (clq_act)(variant % 3)};
    const size_t x = ref_conv2d_x_count(&g), y = ref_conv2d_y_count(&g);
    const int channels = backward ? g.ic : g.oc;
    f.src_count = backward ? y : x;
    f.dst_count = backward ? x : y;
    f.w_count = ref_conv2d_w_count(&g);
    f.src = random_floats(f.src_count, 1);
    f.w = random_floats(f.w_count, 2);
    f.bias = random_floats((size_t)channels, 3);
    f.residual = random_floats(f.dst_count, 4);
    f.src_buffer = upload(device, f.src, f.src_count);
    f.w_buffer = upload(device, f.w, f.w_count);
    f.bias_buffer = variant % 2 ? upload(device, f.bias, (size_t)channels) : NULL;
    f.residual_buffer = variant % 4 < 2 ? upload(device, f.residual, f.dst_count) : NULL;
    f.expected = malloc(f.dst_count * sizeof *f.expected);
    reference(&f, f.src, f.w, f.expected);
    for (size_t i = 0; i < f.dst_count; i++) {
        float y_i = f.expected[i];
        y_i += f.bias_buffer ? f.bias[i % (size_t)channels] : 0;
        y_i += f.residual_buffer ? f.residual[i] : 0;
        y_i = f.act != CLQ_ACT_NONE && y_i < 0 ? 0 : y_i;
        f.expected[i] = f.act == CLQ_ACT_RELU6 && y_i > 6 ? 6 : y_i;
    }
    f.tolerance = tolerance_of(&f);
    return f;
}

static void fixture_free(fixture *f) {
    clq_buffer *buffers[] = {f->src_buffer, f->w_buffer, f->bias_buffer, f->residual_buffer};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        clq_buffer_release(buffers[i]);
    }
    free(f->src);
    free(f->w);
    free(f->bias);
    free(f->residual);
    free(f->expected);
}

/* The result of one plan, to be freed. */
static float *run_plan(clq_device *device, const fixture *f, const clq_winograd_plan *plan) {
    clq_conv_winograd conv = {0};
    clq_buffer *dst;
    const size_t all = f->dst_count + GUARD;
    float *result = malloc(all * sizeof *result);
    for (size_t i = 0; i < all; i++) {
        result[i] = guard_value;
    }
    dst = upload(device, result, all);
    assert_ok(clq_conv_winograd_init(&conv, device, &f->g, f->backward, plan));
    assert_ok(clq_conv_packed_take(&conv.packed, device, false));
    assert_ok(clq_conv_winograd_load_weights(&conv, f->w_buffer));
    assert_ok(clq_conv_winograd_run(&conv, f->src_buffer, f->bias_buffer, f->residual_buffer,
                                    f->act, dst));
    assert_ok(clq_buffer_read(dst, 0, all * sizeof *result, result));
    for (size_t i = f->dst_count; i < all; i++) {
        assert_true(result[i] == guard_value);
    }
    clq_conv_winograd_free(&conv);
    clq_buffer_release(dst);
    return result;
}

static void check(const fixture *f, const clq_winograd_plan *plan, const float *result) {
    char message[256];
    const clq_conv_geometry *g = &f->g;
    if (!clq_test_close_f32(result, f->expected, clq_test_shape_of(f->dst_count), f->tolerance, 0,
                            message, sizeof message)) {
        print_message("n %d, %dx%dx%d -> %d channels, pad %d, %s, F(%d), tile %dx%d, block %d\n",
                      g->n, g->ih, g->iw, g->ic, g->oc, g->pad_top,
                      f->backward ? "backward" : "forward", plan->out, plan->rows, plan->vectors,
                      plan->block);
        fail_msg("%s", message);
    }
}

/* ---- tests; *state is the device ---- */

static int vector_floats(const clq_device *device) {
    const unsigned simd = clq_device_get_info(device)->simd_bytes;
    return simd >= 64 ? 16 : simd == 32 ? 8 : 4;
}

enum { TILES_IN_TURN = 4 }; /* for each of which a program is compiled */

/* Ways to cut the work: right, and all with the same bits. */
static void check_plans(clq_device *device, const fixture *f, int out) {
    static const clq_winograd_plan plans[] = {
        {.rows = 6, .vectors = 2, .block = 6, .item_cols = 1, .cols = 1},
        {.rows = 6, .vectors = 2, .block = 6, .item_cols = 1, .cols = 1, .fused = true},
        {.rows = 6, .vectors = 2, .block = 12, .item_cols = 3, .cols = 2, .fused = true},
        {.rows = 5, .vectors = 2, .block = 20, .item_cols = 2, .cols = 1},
        {.rows = 4, .vectors = 3, .block = 8, .item_cols = 2, .cols = 2},
        {.rows = 4, .vectors = 3, .block = 4, .item_cols = 9, .cols = 3, .fused = true},
        {.rows = 8, .vectors = 1, .block = 16, .item_cols = 1, .cols = 1},
    };
    static const int tiles[] = {0, 0, 0, 1, 2, 2, 3};
    float *first = NULL;
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        clq_winograd_plan plan = plans[i];
        if (!clq_test_takes(tiles[i] + out / 2 + vector_floats(device) / 8, TILES_IN_TURN)) {
            continue;
        }
        plan.out = out;
        float *result = run_plan(device, f, &plan);
        if (first) {
            assert_equal_bits(result, first, f->dst_count * sizeof *result);
            free(result);
        } else {
            first = result;
            check(f, &plan, result);
        }
    }
    free(first);
}

/* Images of 1 to 9 pixels, padding 0 to 2, one to three images, channels around vectors and
 * tiles. */
static void test_shapes(void **state) {
    clq_device *device = *state;
    const int v = vector_floats(device);
    const int depths[] = {v, v + 1, 2 * v - 1, 64, 17 > v ? 17 : v};
    const int cols[] = {1, 3, 7, 2 * v - 1, 2 * v, 2 * v + 1, 8, 64};
    for (int i = 0; i < 27; i++) {
        const int h = i % 9 + 1, w = (4 * i + 2) % 9 + 1, pad = i / 9;
        const int depth = depths[i % 5], col = cols[i % 8], n = i % 3 + 1;
        if (h + 2 * pad < 3 || w + 2 * pad < 3) {
            continue;
        }
        for (int backward = 0; backward < 2; backward++) {
            const clq_conv_geometry g =
                geometry(n, h, w, backward ? col : depth, backward ? depth : col, pad);
            fixture f = fixture_create(device, g, backward, i);
            check_plans(device, &f, 2);
            check_plans(device, &f, 4);
            fixture_free(&f);
        }
    }
}

/* A larger image of many blocks, with what the library itself chooses. */
static void test_chosen_plan(void **state) {
    clq_device *device = *state;
    fixture f = fixture_create(device, geometry(1, 31, 29, 64, 65, 1), false, 1);
    clq_winograd_plan plan;
    assert_true(clq_winograd_choose(device, &f.g, false, &plan));
    const int positions = (plan.out + 2) * (plan.out + 2);
    assert_true(positions * plan.block * plan.cols * plan.vectors * vector_floats(device) <=
                WINOGRAD_SUMS);
    float *result = run_plan(device, &f, &plan), *again = run_plan(device, &f, &plan);
    check(&f, &plan, result);
    assert_equal_bits(result, again, f.dst_count * sizeof *result);
    free(result);
    free(again);
    fixture_free(&f);
}

/* More transformed input than there is room for: several launches. */
static void test_many_tiles(void **state) {
    clq_device *device = *state;
    fixture f = fixture_create(device, geometry(9, 57, 58, 64, 5, 1), false, 1);
    clq_winograd_plan plan = {
        .out = 4, .rows = 6, .vectors = 2, .block = 24, .item_cols = 1, .cols = 1};
    float *result = run_plan(device, &f, &plan);
    check(&f, &plan, result);
    plan.fused = true;
    float *fused = run_plan(device, &f, &plan);
    assert_equal_bits(result, fused, f.dst_count * sizeof *result);
    free(result);
    free(fused);
    fixture_free(&f);
}

static void test_residual_may_be_the_output(void **state) {
    clq_device *device = *state;
    const clq_winograd_plan plan = {
        .out = 4, .rows = 6, .vectors = 2, .block = 6, .item_cols = 1, .cols = 1};
    fixture f = fixture_create(device, geometry(1, 7, 9, 32, 20, 1), false, 0);
    clq_conv_winograd conv = {0};
    float *result = malloc(f.dst_count * sizeof *result);
    assert_ok(clq_conv_winograd_init(&conv, device, &f.g, false, &plan));
    assert_ok(clq_conv_packed_take(&conv.packed, device, false));
    assert_ok(clq_conv_winograd_load_weights(&conv, f.w_buffer));
    assert_ok(clq_conv_winograd_run(&conv, f.src_buffer, NULL, f.residual_buffer, f.act,
                                    f.residual_buffer));
    assert_ok(clq_buffer_read(f.residual_buffer, 0, f.dst_count * sizeof *result, result));
    check(&f, &plan, result);
    clq_conv_winograd_free(&conv);
    free(result);
    fixture_free(&f);
}

static void test_choice(void **state) {
    const clq_device *device = *state;
    const clq_conv_geometry good = geometry(1, 56, 56, 64, 64, 1);
    clq_winograd_plan plan;
    assert_true(clq_winograd_choose(device, &good, false, &plan));
    assert_true(clq_winograd_choose(device, &good, true, &plan));
    clq_conv_geometry g = geometry(1, 56, 56, 1, 64, 1); /* few channels */
    assert_false(clq_winograd_choose(device, &g, false, &plan));
    g = good;
    g.stride_h = 2;
    assert_false(clq_winograd_choose(device, &g, false, &plan));
    g = good;
    g.dilation_w = 2;
    assert_false(clq_winograd_choose(device, &g, false, &plan));
    g = good;
    g.groups = 2;
    assert_false(clq_winograd_choose(device, &g, false, &plan));
    g = good;
    g.kw = 1;
    assert_false(clq_winograd_choose(device, &g, false, &plan));
}

/* Through the interface that the operators use. */
static void test_through_conv2d(void **state) {
    clq_device *device = *state;
    for (int backward = 0; backward < 2; backward++) {
        fixture f = fixture_create(device, geometry(1, 24, 24, 64, 64, 1), backward, 2);
        clq_conv2d_f32 *conv = NULL;
        clq_buffer *dst = upload(device, f.expected, f.dst_count);
        float *result = malloc(f.dst_count * sizeof *result);
        const int direction = backward ? CLQ_CONV_BACKWARD_DATA : CLQ_CONV_FORWARD;
        clq_winograd_plan plan;
        assert_true(clq_winograd_choose(device, &f.g, backward, &plan));
        assert_ok(clq_conv2d_f32_create(device, &f.g, direction | CLQ_CONV_WINOGRAD, &conv));
        assert_ok(clq_conv2d_f32_load_weights(conv, f.w_buffer));
        if (backward) {
            reference(&f, f.src, f.w, f.expected);
            assert_ok(clq_conv2d_f32_backward_data(conv, f.src_buffer, dst, false));
        } else {
            assert_ok(clq_conv2d_f32_forward(conv, f.src_buffer, f.bias_buffer, f.residual_buffer,
                                             f.act, dst));
        }
        assert_ok(clq_buffer_read(dst, 0, f.dst_count * sizeof *result, result));
        check(&f, &plan, result);
        clq_conv2d_f32_destroy(conv);
        clq_buffer_release(dst);
        free(result);
        fixture_free(&f);
    }
}

/* Every allocation failing in turn leaves nothing behind. */
static void test_out_of_memory(void **state) {
    clq_device *device = *state;
    const clq_conv_geometry g = geometry(1, 24, 24, 64, 64, 1);
    clq_conv2d_f32 *conv = NULL;
    const int directions = CLQ_CONV_FORWARD | CLQ_CONV_WINOGRAD;
    assert_ok(clq_conv2d_f32_create(device, &g, directions, &conv)); /* builds the kernels */
    clq_conv2d_f32_destroy(conv);
    uint64_t before, after, peak;
    clq_device_memory(device, &before, &peak);
    clq_status status = CLQ_NO_MEMORY;
    for (long nth = 1; status != CLQ_OK; nth++) {
        conv = NULL;
        clq_test_fail_allocation(nth);
        status = clq_conv2d_f32_create(device, &g, directions, &conv);
        clq_test_restore_allocator();
        if (status != CLQ_OK) {
            assert_int_equal(status, CLQ_NO_MEMORY);
            assert_null(conv);
            clq_device_memory(device, &after, &peak);
            assert_int_equal(before, after);
        }
    }
    clq_conv2d_f32_destroy(conv);
}

static void test_gpu_schedule_is_refused(void **state) {
    (void)state;
    clq_device *device = NULL;
    const clq_conv_geometry g = geometry(1, 56, 56, 64, 64, 1);
    clq_winograd_plan plan;
    assert_ok(clq_test_open("gpu", &device));
    assert_false(clq_winograd_choose(device, &g, false, &plan));
    clq_device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),        cmocka_unit_test(test_chosen_plan),
        cmocka_unit_test(test_many_tiles),    cmocka_unit_test(test_residual_may_be_the_output),
        cmocka_unit_test(test_choice),        cmocka_unit_test(test_through_conv2d),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_gpu_schedule_is_refused),
    };
    const struct {
        const char *name;
        CMFixtureFunction open;
        unsigned simd_bytes;
    } groups[] = {{"conv2d_winograd", open_cpu, 0},
                  {"conv2d_winograd, 16 bytes", open_cpu_16, 16},
                  {"conv2d_winograd, 32 bytes", open_cpu_32, 32},
                  {"conv2d_winograd, 64 bytes", open_cpu_64, 64}};
    const unsigned own = own_simd_bytes();
    int failed = 0, turn = 0;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        const bool again = groups[i].simd_bytes && groups[i].simd_bytes == own;
        if (!again && clq_test_takes(turn++, 4)) {
            failed += _cmocka_run_group_tests(groups[i].name, tests, sizeof tests / sizeof *tests,
                                              groups[i].open, close_device);
        }
    }
    return failed;
}

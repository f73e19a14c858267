/* Choices as texts, keys of the tuning table, and what the planners offer on devices that are not
 * here. */
#include "support/clq_test.h"

#include <stdio.h>
#include <string.h>

#include "device/internal.h"
#include "ops/conv/conv2d_f32_plan.h"
#include "ops/conv/conv2d_f32_shape.h"
#include "ops/conv/conv2d_f32_winograd.h"
#include "ops/conv/conv2d_int8_plan.h"
#include "ops/conv/conv_class.h"

static void test_text(void **state) {
    (void)state;
    char text[CLQ_CHOICE_TEXT];
    clq_conv_choice choice = {.kernel = CLQ_CONV_TILE, .tile = {5, 2}, .items = {3, 4}, .order = 1};
    clq_conv_choice_text(&choice, text);
    assert_string_equal(text, "kernel=tile tile=5x2 items=3x4 order=1");
    clq_conv_choice_text(&(clq_conv_choice){0}, text);
    assert_string_equal(text, "default");
}

static void test_parts_parse_back(void **state) {
    (void)state;
    const clq_conv_choice choices[] = {
        {0},
        {.tile = {6, 4}},
        {.kernel = CLQ_CONV_PATCH, .tile = {12, 1}, .items = {1, 7}, .block = {9, 16}},
        {.kernel = CLQ_CONV_GROUP, .group = 3},
        {.kernel = CLQ_CONV_MMA, .group = 4},
        {.kernel = CLQ_CONV_DEPTHWISE, .shares = 48},
        {CLQ_CONV_TILE, {1, 2}, {3, 4}, {5, 6}, 7, 8, 9, 10, 1 << 24},
    };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        char text[CLQ_CHOICE_TEXT];
        clq_conv_choice back = {.cols = 77};
        clq_conv_choice_text(&choices[i], text);
        assert_true(clq_conv_choice_parse(text, &back));
        assert_memory_equal(&back, &choices[i], sizeof back);
    }
}

static void test_other_texts_are_refused(void **state) {
    static const char *const texts[] = {
        "",
        " ",
        "tile",
        "kernel=",
        "kernel=default",
        "kernel=tiles",
        "kernel=tile ",
        "kernel=tile  tile=5x2",
        "kernel=tile tile=5",
        "kernel=tile tile=5x",
        "kernel=tile tile=x2",
        "kernel=tile tile=0x2",
        "kernel=tile tile=-5x2",
        "kernel=tile tile=+5x2",
        "kernel=tile tile=5x2x3",
        "kernel=tile tile=5x2 tile=5x2",
        "kernel=tile group=4 groups=4",
        "kernel=tile order=1x2",
        "kernel=tile cols=16777217",
        "kernel=tile cols=99999999999999999999",
        "kernel=tile cols=3\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const clq_conv_choice before = {.cols = 77};
        clq_conv_choice choice = before;
        if (clq_conv_choice_parse(texts[i], &choice)) {
            fail_msg("\"%s\" was taken", texts[i]);
        }
        assert_memory_equal(&choice, &before, sizeof choice);
    }
}

static clq_conv_geometry square(int size, int ic, int oc, int k, int stride, int groups) {
    const int out = (size + 2 * (k / 2) - k) / stride + 1;
    return (clq_conv_geometry){1,      size,   size,  ic,    oc, k, k,      out,  out,
                               stride, stride, k / 2, k / 2, 1,  1, groups, false};
}

static void test_keys(void **state) {
    (void)state;
    clq_device device = {.info = {.dot = CLQ_DOT_AVX2}};
    char key[CLQ_CONV_KEY];
    clq_conv_geometry g = square(56, 64, 256, 3, 2, 1);
    clq_conv_key(&device, CLQ_CONV_INT8, &g, key);
    assert_string_equal(key, "int8 1x56x56x64 256x3x3 s2x2 p1x1 d1x1 g1 avx2");
    clq_conv_key(&device, CLQ_CONV_F32, &g, key);
    assert_string_equal(key, "f32 1x56x56x64 256x3x3 s2x2 p1x1 d1x1 g1");
    g.oh++; /* more padding below than above */
    clq_conv_key(&device, CLQ_CONV_F32, &g, key);
    assert_string_equal(key, "f32 1x56x56x64 256x3x3 s2x2 p1x1 d1x1 g1 y29x28");
}

/* ---- planners ---- */

static void check_int8(const clq_device_info *info, const clq_conv_geometry *g) {
    clq_conv_candidates found;
    clq_int8_plan plan;
    clq_int8_candidates(info, g, &found);
    assert_true(clq_int8_make_plan(info, g, CLQ_REQUANT_FLOAT, 0, false, NULL, &plan));
    assert_memory_equal(&plan.choice, &found.list[0], sizeof plan.choice);
    for (int i = 0; i < found.count; i++) {
        assert_true(
            clq_int8_make_plan(info, g, CLQ_REQUANT_FLOAT, 0, false, &found.list[i], &plan));
        assert_memory_equal(&plan.choice, &found.list[i], sizeof plan.choice);
        for (int j = 0; j < i; j++) {
            assert_memory_not_equal(&found.list[i], &found.list[j], sizeof plan.choice);
        }
    }
}

static void check_f32(const clq_device_info *info, const clq_conv_geometry *g) {
    clq_conv_candidates found;
    clq_f32_plan plan;
    const conv_shape shape = clq_f32_shape(g, false);
    const bool depthwise = clq_conv_is_depthwise(g);
    conv_phase phase;
    clq_f32_phases(g, false, &phase, NULL);
    clq_f32_candidates(info, g, &found);
    assert_true(clq_f32_make_plan(info, &shape, &phase, depthwise, NULL, &plan));
    assert_memory_equal(&plan.choice, &found.list[0], sizeof plan.choice);
    for (int i = 0; i < found.count; i++) {
        assert_true(clq_f32_make_plan(info, &shape, &phase, depthwise, &found.list[i], &plan));
        assert_memory_equal(&plan.choice, &found.list[i], sizeof plan.choice);
    }
}

/* On every class of devices the candidates are different, can be had, and begin with what is chosen
 * without one. */
static void test_candidates_of_every_class(void **state) {
    (void)state;
    const clq_device_info devices[] = {
        {.is_cpu = true, .simd_bytes = 64, .dot = CLQ_DOT_AVX512VNNI, .compute_units = 64},
        {.is_cpu = true, .simd_bytes = 32, .dot = CLQ_DOT_AVXVNNI, .compute_units = 2},
        {.is_cpu = true, .simd_bytes = 32, .dot = CLQ_DOT_AVX2, .compute_units = 1},
        {.is_cpu = true, .simd_bytes = 16, .dot = CLQ_DOT_PORTABLE, .compute_units = 3},
        {.vendor = "NVIDIA Corporation",
         .schedule = CLQ_SCHEDULE_GPU,
         .dot = CLQ_DOT_MMA,
         .compute_units = 132,
         .max_work_group = 1024},
        {.vendor = "Some",
         .schedule = CLQ_SCHEDULE_GPU,
         .dot = CLQ_DOT_PORTABLE,
         .compute_units = 8,
         .max_work_group = 64},
    };
    const clq_conv_geometry shapes[] = {
        square(224, 3, 64, 7, 2, 1),     square(56, 64, 256, 1, 1, 1),
        square(14, 256, 256, 3, 1, 1),   square(1, 2048, 1000, 1, 1, 1),
        square(28, 192, 192, 3, 2, 192), square(7, 6, 9, 3, 1, 3),
        square(1, 1, 1, 1, 1, 1),
    };
    for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            check_int8(&devices[d], &shapes[s]);
            check_f32(&devices[d], &shapes[s]);
        }
    }
    assert_string_equal(clq_conv_class_of(&devices[0])->name, "CPU with AVX-512");
    assert_string_equal(clq_conv_class_of(&devices[4])->name, "NVIDIA GPU");
    assert_string_equal(clq_conv_class_of(&devices[5])->name, "GPU");
}

/* The plan that a CPU with AVX-512 and 2 compute units chooses by itself. */
static clq_f32_plan wide_plan(const clq_conv_geometry *g) {
    const clq_device_info info = {.is_cpu = true, .simd_bytes = 64, .compute_units = 2};
    const conv_shape shape = clq_f32_shape(g, false);
    clq_f32_plan plan;
    conv_phase phase;
    clq_f32_phases(g, false, &phase, NULL);
    assert_true(clq_f32_make_plan(&info, &shape, &phase, false, NULL, &plan));
    return plan;
}

/* Where weights are more than pixels, an item is a column tile with all rows, so that no weight
 * comes from memory twice, unless units would have to wait for each other; and tiles leave no row
 * of few pixels and no column unused. */
static void test_weights_of_few_pixels_are_read_once(void **state) {
    (void)state;
    const clq_conv_geometry even = square(4, 512, 512, 3, 1, 1);
    clq_f32_plan plan = wide_plan(&even); /* 16 pixels, 512 columns */
    assert_int_equal(plan.choice.tile[0], 8);
    assert_int_equal(plan.choice.tile[1], 2);
    assert_int_equal(plan.choice.items[0], 2);
    assert_int_equal(plan.choice.items[1], 1);
    assert_int_equal(plan.range.global[2], 16);

    const clq_conv_geometry few_columns = square(8, 1024, 192, 1, 1, 1);
    plan = wide_plan(&few_columns); /* 64 pixels, 192 columns: 3 or 4 tiles */
    const size_t items = plan.range.global[1] * plan.range.global[2];
    assert_true(items % 2 == 0 || items > 10);

    const clq_conv_geometry odd = square(7, 960, 160, 1, 1, 1);
    plan = wide_plan(&odd); /* 49 pixels, 160 columns */
    assert_int_equal(plan.choice.tile[0], 7);
    assert_int_equal(plan.choice.tile[1], 2);
}

/* 64 output tiles on 2 compute units: half of them each, none computed for nothing. */
static void test_winograd_shares_few_tiles(void **state) {
    (void)state;
    const clq_device device = {.info = {.is_cpu = true, .simd_bytes = 64, .compute_units = 2}};
    const clq_conv_geometry g = square(32, 64, 64, 3, 1, 1);
    clq_winograd_plan plan;
    assert_true(clq_winograd_choose(&device, &g, false, &plan));
    assert_int_equal(plan.out, 4);
    assert_int_equal(plan.block, 32);
    assert_int_equal(plan.block % plan.rows, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_parts_parse_back),
        cmocka_unit_test(test_other_texts_are_refused),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_candidates_of_every_class),
        cmocka_unit_test(test_weights_of_few_pixels_are_read_once),
        cmocka_unit_test(test_winograd_shares_few_tiles),
    };
    return cmocka_run_group_tests_name("conv_choice", tests, NULL, NULL);
}

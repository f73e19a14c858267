/* Axes against known answers, and pictures of awkward data. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/plot.h"
#include "support/clq_test.h"

/* ---- axes ---- */

static void ticks_are_round_numbers(void **state) {
    (void)state;
    clq_axis axis = clq_axis_fit(0, 97.3, 6, false, false);
    assert_float_equal(axis.low, 0, 0);
    assert_float_equal(axis.high, 100, 1e-9);
    assert_float_equal(axis.step, 20, 1e-9);
    assert_int_equal(axis.count, 6);
    assert_int_equal(axis.decimals, 0);

    axis = clq_axis_fit(0.213, 0.298, 6, false, false);
    assert_float_equal(axis.low, 0.2, 1e-9);
    assert_float_equal(axis.high, 0.3, 1e-9);
    assert_float_equal(axis.step, 0.02, 1e-9);
    assert_int_equal(axis.decimals, 2);
}

static void epochs_have_whole_ticks_inside_the_span(void **state) {
    (void)state;
    clq_axis axis = clq_axis_fit(1, 3, 12, true, true);
    assert_float_equal(axis.first, 1, 0);
    assert_float_equal(axis.step, 1, 0);
    assert_int_equal(axis.count, 3);

    axis = clq_axis_fit(1, 97, 11, true, true);
    assert_float_equal(axis.first, 10, 0);
    assert_float_equal(axis.step, 10, 0);
    assert_int_equal(axis.count, 9);
    assert_float_equal(clq_axis_place(&axis, 1), 0, 0);
    assert_float_equal(clq_axis_place(&axis, 97), 1, 0);
}

/* Whatever comes in, the axis spans something finite and its ticks lie inside. */
static void any_range_gives_a_usable_axis(void **state) {
    static const double ranges[][2] = {{1, 1},         {0, 0},       {-3, -3},      {NAN, NAN},
                                       {INFINITY, 0},  {1e30, 1e30}, {-1e30, 1e30}, {0, 1e-30},
                                       {5, 5 + 1e-14}, {1, 0},       {-0.5, 0.7},   {1e6, 1e6 + 1}};
    (void)state;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        for (int mode = 0; mode < 4; mode++) {
            const clq_axis axis =
                clq_axis_fit(ranges[i][0], ranges[i][1], 7, mode & 1, (mode & 2) != 0);
            assert_true(isfinite(axis.low) && isfinite(axis.high) && axis.high > axis.low);
            assert_true(axis.step > 0);
            assert_in_range(axis.count, 0, 12);
            for (int t = 0; t < axis.count; t++) {
                const double place = clq_axis_place(&axis, clq_axis_tick(&axis, t));
                assert_true(place > -1e-6 && place < 1 + 1e-6);
            }
        }
    }
}

static void labels_have_the_step_s_decimals(void **state) {
    char label[48];
    (void)state;
    clq_axis axis = clq_axis_fit(0, 1, 6, false, false);
    clq_axis_label(&axis, 0.4, " %", label, sizeof label);
    assert_string_equal(label, "0.4 %");
    axis = clq_axis_fit(0, 3e12, 6, false, false);
    clq_axis_label(&axis, 1e12, "", label, sizeof label);
    assert_string_equal(label, "1e+12");
}

/* ---- pictures ---- */

static void assert_draws(const clq_picture *picture) {
    clq_text png = {0}, svg = {0};
    assert_ok(clq_picture_png(picture, &clq_theme_light, &png));
    assert_ok(clq_picture_svg(picture, &clq_theme_dark, &svg));
    assert_true(png.size > 100 && memcmp(png.data, "\x89PNG\r\n\x1a\n", 8) == 0);
    assert_non_null(strstr(svg.data, "<svg"));
    assert_non_null(strstr(svg.data, "</svg>"));
    assert_null(strstr(svg.data, "nan"));
    assert_null(strstr(svg.data, "inf"));
    clq_text_free(&png);
    clq_text_free(&svg);
}

static void curves_of_awkward_data_draw(void **state) {
    enum { MANY = 5000 };
    static double x[MANY], good[MANY], missing[MANY], huge[MANY];
    static const size_t counts[] = {0, 1, 2, 3, 41, MANY};
    (void)state;
    for (int i = 0; i < MANY; i++) {
        x[i] = i + 1;
        good[i] = 1.0 / (i + 1);
        missing[i] = i % 2 ? NAN : 2;
        huge[i] = i % 3 ? 1e30 : -1e30;
    }
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        const double *const values[] = {good, missing, huge};
        for (int v = 0; v < 3; v++) {
            const clq_line_plot plot = {.title = "loss",
                                        .x_label = "epoch",
                                        .y_label = "loss",
                                        .y_suffix = "",
                                        .y_min = NAN,
                                        .y_max = NAN,
                                        .x = x,
                                        .count = counts[c],
                                        .series = {{"train", values[v]}, {"test", good}},
                                        .series_count = 2};
            const clq_picture picture = {"curve", "", 600, 360, clq_line_plot_draw, &plot};
            assert_draws(&picture);
        }
    }
}

static void matrices_of_any_size_draw(void **state) {
    static const int sizes[] = {1, 2, 10, 40, 41, 100, 1300};
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int n = sizes[s];
        int64_t *counts = clq_calloc((size_t)n * (size_t)n, sizeof *counts);
        const char **names = clq_calloc((size_t)n, sizeof *names);
        for (int i = 0; i < n; i++) {
            counts[(size_t)i * (size_t)n + (size_t)i] = i; /* the first row is empty */
            names[i] = i % 2 ? NULL : "\u00e9\u00e9 a name that is far too long for its place";
        }
        const clq_matrix_plot plot = {"FP32", n, counts, names};
        const clq_picture picture = {"matrix", "", 600, 560, clq_matrix_plot_draw, &plot};
        assert_draws(&picture);
        clq_free(counts);
        clq_free(names);
    }
}

static void bars_without_values_draw(void **state) {
    (void)state;
    const clq_bar_plot plot = {
        "bars",
        {"a", "b"},
        2,
        {{"none", {NAN, NAN}, 2}, {"zero", {0, 0}, 1}, {"big", {1e30, 1}, 1}},
        3};
    const clq_picture picture = {"bars", "", 900, 300, clq_bar_plot_draw, &plot};
    assert_draws(&picture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_are_round_numbers),
        cmocka_unit_test(epochs_have_whole_ticks_inside_the_span),
        cmocka_unit_test(any_range_gives_a_usable_axis),
        cmocka_unit_test(labels_have_the_step_s_decimals),
        cmocka_unit_test(curves_of_awkward_data_draw),
        cmocka_unit_test(matrices_of_any_size_draw),
        cmocka_unit_test(bars_without_values_draw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

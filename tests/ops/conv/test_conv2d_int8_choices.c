/* However an integer convolution is run, its bits are the reference's: the candidates of `clquant
 * tune` on every dot path and schedule that works here, and choices that cannot be followed. */
#include "device/tuning.h"
#include "ops/conv/conv2d_int8_plan.h"
#include "ops/conv/conv_class.h"
#include "ops/conv/int8_case.h"

enum { CANDIDATES_IN_TURN = 48 }; /* unless all are run */

/* The candidates of the device's present dot path, each as if `clquant tune` had kept it. */
static void run_candidates(const conv_case *c, conv_data *d) {
    static int turn;
    char key[CLQ_CONV_KEY], text[CLQ_CHOICE_TEXT], where[CLQ_CHOICE_TEXT + 16];
    clq_conv_candidates candidates;
    clq_conv_choice used;
    clq_int8_candidates(&device->info, &d->g, &candidates);
    assert_true(candidates.count > 0);
    clq_conv_key(device, CLQ_CONV_INT8, &d->g, key);
    turn++;
    for (int i = 0; i < candidates.count; i++) {
        if (!clq_test_takes(i + turn, CANDIDATES_IN_TURN)) {
            continue;
        }
        clq_conv_choice_text(&candidates.list[i], text);
        assert_ok(clq_tuning_set(device, key, text));
        memset(d->actual, 0xee, d->y_bytes);
        run_conv_as(d, &used);
        assert_memory_equal(&used, &candidates.list[i], sizeof used);
        snprintf(where, sizeof where, "%s %s", clq_dot_name(device->info.dot), text);
        compare(c, d, where);
    }
    assert_ok(clq_tuning_set(device, key, NULL));
    run_conv_as(d, &used);
    assert_memory_equal(&used, &candidates.list[0], sizeof used);
}

static void check_candidates(conv_case c) {
    const clq_dot first = device->info.dot;
    const uint32_t paths = paths_of_next_case(&device->info, 2, 5);
    conv_data d;
    make_data(&c, &d);
    ref_conv2d_int8(&d.g, &d.params, d.x, d.residual, d.expected);
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        if (paths & (1u << dot)) {
            device->info.dot = (clq_dot)dot;
            run_candidates(&c, &d);
        }
    }
    device->info.dot = first;
    free_data(&d);
}

static void test_candidates(void **state) {
    (void)state;
    conv_case c = plain;
    c.n = 2;
    c.h = 11;
    c.w = 13;
    c.ic = 37;
    c.oc = 131;
    check_candidates(c);
    c.k = 3;
    c.pad = 1;
    c.stride = 2;
    c.residual = true;
    check_candidates(c);
    c.stride = 1; /* Winograd's algorithm too */
    check_candidates(c);
    c.stride = 2;
    c.groups = c.ic = c.oc = 53; /* depthwise */
    check_candidates(c);
    conv_case grouped = c;
    grouped.groups = 3;
    grouped.ic = 21;
    grouped.oc = 69;
    check_candidates(grouped);
    conv_case linear = plain;
    linear.h = linear.w = 1;
    linear.ic = 130;
    linear.oc = 1000;
    linear.float_output = true;
    check_candidates(linear);
}

/* ---- Winograd's algorithm ---- */

/* One case by Winograd's algorithm on every dot path that has it, and on others, which refuse it.
 */
static void check_winograd(conv_case c) {
    const clq_dot first = device->info.dot;
    const uint32_t paths = paths_of_next_case(&device->info, 2, 5);
    char key[CLQ_CONV_KEY];
    conv_data d;
    make_data(&c, &d);
    ref_conv2d_int8(&d.g, &d.params, d.x, d.residual, d.expected);
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        if (!can_check(&device->info, (clq_dot)dot)) {
            continue;
        }
        clq_conv_choice used;
        device->info.dot = (clq_dot)dot;
        const bool has = device->info.schedule == CLQ_SCHEDULE_CPU &&
                         clq_int8_vectors_of(&device->info, CLQ_CONV_INT8_WINOGRAD) != NULL;
        if (!has && !(paths & (1u << dot))) {
            continue;
        }
        clq_conv_key(device, CLQ_CONV_INT8, &d.g, key);
        assert_ok(clq_tuning_set(device, key, "kernel=winograd"));
        memset(d.actual, 0xee, d.y_bytes);
        run_conv_as(&d, &used);
        assert_int_equal(used.kernel == CLQ_CONV_INT8_WINOGRAD, has);
        compare(&c, &d, clq_dot_name((clq_dot)dot));
        assert_ok(clq_tuning_set(device, key, NULL));
    }
    device->info.dot = first;
    free_data(&d);
}

static const conv_case window = {.n = 1,
                                 .h = 5,
                                 .w = 6,
                                 .ic = 20,
                                 .oc = 20,
                                 .k = 3,
                                 .stride = 1,
                                 .pad = 1,
                                 .dilation = 1,
                                 .groups = 1,
                                 .x_zero = 7,
                                 .y_zero = 128};

static void test_winograd_images(void **state) {
    (void)state;
    for (int h = 1; h <= 9; h++) {
        for (int w = 1; w <= 9; w += 1 + h % 2) {
            for (int pad = h < 3 || w < 3; pad <= 2; pad++) {
                conv_case c = window;
                c.n = 1 + (h + w) % 3;
                c.h = h;
                c.w = w;
                c.pad = pad;
                c.residual = (h + pad) % 2;
                check_winograd(c);
            }
        }
    }
}

static void test_winograd_channels(void **state) {
    static const int channels[] = {1, 4, 5, 13, 16, 17, 30, 33, 48, 64, 67, 70};
    enum { COUNT = sizeof channels / sizeof *channels };
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        conv_case c = window;
        c.ic = channels[i];
        c.oc = channels[(i * 7 + 4) % COUNT];
        check_winograd(c);
        c.residual = c.relu = true;
        check_winograd(c);
        c.residual = false;
        c.float_output = true;
        check_winograd(c);
    }
}

static void test_winograd_requantizers(void **state) {
    (void)state;
    for (int r = CLQ_REQUANT_FLOAT; r <= CLQ_REQUANT_SHIFT; r++) {
        conv_case c = window;
        c.requantizer = (clq_requantizer)r;
        check_winograd(c);
        c.residual = true;
        check_winograd(c);
    }
}

static void test_winograd_extremes(void **state) {
    static const int zeros[] = {0, 7, 128, 255};
    (void)state;
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
        conv_case c = window;
        c.x_zero = zeros[i];
        check_winograd(c);
        c.extreme = true;
        check_winograd(c);
        c.ic = 1827; /* the most whose sums stay in int32 */
        c.oc = 3;
        check_winograd(c);
    }
}

/* Shapes that cannot have it, and one channel too many. */
static void test_winograd_refused(void **state) {
    (void)state;
    conv_case cases[6] = {window, window, window, window, window, window};
    cases[0].ic = 1828;
    cases[1].k = 1;
    cases[2].stride = 2;
    cases[3].dilation = cases[3].pad = 2;
    cases[4].groups = 2;
    cases[5].ic = 1827;
    clq_device_info info = *clq_device_get_info(device);
    info.schedule = CLQ_SCHEDULE_CPU;
    info.dot = CLQ_DOT_AVX2;
    for (int i = 0; i < 6; i++) {
        const clq_conv_geometry g = geometry_of(&cases[i]);
        clq_int8_plan plan;
        assert_int_equal(clq_int8_make_plan(&info, &g, CLQ_REQUANT_FLOAT, 0, false,
                                            &(clq_conv_choice){.kernel = CLQ_CONV_INT8_WINOGRAD},
                                            &plan),
                         i == 5);
    }
}

/* ---- stale choices ---- */

/* What no plan can follow is left aside. */
static void test_stale_choices(void **state) {
    static const char *const stale[] = {
        "",
        "nonsense",
        "kernel=warp",
        "kernel=tile tile=7x9 items=1x1 order=1",
        "kernel=tile tile=5x2 items=99999x1",
        "kernel=tile items=1x99999",
        "kernel=tile order=3",
        "kernel=winograd",
        "kernel=patch",
        "kernel=group group=9",
        "kernel=mma group=9",
        "kernel=depthwise",
    };
    (void)state;
    char key[CLQ_CONV_KEY];
    conv_data d;
    make_data(&plain, &d);
    ref_conv2d_int8(&d.g, &d.params, d.x, d.residual, d.expected);
    clq_conv_key(device, CLQ_CONV_INT8, &d.g, key);
    clq_conv_choice expected, used;
    run_conv_as(&d, &expected);
    for (size_t i = 0; i < sizeof stale / sizeof *stale; i++) {
        assert_ok(clq_tuning_set(device, key, stale[i]));
        run_conv_as(&d, &used);
        assert_memory_equal(&used, &expected, sizeof used);
        compare(&plain, &d, stale[i]);
    }
    assert_ok(clq_tuning_set(device, key, NULL));
    free_data(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_candidates),        cmocka_unit_test(test_winograd_images),
        cmocka_unit_test(test_winograd_channels), cmocka_unit_test(test_winograd_requantizers),
        cmocka_unit_test(test_winograd_extremes), cmocka_unit_test(test_winograd_refused),
        cmocka_unit_test(test_stale_choices),
    };
    int failures = 0;
    static const char *const schedules[] = {"cpu", "gpu"};
    for (size_t i = 0; i < 2; i++) {
        setenv("CLQUANT_SCHEDULE", schedules[i], 1);
        failures += cmocka_run_group_tests_name(schedules[i], tests, open_device, close_device);
    }
    return failures;
}

/* However an integer convolution is run, its bits are the reference's: every candidate of `clquant
 * tune` on every dot path and schedule that works here, and choices that cannot be followed. */
#include "device/tuning.h"
#include "ops/conv2d_int8_plan.h"
#include "ops/int8_case.h"

/* Every candidate of the device's present dot path, each as if `clquant tune` had kept it. */
static void run_candidates(const conv_case *c, conv_data *d) {
    char key[CLQ_CONV_KEY], text[CLQ_CHOICE_TEXT], where[CLQ_CHOICE_TEXT + 16];
    clq_conv_candidates candidates;
    clq_conv_choice used;
    clq_int8_candidates(&device->info, &d->g, &candidates);
    assert_true(candidates.count > 0);
    clq_conv_key(device, CLQ_CONV_INT8, &d->g, key);
    for (int i = 0; i < candidates.count; i++) {
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
    conv_data d;
    make_data(&c, &d);
    ref_conv2d_int8(&d.g, &d.params, d.x, d.residual, d.expected);
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        if (can_check(&device->info, (clq_dot)dot)) {
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
        cmocka_unit_test(test_candidates),
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

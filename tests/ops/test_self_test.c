/* A driver that computes wrong values is found out before anything runs on it: the kernels that
 * fail are left out with one warning, others give the right results, and the outcome is kept. Which
 * kernels fail is the choice of a layer below the ICD loader
 * (tests/support/layer/opencl_fault_layer.c): those of a name do nothing. */
#include "ops/conv/int8_case.h"

#include <dlfcn.h>

#include "device/tuning.h"
#include "ops/conv/conv2d_f32.h"
#include "ops/self_test.h"
#include "support/ref_conv2d.h"

static void (*break_kernels)(const char *prefix);
static int warnings;
static char last_warning[512];

static void count_warnings(void *context, clq_log_level level, const char *line) {
    (void)context;
    if (level == CLQ_LOG_WARN) {
        warnings++;
        snprintf(last_warning, sizeof last_warning, "%s", line);
    }
}

static int setup(void **state) {
    clq_test_setup_temp_dir(state);
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("cache"), 1);
    unsetenv("CLQUANT_SELFTEST");
    unsetenv("CLQUANT_SCHEDULE");
    static void *layer; /* the loader will open the same */
    layer = layer ? layer : dlopen(CLQ_BINARY_DIR "/opencl_fault_layer.so", RTLD_NOW);
    if (!layer) {
        return -1;
    }
    *(void **)&break_kernels = dlsym(layer, "clq_fault_break");
    clq_set_log(count_warnings, NULL, CLQ_LOG_WARN);
    return break_kernels ? 0 : -1;
}

static int teardown(void **state) {
    break_kernels(NULL);
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    unsetenv("CLQUANT_SCHEDULE");
    return clq_test_teardown_temp_dir(state);
}

static void open_with(const char *schedule) {
    warnings = 0;
    assert_ok(clq_test_open(schedule, &device));
}

static conv_case wide(void) {
    conv_case c = plain;
    c.h = c.w = 9;
    c.k = 3;
    c.pad = 1;
    c.ic = 32;
    c.oc = 40;
    return c;
}

/* Runs the case and compares it with its reference; how it ran. */
static clq_conv_choice run_case(conv_case c) {
    conv_data d;
    clq_conv_choice used;
    make_data(&c, &d);
    ref_conv2d_int8(&d.g, &d.params, d.x, d.residual, d.expected);
    run_conv_as(&d, &used);
    compare(&c, &d, "self-test");
    free_data(&d);
    return used;
}

typedef struct failed_list {
    int count;
    char names[256];
} failed_list;

static void list_failed(void *context, const char *family, const char *how) {
    failed_list *list = context;
    assert_true(*how != '\0');
    list->count++;
    strncat(list->names, family, sizeof list->names - strlen(list->names) - 1);
}

static failed_list failed(void) {
    failed_list list = {0};
    clq_device_failed_kernels(device, list_failed, &list);
    return list;
}

static void wrong_int8_group(void **state) {
    (void)state;
    break_kernels("conv2d_int8_group");
    for (int run = 0; run < 2; run++) { /* the second knows it from the cache */
        open_with("gpu");
        for (int i = 0; i < 3; i++) {
            conv_case c = wide();
            c.oc += i * 16;
            assert_int_equal(run_case(c).kernel, CLQ_CONV_TILE);
        }
        assert_int_equal(warnings, 1);
        assert_non_null(strstr(last_warning, "conv2d_int8_group"));
        assert_non_null(strstr(last_warning, clq_device_get_info(device)->driver));
        const failed_list list = failed();
        assert_int_equal(list.count, 1);
        assert_non_null(strstr(list.names, "conv2d_int8_group"));
        close_device(NULL);
    }
}

/* A choice of the tuning table is no way around it. */
static void wrong_forced_choice(void **state) {
    (void)state;
    conv_case c = wide();
    char key[CLQ_CONV_KEY];
    const clq_conv_geometry g = geometry_of(&c);
    break_kernels("conv2d_int8_group");
    open_with("gpu");
    clq_conv_key(device, CLQ_CONV_INT8, &g, key);
    assert_ok(clq_tuning_set(device, key, "kernel=group group=2"));
    assert_int_equal(run_case(c).kernel, CLQ_CONV_TILE);
    assert_int_equal(warnings, 1);
    close_device(NULL);
}

static void nothing_left(void **state) {
    (void)state;
    conv_case c = wide();
    conv_data d;
    clq_conv2d_int8 *conv = NULL;
    make_data(&c, &d);
    break_kernels("conv2d_int8_");
    open_with("cpu");
    const clq_dot dot = clq_device_get_info(device)->dot;
    assert_status(clq_conv2d_int8_create(device, &d.g, &d.params, &conv), CLQ_DEVICE);
    assert_error_has("integer convolution");
    assert_error_has("CLQUANT_SELFTEST=off");
    assert_int_equal(clq_device_get_info(device)->dot, dot);
    close_device(NULL);
    free_data(&d);
}

static void switched_off(void **state) {
    (void)state;
    conv_case c = wide();
    conv_data d;
    clq_conv2d_int8 *conv = NULL;
    make_data(&c, &d);
    break_kernels("conv2d_int8_group");
    setenv("CLQUANT_SELFTEST", "off", 1);
    open_with("gpu");
    assert_ok(clq_conv2d_int8_create(device, &d.g, &d.params, &conv));
    assert_int_not_equal(clq_conv2d_int8_choice(conv)->kernel, CLQ_CONV_TILE);
    clq_conv2d_int8_destroy(conv);
    assert_int_equal(warnings, 0);
    close_device(NULL);
    unsetenv("CLQUANT_SELFTEST");
    free_data(&d);
}

/* What passed is not tested again: a kernel that breaks later is believed until the driver changes.
 */
static void passed_is_kept(void **state) {
    (void)state;
    conv_data d;
    conv_case c = wide();
    clq_conv2d_int8 *conv = NULL;
    open_with("gpu");
    assert_int_equal(run_case(c).kernel, CLQ_CONV_GROUP);
    close_device(NULL);
    break_kernels("conv2d_int8_group");
    make_data(&c, &d);
    open_with("gpu");
    assert_ok(clq_conv2d_int8_create(device, &d.g, &d.params, &conv));
    assert_int_equal(clq_conv2d_int8_choice(conv)->kernel, CLQ_CONV_GROUP);
    clq_conv2d_int8_destroy(conv);
    assert_int_equal(warnings, 0);
    close_device(NULL);
    free_data(&d);
}

/* y = conv(x, w) of whole numbers, with kernels of a name broken. */
static void check_f32(const char *schedule, const char *broken, int directions) {
    enum { SIDE = 16, C = 64, COUNT = SIDE * SIDE * C, WEIGHTS = C * 9 * C };
    const clq_conv_geometry g = {.n = 1,
                                 .ih = SIDE,
                                 .iw = SIDE,
                                 .ic = C,
                                 .oc = C,
                                 .kh = 3,
                                 .kw = 3,
                                 .oh = SIDE,
                                 .ow = SIDE,
                                 .stride_h = 1,
                                 .stride_w = 1,
                                 .pad_top = 1,
                                 .pad_left = 1,
                                 .dilation_h = 1,
                                 .dilation_w = 1,
                                 .groups = 1};
    clq_conv2d_f32 *conv = NULL;
    clq_buffer *x = NULL, *w = NULL, *y = NULL;
    float *xs = malloc(COUNT * 4), *ws = malloc(WEIGHTS * 4), *ys = malloc(COUNT * 4),
          *expected = malloc(COUNT * 4);
    clq_test_fill_f32(xs, COUNT, -1, 1, 1);
    clq_test_fill_f32(ws, WEIGHTS, -1, 1, 2);
    ref_conv2d_f32(&g, xs, ws, NULL, NULL, CLQ_ACT_NONE, expected);
    break_kernels(broken);
    open_with(schedule);
    assert_ok(clq_buffer_create(device, COUNT * 4, &x));
    assert_ok(clq_buffer_create(device, COUNT * 4, &y));
    assert_ok(clq_buffer_create(device, WEIGHTS * 4, &w));
    assert_ok(clq_buffer_write(x, 0, COUNT * 4, xs));
    assert_ok(clq_buffer_write(w, 0, WEIGHTS * 4, ws));
    assert_ok(clq_conv2d_f32_create(device, &g, directions, &conv));
    assert_non_null(clq_conv2d_f32_choice(conv)); /* a sum */
    assert_int_equal(clq_conv2d_f32_choice(conv)->kernel, CLQ_CONV_TILE);
    assert_ok(clq_conv2d_f32_load_weights(conv, w));
    assert_ok(clq_conv2d_f32_forward(conv, x, NULL, NULL, CLQ_ACT_NONE, y));
    assert_ok(clq_buffer_read(y, 0, COUNT * 4, ys));
    assert_close_f32(ys, expected, clq_test_shape_of(COUNT), 2e-4, 2e-5);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(last_warning, broken));
    clq_conv2d_f32_destroy(conv);
    clq_buffer_release(x);
    clq_buffer_release(w);
    clq_buffer_release(y);
    close_device(NULL);
    free(xs);
    free(ws);
    free(ys);
    free(expected);
}

static void wrong_f32_block(void **state) {
    (void)state;
    check_f32("gpu", "conv2d_f32_block", CLQ_CONV_FORWARD);
}

static void wrong_f32_winograd(void **state) {
    (void)state;
    check_f32("cpu", "conv2d_f32_winograd", CLQ_CONV_FORWARD | CLQ_CONV_WINOGRAD);
}

/* Kernels that nothing can stand in for are refused, and then all of their file. */
static void wrong_elementwise(void **state) {
    (void)state;
    static const struct {
        const char *broken, *file;
    } cases[] = {{"int8_add", "int8/elementwise.cl"},
                 {"int8_avg_pool", "int8/pool.cl"},
                 {"relu6_f32", "f32/elementwise.cl"},
                 {"softmax_cross_entropy_f32", "f32/loss.cl"}};
    clq_op_self_tests_add();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        break_kernels(cases[i].broken);
        for (int gpu = 0; gpu < 2; gpu++) {
            clq_kernel *kernel = NULL;
            static const char *const asked[] = {"int8_quantize", "int8_shortcut_a", "add_f32",
                                                "mean_squared_error_f32"};
            open_with(gpu ? "gpu" : "cpu");
            assert_status(clq_kernel_get(device, cases[i].broken, NULL, &kernel), CLQ_DEVICE);
            assert_error_has(cases[i].file);
            assert_status(clq_kernel_get(device, asked[i], NULL, &kernel), CLQ_DEVICE);
            assert_error_has(cases[i].file);
            assert_int_equal(warnings, 1);
            close_device(NULL);
        }
    }
}

int main(void) {
    setenv("OPENCL_LAYERS", CLQ_BINARY_DIR "/opencl_fault_layer.so", 1);
#define SELF_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        SELF_TEST(wrong_int8_group),   SELF_TEST(wrong_forced_choice), SELF_TEST(nothing_left),
        SELF_TEST(switched_off),       SELF_TEST(passed_is_kept),      SELF_TEST(wrong_f32_block),
        SELF_TEST(wrong_f32_winograd), SELF_TEST(wrong_elementwise),
    };
    return cmocka_run_group_tests_name("self_test", tests, NULL, NULL);
}

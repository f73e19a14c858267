/* Kernels by name, arguments, ranges, build errors. On both schedules. */
#include "support/clq_test.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/rng.h"
#include "clquant/device.h"
#include "device/internal.h"

static const char args_source[] =
    "__kernel void test_args(__global int *out, int i, uint u, float f, __global int *none,\n"
    "                        __local int *scratch) {\n"
    "    int id = (int)get_global_id(0);\n"
    "    scratch[get_local_id(0)] = id;\n"
    "    if (id == 0) {\n"
    "        out[0] = i;\n"
    "        out[1] = (int)(u >> 1);\n"
    "        out[2] = (int)(f * 4.0f);\n"
    "        out[3] = none == 0;\n"
    "        out[4] = scratch[0];\n"
    "    }\n"
    "}\n"
    "__kernel void test_range(__global int *out, int x, int y, int z) {\n"
    "    int i = (int)get_global_id(0), j = (int)get_global_id(1), k = (int)get_global_id(2);\n"
    "    if (i < x && j < y && k < z) {\n"
    "        out[(k * y + j) * x + i] += 1 + VALUE;\n"
    "    }\n"
    "}\n"
    "__kernel void test_defines(__global int *out) {\n"
    "#ifdef CLQ_SCHEDULE_CPU\n"
    "    out[0] = CLQ_SCHEDULE_CPU;\n"
    "#else\n"
    "    out[0] = 2 * CLQ_SCHEDULE_GPU;\n"
    "#endif\n"
    "    out[1] = CLQ_SIMD_BYTES;\n"
    "#ifdef CLQ_DOT_PORTABLE\n"
    "    out[2] = 1;\n"
    "#else\n"
    "    out[2] = 0;\n"
    "#endif\n"
    "}\n";
static const clq_kernel_entry args_entry = {"test_args", "args.cl", args_source};
static const clq_kernel_entry range_entry = {"test_range", "args.cl", args_source};
static const clq_kernel_entry defines_entry = {"test_defines", "args.cl", args_source};

static clq_device *device;

static int open_device(void **state) {
    (void)state;
    return clq_device_open(NULL, &device) == CLQ_OK ? 0 : -1;
}

static int open_gpu_schedule(void **state) {
    setenv("CLQUANT_SCHEDULE", "gpu", 1);
    int result = open_device(state);
    unsetenv("CLQUANT_SCHEDULE");
    return result;
}

static int close_device(void **state) {
    (void)state;
    clq_device_close(device);
    return 0;
}

static clq_kernel *get(const clq_kernel_entry *entry) {
    clq_kernel *kernel = NULL;
    assert_ok(clq_kernel_get_entry(device, entry, "-DVALUE=0", clq_device_get_info(device)->dot,
                                   &kernel));
    return kernel;
}

static void test_argument_kinds(void **state) {
    (void)state;
    clq_buffer *out = NULL;
    int32_t got[5] = {0};
    assert_ok(clq_buffer_create(device, sizeof got, &out));
    assert_ok(CLQ_LAUNCH(device, get(&args_entry), CLQ_RANGE1(1), CLQ_BUF(out), CLQ_I32(-7),
                         CLQ_U32(0xfffffffe), CLQ_F32(2.75), CLQ_BUF(NULL), CLQ_LOCAL(1024)));
    assert_ok(clq_buffer_read(out, 0, sizeof got, got));
    assert_int_equal(got[0], -7);
    assert_int_equal(got[1], 0x7fffffff);
    assert_int_equal(got[2], 11);
    assert_int_equal(got[3], 1);
    assert_int_equal(got[4], 0);
    clq_buffer_release(out);
}

/* Every item of the range runs once, whatever local size is chosen or rounding done. */
static void check_range(clq_range range) {
    size_t count = 1;
    for (unsigned d = 0; d < 3; d++) {
        range.global[d] = d < range.dims ? range.global[d] : 1;
        count *= range.global[d];
    }
    clq_buffer *out = NULL;
    int32_t *got = calloc(count, sizeof *got);
    assert_non_null(got);
    assert_ok(clq_buffer_create(device, count * sizeof *got, &out));
    assert_ok(clq_buffer_fill(out, 0, count * sizeof *got, 0));
    assert_ok(CLQ_LAUNCH(device, get(&range_entry), range, CLQ_BUF(out), CLQ_I32(range.global[0]),
                         CLQ_I32(range.global[1]), CLQ_I32(range.global[2])));
    assert_ok(clq_buffer_read(out, 0, count * sizeof *got, got));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(got[i], 1);
    }
    free(got);
    clq_buffer_release(out);
}

static void test_ranges(void **state) {
    (void)state;
    check_range(CLQ_RANGE1(1));
    check_range(CLQ_RANGE1(127));
    check_range(CLQ_RANGE1(1009));
    check_range(CLQ_RANGE2(3, 101));
    check_range(CLQ_RANGE2(64, 5));
    check_range(CLQ_RANGE3(2, 3, 67));
    check_range((clq_range){2, {32, 6, 1}, {8, 2, 0}});
}

static void test_rounding(void **state) {
    (void)state;
    bool gpu = clq_device_get_info(device)->schedule == CLQ_SCHEDULE_GPU;
    clq_range range = {1, {33, 1, 1}, {8, 0, 0}};
    if (gpu) {
        check_range(range);
        return;
    }
    assert_status(CLQ_LAUNCH(device, get(&range_entry), range, CLQ_BUF(NULL), CLQ_I32(33),
                             CLQ_I32(1), CLQ_I32(1)),
                  CLQ_INTERNAL);
    assert_error_has("test_range");
    assert_error_has("local size 8");
}

static void test_bad_launches(void **state) {
    (void)state;
    clq_kernel *kernel = get(&range_entry);
    clq_arg args[] = {CLQ_BUF(NULL), CLQ_I32(1), CLQ_I32(1), CLQ_I32(1)};
    assert_status(clq_launch(device, kernel, CLQ_RANGE1(1), args, 3), CLQ_INTERNAL);
    assert_error_has("takes 4 arguments, not 3");
    assert_status(clq_launch(device, kernel, CLQ_RANGE2(5, 0), args, 4), CLQ_INTERNAL);
    assert_error_has("5x0");
    assert_status(clq_launch(device, kernel, (clq_range){4, {1, 1, 1}, {0}}, args, 4),
                  CLQ_INTERNAL);
    assert_status(clq_launch(device, kernel, (clq_range){0, {1, 1, 1}, {0}}, args, 4),
                  CLQ_INTERNAL);
    args[2] = CLQ_BUF(NULL); /* 8 bytes for an int */
    assert_status(clq_launch(device, kernel, CLQ_RANGE1(1), args, 4), CLQ_DEVICE);
    assert_error_has("argument 2 of kernel test_range");
    args[2] = CLQ_I32(1);
    clq_range huge = {1, {1 << 22, 1, 1}, {1 << 22, 0, 0}};
    assert_status(clq_launch(device, kernel, huge, args, 4), CLQ_DEVICE);
    assert_error_has("CL_INVALID_WORK_");
    assert_error_has("4194304");
}

static void test_defines(void **state) {
    (void)state;
    const clq_device_info *info = clq_device_get_info(device);
    int32_t got[3];
    clq_buffer *out = NULL;
    assert_ok(clq_buffer_create(device, sizeof got, &out));
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        if (!(info->dots >> dot & 1)) {
            continue;
        }
        clq_kernel *kernel = NULL;
        assert_ok(clq_device_set_dot(device, (clq_dot)dot));
        kernel = get(&defines_entry);
        assert_ok(CLQ_LAUNCH(device, kernel, CLQ_RANGE1(1), CLQ_BUF(out)));
        assert_ok(clq_buffer_read(out, 0, sizeof got, got));
        assert_int_equal(got[0], info->schedule == CLQ_SCHEDULE_CPU ? 1 : 2);
        assert_int_equal(got[1], info->simd_bytes);
        assert_int_equal(got[2], dot == CLQ_DOT_PORTABLE);
    }
    clq_buffer_release(out);
}

static void test_kernels_are_shared(void **state) {
    (void)state;
    clq_kernel *a = NULL, *b = NULL, *c = NULL;
    clq_dot dot = clq_device_get_info(device)->dot;
    a = get(&range_entry);
    b = get(&args_entry);
    assert_ptr_equal(a, get(&range_entry));
    assert_ptr_equal(a->program, b->program);
    assert_ok(clq_kernel_get_entry(device, &range_entry, "-DVALUE=1", dot, &c));
    assert_ptr_not_equal(a, c);
    assert_ptr_not_equal(a->program, c->program);
}

static void test_missing_kernel(void **state) {
    (void)state;
    clq_kernel *kernel = (clq_kernel *)device;
    assert_status(clq_kernel_get(device, "no_such_kernel", NULL, &kernel), CLQ_INTERNAL);
    assert_null(kernel);
    assert_error_has("no_such_kernel");
}

/* And tells no more of the device than the source asks for. */
static void test_build_error(void **state) {
    (void)state;
    static const clq_kernel_entry bad = {"bad", "test/bad.cl",
                                         "__kernel void bad(__global int *p) {\n"
                                         "    *p = this_is_not_declared;\n}\n"};
    clq_kernel *kernel = NULL;
    assert_status(clq_kernel_get_entry(device, &bad, "-DSOME=1", CLQ_DOT_PORTABLE, &kernel),
                  CLQ_DEVICE);
    assert_error_has("test/bad.cl");
    assert_error_has("-DSOME=1");
    assert_error_has("this_is_not_declared");
    assert_null(strchr(clq_last_error(), '\n'));
    assert_null(strstr(clq_last_error(), "CLQ_DOT_"));
    assert_null(strstr(clq_last_error(), "CLQ_SCHEDULE_"));
    assert_null(strstr(clq_last_error(), "CLQ_SIMD_BYTES"));
}

/* A built-in that kernels/include/builtins.h lacks: the compiler then declares them all. */
static void test_undeclared_builtins(void **state) {
    (void)state;
    static const char source[] = "#ifdef CLQ_DECLARE_BUILTINS\n"
                                 "float __attribute__((overloadable, const)) sqrt(float);\n"
                                 "#endif\n"
                                 "__kernel void test_missing(__global float *x) {\n"
                                 "    *x = sqrt(*x) + BUILTIN(2.0f, 3.0f);\n}\n";
    static const clq_kernel_entry missing = {"test_missing", "missing.cl", source};
    const float four = 4;
    float got = 0;
    clq_device *own = NULL;
    clq_kernel *kernel = NULL;
    clq_buffer *x = NULL;
    assert_ok(clq_device_open(NULL, &own));
    assert_int_equal(own->declares_builtins, clq_is_pocl(own));
    assert_ok(
        clq_kernel_get_entry(own, &missing, "-DBUILTIN(a,b)=(a+b)", CLQ_DOT_PORTABLE, &kernel));
    assert_int_equal(own->declares_builtins, clq_is_pocl(own));
    assert_ok(clq_kernel_get_entry(own, &missing, "-DBUILTIN=fdim", CLQ_DOT_PORTABLE, &kernel));
    assert_false(own->declares_builtins);
    assert_ok(clq_buffer_create(own, sizeof four, &x));
    assert_ok(clq_buffer_write(x, 0, sizeof four, &four));
    assert_ok(CLQ_LAUNCH(own, kernel, CLQ_RANGE1(1), CLQ_BUF(x)));
    assert_ok(clq_buffer_read(x, 0, sizeof four, &got));
    assert_true(got == 2.0f);
    clq_buffer_release(x);
    clq_device_close(own);
}

/* The device draws the numbers of host/base/rng.h. */
static void test_philox(void **state) {
    (void)state;
    static const char kernel_text[] =
        "__kernel void test_philox(__global uint *out, uint seed, uint high) {\n"
        "    uint id = (uint)get_global_id(0), words[4];\n"
        "    ulong top = (ulong)high << 32;\n"
        "    clq_philox(top | seed, top | (seed + 1), top | id, words);\n"
        "    for (int i = 0; i < 4; i++) {\n"
        "        out[4 * id + i] = words[i];\n"
        "    }\n"
        "}\n";
    enum { COUNT = 100 };
    void *header = NULL;
    size_t size;
    uint32_t got[4 * COUNT], expected[4];
    assert_ok(clq_file_read(CLQ_SOURCE_DIR "/kernels/include/philox.h", 1 << 20, &header, &size));
    char *source = clq_format("%s\n%s", (char *)header, kernel_text);
    clq_kernel_entry entry = {"test_philox", "philox.cl", source};
    clq_device *own = NULL; /* it must not outlive the source */
    assert_ok(clq_device_open(NULL, &own));
    clq_kernel *kernel = NULL;
    clq_buffer *out = NULL;
    assert_ok(clq_kernel_get_entry(own, &entry, NULL, CLQ_DOT_PORTABLE, &kernel));
    assert_ok(clq_buffer_create(own, sizeof got, &out));
    for (uint32_t high = 0; high < 2; high++) {
        assert_ok(CLQ_LAUNCH(own, kernel, CLQ_RANGE1(COUNT), CLQ_BUF(out), CLQ_U32(0xfffffff0u),
                             CLQ_U32(high)));
        assert_ok(clq_buffer_read(out, 0, sizeof got, got));
        uint64_t top = (uint64_t)high << 32;
        for (uint32_t id = 0; id < COUNT; id++) {
            clq_philox(top | 0xfffffff0u, top | 0xfffffff1u, top | id, expected);
            assert_memory_equal(&got[4 * id], expected, sizeof expected);
        }
    }
    clq_buffer_release(out);
    clq_device_close(own);
    clq_free(source);
    clq_free(header);
}

/* The embedded registry: names are unique, sources are there. */
static void test_registry(void **state) {
    (void)state;
    assert_true(clq_kernel_registry_count > 0);
    assert_null(clq_kernel_registry[clq_kernel_registry_count].name);
    for (unsigned long i = 0; i < clq_kernel_registry_count; i++) {
        const clq_kernel_entry *entry = &clq_kernel_registry[i];
        assert_non_null(strstr(entry->source, entry->name));
        for (unsigned long j = 0; j < i; j++) {
            assert_string_not_equal(entry->name, clq_kernel_registry[j].name);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_argument_kinds),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_bad_launches),
        cmocka_unit_test(test_defines),
        cmocka_unit_test(test_kernels_are_shared),
        cmocka_unit_test(test_missing_kernel),
        cmocka_unit_test(test_build_error),
        cmocka_unit_test(test_philox),
        cmocka_unit_test(test_registry),
        cmocka_unit_test(test_undeclared_builtins),
    };
    int failures = cmocka_run_group_tests_name("launch", tests, open_device, close_device);
    failures += cmocka_run_group_tests_name("launch on the GPU schedule", tests, open_gpu_schedule,
                                            close_device);
    return failures;
}

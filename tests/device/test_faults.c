/* Every OpenCL call in turn fails: the library reports it by name, leaks nothing and works
 * afterwards. The failures come from a layer below the ICD loader
 * (tests/support/layer/opencl_fault_layer.c). */
#include "support/clq_test.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CL/cl.h>

#include "clquant/device.h"
#include "device/internal.h"

static const clq_kernel_entry entry = {
    "test_fault", "fault.cl",
    "__kernel void test_fault(__global int *out, int v) { out[0] = v; }\n"};

static void (*fault_set)(long nth, cl_int error);
static long (*fault_calls)(void);
static clq_device_info expected;

static int setup(void **state) {
    clq_device *device = NULL;
    clq_test_setup_temp_dir(state);
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("cache"), 1);
    unsetenv("CLQUANT_CACHE");
    void *layer = dlopen(CLQ_BINARY_DIR "/opencl_fault_layer.so", RTLD_NOW);
    if (!layer || clq_device_open(NULL, &device) != CLQ_OK) {
        return -1;
    }
    expected = *clq_device_get_info(device);
    clq_device_close(device);
    *(void **)&fault_set = dlsym(layer, "clq_fault_set");
    *(void **)&fault_calls = dlsym(layer, "clq_fault_calls");
    dlclose(layer); /* the loader keeps it */
    return fault_set && fault_calls ? 0 : -1;
}

static int teardown(void **state) {
    return clq_test_teardown_temp_dir(state);
}

/* A little of everything that a program does with a device that is open. */
static clq_status work(clq_device *device) {
    clq_status status = CLQ_OK;
    clq_buffer *a = NULL, *b = NULL, *view = NULL;
    clq_kernel *kernel = NULL;
    const clq_profile_entry *entries = NULL;
    size_t count = 0, align = clq_device_get_info(device)->base_alignment;
    int32_t got = 0, one = 1;
    CLQ_GOTO(status, cleanup, clq_device_profile(device, true));
    CLQ_GOTO(status, cleanup,
             clq_kernel_get_entry(device, &entry, NULL, CLQ_DOT_PORTABLE, &kernel));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, 2 * align, &a));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, 4, &b));
    CLQ_GOTO(status, cleanup, clq_buffer_view(a, align, 4, &view));
    CLQ_GOTO(status, cleanup, clq_buffer_write(a, 0, 4, &one));
    CLQ_GOTO(status, cleanup, clq_buffer_fill(a, 0, 2 * align, 0));
    CLQ_GOTO(status, cleanup, CLQ_LAUNCH(device, kernel, CLQ_RANGE1(1), CLQ_BUF(view), CLQ_I32(7)));
    CLQ_GOTO(status, cleanup, clq_buffer_copy(b, 0, view, 0, 4));
    CLQ_GOTO(status, cleanup, clq_buffer_read(b, 0, 4, &got));
    CLQ_GOTO(status, cleanup, clq_device_profile_entries(device, &entries, &count));
    if (got != 7 || count != 5) {
        status = clq_fail(CLQ_GATE_FAILED, "the kernel gave %d, %zu entries", got, count);
    }
cleanup:
    clq_buffer_release(view);
    clq_buffer_release(a);
    clq_buffer_release(b);
    return status;
}

static clq_status open_and_work(void) {
    clq_device *device = NULL;
    CLQ_TRY(clq_device_open(NULL, &device));
    device->restores_programs = true; /* whatever the driver */
    clq_status status = work(device);
    clq_device_close(device);
    return status;
}

/* Fails call first, first + stride, ... until a run does not reach it. */
static void fail_each(long first, long stride, cl_int error, const char *name) {
    for (long n = first;; n += stride) {
        clq_test_fail_allocation(0); /* count */
        fault_set(n, error);
        clq_status status = open_and_work();
        bool reached = fault_calls() >= n;
        fault_set(0, CL_SUCCESS);
        if (status != CLQ_OK) {
            assert_true(reached);
            assert_true(status == CLQ_DEVICE || status == CLQ_NO_MEMORY);
            if (!strstr(clq_last_error(), name) && !strstr(clq_last_error(), "have no device")) {
                fail_msg("call %ld: the error does not say %s: %s", n, name, clq_last_error());
            }
        }
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
        if (!reached) {
            break;
        }
    }
}

static clq_log_level loudest = CLQ_LOG_DEBUG;

static void count_log(void *context, clq_log_level level, const char *line) {
    (void)context;
    (void)line;
    loudest = level < loudest ? level : loudest;
}

static void test_every_call(void **state) {
    (void)state;
    clq_set_log(count_log, NULL, CLQ_LOG_WARN);
    assert_ok(open_and_work()); /* fills the caches */
    assert_ok(open_and_work());
    fail_each(1, 1, CL_OUT_OF_RESOURCES, "CL_OUT_OF_RESOURCES");
    fail_each(1, 1, CL_OUT_OF_HOST_MEMORY, "CL_OUT_OF_HOST_MEMORY");
    assert_true(loudest >= CLQ_LOG_WARN);
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    assert_ok(open_and_work());
}

/* Probing from nothing: a failure leaves a path out, but not for ever. */
static void test_while_probing(void **state) {
    (void)state;
    clq_device *device = NULL;
    clq_set_log(count_log, NULL, CLQ_LOG_WARN);
    setenv("CLQUANT_CACHE", "off", 1);
    fail_each(20, 9, CL_OUT_OF_RESOURCES, "CL_OUT_OF_RESOURCES");
    unsetenv("CLQUANT_CACHE");
    for (long n = 25; n < 60; n += 5) {
        setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("fresh"), 1);
        fault_set(n, CL_OUT_OF_RESOURCES);
        if (clq_device_open(NULL, &device) == CLQ_OK) {
            clq_device_close(device);
        }
        fault_set(0, CL_SUCCESS);
        assert_ok(clq_device_open(NULL, &device));
        const clq_device_info *info = clq_device_get_info(device);
        assert_int_equal(info->dots, expected.dots);
        assert_int_equal(info->simd_bytes, expected.simd_bytes);
        clq_device_close(device);
    }
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("cache"), 1);
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
}

/* Cached blocks are given up for an allocation that would fail. */
static void test_pool_makes_room(void **state) {
    (void)state;
    clq_device *device = NULL;
    clq_buffer *a = NULL;
    assert_ok(clq_device_open(NULL, &device));
    assert_ok(clq_buffer_create(device, 100000, &a));
    clq_buffer_release(a);
    assert_true(device->pool.cached_bytes > 0);
    fault_set(1, CL_MEM_OBJECT_ALLOCATION_FAILURE);
    assert_ok(clq_buffer_create(device, 200000, &a));
    assert_int_equal(device->pool.cached_bytes, 0);
    clq_buffer_release(a);
    clq_pool_trim(device);
    fault_set(1, CL_MEM_OBJECT_ALLOCATION_FAILURE);
    assert_status(clq_buffer_create(device, 300000, &a), CLQ_NO_MEMORY); /* nothing to give up */
    assert_error_has("300000 bytes");
    assert_error_has("CL_MEM_OBJECT_ALLOCATION_FAILURE");
    fault_set(0, CL_SUCCESS);
    clq_device_close(device);
}

/* Another process may be writing the same program into the driver's cache. */
static void test_builds_once_more(void **state) {
    (void)state;
    clq_device *device = NULL;
    clq_kernel *kernel = NULL;
    assert_ok(clq_device_open(NULL, &device));
    fault_set(2, CL_BUILD_PROGRAM_FAILURE); /* behind clCreateProgramWithSource */
    assert_ok(clq_kernel_get_entry(device, &entry, "-DAGAIN=1", CLQ_DOT_PORTABLE, &kernel));
    assert_true(fault_calls() > 3);
    fault_set(1, CL_BUILD_PROGRAM_FAILURE);
    assert_status(clq_kernel_get_entry(device, &entry, "-DAGAIN=2", CLQ_DOT_PORTABLE, &kernel),
                  CLQ_DEVICE);
    fault_set(0, CL_SUCCESS);
    clq_device_close(device);
}

static void test_texts(void **state) {
    (void)state;
    clq_device *device = NULL;
    clq_kernel *kernel = NULL;
    assert_ok(clq_device_open(NULL, &device));
    assert_ok(clq_kernel_get_entry(device, &entry, NULL, CLQ_DOT_PORTABLE, &kernel));
    fault_set(3, CL_OUT_OF_RESOURCES); /* after two arguments: the launch */
    assert_status(CLQ_LAUNCH(device, kernel, CLQ_RANGE2(3, 5), CLQ_BUF(NULL), CLQ_I32(0)),
                  CLQ_DEVICE);
    assert_error_has("test_fault");
    assert_error_has("3x5");
    assert_error_has("CL_OUT_OF_RESOURCES");
    fault_set(1, CL_OUT_OF_RESOURCES);
    assert_status(clq_device_finish(device), CLQ_DEVICE);
    assert_error_has("CL_OUT_OF_RESOURCES");
    fault_set(0, CL_SUCCESS);
    clq_device_close(device);
}

int main(void) {
    setenv("OPENCL_LAYERS", CLQ_BINARY_DIR "/opencl_fault_layer.so", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call),      cmocka_unit_test(test_while_probing),
        cmocka_unit_test(test_pool_makes_room), cmocka_unit_test(test_builds_once_more),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests_name("faults", tests, setup, teardown);
}

/* Choosing a device, and what is said when that fails. */
#include "support/clq_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clquant/device.h"
#include "device/cl_status.h"

static clq_device_info first;

static void *list(void *count) {
    (void)clq_device_list(NULL, 0, count); /* 0: it failed */
    return NULL;
}

/* The first calls of OpenCL come from four threads at once. */
static int setup(void **state) {
    (void)state;
    enum { THREADS = 4 };
    size_t count = 0, counts[THREADS] = {0};
    pthread_t threads[THREADS];
    bool same = true;
    unsetenv("CLQUANT_DEVICE");
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, list, &counts[i]) != 0) {
            return -1;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    const clq_status status = clq_device_list(&first, 1, &count);
    for (int i = 0; i < THREADS; i++) {
        same = same && counts[i] == count;
    }
    return status == CLQ_OK && count > 0 && same ? 0 : -1;
}

static void opens(const char *selector) {
    clq_device *device = NULL;
    assert_ok(clq_device_open(selector, &device));
    assert_non_null(device);
    clq_device_close(device);
}

static void test_list(void **state) {
    (void)state;
    clq_device_info infos[8];
    size_t count = 0, again = 0;
    assert_ok(clq_device_list(infos, 8, &count));
    assert_true(count >= 1);
    assert_true(infos[0].name[0] && infos[0].platform[0] && infos[0].version[0]);
    assert_true(infos[0].compute_units > 0 && infos[0].max_allocation > 0);
    assert_true(infos[0].base_alignment > 0);
    assert_int_equal(infos[0].dots, 0);
    assert_int_equal(infos[0].dot, CLQ_DOT_PORTABLE);
    assert_ok(clq_device_list(NULL, 0, &again)); /* counting only */
    assert_int_equal(again, count);
}

static void test_selectors(void **state) {
    (void)state;
    char text[160];
    opens(NULL);
    opens("");
    snprintf(text, sizeof text, "%d:%d", first.platform_index, first.device_index);
    opens(text);
    snprintf(text, sizeof text, "%.9s", first.name);
    for (char *c = text; *c; c++) {
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    }
    opens(text);
    opens(first.platform);
    if (first.is_cpu) {
        opens("cpu");
        opens("CPU");
    }
}

static void test_no_match(void **state) {
    (void)state;
    static const char *const selectors[] = {
        "no such device", "99:0", "0:99", "0:", ":0", "0:0x", "-1:0", "99999999999999999999:0"};
    for (size_t i = 0; i < sizeof selectors / sizeof selectors[0]; i++) {
        clq_device *device = (clq_device *)&first;
        assert_status(clq_device_open(selectors[i], &device), CLQ_DEVICE);
        assert_null(device);
        assert_error_has(selectors[i]);
        assert_error_has(first.name); /* what there is */
    }
}

static void test_environment(void **state) {
    (void)state;
    clq_device *device = NULL;
    setenv("CLQUANT_DEVICE", "0:0", 1);
    opens(NULL);
    setenv("CLQUANT_DEVICE", "nothing like it", 1);
    assert_status(clq_device_open(NULL, &device), CLQ_DEVICE);
    assert_error_has("CLQUANT_DEVICE");
    opens("0:0"); /* the argument wins */
    unsetenv("CLQUANT_DEVICE");
}

static void test_forced_schedule(void **state) {
    (void)state;
    clq_device *device = NULL;
    setenv("CLQUANT_SCHEDULE", "gpu", 1);
    assert_ok(clq_device_open(NULL, &device));
    assert_int_equal(clq_device_get_info(device)->schedule, CLQ_SCHEDULE_GPU);
    clq_device_close(device);
    setenv("CLQUANT_SCHEDULE", "cpu", 1);
    assert_ok(clq_device_open(NULL, &device));
    assert_int_equal(clq_device_get_info(device)->schedule, CLQ_SCHEDULE_CPU);
    clq_device_close(device);
    setenv("CLQUANT_SCHEDULE", "tpu", 1);
    assert_status(clq_device_open(NULL, &device), CLQ_USAGE);
    assert_error_has("CLQUANT_SCHEDULE");
    unsetenv("CLQUANT_SCHEDULE");
}

/* Ranks go round the devices of a kind; "P:D" means one. */
static void test_nth(void **state) {
    (void)state;
    char exact[32];
    clq_device *first = NULL, *other = NULL;
    assert_ok(clq_device_open("cpu", &first));
    const clq_device_info *info = clq_device_get_info(first);
    snprintf(exact, sizeof exact, "%d:%d", info->platform_index, info->device_index);
    const char *const selectors[] = {"cpu", exact, info->name};
    for (int i = 0; i < 3; i++) {
        for (int index = 0; index < 3; index++) {
            assert_ok(clq_device_open_nth(selectors[i], index, &other));
            const clq_device_info *found = clq_device_get_info(other);
            assert_true(found->is_cpu);
            assert_int_equal(found->platform_index, info->platform_index);
            assert_true(i != 1 || found->device_index == info->device_index);
            clq_device_close(other);
        }
    }
    clq_device_close(first);
}

static void test_error_names(void **state) {
    (void)state;
    assert_string_equal(clq_cl_error_name(CL_OUT_OF_RESOURCES), "CL_OUT_OF_RESOURCES");
    assert_string_equal(clq_cl_error_name(CL_INVALID_DEVICE_PARTITION_COUNT),
                        "CL_INVALID_DEVICE_PARTITION_COUNT");
    assert_string_equal(clq_cl_error_name(-1001), "CL_PLATFORM_NOT_FOUND_KHR");
    assert_string_equal(clq_cl_error_name(-12345), "unknown OpenCL error");
    assert_int_equal(clq_cl_fail(CL_OUT_OF_RESOURCES, "doing %d", 7), CLQ_DEVICE);
    assert_error_has("doing 7: CL_OUT_OF_RESOURCES (-5)");
    assert_int_equal(clq_cl_fail(CL_MEM_OBJECT_ALLOCATION_FAILURE, "x"), CLQ_NO_MEMORY);
    assert_int_equal(clq_cl_fail(CL_OUT_OF_HOST_MEMORY, "x"), CLQ_NO_MEMORY);
}

static void test_dot_names(void **state) {
    (void)state;
    for (int i = 0; i < CLQ_DOT_COUNT; i++) {
        clq_dot dot = CLQ_DOT_COUNT;
        assert_ok(clq_dot_parse(clq_dot_name((clq_dot)i), &dot));
        assert_int_equal(dot, i);
    }
    clq_dot dot;
    assert_status(clq_dot_parse("sse", &dot), CLQ_USAGE);
    assert_status(clq_dot_parse("", &dot), CLQ_USAGE);
    assert_string_equal(clq_dot_name(CLQ_DOT_COUNT), "unknown");
}

static void test_host_memory_runs_out(void **state) {
    (void)state;
    for (long n = 1;; n++) {
        clq_device *device = NULL;
        clq_test_fail_allocation(n);
        clq_status status = clq_device_open(NULL, &device);
        bool reached = clq_test_allocations() >= n;
        clq_device_close(device);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
        if (!reached) {
            assert_ok(status);
            break;
        }
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY || status == CLQ_DEVICE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_selectors),
        cmocka_unit_test(test_no_match),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_forced_schedule),
        cmocka_unit_test(test_nth),
        cmocka_unit_test(test_error_names),
        cmocka_unit_test(test_dot_names),
        cmocka_unit_test(test_host_memory_runs_out),
    };
    return cmocka_run_group_tests_name("choose", tests, setup, NULL);
}

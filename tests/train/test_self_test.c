/* Every kernel of kernels/registry.def belongs to a self-test: where it does nothing, its test
 * fails (tests/support/layer/opencl_fault_layer.c breaks it). A kernel that is new is missing here
 * until it has one. */
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clquant/train.h"
#include "data/self_test.h"
#include "device/internal.h"
#include "device/self_test.h"
#include "ops/self_test.h"
#include "support/device.h"
#include "train/self_test.h"

/* They find out what a device can do and have no results that anyone believes; chains are compared
 * with what they replace, each time that one is made. */
static const char *const measuring[] = {
    "int8/dot_probe.cl", "int8/cpu_probe.cl",       "f32/peak.cl", "int8/peak.cl",
    "f32/limits.cl",     "int8/requantize_peak.cl", "chain.cl"};

/* Unless all are broken; each may need programs of its own. */
enum { KERNELS_IN_TURN = 4 };

static void (*break_kernels)(const char *prefix);

static int setup(void **state) {
    (void)state;
    static void *layer; /* the loader will open the same */
    layer = layer ? layer : dlopen(CLQ_BINARY_DIR "/opencl_fault_layer.so", RTLD_NOW);
    if (!layer) {
        return -1;
    }
    *(void **)&break_kernels = dlsym(layer, "clq_fault_break");
    setenv("CLQUANT_CACHE", "off", 1);
    unsetenv("CLQUANT_SELFTEST");
    clq_op_self_tests_add();
    clq_train_self_tests_add();
    return break_kernels ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    break_kernels(NULL);
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    return 0;
}

static clq_device *open_with(const char *schedule) {
    clq_device *device = NULL;
    assert_ok(clq_test_open(schedule, &device));
    return device;
}

static void ignore(void *context, clq_log_level level, const char *line) {
    (void)context;
    (void)level;
    (void)line;
}

static void count(void *context, const char *family, const char *how) {
    (void)family;
    (void)how;
    ++*(int *)context;
}

static int failing(clq_device *device) {
    int found = 0;
    clq_device_failed_kernels(device, count, &found);
    return found;
}

static bool measures(const char *file) {
    for (size_t i = 0; i < sizeof measuring / sizeof *measuring; i++) {
        if (strcmp(file, measuring[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes the dot path that a kernel is for; false: it is for one that this device has not. */
static bool find_path(clq_device *device, const char *name) {
    const bool mma = strcmp(name, "conv2d_int8_mma") == 0;
    const clq_dot dot = mma ? CLQ_DOT_MMA : CLQ_DOT_AVX2;
    if (!mma && strcmp(name, "conv2d_int8_winograd") != 0) {
        return true;
    }
    return clq_device_get_info(device)->dots & (1u << dot) &&
           clq_device_set_dot(device, dot) == CLQ_OK;
}

/* Whether something fails with the kernel broken: its file's test, or one by plan or variant. */
static bool is_noticed(clq_device *device, const clq_kernel_entry *kernel) {
    const clq_dot dot = clq_device_get_info(device)->dot;
    bool noticed = true;
    if (find_path(device, kernel->name)) {
        break_kernels(kernel->name);
        noticed = clq_self_test_kernel(device, kernel->file, kernel->name, NULL) == CLQ_DEVICE;
        if (!noticed && strstr(kernel->file, "/conv2d")) {
            assert_ok(clq_self_test_convolutions(device));
            noticed = failing(device) > 0;
        } else if (!noticed && strcmp(kernel->file, "data/augment.cl") == 0) {
            const clq_augment_variant variant = clq_augment_variant_of(device, 3, true, true);
            noticed = clq_augment_works(device, &variant) == CLQ_DEVICE;
        }
        break_kernels(NULL);
    }
    clq_self_test_close(device); /* forgets all of it */
    clq_scratch_trim(device);    /* which held right results of before */
    clq_pool_trim(device);
    assert_ok(clq_device_set_dot(device, dot));
    return noticed;
}

static void every_kernel(void **state) {
    (void)state;
    int missing = 0;
    clq_device *by_cpu = open_with("cpu"), *by_gpu = open_with("gpu");
    clq_set_log(ignore, NULL, CLQ_LOG_WARN);
    for (unsigned long i = 0; i < clq_kernel_registry_count; i++) {
        const clq_kernel_entry *kernel = &clq_kernel_registry[i];
        if (clq_test_takes((int)i, KERNELS_IN_TURN) && !measures(kernel->file) &&
            !is_noticed(by_cpu, kernel) && !is_noticed(by_gpu, kernel)) {
            print_error("%s (%s) belongs to no self-test\n", kernel->name, kernel->file);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
    clq_device_close(by_cpu);
    clq_device_close(by_gpu);
}

/* A kernel is tested when it is asked for, not when another of its file is. */
static void each_when_asked_for(void **state) {
    (void)state;
    clq_kernel *kernel = NULL;
    clq_device *device = open_with("cpu");
    clq_set_log(ignore, NULL, CLQ_LOG_WARN);
    break_kernels("int8_lookup");
    assert_ok(clq_kernel_get(device, "int8_quantize", NULL, &kernel));
    assert_int_equal(clq_kernel_get(device, "int8_lookup", NULL, &kernel), CLQ_DEVICE);
    assert_int_equal(clq_kernel_get(device, "int8_dequantize", NULL, &kernel), CLQ_DEVICE);
    clq_device_close(device);
}

/* A sound driver passes all, on both schedules. */
static void sound_driver(void **state) {
    (void)state;
    static const char *const schedules[] = {"cpu", "gpu"};
    for (int s = 0; s < 2; s++) {
        clq_device *device = open_with(schedules[s]);
        assert_ok(clq_self_test_device(device));
        assert_int_equal(failing(device), 0);
        clq_device_close(device);
    }
}

int main(void) {
#ifdef M_PERTURB
    mallopt(M_PERTURB, 0xa5); /* nor shall new memory */
#endif
    setenv("OPENCL_LAYERS", CLQ_BINARY_DIR "/opencl_fault_layer.so", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sound_driver, setup, teardown),
        cmocka_unit_test_setup_teardown(every_kernel, setup, teardown),
        cmocka_unit_test_setup_teardown(each_when_asked_for, setup, teardown),
    };
    return cmocka_run_group_tests_name("self_test", tests, NULL, NULL);
}

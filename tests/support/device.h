/* The device that tests run on, in folders that link host/device: what CLQUANT_DEVICE names, else
 * the CPU, which both schedules suit. */
#ifndef CLQ_TEST_DEVICE_H
#define CLQ_TEST_DEVICE_H

#include <stdlib.h>

#include "clquant/device.h"
#include "device/internal.h"
#include "support/clq_test.h"

/* PoCL reads its library of built-ins, which takes 0.4 s, for the first kernel that it builds in a
 * context while there is no other one: the first context of a program stays until its end. */
static cl_context clq_test_context;

static inline void clq_test_release_context(void) {
    clReleaseContext(clq_test_context);
}

static inline void clq_test_keep_context(const clq_device *device) {
    if (!clq_test_context && clRetainContext(device->context) == CL_SUCCESS) {
        clq_test_context = device->context;
        atexit(clq_test_release_context);
    }
}

/* For rank `index`. `schedule`: "cpu", "gpu", or NULL for CLQUANT_SCHEDULE's or the device's own.
 * Says why it fails, as a set-up function has no other way. */
static inline clq_status clq_test_open_nth(const char *schedule, int index, clq_device **device) {
    const char *set = getenv("CLQUANT_SCHEDULE");
    char *before = set ? clq_strdup(set) : NULL;
    if (schedule) {
        setenv("CLQUANT_SCHEDULE", schedule, 1);
    }
    const clq_status status =
        clq_device_open_nth(getenv("CLQUANT_DEVICE") ? NULL : "cpu", index, device);
    if (before) {
        setenv("CLQUANT_SCHEDULE", before, 1);
    } else {
        unsetenv("CLQUANT_SCHEDULE");
    }
    clq_free(before);
    if (status != CLQ_OK) {
        print_error("%s\n", clq_last_error());
    } else {
        clq_test_keep_context(*device);
    }
    return status;
}

static inline clq_status clq_test_open(const char *schedule, clq_device **device) {
    return clq_test_open_nth(schedule, 0, device);
}

/* Skips the test on any other kind of device, and says why it must. */
static inline void clq_test_needs_cpu(const clq_device *device, const char *why) {
    if (!clq_device_get_info(device)->is_cpu) {
        clq_test_skip(why);
    }
}

#endif

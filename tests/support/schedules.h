/* Set-up of groups of kernel tests: *state is a device under one schedule. */
#ifndef CLQ_TEST_SCHEDULES_H
#define CLQ_TEST_SCHEDULES_H

#include "support/device.h"

/* What is made for a register width also runs, slower, where the registers are narrower, so every
 * machine tests them all. 0: the device's own. */
static inline int open_schedule(void **state, const char *schedule, unsigned simd_bytes) {
    clq_device *device = NULL;
    const clq_status status = clq_test_open(schedule, &device);
    if (status == CLQ_OK && simd_bytes) {
        ((clq_device_info *)clq_device_get_info(device))->simd_bytes = simd_bytes;
    }
    *state = device;
    return status == CLQ_OK ? 0 : -1;
}

/* The register width of the device under the CPU schedule; its group needs no other of that width.
 */
static inline unsigned own_simd_bytes(void) {
    clq_device *device = NULL;
    unsigned bytes = 0;
    if (clq_test_open("cpu", &device) == CLQ_OK) {
        bytes = clq_device_get_info(device)->simd_bytes;
    }
    clq_device_close(device);
    return bytes;
}

static inline int open_cpu(void **state) {
    return open_schedule(state, "cpu", 0);
}

static inline int open_cpu_16(void **state) {
    return open_schedule(state, "cpu", 16);
}

static inline int open_cpu_32(void **state) {
    return open_schedule(state, "cpu", 32);
}

static inline int open_cpu_64(void **state) {
    return open_schedule(state, "cpu", 64);
}

static inline int open_gpu(void **state) {
    return open_schedule(state, "gpu", 0);
}

static inline int close_device(void **state) {
    clq_device_close(*state);
    return 0;
}

#endif

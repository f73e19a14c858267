#include "ops/self_test.h"

uint32_t clq_self_test_draw(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

clq_status clq_self_test_buffer(clq_device *device, size_t size, const void *data,
                                clq_buffer **buffer) {
    enum { NO_RESULT = 0x7fc1a5a5 }; /* a NaN; memory of the pool might hold an earlier result */
    CLQ_TRY(clq_buffer_create(device, (size + 3) / 4 * 4, buffer));
    return data ? clq_buffer_write(*buffer, 0, size, data)
                : clq_buffer_fill(*buffer, 0, (size + 3) / 4 * 4, NO_RESULT);
}

clq_status clq_self_test_none_left(const clq_device *device, const char *what) {
    const clq_device_info *info = clq_device_get_info(device);
    return clq_fail(CLQ_DEVICE,
                    "%s, driver %s: every kernel for %s failed its self-test "
                    "(CLQUANT_SELFTEST=off would run one all the same)",
                    info->name, info->driver, what);
}

/* Memory that cannot be had is refused before the driver is asked, which might end the process. */
#include "support/device.h"

#include <sys/resource.h>

#include "base/limits.h"
#include "clquant/device.h"
#include "device/internal.h"

enum { MIB = 1 << 20 };

/* Limits the address space; the limit before. */
static struct rlimit limit_to(uint64_t bytes) {
    struct rlimit before, now;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    now = before;
    now.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_AS, &now), 0);
    return before;
}

static void too_little_for_any_driver(void **state) {
    (void)state;
    clq_device *device = NULL;
    size_t count = 0;
    const struct rlimit before = limit_to(300 * MIB);
    const clq_status opened = clq_device_open(NULL, &device);
    const clq_status listed = clq_device_list(NULL, 0, &count);
    setrlimit(RLIMIT_AS, &before);
    assert_int_equal(opened, CLQ_NO_MEMORY);
    assert_int_equal(listed, CLQ_NO_MEMORY);
    assert_error_has("314572800 bytes");
    assert_error_has("ulimit -v");
}

static void buffer_beyond_address_space(void **state) {
    (void)state;
    clq_device *device = NULL;
    clq_buffer *large = NULL, *small = NULL;
    uint64_t limit, used;
    assert_ok(clq_test_open(NULL, &device));
    clq_test_needs_cpu(device, "needs a CPU: buffers elsewhere are not in this process's memory");
    const struct rlimit before = limit_to((uint64_t)1 << 46);
    assert_true(clq_address_space(&limit, &used));
    assert_true(limit == (uint64_t)1 << 46 && used > 0);
    limit_to(used + 200 * MIB);
    const clq_status refused = clq_buffer_create(device, 180 * MIB, &large);
    const clq_status given = clq_buffer_create(device, 1 * MIB, &small);
    setrlimit(RLIMIT_AS, &before);
    assert_int_equal(refused, CLQ_NO_MEMORY);
    assert_int_equal(given, CLQ_OK);
    assert_error_has("188743680 bytes");
    assert_error_has("ulimit -v");
    clq_buffer_release(small);
    clq_device_close(device);
}

/* Cached blocks are given up first. */
static void buffers_beyond_device_and_group(void **state) {
    (void)state;
    clq_device *device = NULL;
    clq_buffer *a = NULL, *b = NULL;
    assert_ok(clq_test_open(NULL, &device));
    clq_test_needs_cpu(device, "needs a CPU: a control group counts this process's memory");
    device->info.global_memory = 8 * MIB;
    assert_ok(clq_buffer_create(device, 5 * MIB, &a));
    assert_status(clq_buffer_create(device, 4 * MIB, &b), CLQ_NO_MEMORY);
    assert_error_has("4194304 bytes");
    assert_error_has("8388608 bytes");
    clq_buffer_release(a);
    assert_ok(clq_buffer_create(device, 4 * MIB, &b));
    clq_buffer_release(b);
    device->info.global_memory = 64 * MIB;
    device->group_memory = 6 * MIB;
    assert_status(clq_buffer_create(device, 7 * MIB, &a), CLQ_NO_MEMORY);
    assert_error_has("control group");
    assert_true(clq_group_memory() > 0);
    clq_device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_little_for_any_driver),
        cmocka_unit_test(buffer_beyond_address_space),
        cmocka_unit_test(buffers_beyond_device_and_group),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}

/* A machine without OpenCL. A program of its own: the loader looks once a process. */
#include "support/clq_test.h"

#include <stdlib.h>

#include "clquant/device.h"

static void test_no_platform(void **state) {
    (void)state;
    clq_device_info info;
    clq_device *device = NULL;
    size_t count = 99;
    assert_status(clq_device_list(&info, 1, &count), CLQ_DEVICE);
    assert_int_equal(count, 0);
    assert_error_has("no OpenCL platform");
    assert_status(clq_device_open(NULL, &device), CLQ_DEVICE);
    assert_error_has("no OpenCL platform");
    assert_null(device);
}

int main(void) {
    setenv("OCL_ICD_VENDORS", "/nonexistent", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_platform)};
    return cmocka_run_group_tests_name("no_platform", tests, NULL, NULL);
}

/* What convolutions take beside their multiplications: measured, so only its bounds are known. */
#include "bench/conv_costs.h"

#include "support/device.h"

static void costs_are_those_of_a_device(void **state) {
    clq_device *device = NULL;
    clq_device_limits limits;
    clq_conv_costs costs;
    (void)state;
    assert_ok(clq_test_open(NULL, &device));
    assert_ok(clq_device_measure_limits(device, &limits));
    assert_ok(clq_conv_costs_measure(device, limits.int8_gops, limits.launch_us, &costs));
    assert_true(costs.sum_ns >= 0 && costs.sum_ns < 1e6);
    assert_true(costs.tap_ns >= 0 && costs.tap_ns < 1e6);
    assert_true(costs.input_ns >= 0 && costs.input_ns < 1e6);
    assert_true(costs.depthwise_ns > 0 && costs.depthwise_ns < 1e6);
    /* With the arithmetic for nothing more is left for the rest. */
    clq_conv_costs more;
    assert_ok(clq_conv_costs_measure(device, 1e12, 0, &more));
    assert_true(more.sum_ns + more.tap_ns + more.input_ns > 0);
    clq_device_close(device);
}

static void failing_allocations_are_survived(void **state) {
    clq_device *device = NULL;
    clq_conv_costs costs;
    clq_status status = CLQ_NO_MEMORY;
    (void)state;
    assert_ok(clq_test_open(NULL, &device));
    assert_ok(clq_conv_costs_measure(device, 1000, 0, &costs)); /* builds the kernels */
    for (long n = 1; n < 12 && status != CLQ_OK; n++) {
        clq_test_fail_allocation(n);
        status = clq_conv_costs_measure(device, 1000, 0, &costs);
        clq_test_restore_allocator();
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
    }
    clq_device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs_are_those_of_a_device),
        cmocka_unit_test(failing_allocations_are_survived),
    };
    return cmocka_run_group_tests_name("bench/conv_costs", tests, NULL, NULL);
}

/* The FP32 twin of an integer network. */
#include <math.h>

#include "clquant/exec.h"
#include "support/device.h"
#include "support/quant_nets.h"

enum { SIZE = 12 };

static clq_device *device;
static clq_graph *folded, *integer;

static int setup(void **state) {
    clq_quant_config config;
    (void)state;
    clq_quant_config_init(&config);
    if (clq_test_open(NULL, &device) != CLQ_OK) {
        return -1;
    }
    folded = net_folded(net_everything(SIZE));
    net_calibrate(device, folded, &config, 8, 4);
    return clq_convert(folded, &integer) == CLQ_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    clq_graph_destroy(folded);
    clq_graph_destroy(integer);
    clq_device_close(device);
    return 0;
}

/* Half a step of its scale, and half a unit in the last place of a float beside it. */
static void parameters_are_those_that_were_rounded(void **state) {
    clq_graph *twin = NULL;
    (void)state;
    assert_ok(clq_dequantize(integer, &twin));
    assert_int_equal(clq_graph_form(twin), CLQ_FORM_FLOAT);
    assert_ok(clq_graph_validate(twin));
    assert_int_equal(twin->value_count, folded->value_count);
    for (int v = 0; v < twin->value_count; v++) {
        const clq_value *real = &twin->values[v], *codes = &integer->values[v];
        assert_string_equal(real->name, folded->values[v].name);
        assert_int_equal(real->q.count, 0);
        if (!real->data) {
            continue;
        }
        const int64_t count = clq_shape_count(&real->shape);
        for (int64_t i = 0; i < count; i++) {
            const float scale = codes->q.scale[i / (count / codes->q.count)];
            const float *got = real->data, *original = folded->values[v].data;
            const float error = fabsf(got[i] - original[i]);
            if (error > 0.5f * scale + 1e-6f * fabsf(original[i])) {
                fail_msg("%s[%lld]: %g instead of %g, scale %g", real->name, (long long)i,
                         (double)got[i], (double)original[i], (double)scale);
            }
        }
    }
    clq_graph_destroy(twin);
}

static void twin_runs_as_a_float_network(void **state) {
    const clq_exec_options options = {.mode = CLQ_EXEC_FLOAT, .batch = 2};
    clq_graph *twin = NULL;
    clq_exec *exec = NULL;
    (void)state;
    assert_ok(clq_dequantize(integer, &twin));
    assert_ok(clq_exec_create(device, twin, &options, &exec));
    assert_ok(clq_exec_forward(exec));
    assert_ok(clq_device_finish(device));
    clq_exec_destroy(exec);
    clq_graph_destroy(twin);
}

static void only_integer_networks_have_one(void **state) {
    clq_graph *twin = NULL;
    (void)state;
    assert_status(clq_dequantize(folded, &twin), CLQ_USAGE);
    assert_null(twin);
}

static void failing_allocations_are_survived(void **state) {
    clq_graph *twin = NULL;
    (void)state;
    for (long n = 1;; n++) {
        clq_test_fail_allocation(n);
        const clq_status status = clq_dequantize(integer, &twin);
        if (status == CLQ_OK) {
            clq_graph_destroy(twin);
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
        assert_int_equal(clq_test_live_allocations(), 0);
    }
    clq_test_restore_allocator();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_those_that_were_rounded),
        cmocka_unit_test(twin_runs_as_a_float_network),
        cmocka_unit_test(only_integer_networks_have_one),
        cmocka_unit_test(failing_allocations_are_survived),
    };
    return cmocka_run_group_tests_name("dequantize", tests, setup, teardown);
}

/* `clquant devices` lists kernels that a driver gets wrong, and commands do without them or say
 * that they cannot. Which ones: tests/support/layer/opencl_fault_layer.c. */
#include "cli/command.h"

#include <jansson.h>

static int setup(void **state) {
    clq_test_setup_temp_dir(state);
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("cache"), 1);
    setenv("CLQUANT_DEVICE", "cpu", 1);
    unsetenv("CLQUANT_SELFTEST");
    setenv("OPENCL_LAYERS", CLQ_BINARY_DIR "/opencl_fault_layer.so", 1);
    return 0;
}

static int teardown(void **state) {
    unsetenv("OPENCL_LAYERS");
    unsetenv("CLQ_FAULT_BREAK");
    return clq_test_teardown_temp_dir(state);
}

/* The names of the first device's kernels that failed, each with a comma behind it. */
static const char *listed(void) {
    static char names[512];
    json_error_t error;
    const char *start = strchr(command_output, '{'); /* behind warnings */
    assert_non_null(start);
    json_t *all = json_loads(start, JSON_DISABLE_EOF_CHECK, &error);
    json_t *device = json_array_get(json_object_get(all, "devices"), 0);
    json_t *failed = json_object_get(device, "failed_self_tests");
    assert_true(json_is_array(failed));
    names[0] = '\0';
    for (size_t i = 0; i < json_array_size(failed); i++) {
        json_t *one = json_array_get(failed, i);
        assert_true(*json_string_value(json_object_get(one, "reason")) != '\0');
        strncat(names, json_string_value(json_object_get(one, "kernels")), sizeof names / 4);
        strncat(names, ",", 2);
    }
    json_decref(all);
    return names;
}

static void failed_kernels_are_listed(void **state) {
    (void)state;
    setenv("CLQ_FAULT_BREAK", "avg_pool_f32", 1);
    assert_exit(0, "devices"); /* tests all */
    assert_printed("left out: f32/pool.cl failed the self-test (avg_pool_f32: nan, not ");
    assert_exit(0, "devices --no-peak --json"); /* knows it from the cache */
    assert_string_equal(listed(), "f32/pool.cl,");
    unsetenv("CLQ_FAULT_BREAK"); /* until the driver changes */
    assert_exit(0, "devices --no-peak");
    assert_printed("left out: f32/pool.cl");
    setenv("CLQUANT_SELFTEST", "off", 1);
    assert_exit(0, "devices --no-peak --json");
    assert_string_equal(listed(), "");
    unsetenv("CLQUANT_SELFTEST");
}

/* Nothing stands in for the kernels that make images a network's input, nor for the optimizer's. */
static void nothing_else_is_refused(void **state) {
    (void)state;
    const char *model = clq_test_temp_path("tiny.onnx");
    assert_exit(0, "convert --network mlp --size 8 --classes 10 -o %s", model);
    setenv("CLQ_FAULT_BREAK", "augment", 1);
    assert_exit(CLQ_DEVICE, "eval %s --data synthetic:size=8,test=16", model);
    assert_printed("every kernel for images failed its self-test");
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("other"), 1); /* the first remembers */
    setenv("CLQ_FAULT_BREAK", "optimizer_sgd", 1);
    assert_exit(0, "eval %s --data synthetic:size=8,test=16", model);
    const char *recipe = text_file(
        "r.json", "{\"name\": \"small\", \"network\": {\"name\": \"mlp\", \"hidden\": [8]},"
                  " \"train\": {\"epochs\": 1, \"batch\": 16}}");
    assert_exit(CLQ_DEVICE, "run %s --data synthetic:size=8,train=32,test=16 --out %s", recipe,
                clq_test_temp_path("run"));
    assert_printed("optim/optimizer.cl");
}

/* Calibrating goes well, and then the integer network cannot be run. */
static void what_was_written_is_said(void **state) {
    (void)state;
    char model[512];
    snprintf(model, sizeof model, "%s", clq_test_temp_path("tiny.onnx"));
    const char *quantized = clq_test_temp_path("quantized.onnx");
    assert_exit(0, "convert --network mlp --size 8 --classes 10 -o %s", model);
    setenv("CLQ_FAULT_BREAK", "conv2d_int8_tile", 1); /* nothing stands in for it */
    assert_exit(CLQ_DEVICE, "ptq %s --data synthetic:size=8,train=32,test=16 -o %s", model,
                quantized);
    assert_printed("quantized.onnx is written and whole, but its accuracy could not be measured");
    unsetenv("CLQ_FAULT_BREAK");
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("other"), 1);
    assert_exit(0, "eval %s --data synthetic:size=8,test=16", quantized);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(failed_kernels_are_listed, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_else_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_written_is_said, setup, teardown),
    };
    return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}

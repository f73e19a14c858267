/* Benchmarks of training steps: what is reported, and that nothing of the graph changes. */
#include <clquant/bench.h>

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "bench/bench_json.h"
#include "support/device.h"
#include "support/graph_hash.h"
#include "support/quant_nets.h"

enum { SIZE = 12, BATCH = 3, STEPS = 4 };

static clq_device *device;
static clq_train_config training;
static clq_quant_config quantization;

static int setup(void **state) {
    (void)state;
    clq_train_config_init(&training);
    clq_quant_config_init(&quantization);
    training.batch = BATCH;
    return clq_test_open(NULL, &device) == CLQ_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    clq_device_close(device);
    return 0;
}

static clq_graph *calibrated(void) {
    clq_graph *graph = net_folded(net_everything(SIZE));
    net_calibrate(device, graph, &quantization, 8, 4);
    return graph;
}

static clq_train_bench_case case_of(const char *name, clq_graph *graph) {
    return (clq_train_bench_case){.name = name,
                                  .graph = graph,
                                  .device = device,
                                  .config = &training,
                                  .quant = &quantization};
}

static const clq_train_bench_kernel *kernel_of(const clq_train_bench_result *result,
                                               const char *name) {
    for (int k = 0; k < result->kernel_count; k++) {
        if (strcmp(result->kernels[k].name, name) == 0) {
            return &result->kernels[k];
        }
    }
    return NULL;
}

static void check_kernels(const clq_train_bench_result *r) {
    double share = 0, ms = 0;
    for (int k = 0; k < r->kernel_count; k++) {
        assert_true(r->kernels[k].calls > 0);
        assert_true(k == 0 || r->kernels[k].ms <= r->kernels[k - 1].ms);
        share += r->kernels[k].share;
        ms += r->kernels[k].ms;
    }
    assert_float_equal(share, 1, 1e-9);
    assert_float_equal(ms / r->kernel_ms, 1, 1e-9);
    /* Every part of a step ran: */
    assert_int_equal(kernel_of(r, "softmax_cross_entropy_f32")->calls, 1);
    assert_int_equal(kernel_of(r, "optimizer_sgd")->calls, 1);
    const bool gpu = clq_device_get_info(device)->schedule == CLQ_SCHEDULE_GPU;
    assert_non_null(kernel_of(r, gpu ? "conv2d_f32_block_reduce" : "conv2d_f32_weights_reduce"));
}

static void both_kinds_of_steps_are_described(void **state) {
    static const char *const names[] = {"real", "codes"}, *const modes[] = {"train", "qat"};
    clq_graph *graphs[] = {net_everything(SIZE), calibrated()};
    const uint64_t before[] = {hash_of(graphs[0]), hash_of(graphs[1])};
    const clq_train_bench_case cases[] = {case_of(names[0], graphs[0]),
                                          case_of(names[1], graphs[1])};
    const clq_bench_options options = {.iterations = STEPS, .warmup = 1};
    clq_train_bench_result results[2];
    (void)state;
    assert_ok(clq_bench_train(cases, 2, &options, results));
    for (int i = 0; i < 2; i++) {
        const clq_train_bench_result *r = &results[i];
        const double macs = (double)clq_graph_measure(graphs[i]).macs;
        assert_string_equal(r->model, names[i]);
        assert_string_equal(r->mode, modes[i]);
        assert_string_equal(r->device, clq_device_get_info(device)->name);
        assert_int_equal(r->batch, BATCH);
        assert_int_equal(r->steps, STEPS);
        assert_true(r->step.min > 0 && r->step.min <= r->step.median);
        assert_float_equal(r->images_per_second * r->step.median / (1e3 * BATCH), 1, 1e-9);
        assert_float_equal(r->gflops * r->step.median / (6e-6 * macs * BATCH), 1, 1e-9);
        assert_float_equal(r->peak_fraction * r->peak_gflops / r->gflops, 1, 1e-9);
        assert_true(r->activation_bytes > 0);
        assert_true(r->bytes >= r->activation_bytes + r->workspace_bytes);
        check_kernels(r);
        assert_true(hash_of(graphs[i]) == before[i]);
    }
    assert_non_null(kernel_of(&results[1], "observer_update"));
    assert_null(kernel_of(&results[0], "observer_update"));
    for (int i = 0; i < 2; i++) {
        clq_train_bench_result_clear(&results[i]);
        assert_null(results[i].model);
        clq_graph_destroy(graphs[i]);
    }
}

/* With fixed ranges nothing is observed, and layers compute on bytes where they are asked to. */
static void forward_on_integers_is_measured(void **state) {
    clq_graph *graph = calibrated();
    clq_quant_config on_integers = quantization;
    clq_train_bench_case cases[] = {case_of("codes", graph), case_of("codes", graph)};
    const clq_bench_options options = {.iterations = 1, .warmup = 1, .no_peak = true};
    clq_train_bench_result results[2];
    (void)state;
    on_integers.int8_forward = true;
    cases[0].frozen = cases[1].frozen = true;
    cases[1].quant = &on_integers;
    assert_ok(clq_bench_train(cases, 2, &options, results));
    assert_string_equal(results[0].mode, "qat_frozen");
    assert_string_equal(results[1].mode, "qat_int8_forward");
    for (int i = 0; i < 2; i++) {
        assert_true(isnan(results[i].peak_gflops) && isnan(results[i].peak_fraction));
        assert_null(kernel_of(&results[i], "requantize_codes_observe"));
        assert_int_equal(kernel_of(&results[i], "codes_to_bytes") != NULL, i == 1);
        clq_train_bench_result_clear(&results[i]);
    }
    clq_graph_destroy(graph);
}

static void a_configuration_that_cannot_train_is_refused(void **state) {
    clq_graph *graph = net_everything(SIZE);
    clq_train_config bad = training;
    const clq_train_bench_case item = {
        .name = "bad", .graph = graph, .device = device, .config = &bad};
    const clq_bench_options options = {.iterations = 1, .warmup = 1};
    clq_train_bench_result result;
    (void)state;
    bad.optimizer.momentum = 2;
    assert_status(clq_bench_train(&item, 1, &options, &result), CLQ_USAGE);
    assert_error_has("optimizer.momentum");
    assert_null(result.model);
    clq_graph_destroy(graph);
}

static void failing_allocations_are_survived(void **state) {
    clq_graph *graph = calibrated();
    const clq_train_bench_case item = case_of("codes", graph);
    const clq_bench_options options = {.iterations = 1, .warmup = 1, .no_peak = true};
    clq_status status = CLQ_NO_MEMORY;
    (void)state;
    for (long n = 1; status != CLQ_OK; n += 1 + n / 8) {
        clq_train_bench_result result;
        clq_test_fail_allocation(n);
        status = clq_bench_train(&item, 1, &options, &result);
        clq_test_restore_allocator();
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
        assert_int_equal(result.model != NULL, status == CLQ_OK);
        clq_train_bench_result_clear(&result);
    }
    clq_graph_destroy(graph);
}

/* The keys of docs/json.md, all of them and no other. */
static void json_has_the_documented_keys(void **state) {
    static const char *const keys[] = {"model",
                                       "device",
                                       "mode",
                                       "batch",
                                       "precision",
                                       "steps",
                                       "step_ms",
                                       "images_per_second",
                                       "gflops",
                                       "peak_gflops",
                                       "peak_fraction",
                                       "bytes",
                                       "activation_bytes",
                                       "workspace_bytes",
                                       "kernel_ms",
                                       "kernels"};
    static const char *const kernel_keys[] = {"name", "calls", "ms", "share", "gflops"};
    clq_train_bench_kernel kernel = {.name = (char *)"k", .calls = 2, .ms = 1, .share = 1};
    const clq_train_bench_result result = {.model = (char *)"m",
                                           .device = (char *)"d",
                                           .mode = "qat",
                                           .kernels = &kernel,
                                           .kernel_count = 1};
    (void)state;
    json_t *json = clq_train_bench_to_json(&result, 1);
    assert_int_equal(json_integer_value(json_object_get(json, "schema")), 1);
    const json_t *first = json_array_get(json_object_get(json, "results"), 0);
    assert_int_equal(json_object_size(first), sizeof keys / sizeof *keys);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_non_null(json_object_get(first, keys[i]));
    }
    assert_int_equal(json_object_size(json_object_get(first, "step_ms")), 4);
    const json_t *row = json_array_get(json_object_get(first, "kernels"), 0);
    assert_int_equal(json_object_size(row), sizeof kernel_keys / sizeof *kernel_keys);
    for (size_t i = 0; i < sizeof kernel_keys / sizeof *kernel_keys; i++) {
        assert_non_null(json_object_get(row, kernel_keys[i]));
    }
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_kinds_of_steps_are_described),
        cmocka_unit_test(forward_on_integers_is_measured),
        cmocka_unit_test(a_configuration_that_cannot_train_is_refused),
        cmocka_unit_test(failing_allocations_are_survived),
        cmocka_unit_test(json_has_the_documented_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

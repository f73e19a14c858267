/* The rules of host/bench/explain.c on made-up layers and devices. */
#include "bench/explain.h"

#include <string.h>

#include "support/clq_test.h"

/* 200 GFLOPS FP32, 400 GOPS int8, 10 G codes/s, 20 and 100 GB/s, 2 us a launch, 4 compute units. */
static const clq_bench_bounds cpu = {.limits = {.fp32_gflops = 200,
                                                .int8_gops = 400,
                                                .requantize_gcodes = 10,
                                                .memory_gbs = 20,
                                                .cache_gbs = 100,
                                                .launch_us = 2},
                                     .compute_units = 4,
                                     .cache = 1000000,
                                     .network_weights = 500000};

/* A layer at half of everything's third, so that no rule but the last one holds. */
static clq_bench_layer plain_layer(void) {
    return (clq_bench_layer){.name = "conv",
                             .op = "conv2d",
                             .fused = "",
                             .ms = 0.1,
                             .operations = 6e6,
                             .gops = 60,
                             .peak_gops = 400,
                             .peak_fraction = 0.15,
                             .weight_bytes = 500000,
                             .bytes = 1500000,
                             .gbs = 15,
                             .codes = 150000,
                             .launches = 1,
                             .work_items = 64,
                             .work_groups = 64,
                             .precision = "int8",
                             .dot_path = "avx512vnni",
                             .fp32_ms = 0.11};
}

static void expect(const clq_bench_bounds *bounds, clq_bench_layer layer, clq_bench_cause cause,
                   const char *why) {
    clq_explain_layer(bounds, &layer);
    assert_string_equal(layer.why, why);
    assert_int_equal(layer.cause, cause);
    assert_int_equal(
        strncmp(layer.why, clq_bench_cause_name(cause), strlen(clq_bench_cause_name(cause))), 0);
}

static void shares_are_least_times(void **state) {
    const clq_bench_layer layer = plain_layer();
    (void)state;
    const clq_layer_shares shares = clq_layer_shares_of(&cpu, &layer);
    assert_float_equal(shares.compute, 0.15, 1e-12);
    assert_float_equal(shares.memory, 0.15, 1e-12); /* 1.5 MB at 100 GB/s in 0.1 ms */
    assert_float_equal(shares.requantize, 0.15, 1e-12);
    assert_float_equal(shares.launch, 0.02, 1e-12);
}

static void bandwidth_depends_on_what_fits_the_cache(void **state) {
    clq_bench_bounds bounds = cpu;
    clq_bench_layer layer = plain_layer();
    (void)state;
    bounds.network_weights = 1000001; /* 0.5 MB at 20, 1 MB at 100 */
    assert_float_equal(clq_layer_shares_of(&bounds, &layer).memory, 0.25 + 0.10, 1e-12);
    layer.bytes = 500000 + 2000000; /* 0.5 MB at 20, 2 MB at 20 */
    assert_float_equal(clq_layer_shares_of(&bounds, &layer).memory, 0.25 + 1.0, 1e-12);
    bounds = cpu;
    bounds.cache = 0; /* none known */
    assert_float_equal(clq_layer_shares_of(&bounds, &layer).memory, 0.25 + 1.0, 1e-12);
}

static void twice_as_fast_needs_no_reason(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.fp32_ms = 0.2;
    expect(&cpu, layer, CLQ_CAUSE_NONE, "");
    layer.fp32_ms = 0; /* nothing to compare with */
    expect(&cpu, layer, CLQ_CAUSE_NONE, "");
}

static void launches_bound_small_layers(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.launches = 20; /* 40 of 100 us */
    expect(&cpu, layer, CLQ_CAUSE_LAUNCH, "launch-bound: 20 x 2.0 us to start, 100.0 us in all");
    layer.work_groups = 1; /* comes before parallelism */
    expect(&cpu, layer, CLQ_CAUSE_LAUNCH, "launch-bound: 20 x 2.0 us to start, 100.0 us in all");
    layer.launches = 16; /* 32 of 100 us */
    layer.work_groups = 64;
    expect(&cpu, layer, CLQ_CAUSE_OTHER, "other: at 15 % of peak");
}

static void idle_units_are_too_little_parallelism(void **state) {
    clq_bench_bounds gpu = cpu;
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.work_items = layer.work_groups = 3;
    expect(&cpu, layer, CLQ_CAUSE_PARALLELISM,
           "too little parallelism: 3 work-items in 3 groups for 4 compute units");
    layer.work_items = layer.work_groups = 4;
    expect(&cpu, layer, CLQ_CAUSE_OTHER, "other: at 15 % of peak");
    /* A GPU's units want many work-items each. */
    gpu.gpu_schedule = true;
    layer.work_items = 511;
    expect(&gpu, layer, CLQ_CAUSE_PARALLELISM,
           "too little parallelism: 511 work-items in 4 groups for 4 compute units");
    layer.work_items = 512;
    expect(&gpu, layer, CLQ_CAUSE_OTHER, "other: at 15 % of peak");
}

static void bytes_bound_by_memory(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.bytes = 1300000; /* 0.8 MB of activations: 13 of 100 us */
    layer.gbs = 13;
    expect(&cpu, layer, CLQ_CAUSE_OTHER, "other: at 15 % of peak");
    layer.bytes = 2500000; /* 2 MB of activations do not fit the cache */
    layer.gbs = 25;
    expect(&cpu, layer, CLQ_CAUSE_MEMORY, "memory-bound: 25.0 GB/s, 105 % of the bandwidth");
}

static void codes_bound_by_requantizing(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.codes = 400000;
    expect(&cpu, layer, CLQ_CAUSE_REQUANTIZE,
           "requantize-bound: 400000 codes take 40 % of the time");
    layer.peak_fraction = 0.45; /* arithmetic takes more, and there is an instruction for it */
    expect(&cpu, layer, CLQ_CAUSE_OTHER, "other: at 45 % of peak");
}

static void arithmetic_without_dot_instruction(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.peak_gops = 300;
    layer.peak_fraction = 0.5;
    layer.dot_path = "avx2";
    expect(&cpu, layer, CLQ_CAUSE_NO_DOT,
           "no dot instruction: the peak of avx2 is 1.50x FP32's; at 50 % of it");
    layer.dot_path = "portable";
    expect(&cpu, layer, CLQ_CAUSE_NO_DOT,
           "no dot instruction: the peak of portable is 1.50x FP32's; at 50 % of it");
    layer.peak_fraction = 0.3; /* not near the peak: the arithmetic is not what it waits for */
    expect(&cpu, layer, CLQ_CAUSE_OTHER, "other: at 30 % of peak");
    static const char *const with[] = {"mma", "dp4a", "avx512vnni", "avxvnni", "khr", "amd", "arm"};
    layer.peak_fraction = 0.5;
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        layer.dot_path = with[i];
        expect(&cpu, layer, CLQ_CAUSE_OTHER, "other: at 50 % of peak");
    }
}

static void layers_without_arithmetic_say_how_fast_they_move(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.operations = layer.peak_fraction = 0;
    layer.dot_path = "";
    expect(&cpu, layer, CLQ_CAUSE_OTHER, "other: no arithmetic, at 15 % of the bandwidth");
}

static void layers_are_matched_by_name(void **state) {
    clq_bench_layer fp32_layers[] = {plain_layer(), plain_layer(), plain_layer()};
    clq_bench_layer int8_layers[] = {plain_layer(), plain_layer(), plain_layer()};
    (void)state;
    fp32_layers[0].name = "conv1";
    fp32_layers[1].name = "add1";
    fp32_layers[1].ms = 0.02;
    fp32_layers[2].name = "conv2";
    fp32_layers[2].fused = "add2";
    int8_layers[0].name = "input";
    int8_layers[1].name = "conv1"; /* fuses what FP32 runs apart */
    int8_layers[1].fused = "add1";
    int8_layers[2].name = "conv2";
    int8_layers[2].fused = "add2";
    const clq_bench_result fp32 = {.layers = fp32_layers, .layer_count = 3};
    clq_bench_result int8 = {.layers = int8_layers, .layer_count = 3};
    clq_explain_result(&cpu, &fp32, &int8);
    assert_true(int8.explained);
    assert_float_equal(int8_layers[0].fp32_ms, 0, 0);
    assert_int_equal(int8_layers[0].cause, CLQ_CAUSE_NONE);
    assert_float_equal(int8_layers[1].fp32_ms, 0.12, 1e-12);
    assert_float_equal(int8_layers[2].fp32_ms, 0.1, 1e-12);
    assert_int_equal(int8_layers[2].cause, CLQ_CAUSE_OTHER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_least_times),
        cmocka_unit_test(bandwidth_depends_on_what_fits_the_cache),
        cmocka_unit_test(twice_as_fast_needs_no_reason),
        cmocka_unit_test(launches_bound_small_layers),
        cmocka_unit_test(idle_units_are_too_little_parallelism),
        cmocka_unit_test(bytes_bound_by_memory),
        cmocka_unit_test(codes_bound_by_requantizing),
        cmocka_unit_test(arithmetic_without_dot_instruction),
        cmocka_unit_test(layers_without_arithmetic_say_how_fast_they_move),
        cmocka_unit_test(layers_are_matched_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

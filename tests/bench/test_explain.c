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

/* 64 sums of 160 products a pixel at 30 % of the peak, and little else. */
static clq_bench_layer plain_layer(void) {
    return (clq_bench_layer){.name = "conv",
                             .op = "conv2d",
                             .fused = "",
                             .ms = 0.1,
                             .operations = 12e6,
                             .gops = 120,
                             .peak_gops = 400,
                             .peak_fraction = 0.3,
                             .weight_bytes = 100000,
                             .bytes = 600000,
                             .gbs = 6,
                             .codes = 100000,
                             .channels = 50,
                             .taps = 2,
                             .launches = 1,
                             .work_items = 64,
                             .work_groups = 64,
                             .precision = "int8",
                             .dot_path = "avx512vnni",
                             .fp32_ms = 0.11};
}

static void expect(const clq_bench_bounds *bounds, clq_bench_layer layer, clq_bench_cause cause,
                   const char *why) {
    double sum = 0;
    clq_explain_layer(bounds, 0, &layer);
    assert_string_equal(layer.why, why);
    assert_int_equal(layer.cause, cause);
    assert_int_equal(
        strncmp(layer.why, clq_bench_cause_name(cause), strlen(clq_bench_cause_name(cause))), 0);
    for (int p = 0; p < CLQ_TIME_PARTS; p++) {
        assert_true(layer.parts[p] >= 0);
        sum += layer.parts[p];
    }
    assert_float_equal(sum, 1, 1e-9);
}

static void parts_are_least_times(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.padded = 4e6;
    clq_explain_layer(&cpu, 0, &layer);
    assert_float_equal(layer.parts[CLQ_TIME_ARITHMETIC], 0.3, 1e-12);
    assert_float_equal(layer.parts[CLQ_TIME_PADDING], 0.1, 1e-12); /* 4e6 at 400 GOPS in 0.1 ms */
    assert_float_equal(layer.parts[CLQ_TIME_REQUANTIZE], 0.1, 1e-12);
    assert_float_equal(layer.parts[CLQ_TIME_WEIGHTS], 0.01, 1e-12); /* 0.1 MB at 100 GB/s */
    assert_float_equal(layer.parts[CLQ_TIME_ACTIVATIONS], 0.05, 1e-12);
    assert_float_equal(layer.parts[CLQ_TIME_LAUNCHES], 0.02, 1e-12);
    assert_float_equal(layer.parts[CLQ_TIME_SHORT_SUMS], 0, 0); /* not measured */
    assert_float_equal(layer.parts[CLQ_TIME_FETCHING], 0, 0);
    assert_float_equal(layer.parts[CLQ_TIME_OTHER], 0.42, 1e-9);
    layer.fused = "add"; /* each code is made of two */
    clq_explain_layer(&cpu, 0, &layer);
    assert_float_equal(layer.parts[CLQ_TIME_REQUANTIZE], 0.2, 1e-12);
}

static void sums_take_what_was_measured(void **state) {
    clq_bench_bounds bounds = cpu;
    clq_bench_layer layer = plain_layer();
    (void)state;
    bounds.costs = (clq_conv_costs){.sum_ns = 0.3, .tap_ns = 2, .input_ns = 0.1};
    clq_explain_layer(&bounds, 0, &layer);
    /* 1e5 sums: 30 us, of which requantizing is 10. 2000 pixels of 2 taps and 60 inputs each. */
    assert_float_equal(layer.parts[CLQ_TIME_SHORT_SUMS], 0.2, 1e-9);
    assert_float_equal(layer.parts[CLQ_TIME_FETCHING], 0.2, 1e-9);
    layer.depthwise = true; /* 6e6 products: 60 us, without requantizing and arithmetic */
    bounds.costs.depthwise_ns = 0.01;
    clq_explain_layer(&bounds, 0, &layer);
    assert_float_equal(layer.parts[CLQ_TIME_SHORT_SUMS], 0.2, 1e-9);
    assert_float_equal(layer.parts[CLQ_TIME_FETCHING], 0, 0);
}

static void parts_that_overlap_are_scaled(void **state) {
    clq_bench_layer layer = plain_layer();
    double sum = 0;
    (void)state;
    layer.bytes = 10000000; /* 9.9 MB at 20 GB/s: 495 us */
    clq_explain_layer(&cpu, 0, &layer);
    for (int p = 0; p < CLQ_TIME_PARTS; p++) {
        sum += layer.parts[p];
    }
    assert_float_equal(sum, 1, 1e-9);
    assert_float_equal(layer.parts[CLQ_TIME_OTHER], 0, 1e-12);
    assert_float_equal(layer.parts[CLQ_TIME_ACTIVATIONS] / layer.parts[CLQ_TIME_ARITHMETIC],
                       495.0 / 30, 1e-6);
    layer.ms = 0; /* nothing was timed */
    clq_explain_layer(&cpu, 0, &layer);
    assert_float_equal(layer.parts[CLQ_TIME_ARITHMETIC], 0, 0);
}

static void bandwidth_depends_on_what_fits_the_cache(void **state) {
    clq_bench_bounds bounds = cpu;
    clq_bench_layer layer = plain_layer();
    (void)state;
    bounds.network_weights = 1000001; /* 0.1 MB at 20 */
    clq_explain_layer(&bounds, 0, &layer);
    assert_float_equal(layer.parts[CLQ_TIME_WEIGHTS], 0.05, 1e-12);
    layer.bytes = 100000 + 400000;
    bounds.cache = 0; /* none known */
    clq_explain_layer(&bounds, 0, &layer);
    assert_float_equal(layer.parts[CLQ_TIME_ACTIVATIONS], 0.2, 1e-12);
}

static void twice_as_fast_needs_no_reason(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.fp32_ms = 0.2;
    expect(&cpu, layer, CLQ_CAUSE_NONE, "");
    layer.fp32_ms = 0; /* nothing to compare with */
    expect(&cpu, layer, CLQ_CAUSE_NONE, "");
}

#define ARITHMETIC "arithmetic: at 30 % of the peak, which is 2.00x FP32's"

static void layers_on_reals_have_no_int8_form(void **state) {
    clq_bench_bounds bounds = cpu;
    clq_bench_layer layer = plain_layer();
    (void)state;
    bounds.costs = (clq_conv_costs){.sum_ns = 0.3, .tap_ns = 2, .input_ns = 0.1};
    layer.precision = "fp32";
    layer.codes = 0;
    expect(&bounds, layer, CLQ_CAUSE_KEPT, "kept in FP32");
    clq_explain_layer(&bounds, 0, &layer);
    assert_float_equal(layer.parts[CLQ_TIME_FETCHING], 0, 0); /* is measured of int8 only */
    layer.fp32_ms = 1;                                        /* a timer's whim */
    expect(&bounds, layer, CLQ_CAUSE_KEPT, "kept in FP32");
}

static void launches_bound_small_layers(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.launches = 20; /* 40 of 100 us */
    expect(&cpu, layer, CLQ_CAUSE_LAUNCH, "launch-bound: 20 x 2.0 us to start, 100.0 us in all");
    layer.work_groups = 1; /* comes before parallelism */
    expect(&cpu, layer, CLQ_CAUSE_LAUNCH, "launch-bound: 20 x 2.0 us to start, 100.0 us in all");
    layer.launches = 14; /* 28 of 100 us */
    layer.work_groups = 64;
    expect(&cpu, layer, CLQ_CAUSE_ARITHMETIC,
           ARITHMETIC "; also requantizing 10 %, launches 28 %, other 26 %");
}

static void idle_units_are_too_little_parallelism(void **state) {
    clq_bench_bounds gpu = cpu;
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.work_items = layer.work_groups = 3;
    expect(&cpu, layer, CLQ_CAUSE_PARALLELISM,
           "too little parallelism: 3 work-items in 3 groups for 4 compute units");
    /* A GPU's units want many work-items each. */
    gpu.gpu_schedule = true;
    layer.work_groups = 4;
    layer.work_items = 511;
    expect(&gpu, layer, CLQ_CAUSE_PARALLELISM,
           "too little parallelism: 511 work-items in 4 groups for 4 compute units");
    layer.work_items = 512;
    layer.peak_fraction = 0.5;
    expect(&gpu, layer, CLQ_CAUSE_ARITHMETIC,
           "arithmetic: at 50 % of the peak, which is 2.00x FP32's; also requantizing 10 %, other "
           "32 %");
}

/* Each part in turn is made the largest. */
static void the_largest_part_is_the_cause(void **state) {
    clq_bench_bounds bounds = cpu;
    clq_bench_layer layer = plain_layer();
    (void)state;
    bounds.cache = 2000000;
    layer.peak_fraction = 0.1;
    layer.bytes = 100000 + 6000000; /* do not fit the cache: 300 of 100 us */
    layer.gbs = 61;
    expect(&bounds, layer, CLQ_CAUSE_MEMORY, "memory-bound: 61.0 GB/s, 93 % of the time");
    layer = plain_layer();
    layer.peak_fraction = 0.1;
    bounds.network_weights = 4000000;
    layer.weight_bytes = 1000000;
    layer.bytes = 1000000;
    expect(&bounds, layer, CLQ_CAUSE_WEIGHTS,
           "weights from memory: 1.00 MB, 50 % of the time; also arithmetic 10 %, requantizing 10 "
           "%, other 28 %");
    bounds.network_weights = 500000;
    layer.weight_bytes = layer.bytes = 5000000;
    layer.gbs = 50;
    expect(&bounds, layer, CLQ_CAUSE_MEMORY,
           "memory-bound: 50.0 GB/s, 50 % of the time; also arithmetic 10 %, requantizing 10 %, "
           "other 28 %");
    layer = plain_layer();
    layer.codes = 400000;
    layer.peak_fraction = 0.2;
    expect(&cpu, layer, CLQ_CAUSE_REQUANTIZE,
           "requantize-bound: 400000 codes, 40 % of the time; also arithmetic 20 %, other 32 %");
    layer.codes = 200000;
    layer.fused = "add";
    expect(&cpu, layer, CLQ_CAUSE_REQUANTIZE,
           "requantize-bound: 200000 codes and a residual's, 40 % of the time; also arithmetic 20 "
           "%, other 32 %");
    layer = plain_layer();
    layer.padded = 16e6;
    expect(&cpu, layer, CLQ_CAUSE_PADDING,
           "padded channels: 2.3x the products, 40 % of the time; also arithmetic 30 %, "
           "requantizing 10 %, other 12 %");
    layer = plain_layer();
    bounds = cpu;
    bounds.costs.sum_ns = 0.5;
    expect(&bounds, layer, CLQ_CAUSE_SHORT_SUMS,
           "short sums: of 60 products, 40 % of the time; also arithmetic 30 %, requantizing 10 %, "
           "other 12 %");
    bounds.costs = (clq_conv_costs){.tap_ns = 10};
    expect(&bounds, layer, CLQ_CAUSE_FETCHING,
           "fetching inputs: 2 x 30 for 50 channels, 40 % of the time; also arithmetic 30 %, "
           "requantizing 10 %, other 12 %");
}

static void arithmetic_without_dot_instruction(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.peak_gops = 300;
    layer.peak_fraction = 0.8;
    layer.dot_path = "avx2";
    expect(&cpu, layer, CLQ_CAUSE_NO_DOT,
           "no dot instruction: the peak of avx2 is 1.50x FP32's; at 80 % of it; also requantizing "
           "10 %");
    layer.dot_path = "portable";
    expect(&cpu, layer, CLQ_CAUSE_NO_DOT,
           "no dot instruction: the peak of portable is 1.50x FP32's; at 80 % of it; also "
           "requantizing 10 %");
    static const char *const with[] = {"mma", "dp4a", "avx512vnni", "avxvnni", "khr", "amd", "arm"};
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        layer.dot_path = with[i];
        expect(&cpu, layer, CLQ_CAUSE_ARITHMETIC,
               "arithmetic: at 80 % of the peak, which is 1.50x FP32's; also requantizing 10 %");
    }
    clq_explain_layer(&cpu, 12e6 / 2.25, &layer);
    assert_int_equal(layer.cause, CLQ_CAUSE_FP32_LESS);
    assert_string_equal(layer.why, "FP32 multiplies less: 2.25x, by Winograd's algorithm; int8 at "
                                   "80 % of peak; also requantizing 10 %");
}

static void the_unknown_is_other(void **state) {
    clq_bench_layer layer = plain_layer();
    (void)state;
    layer.peak_fraction = 0.2; /* 52 % are not known */
    expect(&cpu, layer, CLQ_CAUSE_OTHER,
           "other: at 20 % of peak; also arithmetic 20 %, requantizing 10 %");
    layer.operations = layer.peak_fraction = 0;
    layer.dot_path = "";
    expect(&cpu, layer, CLQ_CAUSE_OTHER,
           "other: no arithmetic, at 5 % of the bandwidth; also requantizing 10 %");
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
        cmocka_unit_test(parts_are_least_times),
        cmocka_unit_test(sums_take_what_was_measured),
        cmocka_unit_test(parts_that_overlap_are_scaled),
        cmocka_unit_test(bandwidth_depends_on_what_fits_the_cache),
        cmocka_unit_test(twice_as_fast_needs_no_reason),
        cmocka_unit_test(layers_on_reals_have_no_int8_form),
        cmocka_unit_test(launches_bound_small_layers),
        cmocka_unit_test(idle_units_are_too_little_parallelism),
        cmocka_unit_test(the_largest_part_is_the_cause),
        cmocka_unit_test(arithmetic_without_dot_instruction),
        cmocka_unit_test(the_unknown_is_other),
        cmocka_unit_test(layers_are_matched_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

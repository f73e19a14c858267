/* A benchmark of small networks: what it reports, and the JSON other programs read. */
#include <clquant/bench.h>
#include <clquant/models.h>

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "bench/bench_json.h"
#include "support/clq_test.h"

enum { BATCH = 2, INPUTS = 64, HIDDEN = 32, CLASSES = 10, ITERATIONS = 5 };
static const double MACS = INPUTS * HIDDEN + HIDDEN * CLASSES;

static clq_device *device;

static int open_device(void **state) {
    (void)state;
    return clq_device_open("cpu", &device) == CLQ_OK ? 0 : -1;
}

static int close_device(void **state) {
    (void)state;
    clq_device_close(device);
    return 0;
}

static clq_graph *small_mlp(void) {
    static const int hidden[] = {HIDDEN};
    const clq_network_options options = {.network = "mlp",
                                         .inputs = INPUTS,
                                         .hidden = hidden,
                                         .hidden_count = 1,
                                         .classes = CLASSES,
                                         .seed = 1};
    clq_graph *graph = NULL;
    assert_ok(clq_network_build(&options, &graph));
    return graph;
}

/* ---- running ---- */

static void result_describes_the_run(void **state) {
    clq_graph *graph = small_mlp();
    clq_bench_result results[2];
    (void)state;
    const clq_bench_case cases[] = {{"one", graph, device, 1}, {"two", graph, device, BATCH}};
    const clq_bench_options options = {.iterations = ITERATIONS, .warmup = 1, .layers = true};
    assert_ok(clq_bench_run(cases, 2, &options, results));
    for (int i = 0; i < 2; i++) {
        const clq_bench_result *r = &results[i];
        assert_string_equal(r->model, cases[i].name);
        assert_string_equal(r->device, clq_device_get_info(device)->name);
        assert_string_equal(r->precision, "fp32");
        assert_string_equal(r->dot_path, "");
        assert_int_equal(r->batch, cases[i].batch);
        assert_int_equal(r->iterations, ITERATIONS);
        assert_int_equal(r->bytes, 4 * (MACS + HIDDEN + CLASSES));
        assert_true(r->latency.min > 0);
        assert_true(r->latency.min <= r->latency.median && r->latency.median <= r->latency.p90);
        assert_true(r->latency.p90 <= r->latency.p95 && r->latency.p95 <= r->latency.p99);
        assert_true(r->h2d_ms > 0 && r->d2h_ms > 0);
        assert_true(r->peak_gops > 0);
        /* The derived figures follow from the measured ones. */
        assert_float_equal(r->images_per_second * r->latency.median / (1e3 * r->batch), 1, 1e-9);
        assert_float_equal(r->gops * r->latency.median / (2e-6 * MACS * r->batch), 1, 1e-9);
        assert_float_equal(r->peak_fraction * r->peak_gops / r->gops, 1, 1e-9);
    }
    for (int i = 0; i < 2; i++) {
        clq_bench_result_clear(&results[i]);
        assert_null(results[i].model);
    }
    clq_graph_destroy(graph);
}

static void layers_are_those_that_ran(void **state) {
    clq_graph *graph = small_mlp();
    clq_bench_result result;
    int linear = 0;
    (void)state;
    const clq_bench_case item = {"mlp", graph, device, BATCH};
    const clq_bench_options options = {.iterations = ITERATIONS, .warmup = 1, .layers = true};
    assert_ok(clq_bench_run(&item, 1, &options, &result));
    assert_true(result.layer_count >= 2);
    for (int i = 0; i < result.layer_count; i++) {
        const clq_bench_layer *layer = &result.layers[i];
        assert_true(layer->ms > 0);
        assert_string_equal(layer->precision, "fp32");
        if (strcmp(layer->op, "linear") == 0) {
            assert_true(clq_graph_find_node(graph, layer->name) >= 0);
            assert_true(layer->gops > 0);
            assert_float_equal(layer->peak_fraction * result.peak_gops / layer->gops, 1, 1e-9);
            linear++;
        }
    }
    assert_int_equal(linear, 2);
    clq_bench_result_clear(&result);
    clq_graph_destroy(graph);
}

static void without_layers_there_are_none(void **state) {
    clq_graph *graph = small_mlp();
    clq_bench_result result;
    (void)state;
    const clq_bench_case item = {"mlp", graph, device, 1};
    const clq_bench_options options = {.iterations = 1, .warmup = 1};
    assert_ok(clq_bench_run(&item, 1, &options, &result));
    assert_int_equal(result.layer_count, 0);
    assert_null(result.layers);
    clq_bench_result_clear(&result);
    clq_graph_destroy(graph);
}

/* ---- JSON ---- */

static void assert_keys(const json_t *object, const char *const *keys) {
    size_t count = 0;
    for (; keys[count]; count++) {
        if (!json_object_get(object, keys[count])) {
            fail_msg("no key \"%s\"", keys[count]);
        }
    }
    assert_int_equal(json_object_size(object), count);
}

static void json_has_the_documented_keys(void **state) {
    static const char *const top[] = {"schema", "results", NULL};
    static const char *const result_keys[] = {
        "model",     "device",        "batch",      "precision", "dot_path",
        "gops",      "iterations",    "latency_ms", "bytes",     "images_per_second",
        "peak_gops", "peak_fraction", "h2d_ms",     "d2h_ms",    "layers",
        NULL};
    static const char *const latency_keys[] = {"min", "mean", "median", "p90", "p95", "p99", NULL};
    static const char *const layer_keys[] = {"name",          "op",        "ms",       "gops",
                                             "peak_fraction", "precision", "dot_path", NULL};
    clq_bench_layer layer = {"conv1", "conv2d", 0.5, NAN, 0.25, "int8", "avx2"};
    const clq_bench_result result = {.model = "m \"quoted\"",
                                     .device = "d",
                                     .batch = 4,
                                     .precision = "int8",
                                     .dot_path = "avx2",
                                     .iterations = 10,
                                     .latency = {1, 2, 3, 4, 5, 6},
                                     .peak_fraction = INFINITY,
                                     .bytes = INT64_C(5000000000),
                                     .layers = &layer,
                                     .layer_count = 1};
    (void)state;
    json_t *json = clq_bench_to_json(&result, 1);
    assert_keys(json, top);
    assert_int_equal(json_integer_value(json_object_get(json, "schema")), 1);
    assert_int_equal(json_array_size(json_object_get(json, "results")), 1);
    const json_t *first = json_array_get(json_object_get(json, "results"), 0);
    assert_keys(first, result_keys);
    assert_string_equal(json_string_value(json_object_get(first, "model")), "m \"quoted\"");
    assert_int_equal(json_integer_value(json_object_get(first, "bytes")), INT64_C(5000000000));
    assert_true(json_is_null(json_object_get(first, "peak_fraction"))); /* infinite */
    const json_t *latency = json_object_get(first, "latency_ms");
    assert_keys(latency, latency_keys);
    for (int i = 0; latency_keys[i]; i++) {
        assert_float_equal(json_real_value(json_object_get(latency, latency_keys[i])), i + 1, 0);
    }
    const json_t *first_layer = json_array_get(json_object_get(first, "layers"), 0);
    assert_keys(first_layer, layer_keys);
    assert_true(json_is_null(json_object_get(first_layer, "gops"))); /* NaN */
    json_decref(json);
}

static void json_of_nothing_is_an_empty_list(void **state) {
    (void)state;
    json_t *json = clq_bench_to_json(NULL, 0);
    assert_int_equal(json_array_size(json_object_get(json, "results")), 0);
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(result_describes_the_run),
        cmocka_unit_test(layers_are_those_that_ran),
        cmocka_unit_test(without_layers_there_are_none),
        cmocka_unit_test(json_has_the_documented_keys),
        cmocka_unit_test(json_of_nothing_is_an_empty_list),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}

/* A benchmark of small networks: what it reports, and the JSON other programs read. */
#include <clquant/bench.h>
#include <clquant/models.h>

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "bench/bench_json.h"
#include "bench/fp32_form.h"
#include "bench/runner.h"
#include "data/npz.h"
#include "support/device.h"
#include "support/quant_nets.h"

enum { BATCH = 2, INPUTS = 64, HIDDEN = 32, CLASSES = 10, ITERATIONS = 5 };
static const double MACS = INPUTS * HIDDEN + HIDDEN * CLASSES;

static clq_device *device;

static int open_device(void **state) {
    (void)state;
    return clq_test_open(NULL, &device) == CLQ_OK ? 0 : -1;
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

static void check_layers(const clq_graph *graph, const clq_bench_result *result) {
    int linear = 0;
    double share = 0;
    assert_true(result->layer_count >= 2);
    for (int i = 0; i < result->layer_count; i++) {
        const clq_bench_layer *layer = &result->layers[i];
        assert_true(layer->ms > 0);
        assert_string_equal(layer->precision, "fp32");
        if (strcmp(layer->op, "linear") == 0) {
            assert_true(clq_graph_find_node(graph, layer->name) >= 0);
            assert_true(layer->gops > 0);
            assert_float_equal(layer->peak_fraction * result->peak_gops / layer->gops, 1, 1e-9);
            linear++;
        }
        share += layer->share;
        assert_true(layer->launches > 0 && layer->work_items > 0 && layer->work_groups > 0);
        assert_float_equal(layer->gbs * layer->ms / (1e-6 * (double)layer->bytes), 1, 1e-9);
    }
    assert_int_equal(linear, 2);
    assert_float_equal(share, 1, 1e-9);
}

static void result_describes_the_run(void **state) {
    clq_graph *graph = small_mlp();
    clq_bench_result results[2];
    (void)state;
    const clq_bench_case cases[] = {{"one", graph, device, 1, NULL},
                                    {"two", graph, device, BATCH, NULL}};
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
        assert_true(r->h2d_host_ms > 0 && r->d2h_host_ms > 0);
        assert_int_equal(r->sample_count, ITERATIONS);
        assert_true(r->median_error >= 0 && isfinite(r->median_error));
        assert_true(r->limits.memory_gbs > 0 && r->limits.launch_us > 0);
        assert_true(r->peak_gops > 0);
        /* The derived figures follow from the measured ones. */
        assert_float_equal(r->images_per_second * r->latency.median / (1e3 * r->batch), 1, 1e-9);
        assert_float_equal(r->gops * r->latency.median / (2e-6 * MACS * r->batch), 1, 1e-9);
        assert_float_equal(r->peak_fraction * r->peak_gops / r->gops, 1, 1e-9);
        check_layers(graph, r);
    }
    for (int i = 0; i < 2; i++) {
        clq_bench_result_clear(&results[i]);
        assert_null(results[i].model);
    }
    clq_graph_destroy(graph);
}

static void without_layers_there_are_none(void **state) {
    clq_graph *graph = small_mlp();
    clq_bench_result result;
    (void)state;
    const clq_bench_case item = {"mlp", graph, device, 1, NULL};
    const clq_bench_options options = {.iterations = 1, .warmup = 1, .no_peak = true};
    assert_ok(clq_bench_run(&item, 1, &options, &result));
    assert_int_equal(result.layer_count, 0);
    assert_null(result.layers);
    clq_bench_result_clear(&result);
    clq_graph_destroy(graph);
}

static void many_iterations_are_kept_as_bounded_samples(void **state) {
    enum { MANY = CLQ_BENCH_MAX_SAMPLES + 90 };
    clq_graph *graph = small_mlp();
    clq_bench_result result;
    (void)state;
    const clq_bench_case item = {"mlp", graph, device, 1, NULL};
    const clq_bench_options options = {.iterations = MANY, .warmup = 1, .no_peak = true};
    assert_ok(clq_bench_run(&item, 1, &options, &result));
    assert_int_equal(result.iterations, MANY);
    assert_int_equal(result.sample_count, CLQ_BENCH_MAX_SAMPLES);
    for (size_t i = 0; i < result.sample_count; i++) {
        assert_true(result.samples[i] >= result.latency.min);
    }
    clq_bench_result_clear(&result);
    clq_graph_destroy(graph);
}

/* Devices keep what they allocate, so only the statuses and the results tell. */
static void failing_allocations_are_survived(void **state) {
    clq_graph *graph = small_mlp();
    clq_status status = CLQ_NO_MEMORY;
    (void)state;
    const clq_bench_case item = {"mlp", graph, device, 1, NULL};
    const clq_bench_options options = {.iterations = 1, .warmup = 1, .layers = true};
    for (long n = 1; status != CLQ_OK; n += 1 + n / 16) {
        clq_bench_result result;
        clq_test_fail_allocation(n);
        status = clq_bench_run(&item, 1, &options, &result);
        clq_test_restore_allocator();
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
        assert_int_equal(result.model != NULL, status == CLQ_OK);
        clq_bench_result_clear(&result);
    }
    clq_graph_destroy(graph);
}

/* ---- an integer network beside its FP32 form ---- */

typedef struct pair {
    clq_graph *fp32, *integer;
} pair;

static pair make_pair(void) {
    clq_quant_config config;
    pair made = {net_folded(net_everything(12)), NULL};
    clq_graph *calibrated = NULL;
    clq_quant_config_init(&config);
    assert_ok(clq_graph_clone(made.fp32, &calibrated));
    net_calibrate(device, calibrated, &config, 8, 4);
    assert_ok(clq_convert(calibrated, &made.integer));
    clq_graph_destroy(calibrated);
    return made;
}

static void destroy_pair(pair *p) {
    clq_graph_destroy(p->fp32);
    clq_graph_destroy(p->integer);
}

static const clq_bench_layer *layer_of(const clq_bench_result *result, const char *name) {
    for (int i = 0; i < result->layer_count; i++) {
        if (strcmp(result->layers[i].name, name) == 0) {
            return &result->layers[i];
        }
    }
    fail_msg("no layer %s", name);
    return NULL;
}

/* The layer "stem": 3 to 13 channels, 3x3, 12x12 pixels; "b1.conv2": 13 to 13, with an addition. */
static void check_bytes(const clq_bench_result *fp32, const clq_bench_result *int8, int batch) {
    const int64_t pixels = 12 * 12 * (int64_t)batch, stem = 13 * 9 * 3 + 13;
    assert_int_equal(layer_of(fp32, "stem")->weight_bytes, 4 * stem);
    assert_int_equal(layer_of(fp32, "stem")->bytes, 4 * (stem + pixels * (3 + 13)));
    assert_int_equal(layer_of(int8, "stem")->weight_bytes, stem - 13 + 4 * 13);
    assert_int_equal(layer_of(int8, "stem")->bytes, stem - 13 + 4 * 13 + pixels * (4 + 16));
    assert_int_equal(layer_of(int8, "stem")->codes, pixels * 13);
    assert_int_equal(layer_of(int8, "input")->bytes, pixels * (4 * 3 + 4));
    const clq_bench_layer *fused = layer_of(int8, "b1.conv2");
    assert_string_equal(fused->fused, "b1.add");
    assert_int_equal(fused->bytes - fused->weight_bytes, pixels * 3 * 16);
}

static void int8_is_explained_by_fp32_at_every_batch(void **state) {
    enum { CASES = 4 };
    pair nets = make_pair();
    clq_bench_result results[CASES];
    clq_bench_case cases[CASES] = {{"real", nets.fp32, device, 1, NULL},
                                   {"real", nets.fp32, device, 3, NULL},
                                   {"codes", nets.integer, device, 1, &cases[0]},
                                   {"codes", nets.integer, device, 3, &cases[1]}};
    const clq_bench_options options = {.iterations = 3, .warmup = 1, .layers = true};
    (void)state;
    assert_ok(clq_bench_run(cases, CASES, &options, results));
    for (int i = 2; i < CASES; i++) {
        const clq_bench_result *fp32 = &results[i - 2], *int8 = &results[i];
        assert_true(int8->explained && !fp32->explained);
        assert_string_equal(int8->precision, "int8");
        assert_int_equal(int8->batch, fp32->batch);
        check_bytes(fp32, int8, int8->batch);
        for (int l = 0; l < int8->layer_count; l++) {
            const clq_bench_layer *layer = &int8->layers[l];
            /* Reals need no conversion, and their flatten is only another shape. */
            const bool alone = clq_graph_find_node(nets.integer, layer->name) < 0 ||
                               strcmp(layer->op, "flatten") == 0;
            assert_int_equal(layer->fp32_ms > 0, !alone);
            const bool slow = !alone && layer->fp32_ms < 2 * layer->ms;
            assert_int_equal(layer->cause != CLQ_CAUSE_NONE, slow);
            assert_int_equal(layer->why[0] != '\0', slow);
            double sum = 0;
            for (int p = 0; p < CLQ_TIME_PARTS; p++) {
                assert_true(layer->parts[p] >= 0);
                sum += layer->parts[p];
            }
            assert_float_equal(sum, 1, 1e-9);
        }
        assert_string_equal(layer_of(int8, "stem")->dot_path,
                            clq_dot_name(clq_device_get_info(device)->dot));
        assert_string_equal(layer_of(int8, "avg")->dot_path, "");
        assert_string_equal(layer_of(fp32, "stem")->dot_path, "");
    }
    for (int i = 0; i < CASES; i++) {
        clq_bench_result_clear(&results[i]);
    }
    destroy_pair(&nets);
}

static void fp32_form_is_known_by_names_and_shapes(void **state) {
    pair nets = make_pair();
    clq_graph *trained = net_everything(12), *smaller = net_everything(11), *other = small_mlp();
    (void)state;
    assert_true(clq_bench_is_fp32_form(nets.fp32, nets.integer));
    assert_true(clq_bench_is_fp32_form(trained, nets.integer));
    assert_false(clq_bench_is_fp32_form(smaller, nets.integer));
    assert_false(clq_bench_is_fp32_form(other, nets.integer));
    assert_false(clq_bench_is_fp32_form(nets.integer, nets.integer));
    assert_false(clq_bench_is_fp32_form(nets.fp32, nets.fp32));
    clq_graph_destroy(trained);
    clq_graph_destroy(smaller);
    clq_graph_destroy(other);
    destroy_pair(&nets);
}

/* ---- several inputs and outputs ---- */

enum { SIDE = 5, LEFT = 3, RIGHT = 2, MAP = 6 };

/* left (1, 5, 5, 3) and right (1, 5, 5, 2), a convolution of each, their sum ("map", 6 channels)
 * and its mean. */
static clq_graph *net_with_ends(int right_channels) {
    static const clq_conv2d_attrs same = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};
    const clq_network_options options = {.network = "test", .size = SIDE};
    clq_builder b = {.options = &options};
    int left, right;
    assert_ok(clq_graph_create("ends", &b.graph));
    assert_ok(clq_graph_add_input(b.graph, "left", (clq_shape){4, {1, SIDE, SIDE, LEFT}}, &left));
    assert_ok(clq_graph_add_input(b.graph, "right", (clq_shape){4, {1, SIDE, SIDE, right_channels}},
                                  &right));
    left = net_conv(&b, "a", left, MAP, same, true);
    right = net_conv(&b, "b", right, MAP, same, true);
    const int map = clq_build_add(&b, "sum", left, right);
    assert_ok(clq_graph_add_output(b.graph, "map", map));
    assert_ok(clq_graph_add_output(b.graph, "mean", clq_build_op(&b, "global_avg_pool", "p", map)));
    assert_ok(b.status);
    net_randomise(b.graph, 0.2f);
    return net_folded(b.graph);
}

static clq_graph *ends_on_integers(const clq_graph *folded) {
    const int channels[] = {LEFT, RIGHT};
    float values[4 * SIDE * SIDE * LEFT];
    const char *path = clq_test_temp_path("x.npz");
    clq_quant_config config;
    clq_graph *calibrated = NULL, *integer = NULL;
    clq_npz_writer *writer = NULL;
    clq_arrays *arrays = NULL;
    clq_feed *feed = NULL;
    clq_test_fill_f32(values, sizeof values / sizeof *values, -1, 1, 3);
    assert_ok(clq_npz_open(path, &writer));
    for (int i = 0; i < 2; i++) {
        int index;
        assert_ok(clq_npz_add(writer, clq_graph_input_name(folded, i),
                              (int64_t[]){channels[i], SIDE, SIDE}, 3, &index));
        assert_ok(clq_npz_append(writer, index, values, 4));
    }
    assert_ok(clq_npz_commit(&writer));
    assert_ok(clq_arrays_open(path, &arrays));
    clq_quant_config_init(&config);
    assert_ok(clq_graph_clone(folded, &calibrated));
    assert_ok(clq_feed_create_arrays(calibrated, arrays, 2, 0, &feed));
    assert_ok(clq_calibrate(device, calibrated, feed, 2, &config, NULL));
    assert_ok(clq_convert(calibrated, &integer));
    clq_feed_destroy(feed);
    clq_arrays_close(arrays);
    clq_graph_destroy(calibrated);
    return integer;
}

static void all_inputs_and_outputs_are_moved(void **state) {
    enum { CASES = 2, PIXELS = SIDE * SIDE * BATCH };
    clq_graph *fp32 = net_with_ends(RIGHT), *integer = ends_on_integers(fp32),
              *other = net_with_ends(RIGHT + 1);
    clq_bench_result results[CASES];
    clq_bench_case cases[CASES] = {{"real", fp32, device, BATCH, NULL},
                                   {"codes", integer, device, BATCH, &cases[0]}};
    const clq_bench_options options = {.iterations = 3, .warmup = 1, .layers = true};
    (void)state;
    assert_true(clq_bench_is_fp32_form(fp32, integer));
    assert_false(clq_bench_is_fp32_form(other, integer)); /* by its second input */
    assert_ok(clq_bench_run(cases, CASES, &options, results));
    assert_true(results[1].explained);
    const clq_bench_layer *input = layer_of(&results[1], "input");
    assert_int_equal(input->launches, 2);
    assert_int_equal(input->bytes, PIXELS * (4 * LEFT + 4 + 4 * RIGHT + 4));
    const clq_bench_layer *output = layer_of(&results[1], "output");
    assert_int_equal(output->launches, 2);
    assert_int_equal(output->bytes, PIXELS * (4 * MAP + 8) + BATCH * (4 * MAP + 8));
    assert_true(layer_of(&results[1], "b")->fp32_ms > 0);

    /* Every value of all ends goes there and comes back; the outputs are those of the inputs. */
    clq_bench_runner runner;
    float map[PIXELS * MAP];
    assert_ok(clq_bench_runner_open(&cases[0], &options, &runner));
    assert_ok(clq_bench_runner_iterate(&runner, true));
    for (int i = 0; i < PIXELS * (LEFT + RIGHT); i++) {
        assert_true(runner.input[i] != 0);
    }
    assert_ok(clq_buffer_read(clq_exec_output_at(runner.exec, 0)->buffer, 0, sizeof map, map));
    assert_memory_equal(runner.output, map, sizeof map);
    for (int n = 0; n < BATCH; n++) {
        for (int c = 0; c < MAP; c++) {
            double sum = 0;
            for (int p = 0; p < SIDE * SIDE; p++) {
                sum += map[(n * SIDE * SIDE + p) * MAP + c];
            }
            assert_float_equal(runner.output[PIXELS * MAP + n * MAP + c], sum / (SIDE * SIDE),
                               1e-4);
        }
    }
    assert_true(runner.times[CLQ_TIME_H2D][0] > 0 && runner.times[CLQ_TIME_D2H][0] > 0);
    clq_bench_runner_close(&runner);
    for (int i = 0; i < CASES; i++) {
        clq_bench_result_clear(&results[i]);
    }
    clq_graph_destroy(fp32);
    clq_graph_destroy(integer);
    clq_graph_destroy(other);
}

static void quantized_graphs_must_be_converted(void **state) {
    pair nets = make_pair();
    clq_quant_config config;
    clq_bench_result results[2];
    (void)state;
    clq_quant_config_init(&config);
    net_calibrate(device, nets.fp32, &config, 8, 4);
    const clq_bench_case cases[] = {{"codes", nets.integer, device, 1, NULL},
                                    {"between", nets.fp32, device, 1, NULL}};
    const clq_bench_options options = {.iterations = 1, .warmup = 1};
    assert_status(clq_bench_run(cases, 2, &options, results), CLQ_USAGE);
    assert_error_has("between");
    assert_null(results[0].model);
    destroy_pair(&nets);
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
    static const char *const top[] = {"schema", "version", "results", NULL};
    static const char *const result_keys[] = {"model",
                                              "device",
                                              "driver",
                                              "batch",
                                              "precision",
                                              "dot_path",
                                              "gops",
                                              "iterations",
                                              "latency_ms",
                                              "bytes",
                                              "images_per_second",
                                              "peak_gops",
                                              "peak_fraction",
                                              "h2d_ms",
                                              "d2h_ms",
                                              "layers",
                                              "h2d_host_ms",
                                              "d2h_host_ms",
                                              "kernel_ms",
                                              "median_error",
                                              "fp32_peak_gops",
                                              "bandwidth_gbs",
                                              "cache_bandwidth_gbs",
                                              "requantize_gcodes",
                                              "launch_us",
                                              "startup",
                                              "samples_ms",
                                              NULL};
    static const char *const latency_keys[] = {"min", "mean", "median", "p90", "p95", "p99", NULL};
    static const char *const layer_keys[] = {
        "name",       "op",          "ms",           "gops",  "peak_fraction",
        "precision",  "dot_path",    "fused",        "share", "peak_gops",
        "above_peak", "bytes",       "weight_bytes", "gbs",   "launches",
        "work_items", "work_groups", "explain",      NULL};
    static const char *const explain_keys[] = {"fp32_ms", "speedup", "cause",
                                               "text",    "parts",   NULL};
    static const char *const startup_keys[] = {"cold_ms", "second_ms", "warm_ms", NULL};
    double samples[] = {3, 1, 2};
    clq_bench_layer layers[] = {
        {.name = "conv1",
         .op = "conv2d",
         .fused = "add1",
         .ms = 0.5,
         .gops = NAN,
         .peak_fraction = 1.25,
         .precision = "int8",
         .dot_path = "avx2",
         .fp32_ms = 0.75,
         .cause = CLQ_CAUSE_MEMORY,
         .why = "memory-bound: yes",
         .parts = {[CLQ_TIME_FETCHING] = 0.25}},
        {.name = "input", .op = "quantize", .fused = "", .precision = "int8", .dot_path = ""}};
    const clq_bench_result result = {.model = "m \"quoted\"",
                                     .device = "d",
                                     .batch = 4,
                                     .precision = "int8",
                                     .dot_path = "avx2",
                                     .iterations = 10,
                                     .latency = {1, 2, 3, 4, 5, 6},
                                     .peak_fraction = INFINITY,
                                     .bytes = INT64_C(5000000000),
                                     .samples = samples,
                                     .sample_count = 3,
                                     .startup = {900, 400, 300},
                                     .layers = layers,
                                     .layer_count = 2};
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
    assert_true(json_is_true(json_object_get(first_layer, "above_peak")));
    const json_t *explain = json_object_get(first_layer, "explain");
    assert_keys(explain, explain_keys);
    assert_float_equal(json_real_value(json_object_get(explain, "speedup")), 1.5, 1e-12);
    assert_string_equal(json_string_value(json_object_get(explain, "cause")), "memory-bound");
    const json_t *parts = json_object_get(explain, "parts");
    assert_int_equal(json_object_size(parts), CLQ_TIME_PARTS);
    assert_float_equal(json_real_value(json_object_get(parts, "fetching inputs")), 0.25, 0);
    const json_t *second_layer = json_array_get(json_object_get(first, "layers"), 1);
    assert_true(json_is_null(json_object_get(second_layer, "explain")));
    const json_t *times = json_object_get(first, "samples_ms");
    assert_int_equal(json_array_size(times), 3);
    assert_float_equal(json_real_value(json_array_get(times, 0)), 3, 0); /* in order of time */
    assert_keys(json_object_get(first, "startup"), startup_keys);
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
        cmocka_unit_test(without_layers_there_are_none),
        cmocka_unit_test(many_iterations_are_kept_as_bounded_samples),
        cmocka_unit_test(failing_allocations_are_survived),
        cmocka_unit_test(int8_is_explained_by_fp32_at_every_batch),
        cmocka_unit_test(fp32_form_is_known_by_names_and_shapes),
        cmocka_unit_test_setup_teardown(all_inputs_and_outputs_are_moved, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
        cmocka_unit_test(quantized_graphs_must_be_converted),
        cmocka_unit_test(json_has_the_documented_keys),
        cmocka_unit_test(json_of_nothing_is_an_empty_list),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}

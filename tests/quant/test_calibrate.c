/* Calibration: ranges equal those of plain loops over the float network's values. */
#include <math.h>

#include "base/hash.h"
#include "device/tuning.h"
#include "kernels/include/scales.h"
#include "ops/conv/conv_choice.h"
#include "ops/conv/conv_node.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 13, IMAGES = 22, BATCH = 8 };

/* ---- ranges by plain loops ---- */

typedef struct ranges {
    float (*low)[3], (*high)[3]; /* (value_count, batches) */
} ranges;

/* The float network's extremes of every value in every batch, of valid images only. */
static ranges ref_ranges(const clq_graph *graph, int images) {
    const clq_exec_options options = {
        .mode = CLQ_EXEC_FLOAT, .batch = BATCH, .keep_all = true, .fixed_sums = true};
    ranges r = {calloc((size_t)graph->value_count, sizeof *r.low),
                calloc((size_t)graph->value_count, sizeof *r.high)};
    clq_exec *exec = NULL;
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    assert_ok(clq_exec_create(test_device, graph, &options, &exec));
    for (int batch = 0, left = images; left > 0; batch++) {
        clq_feed_batch data;
        assert_ok(clq_feed_next(feed, clq_exec_input(exec)->buffer, &data));
        const int count = data.count < left ? data.count : left;
        left -= count;
        assert_ok(clq_exec_forward(exec));
        for (int v = 0; v < graph->value_count; v++) {
            if (graph->values[v].data) {
                continue;
            }
            const clq_tensor *tensor = clq_exec_value(exec, v);
            float *x = read_floats(tensor->buffer);
            const int64_t valid = clq_shape_count(&graph->values[v].shape) * count;
            for (int64_t i = 0; i < valid; i++) {
                r.low[v][batch] = fmaxf(r.low[v][batch], -x[i]);
                r.high[v][batch] = fmaxf(r.high[v][batch], x[i]);
            }
            free(x);
        }
    }
    clq_exec_destroy(exec);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    return r;
}

static void check_ranges(const clq_quant_config *config) {
    const int images = config->images < IMAGES ? (int)config->images : IMAGES;
    const int batches = (images + BATCH - 1) / BATCH;
    clq_graph *graph = net_folded(net_everything(SIZE));
    const ranges r = ref_ranges(graph, images);
    net_calibrate(test_device, graph, config, IMAGES, BATCH);
    assert_int_equal(clq_graph_form(graph), CLQ_FORM_QUANTIZED);
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        int from = v; /* whose range counts */
        if (value->data) {
            continue;
        }
        if (v == clq_graph_output(graph)) {
            assert_int_equal(value->q.count, 0);
            continue;
        }
        while (graph->values[from].producer >= 0 &&
               graph->nodes[graph->values[from].producer].op->output_shares_qparams) {
            from = graph->nodes[graph->values[from].producer].inputs[0];
        }
        float low = r.low[from][0], high = r.high[from][0], scale;
        for (int b = 1; b < batches; b++) {
            const float weight = (float)config->averaging;
            const bool averages = config->observer == CLQ_OBSERVER_MOVING_AVERAGE;
            low = averages ? low * (1 - weight) + r.low[from][b] * weight
                           : fmaxf(low, r.low[from][b]);
            high = averages ? high * (1 - weight) + r.high[from][b] * weight
                            : fmaxf(high, r.high[from][b]);
        }
        int32_t zero_point;
        assert_ok(
            clq_activation_qparams(config, value->name, -low, high, CLQ_Q_U8, &scale, &zero_point));
        assert_int_equal(value->q.count, 1);
        assert_int_equal(value->q.type, CLQ_Q_U8);
        assert_int_equal(value->q.zero_point, zero_point);
        assert_true(value->q.scale[0] == scale);
    }
    free(r.low);
    free(r.high);
    clq_graph_destroy(graph);
}

static void extremes_of_all_images(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    check_ranges(&config);
    config.images = 13; /* ends within a batch */
    check_ranges(&config);
    config.symmetric_activations = true;
    check_ranges(&config);
}

static void averages_of_batches(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    config.observer = CLQ_OBSERVER_MOVING_AVERAGE;
    config.averaging = 0.3;
    check_ranges(&config);
}

static void calibration_repeats_itself(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_folded(net_everything(SIZE)), *again = NULL;
    assert_ok(clq_graph_clone(graph, &again));
    net_calibrate(test_device, graph, &config, IMAGES, BATCH);
    net_calibrate(test_device, again, &config, IMAGES, BATCH);
    for (int v = 0; v < graph->value_count; v++) {
        const clq_qparams *a = &graph->values[v].q, *b = &again->values[v].q;
        assert_int_equal(a->count, b->count);
        assert_int_equal(a->zero_point, b->zero_point);
        for (int64_t i = 0; i < a->count; i++) {
            assert_true(a->scale[i] == b->scale[i]);
        }
    }
    clq_graph_destroy(graph);
    clq_graph_destroy(again);
}

/* A ResNet-20's 3x3 convolutions are computed by Winograd's algorithm where a CPU is free to. */
static clq_graph *resnet20(void) {
    const clq_network_options options = {.network = "resnet20", .size = 16};
    return net_folded(net_built(&options));
}

/* Fills or clears the tuning table's entries of all convolutions. */
static void tune_all(const clq_graph *graph, int batch, const char *choice) {
    for (int n = 0; n < graph->node_count; n++) {
        clq_conv_geometry geometry;
        char key[CLQ_CONV_KEY];
        if (clq_conv_graph_geometry(graph, &graph->nodes[n], batch, &geometry)) {
            clq_conv_key(test_device, CLQ_CONV_F32, &geometry, key);
            assert_ok(clq_tuning_set(test_device, key, choice));
        }
    }
}

static uint64_t qparams_hash(const clq_graph *graph) {
    uint64_t hash = 0;
    for (int v = 0; v < graph->value_count; v++) {
        const clq_qparams *q = &graph->values[v].q;
        hash = clq_hash64_seeded(q->scale, (size_t)q->count * sizeof *q->scale, hash);
        hash = clq_hash64_seeded(&q->zero_point, sizeof q->zero_point, hash);
    }
    return hash;
}

/* The same scales whatever the tuning table, the batch and, from group to group, the schedule. */
static void sums_have_one_order(void **state) {
    (void)state;
    static uint64_t expected[CLQ_OBSERVER_COUNT]; /* over both schedules */
    static const struct {
        int batch;
        const char *choice;
        clq_observer_kind observer;
    } cases[] = {{BATCH, NULL, CLQ_OBSERVER_MIN_MAX},
                 {5, NULL, CLQ_OBSERVER_MIN_MAX},
                 {BATCH, "kernel=tile", CLQ_OBSERVER_MIN_MAX},
                 {BATCH, "kernel=group", CLQ_OBSERVER_MIN_MAX},
                 {BATCH, NULL, CLQ_OBSERVER_PERCENTILE},
                 {5, NULL, CLQ_OBSERVER_PERCENTILE},
                 {BATCH, NULL, CLQ_OBSERVER_MSE},
                 {5, NULL, CLQ_OBSERVER_MSE},
                 {BATCH, NULL, CLQ_OBSERVER_ENTROPY},
                 {3, NULL, CLQ_OBSERVER_ENTROPY}};
    clq_quant_config config;
    clq_quant_config_init(&config);
    const int gpu = clq_device_get_info(test_device)->schedule == CLQ_SCHEDULE_GPU;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (i > 0 && !clq_test_takes((int)i + gpu, 2)) {
            continue;
        }
        clq_graph *graph = resnet20();
        tune_all(graph, cases[i].batch, cases[i].choice);
        config.observer = cases[i].observer;
        net_calibrate(test_device, graph, &config, IMAGES, cases[i].batch);
        tune_all(graph, cases[i].batch, NULL);
        const uint64_t hash = qparams_hash(graph);
        uint64_t *same = &expected[cases[i].observer];
        *same = *same ? *same : hash;
        assert_true(hash == *same);
        clq_graph_destroy(graph);
    }
    for (int a = 0; a < CLQ_OBSERVER_COUNT; a++) {
        for (int b = 0; b < a; b++) { /* and each observer its own */
            assert_true(expected[a] == 0 || expected[a] != expected[b]);
        }
    }
}

/* The most device memory that a calibration on so many images takes at once. */
static uint64_t peak_memory(clq_observer_kind kind, int images) {
    clq_device *device = NULL;
    clq_quant_config config;
    uint64_t live, peak;
    clq_quant_config_init(&config);
    config.observer = kind;
    assert_ok(clq_test_open(NULL, &device));
    clq_graph *graph = resnet20();
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, 16, images);
    clq_feed *feed = net_feed(device, data, BATCH);
    assert_ok(clq_calibrate(device, graph, feed, BATCH, &config, NULL));
    clq_device_memory(device, &live, &peak);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
    clq_device_close(device);
    return peak;
}

static void memory_does_not_depend_on_images(void **state) {
    (void)state;
    static const clq_observer_kind kinds[] = {CLQ_OBSERVER_MOVING_AVERAGE, CLQ_OBSERVER_MSE};
    for (int i = 0; i < 2; i++) {
        (void)peak_memory(kinds[i], BATCH); /* kernels' self-tests are behind us then */
        const uint64_t few = peak_memory(kinds[i], BATCH);
        assert_true(peak_memory(kinds[i], 25 * BATCH) == few);
    }
}

/* How far the integer network of a calibrated graph is from the float one, by other means. */
static double output_error(const clq_graph *real, const clq_graph *calibrated, clq_feed *feed) {
    clq_graph *integer = NULL;
    clq_exec *a = NULL, *b = NULL;
    double error;
    int64_t done;
    const clq_exec_options real_options = {
        .mode = CLQ_EXEC_FLOAT, .batch = BATCH, .no_fusion = true, .fixed_sums = true};
    const clq_exec_options integer_options = {.mode = CLQ_EXEC_INT8, .batch = BATCH};
    assert_ok(clq_convert(calibrated, &integer));
    assert_ok(clq_exec_create(test_device, real, &real_options, &a));
    assert_ok(clq_exec_create(test_device, integer, &integer_options, &b));
    assert_ok(clq_compare_outputs(a, b, feed, IMAGES, &error, &done));
    clq_exec_destroy(a);
    clq_exec_destroy(b);
    clq_graph_destroy(integer);
    return error;
}

/* `all` measures every observer, and leaves what the best one alone would have. */
static void the_best_of_all_is_kept(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    config.images = IMAGES;
    for (int labelled = 0; labelled < 2; labelled++) {
        clq_quant_report report;
        clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
        if (!labelled) {
            clq_dataset_forget_labels(data);
        }
        clq_feed *feed = net_feed(test_device, data, BATCH);
        clq_graph *graph = net_folded(net_everything(SIZE)), *real = NULL;
        assert_ok(clq_graph_clone(graph, &real));
        config.observer = CLQ_OBSERVER_ALL;
        assert_ok(clq_calibrate(test_device, graph, feed, BATCH, &config, &report));
        assert_int_equal(report.tried_count, CLQ_OBSERVER_ALL);
        const clq_tried_observer *best = &report.tried[report.observer];
        assert_int_equal(best->observer, report.observer);
        assert_int_equal(isnan(report.fp32_top1), !labelled);
        for (int i = 0; i < report.tried_count; i++) {
            const clq_tried_observer *tried = &report.tried[i];
            clq_graph *alone = NULL;
            assert_int_equal(isnan(tried->top1), !labelled);
            assert_true(!labelled || tried->top1 <= best->top1);
            assert_true((labelled && tried->top1 < best->top1) || tried->error >= best->error);
            assert_ok(clq_graph_clone(real, &alone));
            config.observer = tried->observer;
            net_calibrate(test_device, alone, &config, IMAGES, BATCH);
            assert_true(output_error(real, alone, feed) == tried->error);
            assert_int_equal(qparams_hash(alone) == qparams_hash(graph), tried == best);
            if (tried == best) { /* the file does not say "all" */
                assert_string_equal(clq_graph_get_metadata(alone, "clquant.quantization"),
                                    clq_graph_get_metadata(graph, "clquant.quantization"));
            }
            clq_graph_destroy(alone);
        }
        clq_quant_report_clear(&report);
        clq_feed_destroy(feed);
        clq_dataset_close(data);
        clq_graph_destroy(graph);
        clq_graph_destroy(real);
    }
}

static void broken_networks_are_named(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    clq_graph *graph = net_folded(net_everything(SIZE));
    float *bias = graph->values[clq_graph_find_value(graph, "b1.conv1.weight")].data;
    bias[0] = INFINITY;
    for (int kind = 0; kind < CLQ_OBSERVER_ALL; kind++) {
        config.observer = (clq_observer_kind)kind;
        assert_status(clq_calibrate(test_device, graph, feed, BATCH, &config, NULL), CLQ_BAD_DATA);
        assert_error_has("b1");
    }
    clq_graph_destroy(graph);
    /* not folded */
    const clq_network_options options = {.network = "resnet20", .size = SIZE};
    graph = net_built(&options);
    assert_status(clq_calibrate(test_device, graph, feed, BATCH, &config, NULL), CLQ_USAGE);
    assert_error_has("fold");
    clq_graph_destroy(graph);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
}

static void a_network_without_layers_is_refused(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    const clq_network_options options = {.network = "test", .size = SIZE};
    clq_builder b = {.options = &options};
    assert_ok(clq_graph_create("bare", &b.graph));
    int x = clq_build_input(&b, (clq_shape){4, {1, SIZE, SIZE, 3}});
    x = clq_build_op(&b, "relu", "act", x);
    x = clq_build_op(&b, "global_avg_pool", "pool", x);
    assert_ok(b.status);
    clq_graph *graph = b.graph;
    clq_graph_set_output(graph, x);
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    assert_status(clq_calibrate(test_device, graph, feed, BATCH, &config, NULL), CLQ_USAGE);
    assert_error_has("no convolution and no linear layer");
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_without_layers_is_refused),
        cmocka_unit_test(extremes_of_all_images),
        cmocka_unit_test(averages_of_batches),
        cmocka_unit_test(calibration_repeats_itself),
        cmocka_unit_test(sums_have_one_order),
        cmocka_unit_test(memory_does_not_depend_on_images),
        cmocka_unit_test(the_best_of_all_is_kept),
        cmocka_unit_test(broken_networks_are_named),
    };
    const struct CMUnitTest on_gpu[] = {
        cmocka_unit_test(extremes_of_all_images),
        cmocka_unit_test(averages_of_batches),
        cmocka_unit_test(sums_have_one_order),
    };
    int failed =
        cmocka_run_group_tests_name("own schedule", tests, open_own_schedule, close_device);
    if (clq_test_all()) { /* quant/qat tries that schedule each time */
        failed +=
            cmocka_run_group_tests_name("gpu schedule", on_gpu, open_gpu_schedule, close_device);
    }
    return failed;
}

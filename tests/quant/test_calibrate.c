/* Calibration: ranges equal those of plain loops over the float network's values, and conversion
 * follows from them. */
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

/* ---- conversion ---- */

static void check_layer(const clq_graph *from, const clq_graph *to, const clq_node *node,
                        const clq_quant_config *config) {
    const clq_value *w = &from->values[node->inputs[1]], *wq = &to->values[node->inputs[1]];
    const float *real = w->data, x_scale = from->values[node->inputs[0]].q.scale[0];
    const int8_t *codes = wq->data;
    const int64_t oc = w->shape.dim[0], k = clq_shape_count(&w->shape) / oc;
    assert_int_equal(wq->dtype, CLQ_S8);
    assert_int_equal(wq->q.type, CLQ_Q_S8_NARROW);
    assert_int_equal(wq->q.count, config->per_tensor_weights ? 1 : oc);
    for (int64_t c = 0; c < oc; c++) {
        const float scale = wq->q.scale[config->per_tensor_weights ? 0 : c];
        int most = 0;
        for (int64_t i = c * k; i < (c + 1) * k; i++) {
            const float code = rintf(real[i] / scale);
            assert_int_equal(codes[i], (int)fmaxf(-127, fminf(127, code)));
            most = abs(codes[i]) > most ? abs(codes[i]) : most;
        }
        if (!config->per_tensor_weights && config->scale == CLQ_SCALE_FLOAT) {
            assert_int_equal(most, 127); /* the channel's largest weight */
        }
        if (node->input_count > 2) {
            const clq_value *b = &from->values[node->inputs[2]], *bq = &to->values[node->inputs[2]];
            const float unit = x_scale * scale;
            assert_int_equal(bq->dtype, CLQ_S32);
            assert_int_equal(bq->q.type, CLQ_Q_S32);
            assert_int_equal(bq->q.count, wq->q.count);
            assert_true(bq->q.scale[config->per_tensor_weights ? 0 : c] == unit);
            assert_int_equal(((int32_t *)bq->data)[c], (int)rintf(((float *)b->data)[c] / unit));
        }
    }
}

static void conversion_rounds_weights_and_biases(void **state) {
    (void)state;
    for (int variant = 0; variant < 3; variant++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.per_tensor_weights = variant == 1;
        config.scale = variant == 2 ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        clq_graph *graph = net_folded(net_everything(SIZE)), *integer = NULL;
        int layers = 0;
        net_calibrate(test_device, graph, &config, IMAGES, BATCH);
        assert_ok(clq_convert(graph, &integer));
        assert_int_equal(clq_graph_form(integer), CLQ_FORM_INTEGER);
        assert_ok(clq_graph_validate(integer));
        for (int n = 0; n < graph->node_count; n++) {
            const char *op = graph->nodes[n].op->name;
            if (strcmp(op, "conv2d") == 0 || strcmp(op, "linear") == 0) {
                check_layer(graph, integer, &integer->nodes[n], &config);
                layers++;
            }
        }
        assert_int_equal(layers, 8);
        assert_status(clq_convert(integer, &graph), CLQ_USAGE);
        clq_graph_destroy(graph);
        clq_graph_destroy(integer);
    }
}

/* A layer of zeros, a dead channel with a bias, and a constant activation. */
static void degenerate_layers_convert(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_folded(net_everything(SIZE)), *integer = NULL;
    clq_value *zeros = &graph->values[clq_graph_find_value(graph, "stem.weight")];
    clq_value *dead = &graph->values[clq_graph_find_value(graph, "b2.conv1.weight")];
    clq_value *bias = &graph->values[clq_graph_find_value(graph, "b2.conv1.bias")];
    const size_t k = (size_t)(clq_shape_count(&dead->shape) / dead->shape.dim[0]);
    memset(zeros->data, 0, (size_t)clq_shape_count(&zeros->shape) * sizeof(float));
    for (size_t i = 0; i < k; i++) {
        ((float *)dead->data)[i] = (float)i * 1e-42f; /* subnormal */
    }
    ((float *)bias->data)[0] = 0.75f;
    net_calibrate(test_device, graph, &config, IMAGES, BATCH);
    assert_ok(clq_convert(graph, &integer));
    bias = &integer->values[clq_graph_find_value(integer, "b2.conv1.bias")];
    const double real = (double)((int32_t *)bias->data)[0] * (double)bias->q.scale[0];
    assert_true(fabs(real - 0.75) < 1e-5);
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, 9);
    clq_verification v;
    assert_ok(clq_verify(test_device, integer, data, 4, 0, &v));
    assert_string_equal(v.first_mismatch, "");
    for (int i = 0; i < v.layer_count; i++) {
        assert_true(v.layers[i].float_exact);
    }
    clq_verification_clear(&v);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
    clq_graph_destroy(integer);
}

/* One convolution with a ReLU: weights of 1e-6, biases of about 1. */
static clq_graph *net_of_biases(void) {
    const clq_network_options options = {.network = "test", .size = SIZE};
    const clq_conv2d_attrs same = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};
    clq_builder b = {.options = &options};
    assert_ok(clq_graph_create("biases", &b.graph));
    int x = clq_build_input(&b, (clq_shape){4, {1, SIZE, SIZE, 3}});
    x = clq_build_op(&b, "relu", "relu", net_conv(&b, "conv", x, 7, same, true));
    x = clq_build_linear(&b, "fc", clq_build_op(&b, "flatten", "flatten", x), 5,
                         CLQ_LINEAR_UNIFORM);
    clq_graph_set_output(b.graph, x);
    assert_ok(b.status);
    net_randomise(b.graph, 1e-6f);
    const clq_value *bias = &b.graph->values[clq_graph_find_value(b.graph, "conv.bias")];
    clq_test_fill_f32(bias->data, 7, 0.5f, 1.5f, 3);
    return net_folded(b.graph);
}

/* Biases that dwarf the weights keep their values, with one scale too: (5)'s second term. */
static void biases_fit_beside_small_weights(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.per_tensor_weights = variant % 2 == 1;
        config.scale = variant / 2 == 1 ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        config.max_shift = 30;
        clq_graph *graph = net_of_biases(), *integer = NULL;
        net_calibrate(test_device, graph, &config, IMAGES, BATCH);
        assert_ok(clq_convert(graph, &integer));
        const clq_value *real = &graph->values[clq_graph_find_value(graph, "conv.bias")];
        const clq_value *codes = &integer->values[clq_graph_find_value(integer, "conv.bias")];
        for (int c = 0; c < 7; c++) {
            const float scale = codes->q.scale[config.per_tensor_weights ? 0 : c];
            const float kept = (float)((int32_t *)codes->data)[c] * scale;
            assert_true(fabsf(kept / ((float *)real->data)[c] - 1) < 1e-5f);
        }
        clq_graph_destroy(graph);
        clq_graph_destroy(integer);
    }
}

/* A power of two that max_shift keeps too small for a bias: refused, with its place and remedy. */
static void biases_beyond_their_scale_are_named(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    config.scale = CLQ_SCALE_POW2;
    config.max_shift = 4;
    clq_graph *graph = net_of_biases();
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    ((float *)graph->values[clq_graph_find_value(graph, "conv.bias")].data)[2] = 1e12f;
    assert_status(clq_calibrate(test_device, graph, feed, BATCH, &config, NULL), CLQ_BAD_DATA);
    assert_error_has("node conv: channel 2: bias 1e+12");
    assert_error_has("max_shift 4");
    /* and where a graph brings its own scales */
    config.scale = CLQ_SCALE_FLOAT;
    clq_graph_destroy(graph);
    graph = net_of_biases();
    net_calibrate(test_device, graph, &config, IMAGES, BATCH);
    clq_value *w = &graph->values[clq_graph_find_value(graph, "conv.weight")];
    for (int64_t c = 0; c < w->q.count; c++) {
        w->q.scale[c] = 1e-15f;
    }
    const clq_exec_options options = {.mode = CLQ_EXEC_FAKE_QUANT, .batch = 1};
    clq_exec *exec = NULL;
    assert_status(clq_exec_create(test_device, graph, &options, &exec), CLQ_BAD_DATA);
    assert_error_has("node conv: channel 0: the bias is beyond 2^30 steps");
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
}

/* What is reported: every scale, those that max_shift clamped, and the max_shift that is enough. */
static void clamped_scales_are_reported(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_report report;
    clq_quant_config_init(&config);
    config.scale = CLQ_SCALE_POW2;
    config.max_shift = 3;
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    for (int round = 0; round < 2; round++) {
        clq_graph *graph = net_folded(net_everything(SIZE));
        clq_feed *feed = net_feed(test_device, data, BATCH);
        assert_ok(clq_calibrate(test_device, graph, feed, BATCH, &config, &report));
        assert_int_equal(report.images, IMAGES);
        assert_string_equal(report.unit, "images");
        assert_non_null(
            strstr(clq_graph_get_metadata(graph, "clquant.quantization"), "\"scale\": \"pow2\""));
        int64_t at_the_end = 0, scales = 0;
        for (int v = 0; v < graph->value_count; v++) {
            const clq_value *value = &graph->values[v];
            const clq_op *op = value->producer < 0 ? NULL : graph->nodes[value->producer].op;
            if (op && op->output_shares_qparams) {
                continue; /* counted where the observer is */
            }
            scales += value->q.count;
            for (int64_t i = 0; i < value->q.count; i++) {
                at_the_end += value->q.scale[i] == 0x1p-3f;
            }
        }
        assert_int_equal(report.scales, scales);
        if (round == 0) {
            assert_true(report.clamped > 0 && report.clamped <= at_the_end);
            assert_true(report.value_count > 0 && report.max_shift > 3);
            assert_string_equal(report.values[0].name, "input");
            config.max_shift = report.max_shift;
        } else {
            assert_int_equal(report.clamped, 0);
            assert_int_equal(report.value_count, 0);
        }
        clq_quant_report_clear(&report);
        clq_feed_destroy(feed);
        clq_graph_destroy(graph);
    }
    clq_dataset_close(data);
}

static void conversion_wants_finite_weights(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_folded(net_everything(SIZE)), *integer = NULL;
    net_calibrate(test_device, graph, &config, IMAGES, BATCH);
    ((float *)graph->values[clq_graph_find_value(graph, "fc1.weight")].data)[3] = NAN;
    assert_status(clq_convert(graph, &integer), CLQ_BAD_DATA);
    assert_error_has("fc1.weight");
    assert_null(integer);
    clq_graph_destroy(graph);
}

/* Every allocation fails in turn: an error, and nothing leaks. */
static void conversion_survives_failing_allocations(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_folded(net_everything(SIZE));
    net_calibrate(test_device, graph, &config, IMAGES, BATCH);
    for (long nth = 1;; nth++) {
        clq_graph *integer = NULL;
        clq_test_fail_allocation(nth);
        const clq_status status = clq_convert(graph, &integer);
        if (status == CLQ_OK) {
            clq_graph_destroy(integer);
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
        assert_int_equal(clq_test_live_allocations(), 0);
    }
    clq_test_restore_allocator();
    clq_graph_destroy(graph);
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
        cmocka_unit_test(conversion_rounds_weights_and_biases),
        cmocka_unit_test(degenerate_layers_convert),
        cmocka_unit_test(biases_fit_beside_small_weights),
        cmocka_unit_test(biases_beyond_their_scale_are_named),
        cmocka_unit_test(clamped_scales_are_reported),
        cmocka_unit_test(conversion_wants_finite_weights),
        cmocka_unit_test(conversion_survives_failing_allocations),
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

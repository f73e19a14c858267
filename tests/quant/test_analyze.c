/* The analysis of layers: the one that was made wrong is found, what it says of keeping a layer
 * float is what keeping it float gives, and nothing depends on how samples are batched. */
#include <clquant/analyze.h>

#include <math.h>

#include "ops/layer.h"
#include "quant/analyze.h"
#include "support/device.h"
#include "support/quant_nets.h"

enum { SIZE = 9, IMAGES = 10, BATCH = 4, SEEN = 8 };

static clq_device *device;

static int setup(void **state) {
    (void)state;
    return clq_test_open(NULL, &device) == CLQ_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    clq_device_close(device);
    return 0;
}

/* stem - relu - (conv1 - relu6 - conv2) + - flatten - fc */
static clq_graph *small_net(void) {
    const clq_network_options options = {.network = "test", .size = SIZE};
    clq_builder b = {.options = &options};
    assert_ok(clq_graph_create("small", &b.graph));
    const clq_conv2d_attrs same = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};
    int x = clq_build_input(&b, (clq_shape){4, {1, SIZE, SIZE, 3}});
    x = clq_build_op(&b, "relu", "stem.relu", net_conv(&b, "stem", x, 13, same, true));
    int y = clq_build_op(&b, "relu6", "conv1.relu6", net_conv(&b, "conv1", x, 13, same, true));
    x = clq_build_add(&b, "add", net_conv(&b, "conv2", y, 13, same, true), x);
    x = clq_build_op(&b, "flatten", "flatten", x); /* keeps its codes */
    x = clq_build_linear(&b, "fc", x, 10, CLQ_LINEAR_UNIFORM);
    clq_graph_set_output(b.graph, x);
    assert_ok(b.status);
    net_randomise(b.graph, 0.15f);
    return b.graph;
}

/* The calibrated form. */
static clq_graph *quantized(const char *keep_float) {
    clq_quant_config config;
    clq_graph *graph = net_folded(small_net());
    clq_quant_config_init(&config);
    if (keep_float) {
        clq_policy_rule rule = {.keep_float = true};
        strcpy(rule.name, keep_float);
        assert_ok(clq_policy_add(&config.policy, &rule));
    }
    net_calibrate(device, graph, &config, SEEN, BATCH);
    return graph;
}

static clq_graph *converted(clq_graph *graph) {
    clq_graph *integer = NULL;
    assert_ok(clq_convert(graph, &integer));
    clq_graph_destroy(graph);
    return integer;
}

/* Analyzes an integer network, which goes, beside a real one, which goes too. */
static clq_analysis analyzed_beside(clq_graph *real, clq_graph *integer, int batch) {
    clq_graph *trained = small_net();
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, IMAGES);
    clq_feed *feed = net_feed(device, data, batch);
    clq_analysis analysis;
    assert_ok(clq_analyze(device, trained, real, integer, feed, batch, 0, &analysis));
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(trained);
    clq_graph_destroy(real);
    clq_graph_destroy(integer);
    return analysis;
}

static clq_analysis analyzed(clq_graph *integer, int batch) {
    return analyzed_beside(net_folded(small_net()), integer, batch);
}

static const clq_analysis_layer *layer_of(const clq_analysis *analysis, const char *name) {
    for (int i = 0; i < analysis->layer_count; i++) {
        if (strcmp(analysis->layers[i].name, name) == 0) {
            return &analysis->layers[i];
        }
    }
    fail_msg("no layer is called %s", name);
    return NULL;
}

/* ---- what is found ---- */

static void everything_is_measured(void **state) {
    static const char *const names[] = {"input", "stem", "conv1", "conv2", "add", "fc"};
    static const char *const types[] = {"u8", "u8 x s8_narrow", "u8 x s8_narrow", "u8 x s8_narrow",
                                        "u8", "u8 x s8_narrow"};
    (void)state;
    clq_analysis a = analyzed(converted(quantized(NULL)), BATCH);
    const clq_score *ladder = a.ladder;
    assert_int_equal(a.samples, IMAGES);
    assert_string_equal(a.unit, "images");
    assert_true(a.has_classes && a.has_labels);
    assert_true(ladder[CLQ_LADDER_FP32].error == 0 && ladder[CLQ_LADDER_FP32].flips == 0);
    assert_true(ladder[CLQ_LADDER_FOLDED].error < 1e-5);
    assert_true(ladder[CLQ_LADDER_WEIGHTS].error > 0 && ladder[CLQ_LADDER_WEIGHTS].error < 0.05);
    assert_true(ladder[CLQ_LADDER_SIMULATED].error > 0);
    assert_memory_equal(&ladder[CLQ_LADDER_SIMULATED], &ladder[CLQ_LADDER_INTEGER], sizeof *ladder);
    for (int i = 0; i < CLQ_LADDER_STAGES; i++) {
        assert_true(ladder[i].low <= ladder[i].top1 && ladder[i].top1 <= ladder[i].high);
    }
    assert_int_equal(a.layer_count, 6);
    for (int i = 0; i < 6; i++) {
        const clq_analysis_layer *layer = layer_of(&a, names[i]);
        int64_t seen = 0;
        assert_int_equal(layer->place, i);
        assert_string_equal(layer->type, types[i]);
        assert_true(layer->sqnr_db > 25 && layer->sqnr_db < 80);
        assert_true(layer->cosine > 0.99 && layer->cosine < 1);
        assert_true(layer->sqnr_accumulated_db < layer->sqnr_db + 1e-9);
        assert_true(layer->only.error > 0 &&
                    layer->only.error < ladder[CLQ_LADDER_INTEGER].error * 2);
        assert_int_equal(isnan(layer->without.error), i == 0);
        for (int b = 0; b < layer->histogram.bins; b++) {
            seen += layer->histogram.counts[b];
        }
        assert_int_equal(seen % IMAGES, 0);
        assert_true(seen > 0 && layer->least < layer->most);
        assert_true(layer->histogram.low <= layer->least);
        assert_true(layer->histogram.low + layer->histogram.width * layer->histogram.bins >
                    layer->most);
        assert_true(i == 0 || layer->only.error <= 0 ||
                    (a.layers[i - 1].only.error >= a.layers[i].only.error));
    }
    assert_int_equal(layer_of(&a, "stem")->bytes, 13 * 9 * 3 + 4 * 13);
    assert_true(isnan(layer_of(&a, "fc")->clipped)); /* the network's output is real */
    assert_true(layer_of(&a, "stem")->code_most >= layer_of(&a, "stem")->most * 0.5);
    clq_analysis_clear(&a);
}

/* A scale that is wrong: the layer is first by every measure, and only there is something clipped.
 */
static void check_first(clq_analysis *a, const char *name) {
    const clq_analysis_layer *first = &a->layers[0];
    assert_string_equal(first->name, name);
    for (int i = 1; i < a->layer_count; i++) {
        assert_true(first->sqnr_db < a->layers[i].sqnr_db);
        assert_true(first->cosine < a->layers[i].cosine);
        assert_true(first->only.error > a->layers[i].only.error);
        assert_true(first->only.top1 <= a->layers[i].only.top1);
    }
    clq_analysis_clear(a);
}

static void wrong_weights_are_found(void **state) {
    static const char *const names[] = {"conv2", "fc"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        clq_graph *graph = quantized(NULL);
        const clq_node *node = &graph->nodes[clq_graph_find_node(graph, names[i])];
        clq_qparams *q = &graph->values[node->inputs[CLQ_LAYER_W]].q;
        for (int64_t c = 0; c < q->count; c++) {
            q->scale[c] *= 4;
        }
        clq_analysis a = analyzed(converted(graph), BATCH);
        check_first(&a, names[i]);
    }
}

static void wrong_activations_are_found(void **state) {
    (void)state;
    clq_graph *graph = quantized(NULL);
    graph->values[clq_graph_find_value(graph, "conv1")].q.scale[0] /= 8;
    clq_analysis a = analyzed(converted(graph), BATCH);
    assert_true(layer_of(&a, "conv1")->clipped > 0.1);
    assert_true(layer_of(&a, "conv2")->clipped < 0.02);
    /* conv2 by itself is as good as ever; it is only in the network that it reads clipped codes. */
    assert_true(layer_of(&a, "conv2")->sqnr_db > 25);
    assert_true(layer_of(&a, "conv2")->sqnr_accumulated_db < 20);
    check_first(&a, "conv1");
    graph = quantized(NULL);
    graph->values[clq_graph_input(graph)].q.scale[0] /= 8;
    a = analyzed(converted(graph), BATCH);
    check_first(&a, "input");
}

/* What it says of a layer that is kept float is what --keep-float gives. */
static void keeping_a_layer_gives_what_was_said(void **state) {
    static const char *const names[] = {"stem", "conv2", "add", "fc"};
    (void)state;
    clq_analysis a = analyzed(converted(quantized(NULL)), BATCH);
    for (int i = 0; i < 4; i++) {
        clq_analysis kept = analyzed(converted(quantized(names[i])), BATCH);
        const clq_score *said = &layer_of(&a, names[i])->without;
        const clq_score *is = &kept.ladder[CLQ_LADDER_INTEGER];
        if (said->error != is->error || said->top1 != is->top1 || said->flips != is->flips) {
            fail_msg("%s: error %.17g was said, and is %.17g", names[i], said->error, is->error);
        }
        clq_analysis_clear(&kept);
    }
    clq_analysis_clear(&a);
}

/* A network of which a layer is float already. */
static void float_layers_are_listed(void **state) {
    (void)state;
    clq_analysis a = analyzed(converted(quantized("conv2")), BATCH);
    const clq_analysis_layer *layer = layer_of(&a, "conv2");
    /* Its weights are, and its output is rounded for the addition. */
    assert_string_equal(layer->type, "f32 x f32");
    assert_false(layer->is_float);
    assert_true(layer->sqnr_db > 25 && layer->only.error > 0);
    clq_analysis_clear(&a);
    a = analyzed(converted(quantized("fc")), BATCH);
    layer = layer_of(&a, "fc");
    assert_true(layer->is_float);
    assert_true(isinf(layer->sqnr_db));
    assert_true(layer->only.error == a.ladder[CLQ_LADDER_FOLDED].error);
    assert_true(layer->without.error == a.ladder[CLQ_LADDER_INTEGER].error);
    assert_int_equal(layer->bytes, 4 * (13 * SIZE * SIZE * 10 + 10));
    clq_analysis_clear(&a);
}

/* Other tools keep nodes apart that clquant folds, and leave a ReLU out where the codes before it
 * end at 0: the layers are the same, and so is what is said of keeping them float. */
static void nodes_may_be_left_out(void **state) {
    (void)state;
    clq_analysis a = analyzed(converted(quantized(NULL)), BATCH);
    clq_analysis b = analyzed_beside(small_net(), converted(quantized(NULL)), BATCH);
    assert_int_equal(b.layer_count, a.layer_count);
    assert_true(layer_of(&b, "conv2")->without.error == layer_of(&a, "conv2")->without.error);
    assert_true(layer_of(&b, "conv2")->only.error == layer_of(&a, "conv2")->only.error);
    assert_true(b.ladder[CLQ_LADDER_FOLDED].error == 0);
    clq_analysis_clear(&a);
    clq_analysis_clear(&b);
}

/* Equalized weights are compared with the equalized float network. */
static void equalized_networks_have_their_own_float_one(void **state) {
    clq_quant_config config;
    clq_graph *trained = small_net(), *real = NULL, *folded = net_folded(small_net()), *made = NULL;
    (void)state;
    clq_quant_config_init(&config);
    config.equalize = true;
    config.images = SEEN;
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, SEEN);
    clq_feed *feed = net_feed(device, data, BATCH);
    assert_ok(clq_ptq(device, trained, feed, BATCH, &config, NULL, &made));
    assert_ok(clq_feed_seek(feed, 0, 0));
    assert_ok(clq_ptq_float(device, trained, feed, BATCH, &config, &real));
    clq_graph *integer = converted(made);
    assert_ok(clq_analysis_check_weights(real, integer));
    assert_status(clq_analysis_check_weights(folded, integer), CLQ_BAD_DATA);
    assert_error_has("weights are not the float one's, rounded");
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_analysis a = analyzed_beside(real, integer, BATCH);
    assert_true(a.ladder[CLQ_LADDER_FOLDED].error < 1e-5);
    for (int i = 0; i < a.layer_count; i++) {
        assert_true(a.layers[i].sqnr_db > 25);
    }
    clq_analysis_clear(&a);
    clq_graph_destroy(trained);
    clq_graph_destroy(folded);
}

static void batches_do_not_matter(void **state) {
    (void)state;
    clq_analysis a = analyzed(converted(quantized(NULL)), BATCH);
    clq_analysis b = analyzed(converted(quantized(NULL)), 3);
    assert_memory_equal(a.ladder, b.ladder, sizeof a.ladder);
    for (int i = 0; i < a.layer_count; i++) {
        assert_string_equal(a.layers[i].name, b.layers[i].name);
        clq_free(a.layers[i].name);
        a.layers[i].name = NULL;
        clq_free(b.layers[i].name);
        b.layers[i].name = NULL;
        assert_memory_equal(&a.layers[i], &b.layers[i], sizeof a.layers[i]);
    }
    clq_analysis_clear(&a);
    clq_analysis_clear(&b);
}

/* ---- what is refused ---- */

static void other_networks_are_refused(void **state) {
    (void)state;
    clq_graph *folded = net_folded(small_net()), *integer = converted(quantized(NULL));
    clq_graph *other = net_folded(net_everything(12));
    clq_analysis analysis;
    assert_ok(clq_analysis_check(folded, integer));
    assert_status(clq_analysis_check(other, integer), CLQ_BAD_DATA);
    assert_error_has("input \"input\" is 1x12x12x3 in the float one and 1x9x9x3");
    clq_graph_destroy(other);
    other = net_folded(net_everything(SIZE));
    assert_status(clq_analysis_check(other, integer), CLQ_BAD_DATA);
    assert_error_has("the float one has the layer \"b1.conv1\"");
    clq_graph_destroy(other);
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, IMAGES);
    clq_feed *feed = net_feed(device, data, BATCH);
    assert_status(clq_analyze(device, folded, folded, folded, feed, BATCH, 0, &analysis),
                  CLQ_USAGE);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(folded);
    clq_graph_destroy(integer);
}

/* Out of memory anywhere in making the networks: nothing is left behind. */
static void memory_may_run_out(void **state) {
    (void)state;
    clq_graph *folded = net_folded(small_net()), *integer = converted(quantized(NULL));
    const int conv1 = clq_graph_find_node(folded, "conv1");
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; status != CLQ_OK; n++) {
        clq_analysis_graphs graphs = {0};
        clq_lone_graph lone = {0};
        clq_graph *kept = NULL, *rounded = NULL;
        clq_test_fail_allocation(n);
        status = clq_analysis_graphs_open(folded, integer, &graphs);
        if (status == CLQ_OK) {
            status = clq_analysis_quantize_one(&graphs, folded->nodes[conv1].output, &lone);
        }
        if (status == CLQ_OK) {
            status = clq_analysis_keep_one(&graphs, conv1, &kept);
        }
        if (status == CLQ_OK) {
            status = clq_analysis_round_parameters(&graphs, &rounded);
        }
        clq_graph_destroy(lone.graph);
        clq_graph_destroy(kept);
        clq_graph_destroy(rounded);
        clq_analysis_graphs_close(&graphs);
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
        assert_int_equal(clq_test_live_allocations(), 0);
    }
    clq_test_restore_allocator();
    clq_graph_destroy(folded);
    clq_graph_destroy(integer);
}

/* ---- the sums ---- */

static void signals_and_histograms(void **state) {
    static const float x[] = {3, -4, 0, 1e-3f}, y[] = {3, -4.5f, 0, 1e-3f};
    static const float scale = 0.5f;
    (void)state;
    clq_signal signal = {0};
    assert_true(isinf(clq_signal_sqnr_db(&signal)));
    clq_signal_add(&signal, x, y, 4);
    assert_true(fabs(clq_signal_sqnr_db(&signal) - 20) < 1e-4); /* 25 : 0.25 */
    assert_true(fabs(clq_signal_cosine(&signal) - 27 / sqrt(25 * 29.25)) < 1e-6);

    clq_qparams q = {0};
    clq_value_histogram histogram;
    clq_spread_sums sums;
    assert_ok(clq_qparams_set(&q, 1, &scale, 2, CLQ_Q_U8)); /* -1 .. 126.5 */
    clq_spread_begin(&sums, &q);
    clq_spread_end(&sums, &histogram);
    assert_int_equal(histogram.bins, 0);
    static const float values[] = {0, 1, -1.25f, -1.26f, 126.7f, 127, NAN, INFINITY, 0};
    clq_spread_add(&sums, values, sizeof values / sizeof *values);
    clq_spread_end(&sums, &histogram);
    assert_int_equal(sums.seen, 7);
    assert_int_equal(sums.clipped, 2); /* what lies within half a step is rounded */
    assert_true(sums.least == -1.26f && sums.most == 127);
    assert_true(histogram.width == 1 && histogram.low == -2);
    assert_int_equal(histogram.bins, 130);
    assert_int_equal(histogram.counts[0], 2);
    assert_int_equal(histogram.counts[2], 2);
    assert_int_equal(histogram.counts[3], 1);
    assert_int_equal(histogram.counts[128], 1);
    assert_int_equal(histogram.counts[129], 1);
    clq_qparams_clear(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_measured),
        cmocka_unit_test(wrong_weights_are_found),
        cmocka_unit_test(wrong_activations_are_found),
        cmocka_unit_test(keeping_a_layer_gives_what_was_said),
        cmocka_unit_test(float_layers_are_listed),
        cmocka_unit_test(nodes_may_be_left_out),
        cmocka_unit_test(equalized_networks_have_their_own_float_one),
        cmocka_unit_test(batches_do_not_matter),
        cmocka_unit_test(other_networks_are_refused),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(signals_and_histograms),
    };
    return cmocka_run_group_tests_name("quant/analyze", tests, setup, teardown);
}

/* The methods that make PTQ better: the function stays, the error falls, results repeat. */
#include <math.h>

#include "kernels/include/scales.h"
#include "quant/internal.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 12, IMAGES = 16, BATCH = 8 };

/* The real outputs of a graph on the data. */
static float *outputs(clq_graph *graph, clq_exec_mode mode, size_t *count) {
    const clq_exec_options options = {.mode = mode, .batch = BATCH};
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    clq_exec *exec = NULL;
    assert_ok(clq_exec_create(test_device, graph, &options, &exec));
    const size_t one = (size_t)clq_shape_count(&graph->values[clq_graph_output(graph)].shape);
    float *y = malloc(IMAGES * one * sizeof *y);
    for (size_t i = 0; i < IMAGES; i += BATCH) {
        clq_feed_batch batch;
        assert_ok(clq_feed_fill(feed, exec, &batch));
        assert_ok(clq_exec_forward(exec));
        assert_ok(clq_buffer_read(clq_exec_output(exec)->buffer, 0, BATCH * one * sizeof *y,
                                  y + i * one));
    }
    *count = IMAGES * one;
    clq_exec_destroy(exec);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    return y;
}

static clq_graph *trained(const char *network) {
    const clq_network_options options = {.network = network, .size = SIZE};
    return net_built(&options);
}

static void equalization_keeps_the_function(void **state) {
    (void)state;
    clq_graph *graph = net_folded(trained("resnet20")), *equal = NULL;
    clq_equalization report;
    size_t count;
    float *y = outputs(graph, CLQ_EXEC_FLOAT, &count);
    assert_ok(clq_graph_equalize(graph, NULL, &report, &equal));
    assert_true(report.count >= 9);
    float *z = outputs(equal, CLQ_EXEC_FLOAT, &count);
    for (size_t i = 0; i < count; i++) {
        assert_true(fabsf(z[i] - y[i]) <= 1e-5f * (1 + fabsf(y[i])));
    }
    free(y);
    free(z);
    clq_equalization_clear(&report);
    clq_graph_destroy(equal);
    clq_graph_destroy(graph);
}

/* ---- all of it ---- */

static clq_graph *ptq(const clq_graph *graph, const clq_quant_config *config,
                      clq_quant_report *report) {
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    clq_graph *quantized = NULL;
    assert_ok(clq_ptq(test_device, graph, feed, BATCH, config, report, &quantized));
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    return quantized;
}

static void assert_exact(const clq_graph *quantized) {
    clq_graph *integer = NULL;
    clq_verification v;
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, BATCH);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    assert_ok(clq_convert(quantized, &integer));
    assert_ok(net_verify_feed(test_device, integer, feed, BATCH, &v));
    assert_int_equal(v.mismatched_codes, 0);
    clq_verification_clear(&v);
    clq_graph_destroy(integer);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
}

/* Three layers of which each alone reads the one before, with ReLU6 between. */
static clq_graph *network_with_relu6(void) {
    const clq_network_options options = {.network = "test", .size = SIZE};
    clq_builder b = {.options = &options};
    clq_conv2d_attrs attrs = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};
    assert_ok(clq_graph_create("relu6", &b.graph));
    int x = clq_build_input(&b, (clq_shape){4, {1, SIZE, SIZE, 3}});
    x = clq_build_op(&b, "relu6", "stem.relu6", net_conv(&b, "stem", x, 8, attrs, true));
    attrs.groups = 8;
    x = clq_build_op(&b, "relu6", "depth.relu6", net_conv(&b, "depth", x, 8, attrs, true));
    x = clq_build_op(&b, "global_avg_pool", "pool", x);
    clq_graph_set_output(b.graph, clq_build_linear(&b, "fc", x, 5, CLQ_LINEAR_UNIFORM));
    assert_ok(b.status);
    net_randomise(b.graph, 0.5f);
    return b.graph;
}

static void pairs_with_relu6_are_equalized_by_data(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_report report;
    clq_quant_config_init(&config);
    config.equalize = config.per_tensor_weights = true;
    clq_graph *graph = network_with_relu6();
    clq_graph *quantized = ptq(graph, &config, &report);
    assert_int_equal(report.equalization.count, 2);
    const clq_equalized_pair *pair = &report.equalization.pairs[0];
    assert_true(pair->channels == 8 && pair->held > 0 && pair->held < 8);
    const char *text = clq_graph_get_metadata(quantized, "clquant.quantization");
    assert_non_null(strstr(text, "\"equalize\": true"));
    assert_non_null(strstr(text, "\"pairs\": [[\"stem\", \"depth\"], [\"depth\", \"fc\"]]"));
    assert_exact(quantized);
    clq_quant_report_clear(&report);
    clq_graph_destroy(quantized);
    clq_graph_destroy(graph);
}

/* ---- bias correction ---- */

/* All weights lie 0.4 steps above their codes: what is summed up over positive inputs is far off.
 */
static clq_graph *biased_network(void) {
    const clq_network_options options = {.network = "test", .size = SIZE};
    clq_builder b = {.options = &options};
    const clq_conv2d_attrs attrs = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};
    assert_ok(clq_graph_create("biased", &b.graph));
    int x = clq_build_input(&b, (clq_shape){4, {1, SIZE, SIZE, 3}});
    x = clq_build_op(&b, "relu", "relu1", net_conv(&b, "conv1", x, 8, attrs, true));
    x = clq_build_op(&b, "relu", "relu2", net_conv(&b, "conv2", x, 8, attrs, false));
    x = clq_build_op(&b, "global_avg_pool", "pool", x);
    clq_graph_set_output(b.graph, clq_build_linear(&b, "fc", x, 5, CLQ_LINEAR_UNIFORM));
    assert_ok(b.status);
    net_randomise(b.graph, 0.15f);
    clq_value *w = &b.graph->values[clq_graph_find_value(b.graph, "conv2.weight")];
    for (int64_t i = 0; i < clq_shape_count(&w->shape); i++) {
        ((float *)w->data)[i] = i % 72 == 0 ? 7 : 0.4f + (float)(i % 5) - 2; /* of scale 1 */
    }
    return b.graph;
}

static void bias_correction_takes_shifts_back(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_report report;
    clq_bias_correction again;
    clq_quant_config_init(&config);
    config.bias_correct = true;
    config.policy = (clq_policy){{{.weights = CLQ_Q_S4}}, 1};
    clq_graph *graph = biased_network();
    clq_graph *quantized = ptq(graph, &config, &report), *folded = net_folded(graph);
    assert_int_equal(report.bias_correction.layers, 3);
    assert_true(report.bias_correction.largest > 0.1);
    assert_string_equal(report.bias_correction.worst, "conv2");
    assert_true(clq_graph_find_value(quantized, "conv2.bias") >= 0);
    const char *text = clq_graph_get_metadata(quantized, "clquant.quantization");
    assert_non_null(strstr(text, "\"bias_corrected\": {\"images\": 16, \"layers\": 3, "));
    assert_exact(quantized);
    /* A second time there is nothing left but biases' own rounding: half a step of x_scale w_scale,
     * which is 4e-4 here where outputs are 0.5. */
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    assert_ok(clq_correct_biases(test_device, folded, quantized, feed, BATCH, IMAGES, &again));
    assert_true(again.largest < 2e-3);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_quant_report_clear(&report);
    clq_graph_destroy(quantized);
    clq_graph_destroy(folded);
}

/* ---- AdaRound ---- */

static void assert_neighbours(const clq_graph *rounded, const clq_graph *folded) {
    int changed = 0;
    for (int n = 0; n < rounded->node_count; n++) {
        if (!clq_is_quantized_layer(rounded, n)) {
            continue;
        }
        const clq_value *w = &rounded->values[rounded->nodes[n].inputs[CLQ_LAYER_W]];
        const float *real = folded->values[clq_graph_find_value(folded, w->name)].data;
        const float *got = w->data;
        const clq_qtype_info *type = clq_qtype_get(w->q.type);
        const int64_t count = clq_shape_count(&w->shape), k = count / w->shape.dim[0];
        for (int64_t i = 0; i < count; i++) {
            const float s = w->q.scale[w->q.count == 1 ? 0 : i / k];
            const float lowest = (float)type->lowest, highest = (float)type->highest;
            const float code = clq_quantize_code(got[i], s, 0, lowest, highest);
            const double exact =
                fmin(fmax((double)real[i] / (double)s, type->lowest), type->highest);
            assert_true(got[i] == s * code);
            assert_true((double)code == floor(exact) || (double)code == ceil(exact) ||
                        fabs((double)code - exact) < 1e-5);
            changed += code != clq_quantize_code(real[i], s, 0, lowest, highest);
        }
    }
    assert_true(changed > 0);
}

static void assert_equal_parameters(const clq_graph *a, const clq_graph *b) {
    for (int v = 0; v < a->value_count; v++) {
        const clq_value *value = &a->values[v];
        const size_t bytes = (size_t)clq_shape_count(&value->shape) * sizeof(float);
        assert_true(!value->data || memcmp(value->data, b->values[v].data, bytes) == 0);
    }
}

static clq_graph *adaround(const clq_graph *graph, clq_policy_rule rule, bool per_tensor,
                           double *error) {
    clq_quant_config config;
    clq_quant_report report;
    clq_quant_config_init(&config);
    config.adaround = 60;
    config.per_tensor_weights = per_tensor;
    config.policy = (clq_policy){{rule}, 1};
    clq_graph *quantized = ptq(graph, &config, &report);
    assert_true(report.adaround.layers == clq_count_quantized_layers(quantized));
    assert_true(report.adaround.layers > 0 && report.adaround.images == IMAGES);
    assert_true(report.adaround.after < 0.9 * report.adaround.before);
    *error = report.adaround.after;
    clq_quant_report_clear(&report);
    return quantized;
}

/* Two runs give the same bits. */
static void adaround_lowers_the_error(void **state) {
    (void)state;
    clq_graph *graph = net_everything(SIZE), *folded = NULL;
    assert_ok(clq_graph_fold(graph, &folded));
    for (int i = 0; i < 3; i++) {
        static const clq_policy_rule rules[] = {
            {.weights = CLQ_Q_S3},
            {.weights = CLQ_Q_S4},
            {.weights = CLQ_Q_S4, .activations = CLQ_Q_FLOAT}, /* weights alone */
        };
        double error, same;
        clq_graph *quantized = adaround(graph, rules[i], i == 1, &error);
        clq_graph *again = adaround(graph, rules[i], i == 1, &same);
        assert_true(error == same);
        assert_neighbours(quantized, folded);
        assert_equal_parameters(quantized, again);
        if (i > 0) {
            assert_exact(quantized);
        }
        clq_graph_destroy(quantized);
        clq_graph_destroy(again);
    }
    clq_graph_destroy(graph);
    clq_graph_destroy(folded);
}

/* Other sums, nearly the same error: of the schedule that was first, and the other. */
static void schedules_are_close(void **state) {
    (void)state;
    static double first;
    double error;
    clq_graph *graph = network_with_relu6();
    clq_graph_destroy(adaround(graph, (clq_policy_rule){.weights = CLQ_Q_S3}, false, &error));
    first = first > 0 ? first : error;
    assert_true(fabs(error / first - 1) < 0.05);
    clq_graph_destroy(graph);
}

static void levels_have_no_neighbours(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    config.adaround = 10;
    config.weight_steps = CLQ_STEPS_APOT;
    assert_status(clq_quant_config_check(&config), CLQ_USAGE);
    assert_error_has("adaround");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equalization_keeps_the_function),
        cmocka_unit_test(pairs_with_relu6_are_equalized_by_data),
        cmocka_unit_test(bias_correction_takes_shifts_back),
        cmocka_unit_test(adaround_lowers_the_error),
        cmocka_unit_test(schedules_are_close),
        cmocka_unit_test(levels_have_no_neighbours),
    };
    const struct CMUnitTest on_gpu[] = {
        cmocka_unit_test(schedules_are_close),
    };
    int failed =
        cmocka_run_group_tests_name("own schedule", tests, open_own_schedule, close_device);
    if (clq_test_all()) { /* quant/qat tries that schedule each time */
        failed +=
            cmocka_run_group_tests_name("gpu schedule", on_gpu, open_gpu_schedule, close_device);
    }
    return failed;
}

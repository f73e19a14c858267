/* The methods that make PTQ better: the function stays, the error falls, results repeat. */
#include <math.h>

#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 16, IMAGES = 24, BATCH = 8 };

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
    assert_ok(clq_verify_feed(test_device, integer, feed, BATCH, 0, &v));
    assert_int_equal(v.mismatched_codes, 0);
    clq_verification_clear(&v);
    clq_graph_destroy(integer);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
}

static void pairs_with_relu6_are_equalized_by_data(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_report report;
    clq_quant_config_init(&config);
    config.equalize = config.per_tensor_weights = true;
    clq_graph *graph = trained("mobilenet_v2");
    clq_graph *quantized = ptq(graph, &config, &report);
    assert_true(report.equalization.count > 30);
    const char *text = clq_graph_get_metadata(quantized, "clquant.quantization");
    assert_non_null(strstr(text, "\"equalize\": true"));
    assert_non_null(strstr(text, "\"equalized\": {\"pairs\": [[\"features.0.0\", "));
    assert_exact(quantized);
    clq_quant_report_clear(&report);
    clq_graph_destroy(quantized);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equalization_keeps_the_function),
        cmocka_unit_test(pairs_with_relu6_are_equalized_by_data),
    };
    return cmocka_run_group_tests_name("ptq", tests, open_own_schedule, close_device);
}

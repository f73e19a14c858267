/* Conversion takes the scales and types that are there, whoever chose them. */
#include "support/clq_test.h"

#include <math.h>
#include <string.h>

#include "graph/codes.h"
#include "ops/layer.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 13, IMAGES = 11, BATCH = 4 };

static clq_graph *calibrated(void) {
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_folded(net_everything(SIZE));
    net_calibrate(test_device, graph, &config, IMAGES, BATCH);
    return graph;
}

/* Gives every layer's weights a type and other scales: `factor` times as large, or one for all. */
static void rescale(clq_graph *graph, clq_qtype type, float factor, bool per_tensor) {
    for (int n = 0; n < graph->node_count; n++) {
        if (!clq_is_layer(&graph->nodes[n])) {
            continue;
        }
        clq_value *w = &graph->values[graph->nodes[n].inputs[CLQ_LAYER_W]];
        const int64_t count = per_tensor ? 1 : w->q.count;
        float scale[64];
        assert_true(w->q.count <= 64);
        for (int64_t c = 0; c < count; c++) {
            scale[c] = w->q.scale[c] * factor;
        }
        assert_ok(clq_qparams_set(&w->q, count, scale, 0, type));
    }
}

static void check_kept(clq_qtype type, float factor, bool per_tensor) {
    const clq_qtype_info *info = clq_qtype_get(type);
    clq_graph *graph = calibrated(), *integer = NULL;
    char simulated[65], exact[65];
    int lowest = 0, highest = 0;
    rescale(graph, type, factor, per_tensor);
    assert_ok(clq_convert(graph, &integer));
    assert_ok(clq_graph_validate(integer));
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *was = &graph->values[v], *is = &integer->values[v];
        if (clq_is_code_storage(is->dtype)) {
            int8_t *codes = NULL;
            assert_int_equal(is->q.type, type);
            assert_int_equal(is->q.count, was->q.count);
            assert_memory_equal(is->q.scale, was->q.scale, (size_t)is->q.count * sizeof(float));
            assert_int_equal(is->dtype, info->storage);
            assert_ok(clq_value_codes(is, &codes));
            for (int64_t i = 0; i < clq_shape_count(&is->shape); i++) {
                lowest = codes[i] < lowest ? codes[i] : lowest;
                highest = codes[i] > highest ? codes[i] : highest;
            }
            clq_free(codes);
        }
    }
    for (int n = 0; n < integer->node_count; n++) { /* a bias is as a file will have it */
        const clq_node *node = &integer->nodes[n];
        const clq_value *bias = clq_is_layer(node) ? clq_layer_bias(integer, node) : NULL;
        if (bias) {
            assert_int_equal(bias->q.count, integer->values[node->inputs[CLQ_LAYER_W]].q.count);
        }
    }
    assert_int_equal(lowest, info->lowest); /* scales were made too small for some */
    assert_int_equal(highest, info->highest);
    net_logits(test_device, graph, CLQ_EXEC_FAKE_QUANT, net_data(CLQ_SPLIT_TEST, SIZE, IMAGES),
               BATCH, simulated);
    net_logits(test_device, integer, CLQ_EXEC_INT8, net_data(CLQ_SPLIT_TEST, SIZE, IMAGES), BATCH,
               exact);
    assert_string_equal(simulated, exact);
    clq_graph_destroy(graph);
    clq_graph_destroy(integer);
}

static void scales_and_types_are_kept(void **state) {
    (void)state;
    check_kept(CLQ_Q_S8_NARROW, 0.7f, false);
    check_kept(CLQ_Q_S8, 0.7f, false);
    check_kept(CLQ_Q_S8, 0.9f, true);
    check_kept(CLQ_Q_S4, 127.0f / 12, false);
    check_kept(CLQ_Q_S2, 127.0f / 2, false);
}

static void weights_without_scales_are_refused(void **state) {
    (void)state;
    clq_graph *graph = calibrated(), *integer = NULL;
    clq_qparams_clear(&graph->values[clq_graph_find_value(graph, "fc1.weight")].q);
    assert_status(clq_convert(graph, &integer), CLQ_USAGE);
    assert_error_has("fc1.weight");
    assert_null(integer);
    clq_graph_destroy(graph);
}

static void biases_beyond_the_scales_are_refused(void **state) {
    (void)state;
    clq_graph *graph = calibrated(), *integer = NULL;
    float *bias = graph->values[clq_graph_find_value(graph, "fc1.bias")].data;
    bias[1] = 1e20f;
    assert_status(clq_convert(graph, &integer), CLQ_BAD_DATA);
    assert_error_has("channel 1: bias 1e+20");
    bias[1] = NAN;
    assert_status(clq_convert(graph, &integer), CLQ_BAD_DATA);
    assert_null(integer);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scales_and_types_are_kept),
        cmocka_unit_test(weights_without_scales_are_refused),
        cmocka_unit_test(biases_beyond_the_scales_are_refused),
    };
    return cmocka_run_group_tests(tests, open_cpu_schedule, close_device);
}

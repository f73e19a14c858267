/* Networks trained and exported by other programs (data/make_reference.py): every file must give
 * the logits that torch, or ONNX Runtime, computed. */
#include <clquant/formats.h>
#include <stdio.h>

#include "formats/ref_forward.h"

enum { CLASSES = 5 };

static const char *data_path(const char *network, const char *suffix) {
    static char path[4][512];
    static unsigned next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], CLQ_SOURCE_DIR "/tests/formats/data/%s%s", network, suffix);
    return out;
}

/* Logits of all images against `expected`; differences up to `absolute`. */
static void check_logits(const clq_graph *graph, const char *network, const char *expected,
                         double absolute) {
    clq_tensors *io;
    assert_ok(clq_tensors_load(data_path(network, "_io.safetensors"), &io));
    const clq_file_tensor *input = clq_tensors_find(io, "input");
    const clq_file_tensor *logits = clq_tensors_find(io, expected);
    assert_non_null(input);
    assert_non_null(logits);
    size_t images = (size_t)input->dim[0];
    const float *image = input->data;
    for (size_t i = 0; i < images; i++) {
        float out[CLASSES];
        ref_forward(graph, image + i * input->size / sizeof(float) / images, out);
        assert_close_f32(out, (const float *)logits->data + i * CLASSES, clq_test_shape_of(CLASSES),
                         absolute, 1e-4);
    }
    clq_tensors_destroy(io);
}

static void check_float(const char *network) {
    static const char *const kinds[] = {"_trained.onnx", "_eval.onnx", "_dynamo.onnx"};
    for (int i = 0; i < 3; i++) {
        clq_graph *graph = NULL;
        assert_ok(clq_onnx_load(data_path(network, kinds[i]), &graph));
        assert_int_equal(clq_graph_form(graph), CLQ_FORM_FLOAT);
        assert_int_equal(graph->folded, i > 0);
        check_logits(graph, network, "logits", 1e-4);
        clq_graph_destroy(graph);
    }
}

/* Zeroed parameters replaced from the state dict: by name and layout, the same network again. */
static void check_weights(const char *network) {
    clq_graph *graph = NULL;
    assert_ok(clq_onnx_load(data_path(network, "_trained.onnx"), &graph));
    for (int i = 0; i < graph->value_count; i++) {
        clq_value *value = &graph->values[i];
        if (value->data) {
            memset(value->data, 0, (size_t)clq_shape_count(&value->shape) * sizeof(float));
        }
    }
    assert_ok(clq_weights_load(graph, data_path(network, ".safetensors")));
    check_logits(graph, network, "logits", 1e-4);
    clq_graph_destroy(graph);
}

/* One code of the last layer may fall the other way: ONNX Runtime's sums are in float. */
static void check_quantized(const char *network) {
    clq_graph *graph = NULL;
    assert_ok(clq_onnx_load(data_path(network, "_qdq.onnx"), &graph));
    assert_int_equal(clq_graph_form(graph), CLQ_FORM_INTEGER);
    const clq_qparams *q = &graph->values[clq_graph_output(graph)].q;
    assert_int_equal(q->count, 1);
    check_logits(graph, network, "logits_qdq", q->scale[0] * 1.01);
    clq_graph_destroy(graph);
}

static void tiny_float(void **state) {
    (void)state;
    check_float("tiny");
}

static void tiny_weights(void **state) {
    (void)state;
    check_weights("tiny");
}

static void tiny_quantized(void **state) {
    (void)state;
    check_quantized("tiny");
}

static void shortcut_a_float(void **state) {
    (void)state;
    check_float("shortcut_a");
}

static void shortcut_a_weights(void **state) {
    (void)state;
    check_weights("shortcut_a");
}

static void shortcut_a_quantized(void **state) {
    (void)state;
    check_quantized("shortcut_a");
}

/* What the operators became, and their names. */
static void structure(void **state) {
    (void)state;
    static const struct {
        const char *name, *op;
        clq_act act;
    } nodes[] = {
        {"conv1", "conv2d", CLQ_ACT_RELU},
        {"maxpool", "max_pool", CLQ_ACT_NONE},
        {"layer1.0.conv1", "conv2d", CLQ_ACT_RELU},
        {"layer1.1.downsample.0", "conv2d", CLQ_ACT_NONE},
        {"depthwise.0", "conv2d", CLQ_ACT_RELU6},
        {"flatten", "flatten", CLQ_ACT_NONE},
        {"fc1", "linear", CLQ_ACT_RELU},
        {"fc", "linear", CLQ_ACT_NONE},
    };
    clq_graph *graph = NULL;
    assert_ok(clq_onnx_load(data_path("tiny", "_eval.onnx"), &graph));
    assert_int_equal(graph->node_count, 13);
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        int index = clq_graph_find_node(graph, nodes[i].name);
        assert_true(index >= 0);
        const clq_node *node = &graph->nodes[index];
        assert_string_equal(node->op->name, nodes[i].op);
        if (strcmp(nodes[i].op, "conv2d") == 0) {
            assert_int_equal(((const clq_conv2d_attrs *)node->attrs)->act, nodes[i].act);
        } else if (strcmp(nodes[i].op, "linear") == 0) {
            assert_int_equal(((const clq_linear_attrs *)node->attrs)->act, nodes[i].act);
        }
    }
    assert_true(clq_graph_find_value(graph, "layer1.1.downsample.0.weight") >= 0);
    assert_true(clq_graph_find_value(graph, "layer1.1.downsample.0.bias") >= 0);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_float),
        cmocka_unit_test(tiny_weights),
        cmocka_unit_test(tiny_quantized),
        cmocka_unit_test(shortcut_a_float),
        cmocka_unit_test(structure),
        cmocka_unit_test(shortcut_a_weights),
        cmocka_unit_test(shortcut_a_quantized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

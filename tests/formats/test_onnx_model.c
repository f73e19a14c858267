/* Tensors, ends and rules of a model as a whole; and what is refused, with which words. */
#include "formats/onnx_make.h"

#include <clquant/ops.h>
#include <math.h>

static const clq_node *node_at(const clq_graph *graph, int index, const char *op) {
    assert_in_range(index, 0, graph->node_count - 1);
    assert_string_equal(graph->nodes[index].op->name, op);
    return &graph->nodes[index];
}

static const clq_value *input_of(const clq_graph *graph, const clq_node *node, int index) {
    return &graph->values[node->inputs[index]];
}

static void add_dimension_input(make_model *m, int64_t c, int64_t h, int64_t w) {
    int64_t dim[4] = {-1, c, h, w};
    m->inputs[0] = make_info(m, "x", 4, dim);
}

static make_model *start_pooled(void) {
    make_model *m = make_start();
    make_node(m, "GlobalAveragePool", "x", "p");
    make_node(m, "Flatten", "p", "f");
    return m;
}

/* ---- tensors ---- */

static void tensor_types(void **state) {
    (void)state;
    static const double doubles[3] = {1, 2.5, -3};
    static const uint16_t halves[3] = {0x3c00, 0x4100, 0xc200};
    static const uint16_t bfloats[3] = {0x3f80, 0x4020, 0xc040};
    static const float floats[3] = {1, 2.5f, -3};
    static int32_t words[3] = {0x3c00, 0x4100, 0xc200};
    for (int kind = 0; kind < 5; kind++) {
        make_model *m = start_pooled();
        const void *data = kind == 0 ? (const void *)doubles : kind == 1 ? halves : bfloats;
        static const int types[] = {
            ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16,
            ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
            ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16};
        Onnx__TensorProto *w = make_tensor(m, "w", types[kind], DIMS(3, 1), data,
                                           kind == 0  ? 24
                                           : kind < 3 ? 6
                                                      : 0);
        if (kind == 3) {
            w->has_raw_data = false;
            w->n_float_data = 3;
            w->float_data = (float *)floats;
        } else if (kind == 4) {
            w->has_raw_data = false;
            w->n_int32_data = 3;
            w->int32_data = words;
        }
        make_node(m, "MatMul", "f,w", "y");
        clq_graph *graph = make_finish(m);
        assert_memory_equal(input_of(graph, node_at(graph, 1, "linear"), 1)->data, floats, 12);
        clq_graph_destroy(graph);
    }
}

static void refused_tensors(void **state) {
    (void)state;
    static int64_t three[3] = {3, 5, 1};
    for (int kind = 0; kind < 7; kind++) {
        static const char *const errors[] = {
            "in another file",          "do not make up its shape", "out of range",
            "element type string",      "do not make up",           "out of range",
            "needs the batch as axis 1"};
        make_model *m = start_pooled();
        make_weights(m, "w", DIMS(3, 5));
        Onnx__TensorProto *w = m->tensors[0];
        switch (kind) {
        case 0:
            w->has_data_location = true;
            w->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
            break;
        case 1:
            w->raw_data.len--;
            break;
        case 2:
            w->dims[0] = -3;
            break;
        case 3:
            w->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__STRING;
            break;
        case 4:
            w->dims[0] = INT64_C(1) << 31;
            break;
        case 5:
            w->dims[0] = w->dims[1] = INT64_C(1) << 62;
            break;
        default:
            w->n_dims = 3;
            w->dims = three;
        }
        make_node(m, "MatMul", "f,w", "y");
        make_refused(m, errors[kind]);
    }
}

/* Two nodes that read one initializer get parameters of their own. */
static void shared_initializer(void **state) {
    (void)state;
    make_model *m = make_start();
    make_weights(m, "a.weight", DIMS(3, 3, 1, 1));
    make_node(m, "Identity", "a.weight", "b.weight");
    make_node(m, "Conv", "x,a.weight", "c1");
    make_node(m, "Conv", "c1,b.weight", "c2");
    make_node(m, "Conv", "c2,a.weight", "y");
    clq_graph *graph = make_finish(m);
    static const char *const names[3][2] = {
        {"a", "a.weight"}, {"b", "b.weight"}, {"a_2", "a_2.weight"}};
    for (int i = 0; i < 3; i++) {
        const clq_node *node = node_at(graph, i, "conv2d");
        assert_string_equal(node->name, names[i][0]);
        assert_string_equal(input_of(graph, node, 1)->name, names[i][1]);
    }
    clq_graph_destroy(graph);
}

/* ---- the graph ---- */

static void unused_parts(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "NonMaxSuppression", "x", "unused");
    make_tensor(m, "text", ONNX__TENSOR_PROTO__DATA_TYPE__STRING, DIMS(1), NULL, 0);
    make_node(m, "Relu", "x", "y");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 1);
    clq_graph_destroy(graph);
}

static void refused_graphs(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "Einsum", "x", "y")->name = make_text(m, "act7");
    make_refused(m, "operator that is not supported: Einsum (1, node \"act7\"");

    m = make_start();
    make_node(m, "Relu", "x", "y")->domain = make_text(m, "com.example");
    make_refused(m, "not supported: com.example.Relu (1, node 0");

    m = make_start();
    make_node(m, "Relu", "x", "y");
    make_int(m, "slope", 1);
    make_refused(m, "attribute \"slope\" is not supported");

    m = make_start();
    make_node(m, "Relu", "b", "a"); /* a cycle */
    make_node(m, "Relu", "a", "b");
    make_node(m, "Add", "x,b", "y");
    make_refused(m, "nodes in a circle: node 0 (");

    m = make_start();
    make_node(m, "Relu", "x", "a");
    make_node(m, "Tanh", "x", "a");
    make_node(m, "Relu", "a", "y");
    make_refused(m, "\"a\" is made twice, by node 0 (");

    m = make_start();
    m->inputs[m->graph.n_input++] = make_info(m, "z", 2, (int64_t[]){1, 3});
    make_node(m, "Relu", "x", "y");
    make_refused(m, "\"x\" and \"z\": one batch for all is needed");

    m = make_start();
    m->inputs[m->graph.n_input++] = make_info(m, "x", 2, (int64_t[]){-1, 3});
    make_node(m, "Relu", "x", "y");
    make_refused(m, "\"x\" is defined twice");

    m = make_start();
    m->outputs[m->graph.n_output++] = make_info(m, "z", 2, (int64_t[]){1, 3});
    make_node(m, "Relu", "x", "y");
    make_refused(m, "\"z\" is made by no node");

    m = make_start();
    m->graph.n_output = 0;
    make_node(m, "Relu", "x", "y");
    make_refused(m, "0 outputs, must have 1..64");

    m = make_start();
    add_dimension_input(m, 3, -1, 8);
    make_node(m, "Relu", "x", "y");
    make_refused(m, "dimension 2 is open, only the batch may be");

    m = make_start();
    m->opset.version = 6;
    make_node(m, "Relu", "x", "y");
    make_refused(m, "opset 6");

    m = make_start();
    make_refused(m, "0 nodes");

    m = make_start();
    make_node(m, "Identity", "x", "y"); /* a copy */
    clq_graph_destroy(make_finish(m));

    m = make_start();
    add_dimension_input(m, 3, INT64_C(1) << 40, INT64_C(1) << 40);
    make_node(m, "Relu", "x", "y");
    make_refused(m, "more than 2^31 - 1 elements");
}

static void metadata(void **state) {
    (void)state;
    make_model *m = make_start();
    Onnx__StringStringEntryProto entry;
    onnx__string_string_entry_proto__init(&entry);
    entry.key = make_text(m, "clquant.std");
    entry.value = make_text(m, "1,2,3");
    m->metadata[0] = m->metadata[1] = &entry;
    m->model.n_metadata_props = 1;
    make_node(m, "Relu", "x", "y");
    clq_graph *graph;
    assert_ok(make_load(m, &graph));
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.std"), "1,2,3");
    clq_graph_destroy(graph);
    m->model.n_metadata_props = 2;
    make_refused(m, "there twice");
}

/* ---- old files ---- */

/* As MXNet and the ONNX model zoo have it: IR version 3, initializers among the inputs, opset 8. */
static void old_opset(void **state) {
    (void)state;
    make_model *m = make_start();
    float ones[4] = {1, 1, 1, 1};
    m->model.ir_version = 3;
    m->opset.version = 8;
    add_dimension_input(m, 3, 8, 8);
    make_weights(m, "conv0_weight", DIMS(4, 3, 1, 1));
    m->inputs[m->graph.n_input++] = make_info(m, "conv0_weight", 4, (int64_t[]){4, 3, 1, 1});
    make_node(m, "Conv", "x,conv0_weight", "conv0_fwd");
    make_tensor(m, "ones", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(4), ones, sizeof ones);
    make_node(m, "BatchNormalization", "conv0_fwd,ones,ones,ones,ones", "bn");
    make_float(m, "epsilon", 1e-5f);
    make_int(m, "spatial", 1);
    make_node(m, "Clip", "bn", "relu6");
    make_float(m, "min", 0);
    make_float(m, "max", 6);
    make_node(m, "GlobalAveragePool", "relu6", "pool");
    make_node(m, "Dropout", "pool", "drop");
    make_float(m, "ratio", 0.5f);
    make_weights(m, "pred_weight", DIMS(5, 4, 1, 1));
    make_node(m, "Conv", "drop,pred_weight", "pred");
    make_longs(m, "shape", 0, -1);
    make_node(m, "Reshape", "pred,shape", "y");
    clq_graph *graph = make_finish(m);
    static const char *const ops[] = {"conv2d",          "batch_norm", "relu6",
                                      "global_avg_pool", "dropout",    "linear"};
    assert_int_equal(graph->node_count, 6);
    for (int i = 0; i < 6; i++) {
        node_at(graph, i, ops[i]);
    }
    assert_string_equal(graph->nodes[0].name, "conv0_fwd");
    assert_int_equal(graph->values[clq_graph_output(graph)].shape.dim[1], 5);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensor_types), cmocka_unit_test(refused_tensors),
        cmocka_unit_test(unused_parts), cmocka_unit_test(shared_initializer),
        cmocka_unit_test(old_opset),    cmocka_unit_test(refused_graphs),
        cmocka_unit_test(metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

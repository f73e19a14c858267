/* Models in QOperator form: they become the graph of the QDQ model that says the same, and are
 * written from it. */
#include "formats/onnx_make.h"

#include <clquant/ops.h>

#include "base/files.h"
#include "formats/sample_graphs.h"

static void add_qparams(make_model *m) {
    static const float scales[4] = {0.25f, 0.125f, 0.5f, 0.0625f};
    make_scalar(m, "x_scale", 0.03f);
    make_byte(m, "x_zero", false, 7);
    make_scalar(m, "c_scale", 0.11f);
    make_byte(m, "c_zero", false, 3);
    make_scalar(m, "s_scale", 0.21f);
    make_byte(m, "s_zero", false, 130);
    make_scalar(m, "y_scale", 0.4f);
    make_byte(m, "y_zero", false, 100);
    make_scalar(m, "v_scale", 0.07f);
    make_byte(m, "v_zero", true, 0);
    make_tensor(m, "w_scale", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(4), scales, sizeof scales);
    make_tensor(m, "w_zero", ONNX__TENSOR_PROTO__DATA_TYPE__INT8, DIMS(4), "\0\0\0\0", 4);
    make_codes(m, "w", DIMS(4, 3, 3, 3));
    make_codes(m, "v", DIMS(5, 64));
}

static void add_integers(make_model *m, const char *name, int count) {
    int32_t *values = make_array(m, (size_t)count, sizeof *values);
    for (int i = 0; i < count; i++) {
        values[i] = 17 * i - 20;
    }
    make_tensor(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT32, DIMS(count), values,
                (size_t)count * sizeof *values);
}

static void add_linear(make_model *m, const char *op, const char *x, const char *of,
                       const char *y) {
    char inputs[64];
    snprintf(inputs, sizeof inputs, "%s,%s_scale,%s_zero", x, of, of);
    make_node(m, op, inputs, y);
}

/* convolution, sum with itself, pool of codes, linear layer */
static clq_graph *load_qoperators(void) {
    make_model *m = make_start();
    add_qparams(m);
    add_integers(m, "b", 4);
    add_integers(m, "d", 5);
    add_linear(m, "QuantizeLinear", "x", "x", "xq");
    make_node(m, "QLinearConv", "xq,x_scale,x_zero,w,w_scale,w_zero,c_scale,c_zero,b", "cq")->name =
        make_text(m, "conv");
    make_ints(m, "pads", 1, 1, 1, 1);
    make_node(m, "QLinearAdd", "cq,c_scale,c_zero,cq,c_scale,c_zero,s_scale,s_zero", "sq")->domain =
        make_text(m, "com.microsoft");
    make_node(m, "MaxPool", "sq", "pq");
    make_ints(m, "kernel_shape", 2, 2);
    make_ints(m, "strides", 2, 2);
    make_node(m, "Flatten", "pq", "fq");
    make_node(m, "QGemm", "fq,s_scale,s_zero,v,v_scale,v_zero,d,y_scale,y_zero", "yq")->domain =
        make_text(m, "com.microsoft");
    make_int(m, "transB", 1);
    add_linear(m, "DequantizeLinear", "yq", "y", "y");
    return make_finish(m);
}

static clq_graph *load_qdq(void) {
    static const float products[4] = {0.03f * 0.25f, 0.03f * 0.125f, 0.03f * 0.5f, 0.03f * 0.0625f};
    make_model *m = make_start();
    add_qparams(m);
    add_integers(m, "b", 4);
    add_integers(m, "d", 5);
    make_tensor(m, "b_scale", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(4), products,
                sizeof products);
    make_scalar(m, "d_scale", 0.21f * 0.07f);
    add_linear(m, "QuantizeLinear", "x", "x", "xq");
    add_linear(m, "DequantizeLinear", "xq", "x", "xr");
    add_linear(m, "DequantizeLinear", "w", "w", "wr");
    make_int(m, "axis", 0);
    make_node(m, "DequantizeLinear", "b,b_scale", "br");
    make_int(m, "axis", 0);
    make_node(m, "Conv", "xr,wr,br", "c")->name = make_text(m, "conv");
    make_ints(m, "pads", 1, 1, 1, 1);
    add_linear(m, "QuantizeLinear", "c", "c", "cq");
    add_linear(m, "DequantizeLinear", "cq", "c", "cr");
    make_node(m, "Add", "cr,cr", "s");
    add_linear(m, "QuantizeLinear", "s", "s", "sq");
    add_linear(m, "DequantizeLinear", "sq", "s", "sr");
    make_node(m, "MaxPool", "sr", "p");
    make_ints(m, "kernel_shape", 2, 2);
    make_ints(m, "strides", 2, 2);
    add_linear(m, "QuantizeLinear", "p", "s", "pq");
    add_linear(m, "DequantizeLinear", "pq", "s", "pr");
    make_node(m, "Flatten", "pr", "f");
    add_linear(m, "QuantizeLinear", "f", "s", "fq");
    add_linear(m, "DequantizeLinear", "fq", "s", "fr");
    add_linear(m, "DequantizeLinear", "v", "v", "vr");
    make_node(m, "DequantizeLinear", "d,d_scale", "dr");
    make_node(m, "Gemm", "fr,vr,dr", "g");
    make_int(m, "transB", 1);
    add_linear(m, "QuantizeLinear", "g", "y", "yq");
    add_linear(m, "DequantizeLinear", "yq", "y", "y");
    return make_finish(m);
}

static void assert_values_equal(const clq_value *a, const clq_value *b) {
    assert_int_equal(a->dtype, b->dtype);
    assert_true(clq_shape_equal(&a->shape, &b->shape));
    assert_int_equal(a->q.count, b->q.count);
    assert_int_equal(a->q.zero_point, b->q.zero_point);
    assert_int_equal(a->q.type, b->q.type);
    for (int64_t i = 0; i < a->q.count; i++) {
        assert_true(a->q.scale[i] == b->q.scale[i]);
    }
    if (a->data) {
        assert_memory_equal(a->data, b->data,
                            (size_t)clq_dtype_bytes(a->dtype, clq_shape_count(&a->shape)));
    }
}

static void same_as_qdq(void **state) {
    (void)state;
    clq_graph *a = load_qoperators(), *b = load_qdq();
    assert_int_equal(clq_graph_form(a), CLQ_FORM_INTEGER);
    assert_int_equal(a->node_count, b->node_count);
    for (int n = 0; n < a->node_count; n++) {
        const clq_node *x = &a->nodes[n], *y = &b->nodes[n];
        assert_string_equal(x->op->name, y->op->name);
        assert_int_equal(x->input_count, y->input_count);
        for (int i = 0; i < x->input_count; i++) {
            assert_values_equal(&a->values[x->inputs[i]], &b->values[y->inputs[i]]);
        }
        assert_values_equal(&a->values[x->output], &b->values[y->output]);
    }
    assert_true(clq_graph_find_node(a, "conv") >= 0);
    clq_graph_destroy(a);
    clq_graph_destroy(b);
}

/* A QGemm without scale and zero point of its output makes reals. */
static void real_output(void **state) {
    (void)state;
    static const int64_t dim[2] = {-1, 64};
    make_model *m = make_start();
    m->inputs[0] = make_info(m, "x", 2, dim);
    add_qparams(m);
    add_linear(m, "QuantizeLinear", "x", "x", "xq");
    make_node(m, "QGemm", "xq,x_scale,x_zero,v,v_scale,v_zero", "y")->domain =
        make_text(m, "com.microsoft");
    make_int(m, "transB", 1);
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 1);
    assert_int_equal(graph->values[graph->outputs[0].value].q.count, 0);
    clq_graph_destroy(graph);
}

static void refused(void **state) {
    (void)state;
    make_model *m = make_start();
    add_qparams(m);
    add_linear(m, "QuantizeLinear", "x", "x", "xq");
    make_node(m, "QLinearConv", "xq,x_scale,x_zero,w", "y");
    make_refused(m, "node 1 (QLinearConv, which makes \"y\"): must have codes and their scale for "
                    "each operand");

    m = make_start();
    add_qparams(m);
    add_integers(m, "b", 4);
    add_linear(m, "QuantizeLinear", "x", "x", "xq");
    make_node(m, "Identity", "x_scale", "same_scale");
    make_node(m, "QLinearConv", "xq,same_scale,x_zero,w,w_scale,w_zero,c_scale,c_zero,b", "cq");
    add_linear(m, "DequantizeLinear", "cq", "c", "y");
    make_refused(m, "its scales must be initializers");

    m = make_start();
    add_qparams(m);
    add_linear(m, "QuantizeLinear", "x", "x", "xq");
    make_node(m, "QLinearGlobalAveragePool", "xq,x_scale,x_zero,c_scale,c_zero", "cq")->domain =
        make_text(m, "com.microsoft");
    make_int(m, "channels_last", 1);
    add_linear(m, "DequantizeLinear", "cq", "c", "y");
    make_refused(m, "channels_last is 1");
}

/* Two branches of codes that a Concat joins; `scale` of the second one. */
static make_model *make_joined(const char *scale) {
    make_model *m = make_start();
    add_qparams(m);
    make_scalar(m, "c_again", 0.11f);
    add_linear(m, "QuantizeLinear", "x", "x", "xq");
    for (int i = 0; i < 2; i++) {
        char inputs[96], name[2] = {(char)('p' + i), '\0'};
        snprintf(inputs, sizeof inputs, "xq,x_scale,x_zero,w,w_scale,w_zero,%s,c_zero",
                 i ? scale : "c_scale");
        make_node(m, "QLinearConv", inputs, name);
        make_ints(m, "pads", 1, 1, 1, 1);
    }
    make_node(m, "Concat", "p,q", "j");
    make_int(m, "axis", 1);
    return m;
}

static void joined_codes(void **state) {
    (void)state;
    make_model *m = make_joined("c_again");
    add_linear(m, "DequantizeLinear", "j", "c", "y");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 3);
    assert_string_equal(graph->nodes[2].op->name, "concat");
    assert_true(graph->values[graph->nodes[2].output].q.scale[0] == 0.11f);
    clq_graph_destroy(graph);

    m = make_joined("s_scale");
    add_linear(m, "DequantizeLinear", "j", "c", "y");
    make_refused(m, "joins codes of different scales or zero points, inputs 0 and 1");
}

static void resized_codes(void **state) {
    (void)state;
    static const float sizes[4] = {1, 1, 2, 2};
    make_model *m = make_start();
    add_qparams(m);
    make_tensor(m, "sizes", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(4), sizes, sizeof sizes);
    add_linear(m, "QuantizeLinear", "x", "x", "xq");
    make_node(m, "Resize", "xq,,sizes", "rq");
    add_linear(m, "DequantizeLinear", "rq", "x", "y");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 1);
    assert_string_equal(graph->nodes[0].op->name, "resize");
    assert_int_equal(graph->values[graph->nodes[0].output].q.zero_point, 7);
    clq_graph_destroy(graph);
}

#define assert_fails(expression, expected, part)                                                   \
    do {                                                                                           \
        assert_status(expression, expected);                                                       \
        assert_error_has(part);                                                                    \
    } while (0)

/* ---- writing ---- */

/* With zero points at 0 behind a ReLU, as calibration has them, or not. */
static clq_graph *make_integer(bool clamped) {
    clq_graph *graph = sample_quantize(sample_folded(true, false), false, true);
    for (int n = 0; clamped && n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        clq_value *y = &graph->values[node->output];
        const bool copies = node->op->output_shares_qparams;
        if (copies || (node->op->act && *node->op->act(node->attrs) != CLQ_ACT_NONE)) {
            y->q.zero_point = copies ? graph->values[node->inputs[0]].q.zero_point : 0;
        }
    }
    return graph;
}

/* The operators of a file, a space behind each; its opset and IR version too. */
static void read_file(const char *path, char *ops, size_t size, int64_t *opset, int64_t *ir,
                      size_t *domains) {
    void *bytes;
    size_t count;
    clq_onnx_memory memory;
    Onnx__ModelProto *model;
    assert_ok(clq_file_read(path, SIZE_MAX, &bytes, &count));
    assert_ok(clq_onnx_unpack(bytes, count, &memory, &model));
    ops[0] = '\0';
    for (size_t i = 0; i < model->graph->n_node; i++) {
        assert_true(strlen(ops) + 40 < size);
        strcat(strcat(ops, model->graph->node[i]->op_type), " ");
    }
    *opset = model->opset_import[0]->version;
    *ir = model->ir_version;
    *domains = model->n_opset_import;
    clq_onnx_model_free(&memory, model);
    clq_free(bytes);
}

static void check_written(bool clamped, clq_onnx_form form, const char *expected) {
    const char *path = clq_test_temp_path("qoperator.onnx");
    const clq_onnx_options options = {.form = form};
    clq_graph *graph = make_integer(clamped), *again;
    char ops[1024];
    int64_t opset, ir;
    size_t domains;
    assert_ok(clq_onnx_save_as(graph, &options, path));
    read_file(path, ops, sizeof ops, &opset, &ir, &domains);
    assert_string_equal(ops, expected);
    assert_int_equal(domains, form == CLQ_ONNX_QOPERATOR_ORT ? 2 : 1);
    assert_ok(clq_onnx_load(path, &again));
    assert_int_equal(again->node_count, graph->node_count);
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *x = &graph->nodes[n], *y = &again->nodes[n];
        assert_string_equal(x->name, y->name);
        assert_ptr_equal(x->op, y->op);
        for (int i = 0; i < x->input_count; i++) {
            assert_values_equal(&graph->values[x->inputs[i]], &again->values[y->inputs[i]]);
        }
        assert_values_equal(&graph->values[x->output], &again->values[y->output]);
    }
    clq_graph_destroy(graph);
    clq_graph_destroy(again);
}

static void written(void **state) {
    (void)state;
    check_written(true, CLQ_ONNX_QOPERATOR_ORT,
                  "QuantizeLinear QLinearConv MaxPool QLinearConv QLinearConv QLinearAdd "
                  "QLinearGlobalAveragePool Flatten QGemm QGemm ");
    /* Standard operators add and pool no codes, and products of matrices have no bias. */
    check_written(true, CLQ_ONNX_QOPERATOR,
                  "QuantizeLinear QLinearConv MaxPool DequantizeLinear QLinearConv QLinearConv "
                  "DequantizeLinear Add Relu QuantizeLinear DequantizeLinear GlobalAveragePool "
                  "QuantizeLinear Flatten DequantizeLinear DequantizeLinear DequantizeLinear Gemm "
                  "Relu QuantizeLinear DequantizeLinear DequantizeLinear DequantizeLinear Gemm ");
    /* Codes below that of 0 would pass a ReLU that only the ends of codes are. */
    check_written(false, CLQ_ONNX_QOPERATOR_ORT,
                  "QuantizeLinear DequantizeLinear DequantizeLinear DequantizeLinear Conv Relu "
                  "QuantizeLinear MaxPool DequantizeLinear DequantizeLinear DequantizeLinear Conv "
                  "Clip QuantizeLinear QLinearConv DequantizeLinear Add Relu QuantizeLinear "
                  "QLinearGlobalAveragePool Flatten QGemm Relu QuantizeLinear QGemm ");
}

static void products_without_bias(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("product.onnx");
    const clq_onnx_options options = {.form = CLQ_ONNX_QOPERATOR};
    sample s = sample_start("mlp", (clq_shape){2, {1, 6}});
    sample_linear(&s, "fc1", 4, false);
    sample_linear(&s, "fc2", 3, false);
    s.graph->folded = true;
    clq_graph *graph = sample_quantize(sample_finish(&s), false, true), *again;
    char ops[1024];
    int64_t opset, ir;
    size_t domains;
    assert_ok(clq_onnx_save_as(graph, &options, path));
    read_file(path, ops, sizeof ops, &opset, &ir, &domains);
    assert_string_equal(ops,
                        "QuantizeLinear QLinearMatMul DequantizeLinear DequantizeLinear Gemm ");
    assert_ok(clq_onnx_load(path, &again));
    assert_same_value(&graph->values[graph->nodes[0].inputs[1]],
                      &again->values[again->nodes[0].inputs[1]]);
    clq_graph_destroy(graph);
    clq_graph_destroy(again);
}

static void opsets(void **state) {
    (void)state;
    static const int64_t versions[][2] = {{13, 8}, {19, 9}, {21, 10}};
    const char *path = clq_test_temp_path("opset.onnx");
    char ops[1024];
    int64_t opset, ir;
    size_t domains;
    clq_graph *graph = make_integer(true);
    for (int i = 0; i < 3; i++) {
        const clq_onnx_options options = {.opset = (int)versions[i][0]};
        clq_graph *again;
        assert_ok(clq_onnx_save_as(graph, &options, path));
        read_file(path, ops, sizeof ops, &opset, &ir, &domains);
        assert_int_equal(opset, versions[i][0]);
        assert_int_equal(ir, versions[i][1]);
        assert_ok(clq_onnx_load(path, &again));
        assert_same_graph(graph, again);
        clq_graph_destroy(again);
    }
    clq_graph_destroy(graph);
    graph = sample_quantize_as(sample_folded(true, false), CLQ_Q_S4, false, true);
    assert_fails(clq_onnx_save_as(graph, &(clq_onnx_options){.opset = 13}, path), CLQ_USAGE,
                 "opset 21; opset 13 was asked for");
    assert_fails(clq_onnx_save_as(graph, &(clq_onnx_options){.opset = 12}, path), CLQ_USAGE,
                 "13 to 21 are written");
    clq_graph_destroy(graph);
    graph = sample_folded(true, false);
    assert_fails(clq_onnx_save_as(graph, &(clq_onnx_options){.form = CLQ_ONNX_QOPERATOR}, path),
                 CLQ_USAGE, "qoperator form is for networks with integer weights");
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_qdq),
        cmocka_unit_test(real_output),
        cmocka_unit_test(refused),
        cmocka_unit_test(joined_codes),
        cmocka_unit_test(resized_codes),
        cmocka_unit_test(written),
        cmocka_unit_test(products_without_bias),
        cmocka_unit_test(opsets),
    };
    return cmocka_run_group_tests_name("formats/onnx_qoperator", tests, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir);
}

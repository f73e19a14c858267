/* Models in QOperator form: they become the graph of the QDQ model that says the same. */
#include "formats/onnx_make.h"

#include <clquant/ops.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_qdq),
        cmocka_unit_test(real_output),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests_name("formats/onnx_qoperator", tests, NULL, NULL);
}

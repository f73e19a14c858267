/* The nodes of a file as a whole: their order, operators that cannot be read, and how errors say
 * which node it was. */
#include "formats/onnx_make.h"

#include "formats/ref_forward.h"

static Onnx__NodeProto *name_node(make_model *m, Onnx__NodeProto *node, const char *name) {
    node->name = make_text(m, name);
    return node;
}

/* Conv - Relu - GlobalAveragePool - Flatten - MatMul with its transposed weights. */
static make_model *start_small(void) {
    make_model *m = make_start();
    make_weights(m, "conv1.weight", DIMS(4, 3, 3, 3));
    make_weights(m, "fc.weight", DIMS(5, 4));
    make_node(m, "Conv", "x,conv1.weight", "c");
    make_node(m, "Relu", "c", "r");
    make_node(m, "GlobalAveragePool", "r", "p");
    make_node(m, "Flatten", "p", "f");
    make_node(m, "Transpose", "fc.weight", "t");
    make_node(m, "MatMul", "f,t", "y");
    return m;
}

/* ---- order ---- */

static void any_order_is_read(void **state) {
    (void)state;
    float image[192], expected[5], out[5];
    clq_test_fill_f32(image, 192, -1, 1, 4);
    clq_graph *graph = make_finish(start_small());
    ref_forward(graph, image, expected);
    clq_graph_destroy(graph);
    for (int turn = 0; turn < 6; turn++) { /* back to front, and from the middle on */
        make_model *m = start_small();
        Onnx__NodeProto *nodes[6];
        memcpy(nodes, m->nodes, sizeof nodes);
        for (int i = 0; i < 6; i++) {
            m->nodes[i] = nodes[turn == 0 ? 5 - i : (i + turn) % 6];
        }
        graph = make_finish(m);
        ref_forward(graph, image, out);
        assert_equal_bits(out, expected, sizeof out);
        assert_string_equal(graph->nodes[0].op->name, "conv2d");
        clq_graph_destroy(graph);
    }
}

/* A file in order keeps it, where another would be right too. */
static void order_is_kept(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "Relu", "x", "a");
    make_node(m, "Sigmoid", "x", "b");
    make_node(m, "Tanh", "x", "c");
    make_node(m, "Add", "c,b", "d");
    make_node(m, "Add", "d,a", "y");
    clq_graph *graph = make_finish(m);
    static const char *const ops[] = {"relu", "sigmoid", "tanh", "add", "add"};
    for (int i = 0; i < 5; i++) {
        assert_string_equal(graph->nodes[i].op->name, ops[i]);
    }
    clq_graph_destroy(graph);
}

static void circles(void **state) {
    (void)state;
    make_model *m = make_start();
    name_node(m, make_node(m, "Add", "x,c", "a"), "first");
    make_node(m, "Relu", "a", "b");
    name_node(m, make_node(m, "Tanh", "b", "c"), "last");
    make_node(m, "Relu", "c", "y");
    make_refused(m,
                 "nodes in a circle: node \"first\" (Add) reads node \"last\" (Tanh), which reads "
                 "node 1 (Relu, which makes \"b\"), which reads the first");

    m = make_start();
    make_node(m, "Add", "x,v20", "v0");
    for (int i = 0; i < 20; i++) {
        char in[16], out[16];
        snprintf(in, sizeof in, "v%d", i);
        snprintf(out, sizeof out, "v%d", i + 1);
        make_node(m, "Relu", in, out);
    }
    make_node(m, "Relu", "v20", "y");
    make_refused(m, ", which reads 13 more, the last of which reads the first");

    m = make_start();
    name_node(m, make_node(m, "Add", "x,y", "y"), "self");
    make_refused(m, "nodes in a circle: node \"self\" (Add) reads its own result");

    m = make_start(); /* which nothing depends on */
    make_node(m, "Add", "b,b", "a");
    make_node(m, "Relu", "a", "b");
    make_node(m, "Relu", "x", "y");
    clq_graph_destroy(make_finish(m));
}

/* Deep, and back to front: no recursion. */
static void long_chain(void **state) {
    (void)state;
    enum { LENGTH = 10000 };
    make_model *m = make_start();
    Onnx__NodeProto **nodes = make_array(m, LENGTH, sizeof *nodes);
    for (int i = 0; i < LENGTH; i++) {
        char in[16], out[16];
        snprintf(in, sizeof in, i ? "v%d" : "x", i);
        snprintf(out, sizeof out, i == LENGTH - 1 ? "y" : "v%d", i + 1);
        nodes[LENGTH - 1 - i] = make_node(m, "Identity", in, out);
        m->graph.n_node = 0;
    }
    nodes[LENGTH - 1]->op_type = make_text(m, "Relu"); /* the one that reads x */
    m->graph.node = nodes;
    m->graph.n_node = LENGTH;
    clq_graph_destroy(make_finish(m));
}

/* ---- operators ---- */

static void all_unknown_operators_at_once(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "Hardmax", "x", "a");
    name_node(m, make_node(m, "Mod", "a,x", "b"), "/gate/Mod");
    make_node(m, "Hardmax", "b", "c");
    make_node(m, "NonZero", "c", "d");
    make_node(m, "Relu", "d", "y");
    make_node(m, "Loop", "y", "unused");
    make_refused(
        m, "operators that are not supported: Hardmax (2, the first is node 0 (Hardmax, "
           "which makes \"a\")), Mod of activations (1, node \"/gate/Mod\" (Mod)), NonZero (1, "
           "node 3 (NonZero, which makes \"d\")); docs/formats.md (installed in "
           "share/doc/clquant/docs) lists those that are");

    m = make_start(); /* on constants it is computed, on activations not */
    make_longs(m, "two", 2);
    make_node(m, "Mul", "two,two", "four");
    make_node(m, "Mod", "x,four", "y");
    make_refused(m, "operator that is not supported: Mod of activations (1, node 1");
}

static void check_advice(const char *domain, const char *op, const char *advice) {
    make_model *m = make_start();
    make_node(m, op, "x", "y")->domain = make_text(m, domain);
    make_refused(m, advice);
}

static void quantized_otherwise(void **state) {
    (void)state;
    static const char *const dynamic[] = {"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger"};
    for (int i = 0; i < 3; i++) {
        check_advice(
            "", dynamic[i],
            "quantized dynamically, otherwise than ONNX Runtime's quantize_dynamic does: "
            "quantize it statically, by quantize_static(..., quant_format=QuantFormat.QDQ)");
    }
    check_advice("com.microsoft", "QLinearSoftmax", "com.microsoft.QLinearSoftmax (1,");
    check_advice("com.microsoft", "QLinearSoftmax",
                 "not read in QOperator form: quantize it in QDQ form, by quantize_static");
    check_advice("com.microsoft", "QLinearWhere", "in QOperator form");
    check_advice("com.microsoft", "FusedConv", "give the model as it was exported");
    check_advice("com.microsoft", "QuantizeLinear", "quantize to int8 or uint8");
    check_advice("my.domain", "Conv", "my.domain.Conv (1, node 0");
}

/* ---- which node ---- */

static void places(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "Identity", "x", "a");
    make_node(m, "Relu", "a", "y");
    make_int(m, "alpha", 1);
    make_refused(m, "made.onnx: node 1 (Relu, which makes \"y\"): attribute \"alpha\"");

    m = make_start(); /* said by the shape rules, which know no file */
    make_weights(m, "w", DIMS(4, 2, 3, 3));
    name_node(m, make_node(m, "Conv", "x,w", "y"), "/stem/Conv");
    make_refused(m, "made.onnx: node \"/stem/Conv\" (Conv): conv2d \"");

    m = make_start(); /* said by the tensor */
    make_node(m, "Constant", "", "c");
    Onnx__TensorProto *t =
        make_tensor(m, "t", ONNX__TENSOR_PROTO__DATA_TYPE__INT16, DIMS(2), "1234", 4);
    m->graph.n_initializer = 0;
    make_attribute(m, "value", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)->t = t;
    make_node(m, "Add", "x,c", "y");
    make_refused(m, "node 0 (Constant, which makes \"c\"): tensor \"c\": element type int16");

    m = make_start();
    make_node(m, "Relu", "x", "y")->op_type = NULL;
    name_node(m, m->nodes[0], "lost");
    make_refused(m, "node 0 (\"lost\"): has no operator");

    m = make_start();
    name_node(m, make_node(m, "Relu", "x", ""), "lost");
    make_node(m, "Relu", "x", "y");
    make_refused(m, "node 0 (Relu \"lost\"): has no output");
}

static void more_outputs(void **state) {
    (void)state;
    make_model *m = make_start();
    name_node(m, make_node(m, "MaxPool", "x", "p,where"), "pool");
    make_ints(m, "kernel_shape", 2, 2);
    make_node(m, "Add", "p,where", "y");
    make_refused(m, "node 1 (Add, which makes \"y\"): \"where\" is output 1 of node \"pool\" "
                    "(MaxPool), of which only output 0 is supported");

    m = make_start();
    make_node(m, "Dropout", "x", "d,y");
    make_refused(m, "\"y\" is output 1 of node 0 (Dropout, which makes \"d\")");

    m = make_start();
    make_node(m, "Add", "x,nowhere", "y");
    make_refused(m, "\"nowhere\" is made by no node, initializer or input");

    m = make_start();
    make_node(m, "Relu", "x", "z");
    make_refused(m, "\"y\" is made by no node, initializer or input");
}

static void outputs(void **state) {
    (void)state;
    make_model *m = make_start();
    make_weights(m, "y", DIMS(3));
    make_node(m, "Relu", "x", "z");
    make_refused(m, "output \"y\": is a constant");

    m = make_start();
    make_node(m, "Identity", "x", "y"); /* a copy */
    clq_graph_destroy(make_finish(m));

    m = make_start();
    make_scalar(m, "s", 0.5f);
    make_byte(m, "z", false, 3);
    make_node(m, "Relu", "x", "r");
    make_node(m, "QuantizeLinear", "r,s,z", "y");
    make_refused(m, "output \"y\": holds codes; put a DequantizeLinear");
}

/* ---- element types ---- */

static char said[512];

static void keep_log(void *context, clq_log_level level, const char *text) {
    (void)context;
    (void)level;
    snprintf(said, sizeof said, "%s", text);
}

static void set_type(make_model *m, int type) {
    m->inputs[0]->type->tensor_type->elem_type = type;
}

/* A float16 network, as `model.half()` and onnxconverter-common write them. */
static void other_floats(void **state) {
    static const struct {
        int type;
        uint64_t one;
        size_t size;
        const char *note;
    } types[] = {
        {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 0x3f800000, 4, ""},
        {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, 0x3c00, 2, "the model computes in float16"},
        {ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16, 0x3f80, 2, "in bfloat16, clquant in float32"},
        {ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE, 0x3ff0000000000000, 8, "in float64"}};
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        uint8_t ones[3 * 8];
        for (int k = 0; k < 3; k++) {
            memcpy(ones + (size_t)k * types[i].size, &types[i].one, types[i].size);
        }
        make_model *m = make_start();
        set_type(m, types[i].type);
        make_tensor(m, "w", types[i].type, DIMS(1, 3, 1, 1), ones, 3 * types[i].size);
        make_weights(m, "b", DIMS(1));
        make_node(m, "Cast", "b", "cast_b"); /* a constant and an activation */
        make_int(m, "to", types[i].type);
        make_node(m, "Conv", "x,w,cast_b", "c");
        make_node(m, "Cast", "c", "f");
        make_int(m, "to", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
        make_node(m, "Relu", "f", "y");
        said[0] = '\0';
        clq_set_log(keep_log, NULL, CLQ_LOG_INFO);
        clq_graph *graph = make_finish(m);
        clq_set_log(NULL, NULL, CLQ_LOG_WARN);
        assert_non_null(strstr(said, types[i].note));
        assert_int_equal(said[0] == '\0', types[i].note[0] == '\0');
        const float *w = graph->values[graph->nodes[0].inputs[1]].data;
        assert_true(w[0] == 1 && w[1] == 1 && w[2] == 1);
        clq_graph_destroy(graph);
    }
}

static void other_types(void **state) {
    (void)state;
    make_model *m = make_start();
    set_type(m, ONNX__TENSOR_PROTO__DATA_TYPE__UINT8);
    make_node(m, "Relu", "x", "y");
    make_refused(m, "input \"x\": has element type uint8, must be float32 or another float");

    m = make_start();
    set_type(m, 99);
    make_node(m, "Relu", "x", "y");
    make_refused(m, "has element type number 99");

    m = make_start();
    make_node(m, "Cast", "x", "y");
    make_int(m, "to", ONNX__TENSOR_PROTO__DATA_TYPE__INT8);
    make_refused(m, "node 0 (Cast, which makes \"y\"): casts an activation to int8");

    m = make_start();
    make_longs(m, "n", 1, 2, 3);
    make_node(m, "Cast", "n", "s");
    make_int(m, "to", ONNX__TENSOR_PROTO__DATA_TYPE__STRING);
    make_node(m, "Add", "x,s", "y");
    make_refused(m, "casts constants from int64 to string");
}

/* Any number of inputs: as many nodes as it takes. */
static void many_inputs(void **state) {
    (void)state;
    make_model *m = make_start();
    char *names[40];
    Onnx__NodeProto *node = make_node(m, "Concat", "x", "y");
    for (int i = 0; i < 40; i++) {
        names[i] = make_text(m, "x");
    }
    node->input = names;
    node->n_input = 40;
    make_int(m, "axis", 1);
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 3);
    assert_int_equal(graph->nodes[0].input_count, CLQ_MAX_INPUTS);
    assert_int_equal(graph->nodes[2].input_count, 2);
    assert_int_equal(graph->values[clq_graph_output(graph)].shape.dim[3], 40 * 3);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_is_read),
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(circles),
        cmocka_unit_test(long_chain),
        cmocka_unit_test(all_unknown_operators_at_once),
        cmocka_unit_test(quantized_otherwise),
        cmocka_unit_test(places),
        cmocka_unit_test(more_outputs),
        cmocka_unit_test(outputs),
        cmocka_unit_test(many_inputs),
        cmocka_unit_test(other_floats),
        cmocka_unit_test(other_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

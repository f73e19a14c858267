/* Constants that a file computes: numbers, shapes, weights; functions of its own, and open
 * dimensions. */
#include "formats/onnx_make.h"

#include "formats/ref_forward.h"

static const float *weights_of(const clq_graph *graph, int node, const char *op) {
    assert_in_range(node, 0, graph->node_count - 1);
    assert_string_equal(graph->nodes[node].op->name, op);
    return graph->values[graph->nodes[node].inputs[1]].data;
}

/* ---- numbers ---- */

/* w = sqrt(abs((a * b - c) / 2)) with a (3, 1) and c (2, 1, 1): broadcast as numpy does. */
static void floats_are_calculated(void **state) {
    (void)state;
    make_model *m = make_start();
    float a[3], b[6], c[2];
    memcpy(a, make_weights(m, "a", DIMS(3, 1)), sizeof a);
    memcpy(b, make_weights(m, "b", DIMS(2, 1, 3)), sizeof b);
    memcpy(c, make_weights(m, "c", DIMS(2, 1, 1)), sizeof c);
    make_scalar(m, "two", 2);
    make_longs(m, "axes", 2);
    make_node(m, "Mul", "a,b", "ab"); /* (2, 3, 3) */
    make_node(m, "Sub", "ab,c", "d");
    make_node(m, "Div", "d,two", "e");
    make_node(m, "Abs", "e", "f");
    make_node(m, "Sqrt", "f", "g");
    make_node(m, "Unsqueeze", "g,axes", "w"); /* (2, 3, 1, 3) */
    make_node(m, "Conv", "x,w", "y");
    clq_graph *graph = make_finish(m);
    const float *w = weights_of(graph, 0, "conv2d"); /* (2, 1, 3, 3): channels last */
    for (int o = 0; o < 2; o++) {
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < 3; k++) {
                const float expected = sqrtf(fabsf((a[i] * b[o * 3 + k] - c[o]) / 2));
                assert_true(w[(o * 3 + k) * 3 + i] == expected);
            }
        }
    }
    clq_graph_destroy(graph);

    m = make_start();
    make_weights(m, "a", DIMS(3));
    make_weights(m, "b", DIMS(2));
    make_node(m, "Add", "a,b", "c");
    make_node(m, "Add", "x,c", "y");
    make_refused(m, "shapes 3 and 2 do not go together");
}

/* The target (N, 192) in the roundabout way of exporters: what is not the batch is multiplied, and
 * -1 is told apart. */
static void shapes_are_calculated(void **state) {
    (void)state;
    make_model *m = make_start();
    make_tensor(m, "zero", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, SCALAR, &(int64_t){0}, 8);
    make_longs(m, "zeros", 0);
    make_longs(m, "one", 1);
    make_longs(m, "end", INT64_MAX);
    make_longs(m, "minus", -1);
    make_node(m, "Shape", "x", "shape");
    make_node(m, "Gather", "shape,zero", "n");
    make_node(m, "Unsqueeze", "n,zeros", "n1");
    make_node(m, "Mul", "n1,one", "n2"); /* leaves an open batch as it is */
    make_node(m, "Slice", "shape,one,end", "rest");
    make_node(m, "ReduceProd", "rest", "features");
    make_int(m, "keepdims", 1);
    make_node(m, "Concat", "n2,features", "target");
    make_int(m, "axis", 0);
    make_node(m, "Equal", "target,minus", "open");
    make_node(m, "Where", "open,minus,target", "chosen");
    make_node(m, "Reshape", "x,chosen", "f");
    make_weights(m, "w", DIMS(192, 2));
    make_node(m, "MatMul", "f,w", "y");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 2);
    clq_graph_destroy(graph);
}

/* Two convolutions by the halves of one tensor, in two ways; the first half counts backwards. */
static void weights_are_taken_apart(void **state) {
    (void)state;
    make_model *m = make_start();
    float all[4 * 6];
    memcpy(all, make_weights(m, "all", DIMS(4, 6, 1, 1)), sizeof all);
    make_longs(m, "starts", 2);
    make_longs(m, "ends", -7);
    make_longs(m, "axes", 1);
    make_longs(m, "steps", -1);
    make_longs(m, "order", 2, 0, 1, 3);
    make_node(m, "Slice", "all,starts,ends,axes,steps", "a"); /* channels 2, 1, 0 */
    make_node(m, "Split", "all", "unused,half");
    make_int(m, "axis", 1);
    make_node(m, "Gather", "half,order", "b");
    make_node(m, "Conv", "x,a", "c");
    make_node(m, "Conv", "x,b", "d");
    make_node(m, "Concat", "a,b", "e");
    make_int(m, "axis", 0); /* (8, 3, 1, 1) */
    make_node(m, "Conv", "x,e", "z");
    make_node(m, "Add", "c,d", "y");
    m->outputs[m->graph.n_output++] = make_info(m, "z", 4, (int64_t[]){-1, 8, 8, 8});
    clq_graph *graph = make_finish(m);
    static const int order[4] = {2, 0, 1, 3};
    const float *a = weights_of(graph, 0, "conv2d"), *b = weights_of(graph, 1, "conv2d");
    const float *both = weights_of(graph, 2, "conv2d");
    for (int o = 0; o < 4; o++) {
        for (int i = 0; i < 3; i++) {
            assert_true(a[o * 3 + i] == all[o * 6 + 2 - i]);
            assert_true(b[o * 3 + i] == all[order[o] * 6 + 3 + i]);
            assert_true(both[o * 3 + i] == a[o * 3 + i]);
            assert_true(both[(4 + o) * 3 + i] == b[o * 3 + i]);
        }
    }
    clq_graph_destroy(graph);

    m = make_start();
    make_weights(m, "all", DIMS(4, 6, 1, 1));
    make_longs(m, "parts", 4, 3);
    make_node(m, "Split", "all,parts", "a,b");
    make_int(m, "axis", 1);
    make_node(m, "Conv", "x,b", "y");
    make_refused(m, "do not make up the 6 elements of axis 1");
}

/* Weights out of nothing, as benchmark files have them, and counted ones. */
static void weights_are_filled(void **state) {
    (void)state;
    make_model *m = make_start();
    make_longs(m, "shape", 90, 300, 3, 3); /* more than a shape would have */
    make_longs(m, "wide", 300, 3, 1, 1);
    make_scalar(m, "third", 0.25f);
    make_node(m, "Expand", "third,wide", "a");
    make_node(m, "ConstantOfShape", "shape", "b");
    make_node(m, "Conv", "x,a", "c");
    make_node(m, "Conv", "c,b", "y");
    clq_graph *graph = make_finish(m);
    assert_true(weights_of(graph, 0, "conv2d")[899] == 0.25f);
    assert_true(weights_of(graph, 1, "conv2d")[90 * 300 * 9 - 1] == 0);
    clq_graph_destroy(graph);

    m = make_start();
    make_scalar(m, "start", 1);
    make_scalar(m, "limit", 2.9f);
    make_scalar(m, "delta", 0.5f);
    make_longs(m, "shape", 1, -1, 1, 1);
    make_longs(m, "last", 3);
    make_longs(m, "past", 4);
    make_longs(m, "axes", 1);
    make_node(m, "Range", "start,limit,delta", "r"); /* 1, 1.5, 2, 2.5 */
    make_node(m, "Reshape", "r,shape", "s");
    make_longs(m, "begin", 1);
    make_node(m, "Slice", "s,begin,past,axes", "w");
    make_node(m, "Conv", "x,w", "y");
    graph = make_finish(m);
    assert_memory_equal(weights_of(graph, 0, "conv2d"), ((float[]){1.5f, 2, 2.5f}),
                        3 * sizeof(float));
    clq_graph_destroy(graph);

    m = make_start(); /* many of them are out of proportion to the file */
    make_longs(m, "shape", 1 << 12, 1 << 12, 1, 1);
    make_node(m, "ConstantOfShape", "shape", "a");
    make_node(m, "ConstantOfShape", "shape", "b");
    make_node(m, "Add", "a,b", "w");
    make_node(m, "Conv", "x,w", "y");
    make_refused(m, "out of proportion");
}

/* Of nothing, nothing is computed. */
static void inputs_may_be_missing(void **state) {
    (void)state;
    static const char *const ops[] = {"Transpose", "Mul", "Gather", "Concat", "Where", "Split",
                                      "Reshape",   "Not", "Cast",   "Range",  "Size",  "Shape"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        make_model *m = make_start();
        make_node(m, ops[i], "", "c")->n_input = 0;
        make_node(m, "Add", "x,c", "y");
        make_refused(m, ops[i]);
    }
}

/* ---- MatMul ---- */

/* Of images with channels last it is a 1x1 convolution, with no transpose around it. */
static void matmul_of_pixels(void **state) {
    (void)state;
    make_model *m = make_start();
    float w[6], image[192], out[128];
    memcpy(w, make_weights(m, "w", DIMS(3, 2)), sizeof w);
    make_weights(m, "b", DIMS(2));
    make_node(m, "Relu", "x", "r");
    make_node(m, "Transpose", "r", "t");
    make_ints(m, "perm", 0, 2, 3, 1);
    make_node(m, "MatMul", "t,w", "p");
    make_node(m, "Transpose", "p", "y");
    make_ints(m, "perm", 0, 3, 1, 2);
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 2);
    clq_test_fill_f32(image, 192, -1, 1, 3);
    ref_forward(graph, image, out);
    for (int p = 0; p < 64; p++) {
        for (int o = 0; o < 2; o++) {
            float sum = 0;
            for (int c = 0; c < 3; c++) {
                sum += fmaxf(image[c * 64 + p], 0) * w[c * 2 + o];
            }
            assert_true(fabsf(out[p * 2 + o] - sum) < 1e-5f);
        }
    }
    clq_graph_destroy(graph);
}

static void gemm_factors(void **state) {
    (void)state;
    make_model *m = make_start();
    float w[15], b[5];
    memcpy(w, make_weights(m, "w", DIMS(5, 3)), sizeof w);
    memcpy(b, make_weights(m, "b", DIMS(5)), sizeof b);
    make_node(m, "GlobalAveragePool", "x", "p");
    make_node(m, "Flatten", "p", "f");
    make_node(m, "Gemm", "f,w,b", "y");
    make_int(m, "transB", 1);
    make_float(m, "alpha", 0.5f);
    make_float(m, "beta", -2);
    clq_graph *graph = make_finish(m);
    const float *weights = weights_of(graph, 1, "linear");
    const float *bias = graph->values[graph->nodes[1].inputs[2]].data;
    for (int i = 0; i < 15; i++) {
        assert_true(weights[i] == w[i] * 0.5f);
    }
    for (int i = 0; i < 5; i++) {
        assert_true(bias[i] == b[i] * -2);
    }
    clq_graph_destroy(graph);
}

/* ---- functions ---- */

typedef struct functions {
    Onnx__FunctionProto function[2], *list[2];
} functions;

/* The newest `count` nodes become the body of a function. */
static void make_function(make_model *m, functions *f, const char *name, const char *inputs,
                          const char *outputs, size_t count) {
    Onnx__FunctionProto *made = &f->function[m->model.n_functions];
    onnx__function_proto__init(made);
    made->name = make_text(m, name);
    made->domain = make_text(m, "mine");
    made->n_input = make_split(m, inputs, &made->input);
    made->n_output = make_split(m, outputs, &made->output);
    made->node = make_array(m, count, sizeof *made->node);
    m->graph.n_node -= count;
    memcpy(made->node, m->nodes + m->graph.n_node, count * sizeof *made->node);
    made->n_node = count;
    f->list[m->model.n_functions++] = made;
    m->model.functions = f->list;
}

static Onnx__NodeProto *call(make_model *m, const char *op, const char *in, const char *out) {
    Onnx__NodeProto *node = make_node(m, op, in, out);
    node->domain = make_text(m, "mine");
    return node;
}

/* A block of Conv and Clip, called twice, by a function that is called once; the strides are an
 * attribute of the call. */
static void functions_are_inlined(void **state) {
    (void)state;
    make_model *m = make_start();
    functions f;
    make_node(m, "Conv", "in,weight", "c");
    make_attribute(m, "strides", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS)->ref_attr_name =
        make_text(m, "by");
    make_node(m, "Relu", "c", "out");
    make_function(m, &f, "Block", "in,weight", "out", 2);
    call(m, "Block", "a,u", "b");
    make_ints(m, "by", 2, 2);
    call(m, "Block", "b,v", "c");
    make_function(m, &f, "Two", "a,u,v", "c", 2);
    make_weights(m, "u", DIMS(4, 3, 1, 1));
    make_weights(m, "v", DIMS(5, 4, 1, 1));
    call(m, "Two", "x,u,v", "y")->name = make_text(m, "stem");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 2); /* folded: the activations are fused */
    const clq_conv2d_attrs *first = graph->nodes[0].attrs, *second = graph->nodes[1].attrs;
    assert_int_equal(first->stride[0], 2);
    assert_int_equal(second->stride[0], 1);
    assert_int_equal(second->act, CLQ_ACT_RELU);
    clq_graph_destroy(graph);
}

/* The function's own attribute, field 11, where a call has none. The schema that the tests are made
 * with may not know the field, so it is written as one that is unknown. */
static void attributes_with_defaults(void **state) {
    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        make_model *m = make_start();
        functions f;
        uint8_t bytes[64];
        Onnx__AttributeProto by = ONNX__ATTRIBUTE_PROTO__INIT;
        ProtobufCMessageUnknownField field = {11, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, 0, bytes};
        make_node(m, "Conv", "in,weight", "out");
        make_attribute(m, "strides", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS)->ref_attr_name =
            make_text(m, "by");
        make_function(m, &f, "Block", "in,weight", "out", 1);
        by.name = make_text(m, "by");
        by.has_type = true;
        by.type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        by.n_ints = 2;
        by.ints = (int64_t[]){2, 2};
        bytes[0] = (uint8_t)onnx__attribute_proto__pack(&by, bytes + 1);
        field.len = (size_t)bytes[0] + 1;
        bytes[1] = bad ? 7 : bytes[1]; /* a reserved wire type */
        f.function[0].base.n_unknown_fields = 1;
        f.function[0].base.unknown_fields = &field;
        make_weights(m, "u", DIMS(4, 3, 1, 1));
        make_weights(m, "v", DIMS(5, 4, 1, 1));
        call(m, "Block", "x,u", "a");
        call(m, "Block", "a,v", "y");
        make_ints(m, "by", 1, 1);
        if (bad) {
            make_refused(m, "not an ONNX model");
            continue;
        }
        clq_graph *graph = make_finish(m);
        const clq_conv2d_attrs *first = graph->nodes[0].attrs, *second = graph->nodes[1].attrs;
        assert_int_equal(first->stride[0], 2);
        assert_int_equal(second->stride[0], 1);
        clq_graph_destroy(graph);
    }
}

static void functions_that_call_themselves(void **state) {
    (void)state;
    make_model *m = make_start();
    functions f;
    call(m, "Again", "in", "a");
    call(m, "Again", "a", "out");
    make_function(m, &f, "Again", "in", "out", 2);
    call(m, "Again", "x", "y");
    make_refused(m, "calls of functions are more than 16 deep");
}

/* ---- open dimensions ---- */

static void open_dimensions(void **state) {
    static const clq_onnx_shape shape = {"x", 4, {1, 3, 6, 10}};
    static const clq_onnx_shape other = {"x", 4, {1, 4, 6, 10}};
    static const clq_onnx_shape unknown = {"z", 4, {1, 3, 6, 10}};
    (void)state;
    make_model *m = make_start();
    const char *path = clq_test_temp_path("open.onnx");
    clq_graph *graph;
    size_t size;
    m->inputs[0] = make_info(m, "x", 4, (int64_t[]){-1, 3, -1, -1});
    make_weights(m, "w", DIMS(4, 3, 3, 3));
    make_node(m, "Conv", "x,w", "y");
    FILE *file = fopen(path, "wb");
    const uint8_t *bytes = make_bytes(m, &size);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
    make_free(m);

    assert_status(clq_onnx_load(path, &graph), CLQ_BAD_DATA);
    assert_error_has("dimension 2 is open, only the batch may be; give the input's dimensions");
    assert_ok(clq_onnx_load_shaped(path, &shape, 1, &graph));
    assert_true(clq_shape_equal(&graph->values[clq_graph_output(graph)].shape,
                                &(clq_shape){4, {1, 4, 8, 4}}));
    clq_graph_destroy(graph);
    assert_status(clq_onnx_load_shaped(path, &other, 1, &graph), CLQ_USAGE);
    assert_error_has("dimension 1 is 3 in the model, 4 was given");
    assert_status(clq_onnx_load_shaped(path, (const clq_onnx_shape[]){shape, unknown}, 2, &graph),
                  CLQ_USAGE);
    assert_error_has("a shape is given for \"z\", its inputs are \"x\"");
    assert_status(clq_onnx_load_shaped(path, &unknown, 1, &graph), CLQ_USAGE);
    assert_error_has("a shape is given for \"z\""); /* not that x is open */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_are_calculated),
        cmocka_unit_test(shapes_are_calculated),
        cmocka_unit_test(weights_are_taken_apart),
        cmocka_unit_test(weights_are_filled),
        cmocka_unit_test(matmul_of_pixels),
        cmocka_unit_test(gemm_factors),
        cmocka_unit_test(functions_are_inlined),
        cmocka_unit_test(functions_that_call_themselves),
        cmocka_unit_test(attributes_with_defaults),
        cmocka_unit_test(inputs_may_be_missing),
        cmocka_unit_test(open_dimensions),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}

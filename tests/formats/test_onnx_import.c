/* The ways in which exporters write things, one by one; and what is refused, with which words. */
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

/* A convolution "c" from x to `out` with 4 channels. */
static void add_conv(make_model *m, const char *out) {
    make_weights(m, "conv1.weight", DIMS(4, 3, 3, 3));
    make_node(m, "Conv", "x,conv1.weight", out);
    make_ints(m, "kernel_shape", 3, 3);
    make_ints(m, "pads", 1, 1, 1, 1);
}

/* ---- warnings ---- */

static char warning[512];
static int warnings;

static void keep_warning(void *context, clq_log_level level, const char *text) {
    (void)context;
    (void)level;
    snprintf(warning, sizeof warning, "%s", text);
    warnings++;
}

static void listen(void) {
    warnings = 0;
    clq_set_log(keep_warning, NULL, CLQ_LOG_WARN);
}

/* ---- Conv ---- */

static void conv_attributes(void **state) {
    (void)state;
    make_model *m = make_start();
    const float *w = make_weights(m, "w", DIMS(6, 1, 3, 2));
    make_node(m, "Conv", "x,w", "y")->name = make_text(m, "/features/features.3/conv/Conv");
    make_ints(m, "strides", 2, 1);
    make_ints(m, "dilations", 1, 3);
    make_ints(m, "pads", 1, 0, 2, 3);
    make_int(m, "group", 3);
    clq_graph *graph = make_finish(m);
    const clq_node *node = node_at(graph, 0, "conv2d");
    const clq_conv2d_attrs *a = node->attrs;
    assert_string_equal(node->name, "features.3.conv");
    assert_int_equal(a->kernel[0] * 10 + a->kernel[1], 32);
    assert_int_equal(a->stride[0] * 10 + a->stride[1], 21);
    assert_int_equal(a->dilation[0] * 10 + a->dilation[1], 13);
    assert_memory_equal(a->pad, ((int[]){1, 0, 2, 3}), sizeof a->pad);
    assert_int_equal(a->groups, 3);
    const clq_value *weight = input_of(graph, node, 1);
    assert_string_equal(weight->name, "w");
    assert_memory_equal(weight->data, w, 36 * sizeof *w); /* one channel: the same order */
    clq_graph_destroy(graph);
}

static void conv_weight_order(void **state) {
    (void)state;
    make_model *m = make_start();
    const float *file = make_weights(m, "onnx::Conv_12", DIMS(2, 3, 3, 2));
    float copy[36];
    memcpy(copy, file, sizeof copy);
    make_node(m, "Conv", "x,onnx::Conv_12", "y");
    clq_graph *graph = make_finish(m);
    const clq_value *weight = input_of(graph, node_at(graph, 0, "conv2d"), 1);
    assert_string_equal(weight->name, "y.weight"); /* a made-up name is replaced */
    const float *w = weight->data;
    for (int o = 0; o < 2; o++) {
        for (int c = 0; c < 3; c++) {
            for (int p = 0; p < 6; p++) {
                assert_true(w[(o * 6 + p) * 3 + c] == copy[(o * 3 + c) * 6 + p]);
            }
        }
    }
    clq_graph_destroy(graph);
}

/* Paddings of an input of 8 x 8 by a kernel of 3 x 4 with stride 2. */
static void check_auto_pad(const char *auto_pad, int top, int left, int bottom, int right) {
    make_model *m = make_start();
    make_weights(m, "w", DIMS(4, 3, 3, 4));
    make_node(m, "Conv", "x,w", "y");
    make_ints(m, "strides", 2, 2);
    make_string(m, "auto_pad", auto_pad);
    clq_graph *graph = make_finish(m);
    const clq_conv2d_attrs *a = node_at(graph, 0, "conv2d")->attrs;
    assert_int_equal(a->pad[0], top);
    assert_int_equal(a->pad[1], left);
    assert_int_equal(a->pad[2], bottom);
    assert_int_equal(a->pad[3], right);
    clq_graph_destroy(graph);
}

static void auto_pad(void **state) {
    (void)state;
    check_auto_pad("SAME_UPPER", 0, 1, 1, 1);
    check_auto_pad("SAME_LOWER", 1, 1, 0, 1);
    check_auto_pad("VALID", 0, 0, 0, 0);
    check_auto_pad("NOTSET", 0, 0, 0, 0);
}

static void conv_then_add(void **state) {
    (void)state;
    make_model *m = make_start();
    add_conv(m, "c");
    make_weights(m, "b", DIMS(1, 4, 1, 1));
    make_node(m, "Add", "b,c", "y");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 1);
    assert_int_equal(node_at(graph, 0, "conv2d")->input_count, 3);
    clq_graph_destroy(graph);
}

/* A constant behind anything but a layer's sums comes where the file has it: a depthwise layer. */
static void constants_are_added_in_place(void **state) {
    static const char *const before[] = {"Relu", "Sigmoid", "MaxPool", "Identity"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        make_model *m = make_start();
        add_conv(m, "c");
        make_node(m, before[i], "c", "r");
        if (strcmp(before[i], "MaxPool") == 0) {
            make_ints(m, "kernel_shape", 2, 2);
        }
        const float *offset = make_weights(m, "offset", DIMS(1, 4, 1, 1));
        float copy[4];
        memcpy(copy, offset, sizeof copy);
        make_node(m, "Add", "r,offset", "a");
        if (strcmp(before[i], "Identity") == 0) { /* somebody else reads the sums */
            make_node(m, "Add", "a,c", "y");
        } else {
            make_node(m, "Tanh", "a", "y");
        }
        clq_graph *graph = make_finish(m);
        const clq_node *added = NULL;
        for (int n = 0; n < graph->node_count; n++) {
            const clq_conv2d_attrs *a = graph->nodes[n].attrs;
            if (strcmp(graph->nodes[n].op->name, "conv2d") == 0 && a->groups == 4) {
                added = &graph->nodes[n];
            }
        }
        assert_non_null(added);
        assert_memory_equal(input_of(graph, added, 2)->data, copy, sizeof copy);
        for (int c = 0; c < 4; c++) {
            assert_true(((const float *)input_of(graph, added, 1)->data)[c] == 1);
        }
        assert_int_equal(graph->nodes[0].input_count, 2); /* the convolution has no bias */
        clq_graph_destroy(graph);
    }
    /* One number for each row, or pixel, and one for each channel in a fifth dimension. */
    const make_dims others[] = {DIMS(8), DIMS(8, 1), DIMS(1, 1, 4, 1, 1)};
    const char *const ops[] = {"add", "add", "conv2d"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        make_model *m = make_start();
        add_conv(m, "c");
        make_node(m, "Relu", "c", "r");
        make_weights(m, "offset", others[i]);
        make_node(m, "Add", "r,offset", "y");
        clq_graph *graph = make_finish(m);
        assert_string_equal(graph->nodes[graph->node_count - 1].op->name, ops[i]);
        clq_graph_destroy(graph);
    }
}

static void padded_conv(void **state) {
    (void)state;
    make_model *m = make_start();
    make_longs(m, "pads", 0, 0, 2, 1, 0, 0, 3, 4);
    make_node(m, "Pad", "x,pads", "padded");
    make_weights(m, "w", DIMS(4, 3, 3, 3));
    make_node(m, "Conv", "padded,w", "y");
    make_ints(m, "pads", 1, 1, 1, 1);
    clq_graph *graph = make_finish(m);
    const clq_conv2d_attrs *a = node_at(graph, 0, "conv2d")->attrs;
    assert_memory_equal(a->pad, ((int[]){3, 2, 4, 5}), sizeof a->pad);
    clq_graph_destroy(graph);

    m = make_start();
    make_longs(m, "pads", 0, 0, 2, 1, 0, 0, 3, 4);
    make_node(m, "Pad", "x,pads", "padded");
    make_node(m, "MaxPool", "padded", "y");
    make_ints(m, "kernel_shape", 2, 2);
    graph = make_finish(m); /* zeros, not the largest elements inside */
    const clq_pad_attrs *p = node_at(graph, 0, "pad")->attrs;
    assert_true(p->before[1] == 2 && p->before[2] == 1 && p->after[1] == 3 && p->after[2] == 4);
    node_at(graph, 1, "max_pool");
    clq_graph_destroy(graph);
}

static void conv_on_pooled(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "GlobalAveragePool", "x", "p");
    make_weights(m, "w", DIMS(5, 3, 1, 1));
    make_node(m, "Conv", "p,w", "c");
    make_node(m, "Flatten", "c", "y");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 2);
    node_at(graph, 1, "linear");
    clq_graph_destroy(graph);
}

/* ---- Gemm and MatMul ---- */

static void check_linear(make_model *m, const float *w, bool transposed, bool bias) {
    float copy[15];
    memcpy(copy, w, sizeof copy);
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 2);
    const clq_node *node = node_at(graph, 1, "linear");
    assert_int_equal(node->input_count, bias ? 3 : 2);
    const float *ours = input_of(graph, node, 1)->data;
    for (int o = 0; o < 5; o++) {
        for (int i = 0; i < 3; i++) {
            assert_true(ours[o * 3 + i] == copy[transposed ? o * 3 + i : i * 5 + o]);
        }
    }
    clq_graph_destroy(graph);
}

static make_model *start_pooled(void) {
    make_model *m = make_start();
    make_node(m, "GlobalAveragePool", "x", "p");
    make_node(m, "Flatten", "p", "f");
    return m;
}

static void gemm(void **state) {
    (void)state;
    make_model *m = start_pooled();
    const float *w = make_weights(m, "w", DIMS(3, 5));
    make_weights(m, "b", DIMS(1, 5));
    make_node(m, "Gemm", "f,w,b", "y");
    check_linear(m, w, false, true);

    m = start_pooled();
    w = make_weights(m, "w", DIMS(5, 3));
    make_scalar(m, "b", 0.5f);
    make_node(m, "Gemm", "f,w,b", "y");
    make_int(m, "transB", 1);
    make_float(m, "alpha", 1);
    check_linear(m, w, true, true);

    m = start_pooled();
    make_weights(m, "w", DIMS(5, 3));
    make_weights(m, "b", DIMS(4));
    make_node(m, "Gemm", "f,w,b", "y");
    make_int(m, "transB", 1);
    make_refused(m, "bias \"b\" has 4 elements, must have 5");

    m = start_pooled();
    w = make_weights(m, "w", DIMS(3, 5));
    make_weights(m, "b", DIMS(1, 1)); /* one number for all */
    make_node(m, "Gemm", "f,w,b", "y");
    check_linear(m, w, false, true);

    for (int i = 0; i < 2; i++) { /* numbers by row that look like one a feature */
        m = start_pooled();
        make_weights(m, "w", DIMS(3, 5));
        make_weights(m, "b", i ? DIMS(5, 5) : DIMS(5, 1));
        make_node(m, "Gemm", "f,w,b", "y");
        make_refused(m, i ? "C has shape 5x5" : "C has shape 5x1");
    }
}

static void matmul(void **state) {
    (void)state;
    make_model *m = start_pooled();
    const float *w = make_weights(m, "w", DIMS(3, 5));
    make_node(m, "MatMul", "f,w", "y");
    check_linear(m, w, false, false);

    m = start_pooled();
    w = make_weights(m, "w", DIMS(3, 5));
    make_weights(m, "b", DIMS(5));
    make_node(m, "MatMul", "f,w", "mm");
    make_node(m, "Add", "mm,b", "y");
    check_linear(m, w, false, true);

    m = start_pooled(); /* torch leaves the transposition in the file */
    w = make_weights(m, "fc.weight", DIMS(5, 3));
    make_node(m, "Transpose", "fc.weight", "t");
    make_ints(m, "perm", 1, 0);
    make_node(m, "MatMul", "f,t", "y");
    check_linear(m, w, true, false);
}

/* ---- activations and norms ---- */

static const char *clip_result(bool attributes, bool min, float low, bool max, float high) {
    make_model *m = make_start();
    clq_graph *graph;
    make_scalar(m, "low", low);
    make_scalar(m, "high", high);
    make_node(m, "Clip",
              attributes || (!min && !max) ? "x"
              : max                        ? (min ? "x,low,high" : "x,-,high")
                                           : "x,low",
              "y");
    if (attributes && min) {
        make_float(m, "min", low);
    }
    if (attributes && max) {
        make_float(m, "max", high);
    }
    graph = make_finish(m);
    const char *op = graph->nodes[0].op->name;
    clq_graph_destroy(graph);
    return op;
}

static void clip(void **state) {
    (void)state;
    assert_string_equal(clip_result(false, true, 0, true, 6), "relu6");
    assert_string_equal(clip_result(true, true, 0, true, 6), "relu6");
    assert_string_equal(clip_result(false, true, 0, false, 0), "relu");
    assert_string_equal(clip_result(true, true, 0, false, 0), "relu");
    assert_string_equal(clip_result(false, true, 0, true, INFINITY), "relu");
    assert_string_equal(clip_result(false, true, -1, true, 1), "clip");
    assert_string_equal(clip_result(false, false, 0, true, 6), "clip");
    assert_string_equal(clip_result(true, false, 0, false, 0), "clip");
}

static void batch_norm(void **state) {
    (void)state;
    make_model *m = make_start();
    float ones[3] = {1, 1, 1};
    make_weights(m, "bn1.weight", DIMS(3));
    make_weights(m, "bn1.bias", DIMS(3));
    make_weights(m, "bn1.running_mean", DIMS(3));
    make_tensor(m, "bn1.running_var", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(3), ones, 12);
    make_node(m, "BatchNormalization", "x,bn1.weight,bn1.bias,bn1.running_mean,bn1.running_var",
              "y,m,v");
    make_float(m, "epsilon", 0.25f);
    make_float(m, "momentum", 0.9f);
    make_int(m, "training_mode", 1);
    listen();
    clq_graph *graph = make_finish(m);
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    assert_int_equal(warnings, 1);
    assert_non_null(
        strstr(warning, "1 node is in training mode, the first is node 0 (BatchNormalization"));
    assert_false(graph->folded);
    const clq_node *node = node_at(graph, 0, "batch_norm");
    const clq_batch_norm_attrs *a = node->attrs;
    assert_string_equal(node->name, "bn1");
    assert_true(a->epsilon == 0.25f && a->momentum == 0.1f);
    assert_int_equal(input_of(graph, node, 3)->kind, CLQ_VALUE_STATE);
    assert_string_equal(input_of(graph, node, 4)->name, "bn1.running_var");
    clq_graph_destroy(graph);
}

static void dropout(void **state) {
    (void)state;
    make_model *m = make_start();
    make_scalar(m, "ratio", 0.125f);
    make_tensor(m, "yes", ONNX__TENSOR_PROTO__DATA_TYPE__BOOL, SCALAR, "\1", 1);
    make_node(m, "Dropout", "x,ratio,yes", "y,mask");
    listen();
    clq_graph *graph = make_finish(m);
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    assert_int_equal(warnings, 1);
    const clq_dropout_attrs *a = node_at(graph, 0, "dropout")->attrs;
    assert_true(a->probability == 0.125f);
    assert_false(graph->folded);
    clq_graph_destroy(graph);
}

/* Inputs and outputs keep their names, also in the file that is written. */
static void several_ends(void **state) {
    (void)state;
    static const int64_t dim[4] = {-1, 2, 8, 8};
    make_model *m = make_start();
    m->inputs[m->graph.n_input++] = make_info(m, "right", 4, dim);
    m->outputs[m->graph.n_output++] = make_info(m, "early", 4, dim);
    m->outputs[m->graph.n_output++] = make_info(m, "twin", 4, dim);
    make_weights(m, "v", DIMS(4, 3, 1, 1));
    make_weights(m, "w", DIMS(4, 2, 1, 1));
    make_node(m, "Conv", "x,v", "a");
    make_node(m, "Conv", "right,w", "b");
    make_node(m, "Add", "a,b", "sum");
    make_node(m, "Relu", "sum", "early");
    make_node(m, "Identity", "early", "twin");
    make_node(m, "GlobalAveragePool", "early", "pooled");
    make_node(m, "Flatten", "pooled", "y");
    clq_graph *graph = make_finish(m), *again = NULL;
    const char *path = clq_test_temp_path("ends.onnx");
    for (int round = 0; round < 2; round++) {
        assert_int_equal(graph->input_count, 2);
        assert_string_equal(clq_graph_input_name(graph, 0), "x");
        assert_string_equal(clq_graph_input_name(graph, 1), "right");
        assert_int_equal(graph->values[graph->inputs[1]].shape.dim[3], 2);
        assert_int_equal(graph->output_count, 3);
        assert_string_equal(clq_graph_output_name(graph, 0), "y");
        assert_string_equal(clq_graph_output_name(graph, 1), "early");
        assert_string_equal(clq_graph_output_name(graph, 2), "twin");
        assert_int_equal(graph->outputs[1].value, graph->outputs[2].value);
        assert_int_equal(graph->values[graph->outputs[1].value].shape.rank, 4);
        if (round == 0) {
            assert_ok(clq_onnx_save(graph, path));
            assert_ok(clq_onnx_load(path, &again));
            clq_graph_destroy(graph);
            graph = again;
        }
    }
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_attributes),
        cmocka_unit_test(conv_weight_order),
        cmocka_unit_test(auto_pad),
        cmocka_unit_test(conv_then_add),
        cmocka_unit_test(constants_are_added_in_place),
        cmocka_unit_test(padded_conv),
        cmocka_unit_test(conv_on_pooled),
        cmocka_unit_test(gemm),
        cmocka_unit_test(matmul),
        cmocka_unit_test(clip),
        cmocka_unit_test(batch_norm),
        cmocka_unit_test(dropout),
        cmocka_unit_test(several_ends),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}

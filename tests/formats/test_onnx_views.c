/* Nodes that change how an activation is seen, and pooling, Slice and Pad, as exporters write them.
 */
#include "formats/onnx_make.h"

#include <clquant/ops.h>
#include <clquant/passes.h>

#include "base/files.h"
#include "formats/layout.h"
#include "formats/ref_forward.h"
#include "graph/node.h"

static const clq_node *node_at(const clq_graph *graph, int index, const char *op) {
    assert_in_range(index, 0, graph->node_count - 1);
    assert_string_equal(graph->nodes[index].op->name, op);
    return &graph->nodes[index];
}

/* ---- flattening ---- */

/* Behind a flatten of (3, 8, 8) the columns come in another order: the result must be the same. */
static void flatten_order(void **state) {
    (void)state;
    make_model *m = make_start();
    const float *w = make_weights(m, "w", DIMS(2, 192));
    float image[192], expected[2] = {0}, out[2];
    clq_test_fill_f32(image, 192, -1, 1, 77);
    for (int i = 0; i < 384; i++) {
        expected[i / 192] += w[i] * image[i % 192];
    }
    make_node(m, "Flatten", "x", "f");
    make_node(m, "Gemm", "f,w", "y");
    make_int(m, "transB", 1);
    clq_graph *graph = make_finish(m);
    ref_forward(graph, image, out);
    assert_close_f32(out, expected, clq_test_shape_of(2), 1e-4, 1e-4);
    clq_graph_destroy(graph);

    m = make_start();
    make_node(m, "Flatten", "x", "f"); /* an output has the file's order */
    make_node(m, "Relu", "f", "y");
    graph = make_finish(m);
    node_at(graph, 0, "flatten");
    node_at(graph, 1, "relu");
    node_at(graph, 2, "reshape");
    node_at(graph, 3, "transpose");
    node_at(graph, 4, "reshape");
    clq_graph_destroy(graph);
}

static clq_graph *reshaped_to(int64_t a, int64_t b) {
    make_model *m = make_start();
    clq_graph *graph;
    make_longs(m, "shape", a, b);
    make_node(m, "Reshape", "x,shape", "f");
    make_weights(m, "w", DIMS(2, 192));
    make_node(m, "Gemm", "f,w", "y");
    make_int(m, "transB", 1);
    if (make_load(m, &graph) != CLQ_OK) {
        assert_error_has("the batch must stay apart");
    }
    make_free(m);
    return graph;
}

static void reshape(void **state) {
    (void)state;
    static const int64_t good[][2] = {{0, -1}, {-1, 192}, {1, -1}, {0, 192}, {1, 192}};
    static const int64_t bad[][2] = {{-1, -1}, {2, -1}, {-1, 96}, {192, 0}, {-1, 0}};
    for (int i = 0; i < 5; i++) {
        clq_graph *graph = reshaped_to(good[i][0], good[i][1]);
        assert_non_null(graph);
        node_at(graph, 0, "flatten");
        clq_graph_destroy(graph);
        assert_null(reshaped_to(bad[i][0], bad[i][1]));
    }
}

/* x.view(x.size(0), -1) as torch writes it. */
static void view_chain(void **state) {
    (void)state;
    make_model *m = make_start();
    make_tensor(m, "zero", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, SCALAR, &(int64_t){0}, 8);
    make_longs(m, "axes", 0);
    make_longs(m, "rest", -1);
    make_node(m, "Shape", "x", "shape");
    make_node(m, "Gather", "shape,zero", "n");
    make_node(m, "Unsqueeze", "n,axes", "n1");
    make_node(m, "Concat", "n1,rest", "target");
    make_int(m, "axis", 0);
    make_node(m, "Reshape", "x,target", "f");
    make_weights(m, "w", DIMS(192, 2));
    make_node(m, "MatMul", "f,w", "y");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 2);
    clq_graph_destroy(graph);

    m = make_start(); /* calculating with the open batch */
    make_longs(m, "two", 2);
    make_node(m, "Shape", "x", "shape");
    make_node(m, "Mul", "shape,two", "target");
    make_node(m, "Reshape", "x,target", "y");
    make_refused(m, "calculates with the batch");
}

static void pooled_views(void **state) {
    (void)state;
    make_model *m = make_start();
    make_longs(m, "axes", 2, 3);
    make_node(m, "ReduceMean", "x", "r");
    make_ints(m, "axes", -1, -2);
    make_node(m, "Squeeze", "r,axes", "s");
    make_node(m, "Unsqueeze", "s,axes", "u");
    make_node(m, "Identity", "u", "i");
    make_node(m, "Flatten", "i", "f");
    make_weights(m, "w", DIMS(3, 2));
    make_node(m, "MatMul", "f,w", "y");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 2);
    node_at(graph, 0, "global_avg_pool");
    clq_graph_destroy(graph);
}

/* ---- axes ---- */

/* Conv - Relu - Conv - mean - MatMul, of (N, C, H, W), or as TensorFlow's converter writes it: the
 * input and what is between are (N, H, W, C), with a Transpose on either side of each Conv. */
static clq_graph *made_in_order(bool channels_last, const char *path) {
    static const int64_t image[4] = {-1, 8, 6, 3};
    make_model *m = make_start();
    make_weights(m, "a.weight", DIMS(4, 3, 3, 3));
    make_weights(m, "b.weight", DIMS(5, 4, 1, 1));
    make_weights(m, "fc.weight", DIMS(5, 2));
    if (channels_last) {
        m->inputs[0] = make_info(m, "x", 4, image);
        make_node(m, "Transpose", "x", "x1");
        make_ints(m, "perm", 0, 3, 1, 2);
        make_node(m, "Conv", "x1,a.weight", "a1");
        make_node(m, "Transpose", "a1", "a");
        make_ints(m, "perm", 0, 2, 3, 1);
        make_node(m, "Relu", "a", "r");
        make_node(m, "Transpose", "r", "r1");
        make_ints(m, "perm", 0, 3, 1, 2);
        make_node(m, "Conv", "r1,b.weight", "b1");
        make_node(m, "Transpose", "b1", "b");
        make_ints(m, "perm", 0, 2, 3, 1);
        make_node(m, "ReduceMean", "b", "p");
        make_ints(m, "axes", 1, 2);
        make_int(m, "keepdims", 0);
    } else {
        m->inputs[0] = make_info(m, "x", 4, (const int64_t[]){-1, 3, 8, 6});
        make_node(m, "Conv", "x,a.weight", "a");
        make_node(m, "Relu", "a", "r");
        make_node(m, "Conv", "r,b.weight", "b");
        make_node(m, "GlobalAveragePool", "b", "g");
        make_node(m, "Flatten", "g", "p");
    }
    make_node(m, "MatMul", "p,fc.weight", "y");
    clq_graph *graph = make_finish(m), *again;
    if (!path) {
        return graph;
    }
    assert_ok(clq_onnx_save(graph, clq_test_temp_path(path)));
    assert_ok(clq_onnx_load(clq_test_temp_path(path), &again));
    clq_graph_destroy(graph);
    return again;
}

/* Both are the same network, node for node; only the input is seen in another way. */
static void channels_last(void **state) {
    (void)state;
    float image[144], expected[2], out[2];
    clq_graph *first = made_in_order(false, NULL);
    clq_test_fill_f32(image, 144, -1, 1, 5);
    ref_forward(first, image, expected);
    for (int saved = 0; saved < 2; saved++) {
        clq_graph *graph = made_in_order(true, saved ? "last.onnx" : NULL);
        const clq_axes *axes = &graph->input_axes[0];
        const clq_shape seen = clq_input_file_shape(graph, 0);
        float turned[144], stored[144], straight[144];
        assert_int_equal(graph->node_count, first->node_count);
        for (int n = 0; n < graph->node_count; n++) {
            assert_string_equal(graph->nodes[n].op->name, first->nodes[n].op->name);
        }
        assert_true(
            clq_shape_equal(&graph->values[graph->inputs[0]].shape, &(clq_shape){4, {1, 8, 6, 3}}));
        assert_int_equal(axes->rank, 4);
        assert_memory_equal(axes->axis, ((int[]){0, 1, 2, 3}), 4 * sizeof(int));
        assert_true(clq_shape_equal(&seen, &(clq_shape){4, {1, 8, 6, 3}}));
        clq_input_from_file(first, 0, 1, image, turned); /* to (H, W, C) */
        clq_input_from_file(graph, 0, 1, turned, stored);
        assert_equal_bits(stored, turned, sizeof turned);
        clq_input_from_file(first, 0, 1, image, straight);
        assert_equal_bits(straight, turned, sizeof turned);
        ref_forward(graph, image, out); /* takes C, H, W of any graph */
        assert_equal_bits(out, expected, sizeof out);
        clq_graph_destroy(graph);
    }
    clq_graph_destroy(first);
}

/* An output of (N, C, 1, 1) stays one, and one of (N, H, W, C). */
static void output_axes(void **state) {
    static const struct {
        int rank, axis[4];
    } cases[] = {{4, {0, 1, -1, -1}}, {4, {0, 1, 2, 3}}, {3, {0, -1, 1}}, {1, {1}}};
    (void)state;
    for (int i = 0; i < 4; i++) {
        make_model *m = make_start();
        clq_graph *graph, *again;
        make_longs(m, "axes", 1);
        make_longs(m, "ones", 0, 2, 3);
        m->inputs[0] = make_info(m, "x", 4, (const int64_t[]){1, 3, 8, 8});
        make_node(m, i == 1 ? "Relu" : "GlobalAveragePool", "x", i == 0 ? "y" : "g");
        if (i == 1) {
            make_node(m, "Transpose", "g", "y");
            make_ints(m, "perm", 0, 2, 3, 1);
        } else if (i == 2) {
            make_node(m, "Flatten", "g", "f");
            make_node(m, "Unsqueeze", "f,axes", "y");
        } else if (i == 3) {
            make_node(m, "Squeeze", "g,ones", "y");
        }
        graph = make_finish(m);
        for (int saved = 0; saved < 2; saved++) {
            const clq_axes *axes = &graph->outputs[0].axes;
            assert_int_equal(graph->node_count, 1);
            assert_int_equal(axes->rank, cases[i].rank);
            assert_memory_equal(axes->axis, cases[i].axis, (size_t)axes->rank * sizeof(int));
            assert_ok(clq_onnx_save(graph, clq_test_temp_path("axes.onnx")));
            assert_ok(clq_onnx_load(clq_test_temp_path("axes.onnx"), &again));
            clq_graph_destroy(graph);
            graph = again;
        }
        clq_graph_destroy(graph);
    }
}

static void assert_ops(const clq_graph *graph, const char *const *ops, int count) {
    assert_int_equal(graph->node_count, count);
    for (int n = 0; n < count; n++) {
        assert_string_equal(graph->nodes[n].op->name, ops[n]);
    }
}

/* Loads, saves and loads again: the same nodes, with the same shapes. */
static void check_ops(make_model *m, const char *const *ops, int count) {
    clq_graph *graph = make_finish(m), *again;
    assert_ops(graph, ops, count);
    assert_ok(clq_onnx_save(graph, clq_test_temp_path("moves.onnx")));
    assert_ok(clq_onnx_load(clq_test_temp_path("moves.onnx"), &again));
    assert_ops(again, ops, count);
    for (int n = 0; n < count; n++) {
        const clq_value *a = &graph->values[graph->nodes[n].output];
        const clq_value *b = &again->values[again->nodes[n].output];
        assert_string_equal(a->name, b->name);
        assert_true(clq_shape_equal(&a->shape, &b->shape));
        assert_memory_equal(graph->nodes[n].attrs, again->nodes[n].attrs,
                            graph->nodes[n].op->attrs_size);
    }
    clq_graph_destroy(again);
    clq_graph_destroy(graph);
}

/* A channel shuffle splits and joins the last axis, and moves once. */
static void channel_shuffle(void **state) {
    static const char *const ops[] = {"conv2d", "reshape", "transpose", "reshape", "conv2d"};
    (void)state;
    make_model *m = make_start();
    make_weights(m, "a.weight", DIMS(6, 3, 1, 1));
    make_weights(m, "b.weight", DIMS(2, 6, 3, 3));
    make_longs(m, "split", -1, 2, 3, 8, 8);
    make_longs(m, "joined", -1, 6, 8, 8);
    make_node(m, "Conv", "x,a.weight", "a");
    make_node(m, "Reshape", "a,split", "s");
    make_node(m, "Transpose", "s", "t");
    make_ints(m, "perm", 0, 2, 1, 3, 4);
    make_node(m, "Reshape", "t,joined", "j");
    make_node(m, "Conv", "j,b.weight", "y");
    check_ops(m, ops, 5);

    /* Written with the one transposition that it was read with. */
    void *bytes = NULL;
    size_t size;
    int transposes = 0;
    assert_ok(clq_file_read(clq_test_temp_path("moves.onnx"), 1 << 20, &bytes, &size));
    Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, size, bytes);
    assert_non_null(model);
    for (size_t n = 0; n < model->graph->n_node; n++) {
        transposes += strcmp(model->graph->node[n]->op_type, "Transpose") == 0;
    }
    assert_int_equal(transposes, 1);
    onnx__model_proto__free_unpacked(model, NULL);
    clq_free(bytes);
}

/* A failure in a network names its file, once, also in graphs that are made of it. */
static void failures_name_the_file(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "Relu", "x", "y");
    clq_graph *graph = make_finish(m), *copy = NULL;
    assert_ok(clq_graph_clone(graph, &copy));
    assert_non_null(strstr(copy->file, "made.onnx"));
    clq_graph_destroy(graph);
    clq_status status = clq_fail(CLQ_BAD_DATA, "node x: sums");
    for (int i = 0; i < 2; i++) {
        status = clq_fail_in_graph(copy, status);
        assert_int_equal(status, CLQ_BAD_DATA);
        assert_error_has("made.onnx: node x: sums");
        assert_null(strstr(strstr(clq_last_error(), "made.onnx") + 1, "made.onnx"));
    }
    clq_graph_destroy(copy);
}

/* Two readers of one transposed value share the node; a flattened image goes into a layer as it is
 * and elsewhere in the file's order. */
static void moves_are_made_once(void **state) {
    static const char *const rows[] = {"conv2d", "reshape", "transpose", "reshape",
                                       "conv2d", "flatten", "linear",    "linear"};
    (void)state;
    make_model *m = make_start();
    make_weights(m, "a.weight", DIMS(4, 3, 1, 1));
    make_weights(m, "b.weight", DIMS(64, 5)); /* of each row (4, 64) of pixels */
    make_weights(m, "c.weight", DIMS(256, 2));
    make_weights(m, "d.weight", DIMS(256, 3));
    make_longs(m, "rows", -1, 4, 64);
    make_node(m, "Conv", "x,a.weight", "a");
    make_node(m, "Reshape", "a,rows", "r");
    make_node(m, "MatMul", "r,b.weight", "z");
    make_node(m, "Flatten", "a", "f");
    make_node(m, "MatMul", "f,c.weight", "y");
    make_node(m, "MatMul", "f,d.weight", "w");
    m->outputs[m->graph.n_output++] = make_info(m, "z", 3, (int64_t[]){-1, 4, 5});
    m->outputs[m->graph.n_output++] = make_info(m, "w", 2, (int64_t[]){-1, 3});
    clq_graph *graph = make_finish(m);
    assert_ops(graph, rows, 8);
    clq_graph_destroy(graph);
}

/* A slice for each part that somebody reads, by the node's numbers of parts or evenly. */
static void splits(void **state) {
    static const char *const ops[] = {"slice", "slice", "add"};
    (void)state;
    for (int even = 0; even < 2; even++) {
        make_model *m = make_start();
        m->inputs[0] = make_info(m, "x", 4, (const int64_t[]){-1, 7, 3, 4});
        make_longs(m, "parts", 3, 3, 1);
        make_node(m, "Split", even ? "x" : "x,parts", "a,b,unread");
        make_int(m, "axis", -3);
        make_node(m, "Add", "b,a", "y");
        clq_graph *graph = make_finish(m);
        assert_ops(graph, ops, 3);
        const clq_slice_attrs *first = graph->nodes[0].attrs, *second = graph->nodes[1].attrs;
        assert_int_equal(first->start[3], 0);
        assert_int_equal(second->start[3], 3); /* evenly: 3, 3 and the last 1 */
        assert_int_equal(second->count[3], 3);
        assert_int_equal(second->count[1], 3);
        clq_graph_destroy(graph);
    }
    make_model *m = make_start();
    make_node(m, "Split", "x", "a,y");
    make_int(m, "axis", 0);
    make_refused(m, "Split");
}

/* Batch norm behind a transposed (N, C, L). */
static make_model *start_rows(void) {
    make_model *m = make_start();
    m->inputs[0] = make_info(m, "x", 3, (const int64_t[]){-1, 6, 5});
    make_weights(m, "bn.weight", DIMS(5));
    make_weights(m, "bn.bias", DIMS(5));
    make_weights(m, "mean", DIMS(5));
    make_tensor(m, "var", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(5),
                (const float[]){1, 2, 3, 4, 5}, 5 * sizeof(float));
    make_node(m, "Transpose", "x", "t");
    make_ints(m, "perm", 0, 2, 1);
    make_node(m, "BatchNormalization", "t,bn.weight,bn.bias,mean,var", "n");
    make_node(m, "Relu", "n", "r");
    make_node(m, "Transpose", "r", "y");
    make_ints(m, "perm", 0, 2, 1);
    return m;
}

/* Channels last in three dimensions, and folded, where the batch norm is a depthwise convolution.
 */
static void rows_of_channels(void **state) {
    static const char *const ops[] = {"batch_norm", "relu"}, *const folded_ops[] = {"conv2d"};
    (void)state;
    check_ops(start_rows(), ops, 2);
    clq_graph *graph = make_finish(start_rows()), *folded, *again;
    assert_ok(clq_graph_fold(graph, &folded));
    assert_ops(folded, folded_ops, 1);
    assert_ok(clq_onnx_save(folded, clq_test_temp_path("rows.onnx")));
    assert_ok(clq_onnx_load(clq_test_temp_path("rows.onnx"), &again));
    assert_ops(again, folded_ops, 1);
    assert_true(
        clq_shape_equal(&again->values[again->nodes[0].output].shape, &(clq_shape){3, {1, 6, 5}}));
    for (int k = 1; k < 3; k++) {
        assert_equal_bits(again->values[again->nodes[0].inputs[k]].data,
                          folded->values[folded->nodes[0].inputs[k]].data, 5 * sizeof(float));
    }
    clq_graph_destroy(again);
    clq_graph_destroy(folded);
    clq_graph_destroy(graph);
}

/* Where the batch is a number, nodes may do with it what they like: the network is of one sample.
 */
static void batch_as_an_axis(void **state) {
    (void)state;
    make_model *m = make_start();
    m->inputs[0] = make_info(m, "x", 4, (const int64_t[]){2, 3, 8, 5});
    make_node(m, "Transpose", "x", "y");
    make_ints(m, "perm", 1, 2, 3, 0);
    clq_graph *graph = make_finish(m);
    const clq_shape seen = clq_output_file_shape(graph, 0), fed = clq_input_file_shape(graph, 0);
    assert_true(clq_shape_equal(&seen, &(clq_shape){5, {1, 3, 8, 5, 2}}));
    assert_true(clq_shape_equal(&fed, &(clq_shape){5, {1, 2, 3, 8, 5}}));
    clq_graph_destroy(graph);

    m = make_start(); /* (3, 2) transposed times (3, 4) */
    m->inputs[0] = make_info(m, "x", 2, (const int64_t[]){3, 2});
    make_weights(m, "w", DIMS(3, 4));
    make_node(m, "Gemm", "x,w", "y");
    make_int(m, "transA", 1);
    graph = make_finish(m);
    const clq_shape product = clq_output_file_shape(graph, 0);
    assert_true(clq_shape_equal(&product, &(clq_shape){3, {1, 2, 4}}));
    clq_graph_destroy(graph);

    m = make_start();
    make_node(m, "Transpose", "x", "t");
    make_ints(m, "perm", 1, 2, 3, 0);
    make_weights(m, "w", DIMS(8, 8, 1, 1));
    make_node(m, "Conv", "t,w", "y");
    make_refused(m, "needs the batch as axis");
}

/* What a layer on codes reads stays codes where a reshape comes between, as for the batch here. */
static void codes_with_the_batch_as_an_axis(void **state) {
    (void)state;
    make_model *m = make_start();
    m->inputs[0] = make_info(m, "x", 2, (const int64_t[]){2, 6});
    make_scalar(m, "scale", 0.05f);
    make_byte(m, "zero", false, 128);
    make_byte(m, "w_zero", true, 0);
    make_codes(m, "w", DIMS(8, 6));
    make_weights(m, "b", DIMS(8));
    make_node(m, "QuantizeLinear", "x,scale,zero", "xq");
    make_node(m, "DequantizeLinear", "xq,scale,zero", "xr");
    make_node(m, "DequantizeLinear", "w,scale,w_zero", "wr");
    make_node(m, "Gemm", "xr,wr,b", "g");
    make_int(m, "transB", 1);
    make_node(m, "QuantizeLinear", "g,scale,zero", "gq");
    make_node(m, "DequantizeLinear", "gq,scale,zero", "gr");
    make_node(m, "ReduceMean", "gr", "y");
    make_ints(m, "axes", 0);
    clq_graph *graph = make_finish(m);
    const clq_node *layer = NULL;
    for (int n = 0; n < graph->node_count; n++) {
        layer = strcmp(graph->nodes[n].op->name, "linear") == 0 ? &graph->nodes[n] : layer;
    }
    assert_non_null(layer);
    assert_int_equal(graph->values[layer->inputs[0]].q.count, 1);
    assert_int_equal(graph->values[layer->inputs[1]].dtype, CLQ_S8);
    assert_int_equal(graph->values[layer->inputs[2]].dtype, CLQ_S32);
    clq_graph_destroy(graph);
}

/* ---- pooling, Slice, Pad ---- */

static void pools(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "MaxPool", "x", "a");
    make_ints(m, "kernel_shape", 3, 3);
    make_ints(m, "strides", 2, 2);
    make_int(m, "ceil_mode", 1);
    make_int(m, "storage_order", 1);
    make_node(m, "AveragePool", "a", "y");
    make_ints(m, "kernel_shape", 2, 2);
    make_string(m, "auto_pad", "SAME_UPPER");
    make_int(m, "count_include_pad", 1);
    clq_graph *graph = make_finish(m);
    const clq_pool_attrs *max = node_at(graph, 0, "max_pool")->attrs;
    assert_true(max->ceil_mode);
    const clq_pool_attrs *average = node_at(graph, 1, "avg_pool")->attrs;
    assert_true(average->count_include_pad);
    assert_memory_equal(average->pad, ((int[]){0, 0, 1, 1}), sizeof average->pad);
    clq_graph_destroy(graph);

    m = make_start();
    make_node(m, "MaxPool", "x", "y");
    make_ints(m, "kernel_shape", 3, 3);
    make_ints(m, "dilations", 2, 2);
    graph = make_finish(m);
    max = node_at(graph, 0, "max_pool")->attrs;
    assert_memory_equal(max->dilation, ((int[]){2, 2}), sizeof max->dilation);
    clq_graph_destroy(graph);
}

/* Readers who count windows as ceil(slack / stride) + 1 must find as many as there are. */
static void written_pools_have_no_window_in_the_padding(void **state) {
    static const clq_pool_attrs cases[] = {
        {{3, 3}, {3, 3}, {1, 1, 1, 1}, {0}, false, true}, /* 8 + 2 - 3 = 7: the 4th begins at 8 */
        {{3, 3}, {3, 2}, {1, 1, 1, 1}, {0}, true, true},  /* height so, width whole: 7 / 2 adds one
                                                           */
        {{2, 3}, {4, 2}, {0, 0, 0, 0}, {0}, true, true},  /* nothing to take from the padding */
        {{2, 3}, {3, 2}, {1, 0, 0, 0}, {0}, false, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int max = 0; max < 2; max++) {
            clq_graph *graph, *loaded;
            int x, y;
            assert_ok(clq_graph_create("pool", &graph));
            assert_ok(clq_graph_add_input(graph, "x", (clq_shape){4, {1, 8, 8, 2}}, &x));
            assert_ok(clq_graph_add_node(graph, max ? "max_pool" : "avg_pool", "p", &cases[i], &x,
                                         1, &y));
            clq_graph_set_output(graph, y);
            assert_ok(clq_onnx_save(graph, clq_test_temp_path("pool.onnx")));
            assert_ok(clq_onnx_load(clq_test_temp_path("pool.onnx"), &loaded));
            const clq_pool_attrs *a = loaded->nodes[0].attrs;
            const clq_shape *is = &loaded->values[clq_graph_output(loaded)].shape;
            assert_true(clq_shape_equal(is, &graph->values[y].shape));
            for (int axis = 0; axis < 2; axis++) {
                const int slack = 8 + a->pad[axis] + a->pad[axis + 2] - a->kernel[axis];
                const int more = a->ceil_mode ? a->stride[axis] - 1 : 0;
                assert_int_equal((slack + more) / a->stride[axis] + 1, is->dim[1 + axis]);
            }
            float image[128], before[128], after[128];
            clq_test_fill_f32(image, 128, -1, 1, i);
            ref_forward(graph, image, before);
            ref_forward(loaded, image, after);
            assert_equal_bits(after, before, (size_t)clq_shape_count(is) * sizeof *after);
            clq_graph_destroy(loaded);
            clq_graph_destroy(graph);
        }
    }
}

static void add_slice(make_model *m, const char *in, const char *out, int64_t axis, int64_t step) {
    char name[4][32];
    int64_t values[4] = {0, INT64_MAX, axis, step};
    char inputs[160];
    for (int i = 0; i < 4; i++) {
        snprintf(name[i], sizeof name[i], "%s_%d", out, i);
        make_longs(m, name[i], values[i]);
    }
    snprintf(inputs, sizeof inputs, "%s,%s,%s,%s,%s", in, name[0], name[1], name[2], name[3]);
    make_node(m, "Slice", inputs, out);
}

static void shortcut_a(void **state) {
    (void)state;
    make_model *m = make_start();
    add_slice(m, "x", "s0", 0, 1);
    add_slice(m, "s0", "s1", 2, 2);
    add_slice(m, "s1", "s2", -1, 2);
    make_longs(m, "pads", 0, 2, 0, 0, 0, 3, 0, 0);
    make_scalar(m, "zero", 0);
    make_node(m, "Pad", "s2,pads,zero", "y");
    make_string(m, "mode", "constant");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, 1);
    const clq_pad_channels_attrs *a = node_at(graph, 0, "shortcut_a")->attrs;
    assert_int_equal(a->stride, 2);
    assert_int_equal(a->front, 2);
    assert_int_equal(a->back, 3);
    clq_graph_destroy(graph);

    m = make_start(); /* by pooling of one pixel, as some write it */
    make_node(m, "AveragePool", "x", "s");
    make_ints(m, "kernel_shape", 1, 1);
    make_ints(m, "strides", 2, 2);
    make_longs(m, "pads", 0, 0, 0, 0, 0, 3, 0, 0);
    make_node(m, "Pad", "s,pads", "y");
    graph = make_finish(m);
    assert_int_equal(graph->node_count, 1);
    node_at(graph, 0, "shortcut_a");
    clq_graph_destroy(graph);
}

static void lone_slice(void **state) {
    (void)state;
    make_model *m = make_start();
    add_slice(m, "x", "s", 2, 3);
    make_node(m, "Relu", "s", "y");
    clq_graph *graph = make_finish(m);
    const clq_pool_attrs *a = node_at(graph, 0, "max_pool")->attrs;
    assert_int_equal(a->kernel[0] * 10 + a->kernel[1], 11);
    assert_int_equal(a->stride[0] * 10 + a->stride[1], 31);
    clq_graph_destroy(graph);

    m = make_start(); /* every other channel */
    add_slice(m, "x", "s", 1, 2);
    make_node(m, "Relu", "s", "y");
    check_ops(m, (const char *const[]){"slice", "relu"}, 2);
    m = make_start();
    add_slice(m, "x", "s", 0, 2);
    make_node(m, "Relu", "s", "y");
    make_refused(m, "takes part of the batch");

    m = make_start();
    make_longs(m, "pads", 0, 1, 0, 0, 0, 1, 0, 0);
    make_scalar(m, "one", 1);
    make_node(m, "Pad", "x,pads,one", "y");
    graph = make_finish(m);
    const clq_pad_attrs *p = node_at(graph, 0, "pad")->attrs;
    assert_true(p->value == 1 && p->before[3] == 1 && p->after[3] == 1 && p->before[1] == 0);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flatten_order),
        cmocka_unit_test(reshape),
        cmocka_unit_test(view_chain),
        cmocka_unit_test(pooled_views),
        cmocka_unit_test(channels_last),
        cmocka_unit_test(output_axes),
        cmocka_unit_test(channel_shuffle),
        cmocka_unit_test(failures_name_the_file),
        cmocka_unit_test(moves_are_made_once),
        cmocka_unit_test(rows_of_channels),
        cmocka_unit_test(splits),
        cmocka_unit_test(batch_as_an_axis),
        cmocka_unit_test(codes_with_the_batch_as_an_axis),
        cmocka_unit_test(pools),
        cmocka_unit_test(written_pools_have_no_window_in_the_padding),
        cmocka_unit_test(shortcut_a),
        cmocka_unit_test(lone_slice),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}

/* Reductions, softmax and normalization in files: which node of the graph each becomes, and that it
 * comes back when the graph is written and read again. x is (N, 3, 8, 8). */
#include "formats/onnx_make.h"

#include <clquant/ops.h>

#include "formats/layout.h"

static int setup(void **state) {
    return clq_test_setup_temp_dir(state);
}

static int teardown(void **state) {
    return clq_test_teardown_temp_dir(state);
}

/* Field by field where there is padding between them. */
static bool same_attrs(const clq_node *node, const void *attrs) {
    if (strncmp(node->op->name, "reduce_", 7) == 0) {
        const clq_reduce_attrs *a = node->attrs, *b = attrs;
        return a->axes == b->axes && a->keep == b->keep;
    }
    if (strncmp(node->op->name, "arg_", 4) == 0) {
        const clq_arg_attrs *a = node->attrs, *b = attrs;
        return a->axis == b->axis && a->keep == b->keep && a->last == b->last;
    }
    return memcmp(node->attrs, attrs, node->op->attrs_size) == 0;
}

static const clq_node *last_node(const clq_graph *graph, const char *op, const void *attrs) {
    const clq_node *node = &graph->nodes[graph->values[clq_graph_output(graph)].producer];
    assert_string_equal(node->op->name, op);
    assert_true(same_attrs(node, attrs));
    return node;
}

static void assert_file_shape(const clq_graph *graph, make_dims dims) {
    const clq_shape shape = clq_output_file_shape(graph, 0);
    char text[96];
    clq_shape_text(&shape, text, sizeof text);
    bool equal = shape.rank == dims.rank;
    for (int i = 0; i < dims.rank; i++) {
        equal = equal && shape.dim[i] == dims.dim[i];
    }
    if (!equal) {
        fail_msg("the output is %s in the file", text);
    }
}

/* The model's output is made by one node like this; so it is in a file that is written of it, of
 * this opset. */
static void check(make_model *m, const char *op, const void *attrs, make_dims dims) {
    clq_graph *graph = make_finish(m), *again = NULL;
    const char *path = clq_test_temp_path("again.onnx");
    const clq_node *node = last_node(graph, op, attrs);
    assert_file_shape(graph, dims);
    assert_ok(clq_onnx_save(graph, path));
    assert_ok(clq_onnx_load(path, &again));
    const clq_node *back = last_node(again, op, attrs);
    assert_file_shape(again, dims);
    assert_int_equal(again->node_count, graph->node_count);
    assert_int_equal(back->input_count, node->input_count);
    for (int k = 1; k < node->input_count; k++) {
        const clq_value *a = &graph->values[node->inputs[k]], *b = &again->values[back->inputs[k]];
        if (a->data) {
            assert_equal_bits(b->data, a->data, (size_t)clq_shape_count(&a->shape) * sizeof(float));
        }
    }
    clq_graph_destroy(again);
    clq_graph_destroy(graph);
}

/* y = op(x), with axes as an attribute or input. */
static make_model *reduce(const char *op, bool as_input, int64_t keepdims, const int64_t *axes,
                          size_t count) {
    make_model *m = make_start();
    if (as_input) {
        m->opset.version = 18;
        make_longs_of(m, "axes", axes, count);
        make_node(m, op, "x,axes", "y");
    } else {
        make_node(m, op, "x", "y");
        make_ints_of(m, "axes", axes, count);
    }
    make_int(m, "keepdims", keepdims);
    return m;
}

static void reductions(void **state) {
    (void)state;
    static const char *const ops[][2] = {{"ReduceMean", "reduce_mean"},
                                         {"ReduceSum", "reduce_sum"},
                                         {"ReduceMax", "reduce_max"},
                                         {"ReduceMin", "reduce_min"},
                                         {"ReduceProd", "reduce_prod"},
                                         {"ReduceL1", "reduce_l1"},
                                         {"ReduceL2", "reduce_l2"},
                                         {"ReduceSumSquare", "reduce_sum_square"},
                                         {"ReduceLogSumExp", "reduce_log_sum_exp"}};
    const int64_t channel[] = {1}, others[] = {-3, 3};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        for (int as_input = 0; as_input < 2; as_input++) {
            check(reduce(ops[i][0], as_input, 0, channel, 1), ops[i][1],
                  &(clq_reduce_attrs){.axes = 8, .keep = true}, DIMS(1, 8, 8));
            check(reduce(ops[i][0], as_input, 1, others, 2), ops[i][1],
                  &(clq_reduce_attrs){.axes = 12, .keep = true}, DIMS(1, 1, 8, 1));
        }
    }
}

static void mean_over_pixels_is_a_pool(void **state) {
    (void)state;
    const int64_t pixels[] = {2, 3};
    clq_graph *graph = make_finish(reduce("ReduceMean", false, 0, pixels, 2));
    assert_string_equal(graph->nodes[0].op->name, "global_avg_pool");
    assert_file_shape(graph, DIMS(1, 3));
    clq_graph_destroy(graph);
}

static void reductions_refused(void **state) {
    (void)state;
    const int64_t batch[] = {0, 1}, far[] = {4};
    make_refused(reduce("ReduceMax", false, 1, batch, 2), "over the batch");
    make_refused(reduce("ReduceMax", true, 1, far, 1), "out of range");
    make_model *m = make_start();
    make_node(m, "ReduceSum", "x", "y"); /* over all */
    make_refused(m, "over the batch");
    m = make_start();
    make_node(m, "ArgMax", "x", "y"); /* along axis 0 */
    make_refused(m, "over the batch");
}

static void places(void **state) {
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        make_model *m = make_start();
        make_node(m, keep ? "ArgMin" : "ArgMax", "x", "y");
        make_int(m, "axis", -3);
        make_int(m, "keepdims", keep);
        make_int(m, "select_last_index", keep);
        check(m, keep ? "arg_min" : "arg_max",
              &(clq_arg_attrs){.axis = 3, .keep = true, .last = keep},
              keep ? DIMS(1, 1, 8, 8) : DIMS(1, 8, 8));
    }
}

static make_model *softmax(const char *op, int64_t opset, int64_t axis) {
    make_model *m = make_start();
    m->opset.version = opset;
    make_node(m, op, "x", "y");
    if (axis != 99) {
        make_int(m, "axis", axis);
    }
    return m;
}

static void softmaxes(void **state) {
    (void)state;
    const make_dims same = DIMS(1, 3, 8, 8);
    check(softmax("Softmax", 13, 1), "softmax", &(clq_softmax_attrs){3}, same);
    check(softmax("Softmax", 13, 99), "softmax", &(clq_softmax_attrs){2}, same);
    check(softmax("LogSoftmax", 13, -2), "log_softmax", &(clq_softmax_attrs){1}, same);
    check(softmax("LogSoftmax", 11, 3), "log_softmax", &(clq_softmax_attrs){2}, same);
    make_refused(softmax("Softmax", 13, 0), "over the batch");
    make_refused(softmax("Softmax", 13, 4), "out of range");
    make_model *m = make_start();
    m->opset.version = 11; /* over the axes from 1 on, of which one has elements */
    make_node(m, "GlobalAveragePool", "x", "p");
    make_node(m, "Softmax", "p", "y");
    check(m, "softmax", &(clq_softmax_attrs){1}, DIMS(1, 3, 1, 1));
    m = softmax("LpNormalization", 13, 1);
    make_int(m, "p", 1);
    check(m, "lp_normalization", &(clq_lp_normalization_attrs){3, 1}, same);
}

/* gamma and beta may be broadcast, and follow the order of the graph's axes. */
static void layer_norms(void **state) {
    (void)state;
    make_model *m = make_start();
    m->opset.version = 17;
    make_weights(m, "w", DIMS(3, 8, 8));
    make_weights(m, "b", DIMS(3, 1, 1));
    make_node(m, "LayerNormalization", "x,w,b", "y");
    make_int(m, "axis", 1);
    make_float(m, "epsilon", 1e-3f);
    check(m, "layer_norm", &(clq_layer_norm_attrs){3, 1e-3f}, DIMS(1, 3, 8, 8));

    m = make_start();
    m->opset.version = 17;
    const float *w = make_weights(m, "w", DIMS(3, 8, 8)), *b = make_weights(m, "b", DIMS(3, 1, 1));
    make_node(m, "LayerNormalization", "x,w,b", "y");
    make_int(m, "axis", -3);
    clq_graph *graph;
    assert_ok(make_load(m, &graph));
    for (int i = 0; i < 192; i++) { /* H, W, C */
        const int c = i % 3, pixel = i / 3;
        const int *inputs = graph->nodes[0].inputs;
        assert_true(((const float *)graph->values[inputs[1]].data)[i] == w[c * 64 + pixel]);
        assert_true(((const float *)graph->values[inputs[2]].data)[i] == b[c]);
    }
    clq_graph_destroy(graph);
    make_free(m);

    m = make_start(); /* as ConvNeXt's: over the channels of (N, H, W, C) */
    m->opset.version = 17;
    make_weights(m, "w", DIMS(3));
    make_node(m, "Transpose", "x", "t");
    make_ints(m, "perm", 0, 2, 3, 1);
    make_node(m, "LayerNormalization", "t,w", "n");
    make_node(m, "Transpose", "n", "y");
    make_ints(m, "perm", 0, 3, 1, 2);
    graph = make_finish(m);
    assert_int_equal(graph->node_count, 1);
    last_node(graph, "layer_norm", &(clq_layer_norm_attrs){1, 1e-5f});
    clq_graph_destroy(graph);

    m = make_start();
    m->opset.version = 17;
    make_weights(m, "w", DIMS(3, 8, 7));
    make_node(m, "LayerNormalization", "x,w", "y");
    make_int(m, "axis", 1);
    make_refused(m, "7 elements along an axis of 8");
}

static make_model *norm(const char *op, int64_t opset, int64_t elements) {
    make_model *m = make_start();
    m->opset.version = opset;
    make_weights(m, "w", DIMS(elements));
    make_weights(m, "b", DIMS(elements));
    make_weights(m, "more", DIMS(6, 3, 1, 1));
    make_node(m, "Conv", "x,more", "c"); /* 6 channels */
    make_node(m, op, "c,w,b", "y");
    return m;
}

static void other_norms(void **state) {
    (void)state;
    const make_dims same = DIMS(1, 6, 8, 8);
    check(norm("InstanceNormalization", 13, 6), "instance_norm", &(clq_instance_norm_attrs){1e-5f},
          same);
    make_refused(norm("InstanceNormalization", 13, 5), "5 elements along an axis of 6");
    const clq_group_norm_attrs groups = {3, 1e-5f};
    for (int each = 0; each < 2; each++) { /* a number a channel, or as before opset 21 a group */
        make_model *m = norm("GroupNormalization", each ? 18 : 21, each ? 3 : 6);
        make_int(m, "num_groups", 3);
        check(m, "group_norm", &groups, same);
    }
    make_model *m = norm("GroupNormalization", 21, 6);
    make_int(m, "num_groups", 4);
    make_refused(m, "must divide");
    make_refused(norm("GroupNormalization", 21, 6), "num_groups 0");
    m = make_start();
    make_node(m, "LRN", "x", "y");
    make_int(m, "size", 3);
    make_float(m, "beta", 0.5f);
    check(m, "lrn", &(clq_lrn_attrs){3, 1e-4f, 0.5f, 1}, DIMS(1, 3, 8, 8));
    m = make_start();
    make_node(m, "LRN", "x", "y");
    make_refused(m, "size");
}

/* Pixels times pixels: the Transpose becomes a flag. */
static make_model *gram(int64_t batch, bool matrices) {
    make_model *m = make_start();
    m->inputs[0] = make_info(m, "x", 4, (const int64_t[]){batch, 3, 8, 8});
    if (matrices) {
        make_longs(m, "shape", 3, 64);
    } else {
        make_longs(m, "shape", 0, 3, 64);
    }
    make_node(m, "Reshape", "x,shape", "a");
    make_node(m, "Transpose", "a", "t");
    if (matrices) {
        make_ints(m, "perm", 1, 0);
    } else {
        make_ints(m, "perm", 0, 2, 1);
    }
    make_node(m, "MatMul", "t,a", "y");
    return m;
}

static void products(void **state) {
    (void)state;
    const clq_matmul_attrs attrs = {.transpose_b = true};
    check(gram(-1, false), "matmul", &attrs, DIMS(1, 64, 64));
    check(gram(1, true), "matmul", &attrs, DIMS(1, 64, 64)); /* of one image */
    make_model *m = make_start();
    make_node(m, "GlobalAveragePool", "x", "p");
    make_node(m, "Flatten", "p", "f");
    make_node(m, "MatMul", "f,f", "y");
    make_refused(m, "multiplies operands of 2 and 2 dimensions");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reductions),         cmocka_unit_test(mean_over_pixels_is_a_pool),
        cmocka_unit_test(reductions_refused), cmocka_unit_test(places),
        cmocka_unit_test(softmaxes),          cmocka_unit_test(layer_norms),
        cmocka_unit_test(other_norms),        cmocka_unit_test(products),
    };
    return cmocka_run_group_tests_name("onnx_rows", tests, setup, teardown);
}

/* Resize, Upsample, ConvTranspose and the pools of ONNX files: what the graph gets, and that files
 * written of it say the same. */
#include <clquant/ops.h>

#include "formats/onnx_make.h"

/* x (N, 3, 8, 8) through one node, then flat to the output. */
static clq_graph *finish(make_model *m) {
    make_node(m, "Flatten", "v", "y");
    return make_finish(m);
}

static const clq_node *first(const clq_graph *graph, const char *op) {
    assert_string_equal(graph->nodes[0].op->name, op);
    return &graph->nodes[0];
}

static void assert_size(const clq_graph *graph, int64_t h, int64_t w, int64_t c) {
    const clq_shape *shape = &graph->values[graph->nodes[0].output].shape;
    assert_int_equal(shape->dim[1], h);
    assert_int_equal(shape->dim[2], w);
    assert_int_equal(shape->dim[3], c);
}

/* A file of the graph gives the same attributes and weights of its first node, and the same sizes.
 */
static void assert_comes_back(clq_graph *graph) {
    clq_graph *again = NULL;
    assert_ok(clq_onnx_save(graph, clq_test_temp_path("again.onnx")));
    assert_ok(clq_onnx_load(clq_test_temp_path("again.onnx"), &again));
    const clq_node *a = &graph->nodes[0], *b = first(again, a->op->name);
    assert_true(clq_shape_equal(&graph->values[a->output].shape, &again->values[b->output].shape));
    for (int i = 1; i < a->input_count; i++) {
        const clq_value *x = &graph->values[a->inputs[i]], *y = &again->values[b->inputs[i]];
        assert_true(clq_shape_equal(&x->shape, &y->shape));
        assert_equal_bits(x->data, y->data, (size_t)clq_shape_count(&x->shape) * 4);
    }
    if (strcmp(a->op->name, "resize") == 0) {
        const clq_resize_attrs *x = a->attrs, *y = b->attrs;
        assert_int_equal(x->mode, y->mode);
        assert_int_equal(x->coordinates, y->coordinates);
        if (x->coordinates == CLQ_RESIZE_TF_CROP_AND_RESIZE) { /* others have no box */
            assert_true(x->outside == y->outside && x->box_end[0] == y->box_end[0]);
        }
    } else {
        assert_memory_equal(a->attrs ? a->attrs : "", b->attrs ? b->attrs : "", a->op->attrs_size);
    }
    clq_graph_destroy(again);
    clq_graph_destroy(graph);
}

static void put_floats(make_model *m, const char *name, const float *values, int64_t count) {
    make_tensor(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(count), values,
                (size_t)count * sizeof *values);
}

/* ---- Resize ---- */

static void resize_by_scales(void **state) {
    (void)state;
    make_model *m = make_start();
    put_floats(m, "scales", (const float[]){1, 1, 2, 1.3f}, 4);
    make_node(m, "Resize", "x,-,scales", "v");
    make_string(m, "mode", "linear");
    make_string(m, "coordinate_transformation_mode", "align_corners");
    clq_graph *graph = finish(m);
    const clq_resize_attrs *attrs = first(graph, "resize")->attrs;
    assert_int_equal(attrs->mode, CLQ_RESIZE_LINEAR);
    assert_int_equal(attrs->coordinates, CLQ_RESIZE_ALIGN_CORNERS);
    assert_true(attrs->scale[0] == 2 && attrs->scale[1] == 1.3f);
    assert_size(graph, 16, 10, 3);
    assert_comes_back(graph);
}

static void resize_by_sizes(void **state) {
    (void)state;
    make_model *m = make_start();
    make_longs(m, "sizes", 5, 13);
    make_node(m, "Resize", "x,-,-,sizes", "v");
    make_ints(m, "axes", 3, -2); /* width, height */
    make_string(m, "mode", "cubic");
    make_float(m, "cubic_coeff_a", -0.5f);
    make_int(m, "exclude_outside", 1);
    m->opset.version = 18;
    clq_graph *graph = finish(m);
    const clq_resize_attrs *attrs = first(graph, "resize")->attrs;
    assert_true(attrs->cubic == -0.5f && attrs->exclude_outside);
    assert_size(graph, 13, 5, 3);
    assert_comes_back(graph);
}

static void resize_of_a_box(void **state) {
    (void)state;
    make_model *m = make_start();
    put_floats(m, "roi", (const float[]){0, 0, 0.25f, 0, 1, 1, 1.25f, 0.5f}, 8);
    make_longs(m, "sizes", 1, 3, 4, 6);
    make_node(m, "Resize", "x,roi,-,sizes", "v");
    make_string(m, "coordinate_transformation_mode", "tf_crop_and_resize");
    make_string(m, "mode", "linear");
    make_float(m, "extrapolation_value", 0.5f);
    clq_graph *graph = finish(m);
    const clq_resize_attrs *attrs = first(graph, "resize")->attrs;
    assert_true(attrs->box_begin[0] == 0.25f && attrs->box_end[0] == 1.25f);
    assert_true(attrs->box_end[1] == 0.5f && attrs->outside == 0.5f);
    assert_size(graph, 4, 6, 3);
    assert_comes_back(graph);
}

/* All axes by the least scale that sizes ask for. */
static void resize_keeps_the_aspect(void **state) {
    (void)state;
    make_model *m = make_start();
    make_longs(m, "sizes", 12, 20);
    make_node(m, "Resize", "x,-,-,sizes", "v");
    make_ints(m, "axes", 2, 3);
    make_string(m, "keep_aspect_ratio_policy", "not_larger");
    m->opset.version = 18;
    clq_graph *graph = finish(m);
    assert_size(graph, 12, 12, 3);
    clq_graph_destroy(graph);

    m = make_start(); /* rounded up: no scale alone makes it */
    m->inputs[0] = make_info(m, "x", 4, (const int64_t[]){-1, 3, 8, 5});
    make_longs(m, "sizes", 3, 5);
    make_node(m, "Resize", "x,-,-,sizes", "v");
    make_ints(m, "axes", 2, 3);
    make_string(m, "keep_aspect_ratio_policy", "not_larger");
    m->opset.version = 18;
    graph = finish(m);
    assert_size(graph, 3, 2, 3);
    assert_comes_back(graph);
}

static void old_forms(void **state) {
    (void)state;
    static const float scales[4] = {1, 1, 2, 3};
    for (int form = 0; form < 2; form++) {
        make_model *m = make_start();
        put_floats(m, "scales", scales, 4);
        make_node(m, form == 0 ? "Resize" : "Upsample", "x,scales", "v");
        m->opset.version = form == 0 ? 10 : 9;
        clq_graph *graph = finish(m);
        const clq_resize_attrs *attrs = first(graph, "resize")->attrs;
        assert_int_equal(attrs->coordinates, CLQ_RESIZE_ASYMMETRIC);
        assert_int_equal(attrs->rounding, CLQ_RESIZE_FLOOR);
        assert_size(graph, 16, 24, 3);
        assert_comes_back(graph);
    }
}

static void resize_refuses(void **state) {
    (void)state;
    make_model *m = make_start();
    put_floats(m, "scales", (const float[]){1, 2, 2, 2}, 4);
    make_node(m, "Resize", "x,-,scales", "y");
    make_refused(m, "other axes than height and width");
    m = make_start();
    put_floats(m, "scales", (const float[]){1, 1, 2, 2}, 4);
    make_node(m, "Resize", "x,-,scales", "y");
    make_int(m, "antialias", 1);
    make_refused(m, "antialias");
    m = make_start();
    make_node(m, "Resize", "x", "y");
    make_refused(m, "either scales or sizes");
    m = make_start();
    put_floats(m, "scales", (const float[]){1, 1, 0, -1}, 4);
    make_node(m, "Resize", "x,-,scales", "y");
    make_refused(m, "size");
}

/* ---- ConvTranspose ---- */

/* The graph's weights (OC, KH, KW, IC/G) from the file's (IC, OC/G, KH, KW). */
static void transposed_weights_find_their_places(void **state) {
    (void)state;
    enum { G = 3, OC = 6, KH = 2, KW = 4 };
    make_model *m = make_start();
    const float *w = make_weights(m, "w", DIMS(3, OC / G, KH, KW));
    make_weights(m, "b", DIMS(OC));
    make_node(m, "ConvTranspose", "x,w,b", "v");
    make_int(m, "group", G);
    make_ints(m, "strides", 2, 3);
    make_ints(m, "pads", 1, 0, 0, 2);
    make_ints(m, "output_padding", 1, 2);
    float file[3 * OC / G * KH * KW];
    memcpy(file, w, sizeof file);
    clq_graph *graph = finish(m);
    const clq_node *node = first(graph, "conv_transpose");
    const float *made = graph->values[node->inputs[1]].data;
    for (int i = 0; i < OC * KH * KW; i++) { /* one input channel a group */
        const int oc = i / (KH * KW), tap = i % (KH * KW);
        assert_true(made[i] == file[(oc / 2 * 2 + oc % 2) * KH * KW + tap]);
    }
    assert_size(graph, 7 * 2 + 2 + 1 - 1, 7 * 3 + 4 + 2 - 2, OC);
    assert_comes_back(graph);

    m = make_start();
    w = make_weights(m, "w", DIMS(3, 5, KH, KW));
    float whole[3 * 5 * KH * KW];
    memcpy(whole, w, sizeof whole);
    make_node(m, "ConvTranspose", "x,w", "v");
    graph = finish(m);
    made = graph->values[first(graph, "conv_transpose")->inputs[1]].data;
    for (int i = 0; i < 5 * KH * KW * 3; i++) {
        const int ic = i % 3, tap = i / 3 % (KH * KW), oc = i / 3 / (KH * KW);
        assert_true(made[i] == whole[(ic * 5 + oc) * KH * KW + tap]);
    }
    assert_comes_back(graph);
}

/* Paddings as ONNX Runtime 1.32 finds them. */
static void transposed_padding_is_found(void **state) {
    (void)state;
    static const struct {
        const char *auto_pad;
        int shape; /* 0: none */
        int before, after, more, size;
    } cases[] = {{"SAME_UPPER", 0, 0, 1, 0, 16},  {"SAME_LOWER", 0, 1, 0, 0, 16},
                 {"VALID", 0, 0, 0, 0, 17},       {"NOTSET", 14, 2, 1, 0, 14},
                 {"SAME_UPPER", 14, 1, 2, 0, 14}, {"NOTSET", 18, 0, 0, 1, 18}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_model *m = make_start();
        make_weights(m, "w", DIMS(3, 2, 3, 3));
        make_node(m, "ConvTranspose", "x,w", "v");
        make_ints(m, "strides", 2, 2);
        make_string(m, "auto_pad", cases[i].auto_pad);
        if (cases[i].shape) {
            make_ints(m, "output_shape", cases[i].shape, cases[i].shape);
        }
        clq_graph *graph = finish(m);
        const clq_conv_transpose_attrs *attrs = first(graph, "conv_transpose")->attrs;
        assert_int_equal(attrs->conv.pad[0], cases[i].before);
        assert_int_equal(attrs->conv.pad[2], cases[i].after);
        assert_int_equal(attrs->output_padding[1], cases[i].more);
        assert_size(graph, cases[i].size, cases[i].size, 2);
        assert_comes_back(graph);
    }
}

/* ---- pools ---- */

static void pools_are_dilated(void **state) {
    (void)state;
    static const char *const ops[2] = {"MaxPool", "AveragePool"};
    for (int i = 0; i < 2; i++) {
        make_model *m = make_start();
        make_node(m, ops[i], "x", "v");
        make_ints(m, "kernel_shape", 3, 2);
        make_ints(m, "dilations", 2, 3);
        m->opset.version = 19;
        clq_graph *graph = finish(m);
        const clq_pool_attrs *attrs = first(graph, i ? "avg_pool" : "max_pool")->attrs;
        assert_int_equal(attrs->dilation[0], 2);
        assert_int_equal(attrs->dilation[1], 3);
        assert_size(graph, 4, 5, 3);
        assert_comes_back(graph);
    }
}

static void the_global_maximum(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "GlobalMaxPool", "x", "v");
    clq_graph *graph = finish(m);
    first(graph, "global_max_pool");
    assert_comes_back(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_by_scales),
        cmocka_unit_test(resize_by_sizes),
        cmocka_unit_test(resize_of_a_box),
        cmocka_unit_test(resize_keeps_the_aspect),
        cmocka_unit_test(old_forms),
        cmocka_unit_test(resize_refuses),
        cmocka_unit_test(transposed_weights_find_their_places),
        cmocka_unit_test(transposed_padding_is_found),
        cmocka_unit_test(pools_are_dilated),
        cmocka_unit_test(the_global_maximum),
    };
    return cmocka_run_group_tests_name("onnx_resize", tests, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir);
}

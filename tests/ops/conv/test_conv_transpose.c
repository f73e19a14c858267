/* conv_transpose on floats against plain loops, on both schedules; its shape rule. */
#include <limits.h>
#include <string.h>

#include "support/op_run.h"
#include "support/ref_conv2d.h"

typedef struct turned_case {
    int n, h, w, ic, oc, kernel[2], stride[2], dilation[2], pad[4], groups, more[2];
    clq_act act;
    bool bias, accumulate;
} turned_case;

static const turned_case cases[] = {
    {2, 3, 4, 5, 6, {2, 2}, {2, 2}, {1, 1}, {0, 0, 0, 0}, 1, {0, 0}, CLQ_ACT_NONE, true, false},
    {1, 5, 4, 17, 33, {4, 4}, {2, 2}, {1, 1}, {1, 1, 1, 1}, 1, {0, 0}, CLQ_ACT_RELU, true, true},
    {2, 4, 3, 8, 12, {3, 3}, {2, 3}, {1, 1}, {1, 0, 1, 1}, 4, {1, 2}, CLQ_ACT_NONE, false, false},
    {1, 5, 6, 6, 4, {3, 2}, {1, 2}, {2, 3}, {2, 3, 1, 2}, 2, {0, 1}, CLQ_ACT_RELU6, true, true},
    {1, 7, 5, 20, 20, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, 20, {1, 1}, CLQ_ACT_NONE, true, false},
    {3, 6, 6, 16, 16, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 1, {0, 0}, CLQ_ACT_RELU, true, false},
    {1, 1, 1, 3, 2, {5, 5}, {4, 4}, {1, 1}, {0, 2, 1, 0}, 1, {3, 3}, CLQ_ACT_NONE, true, false},
};
enum { CASES = sizeof cases / sizeof *cases };

static clq_conv_transpose_attrs attributes(const turned_case *c) {
    clq_conv_transpose_attrs attrs = {.conv = {.groups = c->groups, .act = c->act}};
    memcpy(attrs.conv.kernel, c->kernel, sizeof c->kernel);
    memcpy(attrs.conv.stride, c->stride, sizeof c->stride);
    memcpy(attrs.conv.dilation, c->dilation, sizeof c->dilation);
    memcpy(attrs.conv.pad, c->pad, sizeof c->pad);
    memcpy(attrs.output_padding, c->more, sizeof c->more);
    return attrs;
}

static clq_conv_geometry geometry_of(const turned_case *c) {
    return (clq_conv_geometry){
        .n = c->n,
        .ih = c->h,
        .iw = c->w,
        .ic = c->ic,
        .oc = c->oc,
        .kh = c->kernel[0],
        .kw = c->kernel[1],
        .oh = (c->h - 1) * c->stride[0] + c->dilation[0] * (c->kernel[0] - 1) + 1 + c->more[0] -
              c->pad[0] - c->pad[2],
        .ow = (c->w - 1) * c->stride[1] + c->dilation[1] * (c->kernel[1] - 1) + 1 + c->more[1] -
              c->pad[1] - c->pad[3],
        .stride_h = c->stride[0],
        .stride_w = c->stride[1],
        .pad_top = c->pad[0],
        .pad_left = c->pad[1],
        .dilation_h = c->dilation[0],
        .dilation_w = c->dilation[1],
        .groups = c->groups,
        .transposed = true,
    };
}

/* op_run.h's runs have no graph; the executor's have, and macs reads it. */
typedef struct turned_graph {
    clq_graph *graph;
    int node;
} turned_graph;

static turned_graph graph_of(const turned_case *c) {
    const clq_conv_transpose_attrs attrs = attributes(c);
    turned_graph g = {0};
    int inputs[2], y;
    assert_ok(clq_graph_create("net", &g.graph));
    assert_ok(
        clq_graph_add_input(g.graph, "x", (clq_shape){4, {1, c->h, c->w, c->ic}}, &inputs[0]));
    assert_ok(clq_graph_add_parameter(
        g.graph, "w", CLQ_VALUE_PARAMETER, CLQ_F32,
        (clq_shape){4, {c->oc, c->kernel[0], c->kernel[1], c->ic / c->groups}}, NULL, &inputs[1]));
    assert_ok(clq_graph_add_node(g.graph, "conv_transpose", "up", &attrs, inputs, 2, &y));
    clq_graph_set_output(g.graph, y);
    assert_ok(clq_graph_validate(g.graph));
    return g;
}

static void check_floats(const turned_case *c, clq_exec_mode mode) {
    const clq_conv_transpose_attrs attrs = attributes(c);
    const clq_conv_geometry g = geometry_of(c);
    const size_t xs = ref_conv2d_x_count(&g), ws = ref_conv2d_w_count(&g), oc = (size_t)c->oc;
    const size_t ys = ref_conv2d_y_count(&g);
    turned_graph graph = graph_of(c);
    const clq_shape *shape = &graph.graph->values[graph.graph->nodes[0].output].shape;
    float *x = random_floats(xs, -1, 1, 1), *w = random_floats(ws, -1, 1, 2);
    float *b = random_floats(oc, -1, 1, 3), *dy = random_floats(ys, -1, 1, 4);
    float *start = random_floats(xs, -1, 1, 5), *masked = malloc(ys * sizeof *masked);
    float *y = malloc(ys * sizeof *y), *dx = malloc(xs * sizeof *dx);
    float *dw = malloc(ws * sizeof *dw), *db = malloc(oc * sizeof *db);
    op_test t;
    assert_int_equal(shape->dim[1], g.oh);
    assert_int_equal(shape->dim[2], g.ow);
    ref_conv2d_f32(&g, x, w, c->bias ? b : NULL, NULL, c->act, y);
    op_begin(&t, "conv_transpose", &attrs, mode);
    t.run.graph = graph.graph;
    op_input(&t, 0, (clq_shape){4, {c->n, c->h, c->w, c->ic}}, x);
    op_input(&t, 1, (clq_shape){4, {c->oc, c->kernel[0], c->kernel[1], c->ic / c->groups}}, w);
    t.node.inputs[1] = 1;
    t.node.output = graph.graph->nodes[0].output;
    if (c->bias) {
        op_input(&t, 2, (clq_shape){1, {c->oc}}, b);
    }
    op_output(&t, (clq_shape){4, {c->n, g.oh, g.ow, c->oc}});
    for (int i = 0; mode == CLQ_EXEC_TRAIN && i < t.node.input_count; i++) {
        op_want_gradient(&t, i, i == 0 && c->accumulate ? start : NULL);
    }
    op_forward(&t);
    assert_buffer_close(t.run.out.buffer, y, ys, 2e-5, 1e-5);
    if (mode == CLQ_EXEC_TRAIN) {
        float *made = read_floats(t.run.out.buffer);
        for (size_t i = 0; i < ys; i++) {
            const bool passes =
                c->act == CLQ_ACT_NONE || (made[i] > 0 && (c->act == CLQ_ACT_RELU || made[i] < 6));
            masked[i] = passes ? dy[i] : 0;
        }
        memcpy(dx, start, xs * sizeof *dx);
        ref_conv2d_f32_backward_data(&g, masked, w, c->accumulate, dx);
        ref_conv2d_f32_backward_weights(&g, x, masked, dw, db);
        op_backward(&t, dy);
        assert_buffer_close(t.run.grad_in[0].buffer, dx, xs, 5e-5, 1e-5);
        assert_buffer_close(t.run.grad_in[1].buffer, dw, ws, 5e-5, 1e-5);
        if (c->bias) {
            assert_buffer_close(t.run.grad_in[2].buffer, db, oc, 5e-5, 1e-5);
        }
        free(made);
    }
    op_end(&t);
    clq_graph_destroy(graph.graph);
    free(x), free(w), free(b), free(dy), free(start), free(masked), free(y), free(dx), free(dw),
        free(db);
}

static void training_is_that_of_plain_loops(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_floats(&cases[i], CLQ_EXEC_TRAIN);
    }
}

static void inference_is_that_of_plain_loops(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i += 2) {
        check_floats(&cases[i], CLQ_EXEC_FLOAT);
    }
}

/* A bias's gradient adds up many pixels. */
static void long_sums_keep_their_ends(void **state) {
    (void)state;
    const turned_case large = {2,      60,           50, 2,      19,           {2, 2}, {2, 2},
                               {1, 1}, {0, 0, 0, 0}, 1,  {0, 0}, CLQ_ACT_NONE, true,   false};
    check_floats(&large, CLQ_EXEC_TRAIN);
}

/* ---- refusals ---- */

/* x (1, 5, 6, 6), w (8, 3, 2, 6 / groups) */
static clq_status add(clq_conv_transpose_attrs attrs, int64_t depth) {
    clq_graph *graph = NULL;
    int inputs[2], y;
    assert_ok(clq_graph_create("net", &graph));
    assert_ok(clq_graph_add_input(graph, "x", (clq_shape){4, {1, 5, 6, 6}}, &inputs[0]));
    assert_ok(clq_graph_add_parameter(graph, "w", CLQ_VALUE_PARAMETER, CLQ_F32,
                                      (clq_shape){4, {8, 3, 2, depth}}, NULL, &inputs[1]));
    const clq_status status =
        clq_graph_add_node(graph, "conv_transpose", "up", &attrs, inputs, 2, &y);
    if (status != CLQ_OK) {
        assert_error_has("conv_transpose \"up\"");
    }
    clq_graph_destroy(graph);
    return status;
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    const clq_conv_transpose_attrs good = {
        .conv = {.kernel = {3, 2}, .stride = {2, 2}, .dilation = {1, 1}, .groups = 2}};
    static const int bad[] = {0, -1, INT_MIN};
    assert_ok(add(good, 3));
    assert_status(add(good, 6), CLQ_BAD_DATA);
    for (size_t i = 0; i < 3; i++) {
        clq_conv_transpose_attrs a = good;
        a.conv.stride[1] = bad[i];
        assert_status(add(a, 3), CLQ_BAD_DATA);
        a = good;
        a.conv.dilation[0] = bad[i];
        assert_status(add(a, 3), CLQ_BAD_DATA);
        a = good;
        a.conv.kernel[0] = bad[i];
        assert_status(add(a, 3), CLQ_BAD_DATA);
        a = good;
        a.conv.groups = bad[i];
        assert_status(add(a, 3), CLQ_BAD_DATA);
    }
    clq_conv_transpose_attrs a = good;
    a.output_padding[0] = 2; /* the stride */
    assert_status(add(a, 3), CLQ_BAD_DATA);
    a.output_padding[0] = -1;
    assert_status(add(a, 3), CLQ_BAD_DATA);
    a = good;
    a.conv.pad[0] = 11; /* all of it */
    assert_status(add(a, 3), CLQ_BAD_DATA);
    a.conv.pad[0] = -1;
    assert_status(add(a, 3), CLQ_BAD_DATA);
    a = good;
    a.conv.stride[0] = INT_MAX;
    a.conv.dilation[0] = INT_MAX;
    assert_status(add(a, 3), CLQ_BAD_DATA);
    a = good;
    a.conv.act = (clq_act)9;
    assert_status(add(a, 3), CLQ_BAD_DATA);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_is_that_of_plain_loops),
        cmocka_unit_test(inference_is_that_of_plain_loops),
        cmocka_unit_test(long_sums_keep_their_ends),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

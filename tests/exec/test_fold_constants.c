/* Constants of elementwise operators fold into the layers before them, and compute the same. */
#include <clquant/exec.h>
#include <clquant/passes.h>
#include <stdio.h>
#include <string.h>

#include "support/op_run.h"

enum { BATCH = 2, SIDE = 5 };

static int constant(clq_graph *graph, const char *name, clq_shape shape) {
    int value = 0;
    float *data = random_floats((size_t)clq_shape_count(&shape), 0.5f, 1.5f, 77);
    assert_ok(
        clq_graph_add_parameter(graph, name, CLQ_VALUE_PARAMETER, CLQ_F32, shape, data, &value));
    free(data);
    return value;
}

static int node(clq_graph *graph, const char *op, const char *name, int a, int b) {
    int out = 0;
    assert_ok(clq_graph_add_node(graph, op, name, NULL, (int[]){a, b}, b < 0 ? 1 : 2, &out));
    return out;
}

static int layer(clq_graph *graph, const char *name, int x, int out, bool image) {
    const clq_conv2d_attrs conv = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};
    const clq_linear_attrs linear = {CLQ_ACT_NONE};
    const clq_shape *shape = &graph->values[x].shape;
    const int64_t in = shape->dim[shape->rank - 1];
    const clq_shape weight = image ? (clq_shape){4, {out, 3, 3, in}} : (clq_shape){2, {out, in}};
    char full[48];
    int inputs[2] = {x}, y = 0;
    snprintf(full, sizeof full, "%s.weight", name);
    float *data = random_floats((size_t)clq_shape_count(&weight), -0.5f, 0.5f, (uint64_t)out);
    assert_ok(clq_graph_add_parameter(graph, full, CLQ_VALUE_PARAMETER, CLQ_F32, weight, data,
                                      &inputs[1]));
    free(data);
    assert_ok(clq_graph_add_node(graph, image ? "conv2d" : "linear", name,
                                 image ? (void *)&conv : (void *)&linear, inputs, 2, &y));
    return y;
}

/* Everything folds into the convolution or the linear layer. */
static clq_graph *all_fold(void) {
    clq_graph *g = NULL;
    int x = 0;
    assert_ok(clq_graph_create("all", &g));
    assert_ok(clq_graph_add_input(g, "x", (clq_shape){4, {1, SIDE, SIDE, 3}}, &x));
    x = layer(g, "conv", x, 6, true);
    x = node(g, "mul", "scaled", x, constant(g, "scale", (clq_shape){1, {6}}));
    x = node(g, "add", "moved", constant(g, "move", (clq_shape){4, {1, 1, 1, 6}}), x);
    x = node(g, "sub", "less", x, constant(g, "little", (clq_shape){1, {1}}));
    x = node(g, "sub", "turned", constant(g, "from", (clq_shape){2, {1, 6}}), x);
    x = node(g, "div", "shared", x, constant(g, "parts", (clq_shape){1, {6}}));
    x = node(g, "relu", "relu", x, -1);
    x = node(g, "global_avg_pool", "pool", x, -1);
    x = layer(g, "fc", x, 4, false);
    x = node(g, "div", "halved", x, constant(g, "half", (clq_shape){1, {1}}));
    x = node(g, "add", "biased", x, constant(g, "bias", (clq_shape){1, {4}}));
    clq_graph_set_output(g, x);
    return g;
}

/* None of these folds into a layer: read twice, another shape, not behind one. */
static clq_graph *none_folds(void) {
    clq_graph *g = NULL;
    int x = 0;
    assert_ok(clq_graph_create("none", &g));
    assert_ok(clq_graph_add_input(g, "x", (clq_shape){4, {1, SIDE, SIDE, 3}}, &x));
    const int conv = layer(g, "conv", x, 6, true);
    const int twice = node(g, "mul", "twice", conv, constant(g, "one", (clq_shape){1, {1}}));
    x = node(g, "mul", "rows", conv, constant(g, "row", (clq_shape){3, {SIDE, 1, 1}}));
    x = node(g, "max", "max", x, twice);
    x = node(g, "div", "channels", x, constant(g, "channel", (clq_shape){1, {6}}));
    x = node(g, "sigmoid", "curve", x, -1);
    x = node(g, "div", "pixels", x, constant(g, "pixel", (clq_shape){3, {SIDE, SIDE, 1}}));
    x = node(g, "div", "inverse", constant(g, "above", (clq_shape){1, {6}}), x);
    x = node(g, "pow", "power", x, constant(g, "exponent", (clq_shape){1, {6}}));
    x = node(g, "global_avg_pool", "pool", x, -1);
    const int two = constant(g, "two", (clq_shape){1, {1}});
    ((float *)g->values[two].data)[0] = 2;
    clq_graph_set_output(g, node(g, "pow", "square", x, two));
    return g;
}

static float *outputs(const clq_graph *graph) {
    const clq_exec_options options = {.mode = CLQ_EXEC_FLOAT, .batch = BATCH};
    const size_t count = BATCH * SIDE * SIDE * 3;
    float *x = random_floats(count, -1, 1, 5);
    clq_exec *exec = NULL;
    assert_ok(clq_exec_create(test_device, graph, &options, &exec));
    assert_ok(clq_buffer_write(clq_exec_input(exec)->buffer, 0, count * sizeof *x, x));
    assert_ok(clq_exec_forward(exec));
    free(x);
    x = read_floats(clq_exec_output(exec)->buffer);
    clq_exec_destroy(exec);
    return x;
}

static int count_nodes(const clq_graph *graph, const char *op) {
    int count = 0;
    for (int n = 0; n < graph->node_count; n++) {
        count += strcmp(graph->nodes[n].op->name, op) == 0;
    }
    return count;
}

/* The same function, but for rounding. */
static clq_graph *folded(clq_graph *graph) {
    clq_graph *made = NULL;
    assert_ok(clq_graph_fold(graph, &made));
    assert_ok(clq_graph_validate(made));
    float *before = outputs(graph), *after = outputs(made);
    const clq_shape *out = &made->values[clq_graph_output(made)].shape;
    assert_close_f32(after, before, clq_test_shape_of((size_t)clq_shape_count(out) * BATCH), 1e-5,
                     1e-5);
    free(before), free(after);
    clq_graph_destroy(graph);
    return made;
}

static void constants_fold_into_layers(void **state) {
    (void)state;
    clq_graph *graph = folded(all_fold());
    assert_int_equal(graph->node_count, 3); /* conv with relu, pool, fc */
    clq_graph_destroy(graph);
}

static void others_stay_or_become_what_has_an_integer_form(void **state) {
    (void)state;
    clq_graph *graph = folded(none_folds());
    assert_int_equal(count_nodes(graph, "conv2d"), 2); /* a divisor for each channel */
    assert_int_equal(count_nodes(graph, "mul"), 3);    /* a divisor for each pixel */
    assert_int_equal(count_nodes(graph, "div"), 1);    /* by an activation */
    assert_int_equal(count_nodes(graph, "pow"), 1);
    assert_int_equal(count_nodes(graph, "pow_const"), 1); /* one exponent */
    clq_graph_destroy(graph);
}

/* What has no reciprocal stays. */
static void zeros_divide_as_before(void **state) {
    (void)state;
    clq_graph *graph = NULL, *made = NULL;
    int x = 0, c = 0;
    const float zero[3] = {1, 0, 2};
    assert_ok(clq_graph_create("zero", &graph));
    assert_ok(clq_graph_add_input(graph, "x", (clq_shape){2, {1, 3}}, &x));
    assert_ok(clq_graph_add_parameter(graph, "c", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){1, {3}},
                                      zero, &c));
    clq_graph_set_output(graph, node(graph, "div", "divided", x, c));
    assert_ok(clq_graph_fold(graph, &made));
    assert_int_equal(count_nodes(made, "div"), 1);
    clq_graph_destroy(graph);
    clq_graph_destroy(made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_fold_into_layers),
        cmocka_unit_test(others_stay_or_become_what_has_an_integer_form),
        cmocka_unit_test(zeros_divide_as_before),
    };
    return cmocka_run_group_tests_name("cpu schedule", tests, open_cpu_schedule, close_device);
}

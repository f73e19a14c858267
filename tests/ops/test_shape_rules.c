/* The operators' shape rules on good, awkward and hostile nodes. */
#include <clquant/ops.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "support/clq_test.h"

static clq_graph *graph_with_input(clq_shape shape) {
    clq_graph *g = NULL;
    int x;
    assert_ok(clq_graph_create("net", &g));
    assert_ok(clq_graph_add_input(g, "x", shape, &x));
    assert_int_equal(x, 0);
    return g;
}

static int add_parameter(clq_graph *g, const char *name, clq_value_kind kind, clq_dtype dtype,
                         clq_shape shape) {
    int id;
    assert_ok(clq_graph_add_parameter(g, name, kind, dtype, shape, NULL, &id));
    return id;
}

/* The node's status, and its output's shape. Only required inputs plus `extra` are given. */
static clq_status infer(clq_graph *g, const char *op, const void *attrs, const int *inputs,
                        int count, clq_shape *shape) {
    int y;
    *shape = (clq_shape){0};
    clq_status status = clq_graph_add_node(g, op, "layer7", attrs, inputs, count, &y);
    if (status == CLQ_OK) {
        *shape = g->values[y].shape;
    } else {
        assert_error_has("\"layer7\"");
        assert_error_has(op);
    }
    return status;
}

static void assert_shape(clq_shape shape, int64_t h, int64_t w, int64_t c) {
    assert_int_equal(shape.rank, 4);
    assert_int_equal(shape.dim[0], 1);
    assert_int_equal(shape.dim[1], h);
    assert_int_equal(shape.dim[2], w);
    assert_int_equal(shape.dim[3], c);
}

/* ---- conv2d ---- */

static const clq_conv2d_attrs plain = {
    .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};

/* x (1, 7, 9, 6), w (8, 3, 3, 6 / groups) */
static clq_status conv(clq_conv2d_attrs attrs, int64_t weight_channels, clq_shape *shape) {
    clq_graph *g = graph_with_input((clq_shape){4, {1, 7, 9, 6}});
    int w = add_parameter(g, "w", CLQ_VALUE_PARAMETER, CLQ_F32,
                          (clq_shape){4, {8, 3, 3, weight_channels}});
    clq_status status = infer(g, "conv2d", &attrs, (int[]){0, w}, 2, shape);
    if (status == CLQ_OK) {
        assert_ok((clq_graph_set_output(g, g->nodes[0].output), clq_graph_validate(g)));
    }
    clq_graph_destroy(g);
    return status;
}

static void conv2d_shapes(void **state) {
    (void)state;
    clq_shape shape;
    clq_conv2d_attrs a = plain;
    assert_ok(conv(a, 6, &shape));
    assert_shape(shape, 7, 9, 8);
    a.stride[0] = 2;
    a.stride[1] = 4;
    assert_ok(conv(a, 6, &shape));
    assert_shape(shape, 4, 3, 8);
    a = plain;
    a.pad[0] = 0, a.pad[1] = 5, a.pad[2] = 2, a.pad[3] = 0;
    assert_ok(conv(a, 6, &shape)); /* height 7 + 0 + 2, width 9 + 5 + 0 */
    assert_shape(shape, 7, 12, 8);
    a = plain;
    a.dilation[0] = 4; /* extent 9 fits 7 + 2 exactly */
    assert_ok(conv(a, 6, &shape));
    assert_shape(shape, 1, 9, 8);
    a = plain;
    a.groups = 2;
    assert_ok(conv(a, 3, &shape));
    a = plain;
    a.stride[0] = a.stride[1] = INT_MAX;
    assert_ok(conv(a, 6, &shape));
    assert_shape(shape, 1, 1, 8);
}

static void conv2d_refuses(void **state) {
    (void)state;
    clq_shape shape;
    static const int bad[] = {0, -1, INT_MIN};
    for (size_t i = 0; i < 3; i++) {
        for (int axis = 0; axis < 2; axis++) {
            clq_conv2d_attrs a = plain;
            a.stride[axis] = bad[i];
            assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
            a = plain;
            a.dilation[axis] = bad[i];
            assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
            a = plain;
            a.kernel[axis] = bad[i];
            assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
        }
        clq_conv2d_attrs a = plain;
        a.groups = bad[i];
        assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
    }
    for (int side = 0; side < 4; side++) {
        clq_conv2d_attrs a = plain;
        a.pad[side] = -1;
        assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
        a.pad[side] = INT_MAX; /* the padded size leaves an int */
        assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
        a.pad[side] = INT_MAX / 2; /* the output has too many elements */
        assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
    }
    clq_conv2d_attrs a = plain;
    a.dilation[0] = 5; /* extent 11 exceeds 7 + 2 */
    assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
    assert_error_has("does not fit");
    a.dilation[0] = INT_MAX;
    assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
    a = plain;
    a.kernel[0] = 2; /* the weight's is 3 */
    assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
    a = plain;
    a.groups = 4; /* does not divide 6 channels */
    assert_status(conv(a, 1, &shape), CLQ_BAD_DATA);
    a.groups = 3; /* divides 6, not 8 */
    assert_status(conv(a, 2, &shape), CLQ_BAD_DATA);
    a.groups = INT_MAX;
    assert_status(conv(a, 1, &shape), CLQ_BAD_DATA);
    assert_status(conv(plain, 5, &shape), CLQ_BAD_DATA);
    a = plain;
    a.act = (clq_act)3;
    assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
    a.act = (clq_act)-1;
    assert_status(conv(a, 6, &shape), CLQ_BAD_DATA);
}

static void conv2d_checks_the_kinds_of_its_inputs(void **state) {
    (void)state;
    clq_shape shape, image = {4, {1, 4, 4, 2}}, weight = {4, {3, 3, 3, 2}};
    clq_graph *g = graph_with_input(image);
    int w = add_parameter(g, "w", CLQ_VALUE_PARAMETER, CLQ_F32, weight);
    int w8 = add_parameter(g, "w8", CLQ_VALUE_PARAMETER, CLQ_S8, weight);
    int w32 = add_parameter(g, "w32", CLQ_VALUE_PARAMETER, CLQ_S32, weight);
    int ws = add_parameter(g, "ws", CLQ_VALUE_STATE, CLQ_F32, weight);
    int xp = add_parameter(g, "xp", CLQ_VALUE_PARAMETER, CLQ_F32, image);
    int b = add_parameter(g, "b", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){1, {3}});
    int b32 = add_parameter(g, "b32", CLQ_VALUE_PARAMETER, CLQ_S32, (clq_shape){1, {3}});
    int b4 = add_parameter(g, "b4", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){1, {4}});
    int b2d = add_parameter(g, "b2d", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){2, {3, 1}});
    const int none = CLQ_NO_VALUE;
    const int good[][3] = {{0, w, none}, {0, w, b}, {0, w8, b32}, {0, w8, b}, {0, w8, none}};
    const int bad[][3] = {{0, w32, none}, {0, ws, none}, {xp, w, none}, {0, w, b32}, {0, w, b4},
                          {0, w, b2d},    {0, 0, none},  {0, b, none},  {0, w, 0}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_ok(infer(g, "conv2d", &plain, good[i], 3, &shape));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_status(infer(g, "conv2d", &plain, bad[i], 3, &shape), CLQ_BAD_DATA);
    }
    clq_graph_destroy(g);

    g = graph_with_input((clq_shape){2, {1, 2}});
    w = add_parameter(g, "w", CLQ_VALUE_PARAMETER, CLQ_F32, weight);
    assert_status(infer(g, "conv2d", &plain, (int[]){0, w}, 2, &shape), CLQ_BAD_DATA);
    clq_graph_destroy(g);
}

static void macs_are_counted(void **state) {
    (void)state;
    clq_shape shape;
    clq_graph *g = graph_with_input((clq_shape){4, {1, 7, 9, 6}});
    int w = add_parameter(g, "w", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){4, {8, 3, 3, 3}});
    clq_conv2d_attrs a = plain;
    a.groups = 2;
    assert_ok(infer(g, "conv2d", &a, (int[]){0, w}, 2, &shape));
    assert_int_equal(clq_graph_measure(g).macs, 7 * 9 * 8 * 3 * 3 * 3);
    clq_graph_destroy(g);
    g = graph_with_input((clq_shape){2, {1, 6}});
    w = add_parameter(g, "w", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){2, {5, 6}});
    assert_ok(infer(g, "linear", NULL, (int[]){0, w}, 2, &shape));
    assert_int_equal(clq_graph_measure(g).macs, 30);
    clq_graph_destroy(g);
}

/* ---- linear ---- */

static void linear_rules(void **state) {
    (void)state;
    clq_shape shape = {0};
    clq_graph *g = graph_with_input((clq_shape){2, {1, 6}});
    int w = add_parameter(g, "w", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){2, {5, 6}});
    int w7 = add_parameter(g, "w7", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){2, {5, 7}});
    int b = add_parameter(g, "b", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){1, {5}});
    assert_ok(infer(g, "linear", NULL, (int[]){0, w, b}, 3, &shape));
    assert_true(shape.rank == 2 && shape.dim[0] == 1 && shape.dim[1] == 5);
    assert_status(infer(g, "linear", NULL, (int[]){0, w7}, 2, &shape), CLQ_BAD_DATA);
    assert_status(infer(g, "linear", NULL, (int[]){0, b}, 2, &shape), CLQ_BAD_DATA);
    assert_status(infer(g, "linear", &(clq_linear_attrs){(clq_act)7}, (int[]){0, w}, 2, &shape),
                  CLQ_BAD_DATA);
    clq_graph_destroy(g);
}

/* ---- batch_norm ---- */

static void batch_norm_rules(void **state) {
    (void)state;
    clq_shape shape, c = {1, {6}};
    clq_graph *g = graph_with_input((clq_shape){4, {1, 2, 3, 6}});
    int gamma = add_parameter(g, "gamma", CLQ_VALUE_PARAMETER, CLQ_F32, c);
    int beta = add_parameter(g, "beta", CLQ_VALUE_PARAMETER, CLQ_F32, c);
    int mean = add_parameter(g, "mean", CLQ_VALUE_STATE, CLQ_F32, c);
    int var = add_parameter(g, "var", CLQ_VALUE_STATE, CLQ_F32, c);
    int shorter = add_parameter(g, "shorter", CLQ_VALUE_STATE, CLQ_F32, (clq_shape){1, {5}});
    int ints = add_parameter(g, "ints", CLQ_VALUE_PARAMETER, CLQ_S32, c);
    const int inputs[5] = {0, gamma, beta, mean, var};
    const clq_batch_norm_attrs good = {1e-5f, 0.1f};
    assert_ok(infer(g, "batch_norm", &good, inputs, 5, &shape));
    assert_shape(shape, 2, 3, 6);
    const clq_batch_norm_attrs bad[] = {{0, 0.1f},   {-1e-5f, 0.1f}, {NAN, 0.1f}, {INFINITY, 0.1f},
                                        {1e-5f, -1}, {1e-5f, 1.5f},  {1e-5f, NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_status(infer(g, "batch_norm", &bad[i], inputs, 5, &shape), CLQ_BAD_DATA);
    }
    const int bad_inputs[][5] = {{0, gamma, beta, mean, shorter},
                                 {0, gamma, beta, gamma, var},
                                 {0, mean, beta, mean, var},
                                 {0, ints, beta, mean, var},
                                 {gamma, gamma, beta, mean, var}};
    for (size_t i = 0; i < sizeof bad_inputs / sizeof bad_inputs[0]; i++) {
        assert_status(infer(g, "batch_norm", &good, bad_inputs[i], 5, &shape), CLQ_BAD_DATA);
    }
    ((float *)g->values[var].data)[4] = -1e-9f;
    assert_status(infer(g, "batch_norm", &good, inputs, 5, &shape), CLQ_BAD_DATA);
    assert_error_has("channel 4");
    ((float *)g->values[var].data)[4] = NAN;
    assert_status(infer(g, "batch_norm", &good, inputs, 5, &shape), CLQ_BAD_DATA);
    clq_graph_destroy(g);
}

/* ---- pools ---- */

static clq_status pool(const char *op, clq_pool_attrs attrs, clq_shape *shape) {
    clq_graph *g = graph_with_input((clq_shape){4, {1, 6, 7, 5}});
    clq_status status = infer(g, op, &attrs, (int[]){0}, 1, shape);
    clq_graph_destroy(g);
    return status;
}

static void pool_shapes(void **state) {
    (void)state;
    static const char *const ops[2] = {"max_pool", "avg_pool"};
    for (int i = 0; i < 2; i++) {
        clq_shape shape = {0};
        clq_pool_attrs a = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1, 1, 1}};
        assert_ok(pool(ops[i], a, &shape));
        assert_shape(shape, 3, 4, 5);
        a.ceil_mode = true; /* height: windows at -1, 1, 3, 5: the last begins inside */
        assert_ok(pool(ops[i], a, &shape));
        assert_shape(shape, 4, 4, 5);
        a = (clq_pool_attrs){.kernel = {2, 2}, .stride = {4, 5}, .ceil_mode = true};
        assert_ok(pool(ops[i], a, &shape)); /* height: 0, 4; width: 0, 5 (fits), no third */
        assert_shape(shape, 2, 2, 5);
        a = (clq_pool_attrs){.kernel = {1, 1}, .stride = {3, 4}, .ceil_mode = true};
        assert_ok(pool(ops[i], a, &shape)); /* a third window would begin behind the input */
        assert_shape(shape, 2, 2, 5);
        a = (clq_pool_attrs){.kernel = {6, 7}, .stride = {1, 1}};
        assert_ok(pool(ops[i], a, &shape));
        assert_shape(shape, 1, 1, 5);
    }
}

static void pool_refuses(void **state) {
    (void)state;
    const clq_pool_attrs good = {.kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1, 1, 1}};
    clq_shape shape = {0};
    clq_pool_attrs a = good;
    a.kernel[0] = 9; /* 6 + 2 rows */
    assert_status(pool("max_pool", a, &shape), CLQ_BAD_DATA);
    a = good;
    a.pad[2] = 3; /* windows of padding only */
    assert_status(pool("avg_pool", a, &shape), CLQ_BAD_DATA);
    a = good;
    a.stride[1] = 0;
    assert_status(pool("max_pool", a, &shape), CLQ_BAD_DATA);
    a = good;
    a.kernel[0] = -3;
    a.pad[0] = a.pad[2] = -7;
    assert_status(pool("max_pool", a, &shape), CLQ_BAD_DATA);
    a = good;
    a.kernel[1] = a.pad[1] = INT_MAX;
    assert_status(pool("avg_pool", a, &shape), CLQ_BAD_DATA);
    a.pad[1] = a.pad[3] = INT_MAX - 1;
    assert_status(pool("avg_pool", a, &shape), CLQ_BAD_DATA);
}

/* ---- the rest ---- */

static void elementwise_has_two_to_five_axes(void **state) {
    (void)state;
    static const clq_shape inputs[] = {
        {2, {1, 6}}, {3, {1, 4, 6}}, {4, {1, 2, 4, 6}}, {5, {1, 2, 3, 4, 6}}};
    const clq_conv2d_attrs scale = {
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 6};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        clq_graph *g = graph_with_input(inputs[i]);
        const int w =
            add_parameter(g, "w", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){4, {6, 1, 1, 1}});
        clq_shape shape = {0};
        assert_ok(infer(g, "relu", NULL, (int[]){0}, 1, &shape));
        assert_true(clq_shape_equal(&shape, &inputs[i]));
        clq_graph_destroy(g);
        g = graph_with_input(inputs[i]);
        assert_ok(infer(g, "add", NULL, (int[]){0, 0}, 2, &shape));
        assert_true(clq_shape_equal(&shape, &inputs[i]));
        clq_graph_destroy(g);
        g = graph_with_input(inputs[i]);
        assert_int_equal(
            add_parameter(g, "w", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){4, {6, 1, 1, 1}}), w);
        assert_ok(infer(g, "conv2d", &scale, (int[]){0, w}, 2, &shape));
        assert_true(clq_shape_equal(&shape, &inputs[i]));
        clq_graph_destroy(g);
        g = graph_with_input(inputs[i]);
        assert_ok(infer(g, "flatten", NULL, (int[]){0}, 1, &shape));
        assert_true(shape.rank == 2 && shape.dim[1] == clq_shape_count(&inputs[i]));
        clq_graph_destroy(g);
    }
}

static void shapes_kept_or_flattened(void **state) {
    (void)state;
    static const char *const kept[] = {"relu", "relu6", "tanh", "sigmoid", "dropout"};
    clq_graph *g = graph_with_input((clq_shape){4, {1, 4, 5, 6}});
    clq_shape shape = {0};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        assert_ok(infer(g, kept[i], NULL, (int[]){0}, 1, &shape));
        assert_shape(shape, 4, 5, 6);
    }
    assert_ok(infer(g, "global_avg_pool", NULL, (int[]){0}, 1, &shape));
    assert_true(shape.rank == 2 && shape.dim[0] == 1 && shape.dim[1] == 6);
    assert_ok(infer(g, "flatten", NULL, (int[]){0}, 1, &shape));
    assert_true(shape.rank == 2 && shape.dim[0] == 1 && shape.dim[1] == 120);
    const float bad[] = {-0.1f, 1.0f, NAN};
    for (size_t i = 0; i < 3; i++) {
        assert_status(infer(g, "dropout", &(clq_dropout_attrs){bad[i]}, (int[]){0}, 1, &shape),
                      CLQ_BAD_DATA);
    }
    int p = add_parameter(g, "p", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){4, {1, 4, 5, 6}});
    assert_status(infer(g, "relu", NULL, &p, 1, &shape), CLQ_BAD_DATA);
    clq_graph_destroy(g);

    g = graph_with_input((clq_shape){2, {1, 6}});
    assert_ok(infer(g, "flatten", NULL, (int[]){0}, 1, &shape));
    assert_true(shape.rank == 2 && shape.dim[1] == 6);
    assert_status(infer(g, "global_avg_pool", NULL, (int[]){0}, 1, &shape), CLQ_BAD_DATA);
    assert_error_has("must have 4 dimensions");
    clq_graph_destroy(g);
}

static const char *const binaries[] = {"add", "sub", "mul", "div", "min", "max", "pow"};
enum { BINARIES = sizeof binaries / sizeof *binaries };

/* A second network input. */
static int second_input(clq_graph *g, clq_shape shape) {
    int id;
    char name[16];
    snprintf(name, sizeof name, "x%d", g->input_count);
    assert_ok(clq_graph_add_input(g, name, shape, &id));
    return id;
}

static void operands_meet_by_broadcasting(void **state) {
    (void)state;
    for (int i = 0; i < BINARIES; i++) {
        clq_graph *g = graph_with_input((clq_shape){4, {1, 4, 5, 6}});
        const int others[] = {
            0,
            second_input(g, (clq_shape){4, {1, 1, 1, 6}}),
            second_input(g, (clq_shape){4, {1, 4, 5, 1}}),
            second_input(g, (clq_shape){2, {1, 6}}),
            second_input(g, (clq_shape){4, {1, 1, 5, 1}}),
            add_parameter(g, "c", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){1, {6}}),
            add_parameter(g, "s", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){1, {1}}),
            add_parameter(g, "e", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){4, {1, 4, 5, 6}})};
        clq_shape shape;
        for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
            assert_ok(infer(g, binaries[i], NULL, (int[]){0, others[k]}, 2, &shape));
            assert_shape(shape, 4, 5, 6);
            assert_ok(infer(g, binaries[i], NULL, (int[]){others[k], 0}, 2, &shape));
            assert_shape(shape, 4, 5, 6);
        }
        assert_ok(infer(g, binaries[i], NULL, (int[]){others[1], others[2]}, 2, &shape));
        assert_shape(shape, 4, 5, 6); /* neither is whole */
        clq_graph_destroy(g);
    }
}

static void operands_that_do_not_meet(void **state) {
    (void)state;
    for (int i = 0; i < BINARIES; i++) {
        clq_graph *g = graph_with_input((clq_shape){4, {1, 4, 5, 6}});
        const clq_shape images[] = {{4, {1, 4, 5, 3}}, {4, {1, 2, 5, 6}}, {2, {1, 5}}};
        const clq_shape constants[] = {{1, {5}}, {4, {2, 4, 5, 6}}, {2, {4, 6}}};
        clq_shape shape;
        int c[2];
        for (size_t k = 0; k < 3; k++) {
            char name[8];
            snprintf(name, sizeof name, "c%zu", k);
            const int x = second_input(g, images[k]);
            const int p = add_parameter(g, name, CLQ_VALUE_PARAMETER, CLQ_F32, constants[k]);
            assert_status(infer(g, binaries[i], NULL, (int[]){0, x}, 2, &shape), CLQ_BAD_DATA);
            assert_error_has("1x4x5x6");
            assert_status(infer(g, binaries[i], NULL, (int[]){p, 0}, 2, &shape), CLQ_BAD_DATA);
        }
        /* A constant neither makes the batch, nor has more axes, nor meets another. */
        c[0] = add_parameter(g, "v", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){4, {1, 4, 5, 6}});
        c[1] = second_input(g, (clq_shape){2, {1, 6}});
        assert_status(infer(g, binaries[i], NULL, c, 2, &shape), CLQ_BAD_DATA);
        assert_error_has("more axes");
        c[1] = c[0];
        assert_status(infer(g, binaries[i], NULL, c, 2, &shape), CLQ_BAD_DATA);
        c[1] = add_parameter(g, "b", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){4, {3, 1, 1, 1}});
        assert_status(infer(g, binaries[i], NULL, (int[]){0, c[1]}, 2, &shape), CLQ_BAD_DATA);
        assert_error_has("batch");
        c[1] = add_parameter(g, "r", CLQ_VALUE_STATE, CLQ_F32, (clq_shape){1, {6}});
        assert_status(infer(g, binaries[i], NULL, (int[]){0, c[1]}, 2, &shape), CLQ_BAD_DATA);
        c[1] = add_parameter(g, "z", CLQ_VALUE_PARAMETER, CLQ_S32, (clq_shape){1, {6}});
        assert_status(infer(g, binaries[i], NULL, (int[]){0, c[1]}, 2, &shape), CLQ_BAD_DATA);
        assert_status(
            infer(g, binaries[i], &(clq_binary_attrs){(clq_act)9}, (int[]){0, 0}, 2, &shape),
            CLQ_BAD_DATA);
        /* 2^20 by 2^20 elements are too many. */
        c[0] = second_input(g, (clq_shape){4, {1, 1 << 20, 1, 1}});
        c[1] = second_input(g, (clq_shape){4, {1, 1, 1 << 20, 1}});
        assert_status(infer(g, binaries[i], NULL, c, 2, &shape), CLQ_BAD_DATA);
        clq_graph_destroy(g);
    }
}

static void shortcut_a_rules(void **state) {
    (void)state;
    clq_graph *g = graph_with_input((clq_shape){4, {1, 5, 4, 6}});
    clq_shape shape;
    assert_ok(infer(g, "shortcut_a", &(clq_pad_channels_attrs){2, 3, 4}, (int[]){0}, 1, &shape));
    assert_shape(shape, 3, 2, 13);
    static const clq_pad_channels_attrs bad[] = {
        {0, 1, 1}, {-1, 1, 1}, {1, -1, 7}, {1, 0, -1}, {1, INT_MAX, INT_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_status(infer(g, "shortcut_a", &bad[i], (int[]){0}, 1, &shape), CLQ_BAD_DATA);
    }
    clq_graph_destroy(g);
}

/* Extreme attributes: a rule accepts or refuses, without overflow (run under UBSan), and what it
 * accepts is within the limits. */
static void extreme_attributes(void **state) {
    (void)state;
    static const int extremes[] = {INT_MIN, -1,      0,           1,           2,      3,
                                   5,       1 << 16, INT_MAX / 2, INT_MAX - 1, INT_MAX};
    enum { EXTREMES = sizeof extremes / sizeof extremes[0] };
    static const char *const ops[] = {"conv2d", "max_pool", "avg_pool", "shortcut_a"};
    clq_graph *g = graph_with_input((clq_shape){4, {1, 5, 46339, 2}});
    int w = add_parameter(g, "w", CLQ_VALUE_PARAMETER, CLQ_F32, (clq_shape){4, {4, 3, 2, 1}});
    clq_rng rng = clq_rng_start(clq_test_seed(), 1);
    int accepted = 0;
    for (int round = 0; round < 40000; round++) {
        union {
            clq_conv2d_attrs conv;
            clq_pool_attrs pool;
            clq_pad_channels_attrs pad;
            int words[16];
        } attrs = {.words = {0}};
        const char *op = ops[round % 4];
        size_t words = round % 4 == 0 ? 10 : round % 4 == 3 ? 3 : 8;
        bool mild = clq_bounded(clq_rng_next(&rng), 2) == 0;
        for (size_t i = 0; i < words; i++) {
            attrs.words[i] = mild && clq_bounded(clq_rng_next(&rng), 4) > 0
                                 ? 1 + (int)clq_bounded(clq_rng_next(&rng), 3)
                                 : extremes[clq_bounded(clq_rng_next(&rng), EXTREMES)];
        }
        if (round % 4 == 0) {
            attrs.conv.kernel[0] = 3, attrs.conv.kernel[1] = 2, attrs.conv.groups = 2;
        } else if (round % 4 < 3) {
            attrs.pool.ceil_mode = mild;
        }
        clq_shape shape;
        clq_status status = infer(g, op, &attrs, (int[]){0, w}, round % 4 == 0 ? 2 : 1, &shape);
        if (status == CLQ_OK) {
            accepted++;
            assert_in_range(clq_shape_count(&shape), 1, INT_MAX);
        } else {
            assert_int_equal(status, CLQ_BAD_DATA);
        }
    }
    assert_true(accepted > 100);
    clq_graph_destroy(g);
}

static void registry_is_consistent(void **state) {
    (void)state;
    size_t count;
    const clq_op *const *ops = clq_op_list(&count);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(clq_op_find(ops[i]->name), ops[i]);
        assert_non_null(ops[i]->infer);
        assert_in_range(ops[i]->max_inputs, ops[i]->min_inputs, CLQ_MAX_INPUTS);
        assert_true(ops[i]->min_inputs >= 1);
    }
    assert_null(clq_op_find("conv3d"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv2d_shapes),
        cmocka_unit_test(conv2d_refuses),
        cmocka_unit_test(conv2d_checks_the_kinds_of_its_inputs),
        cmocka_unit_test(macs_are_counted),
        cmocka_unit_test(linear_rules),
        cmocka_unit_test(batch_norm_rules),
        cmocka_unit_test(pool_shapes),
        cmocka_unit_test(pool_refuses),
        cmocka_unit_test(elementwise_has_two_to_five_axes),
        cmocka_unit_test(shapes_kept_or_flattened),
        cmocka_unit_test(operands_meet_by_broadcasting),
        cmocka_unit_test(operands_that_do_not_meet),
        cmocka_unit_test(shortcut_a_rules),
        cmocka_unit_test(extreme_attributes),
        cmocka_unit_test(registry_is_consistent),
    };
    return cmocka_run_group_tests_name("shape_rules", tests, NULL, NULL);
}

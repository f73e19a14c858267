/* Shape rules of reductions and of what is made with them, on good, awkward and hostile nodes. */
#include <clquant/ops.h>

#include <limits.h>
#include <math.h>

#include "support/clq_test.h"

static bool fixed_batch; /* of the network that infer made last */

/* The output of one node on an input of this shape; a broken rule is told with the node. */
static clq_status infer(const char *op, clq_shape x, const void *attrs, clq_shape *y) {
    clq_graph *g = NULL;
    int in, out;
    assert_ok(clq_graph_create("net", &g));
    assert_ok(clq_graph_add_input(g, "x", x, &in));
    const clq_status status = clq_graph_add_node(g, op, "layer7", attrs, &in, 1, &out);
    *y = (clq_shape){0};
    if (status == CLQ_OK) {
        *y = g->values[out].shape;
        clq_graph_set_output(g, out);
        assert_ok(clq_graph_validate(g));
        fixed_batch = clq_graph_has_fixed_batch(g);
    } else {
        assert_error_has("\"layer7\"");
        assert_error_has(op);
    }
    clq_graph_destroy(g);
    return status;
}

static const clq_shape image = {4, {1, 5, 7, 3}}, row = {2, {1, 9}};

static void assert_shape(clq_shape y, clq_shape expected) {
    char text[96];
    clq_shape_text(&y, text, sizeof text);
    if (!clq_shape_equal(&y, &expected)) {
        fail_msg("the shape is %s", text);
    }
}

static void reductions_keep_or_drop(void **state) {
    (void)state;
    static const char *const ops[] = {"reduce_mean", "reduce_sum",        "reduce_max",
                                      "reduce_min",  "reduce_prod",       "reduce_l1",
                                      "reduce_l2",   "reduce_sum_square", "reduce_log_sum_exp"};
    clq_shape y;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        assert_ok(infer(ops[i], image, &(clq_reduce_attrs){.axes = 6, .keep = true}, &y));
        assert_shape(y, (clq_shape){4, {1, 1, 1, 3}});
        assert_ok(infer(ops[i], image, &(clq_reduce_attrs){.axes = 6}, &y));
        assert_shape(y, (clq_shape){2, {1, 3}});
        assert_ok(infer(ops[i], image, &(clq_reduce_attrs){.axes = 8}, &y));
        assert_shape(y, (clq_shape){3, {1, 5, 7}});
        assert_ok(infer(ops[i], image, &(clq_reduce_attrs){.axes = 14, .keep = true}, &y));
        assert_shape(y, (clq_shape){4, {1, 1, 1, 1}});
        static const unsigned bad[] = {0, 16, 1u << 31, UINT_MAX};
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
            assert_status(
                infer(ops[i], image, &(clq_reduce_attrs){.axes = bad[k], .keep = true}, &y),
                CLQ_BAD_DATA);
        }
        assert_status(infer(ops[i], image, &(clq_reduce_attrs){.axes = 14}, &y), CLQ_BAD_DATA);
        assert_error_has("keep");
        assert_status(infer(ops[i], row, &(clq_reduce_attrs){.axes = 2}, &y), CLQ_BAD_DATA);
        assert_ok(infer(ops[i], image, &(clq_reduce_attrs){.axes = 3, .keep = true}, &y));
        assert_shape(y, (clq_shape){4, {1, 1, 7, 3}});
        assert_true(fixed_batch); /* which is mixed */
        assert_ok(infer(ops[i], image, &(clq_reduce_attrs){.axes = 2, .keep = true}, &y));
        assert_false(fixed_batch);
    }
}

static void places_of_extremes(void **state) {
    (void)state;
    clq_shape y;
    for (int i = 0; i < 2; i++) {
        const char *op = i ? "arg_min" : "arg_max";
        assert_ok(infer(op, image, &(clq_arg_attrs){.axis = 3}, &y));
        assert_shape(y, (clq_shape){3, {1, 5, 7}});
        assert_ok(infer(op, row, &(clq_arg_attrs){.axis = 1, .keep = true}, &y));
        assert_shape(y, (clq_shape){2, {1, 1}});
        static const int bad[] = {-1, 4, INT_MAX, INT_MIN};
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
            assert_status(infer(op, image, &(clq_arg_attrs){.axis = bad[k], .keep = true}, &y),
                          CLQ_BAD_DATA);
        }
        const clq_shape huge = {2, {1, (1 << 24) + 1}};
        assert_status(infer(op, huge, &(clq_arg_attrs){.axis = 1, .keep = true}, &y), CLQ_BAD_DATA);
        assert_error_has("2^24");
    }
}

static void softmax_and_norms(void **state) {
    (void)state;
    clq_shape y;
    static const char *const softmax[] = {"softmax", "log_softmax"};
    static const int bad[] = {-1, 4, 0, INT_MAX, INT_MIN}; /* 0 is an axis, and no number of them */
    for (int i = 0; i < 2; i++) {
        assert_ok(infer(softmax[i], image, &(clq_softmax_attrs){3}, &y));
        assert_shape(y, image);
        assert_false(fixed_batch);
        assert_ok(infer(softmax[i], image, &(clq_softmax_attrs){0}, &y));
        assert_true(fixed_batch);
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
            assert_status(infer(softmax[i], image, &(clq_softmax_attrs){bad[k]}, &y),
                          bad[k] == 0 ? CLQ_OK : CLQ_BAD_DATA);
        }
    }
    assert_ok(infer("lp_normalization", row, &(clq_lp_normalization_attrs){1, 2}, &y));
    assert_status(infer("lp_normalization", row, &(clq_lp_normalization_attrs){1, 3}, &y),
                  CLQ_BAD_DATA);
    assert_status(infer("lp_normalization", row, &(clq_lp_normalization_attrs){2, 2}, &y),
                  CLQ_BAD_DATA);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        assert_status(infer("layer_norm", image, &(clq_layer_norm_attrs){bad[k], 1e-5f}, &y),
                      CLQ_BAD_DATA);
        assert_status(infer("group_norm", image, &(clq_group_norm_attrs){bad[k], 1e-5f}, &y),
                      CLQ_BAD_DATA);
    }
    assert_ok(infer("layer_norm", image, &(clq_layer_norm_attrs){3, 1e-5f}, &y));
    assert_ok(infer("group_norm", image, &(clq_group_norm_attrs){3, 1e-5f}, &y));
    assert_ok(infer("instance_norm", image, &(clq_instance_norm_attrs){0}, &y));
    assert_shape(y, image);
    assert_status(infer("instance_norm", row, &(clq_instance_norm_attrs){0}, &y), CLQ_BAD_DATA);
    static const float epsilons[] = {-1e-5f, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        const float e = epsilons[i];
        assert_status(infer("layer_norm", image, &(clq_layer_norm_attrs){1, e}, &y), CLQ_BAD_DATA);
        assert_status(infer("group_norm", image, &(clq_group_norm_attrs){1, e}, &y), CLQ_BAD_DATA);
        assert_status(infer("instance_norm", image, &(clq_instance_norm_attrs){e}, &y),
                      CLQ_BAD_DATA);
    }
}

/* gamma and beta are vectors of what is normalized. */
static void parameters_of_norms(void **state) {
    (void)state;
    for (int64_t length = 2; length < 5; length++) {
        const clq_layer_norm_attrs attrs = {1, 1e-5f};
        clq_graph *g = NULL;
        int inputs[3], y;
        assert_ok(clq_graph_create("net", &g));
        assert_ok(clq_graph_add_input(g, "x", image, &inputs[0]));
        assert_ok(clq_graph_add_parameter(g, "gamma", CLQ_VALUE_PARAMETER, CLQ_F32,
                                          (clq_shape){1, {length}}, NULL, &inputs[1]));
        inputs[2] = inputs[1];
        const clq_status status = clq_graph_add_node(g, "layer_norm", "n", &attrs, inputs, 3, &y);
        assert_status(status, length == 3 ? CLQ_OK : CLQ_BAD_DATA);
        inputs[1] = CLQ_NO_VALUE;
        assert_status(clq_graph_add_node(g, "layer_norm", "n", &attrs, inputs, 2, &y), CLQ_OK);
        inputs[1] = inputs[0];
        assert_status(clq_graph_add_node(g, "layer_norm", "n", &attrs, inputs, 2, &y),
                      CLQ_BAD_DATA);
        clq_graph_destroy(g);
    }
}

static void response_normalization(void **state) {
    (void)state;
    clq_shape y;
    assert_ok(infer("lrn", image, &(clq_lrn_attrs){5, 1e-4f, 0.75f, 1}, &y));
    assert_shape(y, image);
    static const clq_lrn_attrs bad[] = {
        {0, 1e-4f, 0.75f, 1},  {INT_MAX, 1e-4f, 0.75f, 1}, {5, -1, 0.75f, 1},
        {5, NAN, 0.75f, 1},    {5, 1e-4f, NAN, 1},         {5, 1e-4f, 0.75f, 0},
        {5, 1e-4f, 0.75f, -1}, {5, INFINITY, 0.75f, 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(infer("lrn", image, &bad[i], &y), CLQ_BAD_DATA);
    }
}

/* matmul of two inputs. */
static clq_status product(clq_shape a, clq_shape b, clq_matmul_attrs attrs, clq_shape *shape) {
    clq_graph *g = NULL;
    int in[2], y;
    assert_ok(clq_graph_create("net", &g));
    assert_ok(clq_graph_add_input(g, "a", a, &in[0]));
    assert_ok(clq_graph_add_input(g, "b", b, &in[1]));
    const clq_status status = clq_graph_add_node(g, "matmul", "m", &attrs, in, 2, &y);
    *shape = status == CLQ_OK ? g->values[y].shape : (clq_shape){0};
    if (status == CLQ_OK) {
        clq_graph_set_output(g, y);
        assert_int_equal(clq_graph_measure(g).macs,
                         clq_shape_count(shape) * a.dim[a.rank - (attrs.transpose_a ? 2 : 1)]);
    }
    clq_graph_destroy(g);
    return status;
}

static void products(void **state) {
    (void)state;
    const clq_shape a = {4, {1, 6, 5, 7}}, b = {4, {1, 1, 7, 4}}, c = {4, {1, 2, 7, 4}};
    clq_shape y;
    assert_ok(product(a, b, (clq_matmul_attrs){0}, &y));
    assert_shape(y, (clq_shape){4, {1, 6, 5, 4}});
    assert_ok(
        product((clq_shape){4, {1, 6, 7, 5}}, b, (clq_matmul_attrs){.transpose_a = true}, &y));
    assert_shape(y, (clq_shape){4, {1, 6, 5, 4}});
    assert_ok(
        product(a, (clq_shape){4, {1, 6, 9, 7}}, (clq_matmul_attrs){.transpose_b = true}, &y));
    assert_shape(y, (clq_shape){4, {1, 6, 5, 9}});
    assert_status(product(a, c, (clq_matmul_attrs){0}, &y), CLQ_BAD_DATA);
    assert_error_has("axis 1");
    assert_status(product(a, b, (clq_matmul_attrs){.transpose_b = true}, &y), CLQ_BAD_DATA);
    assert_status(product(a, (clq_shape){2, {1, 7}}, (clq_matmul_attrs){0}, &y), CLQ_BAD_DATA);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reductions_keep_or_drop), cmocka_unit_test(places_of_extremes),
        cmocka_unit_test(softmax_and_norms),       cmocka_unit_test(parameters_of_norms),
        cmocka_unit_test(response_normalization),  cmocka_unit_test(products),
    };
    return cmocka_run_group_tests_name("row_shapes", tests, NULL, NULL);
}

/* Shape rules of reductions and of what is made with them, on good, awkward and hostile nodes. */
#include <clquant/ops.h>

#include <limits.h>
#include <math.h>

#include "support/clq_test.h"

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
        static const unsigned bad[] = {0, 1, 3, 16, 1u << 31, UINT_MAX};
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
            assert_status(
                infer(ops[i], image, &(clq_reduce_attrs){.axes = bad[k], .keep = true}, &y),
                CLQ_BAD_DATA);
        }
        assert_status(infer(ops[i], image, &(clq_reduce_attrs){.axes = 14}, &y), CLQ_BAD_DATA);
        assert_error_has("keep");
        assert_status(infer(ops[i], row, &(clq_reduce_attrs){.axes = 2}, &y), CLQ_BAD_DATA);
        assert_status(infer(ops[i], image, &(clq_reduce_attrs){.axes = 1, .keep = true}, &y),
                      CLQ_BAD_DATA);
        assert_error_has("batch");
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
        static const int bad[] = {-1, 0, 4, INT_MAX, INT_MIN};
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
            assert_status(infer(op, image, &(clq_arg_attrs){.axis = bad[k], .keep = true}, &y),
                          CLQ_BAD_DATA);
        }
        const clq_shape huge = {2, {1, (1 << 24) + 1}};
        assert_status(infer(op, huge, &(clq_arg_attrs){.axis = 1, .keep = true}, &y), CLQ_BAD_DATA);
        assert_error_has("2^24");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reductions_keep_or_drop),
        cmocka_unit_test(places_of_extremes),
    };
    return cmocka_run_group_tests_name("row_shapes", tests, NULL, NULL);
}

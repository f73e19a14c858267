/* The same network for images of another size: what names sizes follows, or says that it cannot. */
#include <clquant/ops.h>
#include <clquant/passes.h>

#include "support/clq_test.h"

/* Input (1, 6, 8, 4), one node. */
static clq_graph *with_node(const char *op, const void *attrs) {
    clq_graph *g = NULL;
    int x, y;
    assert_ok(clq_graph_create("net", &g));
    assert_ok(clq_graph_add_input(g, "x", (clq_shape){4, {1, 6, 8, 4}}, &x));
    assert_ok(clq_graph_add_node(g, op, "node", attrs, &x, 1, &y));
    clq_graph_set_output(g, y);
    return g;
}

static void assert_becomes(const char *op, const void *attrs, clq_shape wanted) {
    clq_graph *graph = with_node(op, attrs), *resized = NULL;
    assert_ok(clq_graph_resize(graph, 10, 12, &resized));
    assert_ok(clq_graph_validate(resized));
    assert_true(clq_shape_equal(&resized->values[clq_graph_output(resized)].shape, &wanted));
    clq_graph_destroy(resized);
    clq_graph_destroy(graph);
}

static void assert_refused(const char *op, const void *attrs, const char *error) {
    clq_graph *graph = with_node(op, attrs), *resized = NULL;
    assert_status(clq_graph_resize(graph, 10, 12, &resized), CLQ_USAGE);
    assert_error_has("with inputs of 10x12");
    assert_error_has(error);
    assert_null(resized);
    clq_graph_destroy(graph);
}

static void sizes_follow(void **state) {
    (void)state;
    assert_becomes("max_pool", &(clq_pool_attrs){.kernel = {2, 2}, .stride = {2, 2}},
                   (clq_shape){4, {1, 5, 6, 4}});
    /* channels apart; all rows, turned round; all of an axis and part of another one */
    assert_becomes("reshape", &(clq_reshape_attrs){5, {1, 6, 8, 2, 2}},
                   (clq_shape){5, {1, 10, 12, 2, 2}});
    assert_becomes("slice", &(clq_slice_attrs){{0, 5, 0, 1}, {1, -1, 1, 1}, {1, 6, 8, 3}},
                   (clq_shape){4, {1, 10, 12, 3}});
    assert_becomes("pad", &(clq_pad_attrs){.before = {0, 1}, .mode = CLQ_PAD_REFLECT},
                   (clq_shape){4, {1, 11, 12, 4}});
}

static void named_sizes_are_refused(void **state) {
    (void)state;
    assert_refused("reshape", &(clq_reshape_attrs){3, {1, 48, 4}},
                   "reshape \"node\" names sizes of other images");
    assert_refused("slice", &(clq_slice_attrs){{0, 1}, {1, 1, 1, 1}, {1, 3, 8, 4}},
                   "slice \"node\" names the sizes of axis 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_follow),
        cmocka_unit_test(named_sizes_are_refused),
    };
    return cmocka_run_group_tests_name("resize", tests, NULL, NULL);
}

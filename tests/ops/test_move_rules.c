/* Shape rules of reshape, transpose, slice, concat, pad, expand, depth_to_space and space_to_depth,
 * which attributes from hostile files meet. */
#include <limits.h>
#include <math.h>

#include "clquant/ops.h"
#include "support/clq_test.h"

/* The status of a node on (1, 6, 4, 8), named "node"; `shape` (or NULL) gets its output's. */
static clq_status infer(const char *op, const void *attrs, clq_shape *shape) {
    clq_graph *g = NULL;
    int x, y;
    assert_ok(clq_graph_create("net", &g));
    assert_ok(clq_graph_add_input(g, "x", (clq_shape){4, {1, 6, 4, 8}}, &x));
    const clq_status status = clq_graph_add_node(g, op, "node", attrs, &x, 1, &y);
    if (status == CLQ_OK && shape) {
        *shape = g->values[y].shape;
    } else if (status != CLQ_OK) {
        assert_error_has("\"node\"");
    }
    clq_graph_destroy(g);
    return status;
}

static void assert_infers(const char *op, const void *attrs, clq_shape wanted) {
    clq_shape shape;
    assert_ok(infer(op, attrs, &shape));
    assert_true(clq_shape_equal(&shape, &wanted));
}

static void reshape_keeps_elements(void **state) {
    (void)state;
    static const clq_reshape_attrs bad[] = {{1, {192}},
                                            {6, {1, 6, 4, 4, 2}},
                                            {0, {0}},
                                            {2, {1, 191}},
                                            {3, {1, -6, -32}},
                                            {3, {1, 0, 192}},
                                            {-2, {1, 192}},
                                            {3, {1, INT64_MAX, 2}},
                                            {5, {INT64_C(1) << 40, INT64_C(1) << 40, 1, 1, 192}}};
    assert_infers("reshape", &(clq_reshape_attrs){3, {1, 24, 8}}, (clq_shape){3, {1, 24, 8}});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(infer("reshape", &bad[i], NULL), CLQ_BAD_DATA);
    }
}

static void transpose_takes_each_axis_once(void **state) {
    (void)state;
    static const clq_transpose_attrs bad[] = {
        {{0, 1, 2, 2}}, {{0, 1, 2, 4}}, {{-1, 1, 2, 3}}, {{INT_MAX, INT_MIN, 0, 1}}};
    assert_infers("transpose", &(clq_transpose_attrs){{0, 3, 1, 2}}, (clq_shape){4, {1, 8, 6, 4}});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(infer("transpose", &bad[i], NULL), CLQ_BAD_DATA);
    }
}

static void slice_stays_within(void **state) {
    (void)state;
    static const clq_slice_attrs bad[] = {
        {{0, 0, 0, 8}, {1, 1, 1, 1}, {1, 6, 4, 1}},
        {{0, 0, 0, 0}, {1, 1, 1, 1}, {1, 6, 4, 9}},
        {{0, 0, 0, 0}, {1, 1, 1, -1}, {1, 6, 4, 2}},
        {{0, 0, 0, 7}, {1, 1, 1, -4}, {1, 6, 4, 3}},
        {{0, 0, 0, -1}, {1, 1, 1, 1}, {1, 6, 4, 1}},
        {{0, 0, 0, 0}, {1, 1, 1, 0}, {1, 6, 4, 1}},
        {{0, 0, 0, 0}, {1, 1, 1, 1}, {1, 6, 4, 0}},
        {{0, 0, 0, 0}, {1, 1, 1, INT64_MAX}, {1, 6, 4, 2}},
        {{0, 0, 0, 0}, {1, 1, 1, INT64_MIN}, {1, 6, 4, 2}},
        {{0, 0, 0, INT64_MAX}, {1, 1, 1, 1}, {1, 6, 4, INT64_MAX}},
    };
    assert_infers("slice", &(clq_slice_attrs){{0, 5, 1, 0}, {1, -2, 2, 3}, {1, 3, 2, 3}},
                  (clq_shape){4, {1, 3, 2, 3}});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(infer("slice", &bad[i], NULL), CLQ_BAD_DATA);
    }
}

static void pad_has_what_it_repeats(void **state) {
    (void)state;
    static const clq_pad_attrs bad[] = {
        {.before = {0, -1}},
        {.after = {0, 0, INT64_MIN}},
        {.before = {0, 0, 4}, .mode = CLQ_PAD_REFLECT},
        {.after = {0, 0, 5}, .mode = CLQ_PAD_WRAP},
        {.after = {0, 0, INT64_MAX}},
        {.before = {0, INT_MAX}, .after = {0, INT_MAX}},
        {.mode = (clq_pad_mode)4},
        {.mode = (clq_pad_mode)-1},
        {.value = NAN},
        {.value = -INFINITY},
    };
    assert_infers("pad", &(clq_pad_attrs){{0, 5, 3, 0}, {0, 0, 2, 7}, CLQ_PAD_REFLECT, 0},
                  (clq_shape){4, {1, 11, 9, 15}});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(infer("pad", &bad[i], NULL), CLQ_BAD_DATA);
    }
}

static void expand_repeats_single_elements(void **state) {
    (void)state;
    static const clq_reshape_attrs bad[] = {{4, {1, 6, 4, 16}},   {4, {1, 6, 4, 1}},
                                            {4, {0, 6, 4, 8}},    {3, {6, 4, 8}},
                                            {5, {1, 1, 6, 4, 8}}, {4, {INT64_MAX, 6, 4, 8}}};
    assert_infers("expand", &(clq_reshape_attrs){4, {3, 6, 4, 8}}, (clq_shape){4, {3, 6, 4, 8}});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(infer("expand", &bad[i], NULL), CLQ_BAD_DATA);
    }
}

static void blocks_divide(void **state) {
    (void)state;
    static const clq_space_depth_attrs deep[] = {{3, CLQ_DEPTH_DCR},
                                                 {0, CLQ_DEPTH_DCR},
                                                 {-2, CLQ_DEPTH_DCR},
                                                 {INT_MAX, CLQ_DEPTH_CRD},
                                                 {2, (clq_depth_mode)2}};
    static const clq_space_depth_attrs wide[] = {{3, CLQ_DEPTH_DCR}, {INT_MIN, CLQ_DEPTH_CRD}};
    assert_infers("depth_to_space", &(clq_space_depth_attrs){2, CLQ_DEPTH_CRD},
                  (clq_shape){4, {1, 12, 8, 2}});
    assert_infers("space_to_depth", &(clq_space_depth_attrs){2, CLQ_DEPTH_DCR},
                  (clq_shape){4, {1, 3, 2, 32}});
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
        assert_status(infer("depth_to_space", &deep[i], NULL), CLQ_BAD_DATA);
    }
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        assert_status(infer("space_to_depth", &wide[i], NULL), CLQ_BAD_DATA);
    }
}

static void concat_joins_equals(void **state) {
    (void)state;
    clq_graph *g = NULL;
    int x, y, two[2], many[CLQ_MAX_INPUTS + 1];
    assert_ok(clq_graph_create("net", &g));
    assert_ok(clq_graph_add_input(g, "x", (clq_shape){3, {1, 6, 4}}, &x));
    assert_ok(clq_graph_add_input(g, "y", (clq_shape){3, {1, 6, 9}}, &two[1]));
    two[0] = x;
    assert_ok(clq_graph_add_node(g, "concat", "c", &(clq_concat_attrs){2}, two, 2, &y));
    assert_int_equal(g->values[y].shape.dim[2], 13);
    static const int axes[] = {-1, 0, 1, 3, INT_MAX};
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
        assert_status(
            clq_graph_add_node(g, "concat", "d", &(clq_concat_attrs){axes[i]}, two, 2, &y),
            CLQ_BAD_DATA);
    }
    for (int i = 0; i <= CLQ_MAX_INPUTS; i++) {
        many[i] = x;
    }
    assert_ok(
        clq_graph_add_node(g, "concat", "all", &(clq_concat_attrs){1}, many, CLQ_MAX_INPUTS, &y));
    assert_int_equal(g->values[y].shape.dim[1], 6 * CLQ_MAX_INPUTS);
    assert_status(clq_graph_add_node(g, "concat", "more", &(clq_concat_attrs){1}, many,
                                     CLQ_MAX_INPUTS + 1, &y),
                  CLQ_BAD_DATA);
    clq_graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reshape_keeps_elements),
        cmocka_unit_test(transpose_takes_each_axis_once),
        cmocka_unit_test(slice_stays_within),
        cmocka_unit_test(pad_has_what_it_repeats),
        cmocka_unit_test(expand_repeats_single_elements),
        cmocka_unit_test(blocks_divide),
        cmocka_unit_test(concat_joins_equals),
    };
    return cmocka_run_group_tests_name("move rules", tests, NULL, NULL);
}

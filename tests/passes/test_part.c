/* Parts of networks: what is in them, what they need, and where networks can be cut. */
#include <string.h>

#include "passes/part.h"
#include "support/clq_test.h"

/* input -> a (linear) -> b (relu), a + b -> c, c -> d (relu); beside them input -> e. */
typedef struct net {
    clq_graph *graph;
    int x, w, a, b, c, d;
} net;

static int node(clq_graph *g, const char *op, const char *name, const int *inputs, int count) {
    int y;
    assert_ok(clq_graph_add_node(g, op, name, NULL, inputs, count, &y));
    return y;
}

static net open_net(void) {
    net n;
    static const float scales[] = {0.5f, 0.25f, 2, 1};
    assert_ok(clq_graph_create("net", &n.graph));
    assert_ok(clq_graph_add_input(n.graph, "input", (clq_shape){2, {1, 3}}, &n.x));
    assert_ok(clq_graph_add_parameter(n.graph, "a.weight", CLQ_VALUE_PARAMETER, CLQ_F32,
                                      (clq_shape){2, {4, 3}}, NULL, &n.w));
    clq_test_fill_f32(n.graph->values[n.w].data, 12, -1, 1, 7);
    n.a = node(n.graph, "linear", "a", (int[]){n.x, n.w}, 2);
    n.b = node(n.graph, "relu", "b", &n.a, 1);
    n.c = node(n.graph, "add", "c", (int[]){n.a, n.b}, 2);
    n.d = node(n.graph, "relu", "d", &n.c, 1);
    node(n.graph, "relu", "e", &n.x, 1);
    clq_graph_set_output(n.graph, n.d);
    assert_ok(clq_qparams_set(&n.graph->values[n.w].q, 4, scales, 0, CLQ_Q_S8_NARROW));
    assert_ok(clq_qparams_set(&n.graph->values[n.b].q, 1, scales, 3, CLQ_Q_U4));
    return n;
}

static clq_graph *part(const net *n, int from, int to) {
    clq_graph *graph = NULL;
    assert_ok(clq_graph_part(n->graph, from, to, &graph));
    assert_ok(clq_graph_validate(graph));
    assert_int_equal(graph->input_count, 1);
    assert_int_equal(graph->output_count, 1);
    assert_string_equal(graph->values[clq_graph_output(graph)].name, n->graph->values[to].name);
    return graph;
}

static const clq_value *value(const clq_graph *graph, const char *name) {
    const int v = clq_graph_find_value(graph, name);
    assert_true(v >= 0);
    return &graph->values[v];
}

static void a_part_has_what_it_needs(void **state) {
    (void)state;
    net n = open_net();
    clq_graph *graph = part(&n, CLQ_NO_VALUE, n.b); /* from the network's input */
    assert_int_equal(graph->node_count, 2);
    assert_string_equal(graph->values[clq_graph_input(graph)].name, "input");
    const clq_value *w = value(graph, "a.weight");
    assert_memory_equal(w->data, n.graph->values[n.w].data, 12 * sizeof(float));
    assert_int_equal(w->q.count, 4);
    assert_true(w->q.scale[2] == 2);
    clq_graph_destroy(graph);
    graph = part(&n, n.a, n.d); /* from a value that two nodes read */
    assert_int_equal(graph->node_count, 3);
    assert_string_equal(graph->values[clq_graph_input(graph)].name, "a");
    assert_true(clq_graph_find_value(graph, "a.weight") < 0);
    assert_int_equal(value(graph, "b")->q.type, CLQ_Q_U4);
    assert_int_equal(value(graph, "b")->q.zero_point, 3);
    clq_graph_destroy(graph);
    graph = part(&n, n.c, n.d);
    assert_int_equal(graph->node_count, 1);
    clq_graph_destroy(graph);
    clq_graph_destroy(n.graph);
}

static void a_part_of_two_values_is_refused(void **state) {
    (void)state;
    net n = open_net();
    clq_graph *graph = NULL;
    assert_status(clq_graph_part(n.graph, n.b, n.d, &graph), CLQ_USAGE);
    assert_error_has("does not follow from \"b\" alone");
    assert_null(graph);
    clq_graph_destroy(n.graph);
}

static void cuts_are_where_one_value_crosses(void **state) {
    (void)state;
    net n = open_net();
    n.graph->node_count--; /* e, which reads the input behind everything */
    assert_int_equal(clq_graph_cut_before(n.graph, 0), CLQ_NO_VALUE);
    assert_int_equal(clq_graph_cut_before(n.graph, 1), n.a);
    assert_int_equal(clq_graph_cut_before(n.graph, 2), n.a); /* b does not stand alone */
    assert_int_equal(clq_graph_cut_before(n.graph, 3), n.c);
    n.graph->node_count++;
    assert_int_equal(clq_graph_cut_before(n.graph, 3), CLQ_NO_VALUE);
    clq_graph_destroy(n.graph);
}

static void no_memory_leaves_nothing(void **state) {
    (void)state;
    net n = open_net();
    clq_status status = CLQ_NO_MEMORY;
    for (int k = 1; status == CLQ_NO_MEMORY; k++) {
        clq_graph *graph = NULL;
        clq_test_fail_allocation(k);
        status = clq_graph_part(n.graph, n.a, n.d, &graph);
        clq_test_restore_allocator();
        assert_true(status == CLQ_OK || graph == NULL);
        clq_graph_destroy(graph);
    }
    assert_ok(status);
    clq_graph_destroy(n.graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_has_what_it_needs),
        cmocka_unit_test(a_part_of_two_values_is_refused),
        cmocka_unit_test(cuts_are_where_one_value_crosses),
        cmocka_unit_test(no_memory_leaves_nothing),
    };
    return cmocka_run_group_tests_name("part", tests, NULL, NULL);
}

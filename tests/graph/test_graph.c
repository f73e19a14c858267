/* Building, copying and checking graphs, with operators made for this test. */
#include <clquant/ops.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "support/clq_test.h"

/* ---- three operators ---- */

typedef struct resize_attrs {
    int64_t width; /* of the output (1, width) */
} resize_attrs;

static clq_status infer_resize(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    (void)graph;
    const resize_attrs *attrs = node->attrs;
    if (attrs->width == 13) {
        return clq_fail(CLQ_BAD_DATA, "resize \"%s\": width 13 is unlucky", node->name);
    }
    *output = (clq_shape){2, {1, attrs->width}};
    return CLQ_OK;
}

static clq_status infer_join(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    *output = graph->values[node->inputs[0]].shape;
    return CLQ_OK;
}

static int64_t macs_resize(const clq_graph *graph, const clq_node *node) {
    (void)graph;
    const resize_attrs *attrs = node->attrs;
    return attrs->width == 7 ? INT64_MAX : attrs->width;
}

static const clq_op resize_op = {.name = "resize",
                                 .attrs_size = sizeof(resize_attrs),
                                 .min_inputs = 1,
                                 .max_inputs = 2,
                                 .infer = infer_resize,
                                 .macs = macs_resize};
static const clq_op join_op = {
    .name = "join", .min_inputs = 2, .max_inputs = 3, .infer = infer_join};

const clq_op *clq_op_find(const char *name) {
    return strcmp(name, "resize") == 0 ? &resize_op : strcmp(name, "join") == 0 ? &join_op : NULL;
}

/* ---- a graph of them ---- */

static const float weight_data[6] = {1, -2, 3, -4, 5, -6};

/* input (1, 5) -> a (1, 4) with parameter "a.weight" (2, 3) -> b (1, 4) -> c = join(a, b) */
static clq_status build(clq_graph **result) {
    clq_graph *graph = NULL;
    int x, w, a, b, c;
    clq_status status = clq_graph_create("net", &graph);
    if (status != CLQ_OK) {
        return status;
    }
    CLQ_GOTO(status, failed, clq_graph_add_input(graph, "input", (clq_shape){2, {1, 5}}, &x));
    CLQ_GOTO(status, failed,
             clq_graph_add_parameter(graph, "a.weight", CLQ_VALUE_PARAMETER, CLQ_F32,
                                     (clq_shape){2, {2, 3}}, weight_data, &w));
    CLQ_GOTO(status, failed,
             clq_graph_add_node(graph, "resize", "a", &(resize_attrs){4}, (int[]){x, w}, 2, &a));
    CLQ_GOTO(status, failed,
             clq_graph_add_node(graph, "resize", "b", &(resize_attrs){4}, &a, 1, &b));
    CLQ_GOTO(status, failed,
             clq_graph_add_node(graph, "join", "c", NULL, (int[]){a, b, CLQ_NO_VALUE}, 3, &c));
    clq_graph_set_output(graph, c);
    CLQ_GOTO(status, failed, clq_graph_set_metadata(graph, "clquant.mean", "0.5,0.5"));
    *result = graph;
    return CLQ_OK;
failed:
    clq_graph_destroy(graph);
    return status;
}

static clq_graph *built(void) {
    clq_graph *graph = NULL;
    assert_ok(build(&graph));
    assert_ok(clq_graph_validate(graph));
    return graph;
}

static void building_gives_ids_and_shapes(void **state) {
    (void)state;
    clq_graph *g = built();
    assert_int_equal(g->value_count, 5);
    assert_int_equal(g->node_count, 3);
    assert_int_equal(clq_graph_find_node(g, "b"), 1);
    assert_int_equal(clq_graph_find_node(g, "a.weight"), -1);
    int a = clq_graph_find_value(g, "a");
    assert_int_equal(g->values[a].producer, 0);
    assert_int_equal(g->values[a].shape.dim[1], 4);
    assert_int_equal(clq_graph_use_count(g, a), 2);
    assert_int_equal(clq_graph_use_count(g, clq_graph_output(g)), 1);
    assert_int_equal(clq_graph_use_count(g, clq_graph_input(g)), 1);
    assert_memory_equal(g->values[clq_graph_find_value(g, "a.weight")].data, weight_data,
                        sizeof weight_data);
    clq_graph_size size = clq_graph_measure(g);
    assert_int_equal(size.parameters, 6);
    assert_int_equal(size.bytes, 24);
    assert_int_equal(size.macs, 8);
    clq_graph_destroy(g);
    clq_graph_destroy(NULL);
}

static void several_ends(void **state) {
    (void)state;
    clq_graph *g = built(), *clone = NULL;
    int second = -1;
    assert_string_equal(clq_graph_output_name(g, 0), "logits");
    assert_ok(clq_graph_check_single(g, "this takes"));
    assert_ok(clq_graph_add_input(g, "second", (clq_shape){2, {1, 7}}, &second));
    assert_ok(clq_graph_add_output(g, "early", clq_graph_find_value(g, "a")));
    assert_ok(clq_graph_validate(g));
    assert_ok(clq_graph_clone(g, &clone));
    clq_graph_destroy(g);
    assert_int_equal(clone->input_count, 2);
    assert_int_equal(clone->output_count, 2);
    assert_string_equal(clq_graph_input_name(clone, 1), "second");
    assert_string_equal(clq_graph_output_name(clone, 1), "early");
    assert_null(clq_graph_input_name(clone, 2));
    assert_null(clq_graph_output_name(clone, 2));
    assert_int_equal(clq_graph_use_count(clone, clq_graph_find_value(clone, "a")), 3);
    assert_status(clq_graph_check_single(clone, "this takes"), CLQ_BAD_DATA);
    assert_error_has(
        "has 2 inputs (input, second) and 2 outputs (logits, early); this takes one of "
        "each");
    assert_status(clq_graph_check_one_input(clone, "images feed"), CLQ_BAD_DATA);
    assert_error_has("has 2 inputs (input, second); images feed one");
    assert_ok(clq_graph_add_output(clone, "second", clq_graph_output(clone)));
    assert_status(clq_graph_validate(clone), CLQ_BAD_DATA);
    assert_error_has("two inputs or outputs are named \"second\"");
    clq_graph_set_output(clone, clq_graph_find_value(clone, "b"));
    assert_int_equal(clone->output_count, 1);
    assert_string_equal(clq_graph_output_name(clone, 0), "logits");
    for (int i = 1; i < CLQ_MAX_ENDS; i++) {
        assert_ok(clq_graph_add_output(clone, "more", 0));
    }
    assert_status(clq_graph_add_output(clone, "more", 0), CLQ_BAD_DATA);
    clq_graph_destroy(clone);
}

static void building_refuses_what_cannot_be(void **state) {
    (void)state;
    clq_graph *g = built();
    int id = 99;
    int x = clq_graph_input(g);
    assert_status(clq_graph_add_node(g, "warp", "d", NULL, &x, 1, &id), CLQ_BAD_DATA);
    assert_error_has("warp");
    assert_status(clq_graph_add_node(g, "resize", "d", &(resize_attrs){13}, &x, 1, &id),
                  CLQ_BAD_DATA);
    assert_error_has("unlucky");
    assert_status(
        clq_graph_add_node(g, "resize", "d", &(resize_attrs){INT64_C(1) << 31}, &x, 1, &id),
        CLQ_BAD_DATA);
    assert_error_has("\"d\"");
    assert_status(clq_graph_add_node(g, "resize", "d", &(resize_attrs){0}, &x, 1, &id),
                  CLQ_BAD_DATA);
    assert_status(clq_graph_add_node(g, "resize", "d", &(resize_attrs){1}, &x, 0, &id),
                  CLQ_BAD_DATA);
    for (int bad = -2; bad <= 5; bad += 7) {
        assert_status(clq_graph_add_node(g, "resize", "d", &(resize_attrs){1}, &bad, 1, &id),
                      CLQ_BAD_DATA);
    }
    assert_status(clq_graph_add_node(g, "join", "d", NULL, (int[]){x, CLQ_NO_VALUE}, 2, &id),
                  CLQ_BAD_DATA);
    assert_status(clq_graph_add_parameter(g, "p", CLQ_VALUE_ACTIVATION, CLQ_F32,
                                          (clq_shape){1, {3}}, NULL, &id),
                  CLQ_USAGE);
    assert_status(clq_graph_add_parameter(g, "p", CLQ_VALUE_PARAMETER, CLQ_F32,
                                          (clq_shape){4, {INT32_MAX, INT32_MAX, INT32_MAX, 9}},
                                          NULL, &id),
                  CLQ_BAD_DATA);
    assert_status(clq_graph_add_parameter(g, "p", CLQ_VALUE_PARAMETER, CLQ_F32,
                                          (clq_shape){6, {1, 1, 1, 1}}, NULL, &id),
                  CLQ_BAD_DATA);
    assert_int_equal(id, 99);
    assert_int_equal(g->value_count, 5);
    assert_ok(clq_graph_validate(g));
    clq_graph_destroy(g);
}

static void inputs_have_one_sample(void **state) {
    (void)state;
    static const clq_shape good[] = {{2, {1, 5}}, {3, {1, 5, 5}}, {5, {1, 2, 3, 4, 5}}};
    static const clq_shape bad[] = {
        {1, {5}}, {2, {2, 5}}, {3, {2, 5, 5}}, {4, {1, 5, 0, 5}}, {6, {1, 2, 3, 4, 5}}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        clq_graph *g = NULL;
        int id;
        assert_ok(clq_graph_create("net", &g));
        assert_ok(clq_graph_add_input(g, "input", good[i], &id));
        assert_true(clq_shape_equal(&g->values[id].shape, &good[i]));
        clq_graph_destroy(g);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        clq_graph *g = NULL;
        int id;
        assert_ok(clq_graph_create("net", &g));
        assert_status(clq_graph_add_input(g, "input", bad[i], &id), CLQ_BAD_DATA);
        clq_graph_destroy(g);
    }
}

static void clones_are_deep(void **state) {
    (void)state;
    clq_graph *g = built(), *copy = NULL;
    int a = clq_graph_find_value(g, "a"), w = clq_graph_find_value(g, "a.weight");
    assert_ok(clq_qparams_set(&g->values[a].q, 1, (float[]){0.25f}, 7, CLQ_Q_U8));
    g->folded = true;
    assert_ok(clq_graph_clone(g, &copy));
    ((float *)g->values[w].data)[0] = 77;
    g->values[a].q.scale[0] = 1;
    ((resize_attrs *)g->nodes[0].attrs)->width = 9;
    assert_ok(clq_graph_set_metadata(g, "clquant.mean", "changed"));
    clq_graph_destroy(g);

    assert_ok(clq_graph_validate(copy));
    assert_string_equal(copy->name, "net");
    assert_string_equal(clq_graph_get_metadata(copy, "clquant.mean"), "0.5,0.5");
    assert_memory_equal(copy->values[w].data, weight_data, sizeof weight_data);
    assert_true(copy->values[a].q.scale[0] == 0.25f && copy->values[a].q.zero_point == 7);
    assert_true(copy->folded);
    assert_int_equal(clq_graph_form(copy), CLQ_FORM_INTEGER);
    clq_graph_destroy(copy);
}

static void metadata_is_replaced_by_key(void **state) {
    (void)state;
    clq_graph *g = built();
    assert_null(clq_graph_get_metadata(g, "clquant.std"));
    assert_ok(clq_graph_set_metadata(g, "clquant.std", "1"));
    assert_ok(clq_graph_set_metadata(g, "clquant.mean", "2"));
    assert_string_equal(clq_graph_get_metadata(g, "clquant.std"), "1");
    assert_string_equal(clq_graph_get_metadata(g, "clquant.mean"), "2");
    assert_status(clq_graph_set_metadata(g, "clquant.classes", "caf\xe9"), CLQ_BAD_DATA);
    assert_error_has("\"clquant.classes\": is not UTF-8");
    assert_status(clq_graph_set_metadata(g, "\xff", "1"), CLQ_BAD_DATA);
    assert_int_equal(g->metadata_count, 2);
    clq_graph_destroy(g);
}

static void qparams_may_be_set_from_themselves(void **state) {
    (void)state;
    clq_qparams q = {0};
    assert_ok(clq_qparams_set(&q, 2, (float[]){1, 2}, 0, CLQ_Q_S8));
    assert_ok(clq_qparams_set(&q, 1, q.scale + 1, 0, CLQ_Q_S8));
    assert_true(q.count == 1 && q.scale[0] == 2);
    assert_status(clq_qparams_set(&q, -1, NULL, 0, CLQ_Q_S8), CLQ_USAGE);
    clq_qparams_clear(&q);
    assert_true(q.count == 0 && q.scale == NULL);
}

static void form_follows_the_values(void **state) {
    (void)state;
    clq_graph *g = built();
    assert_int_equal(clq_graph_form(g), CLQ_FORM_FLOAT);
    int w = clq_graph_find_value(g, "a.weight"), id;
    assert_ok(clq_qparams_set(&g->values[w].q, 2, (float[]){1, 2}, 0, CLQ_Q_S8));
    assert_int_equal(clq_graph_form(g), CLQ_FORM_QUANTIZED); /* to be rounded still */
    assert_ok(clq_qparams_set(&g->values[clq_graph_input(g)].q, 1, (float[]){1}, 0, CLQ_Q_U8));
    assert_int_equal(clq_graph_form(g), CLQ_FORM_QUANTIZED);
    assert_ok(clq_graph_validate(g));
    assert_ok(clq_graph_add_parameter(g, "w8", CLQ_VALUE_PARAMETER, CLQ_S8, (clq_shape){1, {3}},
                                      (int8_t[]){1, 2, 3}, &id));
    clq_qparams_clear(&g->values[w].q);
    assert_int_equal(clq_graph_form(g), CLQ_FORM_INTEGER);
    assert_int_equal(clq_graph_measure(g).bytes, 27);
    clq_graph_destroy(g);
}

static void measuring_saturates(void **state) {
    (void)state;
    clq_graph *g = built();
    ((resize_attrs *)g->nodes[0].attrs)->width = 7;
    assert_int_equal(clq_graph_measure(g).macs, INT64_MAX);
    clq_graph_destroy(g);
}

static void shapes_as_text(void **state) {
    (void)state;
    char text[16];
    clq_shape_text(&(clq_shape){4, {1, 32, 32, 3}}, text, sizeof text);
    assert_string_equal(text, "1x32x32x3");
    clq_shape_text(&(clq_shape){4, {1, 32, 32, 3}}, text, 5);
    assert_string_equal(text, "1x32");
    clq_shape_text(&(clq_shape){0, {0}}, text, sizeof text);
    assert_string_equal(text, "");
    clq_shape_text(&(clq_shape){2, {1, 2}}, NULL, 0);
}

/* ---- validation: each function breaks one rule ---- */

enum { INPUT, WEIGHT, A, B, C }; /* ids in the graph above */

static void break_input_id(clq_graph *g) {
    g->inputs[0] = 77;
}
static void break_output_id(clq_graph *g) {
    g->outputs[0].value = -1;
}
static void break_output_kind(clq_graph *g) {
    g->outputs[0].value = WEIGHT;
}
static void break_node_input(clq_graph *g) {
    g->nodes[1].inputs[0] = 5;
}
static void break_required_input(clq_graph *g) {
    g->nodes[2].inputs[1] = CLQ_NO_VALUE;
}
static void break_order(clq_graph *g) {
    g->nodes[1].inputs[0] = C;
}
static void break_self_loop(clq_graph *g) {
    g->nodes[1].inputs[0] = B;
}
static void break_arity(clq_graph *g) {
    g->nodes[1].input_count = 3;
}
static void break_node_output(clq_graph *g) {
    g->nodes[1].output = A;
}
static void break_producer(clq_graph *g) {
    g->values[A].producer = 1;
}
static void break_parameter_producer(clq_graph *g) {
    g->values[WEIGHT].producer = 0;
}
static void break_shape(clq_graph *g) {
    g->values[B].shape.dim[1] = 3;
}
static void break_zero_dimension(clq_graph *g) {
    g->values[WEIGHT].shape.dim[0] = 0;
}
static void break_kind(clq_graph *g) {
    g->values[WEIGHT].kind = (clq_value_kind)9;
}
static void break_dtype(clq_graph *g) {
    g->values[WEIGHT].dtype = (clq_dtype)9;
}
static void break_value_name(clq_graph *g) {
    g->values[B].name[0] = '\0';
}
static void break_value_text(clq_graph *g) {
    g->values[B].name[0] = (char)0xff;
}
static void break_node_text(clq_graph *g) {
    g->nodes[0].name[0] = (char)0xff;
}
static void break_graph_text(clq_graph *g) {
    clq_free(g->name);
    g->name = clq_strdup("\xff");
}
static void break_unique_value(clq_graph *g) {
    g->values[B].name[0] = 'c';
}
static void break_unique_node(clq_graph *g) {
    g->nodes[1].name[0] = 'c';
}
static void break_rule(clq_graph *g) {
    ((resize_attrs *)g->nodes[0].attrs)->width = 13;
}
static void break_nan(clq_graph *g) {
    ((float *)g->values[WEIGHT].data)[5] = NAN;
}
static void break_infinity(clq_graph *g) {
    ((float *)g->values[WEIGHT].data)[0] = INFINITY;
}
static void break_second_input(clq_graph *g) {
    g->values[B].kind = CLQ_VALUE_INPUT;
    g->values[B].producer = -1;
}
static void break_no_nodes(clq_graph *g) {
    g->node_count = -g->node_count;
}
static void break_integers(clq_graph *g) {
    g->values[A].dtype = CLQ_U8;
}

static void quantize(clq_graph *g, int id, int64_t count, float scale, int zero, clq_qtype type) {
    float scales[4] = {scale, scale, scale, scale};
    assert_ok(clq_qparams_set(&g->values[id].q, count, scales, zero, type));
}
static void break_scale_zero(clq_graph *g) {
    quantize(g, A, 1, 0, 0, CLQ_Q_U8);
}
static void break_scale_negative(clq_graph *g) {
    quantize(g, A, 1, -1, 0, CLQ_Q_U8);
}
static void break_scale_nan(clq_graph *g) {
    quantize(g, A, 1, NAN, 0, CLQ_Q_U8);
}
static void break_scale_infinite(clq_graph *g) {
    quantize(g, A, 1, INFINITY, 0, CLQ_Q_U8);
}
static void break_scale_subnormal(clq_graph *g) {
    quantize(g, A, 1, FLT_MIN / 2, 0, CLQ_Q_U8);
}
static void break_scale_count(clq_graph *g) {
    quantize(g, WEIGHT, 3, 1, 0, CLQ_Q_S8);
}
static void break_activation_channels(clq_graph *g) {
    quantize(g, A, 4, 1, 0, CLQ_Q_U8);
}
static void break_zero_point(clq_graph *g) {
    quantize(g, A, 1, 1, 256, CLQ_Q_U8);
}
static void break_weight_zero_point(clq_graph *g) {
    quantize(g, WEIGHT, 1, 1, 1, CLQ_Q_S8);
}
static void break_activation_dtype(clq_graph *g) {
    quantize(g, A, 1, 1, 0, CLQ_Q_S16);
}
static void break_narrow_zero_point(clq_graph *g) {
    quantize(g, A, 1, 1, 16, CLQ_Q_U4);
}
static void break_weight_dtype(clq_graph *g) {
    quantize(g, WEIGHT, 1, 1, 0, CLQ_Q_U8);
}

static void validation_finds_every_broken_rule(void **state) {
    (void)state;
    static void (*const breaks[])(clq_graph *) = {break_input_id,
                                                  break_output_id,
                                                  break_output_kind,
                                                  break_node_input,
                                                  break_required_input,
                                                  break_order,
                                                  break_self_loop,
                                                  break_arity,
                                                  break_node_output,
                                                  break_producer,
                                                  break_parameter_producer,
                                                  break_shape,
                                                  break_zero_dimension,
                                                  break_kind,
                                                  break_dtype,
                                                  break_value_name,
                                                  break_value_text,
                                                  break_node_text,
                                                  break_graph_text,
                                                  break_unique_value,
                                                  break_unique_node,
                                                  break_rule,
                                                  break_nan,
                                                  break_infinity,
                                                  break_second_input,
                                                  break_integers,
                                                  break_scale_zero,
                                                  break_scale_negative,
                                                  break_scale_nan,
                                                  break_scale_infinite,
                                                  break_scale_subnormal,
                                                  break_scale_count,
                                                  break_activation_channels,
                                                  break_zero_point,
                                                  break_narrow_zero_point,
                                                  break_weight_zero_point,
                                                  break_activation_dtype,
                                                  break_weight_dtype};
    for (size_t i = 0; i < sizeof breaks / sizeof breaks[0]; i++) {
        clq_graph *g = built();
        breaks[i](g);
        if (clq_graph_validate(g) != CLQ_BAD_DATA) {
            fail_msg("rule %zu of the list: validation passed", i);
        }
        clq_graph_destroy(g);
    }
    clq_graph *g = built();
    break_no_nodes(g);
    assert_status(clq_graph_validate(g), CLQ_BAD_DATA);
    break_no_nodes(g);
    quantize(g, WEIGHT, 2, FLT_MIN, 0, CLQ_Q_S8);
    quantize(g, A, 1, 1, 255, CLQ_Q_U8);
    assert_ok(clq_graph_validate(g));
    quantize(g, A, 1, 1, -128, CLQ_Q_S8);
    assert_ok(clq_graph_validate(g));
    clq_graph_destroy(g);
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    for (long nth = 1;; nth++) {
        clq_graph *g = NULL, *copy = NULL;
        clq_test_fail_allocation(nth);
        clq_status status = build(&g);
        if (status == CLQ_OK) {
            status = clq_qparams_set(&g->values[A].q, 1, (float[]){1}, 0, CLQ_Q_U8);
        }
        if (status == CLQ_OK) {
            status = clq_graph_clone(g, &copy);
        }
        if (status == CLQ_OK) {
            status = clq_graph_validate(copy);
        }
        clq_graph_destroy(g);
        clq_graph_destroy(copy);
        assert_int_equal(clq_test_live_allocations(), 0);
        if (status == CLQ_OK) {
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
    }
    clq_test_restore_allocator();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(building_gives_ids_and_shapes),
        cmocka_unit_test(several_ends),
        cmocka_unit_test(building_refuses_what_cannot_be),
        cmocka_unit_test(inputs_have_one_sample),
        cmocka_unit_test(clones_are_deep),
        cmocka_unit_test(metadata_is_replaced_by_key),
        cmocka_unit_test(qparams_may_be_set_from_themselves),
        cmocka_unit_test(form_follows_the_values),
        cmocka_unit_test(measuring_saturates),
        cmocka_unit_test(shapes_as_text),
        cmocka_unit_test(validation_finds_every_broken_rule),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}

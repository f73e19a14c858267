/* Networks of codes and reals: any mix is simulated and computed to the same codes, is written to a
 * file and read back as it was, and keeps what is float as accurate as it was. */
#include <clquant/formats.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/node.h"
#include "ops/layer.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 13, IMAGES = 11, BATCH = 4 };

static clq_graph *resnet20(void) {
    const clq_network_options options = {.network = "resnet20", .size = SIZE};
    return net_built(&options);
}

static clq_graph *everything(void) {
    return net_everything(SIZE);
}

typedef struct mix {
    clq_graph *(*make)(void);
    clq_policy_rule rules[3];
    int count;
} mix;

static const mix mixes[] = {
    {resnet20, {{.first = true, .keep_float = true}, {.last = true, .keep_float = true}}, 2},
    {resnet20, {{.name = "layer1.1.add", .keep_float = true}}, 1},
    {resnet20,
     {{.name = "layer2*", .keep_float = true}, {.name = "layer3.?.conv*", .weights = CLQ_Q_S4}},
     2},
    {resnet20,
     {{.op = "conv2d", .keep_float = true}, {.last = true, .weights = CLQ_Q_S8}},
     2}, /* hardly anything but borders */
    {resnet20, {{.name = "layer?.[02]*", .keep_float = true}, {.weights = CLQ_Q_S2}}, 2},
    {everything, {{.op = "flatten", .keep_float = true}, {.op = "conv2d", .keep_float = true}}, 2},
    {everything, {{.op = "max_pool", .keep_float = true}, {.op = "add", .keep_float = true}}, 2},
    {resnet20,
     {{.op = "input", .activations = CLQ_Q_U8}, {.weights = CLQ_Q_S4, .activations = CLQ_Q_U4}},
     2},
    {resnet20,
     {{.first = true, .keep_float = true},
      {.name = "layer2*", .weights = CLQ_Q_S3, .activations = CLQ_Q_S5},
      {.activations = CLQ_Q_S4}},
     3},
    {everything,
     {{.op = "conv2d", .activations = CLQ_Q_S8_NARROW},
      {.op = "add", .activations = CLQ_Q_U3},
      {.activations = CLQ_Q_S8}},
     3},
    /* weights alone, activations alone, and both beside the others */
    {resnet20, {{.activations = CLQ_Q_FLOAT}}, 1},
    {everything,
     {{.first = true, .weights = CLQ_Q_S4}, {.weights = CLQ_Q_S3, .activations = CLQ_Q_FLOAT}},
     2},
    {resnet20, {{.weights = CLQ_Q_FLOAT}}, 1},
    {everything, {{.weights = CLQ_Q_FLOAT}}, 1},
    {resnet20,
     {{.name = "layer1*", .weights = CLQ_Q_S4, .activations = CLQ_Q_FLOAT},
      {.name = "layer2*", .weights = CLQ_Q_FLOAT},
      {.name = "layer3.[01]*", .weights = CLQ_Q_S4}},
     3},
    {resnet20,
     {{.name = "*.conv1", .activations = CLQ_Q_FLOAT},
      {.name = "*.conv2", .weights = CLQ_Q_FLOAT, .activations = CLQ_Q_U8}},
     2},
};

static clq_graph *integer_of(const mix *m, int64_t images) {
    clq_quant_config config;
    clq_graph *graph = net_folded(m->make()), *integer = NULL;
    clq_quant_config_init(&config);
    for (int i = 0; i < m->count; i++) {
        assert_ok(clq_policy_add(&config.policy, &m->rules[i]));
    }
    net_calibrate(test_device, graph, &config, images, BATCH);
    assert_int_not_equal(clq_graph_form(graph), CLQ_FORM_FLOAT);
    assert_ok(clq_graph_validate(graph));
    assert_ok(clq_convert(graph, &integer));
    assert_ok(clq_graph_validate(integer));
    assert_int_equal(clq_graph_form(integer), CLQ_FORM_INTEGER);
    clq_graph_destroy(graph);
    return integer;
}

/* Nodes are on codes or on reals as the policy says, and nowhere do both meet. */
static void check_types(const mix *m, const clq_graph *graph, bool from_file) {
    clq_policy policy = {.count = 0};
    clq_graph *folded = net_folded(m->make());
    for (int i = 0; i < m->count; i++) {
        assert_ok(clq_policy_add(&policy, &m->rules[i]));
    }
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        const int was = clq_graph_find_node(folded, node->name);
        const clq_value *x = &graph->values[node->inputs[0]], *y = &graph->values[node->output];
        if (was < 0) { /* a border */
            assert_true((x->q.count > 0) != (y->q.count > 0));
            continue;
        }
        const clq_policy_rule rule = clq_policy_find(&policy, folded, was);
        const bool layer = clq_is_layer(node);
        const bool on_codes = !rule.keep_float && rule.activations != CLQ_Q_FLOAT &&
                              !(layer && rule.weights == CLQ_Q_FLOAT);
        assert_int_equal(clq_node_on_codes(graph, node), on_codes);
        if (y->q.count > 0) {
            assert_int_equal(y->q.type,
                             node->op->output_shares_qparams ? x->q.type : rule.activations);
        }
        for (int k = 0; k < node->input_count; k++) {
            const clq_value *in = &graph->values[node->inputs[k]];
            assert_true(clq_is_constant(in) || (in->q.count > 0) == on_codes);
        }
        if (layer) {
            const clq_value *w = &graph->values[node->inputs[CLQ_LAYER_W]];
            const bool real = rule.keep_float || rule.weights == CLQ_Q_FLOAT;
            const clq_qtype type =
                from_file && rule.weights == CLQ_Q_S8_NARROW ? CLQ_Q_S8 : rule.weights;
            assert_int_equal(w->dtype, real ? CLQ_F32 : clq_qtype_get(rule.weights)->storage);
            assert_true(real ? w->q.count == 0 : w->q.type == type);
            if (rule.weights == CLQ_Q_FLOAT && !rule.keep_float) { /* between roundings */
                const int maker = graph->values[node->inputs[CLQ_LAYER_X]].producer;
                assert_ptr_equal(graph->nodes[maker].op, &clq_op_dequantize);
            }
        }
    }
    const clq_value *input = &graph->values[clq_graph_input(graph)];
    if (input->q.count > 0) {
        assert_int_equal(input->q.type,
                         clq_policy_find_input(&policy, folded, clq_graph_input(folded)));
    }
    clq_graph_destroy(folded);
}

static bool has_codes(const clq_graph *graph) {
    for (int v = 0; v < graph->value_count; v++) {
        if (!clq_is_constant(&graph->values[v]) && graph->values[v].q.count > 0) {
            return true;
        }
    }
    return false;
}

static void every_mix_is_exact(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        clq_graph *integer = integer_of(&mixes[i], IMAGES), *loaded = NULL;
        clq_verification v;
        char before[65], after[65];
        const char *path = clq_test_temp_path("mixed.onnx"),
                   *copy = clq_test_temp_path("copy.onnx");
        clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, IMAGES);
        check_types(&mixes[i], integer, false);
        assert_ok(net_verify(test_device, integer, data, BATCH, &v));
        assert_string_equal(v.first_mismatch, "");
        assert_int_equal(v.mismatched_codes, 0);
        assert_true(v.compared_codes > (has_codes(integer) ? 1000 : 100)); /* or only logits */
        assert_true(v.path_count > 0);
        for (int p = 0; p < v.path_count; p++) {
            assert_string_equal(v.paths[p].sha256, v.logits_sha256);
        }
        for (int l = 0; l < v.layer_count; l++) {
            const clq_node *node = &integer->nodes[clq_graph_find_node(integer, v.layers[l].name)];
            assert_string_equal(v.layers[l].precision, clq_node_on_codes(integer, node)
                                                           ? "int8"
                                                           : clq_real_precision(integer, node));
        }
        assert_ok(clq_onnx_save(integer, path));
        assert_ok(clq_onnx_load(path, &loaded));
        check_types(&mixes[i], loaded, true);
        net_logits(test_device, integer, CLQ_EXEC_INT8, net_data(CLQ_SPLIT_TEST, SIZE, IMAGES),
                   BATCH, before);
        net_logits(test_device, loaded, CLQ_EXEC_INT8, net_data(CLQ_SPLIT_TEST, SIZE, IMAGES),
                   BATCH, after);
        assert_string_equal(before, after);
        assert_string_equal(before, v.logits_sha256);
        assert_ok(clq_onnx_save(loaded, copy));
        char command[1024];
        snprintf(command, sizeof command, "cmp %s %s", path, copy);
        assert_int_equal(system(command), 0);
        clq_verification_clear(&v);
        clq_dataset_close(data);
        clq_graph_destroy(loaded);
        clq_graph_destroy(integer);
    }
}

/* A value that several nodes on the other side read is converted once. */
static void borders_are_shared(void **state) {
    (void)state;
    const mix m = {resnet20, {{.name = "conv1", .keep_float = true}}, 1};
    clq_graph *graph = integer_of(&m, IMAGES);
    int quantize = 0, dequantize = 0;
    for (int n = 0; n < graph->node_count; n++) {
        quantize += graph->nodes[n].op == &clq_op_quantize;
        dequantize += graph->nodes[n].op == &clq_op_dequantize;
    }
    assert_int_equal(quantize, 1); /* read by a convolution and an addition */
    assert_int_equal(dequantize, 0);
    assert_int_equal(graph->values[clq_graph_input(graph)].q.count, 0);
    clq_graph_destroy(graph);
}

/* What a node on reals reads and makes is observed as in the float network: scales do not depend on
 * which others are quantized. */
static void scales_are_those_of_the_float_network(void **state) {
    (void)state;
    const mix none = {resnet20, {{.first = true, .weights = CLQ_Q_S8_NARROW}}, 1};
    clq_graph *all = integer_of(&none, IMAGES), *some = integer_of(&mixes[2], IMAGES);
    int compared = 0;
    for (int v = 0; v < some->value_count; v++) {
        const clq_value *value = &some->values[v];
        char name[96];
        snprintf(name, sizeof name, "%s", value->name);
        char *border = strstr(name, ".quantize");
        if (border) {
            *border = '\0';
        }
        const int other = clq_graph_find_value(all, name);
        if (value->q.count > 0 && !clq_is_constant(value)) {
            assert_true(other >= 0);
            assert_true(all->values[other].q.scale[0] == value->q.scale[0]);
            assert_int_equal(all->values[other].q.zero_point, value->q.zero_point);
            compared++;
        }
    }
    assert_true(compared > 10);
    clq_graph_destroy(all);
    clq_graph_destroy(some);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    const clq_policy_rule all = {.name = "*", .keep_float = true};
    assert_ok(clq_policy_add(&config.policy, &all));
    clq_graph *graph = net_folded(resnet20());
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    assert_status(clq_calibrate(test_device, graph, feed, BATCH, &config, NULL), CLQ_USAGE);
    assert_error_has("no linear layer that is to be quantized");
    assert_int_equal(clq_graph_form(graph), CLQ_FORM_FLOAT); /* as it was */

    config.policy.rules[0].first = true;
    assert_ok(clq_calibrate(test_device, graph, feed, BATCH, &config, NULL));
    assert_status(clq_calibrate(test_device, graph, feed, BATCH, &config, NULL), CLQ_USAGE);
    assert_error_has("quantized in part already");
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
}

/* Every allocation fails in turn: an error, nothing leaks, and the graph is as it was. */
static void survives_failing_allocations(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    assert_ok(clq_policy_add(&config.policy, &mixes[1].rules[0]));
    clq_graph *graph = net_folded(resnet20());
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, BATCH);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    for (long nth = 1; nth < 400; nth += 7) { /* within the assignment of types */
        clq_test_fail_allocation(nth);
        assert_status(clq_calibrate(test_device, graph, feed, BATCH, &config, NULL), CLQ_NO_MEMORY);
        clq_test_fail_allocation(0);
        assert_int_equal(clq_graph_form(graph), CLQ_FORM_FLOAT);
    }
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mix_is_exact),
        cmocka_unit_test(borders_are_shared),
        cmocka_unit_test(scales_are_those_of_the_float_network),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(survives_failing_allocations),
    };
    const struct CMUnitTest on_gpu[] = {
        cmocka_unit_test(every_mix_is_exact),
    };
    clq_test_setup_temp_dir(NULL);
    int failed =
        cmocka_run_group_tests_name("cpu schedule", tests, open_cpu_schedule, close_device);
    if (clq_test_all()) { /* quant/qat tries that schedule each time */
        failed +=
            cmocka_run_group_tests_name("gpu schedule", on_gpu, open_gpu_schedule, close_device);
    }
    clq_test_teardown_temp_dir(NULL);
    return failed;
}

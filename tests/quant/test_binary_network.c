/* Networks with operators of two operands: squeeze-excite gates, constants of many shapes, and
 * operators that have no integer form. */
#include "graph/node.h"
#include "ops/registry.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 9, BATCH = 4, IMAGES = 24 };

static const clq_conv2d_attrs same = {
    .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};

static int linear(clq_builder *b, const char *name, int x, int out) {
    const clq_linear_attrs attrs = {CLQ_ACT_NONE};
    char full[64];
    int inputs[3] = {x}, y = 0;
    snprintf(full, sizeof full, "%s.weight", name);
    assert_ok(clq_graph_add_parameter(b->graph, full, CLQ_VALUE_PARAMETER, CLQ_F32,
                                      (clq_shape){2, {out, clq_build_channels(b, x)}}, NULL,
                                      &inputs[1]));
    snprintf(full, sizeof full, "%s.bias", name);
    assert_ok(clq_graph_add_parameter(b->graph, full, CLQ_VALUE_PARAMETER, CLQ_F32,
                                      (clq_shape){1, {out}}, NULL, &inputs[2]));
    assert_ok(clq_graph_add_node(b->graph, "linear", name, &attrs, inputs, 3, &y));
    return y;
}

static int binary(clq_builder *b, const char *op, const char *name, int x, int y) {
    int result = 0;
    assert_ok(clq_graph_add_node(b->graph, op, name, NULL, (int[]){x, y}, 2, &result));
    return result;
}

static int constant(clq_builder *b, const char *name, clq_shape shape) {
    int value = 0;
    assert_ok(
        clq_graph_add_parameter(b->graph, name, CLQ_VALUE_PARAMETER, CLQ_F32, shape, NULL, &value));
    return value;
}

/* x times sigmoid(fc2(relu(fc1(mean of x)))). */
static int squeeze_excite(clq_builder *b, int x) {
    int gate = clq_build_op(b, "global_avg_pool", "se.pool", x);
    gate = clq_build_op(b, "relu", "se.relu", linear(b, "se.fc1", gate, 3));
    gate = clq_build_op(b, "sigmoid", "se.sigmoid",
                        linear(b, "se.fc2", gate, (int)clq_build_channels(b, x)));
    return binary(b, "mul", "se.mul", x, gate);
}

/* Behind the gates: what `tail` makes of x. */
static clq_graph *network(int (*tail)(clq_builder *, int)) {
    const clq_network_options options = {.network = "test", .size = SIZE};
    clq_builder b = {.options = &options};
    assert_ok(clq_graph_create("gated", &b.graph));
    int x = clq_build_input(&b, (clq_shape){4, {1, SIZE, SIZE, 3}});
    x = clq_build_op(&b, "relu", "conv.relu", net_conv(&b, "conv", x, 7, same, true));
    x = tail(&b, squeeze_excite(&b, x));
    x = net_conv(&b, "last", x, 8, same, true);
    x = linear(&b, "fc", clq_build_op(&b, "global_avg_pool", "pool", x), 10);
    assert_ok(b.status);
    clq_graph_set_output(b.graph, x);
    net_randomise(b.graph, 0.3f);
    return b.graph;
}

/* Constants: for each channel, one, for each pixel, for each element; masks of activations. */
static int with_constants(clq_builder *b, int x) {
    int mask = clq_build_op(b, "sigmoid", "mask.sigmoid", net_conv(b, "mask", x, 1, same, true));
    x = binary(b, "mul", "masked", mask, x);
    x = binary(b, "sub", "centred", x, constant(b, "centre", (clq_shape){1, {7}}));
    x = binary(b, "max", "floored", x, constant(b, "floor", (clq_shape){1, {1}}));
    x = binary(b, "min", "topped", constant(b, "top", (clq_shape){3, {SIZE, SIZE, 1}}), x);
    return binary(b, "add", "placed", x, constant(b, "place", (clq_shape){4, {1, SIZE, SIZE, 7}}));
}

/* Quotients and powers stay on reals. */
static int with_reals(clq_builder *b, int x) {
    int y = clq_build_op(b, "sigmoid", "y", net_conv(b, "conv_y", x, 7, same, true));
    y = binary(b, "pow", "power", y, constant(b, "exponent", (clq_shape){1, {7}}));
    return binary(b, "div", "quotient", x,
                  binary(b, "add", "one", y, constant(b, "offset", (clq_shape){1, {1}})));
}

static void train(clq_graph *graph, const clq_quant_config *config) {
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_train_job job = {.device = test_device, .graph = graph, .train = data, .phase = "qat"};
    clq_epoch_record *history = NULL;
    int count = 0;
    clq_train_config_init(&job.config);
    job.config.epochs = 2;
    job.config.batch = BATCH;
    job.config.schedule.lr = 0.01;
    job.config.loader_threads = 1;
    clq_normalization_usual(data, false, &job.normalization);
    assert_ok(clq_qat(&job, config, &history, &count));
    clq_free(history);
    clq_dataset_close(data);
}

static void assert_exact(clq_graph *quantized) {
    clq_graph *integer = NULL;
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, 11);
    clq_verification v;
    assert_ok(clq_graph_validate(quantized));
    assert_ok(clq_convert(quantized, &integer));
    assert_ok(clq_graph_validate(integer));
    assert_ok(net_verify(test_device, integer, data, BATCH, &v));
    assert_string_equal(v.first_mismatch, "");
    assert_int_equal(v.mismatched_codes, 0);
    clq_verification_clear(&v);
    clq_dataset_close(data);
    clq_graph_destroy(integer);
}

/* Exact after calibration; and after a training in which every parameter moved. */
static void check(int (*tail)(clq_builder *, int), clq_quant_config *config, bool trains) {
    clq_graph *graph = net_folded(network(tail)), *start = NULL;
    net_calibrate(test_device, graph, config, 16, BATCH);
    assert_exact(graph);
    if (trains) {
        assert_ok(clq_graph_clone(graph, &start));
        train(graph, config);
        for (int v = 0; v < graph->value_count; v++) {
            const clq_value *value = &graph->values[v];
            if (value->kind == CLQ_VALUE_PARAMETER) {
                assert_memory_not_equal(value->data, start->values[v].data,
                                        (size_t)clq_shape_count(&value->shape) * 4);
            }
        }
        assert_exact(graph);
        clq_graph_destroy(start);
    }
    clq_graph_destroy(graph);
}

static void gates_and_constants_are_exact(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    check(with_constants, &config, true);
    if (!clq_test_all()) {
        return; /* the operators' own tests have the other requantizers */
    }
    config.requantizer = CLQ_REQUANT_FIXED;
    config.symmetric_activations = true;
    check(with_constants, &config, false);
    config.requantizer = CLQ_REQUANT_SHIFT;
    config.scale = CLQ_SCALE_POW2;
    check(with_constants, &config, false);
}

/* Activations of other types, and scales that are learned. */
static void types_and_learned_scales_are_exact(void **state) {
    (void)state;
    const clq_policy_rule s8 = {.op = "mul", .activations = CLQ_Q_S8};
    const clq_policy_rule u4 = {.op = "max", .activations = CLQ_Q_U4};
    clq_quant_config config;
    clq_quant_config_init(&config);
    assert_ok(clq_policy_add(&config.policy, &s8));
    assert_ok(clq_policy_add(&config.policy, &u4));
    check(with_constants, &config, false);
    if (clq_test_all()) {
        config.learn_scales = CLQ_LEARN_LSQ;
        check(with_constants, &config, true);
    }
}

static void operators_without_integer_form_stay_real(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    check(with_reals, &config, true);
    clq_graph *graph = net_folded(network(with_reals));
    net_calibrate(test_device, graph, &config, 16, BATCH);
    int reals = 0;
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        if (node->op->quantized == NULL) {
            assert_false(clq_node_on_codes(graph, node));
            reals++;
        }
    }
    assert_int_equal(reals, 2);
    clq_graph_destroy(graph);
}

/* What folding removes is still missed. */
static void networks_are_to_be_folded(void **state) {
    (void)state;
    const clq_network_options options = {
        .network = "resnet20", .size = SIZE, .channels = 3, .classes = 10, .stem = "cifar"};
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_built(&options);
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, 16);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    assert_status(clq_calibrate(test_device, graph, feed, BATCH, &config, NULL), CLQ_USAGE);
    assert_error_has("fold it first");
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest on_cpu[] = {
        cmocka_unit_test(gates_and_constants_are_exact),
        cmocka_unit_test(types_and_learned_scales_are_exact),
        cmocka_unit_test(operators_without_integer_form_stay_real),
        cmocka_unit_test(networks_are_to_be_folded),
    };
    return cmocka_run_group_tests_name("cpu schedule", on_cpu, open_cpu_schedule, close_device);
}

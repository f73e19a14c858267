/* The fake-quantized network on FP32 kernels and the integer network, code by code. */
#include "support/op_run.h"
#include "support/quant_nets.h"

typedef clq_graph *(*net_maker)(void);

static clq_graph *make_everything(void) {
    return net_everything(13);
}

static clq_graph *make_mlp(void) {
    const int hidden[] = {17, 33};
    const clq_network_options options = {.network = "mlp",
                                         .size = 9,
                                         .channels = 3,
                                         .hidden = hidden,
                                         .hidden_count = 2,
                                         .activation = "tanh"};
    return net_built(&options);
}

static clq_graph *make_resnet20(void) {
    const clq_network_options options = {.network = "resnet20", .size = 12};
    return net_built(&options);
}

/* Quantizes with `config` and verifies on more images than batches hold evenly. */
static clq_verification verify(net_maker make, const clq_quant_config *config,
                               clq_graph **integer) {
    clq_graph *graph = net_folded(make());
    clq_verification verification;
    net_calibrate(test_device, graph, config, 32, 8);
    assert_ok(clq_convert(graph, config, integer));
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, (int)graph->values[graph->input].shape.dim[1], 11);
    assert_ok(clq_verify(test_device, *integer, data, 4, 0, &verification));
    clq_dataset_close(data);
    clq_graph_destroy(graph);
    return verification;
}

static void assert_verified(net_maker make, const clq_quant_config *config) {
    clq_graph *integer = NULL;
    clq_verification v = verify(make, config, &integer);
    assert_int_equal(v.images, 11);
    assert_true(v.compared_codes > 1000);
    assert_string_equal(v.first_mismatch, "");
    assert_int_equal(v.mismatched_codes, 0);
    assert_true(v.path_count > 0);
    for (int i = 0; i < v.path_count; i++) {
        assert_string_equal(v.paths[i].sha256, v.logits_sha256);
    }
    clq_verification_clear(&v);
    clq_graph_destroy(integer);
}

static void codes_agree_in_every_operator(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    assert_verified(make_everything, &config);
}

static void codes_agree_with_symmetric_activations(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    config.symmetric_activations = true;
    config.per_tensor_weights = true;
    assert_verified(make_everything, &config);
}

static void codes_agree_with_pow2_scales(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    config.scale = CLQ_SCALE_POW2;
    config.observer = CLQ_OBSERVER_MOVING_AVERAGE;
    assert_verified(make_everything, &config);
}

static void codes_agree_in_an_mlp(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    assert_verified(make_mlp, &config);
}

static void codes_agree_in_resnet20(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    assert_verified(make_resnet20, &config);
}

/* Sums beyond 2^24 go through int32 in the fake-quantized network too. */
static void codes_agree_where_floats_do_not_suffice(void **state) {
    (void)state;
    clq_quant_config config;
    clq_graph *integer = NULL;
    clq_quant_config_init(&config);
    clq_verification v = verify(net_unprovable, &config, &integer);
    assert_string_equal(v.first_mismatch, "");
    assert_int_equal(v.mismatched_codes, 0);
    int unproven = 0;
    for (int i = 0; i < v.layer_count; i++) {
        unproven += !v.layers[i].float_exact;
        assert_true(v.layers[i].float_exact == (strcmp(v.layers[i].name, "fc1") != 0));
    }
    assert_int_equal(unproven, 1);
    clq_verification_clear(&v);
    clq_graph_destroy(integer);
}

static void layers_are_listed(void **state) {
    (void)state;
    clq_quant_config config;
    clq_graph *integer = NULL;
    clq_quant_config_init(&config);
    clq_verification v = verify(make_everything, &config, &integer);
    const char *dot = clq_dot_name(clq_device_get_info(test_device)->dot);
    assert_int_equal(v.layer_count, integer->node_count);
    for (int i = 0; i < v.layer_count; i++) {
        const bool has_dot = clq_op_find("conv2d") == clq_op_find(v.layers[i].op) ||
                             clq_op_find("linear") == clq_op_find(v.layers[i].op);
        assert_string_equal(v.layers[i].name, integer->nodes[i].name);
        assert_string_equal(v.layers[i].precision, "int8");
        if (strcmp(v.layers[i].name, "depthwise") == 0 || !has_dot) {
            assert_string_equal(v.layers[i].dot_path, "");
        } else {
            assert_string_equal(v.layers[i].dot_path, dot);
        }
    }
    clq_verification_clear(&v);
    clq_graph_destroy(integer);
}

static void limit_is_kept(void **state) {
    (void)state;
    clq_quant_config config;
    clq_graph *integer = NULL;
    clq_verification first, all;
    clq_quant_config_init(&config);
    all = verify(make_mlp, &config, &integer);
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, 9, 11);
    assert_ok(clq_verify(test_device, integer, data, 4, 6, &first));
    assert_int_equal(first.images, 6);
    assert_string_not_equal(first.logits_sha256, all.logits_sha256);
    clq_verification_clear(&first);
    clq_verification_clear(&all);
    clq_dataset_close(data);
    clq_graph_destroy(integer);
}

static void only_integer_graphs_are_verified(void **state) {
    (void)state;
    clq_graph *graph = net_folded(make_mlp());
    clq_verification v;
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, 9, 4);
    assert_status(clq_verify(test_device, graph, data, 4, 0, &v), CLQ_USAGE);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_agree_in_every_operator),
        cmocka_unit_test(codes_agree_with_symmetric_activations),
        cmocka_unit_test(codes_agree_with_pow2_scales),
        cmocka_unit_test(codes_agree_in_an_mlp),
        cmocka_unit_test(codes_agree_in_resnet20),
        cmocka_unit_test(codes_agree_where_floats_do_not_suffice),
        cmocka_unit_test(layers_are_listed),
        cmocka_unit_test(limit_is_kept),
        cmocka_unit_test(only_integer_graphs_are_verified),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

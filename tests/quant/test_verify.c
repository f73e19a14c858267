/* The fake-quantized network on FP32 kernels and the integer network, code by code. */
#include <limits.h>

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
    const clq_network_options options = {.network = "resnet20", .size = 9};
    return net_built(&options);
}

/* Quantizes with `config` and verifies on more images than batches hold evenly. */
static clq_verification verify(net_maker make, const clq_quant_config *config,
                               clq_graph **integer) {
    clq_graph *graph = net_folded(make());
    clq_verification verification;
    net_calibrate(test_device, graph, config, 32, 8);
    assert_ok(clq_convert(graph, integer));
    clq_dataset *data =
        net_data(CLQ_SPLIT_TEST, (int)graph->values[clq_graph_input(graph)].shape.dim[1], 11);
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

/* Biases beyond 2^24, which a file may bring, reach the logits whole in both networks. */
static void codes_agree_with_large_biases(void **state) {
    (void)state;
    clq_quant_config config;
    clq_graph *integer = NULL;
    clq_quant_config_init(&config);
    clq_verification v = verify(make_mlp, &config, &integer);
    const clq_node *last = &integer->nodes[integer->values[clq_graph_output(integer)].producer];
    clq_value *bias = &integer->values[last->inputs[2]];
    for (int64_t c = 0; c < bias->shape.dim[0]; c++) {
        ((int32_t *)bias->data)[c] = (1 << 24) + 1 + 2 * (int32_t)c;
    }
    clq_verification_clear(&v);
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, 9, 11);
    assert_ok(clq_verify(test_device, integer, data, 4, 0, &v));
    assert_string_equal(v.first_mismatch, "");
    assert_int_equal(v.mismatched_codes, 0);
    clq_verification_clear(&v);
    clq_dataset_close(data);
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

/* What verification rests on: differences are counted, the first one found, padding left alone. */
static void differing_codes_are_found(void **state) {
    (void)state;
    enum { PIXELS = 1013, CHANNELS = 5, PITCH = 8, ZERO = 17, WRONG = 3 };
    const int places[WRONG] = {4007, 2511, 5064};
    static float fake[PIXELS * CHANNELS];
    static uint8_t codes[PIXELS * PITCH];
    const int start[4] = {0};
    int result[4];
    for (int i = 0; i < PIXELS * CHANNELS; i++) {
        const int code = i * 7 % 256;
        fake[i] = (float)(code - ZERO);
        codes[i / CHANNELS * PITCH + i % CHANNELS] = (uint8_t)code;
    }
    for (int i = 0; i < WRONG; i++) {
        fake[places[i]] += i == 1 ? 1.0f : 0.5f;
    }
    clq_buffer *a = make_buffer(fake, sizeof fake), *b = make_buffer(codes, sizeof codes);
    clq_buffer *r = make_buffer(start, sizeof start);
    clq_kernel *kernel = NULL;
    assert_ok(clq_kernel_get(test_device, "compare_codes", NULL, &kernel));
    assert_ok(CLQ_LAUNCH(test_device, kernel, CLQ_RANGE1(7), CLQ_BUF(a), CLQ_BUF(b), CLQ_I32(ZERO),
                         CLQ_I32(1), CLQ_BUF(r), CLQ_I32(PIXELS), CLQ_I32(CHANNELS),
                         CLQ_I32(PITCH)));
    assert_ok(clq_buffer_read(r, 0, sizeof result, result));
    assert_int_equal(result[0], 0);
    assert_int_equal(result[2], WRONG);
    assert_int_equal(INT_MAX - result[3], 2511);
    clq_buffer *const buffers[] = {a, b, r};
    for (int i = 0; i < 3; i++) {
        clq_buffer_release(buffers[i]);
    }
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

/* Allocations fail in turn (every third, as there are many): an error, and nothing breaks. */
static void verification_survives_failing_allocations(void **state) {
    (void)state;
    clq_quant_config config;
    clq_graph *integer = NULL;
    clq_quant_config_init(&config);
    clq_verification v = verify(make_mlp, &config, &integer);
    clq_verification_clear(&v);
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, 9, 3);
    clq_status status = CLQ_NO_MEMORY;
    for (long nth = 1; status != CLQ_OK; nth += 3) {
        clq_test_fail_allocation(nth);
        status = clq_verify(test_device, integer, data, 2, 0, &v);
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
    }
    clq_test_restore_allocator();
    assert_int_equal(v.mismatched_codes, 0);
    clq_verification_clear(&v);
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
        cmocka_unit_test(codes_agree_with_large_biases),
        cmocka_unit_test(layers_are_listed),
        cmocka_unit_test(differing_codes_are_found),
        cmocka_unit_test(limit_is_kept),
        cmocka_unit_test(verification_survives_failing_allocations),
        cmocka_unit_test(only_integer_graphs_are_verified),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}

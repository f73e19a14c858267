/* What conversion makes of calibrated layers, and scales that it cannot take. */
#include <math.h>

#include "kernels/include/scales.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 13, IMAGES = 22, BATCH = 8 };

static void check_layer(const clq_graph *from, const clq_graph *to, const clq_node *node,
                        const clq_quant_config *config) {
    const clq_value *w = &from->values[node->inputs[1]], *wq = &to->values[node->inputs[1]];
    const float *real = w->data, x_scale = from->values[node->inputs[0]].q.scale[0];
    const int8_t *codes = wq->data;
    const int64_t oc = w->shape.dim[0], k = clq_shape_count(&w->shape) / oc;
    assert_int_equal(wq->dtype, CLQ_S8);
    assert_int_equal(wq->q.type, CLQ_Q_S8_NARROW);
    assert_int_equal(wq->q.count, config->per_tensor_weights ? 1 : oc);
    for (int64_t c = 0; c < oc; c++) {
        const float scale = wq->q.scale[config->per_tensor_weights ? 0 : c];
        int most = 0;
        for (int64_t i = c * k; i < (c + 1) * k; i++) {
            const float code = rintf(real[i] / scale);
            assert_int_equal(codes[i], (int)fmaxf(-127, fminf(127, code)));
            most = abs(codes[i]) > most ? abs(codes[i]) : most;
        }
        if (!config->per_tensor_weights && config->scale == CLQ_SCALE_FLOAT) {
            assert_int_equal(most, 127); /* the channel's largest weight */
        }
        if (node->input_count > 2) {
            const clq_value *b = &from->values[node->inputs[2]], *bq = &to->values[node->inputs[2]];
            const float unit = x_scale * scale;
            assert_int_equal(bq->dtype, CLQ_S32);
            assert_int_equal(bq->q.type, CLQ_Q_S32);
            assert_int_equal(bq->q.count, wq->q.count);
            assert_true(bq->q.scale[config->per_tensor_weights ? 0 : c] == unit);
            assert_int_equal(((int32_t *)bq->data)[c], (int)rintf(((float *)b->data)[c] / unit));
        }
    }
}

static void conversion_rounds_weights_and_biases(void **state) {
    (void)state;
    for (int variant = 0; variant < 3; variant++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.per_tensor_weights = variant == 1;
        config.scale = variant == 2 ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        clq_graph *graph = net_folded(net_everything(SIZE)), *integer = NULL;
        int layers = 0;
        net_calibrate(test_device, graph, &config, IMAGES, BATCH);
        assert_ok(clq_convert(graph, &integer));
        assert_int_equal(clq_graph_form(integer), CLQ_FORM_INTEGER);
        assert_ok(clq_graph_validate(integer));
        for (int n = 0; n < graph->node_count; n++) {
            const char *op = graph->nodes[n].op->name;
            if (strcmp(op, "conv2d") == 0 || strcmp(op, "linear") == 0) {
                check_layer(graph, integer, &integer->nodes[n], &config);
                layers++;
            }
        }
        assert_int_equal(layers, 8);
        assert_status(clq_convert(integer, &graph), CLQ_USAGE);
        clq_graph_destroy(graph);
        clq_graph_destroy(integer);
    }
}

/* A layer of zeros, a dead channel with a bias, and a constant activation. */
static void degenerate_layers_convert(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_folded(net_everything(SIZE)), *integer = NULL;
    clq_value *zeros = &graph->values[clq_graph_find_value(graph, "stem.weight")];
    clq_value *dead = &graph->values[clq_graph_find_value(graph, "b2.conv1.weight")];
    clq_value *bias = &graph->values[clq_graph_find_value(graph, "b2.conv1.bias")];
    const size_t k = (size_t)(clq_shape_count(&dead->shape) / dead->shape.dim[0]);
    memset(zeros->data, 0, (size_t)clq_shape_count(&zeros->shape) * sizeof(float));
    for (size_t i = 0; i < k; i++) {
        ((float *)dead->data)[i] = (float)i * 1e-42f; /* subnormal */
    }
    ((float *)bias->data)[0] = 0.75f;
    net_calibrate(test_device, graph, &config, IMAGES, BATCH);
    assert_ok(clq_convert(graph, &integer));
    bias = &integer->values[clq_graph_find_value(integer, "b2.conv1.bias")];
    const double real = (double)((int32_t *)bias->data)[0] * (double)bias->q.scale[0];
    assert_true(fabs(real - 0.75) < 1e-5);
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, 9);
    clq_verification v;
    assert_ok(net_verify(test_device, integer, data, 4, &v));
    assert_string_equal(v.first_mismatch, "");
    for (int i = 0; i < v.layer_count; i++) {
        assert_true(v.layers[i].float_exact);
    }
    clq_verification_clear(&v);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
    clq_graph_destroy(integer);
}

/* One convolution with a ReLU: weights of 1e-6, biases of about 1. */
static clq_graph *net_of_biases(void) {
    const clq_network_options options = {.network = "test", .size = SIZE};
    const clq_conv2d_attrs same = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};
    clq_builder b = {.options = &options};
    assert_ok(clq_graph_create("biases", &b.graph));
    int x = clq_build_input(&b, (clq_shape){4, {1, SIZE, SIZE, 3}});
    x = clq_build_op(&b, "relu", "relu", net_conv(&b, "conv", x, 7, same, true));
    x = clq_build_linear(&b, "fc", clq_build_op(&b, "flatten", "flatten", x), 5,
                         CLQ_LINEAR_UNIFORM);
    clq_graph_set_output(b.graph, x);
    assert_ok(b.status);
    net_randomise(b.graph, 1e-6f);
    const clq_value *bias = &b.graph->values[clq_graph_find_value(b.graph, "conv.bias")];
    clq_test_fill_f32(bias->data, 7, 0.5f, 1.5f, 3);
    return net_folded(b.graph);
}

/* Biases that dwarf the weights keep their values, with one scale too: (5)'s second term. */
static void biases_fit_beside_small_weights(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.per_tensor_weights = variant % 2 == 1;
        config.scale = variant / 2 == 1 ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        config.max_shift = 30;
        clq_graph *graph = net_of_biases(), *integer = NULL;
        net_calibrate(test_device, graph, &config, IMAGES, BATCH);
        assert_ok(clq_convert(graph, &integer));
        const clq_value *real = &graph->values[clq_graph_find_value(graph, "conv.bias")];
        const clq_value *codes = &integer->values[clq_graph_find_value(integer, "conv.bias")];
        for (int c = 0; c < 7; c++) {
            const float scale = codes->q.scale[config.per_tensor_weights ? 0 : c];
            const float kept = (float)((int32_t *)codes->data)[c] * scale;
            assert_true(fabsf(kept / ((float *)real->data)[c] - 1) < 1e-5f);
        }
        clq_graph_destroy(graph);
        clq_graph_destroy(integer);
    }
}

/* A power of two that max_shift keeps too small for a bias: refused, with its place and remedy. */
static void biases_beyond_their_scale_are_named(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    config.scale = CLQ_SCALE_POW2;
    config.max_shift = 4;
    clq_graph *graph = net_of_biases();
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    ((float *)graph->values[clq_graph_find_value(graph, "conv.bias")].data)[2] = 1e12f;
    assert_status(clq_calibrate(test_device, graph, feed, BATCH, &config, NULL), CLQ_BAD_DATA);
    assert_error_has("node conv: channel 2: bias 1e+12");
    assert_error_has("max_shift 4");
    /* and where a graph brings its own scales */
    config.scale = CLQ_SCALE_FLOAT;
    clq_graph_destroy(graph);
    graph = net_of_biases();
    net_calibrate(test_device, graph, &config, IMAGES, BATCH);
    clq_value *w = &graph->values[clq_graph_find_value(graph, "conv.weight")];
    for (int64_t c = 0; c < w->q.count; c++) {
        w->q.scale[c] = 1e-15f;
    }
    const clq_exec_options options = {.mode = CLQ_EXEC_FAKE_QUANT, .batch = 1};
    clq_exec *exec = NULL;
    assert_status(clq_exec_create(test_device, graph, &options, &exec), CLQ_BAD_DATA);
    assert_error_has("node conv: channel 0: the bias is beyond 2^30 steps");
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
}

/* What is reported: every scale, those that max_shift clamped, and the max_shift that is enough. */
static void clamped_scales_are_reported(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_report report;
    clq_quant_config_init(&config);
    config.scale = CLQ_SCALE_POW2;
    config.max_shift = 3;
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    for (int round = 0; round < 2; round++) {
        clq_graph *graph = net_folded(net_everything(SIZE));
        clq_feed *feed = net_feed(test_device, data, BATCH);
        assert_ok(clq_calibrate(test_device, graph, feed, BATCH, &config, &report));
        assert_int_equal(report.images, IMAGES);
        assert_string_equal(report.unit, "images");
        assert_non_null(
            strstr(clq_graph_get_metadata(graph, "clquant.quantization"), "\"scale\": \"pow2\""));
        int64_t at_the_end = 0, scales = 0;
        for (int v = 0; v < graph->value_count; v++) {
            const clq_value *value = &graph->values[v];
            const clq_op *op = value->producer < 0 ? NULL : graph->nodes[value->producer].op;
            if (op && op->output_shares_qparams) {
                continue; /* counted where the observer is */
            }
            scales += value->q.count;
            for (int64_t i = 0; i < value->q.count; i++) {
                at_the_end += value->q.scale[i] == 0x1p-3f;
            }
        }
        assert_int_equal(report.scales, scales);
        if (round == 0) {
            assert_true(report.clamped > 0 && report.clamped <= at_the_end);
            assert_true(report.value_count > 0 && report.max_shift > 3);
            assert_string_equal(report.values[0].name, "input");
            config.max_shift = report.max_shift;
        } else {
            assert_int_equal(report.clamped, 0);
            assert_int_equal(report.value_count, 0);
        }
        clq_quant_report_clear(&report);
        clq_feed_destroy(feed);
        clq_graph_destroy(graph);
    }
    clq_dataset_close(data);
}

static void conversion_wants_finite_weights(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_folded(net_everything(SIZE)), *integer = NULL;
    net_calibrate(test_device, graph, &config, IMAGES, BATCH);
    ((float *)graph->values[clq_graph_find_value(graph, "fc1.weight")].data)[3] = NAN;
    assert_status(clq_convert(graph, &integer), CLQ_BAD_DATA);
    assert_error_has("fc1.weight");
    assert_null(integer);
    clq_graph_destroy(graph);
}

/* Every allocation fails in turn: an error, and nothing leaks. */
static void conversion_survives_failing_allocations(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_folded(net_everything(SIZE));
    net_calibrate(test_device, graph, &config, IMAGES, BATCH);
    for (long nth = 1;; nth++) {
        clq_graph *integer = NULL;
        clq_test_fail_allocation(nth);
        const clq_status status = clq_convert(graph, &integer);
        if (status == CLQ_OK) {
            clq_graph_destroy(integer);
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
        assert_int_equal(clq_test_live_allocations(), 0);
    }
    clq_test_restore_allocator();
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversion_rounds_weights_and_biases),
        cmocka_unit_test(degenerate_layers_convert),
        cmocka_unit_test(biases_fit_beside_small_weights),
        cmocka_unit_test(biases_beyond_their_scale_are_named),
        cmocka_unit_test(clamped_scales_are_reported),
        cmocka_unit_test(conversion_wants_finite_weights),
        cmocka_unit_test(conversion_survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("own schedule", tests, open_own_schedule, close_device);
}

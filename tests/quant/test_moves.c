/* Concat, slice, channel shuffle, padding and their like in quantized networks: codes of simulation
 * and integers agree, what is joined has one range, and QAT goes through. */
#include <clquant/formats.h>
#include <math.h>

#include "ops/registry.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 9, BATCH = 4 };

static int put(clq_builder *b, const char *op, const char *name, const void *attrs, int x) {
    int y = 0;
    assert_ok(clq_graph_add_node(b->graph, op, name, attrs, &x, 1, &y));
    return y;
}

/* Input (1, 9, 9, 3); every operator that moves, with channels that are no multiples of four. */
static clq_graph *make_moves(void) {
    static const clq_network_options options = {.network = "test", .size = SIZE};
    static const clq_conv2d_attrs same = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};
    static const clq_conv2d_attrs valid = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
    static const clq_slice_attrs low = {{0}, {1, 1, 1, 1}, {1, 9, 9, 5}};
    static const clq_slice_attrs high = {{0, 0, 8, 5}, {1, 1, -1, 1}, {1, 9, 9, 7}};
    static const clq_concat_attrs channels = {3};
    static const clq_reshape_attrs groups = {5, {1, 9, 9, 2, 9}}, back = {4, {1, 9, 9, 18}};
    static const clq_transpose_attrs shuffle = {{0, 1, 2, 4, 3}}, turn = {{0, 2, 1, 3}};
    static const clq_pad_attrs mirror = {{0, 1, 1}, {0, 1, 1}, CLQ_PAD_REFLECT, 0};
    static const clq_pad_attrs frame = {{0, 1, 0, 1}, {0, 0, 1, 1}, CLQ_PAD_CONSTANT, 2.5f};
    static const clq_space_depth_attrs dcr = {2, CLQ_DEPTH_DCR}, crd = {2, CLQ_DEPTH_CRD};
    static const clq_reshape_attrs apart = {5, {1, 10, 10, 1, 20}}, tall = {5, {1, 10, 10, 2, 20}};
    static const clq_reshape_attrs again = {4, {1, 10, 10, 40}};
    clq_builder b = {.options = &options};
    int parts[3], x, wide[2];
    assert_ok(clq_graph_create("moves", &b.graph));
    x = clq_build_input(&b, (clq_shape){4, {1, SIZE, SIZE, 3}});
    x = clq_build_op(&b, "relu", "stem.relu", net_conv(&b, "stem", x, 12, same, true));
    parts[0] = put(&b, "slice", "low", &low, x);
    x = put(&b, "slice", "high", &high, x);
    parts[1] = clq_build_op(&b, "relu", "mid.relu", net_conv(&b, "mid", x, 7, same, true));
    parts[2] = clq_build_op(&b, "tanh", "tanh", net_conv(&b, "side", parts[1], 6, same, true));
    assert_ok(clq_graph_add_node(b.graph, "concat", "concat", &channels, parts, 3, &x));
    x = put(&b, "reshape", "shuffle.split", &groups, x);
    x = put(&b, "transpose", "shuffle.turn", &shuffle, x);
    x = put(&b, "reshape", "shuffle.join", &back, x);
    x = put(&b, "pad", "mirror", &mirror, x);
    x = clq_build_op(&b, "relu", "valid.relu", net_conv(&b, "valid", x, 8, valid, true));
    x = put(&b, "pad", "frame", &frame, x);
    x = put(&b, "space_to_depth", "deep", &dcr, x);
    x = put(&b, "depth_to_space", "flat", &crd, x);
    x = put(&b, "transpose", "turn", &turn, x);
    wide[0] = wide[1] = x;
    assert_ok(clq_graph_add_node(b.graph, "concat", "twice", &channels, wide, 2, &x));
    x = put(&b, "reshape", "apart", &apart, x);
    x = put(&b, "expand", "expand", &tall, x);
    x = put(&b, "reshape", "again", &again, x);
    x = clq_build_op(&b, "relu6", "last.relu6", net_conv(&b, "last", x, 5, valid, true));
    x = clq_build_op(&b, "flatten", "flatten", x);
    clq_graph_set_output(b.graph, clq_build_linear(&b, "fc", x, 10, CLQ_LINEAR_UNIFORM));
    assert_ok(b.status);
    net_randomise(b.graph, 0.15f);
    return b.graph;
}

static void assert_codes_agree(const clq_graph *quantized) {
    clq_graph *integer = NULL;
    clq_verification v;
    assert_ok(clq_graph_validate(quantized));
    assert_ok(clq_convert(quantized, &integer));
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, 7);
    assert_ok(net_verify(test_device, integer, data, BATCH, &v));
    assert_string_equal(v.first_mismatch, "");
    assert_int_equal(v.mismatched_codes, 0);
    assert_true(v.compared_codes > 1000 && v.path_count > 0);
    for (int i = 0; i < v.path_count; i++) {
        assert_string_equal(v.paths[i].sha256, v.logits_sha256);
    }
    clq_verification_clear(&v);
    clq_dataset_close(data);
    clq_graph_destroy(integer);
}

static const clq_value *value_of(const clq_graph *graph, const char *name) {
    const int v = clq_graph_find_value(graph, name);
    assert_true(v >= 0);
    return &graph->values[v];
}

static void assert_same_codes(const clq_graph *graph, const char *a, const char *b) {
    const clq_qparams *p = &value_of(graph, a)->q, *q = &value_of(graph, b)->q;
    assert_true(p->count == 1 && q->count == 1);
    assert_true(p->scale[0] == q->scale[0] && p->zero_point == q->zero_point && p->type == q->type);
}

static clq_graph *calibrated(clq_quant_config *config) {
    clq_graph *graph = net_folded(make_moves());
    net_calibrate(test_device, graph, config, 16, BATCH);
    return graph;
}

/* ---- calibration ---- */

static void joined_values_have_one_range(void **state) {
    (void)state;
    static const clq_observer_kind observers[] = {CLQ_OBSERVER_MIN_MAX, CLQ_OBSERVER_MSE};
    for (size_t i = 0; i < sizeof observers / sizeof *observers; i++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.observer = observers[i];
        clq_graph *graph = calibrated(&config);
        static const char *const joined[] = {"stem", "low",          "high",         "mid",
                                             "tanh", "shuffle.turn", "shuffle.join", "mirror"};
        for (size_t k = 0; k < sizeof joined / sizeof *joined; k++) {
            assert_same_codes(graph, "concat", joined[k]);
        }
        assert_same_codes(graph, "frame", "valid");
        assert_same_codes(graph, "frame", "twice");
        const clq_value *x = value_of(graph, "concat"), *y = value_of(graph, "frame");
        assert_true(x->q.zero_point > 0); /* tanh is negative at times, the others are not */
        const float highest = y->q.scale[0] * (float)(255 - y->q.zero_point);
        assert_true(i > 0 || highest >= 2.49f); /* the frame is a number, too */
        assert_codes_agree(graph);
        clq_graph_destroy(graph);
    }
}

/* The range is that of all that is joined, to the bit: those of the parts by themselves. */
static void joined_range_is_that_of_all(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *joined = calibrated(&config), *apart = net_folded(make_moves());
    const clq_policy_rule rule = {.name = "concat", .keep_float = true};
    assert_ok(clq_policy_add(&config.policy, &rule));
    net_calibrate(test_device, apart, &config, 16, BATCH);
    float low = 0, high = 0;
    static const char *const parts[] = {"stem", "mid", "tanh"};
    for (size_t k = 0; k < 3; k++) {
        const clq_qparams *q = &value_of(apart, parts[k])->q;
        low = fminf(low, q->scale[0] * (float)(0 - q->zero_point));
        high = fmaxf(high, q->scale[0] * (float)(255 - q->zero_point));
    }
    const clq_qparams *q = &value_of(joined, "concat")->q;
    assert_true(fabsf(q->scale[0] * 255 - (high - low)) < 0.02f * (high - low));
    assert_codes_agree(apart);
    clq_graph_destroy(joined);
    clq_graph_destroy(apart);
}

/* ---- mixes ---- */

typedef struct mix {
    clq_policy_rule rules[2];
    clq_scale_kind scale;
    clq_requantizer requantizer;
} mix;

static const mix mixes[] = {
    {{{.name = "mid", .activations = CLQ_Q_U5}, {.name = "tanh", .activations = CLQ_Q_S8}},
     CLQ_SCALE_FLOAT,
     CLQ_REQUANT_FIXED},
    {{{.name = "concat", .activations = CLQ_Q_S8}}, CLQ_SCALE_FLOAT, CLQ_REQUANT_FLOAT},
    {{{.op = "concat", .keep_float = true}, {.op = "transpose", .keep_float = true}},
     CLQ_SCALE_FLOAT,
     CLQ_REQUANT_FLOAT},
    {{{.op = "reshape", .keep_float = true}, {.op = "pad", .keep_float = true}},
     CLQ_SCALE_POW2,
     CLQ_REQUANT_SHIFT},
    {{{.op = "slice", .keep_float = true}, {.activations = CLQ_Q_S8}},
     CLQ_SCALE_FLOAT,
     CLQ_REQUANT_FLOAT},
};

static void every_mix_agrees(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.scale = mixes[i].scale;
        config.requantizer = mixes[i].requantizer;
        for (int k = 0; k < 2; k++) {
            const clq_policy_rule *rule = &mixes[i].rules[k];
            if (rule->name[0] || rule->op[0] || rule->activations != CLQ_Q_NONE) {
                assert_ok(clq_policy_add(&config.policy, rule));
            }
        }
        clq_graph *graph = calibrated(&config);
        assert_codes_agree(graph);
        clq_graph_destroy(graph);
    }
}

/* ---- QAT ---- */

static void train(clq_graph *graph, const clq_quant_config *config) {
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, 32);
    const clq_dataset_info *info = clq_dataset_get_info(data);
    clq_train_job job = {.device = test_device, .graph = graph, .train = data, .phase = "qat"};
    clq_epoch_record *history = NULL;
    int count = 0;
    clq_train_config_init(&job.config);
    job.config.epochs = 3;
    job.config.batch = 8;
    job.config.schedule.lr = 0.01;
    job.config.loader_threads = 1;
    memcpy(job.normalization.mean, info->mean, sizeof info->mean);
    memcpy(job.normalization.std, info->std, sizeof info->std);
    assert_ok(clq_qat(&job, config, &history, &count));
    assert_true(count == 3 && history[2].train_loss < history[0].train_loss);
    clq_free(history);
    clq_dataset_close(data);
}

static void qat_keeps_what_is_joined_together(void **state) {
    (void)state;
    for (int learned = 0; learned < 2; learned++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.learn_scales = learned ? CLQ_LEARN_LSQ : CLQ_LEARN_NONE;
        clq_graph *graph = calibrated(&config), *start = NULL;
        assert_ok(clq_graph_clone(graph, &start));
        train(graph, &config);
        static const char *const joined[] = {"stem", "low", "mid", "tanh", "mirror"};
        for (size_t k = 0; k < sizeof joined / sizeof *joined; k++) {
            assert_same_codes(graph, "concat", joined[k]);
        }
        assert_true(value_of(graph, "concat")->q.scale[0] != value_of(start, "concat")->q.scale[0]);
        assert_codes_agree(graph);
        clq_graph_destroy(start);
        clq_graph_destroy(graph);
    }
}

/* ---- files ---- */

static void assert_same_logits(clq_graph *a, clq_graph *b, clq_exec_mode mode) {
    char first[65], second[65];
    net_logits(test_device, a, mode, net_data(CLQ_SPLIT_TEST, SIZE, 5), BATCH, first);
    net_logits(test_device, b, mode, net_data(CLQ_SPLIT_TEST, SIZE, 5), BATCH, second);
    assert_string_equal(first, second);
}

static clq_graph *through_file(const clq_graph *graph) {
    clq_graph *loaded = NULL;
    assert_ok(clq_onnx_save(graph, clq_test_temp_path("moves.onnx")));
    assert_ok(clq_onnx_load(clq_test_temp_path("moves.onnx"), &loaded));
    return loaded;
}

static void files_keep_what_is_computed(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_folded(make_moves()), *loaded = through_file(graph), *integer = NULL;
    assert_same_logits(graph, loaded, CLQ_EXEC_FLOAT);
    clq_graph_destroy(loaded);
    clq_graph_destroy(graph);
    for (int mixed = 0; mixed < 2; mixed++) {
        const clq_policy_rule rules[2] = {{.name = "concat", .activations = CLQ_Q_S8},
                                          {.name = "frame", .keep_float = true}};
        for (int k = 0; mixed && k < 2; k++) {
            assert_ok(clq_policy_add(&config.policy, &rules[k]));
        }
        graph = calibrated(&config);
        assert_ok(clq_convert(graph, &integer));
        loaded = through_file(integer);
        assert_same_logits(integer, loaded, CLQ_EXEC_INT8);
        clq_graph_destroy(loaded);
        clq_graph_destroy(integer);
        clq_graph_destroy(graph);
    }
}

/* ---- one sample at a time ---- */

static void a_fixed_batch_is_one(void **state) {
    (void)state;
    clq_graph *g = NULL;
    clq_exec *exec = NULL;
    int x, y;
    assert_ok(clq_graph_create("turned", &g));
    assert_ok(clq_graph_add_input(g, "x", (clq_shape){3, {1, 1, 4}}, &x));
    assert_ok(clq_graph_add_node(g, "relu", "relu", NULL, &x, 1, &y));
    assert_false(clq_graph_has_fixed_batch(g));
    /* Shapes do not show it. */
    assert_ok(
        clq_graph_add_node(g, "transpose", "t", &(clq_transpose_attrs){{1, 0, 2}}, &y, 1, &y));
    clq_graph_set_output(g, y);
    assert_true(clq_graph_has_fixed_batch(g));
    clq_exec_options options = {.mode = CLQ_EXEC_FLOAT, .batch = 2};
    assert_status(clq_exec_create(test_device, g, &options, &exec), CLQ_USAGE);
    assert_error_has("one sample at a time");
    options.batch = 1;
    assert_ok(clq_exec_create(test_device, g, &options, &exec));
    clq_exec_destroy(exec);
    assert_ok(clq_graph_add_node(g, "reshape", "r", &(clq_reshape_attrs){2, {2, 2}}, &x, 1, &y));
    assert_true(clq_graph_has_fixed_batch(g));
    clq_graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joined_values_have_one_range),
        cmocka_unit_test(joined_range_is_that_of_all),
        cmocka_unit_test(every_mix_agrees),
        cmocka_unit_test(qat_keeps_what_is_joined_together),
        cmocka_unit_test_setup_teardown(files_keep_what_is_computed, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
        cmocka_unit_test(a_fixed_batch_is_one),
    };
    const struct CMUnitTest gpu[] = {cmocka_unit_test(joined_values_have_one_range)};
    return cmocka_run_group_tests_name("cpu schedule", tests, open_cpu_schedule, close_device) +
           cmocka_run_group_tests_name("gpu schedule", gpu, open_gpu_schedule, close_device);
}

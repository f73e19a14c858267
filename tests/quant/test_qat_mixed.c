/* Quantization-aware training of networks of codes and reals: any mix trains and converts to equal
 * codes, and its float parts learn as in FP32 training. */
#include <math.h>

#include "base/hash.h"
#include "graph/node.h"
#include "ops/registry.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 13, BATCH = 8, IMAGES = 64 };

/* ---- any mix ---- */

static const clq_policy_rule mixes[][3] = {
    {{.first = true, .keep_float = true}, {.last = true, .keep_float = true}},
    {{.name = "b2*", .keep_float = true}, {.op = "conv2d", .weights = CLQ_Q_S4}},
    {{.op = "conv2d", .keep_float = true}},
    {{.op = "max_pool", .keep_float = true}, {.op = "add", .keep_float = true}},
    {{.name = "b1.conv1", .weights = CLQ_Q_S8}, {.op = "conv2d", .keep_float = true}},
    {{.op = "conv2d", .weights = CLQ_Q_S4, .activations = CLQ_Q_U5},
     {.op = "add", .activations = CLQ_Q_S8_NARROW},
     {.name = "*", .activations = CLQ_Q_S6}},
};
enum { MIXES = sizeof mixes / sizeof *mixes, RULES = 3 };

static clq_graph *calibrated(clq_graph *folded, const clq_policy_rule *rules,
                             clq_quant_config *config) {
    clq_quant_config_init(config);
    for (int i = 0; i < RULES && (rules[i].name[0] || rules[i].op[0] || rules[i].keep_float); i++) {
        assert_ok(clq_policy_add(&config->policy, &rules[i]));
    }
    net_calibrate(test_device, folded, config, 16, BATCH);
    return folded;
}

static void train(clq_graph *graph, const clq_quant_config *config, bool recompute) {
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    const clq_dataset_info *info = clq_dataset_get_info(data);
    clq_train_job job = {.device = test_device, .graph = graph, .train = data, .phase = "qat"};
    clq_epoch_record *history = NULL;
    int count = 0;
    clq_train_config_init(&job.config);
    job.config.epochs = 3;
    job.config.batch = BATCH;
    job.config.recompute = recompute;
    job.config.schedule.lr = 0.01;
    job.config.loader_threads = 1;
    memcpy(job.normalization.mean, info->mean, sizeof info->mean);
    memcpy(job.normalization.std, info->std, sizeof info->std);
    assert_ok(clq_qat(&job, config, &history, &count));
    assert_int_equal(count, 3);
    assert_true(history[2].train_loss < history[0].train_loss);
    clq_free(history);
    clq_dataset_close(data);
}

static void check_mix(const clq_policy_rule *rules, bool recompute) {
    clq_quant_config config;
    clq_verification v;
    clq_graph *graph = calibrated(net_folded(net_everything(SIZE)), rules, &config), *start = NULL;
    clq_graph *integer = NULL;
    clq_dataset *test = net_data(CLQ_SPLIT_TEST, SIZE, 12);
    assert_ok(clq_graph_clone(graph, &start));
    train(graph, &config, recompute);
    for (int n = 0; n < graph->node_count; n++) { /* all learn */
        const int w = graph->nodes[n].input_count > 1 ? graph->nodes[n].inputs[1] : CLQ_NO_VALUE;
        if (w != CLQ_NO_VALUE && graph->values[w].kind == CLQ_VALUE_PARAMETER) {
            assert_memory_not_equal(graph->values[w].data, start->values[w].data,
                                    (size_t)clq_shape_count(&graph->values[w].shape) * 4);
        }
    }
    assert_ok(clq_graph_validate(graph));
    assert_ok(clq_convert(graph, &integer));
    assert_ok(net_verify(test_device, integer, test, BATCH, &v));
    assert_string_equal(v.first_mismatch, "");
    assert_int_equal(v.mismatched_codes, 0);
    clq_verification_clear(&v);
    clq_dataset_close(test);
    clq_graph_destroy(integer);
    clq_graph_destroy(start);
    clq_graph_destroy(graph);
}

static void every_mix_trains(void **state) {
    (void)state;
    for (int i = 0; i < MIXES; i++) {
        check_mix(mixes[i], i == 1);
    }
}

static void a_mix_trains(void **state) {
    (void)state;
    check_mix(mixes[1], false);
}

/* ---- float parts ---- */

static const clq_conv2d_attrs same = {
    .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};

/* Float: two convolutions with activations, and an addition with one. */
static int add_head(clq_builder *b, int x) {
    const int a = clq_build_op(b, "relu", "a.relu", net_conv(b, "a", x, 7, same, true));
    const int c = clq_build_op(b, "relu6", "b.relu", net_conv(b, "b", a, 7, same, true));
    return clq_build_op(b, "relu", "sum.relu", clq_build_add(b, "sum", c, a));
}

/* Quantized; `c` makes reals with an activation, as only a node on reals reads it. */
static int add_middle(clq_builder *b, int x) {
    const int q = clq_build_op(b, "relu", "q.relu", net_conv(b, "q", x, 9, same, true));
    return clq_build_op(b, "relu6", "c.relu", net_conv(b, "c", q, 5, same, true));
}

/* Float again. */
static int add_tail(clq_builder *b, int x) {
    const int d = clq_build_op(b, "relu", "d.relu", net_conv(b, "d", x, 6, same, true));
    return net_conv(b, "e", d, 4, same, true);
}

enum { HEAD = 1, MIDDLE = 2, TAIL = 4 };

/* The parts, with the same parameters wherever they stand. */
static clq_graph *network(int parts, int channels) {
    const clq_network_options options = {.network = "test", .size = SIZE};
    clq_builder b = {.options = &options};
    assert_ok(clq_graph_create("parts", &b.graph));
    int x = clq_build_input(&b, (clq_shape){4, {1, SIZE, SIZE, channels}});
    x = parts & HEAD ? add_head(&b, x) : x;
    x = parts & MIDDLE ? add_middle(&b, x) : x;
    x = parts & TAIL ? add_tail(&b, x) : x;
    assert_ok(b.status);
    clq_graph *graph = b.graph;
    clq_graph_set_output(graph, x);
    for (int v = 0; v < graph->value_count; v++) {
        if (graph->values[v].data) {
            const size_t count = (size_t)clq_shape_count(&graph->values[v].shape);
            clq_test_fill_normal(graph->values[v].data, count, 0.2f,
                                 clq_hash64(graph->values[v].name, strlen(graph->values[v].name)));
        }
    }
    return graph;
}

/* What crosses between the parts, and the gradients that come back. */
typedef struct crossing {
    float *real, *real_gradient;   /* what the middle quantizes */
    float *code_gradient;          /* of its codes */
    float *reals, *reals_gradient; /* what the middle makes */
} crossing;

static clq_status see_forward(void *context, const clq_op_run *run) {
    crossing *c = context;
    if (strcmp(run->node->name, "sum") == 0) {
        c->real = read_floats(run->out.buffer);
    } else if (strcmp(run->node->name, "c") == 0) {
        c->reals = read_floats(run->out.buffer);
    }
    return CLQ_OK;
}

static clq_status see_backward(void *context, const clq_op_run *run) {
    crossing *c = context;
    if (run->node->op == &clq_op_quantize) {
        c->real_gradient = read_floats(run->grad_in[0].buffer);
    } else if (strcmp(run->node->name, "q") == 0) {
        c->code_gradient = read_floats(run->grad_in[0].buffer);
    } else if (strcmp(run->node->name, "d") == 0) {
        c->reals_gradient = read_floats(run->grad_in[0].buffer);
    }
    return CLQ_OK;
}

typedef struct pass {
    clq_params *params;
    clq_exec *exec;
} pass;

static pass open_pass(clq_graph *graph, clq_exec_mode mode) {
    pass p = {0};
    assert_ok(clq_params_create(test_device, graph, true, &p.params));
    const clq_exec_options options = {.mode = mode, .batch = BATCH, .params = p.params};
    assert_ok(clq_exec_create(test_device, graph, &options, &p.exec));
    return p;
}

static void close_pass(pass *p) {
    clq_exec_destroy(p->exec);
    clq_params_destroy(p->params);
}

static void put(const clq_tensor *tensor, const float *data) {
    assert_ok(clq_buffer_write(tensor->buffer, 0,
                               (size_t)clq_shape_count(&tensor->shape) * sizeof *data, data));
}

static void run_pass(const pass *p, const float *x, const float *dy) {
    put(clq_exec_input(p->exec), x);
    assert_ok(clq_exec_forward(p->exec));
    put(clq_exec_output_gradient(p->exec), dy);
    assert_ok(clq_exec_backward(p->exec));
}

/* Runs a part by itself in FP32 training, where activations are nodes of their own; the gradients
 * of its parameters are those of the mix. */
static void check_part(const pass *mix, int part, int channels, const float *x, const float *dy) {
    clq_graph *graph = network(part, channels);
    const clq_graph *whole = clq_exec_graph(mix->exec);
    pass alone = open_pass(graph, CLQ_EXEC_TRAIN);
    int compared = 0;
    run_pass(&alone, x, dy);
    for (int v = 0; v < graph->value_count; v++) {
        const int other = clq_graph_find_value(whole, graph->values[v].name);
        if (graph->values[v].kind != CLQ_VALUE_PARAMETER) {
            continue;
        }
        float *mine = read_floats(clq_params_gradient(alone.params, v));
        float *theirs = read_floats(clq_params_gradient(mix->params, other));
        const size_t count = (size_t)clq_shape_count(&graph->values[v].shape);
        double size = 0;
        for (size_t i = 0; i < count; i++) {
            size += fabs((double)mine[i]);
        }
        assert_true(size > 0);
        assert_memory_equal(mine, theirs, count * sizeof *mine);
        free(mine), free(theirs);
        compared++;
    }
    assert_true(compared >= 4);
    close_pass(&alone);
    clq_graph_destroy(graph);
}

/* Straight through the quantizer, where it does not clamp: the plain loop. */
static void check_quantizer(const crossing *c, const clq_graph *graph, size_t count) {
    const clq_qparams *q = &graph->values[clq_graph_find_value(graph, "sum.quantize")].q;
    int clamped = 0;
    for (size_t i = 0; i < count; i++) {
        const float code = rintf(c->real[i] / q->scale[0]) + (float)q->zero_point;
        const bool inside = code >= 0 && code <= 255;
        assert_true(c->real_gradient[i] == (inside ? c->code_gradient[i] : 0.0f));
        clamped += !inside;
    }
    assert_true(clamped > 0 && clamped < (int)count / 2);
}

/* A quantized layer that makes reals masks their gradient by its activation: each bias's is the sum
 * over what relu6 let pass. */
static void check_real_output(const crossing *c, const pass *mix, size_t pixels, size_t channels) {
    const int bias = clq_graph_find_value(clq_exec_graph(mix->exec), "c.bias");
    float *gradient = read_floats(clq_params_gradient(mix->params, bias));
    size_t masked = 0;
    for (size_t k = 0; k < channels; k++) {
        double sum = 0, size = 0;
        for (size_t i = k; i < pixels * channels; i += channels) {
            const bool inside = c->reals[i] > 0 && c->reals[i] < 6;
            sum += inside ? (double)c->reals_gradient[i] : 0;
            size += inside ? fabs((double)c->reals_gradient[i]) : 0;
            masked += !inside;
        }
        assert_true(fabs(gradient[k] - sum) <= 1e-6 * size);
    }
    assert_true(masked > 0 && masked < pixels * channels);
    free(gradient);
}

static void float_parts_learn_as_in_training(void **state) {
    (void)state;
    static const clq_policy_rule rules[RULES] = {{.name = "[abde]", .keep_float = true},
                                                 {.name = "sum", .keep_float = true}};
    const size_t pixels = (size_t)BATCH * SIZE * SIZE;
    clq_quant_config config;
    crossing c = {0};
    clq_graph *graph = calibrated(net_folded(network(HEAD | MIDDLE | TAIL, 3)), rules, &config);
    /* A narrow quantizer clamps some. */
    graph->values[clq_graph_find_value(graph, "sum.quantize")].q.scale[0] *= 0.3f;
    pass mix = open_pass(graph, CLQ_EXEC_QAT);
    float *x = random_floats(pixels * 3, -1, 1, 1), *dy = random_floats(pixels * 4, -1, 1, 2);
    clq_exec_set_hook(mix.exec, see_forward, &c);
    clq_exec_set_backward_hook(mix.exec, see_backward, &c);
    run_pass(&mix, x, dy);
    check_part(&mix, TAIL, 5, c.reals, dy);
    check_real_output(&c, &mix, pixels, 5);
    check_quantizer(&c, graph, pixels * 7);
    check_part(&mix, HEAD, 3, x, c.real_gradient);
    free(x), free(dy);
    free(c.real), free(c.real_gradient), free(c.code_gradient);
    free(c.reals), free(c.reals_gradient);
    close_pass(&mix);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mix_trains),
        cmocka_unit_test(float_parts_learn_as_in_training),
    };
    const struct CMUnitTest on_gpu[] = {
        cmocka_unit_test(a_mix_trains),
        cmocka_unit_test(float_parts_learn_as_in_training),
    };
    int failed =
        cmocka_run_group_tests_name("own schedule", tests, open_own_schedule, close_device);
    if (clq_test_all()) { /* quant/qat tries that schedule each time */
        failed +=
            cmocka_run_group_tests_name("gpu schedule", on_gpu, open_gpu_schedule, close_device);
    }
    return failed;
}

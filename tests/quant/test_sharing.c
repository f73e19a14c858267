/* Sharing memory changes no bit: random small networks with views, operators that work in place and
 * values with several readers, run as planned and with a buffer for every value. */
#include <clquant/passes.h>
#include <stdio.h>
#include <string.h>

#include "clquant/quant.h"
#include "exec/small_net.h"

enum { BATCH = 2, NETWORKS = 24, NODES = 12, STEPS = 2 };

/* ---- random networks ---- */

static uint32_t random_state;

static int pick(int count) {
    random_state = random_state * 1664525u + 1013904223u;
    return (int)((random_state >> 16) % (uint32_t)count);
}

/* One more node that reads one or two of the values made so far, mostly the latest. */
static void add_random_node(net *n, int *values, int *count, int index) {
    static const char *const plain[] = {"relu",    "relu",    "relu6",  "tanh",
                                        "sigmoid", "flatten", "flatten"};
    const int back = pick(3) ? pick(*count < 3 ? *count : 3) : pick(*count);
    const int x = values[*count - 1 - back];
    const clq_shape shape = n->graph->values[x].shape;
    char name[16];
    snprintf(name, sizeof name, "n%d", index);
    const int kind = pick(14);
    if (kind < 3) {
        int others[NODES + 2], same = 0;
        for (int i = 0; i < *count; i++) {
            if (clq_shape_equal(&n->graph->values[values[i]].shape, &shape)) {
                others[same++] = values[i];
            }
        }
        net_add(n, name, x, others[pick(same)]);
    } else if (kind == 3) {
        net_norm(n, name, x);
    } else if (kind == 4 && shape.rank == 4) {
        net_conv(n, name, x, (int)shape.dim[3], 3, 1, pick(2));
    } else if (kind == 4) {
        net_linear(n, name, x, (int)shape.dim[1]);
    } else {
        net_unary(n, kind < 9 ? "flatten" : plain[pick(4)], name, x);
    }
    values[(*count)++] = n->at;
}

static clq_graph *random_net(uint32_t seed) {
    net n = net_begin((clq_shape){4, {1, 3, 2, 4}});
    int values[NODES + 2] = {n.at}, count = 1;
    random_state = seed;
    values[count++] = net_conv(&n, "stem", n.at, 4, 3, 1, true);
    for (int i = 0; i < NODES; i++) {
        add_random_node(&n, values, &count, i);
    }
    /* All of one size that nobody reads yet, so that every node matters. */
    int all = net_unary(&n, "flatten", "features", n.at);
    for (int i = 1; i < count; i++) {
        if (clq_graph_use_count(n.graph, values[i]) == 0) {
            char flat[16], sum[16];
            snprintf(flat, sizeof flat, "flat%d", i);
            snprintf(sum, sizeof sum, "sum%d", i);
            all = net_add(&n, sum, all, net_unary(&n, "flatten", flat, values[i]));
        }
    }
    net_linear(&n, "head", all, 5);
    return net_end(&n);
}

/* ---- running ---- */

/* Outputs of every forward, and what the backward passes leave in the parameters' gradients. */
typedef struct outcome {
    float *output[STEPS], *gradient[STEPS];
    size_t output_bytes, gradient_bytes;
    uint64_t activations;
} outcome;

static outcome run(clq_graph *graph, clq_exec_options options) {
    const bool trains = options.mode == CLQ_EXEC_TRAIN || options.mode == CLQ_EXEC_QAT;
    outcome o = {0};
    clq_params *params = NULL;
    options.batch = BATCH;
    if (trains) {
        assert_ok(clq_params_create(test_device, graph, true, &params));
        options.params = params;
    }
    clq_exec *exec = make_exec(graph, options);
    float *dy = random_floats(5 * BATCH, -1, 1, 50);
    for (int s = 0; s < STEPS; s++) {
        fill_input(exec, (uint64_t)s);
        assert_ok(clq_exec_forward(exec));
        o.output[s] = read_tensor(clq_exec_output(exec));
        if (trains) {
            run_backward(exec, dy);
            o.gradient[s] = read_floats(clq_params_flat_gradient(params));
            o.gradient_bytes = clq_params_count(params) * sizeof(float);
        }
    }
    o.output_bytes = 5 * BATCH * sizeof(float);
    o.activations = clq_exec_measure(exec).activations;
    free(dy);
    clq_exec_destroy(exec);
    clq_params_destroy(params);
    return o;
}

/* With and without recomputation, as planned, against the same without sharing. */
static void check_mode(clq_graph *graph, clq_exec_mode mode) {
    const bool trains = mode == CLQ_EXEC_TRAIN || mode == CLQ_EXEC_QAT;
    outcome apart = run(graph, (clq_exec_options){.mode = mode, .keep_all = true});
    for (int recompute = 0; recompute <= trains; recompute++) {
        outcome shared =
            run(graph, (clq_exec_options){.mode = mode, .no_fusion = true, .recompute = recompute});
        for (int s = 0; s < STEPS; s++) {
            assert_equal_bits(shared.output[s], apart.output[s], apart.output_bytes);
            if (trains) {
                assert_equal_bits(shared.gradient[s], apart.gradient[s], apart.gradient_bytes);
            }
            free(shared.output[s]), free(shared.gradient[s]);
        }
        assert_true(shared.activations <= apart.activations);
    }
    for (int s = 0; s < STEPS; s++) {
        free(apart.output[s]), free(apart.gradient[s]);
    }
}

static void test_float(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= NETWORKS; seed++) {
        clq_graph *graph = random_net(seed);
        print_message("network %u\n", seed);
        check_mode(graph, CLQ_EXEC_FLOAT);
        check_mode(graph, CLQ_EXEC_TRAIN);
        clq_graph_destroy(graph);
    }
}

/* Scales for values within about 4, and those of weights from the weights. */
static void set_qparams(clq_graph *graph) {
    const float activation = 0x1p-5f, weight = 0x1p-6f;
    for (int v = 0; v < graph->value_count; v++) {
        clq_value *value = &graph->values[v];
        if (!value->data && v != clq_graph_output(graph)) {
            assert_ok(clq_qparams_set(&value->q, 1, &activation, 100, CLQ_Q_U8));
        } else if (value->data && value->shape.rank > 1) {
            assert_ok(clq_qparams_set(&value->q, 1, &weight, 0, CLQ_Q_S8));
        }
    }
}

static void test_quantized(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= NETWORKS / 3; seed++) {
        clq_graph *graph = random_net(seed), *folded = NULL, *integer = NULL;
        clq_quant_config config;
        clq_quant_config_init(&config);
        assert_ok(clq_graph_fold(graph, &folded));
        set_qparams(folded);
        print_message("network %u\n", seed);
        check_mode(folded, CLQ_EXEC_FAKE_QUANT);
        check_mode(folded, CLQ_EXEC_QAT);
        assert_ok(clq_convert(folded, &integer));
        check_mode(integer, CLQ_EXEC_INT8);
        clq_graph_destroy(integer);
        clq_graph_destroy(folded);
        clq_graph_destroy(graph);
    }
}

/* Two views of one value: what overwrites one must leave the other. */
static void test_two_views(void **state) {
    (void)state;
    net n = net_begin((clq_shape){4, {1, 2, 2, 3}});
    const int v = net_conv(&n, "conv", n.at, 3, 3, 1, true);
    const int first = net_unary(&n, "flatten", "first", v);
    const int second = net_unary(&n, "flatten", "second", v);
    const int act = net_linear(&n, "fc1", net_unary(&n, "relu", "relu", first), 5);
    net_add(&n, "add", act, net_linear(&n, "fc2", second, 5));
    clq_graph *graph = net_end(&n);
    check_mode(graph, CLQ_EXEC_FLOAT);
    check_mode(graph, CLQ_EXEC_TRAIN);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_views),
        cmocka_unit_test(test_float),
        cmocka_unit_test(test_quantized),
    };
    return cmocka_run_group_tests(tests, open_own_schedule, close_device);
}

/* Recomputation changes no bit of a training step and takes less memory. */
#include <stdio.h>
#include <string.h>

#include "clquant/models.h"
#include "exec/small_net.h"

enum { STEPS = 3, MOST_STATES = 512 };

/* Everything that three steps leave behind. */
typedef struct outcome {
    float *parameters, *gradients, *output;
    float *states[MOST_STATES];
    size_t state_sizes[MOST_STATES];
    size_t parameter_bytes, output_bytes;
    int state_count;
    clq_exec_memory memory;
} outcome;

/* params -= gradient / 64 */
static void descend(clq_params *params) {
    const size_t count = clq_params_count(params);
    float *p = read_floats(clq_params_flat(params));
    float *g = read_floats(clq_params_flat_gradient(params));
    for (size_t i = 0; i < count; i++) {
        p[i] -= g[i] / 64;
    }
    assert_ok(clq_buffer_write(clq_params_flat(params), 0, count * sizeof *p, p));
    free(p), free(g);
}

static void keep_states(outcome *o, const clq_graph *graph, clq_params *params) {
    for (int v = 0; v < graph->value_count; v++) {
        if (graph->values[v].kind == CLQ_VALUE_STATE) {
            clq_buffer *buffer = clq_params_value(params, v);
            assert_true(o->state_count < MOST_STATES);
            o->state_sizes[o->state_count] = clq_buffer_size(buffer);
            o->states[o->state_count++] = read_floats(buffer);
        }
    }
}

static outcome train(clq_graph *graph, int batch, bool recompute) {
    outcome o = {0};
    clq_params *params = NULL;
    assert_ok(clq_params_create(test_device, graph, true, &params));
    clq_exec *exec = make_exec(graph, (clq_exec_options){.mode = CLQ_EXEC_TRAIN,
                                                         .batch = batch,
                                                         .params = params,
                                                         .recompute = recompute,
                                                         .seed = 3});
    const size_t outputs = (size_t)clq_shape_count(&clq_exec_output(exec)->shape);
    float *dy = random_floats(outputs, -0.1f, 0.1f, 50);
    for (int s = 0; s < STEPS; s++) {
        fill_input(exec, (uint64_t)s);
        clq_exec_set_step(exec, (uint64_t)s);
        assert_ok(clq_exec_load_parameters(exec));
        assert_ok(clq_exec_forward(exec));
        run_backward(exec, dy);
        descend(params);
    }
    o.parameter_bytes = clq_params_count(params) * sizeof(float);
    o.output_bytes = outputs * sizeof(float);
    o.output = read_tensor(clq_exec_output(exec));
    o.parameters = read_floats(clq_params_flat(params));
    o.gradients = read_floats(clq_params_flat_gradient(params));
    keep_states(&o, graph, params);
    o.memory = clq_exec_measure(exec);
    free(dy);
    clq_exec_destroy(exec);
    clq_params_destroy(params);
    return o;
}

static void free_outcome(outcome *o) {
    free(o->parameters), free(o->gradients), free(o->output);
    for (int i = 0; i < o->state_count; i++) {
        free(o->states[i]);
    }
}

/* Memory falls below `share` of what is kept otherwise. */
static void check(clq_graph *graph, int batch, double share) {
    outcome kept = train(graph, batch, false), again = train(graph, batch, true);
    assert_equal_bits(again.output, kept.output, kept.output_bytes);
    assert_equal_bits(again.gradients, kept.gradients, kept.parameter_bytes);
    assert_equal_bits(again.parameters, kept.parameters, kept.parameter_bytes);
    assert_int_equal(again.state_count, kept.state_count);
    for (int i = 0; i < kept.state_count; i++) {
        assert_equal_bits(again.states[i], kept.states[i], kept.state_sizes[i]);
    }
    print_message("%s: %.0f of %.0f KB\n", graph->name, (double)again.memory.activations / 1000,
                  (double)kept.memory.activations / 1000);
    assert_true((double)again.memory.activations < share * (double)kept.memory.activations);
    assert_int_equal(again.memory.workspaces, kept.memory.workspaces);
    free_outcome(&kept);
    free_outcome(&again);
    clq_graph_destroy(graph);
}

static clq_graph *network(const char *name, int size) {
    const clq_network_options options = {
        .network = name, .stem = "cifar", .size = size, .classes = 5, .seed = 7};
    clq_graph *graph = NULL;
    assert_ok(clq_network_build(&options, &graph));
    return graph;
}

/* Of the sizes that other tests have too, for which kernels are compiled once; the other networks,
 * whose kernels take long to compile, and the GPU schedule in an exhaustive test. */
static void test_resnet20(void **state) {
    (void)state;
    check(network("resnet20", 16), 4, 0.6);
}

static void test_resnet50(void **state) {
    (void)state;
    if (clq_test_all()) {
        check(network("resnet50", 16), 8, 0.5);
    }
}

static void test_mobilenet(void **state) {
    (void)state;
    if (clq_test_all()) {
        check(network("mobilenet_v2", 16), 16, 0.6);
    }
}

/* A chain, where every step could be a segment, with dropout in the middle of what is dropped,
 * activations whose gradient reads the output, and a max pool that keeps places. */
static void test_dropout_in_a_chain(void **state) {
    (void)state;
    net n = net_begin((clq_shape){4, {1, 12, 10, 3}});
    char name[16];
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "conv%d", i);
        net_conv(&n, name, n.at, 8, 3, 1, true);
        snprintf(name, sizeof name, "act%d", i);
        net_unary(&n, i % 2 ? "tanh" : "relu", name, n.at);
        if (i % 3 == 1) {
            const clq_dropout_attrs attrs = {0.3f};
            snprintf(name, sizeof name, "drop%d", i);
            net_node(&n, "dropout", name, &attrs, &n.at, 1);
        }
        if (i == 7) {
            const clq_pool_attrs attrs = {.kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1, 1, 1}};
            net_node(&n, "max_pool", "pool", &attrs, &n.at, 1);
        }
    }
    net_unary(&n, "flatten", "flatten", n.at);
    net_linear(&n, "fc", n.at, 5);
    check(net_end(&n), 3, 0.7);
}

/* Both kinds of shortcut, with a batch norm's fused addition and activation. */
static void test_small_residual_nets(void **state) {
    (void)state;
    check(residual_net('A', "relu"), 3, 1);
    check(residual_net('B', "tanh"), 3, 1);
}

/* Nothing to gain: nothing runs again. */
static void test_one_layer(void **state) {
    (void)state;
    net n = net_begin((clq_shape){2, {1, 4}});
    net_linear(&n, "fc", n.at, 5);
    check(net_end(&n), 3, 1.1);
}

/* Room for one of the largest values only, so that the plan takes several buffers. */
static void test_small_buffers(void **state) {
    (void)state;
    clq_device_info *info = (clq_device_info *)clq_device_get_info(test_device);
    const uint64_t limit = info->max_allocation;
    info->max_allocation = 100 * 8 * 6 * 8 * sizeof(float);
    check(residual_net('B', "relu"), 100, 1);
    info->max_allocation = limit;
}

/* The error says what a step needs, what there is, and what helps. */
static void test_too_large(void **state) {
    (void)state;
    clq_graph *graph = residual_net('B', "relu");
    clq_device_info *info = (clq_device_info *)clq_device_get_info(test_device);
    const uint64_t limit = info->max_allocation;
    clq_exec_options options = {.mode = CLQ_EXEC_TRAIN, .batch = 64};
    clq_exec *exec = NULL;
    info->max_allocation = 64 * 8 * 6 * 4 * sizeof(float);
    assert_status(clq_exec_create(test_device, graph, &options, &exec), CLQ_NO_MEMORY);
    assert_error_has("batch 64 in mode train needs ");
    assert_error_has("a smaller batch or recompute (--recompute) takes less");
    options.recompute = true;
    assert_status(clq_exec_create(test_device, graph, &options, &exec), CLQ_NO_MEMORY);
    assert_error_has("a smaller batch takes less");
    info->max_allocation = limit;
    clq_graph_destroy(graph);
}

/* An evaluation that lies in the memory of training gives the same, and training too. */
static void test_memory_of_another(void **state) {
    (void)state;
    clq_graph *graph = residual_net('B', "relu");
    float *outputs[2][2];
    for (int shared = 0; shared < 2; shared++) {
        clq_exec_options options = {.mode = CLQ_EXEC_TRAIN, .batch = 3};
        clq_exec *train = make_exec(graph, options);
        options.mode = CLQ_EXEC_FLOAT;
        options.memory_of = shared ? train : NULL;
        clq_exec *eval = make_exec(graph, options);
        assert_true((clq_exec_measure(eval).activations == 0) == shared);
        for (int i = 0; i < 2; i++) { /* in turn */
            clq_exec *exec = i ? eval : train;
            fill_input(exec, (uint64_t)i);
            assert_ok(clq_exec_forward(exec));
            outputs[shared][i] = read_tensor(clq_exec_output(exec));
        }
        clq_exec_destroy(eval);
        clq_exec_destroy(train);
    }
    for (int i = 0; i < 2; i++) {
        assert_equal_bits(outputs[1][i], outputs[0][i], 15 * sizeof(float));
        free(outputs[0][i]), free(outputs[1][i]);
    }
    clq_graph_destroy(graph);
}

static void test_failing_allocations(void **state) {
    (void)state;
    clq_graph *graph = residual_net('B', "relu");
    const clq_exec_options options = {.mode = CLQ_EXEC_TRAIN, .batch = 2, .recompute = true};
    clq_status status = CLQ_NO_MEMORY;
    clq_exec_destroy(make_exec(graph, options)); /* builds the kernels */
    for (long nth = 1; status != CLQ_OK; nth++) {
        clq_exec *exec = NULL;
        clq_test_fail_allocation(nth);
        status = clq_exec_create(test_device, graph, &options, &exec);
        clq_test_restore_allocator();
        assert_true(status == CLQ_OK || (status == CLQ_NO_MEMORY && exec == NULL));
        clq_exec_destroy(exec);
    }
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_residual_nets),
        cmocka_unit_test(test_one_layer),
        cmocka_unit_test(test_dropout_in_a_chain),
        cmocka_unit_test(test_resnet20),
        cmocka_unit_test(test_resnet50),
        cmocka_unit_test(test_mobilenet),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_small_buffers),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_memory_of_another),
    };
    const struct CMUnitTest on_gpu[] = {
        cmocka_unit_test(test_small_residual_nets),
        cmocka_unit_test(test_dropout_in_a_chain),
    };
    int failed =
        cmocka_run_group_tests_name("own schedule", tests, open_own_schedule, close_device);
    if (clq_test_all()) {
        failed +=
            cmocka_run_group_tests_name("gpu schedule", on_gpu, open_gpu_schedule, close_device);
    }
    return failed;
}

/* The folded network computes what the trained one computes in inference. */
#include <clquant/exec.h>
#include <clquant/models.h>
#include <clquant/passes.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/device.h"

enum { BATCH = 4 };

/* Batch norms as after training: fresh ones (0, 1) would hide mistakes. */
static void train_pretended(clq_graph *g) {
    for (int i = 0; i < g->node_count; i++) {
        const clq_node *node = &g->nodes[i];
        if (strcmp(node->op->name, "batch_norm") != 0) {
            continue;
        }
        static const float low[5] = {0, 0.5f, -0.3f, -0.3f, 0.5f};
        static const float high[5] = {0, 1.5f, 0.3f, 0.3f, 2.0f};
        for (int k = 1; k < 5; k++) {
            clq_value *v = &g->values[node->inputs[k]];
            clq_test_fill_f32(v->data, (size_t)clq_shape_count(&v->shape), low[k], high[k],
                              (uint64_t)(8 * i + k));
        }
    }
}

/* Logits of the graph for a fixed random input: malloc'd (count). */
static float *run(clq_device *device, const clq_graph *g, size_t *count) {
    clq_exec *exec = NULL;
    clq_exec_options options = {.mode = CLQ_EXEC_FLOAT, .batch = BATCH};
    assert_ok(clq_exec_create(device, g, &options, &exec));
    clq_tensor *in = clq_exec_input(exec), *out = clq_exec_output(exec);
    size_t in_count = (size_t)clq_shape_count(&in->shape);
    *count = (size_t)clq_shape_count(&out->shape);
    float *x = malloc(in_count * sizeof *x), *y = malloc(*count * sizeof *y);
    clq_test_fill_f32(x, in_count, -2, 2, 1000);
    assert_ok(clq_buffer_write(in->buffer, 0, in_count * sizeof *x, x));
    assert_ok(clq_exec_forward(exec));
    assert_ok(clq_buffer_read(out->buffer, 0, *count * sizeof *y, y));
    clq_exec_destroy(exec);
    free(x);
    return y;
}

static void folded_equals_trained(clq_device *device, clq_network_options options) {
    clq_graph *trained = NULL, *folded = NULL;
    assert_ok(clq_network_build(&options, &trained));
    train_pretended(trained);
    assert_ok(clq_graph_fold(trained, &folded));
    size_t count, folded_count;
    float *expected = run(device, trained, &count);
    float *actual = run(device, folded, &folded_count);
    assert_int_equal(count, folded_count);
    float largest = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmaxf(largest, fabsf(expected[i]));
    }
    assert_true(largest > 0 && isfinite(largest));
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(actual[i] - expected[i]) <= 1e-4f * largest)) {
            fail_msg("%s: logit %zu is %g folded, %g trained", options.network, i,
                     (double)actual[i], (double)expected[i]);
        }
    }
    free(expected);
    free(actual);
    clq_graph_destroy(folded);
    clq_graph_destroy(trained);
}

static void folding_keeps_the_result(void **state) {
    static const int hidden[] = {33, 17};
    clq_device *device = *state;
    folded_equals_trained(device, (clq_network_options){.network = "resnet20", .size = 16});
    folded_equals_trained(
        device, (clq_network_options){.network = "resnet20", .size = 17, .shortcut = 'B'});
    folded_equals_trained(device,
                          (clq_network_options){.network = "resnet50", .size = 33, .classes = 11});
    folded_equals_trained(
        device, (clq_network_options){.network = "mobilenet_v2", .stem = "cifar", .size = 16});
    folded_equals_trained(
        device,
        (clq_network_options){.network = "mlp", .inputs = 19, .hidden = hidden, .hidden_count = 2});
}

static int open_device(void **state) {
    clq_device *device = NULL;
    assert_ok(clq_test_open(NULL, &device));
    *state = device;
    return 0;
}

static int close_device(void **state) {
    clq_device_close(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(folding_keeps_the_result)};
    return cmocka_run_group_tests_name("fold", tests, open_device, close_device);
}

/* The executor's gradients: the same however they are computed, and what differences say. */
#include <math.h>
#include <string.h>

#include "exec/small_net.h"
#include "support/two_ends.h"

enum { BATCH = 3 };

/* ---- several outputs ---- */

static float *ends_gradient(const clq_graph *graph, bool recompute, size_t *count) {
    clq_exec *exec = make_exec(
        (clq_graph *)graph,
        (clq_exec_options){.mode = CLQ_EXEC_TRAIN, .batch = BATCH, .recompute = recompute});
    clq_params *params = clq_exec_get_options(exec)->params;
    for (int i = 0; i < 2; i++) {
        const clq_tensor *input = clq_exec_input_at(exec, i);
        const size_t floats = (size_t)clq_shape_count(&input->shape);
        float *x = random_floats(floats, -1, 1, 7 + (uint64_t)i);
        assert_ok(clq_buffer_write(input->buffer, 0, floats * sizeof *x, x));
        free(x);
    }
    assert_ok(clq_exec_forward(exec));
    for (int o = 0; o < graph->output_count && o < 2; o++) {
        const clq_tensor *gradient = clq_exec_output_gradient_at(exec, o);
        const size_t floats = (size_t)clq_shape_count(&gradient->shape);
        const bool map = gradient->shape.rank == 4;
        float *slopes = random_floats(floats, -1, 1, map ? 9 : 10);
        assert_ok(clq_buffer_write(gradient->buffer, 0, floats * sizeof *slopes, slopes));
        free(slopes);
    }
    assert_null(clq_exec_output_gradient_at(exec, 2)); /* the same value as the one before */
    assert_ok(clq_exec_backward(exec));
    *count = clq_params_count(params);
    float *all = malloc(*count * sizeof *all);
    assert_ok(clq_buffer_read(clq_params_flat_gradient(params), 0, *count * sizeof *all, all));
    clq_exec_destroy(exec);
    return all;
}

/* The gradients of all outputs, one of which others read on the way, are the sum of what the
 * network gives with one of them. */
static void test_several_outputs_backward(void **state) {
    (void)state;
    size_t count = 0;
    clq_graph *graph = two_ends(), *one[2] = {two_ends(), two_ends()};
    float *parts[2];
    for (int o = 0; o < 2; o++) {
        clq_graph_set_output(one[o], graph->outputs[o].value);
        assert_int_equal(one[o]->output_count, 1);
        parts[o] = ends_gradient(one[o], false, &count);
    }
    for (size_t i = 0; i < count; i++) {
        parts[0][i] += parts[1][i];
    }
    for (int recompute = 0; recompute < 2; recompute++) {
        float *all = ends_gradient(graph, recompute != 0, &count);
        assert_close_f32(all, parts[0], clq_test_shape_of(count), 1e-5, 1e-5);
        free(all);
    }
    free(parts[0]), free(parts[1]);
    clq_graph_destroy(one[0]);
    clq_graph_destroy(one[1]);
    clq_graph_destroy(graph);
}

/* ---- training: plans and fusion change no bit ---- */

typedef struct step_result {
    float *output, *gradient, *values; /* values: after the step, so running statistics too */
    size_t count, state_bytes;
    clq_exec_memory memory;
} step_result;

/* Two steps, so that what the first left in shared buffers would show. */
static step_result train_step(clq_graph *graph, bool keep_all, bool no_fusion) {
    step_result r = {0};
    clq_params *params = NULL;
    assert_ok(clq_params_create(test_device, graph, true, &params));
    clq_exec *exec = make_exec(graph, (clq_exec_options){.mode = CLQ_EXEC_TRAIN,
                                                         .batch = BATCH,
                                                         .params = params,
                                                         .keep_all = keep_all,
                                                         .no_fusion = no_fusion,
                                                         .seed = 3});
    float *dy = random_floats(5 * BATCH, -1, 1, 50);
    for (int s = 0; s < 2; s++) {
        fill_input(exec, (uint64_t)s);
        clq_exec_set_step(exec, (uint64_t)s);
        assert_ok(clq_exec_forward(exec));
        free(r.output);
        r.output = read_tensor(clq_exec_output(exec));
        run_backward(exec, dy);
    }
    r.count = clq_params_count(params);
    r.gradient = read_floats(clq_params_flat_gradient(params));
    const int mean = clq_graph_find_value(graph, "b2.bn2.running_mean");
    r.values = read_floats(clq_params_value(params, mean));
    r.state_bytes = clq_buffer_size(clq_params_value(params, mean));
    r.memory = clq_exec_measure(exec);
    free(dy);
    clq_exec_destroy(exec);
    clq_params_destroy(params);
    return r;
}

static void free_result(step_result *r) {
    free(r->output), free(r->gradient), free(r->values);
}

static void test_training_is_the_same_however_run(void **state) {
    (void)state;
    for (int shortcut = 'A'; shortcut <= 'B'; shortcut++) {
        clq_graph *graph = residual_net((char)shortcut, "relu");
        step_result plain = train_step(graph, true, true);
        for (int options = 0; options < 3; options++) {
            step_result other = train_step(graph, options & 1, options & 2);
            assert_equal_bits(other.output, plain.output, 5 * BATCH * sizeof(float));
            assert_equal_bits(other.gradient, plain.gradient, plain.count * sizeof(float));
            assert_equal_bits(other.values, plain.values, plain.state_bytes);
            if (!(options & 1)) {
                assert_true(other.memory.activations < plain.memory.activations);
            }
            free_result(&other);
        }
        free_result(&plain);
        clq_graph_destroy(graph);
    }
}

/* ---- gradients by differences, through a whole network ---- */

static double loss_of(clq_exec *exec, const float *dy) {
    double sum = 0;
    assert_ok(clq_exec_load_parameters(exec));
    assert_ok(clq_exec_forward(exec));
    float *y = read_tensor(clq_exec_output(exec));
    for (int64_t i = 0; i < clq_shape_count(&clq_exec_output(exec)->shape); i++) {
        sum += (double)dy[i] * y[i];
    }
    free(y);
    return sum;
}

/* Central differences, as in tests/ops/test_gradients.c: with smooth activations, e = 2^-6 and
 * outputs about 1 they are good to some 1e-3. */
static void check_gradients(clq_graph *graph) {
    clq_params *params = NULL;
    assert_ok(clq_params_create(test_device, graph, true, &params));
    clq_exec *exec = make_exec(
        graph,
        (clq_exec_options){.mode = CLQ_EXEC_TRAIN, .batch = BATCH, .params = params, .seed = 3});
    const size_t outputs = (size_t)clq_shape_count(&clq_exec_output(exec)->shape);
    float *dy = random_floats(outputs, -1, 1, 50);
    const float e = 0x1p-6f;
    fill_input(exec, 1);
    loss_of(exec, dy);
    run_backward(exec, dy);
    for (int v = 0; v < graph->value_count; v++) {
        if (graph->values[v].kind != CLQ_VALUE_PARAMETER) {
            continue;
        }
        clq_buffer *buffer = clq_params_value(params, v);
        float *w = read_floats(buffer), *dw = read_floats(clq_params_gradient(params, v));
        const size_t count = (size_t)clq_shape_count(&graph->values[v].shape);
        for (size_t k = 0; k < count; k += 1 + count / 6) {
            const float up = w[k] + e, down = w[k] - e;
            assert_ok(clq_buffer_write(buffer, k * sizeof(float), sizeof up, &up));
            const double above = loss_of(exec, dy);
            assert_ok(clq_buffer_write(buffer, k * sizeof(float), sizeof down, &down));
            const double below = loss_of(exec, dy);
            assert_ok(clq_buffer_write(buffer, k * sizeof(float), sizeof *w, &w[k]));
            const double expected = (above - below) / (2 * (double)e);
            if (!(fabs(dw[k] - expected) <= 5e-3 + 1e-2 * fabs(expected))) {
                fail_msg("%s[%zu]: gradient %g, differences say %g", graph->values[v].name, k,
                         (double)dw[k], expected);
            }
        }
        free(w), free(dw);
    }
    free(dy);
    clq_exec_destroy(exec);
    clq_params_destroy(params);
}

static void test_gradients(void **state) {
    (void)state;
    for (int shortcut = 'A'; shortcut <= 'B'; shortcut++) {
        clq_graph *graph = residual_net((char)shortcut, "tanh");
        check_gradients(graph);
        clq_graph_destroy(graph);
    }
}

/* A value with four readers, one of which reads it twice, and a pooled and a flattened branch. */
static void test_gradients_of_shared_values(void **state) {
    (void)state;
    const clq_pool_attrs pool = {.kernel = {3, 2}, .stride = {2, 2}, .pad = {1, 0, 1, 0}};
    const clq_dropout_attrs drop = {0.25f};
    net n = net_begin((clq_shape){4, {1, 5, 4, 3}});
    const int x = net_conv(&n, "conv", n.at, 6, 3, 1, true);
    const int t = net_unary(&n, "tanh", "tanh", x);
    const int s = net_unary(&n, "sigmoid", "sigmoid", x);
    const int twice = net_add(&n, "twice", x, x);
    const int c = net_conv(&n, "conv2", x, 6, 3, 1, false);
    const int sum = net_add(&n, "sum1", net_add(&n, "sum0", t, s), net_add(&n, "sum2", twice, c));
    const int dropped = net_node(&n, "dropout", "dropout", &drop, &sum, 1);
    net_node(&n, "avg_pool", "pool", &pool, &dropped, 1);
    net_unary(&n, "flatten", "flatten", n.at);
    net_linear(&n, "fc", n.at, 5);
    clq_graph *graph = net_end(&n);
    check_gradients(graph);
    clq_graph_destroy(graph);
}
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_several_outputs_backward),
        cmocka_unit_test(test_training_is_the_same_however_run),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_gradients_of_shared_values),
    };
    return cmocka_run_group_tests(tests, open_own_schedule, close_device);
}

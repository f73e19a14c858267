/* The executor on small networks: what it computes, and that how it computes it changes nothing. */
#include <clquant/passes.h>
#include <math.h>
#include <string.h>

#include "exec/internal.h"
#include "exec/small_net.h"
#include "support/ref_conv2d.h"
#include "support/ref_ops.h"
#include "support/two_ends.h"

enum { BATCH = 3 };

/* ---- forward against composed references ---- */

/* One tensor of the reference's walk. */
static void ref_node(const clq_graph *graph, const clq_node *node, float **values) {
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    const clq_shape *y = &graph->values[node->output].shape;
    const size_t count = (size_t)clq_shape_count(y) * BATCH;
    const float *in = values[node->inputs[0]];
    float *out = values[node->output] = malloc(count * sizeof *out);
    const char *op = node->op->name;
    if (strcmp(op, "conv2d") == 0) {
        const clq_conv2d_attrs *a = node->attrs;
        const clq_conv_geometry g = {BATCH,
                                     (int)x->dim[1],
                                     (int)x->dim[2],
                                     (int)x->dim[3],
                                     (int)y->dim[3],
                                     a->kernel[0],
                                     a->kernel[1],
                                     (int)y->dim[1],
                                     (int)y->dim[2],
                                     a->stride[0],
                                     a->stride[1],
                                     a->pad[0],
                                     a->pad[1],
                                     1,
                                     1,
                                     1,
                                     false};
        const float *bias = node->input_count > 2 ? values[node->inputs[2]] : NULL;
        ref_conv2d_f32(&g, in, values[node->inputs[1]], bias, NULL, a->act, out);
    } else if (strcmp(op, "linear") == 0) {
        const clq_conv_geometry g = {
            BATCH, 1, 1, (int)x->dim[1], (int)y->dim[1], 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, false};
        ref_conv2d_f32(&g, in, values[node->inputs[1]], values[node->inputs[2]], NULL, CLQ_ACT_NONE,
                       out);
    } else if (strcmp(op, "batch_norm") == 0) {
        const ref_batch_norm bn = {.rows = (int)(y->dim[1] * y->dim[2]) * BATCH,
                                   .channels = (int)y->dim[3],
                                   .epsilon = 1e-5f,
                                   .x = in,
                                   .gamma = values[node->inputs[1]],
                                   .beta = values[node->inputs[2]]};
        ref_batch_norm_infer(&bn, values[node->inputs[3]], values[node->inputs[4]], out);
    } else if (strcmp(op, "global_avg_pool") == 0) {
        const ref_pool p = {.n = BATCH,
                            .ih = (int)x->dim[1],
                            .iw = (int)x->dim[2],
                            .c = (int)x->dim[3],
                            .oh = 1,
                            .ow = 1,
                            .kh = (int)x->dim[1],
                            .kw = (int)x->dim[2],
                            .sh = 1,
                            .sw = 1,
                            .dh = 1,
                            .dw = 1};
        ref_avg_pool(&p, in, out);
    } else {
        for (size_t i = 0; i < count; i++) {
            out[i] = strcmp(op, "add") == 0 ? in[i] + values[node->inputs[1]][i] : fmaxf(in[i], 0);
        }
    }
}

static float *ref_forward(const clq_graph *graph, const float *x, float **values) {
    memset(values, 0, (size_t)graph->value_count * sizeof *values);
    for (int v = 0; v < graph->value_count; v++) {
        values[v] = graph->values[v].data;
    }
    values[clq_graph_input(graph)] = (float *)x;
    for (int n = 0; n < graph->node_count; n++) {
        ref_node(graph, &graph->nodes[n], values);
    }
    return values[clq_graph_output(graph)];
}

static void check_forward(clq_graph *graph, bool keep_all, bool no_fusion) {
    clq_exec *exec = make_exec(
        graph, (clq_exec_options){.batch = BATCH, .keep_all = keep_all, .no_fusion = no_fusion});
    float **values = calloc((size_t)graph->value_count, sizeof *values);
    fill_input(exec, 1);
    float *x = read_tensor(clq_exec_input(exec));
    const float *expected = ref_forward(graph, x, values);
    assert_ok(clq_exec_forward(exec));
    assert_buffer_close(clq_exec_output(exec)->buffer, expected, 5 * BATCH, 2e-5, 2e-5);
    for (int v = 0; v < graph->value_count; v++) {
        const clq_tensor *tensor = clq_exec_value(exec, v);
        if (keep_all) {
            assert_non_null(tensor);
        }
        if (tensor && graph->values[v].kind == CLQ_VALUE_ACTIVATION) {
            float *actual = read_tensor(tensor);
            assert_close_f32(actual, values[v],
                             clq_test_shape_of((size_t)clq_shape_count(&tensor->shape)), 5e-5,
                             5e-5);
            free(actual);
        }
    }
    for (int n = 0; n < graph->node_count; n++) {
        free(values[graph->nodes[n].output]);
    }
    free(values), free(x);
    clq_exec_destroy(exec);
}

static void test_forward(void **state) {
    (void)state;
    clq_graph *graph = residual_net('B', "relu");
    for (int options = 0; options < 4; options++) {
        check_forward(graph, options & 1, options & 2);
    }
    clq_graph_destroy(graph);
}

/* The folded network, with additions and activations in the convolutions' epilogues. */
static void test_folded_forward(void **state) {
    (void)state;
    for (int shortcut = 'A'; shortcut <= 'B'; shortcut++) {
        clq_graph *graph = residual_net((char)shortcut, "relu"), *folded = NULL;
        float *results[3];
        assert_ok(clq_graph_fold(graph, &folded));
        for (int k = 0; k < 3; k++) {
            clq_exec *exec = make_exec(k == 0 ? graph : folded,
                                       (clq_exec_options){.batch = BATCH, .no_fusion = k == 1});
            fill_input(exec, 1);
            assert_ok(clq_exec_forward(exec));
            results[k] = read_tensor(clq_exec_output(exec));
            clq_exec_destroy(exec);
        }
        for (int k = 1; k < 3; k++) {
            assert_close_f32(results[k], results[0], clq_test_shape_of(BATCH, 5), 2e-5, 2e-5);
        }
        for (int k = 0; k < 3; k++) {
            free(results[k]);
        }
        clq_graph_destroy(folded);
        clq_graph_destroy(graph);
    }
}

/* ---- several inputs and outputs ---- */

static void check_ends(clq_exec *exec, const clq_graph *graph, const float *left,
                       const float *right) {
    float map[ENDS_H * ENDS_W * ENDS_MAP], scores[ENDS_SCORES];
    const size_t maps = sizeof map / sizeof *map;
    for (int i = 0; i < BATCH; i++) {
        ref_two_ends(graph, left + (size_t)i * ENDS_H * ENDS_W * ENDS_LEFT,
                     right + (size_t)i * ENDS_H * ENDS_W * ENDS_RIGHT, map, scores);
        for (int o = 0; o < 3; o++) {
            float *out = read_tensor(clq_exec_output_at(exec, o));
            const size_t count = o == 0 ? maps : ENDS_SCORES;
            assert_close_f32(out + (size_t)i * count, o == 0 ? map : scores,
                             clq_test_shape_of(count), 2e-5, 2e-5);
            free(out);
        }
    }
}

static void test_several_ends(void **state) {
    (void)state;
    clq_graph *graph = two_ends(), *folded = NULL;
    assert_ok(clq_graph_fold(graph, &folded));
    assert_string_equal(clq_graph_output_name(folded, 2), "again");
    float *left = random_floats(BATCH * ENDS_H * ENDS_W * ENDS_LEFT, -1, 1, 7);
    float *right = random_floats(BATCH * ENDS_H * ENDS_W * ENDS_RIGHT, -1, 1, 8);
    for (int k = 0; k < 4; k++) {
        clq_exec *exec = make_exec(k & 1 ? folded : graph,
                                   (clq_exec_options){.batch = BATCH, .no_fusion = k & 2});
        assert_ok(clq_buffer_write(clq_exec_input_at(exec, 0)->buffer, 0,
                                   BATCH * ENDS_H * ENDS_W * ENDS_LEFT * sizeof(float), left));
        assert_ok(clq_buffer_write(clq_exec_input_at(exec, 1)->buffer, 0,
                                   BATCH * ENDS_H * ENDS_W * ENDS_RIGHT * sizeof(float), right));
        assert_null(clq_exec_input_at(exec, 2));
        assert_null(clq_exec_output_at(exec, 3));
        for (int run = 0; run < 2; run++) { /* inputs stay as they were */
            assert_ok(clq_exec_forward(exec));
            check_ends(exec, graph, left, right);
        }
        clq_exec_destroy(exec);
    }
    free(left), free(right);
    clq_graph_destroy(folded);
    clq_graph_destroy(graph);
}

/* ---- the hook, values, memory ---- */

static clq_status count_nodes(void *context, const clq_op_run *run) {
    int *seen = context;
    seen[0] += 1 + (run->fused_add != NULL) + (run->fused_act != NULL);
    seen[1] += run->fused_add != NULL;
    seen[2] += run->fused_act != NULL;
    return CLQ_OK;
}

static void test_hook(void **state) {
    (void)state;
    for (int shortcut = 'A'; shortcut <= 'B'; shortcut++) {
        clq_graph *graph = residual_net((char)shortcut, "relu");
        for (int no_fusion = 0; no_fusion < 2; no_fusion++) {
            int seen[3] = {0};
            clq_exec *exec =
                make_exec(graph, (clq_exec_options){.batch = BATCH, .no_fusion = no_fusion});
            clq_exec_set_hook(exec, count_nodes, seen);
            fill_input(exec, 1);
            assert_ok(clq_exec_forward(exec));
            assert_int_equal(seen[0], graph->node_count);
            assert_int_equal(seen[1], no_fusion ? 0 : 2);
            assert_int_equal(seen[2], no_fusion ? 0 : 5);
            clq_exec_destroy(exec);
        }
        clq_graph_destroy(graph);
    }
}

static clq_status refuse(void *context, const clq_op_run *run) {
    (void)context;
    return clq_fail(CLQ_GATE_FAILED, "seen %s", run->node->name);
}

static void test_hook_can_stop(void **state) {
    (void)state;
    clq_graph *graph = residual_net('B', "relu");
    clq_exec *exec = make_exec(graph, (clq_exec_options){.batch = 1});
    clq_exec_set_hook(exec, refuse, NULL);
    assert_status(clq_exec_forward(exec), CLQ_GATE_FAILED);
    assert_error_has("seen stem");
    clq_exec_destroy(exec);
    clq_graph_destroy(graph);
}

static void test_inference_memory(void **state) {
    (void)state;
    clq_graph *graph = residual_net('B', "relu"), *folded = NULL;
    assert_ok(clq_graph_fold(graph, &folded));
    clq_exec *exec = make_exec(folded, (clq_exec_options){.batch = 2});
    const clq_exec_memory memory = clq_exec_measure(exec);
    const uint64_t map = 2 * 8 * 6 * 8 * sizeof(float), input = 2 * 8 * 6 * 3 * sizeof(float);
    assert_true(memory.largest == map && memory.second_largest == map);
    /* The block's input, its middle and its output, and the network's input, which stays. */
    assert_true(memory.activations <= 3 * map + input + 64);
    clq_exec_destroy(exec);
    clq_graph_destroy(folded);
    clq_graph_destroy(graph);
}

/* The input stays, so that a benchmark may run forward again and again. */
static void test_forward_twice(void **state) {
    (void)state;
    clq_graph *graph = residual_net('A', "relu");
    clq_exec *exec = make_exec(graph, (clq_exec_options){.batch = BATCH});
    fill_input(exec, 1);
    assert_ok(clq_exec_forward(exec));
    float *first = read_tensor(clq_exec_output(exec));
    assert_ok(clq_exec_forward(exec));
    float *second = read_tensor(clq_exec_output(exec));
    assert_equal_bits(first, second, 5 * BATCH * sizeof(float));
    free(first), free(second);
    clq_exec_destroy(exec);
    clq_graph_destroy(graph);
}

/* A flatten is its input's memory. What follows must not overwrite the network's input through it,
 * nor a value that others still read. */
static void test_views(void **state) {
    (void)state;
    for (int keep_all = 0; keep_all < 2; keep_all++) {
        net n = net_begin((clq_shape){4, {1, 2, 2, 3}});
        const int flat = net_unary(&n, "flatten", "flatten", n.at);
        const int act = net_unary(&n, "relu", "relu", flat);
        const int squashed = net_unary(&n, "tanh", "tanh", flat);
        net_add(&n, "add", act, squashed);
        clq_graph *graph = net_end(&n);
        clq_exec *exec = make_exec(graph, (clq_exec_options){.batch = 2, .keep_all = keep_all});
        fill_input(exec, 1);
        float *x = read_tensor(clq_exec_input(exec));
        assert_ok(clq_exec_forward(exec));
        float *after = read_tensor(clq_exec_input(exec));
        float *y = read_tensor(clq_exec_output(exec));
        assert_equal_bits(after, x, 24 * sizeof(float));
        for (int i = 0; i < 24; i++) {
            assert_true(fabs(y[i] - (fmax(x[i], 0) + tanh(x[i]))) < 1e-6);
        }
        free(x), free(after), free(y);
        clq_exec_destroy(exec);
        clq_graph_destroy(graph);
    }
}

/* ---- a training and an evaluation executor on the same parameters ---- */

static void test_shared_parameters(void **state) {
    (void)state;
    clq_graph *graph = residual_net('B', "relu");
    clq_params *params = NULL;
    assert_ok(clq_params_create(test_device, graph, true, &params));
    clq_exec *exec = make_exec(graph, (clq_exec_options){.batch = 2, .params = params});
    fill_input(exec, 1);
    assert_ok(clq_exec_forward(exec));
    float *before = read_tensor(clq_exec_output(exec));

    clq_exec *train =
        make_exec(graph, (clq_exec_options){.mode = CLQ_EXEC_TRAIN, .batch = 2, .params = params});
    fill_input(train, 2);
    assert_ok(clq_exec_forward(train)); /* moves the running statistics */
    assert_ok(clq_exec_load_parameters(exec));
    assert_ok(clq_exec_forward(exec));
    float *after = read_tensor(clq_exec_output(exec));
    assert_memory_not_equal(before, after, 10 * sizeof(float));

    assert_ok(clq_params_download(params));
    clq_exec *fresh = make_exec(graph, (clq_exec_options){.batch = 2});
    fill_input(fresh, 1);
    assert_ok(clq_exec_forward(fresh));
    float *reloaded = read_tensor(clq_exec_output(fresh));
    assert_equal_bits(after, reloaded, 10 * sizeof(float));
    free(before), free(after), free(reloaded);
    clq_exec_destroy(fresh);
    clq_exec_destroy(train);
    clq_exec_destroy(exec);
    clq_params_destroy(params);
    clq_graph_destroy(graph);
}

/* ---- what does not go ---- */

static void assert_refused(clq_graph *graph, clq_exec_options options, const char *why) {
    clq_exec *exec = NULL;
    assert_status(clq_exec_create(test_device, graph, &options, &exec), CLQ_USAGE);
    assert_error_has(why);
    assert_null(exec);
}

static void test_rules(void **state) {
    (void)state;
    clq_graph *graph = residual_net('B', "relu");
    clq_params *fixed = NULL;
    assert_ok(clq_params_create(test_device, graph, false, &fixed));
    assert_refused(graph, (clq_exec_options){.batch = 0}, "batch");
    assert_refused(graph, (clq_exec_options){.batch = 2000000000}, "too large");
    assert_refused(graph, (clq_exec_options){.batch = 1, .mode = (clq_exec_mode)17}, "mode");
    assert_refused(graph, (clq_exec_options){.batch = 1, .mode = CLQ_EXEC_INT8}, "a float network");
    assert_refused(graph, (clq_exec_options){.batch = 1, .mode = CLQ_EXEC_QAT}, "a float network");
    assert_refused(graph, (clq_exec_options){.batch = 1, .mode = CLQ_EXEC_TRAIN, .params = fixed},
                   "gradients");
    clq_exec *exec = make_exec(graph, (clq_exec_options){.batch = 1});
    assert_status(clq_exec_backward(exec), CLQ_USAGE);
    assert_null(clq_exec_output_gradient(exec));
    assert_null(clq_exec_value(exec, -1));
    assert_null(clq_exec_value(exec, graph->value_count));
    clq_exec_destroy(exec);
    clq_exec_destroy(NULL);
    clq_params_destroy(fixed);
    clq_graph_destroy(graph);
}

static void test_one_gradient_a_parameter(void **state) {
    (void)state;
    net n = net_begin((clq_shape){2, {1, 4}});
    const clq_linear_attrs attrs = {CLQ_ACT_NONE};
    const int w =
        net_parameter(&n, "fc", "weight", CLQ_VALUE_PARAMETER, (clq_shape){2, {4, 4}}, -1, 1);
    net_node(&n, "linear", "fc1", &attrs, (int[]){n.at, w}, 2);
    net_node(&n, "linear", "fc2", &attrs, (int[]){n.at, w}, 2);
    clq_graph *graph = net_end(&n);
    assert_refused(graph, (clq_exec_options){.batch = 2, .mode = CLQ_EXEC_TRAIN}, "2 readers");
    clq_exec_destroy(make_exec(graph, (clq_exec_options){.batch = 2}));
    clq_graph_destroy(graph);
}

/* A branch that nobody reads must neither disturb nor be trained. */
static void test_dead_branch(void **state) {
    (void)state;
    net n = net_begin((clq_shape){4, {1, 4, 4, 3}});
    const int x = net_conv(&n, "conv", n.at, 4, 3, 1, true);
    net_conv(&n, "dead", x, 7, 3, 1, true);
    net_unary(&n, "relu", "dead_relu", n.at);
    net_unary(&n, "global_avg_pool", "pool", x);
    net_linear(&n, "fc", n.at, 5);
    clq_graph *graph = net_end(&n);
    clq_exec *exec = make_exec(graph, (clq_exec_options){.batch = BATCH, .mode = CLQ_EXEC_TRAIN});
    float *dy = random_floats(5 * BATCH, -1, 1, 1);
    fill_input(exec, 1);
    assert_ok(clq_exec_forward(exec));
    run_backward(exec, dy);
    const int dead = clq_graph_find_value(graph, "dead.weight");
    clq_params *params = clq_exec_get_options(exec)->params;
    float *gradient = read_floats(clq_params_gradient(params, dead));
    for (int i = 0; i < 7 * 3 * 3 * 4; i++) {
        assert_true(gradient[i] == 0);
    }
    free(gradient), free(dy);
    clq_exec_destroy(exec);
    clq_graph_destroy(graph);
}

static clq_status count_call(void *context, const clq_op_run *run) {
    (void)run;
    ++*(int *)context;
    return CLQ_OK;
}

/* As one launch: the same bits, while scratch memory moves and hooks come and go. */
static void test_one_launch(void **state) {
    (void)state;
    setenv("CLQUANT_CHAIN", "on", 1);
    clq_graph *graph = two_ends();
    clq_exec *queued = make_exec(graph, (clq_exec_options){.batch = BATCH});
    clq_exec *chained = make_exec(graph, (clq_exec_options){.batch = BATCH});
    clq_exec_drop_chain(queued);
    if (chained->chain == NULL) {
        clq_test_skip("PoCL's CPU device on the CPU schedule");
    }
    int hooked = 0;
    for (uint64_t run = 0; run < 4; run++) {
        clq_exec *const both[] = {queued, chained};
        float *y[2][3];
        for (int e = 0; e < 2; e++) {
            for (int i = 0; i < 2; i++) {
                const clq_tensor *input = clq_exec_input_at(both[e], i);
                const size_t count = (size_t)clq_shape_count(&input->shape);
                float *x = random_floats(count, -1, 1, 2 * run + (uint64_t)i);
                assert_ok(clq_buffer_write(input->buffer, 0, count * sizeof *x, x));
                free(x);
            }
            clq_exec_set_hook(both[e], run == 2 ? count_call : NULL, &hooked);
            assert_ok(clq_exec_forward(both[e]));
            for (int i = 0; i < 3; i++) {
                y[e][i] = read_tensor(clq_exec_output_at(both[e], i));
            }
        }
        for (int i = 0; i < 3; i++) {
            const clq_shape *shape = &clq_exec_output_at(queued, i)->shape;
            assert_memory_equal(y[0][i], y[1][i], (size_t)clq_shape_count(shape) * sizeof(float));
            free(y[0][i]), free(y[1][i]);
        }
        assert_ok(clq_scratch_reserve(test_device, clq_scratch_size(test_device) + 4096));
    }
    assert_true(hooked > 1); /* of the chained one too: every node is queued then */
    clq_exec_destroy(chained);
    clq_exec_destroy(queued);
    clq_graph_destroy(graph);
    unsetenv("CLQUANT_CHAIN");
}

/* Few runs are not worth one. */
static void test_few_runs(void **state) {
    (void)state;
    unsetenv("CLQUANT_CHAIN");
    clq_graph *graph = two_ends();
    clq_exec *few = make_exec(graph, (clq_exec_options){.batch = BATCH, .expected_runs = 1000});
    assert_null(few->chain);
    clq_exec_destroy(few);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_folded_forward),
        cmocka_unit_test(test_several_ends),
        cmocka_unit_test(test_hook),
        cmocka_unit_test(test_hook_can_stop),
        cmocka_unit_test(test_inference_memory),
        cmocka_unit_test(test_forward_twice),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_shared_parameters),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_one_gradient_a_parameter),
        cmocka_unit_test(test_dead_branch),
        cmocka_unit_test(test_one_launch),
        cmocka_unit_test(test_few_runs),
    };
    return cmocka_run_group_tests(tests, open_own_schedule, close_device);
}

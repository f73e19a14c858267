/* From the trained form to the folded form: what melts, what stays, what things are called. */
#include <clquant/ops.h>
#include <clquant/passes.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/clq_test.h"

enum { CHANNELS = 3, SIZE = 5 };

static int parameter(clq_graph *g, const char *layer, const char *what, clq_value_kind kind,
                     clq_shape shape, float low, float high) {
    char name[64];
    int id;
    snprintf(name, sizeof name, "%s.%s", layer, what);
    assert_ok(clq_graph_add_parameter(g, name, kind, CLQ_F32, shape, NULL, &id));
    clq_test_fill_f32(g->values[id].data, (size_t)clq_shape_count(&shape), low, high, (uint64_t)id);
    return id;
}

static int node(clq_graph *g, const char *op, const char *name, const void *attrs,
                const int *inputs, int count) {
    int y;
    assert_ok(clq_graph_add_node(g, op, name, attrs, inputs, count, &y));
    return y;
}

static int unary(clq_graph *g, const char *op, const char *name, int x) {
    return node(g, op, name, NULL, &x, 1);
}

static int conv_with(clq_graph *g, const char *name, int x, int w, int bias) {
    clq_conv2d_attrs attrs = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};
    return node(g, "conv2d", name, &attrs, (int[]){x, w, bias}, bias == CLQ_NO_VALUE ? 2 : 3);
}

static int conv(clq_graph *g, const char *name, int x) {
    clq_shape shape = {4, {CHANNELS, 3, 3, CHANNELS}};
    int w = parameter(g, name, "weight", CLQ_VALUE_PARAMETER, shape, -1, 1);
    return conv_with(g, name, x, w, CLQ_NO_VALUE);
}

static int batch_norm(clq_graph *g, const char *name, int x) {
    clq_batch_norm_attrs attrs = {.epsilon = 1e-5f, .momentum = 0.1f};
    const clq_shape *in = &g->values[x].shape;
    clq_shape shape = {1, {in->dim[in->rank - 1]}};
    int inputs[5] = {x, parameter(g, name, "weight", CLQ_VALUE_PARAMETER, shape, -2, 2),
                     parameter(g, name, "bias", CLQ_VALUE_PARAMETER, shape, -2, 2),
                     parameter(g, name, "running_mean", CLQ_VALUE_STATE, shape, -2, 2),
                     parameter(g, name, "running_var", CLQ_VALUE_STATE, shape, 0, 3)};
    return node(g, "batch_norm", name, &attrs, inputs, 5);
}

static clq_graph *start(int *x) {
    clq_graph *g = NULL;
    assert_ok(clq_graph_create("net", &g));
    assert_ok(clq_graph_add_input(g, "input", (clq_shape){4, {1, SIZE, SIZE, CHANNELS}}, x));
    return g;
}

/* Sets the output, folds, and checks both graphs. */
static clq_graph *fold(clq_graph *g, int output) {
    clq_graph *folded = NULL;
    clq_graph_set_output(g, output);
    assert_ok(clq_graph_validate(g));
    assert_ok(clq_graph_fold(g, &folded));
    assert_ok(clq_graph_validate(folded));
    assert_true(folded->folded);
    return folded;
}

static void assert_nodes(const clq_graph *g, const char *expected) {
    char text[512] = "";
    for (int i = 0; i < g->node_count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s:%s", i ? " " : "", g->nodes[i].op->name,
                 g->nodes[i].name);
    }
    assert_string_equal(text, expected);
}

static const float *data(const clq_graph *g, const char *name) {
    int id = clq_graph_find_value(g, name);
    if (id < 0) {
        fail_msg("no value is named \"%s\"", name);
    }
    return g->values[id].data;
}

static clq_act act_of(const clq_graph *g, const char *name) {
    int n = clq_graph_find_node(g, name);
    assert_true(n >= 0);
    const clq_node *found = &g->nodes[n];
    return strcmp(found->op->name, "conv2d") == 0 ? ((clq_conv2d_attrs *)found->attrs)->act
           : strcmp(found->op->name, "add") == 0  ? ((clq_add_attrs *)found->attrs)->act
                                                  : ((clq_linear_attrs *)found->attrs)->act;
}

/* w' = w gamma / sqrt(var + eps), b' = (b - mean) gamma / sqrt(var + eps) + beta */
static void assert_scaled(const clq_graph *g, const clq_graph *folded, const char *layer,
                          const char *bn, const float *old_bias, int channels, int row) {
    char name[6][64];
    static const char *const parts[6] = {"weight", "bias",         "weight",
                                         "bias",   "running_mean", "running_var"};
    for (int i = 0; i < 6; i++) {
        snprintf(name[i], sizeof name[i], "%s.%s", i < 2 ? layer : bn, parts[i]);
    }
    const float *w = data(g, name[0]), *gamma = data(g, name[2]), *beta = data(g, name[3]);
    const float *mean = data(g, name[4]), *var = data(g, name[5]);
    const float *new_w = data(folded, name[0]), *new_b = data(folded, name[1]);
    for (int c = 0; c < channels; c++) {
        double factor = gamma[c] / sqrt((double)var[c] + 1e-5f);
        for (int i = 0; i < row; i++) {
            assert_float_equal(new_w[c * row + i], w[c * row + i] * factor, 1e-6 * fabs(factor));
        }
        double b = ((old_bias ? old_bias[c] : 0.0) - mean[c]) * factor + beta[c];
        assert_float_equal(new_b[c], b, 1e-5 * (1 + fabs(factor)));
    }
}

static void batch_norm_melts_into_conv2d(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    int y = conv(g, "conv1", x);
    y = batch_norm(g, "bn1", y);
    y = unary(g, "relu", "relu", y);
    assert_ok(clq_graph_set_metadata(g, "clquant.classes", "cat\ndog"));
    clq_graph *folded = fold(g, y);
    assert_nodes(folded, "conv2d:conv1");
    assert_string_equal(folded->values[clq_graph_output(folded)].name, "conv1");
    assert_int_equal(act_of(folded, "conv1"), CLQ_ACT_RELU);
    assert_scaled(g, folded, "conv1", "bn1", NULL, CHANNELS, 9 * CHANNELS);
    assert_int_equal(clq_graph_find_value(folded, "bn1.weight"), -1);
    assert_int_equal(clq_graph_find_value(folded, "bn1.running_var"), -1);
    assert_string_equal(clq_graph_get_metadata(folded, "clquant.classes"), "cat\ndog");
    assert_string_equal(folded->name, "net");
    clq_graph *again = NULL;
    assert_ok(clq_graph_fold(folded, &again));
    assert_nodes(again, "conv2d:conv1");
    clq_graph_destroy(again);
    clq_graph_destroy(folded);
    clq_graph_destroy(g);
}

static void batch_norm_melts_into_linear_with_bias(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    int flat = unary(g, "flatten", "flatten", x), in = SIZE * SIZE * CHANNELS;
    int w = parameter(g, "fc1", "weight", CLQ_VALUE_PARAMETER, (clq_shape){2, {4, in}}, -1, 1);
    int b = parameter(g, "fc1", "bias", CLQ_VALUE_PARAMETER, (clq_shape){1, {4}}, -1, 1);
    int y = node(g, "linear", "fc1", NULL, (int[]){flat, w, b}, 3);
    y = batch_norm(g, "bn1", y);
    y = unary(g, "relu6", "relu6", y);
    clq_graph *folded = fold(g, y);
    assert_nodes(folded, "flatten:flatten linear:fc1");
    assert_int_equal(act_of(folded, "fc1"), CLQ_ACT_RELU6);
    assert_scaled(g, folded, "fc1", "bn1", data(g, "fc1.bias"), 4, in);
    clq_graph_destroy(folded);
    clq_graph_destroy(g);
}

static void residual_block(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    int y = unary(g, "relu", "relu1", batch_norm(g, "bn1", conv(g, "conv1", x)));
    y = batch_norm(g, "bn2", conv(g, "conv2", y));
    int shortcut = batch_norm(g, "downsample.1", conv(g, "downsample.0", x));
    y = node(g, "add", "add", NULL, (int[]){y, shortcut}, 2);
    y = unary(g, "relu", "relu2", y);
    clq_graph *folded = fold(g, y);
    assert_nodes(folded, "conv2d:conv1 conv2d:conv2 conv2d:downsample.0 add:add");
    assert_int_equal(act_of(folded, "conv1"), CLQ_ACT_RELU);
    assert_int_equal(act_of(folded, "conv2"), CLQ_ACT_NONE);
    assert_int_equal(act_of(folded, "add"), CLQ_ACT_RELU);
    clq_graph_destroy(folded);
    clq_graph_destroy(g);
}

static void dropout_vanishes_wherever_it_stands(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    int y = unary(g, "dropout", "drop0", x);
    y = unary(g, "dropout", "drop1", conv(g, "conv1", y));
    y = unary(g, "dropout", "drop2", batch_norm(g, "bn1", y));
    y = unary(g, "dropout", "drop3", unary(g, "relu", "relu", y));
    clq_graph *folded = fold(g, y);
    assert_nodes(folded, "conv2d:conv1");
    assert_int_equal(act_of(folded, "conv1"), CLQ_ACT_RELU);
    assert_scaled(g, folded, "conv1", "bn1", NULL, CHANNELS, 9 * CHANNELS);
    clq_graph_destroy(folded);
    clq_graph_destroy(g);
}

/* Nothing may melt into a node whose own output someone else reads. */
static void values_with_other_readers_stay(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    int y = conv(g, "conv1", x);
    int relu = unary(g, "relu", "relu", y);
    y = node(g, "add", "add", NULL, (int[]){y, relu}, 2);
    clq_graph *folded = fold(g, y);
    assert_nodes(folded, "conv2d:conv1 relu:relu add:add");
    clq_graph_destroy(folded);
    clq_graph_destroy(g);

    /* the other reader hides behind a dropout */
    g = start(&x);
    y = conv(g, "conv1", x);
    relu = unary(g, "relu", "relu", unary(g, "dropout", "drop", y));
    y = node(g, "add", "add", NULL, (int[]){y, relu}, 2);
    folded = fold(g, y);
    assert_nodes(folded, "conv2d:conv1 relu:relu add:add");
    clq_graph_destroy(folded);
    clq_graph_destroy(g);

    /* the other reader is the world */
    g = start(&x);
    y = conv(g, "conv1", x);
    unary(g, "relu", "relu", y);
    folded = fold(g, y);
    assert_nodes(folded, "conv2d:conv1 relu:relu");
    clq_graph_destroy(folded);
    clq_graph_destroy(g);
}

static void activations_do_not_stack(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    int y = unary(g, "relu", "relu1", conv(g, "conv1", x));
    y = unary(g, "relu6", "relu2", y);
    y = batch_norm(g, "bn", y); /* behind an activation: cannot melt into conv1 */
    clq_graph *folded = fold(g, y);
    assert_nodes(folded, "conv2d:conv1 relu6:relu2 conv2d:bn");
    assert_int_equal(act_of(folded, "conv1"), CLQ_ACT_RELU);
    clq_graph_destroy(folded);
    clq_graph_destroy(g);
}

static void lone_batch_norm_becomes_depthwise(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    int y = unary(g, "relu", "relu", batch_norm(g, "norm", x));
    clq_graph *folded = fold(g, y);
    assert_nodes(folded, "conv2d:norm");
    assert_int_equal(act_of(folded, "norm"), CLQ_ACT_RELU);
    assert_int_equal(((clq_conv2d_attrs *)folded->nodes[0].attrs)->groups, CHANNELS);
    const float *gamma = data(g, "norm.weight"), *var = data(g, "norm.running_var");
    const float *beta = data(g, "norm.bias"), *mean = data(g, "norm.running_mean");
    for (int c = 0; c < CHANNELS; c++) {
        double factor = gamma[c] / sqrt((double)var[c] + 1e-5f);
        assert_float_equal(data(folded, "norm.weight")[c], factor, 1e-6 * fabs(factor));
        assert_float_equal(data(folded, "norm.bias")[c], beta[c] - mean[c] * factor,
                           1e-5 * (1 + fabs(factor)));
    }
    clq_graph_destroy(folded);
    clq_graph_destroy(g);
}

static void batch_norm_of_a_vector_becomes_depthwise(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    int y = batch_norm(g, "bn", unary(g, "global_avg_pool", "pool", x));
    clq_graph *folded = fold(g, y);
    assert_nodes(folded, "global_avg_pool:pool conv2d:bn");
    clq_graph_destroy(folded);
    clq_graph_destroy(g);
}

/* One weight, two convolutions, two batch norms: each gets its own scaled copy. */
static void shared_weights_are_separated(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    clq_shape shape = {4, {CHANNELS, 3, 3, CHANNELS}};
    int w = parameter(g, "shared", "weight", CLQ_VALUE_PARAMETER, shape, -1, 1);
    int b = parameter(g, "shared", "bias", CLQ_VALUE_PARAMETER, (clq_shape){1, {CHANNELS}}, -1, 1);
    int y = batch_norm(g, "bn1", conv_with(g, "conv1", x, w, b));
    y = batch_norm(g, "bn2", conv_with(g, "conv2", y, w, b));
    clq_graph *folded = fold(g, y);
    assert_nodes(folded, "conv2d:conv1 conv2d:conv2");
    for (int n = 0; n < 2; n++) {
        const char *bn = n ? "bn2" : "bn1";
        char name[64];
        snprintf(name, sizeof name, "%s.weight", bn);
        float gamma = data(g, name)[0];
        snprintf(name, sizeof name, "%s.running_var", bn);
        float factor = (float)(gamma / sqrt((double)data(g, name)[0] + 1e-5f));
        const float *scaled = folded->values[folded->nodes[n].inputs[1]].data;
        assert_float_equal(scaled[0], data(g, "shared.weight")[0] * factor, 1e-5);
    }
    clq_graph_destroy(folded);
    clq_graph_destroy(g);
}

static void bias_name_may_be_taken(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    int w = parameter(g, "conv1", "bias", CLQ_VALUE_PARAMETER,
                      (clq_shape){4, {CHANNELS, 3, 3, CHANNELS}}, -1, 1);
    int y = batch_norm(g, "bn1", conv_with(g, "conv1", x, w, CLQ_NO_VALUE));
    clq_graph *folded = fold(g, y);
    assert_non_null(data(folded, "conv1.bias_2"));
    clq_graph_destroy(folded);
    clq_graph_destroy(g);
}

static void folding_refuses(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x), *folded = NULL;
    assert_status(clq_graph_fold(g, &folded), CLQ_USAGE); /* no output */
    int y = batch_norm(g, "bn1", conv(g, "conv1", x));
    clq_graph_set_output(g, y);
    assert_ok(clq_qparams_set(&g->values[x].q, 1, (float[]){1}, 0, CLQ_Q_U8));
    assert_status(clq_graph_fold(g, &folded), CLQ_USAGE);
    clq_qparams_clear(&g->values[x].q);
    ((float *)data(g, "bn1.weight"))[1] = 3e38f;
    ((float *)data(g, "bn1.running_var"))[1] = 0;
    assert_status(clq_graph_fold(g, &folded), CLQ_BAD_DATA);
    assert_error_has("bn1");
    assert_null(folded);
    clq_graph_destroy(g);
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    int x;
    clq_graph *g = start(&x);
    int y = unary(g, "relu", "relu1", batch_norm(g, "bn1", conv(g, "conv1", x)));
    y = unary(g, "dropout", "drop", batch_norm(g, "bn2", y));
    clq_graph_set_output(g, y);
    for (long nth = 1;; nth++) {
        clq_graph *folded = NULL;
        clq_test_fail_allocation(nth);
        clq_status status = clq_graph_fold(g, &folded);
        clq_graph_destroy(folded);
        assert_int_equal(clq_test_live_allocations(), 0);
        if (status == CLQ_OK) {
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
    }
    clq_test_restore_allocator();
    clq_graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_norm_melts_into_conv2d),
        cmocka_unit_test(batch_norm_melts_into_linear_with_bias),
        cmocka_unit_test(residual_block),
        cmocka_unit_test(dropout_vanishes_wherever_it_stands),
        cmocka_unit_test(values_with_other_readers_stay),
        cmocka_unit_test(activations_do_not_stack),
        cmocka_unit_test(lone_batch_norm_becomes_depthwise),
        cmocka_unit_test(batch_norm_of_a_vector_becomes_depthwise),
        cmocka_unit_test(shared_weights_are_separated),
        cmocka_unit_test(bias_name_may_be_taken),
        cmocka_unit_test(folding_refuses),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("fold", tests, NULL, NULL);
}

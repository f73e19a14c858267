/* Small networks for the executor's tests, built by hand. */
#ifndef CLQ_TEST_SMALL_NET_H
#define CLQ_TEST_SMALL_NET_H

#include "clquant/exec.h"
#include "support/op_run.h"

/* ---- building ---- */

typedef struct net {
    clq_graph *graph;
    int at; /* the latest value */
    uint64_t stream;
} net;

static inline net net_begin(clq_shape input) {
    net n = {.stream = 100};
    assert_ok(clq_graph_create("test", &n.graph));
    assert_ok(clq_graph_add_input(n.graph, "input", input, &n.at));
    return n;
}

static inline int net_parameter(net *n, const char *node, const char *name, clq_value_kind kind,
                                clq_shape shape, float low, float high) {
    char *full = clq_format("%s.%s", node, name);
    float *data = random_floats((size_t)clq_shape_count(&shape), low, high, n->stream++);
    int value = -1;
    assert_ok(clq_graph_add_parameter(n->graph, full, kind, CLQ_F32, shape, data, &value));
    free(data);
    clq_free(full);
    return value;
}

static inline int net_node(net *n, const char *op, const char *name, const void *attrs,
                           const int *inputs, int count) {
    assert_ok(clq_graph_add_node(n->graph, op, name, attrs, inputs, count, &n->at));
    return n->at;
}

static inline int net_conv(net *n, const char *name, int from, int channels, int kernel, int stride,
                           bool bias) {
    const int64_t *x = n->graph->values[from].shape.dim;
    const int pad = kernel / 2;
    const clq_conv2d_attrs attrs = {.kernel = {kernel, kernel},
                                    .stride = {stride, stride},
                                    .dilation = {1, 1},
                                    .pad = {pad, pad, pad, pad},
                                    .groups = 1};
    const float bound = 1.5f / (float)kernel;
    const int inputs[] = {
        from,
        net_parameter(n, name, "weight", CLQ_VALUE_PARAMETER,
                      (clq_shape){4, {channels, kernel, kernel, x[3]}}, -bound, bound),
        bias
            ? net_parameter(n, name, "bias", CLQ_VALUE_PARAMETER, (clq_shape){1, {channels}}, -1, 1)
            : CLQ_NO_VALUE};
    return net_node(n, "conv2d", name, &attrs, inputs, bias ? 3 : 2);
}

static inline int net_norm(net *n, const char *name, int from) {
    const clq_shape *x = &n->graph->values[from].shape;
    const clq_shape channels = {1, {x->dim[x->rank - 1]}};
    const clq_batch_norm_attrs attrs = {.epsilon = 1e-5f, .momentum = 0.1f};
    const int inputs[] = {
        from, net_parameter(n, name, "weight", CLQ_VALUE_PARAMETER, channels, 0.5f, 2),
        net_parameter(n, name, "bias", CLQ_VALUE_PARAMETER, channels, -0.5f, 0.5f),
        net_parameter(n, name, "running_mean", CLQ_VALUE_STATE, channels, -0.5f, 0.5f),
        net_parameter(n, name, "running_var", CLQ_VALUE_STATE, channels, 0.5f, 2)};
    return net_node(n, "batch_norm", name, &attrs, inputs, 5);
}

static inline int net_linear(net *n, const char *name, int from, int outputs) {
    const clq_linear_attrs attrs = {CLQ_ACT_NONE};
    const int64_t inputs_count = n->graph->values[from].shape.dim[1];
    const int inputs[] = {
        from,
        net_parameter(n, name, "weight", CLQ_VALUE_PARAMETER,
                      (clq_shape){2, {outputs, inputs_count}}, -1, 1),
        net_parameter(n, name, "bias", CLQ_VALUE_PARAMETER, (clq_shape){1, {outputs}}, -1, 1)};
    return net_node(n, "linear", name, &attrs, inputs, 3);
}

static inline int net_unary(net *n, const char *op, const char *name, int from) {
    return net_node(n, op, name, NULL, &from, 1);
}

static inline int net_add(net *n, const char *name, int a, int b) {
    const clq_add_attrs attrs = {CLQ_ACT_NONE};
    return net_node(n, "add", name, &attrs, (int[]){a, b}, 2);
}

static inline clq_graph *net_end(net *n) {
    clq_graph_set_output(n->graph, n->at);
    assert_ok(clq_graph_validate(n->graph));
    return n->graph;
}

/* Two residual blocks and a classifier for (1, 8, 6, 3) images. Block 1: identity shortcut. Block
 * 2: stride 2, with a convolution and batch norm as shortcut ('B') or without parameters ('A'),
 * whose node comes after the second batch norm. `act` follows every block ("relu", "tanh"). */
static inline clq_graph *residual_net(char shortcut, const char *act) {
    net n = net_begin((clq_shape){4, {1, 8, 6, 3}});
    net_conv(&n, "stem", n.at, 8, 3, 1, false);
    net_norm(&n, "stem_bn", n.at);
    const int x1 = net_unary(&n, act, "stem_act", n.at);
    net_conv(&n, "b1.conv1", x1, 8, 3, 1, false);
    net_norm(&n, "b1.bn1", n.at);
    net_unary(&n, act, "b1.act1", n.at);
    net_conv(&n, "b1.conv2", n.at, 8, 3, 1, false);
    net_norm(&n, "b1.bn2", n.at);
    net_add(&n, "b1.add", n.at, x1);
    const int x2 = net_unary(&n, act, "b1.act2", n.at);
    net_conv(&n, "b2.conv1", x2, 12, 3, 2, false);
    net_norm(&n, "b2.bn1", n.at);
    net_unary(&n, act, "b2.act1", n.at);
    net_conv(&n, "b2.conv2", n.at, 12, 3, 1, true);
    const int right = net_norm(&n, "b2.bn2", n.at);
    int left;
    if (shortcut == 'B') {
        net_conv(&n, "b2.down", x2, 12, 1, 2, false);
        left = net_norm(&n, "b2.down_bn", n.at);
    } else {
        const clq_pad_channels_attrs attrs = {2, 2, 2};
        left = net_node(&n, "shortcut_a", "b2.down", &attrs, &x2, 1);
    }
    net_add(&n, "b2.add", right, left);
    net_unary(&n, act, "b2.act2", n.at);
    net_unary(&n, "global_avg_pool", "pool", n.at);
    net_linear(&n, "fc", n.at, 5);
    return net_end(&n);
}

/* ---- running ---- */

static inline void fill_input(clq_exec *exec, uint64_t stream) {
    clq_tensor *input = clq_exec_input(exec);
    const size_t count = (size_t)clq_shape_count(&input->shape);
    float *x = random_floats(count, -1, 1, stream);
    assert_ok(clq_buffer_write(input->buffer, 0, count * sizeof *x, x));
    free(x);
}

/* Fills the output's gradient and runs backward. */
static inline void run_backward(clq_exec *exec, const float *dy) {
    clq_tensor *gradient = clq_exec_output_gradient(exec);
    assert_ok(clq_buffer_write(gradient->buffer, 0,
                               (size_t)clq_shape_count(&gradient->shape) * sizeof *dy, dy));
    assert_ok(clq_exec_backward(exec));
}

static inline float *read_tensor(const clq_tensor *tensor) {
    const size_t bytes = (size_t)clq_shape_count(&tensor->shape) * sizeof(float);
    float *data = malloc(bytes);
    assert_non_null(data);
    assert_ok(clq_buffer_read(tensor->buffer, 0, bytes, data));
    return data;
}

static inline clq_exec *make_exec(clq_graph *graph, clq_exec_options options) {
    clq_exec *exec = NULL;
    assert_ok(clq_exec_create(test_device, graph, &options, &exec));
    return exec;
}

#endif

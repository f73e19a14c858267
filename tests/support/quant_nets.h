/* Small networks that hold every operator of the quantized modes, with awkward shapes, and data for
 * them. Include in test programs of quant/ and later folders. */
#ifndef CLQ_TEST_QUANT_NETS_H
#define CLQ_TEST_QUANT_NETS_H

#include <clquant/passes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clquant/quant.h"
#include "models/builder.h"
#include "support/clq_test.h"
#include "support/verify.h"

/* ---- parameters ---- */

/* Random parameters of all kinds: none is 0 or 1 as initial ones are. Variances stay positive. */
static inline void net_randomise(clq_graph *graph, float deviation) {
    for (int v = 0; v < graph->value_count; v++) {
        clq_value *value = &graph->values[v];
        if (!value->data) {
            continue;
        }
        float *data = value->data;
        const size_t count = (size_t)clq_shape_count(&value->shape);
        if (value->kind == CLQ_VALUE_STATE && strstr(value->name, "running_var")) {
            clq_test_fill_f32(data, count, 0.5f, 1.5f, (uint64_t)v);
        } else if (value->shape.rank == 1) {
            clq_test_fill_f32(data, count, -0.2f, 0.3f, (uint64_t)v);
        } else {
            clq_test_fill_normal(data, count, deviation, (uint64_t)v);
        }
    }
}

/* ---- networks ---- */

static inline int net_pool(clq_builder *b, const char *op, const char *name, int x,
                           clq_pool_attrs attrs) {
    int y = 0;
    if (b->status == CLQ_OK) {
        b->status = clq_graph_add_node(b->graph, op, name, &attrs, &x, 1, &y);
    }
    return y;
}

static inline int net_conv(clq_builder *b, const char *name, int x, int oc, clq_conv2d_attrs attrs,
                           bool bias) {
    const int64_t ic = clq_build_channels(b, x);
    char full[64];
    int inputs[3] = {x, 0, 0}, y = 0;
    snprintf(full, sizeof full, "%s.weight", name);
    const clq_shape shape = {4, {oc, attrs.kernel[0], attrs.kernel[1], ic / attrs.groups}};
    assert_ok(clq_graph_add_parameter(b->graph, full, CLQ_VALUE_PARAMETER, CLQ_F32, shape, NULL,
                                      &inputs[1]));
    if (bias) {
        snprintf(full, sizeof full, "%s.bias", name);
        assert_ok(clq_graph_add_parameter(b->graph, full, CLQ_VALUE_PARAMETER, CLQ_F32,
                                          (clq_shape){1, {oc}}, NULL, &inputs[2]));
    }
    assert_ok(clq_graph_add_node(b->graph, "conv2d", name, &attrs, inputs, bias ? 3 : 2, &y));
    return y;
}

/* Convolutions (grouped, dilated, strided, uneven padding), both residual forms, all pools, relu6,
 * sigmoid, an unfused relu, shortcut_a, flatten with C % 4 != 0. Input (1, size, size, 3). */
static inline clq_graph *net_everything(int size) {
    const clq_network_options options = {.network = "test", .size = size};
    clq_builder b = {.options = &options};
    assert_ok(clq_graph_create("everything", &b.graph));
    const clq_conv2d_attrs same = {
        .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}, .groups = 1};
    clq_conv2d_attrs attrs = same;
    int x = clq_build_input(&b, (clq_shape){4, {1, size, size, 3}});
    x = clq_build_op(&b, "relu", "stem.relu", net_conv(&b, "stem", x, 13, same, true));
    /* block 1: identity shortcut, add with relu */
    int y = clq_build_op(&b, "relu6", "b1.relu6", net_conv(&b, "b1.conv1", x, 13, same, false));
    y = net_conv(&b, "b1.conv2", y, 13, same, true);
    x = clq_build_op(&b, "relu", "b1.relu", clq_build_add(&b, "b1.add", y, x));
    /* block 2: shortcut_a, stride 2, grouped and dilated convolutions, add without activation */
    attrs.stride[0] = attrs.stride[1] = 2;
    y = clq_build_op(&b, "relu", "b2.relu", net_conv(&b, "b2.conv1", x, 18, attrs, true));
    attrs = same;
    attrs.groups = 3;
    attrs.dilation[0] = attrs.dilation[1] = 2;
    attrs.pad[0] = attrs.pad[1] = attrs.pad[2] = attrs.pad[3] = 2;
    y = net_conv(&b, "b2.conv2", y, 18, attrs, true);
    x = clq_build_add(&b, "b2.add", y, clq_build_shortcut_a(&b, "b2.short", x, 18, 2));
    /* pools and activations by themselves; the value before the relu is read twice */
    x = net_pool(&b, "avg_pool", "avg", x,
                 (clq_pool_attrs){{3, 3}, {1, 1}, {1, 1, 1, 1}, {0}, true, false});
    y = net_pool(&b, "max_pool", "max", x,
                 (clq_pool_attrs){{3, 2}, {2, 2}, {1, 0, 1, 0}, {0}, false, true});
    y = clq_build_op(&b, "sigmoid", "sigmoid", clq_build_op(&b, "relu", "relu", y));
    int z = net_pool(&b, "avg_pool", "avg2", x,
                     (clq_pool_attrs){{3, 2}, {2, 2}, {1, 0, 1, 0}, {0}, false, true});
    z = clq_build_op(&b, "tanh", "tanh", clq_build_op(&b, "relu6", "relu6", z));
    /* depthwise, then the head */
    attrs = same;
    attrs.groups = 18;
    attrs.pad[0] = 0;
    attrs.pad[3] = 2;
    x = net_conv(&b, "depthwise", clq_build_add(&b, "sum", y, z), 18, attrs, true);
    x = clq_build_op(&b, "flatten", "flatten", x);
    x = clq_build_op(&b, "relu", "fc1.relu",
                     clq_build_linear(&b, "fc1", x, 21, CLQ_LINEAR_UNIFORM));
    x = clq_build_linear(&b, "fc2", x, 10, CLQ_LINEAR_UNIFORM);
    clq_graph_set_output(b.graph, x);
    assert_ok(b.status);
    net_randomise(b.graph, 0.15f);
    return b.graph;
}

static inline clq_graph *net_built(const clq_network_options *options) {
    clq_graph *graph = NULL;
    assert_ok(clq_network_build(options, &graph));
    net_randomise(graph, 0.1f);
    return graph;
}

/* Weights of one magnitude in a wide layer: 255 * sum |q_w| = 255 * 127 * 1728 > 2^24. */
static inline clq_graph *net_unprovable(void) {
    const clq_network_options options = {
        .network = "mlp", .size = 24, .channels = 3, .classes = 10};
    clq_graph *graph = net_built(&options);
    clq_value *w = &graph->values[clq_graph_find_value(graph, "fc1.weight")];
    float *data = w->data;
    const int64_t count = clq_shape_count(&w->shape);
    for (int64_t i = 0; i < count; i++) {
        data[i] = data[i] < 0 ? -0.0625f : 0.0625f;
    }
    return graph;
}

static inline clq_graph *net_folded(clq_graph *trained) {
    clq_graph *folded = NULL;
    assert_ok(clq_graph_fold(trained, &folded));
    clq_graph_destroy(trained);
    return folded;
}

/* ---- data ---- */

static inline clq_dataset *net_data(clq_split split, int size, int64_t count) {
    const clq_dataset_options options = {.split = split, .height = size, .limit = count};
    char name[64];
    clq_dataset *dataset = NULL;
    snprintf(name, sizeof name, "synthetic:train=%lld,test=%lld,size=%d", (long long)count,
             (long long)count, size);
    assert_ok(clq_dataset_open(name, &options, &dataset));
    return dataset;
}

static inline clq_feed *net_feed(clq_device *device, clq_dataset *dataset, int batch) {
    clq_feed_options options = {.batch = batch, .threads = 1};
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    memcpy(options.normalization.mean, info->mean, sizeof info->mean);
    memcpy(options.normalization.std, info->std, sizeof info->std);
    clq_feed *feed = NULL;
    assert_ok(clq_feed_create(device, dataset, &options, &feed));
    return feed;
}

/* Calibrates a folded graph in place on `count` images. */
static inline void net_calibrate(clq_device *device, clq_graph *folded,
                                 const clq_quant_config *config, int64_t count, int batch) {
    const int size = (int)folded->values[clq_graph_input(folded)].shape.dim[1];
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, size, count);
    clq_feed *feed = net_feed(device, data, batch);
    assert_ok(clq_calibrate(device, folded, feed, batch, config, NULL));
    clq_feed_destroy(feed);
    clq_dataset_close(data);
}

/* SHA-256 of the network's logits on the data, which is closed. */
static inline void net_logits(clq_device *device, clq_graph *graph, clq_exec_mode mode,
                              clq_dataset *data, int batch, char sha256[65]) {
    const clq_exec_options options = {.mode = mode, .batch = batch};
    clq_feed *feed = net_feed(device, data, batch);
    clq_exec *exec = NULL;
    clq_evaluation evaluation;
    assert_ok(clq_exec_create(device, graph, &options, &exec));
    assert_ok(clq_evaluate(exec, feed, NULL, &evaluation, NULL));
    memcpy(sha256, evaluation.logits_sha256, 65);
    clq_evaluation_clear(&evaluation);
    clq_exec_destroy(exec);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
}

#endif

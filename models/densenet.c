/* DenseNet-121: Huang et al., "Densely connected convolutional networks", 2017 (table 1), with
 * torchvision's module names. */
#include <stdio.h>

#include "models/builder.h"

enum { GROWTH = 32, BOTTLENECK = 4 * GROWTH };

static const int blocks[] = {6, 12, 24, 16};

static int norm_relu(clq_builder *b, const char *norm, const char *relu, int x) {
    return clq_build_op(b, "relu", relu, clq_build_batch_norm(b, norm, x));
}

static int dense_layer(clq_builder *b, int x) {
    int sides[2] = {x};
    int y = norm_relu(b, "norm1", "relu1", x);
    y = clq_build_conv(b, "conv1", y, BOTTLENECK, 1, 1, false);
    y = norm_relu(b, "norm2", "relu2", y);
    sides[1] = clq_build_conv(b, "conv2", y, GROWTH, 3, 1, false);
    return clq_build_concat(b, "concat", sides, 2);
}

static int transition(clq_builder *b, int x) {
    const clq_pool_attrs pool = {.kernel = {2, 2}, .stride = {2, 2}};
    const int channels = clq_build_channels(b, x) / 2;
    x = norm_relu(b, "norm", "relu", x);
    x = clq_build_conv(b, "conv", x, channels, 1, 1, false);
    return clq_build_with(b, "avg_pool", "pool", &pool, x);
}

void clq_build_densenet(clq_builder *b) {
    const clq_network_options *o = b->options;
    int x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
    clq_build_scope(b, "features.");
    x = clq_build_conv(b, "conv0", x, 64, 7, 2, false);
    x = norm_relu(b, "norm0", "relu0", x);
    x = clq_build_max_pool(b, "pool0", x, 3, 2, 1);
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < blocks[k]; i++) {
            clq_build_scope(b, "features.denseblock%d.denselayer%d.", 1 + k, 1 + i);
            x = dense_layer(b, x);
        }
        if (k < 3) {
            clq_build_scope(b, "features.transition%d.", 1 + k);
            x = transition(b, x);
        }
    }
    clq_build_scope(b, "%s", "");
    x = norm_relu(b, "features.norm5", "relu", x);
    x = clq_build_op(b, "global_avg_pool", "avgpool", x);
    x = clq_build_linear(b, "classifier", x, o->classes, CLQ_LINEAR_UNIFORM);
    clq_graph_set_output(b->graph, x);
}

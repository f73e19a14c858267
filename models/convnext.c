/* ConvNeXt-Tiny: Liu et al., "A ConvNet for the 2020s", 2022, with torchvision's module names. Its
 * linear layers on pixels are 1x1 convolutions here. Blocks are never dropped in training. */
#include <stdio.h>

#include "models/builder.h"

static const struct { int blocks, channels; } stages[] = {{3, 96}, {3, 192}, {9, 384}, {3, 768}};

static const float epsilon = 1e-6f;

static int block(clq_builder *b, int x) {
    const int channels = clq_build_channels(b, x);
    int y = clq_build_convolution(
        b, "block.0", x,
        &(clq_conv_spec){.channels = channels, .kernel = 7, .groups = channels, .bias = true});
    y = clq_build_layer_norm(b, "block.2", y, epsilon);
    y = clq_build_convolution(
        b, "block.3", y, &(clq_conv_spec){.channels = 4 * channels, .kernel = 1, .bias = true});
    y = clq_build_op(b, "gelu", "block.4", y);
    y = clq_build_convolution(b, "block.5", y,
                              &(clq_conv_spec){.channels = channels, .kernel = 1, .bias = true});
    y = clq_build_scale(b, "layer_scale", y, 1e-6f);
    return clq_build_add(b, "add", x, y);
}

/* A convolution of a stride as large as its kernel. */
static int patches(clq_builder *b, const char *name, int x, int channels, int size) {
    return clq_build_convolution(
        b, name, x,
        &(clq_conv_spec){
            .channels = channels, .kernel = size, .stride = size, .bias = true, .unpadded = true});
}

void clq_build_convnext(clq_builder *b) {
    const clq_network_options *o = b->options;
    int x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
    x = patches(b, "features.0.0", x, stages[0].channels, 4);
    x = clq_build_layer_norm(b, "features.0.1", x, epsilon);
    for (int s = 0; s < 4; s++) {
        clq_build_scope(b, "features.%d.", 2 * s);
        if (s > 0) {
            x = clq_build_layer_norm(b, "0", x, epsilon);
            x = patches(b, "1", x, stages[s].channels, 2);
        }
        for (int i = 0; i < stages[s].blocks; i++) {
            clq_build_scope(b, "features.%d.%d.", 2 * s + 1, i);
            x = block(b, x);
        }
    }
    clq_build_scope(b, "%s", "");
    x = clq_build_op(b, "global_avg_pool", "avgpool", x);
    x = clq_build_layer_norm(b, "classifier.0", x, epsilon);
    x = clq_build_linear(b, "classifier.2", x, o->classes, CLQ_LINEAR_NORMAL);
    clq_graph_set_output(b->graph, x);
}

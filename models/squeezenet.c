/* SqueezeNet 1.1: Iandola et al., "SqueezeNet", 2016, and the authors' later version, with
 * torchvision's module names. */
#include "models/builder.h"

static int conv_relu(clq_builder *b, const char *name, const char *act, int x, int channels,
                     int kernel) {
    x = clq_build_convolution(
        b, name, x, &(clq_conv_spec){.channels = channels, .kernel = kernel, .bias = true});
    return clq_build_op(b, "relu", act, x);
}

static int fire(clq_builder *b, int number, int x, int squeezed, int expanded) {
    int sides[2];
    clq_build_scope(b, "features.%d.", number);
    x = conv_relu(b, "squeeze", "squeeze_activation", x, squeezed, 1);
    sides[0] = conv_relu(b, "expand1x1", "expand1x1_activation", x, expanded, 1);
    sides[1] = conv_relu(b, "expand3x3", "expand3x3_activation", x, expanded, 3);
    x = clq_build_concat(b, "concat", sides, 2);
    clq_build_scope(b, "%s", "");
    return x;
}

static int pool(clq_builder *b, const char *name, int x) {
    const clq_pool_attrs attrs = {.kernel = {3, 3}, .stride = {2, 2}, .ceil_mode = true};
    return clq_build_with(b, "max_pool", name, &attrs, x);
}

void clq_build_squeezenet(clq_builder *b) {
    const clq_network_options *o = b->options;
    int x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
    x = clq_build_convolution(
        b, "features.0", x,
        &(clq_conv_spec){.channels = 64, .kernel = 3, .stride = 2, .bias = true, .unpadded = true});
    x = clq_build_op(b, "relu", "features.1", x);
    x = pool(b, "features.2", x);
    x = fire(b, 3, x, 16, 64);
    x = fire(b, 4, x, 16, 64);
    x = pool(b, "features.5", x);
    x = fire(b, 6, x, 32, 128);
    x = fire(b, 7, x, 32, 128);
    x = pool(b, "features.8", x);
    x = fire(b, 9, x, 48, 192);
    x = fire(b, 10, x, 48, 192);
    x = fire(b, 11, x, 64, 256);
    x = fire(b, 12, x, 64, 256);
    x = clq_build_dropout(b, "classifier.0", x, 0.5f);
    x = conv_relu(b, "classifier.1", "classifier.2", x, o->classes, 1);
    x = clq_build_op(b, "global_avg_pool", "classifier.3", x);
    clq_graph_set_output(b->graph, x);
}

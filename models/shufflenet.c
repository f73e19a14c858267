/* ShuffleNet V2 x1.0: Ma et al., "ShuffleNet V2", 2018 (table 5), with torchvision's module names.
 */
#include <stdio.h>

#include "models/builder.h"

static const struct { int blocks, channels; } stages[] = {{4, 116}, {8, 232}, {4, 464}};

/* Modules "<branch>.<first>" on: a convolution, batch norm, and a ReLU where `act`. */
static int conv_norm(clq_builder *b, const char *branch, int first, int x,
                     const clq_conv_spec *conv, bool act) {
    char name[32];
    snprintf(name, sizeof name, "%s.%d", branch, first);
    x = clq_build_convolution(b, name, x, conv);
    snprintf(name, sizeof name, "%s.%d", branch, first + 1);
    x = clq_build_batch_norm(b, name, x);
    snprintf(name, sizeof name, "%s.%d", branch, first + 2);
    return act ? clq_build_op(b, "relu", name, x) : x;
}

/* Half of the channels, the first or the second. */
static int half(clq_builder *b, const char *name, int x, int which) {
    const clq_shape shape = clq_build_shape(b, x);
    const int64_t channels = shape.dim[3] / 2;
    const clq_slice_attrs attrs = {.start = {0, 0, 0, which * channels},
                                   .step = {1, 1, 1, 1},
                                   .count = {1, shape.dim[1], shape.dim[2], channels}};
    return clq_build_with(b, "slice", name, &attrs, x);
}

/* Channels c and c + C / 2 side by side. */
static int shuffle(clq_builder *b, int x) {
    const clq_shape s = clq_build_shape(b, x);
    const clq_reshape_attrs apart = {.rank = 5, .dim = {1, s.dim[1], s.dim[2], 2, s.dim[3] / 2}};
    const clq_transpose_attrs turn = {.perm = {0, 1, 2, 4, 3}};
    const clq_reshape_attrs together = {.rank = 4, .dim = {1, s.dim[1], s.dim[2], s.dim[3]}};
    x = clq_build_with(b, "reshape", "shuffle.0", &apart, x);
    x = clq_build_with(b, "transpose", "shuffle.1", &turn, x);
    return clq_build_with(b, "reshape", "shuffle.2", &together, x);
}

static int branch2(clq_builder *b, int x, int channels, int stride) {
    const clq_conv_spec point = {.channels = channels, .kernel = 1};
    const clq_conv_spec depth = {
        .channels = channels, .kernel = 3, .stride = stride, .groups = channels};
    x = conv_norm(b, "branch2", 0, x, &point, true);
    x = conv_norm(b, "branch2", 3, x, &depth, false);
    return conv_norm(b, "branch2", 5, x, &point, true);
}

static int unit(clq_builder *b, int x, int channels, int stride) {
    const int in = clq_build_channels(b, x);
    int sides[2];
    if (stride == 1) {
        sides[0] = half(b, "first", x, 0);
        sides[1] = branch2(b, half(b, "second", x, 1), channels, 1);
    } else {
        const clq_conv_spec depth = {.channels = in, .kernel = 3, .stride = stride, .groups = in};
        sides[0] = conv_norm(b, "branch1", 0, x, &depth, false);
        sides[0] = conv_norm(b, "branch1", 2, sides[0],
                             &(clq_conv_spec){.channels = channels, .kernel = 1}, true);
        sides[1] = branch2(b, x, channels, stride);
    }
    return shuffle(b, clq_build_concat(b, "concat", sides, 2));
}

void clq_build_shufflenet(clq_builder *b) {
    const clq_network_options *o = b->options;
    int x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
    x = conv_norm(b, "conv1", 0, x, &(clq_conv_spec){.channels = 24, .kernel = 3, .stride = 2},
                  true);
    x = clq_build_max_pool(b, "maxpool", x, 3, 2, 1);
    for (int s = 0; s < 3; s++) {
        for (int i = 0; i < stages[s].blocks; i++) {
            clq_build_scope(b, "stage%d.%d.", 2 + s, i);
            x = unit(b, x, stages[s].channels / 2, i == 0 ? 2 : 1);
        }
    }
    clq_build_scope(b, "%s", "");
    x = conv_norm(b, "conv5", 0, x, &(clq_conv_spec){.channels = 1024, .kernel = 1}, true);
    x = clq_build_op(b, "global_avg_pool", "avgpool", x);
    x = clq_build_linear(b, "fc", x, o->classes, CLQ_LINEAR_UNIFORM);
    clq_graph_set_output(b->graph, x);
}

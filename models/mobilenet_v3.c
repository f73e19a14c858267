/* MobileNetV3: Howard et al., "Searching for MobileNetV3", 2019 (tables 1 and 2), with
 * torchvision's module names. */
#include <stdio.h>
#include <string.h>

#include "models/builder.h"

typedef struct block {
    int kernel, expanded, channels;
    bool squeezes, hard; /* hard: hard swish instead of ReLU */
    int stride;
} block;

static const block large[] = {
    {3, 16, 16, false, false, 1}, {3, 64, 24, false, false, 2}, {3, 72, 24, false, false, 1},
    {5, 72, 40, true, false, 2},  {5, 120, 40, true, false, 1}, {5, 120, 40, true, false, 1},
    {3, 240, 80, false, true, 2}, {3, 200, 80, false, true, 1}, {3, 184, 80, false, true, 1},
    {3, 184, 80, false, true, 1}, {3, 480, 112, true, true, 1}, {3, 672, 112, true, true, 1},
    {5, 672, 160, true, true, 2}, {5, 960, 160, true, true, 1}, {5, 960, 160, true, true, 1},
};
static const block small[] = {
    {3, 16, 16, true, false, 2}, {3, 72, 24, false, false, 2}, {3, 88, 24, false, false, 1},
    {5, 96, 40, true, true, 2},  {5, 240, 40, true, true, 1},  {5, 240, 40, true, true, 1},
    {5, 120, 48, true, true, 1}, {5, 144, 48, true, true, 1},  {5, 288, 96, true, true, 2},
    {5, 576, 96, true, true, 1}, {5, 576, 96, true, true, 1},
};

/* To the nearest multiple of 8, not below 9 tenths of what is wanted. */
static int round_channels(int channels) {
    const int rounded = (channels + 4) / 8 * 8;
    return rounded < 8 ? 8 : rounded * 10 < channels * 9 ? rounded + 8 : rounded;
}

/* Convolution, batch norm and activation (NULL: none): modules "<name>.0", "<name>.1", "<name>.2".
 */
static int conv_norm_act(clq_builder *b, const char *name, int x, const clq_conv_spec *conv,
                         const char *act) {
    char part[32];
    snprintf(part, sizeof part, "%s.0", name);
    x = clq_build_convolution(b, part, x, conv);
    snprintf(part, sizeof part, "%s.1", name);
    x = clq_build_norm(b, part, x, 1e-3f, 0.01f);
    snprintf(part, sizeof part, "%s.2", name);
    return act ? clq_build_op(b, act, part, x) : x;
}

static int inverted_residual(clq_builder *b, int x, const block *k) {
    const int in = clq_build_channels(b, x);
    const char *act = k->hard ? "hard_swish" : "relu";
    int y = x, part = 0;
    char name[16];
    if (k->expanded != in) {
        snprintf(name, sizeof name, "block.%d", part++);
        y = conv_norm_act(b, name, y, &(clq_conv_spec){.channels = k->expanded, .kernel = 1}, act);
    }
    snprintf(name, sizeof name, "block.%d", part++);
    y = conv_norm_act(b, name, y,
                      &(clq_conv_spec){.channels = k->expanded,
                                       .kernel = k->kernel,
                                       .stride = k->stride,
                                       .groups = k->expanded},
                      act);
    if (k->squeezes) {
        snprintf(name, sizeof name, "block.%d", part++);
        y = clq_build_squeeze(b, name, y, round_channels(k->expanded / 4), "relu", "hard_sigmoid");
    }
    snprintf(name, sizeof name, "block.%d", part);
    y = conv_norm_act(b, name, y, &(clq_conv_spec){.channels = k->channels, .kernel = 1}, NULL);
    return k->stride == 1 && in == k->channels ? clq_build_add(b, "add", x, y) : y;
}

void clq_build_mobilenet_v3(clq_builder *b) {
    const clq_network_options *o = b->options;
    const bool is_large = strcmp(o->network, "mobilenet_v3_large") == 0;
    const block *blocks = is_large ? large : small;
    const int count = is_large ? sizeof large / sizeof *large : sizeof small / sizeof *small;
    const int stride = strcmp(o->stem, "cifar") == 0 ? 1 : 2;
    char last[16];
    int x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
    x = conv_norm_act(b, "features.0", x,
                      &(clq_conv_spec){.channels = 16, .kernel = 3, .stride = stride},
                      "hard_swish");
    for (int i = 0; i < count; i++) {
        clq_build_scope(b, "features.%d.", 1 + i);
        x = inverted_residual(b, x, &blocks[i]);
    }
    clq_build_scope(b, "%s", "");
    snprintf(last, sizeof last, "features.%d", 1 + count);
    x = conv_norm_act(b, last, x,
                      &(clq_conv_spec){.channels = 6 * clq_build_channels(b, x), .kernel = 1},
                      "hard_swish");
    x = clq_build_op(b, "global_avg_pool", "avgpool", x);
    x = clq_build_linear(b, "classifier.0", x, is_large ? 1280 : 1024, CLQ_LINEAR_NORMAL);
    x = clq_build_op(b, "hard_swish", "classifier.1", x);
    x = clq_build_dropout(b, "classifier.2", x, 0.2f);
    x = clq_build_linear(b, "classifier.3", x, o->classes, CLQ_LINEAR_NORMAL);
    clq_graph_set_output(b->graph, x);
}

/* MobileNetV2: Sandler et al., "Inverted residuals and linear bottlenecks", 2018 (table 2), at
 * width 1.0 and with torchvision's module names. */
#include <stdio.h>
#include <string.h>

#include "models/builder.h"

enum { DEPTHWISE = -1 }; /* as a channel count: the input's, one filter each */

/* Convolution, batch norm and ReLU6: modules "<name>.0", "<name>.1", "<name>.2". */
static int conv_bn_relu6(clq_builder *b, const char *name, int x, int channels, int kernel,
                         int stride) {
    char part[32];
    bool depthwise = channels == DEPTHWISE;
    snprintf(part, sizeof part, "%s.0", name);
    x = clq_build_conv(b, part, x, depthwise ? clq_build_channels(b, x) : channels, kernel, stride,
                       depthwise);
    snprintf(part, sizeof part, "%s.1", name);
    x = clq_build_batch_norm(b, part, x);
    snprintf(part, sizeof part, "%s.2", name);
    return clq_build_op(b, "relu6", part, x);
}

/* Expand by a 1x1 convolution (unless expansion is 1), filter each channel, project by a 1x1. */
static int inverted_residual(clq_builder *b, int x, int expansion, int channels, int stride) {
    int y = x, part = 0, in_channels = clq_build_channels(b, x);
    char name[16];
    if (expansion != 1) {
        snprintf(name, sizeof name, "conv.%d", part++);
        y = conv_bn_relu6(b, name, y, expansion * in_channels, 1, 1);
    }
    snprintf(name, sizeof name, "conv.%d", part++);
    y = conv_bn_relu6(b, name, y, DEPTHWISE, 3, stride);
    snprintf(name, sizeof name, "conv.%d", part++);
    y = clq_build_conv(b, name, y, channels, 1, 1, false);
    snprintf(name, sizeof name, "conv.%d", part);
    y = clq_build_batch_norm(b, name, y);
    return stride == 1 && in_channels == channels ? clq_build_add(b, "add", x, y) : y;
}

void clq_build_mobilenet_v2(clq_builder *b) {
    static const struct {
        int expansion, channels, blocks, stride;
    } stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                  {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    const clq_network_options *o = b->options;
    bool cifar = strcmp(o->stem, "cifar") == 0;
    int x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
    x = conv_bn_relu6(b, "features.0", x, 32, 3, cifar ? 1 : 2);
    int feature = 1;
    for (size_t s = 0; s < sizeof stages / sizeof stages[0]; s++) {
        for (int i = 0; i < stages[s].blocks; i++) {
            bool first = i == 0 && !(cifar && s == 1);
            clq_build_scope(b, "features.%d.", feature++);
            x = inverted_residual(b, x, stages[s].expansion, stages[s].channels,
                                  first ? stages[s].stride : 1);
        }
    }
    clq_build_scope(b, "%s", "");
    x = conv_bn_relu6(b, "features.18", x, 1280, 1, 1);
    x = clq_build_op(b, "global_avg_pool", "avgpool", x);
    x = clq_build_dropout(b, "classifier.0", x, 0.2f);
    x = clq_build_linear(b, "classifier.1", x, o->classes, CLQ_LINEAR_NORMAL);
    clq_graph_set_output(b->graph, x);
}

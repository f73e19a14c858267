/* RegNetY-400MF: Radosavovic et al., "Designing network design spaces", 2020, with torchvision's
 * module names. */
#include <stdio.h>

#include "models/builder.h"

enum { GROUP_WIDTH = 8, STEM = 32 };

static const struct { int blocks, channels; } stages[] = {{1, 48}, {3, 104}, {6, 208}, {6, 440}};

/* Modules "<name>.0", "<name>.1" and a ReLU "<name>.2". */
static int conv_norm(clq_builder *b, const char *name, int x, const clq_conv_spec *conv, bool act) {
    char part[32];
    snprintf(part, sizeof part, "%s.0", name);
    x = clq_build_convolution(b, part, x, conv);
    snprintf(part, sizeof part, "%s.1", name);
    x = clq_build_batch_norm(b, part, x);
    snprintf(part, sizeof part, "%s.2", name);
    return act ? clq_build_op(b, "relu", part, x) : x;
}

static int block(clq_builder *b, int x, int channels, int stride) {
    const int in = clq_build_channels(b, x);
    int y = conv_norm(b, "f.a", x, &(clq_conv_spec){.channels = channels, .kernel = 1}, true);
    y = conv_norm(
        b, "f.b", y,
        &(clq_conv_spec){
            .channels = channels, .kernel = 3, .stride = stride, .groups = channels / GROUP_WIDTH},
        true);
    y = clq_build_squeeze(b, "f.se", y, (in + 2) / 4, "relu", "sigmoid");
    y = conv_norm(b, "f.c", y, &(clq_conv_spec){.channels = channels, .kernel = 1}, false);
    if (in != channels || stride != 1) {
        x = conv_norm(b, "proj", x,
                      &(clq_conv_spec){.channels = channels, .kernel = 1, .stride = stride}, false);
    }
    return clq_build_op(b, "relu", "activation", clq_build_add(b, "add", x, y));
}

void clq_build_regnet(clq_builder *b) {
    const clq_network_options *o = b->options;
    int x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
    x = conv_norm(b, "stem", x, &(clq_conv_spec){.channels = STEM, .kernel = 3, .stride = 2}, true);
    for (int s = 0; s < 4; s++) {
        for (int i = 0; i < stages[s].blocks; i++) {
            clq_build_scope(b, "trunk_output.block%d.block%d-%d.", 1 + s, 1 + s, i);
            x = block(b, x, stages[s].channels, i == 0 ? 2 : 1);
        }
    }
    clq_build_scope(b, "%s", "");
    x = clq_build_op(b, "global_avg_pool", "avgpool", x);
    x = clq_build_linear(b, "fc", x, o->classes, CLQ_LINEAR_NORMAL);
    clq_graph_set_output(b->graph, x);
}

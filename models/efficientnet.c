/* EfficientNet-B0: Tan and Le, "EfficientNet: Rethinking model scaling", 2019 (table 1), with
 * torchvision's module names; -Lite0, without squeezing and with ReLU6, with timm's. Blocks are
 * never dropped in training. */
#include <stdio.h>
#include <string.h>

#include "models/builder.h"

static const struct {
    int expansion, kernel, stride, channels, blocks;
} stages[] = {{1, 3, 1, 16, 1},  {6, 3, 2, 24, 2},  {6, 5, 2, 40, 2}, {6, 3, 2, 80, 3},
              {6, 5, 1, 112, 3}, {6, 5, 2, 192, 4}, {6, 3, 1, 320, 1}};
enum { STAGES = sizeof stages / sizeof *stages };

static int stem_stride(const clq_builder *b) {
    return strcmp(b->options->stem, "cifar") == 0 ? 1 : 2;
}

/* ---- B0 ---- */

/* Convolution, batch norm and SiLU: modules "<name>.0", "<name>.1", "<name>.2". */
static int conv_norm_silu(clq_builder *b, const char *name, int x, const clq_conv_spec *conv,
                          bool silu) {
    char part[32];
    snprintf(part, sizeof part, "%s.0", name);
    x = clq_build_convolution(b, part, x, conv);
    snprintf(part, sizeof part, "%s.1", name);
    x = clq_build_batch_norm(b, part, x);
    snprintf(part, sizeof part, "%s.2", name);
    return silu ? clq_build_op(b, "silu", part, x) : x;
}

static int mb_conv(clq_builder *b, int x, int stage, int stride) {
    const int in = clq_build_channels(b, x), expanded = in * stages[stage].expansion;
    int y = x, part = 0;
    char name[16];
    if (expanded != in) {
        snprintf(name, sizeof name, "block.%d", part++);
        y = conv_norm_silu(b, name, y, &(clq_conv_spec){.channels = expanded, .kernel = 1}, true);
    }
    snprintf(name, sizeof name, "block.%d", part++);
    y = conv_norm_silu(b, name, y,
                       &(clq_conv_spec){.channels = expanded,
                                        .kernel = stages[stage].kernel,
                                        .stride = stride,
                                        .groups = expanded},
                       true);
    snprintf(name, sizeof name, "block.%d", part++);
    y = clq_build_squeeze(b, name, y, in / 4, "silu", "sigmoid");
    snprintf(name, sizeof name, "block.%d", part);
    y = conv_norm_silu(b, name, y,
                       &(clq_conv_spec){.channels = stages[stage].channels, .kernel = 1}, false);
    return stride == 1 && in == stages[stage].channels ? clq_build_add(b, "add", x, y) : y;
}

void clq_build_efficientnet_b0(clq_builder *b) {
    const clq_network_options *o = b->options;
    int x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
    x = conv_norm_silu(b, "features.0", x,
                       &(clq_conv_spec){.channels = 32, .kernel = 3, .stride = stem_stride(b)},
                       true);
    for (int s = 0; s < STAGES; s++) {
        for (int i = 0; i < stages[s].blocks; i++) {
            clq_build_scope(b, "features.%d.%d.", 1 + s, i);
            x = mb_conv(b, x, s, i == 0 ? stages[s].stride : 1);
        }
    }
    clq_build_scope(b, "%s", "");
    x = conv_norm_silu(b, "features.8", x, &(clq_conv_spec){.channels = 1280, .kernel = 1}, true);
    x = clq_build_op(b, "global_avg_pool", "avgpool", x);
    x = clq_build_dropout(b, "classifier.0", x, 0.2f);
    x = clq_build_linear(b, "classifier.1", x, o->classes, CLQ_LINEAR_UNIFORM);
    clq_graph_set_output(b->graph, x);
}

/* ---- Lite0 ---- */

/* Modules "<conv>", "<norm>", and ReLU6 behind them. */
static int conv_norm_relu6(clq_builder *b, const char *conv, const char *norm, int x,
                           const clq_conv_spec *spec, bool act) {
    char name[32];
    x = clq_build_convolution(b, conv, x, spec);
    x = clq_build_batch_norm(b, norm, x);
    snprintf(name, sizeof name, "%s.act", norm);
    return act ? clq_build_op(b, "relu6", name, x) : x;
}

static int lite_block(clq_builder *b, int x, int stage, int stride) {
    const int in = clq_build_channels(b, x), expanded = in * stages[stage].expansion;
    const bool expands = expanded != in;
    int y = x;
    if (expands) {
        y = conv_norm_relu6(b, "conv_pw", "bn1", y,
                            &(clq_conv_spec){.channels = expanded, .kernel = 1}, true);
    }
    y = conv_norm_relu6(b, "conv_dw", expands ? "bn2" : "bn1", y,
                        &(clq_conv_spec){.channels = expanded,
                                         .kernel = stages[stage].kernel,
                                         .stride = stride,
                                         .groups = expanded},
                        true);
    y = conv_norm_relu6(b, expands ? "conv_pwl" : "conv_pw", expands ? "bn3" : "bn2", y,
                        &(clq_conv_spec){.channels = stages[stage].channels, .kernel = 1}, false);
    return stride == 1 && in == stages[stage].channels ? clq_build_add(b, "add", x, y) : y;
}

void clq_build_efficientnet_lite0(clq_builder *b) {
    const clq_network_options *o = b->options;
    int x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
    x = conv_norm_relu6(b, "conv_stem", "bn1", x,
                        &(clq_conv_spec){.channels = 32, .kernel = 3, .stride = stem_stride(b)},
                        true);
    for (int s = 0; s < STAGES; s++) {
        for (int i = 0; i < stages[s].blocks; i++) {
            clq_build_scope(b, "blocks.%d.%d.", s, i);
            x = lite_block(b, x, s, i == 0 ? stages[s].stride : 1);
        }
    }
    clq_build_scope(b, "%s", "");
    x = conv_norm_relu6(b, "conv_head", "bn2", x, &(clq_conv_spec){.channels = 1280, .kernel = 1},
                        true);
    x = clq_build_op(b, "global_avg_pool", "global_pool", x);
    x = clq_build_linear(b, "classifier", x, o->classes, CLQ_LINEAR_UNIFORM);
    clq_graph_set_output(b->graph, x);
}

/* Residual networks: He et al., "Deep residual learning for image recognition", 2015 (table 1 and
 * section 4.2). Bottlenecks put the stride into the 3x3 convolution, as torchvision does. */
#include <stdio.h>
#include <string.h>

#include "models/builder.h"

typedef struct resnet {
    const char *name;
    int blocks[4];   /* per stage; the CIFAR form has 3 stages */
    bool bottleneck; /* 1x1, 3x3, 1x1 with four times the channels at the end */
} resnet;

static const resnet imagenet_forms[] = {
    {"resnet18", {2, 2, 2, 2}, false},
    {"resnet34", {3, 4, 6, 3}, false},
    {"resnet50", {3, 4, 6, 3}, true},
    {"resnet101", {3, 4, 23, 3}, true},
};

static const resnet cifar_forms[] = {
    {"resnet20", {3, 3, 3}, false},
    {"resnet32", {5, 5, 5}, false},
    {"resnet44", {7, 7, 7}, false},
    {"resnet56", {9, 9, 9}, false},
};

static const resnet *find_form(const resnet *forms, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(forms[i].name, name) == 0) {
            return &forms[i];
        }
    }
    return NULL;
}

/* "conv1" + "bn1": convolution and batch norm number `i` of a block. */
static int conv_bn(clq_builder *b, int i, int x, int channels, int kernel, int stride) {
    char name[16];
    snprintf(name, sizeof name, "conv%d", i);
    x = clq_build_conv(b, name, x, channels, kernel, stride, false);
    snprintf(name, sizeof name, "bn%d", i);
    return clq_build_batch_norm(b, name, x);
}

/* What is added to a block's result: its input, fitted to the result's shape. */
static int shortcut(clq_builder *b, int x, int channels, int stride) {
    if (stride == 1 && clq_build_channels(b, x) == channels) {
        return x;
    }
    if (b->options->shortcut == 'A') {
        return clq_build_shortcut_a(b, "shortcut", x, channels, stride);
    }
    x = clq_build_conv(b, "downsample.0", x, channels, 1, stride, false);
    return clq_build_batch_norm(b, "downsample.1", x);
}

/* Where that is wanted, a block whose last batch norm gives `y` adds nothing at first. */
static void start_as_shortcut(clq_builder *b, int y) {
    if (b->status == CLQ_OK && b->options->zero_init_residual) {
        const clq_node *norm = &b->graph->nodes[b->graph->values[y].producer];
        clq_value *gamma = &b->graph->values[norm->inputs[1]];
        memset(gamma->data, 0, (size_t)clq_shape_count(&gamma->shape) * sizeof(float));
    }
}

static int basic_block(clq_builder *b, int x, int channels, int stride) {
    int y = conv_bn(b, 1, x, channels, 3, stride);
    y = clq_build_op(b, "relu", "relu1", y);
    y = conv_bn(b, 2, y, channels, 3, 1);
    start_as_shortcut(b, y);
    y = clq_build_add(b, "add", y, shortcut(b, x, channels, stride));
    return clq_build_op(b, "relu", "relu2", y);
}

static int bottleneck_block(clq_builder *b, int x, int channels, int stride) {
    int y = conv_bn(b, 1, x, channels, 1, 1);
    y = clq_build_op(b, "relu", "relu1", y);
    y = conv_bn(b, 2, y, channels, 3, stride);
    y = clq_build_op(b, "relu", "relu2", y);
    y = conv_bn(b, 3, y, 4 * channels, 1, 1);
    start_as_shortcut(b, y);
    y = clq_build_add(b, "add", y, shortcut(b, x, 4 * channels, stride));
    return clq_build_op(b, "relu", "relu3", y);
}

/* Stages "layer1", "layer2", ...: each halves the image (but the first) and doubles the channels.
 */
static int stages(clq_builder *b, const resnet *form, int count, int x, int channels) {
    for (int s = 0; s < count; s++) {
        for (int i = 0; i < form->blocks[s]; i++) {
            clq_build_scope(b, "layer%d.%d.", s + 1, i);
            int stride = s > 0 && i == 0 ? 2 : 1;
            x = form->bottleneck ? bottleneck_block(b, x, channels << s, stride)
                                 : basic_block(b, x, channels << s, stride);
        }
    }
    clq_build_scope(b, "%s", "");
    return x;
}

static void head(clq_builder *b, int x) {
    x = clq_build_op(b, "global_avg_pool", "avgpool", x);
    x = clq_build_linear(b, "fc", x, b->options->classes, CLQ_LINEAR_UNIFORM);
    clq_graph_set_output(b->graph, x);
}

static int input(clq_builder *b) {
    const clq_network_options *o = b->options;
    return clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
}

void clq_build_resnet(clq_builder *b) {
    const resnet *form = find_form(imagenet_forms, sizeof imagenet_forms / sizeof imagenet_forms[0],
                                   b->options->network);
    bool cifar = strcmp(b->options->stem, "cifar") == 0;
    int x = conv_bn(b, 1, input(b), 64, cifar ? 3 : 7, cifar ? 1 : 2);
    x = clq_build_op(b, "relu", "relu", x);
    if (!cifar) {
        x = clq_build_max_pool(b, "maxpool", x, 3, 2, 1);
    }
    head(b, stages(b, form, 4, x, 64));
}

void clq_build_cifar_resnet(clq_builder *b) {
    const resnet *form =
        find_form(cifar_forms, sizeof cifar_forms / sizeof cifar_forms[0], b->options->network);
    int x = conv_bn(b, 1, input(b), 16, 3, 1);
    x = clq_build_op(b, "relu", "relu", x);
    head(b, stages(b, form, 3, x, 16));
}

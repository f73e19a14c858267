/* The table of networks, and the check of the options. */
#include <string.h>

#include "base/arguments.h"
#include "base/nearest.h"
#include "base/text.h"
#include "models/builder.h"

typedef struct network {
    clq_network_info info;
    void (*build)(clq_builder *b);
} network;

static const network networks[] = {
    {{"resnet18", "18 layers, basic blocks, 11.7 M parameters", "imagenet"}, clq_build_resnet},
    {{"resnet34", "34 layers, basic blocks, 21.8 M parameters", "imagenet"}, clq_build_resnet},
    {{"resnet50", "50 layers, bottlenecks, 25.6 M parameters", "imagenet"}, clq_build_resnet},
    {{"resnet101", "101 layers, bottlenecks, 44.5 M parameters", "imagenet"}, clq_build_resnet},
    {{"resnet20", "20 thin layers for CIFAR, 0.27 M parameters", "cifar"}, clq_build_cifar_resnet},
    {{"resnet32", "32 thin layers for CIFAR, 0.46 M parameters", "cifar"}, clq_build_cifar_resnet},
    {{"resnet44", "44 thin layers for CIFAR, 0.66 M parameters", "cifar"}, clq_build_cifar_resnet},
    {{"resnet56", "56 thin layers for CIFAR, 0.85 M parameters", "cifar"}, clq_build_cifar_resnet},
    {{"mobilenet_v2", "depthwise convolutions, ReLU6, 3.5 M parameters", "imagenet"},
     clq_build_mobilenet_v2},
    {{"mobilenet_v3_small", "squeezed blocks, hard swish, 2.5 M parameters", "imagenet"},
     clq_build_mobilenet_v3},
    {{"mobilenet_v3_large", "squeezed blocks, hard swish, 5.5 M parameters", "imagenet"},
     clq_build_mobilenet_v3},
    {{"efficientnet_b0", "squeezed blocks, SiLU, 5.3 M parameters", "imagenet"},
     clq_build_efficientnet_b0},
    {{"efficientnet_lite0", "the same without squeezing, ReLU6, 4.7 M parameters", "imagenet"},
     clq_build_efficientnet_lite0},
    {{"squeezenet1_1", "1x1 beside 3x3 convolutions, 1.2 M parameters", "imagenet"},
     clq_build_squeezenet},
    {{"shufflenet_v2_x1_0", "shuffled halves of channels, 2.3 M parameters", "imagenet"},
     clq_build_shufflenet},
    {{"regnet_y_400mf", "grouped, squeezed blocks, 4.3 M parameters", "imagenet"},
     clq_build_regnet},
    {{"densenet121", "each layer reads all before, 8.0 M parameters", "imagenet"},
     clq_build_densenet},
    {{"convnext_tiny", "7x7 depthwise, layer norm, GELU, 28.6 M parameters", "imagenet"},
     clq_build_convnext},
    {{"unet", "segmentation: 3 levels of 16 to 128 channels, 0.48 M parameters", NULL},
     clq_build_unet},
    {{"mlp", "fully connected layers of given widths", NULL}, clq_build_mlp},
};

enum { NETWORK_COUNT = sizeof networks / sizeof networks[0] };

/* Bounds that keep mistyped options from asking for terabytes; the graph checks every shape. */
enum { MAX_SIZE = 8192, MAX_CHANNELS = 4096, MAX_FEATURES = 1 << 20, MAX_HIDDEN = 64 };

static const int default_hidden[] = {128};

const clq_network_info *clq_network_list(size_t index) {
    return index < NETWORK_COUNT ? &networks[index].info : NULL;
}

static const network *find(const char *name) {
    for (size_t i = 0; name && i < NETWORK_COUNT; i++) {
        if (strcmp(networks[i].info.name, name) == 0) {
            return &networks[i];
        }
    }
    return NULL;
}

static clq_status unknown_network(const char *name) {
    clq_text names = {0};
    const char *all[NETWORK_COUNT];
    for (size_t i = 0; i < NETWORK_COUNT; i++) {
        all[i] = networks[i].info.name;
        clq_text_printf(&names, "%s%s", i ? ", " : "", networks[i].info.name);
    }
    clq_status status = clq_text_status(&names);
    if (status == CLQ_OK) {
        const char *nearest = clq_nearest(name ? name : "", all, NETWORK_COUNT);
        status = clq_fail(CLQ_USAGE, "network \"%s\"%s%s%s must be one of %s", name ? name : "",
                          nearest ? "; did you mean " : "", nearest ? nearest : "",
                          nearest ? "? It" : ":", names.data);
    }
    clq_text_free(&names);
    return status;
}

/* ---- options ---- */

static clq_status check_range(const char *network, const char *option, int value, int highest) {
    if (value < 1 || value > highest) {
        return clq_fail(CLQ_USAGE, "%s: %s %d must be 1..%d", network, option, value, highest);
    }
    return CLQ_OK;
}

/* Only its usual stem. */
static bool has_one_stem(const network *n) {
    static void (*const builders[])(clq_builder *) = {clq_build_cifar_resnet, clq_build_squeezenet,
                                                      clq_build_shufflenet,   clq_build_regnet,
                                                      clq_build_densenet,     clq_build_convnext};
    bool one = false;
    for (size_t i = 0; i < sizeof builders / sizeof *builders; i++) {
        one = one || n->build == builders[i];
    }
    return one;
}

static clq_status fill_stem(const network *n, clq_network_options *o) {
    const char *only = has_one_stem(n) ? n->info.stem : NULL;
    if (!o->stem) {
        o->stem = n->info.stem;
    } else if (!n->info.stem || (only && strcmp(o->stem, only) != 0)) {
        return only ? clq_fail(CLQ_USAGE, "%s: stem \"%s\": this network has only the stem \"%s\"",
                               n->info.name, o->stem, only)
                    : clq_fail(CLQ_USAGE, "%s: stem \"%s\": this network has no choice of stem",
                               n->info.name, o->stem);
    } else if (strcmp(o->stem, "imagenet") != 0 && strcmp(o->stem, "cifar") != 0) {
        return clq_fail(CLQ_USAGE, "%s: stem \"%s\" must be imagenet or cifar", n->info.name,
                        o->stem);
    }
    return CLQ_OK;
}

static clq_status fill_shortcut(const network *n, clq_network_options *o) {
    bool choice = n->build == clq_build_cifar_resnet;
    if (o->shortcut == 0) {
        o->shortcut = choice ? 'A' : 'B';
    }
    if (o->shortcut != 'B' && !(choice && o->shortcut == 'A')) {
        return clq_fail(CLQ_USAGE, "%s: shortcut '%c' must be %s", n->info.name, o->shortcut,
                        choice ? "A or B" : "B (A belongs to resnet20, 32, 44 and 56)");
    }
    return CLQ_OK;
}

static clq_status fill_mlp(const char *name, clq_network_options *o) {
    if (!o->hidden) {
        o->hidden = default_hidden;
        o->hidden_count = 1;
    }
    if (!o->activation) {
        o->activation = "relu";
    }
    if (strcmp(o->activation, "relu") != 0 && strcmp(o->activation, "tanh") != 0) {
        return clq_fail(CLQ_USAGE, "%s: activation \"%s\" must be relu or tanh", name,
                        o->activation);
    }
    if (o->hidden_count < 0 || o->hidden_count > MAX_HIDDEN) {
        return clq_fail(CLQ_USAGE, "%s: %d hidden layers must be 0..%d", name, o->hidden_count,
                        MAX_HIDDEN);
    }
    for (int i = 0; i < o->hidden_count; i++) {
        CLQ_TRY(check_range(name, "hidden width", o->hidden[i], MAX_FEATURES));
    }
    return o->inputs == 0 ? CLQ_OK : check_range(name, "inputs", o->inputs, MAX_FEATURES);
}

/* Replaces zero and NULL by the defaults and checks what is left. */
static clq_status fill_options(const network *n, clq_network_options *o) {
    const char *name = n->info.name;
    bool mlp = n->build == clq_build_mlp;
    CLQ_TRY(fill_stem(n, o));
    bool imagenet = o->stem && strcmp(o->stem, "imagenet") == 0;
    const bool unet = n->build == clq_build_unet;
    o->size = o->size ? o->size : imagenet ? 224 : mlp ? 28 : unet ? 128 : 32;
    o->channels = o->channels ? o->channels : mlp ? 1 : 3;
    o->classes = o->classes ? o->classes : imagenet ? 1000 : unet ? 2 : 10;
    CLQ_TRY(check_range(name, "size", o->size, MAX_SIZE));
    CLQ_TRY(check_range(name, "channels", o->channels, MAX_CHANNELS));
    CLQ_TRY(check_range(name, "classes", o->classes, MAX_FEATURES));
    if (mlp) {
        return fill_mlp(name, o);
    }
    if (o->inputs || o->hidden || o->activation) {
        return clq_fail(CLQ_USAGE, "%s: inputs, hidden widths and activation belong to mlp", name);
    }
    return fill_shortcut(n, o);
}

clq_status clq_network_build(const clq_network_options *options, clq_graph **graph) {
    CLQ_NEEDS(options, graph);
    const network *n = find(options->network);
    if (!n) {
        return unknown_network(options->network);
    }
    clq_network_options filled = *options;
    CLQ_TRY(fill_options(n, &filled));
    clq_builder b = {.options = &filled};
    b.status = clq_graph_create(n->info.name, &b.graph);
    if (b.status == CLQ_OK) {
        n->build(&b);
    }
    if (b.status == CLQ_OK) {
        *graph = b.graph;
        return CLQ_OK;
    }
    clq_graph_destroy(b.graph);
    /* Only the options came from outside: a shape that cannot be is theirs. */
    return clq_fail_in(b.status == CLQ_BAD_DATA ? CLQ_USAGE : b.status, "%s", n->info.name);
}

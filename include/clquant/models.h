/* The built-in networks. Parameters carry torchvision's state_dict names, so its weights load by
 * name ("num_batches_tracked" has no counterpart). */
#ifndef CLQUANT_MODELS_H
#define CLQUANT_MODELS_H

#include <clquant/graph.h>

CLQ_API_BEGIN

typedef struct clq_network_info {
    const char *name;    /* "resnet50" */
    const char *summary; /* one line for --help */
    const char *stem;    /* default stem, "imagenet" or "cifar"; NULL: the network has none */
} clq_network_info;

/* The networks that clq_network_build knows, in the order to show them in; NULL at the end. */
const clq_network_info *clq_network_list(size_t index);

/* A zero or NULL member takes the network's default. */
typedef struct clq_network_options {
    const char *network; /* a name of clq_network_list; required */
    /* "imagenet": 7x7 stride 2 and a max pool (resnet), stride 2 (mobilenet_v2).
     * "cifar": 3x3 stride 1, no max pool (resnet), strides 1 in stem and second stage
     * (mobilenet_v2). */
    const char *stem;
    int size;     /* input height = width; 224 imagenet, 32 cifar, 28 mlp, 128 unet */
    int channels; /* of the input; 3, mlp 1 */
    int classes;  /* 1000 imagenet, 10 cifar and mlp, 2 unet */
    /* resnet: the last batch norm of each block starts with gamma 0, so that the block starts as
     * its shortcut alone (Goyal et al. 2017, "Accurate, large minibatch SGD"). */
    bool zero_init_residual;
    char shortcut; /* resnet20..56: 'A' (default) strided and zero-padded, 'B' 1x1 convolution */

    /* mlp: the input is a vector of `inputs` features, or with 0 an image that is flattened. */
    int inputs;
    const int *hidden; /* (hidden_count): widths of the hidden layers; NULL: one of 128 */
    int hidden_count;
    const char *activation; /* "relu" (default) or "tanh" */

    uint64_t seed;   /* of the initial weights */
    bool leave_zero; /* weights stay 0: they will be loaded */
} clq_network_options;

/* Builds a network in trained form (dropout and batch norms in place) with seeded initial weights:
 * the same bits for the same options on every machine of one libm. Convolutions are Kaiming-normal
 * (fan out), batch norms 1 and 0, linear layers uniform in +-1/sqrt(inputs) (mobilenet_v2: normal
 * with deviation 0.01, bias 0), as in torchvision. The output is the logits (1, classes), of unet
 * (1, size, size, classes). CLQ_USAGE for an unknown network or an option out of range; the text
 * lists what there is. */
clq_status clq_network_build(const clq_network_options *options, clq_graph **graph);

CLQ_API_END
#endif

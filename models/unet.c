/* A small U-Net: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image
 * Segmentation", 2015, of three levels and 16 to 128 channels, with "same" padding and batch norms.
 * Modules are named as in the usual PyTorch versions (inc, down1, up1, outc). */
#include "base/text.h"
#include "models/builder.h"

enum { LEVELS = 3, WIDTH = 16 };

static int conv_norm_relu(clq_builder *b, int first, int x, int channels) {
    static const char *const names[] = {"0", "1", "2", "3", "4", "5"};
    x = clq_build_conv(b, names[first], x, channels, 3, 1, false);
    x = clq_build_batch_norm(b, names[first + 1], x);
    return clq_build_op(b, "relu", names[first + 2], x);
}

static int double_conv(clq_builder *b, int x, int channels) {
    x = conv_norm_relu(b, 0, x, channels);
    return conv_norm_relu(b, 3, x, channels);
}

void clq_build_unet(clq_builder *b) {
    const clq_network_options *o = b->options;
    const clq_conv_spec outc = {.channels = o->classes, .kernel = 1, .bias = true};
    int levels[LEVELS + 1];
    if (o->size % (1 << LEVELS) != 0) {
        b->status = clq_fail(CLQ_USAGE, "size %d must be a multiple of %d", o->size, 1 << LEVELS);
        return;
    }
    int x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
    clq_build_scope(b, "inc.double_conv.");
    levels[0] = double_conv(b, x, WIDTH);
    for (int i = 1; i <= LEVELS; i++) {
        clq_build_scope(b, "down%d.maxpool_conv.", i);
        x = clq_build_max_pool(b, "0", levels[i - 1], 2, 2, 0);
        clq_build_scope(b, "down%d.maxpool_conv.1.double_conv.", i);
        levels[i] = double_conv(b, x, WIDTH << i);
    }
    x = levels[LEVELS];
    for (int i = LEVELS; i-- > 0;) {
        clq_build_scope(b, "up%d.", LEVELS - i);
        x = clq_build_upsample(b, "up", x, WIDTH << i);
        x = clq_build_concat(b, "cat", (int[]){levels[i], x}, 2);
        clq_build_scope(b, "up%d.conv.double_conv.", LEVELS - i);
        x = double_conv(b, x, WIDTH << i);
    }
    clq_build_scope(b, "outc.");
    x = clq_build_convolution(b, "conv", x, &outc);
    clq_graph_set_output(b->graph, x);
}

/* Backward-weights of one FP32 3x3 convolution of stride 1 by Winograd's algorithm
 * (kernels/f32/conv2d_winograd_weights.cl). CPU schedule. */
#ifndef CLQUANT_OPS_CONV2D_F32_WINOGRAD_WEIGHTS_H
#define CLQUANT_OPS_CONV2D_F32_WINOGRAD_WEIGHTS_H

#include <clquant/device.h>

#include "kernels/include/conv_shape.h"
#include "kernels/include/winograd.h"
#include "ops/conv/conv_geometry.h"

typedef struct clq_conv_winograd_weights {
    clq_device *device;
    winograd_shape shape;
    conv_weights_shape sums; /* how the partial sums lie, for the reduction */
    clq_buffer *shape_buffer, *sums_buffer;
    clq_buffer *zeros; /* a pixel of input or output */
    clq_kernel *input, *grad, *kernel, *reduce;
    bool own; /* items transform what they read; each does part_blocks blocks */
    int part_blocks;
    double operations; /* that it really takes, transforms aside */
} clq_conv_winograd_weights;

/* Whether Winograd's algorithm can be had and should be faster than the sum over pixels. */
bool clq_winograd_weights_choose(const clq_device *device, const clq_conv_geometry *geometry);

/* Whether so few channels are on both sides that one launch does it all. */
bool clq_winograd_weights_own(const clq_device *device, const clq_conv_geometry *geometry);

/* `conv` must be zeroed; free after a failure too. Needs at least a vector of channels on both
 * sides. */
clq_status clq_conv_winograd_weights_init(clq_conv_winograd_weights *conv, clq_device *device,
                                          const clq_conv_geometry *geometry);
void clq_conv_winograd_weights_free(clq_conv_winograd_weights *conv);
/* dw (OC, 3, 3, IC), db (OC) or NULL; both overwritten. */
clq_status clq_conv_winograd_weights_run(clq_conv_winograd_weights *conv, clq_buffer *x,
                                         clq_buffer *dy, clq_buffer *dw, clq_buffer *db);

#endif

/* Backward-weights of one FP32 convolution; see conv_weights_shape in kernels/include/
 * conv_shape.h. */
#ifndef CLQUANT_OPS_CONV2D_F32_WEIGHTS_H
#define CLQUANT_OPS_CONV2D_F32_WEIGHTS_H

#include <clquant/device.h>

#include "kernels/include/conv_shape.h"
#include "ops/conv/conv_geometry.h"

typedef struct clq_conv_weights {
    clq_device *device;
    conv_weights_shape shape;
    clq_buffer *shape_buffer;
    clq_kernel *kernel, *reduce;
    clq_range range, reduce_range;
    size_t partial_size, partial_bias_size; /* bytes of scratch; bias 0 for depthwise */
    double operations;
} clq_conv_weights;

/* `weights` must be zeroed; free after a failure too. */
clq_status clq_conv_weights_init(clq_conv_weights *weights, clq_device *device,
                                 const clq_conv_geometry *geometry);
void clq_conv_weights_free(clq_conv_weights *weights);
/* dw (OC, KH, KW, IC/G), db (OC) or NULL; both overwritten. */
clq_status clq_conv_weights_run(clq_conv_weights *weights, clq_buffer *x, clq_buffer *dy,
                                clq_buffer *dw, clq_buffer *db);

#endif

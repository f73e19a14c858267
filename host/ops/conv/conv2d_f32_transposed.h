/* Transposed FP32 convolutions: each direction is another one of the convolution from y to x, whose
 * weights are the same with input and output channels of a group exchanged.
 *
 *   forward            its backward-data
 *   backward-data      its forward
 *   backward-weights   its backward-weights, of dy and x
 *
 * Letters as in conv_geometry.h: x (N, IH, IW, IC), w (OC, KH, KW, IC/G), y (N, OH, OW, OC). */
#ifndef CLQUANT_OPS_CONV2D_F32_TRANSPOSED_H
#define CLQUANT_OPS_CONV2D_F32_TRANSPOSED_H

#include "ops/conv/conv2d_f32.h"

typedef struct clq_conv_transposed clq_conv_transposed;

clq_status clq_conv_transposed_create(clq_device *device, const clq_conv_geometry *geometry,
                                      int directions, clq_conv_transposed **conv);
void clq_conv_transposed_destroy(clq_conv_transposed *conv); /* NULL ok */
clq_status clq_conv_transposed_load_weights(clq_conv_transposed *conv, clq_buffer *w);
clq_status clq_conv_transposed_forward(clq_conv_transposed *conv, clq_buffer *x, clq_buffer *bias,
                                       clq_buffer *residual, clq_act act, clq_buffer *y);
clq_status clq_conv_transposed_backward_data(clq_conv_transposed *conv, clq_buffer *dy,
                                             clq_buffer *dx, bool accumulate);
clq_status clq_conv_transposed_backward_weights(clq_conv_transposed *conv, clq_buffer *x,
                                                clq_buffer *dy, clq_buffer *dw, clq_buffer *db);

#endif

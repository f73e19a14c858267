/* FP32 convolution on the device: forward, backward-data, backward-weights.
 *
 * A clq_conv2d_f32 holds what one convolution shape needs on one device: the kernels and tile that
 * the schedule picked, the packed weights and the workspaces. Letters as in conv_geometry.h.
 * All calls queue work and do not wait. Sums run in a fixed order, so equal inputs on one device
 * give equal bits. */
#ifndef CLQUANT_OPS_CONV2D_F32_H
#define CLQUANT_OPS_CONV2D_F32_H

#include <clquant/device.h>

#include "ops/conv/conv_choice.h"

typedef struct clq_conv2d_f32 clq_conv2d_f32;

enum {
    CLQ_CONV_FORWARD = 1,
    CLQ_CONV_BACKWARD_DATA = 2,
    CLQ_CONV_BACKWARD_WEIGHTS = 4,
    /* The first two, or the third, may use Winograd's algorithm where that should be faster; it
     * rounds about twice as much, and sums of integers are not exact. */
    CLQ_CONV_WINOGRAD = 8,
    CLQ_CONV_WINOGRAD_WEIGHTS = 16,
    /* The tuning table may decide on that for the forward, or on CLBlast, and so on its bits: not
     * in training. */
    CLQ_CONV_TUNE = 32,
    /* For weights that change with every step: the first two pack them for each use, into scratch,
     * instead of keeping packed copies. */
    CLQ_CONV_REPACK = 64
};

/* `directions`: which of CLQ_CONV_* will be called; only their memory is taken. The geometry must
 * already be valid (shape inference checked it). */
clq_status clq_conv2d_f32_create(clq_device *device, const clq_conv_geometry *geometry,
                                 int directions, clq_conv2d_f32 **conv);
void clq_conv2d_f32_destroy(clq_conv2d_f32 *conv); /* NULL ok */

/* How the forward's sum runs: as tuned for its device, or by heuristics. NULL without a forward or
 * when Winograd's algorithm or CLBlast does it. */
const clq_conv_choice *clq_conv2d_f32_choice(const clq_conv2d_f32 *conv);

/* Repacks w (OC, KH, KW, IC/G) for the directions; call whenever w changed. With CLQ_CONV_REPACK it
 * only notes w, which must then outlive its use. */
clq_status clq_conv2d_f32_load_weights(clq_conv2d_f32 *conv, clq_buffer *w);

/* y = act(conv(x, w) + bias[oc] + residual). bias (OC) and residual (like y) may be NULL. */
clq_status clq_conv2d_f32_forward(clq_conv2d_f32 *conv, clq_buffer *x, clq_buffer *bias,
                                  clq_buffer *residual, clq_act act, clq_buffer *y);

/* dx = conv^T(dy, w), or dx += it when `accumulate`. */
clq_status clq_conv2d_f32_backward_data(clq_conv2d_f32 *conv, clq_buffer *dy, clq_buffer *dx,
                                        bool accumulate);

/* Backward-data as a layer of its own: dx = act(conv^T(dy, w) + bias[ic] + residual). Of
 * convolutions that are not transposed themselves. */
clq_status clq_conv2d_f32_turned(clq_conv2d_f32 *conv, clq_buffer *dy, clq_buffer *bias,
                                 clq_buffer *residual, clq_act act, clq_buffer *dx);

/* dw (OC, KH, KW, IC/G) = sum over pixels of dy x; db (OC) = sum of dy, may be NULL. Overwrites. */
clq_status clq_conv2d_f32_backward_weights(clq_conv2d_f32 *conv, clq_buffer *x, clq_buffer *dy,
                                           clq_buffer *dw, clq_buffer *db);

#endif

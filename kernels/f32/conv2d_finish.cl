/* What follows a convolution done as a matrix product: y (pixels, cols) = act(y + bias + residual).
 * Item (column, pixel); bias and residual may be NULL. */
#include "conv_epilogue.h"

__kernel void conv2d_f32_finish(__global const float *bias, __global const float *residual,
                                __global float *y, float lo, float hi, int cols, int pixels) {
    const int col = get_global_id(0), pixel = get_global_id(1);
    if (col < cols && pixel < pixels) {
        const size_t at = (size_t)pixel * cols + col;
        const float sum = y[at] + (bias ? bias[col] : 0) + (residual ? residual[at] : 0);
        y[at] = CONV_ACT(sum, lo, hi);
    }
}

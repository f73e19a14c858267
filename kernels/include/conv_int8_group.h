/* What the work-group kernels of the integer convolution share: how they read rows (gather.h, in
 * words of 4 codes), and their end. */
#ifndef CLQ_CONV_INT8_GROUP_H
#define CLQ_CONV_INT8_GROUP_H

#include "conv_int8.h"
#include "gather.h"
#include "int8_epilogue.h"

static inline gather int8_gather(const conv_int8 *s) {
    return (gather){s->ih, s->iw,        s->in_pitch / 4, s->kh,
                    s->kw, s->depth / 4, s->dilation_h,   s->dilation_w};
}

/* The row of an output pixel; nowhere beyond the last. */
static inline gather_row int8_row(int pixel, int group, const conv_int8 *s) {
    if (pixel >= s->pixels)
        return (gather_row){GATHER_NOWHERE, 0, 0};
    const int line = pixel / s->ow, n = line / s->oh;
    gather_row row = {(line - n * s->oh) * s->stride_h - s->pad_top,
                      (pixel - line * s->ow) * s->stride_w - s->pad_left, 0};
    row.at = (((long)n * s->ih + row.y) * s->iw + row.x) * (s->in_pitch / 4) +
             group * (s->depth / 4);
    return row;
}

/* Requantizes the sums of channels c .. c + 3 of a block at pixel m; stores those that exist. */
static inline void int8_store4(int4 sum, long m, int block, int c, int nr, const conv_int8 *s,
                               __global const int *channels, __global const uchar *residual,
                               __global uchar *y) {
    const int group = block / s->group_blocks;
    const int column = (block - group * s->group_blocks) * nr + c, left = s->group_oc - column;
    const long to = group * s->group_oc + column;
    __global const int *channel = channels + block * nr + c;
    if (m >= s->pixels || left <= 0)
        return;
    if (s->epilogue.float_output)
        store_reals4(int8_real4(sum, channel, s->blocks * nr, s->epilogue), left,
                     (__global float *)y + m * s->oc + to);
    else
        codes_store4(int8_code4(sum, channel, s->blocks * nr,
                                residual ? residual + m * s->out_pitch + to : residual,
                                s->epilogue),
                     left, y + m * s->out_pitch + to);
}

#endif

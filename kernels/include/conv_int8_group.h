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

/* Where the results of channels c .. of a block at a pixel go. */
typedef struct int8_place {
    long codes, reals; /* offsets in y */
    int left;          /* channels that exist from here on; none: the pixel is beyond the last */
    __global const int *channel;
} int8_place;

static inline int8_place int8_locate(long m, int block, int c, int nr, const conv_int8 *s,
                                     __global const int *channels) {
    const int group = block / s->group_blocks;
    const int column = (block - group * s->group_blocks) * nr + c;
    const long to = group * s->group_oc + column;
    return (int8_place){m * s->out_pitch + to, m * s->oc + to,
                        m < s->pixels ? s->group_oc - column : 0, channels + block * nr + c};
}

/* Requantizes the sums of channels c .. c + 3 and stores those that exist. */
static inline void int8_store4(int4 sum, int8_place at, int stride, const int8_epilogue *e,
                               __global const uchar *residual, __global uchar *y) {
    if (at.left <= 0)
        return;
    if (e->float_output)
        store_reals4(int8_real4(sum, at.channel, stride, *e), at.left,
                     (__global float *)y + at.reals);
    else
        codes_store4(int8_code4(sum, at.channel, stride,
                                residual ? residual + at.codes : residual, *e),
                     at.left, y + at.codes);
}

/* The same for channels c .. c + 7, in one store where `whole` and they all exist. */
static inline void int8_store8(int4 low, int4 high, int8_place at, int stride, bool whole,
                               const int8_epilogue *e, __global const uchar *residual,
                               __global uchar *y) {
    const int8_place next = {at.codes + 4, at.reals + 4, at.left - 4, at.channel + 4};
    if (!whole || at.left < 8) {
        int8_store4(low, at, stride, e, residual, y);
        int8_store4(high, next, stride, e, residual, y);
        return;
    }
    __global const uchar *r = residual ? residual + at.codes : residual;
    const int4 first = int8_code4(low, at.channel, stride, r, *e);
    const int4 second = int8_code4(high, next.channel, stride, residual ? r + 4 : r, *e);
    *(__global uint2 *)(y + at.codes) =
        (uint2)(as_uint(convert_uchar4(first)), as_uint(convert_uchar4(second)));
}

#endif

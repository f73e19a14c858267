/* Reading the rows of an implicit matrix product word by word, for the GPU schedule. */
#ifndef CLQ_CONV_INT8_GATHER_H
#define CLQ_CONV_INT8_GATHER_H

#include "conv_int8.h"

/* The input pixel of the first tap of an output pixel, which may lie outside the image. */
typedef struct first_pixel {
    int y, x;
    long at; /* bytes */
} first_pixel;

static inline first_pixel locate(int pixel, const conv_int8 *s) {
    first_pixel p;
    const int row = pixel / s->ow, n = row / s->oh;
    p.y = (row - n * s->oh) * s->stride_h - s->pad_top;
    p.x = (pixel - row * s->ow) * s->stride_w - s->pad_left;
    p.at = (((long)n * s->ih + p.y) * s->iw + p.x) * s->in_pitch;
    return p;
}

/* Word k of a row: 4 inputs of one tap. */
static inline uint input_word(__global const uchar *x, first_pixel p, int k, int depth,
                              const conv_int8 *s) {
    const int tap = k / depth, c = (k - tap * depth) * 4;
    const int ky = tap / s->kw, kx = tap - ky * s->kw;
    const int dy = ky * s->dilation_h, dx = kx * s->dilation_w;
    if ((uint)(p.y + dy) >= (uint)s->ih || (uint)(p.x + dx) >= (uint)s->iw)
        return (uint)s->x_zero * 0x01010101u;
    return *(__global const uint *)(x + p.at + ((long)dy * s->iw + dx) * s->in_pitch + c);
}

#endif

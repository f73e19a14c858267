/* Which input pixels make an output pixel of a resized image, and with which weights, along one
 * axis. */
#ifndef CLQUANT_OPS_RESIZE_TAPS_H
#define CLQUANT_OPS_RESIZE_TAPS_H

#include <clquant/ops.h>

/* Output i is the sum over taps t, first[i] <= t < first[i + 1], of weight[t] * input[from[t]]. One
 * without taps lies beyond the image. */
typedef struct clq_resize_taps {
    int in, out, count;
    int *first;    /* (out + 1), owned */
    int *from;     /* (count), owned; ascending within an output */
    float *weight; /* (count), owned */
} clq_resize_taps;

/* Of axis 0 (height) or 1 (width). `taps` must be zeroed; free after a failure too. */
clq_status clq_resize_taps_make(const clq_resize_attrs *attrs, int axis, int in, int out,
                                clq_resize_taps *taps);
/* The same weights by input pixel: what brings gradients back. */
clq_status clq_resize_taps_transpose(const clq_resize_taps *taps, clq_resize_taps *transposed);
void clq_resize_taps_free(clq_resize_taps *taps);

/* Equation (12i) of docs/quantization.md: weights as multiples of 2^-bits, which add up to what
 * they did before for each output. *bits is the largest up to 11 with which no sum over both axes
 * leaves 32 bits; false: there is none. */
bool clq_resize_weight_bits(const clq_resize_taps taps[2], int *bits);
void clq_resize_weight_codes(const clq_resize_taps *taps, int bits, int32_t *codes); /* (count) */

#endif

/* Integer convolution on the device: u8 activations, s8 weights, int32 sums, fused requantization.
 *
 * Activations are (N, H, W, P) u8 with pitch P = C rounded up to a multiple of 4; the bytes of the
 * padding channels are written as 0 and never influence a result. Letters as in conv_geometry.h.
 * Results are the same bits on every dot path, tile, schedule and device. */
#ifndef CLQUANT_OPS_CONV2D_INT8_H
#define CLQUANT_OPS_CONV2D_INT8_H

#include <clquant/ops.h>

#include "ops/conv/conv_choice.h"

typedef struct clq_conv2d_int8 clq_conv2d_int8;

/* Everything constant about a quantized convolution; host arrays, copied at creation. */
typedef struct clq_conv2d_int8_params {
    const int8_t *w;      /* (OC, KH, KW, IC/G) */
    bool four_bits;       /* all of w in -8..7, so that two may share a byte */
    const int32_t *bias;  /* (OC) in units of x_scale * w_scale; NULL = 0 */
    const float *w_scale; /* (OC) */
    float x_scale;
    int32_t x_zero_point; /* also the padding's code */
    bool float_output;    /* y is float: (float)acc * (x_scale * w_scale[c]); y_* are not used */
    clq_act float_act;    /* with float_output: on the reals */
    float y_scale;
    int32_t y_zero_point; /* 0..255 */
    int32_t y_lo, y_hi; /* clamp in codes: ReLU is lo = y_zero_point; RELU6's hi from the caller */
    clq_requantizer requantizer;
    /* Fused residual: out is the sum of y's own code and the residual's by (4), (4f) or (4s) of
     * kernels/include/requantize.h, as the stand-alone integer add gives it. */
    bool has_residual;
    float r_scale, out_scale;
    int32_t r_zero_point, out_zero_point, out_lo, out_hi;
} clq_conv2d_int8_params;

/* CLQ_BAD_DATA: a scale that is not positive and finite, a factor that the requantizer cannot
 * express, or sums that could leave int32. The geometry must already be valid. */
clq_status clq_conv2d_int8_create(clq_device *device, const clq_conv_geometry *geometry,
                                  const clq_conv2d_int8_params *params, clq_conv2d_int8 **conv);
void clq_conv2d_int8_destroy(clq_conv2d_int8 *conv); /* NULL ok */

/* The dot-product path its kernel uses: the device's at creation, but dp4a where only matrix
 * products use mma. */
clq_dot clq_conv2d_int8_dot(const clq_conv2d_int8 *conv);
/* Bytes of its weights on the device. */
size_t clq_conv2d_int8_weight_bytes(const clq_conv2d_int8 *conv);
/* How it runs: as tuned for its device, or by heuristics. */
const clq_conv_choice *clq_conv2d_int8_choice(const clq_conv2d_int8 *conv);

/* Queued. x u8, residual u8 like y (NULL unless has_residual), y u8, or float (N, OH, OW, OC) with
 * float_output. */
clq_status clq_conv2d_int8_forward(clq_conv2d_int8 *conv, clq_buffer *x, clq_buffer *residual,
                                   clq_buffer *y);

#endif

/* Plain loops that define what the integer kernels compute. Codes are u8 with pitch (channels
 * rounded up to a multiple of 4); the padding channels' bytes are 0. */
#ifndef CLQ_REF_INT8_H
#define CLQ_REF_INT8_H

#include "ops/conv/conv2d_int8.h"
#include "ops/int8_elementwise.h"

int ref_int8_pitch(int channels);

/* y: u8 codes, or float (N, OH, OW, OC) with params->float_output. */
void ref_conv2d_int8(const clq_conv_geometry *geometry, const clq_conv2d_int8_params *params,
                     const uint8_t *x, const uint8_t *residual, void *y);

void ref_int8_quantize(const float *real, uint8_t *codes, int pixels, int channels,
                       clq_int8_range range);
void ref_int8_dequantize(const uint8_t *codes, float *real, int pixels, int channels, float scale,
                         int32_t zero_point);
void ref_int8_add(clq_requantizer requantizer, const uint8_t *a, clq_int8_range a_range,
                  const uint8_t *b, clq_int8_range b_range, uint8_t *y, clq_int8_range y_range,
                  int pixels, int channels);
void ref_int8_max_pool(const uint8_t *x, uint8_t *y, const clq_int8_pool *pool);
void ref_int8_avg_pool(clq_requantizer requantizer, const uint8_t *x, uint8_t *y,
                       const clq_int8_pool *pool, int pad_bottom, int pad_right, bool include_pad,
                       clq_int8_range x_range, clq_int8_range y_range);
void ref_int8_shortcut_a(const uint8_t *x, uint8_t *y, const clq_int8_shortcut *shape);

#endif

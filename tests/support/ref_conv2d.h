/* Convolution by plain loop nests; shapes as in ops/conv/conv_geometry.h. Float sums run in double.
 */
#ifndef CLQ_REF_CONV2D_H
#define CLQ_REF_CONV2D_H

#include "ops/conv/conv_geometry.h"

/* y = act(conv(x, w) + bias + residual); bias and residual may be NULL. */
void ref_conv2d_f32(const clq_conv_geometry *geometry, const float *x, const float *w,
                    const float *bias, const float *residual, clq_act act, float *y);

/* dx = conv^T(dy, w), or dx += it. */
void ref_conv2d_f32_backward_data(const clq_conv_geometry *geometry, const float *dy,
                                  const float *w, bool accumulate, float *dx);

/* dw and db; db may be NULL. */
void ref_conv2d_f32_backward_weights(const clq_conv_geometry *geometry, const float *x,
                                     const float *dy, float *dw, float *db);

/* sums (N, OH, OW, OC) = sum of (x - x_zero_point) * w + bias, where padding has the code
 * x_zero_point. x (N, IH, IW) pixels `pitch` bytes apart; bias may be NULL. */
void ref_conv2d_int8_sums(const clq_conv_geometry *geometry, const uint8_t *x, int pitch,
                          int32_t x_zero_point, const int8_t *w, const int32_t *bias,
                          int32_t *sums);

/* Elements of each tensor. */
size_t ref_conv2d_x_count(const clq_conv_geometry *geometry);
size_t ref_conv2d_w_count(const clq_conv_geometry *geometry);
size_t ref_conv2d_y_count(const clq_conv_geometry *geometry);

#endif

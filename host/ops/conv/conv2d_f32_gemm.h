/* Forward of a 1x1 FP32 convolution as one matrix product by CLBlast: pixels (N * H * W, IC) times
 * weights (OC, IC)^T, and a pass for bias, residual and activation. */
#ifndef CLQUANT_OPS_CONV2D_F32_GEMM_H
#define CLQUANT_OPS_CONV2D_F32_GEMM_H

#include <clquant/device.h>

#include "ops/conv/conv_geometry.h"

typedef struct clq_conv_gemm {
    clq_device *device;
    size_t pixels, in, out; /* N * H * W, IC, OC */
    clq_buffer *w;          /* (OC, IC) */
    clq_kernel *finish;
    double operations;
} clq_conv_gemm;

/* Whether this build, the device's schedule and the shape (1x1, stride 1, no padding, one group)
 * allow it. */
bool clq_conv_gemm_suits(const clq_device *device, const clq_conv_geometry *geometry);

/* `gemm` must be zeroed; destroy after a failure too. */
clq_status clq_conv_gemm_init(clq_conv_gemm *gemm, clq_device *device,
                              const clq_conv_geometry *geometry);
void clq_conv_gemm_free(clq_conv_gemm *gemm);
/* Copies w (OC, IC). */
clq_status clq_conv_gemm_load_weights(clq_conv_gemm *gemm, clq_buffer *w);
/* y = act(x w^T + bias + residual); bias and residual may be NULL, residual may be y. */
clq_status clq_conv_gemm_run(clq_conv_gemm *gemm, clq_buffer *x, clq_buffer *bias,
                             clq_buffer *residual, clq_act act, clq_buffer *y);

#endif

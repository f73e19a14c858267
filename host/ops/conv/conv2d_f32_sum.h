/* Forward and backward-data of one FP32 convolution: the sum over taps of kernels/include/
 * conv_shape.h. */
#ifndef CLQUANT_OPS_CONV2D_F32_SUM_H
#define CLQUANT_OPS_CONV2D_F32_SUM_H

#include <clquant/device.h>

#include "ops/conv/conv2d_f32_plan.h"
#include "ops/conv/conv_packed.h"

typedef struct clq_conv_sum {
    clq_device *device;
    conv_shape shape;
    int taps;           /* of all phases */
    clq_buffer *tables; /* conv_shape, its phases, its taps */
    clq_conv_packed packed;
    clq_kernel *kernel, *pack;
    clq_f32_plan plan;
    double operations;
} clq_conv_sum;

/* `sum` must be zeroed; free after a failure too. The caller takes the packed weights' memory
 * before he loads weights and runs. */
clq_status clq_conv_sum_init(clq_conv_sum *sum, clq_device *device,
                             const clq_conv_geometry *geometry, bool backward);
/* The same as a choice says (NULL: as above), without a self-test; CLQ_INTERNAL when it cannot be
 * had. */
clq_status clq_conv_sum_init_as(clq_conv_sum *sum, clq_device *device,
                                const clq_conv_geometry *geometry, bool backward,
                                const clq_conv_choice *choice);
/* Whether that choice can be had in a direction. */
clq_status clq_conv_sum_suits(clq_device *device, const clq_conv_geometry *geometry, bool backward,
                              const clq_conv_choice *choice, bool *suits);
void clq_conv_sum_free(clq_conv_sum *sum);
clq_status clq_conv_sum_load_weights(clq_conv_sum *sum, clq_buffer *w);
/* dst = act(sum + bias + residual); bias and residual may be NULL, residual may be dst. */
clq_status clq_conv_sum_run(clq_conv_sum *sum, clq_buffer *src, clq_buffer *bias,
                            clq_buffer *residual, clq_act act, clq_buffer *dst);

#endif

/* Forward or backward-data of one FP32 3x3 convolution of stride 1 by Winograd's algorithm
 * (kernels/f32/conv2d_winograd.cl): fewer multiplications than the sum over taps, a little more
 * rounding. CPU schedule. */
#ifndef CLQUANT_OPS_CONV2D_F32_WINOGRAD_H
#define CLQUANT_OPS_CONV2D_F32_WINOGRAD_H

#include <clquant/device.h>

#include "kernels/include/winograd.h"
#include "ops/conv/conv_geometry.h"
#include "ops/conv/conv_packed.h"

/* How the work is cut; see the kernel. Results depend on `out` alone. The sums of `cols` column
 * tiles of a block must fit WINOGRAD_SUMS. */
typedef struct clq_winograd_plan {
    int out;           /* output tile's edge: 2 or 4 */
    int rows, vectors; /* register tile: MR, NV */
    int block;         /* output tiles of a block, a multiple of rows */
    int item_cols;     /* column tiles of a work-item, */
    int cols;          /* of them at a time */
    bool fused; /* work-items transform their own input, if it is of whole vectors and fits their
                   own memory: WINOGRAD_OWN_POSITION */
    int depth;  /* for which it was chosen */
} clq_winograd_plan;

typedef struct clq_conv_winograd {
    clq_device *device;
    winograd_shape shape;
    clq_winograd_plan plan;
    clq_buffer *shape_buffer;
    clq_conv_packed packed;
    clq_kernel *kernel, *input, *pack;
    int launch_blocks;    /* blocks of a launch */
    size_t scratch_bytes; /* for their transformed input */
    double operations;    /* that it really takes, transforms aside */
} clq_conv_winograd;

/* Whether Winograd's algorithm can be had and should be faster than the sum over taps; fills in the
 * plan. */
bool clq_winograd_choose(const clq_device *device, const clq_conv_geometry *geometry, bool backward,
                         clq_winograd_plan *plan);

/* `conv` must be zeroed; free after a failure too. The caller takes the packed weights' memory
 * before he loads weights and runs. */
clq_status clq_conv_winograd_init(clq_conv_winograd *conv, clq_device *device,
                                  const clq_conv_geometry *geometry, bool backward,
                                  const clq_winograd_plan *plan);
void clq_conv_winograd_free(clq_conv_winograd *conv);
/* w (OC, 3, 3, IC) */
clq_status clq_conv_winograd_load_weights(clq_conv_winograd *conv, clq_buffer *w);
/* dst = act(sum + bias + residual); bias and residual may be NULL, residual may be dst. */
clq_status clq_conv_winograd_run(clq_conv_winograd *conv, clq_buffer *src, clq_buffer *bias,
                                 clq_buffer *residual, clq_act act, clq_buffer *dst);

/* ---- shared with backward-weights ---- */

/* Floats of the vectors that the kernels are built for. */
int clq_winograd_vector(const clq_device *device);

/* Whether the schedule and the convolution's form are the algorithm's, whatever the channels. */
bool clq_winograd_suits(const clq_device *device, const clq_conv_geometry *geometry);

/* Of the plan it reads out, vectors and block. */
winograd_shape clq_winograd_shape(const clq_conv_geometry *geometry, bool backward,
                                  const clq_winograd_plan *plan, int vector);

/* Queues conv2d_f32_winograd_input for `tiles` tiles from first_block on. `zeros` holds, at
 * shape.zeros, a pixel of zeros. */
clq_status clq_winograd_transform_input(clq_device *device, clq_kernel *kernel, clq_buffer *src,
                                        clq_buffer *zeros, clq_buffer *shape,
                                        clq_buffer *transformed, int first_block, int tiles);

#endif

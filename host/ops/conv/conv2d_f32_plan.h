/* Inside the FP32 convolution: how one sum over taps (kernels/include/conv_shape.h), forward or
 * backward-data, runs on one device. */
#ifndef CLQUANT_OPS_CONV2D_F32_PLAN_H
#define CLQUANT_OPS_CONV2D_F32_PLAN_H

#include "kernels/include/conv_shape.h"
#include "ops/conv/conv_choice.h"

typedef struct clq_f32_plan {
    const char *kernel_name;
    char options[96]; /* build options of the kernel */
    clq_range range;
    int col_tile, col_tiles; /* of conv_shape */
    int extra[3];            /* the kernel's last arguments */
    int extras;
    clq_conv_choice choice; /* what was chosen, whole */
} clq_f32_plan;

/* Chooses kernel, tile and work-items: as `choice` states, the rest (NULL: all) by heuristics.
 * False when this device or shape cannot have that choice. Whatever is chosen, an output element's
 * products are added in one order (taps, then channels), so that its bits are the same. */
bool clq_f32_make_plan(const clq_device_info *info, const conv_shape *shape,
                       const conv_phase *phases, bool depthwise, const clq_conv_choice *choice,
                       clq_f32_plan *plan);

/* Choices worth measuring for the forward, the heuristics' first. */
void clq_f32_candidates(const clq_device_info *info, const clq_conv_geometry *geometry,
                        clq_conv_candidates *candidates);

#endif

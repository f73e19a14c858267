/* Transposed integer convolutions: output pixels whose places agree modulo the stride, a phase, are
 * a convolution of stride 1 of the input with the taps that reach them. All phases are made at
 * once, as channels of one convolution whose kernel holds the taps of all (and zeros), and then put
 * in their places. */
#ifndef CLQUANT_OPS_CONV2D_INT8_TRANSPOSED_H
#define CLQUANT_OPS_CONV2D_INT8_TRANSPOSED_H

#include "ops/conv/conv2d_int8.h"

typedef struct clq_int8_phases clq_int8_phases;

/* Gives the convolution of all phases: *expanded and *expanded_params, whose arrays *phases holds
 * until clq_int8_phases_drop. */
clq_status clq_int8_phases_create(clq_device *device, const clq_conv_geometry *geometry,
                                  const clq_conv2d_int8_params *params, clq_conv_geometry *expanded,
                                  clq_conv2d_int8_params *expanded_params,
                                  clq_int8_phases **phases);
void clq_int8_phases_drop(clq_int8_phases *phases);
void clq_int8_phases_destroy(clq_int8_phases *phases); /* NULL ok */

/* Memory for what the convolution of all phases makes; the caller releases it. */
clq_status clq_int8_phases_take(clq_int8_phases *phases, clq_buffer **made);
/* Puts it in its places in y; queued. */
clq_status clq_int8_phases_place(clq_int8_phases *phases, clq_buffer *made, clq_buffer *y);

#endif

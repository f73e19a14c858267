/* The sums of a layer on codes in int32, for layers that cannot prove bound (13): slow, plain, and
 * apart from the integer network's kernels. */
#ifndef CLQUANT_OPS_LAYER_EXACT_H
#define CLQUANT_OPS_LAYER_EXACT_H

#include "ops/conv/conv_geometry.h"

typedef struct clq_layer_exact clq_layer_exact;

/* Whether most * sum |q_w| + |q_b| < 2^24 for every channel: equation (13), with the largest
 * |q_x - z_x| that the input's type allows. bias may be NULL. */
bool clq_layer_bound_holds(const clq_conv_geometry *geometry, double most, const float *w,
                           const int32_t *bias);

/* Host codes w (OC, KH, KW, IC/G) and bias (OC, may be NULL), whole numbers. */
clq_status clq_layer_exact_create(clq_device *device, const clq_conv_geometry *geometry,
                                  const float *w, const int32_t *bias, clq_layer_exact **exact);
void clq_layer_exact_destroy(clq_layer_exact *exact); /* NULL ok */

/* x: codes q - z. Queues the work; *sums, S32 (N, OH, OW, OC), is scratch that the caller releases.
 */
clq_status clq_layer_exact_forward(clq_layer_exact *exact, clq_buffer *x, clq_buffer **sums);

#endif

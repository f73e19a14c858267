/* The sums of a layer on codes in a training step, by the integer network's kernels: activations to
 * bytes, weights packed on the device, sums in int32. As (13) holds for the codes of the step, they
 * are the float convolution's, and cost less where there are byte products. */
#ifndef CLQUANT_OPS_LAYER_SUMS_INT8_H
#define CLQUANT_OPS_LAYER_SUMS_INT8_H

#include "ops/conv/conv_geometry.h"

typedef struct clq_layer_sums clq_layer_sums;

/* x of `type`, with a zero point that stays. *sums stays NULL where the device has no kernel whose
 * weights can be packed so, and for transposed convolutions. */
clq_status clq_layer_sums_create(clq_device *device, const clq_conv_geometry *geometry,
                                 const clq_qtype_info *type, int32_t x_zero_point,
                                 clq_layer_sums **sums);
void clq_layer_sums_destroy(clq_layer_sums *sums); /* NULL ok */

/* Takes codes (OC, KH, KW, IC/G) and bias_codes (OC) or NULL, floats; *exact: bound (13) holds for
 * them. Waits. */
clq_status clq_layer_sums_load(clq_layer_sums *sums, clq_buffer *codes, clq_buffer *bias_codes,
                               bool *exact);
/* x: codes q - z; y: F32 (N, OH, OW, OC). Queues the work. */
clq_status clq_layer_sums_forward(clq_layer_sums *sums, clq_buffer *x, clq_buffer *y);

#endif

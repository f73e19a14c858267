/* The constants of requantization, computed once on the host (kernels/include/requantize.h says
 * what the kernels do with them). Built with -ffp-contract=off: each line is one IEEE operation,
 * so the values are the same on every host. */
#ifndef CLQUANT_OPS_MULTIPLIER_H
#define CLQUANT_OPS_MULTIPLIER_H

#include <clquant/graph.h>

#include "kernels/include/scales.h"

/* M = (x_scale * w_scale) / y_scale. CLQ_BAD_DATA unless all three are positive and finite and M is
 * a positive, finite, normal float. */
clq_status clq_multiplier_float(float x_scale, float w_scale, float y_scale, float *m);

/* M = mantissa * 2^-shift exactly: 2^30 <= mantissa < 2^31; 0 for M < 2^-32, with which every sum
 * rounds to 0. CLQ_BAD_DATA for M >= 2^30. */
clq_status clq_multiplier_fixed(float m, int32_t *mantissa, int32_t *shift);

/* M = 2^-shift, -20 <= shift <= 31. CLQ_BAD_DATA when M is no such power of two. */
clq_status clq_multiplier_shift(float m, int32_t *shift);

/* ---- by requantizer: what the kernels take as ints ---- */

/* Of sums: M's bits; mantissa and shift; shift. */
clq_status clq_multiplier_sum(clq_requantizer requantizer, float x_scale, float w_scale,
                              float y_scale, int32_t factor[2]);
/* Of an addition: (4), (4f) or (4s). CLQ_BAD_DATA for scales that differ too much: (4f) takes
 * factors below 2^20, (4s) inputs' scales within 2^22 of each other. */
clq_status clq_multiplier_add(clq_requantizer requantizer, float a_scale, float b_scale,
                              float y_scale, clq_add_factors *factors);
/* Of the mean of `count` codes: M's bits; mantissa and shift; count and the shift of (6s).
 * CLQ_BAD_DATA for scales that are no powers of two with (6s), or 2^22 codes and more. */
clq_status clq_multiplier_mean(clq_requantizer requantizer, float x_scale, float y_scale, int count,
                               int32_t factor[2]);

#endif

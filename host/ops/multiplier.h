/* The constants of requantization, computed once on the host (kernels/include/requantize.h says
 * what the kernels do with them). Built with -ffp-contract=off: each line is one IEEE operation,
 * so the values are the same on every host. */
#ifndef CLQUANT_OPS_MULTIPLIER_H
#define CLQUANT_OPS_MULTIPLIER_H

#include <clquant/base.h>

/* M = (x_scale * w_scale) / y_scale. CLQ_BAD_DATA unless all three are positive and finite and M is
 * a positive, finite, normal float. */
clq_status clq_multiplier_float(float x_scale, float w_scale, float y_scale, float *m);

/* M = mantissa * 2^-shift exactly: 2^30 <= mantissa < 2^31, or less where shift reached 62 (then
 * rounded to nearest). CLQ_BAD_DATA for M >= 2^30. */
clq_status clq_multiplier_fixed(float m, int32_t *mantissa, int32_t *shift);

/* M = 2^-shift, -20 <= shift <= 31. CLQ_BAD_DATA when M is no such power of two. */
clq_status clq_multiplier_shift(float m, int32_t *shift);

#endif

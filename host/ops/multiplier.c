#include "ops/multiplier.h"

#include <float.h>
#include <math.h>

static bool is_scale(float scale) {
    return isfinite(scale) && scale >= FLT_MIN;
}

clq_status clq_multiplier_float(float x_scale, float w_scale, float y_scale, float *m) {
    if (!is_scale(x_scale) || !is_scale(w_scale) || !is_scale(y_scale)) {
        return clq_fail(CLQ_BAD_DATA,
                        "scales %g, %g, %g: each must be a positive, finite, normal number",
                        (double)x_scale, (double)w_scale, (double)y_scale);
    }
    float product = x_scale * w_scale;
    *m = product / y_scale;
    if (!is_scale(*m)) {
        return clq_fail(CLQ_BAD_DATA,
                        "requantization factor %g * %g / %g leaves the range of float",
                        (double)x_scale, (double)w_scale, (double)y_scale);
    }
    return CLQ_OK;
}

clq_status clq_multiplier_fixed(float m, int32_t *mantissa, int32_t *shift) {
    int exponent = 0;
    float fraction = frexpf(m, &exponent); /* m = fraction * 2^exponent, 1/2 <= fraction < 1 */
    if (!is_scale(m) || exponent > 30) {
        return clq_fail(CLQ_BAD_DATA,
                        "requantization factor %g: a fixed-point one lies in (0, 2^30)", (double)m);
    }
    *shift = 31 - exponent;
    *mantissa = (int32_t)ldexpf(fraction, 31);
    if (*shift > 62) {
        *mantissa = (int32_t)rintf(ldexpf(m, 62));
        *shift = 62;
    }
    return CLQ_OK;
}

clq_status clq_multiplier_shift(float m, int32_t *shift) {
    int exponent = 0;
    float fraction = frexpf(m, &exponent);
    if (fraction != 0.5f || exponent - 1 > 20 || exponent - 1 < -31) {
        return clq_fail(CLQ_BAD_DATA,
                        "requantization factor %g: the shift requantizer takes 2^-31 .. 2^20",
                        (double)m);
    }
    *shift = 1 - exponent;
    return CLQ_OK;
}

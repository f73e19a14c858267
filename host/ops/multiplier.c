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
    if (!is_scale(m) || m >= 0x1p30f) {
        return clq_fail(CLQ_BAD_DATA,
                        "requantization factor %g: a fixed-point one lies in (0, 2^30)", (double)m);
    }
    *mantissa = clq_fixed_mantissa(m);
    *shift = clq_fixed_shift(m);
    return CLQ_OK;
}

static bool is_pow2(float m) {
    int exponent = 0;
    return is_scale(m) && frexpf(m, &exponent) == 0.5f;
}

clq_status clq_multiplier_shift(float m, int32_t *shift) {
    if (!is_pow2(m) || m > 0x1p20f || m < 0x1p-31f) {
        return clq_fail(CLQ_BAD_DATA,
                        "requantization factor %g: the shift requantizer takes the powers of two "
                        "2^-31 .. 2^20",
                        (double)m);
    }
    *shift = clq_shift_of(m);
    return CLQ_OK;
}

/* ---- by requantizer ---- */

static clq_status factor_of(clq_requantizer requantizer, float m, int32_t factor[2]) {
    factor[1] = 0;
    if (requantizer == CLQ_REQUANT_FIXED) {
        return clq_multiplier_fixed(m, &factor[0], &factor[1]);
    }
    if (requantizer == CLQ_REQUANT_SHIFT) {
        return clq_multiplier_shift(m, &factor[0]);
    }
    factor[0] = clq_float_bits(m);
    return CLQ_OK;
}

clq_status clq_multiplier_sum(clq_requantizer requantizer, float x_scale, float w_scale,
                              float y_scale, int32_t factor[2]) {
    float m = 0;
    CLQ_TRY(clq_multiplier_float(x_scale, w_scale, y_scale, &m));
    return factor_of(requantizer, m, factor);
}

clq_status clq_multiplier_add(clq_requantizer requantizer, float a_scale, float b_scale,
                              float y_scale, clq_add_factors *factors) {
    float ma = 0, mb = 0;
    int32_t unused;
    CLQ_TRY(clq_multiplier_float(a_scale, 1.0f, y_scale, &ma));
    CLQ_TRY(clq_multiplier_float(b_scale, 1.0f, y_scale, &mb));
    if (requantizer == CLQ_REQUANT_FIXED && (ma >= 0x1p20f || mb >= 0x1p20f)) {
        return clq_fail(CLQ_BAD_DATA,
                        "an addition's factors are %g and %g: fixed-point ones are below 2^20",
                        (double)ma, (double)mb);
    }
    if (requantizer == CLQ_REQUANT_SHIFT) {
        CLQ_TRY(clq_multiplier_shift(ma, &unused));
        CLQ_TRY(clq_multiplier_shift(mb, &unused));
        if (ma / mb > 0x1p22f || mb / ma > 0x1p22f) {
            return clq_fail(CLQ_BAD_DATA,
                            "an addition's inputs have the scales %g and %g: the shift requantizer "
                            "takes such within 2^22 of each other",
                            (double)a_scale, (double)b_scale);
        }
    }
    *factors = clq_add_factors_of((int)requantizer, ma, mb);
    return CLQ_OK;
}

clq_status clq_multiplier_mean(clq_requantizer requantizer, float x_scale, float y_scale, int count,
                               int32_t factor[2]) {
    float m = 0;
    if (requantizer != CLQ_REQUANT_SHIFT) {
        const float area = y_scale * (float)count;
        CLQ_TRY(clq_multiplier_float(x_scale, 1.0f, area, &m));
        return factor_of(requantizer, m, factor);
    }
    CLQ_TRY(clq_multiplier_float(x_scale, 1.0f, y_scale, &m));
    if (!is_pow2(m) || count >= 1 << 22) {
        return clq_fail(CLQ_BAD_DATA,
                        "a mean of %d codes with the factor %g: the shift requantizer takes powers "
                        "of two, and below 2^22 codes",
                        count, (double)m);
    }
    factor[0] = count;
    factor[1] = clq_mean_shift_of(x_scale, y_scale);
    return CLQ_OK;
}

/* From ranges to scales and zero points: equations (3) to (6) of docs/quantization.md. */
#include <math.h>

#include <clquant/quant.h>

void clq_quant_config_init(clq_quant_config *config) {
    *config = (clq_quant_config){
        .observer = CLQ_OBSERVER_MIN_MAX, .averaging = 0.01, .max_shift = 8, .images = 512};
}

clq_status clq_quant_config_check(const clq_quant_config *config) {
    if (!(config->averaging > 0 && config->averaging <= 1)) {
        return clq_fail(CLQ_USAGE, "averaging must be in (0, 1], is %g", config->averaging);
    }
    if (config->max_shift < 0 || config->max_shift > 30) {
        return clq_fail(CLQ_USAGE, "max_shift must be in 0..30, is %d", config->max_shift);
    }
    if (config->images < 1) {
        return clq_fail(CLQ_USAGE, "images must be at least 1, is %lld", (long long)config->images);
    }
    if (config->requantizer == 2 && config->scale != CLQ_SCALE_POW2) {
        return clq_fail(CLQ_USAGE, "the shift requantizer needs power-of-two scales");
    }
    return CLQ_OK;
}

clq_status clq_scale_to_pow2(const char *name, float scale, int max_shift, float *pow2) {
    if (!(scale > 0) || !isfinite(scale)) {
        return clq_fail(CLQ_BAD_DATA, "%s: a scale must be positive and finite, is %g", name,
                        (double)scale);
    }
    const double exponent = rint(log2((double)scale));
    *pow2 = ldexpf(1.0f, (int)fmin(fmax(exponent, -max_shift), max_shift));
    return CLQ_OK;
}

/* `width / steps`, 1 for a width of 0, rounded to a power of two where the configuration says so.
 */
static clq_status scale_of(const clq_quant_config *config, const char *name, float width,
                           float steps, float *scale) {
    *scale = width > 0 ? width / steps : 1.0f;
    if (*scale < 0x1p-126f) { /* a range so small that its scale is no normal number */
        *scale = 0x1p-126f;
    }
    if (config->scale == CLQ_SCALE_POW2) {
        return clq_scale_to_pow2(name, *scale, config->max_shift, scale);
    }
    return CLQ_OK;
}

clq_status clq_activation_qparams(const clq_quant_config *config, const char *name, float min,
                                  float max, float *scale, int32_t *zero_point) {
    if (!isfinite(min) || !isfinite(max) || min > max) {
        return clq_fail(CLQ_BAD_DATA, "%s: the observed range [%g, %g] is not a finite interval",
                        name, (double)min, (double)max);
    }
    min = fminf(min, 0);
    max = fmaxf(max, 0);
    if (config->symmetric_activations) {
        *zero_point = min < 0 ? 128 : 0;
        return scale_of(config, name, fmaxf(-min, max), min < 0 ? 127.0f : 255.0f, scale);
    }
    const double width = (double)max - (double)min;
    if (width > 3.0e38) {
        return clq_fail(CLQ_BAD_DATA, "%s: the observed range [%g, %g] is wider than a float", name,
                        (double)min, (double)max);
    }
    CLQ_TRY(scale_of(config, name, max - min, 255.0f, scale));
    *zero_point = (int32_t)fminf(fmaxf(rintf(-min / *scale), 0.0f), 255.0f);
    return CLQ_OK;
}

clq_status clq_weight_scale(const clq_quant_config *config, const char *name, float max_abs,
                            float *scale) {
    if (!isfinite(max_abs) || max_abs < 0) {
        return clq_fail(CLQ_BAD_DATA, "%s: a weight is not finite", name);
    }
    return scale_of(config, name, max_abs, 127.0f, scale);
}

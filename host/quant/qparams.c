/* From ranges to scales and zero points: equations (3) to (6) of docs/quantization.md. */
#include <math.h>

#include "base/arguments.h"
#include "base/ranges.h"
#include "kernels/include/scales.h"
#include "ops/conv/conv2d_int8.h"
#include "quant/internal.h"
#include "quant/steps.h"

void clq_quant_config_init(clq_quant_config *config) {
    CLQ_NEEDS_OR(, config);
    *config = (clq_quant_config){.observer = CLQ_OBSERVER_MIN_MAX,
                                 .percentile = CLQ_PERCENTILE,
                                 .averaging = 0.01,
                                 .max_shift = 8,
                                 .images = 512,
                                 .observer_epochs = -1};
}

clq_status clq_quant_config_check(const clq_quant_config *config) {
    CLQ_NEEDS(config);
    if ((unsigned)config->observer >= CLQ_OBSERVER_COUNT ||
        (unsigned)config->weight_observer > CLQ_WEIGHTS_MSE ||
        (unsigned)config->weight_steps >= CLQ_STEPS_COUNT ||
        (unsigned)config->scale > CLQ_SCALE_POW2) {
        return clq_fail(
            CLQ_USAGE,
            "unknown observer %d, of weights %d, steps of weights %d or kind of scale %d",
            (int)config->observer, (int)config->weight_observer, (int)config->weight_steps,
            (int)config->scale);
    }
    if ((unsigned)config->learn_scales >= CLQ_LEARN_COUNT) {
        return clq_fail(CLQ_USAGE, "unknown kind of learned scales %d", (int)config->learn_scales);
    }
    if (config->learn_scales == CLQ_LEARN_LSQ_PLUS && config->symmetric_activations) {
        return clq_fail(CLQ_USAGE, "learn_scales \"lsq+\" learns the offsets of activations, which "
                                   "symmetric ones do not have; \"lsq\" learns scales alone");
    }
    if (config->int8_forward && config->learn_scales == CLQ_LEARN_LSQ_PLUS) {
        return clq_fail(CLQ_USAGE, "int8_forward needs zero points that stay, and learn_scales "
                                   "\"lsq+\" moves them in every step");
    }
    if (!clq_requantizer_name(config->requantizer)) {
        return clq_fail(CLQ_USAGE, "unknown requantizer %d", (int)config->requantizer);
    }
    if (config->requantizer == CLQ_REQUANT_SHIFT && config->scale != CLQ_SCALE_POW2) {
        return clq_fail(CLQ_USAGE,
                        "requantizer shift takes scales that are powers of two (scale pow2)");
    }
    if (config->adaround > 0 && config->weight_steps != CLQ_STEPS_UNIFORM) {
        return clq_fail(CLQ_USAGE,
                        "adaround chooses between codes that are neighbours, and "
                        "weight_steps %s leaves others between its levels",
                        clq_steps_names[config->weight_steps]);
    }
    CLQ_TRY(clq_in_range("percentile", config->percentile, CLQ_IN_PERCENTILE));
    CLQ_TRY(clq_in_range("averaging", config->averaging, CLQ_IN_AVERAGING));
    CLQ_TRY(clq_in_range("max_shift", config->max_shift, CLQ_IN_MAX_SHIFT));
    CLQ_TRY(clq_in_range("adaround", (double)config->adaround, CLQ_IN_ADAROUND));
    CLQ_TRY(clq_in_range("images", (double)config->images, CLQ_IN_IMAGES));
    CLQ_TRY(clq_in_range("freeze_bn_epoch", config->freeze_bn_epoch, CLQ_IN_QAT_EPOCHS));
    if (config->observer_epochs != -1) {
        CLQ_TRY(clq_in_range("observer_epochs", config->observer_epochs, CLQ_IN_OBSERVER_EPOCHS));
    }
    return CLQ_OK;
}

int clq_scale_shift(const clq_quant_config *config) {
    return config->scale == CLQ_SCALE_POW2 ? config->max_shift : CLQ_ANY_SCALE;
}

clq_status clq_scale_to_pow2(const char *name, float scale, int max_shift, float *pow2) {
    CLQ_NEEDS(name, pow2);
    if (!(scale > 0) || !isfinite(scale)) {
        return clq_fail(CLQ_BAD_DATA, "%s: a scale must be positive and finite, is %g", name,
                        (double)scale);
    }
    *pow2 = clq_nearest_pow2(scale, max_shift);
    return CLQ_OK;
}

clq_status clq_activation_qparams(const clq_quant_config *config, const char *name, float min,
                                  float max, clq_qtype type, float *scale, int32_t *zero_point) {
    CLQ_NEEDS(config, name, scale, zero_point);
    const clq_qtype_info *codes = clq_qtype_get(type);
    CLQ_REQUIRE(codes && codes->bits <= 8, "type must be one of up to 8 bits");
    if (!isfinite(min) || !isfinite(max) || min > max) {
        return clq_fail(CLQ_BAD_DATA, "%s: the observed range [%g, %g] is not a finite interval",
                        name, (double)min, (double)max);
    }
    const float low = fmaxf(-min, 0), high = fmaxf(max, 0);
    if (!isfinite(low + high)) {
        return clq_fail(CLQ_BAD_DATA, "%s: the observed range [%g, %g] is wider than a float", name,
                        (double)min, (double)max);
    }
    *scale = clq_range_scale(low, high, codes->lowest, codes->highest,
                             config->symmetric_activations, clq_scale_shift(config));
    *zero_point = clq_range_zero_point(low, *scale, codes->lowest, codes->highest,
                                       config->symmetric_activations);
    return CLQ_OK;
}

clq_status clq_weight_scale(const clq_quant_config *config, const char *name, float max_abs,
                            float *scale) {
    CLQ_NEEDS(config, name, scale);
    if (!isfinite(max_abs) || max_abs < 0) {
        return clq_fail(CLQ_BAD_DATA, "%s: a weight is not finite", name);
    }
    *scale = clq_weights_scale(max_abs, 127, 0, 1, clq_scale_shift(config));
    return CLQ_OK;
}

/* Keys of "ptq" and "qat": how to quantize. */
#include <string.h>

#include "base/ranges.h"
#include "graph/node.h"
#include "quant/policy.h"
#include "quant/report.h"
#include "quant/steps.h"
#include "session/keys.h"

static clq_status read_observer(clq_json_reader *r, clq_quant_config *config) {
    const char *text = NULL;
    CLQ_TRY(clq_json_read_string(r, "observer", &text));
    return !text || clq_observer_parse(text, config) == CLQ_OK
               ? CLQ_OK
               : clq_json_fail(r, "observer", "%s", clq_last_error());
}

static bool is_text(clq_json_reader *r, const char *key, const char *text) {
    const char *value = json_string_value(json_object_get(r->object, key));
    return clq_json_has(r, key) && value && strcmp(value, text) == 0;
}

/* A rule for all nodes, unless another section has said the same. */
static clq_status add_last_rule(clq_policy *policy, clq_policy_rule rule) {
    for (int i = 0; i < policy->count; i++) {
        const clq_policy_rule *r = &policy->rules[i];
        if (!r->name[0] && !r->op[0] && !r->first && !r->last && !r->keep_float &&
            r->weights == rule.weights && r->activations == rule.activations) {
            return CLQ_OK;
        }
    }
    return clq_policy_add(policy, &rule);
}

clq_status clq_keys_read_quantization(clq_json_reader *r, clq_quant_config *config) {
    CLQ_TRY(read_observer(r, config));
    CLQ_READ_ENUM(r, "requantizer", clq_requantizer_names, config->requantizer);
    if (clq_json_has(r, "requantizer") && config->requantizer == CLQ_REQUANT_SHIFT) {
        config->scale = CLQ_SCALE_POW2; /* which "scale" must not contradict */
    }
    CLQ_READ_ENUM(r, "scale", clq_scale_names, config->scale);
    if (config->requantizer == CLQ_REQUANT_SHIFT && config->scale != CLQ_SCALE_POW2) {
        return clq_json_fail(r, "scale", "must be \"pow2\" for the requantizer \"shift\"");
    }
    CLQ_READ_ENUM(r, "weight_steps", clq_steps_names, config->weight_steps);
    const bool real_activations = is_text(r, "activations", "float");
    const bool real_weights = is_text(r, "weights", "float");
    if (!real_activations) {
        CLQ_READ_ENUM(r, "activations", clq_activation_names, config->symmetric_activations);
    }
    if (!real_weights) {
        CLQ_READ_ENUM(r, "weights", clq_weight_names, config->per_tensor_weights);
    }
    CLQ_READ_ENUM(r, "weight_observer", clq_weight_observer_names, config->weight_observer);
    CLQ_TRY(clq_json_read_f64(r, "averaging", CLQ_IN_AVERAGING, &config->averaging));
    const bool limited = clq_json_has(r, "max_shift");
    CLQ_TRY(clq_json_read_int(r, "max_shift", CLQ_IN_MAX_SHIFT, &config->max_shift));
    if (limited && config->scale != CLQ_SCALE_POW2) {
        return clq_json_fail(r, "max_shift", "is for powers of two, and needs scale \"pow2\"");
    }
    CLQ_TRY(clq_json_read_bool(r, "equalize", &config->equalize));
    CLQ_TRY(clq_json_read_int(r, "adaround", CLQ_IN_ADAROUND, &config->adaround));
    CLQ_TRY(clq_json_read_bool(r, "bias_correct", &config->bias_correct));
    if (clq_json_has(r, "policy")) { /* one of its own takes the place of another section's */
        config->policy.count = 0;
        CLQ_TRY(clq_policy_read(r, "policy", &config->policy));
    }
    if (real_activations) {
        CLQ_TRY(add_last_rule(&config->policy, (clq_policy_rule){.activations = CLQ_Q_FLOAT}));
    }
    if (real_weights) {
        CLQ_TRY(add_last_rule(&config->policy, (clq_policy_rule){.weights = CLQ_Q_FLOAT}));
    }
    return clq_json_read_i64(r, "images", CLQ_IN_IMAGES, &config->images);
}

/* QAT without keys of its own: a tenth of the training's learning rate, everything else as there.
 */
void clq_keys_init_qat(const clq_train_config *train, const clq_quant_config *ptq,
                       clq_train_config *qat, clq_quant_config *quant) {
    *qat = *train;
    qat->epochs = 0;
    qat->freeze_count = 0;
    qat->progressive_count = 0;
    qat->schedule.kind = CLQ_LR_COSINE;
    qat->schedule.lr = train->schedule.lr * 0.0005;
    qat->schedule.warmup_epochs = 0;
    qat->schedule.eta_min = 0;
    *quant = *ptq;
    quant->adaround = 0; /* training rounds anew */
    quant->observer = CLQ_OBSERVER_MOVING_AVERAGE;
}

clq_status clq_keys_read_qat(clq_json_reader *r, clq_train_config *qat, clq_quant_config *quant) {
    CLQ_TRY(clq_json_read_int(r, "epochs", CLQ_IN_QAT_EPOCHS, &qat->epochs));
    CLQ_TRY(clq_keys_read_training(r, qat));
    CLQ_TRY(clq_keys_read_quantization(r, quant));
    CLQ_READ_ENUM(r, "learn_scales", clq_learn_names, quant->learn_scales);
    CLQ_TRY(clq_json_read_bool(r, "int8_forward", &quant->int8_forward));
    CLQ_TRY(clq_json_read_int(r, "freeze_bn_epoch", CLQ_IN_QAT_EPOCHS, &quant->freeze_bn_epoch));
    return clq_json_read_f64(r, "observer_epochs", CLQ_IN_OBSERVER_EPOCHS, &quant->observer_epochs);
}

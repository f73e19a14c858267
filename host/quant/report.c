#include "quant/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "kernels/include/scales.h"
#include "quant/policy.h"
#include "quant/steps.h"

const char *const clq_scale_names[2] = {"float", "pow2"};
const char *const clq_activation_names[2] = {"affine", "symmetric"};
const char *const clq_weight_names[2] = {"per_channel", "per_tensor"};
const char *const clq_weight_observer_names[2] = {"minmax", "mse"};

/* ---- scales ---- */

/* The value's entry, made when it is new. */
static clq_status find_entry(clq_quant_report *report, const clq_value *value,
                             clq_clamped_value **entry) {
    if (report->value_count > 0) {
        *entry = &report->values[report->value_count - 1]; /* scales come value by value */
        if (strcmp((*entry)->name, value->name) == 0) {
            return CLQ_OK;
        }
    }
    clq_clamped_value *values =
        clq_realloc(report->values, (size_t)report->value_count + 1, sizeof *values);
    char *name = clq_strdup(value->name);
    report->values = values ? values : report->values;
    if (!values || !name) {
        clq_free(name);
        return CLQ_NO_MEMORY;
    }
    *entry = &values[report->value_count++];
    **entry = (clq_clamped_value){.name = name};
    return CLQ_OK;
}

clq_status clq_report_scale(clq_quant_report *report, const clq_quant_config *config,
                            const clq_value *value, float exact, float scale) {
    enum { ANY_EXPONENT = 126 };
    if (!report) {
        return CLQ_OK;
    }
    report->scales++;
    if (config->scale != CLQ_SCALE_POW2) {
        return CLQ_OK;
    }
    const float wanted = clq_nearest_pow2(exact, ANY_EXPONENT);
    if (wanted == scale) {
        return CLQ_OK;
    }
    int exponent = 0;
    clq_clamped_value *entry = NULL;
    CLQ_TRY(find_entry(report, value, &entry));
    (void)frexpf(wanted, &exponent); /* wanted = 2^(exponent - 1) */
    exponent = abs(exponent - 1);
    entry->scales++;
    entry->max_shift = exponent > entry->max_shift ? exponent : entry->max_shift;
    report->clamped++;
    report->max_shift = exponent > report->max_shift ? exponent : report->max_shift;
    return CLQ_OK;
}

void clq_quant_report_clear(clq_quant_report *report) {
    if (!report) {
        return;
    }
    for (int i = 0; i < report->value_count; i++) {
        clq_free(report->values[i].name);
    }
    clq_free(report->values);
    clq_equalization_clear(&report->equalization);
    *report = (clq_quant_report){0};
}

/* ---- settings ---- */

json_t *clq_quant_config_to_json(const clq_quant_config *config, const char *method,
                                 int64_t images) {
    char observer[CLQ_OBSERVER_TEXT];
    json_t *json = json_object();
    json_object_set_new(json, "method", clq_json_string(method));
    json_object_set_new(json, "images", json_integer(images));
    if (images > 0 || !config->encodings) { /* else scales were given, and no range was observed */
        json_object_set_new(
            json, "observer",
            clq_json_string(clq_observer_text(config->observer, config->percentile, observer)));
        json_object_set_new(json, "averaging", json_real(config->averaging));
    }
    json_object_set_new(json, "activations",
                        clq_json_string(clq_activation_names[config->symmetric_activations]));
    json_object_set_new(json, "weights",
                        clq_json_string(clq_weight_names[config->per_tensor_weights]));
    json_object_set_new(json, "weight_observer",
                        clq_json_string(clq_weight_observer_names[config->weight_observer]));
    json_object_set_new(json, "scale", clq_json_string(clq_scale_names[config->scale]));
    if (config->weight_steps != CLQ_STEPS_UNIFORM) {
        json_object_set_new(json, "weight_steps",
                            clq_json_string(clq_steps_names[config->weight_steps]));
    }
    json_object_set_new(json, "equalize", json_boolean(config->equalize));
    json_object_set_new(json, "adaround", json_integer(config->adaround));
    json_object_set_new(json, "bias_correct", json_boolean(config->bias_correct));
    if (config->encodings) {
        const char *path = clq_encodings_path(config->encodings), *last = strrchr(path, '/');
        json_object_set_new(json, "encodings", clq_json_string(last ? last + 1 : path));
    }
    if (config->learn_scales != CLQ_LEARN_NONE) {
        json_object_set_new(json, "learn_scales",
                            clq_json_string(clq_learn_names[config->learn_scales]));
    }
    if (config->int8_forward) {
        json_object_set_new(json, "int8_forward", json_true());
    }
    json_object_set_new(json, "requantizer",
                        clq_json_string(clq_requantizer_name(config->requantizer)));
    if (config->policy.count > 0) {
        json_object_set_new(json, "policy", clq_policy_to_json(&config->policy));
    }
    if (config->scale == CLQ_SCALE_POW2) {
        json_object_set_new(json, "max_shift", json_integer(config->max_shift));
    }
    if (config->freeze_bn_epoch > 0) {
        json_object_set_new(json, "freeze_bn_epoch", json_integer(config->freeze_bn_epoch));
    }
    if (config->observer_epochs >= 0) {
        json_object_set_new(json, "observer_epochs", json_real(config->observer_epochs));
    }
    return json;
}

/* What was recorded earlier; NULL: nothing. */
static json_t *recorded(const clq_graph *graph) {
    const char *text = clq_graph_get_metadata(graph, CLQ_META_QUANTIZATION);
    return text ? json_loads(text, 0, NULL) : NULL;
}

clq_quant_config clq_quant_config_found(const clq_quant_config *config, const clq_graph *graph) {
    clq_quant_config found = *config;
    if (config->observer == CLQ_OBSERVER_ALL) {
        json_t *json = recorded(graph);
        const char *observer = json_string_value(json_object_get(json, "observer"));
        (void)(observer && clq_observer_parse(observer, &found) == CLQ_OK);
        json_decref(json);
    }
    return found;
}

/* Takes the object over. */
static clq_status record(clq_graph *graph, json_t *json) {
    char *text = NULL;
    clq_status status = json ? clq_json_dump_line(json, &text) : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        status = clq_graph_set_metadata(graph, CLQ_META_QUANTIZATION, text);
    }
    clq_free(text);
    json_decref(json);
    return status;
}

clq_status clq_quant_record(clq_graph *graph, const clq_quant_config *config, const char *method,
                            int64_t images) {
    CLQ_TRY(clq_graph_set_requantizer(graph, config->requantizer));
    json_t *earlier = recorded(graph);
    json_t *done = json_object_get(earlier, "done");
    if (!images) {
        images = json_integer_value(json_object_get(earlier, "images"));
    }
    json_t *json = clq_quant_config_to_json(config, method, images);
    if (done) {
        json_object_set(json, "done", done);
    }
    json_object_set_new(json, "version", clq_json_string(clq_version()));
    json_decref(earlier);
    return record(graph, json);
}

/* ---- what was done ---- */

static json_t *equalized_to_json(const clq_equalization *equalization) {
    json_t *json = json_object(), *pairs = json_array();
    int64_t channels = 0, held = 0;
    for (int i = 0; i < equalization->count; i++) {
        const clq_equalized_pair *pair = &equalization->pairs[i];
        json_t *names = json_array();
        json_array_append_new(names, clq_json_string(pair->first));
        json_array_append_new(names, clq_json_string(pair->second));
        json_array_append_new(pairs, names);
        channels += pair->channels;
        held += pair->held;
    }
    json_object_set_new(json, "pairs", pairs);
    json_object_set_new(json, "channels", json_integer(channels));
    json_object_set_new(json, "held", json_integer(held));
    return json;
}

json_t *clq_quant_done_to_json(const clq_quant_config *config, const clq_quant_report *report) {
    json_t *json = json_object();
    if (config->equalize) {
        json_object_set_new(json, "equalized", equalized_to_json(&report->equalization));
    }
    if (config->adaround > 0) {
        const clq_adaround *a = &report->adaround;
        json_object_set_new(json, "adaround",
                            json_pack("{sI, si, si, so, so}", "images", (json_int_t)a->images,
                                      "layers", a->layers, "nearest", a->nearest, "error_before",
                                      clq_json_real(a->before), "error_after",
                                      clq_json_real(a->after)));
    }
    if (config->bias_correct) {
        const clq_bias_correction *b = &report->bias_correction;
        json_object_set_new(json, "bias_corrected",
                            json_pack("{sI, si, so, so, so}", "images", (json_int_t)b->images,
                                      "layers", b->layers, "mean_shift", clq_json_real(b->mean),
                                      "largest_shift", clq_json_real(b->largest), "largest_in",
                                      clq_json_string(b->worst)));
    }
    return json;
}

clq_status clq_quant_record_done(clq_graph *graph, const clq_quant_config *config,
                                 const clq_quant_report *report) {
    json_t *json = recorded(graph), *done = clq_quant_done_to_json(config, report);
    if (json_object_size(done) == 0) {
        json_decref(json);
        json_decref(done);
        return CLQ_OK;
    }
    json_object_set_new(json, "done", done);
    return record(graph, json);
}

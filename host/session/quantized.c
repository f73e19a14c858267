#include "session/quantized.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/ranges.h"
#include "graph/node.h"
#include "ops/layer.h"
#include "quant/report.h"
#include "session/session.h"
#include "session/stages.h"

/* ---- accuracy ---- */

static clq_status evaluate(clq_device *device, clq_graph *graph, clq_dataset *test,
                           const char *label, clq_before_after *accuracy, double *result) {
    clq_evaluation evaluation = {0};
    CLQ_TRY(clq_stage_evaluate(device, graph, false, test, 0, label, &evaluation, NULL));
    accuracy->images = evaluation.images;
    accuracy->unit = evaluation.unit;
    accuracy->is_r2 = evaluation.targets > 0;
    *result = accuracy->is_r2 ? evaluation.r2 : evaluation.top1;
    clq_evaluation_clear(&evaluation);
    return CLQ_OK;
}

clq_status clq_compare_accuracy(clq_device *device, clq_graph *trained, clq_graph *integer,
                                const clq_data_source *source, int64_t limit,
                                clq_before_after *accuracy) {
    clq_data_source quiet = *source;
    clq_dataset *test = NULL;
    *accuracy = (clq_before_after){.fp32 = NAN, .int8 = NAN};
    if (limit == 0) {
        return CLQ_OK;
    }
    quiet.any_classes = false;
    quiet.quiet = true;
    clq_status status = clq_data_open(&quiet, trained, CLQ_SPLIT_TEST, limit, &test);
    if (status == CLQ_NO_INPUT || status == CLQ_BAD_DATA || status == CLQ_USAGE) {
        clq_snprintf(accuracy->why_not, sizeof accuracy->why_not, "%s", clq_last_error());
        return CLQ_OK;
    }
    if (status == CLQ_OK) {
        status = evaluate(device, trained, test, "fp32", accuracy, &accuracy->fp32);
    }
    if (status == CLQ_OK) {
        status = evaluate(device, integer, test, "int8", accuracy, &accuracy->int8);
    }
    clq_dataset_close(test);
    return status;
}

static clq_status open_feed(clq_device *device, const clq_unlabelled *inputs,
                            const clq_graph *graph, clq_dataset *images, int batch, int64_t limit,
                            clq_feed **feed) {
    clq_feed_options options = {.batch = batch};
    if (inputs->arrays) {
        return clq_feed_create_arrays(graph, inputs->arrays, batch, limit, feed);
    }
    CLQ_TRY(clq_graph_normalization(graph, images, &options.normalization));
    return clq_feed_create(device, images, &options, feed);
}

static clq_status open_images(const clq_data_source *source, clq_graph *graph, int64_t limit,
                              clq_dataset **images) {
    clq_data_source quiet = *source;
    quiet.any_classes = quiet.quiet = true;
    return clq_data_open(&quiet, graph, CLQ_SPLIT_TRAIN, limit, images);
}

clq_status clq_compare_unlabelled(clq_device *device, clq_graph *trained, clq_graph *integer,
                                  const clq_unlabelled *inputs, int64_t limit,
                                  clq_output_errors *errors) {
    clq_status status = CLQ_OK;
    clq_graph *folded = NULL, *none = NULL; /* an integer graph is not folded */
    clq_exec *fp32 = NULL, *int8 = NULL;
    clq_dataset *images = NULL;
    clq_feed *feed = NULL;
    *errors = (clq_output_errors){.count = trained->output_count};
    if (limit == 0) {
        return CLQ_OK;
    }
    CLQ_GOTO(status, cleanup,
             inputs->images ? open_images(inputs->images, trained, limit, &images) : CLQ_OK);
    const int batch = clq_eval_batch(trained, inputs->arrays ? clq_arrays_rows(inputs->arrays)
                                                             : clq_dataset_get_info(images)->count);
    const clq_exec_options options = {.batch = batch};
    CLQ_GOTO(status, cleanup, clq_inference_open(device, trained, &options, &folded, &fp32));
    CLQ_GOTO(status, cleanup, clq_inference_open(device, integer, &options, &none, &int8));
    CLQ_GOTO(status, cleanup,
             open_feed(device, inputs, clq_exec_graph(fp32), images, batch, limit, &feed));
    CLQ_GOTO(status, cleanup, clq_compare_outputs(fp32, int8, feed, 0, errors->of, &errors->rows));
    errors->unit = clq_feed_unit(feed);
cleanup:
    clq_feed_destroy(feed);
    clq_dataset_close(images);
    clq_exec_destroy(fp32);
    clq_exec_destroy(int8);
    clq_graph_destroy(folded);
    return status;
}

clq_status clq_compare_quantized(clq_device *device, clq_graph *trained, clq_graph *integer,
                                 const clq_data_source *images, clq_arrays *arrays, int64_t limit,
                                 clq_quantized *q) {
    const clq_unlabelled inputs = {.images = images, .arrays = arrays};
    if (images) {
        CLQ_TRY(clq_compare_accuracy(device, trained, integer, images, limit, &q->accuracy));
    } else {
        clq_snprintf(q->accuracy.why_not, sizeof q->accuracy.why_not, "arrays have no labels");
    }
    return *q->accuracy.why_not
               ? clq_compare_unlabelled(device, trained, integer, &inputs, limit, &q->errors)
               : CLQ_OK;
}

/* ---- words ---- */

/* "conv1, layer1.0.conv1.weight (16 scales) and 7 more" */
static void list_clamped(const clq_quant_report *report, clq_text *text) {
    enum { NAMED = 4 };
    for (int i = 0; i < report->value_count && i < NAMED; i++) {
        const clq_clamped_value *value = &report->values[i];
        clq_text_printf(text, "%s%s", i ? ", " : "", value->name);
        if (value->scales > 1) {
            clq_text_printf(text, " (%d scales)", value->scales);
        }
    }
    if (report->value_count > NAMED) {
        clq_text_printf(text, " and %d more", report->value_count - NAMED);
    }
}

/* QAT that moved away from what it learnt from. */
static void warn_of_errors(const clq_output_errors *after, const clq_output_errors *before) {
    bool worse = false;
    for (int o = 0; before->rows > 0 && o < after->count; o++) {
        worse |= !(after->of[o] <= before->of[o]);
    }
    if (worse) {
        clq_log_warn(
            "QAT took the outputs further from FP32's than calibration had them; a smaller "
            "qat.schedule.lr, or other settings of qat.distill, may do better");
    }
}

void clq_quantized_warn(const clq_quantized *q) {
    warn_of_errors(&q->errors, &q->errors_before);
    const clq_quant_report *report = &q->report;
    clq_text names = {0};
    if (report->clamped == 0) {
        return;
    }
    list_clamped(report, &names);
    clq_text_printf(&names, ": accuracy may be lost; ");
    if (report->max_shift <= CLQ_MOST_SHIFT) {
        clq_text_printf(&names, "max_shift %d clamps none", report->max_shift);
    } else {
        clq_text_printf(&names, "max_shift %d, the most there is, clamps fewest", CLQ_MOST_SHIFT);
    }
    clq_log_warn("max_shift %d clamped %lld of %lld scale%s, in %s", q->config->max_shift,
                 (long long)report->clamped, (long long)report->scales, clq_plural(report->scales),
                 names.data ? names.data : "");
    clq_text_free(&names);
}

/* What ranges were found by. */
clq_observer_kind clq_quantized_observer(const clq_quantized *q) {
    return q->config->observer == CLQ_OBSERVER_ALL ? q->report.observer : q->config->observer;
}

/* Whether any activation is quantized. */
bool clq_has_codes(const clq_graph *graph) {
    bool has = false;
    for (int v = 0; v < graph->value_count; v++) {
        has |= !graph->values[v].data && graph->values[v].q.count > 0;
    }
    return has;
}

/* Whether layers have weights that are codes, and of less than 8 bits. */
static bool has_weight_codes(const clq_graph *graph, bool narrow) {
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        const clq_value *w = clq_is_layer(node) ? &graph->values[node->inputs[CLQ_LAYER_W]] : NULL;
        if (w && w->q.count > 0 && (!narrow || clq_qtype_get(w->q.type)->bits < 8)) {
            return true;
        }
    }
    return false;
}

static void propose(clq_text *text, const char *flag) {
    clq_text_printf(text, "%s%s", text->size ? ", " : "", flag);
}

/* What usually helps, of what was not used. */
static void propose_all(const clq_quantized *q, const clq_graph *graph, clq_text *text) {
    const clq_quant_config *config = q->config;
    const bool weights = has_weight_codes(graph, false);
    if (clq_has_codes(graph) && config->observer != CLQ_OBSERVER_ALL &&
        config->observer != CLQ_OBSERVER_MSE) {
        propose(text, "--observer mse");
    }
    if (weights && config->per_tensor_weights) {
        propose(text, "--weight-scales per_channel");
    }
    if (weights && !config->equalize) {
        propose(text, "--equalize");
    }
    if (has_weight_codes(graph, true) && config->adaround == 0) {
        propose(text, "--adaround");
    }
    if (weights && !config->bias_correct) {
        propose(text, "--bias-correct");
    }
    if (config->scale == CLQ_SCALE_POW2) {
        propose(text, "--scale float");
    }
}

void clq_quantized_hint(const clq_quantized *q, const clq_graph *graph) {
    static const double large_drop = 0.05, large_error = 0.25;
    const clq_before_after *a = &q->accuracy;
    const double drop = a->images > 0 ? a->fp32 - a->int8 : 0;
    double error = 0;
    clq_text flags = {0};
    for (int o = 0; q->errors.rows > 0 && o < q->errors.count; o++) {
        error = fmax(error, q->errors.of[o]);
    }
    if (strcmp(q->method, "ptq") != 0 || !(drop > large_drop || error > large_error)) {
        return;
    }
    propose_all(q, graph, &flags);
    clq_log_warn("quantizing %s; %s%s`clquant analyze` says which layers cost most",
                 drop > large_drop ? "costs much accuracy" : "moves the outputs far from FP32's",
                 flags.data ? flags.data : "", flags.data ? " usually help; " : "");
    clq_text_free(&flags);
}

/* ---- JSON ---- */

static json_t *outputs_to_json(const clq_output_errors *errors, const clq_graph *graph) {
    json_t *outputs = json_object();
    for (int o = 0; o < errors->count; o++) {
        json_object_set_new(outputs, clq_graph_output_name(graph, o), clq_json_real(errors->of[o]));
    }
    return outputs;
}

static json_t *errors_to_json(const clq_quantized *q, const clq_graph *graph) {
    json_t *json = json_object();
    json_object_set_new(json, "rows", json_integer(q->errors.rows));
    json_object_set_new(json, "outputs", outputs_to_json(&q->errors, graph));
    if (q->errors_before.rows > 0) {
        json_object_set_new(json, "before_qat", outputs_to_json(&q->errors_before, graph));
    }
    return json;
}

static json_t *tried_to_json(const clq_quantized *q) {
    json_t *json = json_array();
    char text[CLQ_OBSERVER_TEXT];
    for (int i = 0; i < q->report.tried_count; i++) {
        const clq_tried_observer *tried = &q->report.tried[i];
        json_t *one = json_object();
        clq_observer_text(tried->observer, q->config->percentile, text);
        json_object_set_new(one, "observer", clq_json_string(text));
        json_object_set_new(one, "top1", clq_json_real(tried->top1));
        json_object_set_new(one, "output_error", clq_json_real(tried->error));
        json_object_set_new(one, "kept", json_boolean(tried->observer == q->report.observer));
        json_array_append_new(json, one);
    }
    return json;
}

/* Whether the node works on reals whatever the policy says. */
bool clq_has_no_codes(const clq_node *node) {
    return node->op->quantized == NULL;
}

static json_t *real_to_json(const clq_graph *graph) {
    json_t *json = json_array();
    for (int n = 0; n < graph->node_count; n++) {
        if (clq_has_no_codes(&graph->nodes[n])) {
            json_array_append_new(json, clq_json_string(graph->nodes[n].name));
        }
    }
    return json;
}

static json_t *accuracy_to_json(const clq_before_after *a) {
    if (a->images == 0) {
        return json_null();
    }
    json_t *json = json_object();
    json_object_set_new(json, "split", clq_json_string("test"));
    json_object_set_new(json, "images", json_integer(a->images));
    json_object_set_new(json, a->is_r2 ? "fp32_r2" : "fp32_top1", clq_json_real(a->fp32));
    json_object_set_new(json, a->is_r2 ? "int8_r2" : "int8_top1", clq_json_real(a->int8));
    return json;
}

static json_t *clamped_to_json(const clq_quant_report *report) {
    json_t *json = json_object(), *values = json_array();
    json_object_set_new(json, "count", json_integer(report->clamped));
    json_object_set_new(json, "needed_max_shift",
                        report->clamped ? json_integer(report->max_shift) : json_null());
    for (int i = 0; i < report->value_count; i++) {
        json_t *value = json_object();
        json_object_set_new(value, "name", clq_json_string(report->values[i].name));
        json_object_set_new(value, "scales", json_integer(report->values[i].scales));
        json_object_set_new(value, "needed_max_shift", json_integer(report->values[i].max_shift));
        json_array_append_new(values, value);
    }
    json_object_set_new(json, "values", values);
    return json;
}

void clq_quantized_to_json(const clq_quantized *q, json_t *json) {
    clq_quant_config found = *q->config;
    found.observer = clq_quantized_observer(q);
    json_object_set_new(json, "quantization",
                        clq_quant_config_to_json(&found, q->method, q->report.images));
    if (q->report.tried_count > 0) {
        json_object_set_new(json, "observers", tried_to_json(q));
    }
    json_object_set_new(json, "scales", json_integer(q->report.scales));
    json_object_set_new(json, "clamped", clamped_to_json(&q->report));
    json_object_set_new(json, "widened_for_bias", json_integer(q->report.widened));
    json_object_set_new(json, "done", clq_quant_done_to_json(q->config, &q->report));
}

/* ---- what was written ---- */

json_t *clq_quantization_recorded(const clq_graph *graph) {
    const char *text = clq_graph_get_metadata(graph, CLQ_META_QUANTIZATION);
    json_t *json = NULL;
    if (text && clq_json_parse(CLQ_META_QUANTIZATION, text, strlen(text), &json) == CLQ_OK) {
        return json;
    }
    return json_null();
}

json_t *clq_saved_to_json(const char *path, const clq_graph *original, const clq_graph *saved,
                          const clq_quantized *quantized) {
    const clq_graph_size before = clq_graph_measure(original), after = clq_graph_measure(saved);
    json_t *json = clq_json_result();
    json_object_set_new(json, "model", path ? clq_json_string(path) : json_null());
    json_object_set_new(json, "form", clq_json_string(clq_graph_form_name(saved)));
    json_object_set_new(json, "parameters", json_integer(after.parameters));
    json_object_set_new(json, "bytes", json_integer(after.bytes));
    json_object_set_new(json, "original_bytes", json_integer(before.bytes));
    if (quantized) {
        clq_quantized_to_json(quantized, json);
        json_object_set_new(json, "no_integer_form", real_to_json(saved));
        json_object_set_new(json, "accuracy", accuracy_to_json(&quantized->accuracy));
        if (quantized->errors.rows > 0) {
            json_object_set_new(json, "output_error", errors_to_json(quantized, saved));
        }
    } else {
        json_object_set_new(json, "quantization", clq_quantization_recorded(saved));
    }
    return json;
}

/* "conv1: float; layer1*: weights s4": who, and what. */
static void add_rules(const json_t *rules, clq_text *text) {
    const json_t *rule;
    size_t i;
    json_array_foreach(rules, i, rule) {
        const char *name = json_string_value(json_object_get(rule, "name"));
        const char *op = json_string_value(json_object_get(rule, "op"));
        const char *layer = json_string_value(json_object_get(rule, "layer"));
        const char *weights = json_string_value(json_object_get(rule, "weights"));
        const char *activations = json_string_value(json_object_get(rule, "activations"));
        clq_text_printf(text, "%s%s", i ? "; " : "", name ? name : "*");
        clq_text_printf(text, "%s%s", op ? " of operator " : "", op ? op : "");
        clq_text_printf(text, "%s%s%s:", layer ? ", " : "", layer ? layer : "",
                        layer ? " layer" : "");
        clq_text_puts(text, json_is_true(json_object_get(rule, "float")) ? " float" : "");
        clq_text_printf(text, "%s%s", weights ? " weights " : "", weights ? weights : "");
        clq_text_printf(text, "%s%s%s", weights && activations ? "," : "",
                        activations ? " activations " : "", activations ? activations : "");
    }
}

clq_status clq_quantization_describe(const json_t *recorded, clq_text *text) {
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)recorded, key, value) {
        clq_text_printf(text, "%s%s ", text->size ? ", " : "", key);
        if (json_is_string(value)) {
            clq_text_puts(text, json_string_value(value));
        } else if (strcmp(key, "policy") == 0) {
            add_rules(value, text);
        } else {
            char *line = NULL;
            CLQ_TRY(clq_json_dump_line(value, &line));
            clq_text_puts(text, line);
            clq_free(line);
        }
    }
    return clq_text_status(text);
}

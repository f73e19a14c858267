#include "session/analysis.h"

#include <math.h>
#include <string.h>

#include <clquant/bench.h>

#include "base/json.h"
#include "base/text.h"
#include "session/quantized.h"

/* ---- times ---- */

static double find_ms(const clq_bench_result *result, const char *name) {
    for (int i = 0; i < result->layer_count; i++) {
        if (strcmp(result->layers[i].name, name) == 0) {
            return result->layers[i].ms;
        }
    }
    return NAN;
}

clq_status clq_analysis_time(clq_device *device, const clq_graph *real, const clq_graph *integer,
                             clq_analysis *analysis) {
    const clq_bench_case cases[] = {
        {.name = "fp32", .graph = real, .device = device, .batch = 1},
        {.name = "int8", .graph = integer, .device = device, .batch = 1}};
    /* Layers are measured apart from whole networks, of which nothing is wanted. */
    const clq_bench_options options = {
        .iterations = 1, .layers = true, .no_peak = true, .expected_runs = 1};
    clq_bench_result results[2];
    CLQ_TRY(clq_bench_run(cases, 2, &options, results));
    for (int i = 0; i < analysis->layer_count; i++) {
        clq_analysis_layer *layer = &analysis->layers[i];
        if (strcmp(layer->op, "input") == 0) { /* all inputs are one layer of the bench */
            layer->int8_ms = real->input_count == 1 ? find_ms(&results[1], "input") : NAN;
        } else {
            layer->fp32_ms = find_ms(&results[0], layer->name);
            layer->int8_ms = find_ms(&results[1], layer->name);
        }
    }
    clq_bench_result_clear(&results[0]);
    clq_bench_result_clear(&results[1]);
    return CLQ_OK;
}

/* ---- advice ---- */

/* The layer with weights that is best kept float: of those that differ from the integer network by
 * more than chance the most accurate one, else the one with the smallest error; NULL: none. */
static const clq_analysis_layer *best_kept(const clq_analysis *a) {
    const clq_analysis_layer *best = NULL;
    bool sure = false;
    for (int i = 0; i < a->layer_count; i++) {
        const clq_analysis_layer *layer = &a->layers[i];
        const clq_score *w = &layer->without;
        if (!layer->has_weights || layer->is_float || isnan(w->error)) {
            continue;
        }
        const bool gains = w->gained > w->lost && !clq_score_is_noise(w);
        if (!best || (gains && (!sure || w->top1 > best->without.top1)) ||
            (!gains && !sure && w->error < best->without.error)) {
            best = layer;
            sure |= gains;
        }
    }
    return best;
}

/* 32: they are real. */
static int weight_bits(const clq_analysis_layer *layer) {
    const char *weights = strstr(layer->type, " x ");
    clq_qtype type;
    return weights && clq_qtype_find(weights + 3, &type) ? clq_qtype_get(type)->bits : 32;
}

static void say_kept(const clq_analysis *a, const clq_analysis_layer *kept, clq_text *text) {
    const clq_score *without = &kept->without, *integer = &a->ladder[CLQ_LADDER_INTEGER];
    const bool quotes = strpbrk(kept->name, " *?[]()$&;'\"\\") != NULL;
    const char *quote = quotes ? "'" : "";
    clq_text_printf(text, "; with --keep-float %s%s%s ", quote, kept->name, quote);
    if (a->has_labels) {
        clq_text_printf(text, "the integer network has %.2f %% instead of %.2f %%%s, and outputs ",
                        100 * without->top1, 100 * integer->top1,
                        clq_score_is_noise(without) ? " (no more than chance)" : "");
    } else {
        clq_text_puts(text, "the integer network's outputs ");
    }
    clq_text_printf(text, "differ by %.3g %% instead of %.3g %%", 100 * without->error,
                    100 * integer->error);
    if (weight_bits(kept) < 8) {
        clq_text_printf(text, "; or more bits for its weights, --weight-bits %s%s=8%s, not tried",
                        quote, kept->name, quote);
    }
}

/* Which layer costs most, and what to try. */
char *clq_analysis_advice(const clq_analysis *a) {
    clq_text text = {0};
    char *advice = NULL;
    const clq_analysis_layer *worst = a->layer_count > 0 ? &a->layers[0] : NULL;
    const clq_analysis_layer *kept = best_kept(a);
    if (!worst || worst->is_float) {
        return clq_strdup("nothing is quantized");
    }
    clq_text_printf(&text, "%s costs most: quantized alone it moves the outputs by %.3g %%",
                    worst->name, 100 * worst->only.error);
    if (a->has_labels) {
        clq_text_printf(&text, " and top-1 from %.2f %% to %.2f %%%s",
                        100 * a->ladder[CLQ_LADDER_FP32].top1, 100 * worst->only.top1,
                        clq_score_is_noise(&worst->only) ? " (no more than chance)" : "");
    }
    if (kept) {
        say_kept(a, kept, &text);
    }
    return clq_text_take(&text, &advice) == CLQ_OK ? advice : NULL;
}

/* ---- JSON ---- */

static json_t *count_to_json(int64_t count) {
    return count < 0 ? json_null() : json_integer(count);
}

static json_t *pair(double low, double high) {
    json_t *array = json_array();
    if (isnan(low) || isnan(high)) {
        json_decref(array);
        return json_null();
    }
    json_array_append_new(array, clq_json_real(low));
    json_array_append_new(array, clq_json_real(high));
    return array;
}

static json_t *rung_to_json(const char *stage, const clq_score *score) {
    json_t *json = json_object();
    json_object_set_new(json, "stage", json_string(stage));
    json_object_set_new(json, "top1", clq_json_real(score->top1));
    json_object_set_new(json, "flips", count_to_json(score->flips));
    json_object_set_new(json, "interval", pair(score->low, score->high));
    json_object_set_new(json, "lost", count_to_json(score->lost));
    json_object_set_new(json, "gained", count_to_json(score->gained));
    json_object_set_new(json, "error", clq_json_real(score->error));
    return json;
}

static json_t *histogram_to_json(const clq_value_histogram *histogram) {
    json_t *json = json_object(), *counts = json_array();
    json_object_set_new(json, "low", clq_json_real(histogram->low));
    json_object_set_new(json, "bin_width", clq_json_real(histogram->width));
    for (int i = 0; i < histogram->bins; i++) {
        json_array_append_new(counts, json_integer(histogram->counts[i]));
    }
    json_object_set_new(json, "counts", counts);
    return json;
}

static json_t *layer_to_json(const clq_analysis_layer *layer) {
    json_t *json = json_object();
    json_object_set_new(json, "name", clq_json_string(layer->name));
    json_object_set_new(json, "op", json_string(layer->op));
    json_object_set_new(json, "type", json_string(layer->type));
    json_object_set_new(json, "sqnr_db", clq_json_real(layer->sqnr_db));
    json_object_set_new(json, "cosine", clq_json_real(layer->cosine));
    json_object_set_new(json, "clipped", clq_json_real(layer->clipped));
    json_object_set_new(json, "top1_only", clq_json_real(layer->only.top1));
    json_object_set_new(json, "top1_without", clq_json_real(layer->without.top1));
    json_object_set_new(json, "bytes", json_integer(layer->bytes));
    json_object_set_new(json, "fp32_ms", clq_json_real(layer->fp32_ms));
    json_object_set_new(json, "int8_ms", clq_json_real(layer->int8_ms));
    json_object_set_new(json, "place", json_integer(layer->place));
    json_object_set_new(json, "sqnr_accumulated_db", clq_json_real(layer->sqnr_accumulated_db));
    json_object_set_new(json, "cosine_accumulated", clq_json_real(layer->cosine_accumulated));
    json_object_set_new(json, "error_only", clq_json_real(layer->only.error));
    json_object_set_new(json, "error_without", clq_json_real(layer->without.error));
    json_object_set_new(json, "flips_only", count_to_json(layer->only.flips));
    json_object_set_new(json, "flips_without", count_to_json(layer->without.flips));
    json_object_set_new(json, "lost_only", count_to_json(layer->only.lost));
    json_object_set_new(json, "gained_only", count_to_json(layer->only.gained));
    json_object_set_new(json, "lost_without", count_to_json(layer->without.lost));
    json_object_set_new(json, "gained_without", count_to_json(layer->without.gained));
    json_object_set_new(json, "range", pair(layer->least, layer->most));
    json_object_set_new(json, "code_range", pair(layer->code_least, layer->code_most));
    json_object_set_new(json, "histogram", histogram_to_json(&layer->histogram));
    return json;
}

void clq_analysis_to_json(const clq_analysis *a, json_t *json) {
    json_t *ladder = json_array(), *layers = json_array();
    char *advice = clq_analysis_advice(a);
    json_object_set_new(json, "images", json_integer(a->samples));
    json_object_set_new(json, "unit", json_string(a->unit));
    json_object_set_new(json, "advice", clq_json_string(advice ? advice : ""));
    for (int i = 0; i < CLQ_LADDER_STAGES; i++) {
        json_array_append_new(ladder, rung_to_json(clq_ladder_names[i], &a->ladder[i]));
    }
    for (int i = 0; i < a->layer_count; i++) {
        json_array_append_new(layers, layer_to_json(&a->layers[i]));
    }
    json_object_set_new(json, "ladder", ladder);
    json_object_set_new(json, "layers", layers);
    clq_free(advice);
}

json_t *clq_analysis_result(const clq_analysis *analysis, const char *model, const char *quantized,
                            const char *data, clq_device *device, const clq_graph *integer,
                            json_t *preprocessing) {
    json_t *json = clq_json_result();
    json_object_set_new(json, "model", model ? clq_json_string(model) : json_null());
    json_object_set_new(json, "quantized_model",
                        quantized ? clq_json_string(quantized) : json_null());
    json_object_set_new(json, "data", data ? clq_json_string(data) : json_null());
    json_object_set_new(json, "device", clq_json_string(clq_device_get_info(device)->name));
    json_object_set_new(json, "preprocessing", preprocessing);
    json_object_set_new(json, "quantization", clq_quantization_recorded(integer));
    clq_analysis_to_json(analysis, json);
    return json;
}

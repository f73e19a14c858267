/* analysis.json. */
#include <math.h>
#include <stdio.h>

#include "report/run_data.h"

static clq_status read_pair(clq_json_reader *reader, const char *key, double *low, double *high) {
    double values[2];
    size_t count = 0;
    *low = *high = NAN;
    if (json_is_null(json_object_get(reader->object, key))) {
        (void)clq_json_has(reader, key);
        return CLQ_OK;
    }
    CLQ_TRY(clq_json_read_f64_array(reader, key, -CLQ_RUN_LARGE, CLQ_RUN_LARGE, values, 2, &count));
    if (count == 2 && values[0] <= values[1]) {
        *low = values[0];
        *high = values[1];
        return CLQ_OK;
    }
    return count == 0 ? CLQ_OK : clq_json_fail(reader, key, "must be two numbers that rise");
}

/* A count, or null, which stands for -1. */
static clq_status read_count(clq_json_reader *reader, const char *key, int64_t *count) {
    *count = -1;
    if (json_is_null(json_object_get(reader->object, key))) {
        return CLQ_OK;
    }
    return clq_json_read_i64(reader, key, 0, INT64_MAX, count);
}

static clq_status read_rung(clq_json_reader *reader, clq_run_rung *out) {
    *out = (clq_run_rung){"", NAN, NAN, NAN, NAN, -1, -1, -1};
    CLQ_TRY(clq_json_require(reader, "stage"));
    CLQ_TRY(clq_json_read_string(reader, "stage", &out->stage));
    CLQ_TRY(clq_run_read_real(reader, "top1", 0, 1, &out->top1));
    CLQ_TRY(clq_run_read_real(reader, "error", 0, CLQ_RUN_LARGE, &out->error));
    CLQ_TRY(read_pair(reader, "interval", &out->low, &out->high));
    CLQ_TRY(read_count(reader, "flips", &out->flips));
    CLQ_TRY(read_count(reader, "lost", &out->lost));
    return read_count(reader, "gained", &out->gained);
}

static clq_status read_histogram(clq_json_reader *reader, clq_run_analyzed_layer *out) {
    clq_json_reader histogram;
    const json_t *counts = NULL;
    out->histogram_low = out->bin_width = NAN;
    CLQ_TRY(clq_json_read_object(reader, "histogram", &histogram));
    CLQ_TRY(
        clq_run_read_real(&histogram, "low", -CLQ_RUN_LARGE, CLQ_RUN_LARGE, &out->histogram_low));
    CLQ_TRY(clq_run_read_real(&histogram, "bin_width", 0, CLQ_RUN_LARGE, &out->bin_width));
    CLQ_TRY(clq_run_read_array(&histogram, "counts", CLQ_RUN_MAX_BINS, &counts, &out->bins));
    for (size_t i = 0; i < out->bins; i++) {
        const json_t *count = json_array_get(counts, i);
        if (!json_is_integer(count) || json_integer_value(count) < 0) {
            char place[48];
            snprintf(place, sizeof place, "counts[%zu]", i);
            return clq_json_fail(&histogram, place, "must be an integer of at least 0");
        }
    }
    out->counts = counts;
    return CLQ_OK;
}

static clq_status read_layer(clq_json_reader *reader, clq_run_analyzed_layer *out) {
    *out = (clq_run_analyzed_layer){.name = "", .op = "", .type = ""};
    CLQ_TRY(clq_json_require(reader, "name"));
    CLQ_TRY(clq_json_read_string(reader, "name", &out->name));
    CLQ_TRY(clq_json_read_string(reader, "op", &out->op));
    CLQ_TRY(clq_json_read_string(reader, "type", &out->type));
    CLQ_TRY(clq_json_read_int(reader, "place", 0, INT32_MAX, &out->place));
    const struct {
        const char *key;
        double low, *value;
    } reals[] = {
        {"sqnr_db", -CLQ_RUN_LARGE, &out->sqnr_db},
        {"sqnr_accumulated_db", -CLQ_RUN_LARGE, &out->sqnr_accumulated_db},
        {"cosine", -2, &out->cosine},
        {"cosine_accumulated", -2, &out->cosine_accumulated},
        {"clipped", 0, &out->clipped},
        {"error_only", 0, &out->error_only},
        {"error_without", 0, &out->error_without},
        {"top1_only", 0, &out->top1_only},
        {"top1_without", 0, &out->top1_without},
        {"bytes", 0, &out->bytes},
        {"fp32_ms", 0, &out->fp32_ms},
        {"int8_ms", 0, &out->int8_ms},
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        *reals[i].value = NAN;
        CLQ_TRY(
            clq_run_read_real(reader, reals[i].key, reals[i].low, CLQ_RUN_LARGE, reals[i].value));
    }
    CLQ_TRY(read_pair(reader, "range", &out->least, &out->most));
    CLQ_TRY(read_pair(reader, "code_range", &out->code_least, &out->code_most));
    return read_histogram(reader, out);
}

static clq_status read_layers(clq_json_reader *reader, clq_run_analysis *out) {
    const json_t *layers = NULL;
    size_t count;
    CLQ_TRY(clq_json_require(reader, "layers"));
    CLQ_TRY(clq_run_read_array(reader, "layers", CLQ_RUN_MAX_LAYERS, &layers, &count));
    out->layers = clq_calloc(count, sizeof *out->layers);
    if (!out->layers) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        clq_json_reader layer;
        CLQ_TRY(clq_json_read_element(reader, "layers", layers, i, &layer));
        CLQ_TRY(read_layer(&layer, &out->layers[i]));
        out->layer_count++;
    }
    return CLQ_OK;
}

static clq_status read_ladder(clq_json_reader *reader, clq_run_analysis *out) {
    const json_t *ladder = NULL;
    size_t count;
    CLQ_TRY(clq_json_require(reader, "ladder"));
    CLQ_TRY(clq_run_read_array(reader, "ladder", CLQ_RUN_MAX_RUNGS, &ladder, &count));
    for (size_t i = 0; i < count; i++) {
        clq_json_reader rung;
        CLQ_TRY(clq_json_read_element(reader, "ladder", ladder, i, &rung));
        CLQ_TRY(read_rung(&rung, &out->ladder[i]));
        out->rung_count++;
    }
    return CLQ_OK;
}

clq_status clq_run_read_analysis(const char *file, const json_t *json, clq_run_data *data) {
    clq_run_analysis *out = &data->analysis;
    clq_json_reader reader;
    const char *model = "", *device = "", *version = "", *images = "";
    CLQ_TRY(clq_json_reader_init(&reader, file, json));
    CLQ_TRY(clq_run_read_schema(&reader));
    out->advice = "";
    CLQ_TRY(clq_json_read_i64(&reader, "images", 0, INT64_MAX, &out->images));
    CLQ_TRY(clq_json_read_string(&reader, "advice", &out->advice));
    CLQ_TRY(clq_json_read_string(&reader, "model", &model));
    CLQ_TRY(clq_json_read_string(&reader, "device", &device));
    CLQ_TRY(clq_json_read_string(&reader, "version", &version));
    CLQ_TRY(clq_json_read_string(&reader, "data", &images));
    CLQ_TRY(read_ladder(&reader, out));
    CLQ_TRY(read_layers(&reader, out));
    /* A folder that an analysis alone was left in. */
    data->name = *data->name ? data->name : model;
    data->device = *data->device ? data->device : device;
    data->version = *data->version ? data->version : version;
    data->data = *data->data ? data->data : images;
    out->present = true;
    return CLQ_OK;
}

/* bench.json. */
#include <math.h>

#include "report/run_data.h"

static const double LARGE = 1e30;

static clq_status read_latency(clq_json_reader *reader, clq_latency *out) {
    clq_json_reader latency;
    *out = (clq_latency){NAN, NAN, NAN, NAN, NAN, NAN};
    CLQ_TRY(clq_json_read_object(reader, "latency_ms", &latency));
    CLQ_TRY(clq_run_read_real(&latency, "min", 0, LARGE, &out->min));
    CLQ_TRY(clq_run_read_real(&latency, "mean", 0, LARGE, &out->mean));
    CLQ_TRY(clq_run_read_real(&latency, "median", 0, LARGE, &out->median));
    CLQ_TRY(clq_run_read_real(&latency, "p90", 0, LARGE, &out->p90));
    CLQ_TRY(clq_run_read_real(&latency, "p95", 0, LARGE, &out->p95));
    return clq_run_read_real(&latency, "p99", 0, LARGE, &out->p99);
}

static clq_status read_layer(clq_json_reader *reader, clq_run_layer *out) {
    *out = (clq_run_layer){"", "", "", "", NAN, NAN, NAN};
    CLQ_TRY(clq_json_require(reader, "name"));
    CLQ_TRY(clq_json_read_string(reader, "name", &out->name));
    CLQ_TRY(clq_json_read_string(reader, "op", &out->op));
    CLQ_TRY(clq_json_read_string(reader, "precision", &out->precision));
    CLQ_TRY(clq_json_read_string(reader, "dot_path", &out->dot_path));
    CLQ_TRY(clq_run_read_real(reader, "ms", 0, LARGE, &out->ms));
    CLQ_TRY(clq_run_read_real(reader, "gops", 0, LARGE, &out->gops));
    return clq_run_read_real(reader, "peak_fraction", 0, LARGE, &out->peak_fraction);
}

static clq_status read_layers(clq_json_reader *reader, clq_run_bench *out) {
    const json_t *layers = NULL;
    size_t count;
    clq_json_reader layer;
    CLQ_TRY(clq_run_read_array(reader, "layers", CLQ_RUN_MAX_LAYERS, &layers, &count));
    out->layers = clq_calloc(count, sizeof *out->layers);
    if (!out->layers) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        CLQ_TRY(clq_json_read_element(reader, "layers", layers, i, &layer));
        CLQ_TRY(read_layer(&layer, &out->layers[i]));
        out->layers_ms += isnan(out->layers[i].ms) ? 0 : out->layers[i].ms;
        out->layer_count++;
    }
    return CLQ_OK;
}

static clq_status read_result(clq_json_reader *reader, clq_run_bench *out) {
    *out = (clq_run_bench){.model = "",
                           .device = "",
                           .precision = "",
                           .dot_path = "",
                           .batch = 1,
                           .images_per_second = NAN,
                           .gops = NAN,
                           .peak_gops = NAN,
                           .peak_fraction = NAN,
                           .bytes = NAN,
                           .h2d_ms = NAN,
                           .d2h_ms = NAN};
    CLQ_TRY(clq_json_require(reader, "model"));
    CLQ_TRY(clq_json_require(reader, "latency_ms"));
    CLQ_TRY(clq_json_read_string(reader, "model", &out->model));
    CLQ_TRY(clq_json_read_string(reader, "device", &out->device));
    CLQ_TRY(clq_json_read_string(reader, "precision", &out->precision));
    CLQ_TRY(clq_json_read_string(reader, "dot_path", &out->dot_path));
    CLQ_TRY(clq_json_read_int(reader, "batch", 1, INT32_MAX, &out->batch));
    CLQ_TRY(clq_json_read_int(reader, "iterations", 0, INT32_MAX, &out->iterations));
    CLQ_TRY(read_latency(reader, &out->latency));
    CLQ_TRY(clq_run_read_real(reader, "images_per_second", 0, LARGE, &out->images_per_second));
    CLQ_TRY(clq_run_read_real(reader, "gops", 0, LARGE, &out->gops));
    CLQ_TRY(clq_run_read_real(reader, "peak_gops", 0, LARGE, &out->peak_gops));
    CLQ_TRY(clq_run_read_real(reader, "peak_fraction", 0, LARGE, &out->peak_fraction));
    CLQ_TRY(clq_run_read_real(reader, "bytes", 0, 1e18, &out->bytes));
    CLQ_TRY(clq_run_read_real(reader, "h2d_ms", 0, LARGE, &out->h2d_ms));
    CLQ_TRY(clq_run_read_real(reader, "d2h_ms", 0, LARGE, &out->d2h_ms));
    return read_layers(reader, out);
}

clq_status clq_run_read_bench(const char *file, const json_t *json, clq_run_data *data) {
    clq_json_reader reader, result;
    const json_t *results = NULL;
    size_t count;
    CLQ_TRY(clq_json_reader_init(&reader, file, json));
    CLQ_TRY(clq_run_read_schema(&reader));
    CLQ_TRY(clq_json_require(&reader, "results"));
    CLQ_TRY(clq_run_read_array(&reader, "results", CLQ_RUN_MAX_RESULTS, &results, &count));
    data->benches = clq_calloc(count, sizeof *data->benches);
    if (!data->benches) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        CLQ_TRY(clq_json_read_element(&reader, "results", results, i, &result));
        if (clq_json_has(&result, "mode")) {
            continue; /* a training step: it has no latency */
        }
        CLQ_TRY(read_result(&result, &data->benches[data->bench_count++]));
    }
    return CLQ_OK;
}

#include "bench/bench_json.h"

#include "base/json.h"

static json_t *latency_to_json(const clq_latency *latency) {
    json_t *json = json_object();
    json_object_set_new(json, "min", clq_json_real(latency->min));
    json_object_set_new(json, "mean", clq_json_real(latency->mean));
    json_object_set_new(json, "median", clq_json_real(latency->median));
    json_object_set_new(json, "p90", clq_json_real(latency->p90));
    json_object_set_new(json, "p95", clq_json_real(latency->p95));
    json_object_set_new(json, "p99", clq_json_real(latency->p99));
    return json;
}

static json_t *layer_to_json(const clq_bench_layer *layer) {
    json_t *json = json_object();
    json_object_set_new(json, "name", json_string(layer->name));
    json_object_set_new(json, "op", json_string(layer->op));
    json_object_set_new(json, "ms", clq_json_real(layer->ms));
    json_object_set_new(json, "gops", clq_json_real(layer->gops));
    json_object_set_new(json, "peak_fraction", clq_json_real(layer->peak_fraction));
    json_object_set_new(json, "precision", json_string(layer->precision));
    json_object_set_new(json, "dot_path", json_string(layer->dot_path));
    return json;
}

static json_t *result_to_json(const clq_bench_result *result) {
    json_t *json = json_object(), *layers = json_array();
    json_object_set_new(json, "model", json_string(result->model));
    json_object_set_new(json, "device", json_string(result->device));
    json_object_set_new(json, "batch", json_integer(result->batch));
    json_object_set_new(json, "precision", json_string(result->precision));
    json_object_set_new(json, "dot_path", json_string(result->dot_path));
    json_object_set_new(json, "iterations", json_integer(result->iterations));
    json_object_set_new(json, "latency_ms", latency_to_json(&result->latency));
    json_object_set_new(json, "images_per_second", clq_json_real(result->images_per_second));
    json_object_set_new(json, "gops", clq_json_real(result->gops));
    json_object_set_new(json, "peak_gops", clq_json_real(result->peak_gops));
    json_object_set_new(json, "peak_fraction", clq_json_real(result->peak_fraction));
    json_object_set_new(json, "bytes", json_integer(result->bytes));
    json_object_set_new(json, "h2d_ms", clq_json_real(result->h2d_ms));
    json_object_set_new(json, "d2h_ms", clq_json_real(result->d2h_ms));
    for (int i = 0; i < result->layer_count; i++) {
        json_array_append_new(layers, layer_to_json(&result->layers[i]));
    }
    json_object_set_new(json, "layers", layers);
    return json;
}

json_t *clq_bench_to_json(const clq_bench_result *results, size_t count) {
    json_t *json = json_object(), *array = json_array();
    json_object_set_new(json, "schema", json_integer(1));
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(array, result_to_json(&results[i]));
    }
    json_object_set_new(json, "results", array);
    return json;
}

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

/* null where the layer has no FP32 form to compare with. */
static json_t *explanation_to_json(const clq_bench_layer *layer) {
    if (layer->fp32_ms == 0) {
        return json_null();
    }
    json_t *json = json_object();
    json_object_set_new(json, "fp32_ms", clq_json_real(layer->fp32_ms));
    json_object_set_new(json, "speedup", clq_json_real(layer->fp32_ms / layer->ms));
    json_object_set_new(json, "cause",
                        layer->cause == CLQ_CAUSE_NONE
                            ? json_null()
                            : clq_json_string(clq_bench_cause_name(layer->cause)));
    json_object_set_new(json, "text", clq_json_string(layer->why));
    json_t *parts = json_object();
    for (int p = 0; p < CLQ_TIME_PARTS; p++) {
        json_object_set_new(parts, clq_bench_part_name((clq_bench_part)p),
                            clq_json_real(layer->parts[p]));
    }
    json_object_set_new(json, "parts", parts);
    return json;
}

static json_t *layer_to_json(const clq_bench_layer *layer) {
    json_t *json = json_object();
    json_object_set_new(json, "name", clq_json_string(layer->name));
    json_object_set_new(json, "op", clq_json_string(layer->op));
    json_object_set_new(json, "ms", clq_json_real(layer->ms));
    json_object_set_new(json, "gops", clq_json_real(layer->gops));
    json_object_set_new(json, "peak_fraction", clq_json_real(layer->peak_fraction));
    json_object_set_new(json, "precision", clq_json_string(layer->precision));
    json_object_set_new(json, "dot_path", clq_json_string(layer->dot_path));
    json_object_set_new(json, "fused", clq_json_string(layer->fused));
    json_object_set_new(json, "share", clq_json_real(layer->share));
    json_object_set_new(json, "peak_gops", clq_json_real(layer->peak_gops));
    json_object_set_new(json, "above_peak", json_boolean(layer->peak_fraction > 1));
    json_object_set_new(json, "bytes", json_integer(layer->bytes));
    json_object_set_new(json, "weight_bytes", json_integer(layer->weight_bytes));
    json_object_set_new(json, "gbs", clq_json_real(layer->gbs));
    json_object_set_new(json, "launches", json_integer(layer->launches));
    json_object_set_new(json, "work_items", json_integer(layer->work_items));
    json_object_set_new(json, "work_groups", json_integer(layer->work_groups));
    json_object_set_new(json, "explain", explanation_to_json(layer));
    return json;
}

static json_t *samples_to_json(const clq_bench_result *result) {
    json_t *json = json_array();
    for (size_t i = 0; i < result->sample_count; i++) {
        json_array_append_new(json, clq_json_real(result->samples[i]));
    }
    return json;
}

static json_t *startup_to_json(const clq_bench_startup *startup) {
    if (startup->cold == 0) {
        return json_null();
    }
    json_t *json = json_object();
    json_object_set_new(json, "cold_ms", clq_json_real(startup->cold));
    json_object_set_new(json, "second_ms", clq_json_real(startup->second));
    json_object_set_new(json, "warm_ms", clq_json_real(startup->warm));
    return json;
}

static json_t *result_to_json(const clq_bench_result *result) {
    json_t *json = json_object(), *layers = json_array();
    json_object_set_new(json, "model", clq_json_string(result->model));
    json_object_set_new(json, "device", clq_json_string(result->device));
    json_object_set_new(json, "driver", clq_json_string(result->driver ? result->driver : ""));
    json_object_set_new(json, "batch", json_integer(result->batch));
    json_object_set_new(json, "precision", clq_json_string(result->precision));
    json_object_set_new(json, "dot_path", clq_json_string(result->dot_path));
    json_object_set_new(json, "iterations", json_integer(result->iterations));
    json_object_set_new(json, "latency_ms", latency_to_json(&result->latency));
    json_object_set_new(json, "images_per_second", clq_json_real(result->images_per_second));
    json_object_set_new(json, "gops", clq_json_real(result->gops));
    json_object_set_new(json, "peak_gops", clq_json_real(result->peak_gops));
    json_object_set_new(json, "peak_fraction", clq_json_real(result->peak_fraction));
    json_object_set_new(json, "bytes", json_integer(result->bytes));
    json_object_set_new(json, "h2d_ms", clq_json_real(result->h2d_ms));
    json_object_set_new(json, "d2h_ms", clq_json_real(result->d2h_ms));
    json_object_set_new(json, "h2d_host_ms", clq_json_real(result->h2d_host_ms));
    json_object_set_new(json, "d2h_host_ms", clq_json_real(result->d2h_host_ms));
    json_object_set_new(json, "kernel_ms", clq_json_real(result->kernel_ms));
    json_object_set_new(json, "median_error", clq_json_real(result->median_error));
    json_object_set_new(json, "fp32_peak_gops", clq_json_real(result->limits.fp32_gflops));
    json_object_set_new(json, "bandwidth_gbs", clq_json_real(result->limits.memory_gbs));
    json_object_set_new(json, "cache_bandwidth_gbs", clq_json_real(result->limits.cache_gbs));
    json_object_set_new(json, "requantize_gcodes", clq_json_real(result->limits.requantize_gcodes));
    json_object_set_new(json, "launch_us", clq_json_real(result->limits.launch_us));
    json_object_set_new(json, "startup", startup_to_json(&result->startup));
    json_object_set_new(json, "samples_ms", samples_to_json(result));
    for (int i = 0; i < result->layer_count; i++) {
        json_array_append_new(layers, layer_to_json(&result->layers[i]));
    }
    json_object_set_new(json, "layers", layers);
    return json;
}

json_t *clq_bench_to_json(const clq_bench_result *results, size_t count) {
    json_t *json = clq_json_result(), *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(array, result_to_json(&results[i]));
    }
    json_object_set_new(json, "results", array);
    return json;
}

/* ---- training steps ---- */

static json_t *kernel_to_json(const clq_train_bench_kernel *kernel) {
    json_t *json = json_object();
    json_object_set_new(json, "name", clq_json_string(kernel->name));
    json_object_set_new(json, "calls", json_integer(kernel->calls));
    json_object_set_new(json, "ms", clq_json_real(kernel->ms));
    json_object_set_new(json, "share", clq_json_real(kernel->share));
    json_object_set_new(json, "gflops", clq_json_real(kernel->gflops));
    return json;
}

static json_t *step_to_json(const clq_latency *step) {
    json_t *json = json_object();
    json_object_set_new(json, "min", clq_json_real(step->min));
    json_object_set_new(json, "mean", clq_json_real(step->mean));
    json_object_set_new(json, "median", clq_json_real(step->median));
    json_object_set_new(json, "p90", clq_json_real(step->p90));
    return json;
}

static json_t *train_result_to_json(const clq_train_bench_result *result) {
    json_t *json = json_object(), *kernels = json_array();
    json_object_set_new(json, "model", clq_json_string(result->model));
    json_object_set_new(json, "device", clq_json_string(result->device));
    json_object_set_new(json, "mode", clq_json_string(result->mode));
    json_object_set_new(json, "batch", json_integer(result->batch));
    json_object_set_new(json, "precision", clq_json_string("fp32"));
    json_object_set_new(json, "steps", json_integer(result->steps));
    json_object_set_new(json, "step_ms", step_to_json(&result->step));
    json_object_set_new(json, "images_per_second", clq_json_real(result->images_per_second));
    json_object_set_new(json, "gflops", clq_json_real(result->gflops));
    json_object_set_new(json, "peak_gflops", clq_json_real(result->peak_gflops));
    json_object_set_new(json, "peak_fraction", clq_json_real(result->peak_fraction));
    json_object_set_new(json, "bytes", json_integer((json_int_t)result->bytes));
    json_object_set_new(json, "activation_bytes",
                        json_integer((json_int_t)result->activation_bytes));
    json_object_set_new(json, "workspace_bytes", json_integer((json_int_t)result->workspace_bytes));
    json_object_set_new(json, "kernel_ms", clq_json_real(result->kernel_ms));
    for (int i = 0; i < result->kernel_count; i++) {
        json_array_append_new(kernels, kernel_to_json(&result->kernels[i]));
    }
    json_object_set_new(json, "kernels", kernels);
    return json;
}

json_t *clq_train_bench_to_json(const clq_train_bench_result *results, size_t count) {
    json_t *json = clq_json_result(), *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(array, train_result_to_json(&results[i]));
    }
    json_object_set_new(json, "results", array);
    return json;
}

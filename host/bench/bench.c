/* Interleaved inference benchmarks. */
#include <string.h>

#include <clquant/bench.h>

#include "base/clock.h"
#include "base/progress.h"
#include "base/rng.h"
#include "bench/layers.h"

enum { MIN_ITERATIONS = 10, MAX_ITERATIONS = 2000, WARMUP = 3 };
static const double AUTO_SECONDS = 1.0; /* of samples for each case, when no count is given */

typedef struct runner {
    const clq_bench_case *item;
    clq_graph *folded; /* NULL: the case's own graph runs */
    clq_exec *exec;
    double *total, *h2d, *d2h; /* (MAX_ITERATIONS or the chosen count) ms */
    float *input, *output;
} runner;

static const clq_graph *graph_of(const runner *r) {
    return r->folded ? r->folded : r->item->graph;
}

static bool is_integer(const runner *r) {
    return clq_graph_form(graph_of(r)) == CLQ_FORM_INTEGER;
}

static clq_status open_runner(runner *r, int capacity, uint64_t seed) {
    const clq_bench_case *item = r->item;
    switch (clq_graph_form(item->graph)) {
    case CLQ_FORM_FLOAT:
        CLQ_TRY(clq_graph_fold(item->graph, &r->folded));
        break;
    case CLQ_FORM_INTEGER:
        break;
    default:
        return clq_fail(CLQ_USAGE,
                        "%s: a quantized graph must be converted before it is benchmarked",
                        item->name);
    }
    const clq_exec_options options = {.mode = is_integer(r) ? CLQ_EXEC_INT8 : CLQ_EXEC_FLOAT,
                                      .batch = item->batch};
    CLQ_TRY(clq_exec_create(item->device, graph_of(r), &options, &r->exec));
    const size_t inputs = (size_t)clq_shape_count(&clq_exec_input(r->exec)->shape);
    const size_t outputs = (size_t)clq_shape_count(&clq_exec_output(r->exec)->shape);
    r->input = clq_calloc(inputs, sizeof *r->input);
    r->output = clq_calloc(outputs, sizeof *r->output);
    r->total = clq_calloc((size_t)capacity, sizeof *r->total);
    r->h2d = clq_calloc((size_t)capacity, sizeof *r->h2d);
    r->d2h = clq_calloc((size_t)capacity, sizeof *r->d2h);
    if (!r->input || !r->output || !r->total || !r->h2d || !r->d2h) {
        return CLQ_NO_MEMORY;
    }
    clq_rng rng = clq_rng_start(seed, 0);
    for (size_t i = 0; i < inputs; i++) {
        r->input[i] = 4 * clq_uniform(clq_rng_next(&rng)) - 2;
    }
    return CLQ_OK;
}

static void close_runner(runner *r) {
    clq_exec_destroy(r->exec);
    clq_graph_destroy(r->folded);
    clq_free(r->input);
    clq_free(r->output);
    clq_free(r->total);
    clq_free(r->h2d);
    clq_free(r->d2h);
}

static clq_status iterate(runner *r, int i) {
    clq_tensor *input = clq_exec_input(r->exec), *output = clq_exec_output(r->exec);
    const double start = clq_now_seconds();
    CLQ_TRY(clq_buffer_write(input->buffer, 0,
                             (size_t)clq_shape_count(&input->shape) * sizeof(float), r->input));
    const double uploaded = clq_now_seconds();
    CLQ_TRY(clq_exec_forward(r->exec));
    CLQ_TRY(clq_device_finish(r->item->device));
    const double computed = clq_now_seconds();
    CLQ_TRY(clq_buffer_read(output->buffer, 0,
                            (size_t)clq_shape_count(&output->shape) * sizeof(float), r->output));
    const double downloaded = clq_now_seconds();
    r->h2d[i] = 1e3 * (uploaded - start);
    r->total[i] = 1e3 * (computed - uploaded);
    r->d2h[i] = 1e3 * (downloaded - computed);
    return CLQ_OK;
}

/* All cases once a round, until there are enough rounds; *count is how many. */
static clq_status measure(runner *runners, size_t runner_count, const clq_bench_options *options,
                          int capacity, int *count) {
    const int warmup = options->warmup ? options->warmup : WARMUP;
    clq_progress progress;
    clq_status status = CLQ_OK;
    for (int i = 0; i < warmup; i++) {
        for (size_t c = 0; c < runner_count; c++) {
            CLQ_TRY(iterate(&runners[c], 0));
        }
    }
    clq_progress_begin(&progress, "bench", "rounds", options->iterations);
    const double start = clq_now_seconds();
    for (*count = 0; *count < capacity; (*count)++) {
        const double spent = clq_now_seconds() - start;
        if (!options->iterations && *count >= MIN_ITERATIONS &&
            spent > AUTO_SECONDS * (double)runner_count) {
            break;
        }
        for (size_t c = 0; c < runner_count; c++) {
            CLQ_GOTO(status, cleanup, iterate(&runners[c], *count));
        }
        clq_progress_update(&progress, *count + 1, NULL);
    }
cleanup:
    clq_progress_end(&progress);
    return status;
}

static clq_status fill_result(runner *r, int count, bool layers, clq_bench_result *result) {
    const clq_graph_size size = clq_graph_measure(graph_of(r));
    const clq_device_info *info = clq_device_get_info(r->item->device);
    double fp32_peak, int8_peak;
    CLQ_TRY(clq_device_peak(r->item->device, &fp32_peak, &int8_peak));
    result->model = clq_strdup(r->item->name);
    result->device = clq_strdup(info->name);
    if (!result->model || !result->device) {
        return CLQ_NO_MEMORY;
    }
    result->batch = r->item->batch;
    result->precision = is_integer(r) ? "int8" : "fp32";
    result->dot_path = is_integer(r) ? clq_dot_name(info->dot) : "";
    result->iterations = count;
    result->latency = clq_latency_of(r->total, (size_t)count);
    result->h2d_ms = clq_latency_of(r->h2d, (size_t)count).median;
    result->d2h_ms = clq_latency_of(r->d2h, (size_t)count).median;
    result->images_per_second = 1e3 * result->batch / result->latency.median;
    result->gops = 2e-6 * (double)size.macs * result->batch / result->latency.median;
    result->peak_gops = is_integer(r) ? int8_peak : fp32_peak;
    result->peak_fraction = result->gops / result->peak_gops;
    result->bytes = size.bytes;
    return layers ? clq_bench_layers(r->item->device, r->exec, graph_of(r), result) : CLQ_OK;
}

clq_status clq_bench_run(const clq_bench_case *cases, size_t count,
                         const clq_bench_options *options, clq_bench_result *results) {
    const int capacity = options->iterations ? options->iterations : MAX_ITERATIONS;
    clq_status status = CLQ_OK;
    int iterations = 0;
    memset(results, 0, count * sizeof *results);
    runner *runners = clq_calloc(count, sizeof *runners);
    if (!runners) {
        return CLQ_NO_MEMORY;
    }
    for (size_t c = 0; c < count; c++) {
        runners[c].item = &cases[c];
        CLQ_GOTO(status, cleanup, open_runner(&runners[c], capacity, options->seed));
    }
    CLQ_GOTO(status, cleanup, measure(runners, count, options, capacity, &iterations));
    for (size_t c = 0; c < count; c++) {
        CLQ_GOTO(status, cleanup,
                 fill_result(&runners[c], iterations, options->layers, &results[c]));
    }
cleanup:
    for (size_t c = 0; c < count; c++) {
        close_runner(&runners[c]);
        if (status != CLQ_OK) {
            clq_bench_result_clear(&results[c]);
        }
    }
    clq_free(runners);
    return status;
}

void clq_bench_result_clear(clq_bench_result *result) {
    for (int i = 0; i < result->layer_count; i++) {
        clq_free(result->layers[i].name);
        clq_free(result->layers[i].op);
    }
    clq_free(result->layers);
    clq_free(result->model);
    clq_free(result->device);
    *result = (clq_bench_result){0};
}

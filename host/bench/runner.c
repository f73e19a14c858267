#include "bench/runner.h"

#include <clquant/passes.h>

#include <string.h>

#include "base/clock.h"
#include "base/rng.h"

enum {
    MAX_ITERATIONS = 4000,  /* when no count is given */
    EXPECTED_RUNS = 1000000 /* a network that is measured is one that is to run often */
};

const clq_graph *clq_bench_runner_graph(const clq_bench_runner *r) {
    return r->folded ? r->folded : r->item->graph;
}

bool clq_bench_runner_is_integer(const clq_bench_runner *r) {
    return clq_graph_form(clq_bench_runner_graph(r)) == CLQ_FORM_INTEGER;
}

/* Of the inputs or of the outputs. */
static int end_count(const clq_bench_runner *r, bool inputs) {
    const clq_graph *graph = clq_bench_runner_graph(r);
    return inputs ? graph->input_count : graph->output_count;
}

static const clq_tensor *end_at(const clq_bench_runner *r, bool inputs, int index) {
    return inputs ? clq_exec_input_at(r->exec, index) : clq_exec_output_at(r->exec, index);
}

static size_t tensor_count(const clq_tensor *tensor) {
    return (size_t)clq_shape_count(&tensor->shape);
}

/* Values of all of them. */
static size_t value_count(const clq_bench_runner *r, bool inputs) {
    size_t count = 0;
    for (int i = 0; i < end_count(r, inputs); i++) {
        count += tensor_count(end_at(r, inputs, i));
    }
    return count;
}

static clq_status take_memory(clq_bench_runner *r) {
    r->input = clq_calloc(value_count(r, true), sizeof *r->input);
    r->output = clq_calloc(value_count(r, false), sizeof *r->output);
    r->sorted = clq_calloc((size_t)r->capacity, sizeof *r->sorted);
    bool complete = r->input && r->output && r->sorted;
    for (int t = 0; t < CLQ_TIMES; t++) {
        r->times[t] = clq_calloc((size_t)r->capacity, sizeof *r->times[t]);
        complete = complete && r->times[t];
    }
    return complete ? CLQ_OK : CLQ_NO_MEMORY;
}

clq_status clq_bench_runner_open(const clq_bench_case *item, const clq_bench_options *options,
                                 clq_bench_runner *r) {
    *r = (clq_bench_runner){.item = item};
    r->capacity = options->iterations ? options->iterations : MAX_ITERATIONS;
    switch (clq_graph_form(item->graph)) {
    case CLQ_FORM_FLOAT:
        CLQ_TRY(clq_graph_fold(item->graph, &r->folded));
        break;
    case CLQ_FORM_INTEGER:
        break;
    default:
        return clq_fail(
            CLQ_USAGE,
            "%s: its weights are stored as floats; `clquant convert --integer` stores the "
            "integers that they stand for",
            item->name);
    }
    const clq_exec_options exec_options = {
        .mode = clq_bench_runner_is_integer(r) ? CLQ_EXEC_INT8 : CLQ_EXEC_FLOAT,
        .batch = item->batch,
        .expected_runs = options->expected_runs ? options->expected_runs : EXPECTED_RUNS};
    CLQ_TRY(clq_exec_create(item->device, clq_bench_runner_graph(r), &exec_options, &r->exec));
    CLQ_TRY(take_memory(r));
    clq_rng rng = clq_rng_start(options->seed, 0);
    const size_t count = value_count(r, true);
    for (size_t i = 0; i < count; i++) {
        r->input[i] = 4 * clq_uniform(clq_rng_next(&rng)) - 2;
    }
    return options->layers ? clq_layer_profile_open(item->device, r->exec,
                                                    clq_bench_runner_graph(r), &r->layers)
                           : CLQ_OK;
}

void clq_bench_runner_close(clq_bench_runner *r) {
    clq_layer_profile_close(r->layers);
    clq_exec_destroy(r->exec);
    clq_graph_destroy(r->folded);
    clq_free(r->input);
    clq_free(r->output);
    clq_free(r->sorted);
    for (int t = 0; t < CLQ_TIMES; t++) {
        clq_free(r->times[t]);
    }
    *r = (clq_bench_runner){0};
}

/* ---- running ---- */

static clq_status copy_ends(clq_bench_runner *r, bool inputs) {
    float *at = inputs ? r->input : r->output;
    for (int i = 0; i < end_count(r, inputs); i++) {
        const clq_tensor *tensor = end_at(r, inputs, i);
        const size_t count = tensor_count(tensor), size = count * sizeof *at;
        CLQ_TRY(inputs ? clq_buffer_write(tensor->buffer, 0, size, at)
                       : clq_buffer_read(tensor->buffer, 0, size, at));
        at += count;
    }
    return CLQ_OK;
}

/* Copies all inputs there or all outputs back, and stores the time by the copies' events and by the
 * host's clock. */
static clq_status transfer(clq_bench_runner *r, bool upload, double *event_ms, double *host_ms) {
    const clq_profile_entry *entries = NULL;
    size_t count = 0;
    CLQ_TRY(clq_device_profile(r->item->device, true));
    const double start = clq_now_seconds();
    const clq_status status = copy_ends(r, upload);
    *host_ms = 1e3 * (clq_now_seconds() - start);
    CLQ_TRY(clq_device_profile(r->item->device, false));
    CLQ_TRY(status);
    CLQ_TRY(clq_device_profile_entries(r->item->device, &entries, &count));
    *event_ms = 0;
    for (size_t i = 0; i < count; i++) {
        *event_ms += entries[i].ms;
    }
    return CLQ_OK;
}

clq_status clq_bench_runner_iterate(clq_bench_runner *r, bool keep) {
    double ms[CLQ_TIMES];
    const double start = clq_now_seconds();
    CLQ_TRY(transfer(r, true, &ms[CLQ_TIME_H2D], &ms[CLQ_TIME_H2D_HOST]));
    const double queued = clq_now_seconds();
    CLQ_TRY(clq_exec_forward(r->exec));
    CLQ_TRY(clq_device_finish(r->item->device));
    ms[CLQ_TIME_FORWARD] = 1e3 * (clq_now_seconds() - queued);
    CLQ_TRY(transfer(r, false, &ms[CLQ_TIME_D2H], &ms[CLQ_TIME_D2H_HOST]));
    if (keep && r->count < r->capacity) {
        for (int t = 0; t < CLQ_TIMES; t++) {
            r->times[t][r->count] = ms[t];
        }
        r->count++;
        r->seconds += clq_now_seconds() - start;
    }
    return CLQ_OK;
}

clq_latency clq_bench_runner_latency(clq_bench_runner *r, clq_bench_time time, double *error) {
    const size_t count = (size_t)r->count;
    memcpy(r->sorted, r->times[time], count * sizeof *r->sorted);
    const clq_latency latency = clq_latency_of(r->sorted, count);
    if (error) {
        *error = clq_median_error(r->sorted, count);
    }
    return latency;
}

/* Interleaved inference benchmarks. */
#include <math.h>
#include <string.h>

#include <clquant/bench.h>

#include "base/arguments.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "bench/explain.h"
#include "bench/runner.h"
#include "graph/ends.h"
#include "graph/node.h"

enum { MIN_ITERATIONS = 10, WARMUP = 3 };
static const double WARMUP_SECONDS = 0.1;
static const double GOAL_SECONDS = 1.0, MAX_GOAL_SECONDS = 4.0; /* of each case */
static const double STABLE = 0.01;                              /* clq_median_error */
static const double TURN_SECONDS = 0.01;

/* Measures the devices and opens the cases. */
static clq_status prepare(const clq_bench_case *cases, size_t count,
                          const clq_bench_options *options, clq_bench_runner *runners) {
    clq_device_limits limits; /* remembered by the device */
    clq_status status = CLQ_OK;
    clq_progress progress;
    clq_progress_begin(&progress, "prepare", "cases", (int64_t)count);
    for (size_t c = 0; c < count; c++) {
        clq_progress_update(&progress, (int64_t)c, "%s", cases[c].name);
        if (!options->no_peak) {
            CLQ_GOTO(status, cleanup, clq_device_measure_limits(cases[c].device, &limits));
        }
        CLQ_GOTO(status, cleanup, clq_bench_runner_open(&cases[c], options, &runners[c]));
    }
cleanup:
    clq_progress_end(&progress);
    return status;
}

/* ---- turns ---- */

/* How far a case is on its way; 1 or more when it has all it needs. */
static double progress_of(const clq_bench_runner *r, const clq_bench_options *options) {
    const double by_capacity = (double)r->count / r->capacity;
    if (options->iterations || by_capacity >= 1) {
        return by_capacity;
    }
    const double by_count = (double)r->count / MIN_ITERATIONS;
    const double by_time = r->seconds / r->goal_seconds;
    return by_count < by_time ? by_count : by_time;
}

static clq_status warm_up(clq_bench_runner *r, const clq_bench_options *options) {
    const double start = clq_now_seconds();
    const int wanted = options->warmup ? options->warmup : WARMUP;
    for (int i = 0; i < wanted || (!options->warmup && clq_now_seconds() - start < WARMUP_SECONDS);
         i++) {
        CLQ_TRY(clq_bench_runner_iterate(r, false));
    }
    r->goal_seconds = GOAL_SECONDS;
    return CLQ_OK;
}

/* Some milliseconds of one case. A short one first runs once untimed, because the turns of the
 * others have emptied the caches. */
static clq_status take_turn(clq_bench_runner *r, bool alone, const clq_bench_options *options) {
    const double start = clq_now_seconds();
    if (!alone) {
        const bool is_long = r->count > 0 && r->seconds / r->count > TURN_SECONDS;
        if (!is_long) {
            CLQ_TRY(clq_bench_runner_iterate(r, false));
        }
    }
    do {
        CLQ_TRY(clq_bench_runner_iterate(r, true));
    } while (clq_now_seconds() - start < TURN_SECONDS && progress_of(r, options) < 1);
    if (!options->iterations && progress_of(r, options) >= 1 &&
        r->goal_seconds < MAX_GOAL_SECONDS) {
        double error;
        clq_bench_runner_latency(r, CLQ_TIME_FORWARD, &error);
        r->goal_seconds *= error > STABLE ? 2 : 1;
    }
    return CLQ_OK;
}

/* The case that is furthest from its goal; NULL when all have got there. `done`: how many have. */
static clq_bench_runner *choose_next(clq_bench_runner *runners, size_t count,
                                     const clq_bench_options *options, int64_t *done) {
    clq_bench_runner *next = NULL;
    double least = 1;
    *done = 0;
    for (size_t c = 0; c < count; c++) {
        const double progress = progress_of(&runners[c], options);
        *done += progress >= 1;
        if (progress < least) {
            least = progress;
            next = &runners[c];
        }
    }
    return next;
}

static clq_status measure(clq_bench_runner *runners, size_t count,
                          const clq_bench_options *options) {
    clq_progress progress;
    clq_status status = CLQ_OK;
    int64_t done = 0;
    clq_bench_runner *next;
    clq_progress_begin(&progress, "bench", "cases", (int64_t)count);
    for (size_t c = 0; c < count; c++) {
        clq_progress_update(&progress, 0, "warming up %s", runners[c].item->name);
        CLQ_GOTO(status, cleanup, warm_up(&runners[c], options));
    }
    while ((next = choose_next(runners, count, options, &done)) != NULL) {
        clq_progress_update(&progress, done, "%s, batch %d, iteration %d", next->item->name,
                            next->item->batch, next->count);
        CLQ_GOTO(status, cleanup, clq_check_stopped());
        CLQ_GOTO(status, cleanup, take_turn(next, count == 1, options));
    }
    for (int round = 0; options->layers && round < CLQ_PROFILED_ROUNDS; round++) {
        clq_progress_update(&progress, (int64_t)count, "layers, round %d of %d", round + 1,
                            CLQ_PROFILED_ROUNDS);
        for (size_t c = 0; c < count; c++) {
            CLQ_GOTO(status, cleanup, clq_layer_profile_run(runners[c].layers, round));
        }
    }
cleanup:
    clq_progress_end(&progress);
    return status;
}

/* ---- results ---- */

/* The limits once more, of each device. */
static clq_status remeasure_devices(const clq_bench_case *cases, size_t count) {
    for (size_t c = 0; c < count; c++) {
        size_t first = 0;
        while (cases[first].device != cases[c].device) {
            first++;
        }
        if (first == c) {
            CLQ_TRY(clq_device_remeasure_limits(cases[c].device));
        }
    }
    return CLQ_OK;
}

/* At most CLQ_BENCH_MAX_SAMPLES of the latencies, evenly chosen, in order. */
static clq_status keep_samples(const clq_bench_runner *r, clq_bench_result *result) {
    const size_t count = (size_t)r->count;
    result->sample_count = count < CLQ_BENCH_MAX_SAMPLES ? count : CLQ_BENCH_MAX_SAMPLES;
    result->samples = clq_calloc(result->sample_count, sizeof *result->samples);
    if (!result->samples) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < result->sample_count; i++) {
        result->samples[i] = r->times[CLQ_TIME_FORWARD][i * count / result->sample_count];
    }
    return CLQ_OK;
}

/* Operations a second at the measured peaks, each node at that of its precision, and the network's.
 */
static double peak_of(const clq_graph *graph, bool integer, const clq_device_limits *limits,
                      const char **precision) {
    double macs = 0, on_reals = 0;
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        const double own = node->op->macs ? (double)node->op->macs(graph, node) : 0;
        macs += own;
        on_reals += integer && clq_node_on_codes(graph, node) ? 0 : own;
    }
    const bool mixed = integer && on_reals > 0;
    *precision = !integer ? "fp32" : !mixed ? "int8" : on_reals < macs ? "mixed" : "weights";
    return mixed ? macs / ((macs - on_reals) / limits->int8_gops + on_reals / limits->fp32_gflops)
           : integer ? limits->int8_gops
                     : limits->fp32_gflops;
}

static clq_status fill_result(clq_bench_runner *r, const clq_bench_options *options,
                              clq_bench_result *result) {
    const clq_graph_size size = clq_graph_measure(clq_bench_runner_graph(r));
    const clq_device_info *info = clq_device_get_info(r->item->device);
    const bool integer = clq_bench_runner_is_integer(r);
    result->limits = (clq_device_limits){NAN, NAN, NAN, NAN, NAN, NAN};
    if (!options->no_peak) {
        CLQ_TRY(clq_device_measure_limits(r->item->device, &result->limits));
    }
    result->model = clq_strdup(r->item->name);
    result->device = clq_strdup(info->name);
    result->driver = clq_format("%s %s", info->platform, info->driver);
    if (!result->model || !result->device || !result->driver) {
        return CLQ_NO_MEMORY;
    }
    result->batch = r->item->batch;
    result->peak_gops =
        peak_of(clq_bench_runner_graph(r), integer, &result->limits, &result->precision);
    result->dot_path = integer ? clq_dot_name(info->dot) : "";
    result->iterations = r->count;
    result->latency = clq_bench_runner_latency(r, CLQ_TIME_FORWARD, &result->median_error);
    result->h2d_ms = clq_bench_runner_latency(r, CLQ_TIME_H2D, NULL).median;
    result->d2h_ms = clq_bench_runner_latency(r, CLQ_TIME_D2H, NULL).median;
    result->h2d_host_ms = clq_bench_runner_latency(r, CLQ_TIME_H2D_HOST, NULL).median;
    result->d2h_host_ms = clq_bench_runner_latency(r, CLQ_TIME_D2H_HOST, NULL).median;
    result->images_per_second = 1e3 * result->batch / result->latency.median;
    result->gops = 2e-6 * (double)size.macs * result->batch / result->latency.median;
    result->peak_fraction = result->gops / result->peak_gops;
    result->bytes = size.bytes;
    CLQ_TRY(keep_samples(r, result));
    return r->layers ? clq_layer_profile_fill(r->layers, result) : CLQ_OK;
}

static void warn_about_peaks(const clq_bench_result *result) {
    const clq_bench_layer *worst = NULL;
    int count = 0;
    for (int i = 0; i < result->layer_count; i++) {
        const clq_bench_layer *layer = &result->layers[i];
        count += layer->peak_fraction > 1;
        if (!worst || layer->peak_fraction > worst->peak_fraction) {
            worst = layer;
        }
    }
    if (count > 0) {
        clq_log_warn("%s, batch %d: %d layers run above the peak measured for %s%s%s (%s at %.0f "
                     "%%), so that peak is wrong",
                     result->model, result->batch, count, worst->precision,
                     *worst->dot_path ? " " : "", worst->dot_path, worst->name,
                     100 * worst->peak_fraction);
    }
}

static clq_status explain(const clq_bench_case *cases, size_t c, clq_bench_result *results) {
    const clq_device_info *info = clq_device_get_info(cases[c].device);
    clq_conv_costs costs;
    CLQ_TRY(clq_conv_costs_measure(cases[c].device, results[c].limits.int8_gops,
                                   results[c].limits.launch_us, &costs));
    const clq_bench_bounds bounds = {.limits = results[c].limits,
                                     .costs = costs,
                                     .compute_units = info->compute_units,
                                     .gpu_schedule = info->schedule == CLQ_SCHEDULE_GPU,
                                     .cache = info->cache,
                                     .network_weights = results[c].bytes};
    clq_explain_result(&bounds, &results[cases[c].fp32 - cases], &results[c]);
    return CLQ_OK;
}

clq_status clq_bench_run(const clq_bench_case *cases, size_t count,
                         const clq_bench_options *options, clq_bench_result *results) {
    CLQ_NEEDS(options);
    for (size_t c = 0; c < count; c++) {
        CLQ_NEEDS(cases, results);
        CLQ_NEEDS(cases[c].name, cases[c].graph, cases[c].device);
        CLQ_NEEDS_ENDS(cases[c].graph);
    }
    clq_status status = CLQ_OK;
    if (count > 0) {
        memset(results, 0, count * sizeof *results);
    }
    clq_bench_runner *runners = clq_calloc(count, sizeof *runners);
    if (!runners) {
        return CLQ_NO_MEMORY;
    }
    CLQ_GOTO(status, cleanup, prepare(cases, count, options, runners));
    CLQ_GOTO(status, cleanup, measure(runners, count, options));
    if (!options->no_peak) {
        CLQ_GOTO(status, cleanup, remeasure_devices(cases, count));
    }
    for (size_t c = 0; c < count; c++) {
        CLQ_GOTO(status, cleanup, fill_result(&runners[c], options, &results[c]));
        warn_about_peaks(&results[c]);
    }
    for (size_t c = 0; c < count; c++) {
        if (cases[c].fp32 && options->layers && !options->no_peak) {
            CLQ_GOTO(status, cleanup, explain(cases, c, results));
        }
    }
cleanup:
    for (size_t c = 0; c < count; c++) {
        clq_bench_runner_close(&runners[c]);
        if (status != CLQ_OK) {
            clq_bench_result_clear(&results[c]);
        }
    }
    clq_free(runners);
    return status;
}

void clq_bench_result_clear(clq_bench_result *result) {
    CLQ_NEEDS_OR(, result);
    for (int i = 0; i < result->layer_count; i++) {
        clq_free(result->layers[i].name);
        clq_free(result->layers[i].op);
        clq_free(result->layers[i].fused);
    }
    clq_free(result->layers);
    clq_free(result->samples);
    clq_free(result->model);
    clq_free(result->device);
    clq_free(result->driver);
    *result = (clq_bench_result){0};
}

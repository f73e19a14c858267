/* Training steps: how long they take, and where the time goes.
 *
 * A case is a trainer without a data set: its input is filled once, and every step is the one that
 * training makes (clq_trainer_step_on). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/bench.h>

#include "base/arguments.h"
#include "base/clock.h"
#include "base/progress.h"
#include "base/rng.h"
#include "graph/ends.h"
#include "quant/qat.h"
#include "train/trainer.h"

enum { WARMUP = 2, MIN_STEPS = 5, MAX_STEPS = 1000, PROFILED_STEPS = 3 };
static const double GOAL_SECONDS = 3.0; /* of each case, when no number of steps is given */

typedef struct kernel_time {
    const char *name; /* the registry's */
    int calls;        /* of the latest step */
    double ms[PROFILED_STEPS], flops;
} kernel_time;

typedef struct runner {
    const clq_train_bench_case *item;
    clq_train_job job;
    clq_observers *observers; /* NULL: FP32 */
    trainer trainer;
    clq_buffer *labels;
    uint64_t bytes;
    double *times; /* (capacity) ms */
    int count, capacity;
    double seconds, goal_seconds; /* spent on them; enough, with MIN_STEPS at least */
    kernel_time *kernels;
    size_t kernel_count;
} runner;

/* ---- set-up ---- */

static void describe_job(runner *r) {
    r->job = (clq_train_job){.device = r->item->device,
                             .graph = r->item->graph,
                             .config = *r->item->config,
                             .mode = CLQ_EXEC_TRAIN,
                             .phase = "bench"};
    r->job.config.schedule.kind = CLQ_LR_CONSTANT;
    r->job.config.schedule.lr = r->job.config.schedule.eta_min = 0;
    r->job.config.schedule.warmup_epochs = 0;
    r->trainer.job = &r->job;
}

/* Standard normal pixels and labels in turn, in the executor's input and r->labels. */
static clq_status make_batch(runner *r, uint64_t seed) {
    const clq_tensor *input = clq_exec_input(r->trainer.exec);
    const clq_tensor *output = clq_exec_output(r->trainer.exec);
    const size_t pixels = (size_t)clq_shape_count(&input->shape);
    const size_t batch = (size_t)r->job.config.batch;
    const int64_t classes = output->shape.dim[output->shape.rank - 1];
    clq_status status = CLQ_NO_MEMORY;
    float *x = clq_calloc(pixels + 1, sizeof *x); /* normal values come in pairs */
    int32_t *labels = clq_calloc(batch, sizeof *labels);
    if (!x || !labels) {
        goto cleanup;
    }
    for (size_t i = 0; i < pixels; i += 2) {
        uint32_t bits[4];
        clq_philox(seed, 0, i, bits);
        clq_normal2(bits, x + i);
    }
    for (size_t i = 0; i < batch; i++) {
        labels[i] = (int32_t)((int64_t)i % classes);
    }
    CLQ_GOTO(status, cleanup, clq_buffer_write(input->buffer, 0, pixels * sizeof *x, x));
    CLQ_GOTO(status, cleanup,
             clq_buffer_create(r->item->device, batch * sizeof *labels, &r->labels));
    CLQ_GOTO(status, cleanup, clq_buffer_write(r->labels, 0, batch * sizeof *labels, labels));
cleanup:
    clq_free(x);
    clq_free(labels);
    return status;
}

static clq_status open_runner(const clq_train_bench_case *item, const clq_bench_options *options,
                              runner *r) {
    uint64_t before, after, peak;
    *r = (runner){.item = item};
    r->capacity = options->iterations ? options->iterations : MAX_STEPS;
    r->goal_seconds = options->iterations ? INFINITY : GOAL_SECONDS;
    r->times = clq_calloc((size_t)r->capacity, sizeof *r->times);
    if (!r->times) {
        return CLQ_NO_MEMORY;
    }
    clq_device_memory(item->device, &before, &peak);
    describe_job(r);
    if (clq_graph_form(item->graph) != CLQ_FORM_FLOAT) {
        CLQ_TRY(clq_observers_attach(&r->job, item->quant, item->frozen ? 0 : INT64_MAX,
                                     &r->observers));
    }
    CLQ_TRY(clq_trainer_open(&r->trainer));
    CLQ_TRY(make_batch(r, options->seed));
    clq_device_memory(item->device, &after, &peak);
    r->bytes = after - before;
    return CLQ_OK;
}

static void close_runner(runner *r) {
    clq_trainer_close(&r->trainer);
    clq_observers_detach(&r->job, r->observers);
    clq_buffer_release(r->labels);
    clq_free(r->kernels);
    clq_free(r->times);
}

/* Measures the devices and opens the cases. */
static clq_status prepare(const clq_train_bench_case *cases, size_t count,
                          const clq_bench_options *options, runner *runners) {
    for (size_t c = 0; c < count; c++) {
        clq_device_limits limits; /* remembered by the device */
        CLQ_TRY(clq_device_measure_limits(cases[c].device, &limits));
        CLQ_TRY(open_runner(&cases[c], options, &runners[c]));
    }
    return CLQ_OK;
}

/* ---- steps ---- */

static clq_status step(runner *r) {
    const clq_feed_batch batch = {.count = r->job.config.batch, .device_labels = r->labels};
    return clq_trainer_step_on(&r->trainer, &batch);
}

static clq_status timed_step(runner *r) {
    CLQ_TRY(clq_device_finish(r->item->device));
    const double start = clq_now_seconds();
    CLQ_TRY(step(r));
    CLQ_TRY(clq_device_finish(r->item->device));
    const double seconds = clq_now_seconds() - start;
    r->times[r->count++] = 1e3 * seconds;
    r->seconds += seconds;
    return CLQ_OK;
}

static bool has_enough(const runner *r) {
    return r->count == r->capacity ||
           (r->capacity == MAX_STEPS && r->count >= MIN_STEPS && r->seconds >= GOAL_SECONDS);
}

static clq_status warm_up(runner *r, const clq_bench_options *options) {
    for (int i = 0; i < (options->warmup ? options->warmup : WARMUP); i++) {
        CLQ_TRY(step(r));
    }
    return clq_device_finish(r->item->device);
}

/* A step of each case that has not enough yet; *done: none was left. */
static clq_status run_round(runner *runners, size_t count, bool *done) {
    *done = true;
    for (size_t c = 0; c < count; c++) {
        if (!has_enough(&runners[c])) {
            CLQ_TRY(timed_step(&runners[c]));
            *done = false;
        }
    }
    return CLQ_OK;
}

/* ---- kernels ---- */

/* The row of a kernel, made if there is none; NULL when memory ran out. */
static kernel_time *find_kernel(runner *r, const char *name) {
    for (size_t k = 0; k < r->kernel_count; k++) {
        if (strcmp(r->kernels[k].name, name) == 0) {
            return &r->kernels[k];
        }
    }
    kernel_time *grown = clq_realloc(r->kernels, r->kernel_count + 1, sizeof *grown);
    if (!grown) {
        return NULL;
    }
    r->kernels = grown;
    grown[r->kernel_count] = (kernel_time){.name = name};
    return &grown[r->kernel_count++];
}

static clq_status add_entries(runner *r, int round) {
    const clq_profile_entry *entries;
    size_t count;
    CLQ_TRY(clq_device_profile_entries(r->item->device, &entries, &count));
    for (size_t k = 0; k < r->kernel_count; k++) {
        r->kernels[k].calls = 0;
        r->kernels[k].flops = 0;
    }
    for (size_t i = 0; i < count; i++) {
        kernel_time *kernel = find_kernel(r, entries[i].kernel);
        if (!kernel) {
            return CLQ_NO_MEMORY;
        }
        kernel->calls++;
        kernel->ms[round] += entries[i].ms;
        kernel->flops += entries[i].flops;
    }
    return CLQ_OK;
}

static clq_status profiled_step(runner *r, int round) {
    clq_status status = CLQ_OK;
    CLQ_TRY(clq_device_profile(r->item->device, true));
    CLQ_GOTO(status, cleanup, step(r));
    CLQ_GOTO(status, cleanup, add_entries(r, round));
cleanup:
    if (clq_device_profile(r->item->device, false) != CLQ_OK && status == CLQ_OK) {
        status = CLQ_DEVICE;
    }
    return status;
}

static clq_status measure(runner *runners, size_t count, const clq_bench_options *options) {
    clq_status status = CLQ_OK;
    clq_progress progress;
    int64_t rounds = 0;
    bool done = false;
    clq_progress_begin(&progress, "bench", "steps", 0);
    for (size_t c = 0; c < count; c++) {
        clq_progress_update(&progress, 0, "warming up");
        CLQ_GOTO(status, cleanup, warm_up(&runners[c], options));
    }
    clq_progress_continue(&progress, 0);
    for (; !done; rounds++) {
        clq_progress_update(&progress, rounds, NULL);
        CLQ_GOTO(status, cleanup, clq_check_stopped());
        CLQ_GOTO(status, cleanup, run_round(runners, count, &done));
    }
    for (int round = 0; round < PROFILED_STEPS; round++) {
        clq_progress_update(&progress, rounds, "profiling");
        for (size_t c = 0; c < count; c++) {
            CLQ_GOTO(status, cleanup, profiled_step(&runners[c], round));
        }
    }
cleanup:
    clq_progress_end(&progress);
    return status;
}

/* ---- results ---- */

static int by_time(const void *a, const void *b) {
    const clq_train_bench_kernel *x = a, *y = b;
    return (x->ms < y->ms) - (x->ms > y->ms);
}

static clq_status fill_kernels(const runner *r, clq_train_bench_result *result) {
    result->kernels = clq_calloc(r->kernel_count + 1, sizeof *result->kernels);
    if (!result->kernels) {
        return CLQ_NO_MEMORY;
    }
    for (size_t k = 0; k < r->kernel_count; k++) {
        const kernel_time *from = &r->kernels[k];
        clq_train_bench_kernel *to = &result->kernels[result->kernel_count++];
        double sorted[PROFILED_STEPS];
        memcpy(sorted, from->ms, sizeof sorted);
        *to = (clq_train_bench_kernel){.name = clq_strdup(from->name),
                                       .calls = from->calls,
                                       .ms = clq_latency_of(sorted, PROFILED_STEPS).median};
        if (!to->name) {
            return CLQ_NO_MEMORY;
        }
        to->gflops = to->ms > 0 ? 1e-6 * from->flops / to->ms : 0;
        result->kernel_ms += to->ms;
    }
    qsort(result->kernels, (size_t)result->kernel_count, sizeof *result->kernels, by_time);
    for (int k = 0; k < result->kernel_count && result->kernel_ms > 0; k++) {
        result->kernels[k].share = result->kernels[k].ms / result->kernel_ms;
    }
    return CLQ_OK;
}

static const char *mode_of(const runner *r) {
    if (!r->observers) {
        return "train";
    }
    return !r->item->frozen               ? "qat"
           : r->item->quant->int8_forward ? "qat_int8_forward"
                                          : "qat_frozen";
}

static clq_status fill_result(runner *r, const clq_bench_options *options,
                              clq_train_bench_result *result) {
    const double macs = (double)clq_graph_measure(r->item->graph).macs;
    const clq_exec_memory memory = clq_exec_measure(r->trainer.exec);
    result->limits = (clq_device_limits){NAN, NAN, NAN, NAN, NAN, NAN};
    if (!options->no_peak) {
        CLQ_TRY(clq_device_measure_limits(r->item->device, &result->limits));
    }
    result->model = clq_strdup(r->item->name);
    result->device = clq_strdup(clq_device_get_info(r->item->device)->name);
    if (!result->model || !result->device) {
        return CLQ_NO_MEMORY;
    }
    result->mode = mode_of(r);
    result->batch = r->job.config.batch;
    result->steps = r->count;
    result->step = clq_latency_of(r->times, (size_t)r->count);
    result->images_per_second = 1e3 * result->batch / result->step.median;
    result->gflops = 3 * 2e-6 * macs * result->batch / result->step.median;
    result->peak_gflops = result->limits.fp32_gflops;
    result->peak_fraction = result->gflops / result->peak_gflops;
    result->bytes = r->bytes;
    result->activation_bytes = memory.activations;
    result->workspace_bytes = memory.workspaces;
    return fill_kernels(r, result);
}

clq_status clq_bench_train(const clq_train_bench_case *cases, size_t count,
                           const clq_bench_options *options, clq_train_bench_result *results) {
    CLQ_NEEDS(options);
    for (size_t c = 0; c < count; c++) {
        CLQ_NEEDS(cases, results);
        CLQ_NEEDS(cases[c].name, cases[c].graph, cases[c].device, cases[c].config);
        CLQ_NEEDS_ENDS(cases[c].graph);
    }
    clq_status status = CLQ_OK;
    if (count > 0) {
        memset(results, 0, count * sizeof *results);
    }
    runner *runners = clq_calloc(count, sizeof *runners);
    if (!runners) {
        return CLQ_NO_MEMORY;
    }
    CLQ_GOTO(status, cleanup, prepare(cases, count, options, runners));
    CLQ_GOTO(status, cleanup, measure(runners, count, options));
    for (size_t c = 0; c < count && !options->no_peak; c++) {
        if (c == 0 || cases[c].device != cases[c - 1].device) {
            CLQ_GOTO(status, cleanup, clq_device_remeasure_limits(cases[c].device));
        }
    }
    for (size_t c = 0; c < count; c++) {
        CLQ_GOTO(status, cleanup, fill_result(&runners[c], options, &results[c]));
    }
cleanup:
    for (size_t c = 0; c < count; c++) {
        close_runner(&runners[c]);
        if (status != CLQ_OK) {
            clq_train_bench_result_clear(&results[c]);
        }
    }
    clq_free(runners);
    return status;
}

void clq_train_bench_result_clear(clq_train_bench_result *result) {
    CLQ_NEEDS_OR(, result);
    for (int k = 0; k < result->kernel_count; k++) {
        clq_free(result->kernels[k].name);
    }
    clq_free(result->kernels);
    clq_free(result->model);
    clq_free(result->device);
    *result = (clq_train_bench_result){0};
}

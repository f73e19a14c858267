/* A forward pass as one launch (device/chain.h), where it runs often enough to be worth making it
 * and is faster so. The steps remain what they are: they are walked once to note their launches. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/environment.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "exec/internal.h"

/* What a chain is expected to save and to take, seconds: measured on two cores of a Zen 5 with PoCL
 * 3.1. An empty launch takes less than the saving, but does not have to wake a second thread. */
static const double saving = 4e-6;  /* each launch */
static const double linking = 0.5;  /* each chain */
static const double building = 0.2; /* each kernel of it */
static const double least = 0.005;  /* of a pass, for it to be tried */

enum { ROUNDS = 4 }; /* of the comparison */

static bool forced(void) {
    return clq_environment("CLQUANT_CHAIN") != NULL && !clq_environment_is_off("CLQUANT_CHAIN");
}

/* Whether a chain of a pass that takes `seconds` is worth making and trying. */
static bool pays(const clq_exec *exec, int launches, int kernels, double seconds) {
    const double saved = saving * launches, runs = (double)exec->options.expected_runs;
    return forced() || (saved * runs > linking + building * kernels && saved > least * seconds);
}

/* Notes the launches of a pass, which takes `seconds`; a chain of them, or other buffers for the
 * one there is. */
static clq_status make(clq_exec *exec, double seconds) {
    int kernels = 0;
    CLQ_TRY(clq_chain_record(exec->device));
    const clq_status status = clq_exec_queue_forward(exec);
    const int launches = clq_chain_noted(exec->device, &kernels);
    if (status != CLQ_OK || (exec->chain == NULL && !pays(exec, launches, kernels, seconds))) {
        clq_chain_drop(exec->device);
        return status;
    }
    return clq_chain_make(exec->device, NULL, &exec->chain);
}

/* ---- whether to trust it, and to take it ---- */

/* All memory that a pass writes is known to begin with, so that what it does not write shows. */
static clq_status clear(clq_exec *exec, float *numbers) {
    for (int b = 0; b < exec->buffer_count; b++) {
        const size_t size = clq_buffer_size(exec->buffers[b]);
        CLQ_TRY(clq_buffer_fill(exec->buffers[b], 0, size / 4 * 4, 0x5a5a5a5a));
    }
    for (int i = 0; i < exec->graph->output_count; i++) {
        const clq_exec_end *end = &exec->outputs[i];
        if (end->real != NULL) {
            CLQ_TRY(clq_buffer_fill(end->real, 0, clq_buffer_size(end->real), 0x5a5a5a5a));
        }
    }
    for (int i = 0; i < exec->graph->input_count; i++) {
        const clq_tensor *tensor = &exec->inputs[i].tensor;
        const size_t count = (size_t)clq_shape_count(&tensor->shape);
        for (size_t at = 0; at < count; at += 4) {
            uint32_t bits[4];
            clq_philox(1, (uint64_t)i, at, bits);
            for (size_t k = 0; k < 4 && at + k < count; k++) {
                numbers[at + k] = 4 * clq_uniform(bits[k]) - 2;
            }
        }
        CLQ_TRY(clq_buffer_write(tensor->buffer, 0, count * sizeof *numbers, numbers));
    }
    return CLQ_OK;
}

static clq_status add_to_hash(clq_buffer *buffer, void *bytes, uint64_t *hash) {
    const size_t size = clq_buffer_size(buffer);
    CLQ_TRY(clq_buffer_read(buffer, 0, size, bytes));
    *hash = clq_hash64_seeded(bytes, size, *hash);
    return CLQ_OK;
}

/* One pass from cleared memory; all that it leaves there, and its time. */
static clq_status run_once(clq_exec *exec, bool chained, void *bytes, uint64_t *hash,
                           double *seconds) {
    CLQ_TRY(clear(exec, bytes));
    CLQ_TRY(clq_device_finish(exec->device));
    const double start = clq_now_seconds();
    CLQ_TRY(chained ? clq_chain_run(exec->chain) : clq_exec_queue_forward(exec));
    CLQ_TRY(clq_device_finish(exec->device));
    *seconds = fmin(*seconds, clq_now_seconds() - start);
    *hash = 0;
    for (int b = 0; b < exec->buffer_count; b++) {
        CLQ_TRY(add_to_hash(exec->buffers[b], bytes, hash));
    }
    for (int i = 0; i < exec->graph->output_count; i++) {
        if (exec->outputs[i].real != NULL) {
            CLQ_TRY(add_to_hash(exec->outputs[i].real, bytes, hash));
        }
    }
    return CLQ_OK;
}

/* The largest piece of memory that the comparison copies. */
static size_t largest_size(const clq_exec *exec) {
    size_t largest = 0;
    for (int b = 0; b < exec->buffer_count; b++) {
        const size_t size = clq_buffer_size(exec->buffers[b]);
        largest = size > largest ? size : largest;
    }
    for (int i = 0; i < exec->graph->input_count; i++) {
        const size_t size = clq_buffer_size(exec->inputs[i].tensor.buffer);
        largest = size > largest ? size : largest;
    }
    for (int i = 0; i < exec->graph->output_count; i++) {
        const size_t size = clq_buffer_size(exec->outputs[i].tensor.buffer);
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* Runs both ways in turns. */
static clq_status compare(clq_exec *exec, bool *same, double seconds[2]) {
    clq_status status = CLQ_OK;
    uint64_t hashes[2];
    void *bytes = clq_calloc(largest_size(exec), 1);
    if (bytes == NULL) {
        return CLQ_NO_MEMORY;
    }
    *same = true;
    seconds[0] = seconds[1] = INFINITY;
    for (int round = 0; *same && round < ROUNDS; round++) {
        for (int chained = 0; chained < 2; chained++) {
            CLQ_GOTO(status, cleanup,
                     run_once(exec, chained, bytes, &hashes[chained], &seconds[chained]));
        }
        *same = hashes[0] == hashes[1];
    }
cleanup:
    clq_free(bytes);
    return status;
}

static clq_status try_chain(clq_exec *exec) {
    bool same = false;
    double seconds[2];
    CLQ_TRY(clq_exec_queue_forward(exec)); /* kernels that are built late, and their self-tests */
    CLQ_TRY(clq_device_finish(exec->device));
    const double before = clq_now_seconds();
    CLQ_TRY(clq_exec_queue_forward(exec));
    CLQ_TRY(clq_device_finish(exec->device));
    const double start = clq_now_seconds();
    CLQ_TRY(make(exec, start - before));
    if (exec->chain == NULL) {
        return CLQ_OK;
    }
    const double made = clq_now_seconds();
    CLQ_TRY(compare(exec, &same, seconds));
    clq_log_debug("graph %s: %.3f ms, as one launch %.3f ms; made in %.2f s, compared in %.2f s",
                  exec->graph->name, 1e3 * seconds[0], 1e3 * seconds[1], made - start,
                  clq_now_seconds() - made);
    if (!same) {
        clq_log_warn("%s computes graph %s otherwise as one launch; it stays launch by launch",
                     clq_device_get_info(exec->device)->name, exec->graph->name);
    }
    if (!same || (seconds[1] >= seconds[0] && !forced())) {
        clq_exec_drop_chain(exec);
    }
    return CLQ_OK;
}

/* Whatever fails, the launches can be queued one by one. */
static clq_status without(clq_exec *exec, clq_status status) {
    if (status == CLQ_OK || status == CLQ_NO_MEMORY) {
        return status;
    }
    clq_log_debug("graph %s is not run as one launch: %s", exec->graph->name, clq_last_error());
    clq_exec_drop_chain(exec);
    return CLQ_OK;
}

clq_status clq_exec_take_chain(clq_exec *exec) {
    const clq_exec_options *options = &exec->options;
    const bool wanted = options->expected_runs > 0 || forced();
    const bool fits = (options->mode == CLQ_EXEC_FLOAT || options->mode == CLQ_EXEC_INT8) &&
                      options->memory_of == NULL;
    if (!wanted || !fits || !clq_chain_possible(exec->device)) {
        return CLQ_OK;
    }
    return without(exec, try_chain(exec));
}

clq_status clq_exec_run_chain(clq_exec *exec, bool *done) {
    *done = false;
    if (exec->chain == NULL || exec->hook != NULL || !clq_chain_ready(exec->chain)) {
        return CLQ_OK;
    }
    if (clq_chain_moved(exec->chain)) {
        CLQ_TRY(without(exec, make(exec, 0)));
        if (exec->chain == NULL) {
            return CLQ_OK;
        }
    }
    *done = true;
    return clq_chain_run(exec->chain);
}

void clq_exec_drop_chain(clq_exec *exec) {
    clq_chain_destroy(exec->chain);
    exec->chain = NULL;
}

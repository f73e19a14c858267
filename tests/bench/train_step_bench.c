/* Where the time of a training step goes.
 *
 *   train_step_bench [NETWORK [BATCH [STEPS [recompute]]]]      default: resnet20 128 3
 *
 * Prints the wall time of the fastest step, and a table of kernels with calls, time, share and
 * GFLOPS: the fastest of STEPS executions of every launch, by the device's own clock. Data is
 * random; no optimizer step. Not a test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "clquant/exec.h"
#include "clquant/models.h"
#include "ops/loss.h"

enum { MAX_ROWS = 128 };

typedef struct row {
    const char *kernel;
    int calls;
    double ms, flops;
} row;

typedef struct bench {
    clq_device *device;
    clq_graph *graph;
    clq_exec *exec;
    clq_loss *loss;
    clq_buffer *labels;
} bench;

static int by_time(const void *a, const void *b) {
    const row *x = a, *y = b;
    return (x->ms < y->ms) - (x->ms > y->ms);
}

static clq_status fill_random(clq_buffer *buffer) {
    const size_t count = clq_buffer_size(buffer) / sizeof(float);
    float *data = clq_calloc(count, sizeof *data);
    if (data == NULL) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        data[i] = (float)rand() / (float)RAND_MAX * 2 - 1;
    }
    const clq_status status = clq_buffer_write(buffer, 0, count * sizeof *data, data);
    clq_free(data);
    return status;
}

static clq_status open_bench(bench *b, const char *network, int batch, bool recompute) {
    clq_network_options network_options = {.network = network, .stem = "cifar"};
    if (strstr(network, "mlp") != NULL) {
        network_options.stem = NULL;
    }
    clq_exec_options options = {.mode = CLQ_EXEC_TRAIN, .batch = batch, .recompute = recompute};
    CLQ_TRY(clq_device_open(NULL, &b->device));
    CLQ_TRY(clq_network_build(&network_options, &b->graph));
    CLQ_TRY(clq_exec_create(b->device, b->graph, &options, &b->exec));
    const clq_shape *output = &clq_exec_output(b->exec)->shape;
    CLQ_TRY(clq_loss_create(b->device, CLQ_LOSS_CROSS_ENTROPY, output, 0, &b->loss));
    CLQ_TRY(clq_buffer_create(b->device, (size_t)batch * sizeof(int32_t), &b->labels));
    CLQ_TRY(clq_buffer_fill(b->labels, 0, (size_t)batch * sizeof(int32_t), 1));
    return fill_random(clq_exec_input(b->exec)->buffer);
}

static clq_status step(bench *b) {
    CLQ_TRY(clq_exec_load_parameters(b->exec));
    CLQ_TRY(clq_exec_forward(b->exec));
    CLQ_TRY(clq_loss_run(b->loss, clq_exec_output(b->exec)->buffer, b->labels,
                         clq_exec_output_gradient(b->exec)->buffer));
    return clq_exec_backward(b->exec);
}

static int collect(const clq_profile_entry *entries, size_t count, row *rows) {
    int used = 0;
    for (size_t i = 0; i < count; i++) {
        int r = 0;
        while (r < used && strcmp(rows[r].kernel, entries[i].kernel) != 0) {
            r++;
        }
        if (r == used) {
            if (used == MAX_ROWS) {
                continue;
            }
            rows[used++] = (row){.kernel = entries[i].kernel};
        }
        rows[r].calls++;
        rows[r].ms += entries[i].ms;
        rows[r].flops += entries[i].flops;
    }
    qsort(rows, (size_t)used, sizeof *rows, by_time);
    return used;
}

/* Profiles `steps` steps and keeps each launch's fastest time; *launches to be freed. */
static clq_status profile(bench *b, int steps, clq_profile_entry **launches, size_t *count) {
    for (int s = 0; s < steps; s++) {
        const clq_profile_entry *entries = NULL;
        CLQ_TRY(clq_device_profile(b->device, true));
        CLQ_TRY(step(b));
        CLQ_TRY(clq_device_profile_entries(b->device, &entries, count));
        if (s == 0) {
            *launches = clq_calloc(*count, sizeof **launches);
            if (*launches == NULL) {
                return CLQ_NO_MEMORY;
            }
            memcpy(*launches, entries, *count * sizeof **launches);
        }
        for (size_t i = 0; i < *count; i++) {
            (*launches)[i].kernel = entries[i].kernel;
            (*launches)[i].ms =
                entries[i].ms < (*launches)[i].ms ? entries[i].ms : (*launches)[i].ms;
        }
    }
    return clq_device_profile(b->device, false);
}

static clq_status print_table(bench *b, int steps) {
    clq_profile_entry *launches = NULL;
    size_t count = 0;
    row rows[MAX_ROWS];
    double total = 0;
    const clq_status status = profile(b, steps, &launches, &count);
    const int used = status == CLQ_OK ? collect(launches, count, rows) : 0;
    for (int r = 0; r < used; r++) {
        total += rows[r].ms;
    }
    printf("%-36s %6s %9s %7s %8s\n", "kernel", "calls", "ms", "share", "GFLOPS");
    for (int r = 0; r < used; r++) {
        printf("%-36s %6d %9.2f %6.1f%%", rows[r].kernel, rows[r].calls, rows[r].ms,
               100 * rows[r].ms / total);
        if (rows[r].flops > 0) {
            printf(" %8.1f", rows[r].flops / rows[r].ms * 1e-6);
        }
        printf("\n");
    }
    printf("%-36s %6zu %9.2f\n", "all", count, total);
    clq_free(launches);
    return status;
}

static clq_status run(bench *b, const char *network, int batch, int steps, bool recompute) {
    double best = 1e30;
    CLQ_TRY(open_bench(b, network, batch, recompute));
    CLQ_TRY(step(b)); /* builds the kernels */
    CLQ_TRY(clq_device_finish(b->device));
    for (int s = 0; s < steps; s++) {
        const double start = clq_now_seconds();
        CLQ_TRY(step(b));
        CLQ_TRY(clq_device_finish(b->device));
        const double seconds = clq_now_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    const clq_exec_memory memory = clq_exec_measure(b->exec);
    printf("%s, batch %d: %.1f ms a step, %.0f images/s; activations and gradients %.1f MB, "
           "workspaces %.1f MB, scratch %.1f MB\n",
           network, batch, best * 1e3, batch / best, (double)memory.activations * 1e-6,
           (double)memory.workspaces * 1e-6, (double)clq_scratch_size(b->device) * 1e-6);
    return print_table(b, steps);
}

int main(int argc, char **argv) {
    bench b = {0};
    const bool recompute = argc > 4 && strcmp(argv[4], "recompute") == 0;
    const clq_status status =
        run(&b, argc > 1 ? argv[1] : "resnet20", argc > 2 ? atoi(argv[2]) : 128,
            argc > 3 ? atoi(argv[3]) : 3, recompute);
    if (status != CLQ_OK) {
        fprintf(stderr, "train_step_bench: %s\n", clq_last_error());
    }
    clq_loss_destroy(b.loss);
    clq_buffer_release(b.labels);
    clq_exec_destroy(b.exec);
    clq_graph_destroy(b.graph);
    clq_device_close(b.device);
    return (int)status;
}

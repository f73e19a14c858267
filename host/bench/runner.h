/* One case of a benchmark: its executor, its inputs, the times of its iterations. */
#ifndef CLQUANT_BENCH_RUNNER_H
#define CLQUANT_BENCH_RUNNER_H

#include "bench/layers.h"

/* A time of every iteration, in ms. */
typedef enum clq_bench_time {
    CLQ_TIME_FORWARD,  /* queued to finished, by the host's clock */
    CLQ_TIME_H2D,      /* the inputs' way to the device, by its events */
    CLQ_TIME_D2H,      /* the outputs' way back */
    CLQ_TIME_H2D_HOST, /* the same by the host's clock */
    CLQ_TIME_D2H_HOST,
    CLQ_TIMES
} clq_bench_time;

typedef struct clq_bench_runner {
    const clq_bench_case *item;
    clq_graph *folded; /* NULL: the case's own graph runs */
    clq_exec *exec;
    clq_layer_profile *layers; /* NULL: not wanted */
    float *input, *output;     /* of all inputs and outputs, one behind the other */
    double *times[CLQ_TIMES];  /* (capacity) */
    double *sorted;            /* (capacity) scratch */
    int count, capacity;       /* iterations kept, and how many there may be */
    double seconds;            /* spent on them */
    double goal_seconds;       /* to be spent; unused when the number of iterations is given */
} clq_bench_runner;

/* CLQ_USAGE for a quantized graph that is not converted. Close it after a failure too. */
clq_status clq_bench_runner_open(const clq_bench_case *item, const clq_bench_options *options,
                                 clq_bench_runner *runner);
void clq_bench_runner_close(clq_bench_runner *runner);

const clq_graph *clq_bench_runner_graph(const clq_bench_runner *runner);
bool clq_bench_runner_is_integer(const clq_bench_runner *runner);

/* Inputs to the device, forward, outputs back; the times are kept if `keep`. */
clq_status clq_bench_runner_iterate(clq_bench_runner *runner, bool keep);
/* Statistics of the iterations kept so far; `error` (may be NULL): clq_median_error. */
clq_latency clq_bench_runner_latency(clq_bench_runner *runner, clq_bench_time time, double *error);

#endif

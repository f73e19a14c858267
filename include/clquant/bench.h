/* Benchmarks: latency, throughput, per-layer times against the device's measured peak. */
#ifndef CLQUANT_BENCH_H
#define CLQUANT_BENCH_H

#include <clquant/exec.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clq_latency {
    double min, mean, median, p90, p95, p99; /* milliseconds */
} clq_latency;

/* Order statistics of `count` samples (sorted in place); percentiles interpolate linearly. */
clq_latency clq_latency_of(double *samples_ms, size_t count);

typedef struct clq_bench_layer {
    char *name, *op;       /* owned */
    double ms;             /* median of the profiled iterations */
    double gops;           /* 1e9 operations a second; a multiply-add is two */
    double peak_fraction;  /* of the device's measured peak of that precision */
    const char *precision; /* "fp32" or "int8" */
    const char *dot_path;  /* "" for fp32 */
} clq_bench_layer;

typedef struct clq_bench_result {
    char *model;  /* owned */
    char *device; /* owned */
    int batch;
    const char *precision; /* "fp32" or "int8" */
    const char *dot_path;
    int iterations;
    clq_latency latency;
    double images_per_second, gops, peak_gops, peak_fraction;
    int64_t bytes;           /* of parameters */
    double h2d_ms, d2h_ms;   /* medians: input to the device, logits back */
    clq_bench_layer *layers; /* owned; empty unless asked for */
    int layer_count;
} clq_bench_result;

/* One model on one device. FP32 graphs are folded first; integer graphs run on integers. */
typedef struct clq_bench_case {
    const char *name;
    const clq_graph *graph;
    clq_device *device;
    int batch;
} clq_bench_case;

typedef struct clq_bench_options {
    int iterations; /* 0: until ~1 s of samples, at least 10 */
    int warmup;     /* 0: 3 */
    bool layers;    /* also profile per layer, in separate iterations */
    uint64_t seed;  /* of the random input */
} clq_bench_options;

/* Runs all cases in turn, one iteration of each at a time, so that drift of the machine hits all
 * alike. results[count]; free each with clq_bench_result_clear. Latency is from queueing the
 * forward to its end, transfers apart. */
clq_status clq_bench_run(const clq_bench_case *cases, size_t count,
                         const clq_bench_options *options, clq_bench_result *results);
void clq_bench_result_clear(clq_bench_result *result);

#ifdef __cplusplus
}
#endif
#endif

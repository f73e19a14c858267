/* Benchmarks: latency, throughput, per-layer times against what the device was measured to do, and
 * why a layer is not faster; training steps, kernel by kernel. */
#ifndef CLQUANT_BENCH_H
#define CLQUANT_BENCH_H

#include <clquant/quant.h>

CLQ_API_BEGIN

/* ---- statistics ---- */

typedef struct clq_latency {
    double min, mean, median, p90, p95, p99; /* milliseconds */
} clq_latency;

/* Order statistics of `count` samples (sorted in place); percentiles interpolate linearly. */
clq_latency clq_latency_of(double *samples_ms, size_t count);
/* The value below which `fraction` of the sorted samples lie, interpolated; count >= 1. */
double clq_quantile(const double *sorted, size_t count, double fraction);
/* Half the width of the median's 95 % interval, as a fraction of the median; 0 for no samples. */
double clq_median_error(const double *sorted, size_t count);

/* ---- results ---- */

/* Why a layer's int8 form is not at least twice as fast as its FP32 form; host/bench/explain.c has
 * the rules. */
typedef enum clq_bench_cause {
    CLQ_CAUSE_NONE,        /* it is, or there is no FP32 form to compare with */
    CLQ_CAUSE_KEPT,        /* it is in FP32 here too: kept float */
    CLQ_CAUSE_LAUNCH,      /* starting its kernels takes the time */
    CLQ_CAUSE_PARALLELISM, /* parts of the device have nothing to do */
    CLQ_CAUSE_MEMORY,      /* moving its activations, or weights from the cache */
    CLQ_CAUSE_WEIGHTS,     /* reading its weights from memory */
    CLQ_CAUSE_REQUANTIZE,  /* making codes of its sums, and adding a residual to them */
    CLQ_CAUSE_SHORT_SUMS,  /* starting and ending sums of few products */
    CLQ_CAUSE_FETCHING,    /* fetching inputs: few at a time, or for few output channels */
    CLQ_CAUSE_PADDING,     /* multiplying the zeros that fill up channels */
    CLQ_CAUSE_NO_DOT,      /* arithmetic, and its path has no dot instruction */
    CLQ_CAUSE_FP32_LESS,   /* arithmetic, of which the FP32 form has less: Winograd's algorithm */
    CLQ_CAUSE_ARITHMETIC,  /* arithmetic, though its path has a dot instruction */
    CLQ_CAUSE_OTHER,       /* none of these; the text says at how much of the peak */
} clq_bench_cause;
/* "no dot instruction", "memory-bound", ...; "" for NONE. */
const char *clq_bench_cause_name(clq_bench_cause cause);

/* Where a layer's time goes, as estimated from what the device was measured to do. */
typedef enum clq_bench_part {
    CLQ_TIME_ARITHMETIC,
    CLQ_TIME_PADDING,
    CLQ_TIME_SHORT_SUMS,
    CLQ_TIME_FETCHING,
    CLQ_TIME_REQUANTIZE,
    CLQ_TIME_WEIGHTS,
    CLQ_TIME_ACTIVATIONS,
    CLQ_TIME_LAUNCHES,
    CLQ_TIME_OTHER, /* what is left */
    CLQ_TIME_PARTS
} clq_bench_part;
/* "arithmetic", "padding", ...; "" for a number that is none. */
const char *clq_bench_part_name(clq_bench_part part);

typedef struct clq_bench_layer {
    char *name, *op;   /* owned. "input" converts all inputs to codes, "output" all outputs back */
    char *fused;       /* owned: the add that runs in the layer's epilogue; "" for none */
    double ms;         /* median of the profiled iterations, by the device's events */
    double share;      /* of the time of all layers */
    double operations; /* of one forward; a multiply-add is two */
    double gops;       /* 1e9 operations a second */
    double peak_gops;  /* measured for the layer's precision and dot path */
    double peak_fraction; /* above 1, the peak was measured too low */
    int64_t weight_bytes; /* of parameters, from their shapes */
    int64_t bytes;        /* those, and the activations read and written */
    double gbs;           /* 1e9 of these bytes a second */
    int64_t codes;        /* u8 codes made of sums */
    int channels, taps;   /* of the output; of a convolution's kernel, 1 of a linear layer's */
    bool depthwise;       /* a convolution in which each output channel has one input channel */
    double padded;        /* operations on zeros that fill up channels, beside `operations` */
    int launches;         /* kernels of one forward */
    int64_t work_items, work_groups; /* of the launch that takes longest */
    const char *precision;           /* "fp32" or "int8" */
    const char *dot_path;  /* the layer's own; "" where there are no dot products, and for fp32 */
    double fp32_ms;        /* explained: the FP32 form's time; 0 when there is none */
    clq_bench_cause cause; /* explained */
    char why[192];         /* explained: the cause with its numbers; "" for NONE */
    double parts[CLQ_TIME_PARTS]; /* explained: of its time; they add up to 1 */
} clq_bench_layer;

/* From the start of a process to its first result, in ms. All 0 when not measured. */
typedef struct clq_bench_startup {
    double cold, second, warm; /* empty kernel caches; the run after that; the caches complete */
} clq_bench_startup;

enum { CLQ_BENCH_MAX_SAMPLES = 512 };

typedef struct clq_bench_result {
    char *model;  /* owned */
    char *device; /* owned */
    char *driver; /* owned: platform and version */
    int batch;
    const char *precision; /* "fp32", "int8" or "mixed" */
    const char *dot_path;  /* the device's; "" for fp32 */
    int iterations;
    clq_latency latency; /* from queueing the forward to its end, transfers apart; host's clock */
    double median_error; /* clq_median_error of it */
    double *samples;     /* (sample_count) ms, owned: latencies in order, evenly chosen of all */
    size_t sample_count; /* at most CLQ_BENCH_MAX_SAMPLES */
    double images_per_second, gops, peak_gops, peak_fraction;
    int64_t bytes;         /* of parameters */
    double h2d_ms, d2h_ms; /* medians by the device's events: inputs there, outputs back */
    double h2d_host_ms, d2h_host_ms; /* the same by the host's clock */
    double kernel_ms;                /* sum over the layers; 0 unless asked for */
    clq_device_limits limits;        /* the device's */
    clq_bench_startup startup;       /* for the caller to fill in */
    clq_bench_layer *layers;         /* owned; empty unless asked for */
    int layer_count;
    bool explained; /* there was an FP32 form to explain the layers with */
} clq_bench_result;

/* ---- running ---- */

/* One model on one device. FP32 graphs are folded first; integer graphs run on integers. */
typedef struct clq_bench_case {
    const char *name;
    const clq_graph *graph;
    clq_device *device;
    int batch;
    /* For an integer graph: the case among the same `cases` that is its FP32 form, on the same
     * device and with the same batch; its layers explain this one's. NULL: not explained. */
    const struct clq_bench_case *fp32;
} clq_bench_case;

typedef struct clq_bench_options {
    int iterations; /* of each case. 0: about a second's, at least 10, and up to four times as many
                       until the median's interval is within 1 % of it */
    int warmup;     /* iterations. 0: 3 and at least 0.1 s */
    bool layers;    /* also profile per layer, in separate iterations */
    bool no_peak;   /* do not measure what the device can do: limits, peaks and fractions of them
                       are NaN in the results, and no layer is explained */
    uint64_t seed;  /* of the random inputs */
    uint64_t expected_runs; /* of each case: clq_exec_options. 0: a million */
} clq_bench_options;

/* Runs all cases in turn, some milliseconds each at a time and whichever is furthest from its goal
 * first, so that drift of the machine hits all alike. results[count]; free each with
 * clq_bench_result_clear. CLQ_USAGE for a quantized graph that is not converted. */
clq_status clq_bench_run(const clq_bench_case *cases, size_t count,
                         const clq_bench_options *options, clq_bench_result *results);
void clq_bench_result_clear(clq_bench_result *result);

/* ---- training steps ---- */

/* The steps of one training: forward, loss, backward, optimizer, parameters loaded, as clq_train
 * and clq_qat do them, on random inputs that lie on the device. */
typedef struct clq_train_bench_case {
    const char *name;
    clq_graph *graph; /* trained form: FP32 steps. Quantized form (clq_calibrate):
                         quantization-aware ones. Not changed */
    clq_device *device;
    const clq_train_config *config; /* batch, optimizer, loss, ...; the learning rate is taken as 0,
                                       so that no number of steps diverges */
    const clq_quant_config *quant;  /* of quantization-aware steps; else unused */
    bool frozen;                    /* those after observers have stopped; else they run */
} clq_train_bench_case;

typedef struct clq_train_bench_kernel {
    char *name;   /* owned; registry name, or "fill", "copy", ... */
    int calls;    /* of one step */
    double ms;    /* of all calls of a step: median of the profiled steps, by the device's events */
    double share; /* of the time of all kernels */
    double gflops; /* operations really done, 1e9 a second; 0 where none are counted */
} clq_train_bench_kernel;

typedef struct clq_train_bench_result {
    char *model, *device;              /* owned */
    const char *mode;                  /* "train", "qat", "qat_frozen", "qat_int8_forward" */
    int batch, steps;                  /* timed */
    clq_latency step;                  /* from queueing a step to its end; host's clock */
    double images_per_second, gflops;  /* at the median. Operations: three times the forward's sums
                                          over taps, however they were computed */
    double peak_gflops, peak_fraction; /* FP32, measured in the same run */
    uint64_t
        bytes; /* device memory held: parameters, gradients, optimizer state, activations, ... */
    uint64_t activation_bytes, workspace_bytes; /* of these: clq_exec_measure */
    double kernel_ms;                           /* sum of the kernels */
    clq_device_limits limits;                   /* the device's */
    clq_train_bench_kernel *kernels;            /* owned; the longest first */
    int kernel_count;
} clq_train_bench_result;

/* Times steps of all cases in turn, one each at a time, after some warm-up; then profiles some
 * more. options->iterations: timed steps of each (0: three seconds' worth, at least 5); warmup:
 * steps before (0: 2); no_peak; layers is not used. results[count]; free each with
 * clq_train_bench_result_clear. CLQ_USAGE for a graph of another form or a configuration that
 * breaks a rule. */
clq_status clq_bench_train(const clq_train_bench_case *cases, size_t count,
                           const clq_bench_options *options, clq_train_bench_result *results);
void clq_train_bench_result_clear(clq_train_bench_result *result);

CLQ_API_END
#endif

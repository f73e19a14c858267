/* Why int8 is not faster, layer by layer. */
#ifndef CLQUANT_BENCH_EXPLAIN_H
#define CLQUANT_BENCH_EXPLAIN_H

#include <clquant/bench.h>

/* What a layer's time is held against. */
typedef struct clq_bench_bounds {
    clq_device_limits limits;
    unsigned compute_units;
    bool gpu_schedule;
    uint64_t cache;          /* bytes; 0: none known */
    int64_t network_weights; /* bytes of all parameters, read once in a forward */
} clq_bench_bounds;

/* The part of a layer's time that each thing takes at least; may exceed 1. */
typedef struct clq_layer_shares {
    double compute, memory, requantize, launch;
} clq_layer_shares;

clq_layer_shares clq_layer_shares_of(const clq_bench_bounds *bounds, const clq_bench_layer *layer);

/* Fills layer->cause and why from everything else in it, fp32_ms included (0: no FP32 form). */
void clq_explain_layer(const clq_bench_bounds *bounds, clq_bench_layer *layer);

/* Explains all layers of an integer result by those of its FP32 form, matched by name: what runs in
 * a layer's epilogue counts as part of it on both sides. */
void clq_explain_result(const clq_bench_bounds *bounds, const clq_bench_result *fp32,
                        clq_bench_result *result);

#endif

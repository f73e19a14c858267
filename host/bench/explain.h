/* Why int8 is not faster, layer by layer. */
#ifndef CLQUANT_BENCH_EXPLAIN_H
#define CLQUANT_BENCH_EXPLAIN_H

#include <clquant/bench.h>

#include "bench/conv_costs.h"

/* What a layer's time is held against. */
typedef struct clq_bench_bounds {
    clq_device_limits limits;
    clq_conv_costs costs; /* of the device's dot path */
    unsigned compute_units;
    bool gpu_schedule;
    uint64_t cache;          /* bytes; 0: none known */
    int64_t network_weights; /* bytes of all parameters, read once in a forward */
} clq_bench_bounds;

/* Fills layer->parts, cause and why from everything else in it, fp32_ms included (0: no FP32 form).
 * `fp32_operations`: those that the FP32 form really does; 0: not known. */
void clq_explain_layer(const clq_bench_bounds *bounds, double fp32_operations,
                       clq_bench_layer *layer);

/* Explains all layers of an integer result by those of its FP32 form, matched by name: what runs in
 * a layer's epilogue counts as part of it on both sides. */
void clq_explain_result(const clq_bench_bounds *bounds, const clq_bench_result *fp32,
                        clq_bench_result *result);

#endif

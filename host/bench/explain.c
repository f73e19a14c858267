/* The rules, for an int8 layer that takes more than half the time of its FP32 form.
 *
 * Four things take a layer at least so much time, by what it does and what the device was measured
 * to do; a thing's share is that time divided by the layer's:
 *
 *   launch      launches * the cost of an empty launch
 *   memory      parameters / bandwidth + activations / bandwidth, where the bandwidth is the
 *               cache's if the network's parameters (the layer's activations) fit it, else memory's
 *   requantize  codes made of sums / requantizing rate
 *   compute     operations / peak of the layer's dot path
 *
 * The first of these that holds is the cause:
 *
 *   1. launch-bound             launch has a share of a third
 *   2. too little parallelism   the longest launch has fewer work-groups than the device has
 *                               compute units or, on the GPU schedule, fewer than 128 work-items
 *                               for each
 *   3. memory-bound,            memory, requantize or compute has the largest share of the three,
 *      requantize-bound,        and that is a third; compute only counts on a dot path without an
 *      no dot instruction       instruction that multiplies and adds four pairs (avx2, portable):
 *                               with one, the arithmetic is no reason not to be twice as fast
 *   4. other                    what is left, with the fraction of the peak that was reached */
#include "bench/explain.h"

#include <stdio.h>
#include <string.h>

#include "base/numbers.h"

static const double ENOUGH = 2;            /* times as fast as FP32 */
static const double LARGE_SHARE = 1.0 / 3; /* of a layer's time */
enum { ITEMS_PER_UNIT = 128 };             /* that a GPU's compute unit needs to hide latencies */

const char *clq_bench_cause_name(clq_bench_cause cause) {
    static const char *const names[] = {
        [CLQ_CAUSE_NONE] = "",
        [CLQ_CAUSE_LAUNCH] = "launch-bound",
        [CLQ_CAUSE_PARALLELISM] = "too little parallelism",
        [CLQ_CAUSE_MEMORY] = "memory-bound",
        [CLQ_CAUSE_REQUANTIZE] = "requantize-bound",
        [CLQ_CAUSE_NO_DOT] = "no dot instruction",
        [CLQ_CAUSE_OTHER] = "other",
    };
    return (size_t)cause < sizeof names / sizeof *names ? names[cause] : "";
}

/* ---- shares ---- */

/* Milliseconds to move `bytes` of a set of `of` bytes that is used again and again. */
static double moving_ms(const clq_bench_bounds *bounds, int64_t bytes, int64_t of) {
    const bool cached = bounds->cache > 0 && (uint64_t)of <= bounds->cache;
    const double gbs = cached ? bounds->limits.cache_gbs : bounds->limits.memory_gbs;
    return gbs > 0 ? 1e-6 * (double)bytes / gbs : 0;
}

clq_layer_shares clq_layer_shares_of(const clq_bench_bounds *bounds, const clq_bench_layer *layer) {
    const int64_t activations = layer->bytes - layer->weight_bytes;
    const clq_device_limits *limits = &bounds->limits;
    if (layer->ms <= 0) {
        return (clq_layer_shares){0};
    }
    const double memory_ms = moving_ms(bounds, layer->weight_bytes, bounds->network_weights) +
                             moving_ms(bounds, activations, activations);
    const double requantize_ms =
        limits->requantize_gcodes > 0 ? 1e-6 * (double)layer->codes / limits->requantize_gcodes : 0;
    return (clq_layer_shares){.compute = layer->peak_fraction,
                              .memory = memory_ms / layer->ms,
                              .requantize = requantize_ms / layer->ms,
                              .launch = 1e-3 * layer->launches * limits->launch_us / layer->ms};
}

/* ---- rules ---- */

static bool lacks_parallelism(const clq_bench_bounds *bounds, const clq_bench_layer *layer) {
    const int64_t units = bounds->compute_units;
    return layer->work_groups < units ||
           (bounds->gpu_schedule && layer->work_items < units * ITEMS_PER_UNIT);
}

/* Whether one instruction of the path multiplies and adds four pairs in a lane. */
static bool has_dot_instruction(const char *path) {
    return strcmp(path, clq_dot_name(CLQ_DOT_AVX2)) != 0 &&
           strcmp(path, clq_dot_name(CLQ_DOT_PORTABLE)) != 0;
}

static clq_bench_cause find_cause(const clq_bench_bounds *bounds, const clq_bench_layer *layer,
                                  const clq_layer_shares *shares) {
    clq_bench_cause cause = CLQ_CAUSE_MEMORY;
    double largest = shares->memory;
    if (shares->launch >= LARGE_SHARE) {
        return CLQ_CAUSE_LAUNCH;
    }
    if (lacks_parallelism(bounds, layer)) {
        return CLQ_CAUSE_PARALLELISM;
    }
    if (shares->requantize > largest) {
        cause = CLQ_CAUSE_REQUANTIZE;
        largest = shares->requantize;
    }
    if (shares->compute > largest) {
        cause = has_dot_instruction(layer->dot_path) ? CLQ_CAUSE_OTHER : CLQ_CAUSE_NO_DOT;
        largest = shares->compute;
    }
    return largest >= LARGE_SHARE ? cause : CLQ_CAUSE_OTHER;
}

static void describe(const clq_bench_bounds *bounds, const clq_layer_shares *shares,
                     clq_bench_layer *layer) {
    const clq_device_limits *limits = &bounds->limits;
    const char *name = clq_bench_cause_name(layer->cause);
    char *out = layer->why;
    const size_t size = sizeof layer->why;
    switch (layer->cause) {
    case CLQ_CAUSE_LAUNCH:
        clq_snprintf(out, size, "%s: %d x %.1f us to start, %.1f us in all", name, layer->launches,
                     limits->launch_us, 1e3 * layer->ms);
        break;
    case CLQ_CAUSE_PARALLELISM:
        clq_snprintf(out, size, "%s: %lld work-items in %lld groups for %u compute units", name,
                     (long long)layer->work_items, (long long)layer->work_groups,
                     bounds->compute_units);
        break;
    case CLQ_CAUSE_MEMORY:
        clq_snprintf(out, size, "%s: %.1f GB/s, %.0f %% of the bandwidth", name, layer->gbs,
                     100 * shares->memory);
        break;
    case CLQ_CAUSE_REQUANTIZE:
        clq_snprintf(out, size, "%s: %lld codes take %.0f %% of the time", name,
                     (long long)layer->codes, 100 * shares->requantize);
        break;
    case CLQ_CAUSE_NO_DOT:
        clq_snprintf(out, size, "%s: the peak of %s is %.2fx FP32's; at %.0f %% of it", name,
                     layer->dot_path, layer->peak_gops / limits->fp32_gflops,
                     100 * layer->peak_fraction);
        break;
    case CLQ_CAUSE_OTHER:
        clq_snprintf(out, size,
                     layer->operations > 0 ? "%s: at %.0f %% of peak"
                                           : "%s: no arithmetic, at %.0f %% of the bandwidth",
                     name, 100 * (layer->operations > 0 ? layer->peak_fraction : shares->memory));
        break;
    case CLQ_CAUSE_NONE:
        out[0] = '\0';
        break;
    }
}

void clq_explain_layer(const clq_bench_bounds *bounds, clq_bench_layer *layer) {
    const clq_layer_shares shares = clq_layer_shares_of(bounds, layer);
    const bool slow = layer->fp32_ms > 0 && layer->fp32_ms < ENOUGH * layer->ms;
    layer->cause = slow ? find_cause(bounds, layer, &shares) : CLQ_CAUSE_NONE;
    describe(bounds, &shares, layer);
}

/* ---- matching ---- */

static double ms_of(const clq_bench_result *result, const char *name) {
    for (int i = 0; i < result->layer_count; i++) {
        if (strcmp(result->layers[i].name, name) == 0) {
            return result->layers[i].ms;
        }
    }
    return 0;
}

void clq_explain_result(const clq_bench_bounds *bounds, const clq_bench_result *fp32,
                        clq_bench_result *result) {
    for (int i = 0; i < result->layer_count; i++) {
        clq_bench_layer *layer = &result->layers[i];
        layer->fp32_ms = ms_of(fp32, layer->name);
        if (layer->fp32_ms > 0 && *layer->fused) {
            layer->fp32_ms += ms_of(fp32, layer->fused); /* 0 when it is fused there too */
        }
        clq_explain_layer(bounds, layer);
    }
    result->explained = true;
}

/* Where an int8 layer's time goes, and why it is not twice as fast as its FP32 form.
 *
 * The parts are what each thing takes by what the layer does and the device was measured to do:
 *
 *   arithmetic     operations / peak of the layer's dot path
 *   padding        operations on zeros that fill up channels / the same
 *   requantizing   codes made of sums, and a residual's, / requantizing rate
 *   short sums     sums * what a sum takes however short it is, without the requantizing; of a
 *                  depthwise convolution, all of whose sums are short, products * what one takes
 *   fetching       inputs of the sums and taps they belong to, once for all output channels, * what
 *                  fetching one takes
 *   weights        parameters / bandwidth, the cache's if all of the network's fit it
 *   activations    activations / bandwidth, the cache's if the layer's fit it
 *   launches       launches * the cost of an empty one
 *   other          what is left
 *
 * Where they exceed the layer's time they overlap, and are scaled down to it. The first of these
 * that holds is the cause:
 *
 *   1. kept in FP32             a policy or the file left the layer on reals
 *   2. launch-bound             launches are a third
 *   3. too little parallelism   the longest launch has fewer work-groups than the device has
 *                               compute units or, on the GPU schedule, fewer than 128 work-items
 *                               for each
 *   4. the largest part         of arithmetic: no dot instruction, on a path without one that
 *                               multiplies and adds four pairs (avx2, portable); or FP32 multiplies
 *                               less, by Winograd's algorithm */
#include "bench/explain.h"

#include <stdio.h>
#include <string.h>

#include "base/numbers.h"

static const double ENOUGH = 2;             /* times as fast as FP32 */
static const double LAUNCH_SHARE = 1.0 / 3; /* of a layer's time */
static const double FEWER = 0.8;            /* of the operations: the FP32 form does less */
static const double NOTED = 0.095;          /* of the time: a tenth, as it is printed */
enum { ITEMS_PER_UNIT = 128 };              /* that a GPU's compute unit needs to hide latencies */

const char *clq_bench_cause_name(clq_bench_cause cause) {
    static const char *const names[] = {
        [CLQ_CAUSE_NONE] = "",
        [CLQ_CAUSE_KEPT] = "kept in FP32",
        [CLQ_CAUSE_LAUNCH] = "launch-bound",
        [CLQ_CAUSE_PARALLELISM] = "too little parallelism",
        [CLQ_CAUSE_MEMORY] = "memory-bound",
        [CLQ_CAUSE_WEIGHTS] = "weights from memory",
        [CLQ_CAUSE_REQUANTIZE] = "requantize-bound",
        [CLQ_CAUSE_SHORT_SUMS] = "short sums",
        [CLQ_CAUSE_FETCHING] = "fetching inputs",
        [CLQ_CAUSE_PADDING] = "padded channels",
        [CLQ_CAUSE_NO_DOT] = "no dot instruction",
        [CLQ_CAUSE_FP32_LESS] = "FP32 multiplies less",
        [CLQ_CAUSE_ARITHMETIC] = "arithmetic",
        [CLQ_CAUSE_OTHER] = "other",
    };
    return (size_t)cause < sizeof names / sizeof *names ? names[cause] : "";
}

const char *clq_bench_part_name(clq_bench_part part) {
    static const char *const names[CLQ_TIME_PARTS] = {
        [CLQ_TIME_ARITHMETIC] = "arithmetic",
        [CLQ_TIME_PADDING] = "padding",
        [CLQ_TIME_SHORT_SUMS] = "short sums",
        [CLQ_TIME_FETCHING] = "fetching inputs",
        [CLQ_TIME_REQUANTIZE] = "requantizing",
        [CLQ_TIME_WEIGHTS] = "weights",
        [CLQ_TIME_ACTIVATIONS] = "activations",
        [CLQ_TIME_LAUNCHES] = "launches",
        [CLQ_TIME_OTHER] = "other",
    };
    return (size_t)part < CLQ_TIME_PARTS ? names[part] : "";
}

/* ---- parts ---- */

static bool fits_cache(const clq_bench_bounds *bounds, int64_t bytes) {
    return bounds->cache > 0 && (uint64_t)bytes <= bounds->cache;
}

/* Milliseconds to move `bytes` of a set of `of` bytes that is used again and again. */
static double moving_ms(const clq_bench_bounds *bounds, int64_t bytes, int64_t of) {
    const double gbs =
        fits_cache(bounds, of) ? bounds->limits.cache_gbs : bounds->limits.memory_gbs;
    return gbs > 0 ? 1e-6 * (double)bytes / gbs : 0;
}

static bool is_kept(const clq_bench_layer *layer) {
    return strcmp(layer->precision, "int8") != 0; /* "fp32", or "w8" */
}

/* What sums of codes take beside their arithmetic, in ms; `requantize_ms` of it is counted already.
 */
static void add_sums(const clq_bench_bounds *bounds, const clq_bench_layer *layer,
                     double requantize_ms, double *ms) {
    const clq_conv_costs *costs = &bounds->costs;
    if (layer->operations == 0 || is_kept(layer)) {
        return;
    }
    if (layer->depthwise) {
        const double all = 1e-6 * layer->operations / 2 * costs->depthwise_ns -
                           ms[CLQ_TIME_ARITHMETIC] - requantize_ms;
        ms[CLQ_TIME_SHORT_SUMS] = all > 0 ? all : 0;
        return;
    }
    const double sums = 1e-6 * (double)layer->codes * costs->sum_ns - requantize_ms;
    ms[CLQ_TIME_SHORT_SUMS] = sums > 0 ? sums : 0;
    if (layer->channels > 0) {
        const double pixels = (double)layer->codes / layer->channels;
        ms[CLQ_TIME_FETCHING] = 1e-6 * (pixels * layer->taps * costs->tap_ns +
                                        layer->operations / 2 / layer->channels * costs->input_ns);
    }
}

static void find_parts(const clq_bench_bounds *bounds, clq_bench_layer *layer) {
    const clq_device_limits *limits = &bounds->limits;
    const int64_t activations = layer->bytes - layer->weight_bytes;
    double ms[CLQ_TIME_PARTS] = {0}, sum = 0;
    memset(layer->parts, 0, sizeof layer->parts);
    if (layer->ms <= 0) {
        return;
    }
    const double once =
        limits->requantize_gcodes > 0 ? 1e-6 * (double)layer->codes / limits->requantize_gcodes : 0;
    ms[CLQ_TIME_ARITHMETIC] = layer->peak_fraction * layer->ms;
    ms[CLQ_TIME_PADDING] = layer->peak_gops > 0 ? 1e-6 * layer->padded / layer->peak_gops : 0;
    ms[CLQ_TIME_REQUANTIZE] = (*layer->fused ? 2 : 1) * once;
    ms[CLQ_TIME_WEIGHTS] = moving_ms(bounds, layer->weight_bytes, bounds->network_weights);
    ms[CLQ_TIME_ACTIVATIONS] = moving_ms(bounds, activations, activations);
    ms[CLQ_TIME_LAUNCHES] = 1e-3 * layer->launches * limits->launch_us;
    add_sums(bounds, layer, once, ms);
    for (int p = 0; p < CLQ_TIME_OTHER; p++) {
        sum += ms[p];
    }
    const double of = sum > layer->ms ? sum : layer->ms;
    for (int p = 0; p < CLQ_TIME_OTHER; p++) {
        layer->parts[p] = ms[p] / of;
    }
    layer->parts[CLQ_TIME_OTHER] = 1 - sum / of;
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

static int largest_part(const clq_bench_layer *layer) {
    int largest = 0;
    for (int p = 1; p < CLQ_TIME_PARTS; p++) {
        largest = layer->parts[p] > layer->parts[largest] ? p : largest;
    }
    return largest;
}

static clq_bench_cause find_cause(const clq_bench_bounds *bounds, double fp32_operations,
                                  const clq_bench_layer *layer) {
    static const clq_bench_cause causes[CLQ_TIME_PARTS] = {
        [CLQ_TIME_ARITHMETIC] = CLQ_CAUSE_ARITHMETIC, [CLQ_TIME_PADDING] = CLQ_CAUSE_PADDING,
        [CLQ_TIME_SHORT_SUMS] = CLQ_CAUSE_SHORT_SUMS, [CLQ_TIME_FETCHING] = CLQ_CAUSE_FETCHING,
        [CLQ_TIME_REQUANTIZE] = CLQ_CAUSE_REQUANTIZE, [CLQ_TIME_WEIGHTS] = CLQ_CAUSE_WEIGHTS,
        [CLQ_TIME_ACTIVATIONS] = CLQ_CAUSE_MEMORY,    [CLQ_TIME_LAUNCHES] = CLQ_CAUSE_LAUNCH,
        [CLQ_TIME_OTHER] = CLQ_CAUSE_OTHER,
    };
    if (is_kept(layer)) {
        return CLQ_CAUSE_KEPT;
    }
    if (layer->parts[CLQ_TIME_LAUNCHES] >= LAUNCH_SHARE) {
        return CLQ_CAUSE_LAUNCH;
    }
    if (lacks_parallelism(bounds, layer)) {
        return CLQ_CAUSE_PARALLELISM;
    }
    const clq_bench_cause cause = causes[largest_part(layer)];
    if (cause == CLQ_CAUSE_WEIGHTS && fits_cache(bounds, bounds->network_weights)) {
        return CLQ_CAUSE_MEMORY;
    }
    if (cause == CLQ_CAUSE_ARITHMETIC && !has_dot_instruction(layer->dot_path)) {
        return CLQ_CAUSE_NO_DOT;
    }
    if (cause == CLQ_CAUSE_ARITHMETIC && fp32_operations > 0 &&
        fp32_operations < FEWER * layer->operations) {
        return CLQ_CAUSE_FP32_LESS;
    }
    return cause;
}

/* ---- words ---- */

/* "memory-bound: 25.0 GB/s" and what else takes a tenth or more. */
static void add_parts(clq_bench_layer *layer) {
    const size_t size = sizeof layer->why;
    const int largest = largest_part(layer);
    size_t used = strlen(layer->why);
    const char *before = "; also ";
    for (int p = 0; p < CLQ_TIME_PARTS; p++) {
        if (p != largest && layer->parts[p] >= NOTED && used < size) {
            clq_snprintf(layer->why + used, size - used, "%s%s %.0f %%", before,
                         clq_bench_part_name((clq_bench_part)p), 100 * layer->parts[p]);
            used = strlen(layer->why);
            before = ", ";
        }
    }
}

static void describe(const clq_bench_bounds *bounds, double fp32_operations,
                     clq_bench_layer *layer) {
    const clq_device_limits *limits = &bounds->limits;
    const char *name = clq_bench_cause_name(layer->cause);
    const double share = 100 * layer->parts[largest_part(layer)];
    const double products = layer->codes > 0 ? layer->operations / 2 / (double)layer->codes : 0;
    char *out = layer->why;
    const size_t size = sizeof layer->why;
    switch (layer->cause) {
    case CLQ_CAUSE_LAUNCH:
        clq_snprintf(out, size, "%s: %d x %.1f us to start, %.1f us in all", name, layer->launches,
                     limits->launch_us, 1e3 * layer->ms);
        return;
    case CLQ_CAUSE_PARALLELISM:
        clq_snprintf(out, size, "%s: %lld work-items in %lld groups for %u compute units", name,
                     (long long)layer->work_items, (long long)layer->work_groups,
                     bounds->compute_units);
        return;
    case CLQ_CAUSE_MEMORY:
        clq_snprintf(out, size, "%s: %.1f GB/s, %.0f %% of the time", name, layer->gbs, share);
        break;
    case CLQ_CAUSE_WEIGHTS:
        clq_snprintf(out, size, "%s: %.2f MB, %.0f %% of the time", name,
                     1e-6 * (double)layer->weight_bytes, share);
        break;
    case CLQ_CAUSE_REQUANTIZE:
        clq_snprintf(out, size, "%s: %lld codes%s, %.0f %% of the time", name,
                     (long long)layer->codes, *layer->fused ? " and a residual's" : "", share);
        break;
    case CLQ_CAUSE_SHORT_SUMS:
        clq_snprintf(out, size, "%s: of %.0f products, %.0f %% of the time", name, products, share);
        break;
    case CLQ_CAUSE_FETCHING:
        clq_snprintf(out, size, "%s: %d x %.0f for %d channels, %.0f %% of the time", name,
                     layer->taps, products / layer->taps, layer->channels, share);
        break;
    case CLQ_CAUSE_PADDING:
        clq_snprintf(out, size, "%s: %.1fx the products, %.0f %% of the time", name,
                     1 + layer->padded / layer->operations, share);
        break;
    case CLQ_CAUSE_NO_DOT:
        clq_snprintf(out, size, "%s: the peak of %s is %.2fx FP32's; at %.0f %% of it", name,
                     layer->dot_path, layer->peak_gops / limits->fp32_gflops,
                     100 * layer->peak_fraction);
        break;
    case CLQ_CAUSE_FP32_LESS:
        clq_snprintf(out, size, "%s: %.2fx, by Winograd's algorithm; int8 at %.0f %% of peak", name,
                     layer->operations / fp32_operations, 100 * layer->peak_fraction);
        break;
    case CLQ_CAUSE_ARITHMETIC:
        clq_snprintf(out, size, "%s: at %.0f %% of the peak, which is %.2fx FP32's", name,
                     100 * layer->peak_fraction, layer->peak_gops / limits->fp32_gflops);
        break;
    case CLQ_CAUSE_OTHER:
        clq_snprintf(out, size,
                     layer->operations > 0 ? "%s: at %.0f %% of peak"
                                           : "%s: no arithmetic, at %.0f %% of the bandwidth",
                     name,
                     100 * (layer->operations > 0 ? layer->peak_fraction
                                                  : layer->parts[CLQ_TIME_ACTIVATIONS]));
        break;
    case CLQ_CAUSE_KEPT:
        clq_snprintf(out, size, "%s", name);
        return;
    case CLQ_CAUSE_NONE:
        out[0] = '\0';
        return;
    }
    add_parts(layer);
}

void clq_explain_layer(const clq_bench_bounds *bounds, double fp32_operations,
                       clq_bench_layer *layer) {
    const bool slow = layer->fp32_ms > 0 && (is_kept(layer) || layer->fp32_ms < ENOUGH * layer->ms);
    find_parts(bounds, layer);
    layer->cause = slow ? find_cause(bounds, fp32_operations, layer) : CLQ_CAUSE_NONE;
    describe(bounds, fp32_operations, layer);
}

/* ---- matching ---- */

static const clq_bench_layer *find_layer(const clq_bench_result *result, const char *name) {
    for (int i = 0; i < result->layer_count; i++) {
        if (strcmp(result->layers[i].name, name) == 0) {
            return &result->layers[i];
        }
    }
    return NULL;
}

void clq_explain_result(const clq_bench_bounds *bounds, const clq_bench_result *fp32,
                        clq_bench_result *result) {
    for (int i = 0; i < result->layer_count; i++) {
        clq_bench_layer *layer = &result->layers[i];
        const clq_bench_layer *form = find_layer(fp32, layer->name);
        /* An add is none where it is fused in FP32, too. */
        const clq_bench_layer *add = *layer->fused ? find_layer(fp32, layer->fused) : NULL;
        layer->fp32_ms = form ? form->ms + (add ? add->ms : 0) : 0;
        clq_explain_layer(bounds, form ? 1e6 * form->gops * form->ms : 0, layer);
    }
    result->explained = true;
}

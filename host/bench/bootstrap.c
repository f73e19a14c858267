#include "bench/bootstrap.h"

#include <string.h>

#include "base/rng.h"

enum { RESAMPLES = 1000, BLOCKS = 8 };
static const double TAIL = 0.025; /* on either side of the 95 % interval */

/* Samples that follow each other share the machine's mood of that moment, so they are drawn in
 * eight runs of neighbours, which keep what they share; a run that reaches the last sample goes on
 * with the first. */
static void resample(clq_rng *rng, const double *samples, size_t count, double *drawn) {
    const size_t run = (count + BLOCKS - 1) / BLOCKS;
    for (size_t i = 0; i < count;) {
        size_t from = clq_bounded(clq_rng_next(rng), (uint32_t)count);
        for (size_t k = 0; k < run && i < count; k++, i++) {
            drawn[i] = samples[from];
            from = from + 1 < count ? from + 1 : 0;
        }
    }
}

static double median_of_copy(const double *samples, size_t count, double *copy) {
    memcpy(copy, samples, count * sizeof *copy);
    return clq_latency_of(copy, count).median;
}

clq_status clq_median_ratio(const double *base, size_t base_count, const double *now,
                            size_t now_count, uint64_t seed, clq_ratio *ratio) {
    const size_t most = base_count > now_count ? base_count : now_count;
    clq_status status = CLQ_NO_MEMORY;
    clq_rng rng = clq_rng_start(seed, 0);
    double *drawn = clq_calloc(most, sizeof *drawn);
    double *ratios = clq_calloc(RESAMPLES, sizeof *ratios);
    if (!drawn || !ratios) {
        goto cleanup;
    }
    ratio->value = median_of_copy(now, now_count, drawn) / median_of_copy(base, base_count, drawn);
    for (int i = 0; i < RESAMPLES; i++) {
        resample(&rng, now, now_count, drawn);
        ratios[i] = clq_latency_of(drawn, now_count).median;
        resample(&rng, base, base_count, drawn);
        ratios[i] /= clq_latency_of(drawn, base_count).median;
    }
    clq_latency_of(ratios, RESAMPLES); /* sorts */
    ratio->low = clq_quantile(ratios, RESAMPLES, TAIL);
    ratio->high = clq_quantile(ratios, RESAMPLES, 1 - TAIL);
    status = CLQ_OK;
cleanup:
    clq_free(drawn);
    clq_free(ratios);
    return status;
}

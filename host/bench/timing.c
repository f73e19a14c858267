#include <math.h>
#include <stdlib.h>

#include <clquant/bench.h>

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value below which `fraction` of the sorted samples lie, interpolated between neighbours. */
static double percentile(const double *sorted, size_t count, double fraction) {
    const double position = fraction * (double)(count - 1);
    const size_t below = (size_t)floor(position);
    const size_t above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (position - (double)below) * (sorted[above] - sorted[below]);
}

clq_latency clq_latency_of(double *samples_ms, size_t count) {
    double sum = 0;
    if (count == 0) {
        return (clq_latency){0};
    }
    qsort(samples_ms, count, sizeof *samples_ms, ascending);
    for (size_t i = 0; i < count; i++) {
        sum += samples_ms[i];
    }
    return (clq_latency){.min = samples_ms[0],
                         .mean = sum / (double)count,
                         .median = percentile(samples_ms, count, 0.5),
                         .p90 = percentile(samples_ms, count, 0.9),
                         .p95 = percentile(samples_ms, count, 0.95),
                         .p99 = percentile(samples_ms, count, 0.99)};
}

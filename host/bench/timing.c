#include <math.h>
#include <stdlib.h>

#include <clquant/bench.h>

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double clq_quantile(const double *sorted, size_t count, double fraction) {
    if (!sorted || count == 0) {
        return 0;
    }
    const double position = fraction * (double)(count - 1);
    const size_t below = (size_t)floor(position);
    const size_t above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (position - (double)below) * (sorted[above] - sorted[below]);
}

clq_latency clq_latency_of(double *samples_ms, size_t count) {
    double sum = 0;
    if (!samples_ms || count == 0) {
        return (clq_latency){0};
    }
    qsort(samples_ms, count, sizeof *samples_ms, ascending);
    for (size_t i = 0; i < count; i++) {
        sum += samples_ms[i];
    }
    return (clq_latency){.min = samples_ms[0],
                         .mean = sum / (double)count,
                         .median = clq_quantile(samples_ms, count, 0.5),
                         .p90 = clq_quantile(samples_ms, count, 0.9),
                         .p95 = clq_quantile(samples_ms, count, 0.95),
                         .p99 = clq_quantile(samples_ms, count, 0.99)};
}

double clq_median_error(const double *sorted, size_t count) {
    if (!sorted || count == 0) {
        return 0;
    }
    /* Ranks that enclose the median of the distribution 19 times of 20, whatever its form. */
    const double centre = 0.5 * (double)(count - 1), reach = 0.98 * sqrt((double)count);
    const double low = floor(centre - reach), high = ceil(centre + reach);
    const size_t first = low > 0 ? (size_t)low : 0;
    const size_t last = high < (double)(count - 1) ? (size_t)high : count - 1;
    return 0.5 * (sorted[last] - sorted[first]) / clq_quantile(sorted, count, 0.5);
}

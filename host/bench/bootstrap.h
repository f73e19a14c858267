/* Whether two sets of times differ by more than chance. */
#ifndef CLQUANT_BENCH_BOOTSTRAP_H
#define CLQUANT_BENCH_BOOTSTRAP_H

#include <clquant/bench.h>

typedef struct clq_ratio {
    double value;     /* median of `now` / median of `base` */
    double low, high; /* its 95 % interval */
} clq_ratio;

/* The interval is a block bootstrap's: both sets are drawn anew many times, in runs of neighbours.
 * The samples are > 0, in the order in which they were taken, at least one of each. The result
 * depends on the samples and the seed alone. */
clq_status clq_median_ratio(const double *base, size_t base_count, const double *now,
                            size_t now_count, uint64_t seed, clq_ratio *ratio);

#endif

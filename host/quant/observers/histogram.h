/* Histograms of values' magnitudes (kernels/include/histogram.h), counted on the device batch by
 * batch and added up here. What is kept depends on all values together, not on their order. */
#ifndef CLQUANT_QUANT_HISTOGRAM_H
#define CLQUANT_QUANT_HISTOGRAM_H

#include <clquant/device.h>

#include "kernels/include/histogram.h"

/* Of the magnitudes above 0 of one sign. */
typedef struct clq_histogram {
    int first; /* 0 before anything was counted */
    uint64_t count[CLQ_BINS];
} clq_histogram;

/* Adds a batch's counts (CLQ_BINS), of which the first is for bin `first`. */
void clq_histogram_add(clq_histogram *h, const uint32_t *counts, int first);
/* The same of another histogram. */
void clq_histogram_merge(clq_histogram *h, const clq_histogram *other);
/* The lower end of bin 0 .. CLQ_BINS, counted from `first`. */
double clq_histogram_edge(const clq_histogram *h, int bin);

/* ---- the device's part: one for all values of a network ---- */

typedef struct clq_histogram_counter clq_histogram_counter;

/* Room for `slots` values. */
clq_status clq_histogram_counter_create(clq_device *device, int slots,
                                        clq_histogram_counter **counter);
/* Queues the counting of `count` reals of x. `range`: F32 pairs, of which that of `value` is its
 * largest -x and x, of this batch or more. */
clq_status clq_histogram_counter_take(clq_histogram_counter *counter, int slot, clq_buffer *x,
                                      int64_t count, clq_buffer *range, int value);
/* Lends what was counted last of each slot, U32 (slots, 2, CLQ_BINS), until the next call. */
clq_status clq_histogram_counter_read(clq_histogram_counter *counter, const uint32_t **counts);
void clq_histogram_counter_destroy(clq_histogram_counter *counter); /* NULL ok */

#endif

/* prelu's kernels, on arrays (rows, columns): `columns` slopes, channels or 1. */
#ifndef CLQUANT_OPS_PRELU_H
#define CLQUANT_OPS_PRELU_H

#include <clquant/ops.h>

/* y = x, or slope x below 0. y may be x. */
clq_status clq_prelu_values(clq_device *device, clq_buffer *x, clq_buffer *slope, clq_buffer *y,
                            int columns, int64_t count);
/* dx = dy f'(x), or dx += it. dx may be dy. */
clq_status clq_prelu_slopes(clq_device *device, clq_buffer *x, clq_buffer *slope, clq_buffer *dy,
                            clq_buffer *dx, int columns, int64_t count, bool accumulate);
/* The slopes' gradient: sums of dy x where x is negative, or of dy alone where x is NULL. Needs
 * clq_prelu_scratch bytes of scratch. */
clq_status clq_prelu_slope_gradient(clq_device *device, clq_buffer *x, clq_buffer *dy,
                                    clq_buffer *gradient, int columns, int64_t count);
size_t clq_prelu_scratch(int columns, int64_t count);

#endif

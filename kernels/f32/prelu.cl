/* y = x, or slope[c] * x below 0; its gradients. Arrays are (rows, columns), with a slope for each
 * column: columns are channels, or 1 where all share a slope. */
#pragma OPENCL FP_CONTRACT OFF
#include "elementwise.h"

/* BODY(i, c) for every element i and its column c. */
#ifdef CLQ_SCHEDULE_CPU
#define FOR_EACH_COLUMN(BODY)                                                                      \
    do {                                                                                           \
        long row_, end_;                                                                           \
        clq_share(count / columns, 1, &row_, &end_);                                               \
        if (columns == 1) {                                                                        \
            for (long i = row_; i < end_; i++)                                                     \
                BODY(i, 0);                                                                        \
            break;                                                                                 \
        }                                                                                          \
        for (; row_ < end_; row_++)                                                                \
            for (int c = 0; c < columns; c++)                                                      \
                BODY(row_ *columns + c, c);                                                        \
    } while (0)
#else
#define FOR_EACH_COLUMN(BODY)                                                                      \
    for (long i = get_global_id(0); i < count; i += get_global_size(0))                            \
    BODY(i, (int)(i % columns))
#endif

__kernel void prelu_f32(__global const float *restrict x, __global const float *restrict slope,
                        __global float *y, int columns, int count) {
#define VALUE(i, c) y[i] = x[i] < 0.0f ? slope[c] * x[i] : x[i]
    FOR_EACH_COLUMN(VALUE);
}

/* dx = dy f'(x), or dx += it */
__kernel void prelu_grad_f32(__global const float *x, __global const float *restrict slope,
                             __global const float *dy, __global float *dx, int columns,
                             int accumulate, int count) {
#define GRADIENT(i, c)                                                                             \
    dx[i] = (accumulate ? dx[i] : 0.0f) + (x[i] < 0.0f ? slope[c] * dy[i] : dy[i])
    FOR_EACH_COLUMN(GRADIENT);
}

/* partial[p][c] = the sum of dy x over the negative x of column c in part p of `parts` pieces of
 * the rows; of dy alone where x is NULL. */
__kernel void prelu_slope_sums_f32(__global const float *x, __global const float *dy,
                                   __global float *partial, int columns, int parts, int count) {
    const long rows = count / columns, share = (rows + parts - 1) / parts;
    for (long k = get_global_id(0); k < (long)parts * columns; k += get_global_size(0)) {
        const int part = (int)(k / columns), c = (int)(k % columns);
        const long end = min(share * (part + 1), rows);
        float sum = 0.0f;
        for (long row = share * part; row < end; row++) {
            const long i = row * columns + c;
            sum += x ? (x[i] < 0.0f ? dy[i] * x[i] : 0.0f) : dy[i];
        }
        partial[k] = sum;
    }
}

__kernel void prelu_slope_reduce_f32(__global const float *partial, __global float *slope_grad,
                                     int columns, int parts) {
    for (int c = get_global_id(0); c < columns; c += get_global_size(0)) {
        float sum = 0.0f;
        for (int p = 0; p < parts; p++) {
            sum += partial[(long)p * columns + c];
        }
        slope_grad[c] = sum;
    }
}

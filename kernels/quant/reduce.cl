/* reduce_sum and reduce_mean on codes: equation (12) of docs/quantization.md.
 *
 * x and y, a result of each row, hold q - z; rows as in reduction.h, tables, value and mask as in
 * requantize.cl. `count` is what a sum is divided by: a row's elements, or 1. */
#include "codes.h"
#include "reduction.h"

#define CODE_TERM(W, at) TO_INT##W(LOAD##W(x + (at)))

__kernel void reduce_codes(__global const float *x, __global float *y, CODE_TABLES, int x_value,
                           int value, int count, REDUCTION) {
    ROWS;
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    const float sx = scale[x_value], sy = scale[value];
#define CODE_ROW(W)                                                                                \
    FOLD(W, int, 0, CODE_TERM, JOIN_SUM, total)                                                    \
    if (IS_FIRST_OF_ROW) {                                                                         \
        STORE##W(CODE_OF_MEAN(W, total, sx, sy, count, b.lo, b.hi), y + k);                        \
    }
    FOR_ROWS(CODE_ROW)
}

__kernel void reduce_codes_train(__global const float *x, __global float *y, __global uchar *mask,
                                 __global float *unrounded, __global float *range, CODE_TABLES,
                                 int x_value, int value, int count, REDUCTION) {
    ROWS;
    RANGE_BEGIN;
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    const float sx = scale[x_value], sy = scale[value];
#define TRAIN_ROW(W)                                                                               \
    FOLD(W, int, 0, CODE_TERM, JOIN_SUM, total)                                                    \
    if (IS_FIRST_OF_ROW) {                                                                         \
        const float##W sum = TO_FLOAT##W(total);                                                   \
        const float##W exact = sum * (float##W)(clq_pool_factor(sx, sy, count));                   \
        const float##W wide = CODE_OF_MEAN(W, total, sx, sy, count, b.lo - 1.0f, b.hi + 1.0f);     \
        RANGE_ADD(W, sum *(sx / (float)count));                                                    \
        KEEP(W, exact, wide, b, k)                                                                 \
        STORE##W(clq_clamp_code##W(wide, 0.0f, b.lo, b.hi), y + k);                                \
    }
    FOR_ROWS(TRAIN_ROW)
    RANGE_END(range, value);
}

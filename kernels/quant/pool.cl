/* avg_pool and global_avg_pool on codes: equation (12) of docs/quantization.md.
 *
 * x (N, IH, IW, C) and y (N, OH, OW, C) hold q - z, so pixels outside the image add nothing.
 * Windows as in pool_window.h; tables, value and mask as in requantize.cl. */
#include "codes.h"
#include "pool_window.h"

/* A row's sum is exact in float (its length is below 2^16), the sum of rows in int. */
#define SUM_WINDOW(W)                                                                              \
    int##W total = 0;                                                                              \
    FOR_WINDOW_ROWS(float##W row = 0.0f; FOR_WINDOW_COLUMNS(row += LOAD##W(x + X_AT(ih, iw));)     \
                                             total += TO_INT##W(row);)                             \
    const int count = WINDOW_COUNT(h, w);                                                          \
    const float sx = scale[x_value], sy = scale[value];

/* pixels.h passes types; only the width matters here. */
#define CELL(T, I, LOAD, STORE, LOAD_U16, STORE_U16) CELL_##T
#define CELL_float16 CELL_OF(16)
#define CELL_float CELL_OF(1)

#define POOL_ARGUMENTS                                                                             \
    CODE_TABLES, int x_value, int value, POOL_SHAPE, int PB, int PR, int include_pad

#define CELL_OF(W)                                                                                 \
    {                                                                                              \
        SUM_WINDOW(W)                                                                              \
        STORE##W(CODE_OF_MEAN(W, total, sx, sy, count, b.lo, b.hi), y + Y_AT(h, w));               \
    }

__kernel void avg_pool_codes(__global const float *x, __global float *y, POOL_ARGUMENTS) {
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    FOR_PIXELS(batch, OH, OW, C, CELL)
}

#undef CELL_OF
#define CELL_OF(W)                                                                                 \
    {                                                                                              \
        SUM_WINDOW(W)                                                                              \
        const float##W sum = TO_FLOAT##W(total);                                                   \
        const float##W exact = sum * (float##W)(clq_pool_factor(sx, sy, count));                   \
        const float##W wide = CODE_OF_MEAN(W, total, sx, sy, count, b.lo - 1.0f, b.hi + 1.0f);     \
        RANGE_ADD(W, sum *(sx / (float)count));                                                    \
        KEEP(W, exact, wide, b, Y_AT(h, w))                                                        \
        STORE##W(clq_clamp_code##W(wide, 0.0f, b.lo, b.hi), y + Y_AT(h, w));                       \
    }

__kernel void avg_pool_codes_train(__global const float *x, __global float *y, __global uchar *mask,
                                   __global float *unrounded, __global float *range,
                                   POOL_ARGUMENTS) {
    RANGE_BEGIN;
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    FOR_PIXELS(batch, OH, OW, C, CELL)
    RANGE_END(range, value);
}

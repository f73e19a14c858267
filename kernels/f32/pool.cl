/* Pooling of x (N, IH, IW, C) to y (N, OH, OW, C); windows as in pool_window.h. Backward gathers:
 * every input pixel looks at the windows that cover it, so sums have a fixed order and need no
 * atomics. */
#include "pool_window.h"

/* Runs BODY for every output (oh, ow) whose window covers input (h, w). */
#define FOR_COVERING(BODY)                                                                         \
    for (int oh = max(0, (h + PT - (KH - 1) * DH + SH - 1) / SH); oh < OH && oh * SH <= h + PT;    \
         oh++) {                                                                                   \
        if (DH > 1 && (h + PT - oh * SH) % DH != 0) {                                              \
            continue;                                                                              \
        }                                                                                          \
        for (int ow = max(0, (w + PL - (KW - 1) * DW + SW - 1) / SW); ow < OW && ow * SW <= w + PL; \
             ow++) {                                                                               \
            if (DW > 1 && (w + PL - ow * SW) % DW != 0) {                                          \
                continue;                                                                          \
            }                                                                                      \
            BODY                                                                                   \
        }                                                                                          \
    }

/* ---- maximum ---- */

/* The first of equal values wins; NaN wins over all. `index` (like y): kh * KW + kw of the maximum,
 * which training keeps for backward. */
#define MAX_STEP(T, I, LOAD)                                                                       \
    const T v = LOAD(x + X_AT(ih, iw));                                                            \
    const I better = (v > best) | (v != v);                                                        \
    best = better ? v : best;                                                                      \
    where = better ? (I)(kh * KW + kw) : where;

#define MAX_CELL(T, I, LOAD, STORE, LOAD_U16, STORE_U16)                                           \
    {                                                                                              \
        T best = (T)(-INFINITY);                                                                   \
        I where = (I)(0);                                                                          \
        FOR_WINDOW(MAX_STEP(T, I, LOAD))                                                           \
        STORE(best, y + Y_AT(h, w));                                                               \
        if (index) {                                                                               \
            STORE_U16(where, index + Y_AT(h, w));                                                  \
        }                                                                                          \
    }

__kernel void max_pool_f32(__global const float *x, __global float *y, __global ushort *index,
                           POOL_SHAPE) {
    FOR_PIXELS(batch, OH, OW, C, MAX_CELL)
}

#define MAX_GRAD_STEP(T, I, LOAD, LOAD_U16)                                                        \
    const int here =                                                                               \
        clq_dilated(h + PT - oh * SH, DH) * KW + clq_dilated(w + PL - ow * SW, DW);                                   \
    const I hit = LOAD_U16(index + Y_AT(oh, ow)) == (I)(here);                                     \
    sum += hit ? LOAD(dy + Y_AT(oh, ow)) : (T)(0.0f);

#define MAX_GRAD_CELL(T, I, LOAD, STORE, LOAD_U16, STORE_U16)                                      \
    {                                                                                              \
        T sum = accumulate ? LOAD(dx + X_AT(h, w)) : (T)(0.0f);                                    \
        FOR_COVERING(MAX_GRAD_STEP(T, I, LOAD, LOAD_U16))                                          \
        STORE(sum, dx + X_AT(h, w));                                                               \
    }

__kernel void max_pool_grad_f32(__global const float *dy, __global const ushort *index,
                                __global float *dx, POOL_SHAPE, int accumulate) {
    FOR_PIXELS(batch, IH, IW, C, MAX_GRAD_CELL)
}

/* ---- average ---- */

#define RECIPROCAL(oh, ow) (1.0f / (float)WINDOW_COUNT(oh, ow))

#define AVG_CELL(T, I, LOAD, STORE, LOAD_U16, STORE_U16)                                           \
    {                                                                                              \
        T sum = (T)(0.0f);                                                                         \
        FOR_WINDOW(sum += LOAD(x + X_AT(ih, iw));)                                                 \
        STORE(sum *(T)(RECIPROCAL(h, w)), y + Y_AT(h, w));                                         \
    }

__kernel void avg_pool_f32(__global const float *x, __global float *y, POOL_SHAPE, int PB, int PR,
                           int include_pad) {
    FOR_PIXELS(batch, OH, OW, C, AVG_CELL)
}

#define AVG_GRAD_CELL(T, I, LOAD, STORE, LOAD_U16, STORE_U16)                                      \
    {                                                                                              \
        T sum = accumulate ? LOAD(dx + X_AT(h, w)) : (T)(0.0f);                                    \
        FOR_COVERING(sum += LOAD(dy + Y_AT(oh, ow)) * (T)(RECIPROCAL(oh, ow));)                    \
        STORE(sum, dx + X_AT(h, w));                                                               \
    }

__kernel void avg_pool_grad_f32(__global const float *dy, __global float *dx, POOL_SHAPE, int PB,
                                int PR, int include_pad, int accumulate) {
    FOR_PIXELS(batch, IH, IW, C, AVG_GRAD_CELL)
}

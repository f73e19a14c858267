/* The end of an FP32 convolution: act(sum + bias + residual), stored. */
#ifndef CLQ_CONV_EPILOGUE_H
#define CLQ_CONV_EPILOGUE_H

#include "tile.h"

/* act is a clamp to [lo, hi] that lets NaN through, so that a diverged network shows. */
#define CONV_ACT(y, lo, hi) ((y) < (lo) ? (lo) : (y) > (hi) ? (hi) : (y))

/* The same for `cols` < VL columns in memory, to dst. bias and residual may be NULL. Whether they are
 * is asked before the loops: a compiler that asks within loads from NULL under a mask that leaves
 * everything out, which takes some processors hundreds of cycles. */
static inline void store_part(float *part, __global const float *bias,
                              __global const float *residual, __global float *dst, int cols,
                              float lo, float hi) {
    int done = 0;
#ifdef HALF_LOAD
    if (cols >= VL / 2) {
        half_vec y = HALF_LOAD(part);
        if (bias) {
            y += HALF_LOAD(bias);
        }
        if (residual) {
            y += HALF_LOAD(residual);
        }
        y = y < lo ? (half_vec)lo : y;
        y = y > hi ? (half_vec)hi : y;
        HALF_STORE(y, dst);
        done = VL / 2;
    }
#endif
    if (bias) {
        for (int j = done; j < cols; j++) {
            part[j] += bias[j];
        }
    }
    if (residual) {
        for (int j = done; j < cols; j++) {
            part[j] += residual[j];
        }
    }
    for (int j = done; j < cols; j++) {
        dst[j] = CONV_ACT(part[j], lo, hi);
    }
}

/* The first `cols` columns of one vector, to dst + at. bias and residual may be NULL, residual may be
 * dst. */
static inline void store_vector(fvec y, __global const float *bias,
                                __global const float *residual, __global float *dst, long at,
                                int cols, float lo, float hi) {
    if (cols < VL) {
        float part[VL];
        FVEC_STORE(y, part);
        store_part(part, bias, residual ? residual + at : residual, dst + at, cols, lo, hi);
        return;
    }
    y += bias ? FVEC_LOAD(bias) : (fvec)0;
    y += residual ? FVEC_LOAD(residual + at) : (fvec)0;
    y = y < lo ? (fvec)lo : y;
    y = y > hi ? (fvec)hi : y;
    FVEC_STORE(y, dst + at);
}

/* The first `rows` rows and `cols` columns of a tile; row i goes to dst + at[i]. */
static inline void store_tile(fvec *acc, __global const float *bias,
                              __global const float *residual, __global float *dst, const long *at,
                              int rows, int cols, float lo, float hi) {
    if (cols < NR) { /* through memory, in plain loops */
        float part[MR * NR];
        UNROLLED_FOR(i, MR * NV) {
            FVEC_STORE(acc[i], part + i * VL);
        }
        for (int i = 0; i < min(rows, MR); i++) {
            for (int j = 0; j < cols; j += VL) {
                store_vector(FVEC_LOAD(part + i * NR + j), bias ? bias + j : bias,
                             residual ? residual + j : residual, dst + j, at[i], cols - j, lo, hi);
            }
        }
        return;
    }
    if (bias) {
        UNROLLED_FOR(j, NV) {
            const fvec b = FVEC_LOAD(bias + j * VL);
            UNROLLED_FOR(i, MR) {
                acc[i * NV + j] += b;
            }
        }
    }
    if (residual) {
        UNROLLED_FOR(i, MR) {
            UNROLLED_FOR(j, NV) {
                acc[i * NV + j] += FVEC_LOAD(residual + at[i] + j * VL);
            }
        }
    }
    UNROLLED_FOR(i, MR) {
        if (i < rows) {
            UNROLLED_FOR(j, NV) {
                fvec y = acc[i * NV + j];
                y = y < lo ? (fvec)lo : y;
                y = y > hi ? (fvec)hi : y;
                FVEC_STORE(y, dst + at[i] + j * VL);
            }
        }
    }
}

#endif

/* The end of an FP32 convolution: act(sum + bias + residual), stored. */
#ifndef CLQ_CONV_EPILOGUE_H
#define CLQ_CONV_EPILOGUE_H

#include "tile.h"

/* act is a clamp to [lo, hi] that lets NaN through, so that a diverged network shows. */
#define CONV_ACT(y, lo, hi) ((y) < (lo) ? (lo) : (y) > (hi) ? (hi) : (y))

/* One row of a tile, of which `cols` columns exist. The pointers are those of the row's first
 * column; bias and residual may be NULL, residual may be dst. */
static inline void store_row(const fvec *acc, __global const float *bias,
                             __global const float *residual, __global float *dst, int cols,
                             float lo, float hi) {
    if (cols >= NR) {
        UNROLLED_FOR(j, NV) {
            fvec y = acc[j];
            if (bias) {
                y += FVEC_LOAD(bias + j * VL);
            }
            if (residual) {
                y += FVEC_LOAD(residual + j * VL);
            }
            y = y < lo ? (fvec)lo : y;
            y = y > hi ? (fvec)hi : y;
            FVEC_STORE(y, dst + j * VL);
        }
        return;
    }
    float row[NR];
    UNROLLED_FOR(j, NV) {
        FVEC_STORE(acc[j], row + j * VL);
    }
    for (int j = 0; j < cols; j++) {
        float y = row[j];
        if (bias) {
            y += bias[j];
        }
        if (residual) {
            y += residual[j];
        }
        dst[j] = CONV_ACT(y, lo, hi);
    }
}

#endif

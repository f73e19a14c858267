/* What the warp's instructions of dot4.h compute, in plain C: for tests of the tensor-core kernel
 * where there are no tensor cores. */
#ifndef CLQ_MMA_STAND_IN_H
#define CLQ_MMA_STAND_IN_H

#include "dot4.h"

static inline uint stand_in_word(__local const uint4 *row, int t) {
    return ((__local const uint *)row)[t];
}

/* mma_load, when ROW(l) is the row that work-item l names. */
#define STAND_IN_LOAD(ROW, g, t)                                                                   \
    (uint4)(stand_in_word(ROW(g), t), stand_in_word(ROW(8 + (g)), t),                              \
            stand_in_word(ROW(16 + (g)), t), stand_in_word(ROW(24 + (g)), t))

/* mma_us, when the work-items of a warp left their a and w in words[lane]: a at `a`, w at `w`. */
static inline int4 stand_in_mma(__local const uint *words, int pitch, int a, int w, int g, int t,
                                int4 acc) {
    for (int k = 0; k < 4; k++) {
        __local const uint *row = words + (g * 4 + k) * pitch + a;
        __local const uint *left = words + (2 * t * 4 + k) * pitch + w;
        __local const uint *right = left + 4 * pitch;
        acc.x = dot4_portable(row[2], left[1], dot4_portable(row[0], left[0], acc.x));
        acc.y = dot4_portable(row[2], right[1], dot4_portable(row[0], right[0], acc.y));
        acc.z = dot4_portable(row[3], left[1], dot4_portable(row[1], left[0], acc.z));
        acc.w = dot4_portable(row[3], right[1], dot4_portable(row[1], right[0], acc.w));
    }
    return acc;
}

#endif

/* The requantizers in plain arithmetic: what integers become before zero point and clamp. Equations
 * of kernels/include/requantize.h. */
#ifndef CLQ_REF_REQUANTIZE_H
#define CLQ_REF_REQUANTIZE_H

#include <clquant/device.h>
#include <clquant/graph.h>
#include <math.h>

#include "support/clq_test.h"

/* (1), (2), (3): of a sum of convolution; m has 24 bits and sums 31, exact in long double. */
static inline double ref_requantize(clq_requantizer requantizer, int64_t sum, float m) {
    const float scaled = (float)sum * m;
    switch (requantizer) {
    case CLQ_REQUANT_FIXED:
        return (double)floorl((long double)sum * (long double)m + 0.5L);
    case CLQ_REQUANT_SHIFT:
        return rint((double)sum * (double)m);
    default:
        return (double)rintf(scaled);
    }
}

/* (4), (4f), (4s): of two centred codes */
static inline double ref_requantized_add(clq_requantizer requantizer, int a, float a_scale, int b,
                                         float b_scale, float y_scale) {
    const float ma = a_scale / y_scale, mb = b_scale / y_scale;
    const float pa = (float)a * ma, pb = (float)b * mb, sum = pa + pb;
    if (requantizer == CLQ_REQUANT_FIXED) {
        int shift = 20 - ilogbf(fmaxf(ma, mb));
        shift = shift > 31 ? 31 : shift;
        const double fa = rint(ldexp((double)ma, shift)), fb = rint(ldexp((double)mb, shift));
        return floor(ldexp(a * fa + b * fb, -shift) + 0.5);
    }
    return requantizer == CLQ_REQUANT_SHIFT ? rint(a * (double)ma + b * (double)mb)
                                            : (double)rintf(sum);
}

/* (12), (12f), (12s): of the sum of `count` centred codes; a tie of (12s) is exact in double, and
 * everything else far enough from one. */
static inline double ref_requantized_mean(clq_requantizer requantizer, int sum, int count,
                                          float x_scale, float y_scale) {
    const float area = y_scale * (float)count;
    return requantizer == CLQ_REQUANT_SHIFT
               ? rint((double)sum * ((double)x_scale / (double)y_scale) / count)
               : ref_requantize(requantizer, sum, x_scale / area);
}

/* Whether a test runs with the requantizer: what is fixed on the GPU schedule in an exhaustive one
 * only, as each is a program to compile. */
static inline bool ref_takes(clq_requantizer requantizer, const clq_device *device) {
    return requantizer != CLQ_REQUANT_FIXED || clq_test_all() ||
           clq_device_get_info(device)->schedule == CLQ_SCHEDULE_CPU;
}

/* What a scale of a test becomes: the power of two below it where the requantizer needs one. */
static inline float ref_scale_for(clq_requantizer requantizer, float scale) {
    return requantizer == CLQ_REQUANT_SHIFT ? ldexpf(1, ilogbf(scale)) : scale;
}

#endif

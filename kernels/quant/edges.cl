/* The edges of a network on codes: reals to codes by (2) and back by (1). */
#include "codes.h"

#define QUANTIZE_BODY(OBSERVE, W)                                                                  \
    {                                                                                              \
        const float##W real = LOAD##W(x + i);                                                      \
        OBSERVE(W, real)                                                                           \
        STORE##W(clq_quantize_code##W(real, s, 0.0f, b.lo, b.hi), y + i);                          \
    }
#define UNSEEN(W, real)
#define SEEN(W, real) RANGE_ADD(W, real);

__kernel void quantize_codes(__global const float *x, __global float *y, CODE_TABLES, int value,
                             int count) {
    const float s = scale[value];
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    FOR_EACH_CODE(count, QUANTIZE_BODY, UNSEEN);
}

__kernel void quantize_codes_observe(__global const float *x, __global float *y, CODE_TABLES,
                                     __global float *range, int value, int count) {
    RANGE_BEGIN;
    const float s = scale[value];
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    FOR_EACH_CODE(count, QUANTIZE_BODY, SEEN);
    RANGE_END(range, value);
}

/* dx (+)= dy where x's code was not clamped; an x that is no number is no reason to hide it. */
#define QUANTIZE_GRADIENT_BODY(ARG, W)                                                             \
    {                                                                                              \
        const float##W real = LOAD##W(x + i);                                                      \
        const float##W wide = clq_quantize_code##W(real, s, 0.0f, b.lo - 1.0f, b.hi + 1.0f);       \
        const float##W dy_ = LOAD##W(dy + i);                                                      \
        const float##W g = ((wide >= b.lo) & (wide <= b.hi)) ? dy_ : real - real;                  \
        STORE##W(accumulate ? LOAD##W(dx + i) + g : g, dx + i);                                    \
    }

__kernel void quantize_codes_gradient(__global const float *x, __global const float *dy,
                                      __global float *dx, CODE_TABLES, int value, int accumulate,
                                      int count) {
    const float s = scale[value];
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    FOR_EACH_CODE(count, QUANTIZE_GRADIENT_BODY, 0);
}

#define DEQUANTIZE_BODY(ARG, W) STORE##W(LOAD##W(x + i) * s, y + i);

__kernel void dequantize_codes(__global const float *x, __global float *y,
                               __global const float *scale, int value, int count) {
    const float s = scale[value];
    FOR_EACH_CODE(count, DEQUANTIZE_BODY, 0);
}

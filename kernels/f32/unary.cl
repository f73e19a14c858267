/* One function of unary.h: forward, and its gradient. FUNCTION names it; a and b are
 * clq_unary_attrs. */
#include "elementwise.h"
#include "unary.h"

#ifndef FUNCTION
#define FUNCTION LEAKY_RELU
#endif

#define VALUE_BODY(ARG, T, LOAD, STORE)                                                            \
    {                                                                                              \
        const T v = LOAD(x + i);                                                                   \
        STORE(CLQ_VALUE(T, v, a, b), y + i);                                                       \
    }

/* y = f(x) */
__kernel void unary_f32(__global const float *x, __global float *y, float a, float b, int count) {
    FOR_EACH(count, VALUE_BODY, 0);
}

#define SLOPE_BODY(ARG, T, LOAD, STORE)                                                            \
    {                                                                                              \
        const T v = LOAD(kept + i);                                                                \
        const T g = LOAD(dy + i) * CLQ_SLOPE(T, v, a, b);                                          \
        STORE(accumulate ? LOAD(dx + i) + g : g, dx + i);                                          \
    }

/* dx = dy f', or dx += it; kept is x or y (CLQ_UNARY_KEEPS_OUTPUT) */
__kernel void unary_grad_f32(__global const float *kept, __global const float *dy,
                             __global float *dx, float a, float b, int accumulate, int count) {
    FOR_EACH(count, SLOPE_BODY, 0);
}

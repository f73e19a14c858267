/* relu, relu6, addition, and their gradients: one pass each. The output may be an input. */
#include "elementwise.h"

/* ---- y = f(x) ---- */

#define UNARY_BODY(F, T, LOAD, STORE)                                                              \
    {                                                                                              \
        const T a = LOAD(x + i);                                                                   \
        STORE(F(T, a), y + i);                                                                     \
    }
#define UNARY(NAME, F)                                                                             \
    __kernel void NAME(__global const float *x, __global float *y, int count) {                    \
        FOR_EACH(count, UNARY_BODY, F);                                                            \
    }

UNARY(relu_f32, CLQ_RELU)
UNARY(relu6_f32, CLQ_RELU6)

/* ---- y = act(a + b) ---- */

#define SUM(T, a, b) ((a) + (b))
#define SUM_RELU(T, a, b) CLQ_RELU(T, (a) + (b))
#define SUM_RELU6(T, a, b) CLQ_RELU6(T, (a) + (b))

#define BINARY_BODY(F, T, LOAD, STORE)                                                             \
    {                                                                                              \
        const T a = LOAD(a_ + i);                                                                  \
        const T b = LOAD(b_ + i);                                                                  \
        STORE(F(T, a, b), y + i);                                                                  \
    }
#define BINARY(NAME, F)                                                                            \
    __kernel void NAME(__global const float *a_, __global const float *b_, __global float *y,      \
                       int count) {                                                                \
        FOR_EACH(count, BINARY_BODY, F);                                                           \
    }

BINARY(add_f32, SUM)
BINARY(add_relu_f32, SUM_RELU)
BINARY(add_relu6_f32, SUM_RELU6)

/* ---- dx = dy f'(x), f' from y = f(x); dx += it when `accumulate` ---- */

#define RELU_GRAD(T, y, dy) ((y) > (T)(0.0f) ? (dy) : (T)(0.0f))
#define RELU6_GRAD(T, y, dy) ((y) < (T)(6.0f) ? RELU_GRAD(T, y, dy) : (T)(0.0f))

#define GRAD_BODY(F, T, LOAD, STORE)                                                               \
    {                                                                                              \
        const T out = LOAD(y + i);                                                                 \
        const T gradient = LOAD(dy + i);                                                           \
        STORE(F(T, out, gradient), dx + i);                                                        \
    }
#define GRAD_ACCUMULATE_BODY(F, T, LOAD, STORE)                                                    \
    {                                                                                              \
        const T out = LOAD(y + i);                                                                 \
        const T gradient = LOAD(dy + i);                                                           \
        const T sum = LOAD(dx + i) + F(T, out, gradient);                                          \
        STORE(sum, dx + i);                                                                        \
    }
#define GRAD(NAME, F)                                                                              \
    __kernel void NAME(__global const float *y, __global const float *dy, __global float *dx,      \
                       int count, int accumulate) {                                                \
        if (accumulate) {                                                                          \
            FOR_EACH(count, GRAD_ACCUMULATE_BODY, F);                                              \
        } else {                                                                                   \
            FOR_EACH(count, GRAD_BODY, F);                                                         \
        }                                                                                          \
    }

GRAD(relu_grad_f32, RELU_GRAD)
GRAD(relu6_grad_f32, RELU6_GRAD)

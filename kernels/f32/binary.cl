/* y = act(a op b), element by element, and its gradients; the operation is -DCLQ_BINARY.
 *
 *   PAIR_SHAPE   how a and b meet (broadcast.h)
 *   y            may be the buffer of an operand of its size */
#include "broadcast.h"

#if CLQ_BINARY == BINARY_ADD
#define BINARY(W, a, b) ((a) + (b))
#define GRADIENT_A(W, a, b, dy) (dy)
#define GRADIENT_B(W, a, b, dy) (dy)
#elif CLQ_BINARY == BINARY_SUB
#define BINARY(W, a, b) ((a) - (b))
#define GRADIENT_A(W, a, b, dy) (dy)
#define GRADIENT_B(W, a, b, dy) (-(dy))
#elif CLQ_BINARY == BINARY_MUL
#define BINARY(W, a, b) ((a) * (b))
#define GRADIENT_A(W, a, b, dy) ((dy) * (b))
#define GRADIENT_B(W, a, b, dy) ((dy) * (a))
#elif CLQ_BINARY == BINARY_DIV
#define BINARY(W, a, b) ((a) / (b))
#define GRADIENT_A(W, a, b, dy) ((dy) / (b))
#define GRADIENT_B(W, a, b, dy) (-((dy) / (b)) * ((a) / (b)))
#elif CLQ_BINARY == BINARY_POW
/* 0 * log 0 is 0 here: a constant power of 0 stays 0 or 1 whatever the exponent does. */
#define BINARY(W, a, b) pow((a), (b))
#define GRADIENT_A(W, a, b, dy)                                                                    \
    ((b) == 0.0f ? (float##W)(0.0f) : (dy) * (b)*pow((a), (b) - (float##W)(1.0f)))
#define GRADIENT_B(W, a, b, dy)                                                                    \
    ((((a) == 0.0f) & ((b) >= 0.0f)) ? (float##W)(0.0f) : (dy)*pow((a), (b)) * log(a))
#else /* of equal elements a's; a NaN stays one */
#if CLQ_BINARY == BINARY_MIN
#define TAKES_A(a, b) (((a) <= (b)) | ((a) != (a)))
#else
#define TAKES_A(a, b) (((a) >= (b)) | ((a) != (a)))
#endif
#define BINARY(W, a, b) (TAKES_A(a, b) ? (a) : (b))
#define GRADIENT_A(W, a, b, dy) (TAKES_A(a, b) ? (dy) : (float##W)(0.0f))
#define GRADIENT_B(W, a, b, dy) (TAKES_A(a, b) ? (float##W)(0.0f) : (dy))
#endif

#define FORWARD_BODY(ARG, W)                                                                       \
    {                                                                                              \
        const float##W va = PAIR_A(W), vb = PAIR_B(W);                                             \
        float##W v = BINARY(W, va, vb);                                                            \
        if (act != ACT_NONE) {                                                                     \
            v = act == ACT_RELU ? CLQ_RELU(float##W, v) : CLQ_RELU6(float##W, v);                  \
        }                                                                                          \
        STORE##W(v, y + i);                                                                        \
    }

__kernel void binary_f32(__global const float *a, __global const float *b, __global float *y,
                         int act, PAIR_SHAPE) {
    FOR_EACH_PAIR(a, b, FORWARD_BODY, 0);
}

/* da and db: PAIR_GRADIENTS. */
__kernel void binary_grad_f32(__global const float *a, __global const float *b,
                              __global const float *dy, __global float *da, __global float *db,
                              int add_to_a, int add_to_b, int twice, PAIR_SHAPE) {
    FOR_EACH_PAIR(a, b, PAIR_GRADIENTS, 0);
}

/* Operators of two operands on codes: (11), (24) to (26); the operation is -DCLQ_BINARY. Tables,
 * `value` (y's entry), mask and unrounded as in requantize.cl; a_value and b_value name the
 * operands' entries, of constants too. PAIR_SHAPE: how a and b meet (broadcast.h). */
#include "broadcast.h"

/* What the equations take from the scales. */
typedef struct pair_scales {
    float sa, sb, ma, mb; /* ma, mb: s_a / s_y, s_b / s_y; of a product ma is M */
    clq_add_factors f;
} pair_scales;

static inline pair_scales clq_pair_scales(__global const float *scale, int a, int b, int y) {
    pair_scales p;
    p.sa = scale[a];
    p.sb = scale[b];
#if CLQ_BINARY == BINARY_MUL
    const float product = p.sa * p.sb;
    p.ma = p.mb = clq_divide(product, scale[y]);
#else
    p.ma = clq_divide(p.sa, scale[y]);
    p.mb = clq_divide(p.sb, scale[y]);
#endif
    p.f = clq_add_factors_of(CLQ_REQUANT, p.ma, p.mb);
    return p;
}

/* The result in units of one operand or the other: FA and FB are floats. */
#if CLQ_BINARY == BINARY_ADD || CLQ_BINARY == BINARY_SUB
#if CLQ_BINARY == BINARY_ADD
#define SIGNED(q) (q)
#else
#define SIGNED(q) (-(q))
#endif
#define PAIR_CODE(W, qa, qb, lo, hi) CODE_OF_ADD(W, qa, SIGNED(qb), p.f, lo, hi)
#define PAIR_REAL(W, qa, fa, qb, fb) ((qa) * (float##W)(fa) + SIGNED(qb) * (float##W)(fb))
#define PAIR_EXACT(W, qa, qb) PAIR_REAL(W, qa, p.ma, qb, p.mb)
#define GRADIENT_A(W, qa, qb, dy) (dy)
#define GRADIENT_B(W, qa, qb, dy) SIGNED(dy)
#elif CLQ_BINARY == BINARY_MUL
#define PAIR_CODE(W, qa, qb, lo, hi) CODE_OF_FLOATS(W, (qa) * (qb), (float##W)(p.ma), lo, hi)
#define PAIR_REAL(W, qa, fa, qb, fb) (((qa) * (float##W)(fa)) * ((qb) * (float##W)(fb)))
#define PAIR_EXACT(W, qa, qb) ((qa) * (qb) * (float##W)(p.ma))
#define GRADIENT_A(W, qa, qb, dy) ((dy) * ((qb) * (float##W)(p.sb)))
#define GRADIENT_B(W, qa, qb, dy) ((dy) * ((qa) * (float##W)(p.sa)))
#else
#if CLQ_BINARY == BINARY_MIN
#define TAKES_A(a, b) ((a) <= (b))
#else
#define TAKES_A(a, b) ((a) >= (b))
#endif
#define CODE_A(W, qa, lo, hi) CODE_OF_FLOATS(W, qa, (float##W)(p.ma), lo, hi)
#define CODE_B(W, qb, lo, hi) CODE_OF_FLOATS(W, qb, (float##W)(p.mb), lo, hi)
#define TAKE(a, b) (TAKES_A(a, b) ? (a) : (b))
#define PAIR_CODE(W, qa, qb, lo, hi) TAKE(CODE_A(W, qa, lo, hi), CODE_B(W, qb, lo, hi))
#define PAIR_REAL(W, qa, fa, qb, fb) TAKE((qa) * (float##W)(fa), (qb) * (float##W)(fb))
#define PAIR_EXACT(W, qa, qb) PAIR_REAL(W, qa, p.ma, qb, p.mb)
/* The gradient goes to the operand whose code is taken; where the result was clamped there is none.
 */
#define FIRST(W, qa, qb) TAKES_A(CODE_A(W, qa, at.lo, at.hi), CODE_B(W, qb, at.lo, at.hi))
#define GRADIENT_A(W, qa, qb, dy) (FIRST(W, qa, qb) ? (dy) : (float##W)(0.0f))
#define GRADIENT_B(W, qa, qb, dy) (FIRST(W, qa, qb) ? (float##W)(0.0f) : (dy))
#endif

#define CODES_BODY(ARG, W)                                                                         \
    {                                                                                              \
        const float##W qa = PAIR_A(W), qb = PAIR_B(W);                                             \
        STORE##W(PAIR_CODE(W, qa, qb, at.lo, at.hi), y + i);                                       \
    }

__kernel void binary_codes(__global const float *a, __global const float *b, __global float *y,
                           CODE_TABLES, int a_value, int b_value, int value, int act, PAIR_SHAPE) {
    const pair_scales p = clq_pair_scales(scale, a_value, b_value, value);
    const code_bounds at = clq_code_bounds(scale, zero_point, limits, value, act);
    FOR_EACH_PAIR(a, b, CODES_BODY, 0);
}

/* range: widened when `observe`. */
#define TRAIN_BODY(ARG, W)                                                                         \
    {                                                                                              \
        const float##W qa = PAIR_A(W), qb = PAIR_B(W), exact = PAIR_EXACT(W, qa, qb);              \
        const float##W wide = PAIR_CODE(W, qa, qb, at.lo - 1.0f, at.hi + 1.0f);                    \
        if (observe) {                                                                             \
            float##W real = PAIR_REAL(W, qa, p.sa, qb, p.sb);                                      \
            real = CLQ_AT_LEAST(real, (float##W)(least));                                          \
            real = CLQ_AT_MOST(real, (float##W)(ceiling));                                         \
            RANGE_ADD(W, real);                                                                    \
        }                                                                                          \
        KEEP(W, exact, wide, at, i)                                                                \
        STORE##W(clq_clamp_code##W(wide, 0.0f, at.lo, at.hi), y + i);                              \
    }

__kernel void binary_codes_train(__global const float *a, __global const float *b,
                                 __global float *y, __global uchar *mask, __global float *unrounded,
                                 CODE_TABLES, __global float *range, int observe, int a_value,
                                 int b_value, int value, int act, PAIR_SHAPE) {
    RANGE_BEGIN;
    const pair_scales p = clq_pair_scales(scale, a_value, b_value, value);
    const code_bounds at = clq_code_bounds(scale, zero_point, limits, value, act);
    const float least = act == ACT_NONE ? -INFINITY : 0.0f;
    const float ceiling = act == ACT_RELU6 ? 6.0f : INFINITY;
    FOR_EACH_PAIR(a, b, TRAIN_BODY, 0);
    if (observe) {
        RANGE_END(range, value);
    }
}

#if CLQ_REQUANT == 0 || CLQ_BINARY == BINARY_MIN || CLQ_BINARY == BINARY_MAX

/* dy holds what passes the clamp; da and db: PAIR_GRADIENTS. */
__kernel void binary_codes_grad(__global const float *a, __global const float *b,
                                __global const float *dy, __global float *da, __global float *db,
                                CODE_TABLES, int a_value, int b_value, int value, int act,
                                int add_to_a, int add_to_b, int twice, PAIR_SHAPE) {
    const pair_scales p = clq_pair_scales(scale, a_value, b_value, value);
    const code_bounds at = clq_code_bounds(scale, zero_point, limits, value, act);
    FOR_EACH_PAIR(a, b, PAIR_GRADIENTS, 0);
}

#endif

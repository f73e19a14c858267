/* Addition and activations on codes. Tables, `value` (y's entry) and mask as in requantize.cl; a
 * and b name the inputs' entries. */
#include "codes.h"

/* ---- (11), (11f), (11s) ---- */

#define ADD_BODY(ARG, W)                                                                           \
    {                                                                                              \
        const float##W qa = LOAD##W(a + i), qb = LOAD##W(b + i);                                   \
        STORE##W(CODE_OF_ADD(W, qa, qb, f, at.lo, at.hi), y + i);                                  \
    }

__kernel void add_codes(__global const float *a, __global const float *b, __global float *y,
                        CODE_TABLES, int a_value, int b_value, int value, int act, int count) {
    const float ma = clq_divide(scale[a_value], scale[value]);
    const float mb = clq_divide(scale[b_value], scale[value]);
    const clq_add_factors f = clq_add_factors_of(CLQ_REQUANT, ma, mb);
    const code_bounds at = clq_code_bounds(scale, zero_point, limits, value, act);
    FOR_EACH_CODE(count, ADD_BODY, 0);
}

#define ADD_TRAIN_BODY(OBSERVE, W)                                                                 \
    {                                                                                              \
        const float##W qa = LOAD##W(a + i), qb = LOAD##W(b + i);                                   \
        const float##W pa = qa * ma, pb = qb * mb, exact = pa + pb;                                \
        const float##W wide = CODE_OF_ADD(W, qa, qb, f, at.lo - 1.0f, at.hi + 1.0f);               \
        OBSERVE(W)                                                                                 \
        KEEP(W, exact, wide, at, i)                                                                \
        STORE##W(clq_clamp_code##W(wide, 0.0f, at.lo, at.hi), y + i);                              \
    }
#define UNSEEN(W)
#define SEEN(W)                                                                                    \
    float##W real = qa * sa + qb * sb;                                                             \
    real = CLQ_AT_LEAST(real, (float##W)(least));                                                  \
    real = CLQ_AT_MOST(real, (float##W)(ceiling));                                                 \
    RANGE_ADD(W, real);

__kernel void add_codes_train(__global const float *a, __global const float *b, __global float *y,
                              __global uchar *mask, __global float *unrounded, CODE_TABLES,
                              int a_value, int b_value, int value, int act, int count) {
    const float ma = clq_divide(scale[a_value], scale[value]);
    const float mb = clq_divide(scale[b_value], scale[value]);
    const clq_add_factors f = clq_add_factors_of(CLQ_REQUANT, ma, mb);
    const code_bounds at = clq_code_bounds(scale, zero_point, limits, value, act);
    FOR_EACH_CODE(count, ADD_TRAIN_BODY, UNSEEN);
}

__kernel void add_codes_observe(__global const float *a, __global const float *b, __global float *y,
                                __global uchar *mask, __global float *unrounded, CODE_TABLES,
                                __global float *range, int a_value, int b_value, int value, int act,
                                int count) {
    RANGE_BEGIN;
    const float sa = scale[a_value], sb = scale[b_value];
    const float ma = clq_divide(sa, scale[value]), mb = clq_divide(sb, scale[value]);
    const clq_add_factors f = clq_add_factors_of(CLQ_REQUANT, ma, mb);
    const code_bounds at = clq_code_bounds(scale, zero_point, limits, value, act);
    const float least = act == ACT_NONE ? -INFINITY : 0.0f;
    const float ceiling = act == ACT_RELU6 ? 6.0f : INFINITY;
    FOR_EACH_CODE(count, ADD_TRAIN_BODY, SEEN);
    RANGE_END(range, value);
}

#if CLQ_REQUANT == 0 /* none of these ever runs in a program of another requantizer */

/* da and db get the gradient that passes the clamp, or add it. Each may be NULL, and mask when dy
 * holds what passes. */
#define ADD_GRADIENT_BODY(ARG, W)                                                                  \
    {                                                                                              \
        const float##W dy_ = LOAD##W(dy + i);                                                      \
        float##W g = dy_;                                                                          \
        if (mask) {                                                                                \
            g = LOAD_MASK##W(mask + i) ? dy_ : (float##W)(0.0f);                                   \
        }                                                                                          \
        if (da) {                                                                                  \
            STORE##W(add_to_a ? LOAD##W(da + i) + g : g, da + i);                                  \
        }                                                                                          \
        if (db) {                                                                                  \
            STORE##W(add_to_b ? LOAD##W(db + i) + g : g, db + i);                                  \
        }                                                                                          \
    }

__kernel void add_codes_gradient(__global const uchar *mask, __global const float *dy,
                                 __global float *da, __global float *db, int add_to_a, int add_to_b,
                                 int count) {
    FOR_EACH_CODE(count, ADD_GRADIENT_BODY, 0);
}

/* ---- relu and relu6, whose output keeps the input's qparams: a clamp of codes ---- */

#define CLIP_BODY(ARG, W)                                                                          \
    {                                                                                              \
        const float##W q = LOAD##W(x + i);                                                         \
        STORE##W(CLQ_AT_MOST(CLQ_AT_LEAST(q, (float##W)(b.lo)), (float##W)(b.hi)), y + i);         \
    }

__kernel void clip_codes(__global const float *x, __global float *y, CODE_TABLES, int value,
                         int act, int count) {
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, act);
    FOR_EACH_CODE(count, CLIP_BODY, 0);
}

/* dx (+)= dy where x's code lies within the bounds */
#define CLIP_GRADIENT_BODY(ARG, W)                                                                 \
    {                                                                                              \
        const float##W q = LOAD##W(x + i), dy_ = LOAD##W(dy + i);                                  \
        const float##W g = ((q >= b.lo) & (q <= b.hi)) ? dy_ : (float##W)(0.0f);                   \
        STORE##W(accumulate ? LOAD##W(dx + i) + g : g, dx + i);                                    \
    }

__kernel void clip_codes_gradient(__global const float *x, __global const float *dy,
                                  __global float *dx, CODE_TABLES, int value, int act,
                                  int accumulate, int count) {
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, act);
    FOR_EACH_CODE(count, CLIP_GRADIENT_BODY, 0);
}

/* ---- tanh and sigmoid ---- */

/* By a table of 256 codes q_y, entry q_x, both as bytes. */
#define LOOKUP_BODY(ARG, W)                                                                        \
    for (int l = 0; l < W; l++) {                                                                  \
        y[i + l] = (float)((int)table[clamp((int)x[i + l] + zx, 0, 255)] - zy);                    \
    }

__kernel void lookup_codes(__global const float *x, __global float *y, __global const uchar *table,
                           CODE_TABLES, int x_value, int value, int count) {
    const int zx = zero_point[x_value] + CLQ_BYTE_OFFSET(limits[2 * x_value]);
    const int zy = zero_point[value] + CLQ_BYTE_OFFSET(limits[2 * value]);
    FOR_EACH_CODE(count, LOOKUP_BODY, 0);
}

/* In training the scales are on the device, so f is computed: sigmoid, or tanh. */
#define CURVE(W, r) (sigmoid ? 1.0f / (1.0f + exp(-(r))) : tanh(r))
#define CURVE_BODY(ARG, W)                                                                         \
    {                                                                                              \
        const float##W r = LOAD##W(x + i) * sx;                                                    \
        const float##W real = CURVE(W, r);                                                         \
        RANGE_ADD(W, real);                                                                        \
        if (unrounded) {                                                                           \
            STORE##W(clq_divide##W(real, (float##W)(sy)), unrounded + i);                          \
        }                                                                                          \
        STORE##W(clq_quantize_code##W(real, sy, 0.0f, b.lo, b.hi), y + i);                         \
    }

__kernel void curve_codes_train(__global const float *x, __global float *y,
                                __global float *unrounded, CODE_TABLES, __global float *range,
                                int x_value, int value, int sigmoid, int count) {
    RANGE_BEGIN;
    const float sx = scale[x_value], sy = scale[value];
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    FOR_EACH_CODE(count, CURVE_BODY, 0);
    RANGE_END(range, value);
}

/* dx (+)= dy f'(x) where f(x)'s code was not clamped */
#define CURVE_GRADIENT_BODY(ARG, W)                                                                \
    {                                                                                              \
        const float##W r = LOAD##W(x + i) * sx;                                                    \
        const float##W f = CURVE(W, r);                                                            \
        const float##W wide = clq_quantize_code##W(f, sy, 0.0f, b.lo - 1.0f, b.hi + 1.0f);         \
        const float##W slope = sigmoid ? f * (1.0f - f) : 1.0f - f * f;                            \
        float##W g = LOAD##W(dy + i) * slope;                                                      \
        g = ((wide >= b.lo) & (wide <= b.hi)) ? g : (float##W)(0.0f);                              \
        STORE##W(accumulate ? LOAD##W(dx + i) + g : g, dx + i);                                    \
    }

__kernel void curve_codes_gradient(__global const float *x, __global const float *dy,
                                   __global float *dx, CODE_TABLES, int x_value, int value,
                                   int sigmoid, int accumulate, int count) {
    const float sx = scale[x_value], sy = scale[value];
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    FOR_EACH_CODE(count, CURVE_GRADIENT_BODY, 0);
}

#endif

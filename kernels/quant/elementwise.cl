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

/* ---- functions of one number, as tables ----
 *
 * A table has an entry for every byte that stands for a code of x, and for every channel where the
 * function is another in each: (256, columns). */

/* x's reals, for the function to be computed of. */
__kernel void table_reals(__global float *reals, CODE_TABLES, int x_value, int columns) {
    const int z = zero_point[x_value] + CLQ_BYTE_OFFSET(limits[2 * x_value]);
    for (int i = get_global_id(0); i < 256 * columns; i += get_global_size(0)) {
        reals[i] = scale[x_value] * (float)(i / columns - z);
    }
}

/* From f and f' of the reals x, in QAT: the codes less z, the reals that are rounded to them, those
 * over y's scale, what multiplies a gradient on its way to x, and on its way to the factor of a
 * prelu. What is not finite is what it is rounded to, a NaN the lowest code, and lets no gradient
 * pass. */
__kernel void table_codes(__global const float *x, __global const float *f,
                          __global const float *slope, __global float *table, CODE_TABLES,
                          int value, int entries) {
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    const float sy = scale[value];
    for (int i = get_global_id(0); i < entries; i += get_global_size(0)) {
        const float known = f[i] == f[i] ? f[i] : -INFINITY;
        const float wide = clq_quantize_code(known, sy, 0.0f, b.lo - 1.0f, b.hi + 1.0f);
        const float code = clq_clamp_code(wide, 0.0f, b.lo, b.hi);
        const float real = fabs(known) < INFINITY ? known : code * sy;
        const int passes = (wide >= b.lo) & (wide <= b.hi) & (fabs(slope[i]) < INFINITY);
        table[i] = code;
        table[entries + i] = real;
        table[2 * entries + i] = clq_divide(real, sy);
        table[3 * entries + i] = passes ? slope[i] : 0.0f;
        table[4 * entries + i] = passes & (x[i] < 0.0f) ? x[i] : 0.0f;
    }
}

/* The entry of element `at`, whose channel is the rest of a division. A NaN has none. */
#define ENTRY(at)                                                                                  \
    (clamp((int)x[at] + zx, 0, 255) * columns + (columns == 1 ? 0 : (int)((at) % columns)))
#define LOOK_UP(part, at) (x[at] == x[at] ? (part)[ENTRY(at)] : x[at])
#define ZERO_OF_X const int zx = zero_point[x_value] + CLQ_BYTE_OFFSET(limits[2 * x_value])

#define LOOKUP_BODY(ARG, W)                                                                        \
    for (int l = 0; l < W; l++) {                                                                  \
        y[i + l] = LOOK_UP(table, i + l);                                                          \
    }

__kernel void lookup_codes(__global const float *x, __global float *y, __global const float *table,
                           CODE_TABLES, int x_value, int columns, int count) {
    ZERO_OF_X;
    FOR_EACH_CODE(count, LOOKUP_BODY, 0);
}

#define LOOKUP_TRAIN_BODY(ARG, W)                                                                  \
    for (int l = 0; l < W; l++) {                                                                  \
        const float real = LOOK_UP(table + entries, i + l);                                        \
        RANGE_ADD(1, real);                                                                        \
        if (unrounded) {                                                                           \
            unrounded[i + l] = LOOK_UP(table + 2 * entries, i + l);                                \
        }                                                                                          \
        y[i + l] = LOOK_UP(table, i + l); /* last, as y may be x */                                \
    }

__kernel void lookup_codes_train(__global const float *x, __global float *y,
                                 __global float *unrounded, __global const float *table,
                                 CODE_TABLES, __global float *range, int x_value, int value,
                                 int columns, int count) {
    RANGE_BEGIN;
    ZERO_OF_X;
    const int entries = 256 * columns;
    FOR_EACH_CODE(count, LOOKUP_TRAIN_BODY, 0);
    RANGE_END(range, value);
}

/* dx (+)= dy times the entry of a part of table_codes' table */
#define LOOKUP_GRADIENT_BODY(ARG, W)                                                               \
    for (int l = 0; l < W; l++) {                                                                  \
        const float g = dy[i + l] * LOOK_UP(factors, i + l);                                       \
        dx[i + l] = accumulate ? dx[i + l] + g : g;                                                \
    }

__kernel void lookup_codes_gradient(__global const float *x, __global const float *dy,
                                    __global float *dx, __global const float *table, CODE_TABLES,
                                    int x_value, int columns, int part, int accumulate, int count) {
    ZERO_OF_X;
    __global const float *factors = table + part * 256 * columns;
    FOR_EACH_CODE(count, LOOKUP_GRADIENT_BODY, 0);
}

#endif

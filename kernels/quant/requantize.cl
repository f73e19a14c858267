/* From a layer's sums to codes: equations (9), (9f), (9s) and (10) of docs/quantization.md.
 *
 *   acc (pixels, channels)   the sums of (7), integers held in floats (or ints: *_sums)
 *   y   (pixels, channels)   q_y - z_y, or reals; may be acc
 *   multiplier               M of (9), real_multiplier = x_scale * w_scale of (10); as codes.h says
 *   CODE_TABLES, range       the tables of all values; `value` is y's entry
 *   mask (pixels, channels)  1 where the code was not clamped: where the gradient passes; or NULL
 *   unrounded                (pixels, channels) or NULL: the code before it was rounded and clamped
 */
#include "codes.h"

#define FROM_FLOATS(W, m) CODE_OF_FLOATS(W, LOAD##W(acc + i), m, b.lo, b.hi)
#define FROM_INTS(W, m) CODE_OF_INTS(W, LOAD_INT##W(acc + i), m, b.lo, b.hi)
#define REQUANTIZE_BODY(FROM, W)                                                                   \
    {                                                                                              \
        const float##W m = LOAD##W(multiplier + c);                                                \
        STORE##W(FROM(W, m), y + i);                                                               \
    }

#define REQUANTIZE(NAME, TYPE, FROM)                                                               \
    __kernel void NAME(__global const TYPE *acc, __global float *y,                                \
                       __global const float *multiplier, CODE_TABLES, int value, int act,          \
                       int count, int channels) {                                                  \
        const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, act);              \
        FOR_EACH_CHANNEL_CODE(count, channels, REQUANTIZE_BODY, FROM);                             \
    }

REQUANTIZE(requantize_codes, float, FROM_FLOATS)
REQUANTIZE(requantize_sums, int, FROM_INTS)

/* ---- training: what backward needs, and the range when observing ---- */

/* The wider clamp tells a code that lies just outside from the bound itself. */
#define TRAIN_BODY(OBSERVE, W)                                                                     \
    {                                                                                              \
        const float##W sum = LOAD##W(acc + i);                                                     \
        const float##W m = LOAD##W(multiplier + c);                                                \
        const float##W exact = sum * m;                                                            \
        const float##W wide = CODE_OF_FLOATS(W, sum, m, b.lo - 1.0f, b.hi + 1.0f);                 \
        OBSERVE(W)                                                                                 \
        KEEP(W, exact, wide, b, i)                                                                 \
        STORE##W(clq_clamp_code##W(wide, 0.0f, b.lo, b.hi), y + i);                                \
    }
#define UNSEEN(W)
#define SEEN(W)                                                                                    \
    float##W real = sum * LOAD##W(real_multiplier + c);                                            \
    real = CLQ_AT_LEAST(real, (float##W)(least));                                                  \
    real = CLQ_AT_MOST(real, (float##W)(ceiling));                                                 \
    RANGE_ADD(W, real);

__kernel void requantize_codes_train(__global const float *acc, __global float *y,
                                     __global const float *multiplier, __global uchar *mask,
                                     __global float *unrounded, CODE_TABLES, int value, int act,
                                     int count, int channels) {
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, act);
    FOR_EACH_CHANNEL_CODE(count, channels, TRAIN_BODY, UNSEEN);
}

__kernel void requantize_codes_observe(__global const float *acc, __global float *y,
                                       __global const float *multiplier,
                                       __global const float *real_multiplier, __global uchar *mask,
                                       __global float *unrounded, CODE_TABLES,
                                       __global float *range, int value, int act, int count,
                                       int channels) {
    RANGE_BEGIN;
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, act);
    const float least = act == ACT_NONE ? -INFINITY : 0.0f;
    const float ceiling = act == ACT_RELU6 ? 6.0f : INFINITY;
    FOR_EACH_CHANNEL_CODE(count, channels, TRAIN_BODY, SEEN);
    RANGE_END(range, value);
}

#if CLQ_REQUANT == 0 /* none of these ever runs in a program of another requantizer */

/* ---- (10), and relu or relu6 on it ---- */

/* SUM##W reads the sums: LOAD floats, LOAD_INT ints. */
#define REALS_BODY(SUM, W)                                                                         \
    {                                                                                              \
        const float##W real = TO_FLOAT##W(SUM##W(acc + i)) * LOAD##W(real_multiplier + c);         \
        const float##W positive = CLQ_AT_LEAST(real, (float##W)(least));                           \
        STORE##W(CLQ_AT_MOST(positive, (float##W)(most)), y + i);                                  \
    }

#define REALS(NAME, TYPE, SUM)                                                                     \
    __kernel void NAME(__global const TYPE *acc, __global float *y,                                \
                       __global const float *real_multiplier, int act, int count, int channels) {  \
        const float least = act == ACT_NONE ? -INFINITY : 0.0f;                                    \
        const float most = act == ACT_RELU6 ? 6.0f : INFINITY;                                     \
        FOR_EACH_CHANNEL_CODE(count, channels, REALS_BODY, SUM);                                   \
    }

REALS(codes_to_reals, float, LOAD)
REALS(sums_to_reals, int, LOAD_INT)

/* ---- backward through a clamp: dy = mask ? dy : 0 ---- */

#define MASK_BODY(ARG, W)                                                                          \
    {                                                                                              \
        const float##W g = LOAD##W(dy + i);                                                        \
        STORE##W(LOAD_MASK##W(mask + i) ? g : (float##W)(0.0f), dy + i);                           \
    }

__kernel void mask_gradient(__global const uchar *mask, __global float *dy, int count) {
    FOR_EACH_CODE(count, MASK_BODY, 0);
}

#endif

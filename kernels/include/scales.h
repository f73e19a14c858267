/* Scales and zero points from ranges: equations (3) to (6) of docs/quantization.md, shared by the
 * host (calibration, conversion) and the device (QAT), so that both give the same bits. C11 and
 * OpenCL C; every line is one IEEE operation. */
#ifndef CLQ_SCALES_H
#define CLQ_SCALES_H

#include "requantize.h"

#ifdef __OPENCL_VERSION__
#define CLQ_FLOAT_BITS(x) as_int(x)
#define CLQ_BITS_FLOAT(x) as_float(x)
#define CLQ_RINT(x) rint(x)
#else
#include <math.h>
#define CLQ_FLOAT_BITS(x) clq_float_bits(x)
#define CLQ_BITS_FLOAT(x) clq_bits_float(x)
#define CLQ_RINT(x) rintf(x)
static inline float clq_bits_float(int32_t x) {
    union {
        int32_t bits;
        float real;
    } u = {x};
    return u.real;
}
#endif

/* No scale is smaller: values that only a smaller one could tell from 0 count as 0, and products
 * and quotients of two scales stay normal numbers. */
#define CLQ_LEAST_SCALE 0x1p-60f
/* A channel's bias keeps below this many steps; with (13) then, sums stay below 2^24. */
#define CLQ_BIAS_STEPS 0x1p23f
/* max_shift for scales that are not rounded to powers of two. */
#define CLQ_ANY_SCALE (-1)

/* (6) on a normal number: the power of two with the nearest exponent, ties impossible (sqrt(2) is
 * irrational; 0x3504f3 is the fraction of the largest float below it). */
CLQ_INLINE float clq_nearest_pow2(float scale, int max_shift) {
    const int bits = CLQ_FLOAT_BITS(scale);
    int exponent = (bits >> 23) - 127 + ((bits & 0x7fffff) > 0x3504f3 ? 1 : 0);
    exponent = exponent < -max_shift ? -max_shift : exponent;
    exponent = exponent > max_shift ? max_shift : exponent;
    return CLQ_BITS_FLOAT((exponent + 127) << 23);
}

/* A scale before limits and rounding -> the scale. 0 means nothing was seen, which any scale
 * represents. */
CLQ_INLINE float clq_limit_scale(float scale, int max_shift) {
    scale = scale > 0.0f ? CLQ_AT_LEAST(scale, CLQ_LEAST_SCALE) : scale == 0.0f ? 1.0f : scale;
    return max_shift < 0 ? scale : clq_nearest_pow2(scale, max_shift);
}

/* (3), (4) for the range [-low, high], low and high >= 0, and codes lowest .. highest. Symmetric
 * codes have the zero point in their middle, but for unsigned ones of a range without negatives. */
CLQ_INLINE int clq_is_centred(float low, int lowest) {
    return lowest < 0 || low > 0.0f;
}
CLQ_INLINE float clq_range_scale(float low, float high, int lowest, int highest, int symmetric,
                                 int max_shift) {
    const int steps = highest - lowest;
    if (symmetric) {
        const float width = low > high ? low : high;
        const int wide = clq_is_centred(low, lowest) ? steps / 2 : steps;
        return clq_limit_scale(clq_divide(width, (float)wide), max_shift);
    }
    const float width = high + low;
    return clq_limit_scale(clq_divide(width, (float)steps), max_shift);
}
CLQ_INLINE int clq_range_zero_point(float low, float scale, int lowest, int highest,
                                    int symmetric) {
    if (symmetric) {
        return clq_is_centred(low, lowest) ? highest - (highest - lowest) / 2 : lowest;
    }
    return (int)clq_quantize_code(low, scale, (float)lowest, (float)lowest, (float)highest);
}

/* (5): of weights with largest magnitude `max_abs`, which gets code `highest`, and biases with
 * largest magnitude `bias` (0: none) */
CLQ_INLINE float clq_weights_scale(float max_abs, float highest, float bias, float x_scale,
                                   int max_shift) {
    const float steps = x_scale * CLQ_BIAS_STEPS;
    const float for_weights = clq_divide(max_abs, highest);
    const float for_bias = clq_divide(bias, steps);
    return clq_limit_scale(CLQ_AT_LEAST(for_weights, for_bias), max_shift);
}

/* (27): of the constant of an elementwise operator with largest magnitude `max_abs`, which is to
 * have the code `highest`: a power of two is the next larger one, so that nothing is clamped but
 * for want of a larger exponent. */
CLQ_INLINE float clq_constant_scale(float max_abs, float highest, int max_shift) {
    const float steps = clq_divide(max_abs, highest);
    const float exact = clq_limit_scale(steps, CLQ_ANY_SCALE);
    const float scale = clq_limit_scale(exact, max_shift);
    const float most = CLQ_BITS_FLOAT(((max_shift < 0 ? 0 : max_shift) + 127) << 23);
    return scale < exact && scale < most ? scale * 2.0f : scale;
}

/* (23): a learned scale of weights, which is larger where biases of magnitude `bias` ask for it */
CLQ_INLINE float clq_learned_weights_scale(float learned, float bias, float x_scale,
                                           int max_shift) {
    const float scale = CLQ_AT_LEAST(learned, CLQ_LEAST_SCALE);
    return clq_weights_scale(scale, 1.0f, bias, x_scale, max_shift);
}

/* (2) for biases, which stay below 2^30 steps so that sums stay within int32: the host
 * refuses others, and finds a code of 2^30 where the device had to clamp one. */
CLQ_INLINE int clq_bias_fits(float b, float scale) {
    const float steps = clq_divide(b, scale);
    return steps > -0x1p30f && steps < 0x1p30f;
}
CLQ_INLINE float clq_bias_code(float b, float scale) {
    float code = CLQ_RINT(clq_divide(b, scale));
    code = CLQ_AT_LEAST(code, -0x1p30f);
    return CLQ_AT_MOST(code, 0x1p30f);
}

/* (12): from the sum of `count` codes to their mean's code */
CLQ_INLINE float clq_pool_factor(float x_scale, float y_scale, int count) {
    const float steps = y_scale * (float)count;
    return clq_divide(x_scale, steps);
}

/* The constants of an addition: Ma and Mb of (4) as bits, ma, mb and s of (4f), na, nb and s of
 * (4s) of requantize.h; `kind` is clq_requantizer. Factors that the host refuses give some number.
 */
typedef struct clq_add_factors {
    int a, b, shift;
} clq_add_factors;

CLQ_INLINE int clq_exponent(float x) {
    return (CLQ_FLOAT_BITS(x) >> 23) - 127;
}
CLQ_INLINE int clq_within(int x, int least, int most) {
    return x < least ? least : x > most ? most : x;
}
CLQ_INLINE clq_add_factors clq_add_factors_of(int kind, float ma, float mb) {
    clq_add_factors f = {CLQ_FLOAT_BITS(ma), CLQ_FLOAT_BITS(mb), 0};
    const int ea = clq_exponent(ma), eb = clq_exponent(mb);
    if (kind == 1) {
        f.shift = clq_within(20 - (ea > eb ? ea : eb), 1, 31);
        const float unit = CLQ_BITS_FLOAT((f.shift + 127) << 23);
        f.a = (int)CLQ_RINT(CLQ_AT_MOST(ma * unit, 0x1p21f));
        f.b = (int)CLQ_RINT(CLQ_AT_MOST(mb * unit, 0x1p21f));
    } else if (kind == 2) {
        const int s = ea < eb ? -ea : -eb;
        f.a = clq_within(s + ea, 0, 22);
        f.b = clq_within(s + eb, 0, 22);
        f.shift = clq_within(s, -20, 31);
    }
    return f;
}

/* s of (6s); beyond +-20 all codes are those of +-20 */
CLQ_INLINE int clq_mean_shift_of(float x_scale, float y_scale) {
    const float m = clq_divide(x_scale, y_scale);
    return clq_within(-clq_exponent(m), -20, 20);
}

/* The code of 6, where ReLU6 clamps. */
CLQ_INLINE float clq_relu6_code(float scale, float z, int lowest, int highest) {
    return clq_quantize_code(6.0f, scale, z, (float)lowest, (float)highest);
}

/* Integer networks keep every activation's codes in u8: a signed type's code q as q + 128. */
#define CLQ_BYTE_OFFSET(lowest) ((lowest) < 0 ? 128 : 0)

#endif

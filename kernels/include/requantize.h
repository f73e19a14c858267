/* From an integer sum to an output code: the arithmetic every kernel and reference shares.
 *
 * real = scale * (q - zero_point). A convolution's int32 sum acc, in units of x_scale * w_scale[c],
 * becomes a code of y by one of three requantizers; z is y's zero point:
 *
 *   (1) float  M = (x_scale * w_scale[c]) / y_scale, computed once on the host in float
 *              y = clamp(rint((float)acc * M) + z, lo, hi)                  rint: ties to even
 *   (2) fixed  M = m * 2^-s exactly, 2^30 <= m < 2^31, 1 <= s <= 62; m = 0 where M < 2^-32
 *              y = clamp(floor((acc * m + 2^(s-1)) / 2^s) + z, lo, hi)      64 bits, ties upwards
 *   (3) shift  M = 2^-s, -20 <= s <= 31
 *              y = clamp(acc * 2^-s, rounded with ties to even, + z, lo, hi)
 *              the same code as (1) while |acc| <= 2^24; 32 bits, no multiplication
 *
 * An addition of codes qa and qb, stand-alone or fused behind (1)..(3), with Ma = a_scale / o_scale
 * and Mb = b_scale / o_scale computed once on the host in float:
 *
 *   (4)  float o = clamp(rint((float)(qa - za) * Ma + (float)(qb - zb) * Mb) + zo, lo, hi)
 *   (4f) fixed ma = rint(Ma * 2^s), mb = rint(Mb * 2^s), the larger of them in 2^20 .. 2^21, or
 *              smaller where s is 31
 *              o = clamp(floor(((qa - za) * ma + (qb - zb) * mb + 2^(s-1)) / 2^s) + zo, lo, hi)
 *              32 bits, ties upwards
 *   (4s) shift Ma = 2^(na-s), Mb = 2^(nb-s), s the least with na, nb >= 0, and both <= 22
 *              o = (3) of (qa - za) * 2^na + (qb - zb) * 2^nb: the same code as (4)
 *
 * The mean of `count` codes, from their sum less count * z: (1) or (2) with M = x_scale / (y_scale
 * * count); by shift, x_scale / y_scale = 2^-s,
 *
 *   (6s) y = clamp(sum / (count * 2^s), rounded with ties to even, + z, lo, hi)  integer division
 *
 * Quantizing a real, with a correctly rounded division:
 *
 *   (5) q = clamp(rint(x / scale) + z, lo, hi)
 *
 * Each float step is one correctly rounded IEEE operation (FP_CONTRACT OFF, so no fma): all
 * devices give the same bits; (2), (3), (4f), (4s) and (6s) know integers only. 0 <= lo <= hi <=
 * 255, 0 <= z <= 255. The clamp works on floats, in which a sum that no int can hold is still
 * ordered, and rint(v) + z is exact wherever the clamp lets it through.
 *
 * The _code functions give codes as floats, for fake-quantized networks, whose sums are integers
 * held in floats or, for fixed and shift, in ints; the others take ints and give an int. Host side
 * of the constants: host/ops/multiplier.h. The forms for 4, 8 and 16 lanes exist in OpenCL C only,
 * all else is C11 too. */
#ifndef CLQ_REQUANTIZE_H
#define CLQ_REQUANTIZE_H

#ifdef __OPENCL_C_VERSION__
#pragma OPENCL FP_CONTRACT OFF
#define CLQ_INLINE static inline __attribute__((always_inline))
#else
#include <stdint.h>
#define CLQ_INLINE static inline
#endif

/* Comparisons instead of fmin and fmax: one instruction, and a NaN stays one, so that a network
 * which diverges in training shows it. */
#define CLQ_AT_LEAST(x, bound) ((x) < (bound) ? (bound) : (x))
#define CLQ_AT_MOST(x, bound) ((x) > (bound) ? (bound) : (x))

/* 1.5 * 2^23: adding it to |v| <= 2^22 rounds v to an integer, ties to even, which is then in the
 * low bits of the sum. One addition, where rint is 25 instructions on some drivers. */
#define CLQ_ROUNDER 12582912.0f
#define CLQ_ROUNDER_BITS 0x4b400000

/* Correctly rounded quotients also where the device's own division is not: the host then builds
 * with CLQ_INEXACT_DIVIDE. One Newton step makes the reciprocal good to its last bit, two steps
 * with the exact remainder the quotient (Markstein 1990). Huge quotients are the device's, as
 * remainders overflow. CLQ_RECIPROCAL lets tests worsen the start. */
#ifdef CLQ_INEXACT_DIVIDE
#ifndef CLQ_RECIPROCAL
#define CLQ_RECIPROCAL(y) (1.0f / (y))
#endif
#define CLQ_DEFINE_DIVIDE(SUFFIX, F)                                                               \
    CLQ_INLINE F clq_divide##SUFFIX(F x, F y) {                                                    \
        const F first = CLQ_RECIPROCAL(y);                                                         \
        const F reciprocal = fma(fma(-first, y, (F)(1.0f)), first, first);                         \
        F q = x * reciprocal;                                                                      \
        const F rough = q;                                                                         \
        q = fma(fma(-q, y, x), reciprocal, q);                                                     \
        q = fma(fma(-q, y, x), reciprocal, q);                                                     \
        return fabs(rough) < (F)(0x1p100f) ? q : rough;                                            \
    }
#else
#define CLQ_DEFINE_DIVIDE(SUFFIX, F)                                                               \
    CLQ_INLINE F clq_divide##SUFFIX(F x, F y) {                                                    \
        return x / y;                                                                              \
    }
#endif

#define CLQ_2_M32_BITS 0x2f800000 /* those of 2^-32 */

/* All functions at one width: SUFFIX is empty, 4, 8 or 16; F, I, U, L are its float, int, unsigned
 * and 64-bit types, TO_F.. the conversions to them, BITS a float's bits. */
#define CLQ_DEFINE_REQUANTIZE(SUFFIX, F, I, U, L, TO_F, TO_I, TO_U, TO_L, BITS)                    \
    CLQ_DEFINE_DIVIDE(SUFFIX, F)                                                                   \
                                                                                                   \
    /* clamp(rint(v) + z, lo, hi). The clamp comes first: its bounds are integers, which rint      \
     * keeps, and it brings v into the rounder's reach. */                                         \
    CLQ_INLINE F clq_rounder_sum##SUFFIX(F v, float z, float lo, float hi) {                       \
        v = CLQ_AT_LEAST(v, (F)(lo - z));                                                          \
        return CLQ_AT_MOST(v, (F)(hi - z)) + (F)(CLQ_ROUNDER);                                     \
    }                                                                                              \
    CLQ_INLINE F clq_clamp_code##SUFFIX(F v, float z, float lo, float hi) {                        \
        return clq_rounder_sum##SUFFIX(v, z, lo, hi) - (F)(CLQ_ROUNDER) + (F)(z);                  \
    }                                                                                              \
    CLQ_INLINE I clq_clamp_int##SUFFIX(F v, float z, float lo, float hi) {                         \
        return BITS(clq_rounder_sum##SUFFIX(v, z, lo, hi)) - (I)(CLQ_ROUNDER_BITS - (int)z);       \
    }                                                                                              \
                                                                                                   \
    /* (1), on a sum that is an integer held in a float */                                         \
    CLQ_INLINE F clq_requantize_code##SUFFIX(F acc, F m, float z, float lo, float hi) {            \
        return clq_clamp_code##SUFFIX(acc * m, z, lo, hi);                                         \
    }                                                                                              \
                                                                                                   \
    /* (1) */                                                                                      \
    CLQ_INLINE I clq_requantize_float##SUFFIX(I acc, F m, float z, float lo, float hi) {           \
        return clq_clamp_int##SUFFIX(TO_F(acc) * m, z, lo, hi);                                    \
    }                                                                                              \
    /* The same code less z. */                                                                    \
    CLQ_INLINE F clq_requantize_centred##SUFFIX(I acc, F m, float z, float lo, float hi) {         \
        return clq_rounder_sum##SUFFIX(TO_F(acc) * m, z, lo, hi) - (F)(CLQ_ROUNDER);               \
    }                                                                                              \
                                                                                                   \
    /* (2) */                                                                                      \
    CLQ_INLINE I clq_requantize_fixed##SUFFIX(I acc, I m, I s, int z, int lo, int hi) {            \
        L tie = (L)(1) << TO_L(s - (I)(1));                                                        \
        L t = (TO_L(acc) * TO_L(m) + tie) >> TO_L(s);                                              \
        t = CLQ_AT_LEAST(t, (L)(lo - z));                                                          \
        t = CLQ_AT_MOST(t, (L)(hi - z));                                                           \
        return TO_I(t) + (I)(z);                                                                   \
    }                                                                                              \
    /* m and s of a normal M in (0, 2^30) */                                                       \
    CLQ_INLINE I clq_fixed_mantissa##SUFFIX(F m) {                                                 \
        I bits = BITS(m);                                                                          \
        I mantissa = ((bits & (I)(0x7fffff)) | (I)(0x800000)) << 7;                                \
        return bits < (I)(CLQ_2_M32_BITS) ? (I)(0) : mantissa;                                     \
    }                                                                                              \
    CLQ_INLINE I clq_fixed_shift##SUFFIX(F m) {                                                    \
        I s = (I)(127 + 30) - (BITS(m) >> 23);                                                     \
        s = CLQ_AT_LEAST(s, (I)(1));                                                               \
        return CLQ_AT_MOST(s, (I)(62));                                                            \
    }                                                                                              \
    CLQ_INLINE F clq_fixed_code##SUFFIX(I acc, F m, float lo, float hi) {                          \
        I mantissa = clq_fixed_mantissa##SUFFIX(m);                                                \
        I s = clq_fixed_shift##SUFFIX(m);                                                          \
        return TO_F(clq_requantize_fixed##SUFFIX(acc, mantissa, s, 0, (int)lo, (int)hi));          \
    }                                                                                              \
                                                                                                   \
    CLQ_INLINE I clq_shift_left##SUFFIX(I x, I n) {                                                \
        return TO_I(TO_U(x) << TO_U(n));                                                           \
    }                                                                                              \
    /* (3). A multiplier above 1/2 first shifts left by `up`, saturating far outside the codes;    \
     * `n` >= 1 remains to be shifted right. */                                                    \
    CLQ_INLINE I clq_requantize_shift##SUFFIX(I acc, I s, int z, int lo, int hi) {                 \
        I up = CLQ_AT_LEAST((I)(1) - s, (I)(0));                                                   \
        I n = s + up;                                                                              \
        I limit = (I)(0x7fffffff) >> up;                                                           \
        I t = CLQ_AT_LEAST(acc, -limit - (I)(1));                                                  \
        t = clq_shift_left##SUFFIX(CLQ_AT_MOST(t, limit), up);                                     \
        I q = t >> n;                                                                              \
        U tie = (U)(1) << TO_U(n - (I)(1));                                                        \
        U rest = TO_U(t & (I)(0x7fffffff)) & (tie + tie - (U)(1));                                 \
        I odd = q & (I)(1);                                                                        \
        q = q + TO_I((rest + TO_U(odd) + tie - (U)(1)) >> TO_U(n));                                \
        q = CLQ_AT_LEAST(q, (I)(lo - z));                                                          \
        return CLQ_AT_MOST(q, (I)(hi - z)) + (I)(z);                                               \
    }                                                                                              \
    /* s of a power of two, brought into (3)'s range */                                            \
    CLQ_INLINE I clq_shift_of##SUFFIX(F m) {                                                       \
        I s = (I)(127) - (BITS(m) >> 23);                                                          \
        s = CLQ_AT_LEAST(s, (I)(-20));                                                             \
        return CLQ_AT_MOST(s, (I)(31));                                                            \
    }                                                                                              \
    CLQ_INLINE F clq_shift_code##SUFFIX(I acc, F m, float lo, float hi) {                          \
        I s = clq_shift_of##SUFFIX(m);                                                             \
        return TO_F(clq_requantize_shift##SUFFIX(acc, s, 0, (int)lo, (int)hi));                    \
    }                                                                                              \
                                                                                                   \
    /* (4f) and (4s), on centred codes a = qa - za and b = qb - zb */                              \
    CLQ_INLINE I clq_add_fixed##SUFFIX(I a, int ma, I b, int mb, int s, int z, int lo, int hi) {   \
        I t = (a * (I)(ma) + b * (I)(mb) + (I)(1 << (s - 1))) >> s;                                \
        t = CLQ_AT_LEAST(t, (I)(lo - z));                                                          \
        return CLQ_AT_MOST(t, (I)(hi - z)) + (I)(z);                                               \
    }                                                                                              \
    CLQ_INLINE I clq_add_shift##SUFFIX(I a, int na, I b, int nb, int s, int z, int lo, int hi) {   \
        I t = clq_shift_left##SUFFIX(a, (I)(na)) + clq_shift_left##SUFFIX(b, (I)(nb));             \
        return clq_requantize_shift##SUFFIX(t, (I)(s), z, lo, hi);                                 \
    }                                                                                              \
                                                                                                   \
    /* (6s), on the sum of `count` < 2^22 centred codes; s in -20 .. 20. The dividend is clamped   \
     * to 512 divisors either way, and made positive by 1024 more. */                              \
    CLQ_INLINE I clq_mean_shift##SUFFIX(I sum, int count, int s, int z, int lo, int hi) {          \
        const int up = CLQ_AT_LEAST(-s, 0), down = CLQ_AT_LEAST(s, 0);                             \
        const int limit = 0x7fffffff >> up;                                                        \
        I scaled = CLQ_AT_LEAST(sum, (I)(-limit - 1));                                             \
        scaled = clq_shift_left##SUFFIX(CLQ_AT_MOST(scaled, (I)(limit)), (I)(up));                 \
        L d = TO_L((I)(count)) << (L)(down);                                                       \
        L far = d << (L)(9);                                                                       \
        L t = CLQ_AT_LEAST(TO_L(scaled), -far);                                                    \
        t = CLQ_AT_MOST(t, far) + far + far;                                                       \
        t = t + t + d;                                                                             \
        L q = t / (d + d);                                                                         \
        q = q - (t % (d + d) == (L)(0) ? q & (L)(1) : (L)(0)) - (L)(1024);                         \
        q = CLQ_AT_LEAST(q, (L)(lo - z));                                                          \
        return TO_I(CLQ_AT_MOST(q, (L)(hi - z))) + (I)(z);                                         \
    }                                                                                              \
                                                                                                   \
    /* (4), on centred codes a = qa - za and b = qb - zb */                                        \
    CLQ_INLINE F clq_add_code##SUFFIX(F a, float ma, F b, float mb, float z, float lo, float hi) { \
        F pa = a * (F)(ma);                                                                        \
        F pb = b * (F)(mb);                                                                        \
        return clq_clamp_code##SUFFIX(pa + pb, z, lo, hi);                                         \
    }                                                                                              \
    CLQ_INLINE I clq_add_int##SUFFIX(F a, float ma, F b, float mb, float z, float lo, float hi) {  \
        F pa = a * (F)(ma);                                                                        \
        F pb = b * (F)(mb);                                                                        \
        return clq_clamp_int##SUFFIX(pa + pb, z, lo, hi);                                          \
    }                                                                                              \
                                                                                                   \
    /* (5); as a code NaN stays NaN, as an int it becomes lo */                                    \
    CLQ_INLINE F clq_quantize_code##SUFFIX(F x, float scale, float z, float lo, float hi) {        \
        return clq_clamp_code##SUFFIX(clq_divide##SUFFIX(x, (F)(scale)), z, lo, hi);               \
    }                                                                                              \
    CLQ_INLINE I clq_quantize_int##SUFFIX(F x, float scale, float z, float lo, float hi) {         \
        F v = clq_divide##SUFFIX(x, (F)(scale));                                                   \
        v = (BITS(v) & (I)(0x7fffffff)) > (I)(0x7f800000) ? (F)(-1024.0f) : v;                     \
        return clq_clamp_int##SUFFIX(v, z, lo, hi);                                                \
    }

#ifdef __OPENCL_C_VERSION__
CLQ_DEFINE_REQUANTIZE(, float, int, uint, long, convert_float, convert_int, convert_uint,
                      convert_long, as_int)
CLQ_DEFINE_REQUANTIZE(4, float4, int4, uint4, long4, convert_float4, convert_int4, convert_uint4,
                      convert_long4, as_int4)
CLQ_DEFINE_REQUANTIZE(8, float8, int8, uint8, long8, convert_float8, convert_int8, convert_uint8,
                      convert_long8, as_int8)
CLQ_DEFINE_REQUANTIZE(16, float16, int16, uint16, long16, convert_float16, convert_int16,
                      convert_uint16, convert_long16, as_int16)
#else
static inline int32_t clq_float_bits(float x) {
    union {
        float real;
        int32_t bits;
    } u = {x};
    return u.bits;
}
CLQ_DEFINE_REQUANTIZE(, float, int32_t, uint32_t, int64_t, (float), (int32_t), (uint32_t),
                      (int64_t), clq_float_bits)
#endif

#endif

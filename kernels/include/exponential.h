/* exp and log of floats by additions and multiplications alone, so that they are the same bits on
 * every device; within 2 units in the last place. Results of exp below the least normal float are
 * 0. log takes normal positive numbers, infinity and NaN. OpenCL C. */
#ifndef CLQ_EXPONENTIAL_H
#define CLQ_EXPONENTIAL_H

#include "requantize.h"

#pragma OPENCL FP_CONTRACT OFF

#define CLQ_DEFINE_EXPONENTIAL(SUFFIX, F, I, TO_I, TO_F, AS_I, AS_F)                               \
    /* x = n ln 2 + r, |r| <= ln 2 / 2; e^r by its series, 2^n in two factors that are normal. The \
     * first part of ln 2 has 9 bits, so that n times it is exact. */                              \
    static inline F clq_exp##SUFFIX(F x) {                                                         \
        const F top = CLQ_AT_MOST(CLQ_AT_LEAST(x, (F)(-88.0f)), (F)(89.0f));                       \
        const F n = rint(top * (F)(0x1.715476p+0f));                                               \
        const F r = (top - n * (F)(0x1.63p-1f)) - n * (F)(-0x1.bd0106p-13f);                       \
        F e = r * (F)(1.0f / 5040) + (F)(1.0f / 720);                                              \
        e = e * r + (F)(1.0f / 120);                                                               \
        e = e * r + (F)(1.0f / 24);                                                                \
        e = e * r + (F)(1.0f / 6);                                                                 \
        e = e * r + (F)(0.5f);                                                                     \
        e = (e * r * r + r) + (F)(1.0f);                                                           \
        const I one = TO_I(n) / 2, other = TO_I(n) - one;                                          \
        e = e * AS_F((one + 127) << 23) * AS_F((other + 127) << 23);                               \
        e = x < (F)(-87.0f) ? (F)(0.0f) : e;                                                       \
        return x != x ? x : e;                                                                     \
    }                                                                                              \
    /* x = 2^n m, m from sqrt(1/2) to sqrt(2); log m = 2 artanh(s), s = (m - 1) / (m + 1). */      \
    static inline F clq_log##SUFFIX(F x) {                                                         \
        const I bits = AS_I(x) - (I)(0x3f3504f3);                                                  \
        const F n = TO_F(bits >> 23);                                                              \
        const F m = AS_F((bits & 0x7fffff) + 0x3f3504f3);                                          \
        const F s = clq_divide##SUFFIX(m - (F)(1.0f), m + (F)(1.0f)), z = s * s;                   \
        F a = z * (F)(2.0f / 9) + (F)(2.0f / 7);                                                   \
        a = a * z + (F)(2.0f / 5);                                                                 \
        a = a * z + (F)(2.0f / 3);                                                                 \
        a = (a * z * s + n * (F)(-0x1.bd0106p-13f)) + (F)(2.0f) * s + n * (F)(0x1.63p-1f);         \
        return (x == (F)(INFINITY)) | (x != x) ? x : a;                                            \
    }

CLQ_DEFINE_EXPONENTIAL(, float, int, convert_int, convert_float, as_int, as_float)
CLQ_DEFINE_EXPONENTIAL(16, float16, int16, convert_int16, convert_float16, as_int16, as_float16)
#define clq_divide1 clq_divide
#define clq_exp1 clq_exp
#define clq_log1 clq_log

#endif

/* The requantizer that a program is built with, -DCLQ_REQUANT: clq_requantizer, (1) to (3) of
 * requantize.h. OpenCL C. */
#ifndef CLQ_REQUANTIZER_H
#define CLQ_REQUANTIZER_H

#include "requantize.h"

#ifndef CLQ_REQUANT /* 0 float, 1 fixed, 2 shift */
#define CLQ_REQUANT 0
#endif

/* On integers, with the constants that clq_multiplier_add and clq_multiplier_mean of
 * host/ops/multiplier.h make: an addition's fa, fb and s, a mean's f0 and f1.
 *
 *   ADD_INTS(W, a, fa, b, fb, s, z, lo, hi)   the code of a + b, which are centred codes
 *   MEAN_INT(W, sum, f0, f1, z, lo, hi)       the code of a mean, from its sum of centred codes
 *   SUM_INTS(W, sum, f0, f1, z, lo, hi)       the code of a sum or product, with the constants of
 *                                             clq_multiplier_sum */
#if CLQ_REQUANT == 0
#define ADD_INTS(W, a, fa, b, fb, s, z, lo, hi)                                                    \
    clq_add_int##W(convert_float##W(a), as_float(fa), convert_float##W(b), as_float(fb), z, lo, hi)
#define MEAN_INT(W, sum, f0, f1, z, lo, hi)                                                        \
    clq_requantize_float##W(sum, (float##W)(as_float(f0)), z, lo, hi)
#define SUM_INTS MEAN_INT
#elif CLQ_REQUANT == 1
#define ADD_INTS(W, a, fa, b, fb, s, z, lo, hi) clq_add_fixed##W(a, fa, b, fb, s, z, lo, hi)
#define MEAN_INT(W, sum, f0, f1, z, lo, hi)                                                        \
    clq_requantize_fixed##W(sum, (int##W)(f0), (int##W)(f1), z, lo, hi)
#define SUM_INTS MEAN_INT
#else
#define ADD_INTS(W, a, fa, b, fb, s, z, lo, hi) clq_add_shift##W(a, fa, b, fb, s, z, lo, hi)
#define MEAN_INT(W, sum, f0, f1, z, lo, hi) clq_mean_shift##W(sum, f0, f1, z, lo, hi)
#define SUM_INTS(W, sum, f0, f1, z, lo, hi) clq_requantize_shift##W(sum, (int##W)(f0), z, lo, hi)
#endif

#endif

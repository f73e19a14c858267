/* The end of every int8 convolution, for 4 or 16 neighbouring output channels: requantize, add the
 * residual, and for float results scale. CLQ_REQUANT chooses the requantizer. */
#ifndef CLQ_INT8_EPILOGUE_H
#define CLQ_INT8_EPILOGUE_H

#include "conv_int8.h"
#include "int8_codes.h"
#include "requantize.h"

#ifndef CLQ_REQUANT /* 0 float, 1 fixed, 2 shift */
#define CLQ_REQUANT 0
#endif

/* int8_code<W>(acc, channel, stride, residual, e): the codes of W sums that already contain their
 * start. `channel` points to the first of them in the channel table, whose arrays are `stride`
 * apart; `residual` to its codes, or is NULL.
 * int8_real<W>(acc, channel, stride, e): the same sums as reals. */
#define INT8_DEFINE_EPILOGUE(W)                                                                    \
    CLQ_INLINE int##W int8_code##W(int##W acc, __global const int *channel, int stride,            \
                                   __global const uchar *residual, int8_epilogue e) {              \
        if (residual) {                                                                            \
            float##W q = INT8_CENTRED(W, acc, channel + stride, stride, e);                        \
            float##W r = convert_float##W(codes_load##W(residual)) - (float##W)(e.r_zero);         \
            return clq_add_int##W(q, e.y_factor, r, e.r_factor, e.out_zero, e.out_lo, e.out_hi);   \
        }                                                                                          \
        return INT8_REQUANTIZE(W, acc, channel + stride, stride, e);                               \
    }                                                                                              \
    CLQ_INLINE float##W int8_real##W(int##W acc, __global const int *channel, int stride,          \
                                     int8_epilogue e) {                                            \
        float##W real = convert_float##W(acc) * as_float##W(vload##W(0, channel + stride));        \
        real = CLQ_AT_LEAST(real, (float##W)(e.float_lo));                                         \
        return CLQ_AT_MOST(real, (float##W)(e.float_hi));                                          \
    }

/* INT8_CENTRED: the code of y less its zero point. */
#if CLQ_REQUANT == 0
#define INT8_CENTRED(W, acc, factors, stride, e)                                                   \
    clq_requantize_centred##W(acc, as_float##W(vload##W(0, factors)), e.y_zero, e.y_lo, e.y_hi)
#define INT8_REQUANTIZE(W, acc, factors, stride, e)                                                \
    clq_requantize_float##W(acc, as_float##W(vload##W(0, factors)), e.y_zero, e.y_lo, e.y_hi)
#elif CLQ_REQUANT == 1
#define INT8_REQUANTIZE(W, acc, factors, stride, e)                                                \
    clq_requantize_fixed##W(acc, vload##W(0, factors), vload##W(0, factors + stride),              \
                            (int)e.y_zero, (int)e.y_lo, (int)e.y_hi)
#else
#define INT8_REQUANTIZE(W, acc, factors, stride, e)                                                \
    clq_requantize_shift##W(acc, vload##W(0, factors), (int)e.y_zero, (int)e.y_lo, (int)e.y_hi)
#endif
#if CLQ_REQUANT != 0
#define INT8_CENTRED(W, acc, factors, stride, e)                                                   \
    (convert_float##W(INT8_REQUANTIZE(W, acc, factors, stride, e)) - (float##W)(e.y_zero))
#endif

INT8_DEFINE_EPILOGUE(4)
INT8_DEFINE_EPILOGUE(16)

#endif

/* The end of every int8 convolution, for 4 or 16 neighbouring output channels: requantize, add the
 * residual, and for float results scale. CLQ_REQUANT chooses the requantizer. */
#ifndef CLQ_INT8_EPILOGUE_H
#define CLQ_INT8_EPILOGUE_H

#include "conv_int8.h"
#include "int8_codes.h"
#include "requantizer.h"

/* int8_code<W>(acc, channel, stride, residual, e): the codes of W sums that already contain their
 * start. `channel` points to the first of them in the channel table, whose arrays are `stride`
 * apart; `residual` to its codes, or is NULL.
 * int8_real<W>(acc, channel, stride, e): the same sums as reals. */
#define INT8_DEFINE_EPILOGUE(W)                                                                    \
    CLQ_INLINE int##W int8_code##W(int##W acc, __global const int *channel, int stride,            \
                                   __global const uchar *residual, int8_epilogue e) {              \
        if (residual) {                                                                            \
            return INT8_ADD(W, acc, channel + stride, stride, codes_load##W(residual), e);         \
        }                                                                                          \
        return INT8_REQUANTIZE(W, acc, channel + stride, stride, e);                               \
    }                                                                                              \
    CLQ_INLINE float##W int8_real##W(int##W acc, __global const int *channel, int stride,          \
                                     int8_epilogue e) {                                            \
        float##W real = convert_float##W(acc) * as_float##W(vload##W(0, channel + stride));        \
        real = CLQ_AT_LEAST(real, (float##W)(e.float_lo));                                         \
        return CLQ_AT_MOST(real, (float##W)(e.float_hi));                                          \
    }

/* INT8_ADD: the code of y, and (4) of that and the residual's. */
#if CLQ_REQUANT == 0
#define INT8_REQUANTIZE(W, acc, factors, stride, e)                                                \
    clq_requantize_float##W(acc, as_float##W(vload##W(0, factors)), as_float(e.y_zero),            \
                            as_float(e.y_lo), as_float(e.y_hi))
#define INT8_ADD(W, acc, factors, stride, residual, e)                                             \
    clq_add_int##W(                                                                                \
        clq_requantize_centred##W(acc, as_float##W(vload##W(0, factors)), as_float(e.y_zero),      \
                                  as_float(e.y_lo), as_float(e.y_hi)),                             \
        as_float(e.y_factor), convert_float##W(residual) - (float##W)(as_float(e.r_zero)),         \
        as_float(e.r_factor), as_float(e.out_zero), as_float(e.out_lo), as_float(e.out_hi))
#else
#if CLQ_REQUANT == 1
#define INT8_REQUANTIZE(W, acc, factors, stride, e)                                                \
    clq_requantize_fixed##W(acc, vload##W(0, factors), vload##W(0, factors + stride), e.y_zero,    \
                            e.y_lo, e.y_hi)
#else
#define INT8_REQUANTIZE(W, acc, factors, stride, e)                                                \
    clq_requantize_shift##W(acc, vload##W(0, factors), e.y_zero, e.y_lo, e.y_hi)
#endif
#define INT8_ADD(W, acc, factors, stride, residual, e)                                             \
    ADD_INTS(W, INT8_REQUANTIZE(W, acc, factors, stride, e) - (int##W)(e.y_zero), e.y_factor,      \
             residual - (int##W)(e.r_zero), e.r_factor, e.add_shift, e.out_zero, e.out_lo,         \
             e.out_hi)
#endif

INT8_DEFINE_EPILOGUE(4)
INT8_DEFINE_EPILOGUE(16)

#endif

/* The end of an int8 convolution whose sums lie in private memory as lines of NR channels: their
 * start is added already. The kernel defines NR. */
#ifndef CLQ_INT8_FINISH_H
#define CLQ_INT8_FINISH_H

#include "int8_epilogue.h"

/* Float results of `rows` pixels x `columns` channels of one block. */
static inline void finish_real(const int *line, const conv_int8 *s, __global const int *channel,
                               int stride, __global float *y, int rows, int columns) {
    for (int i = 0; i < rows; i++) {
        int c = 0;
        for (; c + 16 <= columns; c += 16)
            vstore16(int8_real16(vload16(0, line + i * NR + c), channel + c, stride, s->epilogue),
                     0, y + c);
        for (; c < columns; c += 4)
            store_reals4(int8_real4(vload4(0, line + i * NR + c), channel + c, stride, s->epilogue),
                         columns - c, y + c);
        y += s->oc;
    }
}

/* Codes of `rows` pixels x `columns` channels of one block, and zeros up to a multiple of 4. */
static inline void finish_codes(const int *line, const conv_int8 *s, __global const int *channel,
                                int stride, __global const uchar *residual, __global uchar *y,
                                int rows, int columns) {
    int c = 0;
    for (; c + 16 <= columns; c += 16)
        for (int i = 0; i < rows; i++) {
            const long at = (long)i * s->out_pitch + c;
            int16 q = int8_code16(vload16(0, line + i * NR + c), channel + c, stride,
                                  residual ? residual + at : residual, s->epilogue);
            codes_store16(q, y + at);
        }
    for (; c < columns; c += 4)
        for (int i = 0; i < rows; i++) {
            const long at = (long)i * s->out_pitch + c;
            int4 q = int8_code4(vload4(0, line + i * NR + c), channel + c, stride,
                                residual ? residual + at : residual, s->epilogue);
            codes_store4(q, columns - c, y + at);
        }
}

#endif

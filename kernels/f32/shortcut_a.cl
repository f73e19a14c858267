/* ResNet's parameterless shortcut (option A): y (N, OH, OW, front + C + back) takes every stride-th
 * pixel of x (N, IH, IW, C) and puts zero channels around it. */
#include "pixels.h"

/* A pixel of y at a time, whose three runs of channels the compiler turns into vector copies. */
__kernel void shortcut_a_f32(__global const float *x, __global float *y, int batch, int IH, int IW,
                             int C, int OH, int OW, int stride, int front, int back) {
    const int channels = front + C + back;
    long pixel, last;
    clq_share((long)batch * OH * OW, 1, &pixel, &last);
    for (; pixel < last; pixel++) {
        const long row = pixel / OW, n = row / OH;
        const int h = (int)(row % OH), w = (int)(pixel % OW);
        __global const float *from = x + ((n * IH + h * stride) * IW + w * stride) * C;
        __global float *to = y + pixel * channels;
        for (int c = 0; c < front; c++) {
            to[c] = 0.0f;
        }
        for (int c = 0; c < C; c++) {
            to[front + c] = from[c];
        }
        for (int c = front + C; c < channels; c++) {
            to[c] = 0.0f;
        }
    }
}

/* Pixels that forward did not take get no gradient. */
#define GRAD_CELL(T, I, LOAD, STORE, LOAD_U16, STORE_U16)                                          \
    {                                                                                              \
        const long at = PIXEL(n, h, w, IH, IW, C);                                                 \
        T v = accumulate ? LOAD(dx + at) : (T)(0.0f);                                              \
        if (h % stride == 0 && w % stride == 0) {                                                  \
            v += LOAD(dy + PIXEL(n, h / stride, w / stride, OH, OW, front + C + back) + front);    \
        }                                                                                          \
        STORE(v, dx + at);                                                                         \
    }

__kernel void shortcut_a_grad_f32(__global const float *dy, __global float *dx, int batch, int IH,
                                  int IW, int C, int OH, int OW, int stride, int front, int back,
                                  int accumulate) {
    FOR_PIXELS(batch, IH, IW, C, GRAD_CELL)
}

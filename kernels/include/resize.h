/* What the kernels that resize share: pixel (h, w) of y (N, OH, OW, C) is the sum over taps i of
 * row h and j of column w of h_weight[i] * w_weight[j] * x (N, IH, IW, C) at (h_from[i],
 * w_from[j]). Those of row h are h_first[h] <= i < h_first[h + 1]; a row or column without any lies
 * beyond the image. */
#ifndef CLQ_RESIZE_H
#define CLQ_RESIZE_H

#define RESIZE_AXES(WEIGHT)                                                                        \
    __global const int *h_first, __global const int *h_from, __global const WEIGHT *h_weight,      \
        __global const int *w_first, __global const int *w_from, __global const WEIGHT *w_weight
#define RESIZE_SHAPE int batch, int IH, int IW, int C, int OH, int OW

#define RESIZE_BEYOND(h, w) (h_first[h] == h_first[(h) + 1] || w_first[w] == w_first[(w) + 1])

/* sum, of type T and 0 before, += the weighted sum of READ(row, column). */
#define RESIZE_SUM(T, sum, h, w, READ)                                                             \
    for (int i = h_first[h]; i < h_first[(h) + 1]; i++) {                                          \
        T line = (T)(0);                                                                           \
        for (int j = w_first[w]; j < w_first[(w) + 1]; j++)                                        \
            line += (T)(w_weight[j]) * READ(h_from[i], w_from[j]);                                 \
        sum += (T)(h_weight[i]) * line;                                                            \
    }

#endif

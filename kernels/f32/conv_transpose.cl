/* What a transposed convolution needs beside the kernels of convolutions. */
#include "elementwise.h"

/* to (G, B, taps, A) = from (G, A, taps, B), `count` floats. */
__kernel void exchange_channels(__global const float *from, __global float *to, int A, int taps,
                                int B, int count) {
    long i, end;
    clq_share(count, 1, &i, &end);
    for (; i < end; i++) {
        const int a = (int)(i % A), t = (int)(i / A % taps), b = (int)(i / A / taps % B);
        const long g = i / A / taps / B;
        to[i] = from[((g * A + a) * taps + t) * B + b];
    }
}

/* sums (parts, C): of the rows of x (rows, C), part by part. Dimension 0 counts channels, 1 parts.
 * Sums of 64 rows are added up, so that long ones do not lose their ends. */
__kernel void channel_sums(__global const float *x, __global float *sums, int rows, int C,
                           int parts) {
    const int c = get_global_id(0), part = get_global_id(1);
    const long begin = rows * (long)part / parts, end = rows * (part + 1L) / parts;
    float sum = 0.0f;
    if (c >= C || part >= parts) {
        return;
    }
    for (long block = begin; block < end; block += 64) {
        float of_block = 0.0f;
        for (long row = block; row < min(block + 64, end); row++) {
            of_block += x[row * C + c];
        }
        sum += of_block;
    }
    sums[(long)part * C + c] = sum;
}

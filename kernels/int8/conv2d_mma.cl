/* int8 convolution on NVIDIA's tensor cores (see conv_int8.h and section 3 of dot4.h).
 *
 * A work-group of 4 warps computes BM pixels x BN channels, BK words of 4 inputs at a time; a warp
 * MT x NT tiles of 16 pixels x 8 channels:
 *
 *     +--------+--------+      warp w: rows (w / 2) * 16 * MT .., channels (w % 2) * 8 * NT ..
 *     | warp 0 | warp 1 |      the next BK words are fetched into registers while these are
 *     +--------+--------+      multiplied
 *     | warp 2 | warp 3 |
 *     +--------+--------+
 *
 * Rows of `a` and `b` are padded so that the words a warp reads together lie in different banks.
 * Sums go to the epilogue through local memory, as a work-item holds two neighbouring channels and
 * codes are stored by four. Weights are packed with NR = BN, STEP = 4. */
#include "conv_int8_gather.h"
#include "dot4.h"
#include "int8_epilogue.h"

#ifndef MT /* 16-row tiles of a warp: 1, 2, 4 */
#define MT 2
#endif
#ifndef NT /* 8-channel tiles of a warp */
#define NT 4
#endif
#define BK 16
#define ITEMS 128
#define BM (2 * 16 * MT)
#define BN (2 * 8 * NT)
#define A_WORDS (BM * BK / ITEMS) /* that a work-item fetches */
#define B_WORDS (BN * BK / ITEMS)

#if DOT4_HAS_MMA
#define MULTIPLY(acc, a, w) acc = mma_us(a, w, acc)
#else
/* Elsewhere the fragments are exchanged through local memory: for tests of everything else. */
static int4 exchange_mma(__local uint (*words)[6], uint4 a, uint2 w, int4 acc) {
    const int item = (int)get_local_id(0), warp = item / 32 * 32;
    const int g = item % 32 / 4, t = item % 4;
    words[item][0] = a.x;
    words[item][1] = a.y;
    words[item][2] = a.z;
    words[item][3] = a.w;
    words[item][4] = w.x;
    words[item][5] = w.y;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = 0; k < 4; k++) {
        __local const uint *row = words[warp + g * 4 + k];
        __local const uint *left = words[warp + 2 * t * 4 + k];
        __local const uint *right = words[warp + (2 * t + 1) * 4 + k];
        acc.x = dot4_portable(row[2], left[5], dot4_portable(row[0], left[4], acc.x));
        acc.y = dot4_portable(row[2], right[5], dot4_portable(row[0], right[4], acc.y));
        acc.z = dot4_portable(row[3], left[5], dot4_portable(row[1], left[4], acc.z));
        acc.w = dot4_portable(row[3], right[5], dot4_portable(row[1], right[4], acc.w));
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return acc;
}
#define MULTIPLY(acc, a, w) acc = exchange_mma(exchange, a, w, acc)
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
conv2d_int8_mma(__global const uchar *x, __global const uint *weights, __global const int *channels,
                __global const uchar *residual, __global uchar *y,
                __global const conv_int8 *shape) {
    __local uint a[BM][BK + 4];
    __local uint b[BK][BN + 8];
    __local int sums[BM][BN + 4];
#if !DOT4_HAS_MMA
    __local uint exchange[ITEMS][6];
#endif
    const conv_int8 s = *shape;
    const int item = (int)get_local_id(0), warp = item / 32, g = item % 32 / 4, t = item % 4;
    const int block = (int)get_group_id(0), m0 = (int)get_group_id(1) * BM;
    const int group = block / s.group_blocks, column = (block - group * s.group_blocks) * BN;
    const int depth = s.depth / 4, words = s.kh * s.kw * depth;
    const int row = warp / 2 * 16 * MT, channel = warp % 2 * 8 * NT;
    __global const uchar *xg = x + group * s.depth;
    __global const uint *w = weights + (long)block * words * BN;

    int4 acc[MT][NT];
#pragma unroll
    for (int j = 0; j < NT; j++) {
        __global const int *start = channels + block * BN + channel + j * 8 + 2 * t;
#pragma unroll
        for (int i = 0; i < MT; i++)
            acc[i][j] = (int4)(start[0], start[1], start[0], start[1]);
    }
    /* An item fetches word item % BK of rows item / BK, + ITEMS / BK, ... */
    const int fetch_k = item % BK, fetch_row = item / BK;
    first_pixel from[A_WORDS];
    uint next_a[A_WORDS], next_b[B_WORDS];
#pragma unroll
    for (int i = 0; i < A_WORDS; i++)
        from[i] = locate(min(m0 + fetch_row + i * (ITEMS / BK), s.pixels - 1), &s);
#define FETCH(k0)                                                                                  \
    do {                                                                                           \
        _Pragma("unroll") for (int i = 0; i < A_WORDS; i++) next_a[i] =                            \
            (k0) + fetch_k < words ? input_word(xg, from[i], (k0) + fetch_k, depth, &s) : 0u;      \
        _Pragma("unroll") for (int i = 0; i < B_WORDS; i++) {                                      \
            const int at = item + i * ITEMS;                                                       \
            next_b[i] = (k0) + at / BN < words ? w[(long)(k0)*BN + at] : 0u;                       \
        }                                                                                          \
    } while (0)

    FETCH(0);
    for (int k0 = 0; k0 < words; k0 += BK) {
#pragma unroll
        for (int i = 0; i < A_WORDS; i++)
            a[fetch_row + i * (ITEMS / BK)][fetch_k] = next_a[i];
#pragma unroll
        for (int i = 0; i < B_WORDS; i++)
            b[(item + i * ITEMS) / BN][(item + i * ITEMS) % BN] = next_b[i];
        barrier(CLK_LOCAL_MEM_FENCE);
        if (k0 + BK < words)
            FETCH(k0 + BK);
#pragma unroll
        for (int k = 0; k < BK; k += 8) {
            uint2 columns[NT];
#pragma unroll
            for (int j = 0; j < NT; j++) {
                const int c = channel + j * 8 + g;
                columns[j] = (uint2)(b[k + t][c], b[k + 4 + t][c]);
            }
#pragma unroll
            for (int i = 0; i < MT; i++) {
                __local const uint *top = a[row + i * 16 + g] + k + t;
                __local const uint *bottom = a[row + i * 16 + 8 + g] + k + t;
                const uint4 rows = (uint4)(top[0], bottom[0], top[4], bottom[4]);
#pragma unroll
                for (int j = 0; j < NT; j++)
                    MULTIPLY(acc[i][j], rows, columns[j]);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < NT; j++) {
            const int r = row + i * 16 + g, c = channel + j * 8 + 2 * t;
            sums[r][c] = acc[i][j].x;
            sums[r][c + 1] = acc[i][j].y;
            sums[r + 8][c] = acc[i][j].z;
            sums[r + 8][c + 1] = acc[i][j].w;
        }
    barrier(CLK_LOCAL_MEM_FENCE);

    const int stride = s.blocks * BN;
    for (int i = item; i < BM * BN / 4; i += ITEMS) {
        const int r = i / (BN / 4), c = i % (BN / 4) * 4, left = s.group_oc - column - c;
        const long m = m0 + r, to = group * s.group_oc + column + c;
        __global const int *table = channels + block * BN + c;
        const int4 sum = vload4(0, &sums[r][c]);
        if (m >= s.pixels || left <= 0)
            continue;
        if (s.epilogue.float_output)
            store_reals4(int8_real4(sum, table, stride, s.epilogue), left,
                         (__global float *)y + m * s.oc + to);
        else
            codes_store4(int8_code4(sum, table, stride,
                                    residual ? residual + m * s.out_pitch + to : residual,
                                    s.epilogue),
                         left, y + m * s.out_pitch + to);
    }
}

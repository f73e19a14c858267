/* int8 convolution, GPU schedule (see conv_int8.h): an implicit matrix product over taps.
 *
 * A work-group of TN x TM work-items computes BM pixels x BN channels, BK words of 4 inputs at a
 * time from local memory; a work-item RM x RN of them, interleaved so that neighbours read and
 * write neighbouring words:
 *
 *     rows      i * TM + ty                                   i < RM
 *     channels  j * 4 * TN + 4 * tx .. + 3                    j < RN / 4
 *
 * Weights are packed with NR = BN, STEP = 4. */
#include "conv_int8_gather.h"
#include "dot4.h"
#include "int8_epilogue.h"

#define TM 8
#define TN 8
#ifndef RM /* rows of a work-item: 4, 8 */
#define RM 8
#endif
#ifndef RN /* channels of a work-item, a multiple of 4: 4, 8 */
#define RN 8
#endif
#ifndef BK /* words of a step: 8, 16 */
#define BK 8
#endif
#define BM (TM * RM)
#define BN (TN * RN)

__kernel __attribute__((reqd_work_group_size(TN, TM, 1))) void
conv2d_int8_group(__global const uchar *x, __global const uint *weights,
                  __global const int *channels, __global const uchar *residual, __global uchar *y,
                  __global const conv_int8 *shape) {
    __local uint a[BK][BM + 1];
    __local uint b[BK][BN];
    const conv_int8 s = *shape;
    const int tx = (int)get_local_id(0), ty = (int)get_local_id(1), item = ty * TN + tx;
    const int block = (int)get_group_id(0), m0 = (int)get_group_id(1) * BM;
    const int group = block / s.group_blocks, column = (block - group * s.group_blocks) * BN;
    const int depth = s.depth / 4, words = s.kh * s.kw * depth;
    __global const uchar *xg = x + group * s.depth;
    __global const uint *w = weights + (long)block * words * BN;
    int acc[RM][RN];

#pragma unroll
    for (int j = 0; j < RN; j++) {
        const int start = channels[block * BN + j / 4 * 4 * TN + 4 * tx + j % 4];
#pragma unroll
        for (int i = 0; i < RM; i++)
            acc[i][j] = start;
    }
    /* An item fetches word item % BK of rows item / BK, + TM * TN / BK, ... */
    const int fetch_k = item % BK;
    first_pixel fetch[BM * BK / (TM * TN)];
#pragma unroll
    for (int i = 0; i < BM * BK / (TM * TN); i++)
        fetch[i] = locate(min(m0 + item / BK + i * (TM * TN / BK), s.pixels - 1), &s);

    for (int k0 = 0; k0 < words; k0 += BK) {
#pragma unroll
        for (int i = 0; i < BM * BK / (TM * TN); i++)
            a[fetch_k][item / BK + i * (TM * TN / BK)] =
                k0 + fetch_k < words ? input_word(xg, fetch[i], k0 + fetch_k, depth, &s) : 0u;
#pragma unroll
        for (int i = 0; i < BK * BN / (TM * TN); i++) {
            const int at = item + i * TM * TN;
            b[at / BN][at % BN] = k0 + at / BN < words ? w[(long)k0 * BN + at] : 0u;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int k = 0; k < BK; k++) {
            uint rows[RM], columns[RN];
#pragma unroll
            for (int i = 0; i < RM; i++)
                rows[i] = a[k][i * TM + ty];
#pragma unroll
            for (int j = 0; j < RN; j++)
                columns[j] = b[k][j / 4 * 4 * TN + 4 * tx + j % 4];
#pragma unroll
            for (int i = 0; i < RM; i++)
#pragma unroll
                for (int j = 0; j < RN; j++)
                    acc[i][j] = dot4_us(rows[i], columns[j], acc[i][j]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const int stride = s.blocks * BN;
#pragma unroll
    for (int j = 0; j < RN; j += 4) {
        const int c = j * TN + 4 * tx, left = s.group_oc - column - c;
        __global const int *channel = channels + block * BN + c;
#pragma unroll
        for (int i = 0; i < RM; i++) {
            const int m = m0 + i * TM + ty;
            const int4 sum = (int4)(acc[i][j], acc[i][j + 1], acc[i][j + 2], acc[i][j + 3]);
            if (m < s.pixels && left > 0) {
                const long to = group * s.group_oc + column + c;
                if (s.epilogue.float_output)
                    store_reals4(int8_real4(sum, channel, stride, s.epilogue), left,
                                 (__global float *)y + (long)m * s.oc + to);
                else
                    codes_store4(
                        int8_code4(sum, channel, stride,
                                   residual ? residual + (long)m * s.out_pitch + to : residual,
                                   s.epilogue),
                        left, y + (long)m * s.out_pitch + to);
            }
        }
    }
}

/* int8 convolution on NVIDIA's tensor cores (see conv_int8.h and section 3 of dot4.h): a matrix
 * product of the pixels' patches (never stored, see gather.h) with the packed weights.
 *
 * A work-group of WM x WN warps computes BM pixels x BN channels, a warp MT x NT tiles of 16 pixels
 * x 8 channels of them. The operands pass through a ring of STAGES stages in local memory, each BK
 * inputs deep and filled by asynchronous copies STAGES - 1 steps ahead:
 *
 *     a [BK / 16][BM]    chunks of 16 inputs; rows of `a` are permuted within 8 so that neither
 *     b [BK / 16][BN]    its copies nor its loads, 8 chunks at a time, meet in a bank
 *
 * Weights are packed [blocks][K / 16][BN][16], K a multiple of CONV_INT8_MMA_PAD, with channels in
 * an order in which a work-item's sums of four neighbouring tiles are those of 8 neighbouring
 * channels: column 2t + e of tile q of four is channel 8t + 2q + e. */
#include "conv_int8_group.h"
#include "mma_stand_in.h"
#include "unroll.h"

#ifndef MT /* 16-row tiles of a warp: 1, 2, 4 */
#define MT 2
#endif
#ifndef NT /* 8-channel tiles of a warp: 4, 8 */
#define NT 4
#endif
#ifndef WM /* warps above each other */
#define WM 2
#endif
#ifndef WN /* warps side by side */
#define WN 2
#endif
#ifndef STAGES /* 2, 3, 4 */
#define STAGES 3
#endif
#ifndef VEC /* words that a copy takes: 4 where they lie in one tap and are aligned, else 1 */
#define VEC 1
#endif
#ifndef BK /* inputs of a stage: 64, 128; divides CONV_INT8_MMA_PAD */
#define BK 64
#endif
#define CHUNKS (BK / 16)
#define ITEMS (32 * WM * WN)
#define BM (16 * MT * WM)
#define BN (8 * NT * WN)
#define A_CHUNKS (BM * CHUNKS / ITEMS) /* that a work-item copies */
#define B_CHUNKS (BN * CHUNKS / ITEMS)

#if VEC == 4
#define COPY(to, from) copy_async16(to, from)
#else
#define COPY(to, from) copy_async4(to, from)
#endif

/* Chunk k of a row in `a`. Eight copies at a time are CHUNKS chunks of 8 / CHUNKS rows. */
static inline int a_at(int k, int row) {
    return k * BM + (row ^ k * (8 / CHUNKS));
}

/* Queues the copies of a stage. rows: of chunk item % CHUNKS, every ITEMS / CHUNKS-th row. */
static inline void fetch(__global const uint *x, const gather_row *rows, gather_step step,
                         __global const uint *outside, const gather *g,
                         __global const uint4 *weights, __local uint4 *a, int item) {
UNROLL
    for (int k = 0; k < 4; k += VEC) {
        const long offset = gather_offset(step, g);
UNROLL
        for (int i = 0; i < A_CHUNKS; i++) {
            const int to = a_at(item % CHUNKS, item / CHUNKS + i * (ITEMS / CHUNKS));
            COPY((__local uint *)(a + to) + k,
                 gather_inside(rows[i], step, g) ? x + rows[i].at + offset : outside);
        }
        gather_advance(&step, VEC, g);
    }
UNROLL
    for (int i = 0; i < B_CHUNKS; i++)
        copy_async16((__local uint *)(a + CHUNKS * BM + item + i * ITEMS),
                     (__global const uint *)(weights + item + i * ITEMS));
}

/* acc += the product of a stage. row, column: the warp's first. */
static inline void multiply(__local const uint4 *a, int row, int column, int item,
                            __local uint *exchange, int4 (*acc)[NT]) {
    __local const uint4 *b = a + CHUNKS * BM;
    const int lane = item % 32;
UNROLL
    for (int k = 0; k < CHUNKS; k += 2) {
        uint4 rows[MT], columns[NT / 2];
#if DOT4_HAS_MMA
#define LOAD(ROW) mma_load(ROW(lane))
#else
        const int g = lane / 4, t = lane % 4;
#define LOAD(ROW) STAND_IN_LOAD(ROW, g, t)
#endif
#define A_ROW(l) (a + a_at(k + (l) / 16, row + i * 16 + (l) % 16))
#define B_ROW(l) (b + (k + (l) / 8 % 2) * BN + column + j * 16 + (l) / 16 * 8 + (l) % 8)
UNROLL
        for (int i = 0; i < MT; i++)
            rows[i] = LOAD(A_ROW);
UNROLL
        for (int j = 0; j < NT / 2; j++)
            columns[j] = LOAD(B_ROW);
#if DOT4_HAS_MMA
UNROLL
        for (int j = 0; j < NT; j++)
UNROLL
            for (int i = 0; i < MT; i++)
                acc[i][j] = mma_us(rows[i], j % 2 ? columns[j / 2].zw : columns[j / 2].xy,
                                   acc[i][j]);
#else
        enum { PITCH = 4 * MT + 2 * NT };
        for (int i = 0; i < MT; i++)
            vstore4(rows[i], i, exchange + item * PITCH);
        for (int j = 0; j < NT / 2; j++)
            vstore4(columns[j], MT + j, exchange + item * PITCH);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int i = 0; i < MT; i++)
            for (int j = 0; j < NT; j++)
                acc[i][j] = stand_in_mma(exchange + item / 32 * 32 * PITCH, PITCH, 4 * i,
                                         4 * MT + 2 * j, g, t, acc[i][j]);
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
conv2d_int8_mma(__global const uchar *restrict x, __global const uint *restrict weights,
                __global const int *restrict channels, __global const uchar *residual,
                __global uchar *y, __global const conv_int8 *restrict shape) {
    __local uint4 ring[STAGES][CHUNKS * (BM + BN)];
#if DOT4_HAS_MMA
    __local uint *exchange = 0;
#else
    __local uint exchange[ITEMS * (4 * MT + 2 * NT)];
#endif
    const conv_int8 s = *shape;
    const int item = (int)get_local_id(0), warp = item / 32, t = item % 4;
    const int block = (int)get_group_id(0), m0 = (int)get_group_id(1) * BM;
    const int row = warp / WN * 16 * MT, column = warp % WN * 8 * NT;
    const gather g = int8_gather(&s);
    const int inputs = g.taps_h * g.taps_w * s.depth, steps = (inputs + BK - 1) / BK;
    const int chunks = (inputs + CONV_INT8_MMA_PAD - 1) / CONV_INT8_MMA_PAD *
                       (CONV_INT8_MMA_PAD / 16);
    __global const uint4 *w = (__global const uint4 *)weights + (long)block * chunks * BN;

    int4 acc[MT][NT];
UNROLL
    for (int j = 0; j < NT; j++) {
        __global const int *start =
            channels + block * BN + column + j / 4 * 32 + 8 * t + j % 4 * 2;
UNROLL
        for (int i = 0; i < MT; i++)
            acc[i][j] = (int4)(start[0], start[1], start[0], start[1]);
    }
    gather_row rows[A_CHUNKS];
UNROLL
    for (int i = 0; i < A_CHUNKS; i++)
        rows[i] = int8_row(m0 + item / CHUNKS + i * (ITEMS / CHUNKS), block / s.group_blocks, &s);
    gather_step step = gather_first(item % CHUNKS * 4, &g);
    for (int n = 1 - STAGES; n < steps; n++) {
        if (n >= 0) {
            COPY_ASYNC_WAIT(STAGES - 2);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (n + STAGES - 1 < steps) {
            fetch((__global const uint *)x, rows, step, shape->outside, &g, w,
                  ring[(n + STAGES - 1) % STAGES], item);
            gather_advance(&step, BK / 4, &g);
            w += CHUNKS * BN;
        }
        copy_async_commit();
        if (n >= 0)
            multiply(ring[n % STAGES], row, column, item, exchange, acc);
    }

    const conv_int8 end = *shape; /* read anew: registers are scarce before */
    const int stride = end.blocks * BN;
    const bool whole =
        !end.epilogue.float_output && end.out_pitch % 8 == 0 && end.group_oc % 8 == 0;
UNROLL
    for (int j = 0; j < NT; j += 4) {
UNROLL
        for (int i = 0; i < MT; i++) {
            const long m = m0 + row + i * 16 + item % 32 / 4;
            const int c = column + j * 8 + 8 * t;
            int4 *sums = acc[i] + j;
            int8_store8((int4)(sums[0].xy, sums[1].xy), (int4)(sums[2].xy, sums[3].xy),
                        int8_locate(m, block, c, BN, &end, channels), stride, whole, &end.epilogue,
                        residual, y);
            int8_store8((int4)(sums[0].zw, sums[1].zw), (int4)(sums[2].zw, sums[3].zw),
                        int8_locate(m + 8, block, c, BN, &end, channels), stride, whole,
                        &end.epilogue, residual, y);
        }
    }
}

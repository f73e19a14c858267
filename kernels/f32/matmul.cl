/* Matrix products y = p q of batches: y (B0, B1, B2, R, S) dense, of p (R, T) and q (T, S) of any
 * strides. Batches have strides of their own in p and q, 0 where one is used for all; further ones,
 * (A0, A1, A2), are added up. Every element adds its products in one order: of those, then of T. */
#include "elementwise.h"
#include "unroll.h"

#pragma OPENCL FP_CONTRACT OFF

#define PRODUCT                                                                                    \
    int B0, int B1, int B2, int pb0, int pb1, int pb2, int qb0, int qb1, int qb2, int A0, int A1,  \
        int A2, int pa0, int pa1, int pa2, int qa0, int qa1, int qa2, int R, int S, int T, int pr, \
        int pt, int qt, int qs, int accumulate

/* Where batch `batch` begins, and the `a`-th of those that are added up. */
#define BATCH_AT(X, batch)                                                                         \
    ((batch) % B2 * X##b2 + (batch) / B2 % B1 * X##b1 + (batch) / B2 / B1 * X##b0)
#define ADDED_AT(X, a) ((a) % A2 * X##a2 + (a) / A2 % A1 * X##a1 + (a) / A2 / A1 * X##a0)

#ifdef CLQ_SCHEDULE_CPU

/* Rows of a tile, of 16 columns or 1; with AVX2 its accumulators fill the registers. */
#define TILE 6

#define LOAD_Q16(at)                                                                               \
    (qs == 1 ? vload16(0, q + (at))                                                                \
             : (float16)(Q(at, 0), Q(at, 1), Q(at, 2), Q(at, 3), Q(at, 4), Q(at, 5), Q(at, 6),     \
                         Q(at, 7), Q(at, 8), Q(at, 9), Q(at, 10), Q(at, 11), Q(at, 12), Q(at, 13), \
                         Q(at, 14), Q(at, 15)))
#define Q(at, i) q[(at) + (i)*qs]
#define LOAD_Q1(at) q[at]

#define TILE_OF(W)                                                                                 \
    {                                                                                              \
        float##W sum[TILE];                                                                        \
        _Pragma("unroll") for (int i = 0; i < TILE; i++) {                                         \
            sum[i] = (float##W)(0.0f);                                                             \
        }                                                                                          \
        for (int a = 0; a < added; a++) {                                                          \
            int p_at = BATCH_AT(p, batch) + ADDED_AT(p, a);                                        \
            int q_at = BATCH_AT(q, batch) + ADDED_AT(q, a) + s * qs;                               \
            for (int t = 0; t < T; t++, p_at += pt, q_at += qt) {                                  \
                const float##W v = LOAD_Q##W(q_at);                                                \
                _Pragma("unroll") for (int i = 0; i < TILE; i++) {                                 \
                    sum[i] = fma((float##W)(p[p_at + row[i]]), v, sum[i]);                         \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        _Pragma("unroll") for (int i = 0; i < TILE; i++) {                                         \
            if (r + i < R) {                                                                       \
                __global float *to = y + (batch * R + r + i) * S + s;                              \
                STORE##W(accumulate ? LOAD##W(to) + sum[i] : sum[i], to);                          \
            }                                                                                      \
        }                                                                                          \
    }

/* A unit is a tile of 16 columns, or of those that are left. */
__kernel void matmul_f32(__global const float *p, __global const float *q, __global float *y,
                         PRODUCT) {
    const int rows = (R + TILE - 1) / TILE, columns = (S + 15) / 16, added = A0 * A1 * A2;
    long unit, end;
    clq_share((long)B0 * B1 * B2 * rows * columns, 1, &unit, &end);
    for (; unit < end; unit++) {
        const int first = (int)(unit % columns) * 16, r = (int)(unit / columns % rows) * TILE;
        const int batch = (int)(unit / columns / rows);
        int row[TILE];
        _Pragma("unroll") for (int i = 0; i < TILE; i++) {
            row[i] = min(r + i, R - 1) * pr;
        }
        int s = first;
        if (s + 16 <= S) {
            TILE_OF(16)
        } else {
            for (; s < S; s++) {
                TILE_OF(1)
            }
        }
    }
}

#else

/* A work-group makes SIDE x SIDE elements from tiles of both factors. */
#define SIDE 16

__kernel void matmul_f32(__global const float *p, __global const float *q, __global float *y,
                         PRODUCT) {
    __local float p_tile[SIDE][SIDE + 1], q_tile[SIDE][SIDE + 1];
    const int s = get_global_id(0), r = get_global_id(1), batch = get_global_id(2);
    const int x = get_local_id(0), z = get_local_id(1), added = A0 * A1 * A2;
    float sum = 0.0f;
    for (int a = 0; a < added; a++) {
        const int p_at = BATCH_AT(p, batch) + ADDED_AT(p, a);
        const int q_at = BATCH_AT(q, batch) + ADDED_AT(q, a);
        for (int t = 0; t < T; t += SIDE) {
            p_tile[z][x] = r < R && t + x < T ? p[p_at + r * pr + (t + x) * pt] : 0.0f;
            q_tile[z][x] = s < S && t + z < T ? q[q_at + (t + z) * qt + s * qs] : 0.0f;
            barrier(CLK_LOCAL_MEM_FENCE);
            UNROLL for (int k = 0; k < SIDE; k++) {
                sum = fma(p_tile[z][k], q_tile[k][x], sum);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    }
    if (r < R && s < S) {
        __global float *to = y + (batch * R + r) * S + s;
        *to = accumulate ? *to + sum : sum;
    }
}

#endif

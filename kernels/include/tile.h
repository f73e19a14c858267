/* The register tile of the CPU schedule: MR rows x NR columns of sums held in vectors.
 *
 *            <------- NR = NV * VL ------->
 *        ^   acc[0]     ...     acc[NV - 1]        one step of the sum, for each row i:
 *     MR |   acc[NV]    ...                          acc[i][j] += broadcast(a_i) * b[j]
 *        v   ...                acc[MR * NV - 1]
 *
 * MR * NV accumulators, NV columns and a broadcast must fit the register file: 6 x 2 or 5 x 2 for
 * AVX2, SSE and NEON (16 registers of 8 or 4 floats); 6 x 4, 8 x 3 and others of conv_class.c for
 * AVX-512 (32 of 16). */
#ifndef CLQ_TILE_H
#define CLQ_TILE_H

#include "prefetch.h"

#ifndef MR /* rows: 1, 4, 5, 6, 7, 8, 12 */
#define MR 6
#endif
#ifndef NV /* vectors a row: 1..4 */
#define NV 2
#endif
#ifndef CLQ_SIMD_BYTES
#define CLQ_SIMD_BYTES 0
#endif
#ifndef VECTOR_BYTES /* 16, 32, 64: narrower than the registers where the channels ask for it */
#define VECTOR_BYTES CLQ_SIMD_BYTES
#endif

#if defined(CLQ_SCHEDULE_GPU)
#define VL 1
typedef float fvec;
#define FVEC_LOAD(p) (*(p))
#define FVEC_STORE(v, p) (*(p) = (v))
#elif VECTOR_BYTES >= 64
#define VL 16
typedef float16 fvec;
#define FVEC_LOAD(p) vload16(0, p)
#define FVEC_STORE(v, p) vstore16(v, 0, p)
typedef float8 half_vec;
#define HALF_LOAD(p) vload8(0, p)
#define HALF_STORE(v, p) vstore8(v, 0, p)
#elif VECTOR_BYTES == 32
#define VL 8
typedef float8 fvec;
#define FVEC_LOAD(p) vload8(0, p)
#define FVEC_STORE(v, p) vstore8(v, 0, p)
typedef float4 half_vec;
#define HALF_LOAD(p) vload4(0, p)
#define HALF_STORE(v, p) vstore4(v, 0, p)
#else
#define VL 4
typedef float4 fvec;
#define FVEC_LOAD(p) vload4(0, p)
#define FVEC_STORE(v, p) vstore4(v, 0, p)
#endif
#define NR (NV * VL)

/* One rounding where the processor does it in one instruction, never emulated. */
#if CLQ_SIMD_BYTES >= 32 || defined(FP_FAST_FMAF) || defined(__aarch64__)
#define FVEC_FMA(a, b, c) fma(a, b, c)
#else
#define FVEC_FMA(a, b, c) ((a) * (b) + (c))
#endif

#define UNROLLED_FOR(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)

#define TILE_CLEAR(acc) UNROLLED_FOR(i_, MR * NV) (acc)[i_] = (fvec)0

/* acc[i] += a * b[0..NR) for every row; `a` is an expression in the row's number i_. */
#define TILE_STEP(acc, a, b)                                                                       \
    {                                                                                              \
        fvec b_[NV];                                                                               \
        UNROLLED_FOR(j_, NV) b_[j_] = FVEC_LOAD((b) + j_ * VL);                                    \
        UNROLLED_FOR(i_, MR) {                                                                     \
            const fvec a_ = (fvec)(a);                                                             \
            UNROLLED_FOR(j_, NV)                                                                   \
            (acc)[i_ * NV + j_] = FVEC_FMA(a_, b_[j_], (acc)[i_ * NV + j_]);                       \
        }                                                                                          \
    }

/* acc[i] += sum over begin <= c < end of rows[i][c] * b[c], with pointers rows[MR] of either
 * address space and b of NR floats a step. Leaves b behind the last step. */
#define TILE_RUN(acc, rows, b, begin, end)                                                         \
    _Pragma("unroll 2") for (int c_ = (begin); c_ < (end); c_++, (b) += NR)                        \
        TILE_STEP(acc, (rows)[i_][c_], b)

/* Memory to ask for while tiles are computed: `share` floats further on every second step. Of weights
 * a line a vector at each, as few rows of tiles have no time to leave lines out. */
typedef struct tile_ahead {
    __global const float *at;
    int share;
} tile_ahead;

/* `floats` floats within `steps` steps. */
static inline tile_ahead plan_tile_ahead(__global const float *at, int floats, int steps) {
    const tile_ahead a = {at, (int)(2 * (long)floats / max(steps, 1)) + (floats > 0)};
    return a;
}

/* TILE_RUN that asks for memory at two places. */
#define TILE_RUN_AHEAD(acc, rows, b, begin, end, ahead0, ahead1)                                   \
    {                                                                                              \
        int c_ = (begin);                                                                          \
        for (; c_ + 1 < (end); c_ += 2, (b) += 2 * NR) {                                           \
            UNROLLED_FOR(j_, NV) PREFETCH((ahead0).at + j_ * (ahead0).share / NV);                 \
            PREFETCH((ahead1).at);                                                                 \
            (ahead0).at += (ahead0).share;                                                         \
            (ahead1).at += (ahead1).share;                                                         \
            TILE_STEP(acc, (rows)[i_][c_], b)                                                      \
            TILE_STEP(acc, (rows)[i_][c_ + 1], (b) + NR)                                           \
        }                                                                                          \
        if (c_ < (end)) {                                                                          \
            TILE_STEP(acc, (rows)[i_][c_], b)                                                      \
            (b) += NR;                                                                             \
        }                                                                                          \
    }

#endif

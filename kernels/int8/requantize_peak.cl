/* How many int32 sums a second become u8 codes: the end of an int8 convolution alone, on sums that
 * are in registers and results that stay in the first cache. */
#include "int8_codes.h"
#define MR 6
#define NV (DOTV_LANES == 16 ? 4 : 2)
#include "int8_tile.h"

#define TURNS 4 /* places for results, so that none can be left in a register */

#if defined(CLQ_SCHEDULE_CPU) && INT8_TILE
#define WIDTH DOTV_LANES
#define TOGETHER (MR * NV)
typedef dotv_acc peak_sums;
#else
#define WIDTH 4
#define TOGETHER 4
typedef int4 peak_sums;
#endif

CLQ_INLINE void requantize(const peak_sums *sums, float factor, __global uchar *to) {
#if defined(CLQ_SCHEDULE_CPU) && INT8_TILE
    const tile_epilogue e = {dotv_bounds_of(3, 0, 255)};
    dotv_real factors[NV];
#pragma unroll
    for (int v = 0; v < NV; v++)
        factors[v] = factor;
    finish_tile(sums, factors, to, NV * WIDTH, MR, &e);
#else
#pragma unroll
    for (int i = 0; i < TOGETHER; i++)
        codes_store4(clq_requantize_float4(sums[i], (float4)(factor), 3.0f, 0.0f, 255.0f), 4,
                     to + i * WIDTH);
#endif
}

/* sinks (global size, TURNS, TOGETHER, WIDTH); operations[0]: codes that one work-item makes an
 * iteration. */
__kernel void peak_requantize(__global uchar *sinks, __global int *operations, float factor,
                              int iterations) {
    __global uchar *own = sinks + (size_t)get_global_id(0) * TURNS * TOGETHER * WIDTH;
    peak_sums sums[TOGETHER];
#pragma unroll
    for (int i = 0; i < TOGETHER; i++)
        sums[i] = (peak_sums)(i + (int)get_global_id(0));
    for (int n = 0; n < iterations; n++) {
        requantize(sums, factor, own + n % TURNS * TOGETHER * WIDTH);
#pragma unroll
        for (int i = 0; i < TOGETHER; i++)
            sums[i] += 5; /* none is like another */
    }
    if (get_global_id(0) == 0) {
        operations[0] = TOGETHER * WIDTH;
    }
}

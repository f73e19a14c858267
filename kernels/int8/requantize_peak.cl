/* How many int32 sums a second become u8 codes: the end of an int8 convolution alone, on sums that
 * are in registers and results that stay in the first cache. */
#include "int8_codes.h"
#include "requantize.h"

#if defined(CLQ_SCHEDULE_GPU)
#define WIDTH 4
typedef int4 peak_sums;
typedef float4 peak_factors;
#define REQUANTIZE clq_requantize_float4
#define STORE(q, p) codes_store4(q, 4, p)
#else
#define WIDTH 16
typedef int16 peak_sums;
typedef float16 peak_factors;
#define REQUANTIZE clq_requantize_float16
#define STORE(q, p) codes_store16(q, p)
#endif
#define TOGETHER 4
#define TURNS 4 /* places for results, so that none can be left in a register */

/* sinks (global size, TURNS, TOGETHER, WIDTH); operations[0]: codes that one work-item makes an
 * iteration. */
__kernel void peak_requantize(__global uchar *sinks, __global int *operations, float factor,
                              int iterations) {
    __global uchar *own = sinks + (size_t)get_global_id(0) * TURNS * TOGETHER * WIDTH;
    const peak_factors factors = factor;
    peak_sums sums[TOGETHER];
#pragma unroll
    for (int i = 0; i < TOGETHER; i++) {
        sums[i] = (peak_sums)(i + (int)get_global_id(0));
    }
    for (int n = 0; n < iterations; n++) {
        __global uchar *to = own + n % TURNS * TOGETHER * WIDTH;
#pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
            const peak_sums q = REQUANTIZE(sums[i], factors, 3.0f, 0.0f, 255.0f);
            STORE(q, to + i * WIDTH);
            sums[i] ^= q; /* the next one waits for this one, and none is like another */
        }
    }
    if (get_global_id(0) == 0) {
        operations[0] = TOGETHER * WIDTH;
    }
}

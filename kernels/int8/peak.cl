/* How many int8 operations a second the device can do on a dot path: nothing but its steps, on
 * accumulators that never leave their registers and do not wait for each other. The data is all
 * zeros, which the compiler does not know and the hardware does not mind; each sum also serves as
 * an operand, so that no product can be moved out of the loop. */
#ifdef CLQ_DOT_AVX2
#define DOTV_SPLIT 1 /* the faster form */
#endif
#include "dot4.h"

#if defined(CLQ_SCHEDULE_CPU) && DOTV_SPLIT
/* Pairs of steps. Their weights come from memory as in the convolution: any will do. */
#define ACCUMULATORS 10
#define OPERATIONS (DOTV_LANES * DOTV_STEP * 2 * 2)
typedef dotv_acc peak_acc;
#define ANY_WEIGHTS ((__global const dotv_acc *)sinks)
#define STEP(acc, i)                                                                               \
    (acc[i] = dotv_pair(acc[i], acc[i], acc[i], ANY_WEIGHTS, ANY_WEIGHTS + 1))
#define SUM(v) ((v).s0 + (v).s3)
#elif defined(CLQ_SCHEDULE_CPU) &&                                                                 \
    (defined(CLQ_DOT_AVX512VNNI) || defined(CLQ_DOT_AVXVNNI))
/* Of 32 or 16 registers. */
#define ACCUMULATORS (DOTV_LANES == 16 ? 24 : 12)
#define OPERATIONS (DOTV_LANES * DOTV_STEP * 2)
typedef dotv_acc peak_acc;
#define STEP(acc, i) (acc[i] = dotv_step(acc[i], zeros[i % 2], acc[i]))
#define SUM(v) ((v).s0 + (v).s3)
#elif defined(CLQ_SCHEDULE_CPU)
/* In C weights are unpacked: once for the four rows of a tile, as a real tile does. */
#define ACCUMULATORS 8
#define OPERATIONS (DOTV_LANES * DOTV_STEP * 2)
typedef dotv_acc peak_acc;
#define STEP(acc, i) (acc[i] = dotv_step(acc[i], zeros[i / 2], weights[i % 2]))
#define SUM(v) ((v).s0 + (v).s3)
#elif DOT4_HAS_MMA
#define ACCUMULATORS 8
#define OPERATIONS (16 * 8 * 32 * 2 / 32) /* of a warp, shared by its work-items */
typedef int4 peak_acc;
#define STEP(acc, i) (acc[i] = mma_us(as_uint4(acc[i]), (uint2)(zeros[0], zeros[1]), acc[i]))
#define SUM(v) ((v).s0 + (v).s3)
#else
#define ACCUMULATORS 16
#define OPERATIONS 8
typedef int peak_acc;
#define STEP(acc, i) (acc[i] = dot4_us((uint)acc[i], (uint)zeros[i % 2], acc[i]))
#define SUM(v) (v)
#endif

/* sinks[global size, at least 16]: keeps the work alive; operations[0]: what one work-item does an iteration;
 * zero is 0. */
__kernel void peak_int8(__global int *sinks, __global int *operations, int zero, int iterations) {
    peak_acc acc[ACCUMULATORS];
    int zeros[4] = {zero, zero * 2, zero * 3, zero * 5};
#pragma unroll
    for (int i = 0; i < ACCUMULATORS; i++) {
        acc[i] = zero * (7 + i);
    }
    for (int n = 0; n < iterations; n++) {
#pragma unroll
        for (int repeat = 0; repeat < 4; repeat++) {
            peak_acc weights[2] = {acc[0], acc[1]};
            (void)weights;
#pragma unroll
            for (int i = 0; i < ACCUMULATORS; i++) {
                STEP(acc, i);
            }
        }
    }
    int sum = 0;
#pragma unroll
    for (int i = 0; i < ACCUMULATORS; i++) {
        sum += SUM(acc[i]);
    }
    sinks[get_global_id(0)] = sum;
    if (get_global_id(0) == 0) {
        operations[0] = 4 * ACCUMULATORS * OPERATIONS;
    }
}

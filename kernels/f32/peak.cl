/* How many FP32 operations a second the device can do: nothing but fma, on accumulators that never
 * leave their registers and do not wait for each other. */

/* CPU: one vector register each, 12 of 16 or 24 of 32. GPU: a scalar each. */
#if defined(CLQ_SCHEDULE_GPU)
typedef float peak_vector;
#define LANES 1
#define SUM(v) (v)
#elif CLQ_SIMD_BYTES == 64
typedef float16 peak_vector;
#define LANES 16
#define SUM(v) ((v).s0 + (v).sf)
#elif CLQ_SIMD_BYTES == 32
typedef float8 peak_vector;
#define LANES 8
#define SUM(v) ((v).s0 + (v).s7)
#else
typedef float4 peak_vector;
#define LANES 4
#define SUM(v) ((v).s0 + (v).s3)
#endif
#if CLQ_SIMD_BYTES == 64
#define ACCUMULATORS 24
#else
#define ACCUMULATORS 12
#endif

/* sinks[global size]: keeps the work alive; operations[0]: what one work-item does an iteration. */
__kernel void peak_f32(__global float *sinks, __global int *operations, float factor, float term,
                       int iterations) {
    peak_vector acc[ACCUMULATORS], x = factor, y = term;
#pragma unroll
    for (int i = 0; i < ACCUMULATORS; i++) {
        acc[i] = (float)i; /* all different, or one could stand for all */
    }
    for (int n = 0; n < iterations; n++) {
#pragma unroll
        for (int i = 0; i < 4 * ACCUMULATORS; i++) {
            acc[i % ACCUMULATORS] = fma(acc[i % ACCUMULATORS], x, y);
        }
    }
    float sum = 0;
#pragma unroll
    for (int i = 0; i < ACCUMULATORS; i++) {
        sum += SUM(acc[i]);
    }
    sinks[get_global_id(0)] = sum;
    if (get_global_id(0) == 0) {
        operations[0] = 4 * ACCUMULATORS * LANES * 2;
    }
}

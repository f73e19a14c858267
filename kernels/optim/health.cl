/* Checks a training step on the device, so that the host waits for nothing: is everything finite, and
 * by how much must the gradients shrink.
 *
 * Both reductions leave one number a part in partial (parts), in a fixed order. CPU schedule: a part is
 * one work-item's contiguous share. GPU schedule: a part is a work-group, added up pairwise. */
#include "elementwise.h"
#include "step_check.h"

#pragma OPENCL FP_CONTRACT OFF

#ifdef CLQ_SCHEDULE_CPU
#define PART_ATTRIBUTE
#define STORE_PART(T, JOIN, value) partial[get_global_id(0)] = (value);
#else
#ifndef GROUP
#define GROUP 128 /* a power of two: 64..256 */
#endif
#define PART_ATTRIBUTE __attribute__((reqd_work_group_size(GROUP, 1, 1)))
#define STORE_PART(T, JOIN, value)                                                                 \
    __local T values[GROUP];                                                                       \
    const uint item = get_local_id(0);                                                             \
    values[item] = (value);                                                                        \
    for (uint half_size = GROUP / 2; half_size > 0; half_size /= 2) {                              \
        barrier(CLK_LOCAL_MEM_FENCE);                                                              \
        if (item < half_size) {                                                                    \
            values[item] = JOIN(values[item], values[item + half_size]);                           \
        }                                                                                          \
    }                                                                                              \
    if (item == 0) {                                                                               \
        partial[get_group_id(0)] = values[0];                                                      \
    }
#endif
#define ADD(a, b) ((a) + (b))

/* Sum of squares of x (n). */
__kernel PART_ATTRIBUTE void health_squares(__global const float *x, uint n,
                                            __global float *partial) {
    float sum = 0.0f;
#ifdef CLQ_SCHEDULE_CPU
    enum { BLOCK = 1024 }; /* sums of sums round less than one long sum */
    long i, end;
    clq_share(n, 16, &i, &end);
    float16 sums = 0.0f;
    while (i + 16 <= end) {
        float16 block = 0.0f;
        for (const long stop = min(i + BLOCK, end); i + 16 <= stop; i += 16) {
            const float16 v = vload16(0, x + i);
            block += v * v;
        }
        sums += block;
    }
    const float8 s8 = sums.lo + sums.hi;
    const float4 s4 = s8.lo + s8.hi;
    sum = (s4.x + s4.z) + (s4.y + s4.w);
    for (; i < end; i++) {
        sum += x[i] * x[i];
    }
#else
    for (uint i = get_global_id(0); i < n; i += get_global_size(0)) {
        sum += x[i] * x[i];
    }
#endif
    STORE_PART(float, ADD, sum)
}

/* The bits of the largest |x| of x (n): they order like |x|, infinity and NaN last. */
__kernel PART_ATTRIBUTE void health_largest(__global const float *x, uint n,
                                            __global uint *partial) {
    uint largest = 0;
#ifdef CLQ_SCHEDULE_CPU
    long i, end;
    clq_share(n, 16, &i, &end);
    for (; i < end; i++) {
        largest = max(largest, as_uint(fabs(x[i])));
    }
#else
    for (uint i = get_global_id(0); i < n; i += get_global_size(0)) {
        largest = max(largest, as_uint(fabs(x[i])));
    }
#endif
    STORE_PART(uint, max, largest)
}

/* The outcome (step_check.h). squares (parts): health_squares of all gradients; input, states (parts):
 * health_largest of what else must be finite; sample_loss (N). Gradients are scaled to an L2 norm of
 * clip_norm when theirs is larger (0: never), as in PyTorch's clip_grad_norm_. One work-item. */
__kernel void health_check(__global const float *squares, __global const uint *input,
                           __global const uint *states, uint parts,
                           __global const float *sample_loss, uint N, float clip_norm,
                           __global float *result) {
    float sum = 0.0f, scale = 1.0f;
    uint largest = 0;
    if (get_global_id(0) != 0) {
        return;
    }
    for (uint p = 0; p < parts; p++) {
        sum += squares[p];
        largest = max(largest, max(input[p], states[p]));
    }
    for (uint n = 0; n < N; n++) {
        largest = max(largest, as_uint(fabs(sample_loss[n])));
    }
    const float norm = sqrt(sum);
    if (clip_norm > 0.0f) {
        scale = clamp(clip_norm / (norm + 1e-6f), FLT_MIN, 1.0f);
    }
    if (!isfinite(sum) || largest >= INFINITY_BITS) {
        scale = 0.0f;
    }
    result[STEP_SCALE] = scale;
    result[STEP_NORM] = norm;
    result[STEP_BROKEN] = 0.0f;
}

/* Puts `saved` (n words) back where nothing of the step may be kept. */
__kernel void health_restore(__global uint *restrict words, __global const uint *restrict saved,
                             __global const float *restrict result, uint n) {
    const uint i = get_global_id(0);
    if (i < n && result[STEP_SCALE] == 0.0f) {
        words[i] = saved[i];
    }
}

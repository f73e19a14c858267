/* Scales and offsets that are learned: equations (20) to (22) of docs/quantization.md.
 *
 *   learned (count)          all of them: scales, or PACT's clipping levels, and offsets
 *   bounds (count, 2)        of a scale or level: what it stays at or above, and nothing; of an
 *                            offset: the type's lowest and highest code
 *   scale_of (count)         of an offset: the entry of its scale; else -1
 *   places (values, 2)       of an activation: the entries of its scale and its offset, -1: none
 *   span (values)            what an activation's entry is divided by to get its scale
 *   CODE_TABLES              the tables of all values; `value` is the activation's entry */
#include "codes.h"

static inline float clq_learned_scale(float entry, float span, int max_shift) {
    const float exact = clq_divide(entry, span);
    return clq_limit_scale(CLQ_AT_LEAST(exact, CLQ_LEAST_SCALE), max_shift);
}

/* Moves what a step of the optimizer has put too far back to the bounds: scales and levels, then,
 * with `offsets`, these, so that 0 stays a code. */
__kernel void learned_limit(__global float *learned, __global const float *bounds,
                            __global const int *scale_of, int offsets, int max_shift, int count) {
    const int i = get_global_id(0);
    if (i >= count || (scale_of[i] >= 0) != (offsets != 0)) {
        return;
    }
    const float lowest = bounds[2 * i], highest = bounds[2 * i + 1];
    float x = learned[i];
    if (offsets) {
        const float s = clq_learned_scale(learned[scale_of[i]], 1.0f, max_shift);
        x = CLQ_AT_LEAST(x, -s * highest);
        x = CLQ_AT_MOST(x, -s * lowest);
    } else {
        x = CLQ_AT_LEAST(x, lowest);
    }
    learned[i] = x;
}

/* One work-item a value: the scale and zero point that its codes are made with. */
__kernel void learned_tables(__global const float *learned, __global const float *bounds,
                             __global const int *places, __global const float *span,
                             __global float *scale, __global int *zero_point, int max_shift,
                             int values) {
    const int v = get_global_id(0);
    if (v >= values || places[2 * v] < 0) {
        return;
    }
    const int offset = places[2 * v + 1];
    const float s = clq_learned_scale(learned[places[2 * v]], span[v], max_shift);
    scale[v] = s;
    if (offset >= 0) {
        zero_point[v] = (int)clq_quantize_code(-learned[offset], s, 0.0f, bounds[2 * offset],
                                               bounds[2 * offset + 1]);
    }
}

/* ---- gradients ---- */

/* SUMS_BEGIN declares a work-item's own sums, SUMS_END(partial) puts those of this piece (CPU
 * schedule: the work-item's, GPU schedule: the work-group's) into partial (pieces, 2): fixed orders
 * both. */
#ifdef CLQ_SCHEDULE_CPU
#define SUMS_BEGIN                                                                                 \
    float16 scale16 = 0.0f, offset16 = 0.0f;                                                       \
    float scale1 = 0.0f, offset1 = 0.0f
static inline float clq_sum_of_16(float16 v) {
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 c = b.lo + b.hi;
    return c.x + c.y;
}
#define SUMS_END(partial)                                                                          \
    (partial)[2 * get_global_id(0)] = clq_sum_of_16(scale16) + scale1;                             \
    (partial)[2 * get_global_id(0) + 1] = clq_sum_of_16(offset16) + offset1
#else
#define GROUP 128
#define SUMS_BEGIN                                                                                 \
    __local float group_[2][GROUP];                                                                \
    float scale1 = 0.0f, offset1 = 0.0f
#define SUMS_END(partial)                                                                          \
    const int item_ = get_local_id(0);                                                             \
    group_[0][item_] = scale1;                                                                     \
    group_[1][item_] = offset1;                                                                    \
    for (int half_ = GROUP / 2; half_ > 0; half_ /= 2) {                                           \
        barrier(CLK_LOCAL_MEM_FENCE);                                                              \
        if (item_ < half_) {                                                                       \
            group_[0][item_] += group_[0][item_ + half_];                                          \
            group_[1][item_] += group_[1][item_ + half_];                                          \
        }                                                                                          \
    }                                                                                              \
    if (item_ == 0) {                                                                              \
        (partial)[2 * get_group_id(0)] = group_[0][0];                                             \
        (partial)[2 * get_group_id(0) + 1] = group_[1][0];                                         \
    }
#endif

/* u is real / scale before rounding, x behind the activation, c within the codes, all less z. */
#define GRADIENT_BODY(ARG, W)                                                                      \
    {                                                                                              \
        const float##W u = clq_divide##W(LOAD##W(unrounded + i), (float##W)(unit));                \
        const float##W g = LOAD##W(dy + i);                                                        \
        const float##W x = CLQ_AT_MOST(CLQ_AT_LEAST(u, (float##W)(least)), (float##W)(most));      \
        const float##W c = CLQ_AT_MOST(CLQ_AT_LEAST(x, (float##W)(low)), (float##W)(high));        \
        const float##W rounding = clq_clamp_code##W(c, 0.0f, low, high) - x;                       \
        scale##W += g * (x == c ? rounding : c + (float##W)(rest));                                \
        offset##W += x == c ? (float##W)(0.0f) : g;                                                \
        STORE##W(u == c ? g : (float##W)(0.0f), dy + i);                                           \
    }

/* unrounded (count): the output before it was rounded and clamped, in its codes less z, or `reals`.
 * dy (count) becomes the gradient of the real output, 0 where it was clamped. */
__kernel void learned_gradient(__global const float *unrounded, __global float *dy,
                               CODE_TABLES, __global const float *learned, int offset,
                               __global float *partial, int reals, int value, int act, int count) {
    SUMS_BEGIN;
    const float s = scale[value], z = (float)zero_point[value], unit = reals ? s : 1.0f;
    const float low = (float)limits[2 * value] - z, high = (float)limits[2 * value + 1] - z;
    const float least = act == ACT_NONE ? -INFINITY : 0.0f;
    const float most = act == ACT_RELU6 ? clq_divide(6.0f, s) : INFINITY;
    const float rest = offset >= 0 ? clq_divide(-learned[offset], s) : 0.0f;
    FOR_EACH_CODE(count, GRADIENT_BODY, 0);
    SUMS_END(partial);
}

/* Adds the pieces' sums, times `factor`, to the gradients of a scale (with `level`: of PACT's
 * clipping level) and its offset. A scale that was rounded to a power of two follows its entry
 * straight through the rounding of the exponent. */
__kernel void learned_reduce(__global const float *partial, int pieces,
                             __global const float *learned, __global float *gradient,
                             __global const float *scale, int value, int at, int offset, int level,
                             float span, float factor) {
    float for_scale = 0.0f, for_offset = 0.0f;
    for (int i = 0; i < pieces; i++) {
        for_scale += partial[2 * i];
        for_offset += partial[2 * i + 1];
    }
    const float exact = clq_divide(learned[at], span);
    const float ratio = clq_divide(scale[value], exact);
    gradient[at] += (level ? for_offset : for_scale) * factor * ratio;
    if (offset >= 0) {
        gradient[offset] += for_offset * factor;
    }
}

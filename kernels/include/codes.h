/* Kernels on codes: activations of a fake-quantized network, floats holding q - z.
 *
 *   FOR_EACH_CODE(count, BODY, ARG)
 *
 * runs BODY(ARG, W) for every element `i` in 0 .. count-1; W is 16 (16 neighbours at once) or 1.
 *
 *   FOR_EACH_CHANNEL_CODE(count, channels, BODY, ARG)
 *
 * also has the element's channel `c` = i % channels. Per-channel tables are read at table + c and
 * repeat behind their end: they have channels + 16 entries, entry j being channel j % channels.
 *
 * CPU schedule: a work-item does one long piece. GPU schedule: neighbouring items do neighbouring
 * elements. */
#ifndef CLQ_CODES_H
#define CLQ_CODES_H

#include "elementwise.h"
#include "scales.h"

/* ---- one width or the other ---- */

typedef float float1;
typedef int int1;
#define LOAD_INT16(p) convert_float16(vload16(0, (p)))
#define LOAD_INT1(p) convert_float(*(p))
#define STORE_MASK16(m, p) vstore16(convert_uchar16((m)&1), 0, (p))
#define STORE_MASK1(m, p) (*(p) = (uchar)((m)&1))
#define LOAD_MASK16(p) (convert_int16(vload16(0, (p))) != 0)
#define LOAD_MASK1(p) (*(p) != 0)
#define clq_requantize_code1 clq_requantize_code
#define clq_quantize_code1 clq_quantize_code
#define clq_clamp_code1 clq_clamp_code
#define clq_add_code1 clq_add_code
#define clq_divide1 clq_divide

#ifdef CLQ_SCHEDULE_CPU
#define FOR_EACH_CODE(count, BODY, ARG)                                                            \
    do {                                                                                           \
        long i, end_;                                                                              \
        clq_share((count), 16, &i, &end_);                                                         \
        for (; i + 16 <= end_; i += 16) {                                                          \
            BODY(ARG, 16)                                                                          \
        }                                                                                          \
        for (; i < end_; i++) {                                                                    \
            BODY(ARG, 1)                                                                           \
        }                                                                                          \
    } while (0)
#define FOR_EACH_CHANNEL_CODE(count, channels, BODY, ARG)                                          \
    do {                                                                                           \
        long i, end_;                                                                              \
        clq_share((count), 16, &i, &end_);                                                         \
        const int turn_ = 16 % (channels);                                                         \
        int c = (int)(i % (channels));                                                             \
        for (; i + 16 <= end_; i += 16) {                                                          \
            BODY(ARG, 16)                                                                          \
            c += turn_;                                                                            \
            c -= c >= (channels) ? (channels) : 0;                                                 \
        }                                                                                          \
        for (; i < end_; i++) {                                                                    \
            BODY(ARG, 1)                                                                           \
            c = c + 1 < (channels) ? c + 1 : 0;                                                    \
        }                                                                                          \
    } while (0)
#else
#define FOR_EACH_CODE(count, BODY, ARG)                                                            \
    for (long i = get_global_id(0); i < (count); i += get_global_size(0)) {                        \
        BODY(ARG, 1)                                                                               \
    }
#define FOR_EACH_CHANNEL_CODE(count, channels, BODY, ARG)                                          \
    for (long i = get_global_id(0); i < (count); i += get_global_size(0)) {                        \
        const int c = (int)(i % (channels));                                                       \
        BODY(ARG, 1)                                                                               \
    }
#endif

/* What training keeps of an element for the backward pass: mask, or unrounded where that is not
 * NULL (learned_scales.cl). `wide` is `exact` rounded and clamped to one code beyond both bounds. */
#define KEEP(W, exact, wide, bounds, at)                                                           \
    if (unrounded) {                                                                               \
        STORE##W(exact, unrounded + (at));                                                         \
    } else {                                                                                       \
        STORE_MASK##W((wide >= (bounds).lo) & (wide <= (bounds).hi), mask + (at));                 \
    }

/* ---- a value's qparams, from the tables: scale and zero_point (values), and limits (values, 2),
 * the lowest and the highest code ---- */

#define CODE_TABLES                                                                                \
    __global const float *scale, __global const int *zero_point, __global const int *limits

enum { ACT_NONE, ACT_RELU, ACT_RELU6 }; /* clq_act */

/* Bounds of the centred code q - z of a value with this activation. */
typedef struct code_bounds {
    float lo, hi;
} code_bounds;

static inline code_bounds clq_code_bounds(CODE_TABLES, int value, int act) {
    const int lowest = limits[2 * value], highest = limits[2 * value + 1];
    const float z = (float)zero_point[value];
    const float top =
        act == ACT_RELU6 ? clq_relu6_code(scale[value], z, lowest, highest) : (float)highest;
    return (code_bounds){act == ACT_NONE ? (float)lowest - z : 0.0f, top - z};
}

/* ---- observing: the largest -x and the largest x of a value, both at least 0 ----
 *
 * `range` (values, 2) holds them as floats; as none is negative their bits order like integers.
 * RANGE_BEGIN declares a work-item's own, RANGE_ADD(W, x) widens it, RANGE_END(range, value) joins
 * it to the value's. */
#define RANGE_MAX(a, b) ((b) > (a) ? (b) : (a))
#define RANGE_ADD(W, x)                                                                            \
    do {                                                                                           \
        low##W = RANGE_MAX(low##W, -(x));                                                          \
        high##W = RANGE_MAX(high##W, (x));                                                         \
    } while (0)

static inline void clq_range_join(volatile __global float *range, int value, float low,
                                  float high) {
    volatile __global int *bits = (volatile __global int *)(range + 2 * value);
    atomic_max(bits, as_int(low));
    atomic_max(bits + 1, as_int(high));
}

#ifdef CLQ_SCHEDULE_CPU
static inline float clq_max_of_16(float16 v) {
    const float8 a = RANGE_MAX(v.lo, v.hi);
    const float4 b = RANGE_MAX(a.lo, a.hi);
    const float2 c = RANGE_MAX(b.lo, b.hi);
    return RANGE_MAX(c.x, c.y);
}
#define RANGE_BEGIN                                                                                \
    float16 low16 = 0.0f, high16 = 0.0f;                                                           \
    float low1 = 0.0f, high1 = 0.0f
#define RANGE_END(range, value)                                                                    \
    do {                                                                                           \
        const float most_low_ = clq_max_of_16(low16), most_high_ = clq_max_of_16(high16);          \
        clq_range_join((range), (value), RANGE_MAX(low1, most_low_),                               \
                       RANGE_MAX(high1, most_high_));                                              \
    } while (0)
#else
#define RANGE_BEGIN                                                                                \
    __local int group_[2];                                                                         \
    float low1 = 0.0f, high1 = 0.0f;                                                               \
    if (get_local_id(0) == 0) {                                                                    \
        group_[0] = group_[1] = 0;                                                                 \
    }                                                                                              \
    barrier(CLK_LOCAL_MEM_FENCE)
#define RANGE_END(range, value)                                                                    \
    do {                                                                                           \
        atomic_max(&group_[0], as_int(low1));                                                      \
        atomic_max(&group_[1], as_int(high1));                                                     \
        barrier(CLK_LOCAL_MEM_FENCE);                                                              \
        if (get_local_id(0) == 0) {                                                                \
            clq_range_join((range), (value), as_float(group_[0]), as_float(group_[1]));            \
        }                                                                                          \
    } while (0)
#endif

#endif

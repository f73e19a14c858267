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
#include "requantizer.h"
#include "scales.h"

/* ---- one width or the other ---- */

#define LOAD_INT16(p) vload16(0, (p))
#define LOAD_INT1(p) (*(p))
#define TO_INT16 convert_int16
#define TO_INT1 convert_int
#define TO_FLOAT16 convert_float16
#define TO_FLOAT1 convert_float
#define STORE_MASK16(m, p) vstore16(convert_uchar16((m)&1), 0, (p))
#define STORE_MASK1(m, p) (*(p) = (uchar)((m)&1))
#define LOAD_MASK16(p) (convert_int16(vload16(0, (p))) != 0)
#define LOAD_MASK1(p) (*(p) != 0)
#define clq_requantize_code1 clq_requantize_code
#define clq_quantize_code1 clq_quantize_code
#define clq_clamp_code1 clq_clamp_code
#define clq_add_code1 clq_add_code
#define clq_divide1 clq_divide
#define clq_fixed_code1 clq_fixed_code
#define clq_shift_code1 clq_shift_code
#define clq_add_fixed1 clq_add_fixed
#define clq_add_shift1 clq_add_shift
#define clq_mean_shift1 clq_mean_shift

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
 * NULL (learned_scales.cl). `wide` is `exact` rounded and clamped to one code beyond both bounds.
 */
#define KEEP(W, exact, wide, bounds, at)                                                           \
    if (unrounded) {                                                                               \
        STORE##W(exact, unrounded + (at));                                                         \
    } else {                                                                                       \
        STORE_MASK##W((wide >= (bounds).lo) & (wide <= (bounds).hi), mask + (at));                 \
    }

/* ---- codes less their zero points, by the requantizer of the program ----
 *
 *   CODE_OF_INTS(W, sum, m, lo, hi)      of sums that are ints; m is M of (1)..(3)
 *   CODE_OF_FLOATS(W, sum, m, lo, hi)    of sums that are whole floats
 *   CODE_OF_ADD(W, x, y, f, lo, hi)      (4) of codes; f is clq_add_factors
 *   CODE_OF_MEAN(W, sum, x_scale, y_scale, count, lo, hi)   (6s), and (1) and (2) of a mean
 *
 * Of floats a NaN stays one. */
#if CLQ_REQUANT == 0
#define CODE_OF_INTS(W, sum, m, lo, hi) clq_requantize_code##W(TO_FLOAT##W(sum), m, 0.0f, lo, hi)
#define CODE_OF_FLOATS(W, sum, m, lo, hi) clq_requantize_code##W(sum, m, 0.0f, lo, hi)
#define CODE_OF_ADD(W, x, y, f, lo, hi)                                                            \
    clq_add_code##W(x, as_float((f).a), y, as_float((f).b), 0.0f, lo, hi)
#else
#define KEEP_NAN(x, code) ((x) == (x) ? (code) : (x))
#define WHOLE(W, x)                                                                                \
    TO_INT##W(CLQ_AT_MOST(CLQ_AT_LEAST(x, (float##W)(-0x1p31f)), (float##W)(0x1.fffffep30f)))
#define CODE_OF_FLOATS(W, sum, m, lo, hi) KEEP_NAN(sum, CODE_OF_INTS(W, WHOLE(W, sum), m, lo, hi))
#define CODE_OF_ADD(W, x, y, f, lo, hi)                                                            \
    KEEP_NAN((x) + (y), TO_FLOAT##W(ADD_INTS(W, WHOLE(W, x), (f).a, WHOLE(W, y), (f).b, (f).shift, \
                                             0, (int)(lo), (int)(hi))))
#endif
#if CLQ_REQUANT == 1
#define CODE_OF_INTS(W, sum, m, lo, hi) clq_fixed_code##W(sum, m, lo, hi)
#elif CLQ_REQUANT == 2
#define CODE_OF_INTS(W, sum, m, lo, hi) clq_shift_code##W(sum, m, lo, hi)
#endif
#if CLQ_REQUANT == 2
#define CODE_OF_MEAN(W, sum, x_scale, y_scale, count, lo, hi)                                      \
    TO_FLOAT##W(clq_mean_shift##W(sum, count, clq_mean_shift_of(x_scale, y_scale), 0, (int)(lo),   \
                                  (int)(hi)))
#else
#define CODE_OF_MEAN(W, sum, x_scale, y_scale, count, lo, hi)                                      \
    CODE_OF_INTS(W, sum, (float##W)(clq_pool_factor(x_scale, y_scale, count)), lo, hi)
#endif

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

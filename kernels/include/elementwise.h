/* Loops for kernels that treat all elements of F32 arrays alike.
 *
 *   FOR_EACH(count, BODY, ARG)
 *
 * runs BODY(ARG, T, LOAD, STORE) for every `i` in 0 .. count-1: T is float16 or float, LOAD(p)
 * reads the T at p, STORE(v, p) writes it. CPU schedule: a work-item does one long piece, 16
 * elements at a time. GPU schedule: neighbouring work-items do neighbouring elements. Arrays have
 * less than 2^31 elements, so that indices fit an int where 64-bit division would be slow. */
#ifndef CLQ_ELEMENTWISE_H
#define CLQ_ELEMENTWISE_H

typedef float float1;
typedef int int1;
#define LOAD16(p) vload16(0, (p))
#define LOAD1(p) (*(p))
#define STORE16(v, p) vstore16((v), 0, (p))
#define STORE1(v, p) (*(p) = (v))

/* This work-item's share of `count` units, in multiples of `grain`: *begin <= unit < *end. */
#define clq_share(count, grain, begin, end)                                                        \
    clq_share_of(get_global_id(0), get_global_size(0), (count), (grain), (begin), (end))
static inline void clq_share_of(long item, long items, long count, long grain, long *begin,
                                long *end) {
    const long share = ((count + items - 1) / items + grain - 1) / grain * grain;
    *begin = min(share * item, count);
    *end = min(*begin + share, count);
}

#ifdef CLQ_SCHEDULE_CPU
#define FOR_EACH(count, BODY, ARG)                                                                 \
    do {                                                                                           \
        long i, end_;                                                                              \
        clq_share((count), 16, &i, &end_);                                                         \
        for (; i + 16 <= end_; i += 16) {                                                          \
            BODY(ARG, float16, LOAD16, STORE16)                                                    \
        }                                                                                          \
        for (; i < end_; i++) {                                                                    \
            BODY(ARG, float, LOAD1, STORE1)                                                        \
        }                                                                                          \
    } while (0)
#else
#define FOR_EACH(count, BODY, ARG)                                                                 \
    for (uint i = get_global_id(0); i < (uint)(count); i += get_global_size(0)) {                  \
        BODY(ARG, float, LOAD1, STORE1)                                                            \
    }
#endif

/* NaN stays NaN, so that divergence shows. */
#define CLQ_RELU(T, x) ((x) < (T)(0.0f) ? (T)(0.0f) : (x))
#define CLQ_RELU6(T, x) ((x) > (T)(6.0f) ? (T)(6.0f) : CLQ_RELU(T, x))

#endif

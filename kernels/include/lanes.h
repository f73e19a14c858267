/* Neighbouring pixels side by side: 8 in a vector on the CPU schedule, 1 on the GPU schedule. Code
 * written in these types computes the same bits on both. Comparisons of them choose with ?: and
 * join with &. */
#ifndef CLQ_LANES_H
#define CLQ_LANES_H

#ifdef CLQ_SCHEDULE_CPU
#define LANES 8
typedef float8 vfloat;
typedef int8 vint;
#define TO_VFLOAT(v) convert_float8(v)
#define TO_VINT(v) convert_int8(v)
#define LANE_NUMBERS ((int8)(0, 1, 2, 3, 4, 5, 6, 7))
#define SPREAD(v, array) vstore8((v), 0, (array)) /* to a private array of LANES elements */
#define FROM_LANES(READ, p, at)                                                                    \
    READ(p, (at).s0), READ(p, (at).s1), READ(p, (at).s2), READ(p, (at).s3), READ(p, (at).s4),      \
        READ(p, (at).s5), READ(p, (at).s6), READ(p, (at).s7)
#else
#define LANES 1
typedef float vfloat;
typedef int vint;
#define TO_VFLOAT(v) convert_float(v)
#define TO_VINT(v) convert_int(v)
#define LANE_NUMBERS 0
#define SPREAD(v, array) (*(array) = (v))
#define FROM_LANES(READ, p, at) READ(p, at)
#endif

#define ELEMENT_AT(p, at) (p)[at]
#define WORD_AT(p, at) as_int(vload4(0, (p) + (at)))

static inline vfloat gather_f32(__global const float *p, const vint at) {
    return (vfloat)(FROM_LANES(ELEMENT_AT, p, at));
}

static inline vint gather_u8(__global const uchar *p, const vint at) {
    return (vint)(FROM_LANES(ELEMENT_AT, p, at));
}

/* The four bytes from each p + at on, the first lowest. */
static inline vint gather_4u8(__global const uchar *p, const vint at) {
    return (vint)(FROM_LANES(WORD_AT, p, at));
}

#endif

/* Sums over axes: each of `outputs` = k0 k1 k2 elements of y is the sum of `terms` = r0 r1 r2
 * elements of x.
 *
 *   s0 .. s2, t0 .. t2   how far a step along k0 .. k2, r0 .. r2 is in x
 *   length               terms of a piece: y holds pieces one after the other, in each all outputs
 *
 * One of s2 and t2 is 1 where its axis has more than one element. The order of a sum follows from
 * the shape alone. */
#include "codes.h"

#define TERM_AT(r) ((long)((r) / (r1 * r2)) * t0 + (long)((r) / r2 % r1) * t1)

#ifdef CLQ_SCHEDULE_CPU
/* Terms from `begin` to `end` of W neighbours. */
#define SUM_NEIGHBOURS(W)                                                                          \
    float##W sum = 0.0f;                                                                           \
    int column = begin % r2, row1 = begin / r2 % r1;                                               \
    __global const float *p = from + TERM_AT(begin) + (long)column * t2;                           \
    for (int r = begin; r < end; r++) {                                                            \
        sum += LOAD##W(p);                                                                         \
        p += t2;                                                                                   \
        if (++column == r2) {                                                                      \
            column = 0;                                                                            \
            p += t1 - (long)r2 * t2;                                                               \
            if (++row1 == r1) {                                                                    \
                row1 = 0;                                                                          \
                p += t0 - (long)r1 * t1;                                                           \
            }                                                                                      \
        }                                                                                          \
    }
#endif

static inline float sum_of(__global const float *from, int begin, int end, int r1, int r2, int t0,
                           int t1, int t2) {
    float sum = 0.0f;
#ifdef CLQ_SCHEDULE_CPU
    float16 sums = 0.0f;
    for (int r = begin; r < end;) {
        const int column = r % r2, run = min(end - r, r2 - column);
        __global const float *p = from + TERM_AT(r) + (long)column * t2;
        int k = 0;
        if (t2 == 1) {
            for (; k + 16 <= run; k += 16) {
                sums += vload16(0, p + k);
            }
        }
        for (; k < run; k++) {
            sum += p[(long)k * t2];
        }
        r += run;
    }
    const float8 a = sums.lo + sums.hi;
    const float4 b = a.lo + a.hi;
    sum += b.x + b.y + b.z + b.w;
#else
    for (int r = begin; r < end; r++) {
        sum += from[TERM_AT(r) + (long)(r % r2) * t2];
    }
#endif
    return sum;
}

#define PUT(W, sum, to)                                                                            \
    STORE##W(accumulate ? LOAD##W(to) + (sum)*factor : (sum)*factor, to)

__kernel void sum_axes_f32(__global const float *x, __global float *y, int k0, int k1, int k2, int s0,
                           int s1, int s2, int r1, int r2, int t0, int t1, int t2, int terms,
                           int length, float factor, int accumulate) {
    const int pieces = (terms + length - 1) / length, outputs = k0 * k1 * k2;
#ifdef CLQ_SCHEDULE_CPU
    if (s2 == 1 && k2 >= 16) { /* 16 neighbours at a time */
        const int blocks = (k2 + 15) / 16, rows = k0 * k1;
        long unit, last;
        clq_share((long)pieces * rows * blocks, 1, &unit, &last);
        for (; unit < last; unit++) {
            const int block = unit % blocks, row = unit / blocks % rows, piece = unit / blocks / rows;
            const int begin = piece * length, end = min(terms, begin + length), c = block * 16;
            __global const float *row_at = x + (long)(row / k1) * s0 + (long)(row % k1) * s1;
            __global float *to = y + (long)piece * outputs + (long)row * k2;
            if (c + 16 <= k2) {
                __global const float *from = row_at + c;
                SUM_NEIGHBOURS(16)
                PUT(16, sum, to + c);
            } else {
                for (int k = c; k < k2; k++) {
                    __global const float *from = row_at + k;
                    SUM_NEIGHBOURS(1)
                    PUT(1, sum, to + k);
                }
            }
        }
        return;
    }
#endif
    long unit, last;
#ifdef CLQ_SCHEDULE_CPU
    clq_share((long)pieces * outputs, 1, &unit, &last);
    for (; unit < last; unit++) {
#else
    last = (long)pieces * outputs;
    for (unit = get_global_id(0); unit < last; unit += get_global_size(0)) {
#endif
        const int j = unit % outputs, begin = (int)(unit / outputs) * length;
        __global const float *from = x + (long)(j / (k1 * k2)) * s0 + (long)(j / k2 % k1) * s1 +
                                     (long)(j % k2) * s2;
        const float sum = sum_of(from, begin, min(terms, begin + length), r1, r2, t0, t1, t2);
        PUT(1, sum, y + unit);
    }
}

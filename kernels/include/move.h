/* Copies elements of x to places of y: transposing, slicing, padding, joining. What goes where is
 * the plan, ints that host/ops/move.c makes.
 *
 *   plan    AXES axes of y, outermost first, FIELDS ints each; then TO, FROM, ROW and PITCH
 *   COUNT   elements of y along this axis, TO_STEP apart; of the innermost one 1
 *   FIRST, LAST   x has something for elements FIRST <= i < LAST only; the others get the fill
 *   START, STEP   element i lies at START + i * STEP in x
 *   TABLE   where not 0: it lies at plan[TABLE + i], and a negative number is no place
 *   TO, FROM      where y and x begin
 *   ROW, PITCH    where they differ, y has rows of ROW elements PITCH apart, and what lies between
 *                 is made 0 with each row's last element
 *
 * Places of all axes are added up. The CPU schedule copies runs of the innermost axis; neighbouring
 * work-items of the GPU's make neighbouring elements. */
#ifndef CLQ_MOVE_H
#define CLQ_MOVE_H

#include "elementwise.h"

enum { COUNT, TO_STEP, FIRST, LAST, START, STEP, TABLE, FIELDS };
enum { AXES = 5, INNER = (AXES - 1) * FIELDS, TO = AXES * FIELDS, FROM, ROW, PITCH };

#ifdef CLQ_SCHEDULE_CPU
#define SPAN 4096 /* elements of the innermost axis that are copied at once, at most */
#else
#define SPAN 1
#endif

#define PLACE_INLINE static inline __attribute__((always_inline))

/* In x; negative: nowhere. */
PLACE_INLINE int place_of(__global const int *plan, int axis, int i) {
    __global const int *a = plan + axis * FIELDS;
    const int place = a[TABLE] ? plan[a[TABLE] + i] : a[START] + i * a[STEP];
    return i < a[FIRST] || i >= a[LAST] ? -1 : place;
}

/* Runs BODY for every piece of a row of y: elements begin .. stop - 1 of the innermost axis, for the
 * outer ones at `i`. */
#define FOR_EACH_PIECE(plan, BODY)                                                                 \
    do {                                                                                           \
        const int count1_ = plan[FIELDS], count2_ = plan[2 * FIELDS], count3_ = plan[3 * FIELDS];  \
        const int inner_ = plan[INNER], pieces_ = (inner_ + SPAN - 1) / SPAN;                      \
        long unit_, end_;                                                                          \
        clq_share((long)plan[0] * count1_ * count2_ * count3_ * pieces_, 1, &unit_, &end_);        \
        uint row_ = (uint)(unit_ / pieces_);                                                       \
        int piece_ = (int)(unit_ % pieces_);                                                       \
        int4 i;                                                                                    \
        i.w = (int)(row_ % count3_), row_ /= count3_;                                              \
        i.z = (int)(row_ % count2_), row_ /= count2_;                                              \
        i.y = (int)(row_ % count1_), i.x = (int)(row_ / count1_);                                  \
        for (; unit_ < end_; unit_++) {                                                            \
            const int begin = piece_ * SPAN, stop = min(begin + SPAN, inner_);                     \
            BODY                                                                                   \
            if (++piece_ == pieces_) {                                                             \
                piece_ = 0;                                                                        \
                if (++i.w == count3_) {                                                            \
                    i.w = 0;                                                                       \
                    if (++i.z == count2_) {                                                        \
                        i.z = 0;                                                                   \
                        if (++i.y == count1_) {                                                    \
                            i.y = 0;                                                               \
                            i.x++;                                                                 \
                        }                                                                          \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    } while (0)

/* Where the row's elements go in y. */
PLACE_INLINE long target_of(__global const int *plan, int4 i) {
    return plan[TO] + (long)i.x * plan[TO_STEP] + (long)i.y * plan[FIELDS + TO_STEP] +
           (long)i.z * plan[2 * FIELDS + TO_STEP] + (long)i.w * plan[3 * FIELDS + TO_STEP];
}

/* PUT(W, v, p) stores W elements, OF(W, v) is what becomes of them, one by one unless WIDE. */
#define MOVE_PIECE(T, PUT, OF, WIDE)                                                               \
    {                                                                                              \
        const int p0 = place_of(plan, 0, i.x), p1 = place_of(plan, 1, i.y);                        \
        const int p2 = place_of(plan, 2, i.z), p3 = place_of(plan, 3, i.w);                        \
        __global const int *inner = plan + INNER;                                                  \
        const bool nowhere = (p0 | p1 | p2 | p3) < 0;                                              \
        const int first = nowhere ? stop : clamp(inner[FIRST], begin, stop);                       \
        const int last = nowhere ? stop : clamp(inner[LAST], first, stop);                         \
        const long to = target_of(plan, i);                                                        \
        __global const T *from = x + (nowhere ? 0 : (long)plan[FROM] + p0 + p1 + p2 + p3);                      \
        int k = begin;                                                                             \
        for (; k < first; k++) {                                                                   \
            PUT(1, none, y + to + k);                                                              \
        }                                                                                          \
        if (inner[TABLE]) {                                                                        \
            __global const int *table = plan + inner[TABLE];                                       \
            for (; k < last; k++) {                                                                \
                PUT(1, table[k] < 0 ? none : OF(1, from[table[k]]), y + to + k);                      \
            }                                                                                      \
        } else if (inner[STEP] == 1 && WIDE) {                                                     \
            from += inner[START];                                                                  \
            for (; k + 16 <= last; k += 16) {                                                      \
                PUT(16, OF(16, vload16(0, from + k)), y + to + k);                                         \
            }                                                                                      \
            for (; k + 4 <= last; k += 4) {                                                        \
                PUT(4, OF(4, vload4(0, from + k)), y + to + k);                                           \
            }                                                                                      \
            for (; k < last; k++) {                                                                \
                PUT(1, OF(1, from[k]), y + to + k);                                                       \
            }                                                                                      \
        } else {                                                                                   \
            const int start = inner[START], step = inner[STEP];                                    \
            for (; k < last; k++) {                                                                \
                PUT(1, OF(1, from[start + k * step]), y + to + k);                                    \
            }                                                                                      \
        }                                                                                          \
        for (; k < stop; k++) {                                                                    \
            PUT(1, none, y + to + k);                                                              \
        }                                                                                          \
    }

#define SET16(v, p) vstore16((v), 0, (p))
#define SET4(v, p) vstore4((v), 0, (p))
#define SET1(v, p) (*(p) = (v))
#define SET(W, v, p) SET##W(v, p)
#define SAME(W, v) (v)

#endif

/* Floats and codes to other places: include/move.h. */
#include "move.h"

/* Floats, or four codes each, as they are. */
__kernel void move_words(__global const uint *x, __global uint *y, __global const int *plan,
                         __global const uint *fill) {
    const uint none = fill ? fill[0] : 0;
    FOR_EACH_PIECE(plan, MOVE_PIECE(uint, SET, SAME, true));
}

/* Codes, as they are or by a table of 256. */
__kernel void move_codes(__global const uchar *x, __global uchar *y, __global const int *plan,
                         __global const uchar *fill, __global const uchar *codes) {
    const uchar none = fill ? fill[0] : 0;
    const int row = plan[ROW], pitch = plan[PITCH];
#define CODE_OF1(v) (codes ? codes[v] : (v))
#define CODE_OF4(v) (v)
#define CODE_OF16(v) (v)
#define CODE_OF(W, v) CODE_OF##W(v)
#define CLEAR_REST                                                                                 \
    {                                                                                              \
        const long made = target_of(plan, i) + stop;                                               \
        if (pitch != row && made % pitch == row) {                                                 \
            for (int k = row; k < pitch; k++) {                                                    \
                y[made - row + k] = 0;                                                             \
            }                                                                                      \
        }                                                                                          \
    }
    FOR_EACH_PIECE(plan, MOVE_PIECE(uchar, SET, CODE_OF, !codes) CLEAR_REST);
}

#define ADD16(v, p) vstore16(vload16(0, (p)) + (v), 0, (p))
#define ADD4(v, p) vstore4(vload4(0, (p)) + (v), 0, (p))
#define ADD1(v, p) (*(p) += (v))
#define ADD(W, v, p) ADD##W(v, p)

/* y += what move_words would make it. */
__kernel void move_add_f32(__global const float *x, __global float *y, __global const int *plan) {
    const float none = 0;
    FOR_EACH_PIECE(plan, MOVE_PIECE(float, ADD, SAME, true));
}

/* Where many elements of x belong to one of y: y = the sum of them, or += it. TABLE is that of a
 * list for each element i of the axis: places plan[plan[TABLE + i]] .. before
 * plan[plan[TABLE + i + 1]]. Sums run in the order of x. */
#define EACH(axis, at, p)                                                                          \
    for (int l##axis = plan[plan[axis * FIELDS + TABLE] + (at)], p;                                \
         l##axis < plan[plan[axis * FIELDS + TABLE] + (at) + 1] && (p = plan[l##axis], true);      \
         l##axis++)
#define SUM_PIECE                                                                                  \
    {                                                                                              \
        const long to = target_of(plan, i);                                                        \
        for (int k = begin; k < stop; k++) {                                                       \
            float sum = 0;                                                                         \
            EACH(0, i.x, p0)                                                                       \
            EACH(1, i.y, p1)                                                                       \
            EACH(2, i.z, p2)                                                                       \
            EACH(3, i.w, p3)                                                                       \
            EACH(4, k, p4) sum += x[(long)plan[FROM] + p0 + p1 + p2 + p3 + p4];                                 \
            y[to + k] = accumulate ? y[to + k] + sum : sum;                                        \
        }                                                                                          \
    }

__kernel void move_sum_f32(__global const float *x, __global float *y, __global const int *plan,
                           int accumulate) {
    FOR_EACH_PIECE(plan, SUM_PIECE);
}

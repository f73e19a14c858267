/* Loops over pairs of elements of two operands whose shapes meet by broadcasting
 * (host/ops/broadcast.h).
 *
 *   FOR_EACH_PAIR(a, b, BODY, ARG)
 *
 * runs BODY(ARG, W) for every element `i` of the result; W is 16 (16 neighbours at once) or 1.
 * PAIR_A(W) and PAIR_B(W) read the operands' elements. PAIR_SHAPE declares the kernel's arguments:
 *
 *   d1 .. d4        dimensions of the result behind the first; d4 elements are a run
 *   a0 .. a4, b0..  how far a step along each axis is in a and b; a4 and b4 are 1, or 0 where one
 *                   element does for the whole run
 *   count           elements of the result
 *
 * CPU schedule: a work-item does one long piece, run by run. */
#ifndef CLQ_BROADCAST_H
#define CLQ_BROADCAST_H

#include "codes.h"

#define PAIR_SHAPE                                                                                 \
    int d1, int d2, int d3, int d4, int a0, int a1, int a2, int a3, int a4, int b0, int b1,        \
        int b2, int b3, int b4, int count

/* Where a run is, of which operand rows are counted by r0 .. r3. */
#define PAIR_ROW(S) ((long)r0 * S##0 + (long)r1 * S##1 + (long)r2 * S##2 + (long)r3 * S##3)
#define PAIR_FIND_ROW(row)                                                                         \
    int r3 = (row) % d3, r2 = (row) / d3 % d2, r1 = (row) / d3 / d2 % d1, r0 = (row) / d3 / d2 / d1
#define PAIR_NEXT_ROW                                                                              \
    if (++r3 == d3) {                                                                              \
        r3 = 0;                                                                                    \
        if (++r2 == d2) {                                                                          \
            r2 = 0;                                                                                \
            if (++r1 == d1) {                                                                      \
                r1 = 0;                                                                            \
                r0++;                                                                              \
            }                                                                                      \
        }                                                                                          \
    }

#define PAIR_LOAD16(p, step) ((step) ? vload16(0, (p)) : (float16)(*(p)))
#define PAIR_LOAD1(p, step) (*(p))
#define PAIR_A(W) PAIR_LOAD##W(at_a_, a4)
#define PAIR_B(W) PAIR_LOAD##W(at_b_, b4)

#ifdef CLQ_SCHEDULE_CPU
#define FOR_EACH_PAIR(a, b, BODY, ARG)                                                             \
    do {                                                                                           \
        long i, end_;                                                                              \
        clq_share(count, 16, &i, &end_);                                                           \
        PAIR_FIND_ROW((int)(i / d4));                                                              \
        int column_ = (int)(i % d4);                                                               \
        while (i < end_) {                                                                         \
            __global const float *at_a_ = (a) + PAIR_ROW(a) + (long)column_ * a4;                  \
            __global const float *at_b_ = (b) + PAIR_ROW(b) + (long)column_ * b4;                  \
            const long stop_ = min(end_, i + d4 - column_);                                        \
            for (; i + 16 <= stop_; i += 16) {                                                     \
                BODY(ARG, 16)                                                                      \
                at_a_ += 16 * a4;                                                                  \
                at_b_ += 16 * b4;                                                                  \
            }                                                                                      \
            for (; i < stop_; i++) {                                                               \
                BODY(ARG, 1)                                                                       \
                at_a_ += a4;                                                                       \
                at_b_ += b4;                                                                       \
            }                                                                                      \
            column_ = 0;                                                                           \
            PAIR_NEXT_ROW                                                                          \
        }                                                                                          \
    } while (0)
#else
#define FOR_EACH_PAIR(a, b, BODY, ARG)                                                             \
    for (uint i = get_global_id(0); i < (uint)count; i += get_global_size(0)) {                    \
        PAIR_FIND_ROW((int)i / d4);                                                                \
        const long column_ = (int)i % d4;                                                          \
        __global const float *at_a_ = (a) + PAIR_ROW(a) + column_ * a4;                            \
        __global const float *at_b_ = (b) + PAIR_ROW(b) + column_ * b4;                            \
        BODY(ARG, 1)                                                                               \
    }
#endif

/* Operations of two operands: -DCLQ_BINARY, clq_binary of host/ops/binary.h. */
#define BINARY_ADD 0
#define BINARY_SUB 1
#define BINARY_MUL 2
#define BINARY_DIV 3
#define BINARY_MIN 4
#define BINARY_MAX 5
#define BINARY_POW 6
#ifndef CLQ_BINARY
#define CLQ_BINARY BINARY_ADD
#endif

/* A body of FOR_EACH_PAIR for a pair's gradients, by the file's GRADIENT_A and GRADIENT_B from the
 * gradient dy: da and db, of the result's size, get them, or add them; each may be NULL, or dy's
 * buffer. `twice`: both are one, which gets the sum. */
#define PAIR_GRADIENTS(ARG, W)                                                                     \
    {                                                                                              \
        const float##W va = PAIR_A(W), vb = PAIR_B(W), g = LOAD##W(dy + i);                        \
        float##W ga = (float##W)(0.0f), gb = (float##W)(0.0f);                                     \
        if (da) {                                                                                  \
            ga = GRADIENT_A(W, va, vb, g);                                                         \
        }                                                                                          \
        if (db) {                                                                                  \
            gb = GRADIENT_B(W, va, vb, g);                                                         \
        }                                                                                          \
        if (twice) {                                                                               \
            ga += gb;                                                                              \
        }                                                                                          \
        if (da) {                                                                                  \
            STORE##W(add_to_a ? LOAD##W(da + i) + ga : ga, da + i);                                \
        }                                                                                          \
        if (db && !twice) {                                                                        \
            STORE##W(add_to_b ? LOAD##W(db + i) + gb : gb, db + i);                                \
        }                                                                                          \
    }

#endif

/* Loops over the rows of a tensor: a row holds the elements that differ in the reduced axes alone,
 * `n` of them, and row k makes element k of a result. Up to three groups of kept and of reduced
 * axes with strides describe it (host/ops/reduction.h), the last of each group's the fastest.
 *
 *   FOR_ROWS(BODY)          runs BODY(W) for rows k .. k+W-1, which begin at element `base`; W is
 * 16 (they lie side by side) or 1 FOLD(W, S, start, TERM, JOIN, total)    in it: joins TERM(W, at)
 * of all elements of the rows; S##W is the sum's type, JOIN(S, a, b) an operation that starts at
 * `start` FOR_ROW(W, BODY)        in it: runs BODY(W or more, at, i) for the elements of the rows
 *
 * A sum has one order everywhere: lane l of ROW_LANES adds its elements l, l + ROW_LANES, ..., and
 * the lanes are then added in their order. On CPUs a work-item does several rows; on GPUs 64
 * work-items share `side` of them, 1 or 16. */
#ifndef CLQ_REDUCTION_H
#define CLQ_REDUCTION_H

#include "elementwise.h"

#define ROW_LANES 64

typedef struct reduction {
    int k0, k1, k2, ks0, ks1, ks2; /* kept: sizes and strides */
    int r0, r1, r2, rs0, rs1, rs2; /* reduced */
    int side;                      /* rows that are done together */
} reduction;

#define REDUCTION                                                                                  \
    int k0, int k1, int k2, int ks0, int ks1, int ks2, int r0, int r1, int r2, int rs0, int rs1,   \
        int rs2, int side
/* Declares what the loops need. */
#define ROWS                                                                                       \
    const reduction rows_ = {k0, k1, k2, ks0, ks1, ks2, r0, r1, r2, rs0, rs1, rs2, side};              \
    const int rows = k0 * k1 * k2, n = r0 * r1 * r2;                                               \
    const int one_group = r0 * r1 == 1, along = one_group && rs2 == 1

static inline int row_at(const reduction *g, uint k) {
    const uint k2 = g->k2, k1 = g->k1;
    return (int)(k % k2) * g->ks2 + (int)(k / k2 % k1) * g->ks1 + (int)(k / k2 / k1) * g->ks0;
}

static inline int element_at(const reduction *g, int one_group, uint i) {
    const uint r2 = g->r2, r1 = g->r1;
    return one_group
               ? (int)i * g->rs2
               : (int)(i % r2) * g->rs2 + (int)(i / r2 % r1) * g->rs1 + (int)(i / r2 / r1) * g->rs0;
}
#define AT(i) (base + element_at(&rows_, one_group, (i)))

/* Joins lane after lane. */
#define FOLD_LANES(W, S, start, TERM, JOIN, total)                                                 \
    for (int l_ = 0; l_ < min(n, ROW_LANES); l_++) {                                               \
        S##W lane_ = (S##W)(start);                                                                \
        for (int i_ = l_; i_ < n; i_ += ROW_LANES) {                                               \
            const int at_ = AT(i_);                                                                \
            lane_ = JOIN(S##W, lane_, TERM(W, at_));                                               \
        }                                                                                          \
        total = JOIN(S##W, total, lane_);                                                          \
    }

#ifdef CLQ_SCHEDULE_CPU

#define FOR_ROWS(BODY)                                                                             \
    long k, end_;                                                                                  \
    clq_share(rows, side, &k, &end_);                                                              \
    while (k < end_) {                                                                             \
        const int base = row_at(&rows_, (uint)k);                                                      \
        if (rows_.ks2 == 1 && k % rows_.k2 + 16 <= rows_.k2 && k + 16 <= end_) {                               \
            BODY(16)                                                                               \
            k += 16;                                                                               \
        } else {                                                                                   \
            BODY(1)                                                                                \
            k++;                                                                                   \
        }                                                                                          \
    }
#define IS_FIRST_OF_ROW 1

#define FOLD(W, S, start, TERM, JOIN, total)                                                       \
    S##W total = (S##W)(start);                                                                    \
    FOLD_##W(S, start, TERM, JOIN, total)
#define FOLD_16(S, start, TERM, JOIN, total) FOLD_LANES(16, S, start, TERM, JOIN, total)
/* A row of neighbours: the lanes side by side in four vectors, or in as many as the row fills. */
#define FOLD_1(S, start, TERM, JOIN, total)                                                        \
    if (along && n >= 16) {                                                                        \
        S##1 lanes_[ROW_LANES];                                                                    \
        const S##16 none_ = (S##16)(start);                                                        \
        int i_ = 0;                                                                                \
        if (n >= ROW_LANES) {                                                                      \
            S##16 s0_ = none_, s1_ = none_, s2_ = none_, s3_ = none_;                              \
            for (; i_ + ROW_LANES <= n; i_ += ROW_LANES) {                                         \
                s0_ = JOIN(S##16, s0_, TERM(16, base + i_));                                       \
                s1_ = JOIN(S##16, s1_, TERM(16, base + i_ + 16));                                  \
                s2_ = JOIN(S##16, s2_, TERM(16, base + i_ + 32));                                  \
                s3_ = JOIN(S##16, s3_, TERM(16, base + i_ + 48));                                  \
            }                                                                                      \
            vstore16(s0_, 0, lanes_);                                                              \
            vstore16(s1_, 1, lanes_);                                                              \
            vstore16(s2_, 2, lanes_);                                                              \
            vstore16(s3_, 3, lanes_);                                                              \
        } else {                                                                                   \
            for (; i_ + 16 <= n; i_ += 16) {                                                       \
                vstore16(JOIN(S##16, none_, TERM(16, base + i_)), 0, lanes_ + i_);                 \
            }                                                                                      \
            for (int l_ = i_; l_ < n; l_++) {                                                      \
                lanes_[l_] = (S##1)(start);                                                        \
            }                                                                                      \
        }                                                                                          \
        for (; i_ < n; i_++) {                                                                     \
            lanes_[i_ % ROW_LANES] = JOIN(S##1, lanes_[i_ % ROW_LANES], TERM(1, base + i_));       \
        }                                                                                          \
        for (int l_ = 0; l_ < min(n, ROW_LANES); l_++) {                                           \
            total = JOIN(S##1, total, lanes_[l_]);                                                 \
        }                                                                                          \
    } else {                                                                                       \
        FOLD_LANES(1, S, start, TERM, JOIN, total)                                                 \
    }

#define FOR_ROWS_UNFOLDED(BODY) FOR_ROWS(BODY)
#define FOR_ROW(W, BODY) FOR_ROW_##W(BODY)
#define FOR_ROW_16(BODY)                                                                           \
    for (int i = 0; i < n; i++) {                                                                  \
        const int at_ = AT(i);                                                                     \
        BODY(16, at_, i)                                                                           \
    }
#define FOR_ROW_1(BODY)                                                                            \
    int i = 0;                                                                                     \
    for (; along && i + 16 <= n; i += 16) {                                                        \
        BODY(16, base + i, i)                                                                      \
    }                                                                                              \
    for (; i < n; i++) {                                                                           \
        const int at_ = AT(i);                                                                     \
        BODY(1, at_, i)                                                                            \
    }

#else

#define ROW_ITEMS 64
/* Every work-item runs it, those beyond the last row on the last again, as there are barriers. The
 * lanes are FOLD's; PoCL 6 ends the program where a kernel has local memory and uses none. */
#define FOR_ROWS(BODY)                                                                             \
    __local float lanes_[16 * ROW_LANES];                                                          \
    FOR_ROWS_UNFOLDED(BODY)
#define FOR_ROWS_UNFOLDED(BODY)                                                                    \
    const int place_ = get_local_id(0) % side, part = get_local_id(0) / side;                      \
    const int parts = ROW_ITEMS / side;                                                            \
    for (int first_ = get_group_id(0) * side; first_ < rows; first_ += get_num_groups(0) * side) { \
        const int k = min(first_ + place_, rows - 1);                                              \
        const int base = row_at(&rows_, (uint)k);                                                      \
        BODY(1)                                                                                    \
    }
#define IS_FIRST_OF_ROW (part == 0 && first_ + place_ < rows)

/* The total is there for the row's first work-item. */
#define FOLD(W, S, start, TERM, JOIN, total)                                                       \
    S##1 total = (S##1)(start);                                                                    \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                  \
    for (int l_ = part; l_ < min(n, ROW_LANES); l_ += parts) {                                     \
        S##1 lane_ = (S##1)(start);                                                                \
        for (int i_ = l_; i_ < n; i_ += ROW_LANES) {                                               \
            const int at_ = AT(i_);                                                                \
            lane_ = JOIN(S##1, lane_, TERM(1, at_));                                               \
        }                                                                                          \
        ((__local S *)lanes_)[l_ * side + place_] = lane_;                                         \
    }                                                                                              \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                  \
    for (int l_ = 0; part == 0 && l_ < min(n, ROW_LANES); l_++) {                                  \
        total = JOIN(S##1, total, ((__local S *)lanes_)[l_ * side + place_]);                      \
    }

#define FOR_ROW(W, BODY)                                                                           \
    for (int i = part; i < n && first_ + place_ < rows; i += parts) {                              \
        const int at_ = AT(i);                                                                     \
        BODY(1, at_, i)                                                                            \
    }

#endif

#define JOIN_SUM(T, a, b) ((a) + (b))
#define JOIN_PRODUCT(T, a, b) ((a) * (b))
/* NaN wins over all. */
#define JOIN_LARGEST(T, a, b) (((b) > (a)) | ((b) != (b)) ? (b) : (a))

#endif

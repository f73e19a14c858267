/* Reductions of x over some axes and their gradients, as reduction.h walks them: y, a result of
 * each row (rows). */
#include "exponential.h"
#include "reduction.h"

#pragma OPENCL FP_CONTRACT OFF

#define STORE_RESULT(W, v, p)                                                                      \
    if (IS_FIRST_OF_ROW) {                                                                         \
        STORE##W(v, p);                                                                            \
    }

/* ---- sums ---- */

enum { TERM_X, TERM_ABS, TERM_SQUARE };
enum { FINISH_NONE, FINISH_MEAN, FINISH_ROOT };

#define TERM_OF(v, term) ((term) == TERM_SQUARE ? (v) * (v) : (term) == TERM_ABS ? fabs(v) : (v))
#define SUM_TERM(W, at) TERM_OF(LOAD##W(x + (at)) - middle, term)

/* y = finish(sum of term(x - offset)); offset (rows) may be null. */
__kernel void reduce_sum_f32(__global const float *x, __global const float *offset,
                             __global float *y, int term, int finish, REDUCTION) {
    ROWS;
#define SUM_ROW(W)                                                                                 \
    const float##W middle = offset ? LOAD##W(offset + k) : (float##W)(0.0f);                       \
    FOLD(W, float, 0.0f, SUM_TERM, JOIN_SUM, total)                                                \
    total = finish == FINISH_MEAN   ? clq_divide##W(total, (float##W)((float)n))                   \
            : finish == FINISH_ROOT ? sqrt(total)                                                  \
                                    : total;                                                       \
    STORE_RESULT(W, total, y + k)
    FOR_ROWS(SUM_ROW)
}

#define EXP_TERM(W, at) clq_exp##W(LOAD##W(x + (at)) - top)

/* y = sum of exp(x - largest), or largest + log of it. `largest` (rows) may be y. */
__kernel void reduce_exp_f32(__global const float *x, __global const float *largest,
                             __global float *y, int logarithm, REDUCTION) {
    ROWS;
    /* Where nothing is finite, the largest itself is the logarithm. */
#define EXP_ROW(W)                                                                                 \
    const float##W top = LOAD##W(largest + k);                                                     \
    FOLD(W, float, 0.0f, EXP_TERM, JOIN_SUM, total)                                                \
    if (logarithm) {                                                                               \
        total = fabs(top) == (float##W)(INFINITY) ? top : top + clq_log##W(total);                 \
    }                                                                                              \
    STORE_RESULT(W, total, y + k)
    FOR_ROWS(EXP_ROW)
}

#define DOT_TERM(W, at) (LOAD##W(a + (at)) * LOAD##W(b + (at)))

/* y = sum of a b */
__kernel void reduce_dot_f32(__global const float *a, __global const float *b, __global float *y,
                             REDUCTION) {
    ROWS;
#define DOT_ROW(W)                                                                                 \
    FOLD(W, float, 0.0f, DOT_TERM, JOIN_SUM, total)                                                \
    STORE_RESULT(W, total, y + k)
    FOR_ROWS(DOT_ROW)
}

/* ---- products and extremes ---- */

#define X_TERM(W, at) LOAD##W(x + (at))

__kernel void reduce_prod_f32(__global const float *x, __global float *y, REDUCTION) {
    ROWS;
#define PRODUCT_ROW(W)                                                                             \
    FOLD(W, float, 1.0f, X_TERM, JOIN_PRODUCT, total)                                              \
    STORE_RESULT(W, total, y + k)
    FOR_ROWS(PRODUCT_ROW)
}

#define SIGNED_TERM(W, at) (LOAD##W(x + (at)) * sign)

/* y = the largest x, or the smallest where sign is -1. */
__kernel void reduce_max_f32(__global const float *x, __global float *y, float sign, REDUCTION) {
    ROWS;
#define LARGEST_ROW(W)                                                                             \
    FOLD(W, float, -INFINITY, SIGNED_TERM, JOIN_LARGEST, total)                                    \
    STORE_RESULT(W, total *sign, y + k)
    FOR_ROWS(LARGEST_ROW)
}

/* index = which element of the row reduce_max_f32 takes: of equal ones the first, or the last; of
 * NaNs the first. */
__kernel void arg_max_f32(__global const float *x, __global float *index, float sign, int last,
                          REDUCTION) {
    ROWS;
#ifdef CLQ_SCHEDULE_CPU
#define ARG_ROW(W)                                                                                 \
    float##W best = LOAD##W(x + base) * sign;                                                      \
    float##W where = (float##W)(0.0f);                                                             \
    for (int i = 1; i < n; i++) {                                                                  \
        const float##W v = LOAD##W(x + AT(i)) * sign;                                              \
        const int##W better =                                                                      \
            (best == best) & ((v > best) | (v != v) | (last ? v == best : v > best));              \
        best = better ? v : best;                                                                  \
        where = better ? (float##W)((float)i) : where;                                             \
    }                                                                                              \
    STORE##W(where, index + k);
#else
/* Whether element i, of value v, goes before the best so far. */
#define BEFORE(v, i, best, where)                                                                  \
    ((v) != (v)                     ? (best) == (best) || (i) < (where)                            \
     : (best) != (best) || v < best ? false                                                        \
     : (v) > (best)                 ? true                                                         \
     : last                         ? (i) > (where)                                                \
                                    : (i) < (where))
#define ARG_ROW(W)                                                                                 \
    float best = -INFINITY, where = last ? -1.0f : INFINITY;                                       \
    for (int i = part; i < n; i += parts) {                                                        \
        const float v = x[AT(i)] * sign;                                                           \
        const int better = BEFORE(v, (float)i, best, where);                                       \
        best = better ? v : best;                                                                  \
        where = better ? (float)i : where;                                                         \
    }                                                                                              \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                  \
    lanes_[part * side + place_] = best;                                                           \
    lanes_[(parts + part) * side + place_] = where;                                                \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                  \
    for (int p = 1; part == 0 && p < min(parts, n); p++) {                                         \
        const float v = lanes_[p * side + place_], i = lanes_[(parts + p) * side + place_];        \
        const int better = BEFORE(v, i, best, where);                                              \
        best = better ? v : best;                                                                  \
        where = better ? i : where;                                                                \
    }                                                                                              \
    STORE_RESULT(1, where, index + k)
#endif
    FOR_ROWS(ARG_ROW)
}

/* ---- gradients ---- */

enum {
    GRAD_SUM,
    GRAD_MEAN,
    GRAD_ABS,
    GRAD_SQUARE,
    GRAD_ROOT,    /* y = sqrt(sum x^2) */
    GRAD_LOG_EXP, /* y = log(sum exp(x)) */
    GRAD_EXTREME, /* element `index` of the row made y */
};

#define GRADIENT(W)                                                                                \
    static inline float##W gradient##W(int kind, float##W x, float##W y, float##W dy,              \
                                       float##W index, float##W i, int n) {                        \
        const float##W zero = (float##W)(0.0f);                                                    \
        switch (kind) {                                                                            \
        case GRAD_MEAN:                                                                            \
            return clq_divide##W(dy, (float##W)((float)n));                                        \
        case GRAD_ABS:                                                                             \
            return x > zero ? dy : x < zero ? -dy : zero;                                          \
        case GRAD_SQUARE:                                                                          \
            return 2.0f * x * dy;                                                                  \
        case GRAD_ROOT:                                                                            \
            return y == zero ? zero : clq_divide##W(x, y) * dy;                                    \
        case GRAD_LOG_EXP:                                                                         \
            return clq_exp##W(x - y) * dy;                                                         \
        case GRAD_EXTREME:                                                                         \
            return i == index ? dy : zero;                                                         \
        default:                                                                                   \
            return dy;                                                                             \
        }                                                                                          \
    }
GRADIENT(1)
#ifdef CLQ_SCHEDULE_CPU
GRADIENT(16)
#endif

/* A vector along a row has one y and counts its elements; across rows it has W of them. */
#define COUNT1(i) (float)(i)
#define COUNT16(i)                                                                                 \
    ((float)(i) + (float16)(0.0f, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 7.0f, 8.0f, 9.0f, 10.0f,     \
                            11.0f, 12.0f, 13.0f, 14.0f, 15.0f))

/* dx = dy f'(x), or dx += it. x, y and index may be null where the kind does not ask for them. */
__kernel void reduce_grad_f32(__global const float *x, __global const float *y,
                              __global const float *index, __global const float *dy,
                              __global float *dx, int kind, int accumulate, REDUCTION) {
    ROWS;
#define GRAD_ELEMENT(V, at, count)                                                                 \
    const float##V from = x ? LOAD##V(x + (at)) : (float##V)(0.0f);                                \
    const float##V d =                                                                             \
        gradient##V(kind, from, (float##V)(y_), (float##V)(dy_), (float##V)(index_), (count), n);  \
    STORE##V(accumulate ? LOAD##V(dx + (at)) + d : d, dx + (at));
#define GRAD_ALONG(V, at, i) GRAD_ELEMENT(V, at, COUNT##V(i))
#define GRAD_ACROSS(V, at, i) GRAD_ELEMENT(V, at, (float##V)((float)(i)))
#define GRAD_ROW(W)                                                                                \
    const float##W dy_ = LOAD##W(dy + k);                                                          \
    const float##W y_ = y ? LOAD##W(y + k) : (float##W)(0.0f);                                     \
    const float##W index_ = index ? LOAD##W(index + k) : (float##W)(0.0f);                         \
    GRAD_LOOP##W
#define GRAD_LOOP16 FOR_ROW(16, GRAD_ACROSS)
#define GRAD_LOOP1 FOR_ROW(1, GRAD_ALONG)
    FOR_ROWS_UNFOLDED(GRAD_ROW)
}

/* dx = dy times the product of the others, from that of all that are not 0. */
__kernel void reduce_prod_grad_f32(__global const float *x, __global const float *dy,
                                   __global float *dx, int accumulate, REDUCTION) {
    ROWS;
    for (int k = get_global_id(0); k < rows; k += get_global_size(0)) {
        const int base = row_at(&rows_, (uint)k);
        float product = 1.0f;
        int zeros = 0;
        for (int i = 0; i < n; i++) {
            const float v = x[AT(i)];
            zeros += v == 0.0f;
            product *= v == 0.0f ? 1.0f : v;
        }
        for (int i = 0; i < n; i++) {
            const int at = AT(i);
            const float v = x[at];
            const float others = zeros == 0                ? clq_divide(product, v)
                                 : zeros == 1 && v == 0.0f ? product
                                                           : 0.0f;
            dx[at] = (accumulate ? dx[at] : 0.0f) + dy[k] * others;
        }
    }
}

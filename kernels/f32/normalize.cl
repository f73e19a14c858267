/* What follows a reduction of rows (reduction.h): softmax and division by a norm, and
 * normalization by mean and variance; forward and backward. Tables hold a number a row. */
#include "exponential.h"
#include "reduction.h"
#include "scales.h"

#pragma OPENCL FP_CONTRACT OFF

/* ---- softmax, log_softmax ---- */

/* y = exp(x - largest) / sum, or x - largest - log(sum). */
__kernel void softmax_f32(__global const float *x, __global const float *largest,
                          __global const float *sum, __global float *y, int logarithm, REDUCTION) {
    ROWS;
#define SOFTMAX(V, at, i)                                                                          \
    const float##V v = LOAD##V(x + (at)) - (float##V)(top_);                                       \
    STORE##V(logarithm ? v - (float##V)(log_) : clq_divide##V(clq_exp##V(v), (float##V)(sum_)),    \
             y + (at));
#define SOFTMAX_ROW(W)                                                                             \
    const float##W top_ = LOAD##W(largest + k), sum_ = LOAD##W(sum + k);                           \
    const float##W log_ = clq_log##W(sum_);                                                        \
    FOR_ROW(W, SOFTMAX)
    FOR_ROWS_UNFOLDED(SOFTMAX_ROW)
}

/* dx = y (dy - total) with total = sum of y dy, or dy - exp(y) total with total = sum of dy. */
__kernel void softmax_grad_f32(__global const float *y, __global const float *dy,
                               __global const float *total, __global float *dx, int logarithm,
                               int accumulate, REDUCTION) {
    ROWS;
#define SOFTMAX_GRAD(V, at, i)                                                                     \
    const float##V v = LOAD##V(y + (at)), g = LOAD##V(dy + (at));                                  \
    const float##V d =                                                                             \
        logarithm ? g - clq_exp##V(v) * (float##V)(total_) : v * (g - (float##V)(total_));         \
    STORE##V(accumulate ? LOAD##V(dx + (at)) + d : d, dx + (at));
#define SOFTMAX_GRAD_ROW(W)                                                                        \
    const float##W total_ = LOAD##W(total + k);                                                    \
    FOR_ROW(W, SOFTMAX_GRAD)
    FOR_ROWS_UNFOLDED(SOFTMAX_GRAD_ROW)
}

/* ---- lp_normalization: rows of the length 1; those of the length 0 stay 0 ---- */

/* y = x / length */
__kernel void lp_normalize_f32(__global const float *x, __global const float *length,
                               __global float *y, REDUCTION) {
    ROWS;
#define LP(V, at, i)                                                                               \
    STORE##V((float##V)(length_) == (float##V)(0.0f)                                               \
                 ? (float##V)(0.0f)                                                                \
                 : clq_divide##V(LOAD##V(x + (at)), (float##V)(length_)),                          \
             y + (at));
#define LP_ROW(W)                                                                                  \
    const float##W length_ = LOAD##W(length + k);                                                  \
    FOR_ROW(W, LP)
    FOR_ROWS_UNFOLDED(LP_ROW)
}

/* dx = (dy - y total) / length, of the sum of magnitudes (dy - sign(y) total) / length, with total
 * = sum of y dy. */
__kernel void lp_normalize_grad_f32(__global const float *y, __global const float *dy,
                                    __global const float *length, __global const float *total,
                                    __global float *dx, int magnitudes, int accumulate, REDUCTION) {
    ROWS;
#define LP_GRAD(V, at, i)                                                                          \
    const float##V v = LOAD##V(y + (at)), length = (float##V)(length_);                            \
    const float##V slope = magnitudes ? sign(v) : v;                                               \
    float##V d = clq_divide##V(LOAD##V(dy + (at)) - slope * (float##V)(total_), length);           \
    d = length == (float##V)(0.0f) ? (float##V)(0.0f) : d;                                         \
    STORE##V(accumulate ? LOAD##V(dx + (at)) + d : d, dx + (at));
#define LP_GRAD_ROW(W)                                                                             \
    const float##W length_ = LOAD##W(length + k), total_ = LOAD##W(total + k);                     \
    FOR_ROW(W, LP_GRAD)
    FOR_ROWS_UNFOLDED(LP_GRAD_ROW)
}

/* ---- layer_norm, instance_norm, group_norm: x (outer, P, C) in groups of C / G channels ----
 *
 * Means and variances (outer, G) are over pixels and the group's channels, gamma and beta (C). */

/* Runs BODY(W, at, c, k) for the elements from `at` on, which are of the channels from c on. Where
 * a group is one channel, W neighbours have neighbours in the tables from k on; otherwise one
 * place. */
#define FOR_GROUPS(BODY)                                                                           \
    const int segment = C == G ? C : C / G, segments = C / segment;                                \
    long pixel_, end_;                                                                             \
    clq_share((long)outer *P, 1, &pixel_, &end_);                                                  \
    for (; pixel_ < end_; pixel_++) {                                                              \
        for (int s_ = 0; s_ < segments; s_++) {                                                    \
            const int first_ = (int)pixel_ * C + s_ * segment;                                     \
            const int row_ = (int)(pixel_ / P) * G + (C == G ? 0 : s_);                            \
            int i = 0;                                                                             \
            VECTORS_OF_A_GROUP(BODY)                                                               \
            for (; i < segment; i++) {                                                             \
                BODY(1, first_ + i, s_ * segment + i, row_ + (C == G ? i : 0))                     \
            }                                                                                      \
        }                                                                                          \
    }
#ifdef CLQ_SCHEDULE_CPU
#define VECTORS_OF_A_GROUP(BODY)                                                                   \
    for (; i + 16 <= segment; i += 16) {                                                           \
        BODY(16, first_ + i, s_ * segment + i, row_ + (C == G ? i : 0))                            \
    }
#else
#define VECTORS_OF_A_GROUP(BODY)
#undef FOR_GROUPS
#define FOR_GROUPS(BODY)                                                                           \
    const uint count_ = (uint)outer * P * C;                                                       \
    for (uint i_ = get_global_id(0); i_ < count_; i_ += get_global_size(0)) {                      \
        const int c_ = (int)(i_ % (uint)C);                                                        \
        BODY(1, i_, c_, (int)(i_ / ((uint)P * C)) * G + c_ / (C / G))                              \
    }
#endif
#define TABLE(W, p) (C == G ? LOAD##W(p) : (float##W)(*(p)))
/* 1 / sqrt(variance + epsilon) */
#define INVERSE(W, k) clq_divide##W((float##W)(1.0f), sqrt(TABLE(W, variance + (k)) + epsilon))

/* y = (x - mean) / sqrt(variance + epsilon) * gamma + beta; without the first where mean is null,
 * and without gamma and beta where these are. */
__kernel void group_norm_f32(__global const float *x, __global const float *mean,
                             __global const float *variance, __global const float *gamma,
                             __global const float *beta, __global float *y, float epsilon,
                             int outer, int P, int C, int G) {
#define NORMALIZE(W, at, c, k)                                                                     \
    float##W v = LOAD##W(x + (at));                                                                \
    v = mean ? (v - TABLE(W, mean + (k))) * INVERSE(W, k) : v;                                     \
    v = gamma ? v * LOAD##W(gamma + (c)) : v;                                                      \
    STORE##W(beta ? v + LOAD##W(beta + (c)) : v, y + (at));
    FOR_GROUPS(NORMALIZE)
}

/* From the normalized x, here `unit`, and g = dy gamma with the means of g and of g unit:
 * dx = (g - mean_g - unit mean_gu) / sqrt(variance + epsilon), or dx += it. */
__kernel void group_norm_grad_f32(__global const float *unit, __global const float *g,
                                  __global const float *sum_g, __global const float *sum_gu,
                                  __global const float *variance, __global float *dx, float epsilon,
                                  int accumulate, int outer, int P, int C, int G) {
    const float share = clq_divide(1.0f, (float)P * (float)(C / G));
#define NORM_GRAD(W, at, c, k)                                                                     \
    const float##W mean_g = TABLE(W, sum_g + (k)) * share;                                         \
    const float##W mean_gu = TABLE(W, sum_gu + (k)) * share;                                       \
    const float##W d =                                                                             \
        (LOAD##W(g + (at)) - mean_g - LOAD##W(unit + (at)) * mean_gu) * INVERSE(W, k);             \
    STORE##W(accumulate ? LOAD##W(dx + (at)) + d : d, dx + (at));
    FOR_GROUPS(NORM_GRAD)
}

/* ---- lrn: y = x s^-beta, s = bias + alpha / size * sum of x^2 over `size` channels around ---- */

#define BEFORE ((size - 1) / 2) /* of them before a channel */

static inline float lrn_base(__global const float *x, int c, int C, int size, float alpha,
                             float bias) {
    float sum = 0.0f;
    for (int j = max(0, c - BEFORE); j < min(C, c - BEFORE + size); j++) {
        sum += x[j] * x[j];
    }
    return bias + clq_divide(alpha, (float)size) * sum;
}

#define POWER(s, exponent) clq_exp(clq_log(s) * (exponent))

__kernel void lrn_f32(__global const float *x, __global float *y, int pixels, int C, int size,
                      float alpha, float beta, float bias) {
    long i, end;
    clq_share((long)pixels * C, 1, &i, &end);
    for (; i < end; i++) {
        const int c = (int)(i % C);
        y[i] = x[i] * POWER(lrn_base(x + i - c, c, C, size, alpha, bias), -beta);
    }
}

/* A channel is in the windows of those around it:
 * dx = dy s^-beta - 2 alpha beta / size * x * sum of dy_j x_j s_j^(-beta - 1) */
__kernel void lrn_grad_f32(__global const float *x, __global const float *dy, __global float *dx,
                           int accumulate, int pixels, int C, int size, float alpha, float beta,
                           float bias) {
    long i, end;
    clq_share((long)pixels * C, 1, &i, &end);
    for (; i < end; i++) {
        const int c = (int)(i % C);
        __global const float *row = x + i - c, *gradient = dy + i - c;
        float sum = 0.0f;
        for (int j = max(0, c + BEFORE - size + 1); j <= min(C - 1, c + BEFORE); j++) {
            sum +=
                gradient[j] * row[j] * POWER(lrn_base(row, j, C, size, alpha, bias), -beta - 1.0f);
        }
        const float factor = clq_divide(2.0f * alpha * beta, (float)size);
        const float d = gradient[c] * POWER(lrn_base(row, c, C, size, alpha, bias), -beta) -
                        factor * row[c] * sum;
        dx[i] = accumulate ? dx[i] + d : d;
    }
}

/* ---- dynamic_quantize: (3) and (4) of docs/quantization.md for each image's own range ---- */

/* y = what the code of x stands for; x (images, count), least and most (images). */
__kernel void dynamic_quantize_f32(__global const float *x, __global const float *least,
                                   __global const float *most, __global float *y, int images,
                                   int count) {
    long i, end;
    clq_share((long)images * count, 1, &i, &end);
    for (; i < end; i++) {
        const int n = (int)(i / count);
        const float low = CLQ_AT_LEAST(-least[n], 0.0f), high = CLQ_AT_LEAST(most[n], 0.0f);
        const float scale = clq_range_scale(low, high, 0, 255, 0, CLQ_ANY_SCALE);
        const float zero = (float)clq_range_zero_point(low, scale, 0, 255, 0);
        y[i] = scale * (clq_quantize_code(x[i], scale, zero, 0.0f, 255.0f) - zero);
    }
}

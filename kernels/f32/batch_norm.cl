/* Batch normalization over the rows of x (R, C), C = channels, forward and backward.
 *
 * The kernels see x as (rows, cols) where cols = F * C and rows = R / F: with few channels F rows
 * side by side fill the vectors. Column j belongs to channel j % C. Per-column tables (cols floats
 * each), in this order in one buffer `t`:
 *
 *   MEAN, A = gamma / sqrt(var + epsilon), BETA        forward: y = (x - MEAN) * A + BETA
 *   K1, K0                                             backward: dx = A * g + (x - MEAN) * K1 + K0
 *   INVSTD = 1 / sqrt(var + epsilon)                   C floats
 *
 * Sums over rows are taken in parts: part p does rows p * part_rows ..., its sums go to
 * partial (parts, 2, cols), and one small kernel adds the parts up. All in a fixed order. g is dy,
 * masked where an activation was fused behind the normalization: a relu with `top` infinite, or
 * relu6. */
#include "elementwise.h"

#define MEAN(c) (t + (c))
#define A(c) (t + cols + (c))
#define BETA(c) (t + 2 * cols + (c))
#define K1(c) (t + 3 * cols + (c))
#define K0(c) (t + 4 * cols + (c))
#define INVSTD(c) (t + 5 * cols + (c))

/* Floats of x that a chunk of rows holds while its columns are visited block by block: half L1. */
#ifndef CHUNK
#define CHUNK 4096
#endif
/* Vectors of 16 columns summed together, as registers allow. */
#if defined(CLQ_SIMD_BYTES) && CLQ_SIMD_BYTES >= 64
#define BLOCK 4
#else
#define BLOCK 2
#endif

/* ---- sums over rows ---- */

/* Runs ROWS(N, T, LOAD, STORE) for all columns of rows begin .. end-1: `N` T's starting at column c
 * for rows r0 <= r < r1. */
#ifdef CLQ_SCHEDULE_CPU
#define FOR_COLUMNS(ROWS)                                                                          \
    const int part = get_global_id(0);                                                             \
    const int begin = part * part_rows;                                                            \
    const int end = min(begin + part_rows, rows);                                                  \
    const int step = max(8, CHUNK / cols);                                                         \
    for (int r0 = begin; r0 < end; r0 += step) {                                                   \
        const int r1 = min(r0 + step, end);                                                        \
        int c = 0;                                                                                 \
        for (; c + 16 * BLOCK <= cols; c += 16 * BLOCK) {                                          \
            ROWS(BLOCK, 16, float16, LOAD16, STORE16)                                              \
        }                                                                                          \
        for (; c + 16 <= cols; c += 16) {                                                          \
            ROWS(1, 16, float16, LOAD16, STORE16)                                                  \
        }                                                                                          \
        for (; c < cols; c++) {                                                                    \
            ROWS(1, 1, float, LOAD1, STORE1)                                                       \
        }                                                                                          \
    }
#else
#define FOR_COLUMNS(ROWS)                                                                          \
    const int c = get_global_id(0);                                                                \
    const int part = get_global_id(1);                                                             \
    const int begin = part * part_rows;                                                            \
    const int end = min(begin + part_rows, rows);                                                  \
    const int r0 = begin, r1 = end;                                                                \
    if (c < cols && begin < rows) {                                                                \
        ROWS(1, 1, float, LOAD1, STORE1)                                                           \
    }
#endif

/* Sums s[N], q[N] of a chunk's columns c.., then added to this part's row of `partial`: sums of
 * sums round less than one long sum. */
#define SUM0(c) (partial + (long)part * 2 * cols + (c))
#define SUM1(c) (partial + ((long)part * 2 + 1) * cols + (c))
#define BEGIN_SUMS(N, T)                                                                           \
    T s[N], q[N];                                                                                  \
    _Pragma("unroll") for (int j = 0; j < N; j++) {                                                \
        s[j] = q[j] = (T)(0.0f);                                                                   \
    }
#define ADD_UP_SUMS(N, W, LOAD)                                                                    \
    if (r0 != begin) {                                                                             \
        _Pragma("unroll") for (int j = 0; j < N; j++) {                                            \
            s[j] += LOAD(SUM0(c + j * W));                                                         \
            q[j] += LOAD(SUM1(c + j * W));                                                         \
        }                                                                                          \
    }
#define STORE_SUMS(N, W, STORE)                                                                    \
    _Pragma("unroll") for (int j = 0; j < N; j++) {                                                \
        STORE(s[j], SUM0(c + j * W));                                                              \
        STORE(q[j], SUM1(c + j * W));                                                              \
    }

/* Mean and sum of squared deviations of each part, from sums shifted by the part's first row, so
 * that a mean far from zero does not cancel. */
#define STATS_ROWS(N, W, T, LOAD, STORE)                                                           \
    {                                                                                              \
        T shift[N];                                                                                \
        BEGIN_SUMS(N, T)                                                                           \
        _Pragma("unroll") for (int j = 0; j < N; j++) {                                            \
            shift[j] = LOAD(x + (long)begin * cols + c + j * W);                                   \
        }                                                                                          \
        for (int r = r0; r < r1; r++) {                                                            \
            _Pragma("unroll") for (int j = 0; j < N; j++) {                                        \
                const T d = LOAD(x + (long)r * cols + c + j * W) - shift[j];                       \
                s[j] += d;                                                                         \
                q[j] = mad(d, d, q[j]);                                                            \
            }                                                                                      \
        }                                                                                          \
        ADD_UP_SUMS(N, W, LOAD)                                                                    \
        if (r1 == end) {                                                                           \
            _Pragma("unroll") for (int j = 0; j < N; j++) {                                        \
                const T mean = s[j] / (T)((float)(end - begin));                                   \
                q[j] = fmax(q[j] - s[j] * mean, (T)(0.0f));                                        \
                s[j] = shift[j] + mean;                                                            \
            }                                                                                      \
        }                                                                                          \
        STORE_SUMS(N, W, STORE)                                                                    \
    }

__kernel void batch_norm_stats_f32(__global const float *x, __global float *partial, int rows,
                                   int cols, int part_rows) {
    FOR_COLUMNS(STATS_ROWS)
}

/* Sums of g and of g * (x - mean). MASK turns g = dy into what the activation lets through. */
#define GRAD_ROWS(MASK, N, W, T, LOAD, STORE)                                                      \
    {                                                                                              \
        BEGIN_SUMS(N, T)                                                                           \
        for (int r = r0; r < r1; r++) {                                                            \
            _Pragma("unroll") for (int j = 0; j < N; j++) {                                        \
                const int col = c + j * W;                                                         \
                const long at = (long)r * cols + col;                                              \
                const T centred = LOAD(x + at) - LOAD(MEAN(col));                                  \
                T g = LOAD(dy + at);                                                               \
                MASK(T, LOAD, STORE)                                                               \
                s[j] += g;                                                                         \
                q[j] = mad(g, centred, q[j]);                                                      \
            }                                                                                      \
        }                                                                                          \
        ADD_UP_SUMS(N, W, LOAD)                                                                    \
        STORE_SUMS(N, W, STORE)                                                                    \
    }

/* No activation; one right behind the normalization, recomputed from x; one behind an addition,
 * seen in its output y: then g is written back over dy, for the residual's gradient and the last
 * pass. */
#define NO_MASK(T, LOAD, STORE)
#define ACT_MASK(T, LOAD, STORE)                                                                  \
    const T z = mad(centred, LOAD(A(col)), LOAD(BETA(col)));                                       \
    g = z > (T)(0.0f) ? g : (T)(0.0f);                                                             \
    g = z < (T)(top) ? g : (T)(0.0f);
#define OUTPUT_MASK(T, LOAD, STORE)                                                                \
    const T z = LOAD(y + at);                                                                      \
    g = z > (T)(0.0f) ? g : (T)(0.0f);                                                             \
    g = z < (T)(top) ? g : (T)(0.0f);                                                              \
    STORE(g, dy + at);

#define GRAD_ROWS_PLAIN(N, W, T, LOAD, STORE) GRAD_ROWS(NO_MASK, N, W, T, LOAD, STORE)
#define GRAD_ROWS_ACT(N, W, T, LOAD, STORE) GRAD_ROWS(ACT_MASK, N, W, T, LOAD, STORE)
#define GRAD_ROWS_OUTPUT(N, W, T, LOAD, STORE) GRAD_ROWS(OUTPUT_MASK, N, W, T, LOAD, STORE)

#define GRAD_SUMS(NAME, ROWS)                                                                      \
    __kernel void NAME(__global const float *x, __global float *dy, __global const float *y,       \
                       __global const float *t, __global float *partial, int rows, int cols,       \
                       int part_rows, float top) {                                                 \
        FOR_COLUMNS(ROWS)                                                                          \
    }

GRAD_SUMS(batch_norm_grad_sums_f32, GRAD_ROWS_PLAIN)
GRAD_SUMS(batch_norm_act_grad_sums_f32, GRAD_ROWS_ACT)
GRAD_SUMS(batch_norm_add_act_grad_sums_f32, GRAD_ROWS_OUTPUT)

/* ---- from sums to tables: small ---- */

/* Runs CHANNEL(T, LOAD, STORE) for T channels starting at c. */
#ifdef CLQ_SCHEDULE_CPU
#define FOR_CHANNELS(CHANNEL)                                                                      \
    long c, last_;                                                                                 \
    clq_share(channels, 16, &c, &last_);                                                           \
    for (; c + 16 <= last_; c += 16) {                                                             \
        CHANNEL(float16, LOAD16, STORE16)                                                          \
    }                                                                                              \
    for (; c < last_; c++) {                                                                       \
        CHANNEL(float, LOAD1, STORE1)                                                              \
    }
#else
#define FOR_CHANNELS(CHANNEL)                                                                      \
    for (long c = get_global_id(0); c < channels; c += get_global_size(0)) {                       \
        CHANNEL(float, LOAD1, STORE1)                                                              \
    }
#endif

#define PART_ROWS(p) ((float)(min((p + 1) * part_rows, rows) - (p)*part_rows))
#define PARTIAL(p, which, f) (partial + ((long)(p)*2 + (which)) * cols + (f)*channels + c)

/* Chan, Golub, LeVeque 1979: the parts' means and squared deviations merged, shifted by the first
 * part's mean. `fold` columns belong together. */
#define MERGE_PARTS(T, LOAD, fold)                                                                 \
    const float n = (float)rows * (float)fold;                                                     \
    const T first = LOAD(PARTIAL(0, 0, 0));                                                        \
    T sum = (T)(0.0f), m2 = (T)(0.0f);                                                             \
    for (int p = 0; p < parts; p++) {                                                              \
        for (int f = 0; f < fold; f++) {                                                           \
            sum += (T)(PART_ROWS(p)) * (LOAD(PARTIAL(p, 0, f)) - first);                           \
        }                                                                                          \
    }                                                                                              \
    const T mean = first + sum / (T)(n);                                                           \
    for (int p = 0; p < parts; p++) {                                                              \
        for (int f = 0; f < fold; f++) {                                                           \
            const T d = LOAD(PARTIAL(p, 0, f)) - mean;                                             \
            m2 += LOAD(PARTIAL(p, 1, f)) + (T)(PART_ROWS(p)) * d * d;                              \
        }                                                                                          \
    }

#define SUM_PARTS(T, LOAD, fold)                                                                   \
    T sum_g = (T)(0.0f), sum_gx = (T)(0.0f);                                                       \
    for (int p = 0; p < parts; p++) {                                                              \
        for (int f = 0; f < fold; f++) {                                                           \
            sum_g += LOAD(PARTIAL(p, 0, f));                                                       \
            sum_gx += LOAD(PARTIAL(p, 1, f));                                                      \
        }                                                                                          \
    }

/* This rank's parts in one, merged (2, cols), so that ranks can exchange them: to the kernels below
 * the ranks' are parts again. */
#define MERGED(PARTS, a, b, T, LOAD, STORE)                                                        \
    {                                                                                              \
        PARTS(T, LOAD, 1)                                                                          \
        STORE(a, merged + c);                                                                      \
        STORE(b, merged + cols + c);                                                               \
    }
#define MERGE_COLUMN(T, LOAD, STORE) MERGED(MERGE_PARTS, mean, m2, T, LOAD, STORE)
#define SUM_COLUMN(T, LOAD, STORE) MERGED(SUM_PARTS, sum_g, sum_gx, T, LOAD, STORE)
#define MERGE(NAME, COLUMN)                                                                        \
    __kernel void NAME(__global const float *partial, __global float *merged, int rows, int cols,  \
                       int part_rows, int parts) {                                                 \
        const int channels = cols;                                                                 \
        FOR_CHANNELS(COLUMN)                                                                       \
    }

MERGE(batch_norm_merge_f32, MERGE_COLUMN)
MERGE(batch_norm_grad_merge_f32, SUM_COLUMN)

/* The running variance is unbiased, as torch has it. */
#define FINISH_CHANNEL(T, LOAD, STORE)                                                             \
    {                                                                                              \
        MERGE_PARTS(T, LOAD, fold)                                                                 \
        const T invstd = (T)(1.0f) / sqrt(m2 / (T)(n) + (T)(epsilon));                             \
        const T new_mean = (T)(1.0f - momentum) * LOAD(running_mean + c) + (T)(momentum)*mean;     \
        const T new_var =                                                                          \
            (T)(1.0f - momentum) * LOAD(running_var + c) + (T)(momentum)*m2 / (T)(n - 1.0f);       \
        STORE(new_mean, running_mean + c);                                                         \
        STORE(new_var, running_var + c);                                                           \
        STORE(invstd, INVSTD(c));                                                                  \
        TABLES(T, LOAD, STORE, mean, invstd)                                                       \
    }

#define TABLES(T, LOAD, STORE, mean, invstd)                                                       \
    for (int f = 0; f < fold; f++) {                                                               \
        STORE(mean, MEAN(f *channels + c));                                                        \
        STORE(LOAD(gamma + c) * invstd, A(f *channels + c));                                       \
        STORE(LOAD(beta + c), BETA(f *channels + c));                                              \
    }

__kernel void batch_norm_finish_f32(__global const float *partial, __global const float *gamma,
                                    __global const float *beta, __global float *running_mean,
                                    __global float *running_var, __global float *t, int rows,
                                    int cols, int part_rows, int parts, int channels,
                                    float epsilon, float momentum) {
    const int fold = cols / channels;
    FOR_CHANNELS(FINISH_CHANNEL)
}

/* The tables from the running statistics, for inference. */
#define RUNNING_CHANNEL(T, LOAD, STORE)                                                            \
    {                                                                                              \
        const T mean = LOAD(running_mean + c);                                                     \
        const T invstd = (T)(1.0f) / sqrt(LOAD(running_var + c) + (T)(epsilon));                   \
        TABLES(T, LOAD, STORE, mean, invstd)                                                       \
    }

__kernel void batch_norm_running_f32(__global const float *gamma, __global const float *beta,
                                     __global const float *running_mean,
                                     __global const float *running_var, __global float *t,
                                     int cols, int channels, float epsilon) {
    const int fold = cols / channels;
    FOR_CHANNELS(RUNNING_CHANNEL)
}

/* dbeta = sum g, dgamma = invstd * sum g (x - mean); with n rows
 * dx = A * (g - dbeta / n - (x - mean) * invstd * dgamma / n). Of sums over several ranks each
 * keeps `share` as its own: gradients become the mean over the ranks' later. */
#define GRAD_FINISH_CHANNEL(T, LOAD, STORE)                                                        \
    {                                                                                              \
        const float n = (float)rows * (float)fold;                                                 \
        SUM_PARTS(T, LOAD, fold)                                                                   \
        const T invstd = LOAD(INVSTD(c));                                                          \
        const T scale = LOAD(A(c)) / (T)(n);                                                       \
        for (int f = 0; f < fold; f++) {                                                           \
            STORE(-scale * invstd * invstd * sum_gx, K1(f *channels + c));                         \
            STORE(-scale * sum_g, K0(f *channels + c));                                            \
        }                                                                                          \
        STORE((T)(share) * (invstd * sum_gx), dgamma + c);                                         \
        STORE((T)(share) * sum_g, dbeta + c);                                                      \
    }

__kernel void batch_norm_grad_finish_f32(__global const float *partial, __global float *t,
                                         __global float *dgamma, __global float *dbeta, int rows,
                                         int cols, int parts, int channels, float share) {
    const int fold = cols / channels;
    FOR_CHANNELS(GRAD_FINISH_CHANNEL)
}

/* ---- passes over all elements ---- */

/* Runs CELL(F, T, LOAD, STORE) for the T at row offset `at`, column c. */
#ifdef CLQ_SCHEDULE_CPU
#define FOR_CELLS(CELL, F)                                                                         \
    do {                                                                                           \
        long r, last_;                                                                             \
        clq_share(rows, 1, &r, &last_);                                                            \
        for (; r < last_; r++) {                                                                   \
            int c = 0;                                                                             \
            for (; c + 16 <= cols; c += 16) {                                                      \
                const long at = r * cols + c;                                                      \
                CELL(F, float16, LOAD16, STORE16)                                                  \
            }                                                                                      \
            for (; c < cols; c++) {                                                                \
                const long at = r * cols + c;                                                      \
                CELL(F, float, LOAD1, STORE1)                                                      \
            }                                                                                      \
        }                                                                                          \
    } while (0)
#else
#define FOR_CELLS(CELL, F)                                                                         \
    for (uint at = get_global_id(0); at < (uint)rows * cols; at += get_global_size(0)) {           \
        const int c = (int)(at % (uint)cols);                                                      \
        CELL(F, float, LOAD1, STORE1)                                                              \
    }
#endif

#define NORMALISED(T, LOAD) mad(LOAD(x + at) - LOAD(MEAN(c)), LOAD(A(c)), LOAD(BETA(c)))

#define NORMALISE_CELL(F, T, LOAD, STORE)                                                          \
    {                                                                                              \
        const T v = NORMALISED(T, LOAD);                                                           \
        STORE(F(T, v), y + at);                                                                    \
    }
#define NORMALISE_ADD_CELL(F, T, LOAD, STORE)                                                      \
    {                                                                                              \
        const T v = NORMALISED(T, LOAD) + LOAD(residual + at);                                     \
        STORE(F(T, v), y + at);                                                                    \
    }
#define SAME(T, x) (x)
#define ACT(T, x) ((x) > (T)(top) ? (T)(top) : CLQ_RELU(T, x))

/* y = (x - mean) * a + beta [+ residual] [activation]. y may be x or residual. */
#define NORMALISE(NAME, CELL, F)                                                                   \
    __kernel void NAME(__global const float *x, __global const float *residual,                    \
                       __global const float *t, __global float *y, int rows, int cols,             \
                       float top) {                                                                \
        FOR_CELLS(CELL, F);                                                                        \
    }

NORMALISE(batch_norm_f32, NORMALISE_CELL, SAME)
NORMALISE(batch_norm_act_f32, NORMALISE_CELL, ACT)
NORMALISE(batch_norm_add_f32, NORMALISE_ADD_CELL, SAME)
NORMALISE(batch_norm_add_act_f32, NORMALISE_ADD_CELL, ACT)

#define INPUT_GRADIENT(MASK, T, LOAD, STORE)                                                       \
    const int col = c;                                                                             \
    const T centred = LOAD(x + at) - LOAD(MEAN(col));                                              \
    T g = LOAD(dy + at);                                                                           \
    MASK(T, LOAD, STORE)                                                                           \
    const T v = mad(LOAD(A(col)), g, mad(centred, LOAD(K1(col)), LOAD(K0(col))));

#define GRAD_CELL(MASK, T, LOAD, STORE)                                                            \
    {                                                                                              \
        INPUT_GRADIENT(MASK, T, LOAD, STORE)                                                       \
        STORE(v, dx + at);                                                                         \
    }
#define GRAD_ADD_CELL(MASK, T, LOAD, STORE)                                                        \
    {                                                                                              \
        INPUT_GRADIENT(MASK, T, LOAD, STORE)                                                       \
        STORE(LOAD(dx + at) + v, dx + at);                                                         \
    }

/* dx = ..., or dx += it. dx may be dy. */
#define INPUT_GRAD(NAME, MASK)                                                                     \
    __kernel void NAME(__global const float *x, __global const float *dy, __global const float *t, \
                       __global float *dx, int rows, int cols, float top, int accumulate) {        \
        if (accumulate) {                                                                          \
            FOR_CELLS(GRAD_ADD_CELL, MASK);                                                        \
        } else {                                                                                   \
            FOR_CELLS(GRAD_CELL, MASK);                                                            \
        }                                                                                          \
    }

INPUT_GRAD(batch_norm_grad_f32, NO_MASK)
INPUT_GRAD(batch_norm_act_grad_f32, ACT_MASK)

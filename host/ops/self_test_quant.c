/* Self-tests of the kernels of fake-quantized networks: floats that hold q - z, the same arithmetic
 * in C (kernels/include/scales.h), so that all must be equal but where exp or an inexact division
 * rounds. */
#include <math.h>
#include <string.h>

#include "kernels/include/scales.h"
#include "ops/pool_geometry.h"
#include "ops/reduction.h"
#include "ops/self_test.h"
#include "ops/self_test_learned.h"
#include "ops/self_test_weights.h"

/* Pixels and channels of codes: vectors of 16, and a rest. Values of the tables: the inputs, the
 * output. */
enum { PIXELS = 14, CHANNELS = 5, COUNT = PIXELS * CHANNELS, MULTIPLIERS = CHANNELS + 16 };
enum { A, B, Y, VALUES };
enum { SCALE, ZERO, LIMITS, RANGE, IN, IN2, OUT, MASK, MULTIPLIER, REAL_MULTIPLIER, GRAD, GRAD2 };
static const float scales[VALUES] = {0.031f, 0.047f, 0.059f};
static const float pow2_scales[VALUES] = {0x1p-5f, 0x1p-6f, 0x1p-4f};
static const int32_t zeros[VALUES] = {101, 8, 93};
static const int32_t limits[VALUES][2] = {{0, 255}, {0, 15}, {-128, 127}};

typedef struct bounds {
    float lo, hi;
} bounds;

static const float *scales_of(const clq_self_bench *b) {
    return clq_bench_requantizer(b) == CLQ_REQUANT_SHIFT ? pow2_scales : scales;
}

static bounds bounds_of(const clq_self_bench *b, int value, clq_act act) {
    const float z = (float)zeros[value];
    const int32_t lowest = limits[value][0], highest = limits[value][1];
    const float top = act == CLQ_ACT_RELU6 ? clq_relu6_code(scales_of(b)[value], z, lowest, highest)
                                           : (float)highest;
    return (bounds){act == CLQ_ACT_NONE ? (float)lowest - z : 0, top - z};
}

/* The requantizers that are not float have kernels of their own only where they matter; for all
 * others every network uses those that are built for float. */

/* (1), (2), (3) of a sum. */
static float code_of(const clq_self_bench *b, float sum, float m, float lo, float hi) {
    switch (clq_bench_requantizer(b)) {
    case CLQ_REQUANT_FIXED:
        return clq_fixed_code((int32_t)sum, m, lo, hi);
    case CLQ_REQUANT_SHIFT:
        return clq_shift_code((int32_t)sum, m, lo, hi);
    default:
        return clq_requantize_code(sum, m, 0, lo, hi);
    }
}

/* (4), (4f), (4s). */
static float code_of_add(const clq_self_bench *b, float qa, float qb, float lo, float hi) {
    const float *s = scales_of(b);
    const clq_requantizer requantizer = clq_bench_requantizer(b);
    const float ma = clq_divide(s[A], s[Y]), mb = clq_divide(s[B], s[Y]);
    const clq_add_factors f = clq_add_factors_of((int)requantizer, ma, mb);
    const int32_t a = (int32_t)qa, c = (int32_t)qb;
    switch (requantizer) {
    case CLQ_REQUANT_FIXED:
        return (float)clq_add_fixed(a, f.a, c, f.b, f.shift, 0, (int)lo, (int)hi);
    case CLQ_REQUANT_SHIFT:
        return (float)clq_add_shift(a, f.a, c, f.b, f.shift, 0, (int)lo, (int)hi);
    default:
        return clq_add_code(qa, ma, qb, mb, 0, lo, hi);
    }
}

/* (12), (12f), (12s). */
static float code_of_mean(const clq_self_bench *b, float sum, int count, float lo, float hi) {
    const float *s = scales_of(b);
    return clq_bench_requantizer(b) == CLQ_REQUANT_SHIFT
               ? (float)clq_mean_shift((int32_t)sum, count, clq_mean_shift_of(s[A], s[Y]), 0,
                                       (int)lo, (int)hi)
               : code_of(b, sum, clq_pool_factor(s[A], s[Y], count), lo, hi);
}

/* Whether a code was not clamped, and the clamped one. */
static uint8_t clamp_code(float wide, bounds at, float *code) {
    *code = clq_clamp_code(wide, 0, at.lo, at.hi);
    return wide >= at.lo && wide <= at.hi;
}

/* The tables, and nothing seen yet. */
static clq_status put_tables(clq_self_bench *b) {
    const float nothing[2 * VALUES] = {0};
    CLQ_TRY(clq_bench_put(b, SCALE, scales_of(b), sizeof scales));
    CLQ_TRY(clq_bench_put(b, ZERO, zeros, sizeof zeros));
    CLQ_TRY(clq_bench_put(b, LIMITS, limits, sizeof limits));
    return clq_bench_put(b, RANGE, nothing, sizeof nothing);
}

/* Outputs, and what was seen of value Y. */
static clq_status put_outputs(clq_self_bench *b, size_t count) {
    const float nothing[2 * VALUES] = {0};
    CLQ_TRY(clq_bench_put(b, OUT, NULL, count * sizeof(float)));
    CLQ_TRY(clq_bench_put(b, MASK, NULL, count));
    return clq_bench_put(b, RANGE, nothing, sizeof nothing);
}

static clq_status expect_range(clq_self_bench *b, const float range[2], double tolerance,
                               const char *what) {
    float all[2 * VALUES] = {0};
    memcpy(all + 2 * Y, range, 2 * sizeof *all);
    return clq_bench_floats(b, b->buffers[RANGE], all, 2 * VALUES, tolerance, what);
}

#define TABLES(b) CLQ_AT(b, SCALE), CLQ_AT(b, ZERO), CLQ_AT(b, LIMITS)

/* ---- edges.cl ---- */

static clq_status test_edges(clq_self_bench *b) {
    float x[COUNT], codes[COUNT], reals[COUNT], gradient[COUNT], range[2] = {0};
    const bounds at = bounds_of(b, Y, CLQ_ACT_NONE);
    clq_self_test_fill(x, COUNT, 1000, 1);
    for (int i = 0; i < COUNT; i++) {
        x[i] *= 0.0137f;
        const float wide = clq_quantize_code(x[i], scales[Y], 0, at.lo - 1, at.hi + 1);
        gradient[i] = clamp_code(wide, at, &codes[i]) ? 2 * x[i] : x[i];
        reals[i] = x[i] * scales[Y];
        clq_self_test_widen(range, x[i]);
    }
    CLQ_TRY(put_tables(b));
    CLQ_TRY(clq_bench_put(b, IN, x, sizeof x));
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, "quantize_codes", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT), TABLES(b),
              CLQ_I32(Y), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], codes, COUNT, 0, "quantize_codes"));
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, "quantize_codes_observe", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT),
              TABLES(b), CLQ_AT(b, RANGE), CLQ_I32(Y), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], codes, COUNT, 0, "quantize_codes_observe"));
    CLQ_TRY(expect_range(b, range, 0, "quantize_codes_observe"));
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, "dequantize_codes", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT),
              CLQ_AT(b, SCALE), CLQ_I32(Y), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], reals, COUNT, 0, "dequantize_codes"));
    CLQ_TRY(clq_bench_put(b, OUT, x, sizeof x)); /* what is added to; dy is x */
    CLQ_BENCH(b, "quantize_codes_gradient", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN),
              CLQ_AT(b, OUT), TABLES(b), CLQ_I32(Y), CLQ_I32(true), CLQ_I32(COUNT));
    return clq_bench_floats(b, b->buffers[OUT], gradient, COUNT, 0, "quantize_codes_gradient");
}

/* ---- requantize.cl ---- */

typedef struct sums {
    float acc[COUNT], code[COUNT], real[COUNT], range[2];
    int32_t whole[COUNT];
    uint8_t mask[COUNT];
    float multiplier[MULTIPLIERS], real_multiplier[MULTIPLIERS];
    clq_act act;
} sums;

static void find_codes(const clq_self_bench *b, sums *s, clq_act act) {
    const bounds at = bounds_of(b, Y, act);
    s->act = act;
    s->range[0] = s->range[1] = 0;
    for (int i = 0; i < COUNT; i++) {
        const float m = s->multiplier[i % CHANNELS];
        float real = s->acc[i] * s->real_multiplier[i % CHANNELS];
        real = act != CLQ_ACT_NONE && real < 0 ? 0 : act == CLQ_ACT_RELU6 && real > 6 ? 6 : real;
        s->real[i] = real;
        s->mask[i] = clamp_code(code_of(b, s->acc[i], m, at.lo - 1, at.hi + 1), at, &s->code[i]);
        clq_self_test_widen(s->range, real);
    }
}

static clq_status check_inference(clq_self_bench *b, const sums *s, bool whole) {
    const char *to_codes = whole ? "requantize_sums" : "requantize_codes";
    const char *to_reals = whole ? "sums_to_reals" : "codes_to_reals";
    CLQ_TRY(clq_bench_put(b, IN, whole ? (const void *)s->whole : s->acc, sizeof s->acc));
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, to_codes, clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT), CLQ_AT(b, MULTIPLIER),
              TABLES(b), CLQ_I32(Y), CLQ_I32(s->act), CLQ_I32(COUNT), CLQ_I32(CHANNELS));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], s->code, COUNT, 0, to_codes));
    if (clq_bench_requantizer(b) != CLQ_REQUANT_FLOAT) {
        return CLQ_OK;
    }
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, to_reals, clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT),
              CLQ_AT(b, REAL_MULTIPLIER), CLQ_I32(s->act), CLQ_I32(COUNT), CLQ_I32(CHANNELS));
    return clq_bench_floats(b, b->buffers[OUT], s->real, COUNT, 0, to_reals);
}

static clq_status check_training(clq_self_bench *b, const sums *s) {
    float masked[COUNT], unrounded[COUNT];
    CLQ_TRY(clq_bench_put(b, IN, s->acc, sizeof s->acc));
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, "requantize_codes_train", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT),
              CLQ_AT(b, MULTIPLIER), CLQ_AT(b, MASK), CLQ_BUF(NULL), TABLES(b), CLQ_I32(Y),
              CLQ_I32(s->act), CLQ_I32(COUNT), CLQ_I32(CHANNELS));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], s->code, COUNT, 0, "requantize_codes_train"));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[MASK], s->mask, COUNT, "requantize_codes_train"));
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, "requantize_codes_observe", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT),
              CLQ_AT(b, MULTIPLIER), CLQ_AT(b, REAL_MULTIPLIER), CLQ_AT(b, MASK), CLQ_BUF(NULL),
              TABLES(b), CLQ_AT(b, RANGE), CLQ_I32(Y), CLQ_I32(s->act), CLQ_I32(COUNT),
              CLQ_I32(CHANNELS));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], s->code, COUNT, 0, "requantize_codes_observe"));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[MASK], s->mask, COUNT, "requantize_codes_observe"));
    CLQ_TRY(expect_range(b, s->range, 0, "requantize_codes_observe"));
    if (clq_bench_requantizer(b) != CLQ_REQUANT_FLOAT) {
        return CLQ_OK;
    }
    for (int i = 0; i < COUNT; i++) {
        masked[i] = s->mask[i] ? s->acc[i] : 0;
        unrounded[i] = s->acc[i] * s->multiplier[i % CHANNELS];
    }
    CLQ_TRY(clq_bench_put(b, GRAD, NULL, sizeof unrounded));
    CLQ_BENCH(b, "requantize_codes_train", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT),
              CLQ_AT(b, MULTIPLIER), CLQ_BUF(NULL), CLQ_AT(b, GRAD), TABLES(b), CLQ_I32(Y),
              CLQ_I32(s->act), CLQ_I32(COUNT), CLQ_I32(CHANNELS));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], s->code, COUNT, 0, "requantize_codes_train"));
    CLQ_TRY(clq_bench_floats(b, b->buffers[GRAD], unrounded, COUNT, 0, "requantize_codes_train"));
    CLQ_TRY(clq_bench_put(b, MASK, s->mask, COUNT));
    CLQ_BENCH(b, "mask_gradient", clq_bench_range(b), CLQ_AT(b, MASK), CLQ_AT(b, IN),
              CLQ_I32(COUNT));
    return clq_bench_floats(b, b->buffers[IN], masked, COUNT, 0, "mask_gradient");
}

static clq_status test_requantize(clq_self_bench *b) {
    sums s;
    clq_self_test_fill(s.acc, COUNT, 40000, 1);
    for (int i = 0; i < COUNT; i++) {
        s.whole[i] = (int32_t)s.acc[i];
    }
    for (int i = 0; i < MULTIPLIERS; i++) {
        s.multiplier[i] = clq_bench_requantizer(b) == CLQ_REQUANT_SHIFT
                              ? ldexpf(1, -6 - i % CHANNELS)
                              : 0.0013f * (float)(1 + i % CHANNELS);
        s.real_multiplier[i] = 0.00017f * (float)(1 + i % CHANNELS);
    }
    CLQ_TRY(put_tables(b));
    CLQ_TRY(clq_bench_put(b, MULTIPLIER, s.multiplier, sizeof s.multiplier));
    CLQ_TRY(clq_bench_put(b, REAL_MULTIPLIER, s.real_multiplier, sizeof s.real_multiplier));
    for (int i = 0; i < 2; i++) {
        find_codes(b, &s, i ? CLQ_ACT_RELU6 : CLQ_ACT_NONE);
        CLQ_TRY(check_inference(b, &s, false));
        CLQ_TRY(check_inference(b, &s, true));
        CLQ_TRY(check_training(b, &s));
    }
    return CLQ_OK;
}

/* ---- elementwise.cl ---- */

static clq_status check_adds(clq_self_bench *b, const float *qa, const float *qb) {
    const clq_act act = CLQ_ACT_RELU6;
    const bounds at = bounds_of(b, Y, act);
    const float *of = scales_of(b);
    float code[COUNT], da[COUNT], db[COUNT], range[2] = {0};
    uint8_t mask[COUNT];
    for (int i = 0; i < COUNT; i++) {
        const float real_a = qa[i] * of[A], real_b = qb[i] * of[B];
        mask[i] = clamp_code(code_of_add(b, qa[i], qb[i], at.lo - 1, at.hi + 1), at, &code[i]);
        clq_self_test_widen(range, fminf(fmaxf(real_a + real_b, 0), 6));
        da[i] = mask[i] ? qb[i] : 0; /* dy is b's codes */
        db[i] = qa[i] + da[i];
    }
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, "add_codes", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN2), CLQ_AT(b, OUT),
              TABLES(b), CLQ_I32(A), CLQ_I32(B), CLQ_I32(Y), CLQ_I32(act), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, COUNT, 0, "add_codes"));
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, "add_codes_train", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN2),
              CLQ_AT(b, OUT), CLQ_AT(b, MASK), CLQ_BUF(NULL), TABLES(b), CLQ_I32(A), CLQ_I32(B),
              CLQ_I32(Y), CLQ_I32(act), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, COUNT, 0, "add_codes_train"));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[MASK], mask, COUNT, "add_codes_train"));
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, "add_codes_observe", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN2),
              CLQ_AT(b, OUT), CLQ_AT(b, MASK), CLQ_BUF(NULL), TABLES(b), CLQ_AT(b, RANGE),
              CLQ_I32(A), CLQ_I32(B), CLQ_I32(Y), CLQ_I32(act), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, COUNT, 0, "add_codes_observe"));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[MASK], mask, COUNT, "add_codes_observe"));
    CLQ_TRY(expect_range(b, range, 0, "add_codes_observe"));
    if (clq_bench_requantizer(b) != CLQ_REQUANT_FLOAT) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_bench_put(b, MASK, mask, COUNT));
    CLQ_TRY(clq_bench_put(b, GRAD, NULL, sizeof da));
    CLQ_TRY(clq_bench_put(b, GRAD2, qa, sizeof db)); /* is added to */
    CLQ_BENCH(b, "add_codes_gradient", clq_bench_range(b), CLQ_AT(b, MASK), CLQ_AT(b, IN2),
              CLQ_AT(b, GRAD), CLQ_AT(b, GRAD2), CLQ_I32(0), CLQ_I32(1), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[GRAD], da, COUNT, 0, "add_codes_gradient"));
    return clq_bench_floats(b, b->buffers[GRAD2], db, COUNT, 0, "add_codes_gradient");
}

static clq_status check_clips(clq_self_bench *b, const float *qa, const float *qb) {
    const bounds at = bounds_of(b, A, CLQ_ACT_RELU6);
    float code[COUNT], dx[COUNT];
    for (int i = 0; i < COUNT; i++) {
        code[i] = fminf(fmaxf(qa[i], at.lo), at.hi);
        dx[i] = qa[i] + (qa[i] == code[i] ? qb[i] : 0);
    }
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, "clip_codes", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT), TABLES(b),
              CLQ_I32(A), CLQ_I32(CLQ_ACT_RELU6), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, COUNT, 0, "clip_codes"));
    CLQ_TRY(clq_bench_put(b, GRAD, qa, sizeof dx)); /* is added to */
    CLQ_BENCH(b, "clip_codes_gradient", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN2),
              CLQ_AT(b, GRAD), TABLES(b), CLQ_I32(A), CLQ_I32(CLQ_ACT_RELU6), CLQ_I32(1),
              CLQ_I32(COUNT));
    return clq_bench_floats(b, b->buffers[GRAD], dx, COUNT, 0, "clip_codes_gradient");
}

/* ---- tables: columns for two channels in turn ---- */

enum { COLUMNS = 2, ENTRIES = 256 * COLUMNS, PARTS = 5, SLOPES = 3 };

static int entry_of(const float *x, int i) {
    const int byte = (int)x[i] + zeros[A];
    return (byte < 0 ? 0 : byte > 255 ? 255 : byte) * COLUMNS + i % COLUMNS;
}

/* f = 3x + column in what would be a function's program, with what is not finite. */
static clq_status check_table(clq_self_bench *b, float table[PARTS * ENTRIES]) {
    const bounds at = bounds_of(b, Y, CLQ_ACT_NONE);
    float x[ENTRIES], f[ENTRIES], slope[ENTRIES];
    for (int i = 0; i < ENTRIES; i++) {
        x[i] = scales[A] * (float)(i / COLUMNS - zeros[A]);
        f[i] = i == 5 ? NAN : i == 9 ? INFINITY : 3 * x[i] + (float)(i % COLUMNS);
        slope[i] = i == 500 ? INFINITY : 0.01f * (float)(i - 300);
        const float real = isnan(f[i]) ? -INFINITY : f[i];
        const float wide = clq_quantize_code(real, scales[Y], 0, at.lo - 1, at.hi + 1);
        const bool passes = clamp_code(wide, at, &table[i]) && isfinite(slope[i]);
        table[ENTRIES + i] = isfinite(real) ? real : table[i] * scales[Y];
        table[2 * ENTRIES + i] = clq_divide(table[ENTRIES + i], scales[Y]);
        table[SLOPES * ENTRIES + i] = passes ? slope[i] : 0;
        table[4 * ENTRIES + i] = passes && x[i] < 0 ? x[i] : 0;
    }
    CLQ_TRY(clq_bench_put(b, GRAD, NULL, sizeof x));
    CLQ_BENCH(b, "table_reals", clq_bench_range(b), CLQ_AT(b, GRAD), TABLES(b), CLQ_I32(A),
              CLQ_I32(COLUMNS));
    CLQ_TRY(clq_bench_floats(b, b->buffers[GRAD], x, ENTRIES, 0, "table_reals"));
    CLQ_TRY(clq_bench_put(b, GRAD, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, GRAD2, f, sizeof f));
    CLQ_TRY(clq_bench_put(b, REAL_MULTIPLIER, slope, sizeof slope));
    CLQ_TRY(clq_bench_put(b, MULTIPLIER, NULL, PARTS * sizeof x));
    CLQ_BENCH(b, "table_codes", clq_bench_range(b), CLQ_AT(b, GRAD), CLQ_AT(b, GRAD2),
              CLQ_AT(b, REAL_MULTIPLIER), CLQ_AT(b, MULTIPLIER), TABLES(b), CLQ_I32(Y),
              CLQ_I32(ENTRIES));
    return clq_bench_floats(b, b->buffers[MULTIPLIER], table, PARTS * ENTRIES, 0, "table_codes");
}

static clq_status check_lookups(clq_self_bench *b, const float *qa, const float *qb) {
    float table[PARTS * ENTRIES], code[COUNT], unrounded[COUNT], dx[COUNT], range[2] = {0};
    CLQ_TRY(check_table(b, table));
    CLQ_TRY(clq_bench_put(b, MULTIPLIER, table, sizeof table));
    for (int i = 0; i < COUNT; i++) {
        const int entry = entry_of(qa, i);
        const float g = qb[i] * table[SLOPES * ENTRIES + entry];
        code[i] = table[entry];
        unrounded[i] = table[2 * ENTRIES + entry];
        dx[i] = qa[i] + g;
        clq_self_test_widen(range, table[ENTRIES + entry]);
    }
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_BENCH(b, "lookup_codes", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT),
              CLQ_AT(b, MULTIPLIER), TABLES(b), CLQ_I32(A), CLQ_I32(COLUMNS), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, COUNT, 0, "lookup_codes"));
    CLQ_TRY(put_outputs(b, COUNT));
    CLQ_TRY(clq_bench_put(b, GRAD, NULL, sizeof unrounded));
    CLQ_BENCH(b, "lookup_codes_train", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT),
              CLQ_AT(b, GRAD), CLQ_AT(b, MULTIPLIER), TABLES(b), CLQ_AT(b, RANGE), CLQ_I32(A),
              CLQ_I32(Y), CLQ_I32(COLUMNS), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, COUNT, 0, "lookup_codes_train"));
    CLQ_TRY(clq_bench_floats(b, b->buffers[GRAD], unrounded, COUNT, 0, "lookup_codes_train"));
    CLQ_TRY(expect_range(b, range, 0, "lookup_codes_train"));
    CLQ_TRY(clq_bench_put(b, GRAD, qa, sizeof dx)); /* is added to */
    CLQ_BENCH(b, "lookup_codes_gradient", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN2),
              CLQ_AT(b, GRAD), CLQ_AT(b, MULTIPLIER), TABLES(b), CLQ_I32(A), CLQ_I32(COLUMNS),
              CLQ_I32(SLOPES), CLQ_I32(1), CLQ_I32(COUNT));
    return clq_bench_floats(b, b->buffers[GRAD], dx, COUNT, 0, "lookup_codes_gradient");
}

static clq_status test_elementwise(clq_self_bench *b) {
    float qa[COUNT], qb[COUNT];
    clq_self_test_fill(qa, COUNT, 160, 1);
    clq_self_test_fill(qb, COUNT, 90, 2);
    CLQ_TRY(put_tables(b));
    CLQ_TRY(clq_bench_put(b, IN, qa, sizeof qa));
    CLQ_TRY(clq_bench_put(b, IN2, qb, sizeof qb));
    CLQ_TRY(check_adds(b, qa, qb));
    if (clq_bench_requantizer(b) != CLQ_REQUANT_FLOAT) {
        return CLQ_OK;
    }
    CLQ_TRY(check_clips(b, qa, qb));
    return check_lookups(b, qa, qb);
}

/* ---- pool.cl ---- */

/* One vector of channels and one more; windows that hang over every edge. */
static const clq_pool_geometry pool = {.n = 1,
                                       .ih = 4,
                                       .iw = 5,
                                       .c = 17,
                                       .oh = 2,
                                       .ow = 3,
                                       .kh = 3,
                                       .kw = 3,
                                       .sh = 2,
                                       .sw = 2,
                                       .dh = 1,
                                       .dw = 1,
                                       .pad = {1, 1, 0, 1}};

static clq_status test_pool(clq_self_bench *b) {
    enum { POOL_X = 4 * 5 * 17, POOL_Y = 2 * 3 * 17 };
    const clq_pool_geometry *g = &pool;
    const bounds at = bounds_of(b, Y, CLQ_ACT_NONE);
    float x[POOL_X], code[POOL_Y], range[2] = {0};
    uint8_t mask[POOL_Y];
    clq_self_test_fill(x, POOL_X, 900, 1); /* means beyond all codes too */
    for (int i = 0; i < POOL_Y; i++) {
        const int top = i / g->c / g->ow * g->sh - g->pad[0];
        const int left = i / g->c % g->ow * g->sw - g->pad[1];
        float sum = 0;
        int count = 0;
        for (int h = top < 0 ? 0 : top; h < top + g->kh && h < g->ih; h++) {
            for (int w = left < 0 ? 0 : left; w < left + g->kw && w < g->iw; w++) {
                sum += x[(h * g->iw + w) * g->c + i % g->c];
                count++;
            }
        }
        mask[i] = clamp_code(code_of_mean(b, sum, count, at.lo - 1, at.hi + 1), at, &code[i]);
        clq_self_test_widen(range, sum * (scales_of(b)[A] / (float)count));
    }
    CLQ_TRY(put_tables(b));
    CLQ_TRY(clq_bench_put(b, IN, x, sizeof x));
    CLQ_TRY(put_outputs(b, POOL_Y));
    CLQ_BENCH(b, "avg_pool_codes", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT), TABLES(b),
              CLQ_I32(A), CLQ_I32(Y), CLQ_POOL_SHAPE(pool), CLQ_I32(0), CLQ_I32(1), CLQ_I32(0));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, POOL_Y, 0, "avg_pool_codes"));
    CLQ_TRY(put_outputs(b, POOL_Y));
    CLQ_BENCH(b, "avg_pool_codes_train", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, OUT),
              CLQ_AT(b, MASK), CLQ_BUF(NULL), CLQ_AT(b, RANGE), TABLES(b), CLQ_I32(A), CLQ_I32(Y),
              CLQ_POOL_SHAPE(pool), CLQ_I32(0), CLQ_I32(1), CLQ_I32(0));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, POOL_Y, 0, "avg_pool_codes_train"));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[MASK], mask, sizeof mask, "avg_pool_codes_train"));
    return expect_range(b, range, 1e-6, "avg_pool_codes_train"); /* its division may round */
}

/* ---- reduce.cl: rows across memory and along it, of which all lanes have some ---- */

static clq_status check_reduce(clq_self_bench *b, bool along) {
    enum { LONG = 66, ROWS = 17, ALL = LONG * ROWS, DIVISOR = 4 };
    const clq_tensor across = {.shape = {3, {1, LONG, ROWS}}, .pitch = ROWS};
    const clq_tensor flat = {.shape = {2, {ROWS, LONG}}, .pitch = LONG};
    const clq_reduction rows = clq_reduction_of(along ? &flat : &across, 2);
    const clq_range items = clq_reduction_range(b->device, &rows);
    const bounds at = bounds_of(b, Y, CLQ_ACT_NONE);
    float x[ALL], code[ROWS], range[2] = {0};
    uint8_t mask[ROWS];
    clq_self_test_fill(x, ALL, 60, 1);
    for (int k = 0; k < ROWS; k++) {
        float sum = 0;
        for (int i = 0; i < LONG; i++) {
            sum += x[along ? k * LONG + i : i * ROWS + k];
        }
        mask[k] = clamp_code(code_of_mean(b, sum, DIVISOR, at.lo - 1, at.hi + 1), at, &code[k]);
        clq_self_test_widen(range, sum * (scales_of(b)[A] / DIVISOR));
    }
    CLQ_TRY(put_tables(b));
    CLQ_TRY(clq_bench_put(b, IN, x, sizeof x));
    CLQ_TRY(put_outputs(b, ROWS));
    CLQ_BENCH(b, "reduce_codes", items, CLQ_AT(b, IN), CLQ_AT(b, OUT), TABLES(b), CLQ_I32(A),
              CLQ_I32(Y), CLQ_I32(DIVISOR), CLQ_REDUCTION(rows));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, ROWS, 0, "reduce_codes"));
    CLQ_TRY(put_outputs(b, ROWS));
    CLQ_BENCH(b, "reduce_codes_train", items, CLQ_AT(b, IN), CLQ_AT(b, OUT), CLQ_AT(b, MASK),
              CLQ_BUF(NULL), CLQ_AT(b, RANGE), TABLES(b), CLQ_I32(A), CLQ_I32(Y), CLQ_I32(DIVISOR),
              CLQ_REDUCTION(rows));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, ROWS, 0, "reduce_codes_train"));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[MASK], mask, sizeof mask, "reduce_codes_train"));
    return expect_range(b, range, 1e-6, "reduce_codes_train");
}

static clq_status test_reduce(clq_self_bench *b) {
    CLQ_TRY(check_reduce(b, false));
    return check_reduce(b, true);
}

/* ---- observe.cl, compare.cl ---- */

static clq_status check_update(clq_self_bench *b, float averaging, bool symmetric, int max_shift) {
    static const float seen[2 * VALUES] = {1.5f, 7.25f, 0, 3.3f, 9, 9};
    static const float before[2 * VALUES] = {2.5f, 5, 0, 2.7f, 1, 1};
    static const int32_t observer[VALUES] = {A, B, -1};
    float running[2 * VALUES], scale[VALUES];
    int32_t zero[VALUES];
    memcpy(running, before, sizeof running);
    memcpy(scale, scales, sizeof scale);
    memcpy(zero, zeros, sizeof zero);
    for (int v = 0; v < Y; v++) {
        for (int i = 2 * v; i < 2 * v + 2; i++) {
            const float kept = before[i] * (1 - averaging), added = seen[i] * averaging;
            running[i] = averaging > 0 ? kept + added : fmaxf(before[i], seen[i]);
        }
        const int32_t lowest = limits[v][0], highest = limits[v][1];
        scale[v] = clq_range_scale(running[2 * v], running[2 * v + 1], lowest, highest, symmetric,
                                   max_shift);
        zero[v] = clq_range_zero_point(running[2 * v], scale[v], lowest, highest, symmetric);
    }
    CLQ_TRY(put_tables(b));
    CLQ_TRY(clq_bench_put(b, IN, seen, sizeof seen));
    CLQ_TRY(clq_bench_put(b, OUT, before, sizeof before));
    CLQ_TRY(clq_bench_put(b, MASK, observer, sizeof observer));
    CLQ_BENCH(b, "observer_update", CLQ_RANGE1(VALUES), CLQ_AT(b, IN), CLQ_AT(b, OUT),
              CLQ_AT(b, MASK), TABLES(b), CLQ_F32(averaging), CLQ_I32(symmetric),
              CLQ_I32(max_shift), CLQ_I32(VALUES));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], running, 2 * VALUES, 0, "observer_update"));
    CLQ_TRY(clq_bench_floats(b, b->buffers[SCALE], scale, VALUES, 0, "observer_update"));
    return clq_bench_bytes(b, b->buffers[ZERO], zero, sizeof zero, "observer_update");
}

static clq_status check_join(clq_self_bench *b) {
    static const float seen[2 * VALUES] = {1.5f, 7.25f, 0, 3.3f, 9, 6};
    static const float joined[2 * VALUES] = {9, 7.25f, 0, 3.3f, 9, 6};
    static const int32_t observer[VALUES] = {A, -1, A};
    CLQ_TRY(clq_bench_put(b, IN, seen, sizeof seen));
    CLQ_TRY(clq_bench_put(b, MASK, observer, sizeof observer));
    CLQ_BENCH(b, "observer_join", CLQ_RANGE1(VALUES), CLQ_AT(b, IN), CLQ_AT(b, MASK),
              CLQ_I32(VALUES));
    return clq_bench_floats(b, b->buffers[IN], joined, 2 * VALUES, 0, "observer_join");
}

static clq_status test_observe(clq_self_bench *b) {
    float x[COUNT], range[2] = {0};
    clq_self_test_fill(x, COUNT, 1000, 1);
    for (int i = 0; i < COUNT; i++) {
        clq_self_test_widen(range, x[i]);
    }
    CLQ_TRY(put_tables(b));
    CLQ_TRY(clq_bench_put(b, IN, x, sizeof x));
    CLQ_BENCH(b, "observe_reals", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, RANGE), CLQ_I32(Y),
              CLQ_I32(COUNT));
    CLQ_TRY(expect_range(b, range, 0, "observe_reals"));
    CLQ_TRY(check_join(b));
    CLQ_TRY(check_update(b, 0.25f, false, -1));
    return check_update(b, 0, true, 9);
}

static clq_status test_compare(clq_self_bench *b) {
    enum { PITCH = 8, FIRST = 11 };
    float fake[COUNT];
    uint8_t codes[PIXELS * PITCH] = {0};
    int32_t result[2 * VALUES] = {0};
    for (int i = 0; i < COUNT; i++) {
        const int code = (i * 37 + 5) % 256;
        codes[i / CHANNELS * PITCH + i % CHANNELS] = (uint8_t)code;
        fake[i] = (float)(code - zeros[Y] + (i == FIRST || i == COUNT - 1));
    }
    CLQ_TRY(put_tables(b));
    CLQ_TRY(clq_bench_put(b, IN, fake, sizeof fake));
    CLQ_TRY(clq_bench_put(b, IN2, codes, sizeof codes));
    CLQ_TRY(clq_bench_put(b, OUT, result, sizeof result));
    CLQ_BENCH(b, "compare_codes", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN2),
              CLQ_I32(zeros[Y]), CLQ_I32(Y), CLQ_AT(b, OUT), CLQ_I32(PIXELS), CLQ_I32(CHANNELS),
              CLQ_I32(PITCH));
    result[2 * Y] = 2;
    result[2 * Y + 1] = INT32_MAX - FIRST;
    return clq_bench_bytes(b, b->buffers[OUT], result, sizeof result, "compare_codes");
}

const clq_file_test clq_quant_self_tests[] = {
    {"quant/edges.cl", test_edges, true},
    {"quant/requantize.cl", test_requantize, true},
    {"quant/elementwise.cl", test_elementwise, true},
    {"quant/pool.cl", test_pool, true},
    {"quant/reduce.cl", test_reduce, true},
    {"quant/weights.cl", clq_test_weights, false},
    {"quant/conv2d_exact.cl", clq_test_conv2d_exact, false},
    {"quant/observe.cl", test_observe, false},
    {"quant/compare.cl", test_compare, false},
    {"quant/learned_scales.cl", clq_test_learned_scales, false},
    {"quant/int8_sums.cl", clq_test_int8_sums, false},
    {0}};

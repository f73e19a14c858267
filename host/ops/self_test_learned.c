#include "ops/self_test_learned.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/include/scales.h"

/* Of three values the first learns its scale, the second nothing, the third scale and offset. */
enum { VALUES = 3, PLAIN = 0, SHIFTED = 2 };
enum { PLAIN_SCALE, SHIFTED_SCALE, SHIFTED_OFFSET, NUMBERS };
enum { COUNT = 300, PIECES = 3, LOWEST = 0, HIGHEST = 255 };
enum {
    LEARNED,
    BOUNDS,
    SCALE_OF,
    PLACES,
    SPAN,
    SCALE,
    ZERO,
    UNROUNDED,
    DY,
    PARTIAL,
    GRADIENT,
    LIMITS
};

static const int32_t scale_of[NUMBERS] = {-1, -1, SHIFTED_SCALE};
static const int32_t places[2 * VALUES] = {PLAIN_SCALE, -1, -1, -1, SHIFTED_SCALE, SHIFTED_OFFSET};
static const float bounds[2 * NUMBERS] = {0.01f, 0, 0.02f, 0, LOWEST, HIGHEST};

static const int32_t limits[2 * VALUES] = {0, 0, 0, 0, LOWEST, HIGHEST};

static clq_status check_limits(clq_self_bench *b) {
    const float learned[NUMBERS] = {-0.3f, 0.7f, 2.5f}; /* an offset above 0: 0 would be no code */
    const float limited[NUMBERS] = {0.01f, 0.7f, 0};
    CLQ_TRY(clq_bench_put(b, LEARNED, learned, sizeof learned));
    for (int offsets = 0; offsets < 2; offsets++) {
        CLQ_BENCH(b, "learned_limit", CLQ_RANGE1(NUMBERS), CLQ_AT(b, LEARNED), CLQ_AT(b, BOUNDS),
                  CLQ_AT(b, SCALE_OF), CLQ_I32(offsets), CLQ_I32(-1), CLQ_I32(NUMBERS));
    }
    return clq_bench_floats(b, b->buffers[LEARNED], limited, NUMBERS, 0, "learned_limit");
}

static clq_status check_tables(clq_self_bench *b, const float *learned, int max_shift) {
    static const float span[VALUES] = {15, 1, 1}, before[VALUES] = {5, 6, 7};
    static const int32_t zeros_before[VALUES] = {11, 12, 13};
    float scale[VALUES] = {0, 6, 0};
    int32_t zero[VALUES] = {11, 12, 0};
    scale[PLAIN] = clq_limit_scale(clq_divide(learned[PLAIN_SCALE], 15), max_shift);
    scale[SHIFTED] = clq_limit_scale(learned[SHIFTED_SCALE], max_shift);
    zero[SHIFTED] = (int32_t)rintf(clq_divide(-learned[SHIFTED_OFFSET], scale[SHIFTED]));
    CLQ_TRY(clq_bench_put(b, LEARNED, learned, NUMBERS * sizeof *learned));
    CLQ_TRY(clq_bench_put(b, SPAN, span, sizeof span));
    CLQ_TRY(clq_bench_put(b, SCALE, before, sizeof before));
    CLQ_TRY(clq_bench_put(b, ZERO, zeros_before, sizeof zeros_before));
    CLQ_BENCH(b, "learned_tables", CLQ_RANGE1(VALUES), CLQ_AT(b, LEARNED), CLQ_AT(b, BOUNDS),
              CLQ_AT(b, PLACES), CLQ_AT(b, SPAN), CLQ_AT(b, SCALE), CLQ_AT(b, ZERO),
              CLQ_I32(max_shift), CLQ_I32(VALUES));
    CLQ_TRY(clq_bench_floats(b, b->buffers[SCALE], scale, VALUES, 0, "learned_tables"));
    return clq_bench_bytes(b, b->buffers[ZERO], zero, sizeof zero, "learned_tables");
}

/* Behind no activation, or a relu6 whose 6 is no code of its own. */
static clq_status check_gradient(clq_self_bench *b, const float *learned, bool relu6, bool level) {
    const float s = learned[SHIFTED_SCALE], z = relu6 ? 0.0f : 88.0f, factor = 0.25f;
    const float scale[VALUES] = {1, 1, s};
    const int32_t zero[VALUES] = {0, 0, (int32_t)z};
    const float least = relu6 ? 0 : -INFINITY, most = relu6 ? clq_divide(6, s) : INFINITY;
    const float rest = clq_divide(-learned[SHIFTED_OFFSET], s);
    float u[COUNT], dy[COUNT], dx[COUNT], gradient[NUMBERS] = {1, 2, 3};
    double for_scale = 0, for_offset = 0;
    clq_self_test_fill(u, COUNT, 4000, 1);
    clq_self_test_fill(dy, COUNT, 100, 2);
    for (int i = 0; i < COUNT; i++) {
        u[i] *= 0.093f;
        dy[i] *= 0.01f;
        const float x = fminf(fmaxf(u[i], least), most);
        const float c = fminf(fmaxf(x, LOWEST - z), HIGHEST - z);
        for_scale += (double)dy[i] * (double)(x == c ? rintf(c) - x : c + rest);
        for_offset += x == c ? 0 : (double)dy[i];
        dx[i] = u[i] == c ? dy[i] : 0;
    }
    CLQ_TRY(clq_bench_put(b, LEARNED, learned, NUMBERS * sizeof *learned));
    CLQ_TRY(clq_bench_put(b, SCALE, scale, sizeof scale));
    CLQ_TRY(clq_bench_put(b, ZERO, zero, sizeof zero));
    CLQ_TRY(clq_bench_put(b, UNROUNDED, u, sizeof u));
    CLQ_TRY(clq_bench_put(b, DY, dy, sizeof dy));
    CLQ_TRY(clq_bench_put(b, PARTIAL, NULL, 2 * PIECES * sizeof(float)));
    CLQ_BENCH(b, "learned_gradient", clq_bench_groups(b, PIECES, 128), CLQ_AT(b, UNROUNDED),
              CLQ_AT(b, DY), CLQ_AT(b, SCALE), CLQ_AT(b, ZERO), CLQ_AT(b, LIMITS),
              CLQ_AT(b, LEARNED), CLQ_I32(SHIFTED_OFFSET), CLQ_AT(b, PARTIAL), CLQ_I32(0),
              CLQ_I32(SHIFTED), CLQ_I32(relu6 ? 2 : 0), CLQ_I32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[DY], dx, COUNT, 0, "learned_gradient"));
    CLQ_TRY(clq_bench_put(b, GRADIENT, gradient, sizeof gradient)); /* is added to */
    CLQ_BENCH(b, "learned_reduce", CLQ_RANGE1(1), CLQ_AT(b, PARTIAL), CLQ_I32(PIECES),
              CLQ_AT(b, LEARNED), CLQ_AT(b, GRADIENT), CLQ_AT(b, SCALE), CLQ_I32(SHIFTED),
              CLQ_I32(SHIFTED_SCALE), CLQ_I32(SHIFTED_OFFSET), CLQ_I32(level), CLQ_F32(1),
              CLQ_F32(factor));
    gradient[SHIFTED_SCALE] += (float)(level ? for_offset : for_scale) * factor;
    gradient[SHIFTED_OFFSET] += (float)for_offset * factor;
    return clq_bench_floats(b, b->buffers[GRADIENT], gradient, NUMBERS, 1e-4, "learned_gradient");
}

clq_status clq_test_learned_scales(clq_self_bench *b) {
    static const float learned[NUMBERS] = {1.7f, 0.031f, -88.3f * 0.031f};
    CLQ_TRY(clq_bench_put(b, BOUNDS, bounds, sizeof bounds));
    CLQ_TRY(clq_bench_put(b, SCALE_OF, scale_of, sizeof scale_of));
    CLQ_TRY(clq_bench_put(b, PLACES, places, sizeof places));
    CLQ_TRY(clq_bench_put(b, LIMITS, limits, sizeof limits));
    CLQ_TRY(check_limits(b));
    CLQ_TRY(check_tables(b, learned, -1));
    CLQ_TRY(check_tables(b, learned, 9));
    CLQ_TRY(check_gradient(b, learned, false, false));
    CLQ_TRY(check_gradient(b, learned, true, true));
    return CLQ_OK;
}

/* ---- int8_sums.cl ---- */

enum { X, BYTES, CODES, BIAS, MAP, PACKED, STARTS, CHANNEL_NUMBERS, REACH };

/* With padding channels, and without. */
static clq_status check_bytes(clq_self_bench *b, int channels, int pitch) {
    enum { PIXELS = 7, MOST = 8, SHIFT = 100 };
    float x[PIXELS * MOST];
    uint8_t bytes[PIXELS * MOST] = {0};
    clq_self_test_fill(x, (size_t)(PIXELS * channels), 100, 1);
    for (int i = 0; i < PIXELS * channels; i++) {
        bytes[i / channels * pitch + i % channels] = (uint8_t)((int)x[i] + SHIFT);
    }
    CLQ_TRY(clq_bench_put(b, X, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, BYTES, NULL, (size_t)(PIXELS * pitch)));
    CLQ_BENCH(b, "codes_to_bytes", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, BYTES),
              CLQ_I32(SHIFT), CLQ_I32(PIXELS), CLQ_I32(channels), CLQ_I32(pitch));
    return clq_bench_bytes(b, b->buffers[BYTES], bytes, (size_t)(PIXELS * pitch), "codes_to_bytes");
}

static clq_status check_packing(clq_self_bench *b, bool wide) {
    enum { WEIGHTS = 40, ROOM = 53 };
    float codes[WEIGHTS];
    int32_t map[ROOM];
    int8_t bytes[ROOM];
    int16_t words[ROOM];
    clq_self_test_fill(codes, WEIGHTS, 128, 2);
    for (int i = 0; i < ROOM; i++) {
        map[i] = i * 17 % (WEIGHTS + 1);
        bytes[i] = (int8_t)(map[i] > 0 ? codes[map[i] - 1] : 0);
        words[i] = bytes[i];
    }
    CLQ_TRY(clq_bench_put(b, CODES, codes, sizeof codes));
    CLQ_TRY(clq_bench_put(b, MAP, map, sizeof map));
    CLQ_TRY(clq_bench_put(b, PACKED, NULL, sizeof words));
    CLQ_BENCH(b, "pack_codes", clq_bench_range(b), CLQ_AT(b, CODES), CLQ_AT(b, MAP),
              CLQ_AT(b, PACKED), CLQ_I32(wide), CLQ_I32(ROOM));
    return clq_bench_bytes(b, b->buffers[PACKED], wide ? (const void *)words : bytes,
                           wide ? sizeof words : sizeof bytes, "pack_codes");
}

static clq_status check_starts(clq_self_bench *b) {
    enum { OC = 5, K = 37, ROOM = 8, Z = 77, MOST = 255 };
    static const int32_t numbers[ROOM] = {2, 5, 0, 3, 5, 0, 1, 4}; /* one is there twice */
    static const float bias[OC] = {1000, -70000, 0, 5, -3};
    float codes[OC * K];
    int32_t starts[ROOM] = {0}, expected[ROOM] = {0}, reach = 0, most = 0;
    clq_self_test_fill(codes, sizeof codes / sizeof *codes, 127, 3);
    for (int c = 0; c < OC; c++) {
        int32_t sum = 0, size = 0;
        for (int i = c * K; i < (c + 1) * K; i++) {
            sum += (int32_t)codes[i];
            size += abs((int32_t)codes[i]);
        }
        for (int place = 0; place < ROOM; place++) {
            if (numbers[place] == c + 1) {
                expected[place] = (int32_t)bias[c] - Z * sum;
            }
        }
        size = MOST * size + abs((int32_t)bias[c]);
        most = size > most ? size : most;
    }
    CLQ_TRY(clq_bench_put(b, CODES, codes, sizeof codes));
    CLQ_TRY(clq_bench_put(b, BIAS, bias, sizeof bias));
    CLQ_TRY(clq_bench_put(b, CHANNEL_NUMBERS, numbers, sizeof numbers));
    CLQ_TRY(clq_bench_put(b, STARTS, starts, sizeof starts));
    CLQ_TRY(clq_bench_put(b, REACH, &reach, sizeof reach));
    CLQ_BENCH(b, "sum_starts", CLQ_RANGE1(ROOM), CLQ_AT(b, CODES), CLQ_AT(b, BIAS),
              CLQ_AT(b, CHANNEL_NUMBERS), CLQ_AT(b, STARTS), CLQ_AT(b, REACH), CLQ_I32(Z),
              CLQ_I32(MOST), CLQ_I32(ROOM), CLQ_I32(K));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[STARTS], expected, sizeof expected, "sum_starts"));
    return clq_bench_bytes(b, b->buffers[REACH], &most, sizeof most, "sum_starts");
}

clq_status clq_test_int8_sums(clq_self_bench *b) {
    CLQ_TRY(check_bytes(b, 5, 8));
    CLQ_TRY(check_bytes(b, 8, 8));
    CLQ_TRY(check_packing(b, false));
    CLQ_TRY(check_packing(b, true));
    return check_starts(b);
}

/* Self-tests of the kernels that resize, and of what transposed convolutions need beside those of
 * convolutions. Weights of one half and whole numbers: nothing rounds but codes. */
#include "ops/resize.h"
#include "ops/self_test.h"

/* A vector of channels and a rest; the last row and column lie beyond the image. */
enum { IN_H = 3, IN_W = 2, OUT_H = 6, OUT_W = 5, CHANNELS = 17, PITCH = 20 };
enum { XS = IN_H * IN_W * CHANNELS, YS = OUT_H * OUT_W * CHANNELS };
enum { X, Y, MASK, SCALE, ZERO, LIMITS, AXES };
static const float outside = 1.6f;
static const float scale = 0.25f;
static const int32_t zero = 93;

static const int x_dim[4] = {1, IN_H, IN_W, CHANNELS}, y_dim[4] = {1, OUT_H, OUT_W, CHANNELS};

/* Output i lies between inputs i / 2 and (i + 1) / 2. */
static int make_axis(int in, int out, int *first, int *from, float *weight) {
    int count = 0;
    first[0] = 0;
    for (int i = 0; i < out; i++) {
        const int low = i / 2, high = (i + 1) / 2;
        if (high < in) {
            from[count] = low;
            weight[count++] = low == high ? 1 : 0.5f;
        }
        if (high < in && high != low) {
            from[count] = high;
            weight[count++] = 0.5f;
        }
        first[i + 1] = count;
    }
    return count;
}

static clq_status put_axes(clq_self_bench *b, bool whole) {
    for (int axis = 0; axis < 2; axis++) {
        const int in = axis == 0 ? IN_H : IN_W, out = axis == 0 ? OUT_H : OUT_W;
        int first[OUT_H + 1], from[2 * OUT_H];
        float weight[2 * OUT_H];
        int32_t codes[2 * OUT_H];
        const int count = make_axis(in, out, first, from, weight);
        for (int t = 0; t < count; t++) {
            codes[t] = (int32_t)(2048 * weight[t]);
        }
        CLQ_TRY(clq_bench_put(b, AXES + 3 * axis, first, ((size_t)out + 1) * sizeof *first));
        CLQ_TRY(clq_bench_put(b, AXES + 3 * axis + 1, from, (size_t)count * sizeof *from));
        CLQ_TRY(clq_bench_put(b, AXES + 3 * axis + 2, whole ? (void *)codes : (void *)weight,
                              (size_t)count * sizeof *weight));
    }
    return CLQ_OK;
}

#define AT_AXES(b)                                                                                 \
    CLQ_AT(b, AXES), CLQ_AT(b, AXES + 1), CLQ_AT(b, AXES + 2), CLQ_AT(b, AXES + 3),                \
        CLQ_AT(b, AXES + 4), CLQ_AT(b, AXES + 5)

/* Of output i; *beyond: it lies outside. */
static float value_of(const float *x, int i, bool *beyond) {
    const int c = i % CHANNELS, w = i / CHANNELS % OUT_W, h = i / CHANNELS / OUT_W;
    const int h2 = (h + 1) / 2, w2 = (w + 1) / 2;
    *beyond = h2 >= IN_H || w2 >= IN_W;
    if (*beyond) {
        return outside;
    }
    return (x[(h / 2 * IN_W + w / 2) * CHANNELS + c] + x[(h / 2 * IN_W + w2) * CHANNELS + c] +
            x[(h2 * IN_W + w / 2) * CHANNELS + c] + x[(h2 * IN_W + w2) * CHANNELS + c]) /
           4;
}

static clq_status test_codes(clq_self_bench *b, const float *x) {
    const int32_t limits[2] = {60, 130};
    const float lo = (float)(limits[0] - zero), hi = (float)(limits[1] - zero);
    float expected[YS];
    uint8_t mask[YS];
    for (int i = 0; i < YS; i++) {
        bool beyond;
        const float value = value_of(x, i, &beyond);
        const float code = rintf(beyond ? outside / scale : value);
        mask[i] = code >= lo && code <= hi;
        expected[i] = code < lo ? lo : code > hi ? hi : code;
    }
    CLQ_TRY(put_axes(b, true));
    CLQ_TRY(clq_bench_put(b, SCALE, &scale, sizeof scale));
    CLQ_TRY(clq_bench_put(b, ZERO, &zero, sizeof zero));
    CLQ_TRY(clq_bench_put(b, LIMITS, limits, sizeof limits));
    CLQ_TRY(clq_bench_put(b, MASK, NULL, sizeof mask));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof expected));
    CLQ_BENCH(b, "resize_codes", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, Y), CLQ_AT(b, MASK),
              CLQ_AT(b, SCALE), CLQ_AT(b, ZERO), CLQ_AT(b, LIMITS), CLQ_I32(0), AT_AXES(b),
              CLQ_RESIZE_SHAPE(x_dim, y_dim), CLQ_I32(22), CLQ_F32(outside));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], expected, YS, 0, "resize_codes"));
    return clq_bench_bytes(b, b->buffers[MASK], mask, sizeof mask, "resize_codes");
}

static clq_status test_floats(clq_self_bench *b) {
    float x[XS], y[YS], expected[YS];
    bool beyond;
    clq_self_test_fill(x, XS, 50, 1);
    clq_self_test_fill(y, YS, 50, 2);
    for (int i = 0; i < YS; i++) {
        expected[i] = y[i] + value_of(x, i, &beyond);
    }
    CLQ_TRY(clq_bench_put(b, X, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, Y, y, sizeof y));
    CLQ_TRY(put_axes(b, false));
    CLQ_BENCH(b, "resize_f32", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, Y), AT_AXES(b),
              CLQ_RESIZE_SHAPE(x_dim, y_dim), CLQ_F32(outside), CLQ_I32(true));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], expected, YS, 1e-6, "resize_f32"));
    return test_codes(b, x);
}

static clq_status test_int8(clq_self_bench *b) {
    enum { LO = 60, HI = 130, PIXELS = OUT_H * OUT_W };
    float x[XS];
    uint8_t bytes[IN_H * IN_W * PITCH] = {0}, expected[PIXELS * PITCH] = {0};
    clq_self_test_fill(x, XS, 50, 1);
    for (int i = 0; i < XS; i++) {
        bytes[i / CHANNELS * PITCH + i % CHANNELS] = (uint8_t)((int)x[i] + zero);
    }
    for (int i = 0; i < YS; i++) {
        bool beyond;
        const float value = value_of(x, i, &beyond);
        const int code = (int)rintf(beyond ? outside / scale : value) + zero;
        expected[i / CHANNELS * PITCH + i % CHANNELS] = (uint8_t)(code < LO   ? LO
                                                                  : code > HI ? HI
                                                                              : code);
    }
    CLQ_TRY(clq_bench_put(b, X, bytes, sizeof bytes));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof expected));
    CLQ_TRY(put_axes(b, true));
    CLQ_BENCH(b, "int8_resize", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, Y), AT_AXES(b),
              CLQ_RESIZE_SHAPE(x_dim, y_dim), CLQ_I32(22), CLQ_I32(zero), CLQ_I32(LO), CLQ_I32(HI),
              CLQ_F32(outside), CLQ_F32(scale));
    return clq_bench_bytes(b, b->buffers[Y], expected, sizeof expected, "int8_resize");
}

/* ---- transposed convolutions ---- */

static clq_status test_exchange(clq_self_bench *b) {
    enum { GROUPS = 2, A = 5, TAPS = 3, B = 7, COUNT = GROUPS * A * TAPS * B };
    float from[COUNT], to[COUNT];
    clq_self_test_fill(from, COUNT, 1000, 1);
    for (int i = 0; i < COUNT; i++) {
        const int last = i % B, tap = i / B % TAPS, a = i / B / TAPS % A, g = i / B / TAPS / A;
        to[((g * B + last) * TAPS + tap) * A + a] = from[i];
    }
    CLQ_TRY(clq_bench_put(b, X, from, sizeof from));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof to));
    CLQ_BENCH(b, "exchange_channels", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, Y), CLQ_I32(A),
              CLQ_I32(TAPS), CLQ_I32(B), CLQ_I32(COUNT));
    return clq_bench_floats(b, b->buffers[Y], to, COUNT, 0, "exchange_channels");
}

static clq_status test_f32_transposed(clq_self_bench *b) {
    enum { ROWS = 211, COLS = 5, PARTS = 3 };
    float x[ROWS * COLS], sums[PARTS * COLS] = {0};
    CLQ_TRY(test_exchange(b));
    clq_self_test_fill(x, ROWS * COLS, 1000, 1);
    for (int part = 0; part < PARTS; part++) {
        for (int row = ROWS * part / PARTS; row < ROWS * (part + 1) / PARTS; row++) {
            for (int c = 0; c < COLS; c++) {
                sums[part * COLS + c] += x[row * COLS + c];
            }
        }
    }
    CLQ_TRY(clq_bench_put(b, X, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof sums));
    CLQ_BENCH(b, "channel_sums", CLQ_RANGE2(16, PARTS), CLQ_AT(b, X), CLQ_AT(b, Y), CLQ_I32(ROWS),
              CLQ_I32(COLS), CLQ_I32(PARTS));
    return clq_bench_floats(b, b->buffers[Y], sums, PARTS * COLS, 0, "channel_sums");
}

/* Phases of a stride of 2 and 3, in 2 groups of 5 or 4 channels, which words hold or do not, as
 * bytes and as reals. */
static clq_status test_phases(clq_self_bench *b, int cols, bool reals) {
    enum { H = 3, W = 4, SH = 2, SW = 3, MOST = 2 * 5 * SH * SW, GRID = 2 * 2, WORDS = H * W * 10 };
    const int oc = 2 * cols, all = oc * SH * SW;
    const int made_bytes = reals ? 4 * all : (all + 3) / 4 * 4, row = reals ? oc : (oc + 3) / 4;
    uint8_t made[GRID * MOST * 4], y[WORDS * 4] = {0};
    const int size = reals ? 4 : 1;
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof made; i++) {
        made[i] = (uint8_t)(clq_self_test_draw(&state) >> 8);
    }
    for (int i = 0; i < H * W * oc; i++) {
        const int c = i % oc, w = i / oc % W, h = i / oc / W;
        const int at = (c / cols * SH * SW + h % SH * SW + w % SW) * cols + c % cols;
        for (int k = 0; k < size; k++) {
            y[i / oc * row * 4 + c * size + k] =
                made[(h / SH * 2 + w / SW) * made_bytes + at * size + k];
        }
    }
    CLQ_TRY(clq_bench_put(b, X, made, sizeof made));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof y));
    CLQ_BENCH(b, "int8_place_phases", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, Y),
              CLQ_I32(H * W * row), CLQ_I32(H), CLQ_I32(W), CLQ_I32(oc), CLQ_I32(2), CLQ_I32(2),
              CLQ_I32(SH), CLQ_I32(SW), CLQ_I32(2), CLQ_I32(made_bytes), CLQ_I32(row),
              CLQ_I32(reals));
    return clq_bench_bytes(b, b->buffers[Y], y, (size_t)(H * W * row) * 4, "int8_place_phases");
}

static clq_status test_int8_transposed(clq_self_bench *b) {
    CLQ_TRY(test_phases(b, 5, false));
    CLQ_TRY(test_phases(b, 4, false));
    return test_phases(b, 5, true);
}

const clq_file_test clq_resize_self_tests[] = {
    {"f32/resize.cl", test_floats, false},
    {"int8/resize.cl", test_int8, false},
    {"f32/conv_transpose.cl", test_f32_transposed, false},
    {"int8/place_phases.cl", test_int8_transposed, false},
    {0}};

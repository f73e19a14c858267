/* Self-tests of the kernels of two operands. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/binary.h"
#include "ops/self_test.h"

static clq_binary kind_of(const clq_self_bench *b) {
    const char *option = b->options ? strstr(b->options, "-DCLQ_BINARY=") : NULL;
    return option ? (clq_binary)atoi(strchr(option, '=') + 1) : CLQ_BINARY_ADD;
}

/* a is whole, b one vector of channels and one more an image; and the other way about. */
enum { IMAGES = 2, PIXELS = 5, CHANNELS = 17, PAIRS = IMAGES * PIXELS * CHANNELS };
enum { SMALL = IMAGES * CHANNELS };
static const clq_shape whole = {3, {IMAGES, PIXELS, CHANNELS}};
static const clq_shape gate = {3, {IMAGES, 1, CHANNELS}};

static int gate_at(int i) {
    return i / CHANNELS / PIXELS * CHANNELS + i % CHANNELS;
}

/* ---- f32/binary.cl ---- */

static double apply(clq_binary kind, double a, double b) {
    switch (kind) {
    case CLQ_BINARY_ADD:
        return a + b;
    case CLQ_BINARY_SUB:
        return a - b;
    case CLQ_BINARY_MUL:
        return a * b;
    case CLQ_BINARY_DIV:
        return a / b;
    case CLQ_BINARY_MIN:
        return b < a ? b : a;
    case CLQ_BINARY_MAX:
        return b > a ? b : a;
    default:
        return pow(a, b);
    }
}

static void slopes(clq_binary kind, double a, double b, double *of_a, double *of_b) {
    const bool first = kind == CLQ_BINARY_MIN ? a <= b : a >= b;
    switch (kind) {
    case CLQ_BINARY_ADD:
    case CLQ_BINARY_SUB:
        *of_a = 1;
        *of_b = kind == CLQ_BINARY_ADD ? 1 : -1;
        return;
    case CLQ_BINARY_MUL:
        *of_a = b;
        *of_b = a;
        return;
    case CLQ_BINARY_DIV:
        *of_a = 1 / b;
        *of_b = -a / (b * b);
        return;
    case CLQ_BINARY_POW:
        *of_a = b * pow(a, b - 1);
        *of_b = pow(a, b) * log(a);
        return;
    default:
        *of_a = first;
        *of_b = !first;
    }
}

/* Sixteenths between 1/4 and 4: sums and products are exact, quotients and powers below 300. */
static void draw_pairs(float *data, int count, uint32_t state) {
    for (int i = 0; i < count; i++) {
        data[i] = (float)(4 + clq_self_test_draw(&state) % 61) / 16;
    }
}

static clq_status check_reals(clq_self_bench *b, const float *large, const float *small,
                              bool small_first) {
    enum { X, X2, DY, Y, DA, DB };
    const clq_binary kind = kind_of(b);
    const bool exact = kind <= CLQ_BINARY_MUL || kind == CLQ_BINARY_MIN || kind == CLQ_BINARY_MAX;
    const clq_tensor out = {.shape = whole};
    const clq_tensor in[2] = {{.shape = small_first ? gate : whole},
                              {.shape = small_first ? whole : gate}};
    float y[PAIRS], da[PAIRS], db[PAIRS];
    clq_broadcast shape;
    for (int i = 0; i < PAIRS; i++) {
        const double s = (double)small[gate_at(i)], l = (double)large[i];
        const double va = small_first ? s : l, vb = small_first ? l : s;
        const double r = apply(kind, va, vb);
        double of_a, of_b;
        slopes(kind, va, vb, &of_a, &of_b);
        y[i] = (float)(small_first ? fmin(fmax(r, 0), 6) : fmax(r, 0));
        da[i] = (float)((double)large[i] * of_a);
        db[i] = (float)((double)large[i] * of_b) + large[i];
    }
    clq_broadcast_make(&out, &in[0], &in[1], &shape);
    CLQ_TRY(clq_bench_put(b, X, small_first ? small : large, (small_first ? SMALL : PAIRS) * 4));
    CLQ_TRY(clq_bench_put(b, X2, small_first ? large : small, (small_first ? PAIRS : SMALL) * 4));
    CLQ_TRY(clq_bench_put(b, DY, large, sizeof y));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof y));
    CLQ_TRY(clq_bench_put(b, DA, NULL, sizeof y));
    CLQ_TRY(clq_bench_put(b, DB, large, sizeof y)); /* is added to */
    CLQ_BENCH(b, "binary_f32", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, X2), CLQ_AT(b, Y),
              CLQ_I32(small_first ? CLQ_ACT_RELU6 : CLQ_ACT_RELU), CLQ_BROADCAST(shape));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], y, PAIRS, exact ? 0 : 1e-5, "binary_f32"));
    CLQ_BENCH(b, "binary_grad_f32", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, X2), CLQ_AT(b, DY),
              CLQ_AT(b, DA), CLQ_AT(b, DB), CLQ_I32(false), CLQ_I32(true), CLQ_I32(false),
              CLQ_BROADCAST(shape));
    CLQ_TRY(clq_bench_floats(b, b->buffers[DA], da, PAIRS, exact ? 0 : 1e-5, "binary_grad_f32"));
    return clq_bench_floats(b, b->buffers[DB], db, PAIRS, exact ? 0 : 1e-5, "binary_grad_f32");
}

static clq_status test_f32_binary(clq_self_bench *b) {
    float large[PAIRS], small[SMALL];
    draw_pairs(large, PAIRS, 1);
    draw_pairs(small, SMALL, 2);
    CLQ_TRY(check_reals(b, large, small, false));
    return check_reals(b, large, small, true);
}

/* ---- on codes ---- */

enum { A, B, Y, VALUES };
static const int32_t zeros[VALUES] = {101, 88, 93};
enum { LOWEST = 3, HIGHEST = 250, PITCH = 20 };

/* Powers of two for the requantizer that needs them. */
static void find_scales(const clq_self_bench *b, float scale[VALUES]) {
    static const float scales[VALUES] = {0.031f, 0.047f, 0.059f};
    for (int v = 0; v < VALUES; v++) {
        scale[v] = clq_bench_requantizer(b) == CLQ_REQUANT_SHIFT ? ldexpf(1, ilogbf(scales[v]))
                                                                 : scales[v];
    }
    if (kind_of(b) == CLQ_BINARY_MUL) {
        scale[Y] *= 4; /* products reach further */
    }
}

/* (1), (2), (3) in plain arithmetic. */
static double code_of_sum(clq_requantizer requantizer, int sum, float m) {
    const float scaled = (float)sum * m;
    return requantizer == CLQ_REQUANT_FIXED   ? floor((double)sum * (double)m + 0.5)
           : requantizer == CLQ_REQUANT_SHIFT ? rint((double)sum * (double)m)
                                              : (double)rintf(scaled);
}

/* One result, less the zero point: before it is clamped, the real, and what a gradient of 1 gives.
 */
typedef struct pair_result {
    double code, real, of_a, of_b;
} pair_result;

static pair_result pair_of(const clq_self_bench *b, const float scale[VALUES], int qa, int qb,
                           double lo, double hi) {
    const clq_requantizer requantizer = clq_bench_requantizer(b);
    const clq_binary kind = kind_of(b);
    const float ma = scale[A] / scale[Y], mb = scale[B] / scale[Y];
    const float product = scale[A] * scale[B];
    const double ra = (double)scale[A] * qa, rb = (double)scale[B] * qb;
    if (kind <= CLQ_BINARY_SUB) {
        const int sign = kind == CLQ_BINARY_SUB ? -1 : 1;
        return (pair_result){clq_self_test_sum(requantizer, qa, ma, sign * qb, mb), ra + sign * rb,
                             1, sign};
    }
    if (kind == CLQ_BINARY_MUL) {
        return (pair_result){code_of_sum(requantizer, qa * qb, product / scale[Y]), ra * rb, rb,
                             ra};
    }
    const double ca = fmin(fmax(code_of_sum(requantizer, qa, ma), lo - 1), hi + 1);
    const double cb = fmin(fmax(code_of_sum(requantizer, qb, mb), lo - 1), hi + 1);
    const double ta = fmin(fmax(ca, lo), hi), tb = fmin(fmax(cb, lo), hi);
    const bool min = kind == CLQ_BINARY_MIN, first = min ? ta <= tb : ta >= tb;
    return (pair_result){min ? fmin(ca, cb) : fmax(ca, cb), min ? fmin(ra, rb) : fmax(ra, rb),
                         first, !first};
}

static bool has_codes(const clq_self_bench *b) {
    return kind_of(b) != CLQ_BINARY_DIV && kind_of(b) != CLQ_BINARY_POW;
}

static void draw_bytes(uint8_t *codes, int count, uint32_t state) {
    for (int i = 0; i < count; i++) {
        codes[i] = (uint8_t)(clq_self_test_draw(&state) >> 8);
    }
}

/* ---- quant/binary.cl ---- */

enum { IN, IN2, OUT, MASK, SCALE, ZERO, LIMITS, RANGE, DY, DA, DB };

static clq_status put_pairs(clq_self_bench *b, const float scale[VALUES], const uint8_t *large,
                            const uint8_t *small) {
    static const int32_t limits[2 * VALUES] = {0, 255, 0, 255, LOWEST, HIGHEST};
    static const float nothing[2 * VALUES];
    float qa[PAIRS], qb[SMALL];
    for (int i = 0; i < PAIRS; i++) {
        qa[i] = (float)(large[i] - zeros[A]);
    }
    for (int i = 0; i < SMALL; i++) {
        qb[i] = (float)(small[i] - zeros[B]);
    }
    CLQ_TRY(clq_bench_put(b, IN, qa, sizeof qa));
    CLQ_TRY(clq_bench_put(b, IN2, qb, sizeof qb));
    CLQ_TRY(clq_bench_put(b, SCALE, scale, VALUES * sizeof *scale));
    CLQ_TRY(clq_bench_put(b, ZERO, zeros, sizeof zeros));
    CLQ_TRY(clq_bench_put(b, LIMITS, limits, sizeof limits));
    CLQ_TRY(clq_bench_put(b, RANGE, nothing, sizeof nothing));
    CLQ_TRY(clq_bench_put(b, MASK, NULL, PAIRS));
    return clq_bench_put(b, OUT, NULL, PAIRS * sizeof(float));
}

static clq_broadcast pair_shape(clq_dtype dtype) {
    const clq_tensor out = {.shape = whole, .dtype = dtype}, b = {.shape = gate, .dtype = dtype};
    clq_broadcast shape;
    clq_broadcast_make(&out, &out, &b, &shape);
    return shape;
}

static clq_status test_quant_binary(clq_self_bench *b) {
    const double lo = LOWEST - zeros[Y], hi = HIGHEST - zeros[Y];
    const clq_broadcast shape = pair_shape(CLQ_F32);
    uint8_t large[PAIRS], small[SMALL], mask[PAIRS];
    float scale[VALUES], code[PAIRS], dy[PAIRS], da[PAIRS], db[PAIRS], range[2 * VALUES] = {0};
    if (!has_codes(b)) {
        return CLQ_OK; /* these never run so */
    }
    find_scales(b, scale);
    draw_bytes(large, PAIRS, 1);
    draw_bytes(small, SMALL, 2);
    draw_pairs(dy, PAIRS, 3);
    for (int i = 0; i < PAIRS; i++) {
        const pair_result r =
            pair_of(b, scale, large[i] - zeros[A], small[gate_at(i)] - zeros[B], lo, hi);
        code[i] = (float)fmin(fmax(r.code, lo), hi);
        mask[i] = r.code >= lo && r.code <= hi;
        da[i] = (float)((double)dy[i] * r.of_a);
        db[i] = (float)((double)dy[i] * r.of_b) + dy[i];
        clq_self_test_widen(range + 2 * Y, (float)r.real);
    }
    CLQ_TRY(put_pairs(b, scale, large, small));
    CLQ_TRY(clq_bench_put(b, DY, dy, sizeof dy));
    CLQ_TRY(clq_bench_put(b, DA, NULL, sizeof dy));
    CLQ_TRY(clq_bench_put(b, DB, dy, sizeof dy)); /* is added to */
    CLQ_BENCH(b, "binary_codes", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN2), CLQ_AT(b, OUT),
              CLQ_AT(b, SCALE), CLQ_AT(b, ZERO), CLQ_AT(b, LIMITS), CLQ_I32(A), CLQ_I32(B),
              CLQ_I32(Y), CLQ_I32(CLQ_ACT_NONE), CLQ_BROADCAST(shape));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, PAIRS, 0, "binary_codes"));
    CLQ_TRY(clq_bench_put(b, OUT, NULL, sizeof code));
    CLQ_BENCH(b, "binary_codes_train", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN2),
              CLQ_AT(b, OUT), CLQ_AT(b, MASK), CLQ_BUF(NULL), CLQ_AT(b, SCALE), CLQ_AT(b, ZERO),
              CLQ_AT(b, LIMITS), CLQ_AT(b, RANGE), CLQ_I32(true), CLQ_I32(A), CLQ_I32(B),
              CLQ_I32(Y), CLQ_I32(CLQ_ACT_NONE), CLQ_BROADCAST(shape));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], code, PAIRS, 0, "binary_codes_train"));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[MASK], mask, sizeof mask, "binary_codes_train"));
    CLQ_TRY(clq_bench_floats(b, b->buffers[RANGE], range, 2 * VALUES, 1e-6, "binary_codes_train"));
    if (clq_bench_requantizer(b) != CLQ_REQUANT_FLOAT && kind_of(b) <= CLQ_BINARY_MUL) {
        return CLQ_OK;
    }
    CLQ_BENCH(b, "binary_codes_grad", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN2),
              CLQ_AT(b, DY), CLQ_AT(b, DA), CLQ_AT(b, DB), CLQ_AT(b, SCALE), CLQ_AT(b, ZERO),
              CLQ_AT(b, LIMITS), CLQ_I32(A), CLQ_I32(B), CLQ_I32(Y), CLQ_I32(CLQ_ACT_NONE),
              CLQ_I32(false), CLQ_I32(true), CLQ_I32(false), CLQ_BROADCAST(shape));
    CLQ_TRY(clq_bench_floats(b, b->buffers[DA], da, PAIRS, 1e-6, "binary_codes_grad"));
    return clq_bench_floats(b, b->buffers[DB], db, PAIRS, 1e-6, "binary_codes_grad");
}

/* ---- int8/binary.cl ---- */

static clq_status test_int8_binary(clq_self_bench *b) {
    const clq_requantizer requantizer = clq_bench_requantizer(b);
    const double lo = LOWEST - zeros[Y], hi = HIGHEST - zeros[Y];
    const clq_broadcast shape = pair_shape(CLQ_U8);
    uint8_t large[PAIRS], small[SMALL], a[IMAGES * PIXELS * PITCH] = {0};
    uint8_t c[IMAGES * PITCH] = {0}, expected[IMAGES * PIXELS * PITCH] = {0};
    float scale[VALUES];
    int32_t f[4];
    if (!has_codes(b)) {
        return CLQ_OK;
    }
    find_scales(b, scale);
    draw_bytes(large, PAIRS, 1);
    draw_bytes(small, SMALL, 2);
    for (int i = 0; i < PAIRS; i++) {
        const pair_result r =
            pair_of(b, scale, large[i] - zeros[A], small[gate_at(i)] - zeros[B], lo, hi);
        a[i / CHANNELS * PITCH + i % CHANNELS] = large[i];
        expected[i / CHANNELS * PITCH + i % CHANNELS] =
            (uint8_t)(fmin(fmax(r.code, lo), hi) + zeros[Y]);
    }
    for (int i = 0; i < SMALL; i++) {
        c[i / CHANNELS * PITCH + i % CHANNELS] = small[i];
    }
    CLQ_TRY(clq_binary_factors(kind_of(b), requantizer, scale[A], scale[B], scale[Y], f));
    CLQ_TRY(clq_bench_put(b, IN, a, sizeof a));
    CLQ_TRY(clq_bench_put(b, IN2, c, sizeof c));
    CLQ_TRY(clq_bench_put(b, OUT, NULL, sizeof expected));
    CLQ_BENCH(b, "int8_binary", clq_bench_range(b), CLQ_AT(b, IN), CLQ_AT(b, IN2), CLQ_AT(b, OUT),
              CLQ_I32(zeros[A]), CLQ_I32(zeros[B]), CLQ_I32(f[0]), CLQ_I32(f[1]), CLQ_I32(f[2]),
              CLQ_I32(f[3]), CLQ_I32(zeros[Y]), CLQ_I32(LOWEST), CLQ_I32(HIGHEST),
              CLQ_I32(shape.channels), CLQ_BROADCAST(shape));
    return clq_bench_bytes(b, b->buffers[OUT], expected, sizeof expected, "int8_binary");
}

const clq_file_test clq_binary_self_tests[] = {{"f32/binary.cl", test_f32_binary, false},

                                               {"quant/binary.cl", test_quant_binary, false},
                                               {"int8/binary.cl", test_int8_binary, false},
                                               {0}};

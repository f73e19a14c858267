/* Self-tests of the kernels of two operands and of the sums over axes. */
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
    enum { A, B, DY, Y, DA, DB };
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
    CLQ_TRY(clq_bench_put(b, A, small_first ? small : large, (small_first ? SMALL : PAIRS) * 4));
    CLQ_TRY(clq_bench_put(b, B, small_first ? large : small, (small_first ? PAIRS : SMALL) * 4));
    CLQ_TRY(clq_bench_put(b, DY, large, sizeof y));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof y));
    CLQ_TRY(clq_bench_put(b, DA, NULL, sizeof y));
    CLQ_TRY(clq_bench_put(b, DB, large, sizeof y)); /* is added to */
    CLQ_BENCH(b, "binary_f32", clq_bench_range(b), CLQ_AT(b, A), CLQ_AT(b, B), CLQ_AT(b, Y),
              CLQ_I32(small_first ? CLQ_ACT_RELU6 : CLQ_ACT_RELU), CLQ_BROADCAST(shape));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], y, PAIRS, exact ? 0 : 1e-5, "binary_f32"));
    CLQ_BENCH(b, "binary_grad_f32", clq_bench_range(b), CLQ_AT(b, A), CLQ_AT(b, B), CLQ_AT(b, DY),
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

/* ---- f32/sum_axes.cl: whole numbers, so that every order gives the same ---- */

/* Enough terms for sums in pieces. */
enum { ROWS = 530, NUMBERS = IMAGES * ROWS * CHANNELS };

static clq_status check_sum(clq_self_bench *b, const float *x, clq_shape shape) {
    static const clq_tensor out = {.shape = {3, {IMAGES, ROWS, CHANNELS}}};
    const clq_tensor operand = {.shape = shape};
    const int outputs = (int)clq_shape_count(&shape);
    clq_status status = CLQ_NO_MEMORY;
    float *expected = clq_calloc((size_t)outputs, sizeof *expected);
    if (!expected) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < outputs; i++) {
        expected[i] = 3;
    }
    CLQ_GOTO(status, cleanup, clq_bench_put(b, 1, expected, (size_t)outputs * sizeof *expected));
    for (int i = 0; i < NUMBERS; i++) {
        const int image = i / CHANNELS / ROWS, row = i / CHANNELS % ROWS, channel = i % CHANNELS;
        int at = shape.dim[0] > 1 ? image : 0;
        at = shape.dim[1] > 1 ? at * ROWS + row : at;
        at = shape.dim[2] > 1 ? at * CHANNELS + channel : at;
        expected[at] -= x[i];
    }
    CLQ_GOTO(status, cleanup,
             clq_scratch_reserve(b->device, clq_broadcast_sum_scratch(&out, &operand)));
    CLQ_GOTO(status, cleanup,
             clq_broadcast_sum(b->device, b->buffers[0], &out, &operand, -1, b->buffers[1], true));
    status = clq_bench_floats(b, b->buffers[1], expected, (size_t)outputs, 0, "sum_axes_f32");
cleanup:
    clq_free(expected);
    return status;
}

static clq_status test_sum_axes(clq_self_bench *b) {
    float *x = clq_calloc(NUMBERS, sizeof *x);
    if (!x) {
        return CLQ_NO_MEMORY;
    }
    clq_self_test_fill(x, NUMBERS, 100, 1);
    clq_status status = clq_bench_put(b, 0, x, NUMBERS * sizeof *x);
    const clq_shape shapes[] = {{3, {1, 1, CHANNELS}}, {3, {IMAGES, ROWS, 1}}, {3, {1, 1, 1}}};
    for (int i = 0; status == CLQ_OK && i < 3; i++) {
        status = check_sum(b, x, shapes[i]);
    }
    clq_free(x);
    return status;
}

const clq_file_test clq_binary_self_tests[] = {
    {"f32/binary.cl", test_f32_binary}, {"f32/sum_axes.cl", test_sum_axes}, {0}};

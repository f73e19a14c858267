/* Self-tests of the kernels of codes, of activations and of losses. */
#include <math.h>
#include <string.h>

#include "ops/elementwise.h"
#include "ops/int8_elementwise.h"
#include "ops/loss.h"
#include "ops/multiplier.h"
#include "ops/prelu.h"
#include "ops/reduction.h"
#include "ops/self_test.h"
#include "ops/unary.h"

clq_requantizer clq_bench_requantizer(const clq_self_bench *b) {
    for (int r = CLQ_REQUANT_FIXED; b->options && r < CLQ_REQUANT_COUNT; r++) {
        if (strstr(b->options, clq_requantizer_option((clq_requantizer)r))) {
            return (clq_requantizer)r;
        }
    }
    return CLQ_REQUANT_FLOAT;
}

/* ---- int8/elementwise.cl ---- */

enum { PIXELS = 19, CHANNELS = 13, PITCH = 16, CODES = PIXELS * PITCH };

static const clq_int8_range a_range = {0.031f, 101, 3, 250}, b_range = {0.047f, 88, 0, 255},
                            y_range = {0.059f, 93, 5, 240};

/* The same with a power of two for the requantizer that needs one. */
static clq_int8_range range_for(clq_requantizer requantizer, clq_int8_range range) {
    range.scale = requantizer == CLQ_REQUANT_SHIFT ? ldexpf(1, ilogbf(range.scale)) : range.scale;
    return range;
}

static uint8_t to_code(float value, clq_int8_range range) {
    const float code = rintf(value) + (float)range.zero_point;
    return (uint8_t)(code < (float)range.lo   ? (float)range.lo
                     : code > (float)range.hi ? (float)range.hi
                                              : code);
}

/* Codes in the channels, 0 behind them. */
static void draw_codes(uint8_t codes[CODES], uint32_t state) {
    for (int i = 0; i < CODES; i++) {
        codes[i] = (uint8_t)(i % PITCH < CHANNELS ? clq_self_test_draw(&state) >> 8 : 0);
    }
}

static clq_status check_edges(clq_self_bench *b, const uint8_t *a) {
    float reals[PIXELS * CHANNELS], back[PIXELS * CHANNELS];
    uint8_t expected[CODES] = {0};
    for (int i = 0; i < CODES; i++) {
        if (i % PITCH < CHANNELS) {
            const int at = i / PITCH * CHANNELS + i % PITCH;
            reals[at] = 0.0373f * (float)(a[i] - 120) + 0.001f;
            const float scaled = reals[at] / a_range.scale;
            expected[i] = to_code(scaled, a_range);
            back[at] = b_range.scale * (float)(a[i] - b_range.zero_point);
        }
    }
    CLQ_TRY(clq_bench_put(b, 2, reals, sizeof reals));
    CLQ_TRY(clq_bench_put(b, 3, NULL, CODES));
    if (clq_bench_wants(b, "int8_quantize")) {
        CLQ_TRY(
            clq_int8_quantize(b->device, b->buffers[2], b->buffers[3], PIXELS, CHANNELS, a_range));
    }
    CLQ_TRY(clq_bench_bytes(b, b->buffers[3], expected, CODES, "int8_quantize"));
    CLQ_TRY(clq_bench_put(b, 2, NULL, sizeof back));
    if (clq_bench_wants(b, "int8_dequantize")) {
        CLQ_TRY(clq_int8_dequantize(b->device, b->buffers[0], b->buffers[2], PIXELS, CHANNELS,
                                    b_range.scale, b_range.zero_point));
    }
    return clq_bench_floats(b, b->buffers[2], back, PIXELS * CHANNELS, 0, "int8_dequantize");
}

/* (4), (4f), (4s) in plain arithmetic: exact in double but for the float one. */
double clq_self_test_sum(clq_requantizer requantizer, int a, float ma, int c, float mc) {
    const float pa = (float)a * ma, pc = (float)c * mc, sum = pa + pc;
    if (requantizer != CLQ_REQUANT_FIXED) {
        return (double)rintf(sum); /* powers of two: exact */
    }
    const int shift = 20 - ilogbf(ma > mc ? ma : mc);
    return floor((a * rint(ldexp((double)ma, shift)) + c * rint(ldexp((double)mc, shift))) *
                     ldexp(1, -shift) +
                 0.5);
}

static clq_status check_sums(clq_self_bench *b, const uint8_t *a, const uint8_t *c) {
    const clq_requantizer requantizer = clq_bench_requantizer(b);
    const clq_int8_range ra = range_for(requantizer, a_range), rc = range_for(requantizer, b_range),
                         ry = range_for(requantizer, y_range);
    uint8_t expected[CODES] = {0};
    const float ma = ra.scale / ry.scale, mc = rc.scale / ry.scale;
    for (int i = 0; i < CODES; i++) {
        if (i % PITCH < CHANNELS) {
            expected[i] = to_code((float)clq_self_test_sum(requantizer, a[i] - ra.zero_point, ma,
                                                           c[i] - rc.zero_point, mc),
                                  ry);
        }
    }
    CLQ_TRY(clq_bench_put(b, 1, c, CODES));
    CLQ_TRY(clq_bench_put(b, 3, NULL, CODES));
    CLQ_TRY(clq_int8_add(b->device, requantizer, b->buffers[0], ra, b->buffers[1], rc,
                         b->buffers[3], ry, PIXELS, CHANNELS));
    return clq_bench_bytes(b, b->buffers[3], expected, CODES, "int8_add");
}

/* A table for all channels, then one for each. */
static clq_status check_lookups(clq_self_bench *b, const uint8_t *a) {
    uint8_t table[256 * CHANNELS], one[CODES] = {0}, each[CODES] = {0};
    for (int i = 0; i < 256 * CHANNELS; i++) {
        table[i] = (uint8_t)(i * 77 + 13);
    }
    for (int i = 0; i < CODES; i++) {
        if (i % PITCH < CHANNELS) {
            one[i] = table[a[i]];
            each[i] = table[a[i] * CHANNELS + i % PITCH];
        }
    }
    CLQ_TRY(clq_bench_put(b, 1, table, sizeof table));
    CLQ_TRY(clq_bench_put(b, 3, NULL, CODES));
    if (clq_bench_wants(b, "int8_lookup")) {
        CLQ_TRY(clq_int8_lookup(b->device, b->buffers[0], b->buffers[1], b->buffers[3], PIXELS,
                                CHANNELS));
    }
    CLQ_TRY(clq_bench_bytes(b, b->buffers[3], one, CODES, "int8_lookup"));
    CLQ_TRY(clq_bench_put(b, 3, NULL, CODES));
    if (clq_bench_wants(b, "int8_lookup_channels")) {
        CLQ_TRY(clq_int8_lookup_channels(b->device, b->buffers[0], b->buffers[1], b->buffers[3],
                                         PIXELS, CHANNELS));
    }
    return clq_bench_bytes(b, b->buffers[3], each, CODES, "int8_lookup_channels");
}

static clq_status test_int8_elementwise(clq_self_bench *b) {
    uint8_t a[CODES], c[CODES];
    draw_codes(a, 1);
    draw_codes(c, 2);
    CLQ_TRY(clq_bench_put(b, 0, a, CODES));
    if (clq_bench_wants(b, "int8_add")) {
        CLQ_TRY(check_sums(b, a, c));
    }
    if (clq_bench_requantizer(b) != CLQ_REQUANT_FLOAT) {
        return CLQ_OK; /* the others never run so */
    }
    CLQ_TRY(check_edges(b, a));
    return check_lookups(b, a);
}

/* ---- int8/pool.cl ---- */

enum { SIDE_H = 3, SIDE_W = 6, OUT_H = 2, OUT_W = 3 }; /* 18 pixels of x; windows 3x3, stride 2 */

/* Maximum and sum of a channel over a window, and its pixels. */
static int look(const uint8_t *x, int oy, int ox, int c, int *sum) {
    int count = 0, largest = 0;
    *sum = 0;
    for (int y = oy * 2 - 1; y < oy * 2 + 2; y++) {
        for (int z = ox * 2 - 1; z < ox * 2 + 2; z++) {
            if (y >= 0 && y < SIDE_H && z >= 0 && z < SIDE_W) {
                const int code = x[(y * SIDE_W + z) * PITCH + c];
                largest = code > largest ? code : largest;
                *sum += code - a_range.zero_point;
                count++;
            }
        }
    }
    return largest << 8 | count;
}

/* (12), (12f), (12s) in plain arithmetic. */
static double mean_of(clq_requantizer requantizer, int sum, int count, float x_scale,
                      float y_scale) {
    const float area = y_scale * (float)count, m = x_scale / area, scaled = (float)sum * m;
    return requantizer == CLQ_REQUANT_FIXED ? floor((double)sum * (double)m + 0.5)
           : requantizer == CLQ_REQUANT_SHIFT
               ? rint((double)sum * (double)(x_scale / y_scale) / count)
               : (double)rintf(scaled);
}

static clq_status check_windows(clq_self_bench *b, const uint8_t *x) {
    const clq_requantizer requantizer = clq_bench_requantizer(b);
    const clq_int8_range rx = range_for(requantizer, a_range), ry = range_for(requantizer, y_range);
    enum { OUT = OUT_H * OUT_W * PITCH };
    const clq_int8_pool pool = {1, SIDE_H, SIDE_W, CHANNELS, OUT_H, OUT_W, 3, 3, 2, 2, 1, 1, 1, 1};
    uint8_t largest[OUT] = {0}, average[OUT] = {0};
    clq_int8_avg_pool *averages = NULL;
    for (int i = 0; i < OUT; i++) {
        if (i % PITCH < CHANNELS) {
            int sum;
            const int found = look(x, i / PITCH / OUT_W, i / PITCH % OUT_W, i % PITCH, &sum);
            largest[i] = (uint8_t)(found >> 8);
            average[i] =
                to_code((float)mean_of(requantizer, sum, found & 255, rx.scale, ry.scale), ry);
        }
    }
    if (requantizer == CLQ_REQUANT_FLOAT && clq_bench_wants(b, "int8_max_pool")) {
        CLQ_TRY(clq_bench_put(b, 1, NULL, OUT));
        CLQ_TRY(clq_int8_max_pool(b->device, b->buffers[0], b->buffers[1], &pool));
        CLQ_TRY(clq_bench_bytes(b, b->buffers[1], largest, OUT, "int8_max_pool"));
    }
    if (!clq_bench_wants(b, "int8_avg_pool")) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_bench_put(b, 1, NULL, OUT));
    CLQ_TRY(
        clq_int8_avg_pool_create(b->device, requantizer, &pool, 1, 0, false, rx, ry, &averages));
    clq_status status = clq_int8_avg_pool_forward(averages, b->buffers[0], b->buffers[1]);
    if (status == CLQ_OK) {
        status = clq_bench_bytes(b, b->buffers[1], average, OUT, "int8_avg_pool");
    }
    clq_int8_avg_pool_destroy(averages);
    return status;
}

/* Over one axis of an image, whose codes have a pitch: words of four channels, or single ones. */
static clq_status check_reduction(clq_self_bench *b, const uint8_t *x, unsigned axes,
                                  bool smallest) {
    const clq_requantizer requantizer = clq_bench_requantizer(b);
    const clq_int8_range rx = range_for(requantizer, a_range), ry = range_for(requantizer, y_range);
    const clq_tensor image = {.shape = {4, {1, SIDE_H, SIDE_W, CHANNELS}}, .pitch = PITCH};
    const clq_reduction rows = clq_reduction_of(&image, axes);
    const bool channels = axes == 8; /* y is (H, W) then, else (W, C) */
    enum { MOST = SIDE_H * SIDE_W * PITCH };
    const int columns = channels ? SIDE_W : CHANNELS, pitch = (columns + 3) / 4 * 4;
    const int count = (int)rows.rows / columns * pitch;
    uint8_t sums[MOST] = {0}, found[MOST] = {0};
    int32_t factor[2];
    CLQ_TRY(clq_multiplier_mean(requantizer, rx.scale, ry.scale, (int)rows.row, factor));
    for (int k = 0; k < (int)rows.rows; k++) {
        int sum = 0, best = smallest ? 255 : 0;
        for (int i = 0; i < (int)rows.row; i++) {
            const int at =
                channels ? k * PITCH + i : (i * SIDE_W + k / CHANNELS) * PITCH + k % CHANNELS;
            sum += x[at] - rx.zero_point;
            best = smallest == (x[at] < best) ? x[at] : best;
        }
        const int to = k / columns * pitch + k % columns;
        found[to] = (uint8_t)best;
        sums[to] = to_code((float)mean_of(requantizer, sum, (int)rows.row, rx.scale, ry.scale), ry);
    }
    CLQ_TRY(clq_bench_put(b, 1, NULL, (size_t)count));
    CLQ_BENCH(b, "int8_reduce_sum", clq_bench_range(b), CLQ_AT(b, 0), CLQ_AT(b, 1),
              CLQ_I32(factor[0]), CLQ_I32(factor[1]), CLQ_I32(rx.zero_point),
              CLQ_I32(ry.zero_point), CLQ_I32(ry.lo), CLQ_I32(ry.hi), CLQ_I32(count / 4),
              CLQ_I32(columns), CLQ_REDUCTION(rows));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[1], sums, (size_t)count, "int8_reduce_sum"));
    if (requantizer != CLQ_REQUANT_FLOAT) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_bench_put(b, 1, NULL, (size_t)count));
    CLQ_BENCH(b, "int8_reduce_max", clq_bench_range(b), CLQ_AT(b, 0), CLQ_AT(b, 1),
              CLQ_I32(smallest), CLQ_I32(count / 4), CLQ_I32(columns), CLQ_REDUCTION(rows));
    return clq_bench_bytes(b, b->buffers[1], found, (size_t)count, "int8_reduce_max");
}

static clq_status check_moves(clq_self_bench *b, const uint8_t *x) {
    enum { WIDER = 20 };
    enum { OUT = OUT_H * OUT_W * WIDER };
    const clq_int8_shortcut shape = {1, SIDE_H, SIDE_W, CHANNELS, OUT_H, OUT_W, WIDER, 2, 3, 55};
    uint8_t moved[OUT];
    for (int i = 0; i < OUT; i++) {
        const int pixel = i / WIDER, from = i % WIDER - shape.front;
        const int at = (pixel / OUT_W * 2 * SIDE_W + pixel % OUT_W * 2) * PITCH + from;
        moved[i] = (uint8_t)(from >= 0 && from < CHANNELS ? x[at] : shape.zero_point);
    }
    CLQ_TRY(clq_bench_put(b, 1, NULL, OUT));
    CLQ_TRY(clq_int8_shortcut_a(b->device, b->buffers[0], b->buffers[1], &shape));
    return clq_bench_bytes(b, b->buffers[1], moved, OUT, "int8_shortcut_a");
}

static clq_status test_int8_pool(clq_self_bench *b) {
    uint8_t x[CODES];
    draw_codes(x, 3);
    CLQ_TRY(clq_bench_put(b, 0, x, CODES));
    CLQ_TRY(check_windows(b, x));
    const bool moves =
        clq_bench_wants(b, "int8_shortcut_a") && clq_bench_requantizer(b) == CLQ_REQUANT_FLOAT;
    return moves ? check_moves(b, x) : CLQ_OK;
}

static clq_status test_int8_reduce(clq_self_bench *b) {
    uint8_t x[CODES];
    draw_codes(x, 3);
    CLQ_TRY(clq_bench_put(b, 0, x, CODES));
    CLQ_TRY(check_reduction(b, x, 2, false)); /* over H */
    return check_reduction(b, x, 8, true);    /* over C */
}

/* ---- f32/elementwise.cl ---- */

enum { FLOATS = 67 };

/* -6 .. 9 in steps that floats hold exactly. */
static void draw_floats(float data[FLOATS], uint32_t state) {
    for (int i = 0; i < FLOATS; i++) {
        data[i] = (float)(clq_self_test_draw(&state) % 481) / 32 - 6;
    }
}

static float relu(float x) {
    return x > 0 ? x : 0;
}
static float relu6(float x) {
    return x < 0 ? 0 : x > 6 ? 6 : x;
}
static clq_status test_f32_elementwise(clq_self_bench *b) {
    static const struct {
        const char *kernel;
        float (*f)(float);
        bool adds;
    } forward[] = {{"relu_f32", relu, false},
                   {"relu6_f32", relu6, false},
                   {"add_relu_f32", relu, true},
                   {"add_relu6_f32", relu6, true},
                   {"add_f32", NULL, true}};
    static const char *const gradients[] = {"relu_grad_f32", "relu6_grad_f32"};
    float a[FLOATS], c[FLOATS], expected[FLOATS];
    draw_floats(a, 1);
    draw_floats(c, 2);
    CLQ_TRY(clq_bench_put(b, 0, a, sizeof a));
    CLQ_TRY(clq_bench_put(b, 1, c, sizeof c));
    for (size_t k = 0; k < sizeof forward / sizeof *forward; k++) {
        if (!clq_bench_wants(b, forward[k].kernel)) {
            continue;
        }
        for (int i = 0; i < FLOATS; i++) {
            const float x = forward[k].adds ? a[i] + c[i] : a[i];
            expected[i] = forward[k].f ? forward[k].f(x) : x;
        }
        CLQ_TRY(clq_bench_put(b, 2, NULL, sizeof expected));
        CLQ_TRY(clq_elementwise(b->device, forward[k].kernel, b->buffers[0],
                                forward[k].adds ? b->buffers[1] : NULL, b->buffers[2], FLOATS));
        CLQ_TRY(clq_bench_floats(b, b->buffers[2], expected, FLOATS, 0, forward[k].kernel));
    }
    for (int k = 0; k < 2; k++) { /* dx = c * f'(a), added to nothing */
        if (!clq_bench_wants(b, gradients[k])) {
            continue;
        }
        for (int i = 0; i < FLOATS; i++) {
            expected[i] = a[i] > 0 && (k == 0 || a[i] < 6) ? c[i] : 0;
        }
        CLQ_TRY(clq_bench_put(b, 2, NULL, sizeof expected));
        CLQ_TRY(clq_elementwise_gradient(b->device, gradients[k], b->buffers[0], b->buffers[1],
                                         b->buffers[2], FLOATS, false));
        CLQ_TRY(clq_bench_floats(b, b->buffers[2], expected, FLOATS, 0, gradients[k]));
    }
    return CLQ_OK;
}

/* ---- f32/unary.cl ---- */

/* The program's function: what its options name. */
static clq_unary function_of(const clq_self_bench *b) {
    static const char *const names[] = {CLQ_UNARY_FUNCTIONS(CLQ_UNARY_NAME, 0)};
    const char *name = b->options ? strchr(b->options, '=') : NULL;
    for (int f = 0; name != NULL && f < CLQ_UNARY_COUNT; f++) {
        if (strcmp(names[f], name + 1) == 0) {
            return (clq_unary)f;
        }
    }
    return CLQ_UNARY_LEAKY_RELU; /* built without any */
}

/* In float as in double: what OpenCL lets exp, pow and erf err by, of slopes and values up to 9^3;
 * kinks lie at numbers that floats hold. */
static clq_status test_f32_unary(clq_self_bench *b) {
    const clq_unary_function f = {function_of(b), {0.25f, 0.5f}};
    const bool positive = f.function == CLQ_UNARY_LOG || f.function == CLQ_UNARY_SQRT ||
                          f.function == CLQ_UNARY_POW_CONST || f.function == CLQ_UNARY_RECIPROCAL;
    float x[FLOATS], dy[FLOATS], y[FLOATS], dx[FLOATS];
    draw_floats(x, 1);
    draw_floats(dy, 2);
    for (int i = 0; i < FLOATS; i++) {
        x[i] = positive ? fabsf(x[i]) + 0.5f : x[i];
        const double value = clq_unary_value(f.function, (double)x[i], f.attrs.alpha, f.attrs.beta);
        const double kept = CLQ_UNARY_KEEPS_OUTPUT(f.function) ? value : (double)x[i];
        const double slope = clq_unary_slope(f.function, kept, f.attrs.alpha, f.attrs.beta);
        y[i] = (float)value;
        dx[i] = (float)((double)dy[i] + (double)dy[i] * slope);
    }
    CLQ_TRY(clq_bench_put(b, 0, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, 1, dy, sizeof dy));
    CLQ_TRY(clq_bench_put(b, 2, NULL, sizeof y));
    CLQ_TRY(clq_bench_put(b, 3, dy, sizeof dx)); /* is added to */
    CLQ_TRY(clq_unary_values(b->device, &f, b->buffers[0], b->buffers[2], FLOATS));
    CLQ_TRY(clq_bench_floats(b, b->buffers[2], y, FLOATS, 1e-5, "unary_f32"));
    CLQ_TRY(clq_unary_slopes(b->device, &f, b->buffers[CLQ_UNARY_KEEPS_OUTPUT(f.function) ? 2 : 0],
                             b->buffers[1], b->buffers[3], FLOATS, true));
    return clq_bench_floats(b, b->buffers[3], dx, FLOATS, 1e-5, "unary_grad_f32");
}

/* ---- f32/prelu.cl ---- */

/* Sums of a few whole 32nds times 32nds: exact. */
static clq_status check_prelu(clq_self_bench *b, int columns, const float *x, const float *dy) {
    static const float slope[] = {0.25f, -0.5f, 0.125f};
    enum { COUNT = 66 };
    float y[COUNT], dx[COUNT], dslope[3] = {0};
    for (int i = 0; i < COUNT; i++) {
        const int c = i % columns;
        y[i] = x[i] < 0 ? slope[c] * x[i] : x[i];
        dx[i] = dy[i] + (x[i] < 0 ? slope[c] * dy[i] : dy[i]);
        dslope[c] += x[i] < 0 ? dy[i] * x[i] : 0;
    }
    CLQ_TRY(clq_bench_put(b, 2, slope, sizeof slope));
    CLQ_TRY(clq_bench_put(b, 3, NULL, sizeof y));
    CLQ_TRY(clq_bench_put(b, 4, dy, sizeof dx)); /* is added to */
    CLQ_TRY(clq_bench_put(b, 5, NULL, sizeof dslope));
    CLQ_TRY(
        clq_prelu_values(b->device, b->buffers[0], b->buffers[2], b->buffers[3], columns, COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[3], y, COUNT, 0, "prelu_f32"));
    CLQ_TRY(clq_prelu_slopes(b->device, b->buffers[0], b->buffers[2], b->buffers[1], b->buffers[4],
                             columns, COUNT, true));
    CLQ_TRY(clq_bench_floats(b, b->buffers[4], dx, COUNT, 0, "prelu_grad_f32"));
    CLQ_TRY(clq_scratch_reserve(b->device, clq_prelu_scratch(columns, COUNT)));
    CLQ_TRY(clq_prelu_slope_gradient(b->device, b->buffers[0], b->buffers[1], b->buffers[5],
                                     columns, COUNT));
    return clq_bench_floats(b, b->buffers[5], dslope, (size_t)columns, 0, "prelu_slope_sums_f32");
}

static clq_status test_f32_prelu(clq_self_bench *b) {
    float x[FLOATS], dy[FLOATS];
    draw_floats(x, 1);
    draw_floats(dy, 2);
    CLQ_TRY(clq_bench_put(b, 0, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, 1, dy, sizeof dy));
    CLQ_TRY(check_prelu(b, 3, x, dy));
    return check_prelu(b, 1, x, dy);
}

/* ---- f32/loss.cl ---- */

enum { SAMPLES = 5, CLASSES = 7, LOGITS = SAMPLES * CLASSES };

typedef struct loss_case {
    clq_loss_kind kind;
    double smoothing, weight, temperature; /* weight 0: no teacher */
    bool pixels;                           /* of one image */
} loss_case;

static double softmax(const float *x, int k, double temperature) {
    double sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        sum += exp((double)x[c] / temperature);
    }
    return exp((double)x[k] / temperature) / sum;
}

/* Adds a sample's loss to *total; its gradient. */
static void compute_loss(const loss_case *l, const float *x, const float *teacher, int label,
                         float *gradient, double *total) {
    const double hard = 1 - l->weight, t = l->weight > 0 ? l->temperature : 1;
    for (int k = 0; k < CLASSES; k++) {
        const double q = (1 - l->smoothing) * (k == label) + l->smoothing / CLASSES;
        const double p = softmax(x, k, 1), s = softmax(x, k, t), d = (double)x[k] - q;
        const double of_teacher = softmax(teacher, k, t);
        if (l->kind == CLQ_LOSS_MSE) {
            *total += d * d / CLASSES;
            gradient[k] = (float)(2 * d / CLASSES / SAMPLES);
        } else {
            *total += l->weight * t * t * of_teacher * log(of_teacher / s) - hard * q * log(p);
            gradient[k] = (float)((hard * (p - q) + l->weight * t * (s - of_teacher)) / SAMPLES);
        }
    }
}

/* exp and log err by a few units in the last place, of sums of 7 values up to 27. */
static clq_status check_loss(clq_self_bench *b, const loss_case *l) {
    const clq_shape rows = {.rank = 2, .dim = {SAMPLES, CLASSES}};
    const clq_shape image = {.rank = 4, .dim = {1, 1, SAMPLES, CLASSES}};
    const double each = l->pixels ? SAMPLES : 1;
    float logits[LOGITS], teacher[LOGITS], gradient[LOGITS];
    int32_t labels[SAMPLES];
    double total = 0;
    int right = 0;
    clq_status status = CLQ_OK;
    clq_loss *loss = NULL;
    clq_loss_totals totals = {0};
    clq_self_test_fill(logits, LOGITS, 48, 1);
    clq_self_test_fill(teacher, LOGITS, 48, 2);
    for (int i = 0; i < LOGITS; i++) {
        logits[i] /= 16;
        teacher[i] /= 16;
    }
    for (int n = 0; n < SAMPLES; n++) {
        const float *x = logits + n * CLASSES;
        int above = 0;
        labels[n] = (n * 3 + 1) % CLASSES;
        for (int k = 0; k < CLASSES; k++) {
            above += x[k] > x[labels[n]] || (x[k] == x[labels[n]] && k < labels[n]);
        }
        right += above == 0;
        compute_loss(l, x, teacher + n * CLASSES, labels[n], gradient + n * CLASSES, &total);
    }
    CLQ_TRY(clq_bench_put(b, 0, logits, sizeof logits));
    CLQ_TRY(clq_bench_put(b, 1, labels, sizeof labels));
    CLQ_TRY(clq_bench_put(b, 2, NULL, sizeof gradient));
    CLQ_TRY(clq_bench_put(b, 3, teacher, sizeof teacher));
    CLQ_TRY(clq_loss_create(b->device, l->kind, l->pixels ? &image : &rows, l->smoothing, &loss));
    if (l->weight > 0) {
        clq_loss_set_teacher(loss, b->buffers[3], l->weight, l->temperature);
    }
    CLQ_GOTO(status, cleanup, clq_loss_run(loss, b->buffers[0], b->buffers[1], b->buffers[2]));
    CLQ_GOTO(status, cleanup,
             clq_bench_floats(b, b->buffers[2], gradient, LOGITS, 1e-5,
                              b->kernel ? b->kernel : "a loss's gradient"));
    CLQ_GOTO(status, cleanup, clq_loss_read(loss, &totals));
    clq_bench_check(b, totals.loss * each, total, 1e-5, "a loss");
    clq_bench_check(b, totals.top1 * each, right, 1e-5, "right answers");
    clq_bench_check(b, totals.samples * each, SAMPLES, 0, "samples");
cleanup:
    clq_loss_destroy(loss);
    return status;
}

/* Two outputs, the same numbers seen as rows and as parts of a larger one. */
static clq_status check_output_error(clq_self_bench *b) {
    enum { WIDE = 1030 };
    const clq_shape shapes[] = {{.rank = 2, .dim = {2, WIDE}}, {.rank = 2, .dim = {2, 3}}};
    float x[2 * WIDE], teacher[2 * WIDE], gradients[2][2 * WIDE];
    clq_status status = CLQ_OK;
    clq_loss *loss = NULL;
    clq_loss_totals totals = {0};
    double total = 0;
    clq_self_test_fill(x, 2 * WIDE, 9, 1);
    clq_self_test_fill(teacher, 2 * WIDE, 9, 2);
    for (int o = 0; o < 2; o++) {
        const int count = o ? 6 : 2 * WIDE;
        double error = 0, power = 0;
        for (int i = 0; i < count; i++) {
            error += (double)(x[i] - teacher[i]) * (double)(x[i] - teacher[i]);
            power += (double)teacher[i] * (double)teacher[i];
        }
        for (int i = 0; i < count; i++) {
            gradients[o][i] = (float)(2 * (double)(x[i] - teacher[i]) / power);
        }
        total += 2 * error / power;
    }
    CLQ_TRY(clq_bench_put(b, 0, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, 1, teacher, sizeof teacher));
    CLQ_TRY(clq_bench_put(b, 2, NULL, sizeof x));
    CLQ_TRY(clq_bench_put(b, 3, NULL, sizeof x));
    clq_buffer *const outputs[] = {b->buffers[0], b->buffers[0]};
    clq_buffer *const said[] = {b->buffers[1], b->buffers[1]};
    CLQ_TRY(clq_loss_create_outputs(b->device, shapes, 2, &loss));
    CLQ_GOTO(status, cleanup, clq_loss_run_outputs(loss, outputs, said, b->buffers + 2));
    CLQ_GOTO(status, cleanup, clq_loss_read(loss, &totals));
    clq_bench_check(b, totals.loss, total, 1e-5, "how far outputs are from a teacher's");
    for (int o = 0; o < 2; o++) {
        CLQ_GOTO(status, cleanup,
                 clq_bench_floats(b, b->buffers[2 + o], gradients[o], o ? 6 : 2 * WIDE, 1e-5,
                                  b->kernel ? b->kernel : "output_error_gradient"));
    }
cleanup:
    clq_loss_destroy(loss);
    return status;
}

static clq_status test_f32_loss(clq_self_bench *b) {
    static const char *const of_outputs[] = {"output_error_parts", "output_error_samples",
                                             "output_error_gradient"};
    static const loss_case cases[] = {{CLQ_LOSS_CROSS_ENTROPY, 0, 0, 0, false},
                                      {CLQ_LOSS_CROSS_ENTROPY, 0.1, 0.4, 2.5, false},
                                      {CLQ_LOSS_CROSS_ENTROPY, 0.1, 0, 0, true},
                                      {CLQ_LOSS_MSE, 0, 0, 0, false}};
    bool outputs = false;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *kernel = cases[i].kind == CLQ_LOSS_MSE ? "mean_squared_error_f32"
                             : cases[i].pixels             ? "loss_of_rows"
                                                           : "softmax_cross_entropy_f32";
        if (clq_bench_wants(b, kernel) || (i == 0 && clq_bench_wants(b, "loss_totals"))) {
            CLQ_TRY(check_loss(b, &cases[i]));
        }
    }
    for (size_t i = 0; i < sizeof of_outputs / sizeof *of_outputs; i++) {
        outputs |= clq_bench_wants(b, of_outputs[i]);
    }
    return outputs ? check_output_error(b) : CLQ_OK;
}

const clq_file_test clq_op_self_tests[] = {{"int8/elementwise.cl", test_int8_elementwise, true},
                                           {"int8/pool.cl", test_int8_pool, true},
                                           {"int8/reduce.cl", test_int8_reduce, true},
                                           {"f32/elementwise.cl", test_f32_elementwise, true},
                                           {"f32/unary.cl", test_f32_unary, false},
                                           {"f32/prelu.cl", test_f32_prelu, false},
                                           {"f32/loss.cl", test_f32_loss, true},
                                           {0}};

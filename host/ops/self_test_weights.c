/* Self-tests of quant/weights.cl (scales, codes, multipliers and gradients of layers' weights) and
 * of quant/conv2d_exact.cl. */
#include "ops/self_test_weights.h"

#include <math.h>

#include "kernels/include/scales.h"
#include "ops/self_test.h"

/* Values of the table of scales: a layer's input, one that is not its, its output. */
enum { A, B, Y, VALUES };
static const float scales[VALUES] = {0.031f, 0.047f, 0.059f};

enum { CHANNELS = 5, MULTIPLIERS = CHANNELS + 16 };
enum { SCALE, IN, IN2, OUT, MASK, MULTIPLIER, REAL_MULTIPLIER, GRAD, GRAD2 };
enum { OC = CHANNELS, K = 37, WEIGHTS = OC * K };
enum { W = IN, BIAS = IN2, W_SCALE = OUT, LARGEST = MASK, CODES = GRAD, REALS = GRAD2, BIAS_CODES };

typedef struct layer {
    float w[WEIGHTS], bias[OC], w_scale[OC];
    float codes[WEIGHTS], reals[WEIGHTS], bias_codes[OC], gradient[WEIGHTS];
    float multiplier[MULTIPLIERS], real_multiplier[MULTIPLIERS];
} layer;

/* Limits of the codes: neither a type's nor symmetric. */
enum { LOWEST = -90, HIGHEST = 101 };

static clq_status check_weight_scales(clq_self_bench *b, layer *l) {
    float largest[4] = {0}, one_scale[OC];
    for (int c = 0; c < OC; c++) {
        float range[2] = {0};
        for (int k = 0; k < K; k++) {
            clq_self_test_widen(range, l->w[c * K + k]);
            clq_self_test_widen(largest, l->w[c * K + k]);
        }
        clq_self_test_widen(largest + 2, l->bias[c]);
        l->w_scale[c] =
            clq_weights_scale(fmaxf(range[0], range[1]), 127, fabsf(l->bias[c]), scales[A], -1);
    }
    for (int c = 0; c < OC; c++) {
        one_scale[c] = clq_weights_scale(fmaxf(largest[0], largest[1]), 7,
                                         fmaxf(largest[2], largest[3]), scales[A], 9);
    }
    const float nothing[4] = {0};
    CLQ_TRY(clq_bench_put(b, LARGEST, nothing, sizeof nothing));
    for (int i = 0; i < 2; i++) {
        CLQ_BENCH(b, "weights_largest", clq_bench_range(b), CLQ_AT(b, W + i), CLQ_AT(b, LARGEST),
                  CLQ_I32(i), CLQ_I32(i ? OC : WEIGHTS));
    }
    CLQ_TRY(clq_bench_floats(b, b->buffers[LARGEST], largest, 4, 0, "weights_largest"));
    CLQ_TRY(clq_bench_put(b, W_SCALE, NULL, sizeof one_scale));
    CLQ_BENCH(b, "weights_scale_tensor", CLQ_RANGE1(OC), CLQ_AT(b, LARGEST), CLQ_AT(b, SCALE),
              CLQ_I32(A), CLQ_AT(b, W_SCALE), CLQ_F32(7), CLQ_I32(9), CLQ_I32(OC));
    CLQ_TRY(clq_bench_floats(b, b->buffers[W_SCALE], one_scale, OC, 0, "weights_scale_tensor"));
    one_scale[1] = clq_constant_scale(fmaxf(largest[0], largest[1]), 127, 9); /* another one */
    CLQ_BENCH(b, "constant_scale", CLQ_RANGE1(1), CLQ_AT(b, LARGEST), CLQ_AT(b, W_SCALE),
              CLQ_I32(1), CLQ_F32(127), CLQ_I32(9));
    CLQ_TRY(clq_bench_floats(b, b->buffers[W_SCALE], one_scale, OC, 0, "constant_scale"));
    CLQ_TRY(clq_bench_put(b, W_SCALE, NULL, sizeof one_scale));
    CLQ_BENCH(b, "weights_scale_channel", clq_bench_groups(b, OC, 64), CLQ_AT(b, W),
              CLQ_AT(b, BIAS), CLQ_AT(b, SCALE), CLQ_I32(A), CLQ_AT(b, W_SCALE), CLQ_F32(127),
              CLQ_I32(-1), CLQ_I32(K));
    return clq_bench_floats(b, b->buffers[W_SCALE], l->w_scale, OC, 0, "weights_scale_channel");
}

static clq_status expect_multipliers(clq_self_bench *b, const layer *l, const char *what) {
    CLQ_TRY(clq_bench_floats(b, b->buffers[MULTIPLIER], l->multiplier, MULTIPLIERS, 0, what));
    CLQ_TRY(
        clq_bench_floats(b, b->buffers[REAL_MULTIPLIER], l->real_multiplier, MULTIPLIERS, 0, what));
    CLQ_TRY(clq_bench_put(b, MULTIPLIER, NULL, sizeof l->multiplier));
    return clq_bench_put(b, REAL_MULTIPLIER, NULL, sizeof l->real_multiplier);
}

/* Scales that are too small for some weights, so that codes are clamped. */
static void find_weight_codes(layer *l) {
    for (int c = 0; c < OC; c++) {
        l->w_scale[c] *= 0.75f;
        const float unit = scales[A] * l->w_scale[c];
        l->bias_codes[c] = clq_bias_code(l->bias[c], unit);
        for (int i = c * K; i < (c + 1) * K; i++) {
            const float wide =
                clq_quantize_code(l->w[i], l->w_scale[c], 0, LOWEST - 1, HIGHEST + 1);
            l->codes[i] = clq_quantize_code(l->w[i], l->w_scale[c], 0, LOWEST, HIGHEST);
            l->reals[i] = l->codes[i] * l->w_scale[c];
            l->gradient[i] = wide == l->codes[i] ? l->w[i] * scales[A] : 0; /* dw is w */
        }
    }
    for (int i = 0; i < MULTIPLIERS; i++) {
        l->real_multiplier[i] = scales[A] * l->w_scale[i % OC];
        l->multiplier[i] = clq_divide(l->real_multiplier[i], scales[Y]);
    }
}

static clq_status check_weight_codes(clq_self_bench *b, const layer *l) {
    CLQ_TRY(clq_bench_put(b, W_SCALE, l->w_scale, sizeof l->w_scale));
    CLQ_TRY(clq_bench_put(b, MULTIPLIER, NULL, sizeof l->multiplier));
    CLQ_TRY(clq_bench_put(b, REAL_MULTIPLIER, NULL, sizeof l->real_multiplier));
    CLQ_TRY(clq_bench_put(b, CODES, NULL, sizeof l->codes));
    CLQ_TRY(clq_bench_put(b, REALS, NULL, sizeof l->reals));
    CLQ_TRY(clq_bench_put(b, BIAS_CODES, NULL, sizeof l->bias_codes));
    CLQ_BENCH(b, "quantize_weights", clq_bench_groups(b, OC, 64), CLQ_AT(b, W), CLQ_AT(b, BIAS),
              CLQ_AT(b, W_SCALE), CLQ_AT(b, SCALE), CLQ_I32(A), CLQ_I32(Y), CLQ_AT(b, CODES),
              CLQ_AT(b, REALS), CLQ_AT(b, BIAS_CODES), CLQ_AT(b, MULTIPLIER),
              CLQ_AT(b, REAL_MULTIPLIER), CLQ_F32(LOWEST), CLQ_F32(HIGHEST), CLQ_I32(OC),
              CLQ_I32(K));
    CLQ_TRY(clq_bench_floats(b, b->buffers[CODES], l->codes, WEIGHTS, 0, "quantize_weights"));
    CLQ_TRY(clq_bench_floats(b, b->buffers[REALS], l->reals, WEIGHTS, 0, "quantize_weights"));
    CLQ_TRY(clq_bench_floats(b, b->buffers[BIAS_CODES], l->bias_codes, OC, 0, "quantize_weights"));
    CLQ_TRY(expect_multipliers(b, l, "quantize_weights"));
    CLQ_BENCH(b, "layer_multipliers", CLQ_RANGE1(OC), CLQ_AT(b, W_SCALE), CLQ_AT(b, SCALE),
              CLQ_I32(A), CLQ_I32(Y), CLQ_AT(b, MULTIPLIER), CLQ_AT(b, REAL_MULTIPLIER),
              CLQ_I32(OC));
    CLQ_TRY(expect_multipliers(b, l, "layer_multipliers"));
    CLQ_TRY(clq_bench_put(b, CODES, l->w, sizeof l->w));
    CLQ_BENCH(b, "weights_gradient", clq_bench_groups(b, OC, 64), CLQ_AT(b, CODES), CLQ_AT(b, W),
              CLQ_AT(b, W_SCALE), CLQ_AT(b, SCALE), CLQ_I32(A), CLQ_I32(1), CLQ_F32(LOWEST),
              CLQ_F32(HIGHEST), CLQ_I32(K));
    return clq_bench_floats(b, b->buffers[CODES], l->gradient, WEIGHTS, 0, "weights_gradient");
}

/* w_scale becomes the learned scales; dw is w, as above. */
static clq_status check_learned_weights(clq_self_bench *b, layer *l) {
    enum { AT = 3, LEARNED = AT + OC };
    const float factor = 0.125f;
    float learned[LEARNED] = {9, 9, 9}, expected[LEARNED] = {7, 7, 7};
    for (int c = 0; c < OC; c++) {
        learned[AT + c] = l->w_scale[c] * 0.83f;
        l->w_scale[c] =
            clq_learned_weights_scale(learned[AT + c], fabsf(l->bias[c]), scales[A], -1);
        double sum = 0;
        for (int i = c * K; i < (c + 1) * K; i++) {
            const float v = clq_divide(l->w[i], l->w_scale[c]), g = l->w[i] * scales[A];
            const float code = clq_quantize_code(l->w[i], l->w_scale[c], 0, LOWEST, HIGHEST);
            const bool inside = v >= LOWEST && v <= HIGHEST;
            sum += (double)g * (double)(inside ? code - v : code);
            l->gradient[i] = inside ? g : 0;
        }
        expected[AT + c] = l->w_scale[c] == learned[AT + c] ? (float)sum * factor : 0;
    }
    CLQ_TRY(clq_bench_put(b, CODES, learned, sizeof learned));
    CLQ_TRY(clq_bench_put(b, W_SCALE, NULL, sizeof l->w_scale));
    CLQ_BENCH(b, "weights_scale_learned", CLQ_RANGE1(OC), CLQ_AT(b, CODES), CLQ_AT(b, BIAS),
              CLQ_AT(b, LARGEST), CLQ_AT(b, SCALE), CLQ_I32(A), CLQ_AT(b, W_SCALE), CLQ_I32(AT),
              CLQ_I32(0), CLQ_I32(-1), CLQ_I32(OC));
    CLQ_TRY(clq_bench_floats(b, b->buffers[W_SCALE], l->w_scale, OC, 0, "weights_scale_learned"));
    CLQ_TRY(clq_bench_put(b, REALS, l->w, sizeof l->w));
    for (int c = 0; c < LEARNED; c++) { /* what is not this layer's stays */
        learned[c] = c < AT ? 7 : NAN;
    }
    CLQ_TRY(clq_bench_put(b, BIAS_CODES, learned, sizeof learned));
    CLQ_BENCH(b, "weights_gradient_learned", clq_bench_groups(b, OC, 64), CLQ_AT(b, REALS),
              CLQ_AT(b, W), CLQ_AT(b, W_SCALE), CLQ_AT(b, CODES), CLQ_I32(AT), CLQ_I32(0),
              CLQ_AT(b, SCALE), CLQ_I32(A), CLQ_AT(b, BIAS_CODES), CLQ_I32(AT), CLQ_F32(factor),
              CLQ_I32(-1), CLQ_F32(LOWEST), CLQ_F32(HIGHEST), CLQ_I32(K));
    CLQ_TRY(clq_bench_floats(b, b->buffers[REALS], l->gradient, WEIGHTS, 0,
                             "weights_gradient_learned"));
    CLQ_TRY(clq_bench_floats(b, b->buffers[BIAS_CODES], expected, LEARNED, 1e-4,
                             "weights_gradient_learned"));
    float sum = 0;
    for (int c = 0; c < OC; c++) {
        sum += l->w_scale[c];
    }
    CLQ_TRY(clq_bench_put(b, LARGEST, NULL, sizeof sum));
    CLQ_BENCH(b, "weights_gradient_tensor", CLQ_RANGE1(1), CLQ_AT(b, W_SCALE), CLQ_AT(b, LARGEST),
              CLQ_I32(0), CLQ_I32(OC));
    return clq_bench_floats(b, b->buffers[LARGEST], &sum, 1, 0, "weights_gradient_tensor");
}

clq_status clq_test_weights(clq_self_bench *b) {
    layer l;
    clq_self_test_fill(l.w, WEIGHTS, 1000, 1);
    clq_self_test_fill(l.bias, OC, 50, 2);
    for (int i = 0; i < WEIGHTS; i++) {
        l.w[i] *= 0.00031f * (float)(1 + i / K);
    }
    l.bias[2] = 8000; /* decides its channel's scale, and the tensor's */
    CLQ_TRY(clq_bench_put(b, SCALE, scales, sizeof scales));
    CLQ_TRY(clq_bench_put(b, W, l.w, sizeof l.w));
    CLQ_TRY(clq_bench_put(b, BIAS, l.bias, sizeof l.bias));
    CLQ_TRY(check_weight_scales(b, &l));
    find_weight_codes(&l);
    CLQ_TRY(check_weight_codes(b, &l));
    return check_learned_weights(b, &l);
}

/* ---- conv2d_exact.cl ---- */

/* Two groups of a block of 16 output channels and a rest; sums that no float holds. */
clq_status clq_test_conv2d_exact(clq_self_bench *b) {
    enum { IH = 5, IW = 4, IC = 6, OH = 4, OW = 3, COLS = 19, DEPTH = 3, TAPS = 2 * 3, GROUPS = 2 };
    enum { X = IH * IW * IC, ALL = COLS * GROUPS, TAPPED = GROUPS * TAPS * DEPTH * COLS };
    float x[X], drawn[TAPPED];
    int8_t w[TAPPED + 16] = {0}; /* read, not used */
    int32_t bias[ALL], sum[OH * OW * ALL];
    clq_self_test_fill(x, X, 255, 1);
    clq_self_test_fill(drawn, TAPPED, 127, 2);
    for (int i = 0; i < TAPPED; i++) {
        w[i] = (int8_t)drawn[i];
    }
    for (int oc = 0; oc < ALL; oc++) {
        bias[oc] = 100000003 * (oc % 9 - 4);
        for (int at = 0; at < OH * OW; at++) {
            int32_t *to = &sum[at * ALL + oc];
            *to = bias[oc];
            for (int i = 0; i < TAPS * DEPTH; i++) { /* dilation 2 down, padding 1 */
                const int h = at / OW - 1 + 2 * (i / DEPTH / 3), z = at % OW - 1 + i / DEPTH % 3;
                const int group = oc / COLS;
                if (h >= 0 && h < IH && z >= 0 && z < IW) {
                    *to += (int32_t)x[(h * IW + z) * IC + group * DEPTH + i % DEPTH] *
                           w[(group * TAPS * DEPTH + i) * COLS + oc % COLS];
                }
            }
        }
    }
    CLQ_TRY(clq_bench_put(b, IN, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, IN2, w, sizeof w));
    CLQ_TRY(clq_bench_put(b, GRAD, bias, sizeof bias));
    CLQ_TRY(clq_bench_put(b, OUT, NULL, sizeof sum));
    CLQ_BENCH(b, "conv2d_codes_exact", CLQ_RANGE2(OH * OW, 2 * GROUPS), CLQ_AT(b, IN),
              CLQ_AT(b, IN2), CLQ_AT(b, GRAD), CLQ_AT(b, OUT), CLQ_I32(OH * OW), CLQ_I32(IH),
              CLQ_I32(IW), CLQ_I32(IC), CLQ_I32(OH), CLQ_I32(OW), CLQ_I32(ALL), CLQ_I32(2),
              CLQ_I32(3), CLQ_I32(1), CLQ_I32(1), CLQ_I32(1), CLQ_I32(1), CLQ_I32(2), CLQ_I32(1),
              CLQ_I32(GROUPS), CLQ_I32(1), CLQ_I32(1));
    return clq_bench_bytes(b, b->buffers[OUT], sum, sizeof sum, "conv2d_codes_exact");
}

/* Self-test of AdaRound's kernels. */
#include <math.h>

#include "ops/self_test.h"

/* Rows of a vector of 16 and a rest; elements of both ends and the middle. */
enum { OC = 3, K = 19, WEIGHTS = OC * K, COUNT = 70 };
enum { V, BASE, SCALE, OUT, TARGET };
static const float lowest = -8, highest = 7, weight = 0.5f, beta = 3;

typedef struct rounding {
    float v[WEIGHTS], base[WEIGHTS], dw[WEIGHTS], w_scale[OC];
    float w[WEIGHTS], gradient[WEIGHTS];
} rounding;

static void find_weights(rounding *r) {
    for (int i = 0; i < WEIGHTS; i++) {
        const double sigmoid = 1 / (1 + exp(-(double)r->v[i])), wide = 1.2 * sigmoid - 0.1;
        const double h = fmin(fmax(wide, 0), 1), code = (double)r->base[i] + h;
        const double s = (double)r->w_scale[i / K], inside = 2 * h - 1;
        const double regular = copysign(pow(fabs(inside), (double)beta - 1), inside);
        double g = code >= (double)lowest && code <= (double)highest ? (double)r->dw[i] * s : 0;
        g -= 2 * (double)weight * (double)beta * regular;
        r->w[i] = (float)(s * fmin(fmax(code, (double)lowest), (double)highest));
        r->gradient[i] = wide == h ? (float)(g * 1.2 * sigmoid * (1 - sigmoid)) : 0;
    }
}

static clq_status test_weights(clq_self_bench *b) {
    rounding r = {.w_scale = {0.5f, 0.03f, 2}};
    clq_self_test_fill(r.v, WEIGHTS, 6, 1);
    clq_self_test_fill(r.base, WEIGHTS, 9, 2);
    clq_self_test_fill(r.dw, WEIGHTS, 20, 3);
    for (int i = 0; i < WEIGHTS; i++) {
        r.v[i] = 0.55f * r.v[i] + 0.01f;
    }
    find_weights(&r);
    CLQ_TRY(clq_bench_put(b, V, r.v, sizeof r.v));
    CLQ_TRY(clq_bench_put(b, BASE, r.base, sizeof r.base));
    CLQ_TRY(clq_bench_put(b, SCALE, r.w_scale, sizeof r.w_scale));
    CLQ_TRY(clq_bench_put(b, OUT, NULL, sizeof r.w));
    CLQ_BENCH(b, "adaround_weights", clq_bench_groups(b, OC, 64), CLQ_AT(b, V), CLQ_AT(b, BASE),
              CLQ_AT(b, SCALE), CLQ_AT(b, OUT), CLQ_F32(lowest), CLQ_F32(highest), CLQ_I32(K));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], r.w, WEIGHTS, 1e-5, "adaround_weights"));
    CLQ_TRY(clq_bench_put(b, OUT, r.dw, sizeof r.dw));
    CLQ_BENCH(b, "adaround_gradient", clq_bench_groups(b, OC, 64), CLQ_AT(b, OUT), CLQ_AT(b, V),
              CLQ_AT(b, BASE), CLQ_AT(b, SCALE), CLQ_F32(weight), CLQ_F32(beta), CLQ_F32(lowest),
              CLQ_F32(highest), CLQ_I32(K));
    return clq_bench_floats(b, b->buffers[OUT], r.gradient, WEIGHTS, 1e-5, "adaround_gradient");
}

static clq_status test_error(clq_self_bench *b, clq_act act) {
    const float top = act == CLQ_ACT_RELU6 ? 6 : INFINITY;
    float z[COUNT], y[COUNT], g[COUNT];
    clq_self_test_fill(z, COUNT, 12, 4);
    clq_self_test_fill(y, COUNT, 12, 5);
    for (int i = 0; i < COUNT; i++) {
        const float cut = act == CLQ_ACT_NONE ? z[i] : fminf(fmaxf(z[i], 0), top);
        g[i] = cut == z[i] ? 0.25f * (cut - y[i]) : 0;
    }
    CLQ_TRY(clq_bench_put(b, OUT, z, sizeof z));
    CLQ_TRY(clq_bench_put(b, TARGET, y, sizeof y));
    CLQ_BENCH(b, "adaround_error", clq_bench_range(b), CLQ_AT(b, OUT), CLQ_AT(b, TARGET),
              CLQ_I32(act), CLQ_F32(0.25), CLQ_I32(COUNT));
    return clq_bench_floats(b, b->buffers[OUT], g, COUNT, 0, "adaround_error");
}

static clq_status test_adaround(clq_self_bench *b) {
    CLQ_TRY(test_weights(b));
    for (int act = CLQ_ACT_NONE; act <= CLQ_ACT_RELU6; act++) {
        CLQ_TRY(test_error(b, (clq_act)act));
    }
    return CLQ_OK;
}

const clq_file_test clq_rounding_self_tests[] = {{"quant/adaround.cl", test_adaround, false}, {0}};

#include "train/self_test.h"

#include <math.h>
#include <string.h>

#include "device/self_bench.h"
#include "kernels/include/step_check.h"

/* ---- optim/optimizer.cl: a few roundings of values up to 10 ---- */

enum { UNIT = 32, RUNS = 3, COUNT = UNIT * RUNS };
enum { W, G, M, V, AVERAGE, RULES, CHECK };
static const double lr = 0.05, decay = 0.1, kept = 0.75, scale = 0.5; /* scale: the result's */
/* Weight decay or not, or that and numbers that stay positive. */
static const uint8_t rules[RUNS] = {1, 0, 3};

typedef struct parameters {
    float w[COUNT], g[COUNT], m[COUNT], v[COUNT], average[COUNT];
} parameters;

static void set_parameter(parameters *p, int i, double w) {
    const double least = (rules[i / UNIT] & 2) != 0 ? 0.5 * (double)p->w[i] : -INFINITY;
    p->w[i] = (float)(w < least ? least : w);
}

static void step_sgd(parameters *p, int i, bool nesterov) {
    const double w = (double)p->w[i],
                 step = scale * (double)p->g[i] + (rules[i / UNIT] & 1) * decay * w;
    const double velocity = 0.9 * (double)p->m[i] + step;
    p->m[i] = (float)velocity;
    set_parameter(p, i, w - lr * (nesterov ? step + 0.9 * velocity : velocity));
}

/* The third step: corrections 1 - 0.9^3 and sqrt(1 - 0.99^3). */
static void step_adam(parameters *p, int i, bool decoupled) {
    const double w = (double)p->w[i], lost = (rules[i / UNIT] & 1) * decay * w;
    const double step = scale * (double)p->g[i] + (decoupled ? 0 : lost);
    const double m = 0.9 * (double)p->m[i] + 0.1 * step;
    const double v = 0.99 * (double)p->v[i] + 0.01 * step * step;
    p->m[i] = (float)m;
    p->v[i] = (float)v;
    set_parameter(p, i,
                  w - (decoupled ? lr * lost : 0) -
                      lr / (1 - pow(0.9, 3)) * m / (sqrt(v) / sqrt(1 - pow(0.99, 3)) + 1e-3));
}

static clq_status put_parameters(clq_self_bench *b, const parameters *p, float check_scale) {
    const float result[STEP_FIELDS] = {check_scale};
    CLQ_TRY(clq_bench_put(b, W, p->w, sizeof p->w));
    CLQ_TRY(clq_bench_put(b, G, p->g, sizeof p->g));
    CLQ_TRY(clq_bench_put(b, M, p->m, sizeof p->m));
    CLQ_TRY(clq_bench_put(b, V, p->v, sizeof p->v));
    CLQ_TRY(clq_bench_put(b, AVERAGE, p->average, sizeof p->average));
    CLQ_TRY(clq_bench_put(b, RULES, rules, sizeof rules));
    return clq_bench_put(b, CHECK, result, sizeof result);
}

static clq_status expect_parameters(clq_self_bench *b, const parameters *p, double tolerance,
                                    const char *what) {
    CLQ_TRY(clq_bench_floats(b, b->buffers[W], p->w, COUNT, tolerance, what));
    CLQ_TRY(clq_bench_floats(b, b->buffers[M], p->m, COUNT, tolerance, what));
    CLQ_TRY(clq_bench_floats(b, b->buffers[V], p->v, COUNT, tolerance, what));
    return clq_bench_floats(b, b->buffers[AVERAGE], p->average, COUNT, tolerance, what);
}

#define ARGUMENTS(b)                                                                               \
    CLQ_AT(b, W), CLQ_AT(b, G), CLQ_AT(b, RULES), CLQ_AT(b, AVERAGE), CLQ_AT(b, CHECK),            \
        CLQ_U32(COUNT), CLQ_U32(UNIT), CLQ_F32(kept), CLQ_F32(1 - kept), CLQ_F32(lr),              \
        CLQ_F32(decay), CLQ_AT(b, M)

/* Both forms, and that nothing happens where the result's scale is 0. */
static clq_status check_step(clq_self_bench *b, parameters p, bool adam, bool form, bool happens) {
    const char *name = adam ? "optimizer_adam" : "optimizer_sgd";
    CLQ_TRY(put_parameters(b, &p, happens ? (float)scale : 0));
    for (int i = 0; happens && i < COUNT; i++) {
        (adam ? step_adam : step_sgd)(&p, i, form);
        p.average[i] = (float)(kept * (double)p.average[i] + (1 - kept) * (double)p.w[i]);
    }
    const clq_range range = clq_bench_groups(b, 1, UNIT);
    if (adam) {
        CLQ_BENCH(b, name, range, ARGUMENTS(b), CLQ_AT(b, V), CLQ_I32(form), CLQ_F32(0.9),
                  CLQ_F32(0.1), CLQ_F32(0.99), CLQ_F32(0.01), CLQ_F32(1e-3),
                  CLQ_F32(1 - pow(0.9, 3)), CLQ_F32(sqrt(1 - pow(0.99, 3))));
    } else {
        CLQ_BENCH(b, name, range, ARGUMENTS(b), CLQ_F32(0.9), CLQ_I32(form));
    }
    return expect_parameters(b, &p, happens ? 1e-5 : 0, name);
}

static clq_status check_averages(clq_self_bench *b, parameters *p) {
    CLQ_TRY(put_parameters(b, p, 1));
    for (int i = 0; i < COUNT; i++) {
        p->average[i] = (float)(kept * (double)p->average[i] + (1 - kept) * (double)p->w[i]);
    }
    CLQ_BENCH(b, "optimizer_average", CLQ_RANGE1(COUNT), CLQ_AT(b, W), CLQ_AT(b, AVERAGE),
              CLQ_AT(b, CHECK), CLQ_U32(COUNT), CLQ_F32(kept), CLQ_F32(1 - kept));
    CLQ_TRY(expect_parameters(b, p, 1e-5, "optimizer_average"));
    CLQ_BENCH(b, "optimizer_swap", CLQ_RANGE1(COUNT), CLQ_AT(b, W), CLQ_AT(b, M), CLQ_U32(COUNT));
    CLQ_TRY(clq_bench_floats(b, b->buffers[W], p->m, COUNT, 0, "optimizer_swap"));
    return clq_bench_floats(b, b->buffers[M], p->w, COUNT, 0, "optimizer_swap");
}

static clq_status test_optimizer(clq_self_bench *b) {
    parameters p;
    clq_self_test_fill(p.w, COUNT, 8, 1);
    clq_self_test_fill(p.g, COUNT, 8, 2);
    clq_self_test_fill(p.m, COUNT, 8, 3);
    clq_self_test_fill(p.v, COUNT, 4, 4);
    clq_self_test_fill(p.average, COUNT, 8, 5);
    for (int i = 0; i < COUNT; i++) {
        p.v[i] += 5; /* squares */
    }
    for (int adam = 0; adam < 2; adam++) {
        CLQ_TRY(check_step(b, p, adam, false, true));
        CLQ_TRY(check_step(b, p, adam, true, true));
        CLQ_TRY(check_step(b, p, adam, true, false));
    }
    return check_averages(b, &p);
}

/* ---- optim/health.cl: sums of whole numbers ---- */

enum { VALUES = 131, PARTS = 3, GROUP = 128, LOSSES = 5 }; /* GROUP: as in the kernels */
enum { X, SQUARES, INPUT, STATES, LOSS, RESULT, WORDS };

/* Checks x, of which value `at` is replaced (-1: none) as input or as loss. */
static clq_status check_result(clq_self_bench *b, float *x, float bad, bool in_loss) {
    const uint32_t none[PARTS] = {0};
    float result[STEP_FIELDS] = {1, 0, 0}, losses[LOSSES] = {1, 2, 3, 4, in_loss ? bad : 5};
    float saved[VALUES];
    double squares = 0;
    for (int i = 0; i < VALUES; i++) {
        squares += (double)x[i] * (double)x[i];
        saved[i] = (float)(i + 1);
    }
    CLQ_TRY(clq_bench_put(b, X, x, VALUES * sizeof *x));
    CLQ_TRY(clq_bench_put(b, SQUARES, NULL, sizeof none));
    CLQ_TRY(clq_bench_put(b, INPUT, NULL, sizeof none));
    CLQ_TRY(clq_bench_put(b, STATES, none, sizeof none));
    CLQ_TRY(clq_bench_put(b, LOSS, losses, sizeof losses));
    CLQ_TRY(clq_bench_put(b, RESULT, NULL, sizeof result));
    CLQ_TRY(clq_bench_put(b, WORDS, saved, sizeof saved));
    CLQ_BENCH(b, "health_squares", clq_bench_groups(b, PARTS, GROUP), CLQ_AT(b, X), CLQ_U32(VALUES),
              CLQ_AT(b, SQUARES));
    if (!in_loss) {
        x[VALUES - 2] = bad;
        CLQ_TRY(clq_bench_put(b, X, x, VALUES * sizeof *x));
    }
    CLQ_BENCH(b, "health_largest", clq_bench_groups(b, PARTS, GROUP), CLQ_AT(b, X), CLQ_U32(VALUES),
              CLQ_AT(b, INPUT));
    CLQ_BENCH(b, "health_check", CLQ_RANGE1(1), CLQ_AT(b, SQUARES), CLQ_AT(b, INPUT),
              CLQ_AT(b, STATES), CLQ_U32(PARTS), CLQ_AT(b, LOSS), CLQ_U32(LOSSES), CLQ_F32(10),
              CLQ_AT(b, RESULT));
    result[STEP_NORM] = (float)sqrt(squares);
    result[STEP_SCALE] = isfinite(bad) ? (float)(10 / (sqrt(squares) + 1e-6)) : 0;
    CLQ_TRY(clq_bench_floats(b, b->buffers[RESULT], result, STEP_FIELDS, 1e-6, "health_check"));
    CLQ_BENCH(b, "health_restore", CLQ_RANGE1(VALUES), CLQ_AT(b, X), CLQ_AT(b, WORDS),
              CLQ_AT(b, RESULT), CLQ_U32(VALUES));
    return clq_bench_floats(b, b->buffers[isfinite(bad) ? WORDS : X], saved, VALUES, 0,
                            "health_restore");
}

static clq_status test_health(clq_self_bench *b) {
    float x[VALUES];
    clq_self_test_fill(x, VALUES, 100, 1);
    CLQ_TRY(check_result(b, x, 7, true));
    CLQ_TRY(check_result(b, x, NAN, true));
    return check_result(b, x, -INFINITY, false);
}

void clq_train_self_tests_add(void) {
    static const clq_file_test tests[] = {
        {"optim/optimizer.cl", test_optimizer, true}, {"optim/health.cl", test_health, false}, {0}};
    clq_self_tests_add(tests);
}

/* MSE for weights: the scale with the least squared error of codes against weights. */
#include <math.h>

#include "kernels/include/scales.h"
#include "quant/observers/search.h"
#include "quant/observers/weights.h"

enum { LANES = 8, BLOCK = 512 * LANES };

typedef struct errors {
    double all,
        beyond; /* of that, by weights beyond the outermost codes: it grows as scales fall */
} errors;

/* Ties to even for |x| < 2^22, by one addition. */
static float nearest(float x) {
    return (x + CLQ_ROUNDER) - CLQ_ROUNDER;
}

/* Adds up in LANES, so that the compiler can use vectors in an order that is ours. */
static void add_block(const float *w, size_t count, float step, float lowest, float highest,
                      double all[LANES], double beyond[LANES]) {
    const float inverse = 1 / step, end = highest + 0.5f, begin = lowest - 0.5f;
    for (size_t i = 0; i < count; i++) {
        const float real = w[i] * inverse, kept = CLQ_AT_MOST(CLQ_AT_LEAST(real, lowest), highest);
        const float d = w[i] - nearest(kept) * step;
        const double square = (double)d * (double)d;
        all[i % LANES] += square;
        beyond[i % LANES] += real > end || real < begin ? square : 0;
    }
}

/* Ends early once the sum is above `enough`. */
static errors errors_of(const float *w, size_t count, float step, const clq_qtype_info *type,
                        double enough) {
    double all[LANES] = {0}, beyond[LANES] = {0};
    errors e = {0};
    for (size_t i = 0; i < count && e.all <= enough; i += BLOCK) {
        const size_t block = count - i < BLOCK ? count - i : BLOCK;
        add_block(w + i, block, step, (float)type->lowest, (float)type->highest, all, beyond);
        e = (errors){0};
        for (int lane = 0; lane < LANES; lane++) {
            e.all += all[lane];
            e.beyond += beyond[lane];
        }
    }
    return e;
}

typedef struct search {
    const float *w;
    size_t count;
    const clq_qtype_info *type;
    double best;
    float step; /* of the best */
} search;

/* Whether smaller steps may still be better. */
static bool try_step(search *s, float step) {
    const errors e = errors_of(s->w, s->count, step, s->type, 4 * s->best);
    if (e.all < s->best) {
        s->best = e.all;
        s->step = step;
    }
    return e.beyond < s->best;
}

static void try_powers(search *s, float scale) {
    int exponent = 0;
    (void)frexpf(scale, &exponent); /* scale < 2^exponent */
    while (try_step(s, ldexpf(1, exponent)) && exponent > -60) {
        exponent--;
    }
}

/* As clq_search_range does. */
static void try_all(search *s, float scale) {
    double step = (double)scale;
    while (step >= (double)CLQ_LEAST_SCALE && try_step(s, (float)step)) {
        step *= CLQ_SCALE_COARSE;
    }
    step = (double)s->step;
    for (int i = 0; i < CLQ_SCALE_REFINED; i++) {
        step /= CLQ_SCALE_FINE;
    }
    for (int i = -CLQ_SCALE_REFINED; i <= CLQ_SCALE_REFINED; i++) {
        if (i != 0 && step < (double)scale && step >= (double)CLQ_LEAST_SCALE) {
            (void)try_step(s, (float)step);
        }
        step *= CLQ_SCALE_FINE;
    }
}

float clq_weights_reach(const float *w, size_t count, const clq_qtype_info *type, int max_shift) {
    const float highest = (float)type->highest;
    float most = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmaxf(most, fabsf(w[i]));
    }
    const float scale = clq_weights_scale(most, highest, 0, 1, CLQ_ANY_SCALE);
    search s = {.w = w, .count = count, .type = type, .best = INFINITY, .step = scale};
    if (most == 0) {
        return 0;
    }
    if (max_shift == CLQ_ANY_SCALE) {
        try_all(&s, scale);
    } else {
        try_powers(&s, scale);
    }
    return s.step == scale ? most : s.step * highest;
}

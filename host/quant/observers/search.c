#include "quant/observers/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/include/scales.h"

enum {
    COARSE = 32,
    FINE = 8
}; /* steps of scales: an octave in COARSE, and each of these in FINE */

/* ---- sums over one side ---- */

struct clq_side {
    int first, bins; /* up to the last that holds any */
    double largest;
    double edge[CLQ_BINS + 1];
    clq_side_sums below[CLQ_BINS + 1]; /* below each edge */
};

static void open_side(clq_side *side, const clq_histogram *h, double largest) {
    *side = (clq_side){.first = h->first, .largest = largest};
    for (int bin = 0; bin < CLQ_BINS; bin++) {
        side->bins = h->count[bin] > 0 ? bin + 1 : side->bins;
    }
    for (int bin = 0; bin < CLQ_BINS; bin++) {
        const double count = (double)h->count[bin];
        const double low = clq_histogram_edge(h, bin), end = clq_histogram_edge(h, bin + 1);
        const double high = fmin(end, largest), width = end - low;
        clq_side_sums s = side->below[bin];
        side->edge[bin] = low;
        side->edge[bin + 1] = end;
        if (count > 0) {
            s.count += count;
            s.first += count * (low + high) / 2;
            s.second += count * (low * low + low * high + high * high) / 3;
        }
        if (count > 0 && bin + 1 < side->bins) {
            s.spread += count;
            s.width += width;
            s.information += count * log(count / width);
        }
        side->below[bin + 1] = s;
    }
}

clq_side_sums clq_side_all(const clq_side *side) {
    return side->below[side->bins];
}

clq_side_sums clq_side_below(const clq_side *side, double magnitude) {
    const float real = (float)magnitude;
    int bin = (CLQ_FLOAT_BITS(real) >> CLQ_BIN_SHIFT) - side->first;
    bin = bin > 0 ? bin : 0;
    if (bin >= side->bins || magnitude >= side->largest) {
        return clq_side_all(side);
    }
    clq_side_sums s = side->below[bin];
    const clq_side_sums *next = &side->below[bin + 1];
    const double low = side->edge[bin], high = fmin(side->edge[bin + 1], side->largest);
    if (next->count > s.count && magnitude > low) {
        const double share = magnitude < high ? (magnitude - low) / (high - low) : 1;
        const double count = share * (next->count - s.count), x = fmin(magnitude, high);
        s.count += count;
        s.first += count * (low + x) / 2;
        s.second += count * (low * low + low * x + x * x) / 3;
        s.spread += share * (next->spread - s.spread);
        s.width += share * (next->width - s.width);
        s.information += share * (next->information - s.information);
    }
    return s;
}

/* ---- the search ---- */

typedef struct trial {
    double cost, step;
    int codes[2]; /* beyond 0, of both sides */
} trial;

typedef struct searching {
    const clq_search *search;
    const clq_code_rule *rule;
    const clq_observed *seen;
    clq_side *sides;         /* (2) */
    clq_side_costs costs[2]; /* (most + 1) each */
    double *numbers;         /* their memory */
    int most;                /* codes beyond 0 */
    int fixed;               /* of them, those below 0; -1: to be found */
    double count;
    trial best;
} searching;

static double cost_of(const searching *s, int low, int high) {
    const double cost = s->costs[0].cost[low] + s->costs[1].cost[high];
    const double covered = s->costs[0].covered[low] + s->costs[1].covered[high];
    return s->search->total ? s->search->total(cost, covered, s->count) : cost;
}

static void find_costs(searching *s, double step) {
    for (int i = 0; i < 2; i++) {
        s->search->side_costs(&s->sides[i], step, s->most, &s->costs[i]);
    }
}

/* Tries a scale with every zero point; whether smaller ones may still be better. */
static bool try_step(searching *s, double step) {
    const int begin = s->fixed >= 0 ? s->fixed : 0, end = s->fixed >= 0 ? s->fixed : s->most;
    const double wanted = s->search->least_covered * s->count;
    double least = INFINITY;
    bool any = false;
    find_costs(s, step);
    for (int low = begin; low <= end; low++) {
        const int high = s->most - low;
        const double cost = cost_of(s, low, high);
        const bool allowed = s->costs[0].covered[low] + s->costs[1].covered[high] >= wanted;
        least = fmin(least, s->costs[0].beyond[low] + s->costs[1].beyond[high]);
        any |= allowed;
        if (allowed && cost < s->best.cost) {
            s->best = (trial){cost, step, {low, high}};
        }
    }
    return any && least < s->best.cost;
}

static void try_powers(searching *s, double scale) {
    int exponent = 0;
    (void)frexp(scale, &exponent); /* scale < 2^exponent */
    while (try_step(s, ldexp(1, exponent)) && exponent > -126) {
        exponent--;
    }
}

static void try_all(searching *s, double scale) {
    const double least = CLQ_LEAST_SCALE;
    double step = scale;
    while (step >= least && try_step(s, step)) {
        step *= CLQ_SCALE_COARSE;
    }
    step = s->best.step;
    for (int i = 0; i < CLQ_SCALE_REFINED; i++) {
        step /= CLQ_SCALE_FINE;
    }
    for (int i = -CLQ_SCALE_REFINED; i <= CLQ_SCALE_REFINED; i++) {
        if (i != 0 && step <= scale && step >= least) {
            (void)try_step(s, step);
        }
        step *= CLQ_SCALE_FINE;
    }
}

static clq_status open_search(searching *s) {
    const clq_code_rule *rule = s->rule;
    const float *range = s->seen->range;
    s->most = rule->highest - rule->lowest;
    const size_t entries = (size_t)s->most + 1;
    s->sides = clq_calloc(2, sizeof *s->sides);
    s->numbers = clq_calloc(6 * entries, sizeof *s->numbers);
    if (!s->sides || !s->numbers) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < 2; i++) {
        double *numbers = s->numbers + 3 * (size_t)i * entries;
        s->costs[i] = (clq_side_costs){numbers, numbers + entries, numbers + 2 * entries};
        open_side(&s->sides[i], &s->seen->sides[i], range[i]);
        s->count += clq_side_all(&s->sides[i]).count;
    }
    s->fixed = -1;
    if (rule->symmetric) {
        s->fixed = clq_rule_zero_point(rule, range, clq_rule_scale(rule, range)) - rule->lowest;
    } else if (range[0] == 0 || range[1] == 0) { /* a side without values needs no codes */
        s->fixed = range[0] > 0 ? s->most : 0;
    }
    return CLQ_OK;
}

/* Begins with what min/max would give. */
static void begin(searching *s) {
    const float scale = clq_rule_scale(s->rule, s->seen->range);
    const int low = clq_rule_zero_point(s->rule, s->seen->range, scale) - s->rule->lowest;
    find_costs(s, scale);
    s->best = (trial){.cost = cost_of(s, low, s->most - low)};
}

/* The range that the rule turns into the best scale and zero point; min/max's stays. */
static void take_best(const searching *s, float range[2]) {
    const trial *best = &s->best;
    const bool both = range[0] > 0;
    if (best->step == 0) {
        return;
    }
    range[0] = (float)(best->step * best->codes[0]);
    range[1] = (float)(best->step * best->codes[1]);
    if (s->rule->symmetric) { /* (4) looks at the larger side */
        range[0] = both ? range[1] : 0;
    }
}

clq_status clq_search_range(const clq_search *search, const clq_observed *seen,
                            const clq_code_rule *rule, float range[2]) {
    clq_status status = CLQ_OK;
    clq_code_rule any = *rule;
    searching s = {.search = search, .rule = rule, .seen = seen};
    any.max_shift = CLQ_ANY_SCALE;
    memcpy(range, seen->range, sizeof seen->range);
    if (range[0] == 0 && range[1] == 0) {
        return CLQ_OK;
    }
    CLQ_GOTO(status, cleanup, open_search(&s));
    begin(&s);
    if (rule->max_shift == CLQ_ANY_SCALE) {
        try_all(&s, clq_rule_scale(&any, seen->range));
    } else {
        try_powers(&s, clq_rule_scale(&any, seen->range));
    }
    take_best(&s, range);
cleanup:
    clq_free(s.sides);
    clq_free(s.numbers);
    return status;
}

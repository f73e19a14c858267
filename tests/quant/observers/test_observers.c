/* What observers make of histograms, against brute force over the values themselves. */
#include <math.h>
#include <string.h>

#include "clquant/data.h"
#include "kernels/include/scales.h"
#include "quant/observers/observer.h"
#include "quant/observers/weights.h"
#include "quant/report.h"
#include "support/clq_test.h"

enum { COUNT = 5000 };

/* ---- what calibration would have seen ---- */

typedef struct sample {
    double *x;
    int count;
    clq_observed seen;
    clq_histogram sides[2];
} sample;

static sample *observed(const float *x, int count) {
    sample *s = calloc(1, sizeof *s);
    uint32_t(*counts)[CLQ_BINS] = calloc(2, sizeof *counts);
    s->x = calloc((size_t)count, sizeof *s->x);
    s->count = count;
    s->seen.count = count;
    s->seen.sides = s->sides;
    for (int i = 0; i < count; i++) {
        s->x[i] = x[i];
        s->seen.range[x[i] > 0] = fmaxf(s->seen.range[x[i] > 0], fabsf(x[i]));
    }
    for (int i = 0; i < count; i++) {
        const int side = x[i] > 0;
        const int bin =
            (clq_float_bits(fabsf(x[i])) >> CLQ_BIN_SHIFT) - clq_first_bin(s->seen.range[side]);
        counts[side][bin > 0 ? bin : 0] += x[i] != 0;
    }
    for (int side = 0; side < 2; side++) {
        clq_histogram_add(&s->sides[side], counts[side], clq_first_bin(s->seen.range[side]));
    }
    free(counts);
    return s;
}

static void forget(sample *s) {
    free(s->x);
    free(s);
}

/* Shapes of values: both signs, with and without tails, one sign, a clamp, an outlier. */
enum { NORMAL, SKEWED, RELU, RELU6, OUTLIER, LAPLACE, SHAPES };

static sample *sample_of(int shape) {
    float *x = calloc(COUNT, sizeof *x), *y = calloc(COUNT, sizeof *y);
    clq_test_fill_normal(x, COUNT, 1, (uint64_t)shape);
    clq_test_fill_normal(y, COUNT, 1, (uint64_t)shape + 100);
    for (int i = 0; i < COUNT; i++) {
        switch (shape) {
        case SKEWED:
            x[i] = expf(x[i]) - 1;
            break;
        case RELU:
            x[i] = fmaxf(x[i], 0) * 3;
            break;
        case RELU6:
            x[i] = fminf(fmaxf(x[i] * 4, 0), 6);
            break;
        case OUTLIER:
            x[i] = i == 5 ? 5000 : x[i];
            break;
        case LAPLACE:
            x[i] = x[i] * fabsf(y[i]) * 0.01f;
            break;
        default:
            break;
        }
    }
    sample *s = observed(x, COUNT);
    free(x);
    free(y);
    return s;
}

static clq_code_rule rule_of(bool symmetric, int max_shift) {
    return (clq_code_rule){.symmetric = symmetric,
                           .max_shift = max_shift,
                           .lowest = 0,
                           .highest = 255,
                           .percentile = CLQ_PERCENTILE};
}

static void found(clq_observer_kind kind, const sample *s, const clq_code_rule *rule,
                  float range[2]) {
    assert_ok(clq_observer_get(kind)->finish(&s->seen, rule, range));
    assert_true(isfinite(range[0]) && isfinite(range[1]) && range[0] >= 0 && range[1] >= 0);
}

/* ---- percentile ---- */

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void percentiles_are_those_of_sorted_values(void **state) {
    (void)state;
    static const double percentiles[] = {90, 99, 99.9, 99.99, 100};
    for (int shape = 0; shape < SHAPES; shape++) {
        sample *s = sample_of(shape);
        const bool both = s->seen.range[0] > 0;
        for (int p = 0; p < 10; p++) {
            clq_code_rule rule = rule_of(p >= 5, CLQ_ANY_SCALE);
            float range[2], expected[2];
            double sorted[COUNT];
            rule.percentile = percentiles[p % 5];
            found(CLQ_OBSERVER_PERCENTILE, s, &rule, range);
            for (int i = 0; i < COUNT; i++) {
                sorted[i] = rule.symmetric && both ? fabs(s->x[i]) : s->x[i];
            }
            qsort(sorted, COUNT, sizeof *sorted, by_size);
            const double out = COUNT * (1 - rule.percentile / 100);
            const int cut = (int)floor(out / (both && !rule.symmetric ? 2 : 1) + 1e-9);
            expected[1] = (float)sorted[COUNT - 1 - cut];
            expected[0] = both ? rule.symmetric ? expected[1] : -(float)sorted[cut] : 0;
            for (int side = 0; side < 2; side++) {
                /* a bin's width, or the gap to the neighbour where values are few */
                const double next = side ? sorted[COUNT - 2 - cut] : -sorted[cut + 1];
                const double before = cut == 0 ? next
                                      : side   ? sorted[COUNT - cut]
                                               : -sorted[cut - 1];
                const double gap = fmax(fabs((double)expected[side] - next),
                                        fabs((double)expected[side] - before));
                const double tolerance = expected[side] == 0 ? 0 : expected[side] / 100 + gap;
                assert_true(fabs((double)range[side] - (double)expected[side]) <= tolerance);
            }
            if (rule.percentile == 100) {
                assert_true(range[1] == (rule.symmetric && both
                                             ? fmaxf(s->seen.range[0], s->seen.range[1])
                                             : s->seen.range[1]));
            }
        }
        forget(s);
    }
}

/* ---- MSE ---- */

static double squared_error(const sample *s, double step, int low, int high) {
    double sum = 0;
    for (int i = 0; i < s->count; i++) {
        const double code = fmin(fmax(rint(s->x[i] / step), -low), high);
        const double error = s->x[i] - code * step;
        sum += error * error;
    }
    return sum;
}

static double error_of(const sample *s, const clq_code_rule *rule, const float range[2]) {
    const float scale = clq_rule_scale(rule, range);
    const int zero = clq_rule_zero_point(rule, range, scale);
    return squared_error(s, (double)scale, zero - rule->lowest, rule->highest - zero);
}

/* The least error over a grid of scales and zero points. */
static double least_error(const sample *s, const clq_code_rule *rule) {
    const int most = rule->highest - rule->lowest, stride = most > 20 ? 5 : 1;
    const float *range = s->seen.range;
    const double width = (double)range[0] + (double)range[1];
    const bool any = rule->max_shift<0, both = range[0]> 0;
    double least = INFINITY;
    for (int k = 0; k < (any ? 50 : 24); k++) {
        const double step = any ? width / most * pow(0.93, k) : ldexp(1, 8 - k);
        if (rule->symmetric) {
            const int high = both || rule->lowest < 0 ? most / 2 : most;
            least = fmin(least, squared_error(s, step, most - high, high));
            continue;
        }
        for (int low = 0; low <= (both ? most : 0); low += stride) {
            least = fmin(least, squared_error(s, step, low, most - low));
        }
    }
    return least;
}

static void mse_is_the_least_error(void **state) {
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        sample *s = sample_of(shape);
        for (int variant = 0; variant < 12; variant++) {
            static const clq_qtype types[] = {CLQ_Q_U8, CLQ_Q_S8, CLQ_Q_S4};
            const clq_qtype_info *type = clq_qtype_get(types[variant / 4]);
            clq_code_rule rule = rule_of(variant % 2, variant / 2 % 2 ? 30 : CLQ_ANY_SCALE);
            rule.lowest = type->lowest;
            rule.highest = type->highest;
            float range[2];
            found(CLQ_OBSERVER_MSE, s, &rule, range);
            const double error = error_of(s, &rule, range), best = least_error(s, &rule);
            if (error > best * 1.02 || error > error_of(s, &rule, s->seen.range) * 1.001) {
                fail_msg("shape %d variant %d: error %g at [%g, %g], least %g, of min/max %g",
                         shape, variant, error, (double)-range[0], (double)range[1], best,
                         error_of(s, &rule, s->seen.range));
            }
        }
        forget(s);
    }
}

/* ---- MSE of weights ---- */

/* Squared error of conversion by (2), in plain C. */
static double weights_error(const float *w, size_t count, double scale,
                            const clq_qtype_info *type) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        const double code = fmin(fmax(rint((double)w[i] / scale), type->lowest), type->highest);
        sum += ((double)w[i] - code * scale) * ((double)w[i] - code * scale);
    }
    return sum;
}

static void weights_have_the_least_error(void **state) {
    (void)state;
    static const clq_qtype types[] = {CLQ_Q_S8_NARROW, CLQ_Q_S8, CLQ_Q_S4, CLQ_Q_S3, CLQ_Q_S2};
    enum { LONG = 5000 };
    float *w = calloc(LONG, sizeof *w);
    for (size_t i = 0; i < 3 * sizeof types / sizeof *types; i++) {
        const clq_qtype_info *type = clq_qtype_get(types[i / 3]);
        const size_t count = i % 3 == 0 ? LONG : i % 3 == 1 ? 27 : 1;
        clq_test_fill_normal(w, count, 0.05f, i);
        for (int pow2 = 0; pow2 < 2; pow2++) {
            float most = 0;
            double least = INFINITY;
            for (size_t j = 0; j < count; j++) {
                most = fmaxf(most, fabsf(w[j]));
            }
            const double largest = (double)most / type->highest;
            for (int k = 0; k < (pow2 ? 40 : 200); k++) {
                const double scale = pow2 ? ldexp(1, 5 - k) : largest * pow(0.985, k);
                least = fmin(least, weights_error(w, count, scale, type));
            }
            const float reach = clq_weights_reach(w, count, type, pow2 ? 8 : CLQ_ANY_SCALE);
            const double scale = (double)reach / type->highest;
            const double error = weights_error(w, count, scale, type);
            if (error > least * 1.005 + 1e-12) {
                fail_msg("%s, %zu weights, pow2 %d: error %g at scale %g, least %g (min/max %g)",
                         type->name, count, pow2, error, scale, least, largest);
            }
        }
    }
    memset(w, 0, LONG * sizeof *w);
    assert_true(clq_weights_reach(w, LONG, clq_qtype_get(CLQ_Q_S8), CLQ_ANY_SCALE) == 0);
    free(w);
}

/* ---- entropy ---- */

/* The divergence of a side's codes by loops over cells and bins; what it covers too. */
static double ref_side(const clq_histogram *h, double largest, double step, int most,
                       double *covered) {
    double cell_count = 0, cell_spread = 0, cell_width = 0, cell_information = 0, sum = 0, last = 0;
    int top = CLQ_BINS - 1;
    while (top >= 0 && h->count[top] == 0) {
        top--;
    }
    *covered = 0;
    double all = 0;
    for (int bin = 0; bin <= top; bin++) {
        all += (double)h->count[bin];
    }
    for (int n = 0; n <= most; n++) {
        const double from = n ? (n - 0.5) * step : 0, to = (n + 0.5) * step;
        cell_count = cell_spread = cell_width = cell_information = 0;
        for (int bin = 0; bin <= top && from <= largest; bin++) {
            const double count = (double)h->count[bin];
            if (count == 0) {
                continue;
            }
            const double low = clq_histogram_edge(h, bin);
            const double end = clq_histogram_edge(h, bin + 1), high = fmin(end, largest);
            double share = (fmin(high, to) - fmax(low, from)) / (high - low);
            share = high > low ? fmin(fmax(share, 0), 1) : low >= from && low < to;
            cell_count += share * count;
            if (bin < top) {
                cell_spread += share * count;
                cell_width += share * (end - low);
                cell_information += share * count * log(count / (end - low));
            }
        }
        *covered += cell_count;
        last = cell_spread > 0
                   ? fmax(cell_information - cell_spread * log(cell_spread / cell_width), 0)
                   : 0;
        sum += last;
    }
    const double beyond = all - *covered, both = cell_count + beyond;
    if (beyond <= 1e-9 * all) {
        return sum;
    }
    return cell_count > 0 ? sum - last + last * both / cell_count + both * log(both / cell_count)
                          : INFINITY;
}

static double ref_divergence(const sample *s, double step, int low, int high) {
    double covered[2], count = 0;
    const double cost = ref_side(&s->sides[0], (double)s->seen.range[0], step, low, &covered[0]) +
                        ref_side(&s->sides[1], (double)s->seen.range[1], step, high, &covered[1]);
    for (int i = 0; i < s->count; i++) {
        count += s->x[i] != 0;
    }
    const double share = (covered[0] + covered[1]) / count;
    return share < 0.9 ? INFINITY : cost / count + log(share);
}

static void entropy_is_the_least_divergence(void **state) {
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        sample *s = sample_of(shape);
        const clq_code_rule rule = rule_of(false, CLQ_ANY_SCALE);
        const bool both = s->seen.range[0] > 0;
        const double width = (double)s->seen.range[0] + (double)s->seen.range[1];
        float range[2];
        double best = INFINITY;
        found(CLQ_OBSERVER_ENTROPY, s, &rule, range);
        const float scale = clq_rule_scale(&rule, range);
        const int zero = clq_rule_zero_point(&rule, range, scale);
        const double own = ref_divergence(s, (double)scale, zero, 255 - zero);
        for (int k = 0; k < 8; k++) {
            const double step = width / 255 * exp2(-k / 4.0);
            for (int low = 0; low <= (both ? 255 : 0); low += 51) {
                best = fmin(best, ref_divergence(s, step, low, 255 - low));
            }
        }
        if (!(own <= best * 1.001 + 1e-9)) {
            fail_msg("shape %d: divergence %g at [%g, %g], least %g", shape, own, (double)-range[0],
                     (double)range[1], best);
        }
        forget(s);
    }
}

/* ---- degenerate values ---- */

static void constants_and_nothing(void **state) {
    (void)state;
    static const float constants[] = {0, 5, -5, 6, 1e-30f, 1e30f};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        float x[100], range[2];
        for (int j = 0; j < 100; j++) {
            x[j] = constants[i];
        }
        sample *s = observed(x, 100);
        for (int kind = 0; kind < CLQ_OBSERVER_ALL; kind++) {
            const clq_code_rule rule = rule_of(i % 2, CLQ_ANY_SCALE);
            if (!clq_observer_get((clq_observer_kind)kind)->histogram) {
                continue;
            }
            found((clq_observer_kind)kind, s, &rule, range);
            const float size = fmaxf(range[0], range[1]), wanted = fabsf(constants[i]);
            assert_true(size <= wanted * 1.0001f && size >= wanted * 0.99f);
        }
        forget(s);
    }
}

/* An outlier of any size costs the rest no resolution, up to 2^16 times the others' size. */
static void outliers_are_left_out(void **state) {
    (void)state;
    float *x = calloc(COUNT, sizeof *x), range[2];
    for (int exponent = 4; exponent <= 16; exponent += 4) {
        clq_test_fill_normal(x, COUNT, 1, 1);
        x[77] = ldexpf(1, exponent);
        sample *s = observed(x, COUNT);
        clq_code_rule rule = rule_of(false, CLQ_ANY_SCALE);
        rule.percentile = 99.9;
        found(CLQ_OBSERVER_PERCENTILE, s, &rule, range);
        assert_true(range[1] > 2.5f && range[1] < 5);
        found(CLQ_OBSERVER_ENTROPY, s, &rule, range);
        assert_true(range[1] > 1.5f && range[1] < 6);
        assert_true(range[0] > 1.5f && range[0] < 6);
        forget(s);
    }
    free(x);
}

/* Values other than 0 that are fewer than the percentile leaves out keep their range. */
static void rare_values_are_not_lost(void **state) {
    (void)state;
    float *x = calloc(COUNT * 10, sizeof *x), range[2];
    x[3] = 2;
    sample *s = observed(x, COUNT * 10);
    const clq_code_rule rule = rule_of(false, CLQ_ANY_SCALE);
    found(CLQ_OBSERVER_PERCENTILE, s, &rule, range);
    assert_true(range[0] == 0 && range[1] == 2);
    forget(s);
    free(x);
}

/* ---- texts ---- */

static void names_are_read_and_written(void **state) {
    (void)state;
    static const char *const good[] = {"minmax",          "moving_average", "percentile:99.99",
                                       "percentile:99.9", "percentile:100", "mse",
                                       "entropy"};
    static const char *const bad[] = {"",
                                      "min",
                                      "mse:3",
                                      "percentile:",
                                      "percentile:x",
                                      "percentile:49",
                                      "percentile:100.1",
                                      "percentile:99%",
                                      "percentiles",
                                      "MSE"};
    clq_quant_config config;
    char text[CLQ_OBSERVER_TEXT];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_ok(clq_observer_parse(good[i], &config));
        assert_string_equal(clq_observer_text(config.observer, config.percentile, text), good[i]);
    }
    assert_ok(clq_observer_parse("percentile", &config));
    assert_true(config.percentile == CLQ_PERCENTILE);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(clq_observer_parse(bad[i], &config), CLQ_USAGE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_those_of_sorted_values),
        cmocka_unit_test(mse_is_the_least_error),
        cmocka_unit_test(weights_have_the_least_error),
        cmocka_unit_test(entropy_is_the_least_divergence),
        cmocka_unit_test(constants_and_nothing),
        cmocka_unit_test(outliers_are_left_out),
        cmocka_unit_test(rare_values_are_not_lost),
        cmocka_unit_test(names_are_read_and_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

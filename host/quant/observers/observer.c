#include "quant/observers/observer.h"

#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "base/ranges.h"
#include "kernels/include/scales.h"
#include "quant/report.h"

static const char *const names[CLQ_OBSERVER_COUNT] = {"minmax", "moving_average", "percentile",
                                                      "mse",    "entropy",        "all"};

/* ---- rules ---- */

float clq_rule_scale(const clq_code_rule *rule, const float range[2]) {
    return clq_range_scale(range[0], range[1], rule->lowest, rule->highest, rule->symmetric,
                           rule->max_shift);
}

int clq_rule_zero_point(const clq_code_rule *rule, const float range[2], float scale) {
    return clq_range_zero_point(range[0], scale, rule->lowest, rule->highest, rule->symmetric);
}

/* ---- without histograms ---- */

static clq_status extremes(const clq_observed *seen, const clq_code_rule *rule, float range[2]) {
    (void)rule;
    memcpy(range, seen->range, sizeof seen->range);
    return CLQ_OK;
}

static clq_status averages(const clq_observed *seen, const clq_code_rule *rule, float range[2]) {
    (void)rule;
    memcpy(range, seen->average, sizeof seen->average);
    return CLQ_OK;
}

/* ---- the table ---- */

static const clq_observer observers[CLQ_OBSERVER_COUNT] = {
    [CLQ_OBSERVER_MIN_MAX] = {.finish = extremes},
    [CLQ_OBSERVER_MOVING_AVERAGE] = {.finish = averages},
    [CLQ_OBSERVER_PERCENTILE] = {.histogram = true, .finish = clq_percentile_finish},
    [CLQ_OBSERVER_MSE] = {.histogram = true, .finish = clq_mse_finish},
    [CLQ_OBSERVER_ENTROPY] = {.histogram = true, .finish = clq_entropy_finish},
    [CLQ_OBSERVER_ALL] = {.histogram = true},
};

const clq_observer *clq_observer_get(clq_observer_kind kind) {
    return &observers[kind];
}

/* ---- texts ---- */

clq_status clq_observer_parse(const char *text, clq_quant_config *config) {
    const size_t length = strcspn(text, ":");
    for (int i = 0; i < CLQ_OBSERVER_COUNT; i++) {
        if (strlen(names[i]) != length || strncmp(text, names[i], length) != 0) {
            continue;
        }
        double percentile = CLQ_PERCENTILE;
        if (text[length] == ':') {
            const char *end = clq_read_real(text + length + 1, &percentile);
            if (i != CLQ_OBSERVER_PERCENTILE || !end || *end) {
                break;
            }
            CLQ_TRY(clq_in_range("percentile", percentile, CLQ_IN_PERCENTILE));
        }
        config->observer = (clq_observer_kind)i;
        config->percentile = percentile;
        return CLQ_OK;
    }
    return clq_fail(
        CLQ_USAGE,
        "must be minmax, moving_average, percentile, percentile:P, mse, entropy or all, is \"%s\"",
        text);
}

const char *clq_observer_text(clq_observer_kind kind, double percentile,
                              char text[CLQ_OBSERVER_TEXT]) {
    if (kind == CLQ_OBSERVER_PERCENTILE) {
        clq_snprintf(text, CLQ_OBSERVER_TEXT, "percentile:%.15g", percentile);
    } else {
        clq_snprintf(text, CLQ_OBSERVER_TEXT, "%s", names[kind]);
    }
    return text;
}

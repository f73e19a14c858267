/* Observers: the range that a value's codes are to cover, from what calibration saw of its reals. A
 * new one is a name and a row in observer.c, and its finish. */
#ifndef CLQUANT_QUANT_OBSERVER_H
#define CLQUANT_QUANT_OBSERVER_H

#include <clquant/quant.h>

#include "quant/observers/histogram.h"

/* What was seen of a value, or of all that share its qparams. Pairs are for the negative side and
 * the positive one: magnitudes, 0 or more. */
typedef struct clq_observed {
    float range[2];             /* the largest -x and x of all images */
    float average[2];           /* moving averages of the batches' */
    double count;               /* reals, zeros too */
    const clq_histogram *sides; /* (2); NULL: not gathered */
} clq_observed;

/* How a range becomes codes. */
typedef struct clq_code_rule {
    bool symmetric;
    int max_shift;       /* as kernels/include/scales.h wants it */
    int lowest, highest; /* codes */
    double percentile;
} clq_code_rule;

/* Scale and zero point of a range, by (3), (4) and (6). */
float clq_rule_scale(const clq_code_rule *rule, const float range[2]);
int clq_rule_zero_point(const clq_code_rule *rule, const float range[2], float scale);

typedef struct clq_observer {
    bool histogram; /* needs it */
    /* NULL: of ALL. `seen` holds finite numbers. Deterministic: double, in a fixed order. */
    clq_status (*finish)(const clq_observed *seen, const clq_code_rule *rule, float range[2]);
} clq_observer;

const clq_observer *clq_observer_get(clq_observer_kind kind);

/* Finishes with histograms; a file each. */
clq_status clq_percentile_finish(const clq_observed *seen, const clq_code_rule *rule,
                                 float range[2]);
clq_status clq_mse_finish(const clq_observed *seen, const clq_code_rule *rule, float range[2]);
clq_status clq_entropy_finish(const clq_observed *seen, const clq_code_rule *rule, float range[2]);

#endif

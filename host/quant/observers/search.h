/* Observers that try scales: for each, the cost of every way to share the codes out between
 * negative and positive values, by sums over a histogram in which the values of a bin lie evenly.
 */
#ifndef CLQUANT_QUANT_SEARCH_H
#define CLQUANT_QUANT_SEARCH_H

#include "quant/observers/observer.h"

/* Scales that are tried: ratios of neighbours (2^(-1/32) and 2^(-1/256)), and how many of the fine
 * ones to either side of the best. By multiplication, so that they are the same everywhere. */
#define CLQ_SCALE_COARSE 0.97857206208770013
#define CLQ_SCALE_FINE 0.99729605608547012
enum { CLQ_SCALE_REFINED = 7 };

/* Sums over a side's values below some magnitude. */
typedef struct clq_side_sums {
    double count, first, second; /* of x^0, x^1, x^2 */
    /* Without the highest bin that holds any, where a clamp may have gathered values: */
    double spread;      /* values */
    double width;       /* of the bins that hold any */
    double information; /* of count * log(count / width) of bins */
} clq_side_sums;

typedef struct clq_side clq_side;
clq_side_sums clq_side_below(const clq_side *side, double magnitude);
clq_side_sums clq_side_all(const clq_side *side);

/* What a side costs with n = 0 .. most codes beyond 0, `step` apart. */
typedef struct clq_side_costs {
    double *cost;   /* (most + 1) */
    double *beyond; /* (most + 1): of that, by values beyond the last code's cell: it grows as steps
                       become smaller */
    double *covered; /* (most + 1): values that are not beyond it */
} clq_side_costs;

typedef struct clq_search {
    void (*side_costs)(const clq_side *side, double step, int most, clq_side_costs *costs);
    /* From both sides' sums to what is compared; NULL: their sum. */
    double (*total)(double cost, double covered, double count);
    double least_covered; /* share of the values, without which a range is none */
} clq_search;

/* The range of the cheapest scale and zero point. Scales: that of min/max and smaller ones (all
 * powers of two below, where these are wanted), as long as values beyond the range alone cost less
 * than the best. What is not cheaper than min/max gives way to it. */
clq_status clq_search_range(const clq_search *search, const clq_observed *seen,
                            const clq_code_rule *rule, float range[2]);

#endif

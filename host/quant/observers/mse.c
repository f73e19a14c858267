/* MSE: the scale and zero point with the least squared error of codes against values. */
#include <math.h>

#include "quant/observers/search.h"

/* Squared distance to `code` of the values that make the difference of two sums. */
static double distance(clq_side_sums to, clq_side_sums from, double code) {
    const double error = (to.second - from.second) - 2 * code * (to.first - from.first) +
                         code * code * (to.count - from.count);
    return fmax(error, 0);
}

static void squared_errors(const clq_side *side, double step, int most, clq_side_costs *costs) {
    const clq_side_sums all = clq_side_all(side);
    clq_side_sums from = {0};
    double rounding = 0; /* in the cells of the codes before */
    for (int n = 0; n <= most; n++) {
        if (n > 0 && from.count == all.count) { /* more codes change nothing */
            costs->beyond[n] = 0;
            costs->cost[n] = rounding;
            costs->covered[n] = all.count;
            continue;
        }
        const double code = n * step;
        const clq_side_sums to = clq_side_below(side, code + step / 2);
        costs->beyond[n] = distance(all, to, code);
        costs->cost[n] = rounding + distance(all, from, code);
        costs->covered[n] = to.count;
        rounding += distance(to, from, code);
        from = to;
    }
}

clq_status clq_mse_finish(const clq_observed *seen, const clq_code_rule *rule, float range[2]) {
    static const clq_search search = {squared_errors, NULL, 0};
    return clq_search_range(&search, seen, rule, range);
}

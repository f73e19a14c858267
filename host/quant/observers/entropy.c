/* Entropy: the range whose codes tell most of how values are distributed, after TensorRT's
 * calibration (Migacz 2017). P is the distribution of the values other than 0, where what lies
 * beyond the range is counted to the last code's cell, in proportion to what is there; Q has what
 * each code stands for without that, spread evenly over the bins of its cell that hold any. The
 * least Kullback-Leibler divergence of Q from P wins. Both signs are searched, each with its codes.
 */
#include <math.h>

#include "quant/observers/search.h"

/* How much a cell's values are not spread evenly: sum of p log(p / q). */
static double unevenness(double count, double width, double information) {
    return count > 0 ? fmax(information - count * log(count / width), 0) : 0;
}

static void divergences(const clq_side *side, double step, int most, clq_side_costs *costs) {
    const clq_side_sums all = clq_side_all(side);
    clq_side_sums from = {0};
    double before = 0;
    for (int n = 0; n <= most; n++) {
        if (n > 0 && from.count == all.count) { /* more codes change nothing */
            costs->beyond[n] = 0;
            costs->cost[n] = before;
            costs->covered[n] = all.count;
            continue;
        }
        const clq_side_sums to = clq_side_below(side, (n + 0.5) * step);
        const double count = to.count - from.count, beyond = all.count - to.count;
        const double cell = unevenness(to.spread - from.spread, to.width - from.width,
                                       to.information - from.information);
        const double both = count + beyond;
        costs->cost[n] = before + (beyond <= 0 ? cell
                                   : count > 0 ? cell * both / count + both * log(both / count)
                                               : INFINITY);
        costs->beyond[n] = 0;
        costs->covered[n] = to.count;
        before += cell;
        from = to;
    }
}

/* Q is normalized to what the codes cover. */
static double divergence(double cost, double covered, double count) {
    return cost / count + log(covered / count);
}

clq_status clq_entropy_finish(const clq_observed *seen, const clq_code_rule *rule, float range[2]) {
    static const clq_search search = {divergences, divergence, 0.9};
    return clq_search_range(&search, seen, rule, range);
}

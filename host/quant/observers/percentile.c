/* Percentile: leaves out so much of the values at the ends. Within a bin values are taken to lie
 * evenly. */
#include <math.h>
#include <string.h>

#include "quant/observers/observer.h"

/* The magnitude that `above` of a side's values are larger than; `largest` is its largest. */
static double magnitude_below(const clq_histogram *h, double largest, double above) {
    for (int bin = CLQ_BINS - 1; bin >= 0; bin--) {
        const double count = (double)h->count[bin];
        if (count > above) {
            const double low = clq_histogram_edge(h, bin);
            const double high = fmin(clq_histogram_edge(h, bin + 1), largest);
            return high - above / count * (high - low);
        }
        above -= count;
    }
    return 0;
}

clq_status clq_percentile_finish(const clq_observed *seen, const clq_code_rule *rule,
                                 float range[2]) {
    const double left_out = (1 - rule->percentile / 100) * seen->count;
    const bool both = seen->range[0] > 0 && seen->range[1] > 0;
    memcpy(range, seen->range, sizeof seen->range);
    if (both && rule->symmetric) {
        const float largest = fmaxf(range[0], range[1]);
        clq_histogram *magnitudes = clq_calloc(1, sizeof *magnitudes);
        if (!magnitudes) {
            return CLQ_NO_MEMORY;
        }
        clq_histogram_merge(magnitudes, &seen->sides[0]);
        clq_histogram_merge(magnitudes, &seen->sides[1]);
        range[0] = range[1] = (float)magnitude_below(magnitudes, largest, left_out);
        clq_free(magnitudes);
    } else {
        for (int i = 0; i < 2; i++) {
            range[i] =
                (float)magnitude_below(&seen->sides[i], range[i], both ? left_out / 2 : left_out);
        }
    }
    if (range[0] == 0 && range[1] == 0) { /* values other than 0 are fewer than are left out */
        memcpy(range, seen->range, sizeof seen->range);
    }
    return CLQ_OK;
}

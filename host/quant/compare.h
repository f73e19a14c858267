/* Networks beside the one that they were made from, on the same samples. */
#ifndef CLQUANT_QUANT_COMPARE_H
#define CLQUANT_QUANT_COMPARE_H

#include <clquant/quant.h>

typedef struct clq_compared {
    double errors[CLQ_MAX_ENDS]; /* of the outputs, as clq_compare_outputs says */
    double top1;                 /* share of samples; NaN: the feed has no labels for the outputs */
} clq_compared;

/* Runs up to `limit` samples of the feed (0: all) through `real` and `count` others, in one pass;
 * compared (1 + count): first real itself. Otherwise as clq_compare_outputs. */
clq_status clq_compare_networks(clq_exec *real, clq_exec *const *others, int count, clq_feed *feed,
                                int64_t limit, const char *label, clq_compared *compared,
                                int64_t *done);

#endif

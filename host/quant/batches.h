/* Calibration's images, batch by batch, into an executor. */
#ifndef CLQUANT_QUANT_BATCHES_H
#define CLQUANT_QUANT_BATCHES_H

#include <clquant/quant.h>

#include "base/progress.h"

typedef struct clq_batches {
    clq_exec *exec;
    clq_feed *feed;
    int64_t limit, done; /* images, or rows; `done` without those of this batch */
    int count;           /* of this batch: those that are part of the calibration; 0: at the end */
    clq_progress progress;
} clq_batches;

/* From the feed's first image on, up to `limit`, with a progress bar. */
clq_status clq_batches_begin(clq_batches *batches, clq_exec *exec, clq_feed *feed, int64_t limit,
                             const char *label);
/* Fills the executor's inputs with the next batch. */
clq_status clq_batches_next(clq_batches *batches);
void clq_batches_end(clq_batches *batches); /* also without a begin, when all is 0 */

#endif

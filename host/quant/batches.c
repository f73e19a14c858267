#include "quant/batches.h"

clq_status clq_batches_begin(clq_batches *b, clq_exec *exec, clq_feed *feed, int64_t limit,
                             const char *label) {
    const int64_t there = clq_feed_count(feed);
    *b = (clq_batches){.exec = exec, .feed = feed, .limit = limit < there ? limit : there};
    clq_progress_begin(&b->progress, label, clq_feed_unit(feed), b->limit);
    return clq_feed_seek(feed, 0, 0);
}

clq_status clq_batches_next(clq_batches *b) {
    clq_feed_batch batch;
    b->done += b->count;
    b->count = 0;
    clq_progress_update(&b->progress, b->done, NULL);
    if (b->done >= b->limit) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_feed_fill(b->feed, b->exec, &batch));
    b->count = batch.count < b->limit - b->done ? batch.count : (int)(b->limit - b->done);
    return CLQ_OK;
}

void clq_batches_end(clq_batches *b) {
    if (b->exec) {
        clq_progress_end(&b->progress);
    }
}

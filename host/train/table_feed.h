/* Batches of a table's rows; clq_feed hands everything on to one where the data set is a table. The
 * functions keep to those of clq_feed. */
#ifndef CLQUANT_TRAIN_TABLE_FEED_H
#define CLQUANT_TRAIN_TABLE_FEED_H

#include <clquant/train.h>

typedef struct clq_table_feed clq_table_feed;

/* `table` must outlive the feed. CLQ_USAGE: training, and not one full batch. */
clq_status clq_table_feed_create(clq_device *device, const clq_table *table,
                                 const clq_feed_options *options, clq_table_feed **feed);
void clq_table_feed_destroy(clq_table_feed *feed); /* NULL ok */
const clq_table *clq_table_feed_table(const clq_table_feed *feed);
int64_t clq_table_feed_batches(const clq_table_feed *feed);
clq_status clq_table_feed_seek(clq_table_feed *feed, int64_t epoch, int64_t batch);
/* *batch is zeroed by the caller. */
clq_status clq_table_feed_next(clq_table_feed *feed, clq_buffer *x, clq_feed_batch *batch);

#endif

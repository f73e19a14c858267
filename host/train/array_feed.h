/* Batches of arrays' rows, for networks with any number of inputs; clq_feed hands everything on to
 * one that was made for arrays. The functions keep to those of clq_feed. */
#ifndef CLQUANT_TRAIN_ARRAY_FEED_H
#define CLQUANT_TRAIN_ARRAY_FEED_H

#include <clquant/train.h>

typedef struct clq_array_feed clq_array_feed;

/* As clq_feed_create_arrays, and clq_feed_create_arrays_with where `training` is not NULL: its
 * batch is this one. */
clq_status clq_array_feed_create(const clq_graph *graph, clq_arrays *arrays, int batch,
                                 int64_t limit, const clq_feed_options *training,
                                 clq_array_feed **feed);
void clq_array_feed_destroy(clq_array_feed *feed); /* NULL ok */
/* Samples that arrays hold for a graph, without a word; 0: they do not fit. */
int64_t clq_array_samples(const clq_graph *graph, clq_arrays *arrays);
clq_arrays *clq_array_feed_arrays(const clq_array_feed *feed);
int64_t clq_array_feed_count(const clq_array_feed *feed);
int64_t clq_array_feed_batches(const clq_array_feed *feed);
/* Labels of a sample: 1, or those of its pixels. */
int64_t clq_array_feed_label_size(const clq_array_feed *feed);
/* Of all rows that training holds; 0 otherwise. */
uint64_t clq_array_feed_hash(const clq_array_feed *feed);
void clq_array_feed_seek(clq_array_feed *feed, int64_t epoch, int64_t batch);
clq_status clq_array_feed_fill(clq_array_feed *feed, clq_exec *exec, clq_feed_batch *batch);

#endif

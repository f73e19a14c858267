/* Means of gradients over ranks, made beside the backward pass.
 *
 * The flat gradient buffer is cut into buckets from its end, since backward finishes the last
 * layers first. A bucket whose gradients are all queued goes its way while the device computes on:
 *
 *     read to the host | exchange: rank r gets piece r of all ranks | their mean, in the order of
 *     ranks | gather: all ranks get all pieces | write to the device
 *
 * That is a ring's or tree's traffic (2 (n - 1) / n of the bucket each way), but every element is
 * summed by one rank and in one order, so that the result is the same bits every time and on all
 * ranks. */
#ifndef CLQUANT_TRAIN_REDUCER_H
#define CLQUANT_TRAIN_REDUCER_H

#include <clquant/exec.h>

typedef struct clq_reducer clq_reducer;

/* For the executor's backward passes; sets its backward hook. `states`: the states of params (batch
 * norm's running statistics) become means too. All arguments must outlive it. */
clq_status clq_reducer_create(clq_device *device, const clq_graph *graph, clq_params *params,
                              clq_exec *exec, clq_ranks *ranks, bool states, clq_reducer **reducer);
void clq_reducer_destroy(clq_reducer *reducer); /* NULL ok */

/* Around a step's backward; with NULL they do nothing. After finish, work that is queued sees the
 * means. */
clq_status clq_reducer_begin(clq_reducer *reducer);
clq_status clq_reducer_finish(clq_reducer *reducer);

/* Logs what a step's exchange cost under `name`, and how much of that backward did not hide. */
void clq_reducer_log(const clq_reducer *reducer, const char *name);

#endif

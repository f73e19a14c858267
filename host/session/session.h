/* What the files of host/session share. */
#ifndef CLQUANT_SESSION_SESSION_H
#define CLQUANT_SESSION_SESSION_H

#include <clquant/exec.h>
#include <clquant/session.h>

/* Executors of the numbers of samples that were run last. */
enum { CLQ_SESSION_EXECS = 3 };

struct clq_session {
    clq_device *device;
    clq_graph *graph;  /* owned */
    clq_graph *folded; /* owned; of a float one, made when it is first run */
    struct {
        clq_exec *exec; /* NULL: none */
        int batch;
        uint64_t used;
    } execs[CLQ_SESSION_EXECS];
    uint64_t runs;
    float *staging; /* one batch of the largest input or output, in another order */
    size_t staging_size;
};

/* As clq_session_create, but the graph is taken over, and *graph NULL, whatever comes of it. */
clq_status clq_session_take(clq_device *device, clq_graph **graph, clq_session **session);

/* How many samples are run at once: 64, or fewer of large ones or where there are not so many;
 * `samples` 0: it is not known how many. */
int clq_eval_batch(const clq_graph *graph, int64_t samples);

/* An executor for inference with a graph of any form; a float one is folded into *folded
 * (unless it is not NULL: folded before), which must outlive it. An integer graph that is
 * `consumed` cannot be run again. `logits` as in clq_exec_options. */
clq_status clq_inference_open(clq_device *device, clq_graph *graph, bool consumed, bool logits,
                              int batch, clq_graph **folded, clq_exec **exec);

#endif

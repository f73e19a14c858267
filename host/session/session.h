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
    uint64_t expected_runs; /* of executors that are made from now on */
    float *staging;         /* one batch of the inputs, or of an output, in another order */
    size_t staging_size;
};

/* As clq_session_create, but the graph is taken over, and *graph NULL, whatever comes of it. */
clq_status clq_session_take(clq_device *device, clq_graph **graph, clq_session **session);

/* How many samples are run at once: 64, or fewer of large ones or where there are not so many;
 * `samples` 0: it is not known how many. */
int clq_eval_batch(const clq_graph *graph, int64_t samples);

/* An executor for inference with a graph of any form; a float one is folded into *folded
 * (unless it is not NULL: folded before), which must outlive it. The mode is the graph's; of a
 * graph that is not of integers nothing is consumed, whatever `wanted` says. */
clq_status clq_inference_open(clq_device *device, const clq_graph *graph,
                              const clq_exec_options *wanted, clq_graph **folded, clq_exec **exec);

#endif

/* What the files of an analysis share. */
#ifndef CLQUANT_QUANT_ANALYZE_H
#define CLQUANT_QUANT_ANALYZE_H

#include <clquant/analyze.h>

#include "base/progress.h"

/* ---- analyze_graphs.c: the networks that are run ---- */

typedef struct clq_analysis_graphs {
    const clq_graph *real, *integer;
    clq_graph
        *rounded; /* the integer network's nodes with the reals that its parameters stand for */
    int *nodes;   /* (real->node_count): the integer network's node, -1: it has none */
} clq_analysis_graphs;

clq_status clq_analysis_graphs_open(const clq_graph *real, const clq_graph *integer,
                                    clq_analysis_graphs *graphs);
void clq_analysis_graphs_close(clq_analysis_graphs *graphs); /* zeroed ok */

/* The integer network's value for an activation of the real one; CLQ_NO_VALUE: it has none. */
int clq_analysis_value(const clq_analysis_graphs *graphs, int real_value);
/* How the integer network quantizes an activation of the real one: at once, or for those who read
 * codes. NULL: not at all. */
const clq_qparams *clq_analysis_codes(const clq_analysis_graphs *graphs, int real_value);
/* Whether quantization changes what the node computes by itself: its parameters are rounded, or
 * codes are made of what it makes. */
bool clq_analysis_is_quantized(const clq_analysis_graphs *graphs, int node);
void clq_analysis_type(const clq_analysis_graphs *graphs, int node, char *text, size_t size);

/* The real network with the parameters of all nodes rounded. */
clq_status clq_analysis_round_parameters(const clq_analysis_graphs *graphs, clq_graph **graph);

/* The real network in which one node's parameters and output are rounded, or one input. */
typedef struct clq_lone_graph {
    clq_graph *graph;
    int twin;    /* node that computes the output without rounding; -1: it is an input */
    int rounded; /* node that makes the rounded output, of reals */
} clq_lone_graph;
/* `value`: an input of the real network, or the node's output. */
clq_status clq_analysis_quantize_one(const clq_analysis_graphs *graphs, int value,
                                     clq_lone_graph *lone);

/* The integer network with one node on reals, by the same scales otherwise; *graph NULL where that
 * cannot be made. */
clq_status clq_analysis_keep_one(const clq_analysis_graphs *graphs, int node, clq_graph **graph);

/* ---- analyze_signal.c: tensors beside each other ---- */

/* Sums over elements, in their order. */
typedef struct clq_signal {
    double signal, noise, product, other; /* of x^2, (x - y)^2, x y, y^2 */
} clq_signal;

void clq_signal_add(clq_signal *signal, const float *x, const float *y, size_t count);
double clq_signal_sqnr_db(const clq_signal *signal);
double clq_signal_cosine(const clq_signal *signal);

/* A histogram of bins over [-limit, limit), which doubles as values demand; zeroed: empty. */
typedef struct clq_spread_sums {
    double limit;
    float least, most;
    int64_t seen, clipped; /* finite values; of these beyond clip_least .. clip_most */
    float clip_least, clip_most;
    int64_t counts[CLQ_VALUE_BINS];
} clq_spread_sums;

void clq_spread_begin(clq_spread_sums *sums, const clq_qparams *codes);
void clq_spread_add(clq_spread_sums *sums, const float *x, size_t count);
/* Without the empty bins at both ends. */
void clq_spread_end(const clq_spread_sums *sums, clq_value_histogram *histogram);

/* ---- analyze_samples.c: what all networks are run on ---- */

typedef struct clq_samples {
    clq_device *device;
    const clq_graph *graph; /* whose inputs they are */
    int batch;
    int64_t count;
    const char *unit;
    float *inputs[CLQ_MAX_ENDS];    /* (count, ...) of each input */
    float *reference[CLQ_MAX_ENDS]; /* (count, ...) of each output of the float network */
    int32_t *labels;                /* (count); NULL: there are none */
    int32_t *predictions;           /* (count), the float network's; NULL: no classes */
    bool *right;                    /* (count): of these, which are the label's */
    float *outputs;                 /* one batch of the largest output */
} clq_samples;

/* Reads up to `limit` samples (0: all) and runs the float network on them. */
clq_status clq_samples_open(clq_device *device, const clq_graph *trained, clq_feed *feed, int batch,
                            int64_t limit, clq_samples *samples, clq_score *score);
void clq_samples_close(clq_samples *samples); /* zeroed ok */

typedef struct clq_samples_run {
    const clq_graph *graph;
    clq_exec_mode mode;
    void *context;
    /* Before each batch, of `count` samples that are in the executor's inputs; NULL: nothing. */
    clq_status (*before)(void *context, clq_exec *exec, int count);
    clq_exec_hook hook; /* NULL: none; else no node runs in another's epilogue */
    const bool *base; /* (samples): predicted right by the network that samples are lost and gained
                         from; NULL: the float one */
    bool *right;      /* (samples): receives which this network predicts right; NULL ok */
} clq_samples_run;

/* Runs a network of the same inputs and outputs. `progress` counts samples from *done on. */
clq_status clq_samples_score(clq_samples *samples, const clq_samples_run *run,
                             clq_progress *progress, int64_t *done, clq_score *score);

#endif

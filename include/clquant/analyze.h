/* Analysis: what each step from the float to the integer network costs, and each layer by itself.
 * docs/analyze.md says what the numbers mean. */
#ifndef CLQUANT_ANALYZE_H
#define CLQUANT_ANALYZE_H

#include <clquant/quant.h>

CLQ_API_BEGIN

/* The same network, from the float one as it was given to the integer one. */
typedef enum clq_ladder_stage {
    CLQ_LADDER_FP32,
    CLQ_LADDER_FOLDED,
    CLQ_LADDER_WEIGHTS,   /* weights and biases rounded, activations real */
    CLQ_LADDER_SIMULATED, /* activations too: the fake-quantized evaluation */
    CLQ_LADDER_INTEGER,
    CLQ_LADDER_STAGES
} clq_ladder_stage;
extern const char *const clq_ladder_names[CLQ_LADDER_STAGES]; /* "fp32", "folded", ... */

/* How well a network does on the samples of an analysis, beside the float one. */
typedef struct clq_score {
    double top1;          /* of the labels, 0..1; NaN: there are none */
    double low, high;     /* its 95 % interval (Wilson); NaN likewise */
    int64_t flips;        /* predictions that are not FP32's; -1: the outputs are no classes */
    int64_t lost, gained; /* samples that FP32 (of `without`: the integer network) predicts right
                             and this does not, and the other way round; -1 without labels */
    double error; /* of the outputs: root of the mean squared difference to FP32's, divided by the
                     root of the mean square of FP32's; of several outputs the largest */
} clq_score;

/* Whether two counts of lost and gained samples may be chance (sign test, 5 %); true for -1. */
bool clq_score_is_noise(const clq_score *score);

/* How often values were seen, in bins of equal width from `low` on. */
enum { CLQ_VALUE_BINS = 256 };
typedef struct clq_value_histogram {
    double low, width; /* of a bin */
    int bins;          /* 0: nothing was seen */
    int64_t counts[CLQ_VALUE_BINS];
} clq_value_histogram;

/* A node that quantization changes, or an input of the network (op "input"). A layer owns the
 * rounding of its weights, of its bias and of its output. */
typedef struct clq_analysis_layer {
    char *name;     /* owned */
    const char *op; /* lent by the operator */
    char type[48];  /* of input and weights, "u8 x s8_narrow", or of the output; "f32": real */
    int place;      /* in the order of the network, from 0 */
    bool has_weights, is_float; /* is_float: nothing of it is quantized */
    double sqnr_db, cosine;     /* of its output, quantized by itself on float inputs, to the float
                                   one; infinite: no difference */
    double sqnr_accumulated_db,
        cosine_accumulated; /* in the network that is quantized as a whole */
    double clipped;         /* share of the output beyond what the codes can say; NaN: it is real */
    double least, most;     /* of the float output */
    double code_least, code_most;  /* what the codes can say; NaN: it is real */
    clq_value_histogram histogram; /* of the float output */
    clq_score only;                /* the float network with this layer alone quantized */
    clq_score without; /* the integer network with this node kept float, as --keep-float does; NaN
                          where that cannot be made, and of inputs */
    int64_t bytes;     /* of its parameters as they are stored */
    double fp32_ms, int8_ms; /* for the caller to fill in; NaN: not measured, or part of another */
} clq_analysis_layer;

typedef struct clq_analysis {
    int64_t samples;
    const char *unit; /* "images" or "rows" */
    bool has_classes, has_labels;
    clq_score ladder[CLQ_LADDER_STAGES];
    clq_analysis_layer *layers; /* (layer_count), owned; by only.error, the largest first */
    int layer_count;
} clq_analysis;

/* CLQ_BAD_DATA, naming the difference, unless the integer network has the float one's layers,
 * inputs and outputs. */
clq_status clq_analysis_check(const clq_graph *real, const clq_graph *integer);

/* CLQ_BAD_DATA, naming the layer, unless the integer network's weights are the float one's, rounded
 * up or down. Not so of networks that were fine-tuned, or equalized on other data. */
clq_status clq_analysis_check_weights(const clq_graph *real, const clq_graph *integer);

/* Measures all but milliseconds on up to `limit` samples of the feed (0: all), which has this
 * batch. `trained`: the float network as it was given. `real`: the same with the integer one's
 * nodes, as clq_graph_fold makes it. Inputs, and outputs of the float network, are kept in memory
 * for that many samples. Deterministic. The caller clears `analysis`, after a failure too. */
clq_status clq_analyze(clq_device *device, const clq_graph *trained, const clq_graph *real,
                       const clq_graph *integer, clq_feed *feed, int batch, int64_t limit,
                       clq_analysis *analysis);
void clq_analysis_clear(clq_analysis *analysis); /* NULL ok */

CLQ_API_END
#endif

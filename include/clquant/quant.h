/* Quantization: qparams from ranges, observers, calibration (PTQ), QAT, conversion, verification.
 *
 * The numbers are defined in docs/quantization.md. */
#ifndef CLQUANT_QUANT_H
#define CLQUANT_QUANT_H

#include <clquant/formats.h>
#include <clquant/passes.h>
#include <clquant/train.h>

CLQ_API_BEGIN

/* How the range of an activation is found; docs/quantization.md. */
typedef enum clq_observer_kind {
    CLQ_OBSERVER_MIN_MAX,
    CLQ_OBSERVER_MOVING_AVERAGE,
    CLQ_OBSERVER_PERCENTILE, /* leaves out what is beyond config->percentile */
    CLQ_OBSERVER_MSE,        /* the least squared error of codes */
    CLQ_OBSERVER_ENTROPY,    /* the least Kullback-Leibler divergence of codes */
    CLQ_OBSERVER_ALL,        /* the best of those above on what calibrates: by top-1 where it has
                                labels for the outputs, and by how far these are from FP32's */
    CLQ_OBSERVER_COUNT
} clq_observer_kind;
#define CLQ_PERCENTILE 99.99 /* default */
/* How the scales of weights are found: equation (5), or the least squared error. */
typedef enum clq_weight_observer_kind {
    CLQ_WEIGHTS_MIN_MAX,
    CLQ_WEIGHTS_MSE
} clq_weight_observer_kind;
/* Levels of weights of 4 bits: evenly spaced, powers of two, sums of two powers of two. */
typedef enum clq_weight_steps {
    CLQ_STEPS_UNIFORM,
    CLQ_STEPS_POW2,
    CLQ_STEPS_APOT,
    CLQ_STEPS_COUNT
} clq_weight_steps;
typedef enum clq_scale_kind { CLQ_SCALE_FLOAT, CLQ_SCALE_POW2 } clq_scale_kind;
/* Scales that QAT learns by gradient, beside the parameters. NONE: activations' follow observers,
 * and weights' the weights. */
typedef enum clq_learn_scales {
    CLQ_LEARN_NONE,
    CLQ_LEARN_LSQ,      /* of activations and weights */
    CLQ_LEARN_LSQ_PLUS, /* offsets of activations too */
    CLQ_LEARN_PACT,     /* clipping levels of activations behind a ReLU; others as with NONE */
    CLQ_LEARN_COUNT
} clq_learn_scales;

/* ---- who gets which precision ---- */

/* What a rule says of the nodes that it matches; all of its conditions must hold. */
typedef struct clq_policy_rule {
    char name[96];    /* glob of the node's name; "": any */
    char op[32];      /* operator, "conv2d"; "": any */
    bool first, last; /* the first or the last layer (conv2d or linear) */
    bool keep_float;  /* then: the node works on reals */
    /* Of a layer, signed; CLQ_Q_FLOAT: they stay real, and what it reads is rounded to codes and
     * back; CLQ_Q_NONE: the rule does not say. */
    clq_qtype weights;
    /* Of the codes that the node makes, of up to 8 bits; CLQ_Q_FLOAT: it works on reals, a layer
     * with weights that are codes all the same; CLQ_Q_NONE: the rule does not say. */
    clq_qtype activations;
} clq_policy_rule;

enum { CLQ_MAX_POLICY_RULES = 64 };

/* Rules in order: the first one that matches a node decides whether it is float, the first that
 * says weights or activations about that type. Without one it works on codes, with weights of
 * s8_narrow, and makes u8. A node that keeps codes (max_pool, flatten, relu) makes those that it
 * reads.
 *
 * An input of the network is met by rules for activations too, by its name and as operator "input".
 */
typedef struct clq_policy {
    clq_policy_rule rules[CLQ_MAX_POLICY_RULES];
    int count;
} clq_policy;

/* Adds a rule behind the others; one that says nothing means the usual types. CLQ_USAGE when there
 * are too many, or it cannot be executed. */
clq_status clq_policy_add(clq_policy *policy, const clq_policy_rule *rule);
/* Adds the rules of a JSON file: an array, or an object with the array "rules". */
clq_status clq_policy_load(clq_policy *policy, const char *path);
/* What holds for a node of the graph: both types are said. */
clq_policy_rule clq_policy_find(const clq_policy *policy, const clq_graph *graph, int node);
/* The type of an input of the network, a value id. */
clq_qtype clq_policy_find_input(const clq_policy *policy, const clq_graph *graph, int input);
/* CLQ_USAGE names a rule that decides about no node of the graph. */
clq_status clq_policy_check(const clq_policy *policy, const clq_graph *graph);

enum { CLQ_ADAROUND_STEPS = 1000 }; /* what --adaround alone asks for */

typedef struct clq_quant_config {
    clq_observer_kind observer;
    double percentile; /* 50..100; of a value's reals, those of both ends together */
    double averaging;  /* moving average: weight of a batch's range, default 0.01. QAT always
                          averages */
    /* zero_point in the middle of the type's codes (of unsigned ones at their start when the range
     * is not negative); default affine */
    bool symmetric_activations;
    bool per_tensor_weights;                  /* default per channel */
    clq_weight_observer_kind weight_observer; /* QAT keeps the scales of MSE */
    /* PTQ: of weights of type s4; but for uniform ones they are stored as codes of 8 bits */
    clq_weight_steps weight_steps;
    clq_requantizer requantizer; /* SHIFT demands POW2 */
    clq_scale_kind scale;
    int max_shift;  /* POW2: exponent clamped to +-max_shift, default 8 */
    int64_t images; /* calibration images, default 512 */
    bool equalize;  /* PTQ: cross-layer equalization before scales are chosen */
    int adaround;   /* PTQ: steps for each layer to learn how its weights are rounded; 0: nearest */
    bool bias_correct;        /* PTQ: biases take back what rounding does to the means */
    clq_encodings *encodings; /* PTQ, lent: scales by name, of which calibration only finds what it
                                 has not; NULL: none */
    clq_learn_scales learn_scales; /* QAT */
    bool int8_forward; /* QAT: once zero points stay, layers' forward sums are made by the integer
                          network's kernels: the same bits, sooner where there are byte products */
    double observer_epochs; /* QAT: ranges move in so many of its first epochs, and are fixed from
                               then on; may be fractional, 0: not at all; default -1: 1, or 0.5
                               where there is only one */
    int freeze_bn_epoch; /* QAT: batch norms learn, with the batch's statistics, in so many of its
                            first epochs, and are folded and frozen from then on; default 0: from
                            the start. Whoever runs QAT does it, by clq_qat_keep_norms */
    clq_policy policy;
} clq_quant_config;

void clq_quant_config_init(clq_quant_config *config);
clq_status clq_quant_config_check(const clq_quant_config *config);

/* Activation qparams of the range [min, max] (widened to contain 0) for a type of up to 8 bits.
 * `name` goes in the error of a range that is not finite. A degenerate range gives scale 1. */
clq_status clq_activation_qparams(const clq_quant_config *config, const char *name, float min,
                                  float max, clq_qtype type, float *scale, int32_t *zero_point);
/* Scale of s8 weights with largest magnitude `max_abs` (0 gives 1). */
clq_status clq_weight_scale(const clq_quant_config *config, const char *name, float max_abs,
                            float *scale);
/* Nearest power of two: 2^rint(log2(scale)), exponent clamped to +-max_shift. CLQ_BAD_DATA names
 * the tensor when scale <= 0 or not finite. */
clq_status clq_scale_to_pow2(const char *name, float scale, int max_shift, float *pow2);

/* ---- what was done ---- */

/* A value with scales that max_shift clamped. */
typedef struct clq_clamped_value {
    char *name;
    int scales;    /* how many of its */
    int max_shift; /* what would clamp none of them */
} clq_clamped_value;

/* An observer that was one of all. */
typedef struct clq_tried_observer {
    clq_observer_kind observer;
    double top1;  /* share of what calibrated; NaN: no labels */
    double error; /* of outputs (clq_compare_outputs), mean over them; NaN: no integer network */
} clq_tried_observer;

/* Errors of layers' outputs, given what they read in the quantized network: root mean squares
 * beside those of the float network's, as means over the layers. */
typedef struct clq_adaround {
    int64_t images;      /* or rows */
    int layers, nearest; /* nearest: of them, where nothing better was found */
    double before, after;
} clq_adaround;

/* How far the means of layers' outputs were off, likewise. */
typedef struct clq_bias_correction {
    int64_t images; /* or rows */
    int layers;
    double mean, largest;
    char worst[96]; /* the layer with the largest; cut off when it is longer */
} clq_bias_correction;

/* Of calibration: the scales with which QAT would begin. */
typedef struct clq_quant_report {
    int64_t images;                             /* calibrated on; or rows */
    const char *unit;                           /* "images" or "rows" */
    clq_observer_kind observer;                 /* that the ranges are by */
    clq_tried_observer tried[CLQ_OBSERVER_ALL]; /* where all were */
    int tried_count;
    double fp32_top1; /* beside theirs */
    int64_t scales;   /* chosen: of activations and weights */
    int64_t encoded;  /* activations and weights whose scales config->encodings gave */
    int64_t widened;  /* scales of weights that follow from a bias: equation (5)'s second term */
    int64_t clamped;  /* powers of two that max_shift clamped */
    int max_shift;    /* what would clamp none; 0 when none was */
    clq_clamped_value *values; /* (value_count), owned */
    int value_count;
    clq_equalization equalization; /* owned */
    clq_adaround adaround;
    clq_bias_correction bias_correction;
} clq_quant_report;

void clq_quant_report_clear(clq_quant_report *report); /* NULL ok */

/* ---- PTQ, conversion, QAT ---- */

/* PTQ, all of it, pass by pass: folds the trained graph, equalizes it (config->equalize),
 * calibrates it on up to config->images of the feed, from its beginning. The result is in quantized
 * form. `report` is overwritten, and the caller's to clear. device and feed may be NULL where
 * config->encodings is to say all: CLQ_USAGE names the activations that it does not know, and
 * methods that need images. */
clq_status clq_ptq(clq_device *device, const clq_graph *trained, clq_feed *feed, int batch,
                   const clq_quant_config *config, clq_quant_report *report, clq_graph **quantized);

/* PTQ: runs up to config->images of the feed through the folded float graph, observes every
 * activation, and sets qparams on the graph's values (activations and weights): the quantized form.
 * The settings go to the graph's metadata. CLQ_USAGE without a conv2d or linear layer. `report` is
 * overwritten, and the caller's to clear; NULL: not wanted. */
clq_status clq_calibrate(clq_device *device, clq_graph *folded, clq_feed *feed, int batch,
                         const clq_quant_config *config, clq_quant_report *report);

/* The float network that clq_ptq quantizes, by the same feed: folded, and equalized where config
 * says so. Its nodes and outputs are those to compare the quantized network's with. */
clq_status clq_ptq_float(clq_device *device, const clq_graph *trained, clq_feed *feed, int batch,
                         const clq_quant_config *config, clq_graph **real);

/* Quantized form -> integer form: weights S8, biases S32, by the scales and types that the values
 * have. The output of a last linear or conv2d stays real. CLQ_USAGE when weights have no scales. */
clq_status clq_convert(const clq_graph *quantized, clq_graph **integer);

/* Integer form -> folded float form with the same nodes and names, whose weights and biases are the
 * reals that the codes stand for: the network's FP32 twin, to compare speed or values with. */
clq_status clq_dequantize(const clq_graph *integer, clq_graph **real);

/* QAT: fine-tunes a quantized-form graph (from clq_calibrate) in place, parameters and qparams.
 * Observers start from the graph's qparams and run for config->observer_epochs. job->mode, params,
 * qstate and hooks are set by this function. */
clq_status clq_qat(clq_train_job *job, const clq_quant_config *config, clq_epoch_record **history,
                   int *history_count);

/* For QAT's epochs before batch norms freeze: a calibrated graph of `trained` in quantized form
 * whose batch norms are nodes on reals, which take the batch's statistics in training, behind
 * layers that work on codes. Their weights' codes are those that weights folded with any statistics
 * have, since a factor for each channel is one of that channel's scale. `kept`: the settings that
 * clq_qat trains it with. CLQ_USAGE without batch norms, and for scales that a factor does not go
 * into: per tensor, powers of two. */
clq_status clq_qat_keep_norms(clq_device *device, const clq_graph *trained, clq_feed *feed,
                              int batch, const clq_quant_config *config, clq_quant_config *kept,
                              clq_graph **graph);
/* A copy of `trained` with the parameters and statistics that such a graph has learnt. */
clq_status clq_qat_fold_norms(const clq_graph *graph, const clq_graph *trained, clq_graph **learnt);

/* How far `other`, such as an integer network, is from `real`, its float form, on up to `limit` (0:
 * all) samples of the feed: errors (outputs) receives of each output the root of the mean squared
 * difference, divided by the root of the mean square of real's. Executors of one batch, with the
 * same inputs and outputs; CLQ_USAGE otherwise. */
clq_status clq_compare_outputs(clq_exec *real, clq_exec *other, clq_feed *feed, int64_t limit,
                               double *errors, int64_t *done);

/* ---- verification ---- */

typedef struct clq_layer_path {
    const char *name, *op, *precision, *dot_path; /* dot_path "" where there are no dot products */
    bool float_exact; /* the fake-quantized sums are proven exact in FP32; else they were made in
                         int32 */
} clq_layer_path;

typedef struct clq_verification {
    int64_t images;   /* or rows */
    const char *unit; /* "images" or "rows" */
    int64_t mismatched_codes, compared_codes;
    char first_mismatch[256]; /* "" when none: value, image, index, both codes */
    char logits_sha256[65];
    struct {
        clq_dot dot;
        char sha256[65];
    } paths[CLQ_DOT_COUNT];
    int path_count;
    clq_layer_path *layers; /* owned; strings lent by the graph */
    int layer_count;
} clq_verification;

/* Compares, on up to `limit` images (0: all), every code of the fake-quantized evaluation (FP32
 * kernels on codes) with the integer network's, and both outputs' bits with those of the integer
 * network with fused additions; then runs the integer network on every dot path of the device.
 * Differences are counted, not errors. An output that differs counts as a mismatched code. */
clq_status clq_verify(clq_device *device, const clq_graph *integer, clq_dataset *dataset, int batch,
                      int64_t limit, clq_verification *verification);
/* The same on what a feed of this batch gives: with clq_feed_create_arrays for networks of any
 * number of inputs and outputs. The hash is of all outputs, sample by sample. */
clq_status clq_verify_feed(clq_device *device, const clq_graph *integer, clq_feed *feed, int batch,
                           int64_t limit, clq_verification *verification);
void clq_verification_clear(clq_verification *verification);

CLQ_API_END
#endif

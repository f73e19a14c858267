/* Training: feeding batches, evaluation, the step, optimizers, schedules, checkpoints.
 *
 * The same loop trains in FP32 (CLQ_EXEC_TRAIN) and quantization-aware (CLQ_EXEC_QAT). */
#ifndef CLQUANT_TRAIN_H
#define CLQUANT_TRAIN_H

#include <signal.h>

#include <clquant/data.h>
#include <clquant/exec.h>
#include <clquant/ranks.h>

CLQ_API_BEGIN

/* ---- configuration; recipes and flags fill it in ---- */

typedef enum clq_optimizer_kind {
    CLQ_OPTIMIZER_SGD,
    CLQ_OPTIMIZER_ADAM,  /* weight decay as an L2 term of the gradient */
    CLQ_OPTIMIZER_ADAMW, /* Loshchilov & Hutter 2019: decoupled from the gradient */
} clq_optimizer_kind;
typedef enum clq_schedule_kind {
    CLQ_LR_CONSTANT,
    CLQ_LR_STEP,            /* lr * gamma^(number of milestones passed) */
    CLQ_LR_ONE_CYCLE,       /* linear up over warm-up, then cosine to lr * final_ratio */
    CLQ_LR_COSINE,          /* to eta_min over all epochs */
    CLQ_LR_COSINE_RESTARTS, /* Loshchilov & Hutter 2016: t_0, t_mult, eta_min */
} clq_schedule_kind;

enum { CLQ_MAX_MILESTONES = 16, CLQ_MAX_FREEZE = 32, CLQ_MAX_PROGRESSIVE = 8 };

/* What happens when a step's loss or gradient is NaN or infinite. Either way nothing of the step
 * reaches parameters, running statistics or optimizer. */
typedef enum clq_nonfinite {
    CLQ_NONFINITE_STOP, /* CLQ_DIVERGED */
    CLQ_NONFINITE_SKIP, /* goes on with the next batch, unless too many steps in a row fail */
} clq_nonfinite;

enum { CLQ_MAX_SKIPPED_IN_A_ROW = 10 };

typedef struct clq_train_config {
    int epochs;
    int batch; /* of all ranks together */
    uint64_t seed;
    struct {
        clq_optimizer_kind kind;
        double momentum, weight_decay;
        bool nesterov;
        bool decay_norm_and_bias; /* weight decay also on batch norm and biases */
        double beta1, beta2, epsilon;
    } optimizer;
    struct {
        clq_schedule_kind kind;
        double lr;            /* the highest learning rate */
        double warmup_epochs; /* linear from 0; may be fractional */
        double final_ratio, eta_min, gamma;
        int milestones[CLQ_MAX_MILESTONES], milestone_count;
        double t_0, t_mult;
    } schedule;
    double clip_norm; /* gradients are scaled down to this L2 norm over all of them; 0: never */
    struct {
        double decay; /* of the moving average of parameters and running statistics, which is what
                         is evaluated and what training gives back; 0: no average */
        bool warmup;  /* in step t (from 0) the decay is at most (1 + t) / (10 + t) */
    } ema;
    clq_nonfinite on_nonfinite; /* never changes the result of steps that are finite */
    clq_loss_kind loss;
    double label_smoothing;
    struct {
        const char *teacher; /* which network job.teacher is, for whoever opens it; NULL: none */
        double weight;       /* of the teacher's word against the labels', 0..1; 0: off */
        double temperature;  /* > 0 */
    } distill;
    /* Parameters whose names begin so stay as they are, and so do their batch norms' statistics. */
    const char *freeze[CLQ_MAX_FREEZE];
    int freeze_count;
    /* Training images of size x size in the epochs before until_epoch, from the first entry to the
     * last; behind them of the network's own size. */
    struct {
        int until_epoch, size;
    } progressive[CLQ_MAX_PROGRESSIVE];
    int progressive_count;
    clq_augment_config augment;
    bool recompute;       /* activations again instead of keeping them; never changes the result */
    bool sync_batch_norm; /* several ranks: batch norm's statistics over the whole batch, not each
                             rank's part of it */
    int loader_threads;   /* never changes the result */
    int checkpoint_steps; /* also write a checkpoint every so many steps; 0: at epoch ends only */
    int log_steps;        /* with a log file: a line every so many steps, each of which waits */
} clq_train_config;

/* Defaults: SGD Nesterov 0.9, weight decay 5e-4, one-cycle, cross-entropy, batch 128. */
void clq_train_config_init(clq_train_config *config);
/* CLQ_USAGE names the field that breaks a rule. */
clq_status clq_train_config_check(const clq_train_config *config);
/* Of all that changes the result. */
uint64_t clq_train_config_hash(const clq_train_config *config);
/* Size of the training images of an epoch (from 0); 0: the network's own. Pure. */
int clq_train_size(const clq_train_config *config, int64_t epoch);
/* Learning rate of optimizer step `step` (0-based) with `steps_per_epoch`. Pure. */
double clq_learning_rate(const clq_train_config *config, int64_t step, int64_t steps_per_epoch);

/* ---- feeding ---- */

/* Images: loader + augmentation kernel + normalization. A table: its rows as they stand, so it is
 * normalized before (clq_graph_normalize_table). On one device. */
typedef struct clq_feed clq_feed;

typedef struct clq_feed_options {
    int batch;
    bool training;  /* shuffle, augment, drop the last partial batch */
    bool no_labels; /* they are not needed to train */
    bool shuffle;   /* without `training`: samples in a random order (calibration) */
    uint64_t seed;
    int threads; /* images only, as all below but shard and shards */
    clq_normalization normalization;
    int height, width;          /* of the inputs; 0: the data set's */
    bool centre_crop;           /* to that size by cutting out the centre, not by scaling */
    int classes;                /* of mixed labels; 0: the data set's */
    clq_augment_config augment; /* when training */
    int shard, shards;          /* when training: part of each batch, as in clq_loader_options */
    const volatile sig_atomic_t *stop; /* not 0: clq_feed_next gives CLQ_INTERRUPTED; NULL ok */
} clq_feed_options;

/* What belongs to a batch of inputs; valid until the next call. */
typedef struct clq_feed_batch {
    int count;             /* samples that are valid: fewer than `batch` only at the end when not
                              training, 0 past it. The rest repeat the last */
    const int32_t *labels; /* (batch) host, or (batch, H, W) of pixels; NULL: there are none, as in
                              clq_dataset_info */
    clq_buffer *device_labels; /* the same, S32 (batch); without labels zeros */
    clq_buffer *targets;       /* F32 (batch, outputs): mixed labels, or numbers (regression: the
                                  labels are 0 then); NULL: the labels say it all */
    const float *numbers;      /* regression: the same on the host; else NULL */
} clq_feed_batch;

/* CLQ_BAD_DATA: to train, but the images have no labels. CLQ_USAGE: a batch or size out of range, a
 * std that is not above 0, fewer classes than the data set has. */
clq_status clq_feed_create(clq_device *device, clq_dataset *dataset,
                           const clq_feed_options *options, clq_feed **feed);
/* Feeds the rows of arrays, normalized already and in the order of elements that callers of other
 * runtimes use: (N, C, H, W) or (N, features). An input takes the array of its name; where there is
 * one input and one array the name does not matter. `graph` and `arrays` must outlive the feed.
 * `limit`: so many rows, spread evenly; 0: all. Labels are those of clq_arrays_set_labels.
 * CLQ_BAD_DATA, listing arrays and inputs, when they do not fit. Only clq_feed_fill takes batches
 * from it. */
clq_status clq_feed_create_arrays(const clq_graph *graph, clq_arrays *arrays, int batch,
                                  int64_t limit, clq_feed **feed);
/* The same as `options` say, of which images alone have some: with `training` in a new order every
 * epoch, and held in memory as floats. CLQ_USAGE: fewer rows than a batch. */
clq_status clq_feed_create_arrays_with(clq_device *device, const clq_graph *graph,
                                       clq_arrays *arrays, const clq_feed_options *options,
                                       clq_feed **feed);
void clq_feed_destroy(clq_feed *feed);
const clq_table *clq_feed_table(const clq_feed *feed); /* NULL: images */
const char *clq_feed_unit(const clq_feed *feed);       /* "images" or "rows": what it counts */
const char *clq_feed_path(const clq_feed *feed);       /* of what it feeds, for messages */
int64_t clq_feed_batches(const clq_feed *feed);        /* batches an epoch */
int64_t clq_feed_count(const clq_feed *feed);          /* images or rows that it has */
/* Labels of a sample: 1, or, of arrays, those of its pixels where the output has some. */
int64_t clq_feed_label_size(const clq_feed *feed);
/* Of the arrays that a training feed holds; 0 of another. */
uint64_t clq_feed_hash_arrays(const clq_feed *feed);
/* Starts at a batch of an epoch (exact resume). */
clq_status clq_feed_seek(clq_feed *feed, int64_t epoch, int64_t batch);
/* Writes the next batch, normalized F32 NHWC or (N, features), into `x` (room for options.batch).
 */
clq_status clq_feed_next(clq_feed *feed, clq_buffer *x, clq_feed_batch *batch);
/* The same into the inputs of an executor, which has the feed's batch. CLQ_BAD_DATA for images or
 * rows when it has several. */
clq_status clq_feed_fill(clq_feed *feed, clq_exec *exec, clq_feed_batch *batch);

/* ---- data and networks ---- */

/* CLQ_BAD_DATA unless the data set's samples fit the network's input (images or rows of so many
 * features) and, for a table, its outputs. */
clq_status clq_graph_check_data(const clq_graph *graph, const clq_dataset *dataset);

/* The parts of a preprocessing, as bits. */
enum {
    CLQ_PART_NORMALISATION = 1, /* mean, std, range */
    CLQ_PART_CHANNELS = 2,      /* RGB or BGR */
    CLQ_PART_RESIZE = 4,        /* all but the interpolation */
    CLQ_PART_CROP = 8,
    CLQ_PART_INTERPOLATION = 16,
    CLQ_PART_COUNT = 5, /* of them */
};

typedef enum clq_channel_order { CLQ_RGB, CLQ_BGR, CLQ_GREY, CLQ_CHANNEL_ORDERS } clq_channel_order;

/* How an image becomes the input of a network. It belongs to the network, whose metadata holds it:
 *
 *   clquant.mean, clquant.std    "0.485,0.456,0.406": a number a channel
 *   clquant.range                "255" where these are of pixels 0..255; without: of 0..1
 *   clquant.channels             "rgb", "bgr" or "grey"
 *   clquant.resize               "256": shorter side; "320x256": width x height
 *   clquant.crop                 "224x224": width x height of the centre that is cut out
 *   clquant.interpolation        "bilinear", "bicubic", "linear" or "nearest"
 */
typedef struct clq_preprocessing {
    unsigned known;                  /* CLQ_PART_...: the parts that are said */
    clq_normalization normalization; /* its `bgr` follows from `channels` when it is used */
    int normalization_count;         /* numbers in mean and std; 1: the same for each channel */
    clq_channel_order channels;
    clq_resize resize;
    int crop_height, crop_width;
} clq_preprocessing;

extern const char *const clq_interpolation_names[CLQ_INTERPOLATIONS];
extern const char *const clq_channels_names[CLQ_CHANNEL_ORDERS];

/* "256" or "320x256", CLQ_USAGE otherwise. */
clq_status clq_resize_parse(const char *text, clq_resize *resize);
/* The same for a crop; one number means a square. */
clq_status clq_crop_parse(const char *text, clq_preprocessing *preprocessing);
/* Checks the known parts: each in its range, numbers such as pixels of `range` can have; and,
 * unless `input` is NULL, that they fit a network's input (1, H, W, C), over whose channels a
 * single mean and std are spread. `status` is that of a broken rule. */
clq_status clq_preprocessing_check(clq_preprocessing *preprocessing, const clq_shape *input,
                                   clq_status status);
/* Copies the `parts` that `from` knows. */
void clq_preprocessing_take(clq_preprocessing *to, const clq_preprocessing *from, unsigned parts);
/* What is usual for an input (1, H, W, C): all but the normalization. RGB, the shorter side scaled
 * to a square input or exactly to another, bilinear. */
void clq_preprocessing_usual(const clq_shape *input, clq_preprocessing *preprocessing);
/* What is usual for the data. */
void clq_normalization_usual(const clq_dataset *dataset, bool bgr,
                             clq_normalization *normalization);

/* What the metadata says of images; a table's network says nothing. CLQ_BAD_DATA names the key that
 * breaks a rule. */
clq_status clq_graph_preprocessing(const clq_graph *graph, clq_preprocessing *preprocessing);
/* Writes the parts that are known into the metadata. CLQ_USAGE names a field that is out of its
 * range. */
clq_status clq_graph_set_preprocessing(clq_graph *graph, const clq_preprocessing *preprocessing);
/* What a graph's images are normalized with: what its metadata says, else what is usual for the
 * data set. */
clq_status clq_graph_normalization(const clq_graph *graph, const clq_dataset *dataset,
                                   clq_normalization *normalization);

/* The class names of the metadata ("clquant.classes", a line each), none if it has none; free with
 * clq_class_names_free. */
clq_status clq_graph_classes(const clq_graph *graph, char ***names, int *count);
void clq_class_names_free(char **names, int count); /* NULL ok */
/* Keeps the class names of a data set in the metadata. */
clq_status clq_graph_set_classes(clq_graph *graph, const clq_dataset *dataset);
/* Keeps the class names of a text file, a line for each output of a network with one; those that it
 * had are replaced. CLQ_NO_INPUT; CLQ_BAD_DATA: another number of them than of outputs, or a name
 * that is empty or not UTF-8; CLQ_USAGE: the network has several outputs, or predicts numbers. */
clq_status clq_graph_load_classes(clq_graph *graph, const char *path);
/* Gives the data set's labels the network's numbers and names. By name where the network has them;
 * a part of its classes is enough. By number, with a warning, where the data has only numbers for
 * names; in the order of the data's classes, with a warning, where the network has none (or just
 * "0", "1", ...). CLQ_BAD_DATA: images of a class that the network does not have (both sides are
 * named), or more classes than outputs. */
clq_status clq_graph_match_classes(const clq_graph *graph, clq_dataset *dataset);

/* Keeps the names of a table's columns in the metadata, where it has them: "clquant.features" and
 * "clquant.targets", a line each. */
clq_status clq_graph_set_columns(clq_graph *graph, const clq_table *table);
/* CLQ_BAD_DATA when the table's columns have other names than the metadata's or another order, with
 * both. Where one side has no names, columns are taken by their place, which is said unless
 * `quiet`, and a table without names gets the network's. */
clq_status clq_graph_match_columns(const clq_graph *graph, clq_table *table, const char *path,
                                   bool quiet);

/* Normalizes a table in place: features by the graph's metadata "clquant.mean" and "clquant.std",
 * numbers to predict by "clquant.target_mean" and "clquant.target_std". Without metadata they stay
 * as they are. */
clq_status clq_graph_normalize_table(const clq_graph *graph, clq_table *table);
/* Measures a table and keeps its normalization in the graph's metadata. */
clq_status clq_graph_measure_table(clq_graph *graph, const clq_table *table);

/* ---- evaluation ---- */

/* How well numbers are predicted (regression). */
typedef struct clq_fit {
    double rmse; /* root of the mean squared error, in the data's unit */
    double r2;   /* coefficient of determination: 1 - squared error / squared deviation from the
                    mean of the evaluated numbers; NaN when these are all equal */
} clq_fit;

typedef struct clq_evaluation {
    int64_t images;          /* or rows */
    const char *unit;        /* "images" or "rows" */
    int classes;             /* 0: regression */
    double top1, top5, loss; /* fractions 0..1, NaN in regression; mean cross-entropy, or mean
                                squared error of normalized numbers */
    int64_t pixels; /* that have a class, where pixels have them: top1, top5, loss and confusion are
                       of these; 0: rows have them */
    double mean_iou; /* of pixels: the mean over the classes that there are of the pixels that are
                        rightly told over those that are or are told to be of the class */
    int64_t *confusion;     /* (classes, classes): row = label, column = prediction; owned */
    int targets;            /* 0: classes */
    clq_fit *fits;          /* (targets), owned */
    double r2;              /* mean over the targets, NaN for classes */
    char logits_sha256[65]; /* of all outputs, F32 little-endian, in dataset order */
} clq_evaluation;

/* Runs the whole feed through any inference executor. `logits` (images, outputs) may be NULL;
 * otherwise it receives all outputs. Shows progress under `label` (NULL: none). */
clq_status clq_evaluate(clq_exec *exec, clq_feed *feed, const char *label,
                        clq_evaluation *evaluation, float *logits);
void clq_evaluation_clear(clq_evaluation *evaluation);

/* Receives samples first .. first + count - 1: outputs[i] are those of graph->outputs[i],
 * (count, C, H, W) or (count, features), valid during the call. */
typedef clq_status (*clq_predict_sink)(void *context, int64_t first, int count,
                                       const float *const *outputs);
/* Runs up to `limit` samples of the feed (0: all) through any inference executor, with whatever
 * inputs and outputs it has; *done says how many. Shows progress under `label` (NULL: none). */
clq_status clq_predict(clq_exec *exec, clq_feed *feed, int64_t limit, const char *label,
                       clq_predict_sink sink, void *context, int64_t *done);

/* ---- training ---- */

typedef struct clq_epoch_record {
    int epoch;                                               /* 1-based */
    double lr, train_loss, train_top1, test_loss, test_top1; /* NaN where it is not known */
    double test_output_error; /* how far outputs are from the teacher's, as clq_compare_outputs says
                                 it */
    double skipped_steps;     /* see clq_nonfinite */
    double images_per_second; /* of the steps since the start, or the latest resume, in the epoch */
    double seconds;           /* of all steps, without the evaluation; NaN: resumed on the way */
} clq_epoch_record;

/* What the quantization layer adds to the loop; all may be NULL. */
typedef struct clq_train_hooks {
    void *context;
    clq_status (*before_step)(void *context, int64_t step);
    /* Before the executor loads the optimizer's new parameters. */
    clq_status (*after_step)(void *context, int64_t step);
    /* Of what else must not change between stop and resume. */
    uint64_t config_hash;
    /* Named buffers that belong into the checkpoint and come back on resume (observers). */
    size_t buffer_count;
    const char *const *buffer_names;
    clq_buffer *const *buffers;
} clq_train_hooks;

typedef struct clq_train_job {
    clq_device *device;
    clq_graph *graph;          /* in: initial parameters; out: trained ones */
    clq_dataset *train, *test; /* test may be NULL */
    /* Instead of both, inputs of any network, for CLQ_LOSS_OUTPUT_ERROR or a classifier's teacher;
     * no_labels is set. After each epoch test_rows of them, spread evenly (0: all), are compared.
     */
    clq_arrays *arrays, *test_arrays; /* test_arrays NULL: the same */
    int64_t test_rows;
    clq_train_config config;
    clq_normalization normalization; /* of images */
    clq_exec_mode mode;              /* TRAIN or QAT */
    clq_params *params;              /* NULL: made from graph */
    clq_qstate *qstate;              /* QAT */
    const clq_graph
        *teacher;   /* a float network to distil from, as config.distill says; NULL: none */
    bool no_labels; /* the teacher's word is all, config.distill.weight is 1: data needs no labels,
                       which are not looked at; instead of accuracy there is test_output_error */
    const clq_train_hooks *hooks;
    clq_ranks *ranks;     /* who train together, each with all of this job; NULL: alone */
    const char *out;      /* rank 0: folder for history and checkpoints; NULL: none */
    const char *phase;    /* "train" or "qat": names files and the progress bar */
    const char *log_file; /* rank 0: JSON lines are appended to it as things happen; NULL: none */
    const char *recipe_json; /* kept in the checkpoint's metadata; may be NULL */
    bool resume;    /* continue from the newest good checkpoint in `out` when there is one */
    bool overwrite; /* replace what an earlier training of this phase left in `out`: it goes when
                       all is ready for the first step */
    /* Every rank, when all is ready for the first step; NULL ok. */
    clq_status (*ready)(void *context);
    void *ready_context;
    /* Once it is not 0 (a signal handler may set it), training finishes its step, or breaks off an
     * evaluation, writes a checkpoint and returns CLQ_INTERRUPTED. Of several ranks one is enough.
     * Resumed, it comes to the same bits. NULL: never. */
    const volatile sig_atomic_t *stop;
    int stop_after_steps; /* tests: stop cleanly after so many steps; 0 = no */
} clq_train_job;

/* Images or rows that a job trains on. */
int64_t clq_train_rows(const clq_train_job *job);

/* Trains. With ranks, each takes its part of every batch, and the gradients are means over all; the
 * parameters and what `out` holds are rank 0's, and evaluations are made by every rank. On success
 * graph holds the parameters (their moving average, if there is one) and *history (owned by the
 * caller, clq_free) the epochs. CLQ_CANNOT_CREATE when `out` cannot be written, or holds history or
 * checkpoints and neither resume nor overwrite is set. CLQ_DIVERGED in the very step whose loss or
 * gradient becomes NaN or infinite: names epoch, step and layer, the last checkpoint stays. */
clq_status clq_train(clq_train_job *job, clq_epoch_record **history, int *history_count);

/* Runs now the self-tests that a device's kernels otherwise have when they are first needed:
 * clq_device_failed_kernels tells their outcome. Compiles kernels where the driver has none cached.
 */
clq_status clq_self_test_device(clq_device *device);

CLQ_API_END
#endif

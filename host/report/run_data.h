/* What a run left in its folder, read and checked. */
#ifndef CLQUANT_REPORT_RUN_DATA_H
#define CLQUANT_REPORT_RUN_DATA_H

#include <clquant/bench.h>

#include "base/json.h"
#include "train/history.h"

/* The networks of a run, in the order of the tables. */
typedef enum clq_run_variant {
    CLQ_RUN_FP32,
    CLQ_RUN_PTQ,
    CLQ_RUN_QAT,
    CLQ_RUN_VARIANTS
} clq_run_variant;
extern const char *const clq_run_keys[CLQ_RUN_VARIANTS];   /* "fp32": in file names and JSON */
extern const char *const clq_run_titles[CLQ_RUN_VARIANTS]; /* "FP32" */

enum { CLQ_RUN_MAX_CLASSES = 4096, CLQ_RUN_MAX_EPOCHS = 100000, CLQ_RUN_MAX_LAYERS = 10000 };
enum { CLQ_RUN_MAX_RESULTS = 1000, CLQ_RUN_FILES = 20 };
enum { CLQ_RUN_MAX_RUNGS = 16, CLQ_RUN_MAX_BINS = 1024 };

/* eval-*.json */
typedef struct clq_run_evaluation {
    bool present;
    double top1, top5, loss, r2; /* top-1 and top-5 as fractions; NaN: not known */
    int64_t images;
    int classes;        /* 0: no confusion matrix */
    int64_t *confusion; /* (classes, classes): [true class][predicted class]; owned */
    const char **names; /* (classes); owned array of the JSON's strings; NULL inside, where the
                           network has more classes than the data set, or itself: no name */
} clq_run_evaluation;

/* verify-*.json */
typedef struct clq_run_verification {
    bool present;
    int64_t images, compared, mismatched;
    const char *first_mismatch; /* "" for none */
    const char *sha256;         /* of the logits */
    const char **paths;         /* (path_count); owned array of the names of dot paths */
    const char **path_sha256;   /* (path_count); owned array */
    size_t path_count;
} clq_run_verification;

typedef struct clq_run_layer {
    const char *name, *op, *precision, *dot_path;
    double ms, gops, peak_fraction;
} clq_run_layer;

/* One result of bench.json. */
typedef struct clq_run_bench {
    const char *model, *device, *precision, *dot_path;
    int batch, iterations;
    clq_latency latency; /* ms */
    double images_per_second, gops, peak_gops, peak_fraction, bytes, h2d_ms, d2h_ms;
    clq_run_layer *layers; /* (layer_count), owned */
    size_t layer_count;
    double layers_ms; /* sum over the layers */
} clq_run_bench;

/* A rung of analysis.json's ladder. */
typedef struct clq_run_rung {
    const char *stage;
    double top1, low, high, error; /* fractions; NaN: not known */
    int64_t flips, lost, gained;   /* -1: not known */
} clq_run_rung;

/* A layer of it; reals that are not known are NaN. */
typedef struct clq_run_analyzed_layer {
    const char *name, *op, *type;
    int place; /* in the order of the network */
    double sqnr_db, sqnr_accumulated_db, cosine, cosine_accumulated, clipped;
    double error_only, error_without, top1_only, top1_without;
    double bytes, fp32_ms, int8_ms;
    double least, most, code_least, code_most;
    double histogram_low, bin_width;
    const json_t *counts; /* (bins) array of counts, or NULL */
    size_t bins;
} clq_run_analyzed_layer;

typedef struct clq_run_analysis {
    bool present;
    int64_t images;
    const char *advice;
    clq_run_rung ladder[CLQ_RUN_MAX_RUNGS];
    size_t rung_count;
    clq_run_analyzed_layer *layers; /* (layer_count), owned; the worst first */
    size_t layer_count;
} clq_run_analysis;

/* A row of the comparison: run.json's values and, where it has none, those of the other files. */
typedef struct clq_run_summary {
    bool present;
    double top1, r2, loss, size_bytes, latency_ms, speedup; /* NaN: not known */
    int64_t mismatched_codes;                               /* -1: not known */
    bool in_training; /* top1 and loss are the test set's behind an epoch of its training */
} clq_run_summary;

typedef struct clq_run_curve {
    clq_history history; /* by epoch */
    clq_steps steps;     /* some of the steps */
} clq_run_curve;

/* One split of the data set. */
typedef struct clq_run_split {
    int64_t count;    /* -1: not known */
    const char *hash; /* "" when not known */
} clq_run_split;

/* origin.json; texts are "" and numbers -1 where they are not known. */
typedef struct clq_run_origin {
    bool present, resumed;
    const char *commit, *command, *started, *finished, *system;
    const char *device, *platform, *opencl, *driver, *schedule;
    const json_t *dot_paths;    /* array of strings, or NULL */
    const json_t *failed_tests; /* array of {"kernels":, "reason":}, or NULL */
    const char *kind;           /* of data */
    int ranks, compute_units, height, width, channels, features, classes, targets;
    clq_run_split train, test;
    int64_t network_seed, train_seed, qat_seed;
    const json_t *seconds; /* of stages, by name: numbers >= 0, or NULL */
    const json_t *recipe;  /* object, or NULL */
} clq_run_origin;

typedef struct clq_run_data {
    const char *name, *device, *dot_path, *created, *version, *data; /* "" when not known */
    bool regression; /* compared by R2; otherwise by top-1 accuracy */
    clq_run_origin origin;
    clq_run_summary summaries[CLQ_RUN_VARIANTS];
    clq_run_evaluation evaluations[CLQ_RUN_VARIANTS];
    clq_run_verification verifications[CLQ_RUN_VARIANTS];
    clq_run_curve train, qat;
    clq_run_analysis analysis;
    clq_run_bench *benches; /* (bench_count), owned */
    size_t bench_count;
    const char *files[CLQ_RUN_FILES]; /* what was read, as names in the folder */
    size_t file_count;
    json_t *trees[CLQ_RUN_FILES]; /* the parsed files, which own all strings */
    size_t tree_count;
} clq_run_data;

/* Reads all files that are there; those of a training that still runs are fine. CLQ_NO_INPUT when
 * there is none; CLQ_BAD_DATA names the file, the place and the rule broken. Keys not known here
 * are ignored, so files may gain some. `data` starts zeroed and is cleared by the caller, after a
 * failure too. */
clq_status clq_run_data_read(clq_run_data *data, const char *folder);
void clq_run_data_clear(clq_run_data *data);

/* What a network is compared by: R2 of a regression, else top-1 in percent; NaN: not known. */
double clq_run_score(const clq_run_data *data, clq_run_variant v);
/* The epoch whose test results are the latest, or the best (by accuracy, else by loss) of the
 * network's training; NULL: it has none, or none is known. */
const clq_epoch_record *clq_run_last_test(const clq_run_data *data, clq_run_variant v);
const clq_epoch_record *clq_run_best_test(const clq_run_data *data, clq_run_variant v);
/* Wilson's score interval, 95 %, of the top-1 accuracy (as fractions); NaN where the accuracy or
 * the number of images is not known. */
void clq_run_interval(const clq_run_data *data, clq_run_variant v, double *low, double *high);
/* Both integer networks are there, and PTQ's is as good as QAT's, as small and no slower. */
bool clq_run_ptq_suffices(const clq_run_data *data);
/* The network that the run is about: QAT's unless PTQ's suffices, else PTQ's, else FP32. */
clq_run_variant clq_run_best(const clq_run_data *data);

/* ---- between run_data.c, run_origin.c, run_log.c, run_eval.c, run_analysis.c and run_bench.c ----
 */

/* Beyond any loss or time that means something, and far from overflow in the plots' arithmetic. */
#define CLQ_RUN_LARGE 1e30

/* A number within the limits, or null, which stands for NaN; a missing key leaves *value. */
clq_status clq_run_read_real(clq_json_reader *reader, const char *key, double min, double max,
                             double *value);
/* An array of up to `most` elements; a missing key gives none. */
clq_status clq_run_read_array(clq_json_reader *reader, const char *key, size_t most,
                              const json_t **array, size_t *count);
clq_status clq_run_read_evaluation(const char *file, const json_t *json, clq_run_evaluation *out);
clq_status clq_run_read_verification(const char *file, const json_t *json,
                                     clq_run_verification *out);
clq_status clq_run_read_analysis(const char *file, const json_t *json, clq_run_data *data);
clq_status clq_run_read_bench(const char *file, const json_t *json, clq_run_data *data);
void clq_run_forget_origin(clq_run_data *data); /* nothing is known */
clq_status clq_run_read_origin(const char *file, const json_t *json, clq_run_data *data);
/* Steps from folder/log.jsonl, if it is there, for trainings that have left none yet. */
clq_status clq_run_read_log(clq_run_data *data, const char *folder);
/* `schema` must be there and 1. */
clq_status clq_run_read_schema(clq_json_reader *reader);

#endif

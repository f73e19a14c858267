/* Training and fine-tuning a network on data that is open. */
#ifndef CLQUANT_SESSION_TRAINING_H
#define CLQUANT_SESSION_TRAINING_H

#include <jansson.h>

#include <clquant/quant.h>

/* What both kinds of training need beside the network. */
typedef struct clq_stage_options {
    clq_dataset *train, *test;
    clq_arrays *arrays, *test_arrays; /* in their place, and test_rows, as in clq_train_job */
    int64_t test_rows;
    bool no_labels;    /* QAT: as in clq_train_job */
    clq_graph **start; /* QAT: receives the integer network of calibration; NULL: not wanted */
    const clq_train_config *config;
    const char *recipe;   /* its text, kept in checkpoints and log */
    const char *out;      /* folder for history and checkpoints; NULL: none */
    const char *log_file; /* NULL: none */
    bool resume, overwrite;
    clq_ranks *ranks;         /* only rank 0 writes; NULL: alone */
    const clq_graph *teacher; /* that config->distill.teacher names; NULL: it is opened */
    /* Of whoever watches over it, NULL ok: when all is ready for the first step, and when it has
     * ended, with a status in whose place the function's counts. */
    clq_status (*ready)(void *context);
    clq_status (*ended)(void *context, clq_status status);
    void *context;
    const volatile sig_atomic_t *stop; /* as in clq_train_job */
} clq_stage_options;

/* Of QAT without labels or on arrays what neither `section` nor `other` (NULL ok) says, into
 * `config` and `section`: with job->no_labels a loss that the outputs of job->graph have with what
 * goes with it; a batch that the job's data fill. `inputs`: they are fed as they are, whatever the
 * network. */
clq_status clq_fit_qat(json_t *section, const json_t *other, bool inputs, const clq_train_job *job,
                       int ranks, clq_train_config *config);

/* FP32 training of `graph` in place. */
clq_status clq_stage_train(clq_device *device, clq_graph *graph, const clq_stage_options *options);
/* Where in a QAT's folder its epochs before batch norms freeze leave history and checkpoints. */
#define CLQ_NORMS_FOLDER "batch_norms"
/* Fine-tunes: calibrates a folded copy of `trained` with `config`, runs QAT, converts. `report`,
 * of the calibration, may be NULL. */
clq_status clq_stage_qat(clq_device *device, const clq_graph *trained,
                         const clq_stage_options *options, const clq_quant_config *config,
                         clq_quant_report *report, clq_graph **integer);

#endif

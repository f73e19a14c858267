/* The whole job of `clquant run` and `clquant demo`: train, PTQ, QAT, convert, evaluate, verify,
 * benchmark, report, with everything kept in one folder. */
#ifndef CLQUANT_CLI_JOB_H
#define CLQUANT_CLI_JOB_H

#include "cli/pipeline.h"

typedef struct clq_job_options {
    const char *data; /* folder or "synthetic" */
    const char *out;
    const char *log_file; /* of training and QAT, JSON lines; NULL: none */
    bool resume;          /* continue training and QAT from their checkpoints */
    bool overwrite;       /* replace an earlier job in `out` */
    bool analyze;         /* the PTQ network, layer by layer */
    bool json;            /* print run.json instead of the table */
} clq_job_options;

/* Before anything is opened: clq_out_check of the folder, and CLQ_USAGE for several ranks. */
clq_status clq_job_check(const clq_job_options *options);
/* clq_out_check_log of its log file. */
clq_status clq_job_check_log(const clq_job_options *options, const char *const *inputs,
                             size_t count);
/* Whether a finished job of this name on the same data is in the folder. */
bool clq_job_was(const clq_job_options *options, const char *name);

/* Leaves in `out`: fp32.onnx, ptq.onnx, qat.onnx, weights.safetensors, train/ and qat/ (history,
 * checkpoints), eval-*.json, verify-*.json, bench.json, run.json, origin.json, report/, and
 * analysis.json where that is wanted.
 * CLQ_GATE_FAILED when a code differs between the fake-quantized evaluation and the integer
 * network. */
clq_status clq_job_run(clq_device *device, clq_recipe *recipe, const clq_job_options *options);

#endif

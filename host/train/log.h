/* The log file of a training: JSON lines that another program can follow (docs/json.md). It only
 * ever grows; each line is one write. */
#ifndef CLQUANT_TRAIN_LOG_H
#define CLQUANT_TRAIN_LOG_H

#include <clquant/train.h>

#include "base/files.h"
#include "ops/loss.h"

typedef struct clq_train_log {
    clq_appender *file; /* NULL: nothing is logged, and every call returns CLQ_OK */
    const clq_train_job *job;
    double started;      /* clq_now_seconds */
    double timed_since;  /* the images of the next step line are counted from this moment */
    int64_t timed_steps; /* steps done by then */
} clq_train_log;

/* Opens job->log_file, if any, behind what is in it, and writes the "start" line. */
clq_status clq_train_log_open(clq_train_log *log, const clq_train_job *job);
/* Writes the "end" line, or the "error" or "interrupted" line with the thread's last error, and
 * closes. Returns
 * `status`, or the failure to write. */
clq_status clq_train_log_close(clq_train_log *log, clq_status status, int64_t step);

/* A line with nothing but its place: "resume", "checkpoint", "skipped". `step` counts those done.
 */
clq_status clq_train_log_mark(clq_train_log *log, const char *event, int64_t step);
/* Starts the timing of steps: call it where something else than a step took time. */
void clq_train_log_time_from(clq_train_log *log, int64_t step);
/* Every config.log_steps steps: reads what `loss` says of the latest batch, and so waits for it.
 * `epoch` is 1-based. */
clq_status clq_train_log_step(clq_train_log *log, int64_t epoch, int64_t step, double lr,
                              clq_loss *loss);
clq_status clq_train_log_epoch(clq_train_log *log, const clq_epoch_record *record, int64_t step);

#endif

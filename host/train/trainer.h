/* A training under way: what the loop (loop.c), the step (step.c), the search for what made a step
 * fail (diagnose.c) and stop and resume (trainer.c) share. */
#ifndef CLQUANT_TRAIN_TRAINER_H
#define CLQUANT_TRAIN_TRAINER_H

#include <clquant/train.h>

#include "base/progress.h"
#include "ops/loss.h"
#include "train/checkpoint.h"
#include "train/distill.h"
#include "train/health.h"
#include "train/history.h"
#include "train/log.h"
#include "train/optimizer.h"

enum { CLQ_TRAINER_MAX_BUFFERS = 16 };

/* Steps that were not finite and left no trace. */
typedef struct skipped_steps {
    int64_t total, in_epoch, in_a_row;
} skipped_steps;

typedef struct trainer {
    clq_train_job *job;
    clq_params *params, *own_params;
    clq_exec *exec, *eval_exec;
    clq_feed *feed, *test_feed;
    clq_optimizer *optimizer;
    clq_loss *loss;
    clq_distill *distill; /* NULL: no teacher */
    clq_health *health;
    clq_checkpoint checkpoint;
    clq_checkpoint_buffer buffers[CLQ_TRAINER_MAX_BUFFERS]; /* what the checkpoint keeps */
    clq_history history;
    int64_t steps_per_epoch;
    int64_t step; /* steps done, skipped ones too */
    skipped_steps skipped;
    clq_progress progress;
    clq_train_log log;
} trainer;

/* Opens what t->job asks for; without a training set (job->train NULL) there is no feed, and only
 * clq_trainer_step_on steps. Close it whatever the status. */
clq_status clq_trainer_open(trainer *t);
void clq_trainer_close(trainer *t);

/* Writes a checkpoint of the present step into job->out, if there is one. */
clq_status clq_trainer_save(trainer *t);
/* Continues from the newest good checkpoint in job->out, if there is one. */
clq_status clq_trainer_resume(trainer *t);

/* One optimizer step, from the next batch to the parameters. Waits for its verdict at the end. */
clq_status clq_trainer_step(trainer *t);
/* The same with what is in the executor's input; `batch` says what belongs to it. */
clq_status clq_trainer_step_on(trainer *t, const clq_feed_batch *batch);
/* Reads the step's verdict. One that is not sound is explained and skipped, or CLQ_DIVERGED. */
clq_status clq_trainer_check(trainer *t);

#endif

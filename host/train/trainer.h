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
#include "train/reducer.h"

enum { CLQ_TRAINER_MAX_BUFFERS = 16 };

/* Steps that were not finite and left no trace. */
typedef struct skipped_steps {
    int64_t total, in_epoch, in_a_row;
} skipped_steps;

typedef struct trainer {
    clq_train_job *job;
    clq_params *params, *own_params;
    int size;           /* of the training images, progressive; 0: the network's own */
    clq_graph *resized; /* job->graph for that size; NULL: itself */
    clq_exec *exec, *eval_exec;
    clq_feed *feed, *test_feed;
    clq_optimizer *optimizer;
    clq_loss *loss;
    clq_distill *distill;      /* NULL: no teacher */
    clq_distill *eval_teacher; /* job->no_labels: what the test's outputs are compared with */
    clq_reducer *reducer;      /* NULL: one rank */
    clq_buffer *all_totals;    /* several ranks: F32 (ranks, loss's totals), for the checkpoint */
    clq_health *health;
    clq_checkpoint checkpoint;
    char *facts;                                            /* the checkpoint's */
    clq_checkpoint_buffer buffers[CLQ_TRAINER_MAX_BUFFERS]; /* what the checkpoint keeps */
    clq_history history;
    clq_steps steps;           /* where job->out is */
    clq_loss_totals at_record; /* the epoch's totals behind the latest of them */
    int64_t steps_per_epoch;
    int64_t step;  /* steps done, skipped ones too */
    bool stopping; /* as all ranks have agreed: this is the last step, job->stop says */
    skipped_steps skipped;
    clq_progress progress;
    clq_train_log log;
} trainer;

/* Opens what t->job asks for; without a training set (job->train NULL) there is no feed, and only
 * clq_trainer_step_on steps. Close it whatever the status. */
clq_status clq_trainer_open(trainer *t);
void clq_trainer_close(trainer *t);

/* Opens feed, executor and teacher anew where the epoch (from 0) has images of another size. */
clq_status clq_trainer_fit_epoch(trainer *t, int64_t epoch);

/* Whether this rank's job->stop says so. */
bool clq_trainer_is_asked_to_stop(const trainer *t);

/* Writes a checkpoint of the present step into job->out, if there is one. */
clq_status clq_trainer_save(trainer *t);
/* Continues from the newest good checkpoint in job->out, if there is one. */
clq_status clq_trainer_resume(trainer *t);

/* together.c: what makes the ranks one training. With one rank they do nothing. */

/* Everything a checkpoint holds, as rank 0 has it, to all ranks; *state is rank 0's, or NULL. */
clq_status clq_trainer_share(trainer *t);
clq_status clq_trainer_share_state(trainer *t, json_t **state);
/* The loss's totals of all ranks into t->all_totals, for a checkpoint. */
clq_status clq_trainer_gather_totals(trainer *t);
/* t->stopping becomes true everywhere when `stop` is anywhere. */
clq_status clq_trainer_agree_to_stop(trainer *t, bool stop);
/* The loss's totals so far, over all ranks. */
clq_status clq_trainer_read_totals(trainer *t, clq_loss_totals *totals);

/* One optimizer step, from the next batch to the parameters. A step that is not finite is explained
 * and skipped, or CLQ_DIVERGED. Waits for the step. */
clq_status clq_trainer_step(trainer *t);
/* The same with what is in the executor's input; `batch` says what belongs to it. Queues work, and
 * asks nothing: clq_trainer_check follows where there is a feed. */
clq_status clq_trainer_step_on(trainer *t, const clq_feed_batch *batch);
clq_status clq_trainer_check(trainer *t);

#endif

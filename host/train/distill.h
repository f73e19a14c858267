/* Knowledge distillation (Hinton et al. 2015): a trained float network, the teacher, sees every
 * batch too, and its logits take part in the loss (ops/loss.h). */
#ifndef CLQUANT_TRAIN_DISTILL_H
#define CLQUANT_TRAIN_DISTILL_H

#include <clquant/train.h>

typedef struct clq_distill clq_distill;

/* Whether the job has a teacher whose word counts. */
bool clq_distill_wanted(const clq_train_job *job);
/* Of what must not change between stop and resume: the teacher and how much it counts. */
uint64_t clq_distill_hash(const clq_train_job *job);

/* Prepares job->teacher for the batches of `student`. CLQ_USAGE names what does not fit: another
 * form, inputs, outputs or normalization. */
clq_status clq_distill_create(const clq_train_job *job, clq_exec *student, clq_distill **distill);
void clq_distill_destroy(clq_distill *distill);   /* NULL ok */
clq_exec *clq_distill_exec(clq_distill *distill); /* the teacher's */

/* How far the student's outputs are from the teacher's on all that the feed holds, as
 * clq_output_error_of says it, of several outputs the root of their mean square. The student has
 * the batch that the teacher was prepared for. */
clq_status clq_distill_compare(clq_distill *distill, clq_exec *student, clq_feed *feed,
                               double *error);

/* The teacher's outputs of the batch in the student's inputs, for the loss. Queues work; NULL does
 * nothing. */
clq_status clq_distill_run(clq_distill *distill, clq_exec *student);

#endif

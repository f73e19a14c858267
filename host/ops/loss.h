/* Loss functions on the device: value, gradient and running totals, without waiting for the host.
 */
#ifndef CLQUANT_OPS_LOSS_H
#define CLQUANT_OPS_LOSS_H

#include <clquant/ops.h>

typedef struct clq_loss clq_loss;

/* `output`: (N, C), or (N, H, W, C) for a class of each pixel, whose samples' losses are the means
 * of their pixels' and whose hits are the part of pixels that are right; of the mean squared error
 * (N, ...), C being all of a sample's numbers.
 * label_smoothing e: the target is 1 - e + e / C for the label, e / C elsewhere (Szegedy et al.
 * 2016). */
clq_status clq_loss_create(clq_device *device, clq_loss_kind kind, const clq_shape *output,
                           double label_smoothing, clq_loss **loss);
/* CLQ_LOSS_OUTPUT_ERROR of `count` outputs, each (N, ...), run by clq_loss_run_outputs. */
clq_status clq_loss_create_outputs(clq_device *device, const clq_shape *outputs, int count,
                                   clq_loss **loss);
void clq_loss_destroy(clq_loss *loss); /* NULL ok */

/* From now on the loss is (1 - weight) * loss + weight * what the teacher adds: of cross-entropy
 * T^2 * KL(softmax(teacher / T) || softmax(logits / T)) with T = temperature > 0 (Hinton et al.
 * 2015), of the mean squared error that to the teacher's numbers. `logits` F32 (N, C) is what the
 * teacher says of the same batch; it stays the caller's, who fills it before each run. NULL: no
 * teacher. */
void clq_loss_set_teacher(clq_loss *loss, clq_buffer *logits, double weight, double temperature);

/* logits (N, C); gradient (N, C) = d(mean loss) / d logits, NULL: not wanted. labels: S32 (N), or
 * (N, H, W), where one that is no class adds nothing; mean squared error takes them as one-hot
 * vectors. Adds the batch to the totals: a sample is right when
 * its label, or its most probable class, has the largest logit. Queues work. */
clq_status clq_loss_run(clq_loss *loss, clq_buffer *logits, clq_buffer *labels,
                        clq_buffer *gradient);
/* The same with targets F32 (N, C): class probabilities (rows that sum to 1), or regression
 * targets. */
clq_status clq_loss_run_soft(clq_loss *loss, clq_buffer *logits, clq_buffer *targets,
                             clq_buffer *gradient);

/* What each output, F32 of its shape, and the teacher say; gradients likewise, NULL: not wanted. An
 * output that is NULL takes no part. Adds the batch to the totals. Queues work. */
clq_status clq_loss_run_outputs(clq_loss *loss, clq_buffer *const *outputs,
                                clq_buffer *const *teacher, clq_buffer *const *gradients);

/* The targets are no classes, but numbers or not there: top1 and top5 of totals become NaN. */
void clq_loss_set_classless(clq_loss *loss);

typedef struct clq_loss_totals {
    double loss; /* sum over samples */
    double top1, top5, samples;
} clq_loss_totals;

clq_status clq_loss_reset(clq_loss *loss);
clq_status clq_loss_read(clq_loss *loss, clq_loss_totals *totals); /* waits */
clq_status clq_loss_read_batch(clq_loss *loss,
                               clq_loss_totals *batch); /* of the latest run; waits */
/* F32 (N): each sample's loss in the latest run. */
clq_buffer *clq_loss_samples(clq_loss *loss);
/* The totals' memory, so that a checkpoint in the middle of an epoch keeps them: whole F32 words.
 */
clq_buffer *clq_loss_totals_buffer(clq_loss *loss);

#endif

/* Whether a training step is sound: its loss, its gradients, and what the forward pass read and
 * changed, are finite. Checked on the device: a step that is not leaves no trace, although the host
 * learns of it only afterwards. On the way it measures the gradients' norm and clips them.
 *
 * A step:   clq_health_begin     when the batch is there, before the forward pass
 *           clq_health_check     behind the backward pass, when gradients are final
 *           clq_health_agree     several ranks: what one of them finds counts for all
 *           (the optimizer, which follows the result, and what else the step changes)
 *           clq_health_restore   the rest of the step undone if need be
 *           clq_health_read      the host is told
 *
 * "Finite" means for gradients that their sum of squares is, in FP32. Batch norm's statistics, the
 * input and each sample's loss are looked at one by one, the parameters by the optimizer as it
 * updates them: activations on codes, clamped as they are, can swallow a NaN that is there. */
#ifndef CLQUANT_TRAIN_HEALTH_H
#define CLQUANT_TRAIN_HEALTH_H

#include <clquant/train.h>

#include "ops/loss.h"

typedef struct clq_health clq_health;

typedef enum clq_step_outcome {
    CLQ_STEP_SOUND,
    CLQ_STEP_UNDONE, /* was not finite: nothing of it was kept */
    CLQ_STEP_BROKEN, /* parameters are not finite, and were not before */
} clq_step_outcome;

/* `params` must outlive it. clip_norm: see clq_train_config. */
clq_status clq_health_create(clq_device *device, clq_params *params, double clip_norm,
                             clq_health **health);
void clq_health_destroy(clq_health *health); /* NULL ok */

/* Another buffer that a step changes and that a step which is not sound must leave as it was; the
 * parameters' states are one already. Whole 4-byte words; must outlive `health`. */
clq_status clq_health_protect(clq_health *health, clq_buffer *buffer);

/* What the optimizer follows (clq_optimizer_follow), laid out as in kernels/include/step_check.h.
 */
clq_buffer *clq_health_result(clq_health *health);

/* Queue work, wait for nothing. */
clq_status clq_health_begin(clq_health *health, const clq_tensor *input);
clq_status clq_health_check(clq_health *health, clq_loss *loss);
clq_status clq_health_restore(clq_health *health);

/* What only one rank has seen, as an input that is not finite, undoes the step on all; and *stop
 * becomes true when it is anywhere. Waits for the ranks; without them it does nothing. */
clq_status clq_health_agree(clq_health *health, clq_ranks *ranks, bool *stop);

/* Waits for the step. */
clq_status clq_health_read(clq_health *health, clq_step_outcome *outcome);
/* L2 norm of the gradients, before clipping, of the step that was read last. */
double clq_health_norm(const clq_health *health);

/* The largest |x| of the buffer's first `count` floats; infinite or NaN when one is. Waits. */
clq_status clq_health_largest(clq_health *health, clq_buffer *x, size_t count, float *largest);

#endif

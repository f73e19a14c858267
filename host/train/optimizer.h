/* Optimizers: one kernel over all parameters of a network, which also keeps their moving average.
 */
#ifndef CLQUANT_TRAIN_OPTIMIZER_H
#define CLQUANT_TRAIN_OPTIMIZER_H

#include <clquant/train.h>

#include "train/checkpoint.h"

typedef struct clq_optimizer clq_optimizer;

/* `params` must be trainable and outlive the optimizer. Moments start at zero, the average (if
 * config->ema asks for one) as a copy. */
clq_status clq_optimizer_create(clq_device *device, const clq_graph *graph, clq_params *params,
                                const clq_train_config *config, clq_optimizer **optimizer);
void clq_optimizer_destroy(clq_optimizer *optimizer); /* NULL ok */

/* From now on every step asks `check` (kernels/include/step_check.h, clq_health_result) by how much
 * to scale gradients and whether to happen at all. NULL: no more. */
void clq_optimizer_follow(clq_optimizer *optimizer, clq_buffer *check);

/* Updates the parameters from their gradients, and the average; `update` counts the updates that
 * happened before. Queues work, does not wait. */
clq_status clq_optimizer_step(clq_optimizer *optimizer, double lr, int64_t update);

/* Exchanges parameters and states with their averages, and, called again, back: the same bits. Does
 * nothing without an average. Executors must load the parameters anew. Queues work. */
clq_status clq_optimizer_swap_average(clq_optimizer *optimizer);

/* State for the checkpoint: moments and average, whole F32 words. */
enum { CLQ_OPTIMIZER_MAX_BUFFERS = 4 };
size_t clq_optimizer_buffers(const clq_optimizer *optimizer,
                             clq_checkpoint_buffer buffers[CLQ_OPTIMIZER_MAX_BUFFERS]);

#endif

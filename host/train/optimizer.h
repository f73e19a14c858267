/* Optimizers: one kernel over all parameters of a network. */
#ifndef CLQUANT_TRAIN_OPTIMIZER_H
#define CLQUANT_TRAIN_OPTIMIZER_H

#include <clquant/train.h>

typedef struct clq_optimizer clq_optimizer;

/* `params` must be trainable and outlive the optimizer. State starts at zero. */
clq_status clq_optimizer_create(clq_device *device, const clq_graph *graph, clq_params *params,
                                const clq_train_config *config, clq_optimizer **optimizer);
void clq_optimizer_destroy(clq_optimizer *optimizer); /* NULL ok */

/* Updates the parameters from their gradients; `step` is 0-based. Queues work, does not wait. */
clq_status clq_optimizer_step(clq_optimizer *optimizer, double lr, int64_t step);

/* State for the checkpoint: F32 (clq_params_count) each. */
enum { CLQ_OPTIMIZER_MAX_BUFFERS = 2 };
size_t clq_optimizer_buffers(clq_optimizer *optimizer, const char *names[CLQ_OPTIMIZER_MAX_BUFFERS],
                             clq_buffer *buffers[CLQ_OPTIMIZER_MAX_BUFFERS]);

#endif

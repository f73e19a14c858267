/* What quantization-aware training adds to a training step: observers. */
#ifndef CLQUANT_QUANT_QAT_H
#define CLQUANT_QUANT_QAT_H

#include <clquant/quant.h>

typedef struct clq_observers clq_observers;

/* Makes a job's steps quantization-aware: sets job->mode, params, qstate and hooks. The graph must
 * be in quantized form (CLQ_USAGE); observers start from its qparams and run in steps 0 ..
 * `steps` - 1. `config` and the graph must outlive them. */
clq_status clq_observers_attach(clq_train_job *job, const clq_quant_config *config, int64_t steps,
                                clq_observers **observers);
/* Takes qstate and hooks from the job again and frees all. NULL ok. */
void clq_observers_detach(clq_train_job *job, clq_observers *observers);

#endif

/* The executor and the parts it is built of. */
#ifndef CLQUANT_EXEC_INTERNAL_H
#define CLQUANT_EXEC_INTERNAL_H

#include <clquant/exec.h>

#include "graph/plan.h"

/* One step runs one node and the nodes fused into it. */
typedef struct clq_exec_step {
    clq_op_run run;
    bool backward; /* there is a gradient to compute */
    double work;   /* operations of the forward: 2 * macs * batch */
} clq_exec_step;

struct clq_exec {
    clq_device *device;
    const clq_graph *graph;
    clq_exec_options options;
    clq_params *own_params; /* when the caller gave none */
    clq_qstate *own_qstate; /* likewise */
    clq_exec_step *steps;   /* (graph->node_count), step_count used, in order of execution */
    int step_count;
    clq_tensor *values;    /* (graph->value_count) */
    clq_tensor *gradients; /* (graph->value_count), TRAIN and QAT */
    bool *wanted;          /* (graph->value_count): the value's gradient is computed */
    bool *overwritten;     /* (graph->value_count): a later value of the forward has its buffer */
    clq_buffer **buffers;  /* (buffer_count), the plan's */
    int buffer_count;
    clq_tensor input, output; /* real: values' own tensors, or apart when those are codes */
    clq_buffer *real_input, *real_output; /* then owned here */
    clq_exec_hook hook, backward_hook;
    void *hook_context, *backward_hook_context;
    clq_exec_memory memory;
};

static inline bool clq_mode_trains(clq_exec_mode mode) {
    return mode == CLQ_EXEC_TRAIN || mode == CLQ_EXEC_QAT;
}

static inline bool clq_mode_is_quantized(clq_exec_mode mode) {
    return mode == CLQ_EXEC_FAKE_QUANT || mode == CLQ_EXEC_QAT || mode == CLQ_EXEC_INT8;
}

/* schedule.c: shapes of all tensors, the steps with what is fused, and which gradients are wanted.
 */
clq_status clq_exec_make_tensors(clq_exec *exec);
clq_status clq_exec_make_steps(clq_exec *exec);

/* buffers.c: plans and takes the memory of activations and gradients, and hands it to the steps. */
clq_status clq_exec_take_buffers(clq_exec *exec);

#endif

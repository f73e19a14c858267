/* The executor and the parts it is built of. */
#ifndef CLQUANT_EXEC_INTERNAL_H
#define CLQUANT_EXEC_INTERNAL_H

#include <clquant/exec.h>

#include "device/chain.h"
#include "graph/plan.h"

/* One step runs one node and the nodes fused into it. */
typedef struct clq_exec_step {
    clq_op_run run; /* of the forward pass */
    clq_op_run
        backward_run; /* of the backward pass: activations that are recomputed lie elsewhere */
    bool backward;    /* there is a gradient to compute */
    double work;      /* operations of the forward: 2 * macs * batch */
    int segment;      /* rises from step to step; 0 for all without recomputation */
    bool reruns;      /* runs again before the backward steps of its segment */
    int rerun_time, backward_time; /* buffers.c */
} clq_exec_step;

/* An input or output of the network as the caller sees it: real. */
typedef struct clq_exec_end {
    int value;
    clq_tensor tensor; /* the value's own, or apart when that is codes */
    clq_buffer *real;  /* then owned here; else NULL */
} clq_exec_end;

struct clq_exec {
    clq_device *device;
    const clq_graph *graph;
    clq_exec_options options;
    clq_params *own_params; /* when the caller gave none */
    clq_qstate *own_qstate; /* likewise */
    clq_exec_step *steps;   /* (graph->node_count), step_count used, in order of execution */
    int step_count;
    clq_tensor *values; /* (graph->value_count) */
    clq_tensor
        *backward_values;  /* (graph->value_count): the values as the backward pass finds them */
    clq_tensor *gradients; /* (graph->value_count), TRAIN and QAT */
    bool *wanted;          /* (graph->value_count): the value's gradient is computed */
    bool *overwritten;     /* (graph->value_count): a later value of the forward has its buffer */
    clq_buffer **buffers;  /* (buffer_count), the plan's */
    int buffer_count;
    clq_buffer **pieces; /* (piece_count): views of them; NULL where a lifetime has none */
    int piece_count;
    clq_exec_end *inputs;  /* (graph->input_count) */
    clq_exec_end *outputs; /* (graph->output_count) */
    clq_exec_hook hook, backward_hook;
    void *hook_context, *backward_hook_context;
    clq_chain *chain; /* the forward pass as one launch; NULL: launch by launch */
    clq_exec_memory memory;
    uint64_t planned; /* bytes of the plan's buffers, borrowed ones too; 0: not planned yet */
};

/* clq_params_create; quantized: for FAKE_QUANT and INT8, where layers on reals may have weights
 * that are codes, or are rounded to them. */
clq_status clq_params_create_for(clq_device *device, clq_graph *graph, bool trainable,
                                 bool quantized, clq_params **params);

/* The value that is output `index`, and whether a node makes an output that nobody sees. */
static inline int clq_exec_output_value(const clq_exec *exec, int index) {
    return exec->options.logits && index == 0 ? clq_graph_logits(exec->graph)
                                              : exec->graph->outputs[index].value;
}
static inline bool clq_exec_leaves_out(const clq_exec *exec, const clq_node *node) {
    return exec->options.logits && node->output == clq_graph_output(exec->graph) &&
           node->output != clq_graph_logits(exec->graph);
}

static inline int clq_value_id(const clq_exec *exec, const clq_tensor *tensor) {
    return (int)(tensor->value - exec->graph->values);
}

static inline bool clq_is_activation(const clq_tensor *tensor) {
    return tensor->value != NULL &&
           (tensor->value->kind == CLQ_VALUE_INPUT || tensor->value->kind == CLQ_VALUE_ACTIVATION);
}

static inline uint64_t clq_tensor_bytes(const clq_tensor *tensor) {
    const int64_t channels = tensor->shape.dim[tensor->shape.rank - 1];
    return (uint64_t)(clq_shape_count(&tensor->shape) / channels * tensor->pitch) *
           clq_dtype_size(tensor->dtype);
}

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
/* Whether output `index` has a gradient that the caller fills: something learned lies behind it,
 * and it is the first output of its value. */
bool clq_exec_output_learns(const clq_exec *exec, int index);

/* What of a step's forward its backward reads: CLQ_READS_*. */
int clq_exec_backward_reads(const clq_exec_step *step);
/* The first step of the segment that ends before step `end`. */
int clq_exec_segment_begin(const clq_exec *exec, int end);

/* segments.c: recomputation after Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear
 * memory cost", 2016. The steps are cut where only one activation goes on; what a segment makes
 * besides that activation is dropped and made again when the backward pass reaches the segment. */
typedef struct clq_segments clq_segments;
clq_status clq_segments_create(clq_exec *exec, clq_segments **segments);
void clq_segments_destroy(clq_segments *segments); /* NULL ok */
/* Fills in the steps' segment and reruns: the cuts that keep least while no segment holds more than
 * `budget` bytes for its backward steps. 0: one segment, nothing runs again. */
void clq_segments_cut(clq_segments *segments, uint64_t budget);
/* The budget that allows all cuts, and one that needs none. */
uint64_t clq_segments_smallest(const clq_segments *segments);
uint64_t clq_segments_largest(const clq_segments *segments);

/* buffers.c: plans and takes the memory of activations and gradients, and hands it to the steps. */
clq_status clq_exec_take_buffers(clq_exec *exec);

/* exec.c: the forward pass launch by launch. */
clq_status clq_exec_queue_forward(clq_exec *exec);

/* chain.c: makes exec->chain where that pays and computes the same; runs it if that can be now. */
clq_status clq_exec_take_chain(clq_exec *exec);
clq_status clq_exec_run_chain(clq_exec *exec, bool *done);
void clq_exec_drop_chain(clq_exec *exec);

#endif

/* Executors: a graph prepared for one device, batch size and mode.
 *
 * Parameters live on the device in a clq_params that several executors share (a training and an
 * evaluation executor of one network, for instance). */
#ifndef CLQUANT_EXEC_H
#define CLQUANT_EXEC_H

#include <clquant/ops.h>

CLQ_API_BEGIN

/* ---- parameters on the device ---- */

typedef struct clq_params clq_params;

/* Uploads the graph's F32 parameters and states. PARAMETER values lie one after the other in one
 * flat buffer (each padded to the device's base_alignment with zeros), so the optimizer is one
 * kernel; with `trainable`, gradients have a flat buffer of the same layout. The graph must outlive
 * it. */
clq_status clq_params_create(clq_device *device, clq_graph *graph, bool trainable,
                             clq_params **params);
/* Numbers in front of the graph's parameters that are no value of it: learned scales. */
typedef struct clq_params_extras {
    size_t count;
    size_t positive; /* the first of them stay positive: a step of an optimizer at most halves them.
                        Then come, from a multiple of the device's base_alignment on, the others */
    bool decay;      /* the positive ones have weight decay */
} clq_params_extras;
/* Trainable ones with extras, zeros to begin with. The graph's upload and download leave those. */
clq_status clq_params_create_extra(clq_device *device, clq_graph *graph,
                                   const clq_params_extras *extras, clq_params **params);
void clq_params_destroy(clq_params *params);              /* NULL ok */
clq_status clq_params_upload(clq_params *params);         /* graph -> device */
clq_status clq_params_download(clq_params *params);       /* device -> graph's host data */
clq_buffer *clq_params_flat(clq_params *params);          /* F32 (clq_params_count) */
clq_buffer *clq_params_flat_gradient(clq_params *params); /* NULL unless trainable */
clq_buffer *clq_params_flat_states(clq_params *params);   /* F32; NULL when there are none */
size_t clq_params_count(const clq_params *params);        /* padded floats in the flat buffers */
clq_buffer *clq_params_extra(clq_params *params);         /* F32 (extra); NULL without any */
clq_buffer *clq_params_extra_gradient(clq_params *params);
clq_params_extras clq_params_get_extras(const clq_params *params);
/* All STATE values (batch norm's running statistics), laid out likewise; NULL without any. */
clq_buffer *clq_params_flat_states(clq_params *params);
/* View of one PARAMETER or STATE value; NULL when the value is neither. Owned by params. */
clq_buffer *clq_params_value(clq_params *params, int value);
clq_buffer *clq_params_gradient(clq_params *params, int value);
/* Offset in floats of a PARAMETER in the flat buffer. */
size_t clq_params_offset(const clq_params *params, int value);

/* ---- executors ---- */

typedef struct clq_exec_options {
    clq_exec_mode mode;
    int batch;           /* >= 1 */
    clq_params *params;  /* shared; NULL: the executor makes its own. In INT8 mode always its own,
                            of what is float */
    clq_qstate *qstate;  /* FAKE_QUANT and QAT; NULL: the graph's qparams, fixed. Else unused */
    bool keep_all;       /* every value has its own buffer and no node runs in another's epilogue:
                            clq_exec_value works for every value */
    bool recompute;      /* TRAIN and QAT: backward makes activations again instead of keeping them:
                            less memory, another forward's time, the same bits */
    bool no_fusion;      /* no node runs in another's epilogue (tests) */
    bool fixed_sums;     /* FLOAT: convolutions and linear layers add in one order, so that values
                            are the same bits whatever the tuning table, the schedule and the batch
                            (calibration); without Winograd's algorithm and CLBlast */
    bool logits;         /* the first output is what a softmax at the network's end reads:
                            clq_graph_logits; the softmax does not run */
    clq_exec *memory_of; /* NULL, or an executor of the device that must outlive this one: the
                            activations lie in its memory where they fit, so a run of either
                            spoils what the other has left */
    clq_graph *consumed; /* INT8: NULL, or the graph itself, when it is for this executor alone: its
                            parameters' data is freed as it reaches the device */
    uint64_t seed;
    uint64_t expected_runs; /* FLOAT and INT8: about how many forward passes will come, 0 for few.
                               Many are worth seconds of preparation that make each faster; no
                               value changes */
    clq_ranks *ranks; /* TRAIN: batch norm takes its statistics over all of them; NULL: over this
                         executor's batch */
} clq_exec_options;

/* `graph` must outlive the executor. CLQ_USAGE when the graph's form does not fit the mode;
 * CLQ_NO_MEMORY says how much the device would have to hold. */
clq_status clq_exec_create(clq_device *device, const clq_graph *graph,
                           const clq_exec_options *options, clq_exec **exec);
void clq_exec_destroy(clq_exec *exec); /* NULL ok */

/* F32 NHWC (batch, H, W, C) or (batch, C): the executor quantizes by itself in the quantized modes.
 * `index` counts graph->inputs; NULL past them. */
clq_tensor *clq_exec_input_at(clq_exec *exec, int index);
/* F32 (batch, ...), real values in every mode: graph->outputs[index]; NULL past them. */
clq_tensor *clq_exec_output_at(clq_exec *exec, int index);
/* The first of each, the only one in networks that classify. */
clq_tensor *clq_exec_input(clq_exec *exec);
clq_tensor *clq_exec_output(clq_exec *exec);
/* TRAIN and QAT: d(loss) / d(output `index`), to be filled before backward. NULL where nothing
 * learned lies behind an output but the first, or an earlier output is the same value. */
clq_tensor *clq_exec_output_gradient_at(clq_exec *exec, int index);
clq_tensor *clq_exec_output_gradient(clq_exec *exec); /* of the first */
/* A value's tensor of the latest forward; NULL when its buffer was reused (see keep_all). In
 * FAKE_QUANT mode floats q - z, in INT8 mode u8 codes q with tensor.pitch. */
clq_tensor *clq_exec_value(clq_exec *exec, int value);

/* Queue work; none waits for it. */
clq_status clq_exec_load_parameters(clq_exec *exec); /* after params changed; done once by create */
clq_status clq_exec_forward(clq_exec *exec);
clq_status clq_exec_backward(clq_exec *exec);
void clq_exec_set_step(clq_exec *exec, uint64_t step); /* dropout's counter */
const clq_graph *clq_exec_graph(const clq_exec *exec);
const clq_exec_options *clq_exec_get_options(const clq_exec *exec);

/* Called after each node's forward has been queued (calibration, comparison of codes), for nodes
 * that run in another's epilogue only as that node's run->fused_add and fused_act. */
typedef clq_status (*clq_exec_hook)(void *context, const clq_op_run *run);
void clq_exec_set_hook(clq_exec *exec, clq_exec_hook hook, void *context);
/* The same for backward: the gradients of the node's parameters have been queued. */
void clq_exec_set_backward_hook(clq_exec *exec, clq_exec_hook hook, void *context);

/* Bytes of activations (and gradients) the executor holds, their largest two, and what its
 * operators hold besides; all executors of a device share its scratch (clq_scratch_size). */
typedef struct clq_exec_memory {
    uint64_t activations, largest, second_largest, workspaces;
} clq_exec_memory;
clq_exec_memory clq_exec_measure(const clq_exec *exec);

CLQ_API_END
#endif

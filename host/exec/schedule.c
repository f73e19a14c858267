/* From a graph to steps: tensors with the real batch, nodes that run in another's epilogue, and the
 * gradients that somebody wants. */
#include <limits.h>

#include "base/checked.h"
#include "exec/internal.h"
#include "graph/node.h"
#include "ops/registry.h"

static bool is_activation(const clq_value *value) {
    return value->kind == CLQ_VALUE_INPUT || value->kind == CLQ_VALUE_ACTIVATION;
}

/* ---- tensors ---- */

static clq_status make_activation(const clq_exec *exec, const clq_value *value,
                                  clq_tensor *tensor) {
    const int64_t channels = value->shape.dim[value->shape.rank - 1];
    const bool codes = exec->options.mode == CLQ_EXEC_INT8 && value->q.count > 0;
    int64_t elements = 0;
    *tensor = (clq_tensor){.shape = value->shape, .value = value};
    tensor->shape.dim[0] *= exec->options.batch;
    tensor->dtype = codes ? CLQ_U8 : CLQ_F32;
    tensor->pitch = (int)(codes ? (channels + 3) / 4 * 4 : channels);
    /* Kernels index with int, rounded up to a pitch. */
    if (!clq_mul_i64(clq_shape_count(&value->shape) / channels * tensor->pitch, exec->options.batch,
                     &elements) ||
        elements > INT_MAX - 64) {
        char text[96];
        clq_shape_text(&value->shape, text, sizeof text);
        return clq_fail(CLQ_USAGE, "batch %d is too large: %s (%s) would have over 2^31 elements",
                        exec->options.batch, value->name, text);
    }
    return CLQ_OK;
}

clq_status clq_exec_make_tensors(clq_exec *exec) {
    const clq_graph *graph = exec->graph;
    clq_params *params = exec->options.params;
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        if (is_activation(value)) {
            CLQ_TRY(make_activation(exec, value, &exec->values[v]));
            continue;
        }
        exec->values[v] = (clq_tensor){
            .buffer = params != NULL ? clq_params_value(params, v) : NULL,
            .shape = value->shape,
            .dtype = params != NULL && clq_params_value(params, v) ? CLQ_F32 : value->dtype,
            .pitch = (int)value->shape.dim[value->shape.rank - 1],
            .value = value,
        };
    }
    return CLQ_OK;
}

/* ---- fusion ---- */

/* What reads each value. */
typedef struct reading {
    int count; /* node inputs, and outputs of the network */
    int node;  /* the last of them; -1: an output */
} reading;

typedef struct scheduler {
    clq_exec *exec;
    reading *readers;       /* (value_count) */
    bool *ready;            /* (value_count): there before the next step */
    bool *fused;            /* (node_count): runs in another node's epilogue */
    clq_exec_step *waiting; /* (waiting_count): steps whose residual is not there yet */
    int waiting_count;
} scheduler;

static void count_readers(const clq_exec *exec, reading *readers) {
    const clq_graph *graph = exec->graph;
    for (int n = 0; n < graph->node_count; n++) {
        if (clq_exec_leaves_out(exec, &graph->nodes[n])) {
            continue;
        }
        for (int k = 0; k < graph->nodes[n].input_count; k++) {
            const int value = graph->nodes[n].inputs[k];
            if (value != CLQ_NO_VALUE) {
                readers[value].count++;
                readers[value].node = n;
            }
        }
    }
    for (int i = 0; i < graph->output_count; i++) {
        readers[clq_exec_output_value(exec, i)].count++;
        readers[clq_exec_output_value(exec, i)].node = -1;
    }
}

/* The node that alone reads `value`, when it is of operator `op`; else -1. */
static int only_reader(const scheduler *s, int value, const clq_op *op) {
    const reading *r = &s->readers[value];
    const clq_node *nodes = s->exec->graph->nodes;
    return r->count == 1 && r->node >= 0 && nodes[r->node].op == op ? r->node : -1;
}

/* Lets run's node also do the relu or relu6 that follows it. */
static void try_act(scheduler *s, clq_op_run *run, int *output) {
    const clq_op *op = run->node->op;
    bool (*can)(const clq_op_run *) = run->fused_add != NULL ? op->can_fuse_add : op->can_fuse_act;
    int act = only_reader(s, *output, &clq_op_relu);
    if (act < 0) {
        act = only_reader(s, *output, &clq_op_relu6);
    }
    if (act < 0 || can == NULL) {
        return;
    }
    run->fused_act = &s->exec->graph->nodes[act];
    if (!can(run)) {
        run->fused_act = NULL;
        return;
    }
    s->fused[act] = true;
    *output = run->fused_act->output;
}

/* Lets run's node also do the addition that follows it. An addend that is not there yet is waited
 * for, unless the node that makes it can do the addition itself. */
static void try_add(scheduler *s, clq_op_run *run, int *output) {
    const clq_graph *graph = s->exec->graph;
    const clq_op *op = run->node->op;
    const int add = only_reader(s, *output, &clq_op_add);
    if (add < 0 || op->can_fuse_add == NULL) {
        return;
    }
    const int *inputs = graph->nodes[add].inputs;
    const int other = inputs[0] == *output ? inputs[1] : inputs[0];
    const clq_value *addend = &graph->values[other];
    if (clq_is_constant(addend) ||
        !clq_shape_equal(&addend->shape, &graph->values[*output].shape)) {
        return; /* it is broadcast */
    }
    if (!s->ready[other] && graph->nodes[graph->values[other].producer].op->can_fuse_add != NULL) {
        return;
    }
    run->fused_add = &graph->nodes[add];
    run->residual = s->exec->values[other];
    if (!op->can_fuse_add(run)) {
        run->fused_add = NULL;
        run->residual = (clq_tensor){0};
        return;
    }
    s->fused[add] = true;
    *output = run->fused_add->output;
}

/* ---- steps ---- */

/* A node on reals in a quantized graph runs as in a float one. */
static clq_exec_mode node_mode(const clq_exec *exec, const clq_node *node) {
    const clq_exec_mode mode = exec->options.mode;
    if (!clq_mode_is_quantized(mode) || clq_node_on_codes(exec->graph, node)) {
        return mode;
    }
    return mode == CLQ_EXEC_QAT ? CLQ_EXEC_TRAIN : CLQ_EXEC_FLOAT;
}

static void start_run(const clq_exec *exec, int node_index, clq_op_run *run) {
    const clq_node *node = &exec->graph->nodes[node_index];
    *run = (clq_op_run){
        .exec = (clq_exec *)exec,
        .device = exec->device,
        .graph = exec->graph,
        .node = node,
        .node_index = node_index,
        .mode = node_mode(exec, node),
        .batch = exec->options.batch,
        .qstate = exec->options.qstate,
        .requantizer = clq_graph_requantizer(exec->graph),
        /* What is quantized behind a float node is to be the same codes on every device. */
        .fixed_sums = exec->options.fixed_sums || (clq_mode_is_quantized(exec->options.mode) &&
                                                   node_mode(exec, node) == CLQ_EXEC_FLOAT),
        .ranks = exec->options.ranks,
        .out = exec->values[node->output],
        .seed = exec->options.seed,
    };
    for (int i = 0; i < node->input_count; i++) {
        if (node->inputs[i] != CLQ_NO_VALUE) {
            run->in[i] = exec->values[node->inputs[i]];
            run->frozen |= run->in[i].value->frozen;
        }
    }
}

static bool can_start(const scheduler *s, const clq_exec_step *step) {
    const clq_tensor *residual = &step->run.residual;
    return residual->value == NULL || s->ready[clq_value_id(s->exec, residual)];
}

/* Puts a step in its place, and behind it the steps that waited for its result. */
static void place(scheduler *s, const clq_exec_step *step) {
    if (!can_start(s, step)) {
        s->waiting[s->waiting_count++] = *step;
        return;
    }
    s->exec->steps[s->exec->step_count++] = *step;
    s->ready[clq_value_id(s->exec, &step->run.out)] = true;
    for (int w = 0; w < s->waiting_count; w++) {
        if (can_start(s, &s->waiting[w])) {
            const clq_exec_step next = s->waiting[w];
            s->waiting[w] = s->waiting[--s->waiting_count];
            place(s, &next);
            w = -1; /* the list has changed */
        }
    }
}

static clq_status check_node(const clq_exec *exec, const clq_node *node) {
    const clq_exec_mode mode = node_mode(exec, node);
    if (clq_mode_is_quantized(mode) && node->op->quantized == NULL) {
        return clq_fail(CLQ_USAGE,
                        "node %s: %s does not exist in a quantized network; fold it first",
                        node->name, node->op->name);
    }
    return CLQ_OK;
}

/* An index of the largest number has no gradient. */
static bool has_backward(const clq_op_run *run) {
    const clq_op *op = run->node->op;
    return (run->mode == CLQ_EXEC_QAT ? op->quantized->backward : op->backward) != NULL;
}

static bool *flag_of(const clq_exec *exec, bool *flags, const clq_tensor *tensor) {
    return &flags[clq_value_id(exec, tensor)];
}

static bool learned(const clq_value *value) {
    return value->kind == CLQ_VALUE_PARAMETER && !value->frozen;
}

/* A value's gradient is wanted when something learned lies behind it and the output before it.
 * Fills exec->wanted and step->backward. */
static void mark_gradients(clq_exec *exec, bool *reached) {
    for (int s = 0; s < exec->step_count; s++) {
        clq_op_run *run = &exec->steps[s].run;
        bool learns = run->residual.value != NULL && *flag_of(exec, exec->wanted, &run->residual);
        for (int i = 0; i < run->node->input_count; i++) {
            learns |= run->in[i].value != NULL &&
                      (learned(run->in[i].value) || *flag_of(exec, exec->wanted, &run->in[i]));
        }
        *flag_of(exec, exec->wanted, &run->out) = learns && has_backward(run);
    }
    for (int i = 0; i < exec->graph->output_count; i++) {
        reached[clq_exec_output_value(exec, i)] = true;
    }
    for (int s = exec->step_count - 1; s >= 0; s--) {
        clq_op_run *run = &exec->steps[s].run;
        bool *wanted = flag_of(exec, exec->wanted, &run->out);
        *wanted &= *flag_of(exec, reached, &run->out);
        exec->steps[s].backward = *wanted;
        if (*flag_of(exec, reached, &run->out)) {
            for (int i = 0; i < run->node->input_count; i++) {
                if (run->in[i].value != NULL) {
                    *flag_of(exec, reached, &run->in[i]) = true;
                }
            }
            if (run->residual.value != NULL) {
                *flag_of(exec, reached, &run->residual) = true;
            }
        }
    }
}

bool clq_exec_output_learns(const clq_exec *exec, int index) {
    const int value = clq_exec_output_value(exec, index);
    for (int i = 0; i < index; i++) {
        if (clq_exec_output_value(exec, i) == value) {
            return false;
        }
    }
    return exec->wanted[value];
}

static clq_status check_parameters(const scheduler *s) {
    for (int v = 0; v < s->exec->graph->value_count; v++) {
        const clq_value *value = &s->exec->graph->values[v];
        if (learned(value) && s->readers[v].count > 1) {
            return clq_fail(CLQ_USAGE,
                            "parameter %s has %d readers; training can give it only one gradient",
                            value->name, s->readers[v].count);
        }
    }
    return CLQ_OK;
}

static clq_status schedule(scheduler *s) {
    clq_exec *exec = s->exec;
    const clq_graph *graph = exec->graph;
    const bool fusing = !exec->options.no_fusion && !exec->options.keep_all;
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        clq_exec_step step = {.backward = false};
        int output = node->output;
        if (s->fused[n] || clq_exec_leaves_out(exec, node)) {
            continue;
        }
        CLQ_TRY(check_node(exec, node));
        start_run(exec, n, &step.run);
        step.work =
            node->op->macs ? 2.0 * (double)node->op->macs(graph, node) * exec->options.batch : 0;
        if (fusing) {
            try_add(s, &step.run, &output);
            try_act(s, &step.run, &output);
        }
        step.run.out = exec->values[output];
        place(s, &step);
    }
    return s->waiting_count == 0
               ? CLQ_OK
               : clq_fail(CLQ_INTERNAL, "node %s waits for a value that nobody makes",
                          s->waiting[0].run.node->name);
}

clq_status clq_exec_make_steps(clq_exec *exec) {
    const size_t values = (size_t)exec->graph->value_count;
    const size_t nodes = (size_t)exec->graph->node_count;
    clq_status status = CLQ_NO_MEMORY;
    scheduler s = {.exec = exec};
    bool *reached = clq_calloc(values, sizeof *reached);
    s.readers = clq_calloc(values, sizeof *s.readers);
    s.ready = clq_calloc(values, sizeof *s.ready);
    s.fused = clq_calloc(nodes, sizeof *s.fused);
    s.waiting = clq_calloc(nodes, sizeof *s.waiting);
    if (!reached || !s.readers || !s.ready || !s.fused || !s.waiting) {
        goto cleanup;
    }
    count_readers(exec, s.readers);
    for (int i = 0; i < exec->graph->input_count; i++) {
        s.ready[exec->graph->inputs[i]] = true;
    }
    CLQ_GOTO(status, cleanup, schedule(&s));
    if (clq_mode_trains(exec->options.mode)) {
        CLQ_GOTO(status, cleanup, check_parameters(&s));
        mark_gradients(exec, reached);
    }
cleanup:
    clq_free(reached);
    clq_free(s.readers);
    clq_free(s.ready);
    clq_free(s.fused);
    clq_free(s.waiting);
    return status;
}

/* From a graph to steps: tensors with the real batch, nodes that run in another's epilogue, and the
 * gradients that somebody wants. */
#include <limits.h>

#include "base/checked.h"
#include "exec/internal.h"
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
    tensor->shape.dim[0] = exec->options.batch;
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
            .dtype = value->dtype,
            .pitch = (int)value->shape.dim[value->shape.rank - 1],
            .value = value,
        };
    }
    return CLQ_OK;
}

/* ---- fusion ---- */

/* What reads each value. */
typedef struct reading {
    int count; /* node inputs, and the network's output */
    int node;  /* the last of them; -1: the output */
} reading;

static reading *count_readers(const clq_graph *graph) {
    reading *readers = clq_calloc((size_t)graph->value_count, sizeof *readers);
    if (readers == NULL) {
        return NULL;
    }
    for (int n = 0; n < graph->node_count; n++) {
        for (int k = 0; k < graph->nodes[n].input_count; k++) {
            const int value = graph->nodes[n].inputs[k];
            if (value != CLQ_NO_VALUE) {
                readers[value].count++;
                readers[value].node = n;
            }
        }
    }
    readers[graph->output].count++;
    readers[graph->output].node = -1;
    return readers;
}

/* The node that alone reads `value`, when it is of operator `op`; else -1. */
static int only_reader(const clq_graph *graph, const reading *readers, int value,
                       const clq_op *op) {
    const reading *r = &readers[value];
    return r->count == 1 && r->node >= 0 && graph->nodes[r->node].op == op ? r->node : -1;
}

/* The addend that is not `value`. */
static int other_input(const clq_node *add, int value) {
    return add->inputs[0] == value ? add->inputs[1] : add->inputs[0];
}

/* Lets run's node also do the relu or relu6 that follows it. */
static void try_act(const clq_exec *exec, const reading *readers, clq_op_run *run, int *output,
                    bool *fused) {
    const clq_op *op = run->node->op;
    bool (*can)(const clq_op_run *) = run->fused_add != NULL ? op->can_fuse_add : op->can_fuse_act;
    int act = only_reader(exec->graph, readers, *output, &clq_op_relu);
    if (act < 0) {
        act = only_reader(exec->graph, readers, *output, &clq_op_relu6);
    }
    if (act < 0 || can == NULL) {
        return;
    }
    run->fused_act = &exec->graph->nodes[act];
    if (!can(run)) {
        run->fused_act = NULL;
        return;
    }
    fused[act] = true;
    *output = run->fused_act->output;
}

/* Lets run's node also do the addition that follows it, when the other addend is there by then. */
static void try_add(const clq_exec *exec, const reading *readers, clq_op_run *run, int *output,
                    bool *fused) {
    const clq_op *op = run->node->op;
    const int add = only_reader(exec->graph, readers, *output, &clq_op_add);
    if (add < 0 || op->can_fuse_add == NULL) {
        return;
    }
    const int other = other_input(&exec->graph->nodes[add], *output);
    if (exec->graph->values[other].producer >= run->node_index) {
        return;
    }
    run->fused_add = &exec->graph->nodes[add];
    run->residual = exec->values[other];
    if (!op->can_fuse_add(run)) {
        run->fused_add = NULL;
        run->residual = (clq_tensor){0};
        return;
    }
    fused[add] = true;
    *output = run->fused_add->output;
}

/* ---- steps ---- */

static void start_run(const clq_exec *exec, int node_index, clq_op_run *run) {
    const clq_node *node = &exec->graph->nodes[node_index];
    *run = (clq_op_run){
        .exec = (clq_exec *)exec,
        .device = exec->device,
        .graph = exec->graph,
        .node = node,
        .node_index = node_index,
        .mode = exec->options.mode,
        .batch = exec->options.batch,
        .qstate = exec->options.qstate,
        .requantizer = exec->options.requantizer,
        .out = exec->values[node->output],
        .seed = exec->options.seed,
    };
    for (int i = 0; i < node->input_count; i++) {
        if (node->inputs[i] != CLQ_NO_VALUE) {
            run->in[i] = exec->values[node->inputs[i]];
        }
    }
}

static clq_status check_node(const clq_exec *exec, const clq_node *node) {
    const clq_exec_mode mode = exec->options.mode;
    if (clq_mode_is_quantized(mode) && node->op->quantized == NULL) {
        return clq_fail(CLQ_USAGE,
                        "node %s: %s does not exist in a quantized network; fold it first",
                        node->name, node->op->name);
    }
    if (clq_mode_trains(mode) &&
        (mode == CLQ_EXEC_QAT ? node->op->quantized->backward : node->op->backward) == NULL) {
        return clq_fail(CLQ_USAGE, "node %s: %s cannot be trained", node->name, node->op->name);
    }
    return CLQ_OK;
}

static bool *flag_of(const clq_exec *exec, bool *flags, const clq_tensor *tensor) {
    return &flags[tensor->value - exec->graph->values];
}

/* A value's gradient is wanted when something learned lies behind it and the output before it.
 * Fills exec->wanted and step->backward. */
static void mark_gradients(clq_exec *exec, bool *reached) {
    for (int s = 0; s < exec->step_count; s++) {
        clq_op_run *run = &exec->steps[s].run;
        bool learns = run->residual.value != NULL && *flag_of(exec, exec->wanted, &run->residual);
        for (int i = 0; i < run->node->input_count; i++) {
            learns |= run->in[i].value != NULL && (run->in[i].value->kind == CLQ_VALUE_PARAMETER ||
                                                   *flag_of(exec, exec->wanted, &run->in[i]));
        }
        *flag_of(exec, exec->wanted, &run->out) = learns;
    }
    reached[exec->graph->output] = true;
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

clq_status clq_exec_make_steps(clq_exec *exec) {
    const clq_graph *graph = exec->graph;
    const bool fusing = !exec->options.no_fusion && !exec->options.keep_all;
    clq_status status = CLQ_NO_MEMORY;
    reading *readers = count_readers(graph);
    bool *fused = clq_calloc((size_t)graph->node_count, sizeof *fused);
    bool *reached = clq_calloc((size_t)graph->value_count, sizeof *reached);
    if (readers == NULL || fused == NULL || reached == NULL) {
        goto cleanup;
    }
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        if (fused[n]) {
            continue;
        }
        CLQ_GOTO(status, cleanup, check_node(exec, node));
        clq_exec_step *step = &exec->steps[exec->step_count++];
        int output = node->output;
        start_run(exec, n, &step->run);
        step->work =
            node->op->macs ? 2.0 * (double)node->op->macs(graph, node) * exec->options.batch : 0;
        if (fusing) {
            try_add(exec, readers, &step->run, &output, fused);
            try_act(exec, readers, &step->run, &output, fused);
        }
        step->run.out = exec->values[output];
    }
    if (clq_mode_trains(exec->options.mode)) {
        mark_gradients(exec, reached);
    }
    status = CLQ_OK;
cleanup:
    clq_free(readers);
    clq_free(fused);
    clq_free(reached);
    return status;
}

/* Walks the steps: forward, backward, and what surrounds them. */
#include "base/arguments.h"
#include "base/log.h"
#include "exec/internal.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "ops/layer.h"
#include "ops/learned_scales.h"
#include "ops/quantized.h"
#include "ops/self_test.h"

#include <string.h>

/* ---- which functions ---- */

static clq_status call(clq_status (*real)(clq_op_run *), clq_status (*quantized)(clq_op_run *),
                       clq_op_run *run) {
    clq_status (*function)(clq_op_run *) = clq_mode_is_quantized(run->mode) ? quantized : real;
    if (function == NULL) {
        return CLQ_OK;
    }
    return clq_fail_in(function(run), "node %s", run->node->name);
}

/* The functions of op's two tables called NAME. */
#define CALL(NAME, run)                                                                            \
    call((run)->node->op->NAME,                                                                    \
         (run)->node->op->quantized != NULL ? (run)->node->op->quantized->NAME : NULL, (run))

static void release(clq_op_run *run) {
    const clq_op *op = run->node->op;
    void (*function)(clq_op_run *) = op->release;
    if (clq_mode_is_quantized(run->mode)) {
        function = op->quantized != NULL ? op->quantized->release : NULL;
    }
    if (function != NULL) {
        function(run);
    }
}

/* ---- creation ---- */

static const char *const mode_names[] = {
    [CLQ_EXEC_FLOAT] = "float", [CLQ_EXEC_TRAIN] = "train", [CLQ_EXEC_FAKE_QUANT] = "fake_quant",
    [CLQ_EXEC_QAT] = "qat",     [CLQ_EXEC_INT8] = "int8",
};
static const char *const form_names[] = {
    [CLQ_FORM_FLOAT] = "float",
    [CLQ_FORM_QUANTIZED] = "quantized",
    [CLQ_FORM_INTEGER] = "integer",
};

static clq_status check_options(const clq_graph *graph, const clq_exec_options *options) {
    const clq_form form = clq_graph_form(graph);
    bool fits = false;
    if (options->batch < 1) {
        return clq_fail(CLQ_USAGE, "batch must be at least 1, is %d", options->batch);
    }
    if (options->batch > 1 && clq_graph_has_fixed_batch(graph)) {
        return clq_fail(CLQ_USAGE,
                        "batch %d: %s takes one sample at a time, as its nodes mix axis 0 "
                        "with others",
                        options->batch, clq_graph_called(graph));
    }
    switch (options->mode) {
    case CLQ_EXEC_FLOAT:
        fits = !clq_has_integers(graph);
        break;
    case CLQ_EXEC_TRAIN:
        fits = form == CLQ_FORM_FLOAT;
        break;
    case CLQ_EXEC_FAKE_QUANT:
        fits = form != CLQ_FORM_FLOAT;
        break;
    case CLQ_EXEC_QAT:
        fits = form != CLQ_FORM_FLOAT && !clq_has_integers(graph);
        break;
    case CLQ_EXEC_INT8:
        fits = form == CLQ_FORM_INTEGER;
        break;
    default:
        return clq_fail(CLQ_USAGE, "unknown executor mode %d", (int)options->mode);
    }
    if (fits && clq_mode_is_quantized(options->mode)) {
        CLQ_TRY(clq_graph_check_requantizer(graph));
    }
    if (!fits) {
        return clq_fail(CLQ_USAGE, "%s is a %s network, which mode %s cannot run",
                        clq_graph_called(graph), form_names[form], mode_names[options->mode]);
    }
    if (options->consumed != NULL &&
        (options->consumed != graph || options->mode != CLQ_EXEC_INT8)) {
        return clq_fail(CLQ_USAGE, "mode %s cannot consume graph %s", mode_names[options->mode],
                        options->consumed->name);
    }
    if (clq_mode_trains(options->mode) && options->params != NULL &&
        clq_params_count(options->params) > 0 &&
        clq_params_flat_gradient(options->params) == NULL) {
        return clq_fail(CLQ_USAGE, "training needs parameters with gradients (trainable)");
    }
    return CLQ_OK;
}

/* Those of nodes on reals. */
static bool has_float_parameters(const clq_graph *graph) {
    bool has = false;
    for (int v = 0; v < graph->value_count; v++) {
        has |= clq_is_constant(&graph->values[v]) && graph->values[v].dtype == CLQ_F32;
    }
    for (int n = 0; n < graph->node_count; n++) {
        has |= clq_is_weight_only(graph, &graph->nodes[n]);
    }
    return has;
}

/* The executor's own copy of the parameters when the caller shares none. */
static clq_status take_params(clq_exec *exec) {
    if (exec->options.mode == CLQ_EXEC_INT8) {
        exec->options.params = NULL;
        if (!has_float_parameters(exec->graph)) {
            return CLQ_OK;
        }
    }
    if (exec->options.params == NULL) {
        /* Nothing is ever downloaded into the graph from here. */
        clq_graph *graph = (clq_graph *)exec->graph;
        const clq_exec_mode mode = exec->options.mode;
        CLQ_TRY(clq_params_create_for(exec->device, graph, clq_mode_trains(mode),
                                      mode == CLQ_EXEC_FAKE_QUANT || mode == CLQ_EXEC_INT8,
                                      &exec->own_params));
        exec->options.params = exec->own_params;
    }
    return CLQ_OK;
}

/* Tables with the graph's qparams when the caller gives none. */
static clq_status take_qstate(clq_exec *exec) {
    const clq_exec_mode mode = exec->options.mode;
    if (mode != CLQ_EXEC_FAKE_QUANT && mode != CLQ_EXEC_QAT) {
        exec->options.qstate = NULL;
        return CLQ_OK;
    }
    if (exec->options.qstate == NULL) {
        CLQ_TRY(clq_qstate_create(exec->device, exec->graph, &exec->own_qstate));
        exec->options.qstate = exec->own_qstate;
    }
    return CLQ_OK;
}

static clq_status allocate(clq_exec *exec) {
    const size_t values = (size_t)exec->graph->value_count;
    exec->steps = clq_calloc((size_t)exec->graph->node_count, sizeof *exec->steps);
    exec->values = clq_calloc(values, sizeof *exec->values);
    exec->backward_values = clq_calloc(values, sizeof *exec->backward_values);
    exec->wanted = clq_calloc(values, sizeof *exec->wanted);
    exec->overwritten = clq_calloc(values, sizeof *exec->overwritten);
    exec->inputs = clq_calloc((size_t)exec->graph->input_count, sizeof *exec->inputs);
    exec->outputs = clq_calloc((size_t)exec->graph->output_count, sizeof *exec->outputs);
    if (clq_mode_trains(exec->options.mode)) {
        exec->gradients = clq_calloc(values, sizeof *exec->gradients);
        if (exec->gradients == NULL) {
            return CLQ_NO_MEMORY;
        }
    }
    return exec->steps && exec->values && exec->backward_values && exec->wanted &&
                   exec->overwritten && exec->inputs && exec->outputs
               ? CLQ_OK
               : CLQ_NO_MEMORY;
}

/* A real F32 tensor beside a value that holds codes. */
static clq_status make_real(clq_exec *exec, int value, clq_exec_end *end) {
    clq_tensor *tensor = &end->tensor;
    end->value = value;
    *tensor = exec->values[value];
    if (!clq_mode_is_quantized(exec->options.mode) || tensor->value->q.count == 0) {
        return CLQ_OK;
    }
    const size_t size = (size_t)clq_shape_count(&tensor->shape) * sizeof(float);
    CLQ_TRY(clq_buffer_create(exec->device, size, &end->real));
    exec->memory.activations += size;
    tensor->buffer = end->real;
    tensor->dtype = CLQ_F32;
    tensor->pitch = (int)tensor->shape.dim[tensor->shape.rank - 1];
    return CLQ_OK;
}

static clq_status make_real_ends(clq_exec *exec) {
    const clq_graph *graph = exec->graph;
    for (int i = 0; i < graph->input_count; i++) {
        CLQ_TRY(make_real(exec, graph->inputs[i], &exec->inputs[i]));
    }
    for (int i = 0; i < graph->output_count; i++) {
        CLQ_TRY(make_real(exec, clq_exec_output_value(exec, i), &exec->outputs[i]));
    }
    return CLQ_OK;
}

/* Ends that are no codes are the values themselves, which have memory now. */
static void take_values(const clq_exec *exec, clq_exec_end *ends, int count) {
    for (int i = 0; i < count; i++) {
        if (ends[i].real == NULL) {
            ends[i].tensor = exec->values[ends[i].value];
        }
    }
}

static bool is_read_after(const clq_exec *exec, int step, int value) {
    for (int s = step + 1; s < exec->step_count; s++) {
        const clq_node *node = exec->steps[s].run.node;
        for (int i = 0; i < node->input_count; i++) {
            if (node->inputs[i] == value) {
                return true;
            }
        }
    }
    return false;
}

/* Frees the data of the parameters that only this step's node still wanted. */
static void consume_parameters(clq_exec *exec, int step) {
    const clq_node *node = exec->steps[step].run.node;
    for (int i = 0; i < node->input_count; i++) {
        clq_value *value = node->inputs[i] == CLQ_NO_VALUE
                               ? NULL
                               : &exec->options.consumed->values[node->inputs[i]];
        if (value != NULL && value->kind == CLQ_VALUE_PARAMETER &&
            !is_read_after(exec, step, node->inputs[i])) {
            clq_free(value->data);
            value->data = NULL;
        }
    }
}

static clq_status prepare(clq_exec *exec) {
    uint64_t before = 0, after = 0, peak = 0;
    clq_device_memory(exec->device, &before, &peak);
    for (int s = 0; s < exec->step_count; s++) {
        CLQ_TRY(CALL(prepare, &exec->steps[s].run));
        exec->steps[s].backward_run.state = exec->steps[s].run.state;
        if (exec->options.consumed != NULL) {
            consume_parameters(exec, s);
        }
    }
    clq_device_memory(exec->device, &after, &peak);
    exec->memory.workspaces = after - before;
    return clq_exec_load_parameters(exec);
}

static double megabytes(uint64_t bytes) {
    return (double)bytes * 1e-6;
}

/* Adds to a failure for want of memory how much this executor takes, and what takes less. */
static clq_status explain_size(const clq_exec *exec, clq_status status) {
    const clq_exec_options *options = &exec->options;
    const clq_device_info *info = clq_device_get_info(exec->device);
    const bool trains = clq_mode_trains(options->mode);
    const size_t parameters = options->params != NULL ? clq_params_count(options->params) : 0;
    return clq_fail_in(
        status,
        "batch %d in mode %s needs %.1f MB of activations%s beside %.1f MB of parameters%s, and %s "
        "reports %.1f MB, %.1f MB in one buffer; a smaller batch%s takes less",
        options->batch, mode_names[options->mode], megabytes(exec->planned),
        trains ? " and gradients" : "", megabytes((trains ? 2 : 1) * parameters * sizeof(float)),
        trains ? " and their gradients" : "", info->name, megabytes(info->global_memory),
        megabytes(info->max_allocation),
        trains && !options->recompute ? " or recompute (--recompute)" : "");
}

/* What a device reports is advice, and drivers of CPUs swap rather than fail. */
static void warn_of_size(const clq_exec *exec) {
    const clq_device_info *info = clq_device_get_info(exec->device);
    uint64_t live, peak;
    clq_device_memory(exec->device, &live, &peak);
    if (live > info->global_memory) {
        clq_log_warn("%s reports %.1f MB of memory and holds %.1f MB now; a smaller batch%s takes "
                     "less",
                     info->name, megabytes(info->global_memory), megabytes(live),
                     clq_mode_trains(exec->options.mode) && !exec->options.recompute
                         ? " or recompute (--recompute)"
                         : "");
    }
}

clq_status clq_exec_create(clq_device *device, const clq_graph *graph,
                           const clq_exec_options *options, clq_exec **result) {
    CLQ_NEEDS(device, graph, options, result);
    CLQ_NEEDS_ENDS(graph);
    clq_status status = CLQ_OK;
    CLQ_TRY(check_options(graph, options));
    clq_op_self_tests_add();
    clq_exec *exec = clq_calloc(1, sizeof *exec);
    if (exec == NULL) {
        return CLQ_NO_MEMORY;
    }
    exec->device = device;
    exec->graph = graph;
    exec->options = *options;
    CLQ_GOTO(status, cleanup, allocate(exec));
    CLQ_GOTO(status, cleanup, take_params(exec));
    CLQ_GOTO(status, cleanup, take_qstate(exec));
    CLQ_GOTO(status, cleanup, clq_exec_make_tensors(exec));
    CLQ_GOTO(status, cleanup, clq_exec_make_steps(exec));
    CLQ_GOTO(status, cleanup, make_real_ends(exec));
    CLQ_GOTO(status, cleanup, clq_exec_take_buffers(exec));
    take_values(exec, exec->inputs, graph->input_count);
    take_values(exec, exec->outputs, graph->output_count);
    CLQ_GOTO(status, cleanup, prepare(exec));
    CLQ_GOTO(status, cleanup, clq_exec_take_chain(exec));
    warn_of_size(exec);
    *result = exec;
    exec = NULL;
cleanup:
    if (status == CLQ_NO_MEMORY && exec->planned > 0) {
        status = explain_size(exec, status);
    }
    clq_exec_destroy(exec);
    return clq_fail_in_graph(graph, status);
}

void clq_exec_destroy(clq_exec *exec) {
    if (exec == NULL) {
        return;
    }
    clq_exec_drop_chain(exec);
    for (int s = 0; s < exec->step_count; s++) {
        release(&exec->steps[s].run);
    }
    for (int i = 0; i < exec->piece_count; i++) {
        clq_buffer_release(exec->pieces[i]);
    }
    for (int b = 0; b < exec->buffer_count; b++) {
        clq_buffer_release(exec->buffers[b]);
    }
    for (int i = 0; exec->inputs != NULL && i < exec->graph->input_count; i++) {
        clq_buffer_release(exec->inputs[i].real);
    }
    for (int i = 0; exec->outputs != NULL && i < exec->graph->output_count; i++) {
        clq_buffer_release(exec->outputs[i].real);
    }
    clq_params_destroy(exec->own_params);
    clq_qstate_destroy(exec->own_qstate);
    clq_free(exec->pieces);
    clq_free(exec->buffers);
    clq_free(exec->steps);
    clq_free(exec->values);
    clq_free(exec->backward_values);
    clq_free(exec->gradients);
    clq_free(exec->wanted);
    clq_free(exec->overwritten);
    clq_free(exec->inputs);
    clq_free(exec->outputs);
    clq_free(exec);
}

/* ---- tensors ---- */

clq_tensor *clq_exec_input(clq_exec *exec) {
    return clq_exec_input_at(exec, 0);
}

clq_tensor *clq_exec_output(clq_exec *exec) {
    return clq_exec_output_at(exec, 0);
}

clq_tensor *clq_exec_input_at(clq_exec *exec, int index) {
    CLQ_NEEDS_OR(NULL, exec);
    return index >= 0 && index < exec->graph->input_count ? &exec->inputs[index].tensor : NULL;
}

clq_tensor *clq_exec_output_at(clq_exec *exec, int index) {
    CLQ_NEEDS_OR(NULL, exec);
    return index >= 0 && index < exec->graph->output_count ? &exec->outputs[index].tensor : NULL;
}

clq_tensor *clq_exec_output_gradient(clq_exec *exec) {
    return clq_exec_output_gradient_at(exec, 0);
}

clq_tensor *clq_exec_output_gradient_at(clq_exec *exec, int index) {
    CLQ_NEEDS_OR(NULL, exec);
    if (exec->gradients == NULL || index < 0 || index >= exec->graph->output_count ||
        (index > 0 && !clq_exec_output_learns(exec, index))) {
        return NULL;
    }
    return &exec->gradients[exec->outputs[index].value];
}

clq_tensor *clq_exec_value(clq_exec *exec, int value) {
    CLQ_NEEDS_OR(NULL, exec);
    if (value < 0 || value >= exec->graph->value_count || exec->overwritten[value] ||
        exec->values[value].buffer == NULL) {
        return NULL;
    }
    return &exec->values[value];
}

const clq_graph *clq_exec_graph(const clq_exec *exec) {
    CLQ_NEEDS_OR(NULL, exec);
    return exec->graph;
}

const clq_exec_options *clq_exec_get_options(const clq_exec *exec) {
    CLQ_NEEDS_OR(NULL, exec);
    return &exec->options;
}

clq_exec_memory clq_exec_measure(const clq_exec *exec) {
    CLQ_NEEDS_OR((clq_exec_memory){0}, exec);
    return exec->memory;
}

void clq_exec_set_step(clq_exec *exec, uint64_t step) {
    CLQ_NEEDS_OR(, exec);
    for (int s = 0; s < exec->step_count; s++) {
        exec->steps[s].run.step = exec->steps[s].backward_run.step = step;
    }
}

void clq_exec_set_hook(clq_exec *exec, clq_exec_hook hook, void *context) {
    CLQ_NEEDS_OR(, exec);
    exec->hook = hook;
    exec->hook_context = context;
}

void clq_exec_set_backward_hook(clq_exec *exec, clq_exec_hook hook, void *context) {
    CLQ_NEEDS_OR(, exec);
    exec->backward_hook = hook;
    exec->backward_hook_context = context;
}

/* ---- running ---- */

clq_status clq_exec_load_parameters(clq_exec *exec) {
    CLQ_NEEDS(exec);
    CLQ_TRY(clq_learned_load(exec->options.qstate));
    for (int s = 0; s < exec->step_count; s++) {
        clq_device_set_label(exec->device, exec->steps[s].run.node->name);
        CLQ_TRY(CALL(load_parameters, &exec->steps[s].run));
    }
    clq_device_set_label(exec->device, "");
    return CLQ_OK;
}

static clq_status run_forward(clq_exec *exec, const clq_exec_step *step, clq_op_run *run) {
    clq_device_set_label(exec->device, run->node->name);
    clq_device_set_work(exec->device, step->work);
    return CALL(forward, run);
}

clq_status clq_exec_queue_forward(clq_exec *exec) {
    for (int i = 0; i < exec->graph->input_count; i++) {
        const clq_exec_end *in = &exec->inputs[i];
        if (in->real != NULL) {
            clq_device_set_label(exec->device, "quantize input");
            CLQ_TRY(clq_quantize_activation(exec->device, exec->graph, exec->options.qstate,
                                            &in->tensor, &exec->values[in->value]));
        }
    }
    for (int s = 0; s < exec->step_count; s++) {
        clq_exec_step *step = &exec->steps[s];
        CLQ_TRY(run_forward(exec, step, &step->run));
        if (exec->hook != NULL) {
            CLQ_TRY(exec->hook(exec->hook_context, &step->run));
        }
    }
    for (int i = 0; i < exec->graph->output_count; i++) {
        const clq_exec_end *out = &exec->outputs[i];
        if (out->real != NULL) {
            clq_device_set_label(exec->device, "dequantize output");
            CLQ_TRY(clq_dequantize_activation(exec->device, exec->graph, exec->options.qstate,
                                              &exec->values[out->value], &out->tensor));
        }
    }
    clq_device_set_work(exec->device, 0);
    clq_device_set_label(exec->device, "");
    return CLQ_OK;
}

clq_status clq_exec_forward(clq_exec *exec) {
    CLQ_NEEDS(exec);
    bool done;
    CLQ_TRY(clq_exec_run_chain(exec, &done));
    return done ? CLQ_OK : clq_exec_queue_forward(exec);
}

/* Steps begin .. end - 1: first what was not kept is made again. */
static clq_status run_segment_backward(clq_exec *exec, int begin, int end) {
    for (int s = begin; s < end; s++) {
        clq_exec_step *step = &exec->steps[s];
        if (step->reruns) {
            CLQ_TRY(run_forward(exec, step, &step->backward_run));
        }
    }
    clq_device_set_work(exec->device, 0);
    for (int s = end - 1; s >= begin; s--) {
        clq_exec_step *step = &exec->steps[s];
        if (step->backward) {
            clq_device_set_label(exec->device, step->run.node->name);
            CLQ_TRY(CALL(backward, &step->backward_run));
            if (exec->backward_hook != NULL) {
                CLQ_TRY(exec->backward_hook(exec->backward_hook_context, &step->backward_run));
            }
        }
    }
    return CLQ_OK;
}

clq_status clq_exec_backward(clq_exec *exec) {
    CLQ_NEEDS(exec);
    if (exec->gradients == NULL) {
        return clq_fail(CLQ_USAGE, "mode %s has no backward pass", mode_names[exec->options.mode]);
    }
    CLQ_TRY(clq_learned_begin(exec->options.qstate));
    for (int end = exec->step_count, begin; end > 0; end = begin) {
        begin = clq_exec_segment_begin(exec, end);
        CLQ_TRY(run_segment_backward(exec, begin, end));
    }
    clq_device_set_work(exec->device, 0);
    clq_device_set_label(exec->device, "");
    return CLQ_OK;
}

/* Memory of activations and gradients.
 *
 * Time runs through S forward steps, the loss, and S backward steps:
 *
 *   0 .. S-1 forward   S loss   S+1 .. 2S backward (step s at 2S - s)   2S+1 the end
 *
 * An activation lives from its step to its last reader, which may be a backward step; a gradient
 * from its first writer to the backward step of the value's producer. Lifetimes 0 .. V-1 are the
 * values, V .. 2V-1 their gradients. */
#include <string.h>

#include "exec/internal.h"

typedef struct planner {
    clq_exec *exec;
    clq_lifetime *lives; /* (2 * value_count) */
    bool *written;       /* (value_count): somebody has written the gradient */
} planner;

static int value_id(const clq_exec *exec, const clq_tensor *tensor) {
    return (int)(tensor->value - exec->graph->values);
}

static bool is_activation(const clq_tensor *tensor) {
    return tensor->value != NULL &&
           (tensor->value->kind == CLQ_VALUE_INPUT || tensor->value->kind == CLQ_VALUE_ACTIVATION);
}

static uint64_t tensor_bytes(const clq_tensor *tensor) {
    const int64_t channels = tensor->shape.dim[tensor->shape.rank - 1];
    return (uint64_t)(clq_shape_count(&tensor->shape) / channels * tensor->pitch) *
           clq_dtype_size(tensor->dtype);
}

static int loss_time(const clq_exec *exec) {
    return exec->step_count;
}

static int backward_time(const clq_exec *exec, int step) {
    return 2 * exec->step_count - step;
}

static int end_time(const clq_exec *exec) {
    return 2 * exec->step_count + 1;
}

/* ---- lifetimes of activations ---- */

static void extend(planner *p, const clq_tensor *tensor, int time) {
    if (is_activation(tensor)) {
        clq_lifetime *life = &p->lives[value_id(p->exec, tensor)];
        life->last = time > life->last ? time : life->last;
    }
}

static void begin(planner *p, const clq_tensor *tensor, int time) {
    p->lives[value_id(p->exec, tensor)] =
        (clq_lifetime){.bytes = tensor_bytes(tensor), .first = time, .last = time, .alias = -1};
}

/* What training keeps for the backward pass. */
static int backward_reads(const clq_exec *exec, const clq_exec_step *step) {
    if (!step->backward) {
        return 0;
    }
    if (exec->options.mode == CLQ_EXEC_QAT) {
        return step->run.node->op->quantized->backward_reads;
    }
    return step->run.node->op->backward_reads |
           (step->run.fused_act != NULL && step->run.fused_add != NULL ? CLQ_READS_OUTPUT : 0);
}

static void plan_activations(planner *p) {
    clq_exec *exec = p->exec;
    const clq_graph *graph = exec->graph;
    begin(p, &exec->values[graph->input], 0);
    for (int s = 0; s < exec->step_count; s++) {
        const clq_op_run *run = &exec->steps[s].run;
        const int reads = backward_reads(exec, &exec->steps[s]);
        begin(p, &run->out, s);
        extend(p, &run->out, reads & CLQ_READS_OUTPUT ? backward_time(exec, s) : s);
        for (int i = 0; i < run->node->input_count; i++) {
            extend(p, &run->in[i], reads & CLQ_READS_INPUT ? backward_time(exec, s) : s);
        }
        extend(p, &run->residual, s);
    }
    /* The caller writes the input when he likes and may read the output until the next forward. */
    if (exec->real_input == NULL) {
        p->lives[graph->input].last = end_time(exec);
    }
    p->lives[graph->output].last = end_time(exec);
    if (exec->options.keep_all) {
        for (int v = 0; v < graph->value_count; v++) {
            p->lives[v].first = 0;
            p->lives[v].last = end_time(exec);
        }
    }
}

/* Whether `from` (a lifetime that ends at `time`) can give its memory to `to`, which begins then.
 */
static bool can_take_over(const planner *p, int from, int to, int time) {
    return p->lives[from].bytes > 0 && p->lives[from].bytes == p->lives[to].bytes &&
           p->lives[from].last == time && p->lives[to].first == time && p->lives[to].alias < 0;
}

static bool works_in_place(const clq_exec *exec, const clq_exec_step *step) {
    return !clq_mode_is_quantized(exec->options.mode) &&
           (step->run.node->op->flags & CLQ_OP_IN_PLACE) != 0;
}

/* Lets `out` be `in` seen in another shape: both live until nobody reads either. */
static void share_view(planner *p, int in, int out) {
    clq_lifetime *a = &p->lives[in], *b = &p->lives[out];
    b->alias = in;
    a->last = b->last = a->last > b->last ? a->last : b->last;
}

/* Outputs that overwrite an input read for the last time, or are the input's memory anyway. */
static void share_activations(planner *p) {
    clq_exec *exec = p->exec;
    for (int s = 0; s < exec->step_count; s++) {
        const clq_op_run *run = &exec->steps[s].run;
        if (!works_in_place(exec, &exec->steps[s])) {
            continue;
        }
        const int out = value_id(exec, &run->out);
        if (run->node->op->flags & CLQ_OP_VIEW) {
            share_view(p, value_id(exec, &run->in[0]), out);
            continue;
        }
        for (int i = 0; i < run->node->input_count; i++) {
            if (is_activation(&run->in[i]) &&
                can_take_over(p, value_id(exec, &run->in[i]), out, s)) {
                p->lives[out].alias = value_id(exec, &run->in[i]);
                break;
            }
        }
    }
}

/* ---- lifetimes of gradients ---- */

static bool wants_gradient(const clq_exec *exec, const clq_tensor *tensor) {
    return is_activation(tensor) && exec->wanted[value_id(exec, tensor)];
}

/* A backward step at `time` writes the gradient of `tensor`; returns whether it adds to it. */
static bool write_gradient(planner *p, const clq_tensor *tensor, int time) {
    const int v = value_id(p->exec, tensor);
    if (p->written[v]) {
        return true;
    }
    const clq_tensor *gradient = &p->exec->gradients[v];
    p->lives[p->exec->graph->value_count + v] =
        (clq_lifetime){.bytes = tensor_bytes(gradient), .first = time, .last = time, .alias = -1};
    p->written[v] = true;
    return false;
}

/* One gradient that this step is the first to write may overwrite the gradient of its output. */
static void share_gradient(planner *p, const clq_exec_step *step, int time) {
    const int values = p->exec->graph->value_count;
    const clq_op_run *run = &step->run;
    const int from = values + value_id(p->exec, &run->out);
    const clq_tensor *candidates[CLQ_MAX_INPUTS + 1] = {NULL};
    int count = 0;
    if (wants_gradient(p->exec, &run->residual) && !run->accumulate_residual) {
        candidates[count++] = &run->residual;
    }
    for (int i = 0; i < run->node->input_count; i++) {
        if (wants_gradient(p->exec, &run->in[i]) && !run->accumulate[i]) {
            candidates[count++] = &run->in[i];
        }
    }
    for (int i = 0; i < count; i++) {
        const int to = values + value_id(p->exec, candidates[i]);
        if (can_take_over(p, from, to, time)) {
            p->lives[to].alias = from;
            return;
        }
    }
}

static void plan_gradients(planner *p) {
    clq_exec *exec = p->exec;
    write_gradient(p, &exec->values[exec->graph->output], loss_time(exec));
    for (int s = exec->step_count - 1; s >= 0; s--) {
        clq_exec_step *step = &exec->steps[s];
        clq_op_run *run = &step->run;
        const int time = backward_time(exec, s);
        if (!step->backward) {
            continue;
        }
        p->lives[exec->graph->value_count + value_id(exec, &run->out)].last = time;
        if (wants_gradient(exec, &run->residual)) {
            run->accumulate_residual = write_gradient(p, &run->residual, time);
        }
        for (int i = 0; i < run->node->input_count; i++) {
            if (wants_gradient(exec, &run->in[i])) {
                run->accumulate[i] = write_gradient(p, &run->in[i], time);
            }
        }
        if (works_in_place(exec, step)) {
            share_gradient(p, step, time);
        }
    }
}

/* ---- memory ---- */

static void note_sizes(clq_exec *exec, const clq_lifetime *lives, const clq_plan *plan) {
    exec->memory.activations += plan->total;
    for (int i = 0; i < plan->count; i++) {
        const uint64_t bytes = lives[i].alias < 0 ? lives[i].bytes : 0;
        if (bytes > exec->memory.largest) {
            exec->memory.second_largest = exec->memory.largest;
            exec->memory.largest = bytes;
        } else if (bytes > exec->memory.second_largest) {
            exec->memory.second_largest = bytes;
        }
    }
}

static clq_status create_buffers(clq_exec *exec, const clq_plan *plan) {
    exec->buffers = clq_calloc((size_t)plan->buffer_count, sizeof *exec->buffers);
    if (exec->buffers == NULL) {
        return CLQ_NO_MEMORY;
    }
    exec->buffer_count = plan->buffer_count;
    for (int b = 0; b < plan->buffer_count; b++) {
        CLQ_TRY(clq_buffer_create(exec->device, (size_t)plan->size[b], &exec->buffers[b]));
    }
    return CLQ_OK;
}

static clq_status assign_buffers(clq_exec *exec, const clq_lifetime *lives, const clq_plan *plan) {
    const int values = exec->graph->value_count;
    int *latest = clq_calloc((size_t)plan->buffer_count, sizeof *latest);
    if (latest == NULL) {
        return CLQ_NO_MEMORY;
    }
    for (int v = 0; v < values; v++) {
        const int b = plan->buffer[v];
        if (b >= 0) {
            exec->values[v].buffer = exec->buffers[b];
            latest[b] = lives[v].first > latest[b] ? lives[v].first : latest[b];
        }
        if (exec->gradients != NULL && plan->buffer[values + v] >= 0) {
            exec->gradients[v].buffer = exec->buffers[plan->buffer[values + v]];
        }
    }
    for (int v = 0; v < values; v++) {
        const int b = plan->buffer[v];
        exec->overwritten[v] = b >= 0 && lives[v].first < latest[b];
    }
    clq_free(latest);
    return CLQ_OK;
}

static clq_tensor gradient_of(const clq_exec *exec, const clq_tensor *tensor) {
    if (tensor->value == NULL) {
        return (clq_tensor){0};
    }
    clq_tensor gradient = *tensor;
    const int v = value_id(exec, tensor);
    gradient.buffer = NULL;
    if (is_activation(tensor)) {
        return exec->gradients[v];
    }
    if (exec->options.params != NULL && !tensor->value->frozen) {
        gradient.buffer = clq_params_gradient(exec->options.params, v);
    }
    return gradient;
}

/* Copies the tensors, which now have buffers, into the steps. */
static void refresh_steps(clq_exec *exec) {
    for (int s = 0; s < exec->step_count; s++) {
        clq_op_run *run = &exec->steps[s].run;
        run->out = exec->values[value_id(exec, &run->out)];
        if (run->residual.value != NULL) {
            run->residual = exec->values[value_id(exec, &run->residual)];
        }
        for (int i = 0; i < run->node->input_count; i++) {
            if (run->in[i].value != NULL) {
                run->in[i] = exec->values[value_id(exec, &run->in[i])];
            }
        }
        if (exec->gradients != NULL) {
            run->grad_out = gradient_of(exec, &run->out);
            run->grad_residual = gradient_of(exec, &run->residual);
            for (int i = 0; i < run->node->input_count; i++) {
                run->grad_in[i] = gradient_of(exec, &run->in[i]);
            }
        }
    }
}

static void make_gradients(clq_exec *exec) {
    for (int v = 0; v < exec->graph->value_count; v++) {
        const clq_tensor *value = &exec->values[v];
        exec->gradients[v] = *value;
        exec->gradients[v].buffer = NULL;
        exec->gradients[v].dtype = CLQ_F32;
        exec->gradients[v].pitch = (int)value->shape.dim[value->shape.rank - 1];
    }
}

clq_status clq_exec_take_buffers(clq_exec *exec) {
    const size_t values = (size_t)exec->graph->value_count;
    clq_status status = CLQ_NO_MEMORY;
    clq_plan *plan = NULL;
    planner p = {.exec = exec};
    p.lives = clq_calloc(2 * values, sizeof *p.lives);
    p.written = clq_calloc(values, sizeof *p.written);
    if (p.lives == NULL || p.written == NULL) {
        goto cleanup;
    }
    for (size_t i = 0; i < 2 * values; i++) {
        p.lives[i].alias = -1;
    }
    plan_activations(&p);
    if (!exec->options.keep_all) {
        share_activations(&p);
    }
    if (exec->gradients != NULL) {
        make_gradients(exec);
        plan_gradients(&p);
    }
    CLQ_GOTO(status, cleanup, clq_plan_create(p.lives, (int)(2 * values), &plan));
    CLQ_GOTO(status, cleanup, create_buffers(exec, plan));
    CLQ_GOTO(status, cleanup, assign_buffers(exec, p.lives, plan));
    note_sizes(exec, p.lives, plan);
    refresh_steps(exec);
cleanup:
    clq_plan_destroy(plan);
    clq_free(p.lives);
    clq_free(p.written);
    return status;
}

/* Memory of activations and gradients.
 *
 * Time runs through S forward steps, the loss, and the backward pass, which goes from the last
 * segment of steps to the first: the steps of the segment that run again, then its backward steps.
 *
 *   0 .. S-1 forward   S loss   S+1 .. backward   p->end the end
 *
 * An activation lives from its step to its last reader, which may be a backward step; a gradient
 * from its first writer to the backward step of the value's producer. An activation that is made
 * again lives twice, and backward steps read the second. Of V values, lifetimes 0 .. V-1 are the
 * activations, V .. 2V-1 their gradients, 2V .. 3V-1 the second lives. */
#include <string.h>

#include "exec/internal.h"
#include "graph/node.h"

typedef struct planner {
    clq_exec *exec;
    clq_lifetime *lives; /* (3 * value_count) */
    bool *written;       /* (value_count): somebody has written the gradient */
    int end;
} planner;

static int loss_time(const clq_exec *exec) {
    return exec->step_count;
}

int clq_exec_segment_begin(const clq_exec *exec, int end) {
    int begin = end - 1;
    while (begin > 0 && exec->steps[begin - 1].segment == exec->steps[end - 1].segment) {
        begin--;
    }
    return begin;
}

static void set_times(planner *p) {
    clq_exec *exec = p->exec;
    int time = loss_time(exec);
    for (int end = exec->step_count, begin; end > 0; end = begin) {
        begin = clq_exec_segment_begin(exec, end);
        for (int s = begin; s < end; s++) {
            exec->steps[s].rerun_time = exec->steps[s].reruns ? ++time : -1;
        }
        for (int s = end - 1; s >= begin; s--) {
            exec->steps[s].backward_time = ++time;
        }
    }
    p->end = time + 1;
}

/* ---- lifetimes of activations ---- */

static void begin(planner *p, int life, const clq_tensor *tensor, int time) {
    p->lives[life] =
        (clq_lifetime){.bytes = clq_tensor_bytes(tensor), .first = time, .last = time, .alias = -1};
}

static void extend(planner *p, int life, int time) {
    p->lives[life].last = time > p->lives[life].last ? time : p->lives[life].last;
}

static int second_life(const planner *p, int value) {
    return 2 * p->exec->graph->value_count + value;
}

static void read_forward(planner *p, const clq_tensor *tensor, int time) {
    if (clq_is_activation(tensor)) {
        extend(p, clq_value_id(p->exec, tensor), time);
    }
}

static void read_backward(planner *p, const clq_tensor *tensor, int time) {
    if (clq_is_activation(tensor)) {
        const int v = clq_value_id(p->exec, tensor), again = second_life(p, v);
        extend(p, p->lives[again].bytes > 0 ? again : v, time);
    }
}

/* What training keeps for the backward pass. */
int clq_exec_backward_reads(const clq_exec_step *step) {
    if (!step->backward) {
        return 0;
    }
    const clq_op_run *run = &step->run;
    const clq_op *op = run->node->op;
    const bool codes = clq_mode_is_quantized(run->mode) && run->out.value->q.count > 0;
    /* An activation on reals masks its gradient by what came out. */
    const bool acts = clq_node_act(run->node) != CLQ_ACT_NONE && !codes;
    const bool fused = run->fused_act != NULL && run->fused_add != NULL;
    return (clq_mode_is_quantized(run->mode) ? op->quantized->backward_reads : op->backward_reads) |
           (acts || fused ? CLQ_READS_OUTPUT : 0);
}

static void plan_backward_reads(planner *p, const clq_exec_step *step) {
    const clq_op_run *run = &step->run;
    const int reads = clq_exec_backward_reads(step);
    if (reads & CLQ_READS_OUTPUT) {
        read_backward(p, &run->out, step->backward_time);
    }
    for (int i = 0; i < run->node->input_count; i++) {
        if (reads & CLQ_READS_INPUT) {
            read_backward(p, &run->in[i], step->backward_time);
        }
        if (step->reruns) {
            read_backward(p, &run->in[i], step->rerun_time);
        }
    }
    if (step->reruns) {
        read_backward(p, &run->residual, step->rerun_time);
    }
}

static void plan_activations(planner *p) {
    clq_exec *exec = p->exec;
    const clq_graph *graph = exec->graph;
    for (int i = 0; i < graph->input_count; i++) {
        begin(p, graph->inputs[i], &exec->values[graph->inputs[i]], 0);
    }
    for (int s = 0; s < exec->step_count; s++) {
        const clq_exec_step *step = &exec->steps[s];
        const int out = clq_value_id(exec, &step->run.out);
        begin(p, out, &step->run.out, s);
        if (step->reruns) {
            begin(p, second_life(p, out), &step->run.out, step->rerun_time);
        }
        for (int i = 0; i < step->run.node->input_count; i++) {
            read_forward(p, &step->run.in[i], s);
        }
        read_forward(p, &step->run.residual, s);
    }
    for (int s = 0; s < exec->step_count; s++) {
        plan_backward_reads(p, &exec->steps[s]);
    }
    /* The caller writes inputs when he likes and may read outputs until the next forward. */
    for (int i = 0; i < graph->input_count; i++) {
        if (exec->inputs[i].real == NULL) {
            p->lives[graph->inputs[i]].last = p->end;
        }
    }
    for (int i = 0; i < graph->output_count; i++) {
        p->lives[clq_exec_output_value(exec, i)].last = p->end;
    }
    if (exec->options.keep_all) {
        for (int v = 0; v < graph->value_count; v++) {
            p->lives[v].first = 0;
            p->lives[v].last = p->end;
        }
    }
}

/* The lifetime that stands for all that lie in the memory of `life`: the first of them. Its `last`
 * is when the last of them is read. */
static int memory_of(const planner *p, int life) {
    while (p->lives[life].alias >= 0) {
        life = p->lives[life].alias;
    }
    return life;
}

/* Lets `to` lie in the memory of `from`. */
static void share_memory(planner *p, int from, int to) {
    const int memory = memory_of(p, from);
    p->lives[to].alias = memory;
    extend(p, memory, p->lives[to].last);
}

/* Whether `to`, which begins at `time`, can take the memory of `from`: nobody reads anything there
 * after that. */
static bool can_take_over(const planner *p, int from, int to, int time) {
    return p->lives[from].bytes > 0 && p->lives[from].bytes == p->lives[to].bytes &&
           p->lives[memory_of(p, from)].last == time && p->lives[to].first == time &&
           p->lives[to].alias < 0;
}

static bool works_in_place(const clq_exec_step *step) {
    return !clq_mode_is_quantized(step->run.mode) &&
           (step->run.node->op->flags & CLQ_OP_IN_PLACE) != 0;
}

/* Outputs that overwrite an input read for the last time, or are the input's memory anyway. */
static void share_activations(planner *p) {
    clq_exec *exec = p->exec;
    for (int s = 0; s < exec->step_count; s++) {
        const clq_op_run *run = &exec->steps[s].run;
        if (!works_in_place(&exec->steps[s])) {
            continue;
        }
        const int out = clq_value_id(exec, &run->out);
        if (run->node->op->flags & CLQ_OP_VIEW) {
            share_memory(p, clq_value_id(exec, &run->in[0]), out);
            continue;
        }
        for (int i = 0; i < run->node->input_count; i++) {
            if (clq_is_activation(&run->in[i]) &&
                can_take_over(p, clq_value_id(exec, &run->in[i]), out, s)) {
                share_memory(p, clq_value_id(exec, &run->in[i]), out);
                break;
            }
        }
    }
}

/* ---- lifetimes of gradients ---- */

static bool wants_gradient(const clq_exec *exec, const clq_tensor *tensor) {
    return clq_is_activation(tensor) && exec->wanted[clq_value_id(exec, tensor)];
}

/* A backward step at `time` writes the gradient of `tensor`; returns whether it adds to it. */
static bool write_gradient(planner *p, const clq_tensor *tensor, int time) {
    const int v = clq_value_id(p->exec, tensor);
    if (p->written[v]) {
        return true;
    }
    const clq_tensor *gradient = &p->exec->gradients[v];
    p->lives[p->exec->graph->value_count + v] = (clq_lifetime){
        .bytes = clq_tensor_bytes(gradient), .first = time, .last = time, .alias = -1};
    p->written[v] = true;
    return false;
}

/* One gradient that this step is the first to write may overwrite the gradient of its output. */
static void share_gradient(planner *p, const clq_exec_step *step, int time) {
    const int values = p->exec->graph->value_count;
    const clq_op_run *run = &step->run;
    const int from = values + clq_value_id(p->exec, &run->out);
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
        const int to = values + clq_value_id(p->exec, candidates[i]);
        if (can_take_over(p, from, to, time)) {
            share_memory(p, from, to);
            return;
        }
    }
}

static void plan_gradients(planner *p) {
    clq_exec *exec = p->exec;
    for (int i = 0; i < exec->graph->output_count; i++) {
        if (i == 0 || clq_exec_output_learns(exec, i)) {
            write_gradient(p, &exec->values[clq_exec_output_value(exec, i)], loss_time(exec));
        }
    }
    for (int s = exec->step_count - 1; s >= 0; s--) {
        clq_exec_step *step = &exec->steps[s];
        clq_op_run *run = &step->run;
        const int time = step->backward_time;
        if (!step->backward) {
            continue;
        }
        const int gradient = exec->graph->value_count + clq_value_id(exec, &run->out);
        extend(p, gradient, time);
        extend(p, memory_of(p, gradient), time);
        if (wants_gradient(exec, &run->residual)) {
            run->accumulate_residual = write_gradient(p, &run->residual, time);
        }
        for (int i = 0; i < run->node->input_count; i++) {
            if (wants_gradient(exec, &run->in[i])) {
                run->accumulate[i] = write_gradient(p, &run->in[i], time);
            }
        }
        if (works_in_place(step)) {
            share_gradient(p, step, time);
        }
    }
}

/* ---- memory ---- */

static void note_sizes(clq_exec *exec, const clq_lifetime *lives, const clq_plan *plan) {
    exec->planned = plan->total;
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

static clq_status create_buffer(clq_exec *exec, int b, size_t size) {
    const clq_exec *lender = exec->options.memory_of;
    if (lender != NULL && b < lender->buffer_count && clq_buffer_size(lender->buffers[b]) >= size) {
        return clq_buffer_view(lender->buffers[b], 0, size, &exec->buffers[b]);
    }
    exec->memory.activations += size;
    return clq_buffer_create(exec->device, size, &exec->buffers[b]);
}

static clq_status create_buffers(clq_exec *exec, const clq_plan *plan) {
    exec->buffers = clq_calloc((size_t)plan->buffer_count, sizeof *exec->buffers);
    if (exec->buffers == NULL) {
        return CLQ_NO_MEMORY;
    }
    exec->buffer_count = plan->buffer_count;
    for (int b = 0; b < plan->buffer_count; b++) {
        CLQ_TRY(create_buffer(exec, b, (size_t)plan->size[b]));
    }
    return CLQ_OK;
}

/* One view for all lifetimes that are aliases of each other. */
static clq_status create_pieces(clq_exec *exec, const clq_lifetime *lives, const clq_plan *plan) {
    exec->pieces = clq_calloc((size_t)plan->count, sizeof *exec->pieces);
    if (exec->pieces == NULL) {
        return CLQ_NO_MEMORY;
    }
    exec->piece_count = plan->count;
    for (int i = 0; i < plan->count; i++) {
        if (plan->group[i] == i) {
            CLQ_TRY(clq_buffer_view(exec->buffers[plan->buffer[i]], (size_t)plan->offset[i],
                                    (size_t)lives[i].bytes, &exec->pieces[i]));
        }
    }
    return CLQ_OK;
}

/* Whether the forward writes `later` into bytes of `value`, which came before. */
static bool is_overwritten_by(const clq_lifetime *lives, const clq_plan *plan, int value,
                              int later) {
    return plan->buffer[value] >= 0 && plan->buffer[value] == plan->buffer[later] &&
           lives[value].first < lives[later].first &&
           plan->offset[value] < plan->offset[later] + lives[later].bytes &&
           plan->offset[later] < plan->offset[value] + lives[value].bytes;
}

static clq_buffer *piece_of(const clq_exec *exec, const clq_plan *plan, int life) {
    return plan->group[life] >= 0 ? exec->pieces[plan->group[life]] : NULL;
}

static void assign_pieces(clq_exec *exec, const clq_lifetime *lives, const clq_plan *plan) {
    const int values = exec->graph->value_count;
    for (int v = 0; v < values; v++) {
        clq_buffer *forward = piece_of(exec, plan, v);
        clq_buffer *second = piece_of(exec, plan, 2 * values + v);
        if (forward != NULL) {
            exec->values[v].buffer = forward;
        }
        if (exec->gradients != NULL) {
            exec->gradients[v].buffer = piece_of(exec, plan, values + v);
        }
        exec->backward_values[v] = exec->values[v];
        if (second != NULL) {
            exec->backward_values[v].buffer = second;
        }
        for (int w = 0; w < values; w++) {
            exec->overwritten[v] |= is_overwritten_by(lives, plan, v, w);
        }
    }
}

static clq_tensor gradient_of(const clq_exec *exec, const clq_tensor *tensor) {
    if (tensor->value == NULL) {
        return (clq_tensor){0};
    }
    clq_tensor gradient = *tensor;
    const int v = clq_value_id(exec, tensor);
    gradient.buffer = NULL;
    if (clq_is_activation(tensor)) {
        return exec->gradients[v];
    }
    if (exec->options.params != NULL && !tensor->value->frozen) {
        gradient.buffer = clq_params_gradient(exec->options.params, v);
    }
    return gradient;
}

static void refresh_run(const clq_exec *exec, const clq_tensor *values, clq_op_run *run) {
    run->out = values[clq_value_id(exec, &run->out)];
    if (run->residual.value != NULL) {
        run->residual = values[clq_value_id(exec, &run->residual)];
    }
    for (int i = 0; i < run->node->input_count; i++) {
        if (run->in[i].value != NULL) {
            run->in[i] = values[clq_value_id(exec, &run->in[i])];
        }
    }
}

/* Copies the tensors, which now have buffers, into the steps. */
static void refresh_steps(clq_exec *exec) {
    for (int s = 0; s < exec->step_count; s++) {
        clq_op_run *run = &exec->steps[s].run;
        refresh_run(exec, exec->values, run);
        if (exec->gradients != NULL) {
            run->grad_out = gradient_of(exec, &run->out);
            run->grad_residual = gradient_of(exec, &run->residual);
            for (int i = 0; i < run->node->input_count; i++) {
                run->grad_in[i] = gradient_of(exec, &run->in[i]);
            }
        }
        exec->steps[s].backward_run = *run;
        exec->steps[s].backward_run.recomputes = true;
        refresh_run(exec, exec->backward_values, &exec->steps[s].backward_run);
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

/* Plans for the steps as they are cut now. */
static clq_status make_plan(planner *p, clq_plan **plan) {
    clq_exec *exec = p->exec;
    const int values = exec->graph->value_count;
    for (int i = 0; i < 3 * values; i++) {
        p->lives[i] = (clq_lifetime){.alias = -1};
    }
    memset(p->written, 0, (size_t)values * sizeof *p->written);
    set_times(p);
    plan_activations(p);
    if (!exec->options.keep_all) {
        share_activations(p);
    }
    if (exec->gradients != NULL) {
        plan_gradients(p);
    }
    const clq_device_info *info = clq_device_get_info(exec->device);
    return clq_plan_create(p->lives, 3 * values, info->base_alignment, info->max_allocation, plan);
}

/* Cuts the steps, with the budget whose plan is smallest. */
static clq_status choose_segments(planner *p) {
    clq_status status = CLQ_OK;
    clq_segments *segments = NULL;
    uint64_t best = UINT64_MAX, best_budget = 0, budget = 0;
    CLQ_TRY(clq_segments_create(p->exec, &segments));
    const uint64_t smallest = clq_segments_smallest(segments);
    const uint64_t largest = clq_segments_largest(segments);
    while (budget < largest) {
        clq_plan *plan = NULL;
        clq_segments_cut(segments, budget);
        CLQ_GOTO(status, cleanup, make_plan(p, &plan));
        if (plan->total < best) {
            best = plan->total;
            best_budget = budget;
        }
        clq_plan_destroy(plan);
        budget = budget == 0 ? smallest : budget + budget / 4 + 1;
    }
    clq_segments_cut(segments, best_budget);
cleanup:
    clq_segments_destroy(segments);
    return status;
}

clq_status clq_exec_take_buffers(clq_exec *exec) {
    const size_t values = (size_t)exec->graph->value_count;
    clq_status status = CLQ_NO_MEMORY;
    clq_plan *plan = NULL;
    planner p = {.exec = exec};
    p.lives = clq_calloc(3 * values, sizeof *p.lives);
    p.written = clq_calloc(values, sizeof *p.written);
    if (p.lives == NULL || p.written == NULL) {
        goto cleanup;
    }
    if (exec->gradients != NULL) {
        make_gradients(exec);
    }
    if (exec->options.recompute && exec->gradients != NULL && !exec->options.keep_all) {
        CLQ_GOTO(status, cleanup, choose_segments(&p));
    }
    CLQ_GOTO(status, cleanup, make_plan(&p, &plan));
    note_sizes(exec, p.lives, plan);
    CLQ_GOTO(status, cleanup, create_buffers(exec, plan));
    CLQ_GOTO(status, cleanup, create_pieces(exec, p.lives, plan));
    assign_pieces(exec, p.lives, plan);
    refresh_steps(exec);
cleanup:
    clq_plan_destroy(plan);
    clq_free(p.lives);
    clq_free(p.written);
    return status;
}

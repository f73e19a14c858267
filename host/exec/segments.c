/* Which steps are cut into segments, and which of them run again. */
#include "exec/internal.h"

/* A place between two steps that one activation alone crosses. */
typedef struct cut {
    int step;       /* that makes the activation; -1: the start, step_count - 1: the end */
    uint64_t bytes; /* of the activation, 0 at start and end */
    uint64_t kept;  /* what all cuts up to here keep at least, under the current budget */
    int from;       /* the cut before, for that; -1: cannot be reached */
} cut;

struct clq_segments {
    clq_exec *exec;
    cut *cuts;      /* (cut_count), start and end included */
    uint64_t *held; /* (step_count + 1): bytes that steps before this one make and backward reads */
    bool *read;     /* (value_count): by a backward step */
    bool *needed;   /* (value_count): in backward, when it was not kept */
    int *last_step; /* (value_count): the last one that reads it forward, or makes it */
    int cut_count;
};

/* ---- places to cut ---- */

static void note_read(clq_segments *s, const clq_tensor *tensor, int step, bool backward) {
    if (clq_is_activation(tensor)) {
        const int v = clq_value_id(s->exec, tensor);
        s->last_step[v] = step;
        s->read[v] |= backward;
    }
}

static void note_reads(clq_segments *s) {
    for (int i = 0; i < s->exec->step_count; i++) {
        const clq_exec_step *step = &s->exec->steps[i];
        const int reads = clq_exec_backward_reads(step);
        for (int k = 0; k < step->run.node->input_count; k++) {
            note_read(s, &step->run.in[k], i, reads & CLQ_READS_INPUT);
        }
        note_read(s, &step->run.residual, i, false);
        note_read(s, &step->run.out, i, reads & CLQ_READS_OUTPUT);
    }
}

static void add_cut(clq_segments *s, int step, uint64_t bytes) {
    s->cuts[s->cut_count++] = (cut){.step = step, .bytes = bytes};
}

static void find_cuts(clq_segments *s) {
    const clq_exec *exec = s->exec;
    add_cut(s, -1, 0);
    int crossing = -1; /* the last step that reads what was made before */
    for (int i = 0; i < exec->step_count; i++) {
        const clq_tensor *out = &exec->steps[i].run.out;
        const int v = clq_value_id(exec, out);
        const uint64_t bytes = clq_tensor_bytes(out);
        s->held[i + 1] = s->held[i] + (s->read[v] ? bytes : 0);
        if (crossing <= i && i + 1 < exec->step_count) {
            add_cut(s, i, bytes);
        }
        crossing = s->last_step[v] > crossing ? s->last_step[v] : crossing;
    }
    add_cut(s, exec->step_count - 1, 0);
}

clq_status clq_segments_create(clq_exec *exec, clq_segments **result) {
    const size_t values = (size_t)exec->graph->value_count, steps = (size_t)exec->step_count;
    clq_segments *s = clq_calloc(1, sizeof *s);
    if (s == NULL) {
        return CLQ_NO_MEMORY;
    }
    s->exec = exec;
    s->cuts = clq_calloc(steps + 2, sizeof *s->cuts);
    s->held = clq_calloc(steps + 1, sizeof *s->held);
    s->read = clq_calloc(values, sizeof *s->read);
    s->needed = clq_calloc(values, sizeof *s->needed);
    s->last_step = clq_calloc(values, sizeof *s->last_step);
    if (!s->cuts || !s->held || !s->read || !s->needed || !s->last_step) {
        clq_segments_destroy(s);
        return CLQ_NO_MEMORY;
    }
    note_reads(s);
    find_cuts(s);
    *result = s;
    return CLQ_OK;
}

void clq_segments_destroy(clq_segments *s) {
    if (s != NULL) {
        clq_free(s->cuts);
        clq_free(s->held);
        clq_free(s->read);
        clq_free(s->needed);
        clq_free(s->last_step);
        clq_free(s);
    }
}

/* ---- choosing among them ---- */

/* What the steps behind cut `a` up to cut `b` hold for backward, b's own activation aside. */
static uint64_t held_between(const clq_segments *s, int a, int b) {
    const uint64_t all = s->held[s->cuts[b].step + 1] - s->held[s->cuts[a].step + 1];
    return all < s->cuts[b].bytes ? 0 : all - s->cuts[b].bytes;
}

uint64_t clq_segments_smallest(const clq_segments *s) {
    uint64_t most = 1;
    for (int c = 1; c < s->cut_count; c++) {
        const uint64_t held = held_between(s, c - 1, c);
        most = held > most ? held : most;
    }
    return most;
}

uint64_t clq_segments_largest(const clq_segments *s) {
    return s->held[s->exec->step_count];
}

/* The shortest way over the cuts, as far as the budget reaches from each. */
static void find_way(clq_segments *s, uint64_t budget) {
    for (int b = 1; b < s->cut_count; b++) {
        s->cuts[b].from = -1;
        for (int a = b - 1; a >= 0 && held_between(s, a, b) <= budget; a--) {
            const uint64_t kept = s->cuts[a].kept + s->cuts[b].bytes;
            if ((a == 0 || s->cuts[a].from >= 0) &&
                (s->cuts[b].from < 0 || kept < s->cuts[b].kept)) {
                s->cuts[b].from = a;
                s->cuts[b].kept = kept;
            }
        }
    }
}

static void need(clq_segments *s, const clq_tensor *tensor) {
    if (clq_is_activation(tensor)) {
        s->needed[clq_value_id(s->exec, tensor)] = true;
    }
}

/* Steps first .. last but for the last, whose output is kept: what its backward steps read, and
 * what making that again reads. */
static void mark_reruns(clq_segments *s, int first, int last) {
    for (int i = last; i >= first; i--) {
        const clq_exec_step *step = &s->exec->steps[i];
        const int reads = clq_exec_backward_reads(step);
        for (int k = 0; k < step->run.node->input_count && (reads & CLQ_READS_INPUT); k++) {
            need(s, &step->run.in[k]);
        }
        if (reads & CLQ_READS_OUTPUT) {
            need(s, &step->run.out);
        }
    }
    for (int i = last - 1; i >= first; i--) {
        clq_exec_step *step = &s->exec->steps[i];
        step->reruns = s->needed[clq_value_id(s->exec, &step->run.out)];
        for (int k = 0; k < step->run.node->input_count && step->reruns; k++) {
            need(s, &step->run.in[k]);
        }
        if (step->reruns) {
            need(s, &step->run.residual);
        }
    }
}

void clq_segments_cut(clq_segments *s, uint64_t budget) {
    const int steps = s->exec->step_count;
    for (int v = 0; v < s->exec->graph->value_count; v++) {
        s->needed[v] = false;
    }
    for (int i = 0; i < steps; i++) {
        s->exec->steps[i].segment = 0;
        s->exec->steps[i].reruns = false;
    }
    if (budget == 0 || budget < clq_segments_smallest(s)) {
        return;
    }
    find_way(s, budget);
    for (int b = s->cut_count - 1; b > 0; b = s->cuts[b].from) {
        const int first = s->cuts[s->cuts[b].from].step + 1, last = s->cuts[b].step;
        for (int i = first; i <= last; i++) {
            s->exec->steps[i].segment = b;
        }
        if (b < s->cut_count - 1) { /* the last one's backward steps follow at once */
            mark_reruns(s, first, last);
        }
    }
}

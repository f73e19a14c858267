/* Greedy by size with offsets (Pisarchyk and Lee, "Efficient memory management for deep neural net
 * inference", 2020): the largest value first, each into the smallest gap that those it meets in
 * time leave between them, or behind them all. */
#include "graph/plan.h"

#include <stdlib.h>
#include <string.h>

/* A value, or several that share memory by alias. */
typedef struct tenant {
    uint64_t bytes;
    uint64_t offset;
    int first, last;
    int id; /* the lifetime that stands for the group */
} tenant;

/* The tenants of one buffer, in order of offset. */
typedef struct occupancy {
    tenant *tenants;
    int count;
} occupancy;

/* ---- groups of aliases ---- */

static int find_root(int *parent, int i) {
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

/* Fills parent (count) so that find_root gives each lifetime's group. */
static clq_status group_aliases(const clq_lifetime *lifetimes, int count, int *parent) {
    for (int i = 0; i < count; i++) {
        parent[i] = i;
    }
    for (int i = 0; i < count; i++) {
        const clq_lifetime *life = &lifetimes[i];
        if (life->last < life->first || life->alias < -1 || life->alias >= count) {
            return clq_fail(CLQ_INTERNAL, "plan: lifetime %d (steps %d to %d, alias %d of %d)", i,
                            life->first, life->last, life->alias, count);
        }
        if (life->alias >= 0 && life->bytes > 0 && lifetimes[life->alias].bytes > 0) {
            parent[find_root(parent, i)] = find_root(parent, life->alias);
        }
    }
    return CLQ_OK;
}

static int compare_size(const void *a, const void *b) {
    const tenant *x = a, *y = b;
    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? 1 : -1;
    }
    return x->id < y->id ? -1 : 1; /* ties by id: the same plan with every qsort */
}

/* One tenant a group that needs memory, largest first. Returns how many. */
static int collect_tenants(const clq_lifetime *lifetimes, int count, uint64_t alignment,
                           int *parent, tenant *tenants) {
    for (int i = 0; i < count; i++) {
        const clq_lifetime *life = &lifetimes[i];
        tenant *group = &tenants[find_root(parent, i)];
        if (life->bytes == 0) {
            continue;
        }
        bool fresh = group->bytes == 0;
        group->id = find_root(parent, i);
        const uint64_t bytes = (life->bytes + alignment - 1) / alignment * alignment;
        group->bytes = bytes > group->bytes ? bytes : group->bytes;
        group->first = fresh || life->first < group->first ? life->first : group->first;
        group->last = fresh || life->last > group->last ? life->last : group->last;
    }
    qsort(tenants, (size_t)count, sizeof *tenants, compare_size);
    int used = 0;
    while (used < count && tenants[used].bytes > 0) {
        used++;
    }
    return used;
}

/* ---- assignment ---- */

/* The smallest gap for `t`, or the place behind all that it meets. Returns whether it is a gap. */
static bool find_place(const occupancy *buffer, const tenant *t, uint64_t *offset) {
    uint64_t end = 0, best = UINT64_MAX;
    for (int i = 0; i < buffer->count; i++) {
        const tenant *other = &buffer->tenants[i];
        if (other->last < t->first || other->first > t->last) {
            continue;
        }
        if (other->offset >= end + t->bytes && other->offset - end < best) {
            best = other->offset - end;
            *offset = end;
        }
        end = other->offset + other->bytes > end ? other->offset + other->bytes : end;
    }
    if (best == UINT64_MAX) {
        *offset = end;
    }
    return best != UINT64_MAX;
}

static clq_status move_in(occupancy *buffer, const tenant *t) {
    tenant *grown = clq_realloc(buffer->tenants, (size_t)buffer->count + 1, sizeof *grown);
    if (!grown) {
        return CLQ_NO_MEMORY;
    }
    int at = buffer->count++;
    for (; at > 0 && grown[at - 1].offset > t->offset; at--) {
        grown[at] = grown[at - 1];
    }
    grown[at] = *t;
    buffer->tenants = grown;
    return CLQ_OK;
}

static clq_status assign(tenant *tenants, int count, uint64_t limit, occupancy *buffers,
                         clq_plan *plan) {
    for (int i = 0; i < count; i++) {
        tenant *t = &tenants[i];
        int b = 0;
        for (; b < plan->buffer_count; b++) {
            if (find_place(&buffers[b], t, &t->offset) || t->offset + t->bytes <= limit) {
                break;
            }
        }
        if (b == plan->buffer_count) {
            plan->buffer_count++;
            t->offset = 0;
        }
        const uint64_t end = t->offset + t->bytes;
        plan->size[b] = end > plan->size[b] ? end : plan->size[b];
        CLQ_TRY(move_in(&buffers[b], t));
        plan->buffer[t->id] = b;
        plan->offset[t->id] = t->offset;
        plan->unshared += t->bytes;
    }
    for (int b = 0; b < plan->buffer_count; b++) {
        plan->total += plan->size[b];
    }
    return CLQ_OK;
}

/* ---- the lower bound ---- */

typedef struct event {
    int step;
    bool ends;
    uint64_t bytes;
} event;

static int compare_step(const void *a, const void *b) {
    const event *x = a, *y = b;
    if (x->step != y->step) {
        return x->step < y->step ? -1 : 1;
    }
    return (int)x->ends - (int)y->ends; /* last is inclusive: begin before end */
}

static uint64_t most_alive(const tenant *tenants, int count, event *events) {
    for (int i = 0; i < count; i++) {
        events[2 * i] = (event){tenants[i].first, false, tenants[i].bytes};
        events[2 * i + 1] = (event){tenants[i].last, true, tenants[i].bytes};
    }
    qsort(events, 2 * (size_t)count, sizeof *events, compare_step);
    uint64_t alive = 0, most = 0;
    for (int i = 0; i < 2 * count; i++) {
        alive = events[i].ends ? alive - events[i].bytes : alive + events[i].bytes;
        most = alive > most ? alive : most;
    }
    return most;
}

/* Gives every lifetime its group's place. */
static void hand_out(const clq_lifetime *lifetimes, int *parent, clq_plan *plan) {
    for (int i = 0; i < plan->count; i++) {
        plan->group[i] = lifetimes[i].bytes > 0 ? find_root(parent, i) : -1;
        plan->buffer[i] = plan->group[i] >= 0 ? plan->buffer[plan->group[i]] : -1;
        plan->offset[i] = plan->group[i] >= 0 ? plan->offset[plan->group[i]] : 0;
    }
}

clq_status clq_plan_create(const clq_lifetime *lifetimes, int count, uint64_t alignment,
                           uint64_t limit, clq_plan **result) {
    clq_status status = CLQ_NO_MEMORY;
    size_t n = (size_t)count;
    clq_plan *plan = clq_calloc(1, sizeof *plan);
    int *parent = clq_calloc(n, sizeof *parent);
    tenant *tenants = clq_calloc(n, sizeof *tenants);
    occupancy *buffers = clq_calloc(n, sizeof *buffers);
    event *events = clq_calloc(n, 2 * sizeof *events);
    if (!plan || !parent || !tenants || !buffers || !events) {
        goto cleanup;
    }
    plan->count = count;
    plan->group = clq_calloc(n, sizeof *plan->group);
    plan->buffer = clq_calloc(n, sizeof *plan->buffer);
    plan->offset = clq_calloc(n, sizeof *plan->offset);
    plan->size = clq_calloc(n, sizeof *plan->size);
    if (!plan->group || !plan->buffer || !plan->offset || !plan->size) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, group_aliases(lifetimes, count, parent));
    int tenant_count = collect_tenants(lifetimes, count, alignment, parent, tenants);
    CLQ_GOTO(status, cleanup, assign(tenants, tenant_count, limit, buffers, plan));
    plan->lower_bound = most_alive(tenants, tenant_count, events);
    hand_out(lifetimes, parent, plan);
    *result = plan;
    plan = NULL;
cleanup:
    clq_plan_destroy(plan);
    clq_free(parent);
    clq_free(tenants);
    for (size_t b = 0; buffers && b < n; b++) {
        clq_free(buffers[b].tenants);
    }
    clq_free(buffers);
    clq_free(events);
    return status;
}

void clq_plan_destroy(clq_plan *plan) {
    if (!plan) {
        return;
    }
    clq_free(plan->group);
    clq_free(plan->buffer);
    clq_free(plan->offset);
    clq_free(plan->size);
    clq_free(plan);
}

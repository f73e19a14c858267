/* Greedy by size (Pisarchyk and Lee, "Efficient memory management for deep neural net inference",
 * 2020, section 4.3): the largest value first, each into a buffer whose other tenants it never
 * meets, or a new one. Since sizes fall, every existing buffer is large enough; among the free ones
 * the smallest is taken, so large buffers stay open for large values. */
#include "graph/plan.h"

#include <stdlib.h>
#include <string.h>

/* A value, or several that share memory by alias. */
typedef struct tenant {
    uint64_t bytes;
    int first, last;
    int id; /* the lifetime that stands for the group */
} tenant;

/* The tenants of one buffer, in order of time. */
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
static int collect_tenants(const clq_lifetime *lifetimes, int count, int *parent, tenant *tenants) {
    for (int i = 0; i < count; i++) {
        const clq_lifetime *life = &lifetimes[i];
        tenant *group = &tenants[find_root(parent, i)];
        if (life->bytes == 0) {
            continue;
        }
        bool fresh = group->bytes == 0;
        group->id = find_root(parent, i);
        group->bytes = life->bytes > group->bytes ? life->bytes : group->bytes;
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

/* Where in the buffer's row of tenants `t` would stand. */
static int position_of(const occupancy *buffer, const tenant *t) {
    int low = 0, high = buffer->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (buffer->tenants[middle].first < t->first) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_free(const occupancy *buffer, const tenant *t) {
    int at = position_of(buffer, t);
    return (at == 0 || buffer->tenants[at - 1].last < t->first) &&
           (at == buffer->count || buffer->tenants[at].first > t->last);
}

static clq_status move_in(occupancy *buffer, const tenant *t) {
    int at = position_of(buffer, t);
    tenant *grown = clq_realloc(buffer->tenants, (size_t)buffer->count + 1, sizeof *grown);
    if (!grown) {
        return CLQ_NO_MEMORY;
    }
    memmove(grown + at + 1, grown + at, (size_t)(buffer->count - at) * sizeof *grown);
    grown[at] = *t;
    buffer->tenants = grown;
    buffer->count++;
    return CLQ_OK;
}

static clq_status assign(const tenant *tenants, int count, occupancy *buffers, clq_plan *plan) {
    for (int i = 0; i < count; i++) {
        int chosen = plan->buffer_count;
        /* Buffers were opened in order of falling size: the last free one is the smallest. */
        for (int b = plan->buffer_count - 1; b >= 0; b--) {
            if (is_free(&buffers[b], &tenants[i])) {
                chosen = b;
                break;
            }
        }
        if (chosen == plan->buffer_count) {
            plan->size[plan->buffer_count++] = tenants[i].bytes;
            plan->total += tenants[i].bytes;
        }
        CLQ_TRY(move_in(&buffers[chosen], &tenants[i]));
        plan->buffer[tenants[i].id] = chosen;
        plan->unshared += tenants[i].bytes;
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

clq_status clq_plan_create(const clq_lifetime *lifetimes, int count, clq_plan **result) {
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
    plan->buffer = clq_calloc(n, sizeof *plan->buffer);
    plan->size = clq_calloc(n, sizeof *plan->size);
    if (!plan->buffer || !plan->size) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, group_aliases(lifetimes, count, parent));
    int tenant_count = collect_tenants(lifetimes, count, parent, tenants);
    CLQ_GOTO(status, cleanup, assign(tenants, tenant_count, buffers, plan));
    plan->lower_bound = most_alive(tenants, tenant_count, events);
    for (int i = 0; i < count; i++) {
        plan->buffer[i] = lifetimes[i].bytes > 0 ? plan->buffer[find_root(parent, i)] : -1;
    }
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
    clq_free(plan->buffer);
    clq_free(plan->size);
    clq_free(plan);
}

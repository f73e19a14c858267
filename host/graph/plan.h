/* Where activations lie: values whose lifetimes do not meet may lie in the same bytes.
 *
 * Steps are positions in the order of execution, for instance the nodes of a forward pass and then
 * those of the backward pass. */
#ifndef CLQ_GRAPH_PLAN_H
#define CLQ_GRAPH_PLAN_H

#include <clquant/base.h>

typedef struct clq_lifetime {
    uint64_t bytes;  /* 0: needs no memory */
    int first, last; /* steps from the write to the last read, both inclusive */
    int alias;       /* index of a lifetime whose memory this one uses, -1 = its own: a flatten, an
                        operator that works in place. The memory lives for the span of both. An
                        alias of a lifetime without memory is ignored. */
} clq_lifetime;

typedef struct clq_plan {
    int count;
    int *group;       /* (count): the lifetime that stands for all that are aliases of each other,
                         -1 for one without memory */
    int *buffer;      /* (count): buffer of each lifetime, -1 for one without memory */
    uint64_t *offset; /* (count): where it begins there; the same for aliases */
    int buffer_count;
    uint64_t *size;       /* (buffer_count): bytes */
    uint64_t total;       /* sum of `size` */
    uint64_t unshared;    /* what it would take without sharing */
    uint64_t lower_bound; /* most bytes alive in one step: no plan can do with less */
} clq_plan;

/* Offsets are multiples of `alignment`. A buffer has at most `limit` bytes, unless one value alone
 * is larger. CLQ_INTERNAL when a lifetime ends before it begins or aliases something outside the
 * array. */
clq_status clq_plan_create(const clq_lifetime *lifetimes, int count, uint64_t alignment,
                           uint64_t limit, clq_plan **plan);
void clq_plan_destroy(clq_plan *plan); /* NULL ok */

#endif

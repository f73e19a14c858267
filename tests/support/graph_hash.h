/* One number for all parameters and states of a network, to compare trainings by. */
#ifndef CLQ_TEST_GRAPH_HASH_H
#define CLQ_TEST_GRAPH_HASH_H

#include <clquant/graph.h>

#include "base/hash.h"

static inline uint64_t hash_of(const clq_graph *graph) {
    uint64_t hash = 0;
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        if (value->data) {
            hash = clq_hash64_seeded(value->data,
                                     (size_t)clq_shape_count(&value->shape) * sizeof(float), hash);
        }
    }
    return hash;
}

#endif

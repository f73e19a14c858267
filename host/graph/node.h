/* Small questions about values and nodes. */
#ifndef CLQ_GRAPH_NODE_H
#define CLQ_GRAPH_NODE_H

#include <clquant/graph.h>

/* A parameter or state: what has data. */
static inline bool clq_is_constant(const clq_value *value) {
    return value->kind == CLQ_VALUE_PARAMETER || value->kind == CLQ_VALUE_STATE;
}

/* The activation that the node itself does, last. */
static inline clq_act clq_node_act(const clq_node *node) {
    return node->op->act ? *node->op->act(node->attrs) : CLQ_ACT_NONE;
}

/* Makes the node do `act` too; false when it cannot or does one already. */
static inline bool clq_node_fuse_act(const clq_node *node, clq_act act) {
    clq_act *own = node->op->act ? node->op->act(node->attrs) : NULL;
    if (own == NULL || *own != CLQ_ACT_NONE) {
        return false;
    }
    *own = act;
    return true;
}

#endif

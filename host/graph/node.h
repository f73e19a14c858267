/* Small questions about values and nodes. */
#ifndef CLQ_GRAPH_NODE_H
#define CLQ_GRAPH_NODE_H

#include <clquant/graph.h>

/* A parameter or state: what has data. */
static inline bool clq_is_constant(const clq_value *value) {
    return value->kind == CLQ_VALUE_PARAMETER || value->kind == CLQ_VALUE_STATE;
}

/* The file that a graph was read from (NULL: none), of which a copy is kept; `old`'s name and file
 * for a graph that is made from it. */
clq_status clq_graph_set_file(clq_graph *graph, const char *file);
clq_status clq_graph_create_like(const clq_graph *old, clq_graph **graph);
/* Puts the graph's file in front of the last error, unless that names it already. */
clq_status clq_fail_in_graph(const clq_graph *graph, clq_status status);
/* For messages: its file, else its name. */
static inline const char *clq_graph_called(const clq_graph *graph) {
    return graph->file ? graph->file : graph->name;
}

/* What files call the value. */
static inline const char *clq_value_file_name(const clq_value *value) {
    return value->file_name ? value->file_name : value->name;
}
/* Takes over a copy; NULL: none. */
clq_status clq_value_set_file_name(clq_value *value, const char *file_name);

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

/* Whether a node of a quantized graph works on codes: it reads some or makes some. The others work
 * on reals, as in a float graph. */
static inline bool clq_node_on_codes(const clq_graph *graph, const clq_node *node) {
    for (int i = 0; i < node->input_count; i++) {
        const clq_value *in =
            node->inputs[i] == CLQ_NO_VALUE ? NULL : &graph->values[node->inputs[i]];
        if (in != NULL && !clq_is_constant(in) && in->q.count > 0) {
            return true;
        }
    }
    return graph->values[node->output].q.count > 0;
}

/* Whether parameters are integers, which only an integer network has; where activations alone are
 * quantized, the quantized and the integer form are one. */
static inline bool clq_has_integers(const clq_graph *graph) {
    for (int v = 0; v < graph->value_count; v++) {
        if (clq_is_constant(&graph->values[v]) && graph->values[v].dtype != CLQ_F32) {
            return true;
        }
    }
    return false;
}

extern const char *const clq_requantizer_names[CLQ_REQUANT_COUNT];
/* CLQ_BAD_DATA: the metadata names no requantizer, or scales do not fit the one it names. */
clq_status clq_graph_check_requantizer(const clq_graph *graph);

#endif

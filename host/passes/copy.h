/* What passes that make a new graph share: the old one copied value by value and node by node. */
#ifndef CLQ_PASSES_COPY_H
#define CLQ_PASSES_COPY_H

#include <clquant/graph.h>

typedef struct clq_graph_copy {
    const clq_graph *old;
    clq_graph *new;
    int *map; /* (old value_count): new value, CLQ_NO_VALUE when not copied yet */
} clq_graph_copy;

/* A new graph with the old one's inputs and metadata. */
clq_status clq_copy_begin(const clq_graph *old, clq_graph_copy *copy);
/* Hands the graph over, and frees the rest. */
clq_graph *clq_copy_end(clq_graph_copy *copy);
/* Frees all; after clq_copy_end nothing. */
void clq_copy_abandon(clq_graph_copy *copy);

/* The new value of an old one; parameters are copied when they are first needed. CLQ_NO_VALUE stays
 * itself. */
clq_status clq_copy_value(clq_graph_copy *copy, int old, int *new);
/* The node, reading these new values, or those that its inputs became; its output is mapped. */
clq_status clq_copy_node_with(clq_graph_copy *copy, const clq_node *node, const int *inputs);
clq_status clq_copy_node(clq_graph_copy *copy, const clq_node *node);
/* Gives a new value the name that files have for an old one, whose place it takes. */
clq_status clq_copy_file_name(clq_graph_copy *copy, int old, int new);
/* Gives a new value the qparams of an old one. */
clq_status clq_copy_qparams(clq_graph_copy *copy, int old, int new);
clq_status clq_copy_outputs(clq_graph_copy *copy);

#endif

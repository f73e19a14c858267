/* What public functions demand of a graph beside that it is there: inputs and outputs. */
#ifndef CLQ_GRAPH_ENDS_H
#define CLQ_GRAPH_ENDS_H

#include <clquant/graph.h>

#include "base/arguments.h"

/* CLQ_USAGE, naming the function. */
clq_status clq_check_ends(const char *function, const clq_graph *graph);

#define CLQ_NEEDS_ENDS(graph)                                                                      \
    do {                                                                                           \
        CLQ_NEEDS(graph);                                                                          \
        CLQ_TRY(clq_check_ends(__func__, graph));                                                  \
    } while (0)

#endif

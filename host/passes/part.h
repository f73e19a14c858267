/* Parts of networks as networks of their own. */
#ifndef CLQ_PASSES_PART_H
#define CLQ_PASSES_PART_H

#include <clquant/graph.h>

/* A new graph that computes the activation `to`, its only output, from `from`, its only input, or
 * from all inputs of the graph where that is CLQ_NO_VALUE. Names, types and qparams stay. CLQ_USAGE
 * when more than `from` is needed. */
clq_status clq_graph_part(const clq_graph *graph, int from, int to, clq_graph **part);

/* The last value before node `n` through which all goes that the node and those behind it read;
 * CLQ_NO_VALUE: there is none. Inputs of the graph do not count. */
int clq_graph_cut_before(const clq_graph *graph, int n);

#endif

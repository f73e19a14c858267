/* Passes: a graph in, a new graph out. */
#ifndef CLQUANT_PASSES_H
#define CLQUANT_PASSES_H

#include <clquant/graph.h>

CLQ_API_BEGIN

/* Folds batch_norm into the conv2d or linear before it (w' = w * gamma / sqrt(var + eps), in
 * double), fuses relu/relu6 into the node before it where that is its only use, removes dropout.
 * Makes a new graph; parameters keep their names (conv "x.conv1" gains "x.conv1.bias" when it had
 * none). */
clq_status clq_graph_fold(const clq_graph *graph, clq_graph **folded);

/* A copy for images of another height and width, all else and all ids the same. CLQ_BAD_DATA names
 * the node whose rule that breaks, such as a linear layer behind a flatten. */
clq_status clq_graph_resize(const clq_graph *graph, int height, int width, clq_graph **resized);

CLQ_API_END
#endif

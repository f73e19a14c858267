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

/* The same without batch norms, which stay nodes of their own, as does an activation behind one. */
clq_status clq_graph_fold_activations(const clq_graph *graph, clq_graph **folded);

/* A copy for images of another height and width, all else and all ids the same. CLQ_BAD_DATA names
 * the node whose rule that breaks, such as a linear layer behind a flatten. */
clq_status clq_graph_resize(const clq_graph *graph, int height, int width, clq_graph **resized);

/* Two layers, the second of which alone reads what the first makes, by way of pools and the like.
 */
typedef struct clq_equalized_pair {
    char *first, *second; /* nodes' names, owned */
    int channels, held;   /* between them; held: as they were, since ReLU6 cuts them */
} clq_equalized_pair;
typedef struct clq_equalization {
    clq_equalized_pair *pairs; /* (count), owned */
    int count;
} clq_equalization;

/* Cross-layer equalization of a folded float graph: a copy, with the same ids, whose layers'
 * weights use their ranges alike; the function is the same up to rounding.
 *
 * largest (value_count), or NULL: each channel's largest magnitude in what a value was seen to
 * hold, or NULL for a value that was not seen. A channel of a value that was seen never grows
 * beyond the largest of its tensor, or beyond 6 where ReLU6 bounds it; one that ReLU6 was seen to
 * cut stays as it is. Pairs with ReLU6 between whose value was not seen are left alone. `report`
 * may be NULL; otherwise it is overwritten, and the caller's to clear. */
clq_status clq_graph_equalize(const clq_graph *folded, const float *const *largest,
                              clq_equalization *report, clq_graph **equalized);
void clq_equalization_clear(clq_equalization *report); /* NULL ok */

CLQ_API_END
#endif

/* Shape rules and multiply-add counts of all operators: the `infer` and `macs` of their clq_op.
 *
 * A rule sees attributes and input shapes that may come from a hostile file: it trusts no value,
 * computes in 64 bits, and answers CLQ_BAD_DATA with the node and the rule that is broken. What the
 * graph has already checked: input_count lies in the operator's range, the required inputs are
 * present, every input is a value of the graph, every shape has dimensions >= 1 and at most
 * 2^31 - 1 elements. */
#ifndef CLQ_OPS_SHAPE_RULES_H
#define CLQ_OPS_SHAPE_RULES_H

#include <clquant/ops.h>

clq_status clq_infer_conv2d(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_linear(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_batch_norm(const clq_graph *graph, const clq_node *node, clq_shape *output);
/* relu, relu6, tanh, sigmoid: the input's shape. */
clq_status clq_infer_elementwise(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_add(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_max_pool(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_avg_pool(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_global_avg_pool(const clq_graph *graph, const clq_node *node,
                                     clq_shape *output);
clq_status clq_infer_flatten(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_dropout(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_shortcut_a(const clq_graph *graph, const clq_node *node, clq_shape *output);

/* Multiply-adds for one input. Operators not listed have none (as papers count). */
int64_t clq_macs_conv2d(const clq_graph *graph, const clq_node *node);
int64_t clq_macs_linear(const clq_graph *graph, const clq_node *node);

#endif

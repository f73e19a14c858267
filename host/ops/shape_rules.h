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
/* relu, relu6 and all functions of one number: the input's shape. */
clq_status clq_infer_elementwise(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_max_pool(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_avg_pool(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_global_pool(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_flatten(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_dropout(const clq_graph *graph, const clq_node *node, clq_shape *output);
clq_status clq_infer_shortcut_a(const clq_graph *graph, const clq_node *node, clq_shape *output);

/* ---- for the rules of operators that have them in files of their own ---- */

/* CLQ_BAD_DATA: `conv2d "layer1.0.conv1": <rule>`. */
__attribute__((format(printf, 2, 3))) clq_status clq_op_broken(const clq_node *node,
                                                               const char *format, ...);
/* Input `input` is the network's input or a node's output, of least_rank to most_rank dimensions.
 */
clq_status clq_want_activation(const clq_graph *graph, const clq_node *node, int input,
                               int least_rank, int most_rank);
/* Input `input` is of this kind, PARAMETER or STATE, and a vector of `channels` elements; `role`
 * names it: "gamma". */
clq_status clq_want_vector(const clq_graph *graph, const clq_node *node, int input,
                           clq_value_kind kind, int64_t channels, const char *role);
/* A fused activation is one of those that there are. */
clq_status clq_want_act(const clq_node *node, clq_act act);

/* Input 1, the weights, are F32 with an F32 bias, or S8 or S4 with an S32 bias or, of a layer on
 * reals, an F32 one. Input 2, the bias, is optional. */
clq_status clq_want_weights(const clq_graph *graph, const clq_node *node, int weight_rank);
/* Weights (OC, KH, KW, IC/G) fit `channels` of the input. */
clq_status clq_want_groups(const clq_node *node, int groups, int64_t channels, const clq_shape *w);

/* Multiply-adds for one input. Operators not listed have none (as papers count). */
int64_t clq_macs_conv2d(const clq_graph *graph, const clq_node *node);
int64_t clq_macs_linear(const clq_graph *graph, const clq_node *node);

#endif

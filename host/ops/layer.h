/* Layers: conv2d, conv_transpose and linear, the nodes with weights. */
#ifndef CLQ_OPS_LAYER_H
#define CLQ_OPS_LAYER_H

#include "graph/node.h"
#include "ops/registry.h"

/* Their inputs; the bias may be absent. */
enum { CLQ_LAYER_X, CLQ_LAYER_W, CLQ_LAYER_BIAS };

static inline bool clq_is_layer(const clq_node *node) {
    return node->op == &clq_op_conv2d || node->op == &clq_op_linear ||
           node->op == &clq_op_conv_transpose;
}

/* What a layer says of its convolution; NULL: it is linear, or no layer. */
static inline const clq_conv2d_attrs *clq_layer_conv(const clq_node *node) {
    return node->op == &clq_op_conv2d ? (const clq_conv2d_attrs *)node->attrs
           : node->op == &clq_op_conv_transpose
               ? &((const clq_conv_transpose_attrs *)node->attrs)->conv
               : NULL;
}

/* Whether the layer works on reals with weights that are codes, or are rounded to them. */
static inline bool clq_is_weight_only(const clq_graph *graph, const clq_node *node) {
    return clq_is_layer(node) && graph->values[node->inputs[CLQ_LAYER_W]].q.count > 0 &&
           !clq_node_on_codes(graph, node);
}

/* How a node on reals computes: "fp32", or with weights of codes "w8" .. "w2". */
static inline const char *clq_real_precision(const clq_graph *graph, const clq_node *node) {
    static const char *const names[] = {"w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"};
    return clq_is_weight_only(graph, node)
               ? names[clq_qtype_get(graph->values[node->inputs[CLQ_LAYER_W]].q.type)->bits]
               : "fp32";
}

/* Whether a layer's weights have one scale whatever is asked for: in files those of a transposed
 * convolution belong to channels that its groups have in common, but for one channel a group. */
static inline bool clq_takes_one_scale(const clq_graph *graph, const clq_node *node) {
    const clq_conv2d_attrs *conv = clq_layer_conv(node);
    const clq_shape *w = &graph->values[node->inputs[CLQ_LAYER_W]].shape;
    return node->op == &clq_op_conv_transpose && conv->groups > 1 &&
           (w->dim[0] > conv->groups || w->dim[3] > 1);
}

/* The layer's bias, or NULL. */
static inline clq_value *clq_layer_bias(const clq_graph *graph, const clq_node *node) {
    const bool has_bias =
        node->input_count > CLQ_LAYER_BIAS && node->inputs[CLQ_LAYER_BIAS] != CLQ_NO_VALUE;
    return has_bias ? &graph->values[node->inputs[CLQ_LAYER_BIAS]] : NULL;
}

#endif

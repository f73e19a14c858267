/* The convolution that a conv2d or linear node stands for. */
#ifndef CLQUANT_OPS_CONV_NODE_H
#define CLQUANT_OPS_CONV_NODE_H

#include "ops/conv/conv_geometry.h"

/* From the run's attributes and shapes, with the real batch. A linear layer is a 1x1 convolution of
 * a 1x1 image; run->node tells which of the two it is. */
clq_conv_geometry clq_conv_node_geometry(const clq_op_run *run);

/* The same of a graph's node; false when it is neither of the two. */
bool clq_conv_graph_geometry(const clq_graph *graph, const clq_node *node, int batch,
                             clq_conv_geometry *geometry);

/* The FP32 functions of both operators. */
clq_status clq_conv_node_prepare(clq_op_run *run);
clq_status clq_conv_node_load_parameters(clq_op_run *run);
clq_status clq_conv_node_forward(clq_op_run *run);
clq_status clq_conv_node_backward(clq_op_run *run);
void clq_conv_node_release(clq_op_run *run);
bool clq_conv_node_can_fuse_add(const clq_op_run *run);
bool clq_conv_node_can_fuse_act(const clq_op_run *run);

#endif

/* conv2d: y = act(conv(x, w) + bias), grouped, dilated, padded with zeros. */
#include "ops/conv/conv_node.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_act *conv2d_act(void *attrs) {
    return &((clq_conv2d_attrs *)attrs)->act;
}

const clq_op clq_op_conv2d = {
    .name = "conv2d",
    .attrs_size = sizeof(clq_conv2d_attrs),
    .min_inputs = 2,
    .max_inputs = 3,
    .infer = clq_infer_conv2d,
    .prepare = clq_conv_node_prepare,
    .load_parameters = clq_conv_node_load_parameters,
    .forward = clq_conv_node_forward,
    .backward = clq_conv_node_backward,
    .release = clq_conv_node_release,
    .backward_reads = CLQ_READS_INPUT,
    .quantized = &clq_conv2d_quantized,
    .can_fuse_add = clq_conv_node_can_fuse_add,
    .can_fuse_act = clq_conv_node_can_fuse_act,
    .act = conv2d_act,
    .macs = clq_macs_conv2d,
};

/* linear: y (N,OUT) = act(x (N,IN) w^T + bias): a 1x1 convolution of a 1x1 image. */
#include "ops/conv/conv_node.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_act *linear_act(void *attrs) {
    return &((clq_linear_attrs *)attrs)->act;
}

const clq_op clq_op_linear = {
    .name = "linear",
    .attrs_size = sizeof(clq_linear_attrs),
    .min_inputs = 2,
    .max_inputs = 3,
    .infer = clq_infer_linear,
    .prepare = clq_conv_node_prepare,
    .load_parameters = clq_conv_node_load_parameters,
    .forward = clq_conv_node_forward,
    .backward = clq_conv_node_backward,
    .release = clq_conv_node_release,
    .backward_reads = CLQ_READS_INPUT,
    .quantized = &clq_linear_quantized,
    .can_fuse_add = clq_conv_node_can_fuse_add,
    .can_fuse_act = clq_conv_node_can_fuse_act,
    .act = linear_act,
    .macs = clq_macs_linear,
};

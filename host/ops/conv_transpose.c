/* conv_transpose: y = act(what a convolution's backward-data makes of x, + bias), grouped, dilated.
 * As a layer it is a conv2d: same inputs, same forms of weights; conv_geometry.transposed tells
 * them apart. */
#include <limits.h>

#include "ops/conv/conv_node.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static const char *const axis_names[2] = {"height", "width"};

/* Attributes are ints and a dimension is below 2^31: nothing here can leave 64 bits. */
static clq_status axis_size(const clq_node *node, const clq_conv_transpose_attrs *attrs, int axis,
                            int64_t size, int64_t *out) {
    const clq_conv2d_attrs *conv = &attrs->conv;
    const int64_t kernel = conv->kernel[axis], stride = conv->stride[axis],
                  dilation = conv->dilation[axis], more = attrs->output_padding[axis];
    if (kernel < 1 || stride < 1 || dilation < 1) {
        return clq_op_broken(
            node, "kernel %lld, stride %lld and dilation %lld along %s must be >= 1",
            (long long)kernel, (long long)stride, (long long)dilation, axis_names[axis]);
    }
    if (conv->pad[axis] < 0 || conv->pad[axis + 2] < 0 || more < 0 ||
        (more >= stride && more >= dilation)) {
        return clq_op_broken(node,
                             "padding %d, %d along %s must be >= 0, and output padding %lld in 0 "
                             ".. max(stride, dilation) - 1",
                             conv->pad[axis], conv->pad[axis + 2], axis_names[axis],
                             (long long)more);
    }
    const int64_t extent = dilation * (kernel - 1) + 1;
    const int64_t whole = (size - 1) * stride;
    *out = whole + extent + more - conv->pad[axis] - conv->pad[axis + 2];
    if (whole > INT_MAX || extent > INT_MAX || *out < 1 || *out > INT_MAX) {
        return clq_op_broken(node, "the %s would be %lld pixels", axis_names[axis],
                             (long long)*out);
    }
    return CLQ_OK;
}

static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_conv_transpose_attrs *attrs = node->attrs;
    const int groups = attrs->conv.groups;
    CLQ_TRY(clq_want_activation(graph, node, 0, 4, 4));
    CLQ_TRY(clq_want_weights(graph, node, 4));
    CLQ_TRY(clq_want_act(node, attrs->conv.act));
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    const clq_shape *w = &graph->values[node->inputs[1]].shape;
    *output = (clq_shape){4, {x->dim[0], 0, 0, w->dim[0]}};
    for (int axis = 0; axis < 2; axis++) {
        if (attrs->conv.kernel[axis] != w->dim[1 + axis]) {
            return clq_op_broken(node, "kernel %s is %d, but the weight's is %lld",
                                 axis_names[axis], attrs->conv.kernel[axis],
                                 (long long)w->dim[1 + axis]);
        }
        CLQ_TRY(axis_size(node, attrs, axis, x->dim[1 + axis], &output->dim[1 + axis]));
    }
    return clq_want_groups(node, groups, x->dim[3], w);
}

static int64_t macs(const clq_graph *graph, const clq_node *node) {
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    const clq_shape *w = &graph->values[node->inputs[1]].shape;
    const clq_conv_transpose_attrs *attrs = node->attrs;
    return clq_shape_count(x) * (w->dim[1] * w->dim[2] * (w->dim[0] / attrs->conv.groups));
}

/* On integers the phases have no residual. */
static bool can_fuse_add(const clq_op_run *run) {
    return run->mode != CLQ_EXEC_INT8 && clq_conv_node_can_fuse_add(run);
}

static clq_act *act(void *attrs) {
    return &((clq_conv_transpose_attrs *)attrs)->conv.act;
}

const clq_op clq_op_conv_transpose = {
    .name = "conv_transpose",
    .attrs_size = sizeof(clq_conv_transpose_attrs),
    .min_inputs = 2,
    .max_inputs = 3,
    .infer = infer,
    .prepare = clq_conv_node_prepare,
    .load_parameters = clq_conv_node_load_parameters,
    .forward = clq_conv_node_forward,
    .backward = clq_conv_node_backward,
    .release = clq_conv_node_release,
    .backward_reads = CLQ_READS_INPUT,
    .quantized = &clq_conv2d_quantized,
    .can_fuse_add = can_fuse_add,
    .can_fuse_act = clq_conv_node_can_fuse_act,
    .act = act,
    .macs = macs,
};

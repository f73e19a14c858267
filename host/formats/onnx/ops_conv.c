/* Convolutions. */
#include <limits.h>
#include <string.h>

#include "formats/onnx/operators.h"

/* A 1x1 convolution of a pooled image, (N, C, 1, 1), is a linear layer; a depthwise one stays what
 * it is, on (N, C). */
static clq_status add_unit_conv(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                                const onnx_constant *weight, const onnx_constant *bias,
                                const clq_conv2d_attrs *conv) {
    static const int no_pad[4];
    const int64_t channels = load->graph->values[x->value].shape.dim[1];
    const bool depthwise =
        conv->groups > 1 && conv->groups == channels && weight->dim[0] == channels;
    if (conv->kernel[0] != 1 || conv->kernel[1] != 1 || (conv->groups != 1 && !depthwise) ||
        memcmp(conv->pad, no_pad, sizeof no_pad) != 0) {
        return onnx_fail(node, "of (N, C, 1, 1), only 1x1 convolutions with one group, or "
                               "depthwise, are supported");
    }
    const clq_linear_attrs linear = {CLQ_ACT_NONE};
    clq_shape shape = {2, {weight->dim[0], weight->dim[1]}};
    if (depthwise) {
        shape = (clq_shape){4, {channels, 1, 1, weight->dim[1]}};
    }
    char *name;
    int inputs[3] = {x->value}, count;
    CLQ_TRY(onnx_node_name(load, node, weight->name, &name));
    CLQ_TRY(onnx_add_weights(load, node, x, weight, bias, shape, name, inputs, &count));
    return depthwise ? onnx_add_node(load, node, "conv2d", name, conv, inputs, count, x)
                     : onnx_add_node(load, node, "linear", name, &linear, inputs, count, x);
}

/* Whether a depthwise 1x1 convolution is of a column (N, C, P, 1) that the graph has as (N, .., C),
 * where it is a factor and an offset for each channel. */
static bool is_factor(const onnx_loader *load, onnx_node *node, const onnx_constant *weight) {
    static const int no_pad[4];
    const onnx_operand *x = onnx_input(load, node, 0);
    if (!weight || weight->rank != 4 || weight->count != (size_t)weight->dim[0] || !x ||
        x->constant || x->codes || x->flatten || x->rank != 4 || x->stride[0] > 0 ||
        memcmp(x->pad, no_pad, sizeof no_pad) != 0) {
        return false;
    }
    const clq_shape *shape = &load->graph->values[x->value].shape;
    const bool column = shape->rank == 3 && x->axis[1] == 2 && shape->dim[2] == weight->dim[0];
    const Onnx__AttributeProto *strides = onnx_attribute(node, "strides");
    const Onnx__AttributeProto *pads = onnx_attribute(node, "pads");
    bool plain = column && shape->dim[2] > 1;
    for (size_t i = 0; strides && i < strides->n_ints; i++) {
        plain = plain && strides->ints[i] == 1;
    }
    for (size_t i = 0; pads && i < pads->n_ints; i++) {
        plain = plain && pads->ints[i] == 0;
    }
    return plain;
}

static clq_status add_factor(onnx_loader *load, onnx_node *node, const onnx_constant *weight) {
    onnx_operand x;
    const onnx_constant *bias;
    onnx_window window;
    int64_t groups = 1;
    char *name;
    int inputs[3], count;
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    CLQ_TRY(onnx_want_constant(load, node, 2, &bias));
    const onnx_dims dims = onnx_activation_dims(load, &x);
    CLQ_TRY(onnx_read_window(node, &dims, weight, &window));
    CLQ_TRY(onnx_attribute_int(node, "group", 1, INT_MAX, &groups));
    const clq_conv2d_attrs attrs = {
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = (int)groups};
    inputs[0] = x.value;
    CLQ_TRY(onnx_node_name(load, node, weight->name, &name));
    CLQ_TRY(onnx_add_weights(load, node, &x, weight, bias,
                             (clq_shape){4, {weight->dim[0], 1, 1, 1}}, name, inputs, &count));
    return onnx_add_node(load, node, "conv2d", name, &attrs, inputs, count, &x);
}

static clq_status read_conv(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const onnx_constant *weight, *bias;
    onnx_window window;
    clq_shape shape;
    int pad[4], inputs[3], count;
    int64_t groups = 1;
    CLQ_TRY(onnx_want_inputs(node, 2, 3));
    CLQ_TRY(onnx_want_constant(load, node, 1, &weight));
    if (is_factor(load, node, weight)) {
        return add_factor(load, node, weight);
    }
    CLQ_TRY(onnx_want_image(load, node, 0, &x, pad));
    CLQ_TRY(onnx_want_constant(load, node, 2, &bias));
    CLQ_TRY(onnx_weight_shape(node, weight, 4, &shape));
    if (bias && bias->rank != 1) {
        return onnx_fail(node, "the bias must be a vector, has %d dimensions", bias->rank);
    }
    onnx_dims dims = onnx_activation_dims(load, &x);
    for (int axis = 0; axis < 2; axis++) { /* auto_pad sees the padded image */
        dims.dim[2 + axis] += pad[axis] + pad[axis + 2];
    }
    CLQ_TRY(onnx_read_window(node, &dims, weight, &window));
    CLQ_TRY(onnx_attribute_int(node, "group", 1, INT_MAX, &groups));
    clq_conv2d_attrs attrs = {.kernel = {window.kernel[0], window.kernel[1]},
                              .stride = {window.stride[0], window.stride[1]},
                              .dilation = {window.dilation[0], window.dilation[1]},
                              .groups = (int)groups};
    for (int i = 0; i < 4; i++) {
        attrs.pad[i] = window.pad[i] + pad[i];
    }
    if (onnx_is_row(load, &x)) {
        return add_unit_conv(load, node, &x, weight, bias, &attrs);
    }
    char *name;
    inputs[0] = x.value;
    CLQ_TRY(onnx_node_name(load, node, weight->name, &name));
    CLQ_TRY(onnx_add_weights(load, node, &x, weight, bias, shape, name, inputs, &count));
    return onnx_add_node(load, node, "conv2d", name, &attrs, inputs, count, NULL);
}

/* (N, C) -> (N, C, 1, 1), which *input then is. */
static clq_status write_unsqueeze(onnx_chain *chain, const char **input) {
    static const int64_t axes[2] = {2, 3};
    onnx_saver *save = chain->save;
    const char *inputs[2] = {*input};
    Onnx__NodeProto *node;
    char *path;
    CLQ_TRY(clq_arena_format(&save->arena, &path, "%s/Unsqueeze", chain->base));
    CLQ_TRY(onnx_save_longs(save, "unsqueeze_axes", axes, 2, &inputs[1]));
    CLQ_TRY(onnx_save_name(save, &save->values, path, input));
    return onnx_save_node(save, "Unsqueeze", path, inputs, 2, *input, &node);
}

static clq_status write_conv2d(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                               size_t count) {
    const clq_conv2d_attrs *attrs = graph_node->attrs;
    onnx_saver *save = chain->save;
    const bool is_pixel = save->graph->values[graph_node->output].shape.rank == 2;
    Onnx__NodeProto *node;
    onnx_save_plan(chain,
                   is_pixel                             ? "Flatten"
                   : onnx_is_column(save, chain->value) ? "Reshape"
                                                        : "Conv",
                   attrs->act);
    CLQ_TRY(onnx_save_column(chain, graph_node->inputs[0], &inputs[0]));
    if (is_pixel) {
        CLQ_TRY(write_unsqueeze(chain, &inputs[0]));
    }
    CLQ_TRY(onnx_save_step(chain, "Conv", inputs, count, &node));
    CLQ_TRY(onnx_save_ints(save, node, "dilations", attrs->dilation, 2));
    CLQ_TRY(onnx_save_int(save, node, "group", attrs->groups));
    CLQ_TRY(onnx_save_ints(save, node, "kernel_shape", attrs->kernel, 2));
    CLQ_TRY(onnx_save_ints(save, node, "pads", attrs->pad, 4));
    CLQ_TRY(onnx_save_ints(save, node, "strides", attrs->stride, 2));
    if (is_pixel) {
        CLQ_TRY(onnx_save_step(chain, "Flatten", &chain->current, 1, &node));
        CLQ_TRY(onnx_save_int(save, node, "axis", 1));
    }
    CLQ_TRY(onnx_save_from_column(chain, chain->value));
    return onnx_save_finish(chain, attrs->act);
}

const onnx_operator onnx_conv_operators[] = {
    {"Conv", .read = read_conv, .op = "conv2d", .write = write_conv2d},
    {0},
};

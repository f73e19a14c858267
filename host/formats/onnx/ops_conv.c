/* Convolutions. */
#include <limits.h>
#include <string.h>

#include "base/text.h"
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

/* Weights (OC, IC / G, K) as those of height 1. */
static clq_status make_planar(onnx_loader *load, const onnx_constant **weight) {
    onnx_constant *planar;
    void *copy;
    CLQ_TRY(clq_arena_copy(&load->arena, *weight, sizeof **weight, &copy));
    planar = copy;
    planar->rank = 4;
    planar->dim[3] = planar->dim[2];
    planar->dim[2] = 1;
    *weight = planar;
    return CLQ_OK;
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
    CLQ_TRY(onnx_want_image(load, node, 0, &x, pad, false));
    CLQ_TRY(onnx_want_constant(load, node, 2, &bias));
    if (x.rank == 3 && weight->rank == 3) {
        CLQ_TRY(make_planar(load, &weight));
    }
    CLQ_TRY(onnx_weight_shape(node, weight, 4, &shape));
    if (bias && bias->rank != 1) {
        return onnx_fail(node, "the bias must be a vector, has %d dimensions", bias->rank);
    }
    onnx_dims dims = onnx_activation_dims(load, &x);
    for (int axis = 0; axis < 2 && x.rank == 4; axis++) { /* auto_pad sees the padded image */
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
    return onnx_add_node(load, node, "conv2d", name, &attrs, inputs, count, &x);
}

/* ---- ConvTranspose ---- */

/* What the file gives or auto_pad implies, as ONNX Runtime understands it: paddings that make an
 * output of output_shape, of SAME one of input * stride; what is odd goes behind (UPPER) or in
 * front. */
static clq_status pad_transposed(onnx_node *node, const onnx_dims *x,
                                 clq_conv_transpose_attrs *attrs) {
    const char *auto_pad = "NOTSET";
    const int first = 4 - x->rank; /* of (N, C, L) there is the last axis alone */
    const size_t axes = (size_t)x->rank - 2;
    const int64_t *shape;
    size_t count = 0;
    CLQ_TRY(onnx_attribute_text(node, "auto_pad", &auto_pad));
    CLQ_TRY(onnx_attribute_ints(node, "output_shape", &shape, &count));
    const bool same = strncmp(auto_pad, "SAME", 4) == 0;
    if (count != 0 && count != axes && count != axes + 2) {
        return onnx_fail(node, "output_shape has %zu number%s, must have %zu", count,
                         clq_plural((int64_t)count), axes);
    }
    for (int axis = first; (same || count > 0) && axis < 2; axis++) {
        clq_conv2d_attrs *conv = &attrs->conv;
        const int64_t size = x->dim[x->rank - 2 + axis], stride = conv->stride[axis];
        const int64_t wanted = count > 0 ? shape[(int)count - 2 + axis] : size * stride;
        const int64_t whole = (size - 1) * stride + attrs->output_padding[axis] +
                              (int64_t)conv->dilation[axis] * (conv->kernel[axis] - 1) + 1;
        if (wanted < 1 || wanted > INT_MAX || whole > INT_MAX) {
            return onnx_fail(node, "output_shape has %lld, must be 1..%d", (long long)wanted,
                             INT_MAX);
        }
        const int total = whole > wanted ? (int)(whole - wanted) : 0;
        const int less = total / 2, more = total - less;
        const bool upper = strcmp(auto_pad, "SAME_UPPER") == 0;
        conv->pad[axis] = upper ? less : more;
        conv->pad[axis + 2] = upper ? more : less;
        attrs->output_padding[axis] += count > 0 && wanted > whole ? (int)(wanted - whole) : 0;
    }
    return CLQ_OK;
}

/* Scales of output channels, which the file has for axis 1 of (IC, OC/G, KH, KW); for axis 0 where
 * a group has one input channel. */
static clq_status spread_scales(onnx_loader *load, const onnx_node *node,
                                const onnx_constant **weight, int64_t groups) {
    const onnx_constant *w = *weight;
    const int64_t columns = w->dim[1], outputs = groups * columns;
    onnx_constant *spread;
    void *memory;
    if (!w->scale || w->scale_count <= 1) {
        return CLQ_OK;
    }
    const bool by_group = w->axis == 0 && w->dim[0] == groups;
    if ((w->axis != 1 && !by_group) || outputs > INT32_MAX) {
        return onnx_fail(node, "weights must be quantized per output channel, or with one scale");
    }
    CLQ_TRY(clq_arena_take(&load->arena, 1, sizeof *spread, &memory));
    spread = memory;
    CLQ_TRY(clq_arena_take(&load->arena, (size_t)outputs, sizeof(float), &memory));
    for (int64_t oc = 0; oc < outputs; oc++) {
        ((float *)memory)[oc] = w->scale[by_group ? oc / columns : oc % columns];
    }
    *spread = *w;
    spread->axis = 0;
    spread->scale = memory;
    spread->scale_count = (size_t)outputs;
    *weight = spread;
    return CLQ_OK;
}

static clq_status read_conv_transpose(onnx_loader *load, onnx_node *node) {
    static const int image[4] = {0, 2, 3, 1}, line[4] = {0, -1, 2, 1};
    onnx_operand x;
    const onnx_constant *weight, *bias;
    onnx_window window;
    clq_shape shape;
    const int64_t *more;
    size_t more_count = 0;
    int64_t groups = 1;
    int inputs[3], count;
    char *name;
    CLQ_TRY(onnx_want_inputs(node, 2, 3));
    CLQ_TRY(onnx_want_image(load, node, 0, &x, NULL, false));
    CLQ_TRY(onnx_arrange(load, node, &x, 4, x.rank == 4 ? image : line));
    CLQ_TRY(onnx_want_constant(load, node, 1, &weight));
    CLQ_TRY(onnx_want_constant(load, node, 2, &bias));
    if (x.rank == 3 && weight->rank == 3) {
        CLQ_TRY(make_planar(load, &weight));
    }
    if (x.rank == 3 && weight->rank == 3) {
        CLQ_TRY(make_planar(load, &weight));
    }
    CLQ_TRY(onnx_weight_shape(node, weight, 4, &shape));
    if (bias && bias->rank != 1) {
        return onnx_fail(node, "the bias must be a vector, has %d dimensions", bias->rank);
    }
    const onnx_dims dims = onnx_activation_dims(load, &x);
    CLQ_TRY(onnx_read_window(node, &dims, weight, &window));
    CLQ_TRY(onnx_attribute_int(node, "group", 1, INT_MAX, &groups));
    CLQ_TRY(onnx_attribute_ints(node, "output_padding", &more, &more_count));
    if (weight->dim[0] % groups != 0 || groups * weight->dim[1] > INT_MAX) {
        return onnx_fail(node, "group %lld must divide the %lld input channels of the weights",
                         (long long)groups, (long long)weight->dim[0]);
    }
    if (more_count != 0 && more_count != (size_t)x.rank - 2) {
        return onnx_fail(node, "output_padding must be %d number%s", x.rank - 2,
                         clq_plural(x.rank - 2));
    }
    clq_conv_transpose_attrs attrs = {.conv = {.kernel = {window.kernel[0], window.kernel[1]},
                                               .stride = {window.stride[0], window.stride[1]},
                                               .dilation = {window.dilation[0], window.dilation[1]},
                                               .groups = (int)groups},
                                      .output_padding = {0, 0}};
    for (size_t i = 0; i < more_count; i++) {
        if (more[i] < 0 || more[i] > 1 << 15) {
            return onnx_fail(node, "output_padding must be 0..32768");
        }
        attrs.output_padding[i + 2 - more_count] = (int)more[i];
    }
    memcpy(attrs.conv.pad, window.pad, sizeof window.pad);
    CLQ_TRY(pad_transposed(node, &dims, &attrs));
    CLQ_TRY(spread_scales(load, node, &weight, groups));
    shape.dim[0] = groups * weight->dim[1];
    shape.dim[3] = weight->dim[0] / groups;
    inputs[0] = x.value;
    CLQ_TRY(onnx_node_name(load, node, weight->name, &name));
    CLQ_TRY(onnx_add_weights(load, node, &x, weight, bias, shape, name, inputs, &count));
    return onnx_add_node(load, node, "conv_transpose", name, &attrs, inputs, count, &x);
}

static clq_status write_conv_transpose(onnx_chain *chain, const clq_node *graph_node,
                                       const char **inputs, size_t count) {
    const clq_conv_transpose_attrs *attrs = graph_node->attrs;
    const clq_conv2d_attrs *conv = &attrs->conv;
    onnx_saver *save = chain->save;
    Onnx__NodeProto *node;
    onnx_save_plan(chain, "ConvTranspose", conv->act);
    CLQ_TRY(onnx_save_step(chain, "ConvTranspose", inputs, count, &node));
    CLQ_TRY(onnx_save_ints(save, node, "dilations", conv->dilation, 2));
    CLQ_TRY(onnx_save_int(save, node, "group", conv->groups));
    CLQ_TRY(onnx_save_ints(save, node, "kernel_shape", conv->kernel, 2));
    CLQ_TRY(onnx_save_ints(save, node, "output_padding", attrs->output_padding, 2));
    CLQ_TRY(onnx_save_ints(save, node, "pads", conv->pad, 4));
    CLQ_TRY(onnx_save_ints(save, node, "strides", conv->stride, 2));
    return onnx_save_finish(chain, conv->act);
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
    {"ConvTranspose", .read = read_conv_transpose, .op = "conv_transpose",
     .write = write_conv_transpose},
    {0},
};

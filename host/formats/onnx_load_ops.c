/* Nodes that become nodes of the graph. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "formats/onnx_load.h"
#include "graph/node.h"
#include "ops/layer.h"

/* ---- Conv ---- */

/* Dimensions of weights as the graph wants them: all >= 1. */
static clq_status weight_shape(const onnx_node *node, const onnx_constant *weight, int rank,
                               clq_shape *shape) {
    char text[96];
    onnx_dims_text(weight->rank, weight->dim, text, sizeof text);
    if (weight->rank != rank || weight->count == 0) {
        return onnx_fail(node, "weights \"%.100s\" have shape %s, must have %d dimensions",
                         weight->name, text, rank);
    }
    *shape = (clq_shape){rank, {weight->dim[0], weight->dim[1]}};
    if (rank == 4) {
        *shape = (clq_shape){4, {weight->dim[0], weight->dim[2], weight->dim[3], weight->dim[1]}};
    }
    return CLQ_OK;
}

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

clq_status onnx_conv(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const onnx_constant *weight, *bias;
    onnx_window window;
    clq_shape shape;
    int pad[4], inputs[3], count;
    int64_t groups = 1;
    CLQ_TRY(onnx_want_inputs(node, 2, 3));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x, pad));
    CLQ_TRY(onnx_want_constant(load, node, 1, &weight));
    CLQ_TRY(onnx_want_constant(load, node, 2, &bias));
    CLQ_TRY(weight_shape(node, weight, 4, &shape));
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
    if (x.unit_hw) {
        return add_unit_conv(load, node, &x, weight, bias, &attrs);
    }
    char *name;
    inputs[0] = x.value;
    CLQ_TRY(onnx_node_name(load, node, weight->name, &name));
    CLQ_TRY(onnx_add_weights(load, node, &x, weight, bias, shape, name, inputs, &count));
    return onnx_add_node(load, node, "conv2d", name, &attrs, inputs, count, NULL);
}

/* ---- Gemm, MatMul ---- */

static clq_status add_linear(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                             const onnx_constant *weight, const onnx_constant *bias,
                             bool transposed) {
    static const int swap[2] = {1, 0};
    clq_linear_attrs attrs = {CLQ_ACT_NONE};
    clq_shape shape;
    char *name;
    int inputs[3] = {x->value}, count;
    if (onnx_activation_dims(load, x).rank != 2) {
        return onnx_fail(node, "its input is an image, must be (N, features); flatten it before");
    }
    CLQ_TRY(weight_shape(node, weight, 2, &shape));
    if (!transposed) { /* (IN, OUT) -> (OUT, IN) */
        onnx_constant *turned;
        CLQ_TRY(onnx_constant_transpose(&load->arena, weight, swap, &turned));
        weight = turned;
        CLQ_TRY(weight_shape(node, weight, 2, &shape));
    }
    CLQ_TRY(onnx_node_name(load, node, weight->name, &name));
    CLQ_TRY(onnx_add_weights(load, node, x, weight, bias, shape, name, inputs, &count));
    return onnx_add_node(load, node, "linear", name, &attrs, inputs, count, NULL);
}

clq_status onnx_gemm(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const onnx_constant *weight, *bias;
    int64_t trans_a = 0, trans_b = 0;
    float alpha = 1, beta = 1;
    CLQ_TRY(onnx_want_inputs(node, 2, 3));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x, NULL));
    CLQ_TRY(onnx_want_constant(load, node, 1, &weight));
    CLQ_TRY(onnx_want_constant(load, node, 2, &bias));
    CLQ_TRY(onnx_attribute_int(node, "transA", 0, 1, &trans_a));
    CLQ_TRY(onnx_attribute_int(node, "transB", 0, 1, &trans_b));
    CLQ_TRY(onnx_attribute_float(node, "alpha", &alpha));
    CLQ_TRY(onnx_attribute_float(node, "beta", &beta));
    onnx_attribute_ignore(node, "broadcast");
    if (trans_a || alpha != 1 || (beta != 1 && bias)) {
        return onnx_fail(node, "has transA %d, alpha %g and beta %g; only 0, 1 and 1 are supported",
                         (int)trans_a, (double)alpha, (double)beta);
    }
    if (bias && (bias->rank > 2 || (bias->rank == 2 && bias->dim[0] != 1))) {
        char text[96];
        onnx_dims_text(bias->rank, bias->dim, text, sizeof text);
        return onnx_fail(node,
                         "C has shape %s: other numbers for each row of the batch, where one a "
                         "feature, (features) or (1, features), is supported",
                         text);
    }
    return add_linear(load, node, &x, weight, bias, trans_b != 0);
}

clq_status onnx_matmul(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const onnx_constant *weight;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x, NULL));
    CLQ_TRY(onnx_want_constant(load, node, 1, &weight));
    return add_linear(load, node, &x, weight, NULL, false);
}

/* ---- BatchNormalization ---- */

clq_status onnx_batch_norm(onnx_loader *load, onnx_node *node) {
    static const char *const roles[5] = {NULL, "weight", "bias", "running_mean", "running_var"};
    clq_batch_norm_attrs attrs = {.epsilon = 1e-5f};
    onnx_operand x;
    const onnx_constant *vector;
    int inputs[5];
    char *name;
    int64_t spatial = 1, training = 0;
    float momentum = 0.9f;
    CLQ_TRY(onnx_want_inputs(node, 5, 5));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x, NULL));
    CLQ_TRY(onnx_attribute_float(node, "epsilon", &attrs.epsilon));
    CLQ_TRY(onnx_attribute_float(node, "momentum", &momentum));
    CLQ_TRY(onnx_attribute_int(node, "spatial", 1, 1, &spatial));
    CLQ_TRY(onnx_attribute_int(node, "training_mode", 0, 1, &training));
    if (training) {
        onnx_note_training(load, node);
    }
    /* ONNX weighs the old value, torch the new one; rounded so that 0.9 comes out as 0.1. */
    attrs.momentum = (float)(rint((1 - (double)momentum) * 1e6) / 1e6);
    CLQ_TRY(onnx_want_constant(load, node, 1, &vector));
    CLQ_TRY(onnx_node_name(load, node, vector->name, &name));
    inputs[0] = x.value;
    for (size_t i = 1; i < 5; i++) {
        CLQ_TRY(onnx_want_constant(load, node, i, &vector));
        if (vector->rank != 1 || vector->count == 0) {
            return onnx_fail(node, "%s must be a vector", roles[i]);
        }
        CLQ_TRY(onnx_add_float(load, node, vector, i < 3 ? CLQ_VALUE_PARAMETER : CLQ_VALUE_STATE,
                               (clq_shape){1, {vector->dim[0]}}, name, roles[i], &inputs[i]));
    }
    return onnx_add_node(load, node, "batch_norm", name, &attrs, inputs, 5, &x);
}

/* ---- Add ---- */

/* The convolution or linear layer whose bias the constant is: nothing comes between its sums and
 * the addition, and nobody else reads them. NULL: there is none. */
static clq_node *layer_before(const onnx_loader *load, const onnx_operand *x) {
    const clq_value *value = &load->graph->values[x->value];
    clq_node *made = value->producer >= 0 ? &load->graph->nodes[value->producer] : NULL;
    if (!made || made->input_count != 2 || value->q.count > 0 ||
        onnx_reader_count(load, x->value) != 1 ||
        load->graph->values[made->inputs[1]].dtype != CLQ_F32) {
        return NULL;
    }
    return clq_is_layer(made) && clq_node_act(made) == CLQ_ACT_NONE ? made : NULL;
}

/* Weights of 1 for a depthwise convolution: codes where its input is codes. */
static clq_status make_ones(onnx_loader *load, const onnx_operand *x, int64_t channels,
                            const onnx_constant **ones) {
    static const float scale = 1.0f / 127;
    const int64_t dim[4] = {channels, 1, 1, 1};
    onnx_constant *made;
    void *data;
    CLQ_TRY(onnx_constant_make(&load->arena, "", x->dequantized ? ONNX_INT8 : ONNX_FLOAT, 4, dim,
                               &made, &data));
    for (int64_t c = 0; c < channels; c++) {
        if (x->dequantized) {
            ((int8_t *)data)[c] = 127;
        } else {
            ((float *)data)[c] = 1;
        }
    }
    if (x->dequantized) {
        made->scale = &scale;
        made->scale_count = 1;
    }
    *ones = made;
    return CLQ_OK;
}

/* Anything else plus a constant: a depthwise 1x1 convolution with weights of 1. */
static clq_status add_offset(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                             const onnx_constant *constant, int64_t channels) {
    clq_conv2d_attrs attrs = {
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = (int)channels};
    const onnx_constant *ones;
    char *name;
    int inputs[3] = {x->value}, count;
    CLQ_TRY(make_ones(load, x, channels, &ones));
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    CLQ_TRY(onnx_add_weights(load, node, x, ones, constant, (clq_shape){4, {channels, 1, 1, 1}},
                             name, inputs, &count));
    return onnx_add_node(load, node, "conv2d", name, &attrs, inputs, count, x);
}

static clq_status add_constant(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                               const onnx_constant *constant) {
    const clq_shape *shape = &load->graph->values[x->value].shape;
    const int64_t channels = shape->dim[shape->rank - 1];
    /* (C, 1, 1) behind any ones for an image, (C) for (N, C). */
    const int axis = constant->rank - (shape->rank == 4 || x->unit_hw ? 3 : 1);
    const bool vector =
        axis >= 0 && constant->dim[axis] == channels && (int64_t)constant->count == channels;
    if ((!vector && constant->count != 1) || constant->rank > onnx_activation_dims(load, x).rank) {
        return onnx_fail(node,
                         "the constant must have one element for each of %lld channels, or "
                         "one for all, and no more dimensions than what it is added to",
                         (long long)channels);
    }
    clq_node *layer = layer_before(load, x);
    if (!layer || !vector) {
        return add_offset(load, node, x, constant, channels);
    }
    const int producer = (int)(layer - load->graph->nodes);
    int bias;
    CLQ_TRY(onnx_add_float(load, node, constant, CLQ_VALUE_PARAMETER, (clq_shape){1, {channels}},
                           layer->name, "bias", &bias));
    layer = &load->graph->nodes[producer];
    layer->inputs[2] = bias;
    layer->input_count = 3;
    return onnx_bind_output(load, node, x);
}

clq_status onnx_add(onnx_loader *load, onnx_node *node) {
    clq_add_attrs attrs = {CLQ_ACT_NONE};
    onnx_operand a, b;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    for (size_t i = 0; i < 2; i++) {
        const onnx_operand *operand = onnx_input(load, node, i);
        if (operand->constant) {
            CLQ_TRY(onnx_want_activation(load, node, 1 - i, &a, NULL));
            return add_constant(load, node, &a, operand->constant);
        }
    }
    CLQ_TRY(onnx_want_activation(load, node, 0, &a, NULL));
    CLQ_TRY(onnx_want_activation(load, node, 1, &b, NULL));
    if (a.unit_hw != b.unit_hw) {
        return onnx_fail(node, "adds (N, C) and (N, C, 1, 1)");
    }
    int inputs[2] = {a.value, b.value};
    return onnx_add_node(load, node, "add", NULL, &attrs, inputs, 2, &a);
}

/* ---- activations ---- */

/* In a quantized model the codes are those behind the activation, so it becomes part of the node
 * before it at once; in a float model that is left to clq_graph_fold. */
static clq_status add_activation(onnx_loader *load, onnx_node *node, const clq_op *op) {
    onnx_operand x;
    CLQ_TRY(onnx_want_activation(load, node, 0, &x, NULL));
    const clq_value *value = &load->graph->values[x.value];
    if (load->has_q && value->producer >= 0 && value->q.count == 0 &&
        onnx_reader_count(load, x.value) == 1) {
        clq_node *producer = &load->graph->nodes[value->producer];
        if (clq_node_fuse_act(producer, op->as_act)) {
            return onnx_bind_output(load, node, &x);
        }
    }
    return onnx_add_node(load, node, op->name, NULL, NULL, &x.value, 1, &x);
}

clq_status onnx_relu(onnx_loader *load, onnx_node *node) {
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    return add_activation(load, node, &clq_op_relu);
}

clq_status onnx_clip(onnx_loader *load, onnx_node *node) {
    float least = -FLT_MAX, most = FLT_MAX;
    const onnx_operand *x = onnx_input(load, node, 0);
    CLQ_TRY(onnx_want_inputs(node, 1, 3));
    if (x->codes || (x->constant && x->constant->type != ONNX_FLOAT)) {
        return onnx_clip_codes(load, node);
    }
    CLQ_TRY(onnx_attribute_float(node, "min", &least));
    CLQ_TRY(onnx_attribute_float(node, "max", &most));
    CLQ_TRY(onnx_want_scalar(load, node, 1, "min", least, &least));
    CLQ_TRY(onnx_want_scalar(load, node, 2, "max", most, &most));
    if (least == 0 && most == 6) {
        return add_activation(load, node, &clq_op_relu6);
    }
    if (least == 0 && most >= FLT_MAX) {
        return add_activation(load, node, &clq_op_relu);
    }
    return onnx_fail(node, "clips to %g..%g; only 0..6 and 0.. are supported", (double)least,
                     (double)most);
}

static clq_status add_elementwise(onnx_loader *load, onnx_node *node, const char *op) {
    onnx_operand x;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x, NULL));
    return onnx_add_node(load, node, op, NULL, NULL, &x.value, 1, &x);
}

clq_status onnx_tanh(onnx_loader *load, onnx_node *node) {
    return add_elementwise(load, node, "tanh");
}

clq_status onnx_sigmoid(onnx_loader *load, onnx_node *node) {
    return add_elementwise(load, node, "sigmoid");
}

clq_status onnx_dropout(onnx_loader *load, onnx_node *node) {
    clq_dropout_attrs attrs = {0.5f};
    onnx_operand x;
    float training;
    CLQ_TRY(onnx_want_inputs(node, 1, 3));
    CLQ_TRY(onnx_attribute_float(node, "ratio", &attrs.probability));
    CLQ_TRY(onnx_want_scalar(load, node, 1, "ratio", attrs.probability, &attrs.probability));
    CLQ_TRY(onnx_want_scalar(load, node, 2, "training_mode", 0, &training));
    if (training != 0) {
        onnx_note_training(load, node);
    }
    onnx_attribute_ignore(node, "seed");
    if (load->has_q) { /* nothing in inference */
        return onnx_pass_on(load, node);
    }
    CLQ_TRY(onnx_want_activation(load, node, 0, &x, NULL));
    return onnx_add_node(load, node, "dropout", NULL, &attrs, &x.value, 1, &x);
}

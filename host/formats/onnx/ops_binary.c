/* Operators of two operands, element by element. */
#include <string.h>

#include "formats/onnx/operators.h"
#include "graph/node.h"
#include "ops/layer.h"

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

/* Whether a constant has a number for each channel, which the value has last, or one for all. */
static clq_status check_channels(const onnx_loader *load, const onnx_node *node,
                                 const onnx_operand *x, const onnx_constant *constant,
                                 bool *vector) {
    const clq_shape *shape = &load->graph->values[x->value].shape;
    const int64_t channels = shape->dim[shape->rank - 1];
    const int more = x->rank - constant->rank;
    *vector = false;
    for (int k = 0; k < constant->rank && more >= 0; k++) {
        *vector = *vector || (constant->dim[k] == channels && constant->dim[k] > 1 &&
                              x->axis[k + more] == shape->rank - 1);
    }
    *vector = (*vector || channels == 1) && (int64_t)constant->count == channels;
    if (more < 0 || (!*vector && constant->count != 1)) {
        return onnx_fail(node,
                         "the constant must have one element for each of %lld channels, or "
                         "one for all, and no more dimensions than what it is added to",
                         (long long)channels);
    }
    return CLQ_OK;
}

static clq_status add_constant(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                               const onnx_constant *constant) {
    const clq_shape *shape = &load->graph->values[x->value].shape;
    const int64_t channels = shape->dim[shape->rank - 1];
    bool vector;
    CLQ_TRY(check_channels(load, node, x, constant, &vector));
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

static clq_status read_add(onnx_loader *load, onnx_node *node) {
    clq_add_attrs attrs = {CLQ_ACT_NONE};
    onnx_operand a, b, out;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    for (size_t i = 0; i < 2; i++) {
        const onnx_operand *operand = onnx_input(load, node, i);
        if (operand->constant) {
            CLQ_TRY(onnx_want_features(load, node, 1 - i, &a));
            return add_constant(load, node, &a, operand->constant);
        }
    }
    CLQ_TRY(onnx_want_features(load, node, 0, &a));
    CLQ_TRY(onnx_want_features(load, node, 1, &b));
    CLQ_TRY(onnx_match(load, node, &a, &b, &out));
    int inputs[2] = {a.value, b.value};
    return onnx_add_node(load, node, "add", NULL, &attrs, inputs, 2, &out);
}

static clq_status write_add(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                            size_t count) {
    const clq_add_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    onnx_save_plan(chain, "Add", attrs->act);
    CLQ_TRY(onnx_save_step(chain, "Add", inputs, count, &node));
    return onnx_save_finish(chain, attrs->act);
}

const onnx_operator onnx_binary_operators[] = {
    {"Add", .read = read_add, .op = "add", .write = write_add},
    {"Sum", .read = read_add},
    {0},
};

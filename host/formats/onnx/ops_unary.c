/* Operators of one operand, element by element. */
#include <float.h>
#include <string.h>

#include "formats/onnx/operators.h"
#include "graph/node.h"
#include "ops/layer.h"

/* In a quantized model the codes are those behind the activation, so it becomes part of the node
 * before it at once; in a float model that is left to clq_graph_fold. */
static clq_status add_activation(onnx_loader *load, onnx_node *node, const clq_op *op) {
    onnx_operand x;
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
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

static clq_status read_relu(onnx_loader *load, onnx_node *node) {
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    return add_activation(load, node, &clq_op_relu);
}

static clq_status read_clip(onnx_loader *load, onnx_node *node) {
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
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    return onnx_add_node(load, node, op, NULL, NULL, &x.value, 1, &x);
}

static clq_status read_tanh(onnx_loader *load, onnx_node *node) {
    return add_elementwise(load, node, "tanh");
}

static clq_status read_sigmoid(onnx_loader *load, onnx_node *node) {
    return add_elementwise(load, node, "sigmoid");
}

static clq_status read_dropout(onnx_loader *load, onnx_node *node) {
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
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    return onnx_add_node(load, node, "dropout", NULL, &attrs, &x.value, 1, &x);
}

static clq_status write_dropout(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                                size_t count) {
    static const char op[] = "Dropout";
    const clq_dropout_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    const char *with_ratio[2] = {inputs[0]};
    (void)count;
    onnx_save_plan(chain, op, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_scalar(chain->save, "dropout_ratio", attrs->probability, &with_ratio[1]));
    CLQ_TRY(onnx_save_step(chain, op, with_ratio, 2, &node));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

static clq_status write_relu6(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                              size_t count) {
    (void)graph_node;
    (void)count;
    chain->current = inputs[0];
    onnx_save_plan(chain, "Clip", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_clip(chain));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

const onnx_operator onnx_unary_operators[] = {
    {"Relu", .read = read_relu, .op = "relu", .write = onnx_write_plain},
    {"Clip", .read = read_clip, .op = "relu6", .write = write_relu6},
    {"Tanh", .read = read_tanh, .op = "tanh", .write = onnx_write_plain},
    {"Sigmoid", .read = read_sigmoid, .op = "sigmoid", .write = onnx_write_plain},
    {"Dropout", .read = read_dropout, .op = "dropout", .write = write_dropout},
    {0},
};

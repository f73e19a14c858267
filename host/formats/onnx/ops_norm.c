/* Normalization. */
#include <math.h>

#include "formats/onnx/operators.h"

/* The channels, the file's axis 1, last. */
static clq_status arrange_channels(onnx_loader *load, const onnx_node *node, onnx_operand *x) {
    int places[CLQ_MAX_RANK] = {0};
    if (x->rank < 2 || x->rank > CLQ_MAX_RANK) {
        return onnx_fail(node, "input has %d dimensions, must have 2..%d", x->rank, CLQ_MAX_RANK);
    }
    if (x->axis[1] == load->graph->values[x->value].shape.rank - 1) {
        return CLQ_OK;
    }
    for (int p = 1; p < x->rank; p++) {
        places[p] = p == x->rank - 1 ? 1 : p + 1;
    }
    return onnx_arrange(load, node, x, x->rank, places);
}

static clq_status read_batch_norm(onnx_loader *load, onnx_node *node) {
    static const char *const roles[5] = {NULL, "weight", "bias", "running_mean", "running_var"};
    clq_batch_norm_attrs attrs = {.epsilon = 1e-5f};
    onnx_operand x;
    const onnx_constant *vector;
    int inputs[5];
    char *name;
    int64_t spatial = 1, training = 0;
    float momentum = 0.9f;
    CLQ_TRY(onnx_want_inputs(node, 5, 5));
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    CLQ_TRY(arrange_channels(load, node, &x));
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

static clq_status write_batch_norm(onnx_chain *chain, const clq_node *graph_node,
                                   const char **inputs, size_t count) {
    static const char op[] = "BatchNormalization";
    const clq_batch_norm_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    onnx_save_plan(chain, op, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, op, inputs, count, &node));
    CLQ_TRY(onnx_save_float(chain->save, node, "epsilon", attrs->epsilon));
    CLQ_TRY(onnx_save_float(chain->save, node, "momentum", (float)(1 - (double)attrs->momentum)));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

const onnx_operator onnx_norm_operators[] = {
    {"BatchNormalization", .read = read_batch_norm, .op = "batch_norm", .write = write_batch_norm},
    {0},
};

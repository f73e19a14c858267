/* Matrices times vectors: Gemm and MatMul, of which the graph makes linear layers. */
#include "formats/onnx/operators.h"

static clq_status add_linear(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                             const onnx_constant *weight, const onnx_constant *bias,
                             bool transposed) {
    static const int swap[2] = {1, 0}, places[2] = {0, 1};
    clq_linear_attrs attrs = {CLQ_ACT_NONE};
    clq_shape shape;
    char *name;
    int inputs[3], count;
    if (x->rank != 2) {
        return onnx_fail(
            node, "its input has %d dimensions, must be (N, features); flatten it before", x->rank);
    }
    CLQ_TRY(onnx_arrange(load, node, x, 2, places));
    inputs[0] = x->value;
    CLQ_TRY(onnx_weight_shape(node, weight, 2, &shape));
    if (!transposed) { /* (IN, OUT) -> (OUT, IN) */
        onnx_constant *turned;
        CLQ_TRY(onnx_constant_transpose(&load->arena, weight, swap, &turned));
        weight = turned;
        CLQ_TRY(onnx_weight_shape(node, weight, 2, &shape));
    }
    CLQ_TRY(onnx_node_name(load, node, weight->name, &name));
    CLQ_TRY(onnx_add_weights(load, node, x, weight, bias, shape, name, inputs, &count));
    return onnx_add_node(load, node, "linear", name, &attrs, inputs, count, NULL);
}

static clq_status read_gemm(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const onnx_constant *weight, *bias;
    int64_t trans_a = 0, trans_b = 0;
    float alpha = 1, beta = 1;
    CLQ_TRY(onnx_want_inputs(node, 2, 3));
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
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

static clq_status read_matmul(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const onnx_constant *weight;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    CLQ_TRY(onnx_want_constant(load, node, 1, &weight));
    return add_linear(load, node, &x, weight, NULL, false);
}

static clq_status write_gemm(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                             size_t count) {
    const clq_linear_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    onnx_save_plan(chain, "Gemm", attrs->act);
    CLQ_TRY(onnx_save_step(chain, "Gemm", inputs, count, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "transB", 1));
    return onnx_save_finish(chain, attrs->act);
}

const onnx_operator onnx_linear_operators[] = {
    {"Gemm", .read = read_gemm, .op = "linear", .write = write_gemm},
    {"MatMul", .read = read_matmul},
    {0},
};

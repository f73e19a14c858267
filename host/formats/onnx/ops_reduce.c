/* Reductions. */
#include "formats/onnx/operators.h"

static clq_status read_reduce_mean(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const int64_t *axes;
    size_t count = 0;
    int64_t keepdims = 1;
    unsigned seen = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 2));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x, NULL));
    onnx_attribute_ignore(node, "noop_with_empty_axes");
    CLQ_TRY(onnx_attribute_int(node, "keepdims", 0, 1, &keepdims));
    CLQ_TRY(onnx_attribute_ints(node, "axes", &axes, &count));
    if (count == 0) {
        CLQ_TRY(onnx_want_integers(load, node, 1, "axes", &axes, &count));
    }
    for (size_t i = 0; i < count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + 4 : axes[i];
        seen |= axis == 2 || axis == 3 ? 1u << axis : 1;
    }
    if (onnx_activation_dims(load, &x).rank != 4 || seen != 12) {
        return onnx_fail(node, "only the mean over height and width of (N, C, H, W) is supported");
    }
    return onnx_add_global_pool(load, node, &x, keepdims != 0);
}

const onnx_operator onnx_reduce_operators[] = {
    {"ReduceMean", .read = read_reduce_mean},
    {0},
};

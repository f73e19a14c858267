/* Reductions. */
#include "formats/onnx/operators.h"

/* The axes that a node reduces, as bits. */
static clq_status read_reduced(onnx_loader *load, onnx_node *node, const onnx_operand *x,
                               unsigned *reduced) {
    const int64_t *axes;
    size_t count = 0;
    CLQ_TRY(onnx_attribute_ints(node, "axes", &axes, &count));
    if (count == 0) {
        CLQ_TRY(onnx_want_integers(load, node, 1, "axes", &axes, &count));
    }
    *reduced = 0;
    for (size_t i = 0; i < count; i++) {
        int axis;
        CLQ_TRY(onnx_want_axis(node, x, axes[i], &axis));
        *reduced |= 1u << axis;
    }
    return CLQ_OK;
}

static clq_status read_reduce_mean(onnx_loader *load, onnx_node *node) {
    onnx_operand x, out = {.rank = 0};
    int64_t keepdims = 1;
    unsigned reduced, stored = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 2));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    onnx_attribute_ignore(node, "noop_with_empty_axes");
    CLQ_TRY(onnx_attribute_int(node, "keepdims", 0, 1, &keepdims));
    CLQ_TRY(read_reduced(load, node, &x, &reduced));
    const bool row = onnx_is_row(load, &x);
    for (int k = 0; k < x.rank; k++) {
        const int axis = x.axis[k];
        if (reduced & 1u << k) {
            stored |= axis >= 0 ? 1u << axis : 0;
            if (keepdims) {
                out.axis[out.rank++] = -1;
            }
        } else {
            out.axis[out.rank++] = axis == 3 ? 1 : axis;
        }
    }
    if (x.rank != 4 || stored != (row ? 0 : 6) || __builtin_popcount(reduced) != 2 ||
        (!row && load->graph->values[x.value].shape.rank != 4)) {
        return onnx_fail(node, "only the mean over height and width of (N, C, H, W) is supported");
    }
    return onnx_add_global_pool(load, node, &x, &out);
}

const onnx_operator onnx_reduce_operators[] = {
    {"ReduceMean", .read = read_reduce_mean},
    {0},
};

/* Nodes that only compute constants: what their functions share. The operators are in ops_*.c. */
#include <string.h>

#include "base/checked.h"
#include "formats/onnx/operators.h"

const onnx_constant *onnx_constant_in(const onnx_loader *load, const onnx_node *node,
                                      size_t index) {
    const onnx_operand *operand = onnx_input(load, node, index);
    return operand ? operand->constant : NULL;
}

clq_status onnx_fold_make(onnx_loader *load, const onnx_node *node, onnx_type type, int rank,
                          const int64_t *dim, onnx_constant **out, void **data) {
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        size_t extent;
        if (!clq_narrow_size(dim[i], &extent) || !clq_mul_size(count, extent, &count) ||
            count > ONNX_MAX_FOLDED) {
            return onnx_fail(
                node, "computes a constant of more than %d elements; compute it before the export",
                ONNX_MAX_FOLDED);
        }
    }
    return onnx_constant_make(&load->arena, onnx_output_name(node), type, rank, dim, out, data);
}

/* A constant with the same elements in another shape. */
clq_status onnx_fold_reshaped(onnx_loader *load, const onnx_node *node, const onnx_constant *from,
                              int rank, const int64_t *dim) {
    void *copy;
    if (from->scale_count > 1) {
        return onnx_fail(
            node, "reshapes weights quantized per channel; quantize them in their last shape");
    }
    CLQ_TRY(clq_arena_copy(&load->arena, from, sizeof *from, &copy));
    onnx_constant *out = copy;
    out->name = onnx_output_name(node);
    out->rank = rank;
    for (int i = 0; i < rank; i++) {
        out->dim[i] = dim[i];
    }
    return onnx_bind_constant(load, node, out);
}

/* An index along an axis of `extent`, counted from the end when negative. */
bool onnx_wrap(int64_t *index, int64_t extent) {
    if (*index < 0) {
        *index += extent;
    }
    return *index >= 0 && *index < extent;
}

clq_status onnx_fold_node(onnx_loader *load, onnx_node *node, bool *done) {
    const onnx_operator *found = onnx_find_folder(node->op);
    *done = false;
    if (!found || (!found->folds_activations && onnx_input_count(node) == 0)) {
        return CLQ_OK;
    }
    for (size_t i = 0; !found->folds_activations && i < onnx_input_count(node); i++) {
        const onnx_operand *operand = onnx_input(load, node, i);
        if (operand ? !operand->constant : i == 0) {
            return CLQ_OK;
        }
    }
    *done = true;
    return found->fold(load, node);
}

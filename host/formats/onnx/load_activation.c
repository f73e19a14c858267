/* Activations as the nodes of the file read and make them. */
#include <string.h>

#include "formats/onnx/load.h"

onnx_dims onnx_activation_dims(const onnx_loader *load, const onnx_operand *operand) {
    const clq_shape *shape = &load->graph->values[operand->value].shape;
    onnx_dims dims = {.rank = shape->rank, .dim = {load->batch, shape->dim[1], 1, 1}};
    if (shape->rank == 4) {
        dims.dim[1] = shape->dim[3];
        for (int axis = 0; axis < 2; axis++) {
            int stride = operand->stride[axis] > 0 ? operand->stride[axis] : 1;
            dims.dim[2 + axis] = (shape->dim[1 + axis] - 1) / stride + 1 + operand->pad[axis] +
                                 operand->pad[axis + 2];
        }
    } else if (operand->unit_hw) {
        dims.rank = 4;
    }
    return dims;
}

/* The input as it is bound. */
clq_status onnx_peek(const onnx_loader *load, const onnx_node *node, size_t index,
                     onnx_operand *operand) {
    const onnx_operand *found = onnx_input(load, node, index);
    if (!found || found->constant) {
        return onnx_fail(node, "input %zu \"%.100s\" must be an activation", index,
                         onnx_input_name(node, index));
    }
    if (found->codes) {
        return onnx_fail(node, "input \"%.100s\" holds codes; only DequantizeLinear may read them",
                         onnx_input_name(node, index));
    }
    *operand = *found;
    return CLQ_OK;
}

clq_status onnx_add_node(onnx_loader *load, const onnx_node *node, const char *op, const char *name,
                         const void *attrs, const int *inputs, int input_count,
                         const onnx_operand *like) {
    onnx_operand out = {.unit_hw = like && like->unit_hw};
    char *own;
    if (!name) {
        CLQ_TRY(onnx_node_name(load, node, NULL, &own));
        name = own;
    }
    CLQ_TRY(clq_graph_add_node(load->graph, op, name, attrs, inputs, input_count, &out.value));
    return onnx_bind_output(load, node, &out);
}

clq_status onnx_make_slice(onnx_loader *load, onnx_operand *operand) {
    if (operand->stride[0] == 0) {
        return CLQ_OK;
    }
    clq_pool_attrs attrs = {.kernel = {1, 1}, .stride = {operand->stride[0], operand->stride[1]}};
    char *wanted, *name;
    CLQ_TRY(clq_arena_format(&load->arena, &wanted, "%s.slice",
                             load->graph->values[operand->value].name));
    CLQ_TRY(onnx_unique_name(load, wanted, &name));
    CLQ_TRY(clq_graph_add_node(load->graph, "max_pool", name, &attrs, &operand->value, 1,
                               &operand->value));
    operand->stride[0] = operand->stride[1] = 0;
    operand->dequantized = false;
    return CLQ_OK;
}

/* The input to be seen in another way: not read yet. */
clq_status onnx_view(onnx_loader *load, const onnx_node *node, onnx_operand *operand) {
    static const int no_pad[4];
    CLQ_TRY(onnx_peek(load, node, 0, operand));
    if (operand->stride[0] > 0) {
        CLQ_TRY(onnx_note_read(load, operand));
        CLQ_TRY(onnx_make_slice(load, operand));
    }
    if (memcmp(operand->pad, no_pad, sizeof no_pad) != 0) {
        return onnx_fail(node, "reads a padded image; Pad is only supported before Conv");
    }
    return CLQ_OK;
}

clq_status onnx_want_activation(onnx_loader *load, const onnx_node *node, size_t index,
                                onnx_operand *operand, int *pad) {
    static const int no_pad[4];
    CLQ_TRY(onnx_peek(load, node, index, operand));
    CLQ_TRY(onnx_note_read(load, operand));
    CLQ_TRY(onnx_make_slice(load, operand));
    if (pad) {
        memcpy(pad, operand->pad, sizeof operand->pad);
    } else if (memcmp(operand->pad, no_pad, sizeof no_pad) != 0) {
        return onnx_fail(node, "reads a padded image; Pad is only supported before Conv");
    }
    memset(operand->pad, 0, sizeof operand->pad);
    return CLQ_OK;
}

clq_status onnx_pass_on(onnx_loader *load, const onnx_node *node) {
    onnx_operand x;
    CLQ_TRY(onnx_peek(load, node, 0, &x));
    return onnx_bind_output(load, node, &x);
}

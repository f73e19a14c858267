/* Nodes that loading adds to what a file has. */
#include "formats/onnx/load.h"

clq_status onnx_new_proto(onnx_loader *load, const char *op, const char *const *inputs,
                          size_t count, const char *output, Onnx__NodeProto **node) {
    void *made, *names;
    CLQ_TRY(clq_arena_take(&load->arena, 1, sizeof **node, &made));
    CLQ_TRY(clq_arena_take(&load->arena, count + 1, sizeof(char *), &names));
    *node = made;
    onnx__node_proto__init(*node);
    (*node)->op_type = (char *)op;
    (*node)->input = names;
    (*node)->n_input = count;
    for (size_t i = 0; inputs && i < count; i++) {
        (*node)->input[i] = (char *)inputs[i];
    }
    (*node)->output = (char **)names + count;
    (*node)->output[0] = (char *)output;
    (*node)->n_output = 1;
    return CLQ_OK;
}

clq_status onnx_give_axis(onnx_loader *load, Onnx__NodeProto *node, int axis) {
    void *memory;
    CLQ_TRY(clq_arena_take(&load->arena, 1, sizeof(Onnx__AttributeProto), &memory));
    Onnx__AttributeProto *attribute = memory;
    onnx__attribute_proto__init(attribute);
    attribute->name = (char *)"axis";
    attribute->has_type = attribute->has_i = true;
    attribute->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    attribute->i = axis;
    CLQ_TRY(clq_arena_copy(&load->arena, &attribute, sizeof attribute, &memory));
    node->attribute = memory;
    node->n_attribute = 1;
    return CLQ_OK;
}

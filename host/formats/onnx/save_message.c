/* Making ONNX messages. All of them live in the saver's arena. */
#include <string.h>

#include "formats/onnx/save.h"

clq_status onnx_save_name(onnx_saver *save, clq_names *names, const char *wanted,
                          const char **name) {
    char *made;
    CLQ_TRY(clq_arena_format(&save->arena, &made, "%s", wanted));
    for (int i = 2; clq_names_find(names, made) >= 0; i++) {
        CLQ_TRY(clq_arena_format(&save->arena, &made, "%s_%d", wanted, i));
    }
    *name = made;
    return clq_names_set(names, made, 1);
}

/* The pointer array with room for one more; old arrays stay in the arena. */
static clq_status grow(onnx_saver *save, void *array, size_t count, size_t *capacity) {
    void *larger;
    if (count < *capacity) {
        return CLQ_OK;
    }
    size_t doubled = *capacity ? *capacity * 2 : 64;
    CLQ_TRY(clq_arena_take(&save->arena, doubled, sizeof(void *), &larger));
    void **old = *(void ***)array;
    if (count > 0) {
        memcpy(larger, old, count * sizeof(void *));
    }
    memcpy(array, &larger, sizeof larger);
    *capacity = doubled;
    return CLQ_OK;
}

/* ---- nodes ---- */

clq_status onnx_save_keep(onnx_saver *save, Onnx__NodeProto *node) {
    CLQ_TRY(grow(save, &save->node, save->node_count, &save->node_capacity));
    save->node[save->node_count++] = node;
    return CLQ_OK;
}

clq_status onnx_save_node(onnx_saver *save, const char *op, const char *name,
                          const char *const *inputs, size_t input_count, const char *output,
                          Onnx__NodeProto **node) {
    void *made, *in, *out, *attributes;
    const char *unique;
    CLQ_TRY(onnx_save_name(save, &save->nodes, name, &unique));
    CLQ_TRY(clq_arena_take(&save->arena, 1, sizeof **node, &made));
    CLQ_TRY(clq_arena_copy(&save->arena, inputs, input_count * sizeof *inputs, &in));
    CLQ_TRY(clq_arena_copy(&save->arena, &output, sizeof output, &out));
    CLQ_TRY(clq_arena_take(&save->arena, ONNX_SAVE_MAX_ATTRIBUTES, sizeof(void *), &attributes));
    *node = made;
    onnx__node_proto__init(*node);
    (*node)->op_type = (char *)op; /* packing only reads */
    (*node)->name = (char *)unique;
    (*node)->input = in;
    (*node)->n_input = input_count;
    (*node)->output = out;
    (*node)->n_output = 1;
    (*node)->attribute = attributes;
    return onnx_save_keep(save, *node);
}

static clq_status add_attribute(onnx_saver *save, Onnx__NodeProto *node, const char *name,
                                Onnx__AttributeProto__AttributeType type,
                                Onnx__AttributeProto **attribute) {
    void *made;
    if (node->n_attribute == ONNX_SAVE_MAX_ATTRIBUTES) {
        return clq_fail(CLQ_INTERNAL, "%s \"%s\": too many attributes", node->op_type, node->name);
    }
    CLQ_TRY(clq_arena_take(&save->arena, 1, sizeof **attribute, &made));
    *attribute = made;
    onnx__attribute_proto__init(*attribute);
    (*attribute)->name = (char *)name;
    (*attribute)->has_type = true;
    (*attribute)->type = type;
    node->attribute[node->n_attribute++] = *attribute;
    return CLQ_OK;
}

clq_status onnx_save_int(onnx_saver *save, Onnx__NodeProto *node, const char *name, int64_t value) {
    Onnx__AttributeProto *attribute = NULL;
    CLQ_TRY(
        add_attribute(save, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT, &attribute));
    attribute->has_i = true;
    attribute->i = value;
    return CLQ_OK;
}

clq_status onnx_save_float(onnx_saver *save, Onnx__NodeProto *node, const char *name, float value) {
    Onnx__AttributeProto *attribute = NULL;
    CLQ_TRY(
        add_attribute(save, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT, &attribute));
    attribute->has_f = true;
    attribute->f = value;
    return CLQ_OK;
}

clq_status onnx_save_text(onnx_saver *save, Onnx__NodeProto *node, const char *name,
                          const char *text) {
    Onnx__AttributeProto *attribute = NULL;
    CLQ_TRY(
        add_attribute(save, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING, &attribute));
    attribute->has_s = true;
    attribute->s = (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
    return CLQ_OK;
}

clq_status onnx_save_ints(onnx_saver *save, Onnx__NodeProto *node, const char *name,
                          const int *values, size_t count) {
    Onnx__AttributeProto *attribute = NULL;
    void *ints;
    CLQ_TRY(
        add_attribute(save, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS, &attribute));
    CLQ_TRY(clq_arena_take(&save->arena, count, sizeof *attribute->ints, &ints));
    attribute->ints = ints;
    attribute->n_ints = count;
    for (size_t i = 0; i < count; i++) {
        attribute->ints[i] = values[i];
    }
    return CLQ_OK;
}

/* ---- initializers ---- */

clq_status onnx_save_tensor(onnx_saver *save, const char *wanted, int type, int rank,
                            const int64_t *dim, const void *data, size_t size, const char **name) {
    void *made, *dims;
    CLQ_TRY(grow(save, &save->tensor, save->tensor_count, &save->tensor_capacity));
    CLQ_TRY(onnx_save_name(save, &save->values, wanted, name));
    CLQ_TRY(clq_arena_take(&save->arena, 1, sizeof(Onnx__TensorProto), &made));
    CLQ_TRY(clq_arena_copy(&save->arena, dim, (size_t)rank * sizeof *dim, &dims));
    Onnx__TensorProto *tensor = made;
    onnx__tensor_proto__init(tensor);
    tensor->name = (char *)*name;
    tensor->has_data_type = true;
    tensor->data_type = type;
    tensor->dims = dims;
    tensor->n_dims = (size_t)rank;
    tensor->has_raw_data = true;
    tensor->raw_data = (ProtobufCBinaryData){.len = size, .data = (uint8_t *)data};
    save->tensor[save->tensor_count++] = tensor;
    return CLQ_OK;
}

clq_status onnx_save_scalar(onnx_saver *save, const char *wanted, float value, const char **name) {
    void *copy;
    CLQ_TRY(clq_arena_copy(&save->arena, &value, sizeof value, &copy));
    return onnx_save_tensor(save, wanted, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 0, NULL, copy,
                            sizeof value, name);
}

clq_status onnx_save_longs(onnx_saver *save, const char *wanted, const int64_t *values,
                           size_t count, const char **name) {
    void *copy;
    int64_t dim = (int64_t)count;
    CLQ_TRY(clq_arena_copy(&save->arena, values, count * sizeof *values, &copy));
    return onnx_save_tensor(save, wanted, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, &dim, copy,
                            count * sizeof *values, name);
}

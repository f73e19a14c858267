/* Constants that a file writes as nodes; Identity and Cast. */
#include <limits.h>
#include <string.h>

#include "formats/onnx/operators.h"

static clq_status fold_constant(onnx_loader *load, onnx_node *node) {
    const Onnx__AttributeProto *attribute;
    const char *name = onnx_output_name(node);
    const onnx_constant *read = NULL;
    onnx_constant *made = NULL;
    void *data;
    if ((attribute = onnx_attribute(node, "value")) && attribute->t) {
        CLQ_TRY(onnx_constant_read(load, attribute->t, name, &read));
    } else if ((attribute = onnx_attribute(node, "value_float"))) {
        CLQ_TRY(onnx_fold_make(load, node, ONNX_FLOAT, 0, NULL, &made, &data));
        memcpy(data, &attribute->f, sizeof attribute->f);
    } else if ((attribute = onnx_attribute(node, "value_int"))) {
        CLQ_TRY(onnx_fold_make(load, node, ONNX_INT64, 0, NULL, &made, &data));
        memcpy(data, &attribute->i, sizeof attribute->i);
    } else if ((attribute = onnx_attribute(node, "value_ints"))) {
        int64_t count = (int64_t)attribute->n_ints;
        CLQ_TRY(onnx_fold_make(load, node, ONNX_INT64, 1, &count, &made, &data));
        if (count > 0) {
            memcpy(data, attribute->ints, (size_t)count * sizeof *attribute->ints);
        }
    } else if ((attribute = onnx_attribute(node, "value_floats"))) {
        int64_t count = (int64_t)attribute->n_floats;
        CLQ_TRY(onnx_fold_make(load, node, ONNX_FLOAT, 1, &count, &made, &data));
        if (count > 0) {
            memcpy(data, attribute->floats, (size_t)count * sizeof *attribute->floats);
        }
    } else {
        return onnx_fail(node,
                         "has none of value, value_int, value_ints, value_float and value_floats");
    }
    return onnx_bind_constant(load, node, made ? made : read);
}

static clq_status fold_constant_of_shape(onnx_loader *load, onnx_node *node) {
    const int64_t *dim;
    size_t rank;
    const onnx_constant *value = NULL;
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_want_integers(load, node, 0, "the shape", &dim, &rank));
    const Onnx__AttributeProto *attribute = onnx_attribute(node, "value");
    if (attribute && attribute->t) {
        CLQ_TRY(onnx_constant_read(load, attribute->t, onnx_output_name(node), &value));
    }
    if (rank > ONNX_MAX_RANK || (value && value->count != 1)) {
        return onnx_fail(node, "shape or value is out of range");
    }
    onnx_type type = value ? value->type : ONNX_FLOAT;
    CLQ_TRY(onnx_fold_make(load, node, type, (int)rank, dim, &out, &data));
    size_t size = onnx_type_size(type);
    for (size_t i = 0; value && i < out->count; i++) {
        memcpy((char *)data + i * size, value->data, size);
    }
    return onnx_bind_constant(load, node, out);
}

static clq_status fold_shape(onnx_loader *load, onnx_node *node) {
    const onnx_operand *x = onnx_input(load, node, 0);
    int64_t dim[ONNX_MAX_RANK], rank, start = 0, end = ONNX_MAX_RANK;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    if (x->constant) {
        rank = x->constant->rank;
        memcpy(dim, x->constant->dim, sizeof dim);
    } else {
        onnx_dims dims = onnx_activation_dims(load, x);
        rank = dims.rank;
        memcpy(dim, dims.dim, sizeof dims.dim);
    }
    CLQ_TRY(onnx_attribute_int(node, "start", -ONNX_MAX_RANK, ONNX_MAX_RANK, &start));
    CLQ_TRY(onnx_attribute_int(node, "end", INT_MIN, INT_MAX, &end));
    start += start < 0 ? rank : 0;
    end += end < 0 ? rank : 0;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    int64_t count = end - start;
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_fold_make(load, node, ONNX_INT64, 1, &count, &out, &data));
    memcpy(data, dim + start, (size_t)count * sizeof *dim);
    return onnx_bind_constant(load, node, out);
}

/* ---- Identity, Cast ---- */

static clq_status read_identity(onnx_loader *load, onnx_node *node) {
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    return onnx_pass_on(load, node);
}

clq_status onnx_fold_identity(onnx_loader *load, onnx_node *node) {
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    void *copy;
    CLQ_TRY(clq_arena_copy(&load->arena, onnx_constant_in(load, node, 0), sizeof(onnx_constant),
                           &copy));
    onnx_constant *alias = copy;
    alias->name = onnx_output_name(node); /* torch's second name of equal parameters */
    return onnx_bind_constant(load, node, alias);
}

static clq_status read_cast(onnx_loader *load, onnx_node *node) {
    int64_t to = 0;
    char name[32];
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_attribute_int(node, "to", 0, INT_MAX, &to));
    onnx_attribute_ignore(node, "saturate");
    if (!onnx_is_real(to)) {
        return onnx_fail(node, "casts an activation to %s; only floats are supported",
                         onnx_type_name(to, name, sizeof name));
    }
    onnx_note_type(load, to);
    return onnx_pass_on(load, node);
}

const onnx_operator onnx_constant_operators[] = {
    {"Constant", .fold = fold_constant, .folds_activations = true},
    {"ConstantOfShape", .fold = fold_constant_of_shape},
    {"Shape", .fold = fold_shape, .folds_activations = true},
    {"Identity", .read = read_identity, .fold = onnx_fold_identity},
    {"Cast", .read = read_cast},
    {0},
};

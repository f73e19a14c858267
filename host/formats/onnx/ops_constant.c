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

static clq_status fold_identity(onnx_loader *load, onnx_node *node) {
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

static clq_status fold_cast(onnx_loader *load, onnx_node *node) {
    int64_t to = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_attribute_int(node, "to", 0, INT_MAX, &to));
    onnx_attribute_ignore(node, "saturate");
    const onnx_constant *from = onnx_constant_in(load, node, 0);
    if (onnx_is_real(to)) { /* all floats are read as float32 */
        onnx_note_type(load, to);
        to = ONNX_FLOAT;
    }
    const bool real = from->scale || from->type == ONNX_FLOAT;
    if (real ? to == ONNX_FLOAT : to == (int64_t)from->type) {
        return fold_identity(load, node);
    }
    onnx_constant *out;
    void *data;
    bool known = to == ONNX_INT64 || to == ONNX_INT32 || to == ONNX_FLOAT;
    if (!known || from->scale || (from->type != ONNX_INT32 && from->type != ONNX_INT64)) {
        char from_name[32], to_name[32];
        return onnx_fail(node, "casts constants from %s to %s, which is not supported",
                         onnx_type_name(from->type, from_name, sizeof from_name),
                         onnx_type_name(to, to_name, sizeof to_name));
    }
    CLQ_TRY(onnx_fold_make(load, node, (onnx_type)to, from->rank, from->dim, &out, &data));
    for (size_t i = 0; i < from->count; i++) {
        int64_t value = from->type == ONNX_INT64 ? ((const int64_t *)from->data)[i]
                                                 : ((const int32_t *)from->data)[i];
        if (to == ONNX_FLOAT) {
            ((float *)data)[i] = (float)value;
        } else if (to == ONNX_INT64) {
            ((int64_t *)data)[i] = value;
        } else if (value < INT32_MIN || value > INT32_MAX) {
            return onnx_fail(node, "%lld does not fit 32 bits", (long long)value);
        } else {
            ((int32_t *)data)[i] = (int32_t)value;
        }
    }
    return onnx_bind_constant(load, node, out);
}

const onnx_operator onnx_constant_operators[] = {
    {"Constant", .fold = fold_constant, .folds_activations = true},
    {"ConstantOfShape", .fold = fold_constant_of_shape},
    {"Shape", .fold = fold_shape, .folds_activations = true},
    {"Identity", .read = read_identity, .fold = fold_identity},
    {"Cast", .read = read_cast, .fold = fold_cast},
    {0},
};

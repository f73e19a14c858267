/* Nodes that only compute constants: the shape arithmetic that exporters leave behind, transposed
 * weights, aliases. All values are known while the file is read, except for the batch (ONNX_BATCH),
 * which may be moved around but not be calculated with. */
#include <limits.h>
#include <string.h>

#include "base/checked.h"
#include "formats/onnx_load.h"

static const onnx_constant *in(const onnx_loader *load, const onnx_node *node, size_t index) {
    const onnx_operand *operand = onnx_input(load, node, index);
    return operand ? operand->constant : NULL;
}

static clq_status make(onnx_loader *load, const onnx_node *node, onnx_type type, int rank,
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
static clq_status reshaped(onnx_loader *load, const onnx_node *node, const onnx_constant *from,
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
static bool wrap(int64_t *index, int64_t extent) {
    if (*index < 0) {
        *index += extent;
    }
    return *index >= 0 && *index < extent;
}

/* ---- values out of nothing ---- */

static clq_status fold_constant(onnx_loader *load, onnx_node *node) {
    const Onnx__AttributeProto *attribute;
    const char *name = onnx_output_name(node);
    const onnx_constant *read = NULL;
    onnx_constant *made = NULL;
    void *data;
    if ((attribute = onnx_attribute(node, "value")) && attribute->t) {
        CLQ_TRY(onnx_constant_read(load, attribute->t, name, &read));
    } else if ((attribute = onnx_attribute(node, "value_float"))) {
        CLQ_TRY(make(load, node, ONNX_FLOAT, 0, NULL, &made, &data));
        memcpy(data, &attribute->f, sizeof attribute->f);
    } else if ((attribute = onnx_attribute(node, "value_int"))) {
        CLQ_TRY(make(load, node, ONNX_INT64, 0, NULL, &made, &data));
        memcpy(data, &attribute->i, sizeof attribute->i);
    } else if ((attribute = onnx_attribute(node, "value_ints"))) {
        int64_t count = (int64_t)attribute->n_ints;
        CLQ_TRY(make(load, node, ONNX_INT64, 1, &count, &made, &data));
        if (count > 0) {
            memcpy(data, attribute->ints, (size_t)count * sizeof *attribute->ints);
        }
    } else if ((attribute = onnx_attribute(node, "value_floats"))) {
        int64_t count = (int64_t)attribute->n_floats;
        CLQ_TRY(make(load, node, ONNX_FLOAT, 1, &count, &made, &data));
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
    CLQ_TRY(make(load, node, type, (int)rank, dim, &out, &data));
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
    CLQ_TRY(make(load, node, ONNX_INT64, 1, &count, &out, &data));
    memcpy(data, dim + start, (size_t)count * sizeof *dim);
    return onnx_bind_constant(load, node, out);
}

/* ---- moving values ---- */

static clq_status fold_gather(onnx_loader *load, onnx_node *node) {
    int64_t axis = 0;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_attribute_int(node, "axis", -1, 0, &axis));
    const onnx_constant *from = in(load, node, 0), *index = in(load, node, 1);
    if (from->rank != 1 || index->rank > 1 || index->type != ONNX_INT64 || from->scale) {
        return onnx_fail(node,
                         "of constants, only a list picked from by 64-bit integers is supported");
    }
    onnx_constant *out;
    void *data;
    CLQ_TRY(make(load, node, from->type, index->rank, index->dim, &out, &data));
    size_t size = onnx_type_size(from->type);
    for (size_t i = 0; i < out->count; i++) {
        int64_t k = ((const int64_t *)index->data)[i];
        if (!wrap(&k, from->dim[0])) {
            return onnx_fail(node, "index %lld is outside 0..%lld", (long long)k,
                             (long long)from->dim[0] - 1);
        }
        memcpy((char *)data + i * size, (const char *)from->data + (size_t)k * size, size);
    }
    return onnx_bind_constant(load, node, out);
}

static clq_status fold_concat(onnx_loader *load, onnx_node *node) {
    int64_t axis = 0, total = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, SIZE_MAX));
    CLQ_TRY(onnx_attribute_int(node, "axis", -1, 0, &axis));
    onnx_type type = in(load, node, 0)->type;
    size_t size = onnx_type_size(type);
    for (size_t i = 0; i < onnx_input_count(node); i++) {
        const onnx_constant *part = in(load, node, i);
        if (!part || part->rank != 1 || part->type != type || part->scale ||
            !clq_add_i64(total, part->dim[0], &total)) {
            return onnx_fail(node, "of constants, only lists of one type are supported");
        }
    }
    onnx_constant *out;
    void *data;
    CLQ_TRY(make(load, node, type, 1, &total, &out, &data));
    char *to = data;
    for (size_t i = 0; i < onnx_input_count(node); i++) {
        const onnx_constant *part = in(load, node, i);
        if (part->count > 0) {
            memcpy(to, part->data, part->count * size);
        }
        to += part->count * size;
    }
    return onnx_bind_constant(load, node, out);
}

/* start, step and count of one sliced axis by ONNX's clamping rules. */
static bool slice_axis(int64_t extent, int64_t start, int64_t end, int64_t step, int64_t *first,
                       int64_t *count) {
    if (step == 0 || step == INT64_MIN) {
        return false;
    }
    start = start < 0 && start >= -extent ? start + extent : start;
    end = end < 0 && end >= -extent ? end + extent : end;
    if (step > 0) {
        start = start < 0 ? 0 : start > extent ? extent : start;
        end = end < 0 ? 0 : end > extent ? extent : end;
        *count = end > start ? (end - start - 1) / step + 1 : 0;
    } else {
        start = start < 0 ? -1 : start >= extent ? extent - 1 : start;
        end = end < 0 ? -1 : end >= extent ? extent - 1 : end;
        *count = start > end ? (start - end - 1) / -step + 1 : 0;
    }
    *first = start;
    return true;
}

/* Slices along the first axis: rows of a small table. */
static clq_status fold_slice(onnx_loader *load, onnx_node *node) {
    const int64_t *starts, *ends, *axes, *steps;
    size_t start_count, end_count, axis_count, step_count;
    CLQ_TRY(onnx_want_inputs(node, 3, 5));
    CLQ_TRY(onnx_want_integers(load, node, 1, "starts", &starts, &start_count));
    CLQ_TRY(onnx_want_integers(load, node, 2, "ends", &ends, &end_count));
    CLQ_TRY(onnx_want_integers(load, node, 3, "axes", &axes, &axis_count));
    CLQ_TRY(onnx_want_integers(load, node, 4, "steps", &steps, &step_count));
    const onnx_constant *from = in(load, node, 0);
    int64_t first, count, dim[ONNX_MAX_RANK];
    if (start_count != 1 || end_count != 1 || axis_count > 1 || step_count > 1 || from->rank < 1 ||
        from->scale || (axis_count == 1 && axes[0] != 0 && axes[0] != -from->rank) ||
        !slice_axis(from->dim[0], starts[0], ends[0], step_count ? steps[0] : 1, &first, &count)) {
        return onnx_fail(node, "of constants, only slices along axis 0 are supported");
    }
    memcpy(dim, from->dim, sizeof dim);
    dim[0] = count;
    onnx_constant *out;
    void *data;
    CLQ_TRY(make(load, node, from->type, from->rank, dim, &out, &data));
    size_t row = count > 0 ? out->count / (size_t)count * onnx_type_size(from->type) : 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t at = first + i * (step_count ? steps[0] : 1);
        memcpy((char *)data + (size_t)i * row, (const char *)from->data + (size_t)at * row, row);
    }
    return onnx_bind_constant(load, node, out);
}

static clq_status fold_transpose(onnx_loader *load, onnx_node *node) {
    const onnx_constant *from = in(load, node, 0);
    const int64_t *given = NULL;
    size_t count = (size_t)from->rank;
    int perm[ONNX_MAX_RANK];
    unsigned seen = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_attribute_ints(node, "perm", &given, &count));
    for (int i = 0; i < from->rank; i++) {
        int64_t axis = given ? given[i] : from->rank - 1 - i;
        if (axis < 0 || axis >= from->rank || seen & 1u << axis) {
            return onnx_fail(node, "perm is no permutation");
        }
        perm[i] = (int)axis;
        seen |= 1u << axis;
    }
    onnx_constant *out;
    CLQ_TRY(onnx_constant_transpose(&load->arena, from, perm, &out));
    return onnx_bind_constant(load, node, out);
}

/* ---- shapes ---- */

static clq_status fold_reshape(onnx_loader *load, onnx_node *node) {
    const int64_t *shape;
    size_t rank, known = 1;
    int64_t dim[ONNX_MAX_RANK];
    int open = -1;
    int64_t allowzero = 0;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_attribute_int(node, "allowzero", 0, 1, &allowzero));
    CLQ_TRY(onnx_want_integers(load, node, 1, "the shape", &shape, &rank));
    const onnx_constant *from = in(load, node, 0);
    if (rank > ONNX_MAX_RANK) {
        return onnx_fail(node, "more than %d dimensions", ONNX_MAX_RANK);
    }
    for (size_t i = 0; i < rank; i++) {
        size_t extent;
        dim[i] = shape[i] == 0 && !allowzero && (int)i < from->rank ? from->dim[i] : shape[i];
        if (dim[i] == -1 && open < 0) {
            open = (int)i;
        } else if (!clq_narrow_size(dim[i], &extent) || !clq_mul_size(known, extent, &known)) {
            return onnx_fail(node, "shape is out of range");
        }
    }
    if (open >= 0 && known > 0) {
        dim[open] = (int64_t)(from->count / known);
        known *= (size_t)dim[open];
    }
    if (known != from->count || (open >= 0 && dim[open] < 0)) {
        return onnx_fail(node, "%zu elements do not fit the new shape", from->count);
    }
    return reshaped(load, node, from, (int)rank, dim);
}

/* `axes` as the attribute of old opsets or the second input of new ones. */
static clq_status read_axes(onnx_loader *load, onnx_node *node, const int64_t **axes,
                            size_t *count) {
    *count = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 2));
    CLQ_TRY(onnx_attribute_ints(node, "axes", axes, count));
    return *count ? CLQ_OK : onnx_want_integers(load, node, 1, "axes", axes, count);
}

static clq_status fold_unsqueeze(onnx_loader *load, onnx_node *node) {
    const onnx_constant *from = in(load, node, 0);
    const int64_t *axes;
    size_t count;
    int64_t dim[ONNX_MAX_RANK];
    unsigned added = 0;
    CLQ_TRY(read_axes(load, node, &axes, &count));
    int64_t rank = from->rank + (int64_t)count;
    if (count > ONNX_MAX_RANK || rank > ONNX_MAX_RANK) {
        return onnx_fail(node, "more than %d dimensions", ONNX_MAX_RANK);
    }
    for (size_t i = 0; i < count; i++) {
        int64_t axis = axes[i];
        if (!wrap(&axis, rank) || added & 1u << axis) {
            return onnx_fail(node, "axis %lld is out of range", (long long)axes[i]);
        }
        added |= 1u << axis;
    }
    for (int i = 0, k = 0; i < rank; i++) {
        dim[i] = added & 1u << i ? 1 : from->dim[k++];
    }
    return reshaped(load, node, from, (int)rank, dim);
}

static clq_status fold_squeeze(onnx_loader *load, onnx_node *node) {
    const onnx_constant *from = in(load, node, 0);
    const int64_t *axes;
    size_t count;
    int64_t dim[ONNX_MAX_RANK];
    int rank = 0;
    unsigned removed = 0;
    CLQ_TRY(read_axes(load, node, &axes, &count));
    for (size_t i = 0; i < count; i++) {
        int64_t axis = axes[i];
        if (!wrap(&axis, from->rank) || from->dim[axis] != 1) {
            return onnx_fail(node, "axis %lld is out of range or not 1", (long long)axes[i]);
        }
        removed |= 1u << axis;
    }
    for (int i = 0; i < from->rank; i++) {
        if (count ? !(removed & 1u << i) : from->dim[i] != 1) {
            dim[rank++] = from->dim[i];
        }
    }
    return reshaped(load, node, from, rank, dim);
}

static clq_status fold_identity(onnx_loader *load, onnx_node *node) {
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    void *copy;
    CLQ_TRY(clq_arena_copy(&load->arena, in(load, node, 0), sizeof(onnx_constant), &copy));
    onnx_constant *alias = copy;
    alias->name = onnx_output_name(node); /* torch's second name of equal parameters */
    return onnx_bind_constant(load, node, alias);
}

/* ---- calculating ---- */

static clq_status fold_cast(onnx_loader *load, onnx_node *node) {
    int64_t to = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_attribute_int(node, "to", 0, INT_MAX, &to));
    onnx_attribute_ignore(node, "saturate");
    const onnx_constant *from = in(load, node, 0);
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
    CLQ_TRY(make(load, node, (onnx_type)to, from->rank, from->dim, &out, &data));
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

static bool calculate(char operation, int64_t a, int64_t b, int64_t *out) {
    switch (operation) {
    case 'A':
        return clq_add_i64(a, b, out);
    case 'S':
        return clq_sub_i64(a, b, out);
    case 'M':
        return clq_mul_i64(a, b, out);
    default:
        if (b == 0 || (a == INT64_MIN && b == -1)) {
            return false;
        }
        *out = a / b;
        return true;
    }
}

/* Add, Sub, Mul, Div of 64-bit integers; one side may be a single number. */
static clq_status fold_arithmetic(onnx_loader *load, onnx_node *node) {
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    const onnx_constant *a = in(load, node, 0), *b = in(load, node, 1);
    const onnx_constant *shape = a->count >= b->count && a->rank >= b->rank ? a : b;
    if (a->type != ONNX_INT64 || b->type != ONNX_INT64 ||
        (a->count != shape->count && a->count != 1) ||
        (b->count != shape->count && b->count != 1)) {
        return onnx_fail(
            node, "of constants, only 64-bit integers in lists of equal length are supported");
    }
    onnx_constant *out;
    void *data;
    CLQ_TRY(make(load, node, ONNX_INT64, shape->rank, shape->dim, &out, &data));
    for (size_t i = 0; i < out->count; i++) {
        int64_t x = ((const int64_t *)a->data)[a->count == 1 ? 0 : i];
        int64_t y = ((const int64_t *)b->data)[b->count == 1 ? 0 : i];
        if (x == ONNX_BATCH || y == ONNX_BATCH) {
            return onnx_fail(node,
                             "calculates with the batch, which is open; export with a fixed one");
        }
        if (!calculate(node->op[0], x, y, &((int64_t *)data)[i])) {
            return onnx_fail(node, "the result is out of range");
        }
    }
    return onnx_bind_constant(load, node, out);
}

/* ---- choosing ---- */

static const struct {
    const char *op;
    onnx_op_function *fold;
} folds[] = {
    {"Gather", fold_gather},
    {"Concat", fold_concat},
    {"Slice", fold_slice},
    {"Transpose", fold_transpose},
    {"Reshape", fold_reshape},
    {"Unsqueeze", fold_unsqueeze},
    {"Squeeze", fold_squeeze},
    {"Identity", fold_identity},
    {"Cast", fold_cast},
    {"Add", fold_arithmetic},
    {"Sub", fold_arithmetic},
    {"Mul", fold_arithmetic},
    {"Div", fold_arithmetic},
    {"QuantizeLinear", onnx_quantize},
    {"DequantizeLinear", onnx_dequantize},
    {"ConstantOfShape", fold_constant_of_shape},
};

bool onnx_folds(const char *op) {
    for (size_t i = 0; i < sizeof folds / sizeof folds[0]; i++) {
        if (strcmp(op, folds[i].op) == 0) {
            return true;
        }
    }
    return false;
}

clq_status onnx_fold_node(onnx_loader *load, onnx_node *node, bool *done) {
    *done = true;
    if (strcmp(node->op, "Constant") == 0) {
        return fold_constant(load, node);
    }
    if (strcmp(node->op, "Shape") == 0 && onnx_input(load, node, 0)) {
        return fold_shape(load, node);
    }
    *done = false;
    for (size_t i = 0; i < onnx_input_count(node); i++) {
        const onnx_operand *operand = onnx_input(load, node, i);
        if (operand ? !operand->constant : i == 0) {
            return CLQ_OK;
        }
    }
    for (size_t i = 0; i < sizeof folds / sizeof folds[0] && onnx_input_count(node) > 0; i++) {
        if (strcmp(node->op, folds[i].op) == 0) {
            *done = true;
            return folds[i].fold(load, node);
        }
    }
    return CLQ_OK;
}

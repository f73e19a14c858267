/* Nodes that change how a tensor is seen rather than what it holds. */
#include <limits.h>
#include <string.h>

#include "base/checked.h"
#include "formats/onnx/operators.h"

/* ---- activations: between (N, C, H, W) and (N, C) ---- */

/* Binds the output to `x` seen as (N, features). */
static clq_status flatten(onnx_loader *load, const onnx_node *node, onnx_operand *x) {
    if (load->graph->values[x->value].shape.rank == 2) {
        x->unit_hw = false;
        return onnx_bind_output(load, node, x);
    }
    CLQ_TRY(onnx_note_read(load, x));
    return onnx_add_node(load, node, "flatten", NULL, NULL, &x->value, 1, NULL);
}

static clq_status read_flatten(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    int64_t axis = 1;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_view(load, node, &x));
    CLQ_TRY(onnx_attribute_int(node, "axis", INT_MIN, INT_MAX, &axis));
    if (axis != 1 && axis != 1 - onnx_activation_dims(load, &x).rank) {
        return onnx_fail(node, "axis is %lld, must be 1", (long long)axis);
    }
    return flatten(load, node, &x);
}

static bool is_batch(const onnx_loader *load, int64_t dim) {
    return dim == 0 || dim == ONNX_BATCH || dim == load->batch || dim == 1;
}

static clq_status read_reshape(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const int64_t *shape;
    size_t rank;
    int64_t allowzero = 0, features;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_view(load, node, &x));
    CLQ_TRY(onnx_want_integers(load, node, 1, "the shape", &shape, &rank));
    CLQ_TRY(onnx_attribute_int(node, "allowzero", 0, 1, &allowzero));
    for (size_t i = 0; allowzero && i < rank; i++) {
        if (shape[i] == 0) {
            return onnx_fail(node, "makes a tensor without elements");
        }
    }
    onnx_dims dims = onnx_activation_dims(load, &x);
    features = clq_shape_count(&load->graph->values[x.value].shape);
    if (rank == 2) {
        /* -1 may stand for one of the two; 0 copies the input's dimension. */
        int64_t second = shape[1] == 0 ? dims.dim[1] : shape[1];
        bool fits = (is_batch(load, shape[0]) && (second == -1 || second == features)) ||
                    (shape[0] == -1 && second == features);
        if (fits) {
            return flatten(load, node, &x);
        }
    } else if (rank == 4 && (is_batch(load, shape[0]) || shape[0] == -1)) {
        bool same = dims.rank == 4;
        for (int i = 1; i < 4; i++) {
            same = same && (shape[i] == 0 || shape[i] == dims.dim[i]);
        }
        if (same) {
            return onnx_bind_output(load, node, &x);
        }
        if (dims.rank == 2 && shape[1] == features && shape[2] == 1 && shape[3] == 1) {
            x.unit_hw = true;
            return onnx_bind_output(load, node, &x);
        }
    }
    char from[96], to[96];
    onnx_dims_text(dims.rank - 1, dims.dim + 1, from, sizeof from);
    onnx_dims_text(rank < 8 ? (int)rank : 8, shape, to, sizeof to);
    return onnx_fail(node, "reshapes Nx%s to %s; only (N, features) is supported", from, to);
}

/* Whether `axes` of a rank 4 activation are height and width, in either order. */
static bool are_hw(const int64_t *axes, size_t count) {
    unsigned seen = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + 4 : axes[i];
        if (axis != 2 && axis != 3) {
            return false;
        }
        seen |= 1u << axis;
    }
    return seen == 12 && count == 2;
}

/* `axes` as the attribute of old opsets or the second input of new ones. */
static clq_status read_axes(onnx_loader *load, onnx_node *node, const int64_t **axes,
                            size_t *count) {
    *count = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 2));
    CLQ_TRY(onnx_attribute_ints(node, "axes", axes, count));
    return *count ? CLQ_OK : onnx_want_integers(load, node, 1, "axes", axes, count);
}

static clq_status read_squeeze(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const int64_t *axes;
    size_t count;
    CLQ_TRY(onnx_view(load, node, &x));
    CLQ_TRY(read_axes(load, node, &axes, &count));
    onnx_dims dims = onnx_activation_dims(load, &x);
    if (dims.rank != 4 || dims.dim[2] != 1 || dims.dim[3] != 1 || !are_hw(axes, count)) {
        return onnx_fail(node, "may only drop height and width of 1");
    }
    return flatten(load, node, &x);
}

static clq_status read_unsqueeze(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const int64_t *axes;
    size_t count;
    CLQ_TRY(onnx_view(load, node, &x));
    CLQ_TRY(read_axes(load, node, &axes, &count));
    if (onnx_activation_dims(load, &x).rank != 2 || !are_hw(axes, count)) {
        return onnx_fail(node, "may only add height and width to (N, C)");
    }
    x.unit_hw = true;
    return onnx_bind_output(load, node, &x);
}

static clq_status write_flatten(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                                size_t count) {
    Onnx__NodeProto *node;
    (void)graph_node;
    onnx_save_plan(chain, "Flatten", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, "Flatten", inputs, count, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "axis", 1));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* ---- constants ---- */

static clq_status fold_transpose(onnx_loader *load, onnx_node *node) {
    const onnx_constant *from = onnx_constant_in(load, node, 0);
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

static clq_status fold_reshape(onnx_loader *load, onnx_node *node) {
    const int64_t *shape;
    size_t rank, known = 1;
    int64_t dim[ONNX_MAX_RANK];
    int open = -1;
    int64_t allowzero = 0;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_attribute_int(node, "allowzero", 0, 1, &allowzero));
    CLQ_TRY(onnx_want_integers(load, node, 1, "the shape", &shape, &rank));
    const onnx_constant *from = onnx_constant_in(load, node, 0);
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
    return onnx_fold_reshaped(load, node, from, (int)rank, dim);
}

static clq_status fold_unsqueeze(onnx_loader *load, onnx_node *node) {
    const onnx_constant *from = onnx_constant_in(load, node, 0);
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
        if (!onnx_wrap(&axis, rank) || added & 1u << axis) {
            return onnx_fail(node, "axis %lld is out of range", (long long)axes[i]);
        }
        added |= 1u << axis;
    }
    for (int i = 0, k = 0; i < rank; i++) {
        dim[i] = added & 1u << i ? 1 : from->dim[k++];
    }
    return onnx_fold_reshaped(load, node, from, (int)rank, dim);
}

static clq_status fold_squeeze(onnx_loader *load, onnx_node *node) {
    const onnx_constant *from = onnx_constant_in(load, node, 0);
    const int64_t *axes;
    size_t count;
    int64_t dim[ONNX_MAX_RANK];
    int rank = 0;
    unsigned removed = 0;
    CLQ_TRY(read_axes(load, node, &axes, &count));
    for (size_t i = 0; i < count; i++) {
        int64_t axis = axes[i];
        if (!onnx_wrap(&axis, from->rank) || from->dim[axis] != 1) {
            return onnx_fail(node, "axis %lld is out of range or not 1", (long long)axes[i]);
        }
        removed |= 1u << axis;
    }
    for (int i = 0; i < from->rank; i++) {
        if (count ? !(removed & 1u << i) : from->dim[i] != 1) {
            dim[rank++] = from->dim[i];
        }
    }
    return onnx_fold_reshaped(load, node, from, rank, dim);
}

const onnx_operator onnx_shape_operators[] = {
    {"Flatten", .read = read_flatten, .op = "flatten", .write = write_flatten},
    {"Reshape", .read = read_reshape, .fold = fold_reshape},
    {"Squeeze", .read = read_squeeze, .fold = fold_squeeze},
    {"Unsqueeze", .read = read_unsqueeze, .fold = fold_unsqueeze},
    {"Transpose", .fold = fold_transpose},
    {0},
};

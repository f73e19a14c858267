/* Nodes that change how an activation is seen rather than what it holds: Flatten, Reshape, Squeeze,
 * Unsqueeze, Identity; and Slice and Pad, which wait for the node that reads them: strides and zero
 * channels together are a ResNet's option-A shortcut, zeros around an image are a convolution's
 * padding. */
#include <limits.h>
#include <string.h>

#include "base/checked.h"
#include "formats/onnx_load.h"

/* ---- activations ---- */

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
static clq_status peek(const onnx_loader *load, const onnx_node *node, size_t index,
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
static clq_status view(onnx_loader *load, const onnx_node *node, onnx_operand *operand) {
    static const int no_pad[4];
    CLQ_TRY(peek(load, node, 0, operand));
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
    CLQ_TRY(peek(load, node, index, operand));
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
    CLQ_TRY(peek(load, node, 0, &x));
    return onnx_bind_output(load, node, &x);
}

clq_status onnx_identity(onnx_loader *load, onnx_node *node) {
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    return onnx_pass_on(load, node);
}

clq_status onnx_cast(onnx_loader *load, onnx_node *node) {
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

/* ---- between (N, C, H, W) and (N, C) ---- */

/* Binds the output to `x` seen as (N, features). */
static clq_status flatten(onnx_loader *load, const onnx_node *node, onnx_operand *x) {
    if (load->graph->values[x->value].shape.rank == 2) {
        x->unit_hw = false;
        return onnx_bind_output(load, node, x);
    }
    CLQ_TRY(onnx_note_read(load, x));
    return onnx_add_node(load, node, "flatten", NULL, NULL, &x->value, 1, NULL);
}

clq_status onnx_flatten(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    int64_t axis = 1;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(view(load, node, &x));
    CLQ_TRY(onnx_attribute_int(node, "axis", INT_MIN, INT_MAX, &axis));
    if (axis != 1 && axis != 1 - onnx_activation_dims(load, &x).rank) {
        return onnx_fail(node, "axis is %lld, must be 1", (long long)axis);
    }
    return flatten(load, node, &x);
}

static bool is_batch(const onnx_loader *load, int64_t dim) {
    return dim == 0 || dim == ONNX_BATCH || dim == load->batch || dim == 1;
}

clq_status onnx_reshape(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const int64_t *shape;
    size_t rank;
    int64_t allowzero = 0, features;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(view(load, node, &x));
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

static clq_status read_axes(onnx_loader *load, onnx_node *node, const int64_t **axes,
                            size_t *count) {
    *count = 0;
    CLQ_TRY(onnx_attribute_ints(node, "axes", axes, count));
    return *count ? CLQ_OK : onnx_want_integers(load, node, 1, "axes", axes, count);
}

clq_status onnx_squeeze(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const int64_t *axes;
    size_t count;
    CLQ_TRY(onnx_want_inputs(node, 1, 2));
    CLQ_TRY(view(load, node, &x));
    CLQ_TRY(read_axes(load, node, &axes, &count));
    onnx_dims dims = onnx_activation_dims(load, &x);
    if (dims.rank != 4 || dims.dim[2] != 1 || dims.dim[3] != 1 || !are_hw(axes, count)) {
        return onnx_fail(node, "may only drop height and width of 1");
    }
    return flatten(load, node, &x);
}

clq_status onnx_unsqueeze(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const int64_t *axes;
    size_t count;
    CLQ_TRY(onnx_want_inputs(node, 1, 2));
    CLQ_TRY(view(load, node, &x));
    CLQ_TRY(read_axes(load, node, &axes, &count));
    if (onnx_activation_dims(load, &x).rank != 2 || !are_hw(axes, count)) {
        return onnx_fail(node, "may only add height and width to (N, C)");
    }
    x.unit_hw = true;
    return onnx_bind_output(load, node, &x);
}

/* ---- Slice ---- */

typedef struct slices {
    const int64_t *starts, *ends, *axes, *steps;
    size_t count, axis_count, step_count;
} slices;

static clq_status read_slices(onnx_loader *load, onnx_node *node, slices *s) {
    size_t end_count = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 5));
    if (onnx_input_count(node) == 1) { /* opset below 10 */
        CLQ_TRY(onnx_attribute_ints(node, "starts", &s->starts, &s->count));
        CLQ_TRY(onnx_attribute_ints(node, "ends", &s->ends, &end_count));
        CLQ_TRY(onnx_attribute_ints(node, "axes", &s->axes, &s->axis_count));
    } else {
        CLQ_TRY(onnx_want_integers(load, node, 1, "starts", &s->starts, &s->count));
        CLQ_TRY(onnx_want_integers(load, node, 2, "ends", &s->ends, &end_count));
        CLQ_TRY(onnx_want_integers(load, node, 3, "axes", &s->axes, &s->axis_count));
        CLQ_TRY(onnx_want_integers(load, node, 4, "steps", &s->steps, &s->step_count));
    }
    if (s->count == 0 || end_count != s->count || (s->axis_count && s->axis_count != s->count) ||
        (s->step_count && s->step_count != s->count) || s->count > 4) {
        return onnx_fail(node, "starts, ends, axes and steps must be of one length, 1..4");
    }
    return CLQ_OK;
}

clq_status onnx_slice(onnx_loader *load, onnx_node *node) {
    static const int no_pad[4];
    onnx_operand x;
    slices s = {0};
    CLQ_TRY(read_slices(load, node, &s));
    CLQ_TRY(peek(load, node, 0, &x));
    CLQ_TRY(onnx_note_read(load, &x));
    onnx_dims dims = onnx_activation_dims(load, &x);
    int64_t step[4] = {1, 1, 1, 1};
    for (size_t i = 0; i < s.count; i++) {
        int64_t axis = s.axis_count ? s.axes[i] : (int64_t)i;
        axis += axis < 0 ? dims.rank : 0;
        if (axis < 0 || axis >= dims.rank) {
            return onnx_fail(node, "axis %lld is out of range", (long long)axis);
        }
        /* An open batch may have any end; other axes must be taken whole. */
        bool whole = axis == 0 ? s.ends[i] >= INT32_MAX || s.ends[i] == dims.dim[0]
                               : s.ends[i] >= dims.dim[axis];
        int64_t stride = s.step_count ? s.steps[i] : 1;
        if (s.starts[i] != 0 || !whole || stride < 1 || stride > 1 << 15 ||
            (stride != 1 && axis < 2)) {
            return onnx_fail(node,
                             "takes %lld:%lld:%lld of axis %lld (%lld); only every k-th row "
                             "and column of the whole image is supported",
                             (long long)s.starts[i], (long long)s.ends[i], (long long)stride,
                             (long long)axis, (long long)dims.dim[axis]);
        }
        step[axis] *= stride;
    }
    if (step[2] > 1 || step[3] > 1) {
        if (memcmp(x.pad, no_pad, sizeof no_pad) != 0 || x.unit_hw) {
            return onnx_fail(node, "cannot slice a padded or pooled image");
        }
        for (int axis = 0; axis < 2; axis++) {
            int64_t stride = step[2 + axis] * (x.stride[axis] > 0 ? x.stride[axis] : 1);
            if (stride > 1 << 15) {
                return onnx_fail(node, "stride %lld is out of range", (long long)stride);
            }
            x.stride[axis] = (int)stride;
        }
    }
    return onnx_bind_output(load, node, &x);
}

/* ---- Pad ---- */

/* pads[before 0..3, after 0..3] of (N, C, H, W). */
static clq_status read_pads(onnx_loader *load, onnx_node *node, int rank, int64_t pads[8]) {
    const int64_t *given = NULL, *axes;
    size_t count = 0, axis_count = 0;
    const char *mode = "constant";
    float value = 0;
    memset(pads, 0, 8 * sizeof *pads);
    CLQ_TRY(onnx_want_inputs(node, 1, 4));
    CLQ_TRY(onnx_attribute_text(node, "mode", &mode));
    CLQ_TRY(onnx_attribute_float(node, "value", &value));
    CLQ_TRY(onnx_attribute_ints(node, "pads", &given, &count));
    if (count == 0) {
        CLQ_TRY(onnx_want_integers(load, node, 1, "pads", &given, &count));
        CLQ_TRY(onnx_want_scalar(load, node, 2, "the padding value", 0, &value));
    }
    CLQ_TRY(onnx_want_integers(load, node, 3, "axes", &axes, &axis_count));
    size_t covered = axis_count ? axis_count : (size_t)rank;
    if (strcmp(mode, "constant") != 0 || value != 0 || count != 2 * covered || covered > 4) {
        return onnx_fail(node, "only zeros are supported, 2 numbers for each axis");
    }
    for (size_t i = 0; i < covered; i++) {
        int64_t axis = axis_count ? axes[i] : (int64_t)i;
        axis += axis < 0 ? rank : 0;
        if (axis < 0 || axis >= rank) {
            return onnx_fail(node, "axis %lld is out of range", (long long)axis);
        }
        pads[axis] = given[i];
        pads[axis + 4] = given[i + covered];
    }
    for (int i = 0; i < 8; i++) {
        if (pads[i] < 0 || pads[i] > 1 << 20) {
            return onnx_fail(node, "pads %lld, must be 0..%d", (long long)pads[i], 1 << 20);
        }
    }
    return CLQ_OK;
}

/* The option-A shortcut: a strided image and zero channels. */
static clq_status add_shortcut(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                               const int64_t pads[8]) {
    if (x->stride[0] != x->stride[1]) {
        CLQ_TRY(onnx_make_slice(load, x));
    }
    clq_pad_channels_attrs attrs = {
        .stride = x->stride[0] > 0 ? x->stride[0] : 1, .front = (int)pads[1], .back = (int)pads[5]};
    return onnx_add_node(load, node, "shortcut_a", NULL, &attrs, &x->value, 1, NULL);
}

clq_status onnx_pad(onnx_loader *load, onnx_node *node) {
    static const int no_pad[4];
    onnx_operand x;
    int64_t pads[8];
    CLQ_TRY(peek(load, node, 0, &x));
    CLQ_TRY(onnx_note_read(load, &x));
    onnx_dims dims = onnx_activation_dims(load, &x);
    CLQ_TRY(read_pads(load, node, dims.rank, pads));
    bool channels = pads[1] || pads[5];
    bool image = pads[2] || pads[3] || pads[6] || pads[7];
    if (!channels && !image && !pads[0] && !pads[4]) {
        return onnx_bind_output(load, node, &x);
    }
    bool padded = memcmp(x.pad, no_pad, sizeof no_pad) != 0;
    if (dims.rank != 4 || x.unit_hw || pads[0] || pads[4] || (channels && (image || padded))) {
        return onnx_fail(node, "only pads channels, or the image, of (N, C, H, W)");
    }
    if (channels) {
        return add_shortcut(load, node, &x, pads);
    }
    CLQ_TRY(onnx_make_slice(load, &x));
    for (int axis = 0; axis < 2; axis++) {
        x.pad[axis] += (int)pads[2 + axis];
        x.pad[axis + 2] += (int)pads[6 + axis];
        if (x.pad[axis] > 1 << 20 || x.pad[axis + 2] > 1 << 20) {
            return onnx_fail(node, "padding is out of range");
        }
    }
    return onnx_bind_output(load, node, &x);
}

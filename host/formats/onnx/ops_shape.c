/* Nodes that change how a tensor is seen rather than what it holds. */
#include <limits.h>
#include <string.h>

#include "base/checked.h"
#include "formats/onnx/operators.h"

/* ---- activations ---- */

/* The output as (N, features), or after `rank` other dimensions `dim`; the batch is dim[0] and
 * stays, or it is 1 and there is none. */
static clq_status bind_reshaped(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                                bool keeps_batch, int rank, const int64_t *dim) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    const bool pending = x->flatten != NULL;
    if (keeps_batch && rank == 2 && (pending || onnx_is_image(load, x))) {
        x->flatten = pending ? x->flatten : node->proto;
        return onnx_bind_output(load, node, x);
    }
    x->flatten = NULL;
    bool same = keeps_batch && rank == x->rank && !pending;
    for (int k = 1; same && k < rank; k++) {
        same = dim[k] == dims.dim[k];
    }
    if (!same) {
        CLQ_TRY(onnx_regroup(load, node, x, keeps_batch, rank, dim));
    }
    return onnx_bind_output(load, node, x);
}

/* Elements for one image. */
static int64_t count_features(const onnx_loader *load, const onnx_operand *x) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    int64_t count = 1;
    for (int k = 0; k < dims.rank; k++) {
        count *= x->axis[k] == 0 && !(x->flatten && k > 0) ? 1 : dims.dim[k];
    }
    return count;
}

/* Fills in 0 (as the input has it) and one -1 (what is left) of dim[first..rank); false when these
 * do not have `features` elements then. */
static bool fill_in(const onnx_dims *x, int64_t features, bool copies, int first, int rank,
                    int64_t *dim) {
    int64_t known = 1;
    int open = -1;
    for (int k = first; k < rank; k++) {
        dim[k] = dim[k] == 0 && copies && k < x->rank ? x->dim[k] : dim[k];
        if (dim[k] == -1 && open < 0) {
            open = k;
        } else if (dim[k] < 1 || !clq_mul_i64(known, dim[k], &known) || known > features) {
            return false;
        }
    }
    if (open >= 0) {
        dim[open] = features / known;
        known *= dim[open];
    }
    return known == features;
}

static bool is_batch(const onnx_loader *load, int64_t dim, bool copies) {
    return (copies && dim == 0) || dim == ONNX_BATCH || dim == load->batch || dim == 1;
}

clq_status onnx_bind_dims(onnx_loader *load, const onnx_node *node, onnx_operand *x, int rank,
                          const int64_t *wanted, bool copies) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    const int64_t features = count_features(load, x);
    const bool batched = dims.rank > 0 && x->axis[0] == 0;
    int64_t dim[ONNX_MAX_RANK];
    char from[96], to[96];
    if (rank <= ONNX_MAX_RANK && batched && rank > 0 &&
        (is_batch(load, wanted[0], copies) || wanted[0] == -1)) {
        bool open = false;
        memcpy(dim, wanted, (size_t)rank * sizeof *dim);
        for (int k = 1; k < rank; k++) {
            open = open || dim[k] == -1;
        }
        if (!(open && wanted[0] == -1) && fill_in(&dims, features, copies, 1, rank, dim)) {
            return bind_reshaped(load, node, x, true, rank, dim);
        }
    }
    if (rank <= ONNX_MAX_RANK && (load->batch == 1 || !batched)) { /* of one image */
        memcpy(dim, wanted, (size_t)rank * sizeof *dim);
        if (fill_in(&dims, features, copies, 0, rank, dim)) {
            return bind_reshaped(load, node, x, false, rank, dim);
        }
    }
    onnx_dims_text(dims.rank - batched, dims.dim + batched, from, sizeof from);
    onnx_dims_text(rank < 8 ? rank : 8, wanted, to, sizeof to);
    return onnx_fail(node,
                     "reshapes %s%s to %s; the batch must stay apart from the %lld elements of "
                     "an image, and these must be as many",
                     batched ? "Nx" : "", from, to, (long long)features);
}

static clq_status read_flatten(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    int64_t axis = 1, dim[2] = {1, 1};
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_view(load, node, &x));
    CLQ_TRY(onnx_attribute_int(node, "axis", INT_MIN, INT_MAX, &axis));
    const onnx_dims dims = onnx_activation_dims(load, &x);
    axis += axis < 0 ? dims.rank : 0;
    if (axis < 0 || axis > dims.rank) {
        return onnx_fail(node, "axis is out of range, there are %d", dims.rank);
    }
    for (int k = 0; k < dims.rank; k++) {
        const bool batch = x.axis[k] == 0 && load->batch == ONNX_BATCH;
        if (batch && (k != 0 || axis == 0)) {
            return onnx_fail(node, "axis is %lld, must be 1", (long long)axis);
        }
        dim[k < axis ? 0 : 1] *= batch ? 1 : dims.dim[k];
    }
    if (x.rank > 0 && x.axis[0] == 0 && load->batch == ONNX_BATCH && dim[0] != 1) {
        return onnx_fail(node, "axis is %lld, must be 1", (long long)axis);
    }
    return onnx_bind_dims(load, node, &x, 2, dim, false);
}

static clq_status read_reshape(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const int64_t *shape;
    size_t rank;
    int64_t allowzero = 0;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_view(load, node, &x));
    CLQ_TRY(onnx_want_integers(load, node, 1, "the shape", &shape, &rank));
    CLQ_TRY(onnx_attribute_int(node, "allowzero", 0, 1, &allowzero));
    for (size_t i = 0; allowzero && i < rank; i++) {
        if (shape[i] == 0) {
            return onnx_fail(node, "makes a tensor without elements");
        }
    }
    return onnx_bind_dims(load, node, &x, rank < INT_MAX ? (int)rank : INT_MAX, shape, true);
}

/* The input with its axes as they are, nothing pending: for nodes that only list them anew. */
static clq_status view_axes(onnx_loader *load, const onnx_node *node, onnx_operand *x) {
    CLQ_TRY(onnx_view(load, node, x));
    if (x->flatten) {
        CLQ_TRY(onnx_note_read(load, x));
        CLQ_TRY(onnx_settle(load, node, x, true));
    }
    return CLQ_OK;
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
    unsigned dropped = 0;
    int rank = 0;
    CLQ_TRY(view_axes(load, node, &x));
    CLQ_TRY(read_axes(load, node, &axes, &count));
    const onnx_dims dims = onnx_activation_dims(load, &x);
    for (int k = 0; k < dims.rank && count == 0; k++) {
        dropped |= dims.dim[k] == 1 ? 1u << k : 0;
    }
    for (size_t i = 0; i < count; i++) {
        int axis;
        CLQ_TRY(onnx_want_axis(node, &x, axes[i], &axis));
        if (dims.dim[axis] != 1) {
            return onnx_fail(node, "axis %lld is not of size 1, and may not be dropped",
                             (long long)axes[i]);
        }
        dropped |= 1u << axis;
    }
    for (int k = 0; k < x.rank; k++) {
        if (!(dropped & 1u << k)) {
            x.axis[rank++] = x.axis[k];
        }
    }
    x.rank = rank;
    return onnx_bind_output(load, node, &x);
}

static clq_status read_unsqueeze(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const int64_t *axes;
    size_t count;
    unsigned added = 0;
    CLQ_TRY(view_axes(load, node, &x));
    CLQ_TRY(read_axes(load, node, &axes, &count));
    const onnx_operand old = x;
    if (count > ONNX_MAX_RANK || x.rank + (int)count > ONNX_MAX_RANK) {
        return onnx_fail(node, "makes more than %d dimensions", ONNX_MAX_RANK);
    }
    x.rank += (int)count;
    for (size_t i = 0; i < count; i++) {
        int axis;
        CLQ_TRY(onnx_want_axis(node, &x, axes[i], &axis));
        if (added & 1u << axis) {
            return onnx_fail(node, "axis %lld is there twice", (long long)axes[i]);
        }
        added |= 1u << axis;
    }
    for (int k = 0, from = 0; k < x.rank; k++) {
        x.axis[k] = added & 1u << k ? -1 : old.axis[from++];
    }
    return onnx_bind_output(load, node, &x);
}

/* The permutation of `rank` axes; by default they are turned round. */
static clq_status read_permutation(onnx_node *node, int rank, int *perm) {
    const int64_t *given = NULL;
    size_t count = (size_t)rank;
    unsigned seen = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_attribute_ints(node, "perm", &given, &count));
    for (int i = 0; i < rank; i++) {
        int64_t axis = given ? given[i] : rank - 1 - i;
        if (axis < 0 || axis >= rank || seen & 1u << axis) {
            return onnx_fail(node, "perm is no permutation");
        }
        perm[i] = (int)axis;
        seen |= 1u << axis;
    }
    return CLQ_OK;
}

static clq_status read_transpose(onnx_loader *load, onnx_node *node) {
    int perm[ONNX_MAX_RANK];
    onnx_operand x;
    CLQ_TRY(view_axes(load, node, &x));
    CLQ_TRY(read_permutation(node, x.rank, perm));
    const onnx_operand old = x;
    for (int k = 0; k < x.rank; k++) {
        x.axis[k] = old.axis[perm[k]];
    }
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

/* ---- writing ---- */

static clq_axes file_axes(const clq_shape *shape) {
    static const clq_axes none = {0};
    return clq_axes_of(&none, shape->rank);
}

static bool same_pixels(const clq_shape *a, const clq_shape *b) {
    return memcmp(a->dim, b->dim, 3 * sizeof *a->dim) == 0;
}

/* Whether a node takes channels in groups, (N, H, W, g, c), to others or to those of an image. */
static bool reads_groups(const clq_graph *graph, const clq_node *node) {
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    const clq_shape *y = &graph->values[node->output].shape;
    if (node->op == &clq_op_transpose) {
        const int *perm = ((const clq_transpose_attrs *)node->attrs)->perm;
        return perm[0] == 0 && perm[1] == 1 && perm[2] == 2;
    }
    return node->op == &clq_op_reshape && y->rank == 4 && same_pixels(x, y);
}

/* Whether a value is an image's channels in groups and read as such alone: the file then has it as
 * (N, g, c, H, W), and nothing is transposed on the way there and back. */
static bool is_in_groups(const clq_graph *graph, int value) {
    const clq_shape *shape = &graph->values[value].shape;
    const int producer = graph->values[value].producer;
    const clq_node *maker = producer < 0 ? NULL : &graph->nodes[producer];
    if (shape->rank != 5 || !maker) {
        return false;
    }
    const clq_shape *from = &graph->values[maker->inputs[0]].shape;
    bool fits = maker->op == &clq_op_reshape
                    ? from->rank == 4 && same_pixels(from, shape)
                    : maker->op == &clq_op_transpose && reads_groups(graph, maker) &&
                          is_in_groups(graph, maker->inputs[0]);
    for (int i = 0; i < graph->output_count; i++) {
        fits = fits && graph->outputs[i].value != value;
    }
    for (int n = 0; fits && n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        for (int i = 0; i < node->input_count; i++) {
            fits = fits && (node->inputs[i] != value || reads_groups(graph, node));
        }
    }
    return fits;
}

static clq_axes value_axes(const onnx_saver *save, int value) {
    static const clq_axes groups = {5, {0, 3, 4, 1, 2}};
    return is_in_groups(save->graph, value) ? groups : file_axes(&save->graph->values[value].shape);
}

static clq_status write_transpose(onnx_chain *chain, const clq_node *node, const char **inputs,
                                  size_t count) {
    const clq_transpose_attrs *attrs = node->attrs;
    onnx_saver *save = chain->save;
    const clq_axes from = value_axes(save, node->inputs[0]), to = value_axes(save, node->output);
    int perm[CLQ_MAX_RANK] = {0};
    Onnx__NodeProto *made;
    for (int k = 0; k < to.rank; k++) {
        while (from.axis[perm[k]] != attrs->perm[to.axis[k]]) {
            perm[k]++;
        }
    }
    onnx_save_plan(chain, chain->onnx, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, chain->onnx, inputs, count, &made));
    CLQ_TRY(onnx_save_ints(save, made, "perm", perm, (size_t)to.rank));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* `x` with the elements in the order in which the graph has them. */
static clq_status save_stored(onnx_saver *save, const char *base, int value, const char **x) {
    const clq_shape *shape = &save->graph->values[value].shape;
    const clq_layout *layout = &save->layouts[value];
    const clq_axes axes = file_axes(shape);
    clq_axes stored = {.rank = shape->rank};
    for (int k = 0; k < shape->rank; k++) {
        stored.axis[k] = k;
    }
    if (shape->rank == 2 && layout->pixels > 1 && layout->channels > 1) { /* C, H, W in the file */
        const clq_axes turned = {3, {0, 2, 1}}, straight = {3, {0, 1, 2}};
        const int64_t dim[3] = {0, layout->channels, layout->pixels};
        const char *inputs[2] = {*x};
        Onnx__NodeProto *made;
        char *path;
        CLQ_TRY(clq_arena_format(&save->arena, &path, "%s/Reshape", base));
        CLQ_TRY(onnx_save_longs(save, "reshape_shape", dim, 3, &inputs[1]));
        CLQ_TRY(onnx_save_name(save, &save->values, path, x));
        CLQ_TRY(onnx_save_node(save, "Reshape", path, inputs, 2, *x, &made));
        return onnx_save_axes(save, base, &turned, &straight, NULL, x);
    }
    return onnx_save_axes(save, base, &axes, &stored, NULL, x);
}

/* The shape as a file says it, its axes as in `axes`: the batch is kept. */
static clq_status save_dims(onnx_saver *save, const clq_node *node, const clq_axes *axes,
                            const char **name) {
    const clq_shape *x = &save->graph->values[node->inputs[0]].shape;
    const clq_shape *y = &save->graph->values[node->output].shape;
    int64_t dim[CLQ_MAX_RANK];
    for (int k = 0; k < y->rank; k++) {
        dim[k] = k == 0 && x->dim[0] == y->dim[0] ? 0 : y->dim[axes ? axes->axis[k] : k];
    }
    return onnx_save_longs(save, "reshape_shape", dim, (size_t)y->rank, name);
}

/* Between Transposes where either side is an image whose pixels do not stay what they are. */
static clq_status write_reshape(onnx_chain *chain, const clq_node *node, const char **inputs,
                                size_t count) {
    onnx_saver *save = chain->save;
    const clq_shape *shape = &save->graph->values[node->output].shape;
    const bool kept =
        is_in_groups(save->graph, node->inputs[0]) || is_in_groups(save->graph, node->output);
    const clq_axes axes = value_axes(save, node->output);
    const bool image = shape->rank == 4 && !kept;
    const char *reshape[2] = {inputs[0]};
    Onnx__NodeProto *made;
    (void)count;
    CLQ_TRY(kept ? CLQ_OK : save_stored(save, chain->base, node->inputs[0], &reshape[0]));
    CLQ_TRY(save_dims(save, node, kept ? &axes : NULL, &reshape[1]));
    onnx_save_plan(chain, image ? "Transpose" : "Reshape", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, "Reshape", reshape, 2, &made));
    if (image) {
        CLQ_TRY(onnx_save_step(chain, "Transpose", &chain->current, 1, &made));
        CLQ_TRY(onnx_save_ints(save, made, "perm", file_axes(shape).axis, 4));
    }
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* ---- constants ---- */

static clq_status fold_transpose(onnx_loader *load, onnx_node *node) {
    const onnx_constant *from = onnx_constant_in(load, node, 0);
    int perm[ONNX_MAX_RANK];
    onnx_constant *out;
    CLQ_TRY(read_permutation(node, from->rank, perm));
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
    {"Reshape", .read = read_reshape, .fold = fold_reshape, .op = "reshape",
     .write = write_reshape},
    {"Squeeze", .read = read_squeeze, .fold = fold_squeeze},
    {"Unsqueeze", .read = read_unsqueeze, .fold = fold_unsqueeze},
    {"Transpose", .read = read_transpose, .fold = fold_transpose, .op = "transpose",
     .write = write_transpose},
    {0},
};

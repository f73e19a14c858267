/* Where the axes of activations are. The file's order of axes and the graph's, which has channels
 * last, meet here: most nodes that move axes only change what an operand says of them. */
#include <string.h>

#include "formats/onnx/load.h"

onnx_dims onnx_activation_dims(const onnx_loader *load, const onnx_operand *operand) {
    const clq_shape *shape = &load->graph->values[operand->value].shape;
    onnx_dims dims = {.rank = operand->rank};
    int64_t features = 1;
    for (int k = 0; k < operand->rank; k++) {
        const int axis = operand->axis[k];
        dims.dim[k] = axis < 0 ? 1 : axis == 0 ? load->batch : shape->dim[axis];
        if (operand->stride[0] > 0 && (axis == 1 || axis == 2)) {
            dims.dim[k] = (dims.dim[k] - 1) / operand->stride[axis - 1] + 1;
        }
        if (axis == 1 || axis == 2) {
            dims.dim[k] += operand->pad[axis - 1] + operand->pad[axis + 1];
        }
        features *= axis == 0 ? 1 : dims.dim[k]; /* the batch may be open */
    }
    return operand->flatten ? (onnx_dims){2, {dims.dim[0], features}} : dims;
}

void onnx_default_axes(int rank, onnx_operand *operand) {
    static const int image[4] = {0, 3, 1, 2};
    operand->rank = rank;
    for (int k = 0; k < rank; k++) {
        operand->axis[k] = rank == 4 ? image[k] : k;
    }
}

bool onnx_is_image(const onnx_loader *load, const onnx_operand *operand) {
    onnx_operand image;
    onnx_default_axes(4, &image);
    return load->graph->values[operand->value].shape.rank == 4 && operand->rank == 4 &&
           memcmp(operand->axis, image.axis, 4 * sizeof *image.axis) == 0;
}

bool onnx_is_row(const onnx_loader *load, const onnx_operand *operand) {
    return load->graph->values[operand->value].shape.rank == 2;
}

bool onnx_is_turned(const onnx_loader *load, const onnx_operand *operand) {
    return load->value_uses[operand->value].turned;
}

clq_status onnx_want_axis(const onnx_node *node, const onnx_operand *operand, int64_t axis,
                          int *place) {
    int64_t index = axis;
    if (!onnx_wrap(&index, operand->rank)) {
        return onnx_fail(node, "axis %lld is out of range, there are %d", (long long)axis,
                         operand->rank);
    }
    *place = (int)index;
    return CLQ_OK;
}

/* ---- nodes that move ---- */

static onnx_moved *find_moved(const onnx_loader *load, const onnx_moved *wanted) {
    for (int i = 0; i < load->moved_count; i++) {
        onnx_moved *moved = &load->moved[i];
        if (moved->value == wanted->value && moved->rounded == wanted->rounded &&
            strcmp(moved->op, wanted->op) == 0 &&
            memcmp(moved->number, wanted->number, sizeof moved->number) == 0) {
            return moved;
        }
    }
    return NULL;
}

static clq_status keep_moved(onnx_loader *load, const onnx_moved *moved) {
    if (load->moved_count == load->moved_capacity) {
        const int capacity = load->moved_capacity ? 2 * load->moved_capacity : 64;
        onnx_moved *grown = clq_realloc(load->moved, (size_t)capacity, sizeof *grown);
        if (!grown) {
            return CLQ_NO_MEMORY;
        }
        load->moved = grown;
        load->moved_capacity = capacity;
    }
    load->moved[load->moved_count++] = *moved;
    return CLQ_OK;
}

static clq_status make_moved(onnx_loader *load, int rank, const int64_t *number,
                             const Onnx__NodeProto *of, onnx_moved *moved) {
    clq_transpose_attrs transpose = {{0}};
    clq_reshape_attrs reshape = {.rank = rank};
    const bool transposes = strcmp(moved->op, "transpose") == 0;
    char *name;
    for (int i = 0; i < rank; i++) {
        transpose.perm[i] = (int)number[i];
        reshape.dim[i] = number[i];
    }
    if (of) {
        const onnx_node maker = {.proto = of, .op = of->op_type};
        CLQ_TRY(onnx_node_name(load, &maker, NULL, &name));
    } else {
        CLQ_TRY(clq_arena_format(&load->arena, &name, "%s.%s",
                                 load->graph->values[moved->value].name, moved->op));
        CLQ_TRY(onnx_unique_name(load, name, &name));
    }
    const void *attrs = transposes ? (const void *)&transpose : rank > 0 ? &reshape : NULL;
    CLQ_TRY(
        clq_graph_add_node(load->graph, moved->op, name, attrs, &moved->value, 1, &moved->moved));
    return onnx_make_room(load, moved->moved);
}

clq_status onnx_move(onnx_loader *load, onnx_operand *operand, const char *op, int rank,
                     const int64_t *number, const Onnx__NodeProto *of) {
    onnx_moved wanted = {.value = operand->value, .rounded = operand->dequantized, .op = op};
    if (rank > 0) {
        memcpy(wanted.number, number, (size_t)rank * sizeof *number);
    }
    const onnx_moved *known = find_moved(load, &wanted);
    if (!known) {
        CLQ_TRY(make_moved(load, rank, number, of, &wanted));
        CLQ_TRY(keep_moved(load, &wanted));
        known = &wanted;
    }
    operand->value = known->moved;
    return onnx_keep_codes(load, operand, known->value);
}

clq_status onnx_keep_codes(onnx_loader *load, const onnx_operand *operand, int from) {
    const clq_qparams *q = &load->graph->values[from].q;
    clq_qparams *to = &load->graph->values[operand->value].q;
    CLQ_TRY(onnx_make_room(load, operand->value));
    if (operand->dequantized && to->count == 0) {
        CLQ_TRY(clq_qparams_set(to, q->count, q->scale, q->zero_point, q->type));
    }
    return onnx_note_read(load, operand);
}

static bool has_batch(const onnx_operand *operand) {
    for (int k = 0; k < operand->rank; k++) {
        if (operand->axis[k] == 0) {
            return true;
        }
    }
    return false;
}

/* Brings the value's axes into the order `axes`, batch first; those that are not among them have
 * one element and come last. */
static clq_status transpose(onnx_loader *load, onnx_operand *operand, const int *axes, int count) {
    const int rank = load->graph->values[operand->value].shape.rank;
    int64_t perm[CLQ_MAX_RANK];
    bool used[CLQ_MAX_RANK] = {false}, sorted = true;
    int n = 0;
    for (int i = 0; i < count; i++) {
        sorted = sorted && (i == 0 || axes[i] > axes[i - 1]);
        used[axes[i]] = true;
        perm[n++] = axes[i];
    }
    if (sorted) {
        return CLQ_OK;
    }
    for (int i = 0; i < rank; i++) {
        if (!used[i]) {
            perm[n++] = i;
        }
    }
    return onnx_move(load, operand, "transpose", rank, perm, NULL);
}

static clq_status reshape(onnx_loader *load, onnx_operand *operand, const clq_shape *shape) {
    const clq_shape *old = &load->graph->values[operand->value].shape;
    if (clq_shape_equal(old, shape)) {
        return CLQ_OK;
    }
    if (shape->rank == 2 && old->rank == 4 &&
        (old->dim[3] == 1 || old->dim[1] * old->dim[2] == 1)) {
        return onnx_move(load, operand, "flatten", 0, NULL, NULL); /* turns nothing */
    }
    return onnx_move(load, operand, "reshape", shape->rank, shape->dim, NULL);
}

static bool is_arranged(const onnx_loader *load, const onnx_operand *operand, int rank,
                        const int *places) {
    const clq_shape *shape = &load->graph->values[operand->value].shape;
    const onnx_dims dims = onnx_activation_dims(load, operand);
    const bool batched = has_batch(operand);
    if (shape->rank != rank) {
        return false;
    }
    for (int p = 0; p < rank; p++) {
        const int axis = places[p] >= 0 ? operand->axis[places[p]] : -1;
        const bool one = (places[p] < 0 || dims.dim[places[p]] == 1) && axis != 0 &&
                         shape->dim[p] == 1 && (p > 0 || !batched);
        if (axis != p && !one) {
            return false;
        }
    }
    return true;
}

clq_status onnx_arrange(onnx_loader *load, const onnx_node *node, onnx_operand *operand, int rank,
                        const int *places) {
    const onnx_dims dims = onnx_activation_dims(load, operand);
    if (!is_arranged(load, operand, rank, places)) {
        clq_shape shape = {.rank = rank};
        int axes[CLQ_MAX_RANK], count = 0;
        const bool one = load->batch == 1; /* it is an axis like others */
        if (!one && !has_batch(operand)) {
            axes[count++] = 0;
        }
        for (int p = 0; p < rank; p++) {
            const int axis = places[p] >= 0 ? operand->axis[places[p]] : -1;
            shape.dim[p] = axis > 0 ? dims.dim[places[p]] : 1;
            if (axis == 0 && p > 0 && !one) {
                return onnx_fail(node, "needs the batch as axis %d of \"%.200s\"", p,
                                 load->graph->values[operand->value].name);
            }
            if ((axis == 0 && !one) || shape.dim[p] > 1) {
                axes[count++] = axis;
            }
        }
        if (shape.dim[0] > 1 && !one) {
            return onnx_fail(node, "needs another axis of \"%.200s\" where its batch is",
                             load->graph->values[operand->value].name);
        }
        CLQ_TRY(transpose(load, operand, axes, count));
        CLQ_TRY(reshape(load, operand, &shape));
    }
    for (int k = 0; k < operand->rank; k++) {
        operand->axis[k] = -1;
    }
    for (int p = 0; p < rank; p++) {
        if (places[p] >= 0) {
            operand->axis[places[p]] = p;
        }
    }
    return CLQ_OK;
}

clq_status onnx_arrange_like(onnx_loader *load, const onnx_node *node, onnx_operand *operand,
                             const onnx_operand *like) {
    const int rank = load->graph->values[like->value].shape.rank;
    int places[CLQ_MAX_RANK];
    for (int p = 0; p < rank; p++) {
        places[p] = -1;
        for (int k = 0; k < like->rank && k < operand->rank; k++) {
            places[p] = like->axis[k] == p ? k : places[p];
        }
    }
    return onnx_arrange(load, node, operand, rank, places);
}

/* Dimensions of 1 in front. */
static void widen(onnx_operand *operand, int rank) {
    const int more = rank - operand->rank;
    memmove(operand->axis + more, operand->axis, (size_t)operand->rank * sizeof *operand->axis);
    for (int k = 0; k < more; k++) {
        operand->axis[k] = -1;
    }
    operand->rank = rank;
}

/* Whether every dimension in which `other` has more than one element has a place in the value. */
static bool has_places(const onnx_operand *operand, const onnx_dims *other) {
    for (int k = 0; k < operand->rank; k++) {
        if (operand->axis[k] < 0 && other->dim[k] != 1) {
            return false;
        }
    }
    return true;
}

clq_status onnx_store_all(onnx_loader *load, const onnx_node *node, onnx_operand *operand) {
    static const int image[4] = {0, 2, 3, 1};
    int places[CLQ_MAX_RANK];
    if (operand->rank > CLQ_MAX_RANK) {
        return onnx_fail(node, "reads a tensor of %d dimensions, at most %d are supported",
                         operand->rank, CLQ_MAX_RANK);
    }
    for (int k = 0; k < operand->rank; k++) {
        places[k] = operand->rank == 4 ? image[k] : k;
    }
    return onnx_arrange(load, node, operand, operand->rank, places);
}

/* Whether the graph's operators of two operands can read `other` beside `leader` as it is: its axes
 * of more than one element are where those are, counted from the last, and its batch is the batch.
 */
static bool meets(const onnx_loader *load, const onnx_operand *other, const onnx_operand *leader) {
    const clq_shape *own = &load->graph->values[other->value].shape;
    const int less = load->graph->values[leader->value].shape.rank - own->rank;
    for (int k = 0; k < other->rank; k++) {
        const int axis = other->axis[k];
        if (axis == 0 ? leader->axis[k] != 0
                      : axis > 0 && own->dim[axis] > 1 && leader->axis[k] != axis + less) {
            return false;
        }
    }
    return less >= 0;
}

clq_status onnx_match(onnx_loader *load, const onnx_node *node, onnx_operand *a, onnx_operand *b,
                      onnx_operand *out) {
    const int rank = a->rank > b->rank ? a->rank : b->rank;
    const bool second =
        load->graph->values[b->value].shape.rank > load->graph->values[a->value].shape.rank;
    onnx_operand *leader = second ? b : a;
    onnx_operand *other = leader == a ? b : a;
    if (onnx_is_turned(load, a) != onnx_is_turned(load, b)) {
        CLQ_TRY(onnx_settle(load, node, a, false));
        CLQ_TRY(onnx_settle(load, node, b, false));
    }
    widen(a, rank);
    widen(b, rank);
    const onnx_dims dims = onnx_activation_dims(load, other);
    if (!has_places(leader, &dims)) {
        CLQ_TRY(onnx_store_all(load, node, leader));
    }
    if (!meets(load, other, leader)) {
        CLQ_TRY(onnx_arrange_like(load, node, other, leader));
    }
    *out = *leader;
    return CLQ_OK;
}

clq_status onnx_match_constant(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                               const onnx_constant *constant) {
    const int rank = x->rank > constant->rank ? x->rank : constant->rank;
    onnx_dims dims = {.rank = rank};
    if (constant->count == 0) {
        return onnx_fail(node, "the constant \"%.100s\" is empty", constant->name);
    }
    for (int k = 0; k < rank; k++) {
        const int own = k - (rank - constant->rank);
        dims.dim[k] = own < 0 ? 1 : constant->dim[own];
    }
    widen(x, rank);
    if (!has_places(x, &dims)) {
        CLQ_TRY(onnx_settle(load, node, x, false));
        return onnx_store_all(load, node, x);
    }
    return CLQ_OK;
}

/* ---- other dimensions ---- */

/* Axes of the file that become other ones: sources[first..end) have as many elements as the
 * target's axes targets[target_first..target_end). */
typedef struct group {
    int first, end, target_first, target_end;
} group;

typedef struct regrouping {
    int source[ONNX_MAX_RANK], target[ONNX_MAX_RANK]; /* axes of more than one element */
    int sources, targets;
    group groups[ONNX_MAX_RANK];
    int count;
} regrouping;

/* The finest groups; the dimensions have one product. */
static void find_groups(const int64_t *from, const int64_t *to, regrouping *r) {
    int s = 0, t = 0;
    while (s < r->sources && t < r->targets) {
        group g = {.first = s, .target_first = t};
        int64_t have = from[r->source[s++]], want = to[r->target[t++]];
        while (have != want) {
            if (have < want) {
                have *= from[r->source[s++]];
            } else {
                want *= to[r->target[t++]];
            }
        }
        g.end = s;
        g.target_end = t;
        r->groups[r->count++] = g;
    }
}

/* By where the first of each lies in the value, so that as little as possible moves. */
static void sort_groups(const onnx_operand *operand, regrouping *r) {
    for (int i = 1; i < r->count; i++) {
        for (int k = i; k > 0 && operand->axis[r->source[r->groups[k].first]] <
                                     operand->axis[r->source[r->groups[k - 1].first]];
             k--) {
            const group swap = r->groups[k];
            r->groups[k] = r->groups[k - 1];
            r->groups[k - 1] = swap;
        }
    }
}

clq_status onnx_regroup(onnx_loader *load, const onnx_node *node, onnx_operand *operand,
                        bool keeps_batch, int rank, const int64_t *dim) {
    const onnx_dims dims = onnx_activation_dims(load, operand);
    regrouping r = {.count = 0};
    onnx_operand out = {.rank = rank};
    bool same = true; /* only dimensions of 1 come or go */
    for (int k = 0; k < dims.rank; k++) {
        if (operand->axis[k] > 0 && dims.dim[k] > 1) {
            r.source[r.sources++] = k;
        }
    }
    for (int k = 0; k < rank; k++) {
        out.axis[k] = keeps_batch && k == 0 ? 0 : -1;
        if (out.axis[k] != 0 && dim[k] > 1) {
            r.target[r.targets++] = k;
        }
    }
    find_groups(dims.dim, dim, &r);
    for (int i = 0; i < r.count; i++) {
        const group *g = &r.groups[i];
        same = same && g->end - g->first == 1 && g->target_end - g->target_first == 1;
        out.axis[r.target[g->target_first]] = operand->axis[r.source[g->first]];
    }
    if (!same) {
        clq_shape shape = {.rank = 1, .dim = {1}};
        int axes[ONNX_MAX_RANK + 1] = {0}, count = 1;
        if (r.targets + 1 > CLQ_MAX_RANK) {
            return onnx_fail(node, "makes a tensor of %d dimensions, at most %d are supported",
                             r.targets + 1, CLQ_MAX_RANK);
        }
        sort_groups(operand, &r);
        for (int i = 0; i < r.count; i++) {
            for (int s = r.groups[i].first; s < r.groups[i].end; s++) {
                axes[count++] = operand->axis[r.source[s]];
            }
            for (int t = r.groups[i].target_first; t < r.groups[i].target_end; t++) {
                out.axis[r.target[t]] = shape.rank;
                shape.dim[shape.rank++] = dim[r.target[t]];
            }
        }
        CLQ_TRY(onnx_note_read(load, operand));
        CLQ_TRY(onnx_settle(load, node, operand, false));
        CLQ_TRY(transpose(load, operand, axes, count));
        CLQ_TRY(reshape(load, operand, &shape));
    }
    operand->rank = rank;
    memcpy(operand->axis, out.axis, sizeof out.axis);
    return CLQ_OK;
}

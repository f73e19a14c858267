/* Tensors put together, or repeated. */
#include "base/checked.h"
#include "formats/onnx/operators.h"

/* ---- Concat, Tile ---- */

clq_status onnx_join(onnx_loader *load, const char *name, int *values, int count, int axis,
                     int *joined) {
    const clq_concat_attrs attrs = {axis};
    while (count > CLQ_MAX_INPUTS) {
        int made = 0;
        for (int first = 0; first < count; first += CLQ_MAX_INPUTS) {
            const int left = count - first, part = left < CLQ_MAX_INPUTS ? left : CLQ_MAX_INPUTS;
            char *own;
            CLQ_TRY(clq_arena_format(&load->arena, &own, "%s.part", name));
            CLQ_TRY(onnx_unique_name(load, own, &own));
            CLQ_TRY(clq_graph_add_node(load->graph, "concat", own, &attrs, values + first, part,
                                       &values[made]));
            CLQ_TRY(onnx_make_room(load, values[made++]));
        }
        count = made;
    }
    CLQ_TRY(clq_graph_add_node(load->graph, "concat", name, &attrs, values, count, joined));
    return onnx_make_room(load, *joined);
}

/* The values joined, as the node's output, whose axes are those of `like`. */
static clq_status join(onnx_loader *load, const onnx_node *node, int *values, int count, int axis,
                       const onnx_operand *like) {
    onnx_operand out = *like;
    char *name;
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    CLQ_TRY(onnx_join(load, name, values, count, axis, &out.value));
    out.dequantized = false;
    return onnx_bind_made(load, node, 0, &out);
}

/* A place in the value for every axis of the file, of which there may be more than the operand has:
 * dimensions of 1 in front. Where the network is one sample, its batch is in front of them all. */
static clq_status place_all(onnx_loader *load, const onnx_node *node, onnx_operand *x, int rank) {
    static const int image[4] = {0, 2, 3, 1};
    int places[CLQ_MAX_RANK] = {-1};
    const int more = rank - x->rank;
    const int lead = load->whole && rank < CLQ_MAX_RANK ? 1 : 0;
    if (rank > CLQ_MAX_RANK || (more > 0 && x->rank > 0 && x->axis[0] == 0 && load->batch != 1)) {
        return onnx_fail(node,
                         "makes a tensor of %d dimensions, at most %d are supported, and the "
                         "batch is the first",
                         rank, CLQ_MAX_RANK);
    }
    for (int k = rank - 1; k >= 0; k--) {
        x->axis[k] = k < more ? -1 : x->axis[k - more];
        places[k + lead] = rank == 4 && !lead ? image[k] : k;
    }
    x->rank = rank;
    return onnx_arrange(load, node, x, rank + lead, places);
}

static clq_status read_concat(onnx_loader *load, onnx_node *node) {
    const size_t count = onnx_input_count(node);
    int64_t given = INT64_MIN;
    onnx_operand first, x;
    void *values;
    int axis;
    CLQ_TRY(onnx_want_inputs(node, 1, ONNX_MAX_NODES));
    CLQ_TRY(clq_arena_take(&load->arena, count, sizeof(int), &values));
    CLQ_TRY(onnx_attribute_int(node, "axis", -ONNX_MAX_RANK, ONNX_MAX_RANK - 1, &given));
    for (size_t i = 0; i < count; i++) {
        CLQ_TRY(onnx_want_activation(load, node, i, &x));
        if (i == 0) {
            CLQ_TRY(onnx_want_axis(node, &x, given, &axis));
            if (x.axis[axis] < 0) {
                CLQ_TRY(place_all(load, node, &x, x.rank));
            }
            first = x;
        } else if (x.rank != first.rank) {
            return onnx_fail(node, "joins tensors of %d and of %d dimensions", first.rank, x.rank);
        } else {
            CLQ_TRY(onnx_arrange_like(load, node, &x, &first));
        }
        ((int *)values)[i] = x.value;
    }
    if (first.axis[axis] == 0 && count > 1) {
        return onnx_fail(node, "joins along the batch");
    }
    return join(load, node, values, (int)count, first.axis[axis], &first);
}

static clq_status read_tile(onnx_loader *load, onnx_node *node) {
    enum { MOST = 1 << 10 };
    const int64_t *repeats;
    size_t count;
    onnx_operand x;
    void *values;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    CLQ_TRY(onnx_want_integers(load, node, 1, "the repeats", &repeats, &count));
    if ((int)count != x.rank) {
        return onnx_fail(node, "has %zu repeats for %d dimensions", count, x.rank);
    }
    CLQ_TRY(clq_arena_take(&load->arena, MOST, sizeof(int), &values));
    int last = -1;
    for (int k = 0; k < x.rank; k++) {
        if (repeats[k] < 1 || repeats[k] > MOST || (repeats[k] > 1 && x.axis[k] == 0)) {
            return onnx_fail(node, "repeats axis %d %lld times, must be 1 to %d, and the batch 1",
                             k, (long long)repeats[k], MOST);
        }
        if (repeats[k] > 1 && x.axis[k] < 0) {
            CLQ_TRY(place_all(load, node, &x, x.rank));
        }
        last = repeats[k] > 1 ? k : last;
    }
    for (int k = 0; k <= last; k++) {
        const clq_concat_attrs attrs = {x.axis[k]};
        for (int64_t i = 0; i < repeats[k]; i++) {
            ((int *)values)[i] = x.value;
        }
        if (k == last) {
            return join(load, node, values, (int)repeats[k], x.axis[k], &x);
        }
        if (repeats[k] > CLQ_MAX_INPUTS) {
            return onnx_fail(node, "repeats axis %d %lld times, must be at most %d", k,
                             (long long)repeats[k], CLQ_MAX_INPUTS);
        }
        if (repeats[k] > 1) {
            char *name;
            CLQ_TRY(clq_arena_format(&load->arena, &name, "%s.tile",
                                     load->graph->values[x.value].name));
            CLQ_TRY(onnx_unique_name(load, name, &name));
            const int from = x.value;
            CLQ_TRY(clq_graph_add_node(load->graph, "concat", name, &attrs, values, (int)repeats[k],
                                       &x.value));
            CLQ_TRY(onnx_keep_codes(load, &x, from));
        }
    }
    return onnx_bind_output(load, node, &x);
}

static clq_status write_concat(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                               size_t count) {
    const clq_concat_attrs *attrs = graph_node->attrs;
    const clq_shape *y = &chain->save->graph->values[graph_node->output].shape;
    Onnx__NodeProto *node;
    onnx_save_plan(chain, "Concat", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, "Concat", inputs, count, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "axis", onnx_file_axis(y, attrs->axis)));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* ---- Expand ---- */

static clq_status read_expand(onnx_loader *load, onnx_node *node) {
    const int64_t *shape;
    size_t count;
    onnx_operand x;
    clq_reshape_attrs attrs;
    bool same = true, placed = true;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    CLQ_TRY(onnx_want_integers(load, node, 1, "the shape", &shape, &count));
    const int rank = count > (size_t)x.rank ? (int)(count < 99 ? count : 99) : x.rank;
    if (rank > x.rank) {
        CLQ_TRY(place_all(load, node, &x, rank));
    }
    const onnx_dims dims = onnx_activation_dims(load, &x);
    int64_t dim[ONNX_MAX_RANK];
    for (int k = 0; k < x.rank; k++) {
        const int at = k - (x.rank - (int)count);
        const int64_t wanted = at < 0 ? 1 : shape[at];
        const bool batch = x.axis[k] == 0 && (wanted == 1 || wanted == load->batch);
        dim[k] = wanted == 1 || batch ? dims.dim[k] : wanted;
        if (dim[k] != dims.dim[k] && (dims.dim[k] != 1 || wanted < 1 || x.axis[k] == 0)) {
            return onnx_fail(node, "axis %d cannot be expanded to %lld", k, (long long)wanted);
        }
        same = same && dim[k] == dims.dim[k];
        placed = placed && (x.axis[k] >= 0 || dim[k] == 1);
    }
    if (same) {
        return onnx_bind_output(load, node, &x);
    }
    if (!placed) {
        CLQ_TRY(place_all(load, node, &x, x.rank));
    }
    const clq_shape *stored = &load->graph->values[x.value].shape;
    attrs = (clq_reshape_attrs){.rank = stored->rank};
    for (int a = 0; a < stored->rank; a++) {
        attrs.dim[a] = stored->dim[a];
    }
    for (int k = 0; k < x.rank; k++) {
        if (x.axis[k] > 0) {
            attrs.dim[x.axis[k]] = dim[k];
        }
    }
    return onnx_add_node(load, node, "expand", NULL, &attrs, &x.value, 1, &x);
}

static clq_status write_expand(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                               size_t count) {
    const clq_reshape_attrs *attrs = graph_node->attrs;
    const clq_shape *y = &chain->save->graph->values[graph_node->output].shape;
    const char *expand[2] = {inputs[0]};
    int64_t dim[CLQ_MAX_RANK];
    Onnx__NodeProto *node;
    (void)count;
    for (int a = 0; a < y->rank; a++) { /* 1: as many as there are, for the batch too */
        dim[onnx_file_axis(y, a)] = attrs->dim[a];
    }
    onnx_save_plan(chain, "Expand", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_longs(chain->save, "expand_shape", dim, (size_t)y->rank, &expand[1]));
    CLQ_TRY(onnx_save_step(chain, "Expand", expand, 2, &node));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

const onnx_operator onnx_concat_operators[] = {
    {"Concat", .read = read_concat, .op = "concat", .write = write_concat},
    {"Expand", .read = read_expand, .op = "expand", .write = write_expand},
    {"Tile", .read = read_tile},
    {0},
};

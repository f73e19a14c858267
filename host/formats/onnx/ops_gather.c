/* Gather of an activation by constant indices: slices, one after the other where the indices are
 * not one range. */
#include <string.h>

#include "formats/onnx/operators.h"

enum { MOST_RANGES = 1 << 10 };

/* count indices from `first` on, `step` apart. */
typedef struct range {
    int64_t first, step, count;
} range;

static int64_t index_at(const onnx_constant *index, size_t i) {
    return index->type == ONNX_INT64 ? ((const int64_t *)index->data)[i]
                                     : ((const int32_t *)index->data)[i];
}

/* Ranges as long as can be; an index that follows itself begins another. */
static clq_status find_ranges(const onnx_node *node, const onnx_constant *index, int64_t extent,
                              range ranges[MOST_RANGES], int *count) {
    *count = 0;
    for (size_t i = 0; i < index->count; i++) {
        int64_t k = index_at(index, i);
        if (!onnx_wrap(&k, extent)) {
            return onnx_fail(node, "index %lld is outside 0..%lld", (long long)index_at(index, i),
                             (long long)extent - 1);
        }
        range *last = *count > 0 ? &ranges[*count - 1] : NULL;
        const int64_t step = last ? k - (last->first + (last->count - 1) * last->step) : 0;
        if (last && step != 0 && (last->count == 1 || step == last->step)) {
            last->step = step;
            last->count++;
        } else if (*count < MOST_RANGES) {
            ranges[(*count)++] = (range){k, 1, 1};
        } else {
            return onnx_fail(node, "its indices are more than %d ranges", MOST_RANGES);
        }
    }
    return CLQ_OK;
}

/* x's elements of the ranges along a stored axis. */
static clq_status take_ranges(onnx_loader *load, const onnx_node *node, onnx_operand *x, int axis,
                              const range *ranges, int count) {
    int values[MOST_RANGES];
    char *name, *own;
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    for (int i = 0; i < count; i++) {
        clq_slice_attrs attrs;
        onnx_take_all(load, x->value, &attrs);
        attrs.start[axis] = ranges[i].first;
        attrs.step[axis] = ranges[i].step;
        attrs.count[axis] = ranges[i].count;
        own = name;
        if (count > 1) {
            CLQ_TRY(clq_arena_format(&load->arena, &own, "%s.%d", name, i));
            CLQ_TRY(onnx_unique_name(load, own, &own));
        }
        CLQ_TRY(clq_graph_add_node(load->graph, "slice", own, &attrs, &x->value, 1, &values[i]));
        CLQ_TRY(onnx_make_room(load, values[i]));
    }
    x->dequantized = false;
    x->value = values[0];
    return count > 1 ? onnx_join(load, name, values, count, axis, &x->value) : CLQ_OK;
}

/* The dimensions of the indices in the place of the axis that they pick from. */
static clq_status place_dims(onnx_loader *load, const onnx_node *node, onnx_operand *x, int place,
                             const onnx_constant *index) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    const int rest = dims.rank - place - 1;
    const bool batched = x->axis[0] == 0;
    int64_t dim[ONNX_MAX_RANK];
    if (index->rank == 1) {
        return CLQ_OK;
    }
    if (index->rank == 0) {
        memmove(x->axis + place, x->axis + place + 1, (size_t)rest * sizeof *x->axis);
        x->rank--;
        return CLQ_OK;
    }
    if (dims.rank - 1 + index->rank > ONNX_MAX_RANK || (!batched && load->batch != 1)) {
        return onnx_fail(node, "makes more than %d dimensions, or the batch is not the first",
                         ONNX_MAX_RANK);
    }
    memcpy(dim, dims.dim, (size_t)place * sizeof *dim);
    memcpy(dim + place, index->dim, (size_t)index->rank * sizeof *dim);
    memcpy(dim + place + index->rank, dims.dim + place + 1, (size_t)rest * sizeof *dim);
    /* A batch of 1 that was flattened away may come back. */
    return onnx_regroup(load, node, x, batched ? place > 0 : dim[0] == 1,
                        place + index->rank + rest, dim);
}

static clq_status read_gather(onnx_loader *load, onnx_node *node) {
    const onnx_constant *index;
    range ranges[MOST_RANGES];
    int64_t axis = 0;
    int place, count;
    onnx_operand x;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    CLQ_TRY(onnx_want_constant(load, node, 1, &index));
    CLQ_TRY(onnx_attribute_int(node, "axis", -ONNX_MAX_RANK, ONNX_MAX_RANK - 1, &axis));
    CLQ_TRY(onnx_want_axis(node, &x, axis, &place));
    if (!index || index->scale || index->count == 0 ||
        (index->type != ONNX_INT64 && index->type != ONNX_INT32)) {
        return onnx_fail(node, "its indices must be integers, one at least");
    }
    if (x.axis[place] == 0 && (load->batch != 1 || index->count > 1)) {
        return onnx_fail(node, "picks from the batch: images must stay apart");
    }
    const int64_t extent = onnx_activation_dims(load, &x).dim[place];
    CLQ_TRY(find_ranges(node, index, extent, ranges, &count));
    const bool all = count == 1 && ranges[0].step == 1 && ranges[0].count == extent;
    if (!all && x.axis[place] < 0) {
        CLQ_TRY(onnx_store_all(load, node, &x));
    }
    if (!all) {
        CLQ_TRY(take_ranges(load, node, &x, x.axis[place], ranges, count));
    }
    CLQ_TRY(place_dims(load, node, &x, place, index));
    return onnx_bind_output(load, node, &x);
}

const onnx_operator onnx_gather_operators[] = {
    {"Gather", .read = read_gather},
    {0},
};

/* Parts of constants, and constants put together. */
#include <string.h>

#include "base/checked.h"
#include "formats/onnx/operators.h"

/* A constant seen as (outer, extent, inner) around one axis. */
typedef struct around {
    size_t outer, extent, inner; /* inner: bytes */
    const char *data;
} around;

static around around_axis(const onnx_constant *constant, int axis) {
    around a = {1, 1, onnx_type_size(constant->type), constant->data};
    for (int k = 0; k < constant->rank; k++) {
        a.outer *= k < axis ? (size_t)constant->dim[k] : 1;
        a.inner *= k > axis ? (size_t)constant->dim[k] : 1;
    }
    a.extent = axis < constant->rank ? (size_t)constant->dim[axis] : 1;
    return a;
}

/* Scales per channel would have to be taken apart too. */
static clq_status want_plain(const onnx_node *node, const onnx_constant *constant) {
    return constant->scale_count > 1 ? onnx_fail(node, "takes apart weights quantized per channel; "
                                                       "quantize the parts")
                                     : CLQ_OK;
}

static void keep_scale(const onnx_constant *from, onnx_constant *out) {
    out->scale = from->scale;
    out->scale_count = from->scale_count;
    out->zero_point = from->zero_point;
}

/* ---- Gather ---- */

static clq_status fold_gather(onnx_loader *load, onnx_node *node) {
    int64_t axis = 0, dim[2 * ONNX_MAX_RANK];
    int rank = 0;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    const onnx_constant *from = onnx_constant_in(load, node, 0);
    const onnx_constant *index = onnx_constant_in(load, node, 1);
    CLQ_TRY(onnx_attribute_int(node, "axis", -ONNX_MAX_RANK, ONNX_MAX_RANK - 1, &axis));
    CLQ_TRY(want_plain(node, from));
    if (!onnx_wrap(&axis, from->rank) || index->scale ||
        (index->type != ONNX_INT64 && index->type != ONNX_INT32) ||
        from->rank - 1 + index->rank > ONNX_MAX_RANK) {
        return onnx_fail(node,
                         "of constants, an axis that is there and integers to pick are needed");
    }
    for (int k = 0; k < from->rank; k++) {
        for (int i = 0; k == axis && i < index->rank; i++) {
            dim[rank++] = index->dim[i];
        }
        if (k != axis) {
            dim[rank++] = from->dim[k];
        }
    }
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_fold_make(load, node, from->type, rank, dim, &out, &data));
    keep_scale(from, out);
    const around a = around_axis(from, (int)axis);
    char *to = data;
    for (size_t o = 0; o < a.outer; o++) {
        for (size_t i = 0; i < index->count; i++) {
            int64_t k = index->type == ONNX_INT64 ? ((const int64_t *)index->data)[i]
                                                  : ((const int32_t *)index->data)[i];
            if (!onnx_wrap(&k, (int64_t)a.extent)) {
                return onnx_fail(node, "index %lld is outside 0..%lld", (long long)k,
                                 (long long)a.extent - 1);
            }
            memcpy(to, a.data + (o * a.extent + (size_t)k) * a.inner, a.inner);
            to += a.inner;
        }
    }
    return onnx_bind_constant(load, node, out);
}

/* ---- Concat ---- */

static clq_status check_parts(onnx_loader *load, const onnx_node *node, int axis, int64_t *total) {
    const onnx_constant *first = onnx_constant_in(load, node, 0);
    *total = 0;
    for (size_t i = 0; i < onnx_input_count(node); i++) {
        const onnx_constant *part = onnx_constant_in(load, node, i);
        bool fits = part && part->type == first->type && part->rank == first->rank &&
                    !part->scale && clq_add_i64(*total, part->dim[axis], total);
        for (int k = 0; fits && k < part->rank; k++) {
            fits = k == axis || part->dim[k] == first->dim[k];
        }
        if (!fits) {
            return onnx_fail(node, "of constants, those of one type and shape are supported");
        }
    }
    return CLQ_OK;
}

static clq_status fold_concat(onnx_loader *load, onnx_node *node) {
    int64_t axis = 0, total, dim[ONNX_MAX_RANK];
    CLQ_TRY(onnx_want_inputs(node, 1, SIZE_MAX));
    CLQ_TRY(onnx_attribute_int(node, "axis", -ONNX_MAX_RANK, ONNX_MAX_RANK - 1, &axis));
    const onnx_constant *first = onnx_constant_in(load, node, 0);
    if (!onnx_wrap(&axis, first->rank)) {
        return onnx_fail(node, "axis is out of range, there are %d", first->rank);
    }
    CLQ_TRY(check_parts(load, node, (int)axis, &total));
    memcpy(dim, first->dim, sizeof dim);
    dim[axis] = total;
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_fold_make(load, node, first->type, first->rank, dim, &out, &data));
    const around all = around_axis(out, (int)axis);
    size_t before = 0;
    for (size_t i = 0; i < onnx_input_count(node); i++) {
        const around a = around_axis(onnx_constant_in(load, node, i), (int)axis);
        const size_t row = a.extent * a.inner;
        for (size_t o = 0; row > 0 && o < a.outer; o++) {
            memcpy((char *)data + (o * all.extent + before) * all.inner, a.data + o * row, row);
        }
        before += a.extent;
    }
    return onnx_bind_constant(load, node, out);
}

/* ---- Slice, Split ---- */

bool onnx_slice_axis(int64_t extent, int64_t start, int64_t end, int64_t step, int64_t *first,
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

/* `count` elements of an axis, from `first` on. */
static clq_status take(onnx_loader *load, const onnx_node *node, const onnx_constant *from,
                       int axis, int64_t first, int64_t step, int64_t count, onnx_constant **out) {
    int64_t dim[ONNX_MAX_RANK];
    void *data;
    memcpy(dim, from->dim, sizeof dim);
    dim[axis] = count;
    CLQ_TRY(onnx_fold_make(load, node, from->type, from->rank, dim, out, &data));
    keep_scale(from, *out);
    const around a = around_axis(from, axis);
    char *to = data;
    for (size_t o = 0; o < a.outer; o++) {
        for (int64_t i = 0; i < count; i++) {
            const size_t at = o * a.extent + (size_t)(first + i * step);
            memcpy(to, a.data + at * a.inner, a.inner);
            to += a.inner;
        }
    }
    return CLQ_OK;
}

static clq_status fold_slice(onnx_loader *load, onnx_node *node) {
    onnx_slices s = {0};
    CLQ_TRY(onnx_read_slices(load, node, &s));
    const onnx_constant *from = onnx_constant_in(load, node, 0);
    CLQ_TRY(want_plain(node, from));
    for (size_t i = 0; i < s.count; i++) {
        int64_t axis = s.axis_count ? s.axes[i] : (int64_t)i, first, count;
        const int64_t step = s.step_count ? s.steps[i] : 1;
        onnx_constant *out;
        if (!onnx_wrap(&axis, from->rank) ||
            !onnx_slice_axis(from->dim[axis], s.starts[i], s.ends[i], step, &first, &count)) {
            return onnx_fail(node, "has an axis that is out of range, or a step of 0");
        }
        CLQ_TRY(take(load, node, from, (int)axis, first, step, count, &out));
        from = out;
    }
    return onnx_bind_constant(load, node, from);
}

clq_status onnx_read_split(onnx_loader *load, onnx_node *node, int rank, const int64_t *dim,
                           int *axis, int64_t *counts) {
    const size_t outputs = node->proto->n_output;
    const int64_t *given = NULL;
    size_t count = 0;
    int64_t at = 0, parts = (int64_t)outputs, sum = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 2));
    CLQ_TRY(onnx_attribute_int(node, "axis", -ONNX_MAX_RANK, ONNX_MAX_RANK - 1, &at));
    CLQ_TRY(onnx_attribute_int(node, "num_outputs", 1, INT32_MAX, &parts));
    CLQ_TRY(onnx_attribute_ints(node, "split", &given, &count));
    if (count == 0) {
        CLQ_TRY(onnx_want_integers(load, node, 1, "the parts", &given, &count));
    }
    if (!onnx_wrap(&at, rank) || outputs > ONNX_MAX_OUTPUTS || parts != (int64_t)outputs ||
        (count > 0 && count != outputs)) {
        return onnx_fail(node,
                         "must have an axis that is there, and at most %d outputs, a part each",
                         ONNX_MAX_OUTPUTS);
    }
    const int64_t extent = dim[at], each = (extent + parts - 1) / parts;
    for (size_t i = 0; i < outputs; i++) {
        counts[i] = count > 0 ? given[i] : each < extent - sum ? each : extent - sum;
        if (counts[i] < 1 || counts[i] > extent - sum) {
            return onnx_fail(node, "its parts do not make up the %lld elements of axis %lld",
                             (long long)extent, (long long)at);
        }
        sum += counts[i];
    }
    *axis = (int)at;
    return sum == extent
               ? CLQ_OK
               : onnx_fail(node, "its parts do not make up the %lld elements of axis %lld",
                           (long long)extent, (long long)at);
}

static clq_status fold_split(onnx_loader *load, onnx_node *node) {
    const onnx_constant *from = onnx_constant_in(load, node, 0);
    int64_t counts[ONNX_MAX_OUTPUTS], first = 0;
    int axis;
    CLQ_TRY(want_plain(node, from));
    CLQ_TRY(onnx_read_split(load, node, from->rank, from->dim, &axis, counts));
    for (size_t i = 0; i < node->proto->n_output; i++) {
        onnx_operand part = {.value = CLQ_NO_VALUE};
        onnx_constant *out;
        CLQ_TRY(take(load, node, from, axis, first, 1, counts[i], &out));
        out->name = node->proto->output[i];
        part.constant = out;
        CLQ_TRY(onnx_bind(load, node->proto->output[i], &part));
        first += counts[i];
    }
    return CLQ_OK;
}

/* ---- Expand, Size ---- */

static clq_status fold_expand(onnx_loader *load, onnx_node *node) {
    const int64_t *wanted;
    size_t rank, size;
    int64_t dim[ONNX_MAX_RANK];
    size_t step[ONNX_MAX_RANK] = {0}, at[ONNX_MAX_RANK] = {0}, next = 1, from_at = 0;
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_want_integers(load, node, 1, "the shape", &wanted, &rank));
    const onnx_constant *from = onnx_constant_in(load, node, 0);
    const int full = (int)rank > from->rank ? (int)rank : from->rank;
    if (rank > ONNX_MAX_RANK || from->scale_count > 1) {
        return onnx_fail(node, "has more than %d dimensions or weights quantized per channel",
                         ONNX_MAX_RANK);
    }
    for (int d = full - 1; d >= 0; d--) {
        const int w = d - (full - (int)rank), k = d - (full - from->rank);
        const int64_t a = w >= 0 ? wanted[w] : 1, b = k >= 0 ? from->dim[k] : 1;
        if (a != b && a != 1 && b != 1) {
            return onnx_fail(node, "shapes do not go together");
        }
        dim[d] = b == 1 ? a : b;
        step[d] = b == 1 ? 0 : next;
        next *= (size_t)b;
    }
    CLQ_TRY(onnx_fold_make(load, node, from->type, full, dim, &out, &data));
    out->scale = from->scale;
    out->scale_count = from->scale_count;
    out->zero_point = from->zero_point;
    size = onnx_type_size(from->type);
    for (size_t i = 0; i < out->count; i++) {
        memcpy((char *)data + i * size, (const char *)from->data + from_at * size, size);
        for (int d = full - 1; d >= 0; d--) {
            from_at += step[d];
            if (++at[d] < (size_t)dim[d]) {
                break;
            }
            from_at -= step[d] * at[d];
            at[d] = 0;
        }
    }
    return onnx_bind_constant(load, node, out);
}

/* Number of elements. */
static clq_status fold_size(onnx_loader *load, onnx_node *node) {
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_fold_make(load, node, ONNX_INT64, 0, NULL, &out, &data));
    *(int64_t *)data = (int64_t)onnx_constant_in(load, node, 0)->count;
    return onnx_bind_constant(load, node, out);
}

const onnx_operator onnx_parts_operators[] = {
    {"Gather", .fold = fold_gather},
    {"Concat", .fold = fold_concat},
    {"Slice", .fold = fold_slice},
    {"Split", .fold = fold_split},
    {"Expand", .fold = fold_expand},
    {"Size", .fold = fold_size},
    {0},
};

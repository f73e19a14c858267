/* Parts of tensors. Every k-th row and column of an image waits for the node that reads it: with
 * zero channels it is a ResNet's option-A shortcut. */
#include <string.h>

#include "base/checked.h"
#include "formats/onnx/operators.h"

clq_status onnx_read_slices(onnx_loader *load, onnx_node *node, onnx_slices *s) {
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
        (s->step_count && s->step_count != s->count) || s->count > ONNX_MAX_RANK) {
        return onnx_fail(node, "starts, ends, axes and steps must be of one length, 1..%d",
                         ONNX_MAX_RANK);
    }
    return CLQ_OK;
}

/* What is taken of each of a tensor's axes. */
typedef struct taken {
    int64_t first[ONNX_MAX_RANK], step[ONNX_MAX_RANK], count[ONNX_MAX_RANK];
    bool whole[ONNX_MAX_RANK];
} taken;

static clq_status find_taken(onnx_loader *load, onnx_node *node, const onnx_operand *x, taken *t) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    onnx_slices s = {0};
    CLQ_TRY(onnx_read_slices(load, node, &s));
    for (int k = 0; k < dims.rank; k++) {
        t->first[k] = 0;
        t->step[k] = 1;
        t->count[k] = dims.dim[k];
        t->whole[k] = true;
    }
    for (size_t i = 0; i < s.count; i++) {
        int64_t k = s.axis_count ? s.axes[i] : (int64_t)i;
        const int64_t step = s.step_count ? s.steps[i] : 1;
        if (!onnx_wrap(&k, dims.rank)) {
            return onnx_fail(node, "axis %lld is out of range", (long long)s.axes[i]);
        }
        if (dims.dim[k] == ONNX_BATCH) { /* any end */
            if (s.starts[i] != 0 || step != 1 || s.ends[i] < INT32_MAX) {
                return onnx_fail(node, "takes part of the batch, which is open");
            }
            continue;
        }
        if (!onnx_slice_axis(dims.dim[k], s.starts[i], s.ends[i], step, &t->first[k],
                             &t->count[k]) ||
            t->count[k] < 1) {
            return onnx_fail(node, "takes %lld:%lld:%lld of axis %lld (%lld), which is nothing",
                             (long long)s.starts[i], (long long)s.ends[i], (long long)step,
                             (long long)k, (long long)dims.dim[k]);
        }
        t->step[k] = t->count[k] > 1 ? step : 1;
        t->whole[k] = t->first[k] == 0 && t->step[k] == 1 && t->count[k] == dims.dim[k];
        if (x->axis[k] == 0 && !t->whole[k]) {
            return onnx_fail(node, "takes part of the batch, which is not supported");
        }
    }
    return CLQ_OK;
}

/* Whether only every k-th row and column of an image is taken: a shortcut's strides. */
static bool is_strided(const onnx_loader *load, const onnx_operand *x, const taken *t) {
    static const int no_pad[4];
    const onnx_dims dims = onnx_activation_dims(load, x);
    if (!onnx_is_image(load, x) || x->flatten || memcmp(x->pad, no_pad, sizeof no_pad) != 0 ||
        !t->whole[0] || !t->whole[1]) {
        return false;
    }
    for (int k = 2; k < 4; k++) {
        const int64_t all = (dims.dim[k] - 1) / (t->step[k] > 0 ? t->step[k] : 1) + 1;
        const int64_t stride = t->step[k] * (x->stride[k - 2] > 0 ? x->stride[k - 2] : 1);
        if (t->first[k] != 0 || t->step[k] < 1 || t->count[k] != all || stride > 1 << 15) {
            return false;
        }
    }
    return true;
}

void onnx_take_all(const onnx_loader *load, int value, clq_slice_attrs *attrs) {
    const clq_shape *shape = &load->graph->values[value].shape;
    *attrs = (clq_slice_attrs){{0}, {0}, {0}};
    for (int p = 0; p < shape->rank; p++) {
        attrs->step[p] = 1;
        attrs->count[p] = shape->dim[p];
    }
}

static clq_status add_slice(onnx_loader *load, const onnx_node *node, const taken *t) {
    onnx_operand x;
    clq_slice_attrs attrs;
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    onnx_take_all(load, x.value, &attrs);
    for (int k = 0; k < x.rank; k++) {
        const int p = x.axis[k];
        if (p > 0) {
            attrs.start[p] = t->first[k];
            attrs.step[p] = t->step[k];
            attrs.count[p] = t->count[k];
        }
    }
    return onnx_add_node(load, node, "slice", NULL, &attrs, &x.value, 1, &x);
}

static clq_status read_slice(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    taken t;
    bool whole = true;
    CLQ_TRY(onnx_peek(load, node, 0, &x));
    CLQ_TRY(find_taken(load, node, &x, &t));
    for (int k = 0; k < onnx_activation_dims(load, &x).rank; k++) {
        whole = whole && t.whole[k];
    }
    if (!whole && !is_strided(load, &x, &t)) {
        return add_slice(load, node, &t);
    }
    CLQ_TRY(onnx_note_read(load, &x));
    for (int k = 2; !whole && k < 4; k++) {
        x.stride[k - 2] = (int)t.step[k] * (x.stride[k - 2] > 0 ? x.stride[k - 2] : 1);
    }
    return onnx_bind_output(load, node, &x);
}

/* ---- Split ---- */

static clq_status read_split(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    int64_t counts[ONNX_MAX_OUTPUTS];
    int axis;
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    const onnx_dims dims = onnx_activation_dims(load, &x);
    CLQ_TRY(onnx_read_split(load, node, dims.rank, dims.dim, &axis, counts));
    if (x.axis[axis] == 0) {
        return onnx_fail(node, "splits the batch, which is not supported");
    }
    clq_slice_attrs attrs;
    onnx_take_all(load, x.value, &attrs);
    const int stored = x.axis[axis];
    int64_t first = 0;
    for (size_t i = 0; i < node->proto->n_output; i++) {
        const char *output = node->proto->output[i];
        if (stored < 0) { /* all of it */
            CLQ_TRY(onnx_bind(load, output, &x));
            continue;
        }
        attrs.start[stored] = first;
        attrs.count[stored] = counts[i];
        first += counts[i];
        if (onnx_use_count(load, output) > 0) {
            CLQ_TRY(onnx_add_node_at(load, node, i, "slice", &attrs, &x.value, 1, &x));
        }
    }
    return CLQ_OK;
}

/* Of the file's axes, those that are not taken whole. */
static clq_status write_slice(onnx_chain *chain, const clq_node *node, const char **inputs,
                              size_t count) {
    const clq_slice_attrs *attrs = node->attrs;
    onnx_saver *save = chain->save;
    const clq_shape *x = &save->graph->values[node->inputs[0]].shape;
    int64_t starts[CLQ_MAX_RANK], ends[CLQ_MAX_RANK], axes[CLQ_MAX_RANK], steps[CLQ_MAX_RANK];
    const char *slice[5] = {inputs[0]};
    Onnx__NodeProto *made;
    size_t n = 0;
    (void)count;
    for (int p = 0; p < x->rank; p++) {
        const int64_t step = attrs->step[p], end = attrs->start[p] + step * attrs->count[p];
        const bool whole = step == 1 && attrs->start[p] == 0 && attrs->count[p] == x->dim[p];
        if (!whole || (n == 0 && p == x->rank - 1)) { /* one at least */
            starts[n] = attrs->start[p];
            ends[n] = end < 0 ? -INT64_MAX : end;
            axes[n] = onnx_file_axis(x, p);
            steps[n++] = step;
        }
    }
    onnx_save_plan(chain, chain->onnx, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_longs(save, "slice_starts", starts, n, &slice[1]));
    CLQ_TRY(onnx_save_longs(save, "slice_ends", ends, n, &slice[2]));
    CLQ_TRY(onnx_save_longs(save, "slice_axes", axes, n, &slice[3]));
    CLQ_TRY(onnx_save_longs(save, "slice_steps", steps, n, &slice[4]));
    CLQ_TRY(onnx_save_step(chain, chain->onnx, slice, 5, &made));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

const onnx_operator onnx_slice_operators[] = {
    {"Slice", .read = read_slice, .op = "slice", .write = write_slice},
    {"Split", .read = read_split},
    {0},
};

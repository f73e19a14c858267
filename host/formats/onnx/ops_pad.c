/* Pad. Zeros around an image wait for the node that reads them: they are a convolution's padding.
 * Strides and zero channels together are a ResNet's option-A shortcut. */
#include <math.h>
#include <string.h>

#include "formats/onnx/operators.h"

/* Elements before and after each of the file's axes. */
typedef struct padding {
    int64_t before[ONNX_MAX_RANK], after[ONNX_MAX_RANK];
    clq_pad_mode mode;
    float value;
} padding;

enum { MOST_PADS = 1 << 20 };

static clq_status read_mode(onnx_node *node, clq_pad_mode *mode) {
    static const char *const names[] = {"constant", "edge", "reflect", "wrap"};
    const char *given = names[CLQ_PAD_CONSTANT];
    CLQ_TRY(onnx_attribute_text(node, "mode", &given));
    for (int i = 0; i < 4; i++) {
        if (strcmp(given, names[i]) == 0) {
            *mode = (clq_pad_mode)i;
            return CLQ_OK;
        }
    }
    return onnx_fail(node, "mode \"%.20s\" is not supported", given);
}

static clq_status read_padding(onnx_loader *load, onnx_node *node, const onnx_operand *x,
                               padding *p) {
    const int64_t *given = NULL, *axes;
    size_t count = 0, axis_count = 0;
    *p = (padding){.value = 0};
    CLQ_TRY(onnx_want_inputs(node, 1, 4));
    CLQ_TRY(read_mode(node, &p->mode));
    CLQ_TRY(onnx_attribute_float(node, "value", &p->value));
    CLQ_TRY(onnx_attribute_ints(node, "pads", &given, &count));
    if (count == 0) {
        CLQ_TRY(onnx_want_integers(load, node, 1, "pads", &given, &count));
        CLQ_TRY(onnx_want_scalar(load, node, 2, "the padding value", 0, &p->value));
    }
    CLQ_TRY(onnx_want_integers(load, node, 3, "axes", &axes, &axis_count));
    const onnx_dims dims = onnx_activation_dims(load, x);
    const size_t covered = axis_count ? axis_count : (size_t)dims.rank;
    if (count != 2 * covered || covered > ONNX_MAX_RANK) {
        return onnx_fail(node, "must have 2 pads for each axis, has %zu", count);
    }
    for (size_t i = 0; i < covered; i++) {
        int64_t axis = axis_count ? axes[i] : (int64_t)i;
        const int64_t before = given[i], after = given[i + covered];
        if (!onnx_wrap(&axis, dims.rank)) {
            return onnx_fail(node, "axis %lld is out of range", (long long)axis);
        }
        if (before < -MOST_PADS || before > MOST_PADS || after < -MOST_PADS || after > MOST_PADS) {
            return onnx_fail(node, "pads %lld and %lld, must be within +-%d", (long long)before,
                             (long long)after, MOST_PADS);
        }
        p->before[axis] = before;
        p->after[axis] = after;
    }
    return CLQ_OK;
}

/* ---- what waits ---- */

/* Zeros, or the lowest numbers, around (N, C, H, W); or zero channels; which. */
static bool is_around_image(const onnx_loader *load, const onnx_operand *x, const padding *p,
                            bool *channels) {
    static const int no_pad[4];
    const bool padded = memcmp(x->pad, no_pad, sizeof no_pad) != 0;
    bool fits = onnx_is_image(load, x) && !x->flatten && p->mode == CLQ_PAD_CONSTANT &&
                (p->value == 0 || p->value <= ONNX_LOWEST) &&
                (!padded || x->pad_value == p->value) && p->before[0] == 0 && p->after[0] == 0;
    bool image = false;
    for (int k = 1; fits && k < 4; k++) {
        fits = p->before[k] >= 0 && p->after[k] >= 0;
        image = image || (k > 1 && (p->before[k] > 0 || p->after[k] > 0));
    }
    *channels = p->before[1] > 0 || p->after[1] > 0;
    return fits && image != *channels && !(*channels && (p->value != 0 || padded));
}

/* The option-A shortcut: a strided image and zero channels. */
static clq_status add_shortcut(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                               const padding *p) {
    if (x->stride[0] != x->stride[1]) {
        CLQ_TRY(onnx_make_slice(load, x));
    }
    clq_pad_channels_attrs attrs = {.stride = x->stride[0] > 0 ? x->stride[0] : 1,
                                    .front = (int)p->before[1],
                                    .back = (int)p->after[1]};
    return onnx_add_node(load, node, "shortcut_a", NULL, &attrs, &x->value, 1, NULL);
}

static clq_status keep_pads(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                            const padding *p) {
    CLQ_TRY(onnx_make_slice(load, x));
    x->pad_value = p->value;
    for (int axis = 0; axis < 2; axis++) {
        x->pad[axis] += (int)p->before[2 + axis];
        x->pad[axis + 2] += (int)p->after[2 + axis];
        if (x->pad[axis] > MOST_PADS || x->pad[axis + 2] > MOST_PADS) {
            return onnx_fail(node, "padding is out of range");
        }
    }
    return onnx_bind_output(load, node, x);
}

/* ---- any Pad ---- */

/* Negative pads take elements away. */
static clq_status crop(onnx_loader *load, const onnx_node *node, onnx_operand *x, padding *p) {
    clq_slice_attrs attrs;
    bool crops = false;
    onnx_take_all(load, x->value, &attrs);
    for (int k = 0; k < x->rank; k++) {
        const int64_t before = p->before[k] < 0 ? -p->before[k] : 0;
        const int64_t after = p->after[k] < 0 ? -p->after[k] : 0;
        if (before + after == 0) {
            continue;
        }
        if (x->axis[k] <= 0) {
            return onnx_fail(node, "takes all elements of axis %d away, or some of the batch", k);
        }
        attrs.start[x->axis[k]] = before;
        attrs.count[x->axis[k]] -= before + after;
        p->before[k] = p->before[k] < 0 ? 0 : p->before[k];
        p->after[k] = p->after[k] < 0 ? 0 : p->after[k];
        crops = true;
    }
    if (!crops) {
        return CLQ_OK;
    }
    return onnx_make_crop(load, x, &attrs);
}

static clq_status add_pad(onnx_loader *load, onnx_node *node) {
    static const int image[4] = {0, 2, 3, 1};
    onnx_operand x;
    padding p;
    clq_pad_attrs attrs;
    bool pads = false, placed = true;
    int places[ONNX_MAX_RANK];
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    CLQ_TRY(read_padding(load, node, &x, &p));
    if (!isfinite(p.value)) {
        return onnx_fail(node, "pads with %g, which is for MaxPool to read", (double)p.value);
    }
    CLQ_TRY(crop(load, node, &x, &p));
    for (int k = 0; k < x.rank; k++) {
        pads = pads || p.before[k] > 0 || p.after[k] > 0;
        placed = placed && (x.axis[k] >= 0 || (p.before[k] == 0 && p.after[k] == 0));
        places[k] = x.rank == 4 ? image[k] : k;
        if (x.axis[k] == 0 && (p.before[k] > 0 || p.after[k] > 0)) {
            return onnx_fail(node, "pads the batch");
        }
    }
    if (!pads) {
        return onnx_bind_output(load, node, &x);
    }
    if (!placed && x.rank > CLQ_MAX_RANK) {
        return onnx_fail(node, "pads a tensor of %d dimensions, at most %d are supported", x.rank,
                         CLQ_MAX_RANK);
    }
    if (!placed) {
        CLQ_TRY(onnx_arrange(load, node, &x, x.rank, places));
    }
    attrs = (clq_pad_attrs){.mode = p.mode, .value = p.value};
    for (int k = 0; k < x.rank; k++) {
        if (x.axis[k] >= 0) {
            attrs.before[x.axis[k]] = p.before[k];
            attrs.after[x.axis[k]] = p.after[k];
        }
    }
    return onnx_add_node(load, node, "pad", NULL, &attrs, &x.value, 1, &x);
}

static clq_status read_pad(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    padding p;
    bool channels;
    CLQ_TRY(onnx_peek(load, node, 0, &x));
    CLQ_TRY(read_padding(load, node, &x, &p));
    if (!is_around_image(load, &x, &p, &channels)) {
        return add_pad(load, node);
    }
    CLQ_TRY(onnx_note_read(load, &x));
    return channels ? add_shortcut(load, node, &x, &p) : keep_pads(load, node, &x, &p);
}

/* ---- writing ---- */

static clq_status write_pad(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                            size_t count) {
    static const char *const modes[] = {"constant", "edge", "reflect", "wrap"};
    const clq_pad_attrs *attrs = graph_node->attrs;
    const clq_shape *y = &chain->save->graph->values[graph_node->output].shape;
    int64_t around[2 * CLQ_MAX_RANK];
    const char *pad[3] = {inputs[0]};
    Onnx__NodeProto *node;
    (void)count;
    for (int a = 0; a < y->rank; a++) {
        around[onnx_file_axis(y, a)] = attrs->before[a];
        around[onnx_file_axis(y, a) + y->rank] = attrs->after[a];
    }
    onnx_save_plan(chain, "Pad", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_longs(chain->save, "pads", around, 2 * (size_t)y->rank, &pad[1]));
    if (attrs->mode == CLQ_PAD_CONSTANT) {
        CLQ_TRY(onnx_save_scalar(chain->save, "pad_value", attrs->value, &pad[2]));
    }
    CLQ_TRY(onnx_save_step(chain, "Pad", pad, attrs->mode == CLQ_PAD_CONSTANT ? 3 : 2, &node));
    CLQ_TRY(onnx_save_text(chain->save, node, "mode", modes[attrs->mode]));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* x[:, :, ::s, ::s] and zero channels. */
static clq_status write_shortcut(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                                 size_t count) {
    const clq_pad_channels_attrs *attrs = graph_node->attrs;
    onnx_saver *save = chain->save;
    const char *base = chain->base;
    Onnx__NodeProto *node;
    bool pads = attrs->front > 0 || attrs->back > 0;
    chain->current = inputs[0];
    (void)count;
    onnx_save_plan(chain, pads ? "Pad" : "Slice", CLQ_ACT_NONE);
    if (attrs->stride > 1 || !pads) {
        const int64_t zeros[2] = {0, 0}, ends[2] = {INT64_MAX, INT64_MAX}, axes[2] = {2, 3};
        const int64_t steps[2] = {attrs->stride, attrs->stride};
        const char *slice[5] = {chain->current};
        char *path;
        CLQ_TRY(clq_arena_format(&save->arena, &path, "%s/%s", base, "Slice"));
        CLQ_TRY(onnx_save_longs(save, "slice_starts", zeros, 2, &slice[1]));
        CLQ_TRY(onnx_save_longs(save, "slice_ends", ends, 2, &slice[2]));
        CLQ_TRY(onnx_save_longs(save, "slice_axes", axes, 2, &slice[3]));
        CLQ_TRY(onnx_save_longs(save, "slice_steps", steps, 2, &slice[4]));
        if (pads) {
            const char *sliced;
            CLQ_TRY(onnx_save_name(save, &save->values, path, &sliced));
            CLQ_TRY(onnx_save_node(save, "Slice", path, slice, 5, sliced, &node));
            chain->current = sliced;
        } else {
            CLQ_TRY(onnx_save_step(chain, "Slice", slice, 5, &node));
        }
    }
    if (pads) {
        const int64_t around[8] = {0, attrs->front, 0, 0, 0, attrs->back, 0, 0};
        const char *pad[3] = {chain->current};
        CLQ_TRY(onnx_save_longs(save, "pad_channels", around, 8, &pad[1]));
        CLQ_TRY(onnx_save_scalar(save, "pad_value", 0, &pad[2]));
        CLQ_TRY(onnx_save_step(chain, "Pad", pad, 3, &node));
    }
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

const onnx_operator onnx_pad_operators[] = {
    {"Pad", .read = read_pad, .op = "pad", .write = write_pad},
    {.op = "shortcut_a", .write = write_shortcut},
    {0},
};

/* Windows, and pooling. */
#include <string.h>

#include "formats/onnx/operators.h"

enum { MAX_WINDOW = 1 << 15, AVERAGE_OPSET = 19 /* has dilated AveragePool */ };

/* A number for each of `axes`, the last of two, or two of them, each in least..MAX_WINDOW. */
static clq_status read_numbers(onnx_node *node, const char *name, size_t axes, bool pairs,
                               int64_t least, int *numbers, bool *there) {
    const int64_t *values;
    size_t found = pairs ? 2 * axes : axes;
    CLQ_TRY(onnx_attribute_ints(node, name, &values, &found));
    *there = found > 0;
    for (size_t i = 0; i < found; i++) {
        if (values[i] < least || values[i] > MAX_WINDOW) {
            return onnx_fail(node, "%s has %lld, must be %lld..%d", name, (long long)values[i],
                             (long long)least, MAX_WINDOW);
        }
        numbers[axes == 1 ? 2 * i + 1 : i] = (int)values[i];
    }
    return CLQ_OK;
}

/* SAME: as many outputs as ceil(input / stride); what is odd goes behind (UPPER) or in front. */
static void pad_same(const onnx_dims *x, bool upper, onnx_window *window) {
    for (int axis = 4 - x->rank; axis < 2; axis++) {
        int64_t size = x->dim[x->rank - 2 + axis], stride = window->stride[axis];
        int64_t extent = (int64_t)window->dilation[axis] * (window->kernel[axis] - 1) + 1;
        int64_t total = ((size - 1) / stride) * stride + extent - size;
        total = total > 0 ? total : 0;
        int64_t before = upper ? total / 2 : total - total / 2;
        window->pad[axis] = (int)before;
        window->pad[axis + 2] = (int)(total - before);
    }
}

clq_status onnx_read_window(onnx_node *node, const onnx_dims *x, const onnx_constant *weight,
                            onnx_window *window) {
    bool has_kernel, has_stride, has_dilation, has_pads;
    const char *auto_pad = "NOTSET";
    if (x->rank != 3 && x->rank != 4) {
        return onnx_fail(node, "input has %d dimensions, must be (N, C, H, W) or (N, C, L)",
                         x->rank);
    }
    const size_t axes = (size_t)x->rank - 2;
    *window = (onnx_window){.kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}};
    CLQ_TRY(read_numbers(node, "kernel_shape", axes, false, 1, window->kernel, &has_kernel));
    CLQ_TRY(read_numbers(node, "strides", axes, false, 1, window->stride, &has_stride));
    CLQ_TRY(read_numbers(node, "dilations", axes, false, 1, window->dilation, &has_dilation));
    CLQ_TRY(read_numbers(node, "pads", axes, true, 0, window->pad, &has_pads));
    CLQ_TRY(onnx_attribute_text(node, "auto_pad", &auto_pad));
    for (int axis = 0; weight && axis < 2; axis++) {
        int64_t size = weight->dim[2 + axis];
        if (size < 1 || size > MAX_WINDOW || (has_kernel && window->kernel[axis] != size)) {
            return onnx_fail(node, "kernel_shape and the weights' shape disagree");
        }
        window->kernel[axis] = (int)size;
    }
    if (!weight && !has_kernel) {
        return onnx_fail(node, "attribute kernel_shape is missing");
    }
    bool set = strcmp(auto_pad, "NOTSET") != 0 && auto_pad[0];
    if (set && has_pads) {
        return onnx_fail(node, "has both pads and auto_pad");
    }
    if (strncmp(auto_pad, "SAME", 4) == 0) {
        pad_same(x, strcmp(auto_pad, "SAME_UPPER") == 0, window);
    } else if (set && strcmp(auto_pad, "VALID") != 0) {
        return onnx_fail(node, "auto_pad is \"%s\", which is unknown", auto_pad);
    }
    return CLQ_OK;
}

/* ---- pooling ---- */

/* With a 1x1 window a pool only takes every k-th pixel, like a Slice. */
static bool is_slice(const onnx_loader *load, const clq_pool_attrs *attrs) {
    static const int no_pad[4];
    return !load->own && attrs->kernel[0] == 1 && attrs->kernel[1] == 1 &&
           memcmp(attrs->pad, no_pad, sizeof no_pad) == 0 && !attrs->ceil_mode;
}

/* Whether a pending Pad by the lowest numbers may be the window's own padding: none of the windows
 * is all padding, and none begins in it that would be left out then. */
static bool takes_pad(const onnx_loader *load, const onnx_node *node, const onnx_window *window) {
    const onnx_operand *x = onnx_input(load, node, 0);
    bool fits = x->pad_value <= ONNX_LOWEST;
    for (int axis = 0; axis < 2; axis++) {
        const int before = window->pad[axis] + x->pad[axis];
        const int after = window->pad[axis + 2] + x->pad[axis + 2];
        fits = fits && before < window->kernel[axis] && after < window->kernel[axis] &&
               window->dilation[axis] == 1;
    }
    return fits;
}

static clq_status add_pool(onnx_loader *load, onnx_node *node, const char *op,
                           bool count_include_pad) {
    onnx_operand x;
    onnx_window window;
    int64_t ceil_mode = 0;
    int pad[4] = {0};
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_peek(load, node, 0, &x));
    CLQ_TRY(onnx_attribute_int(node, "ceil_mode", 0, 1, &ceil_mode));
    onnx_dims dims = onnx_activation_dims(load, &x);
    CLQ_TRY(onnx_read_window(node, &dims, NULL, &window));
    const bool takes = op[0] == 'm' && ceil_mode == 0 && takes_pad(load, node, &window);
    CLQ_TRY(onnx_want_image(load, node, 0, &x, takes ? pad : NULL, takes));
    for (int i = 0; i < 4; i++) {
        window.pad[i] += pad[i];
    }
    clq_pool_attrs attrs = {.kernel = {window.kernel[0], window.kernel[1]},
                            .stride = {window.stride[0], window.stride[1]},
                            .dilation = {window.dilation[0], window.dilation[1]},
                            .count_include_pad = count_include_pad,
                            .ceil_mode = ceil_mode != 0};
    memcpy(attrs.pad, window.pad, sizeof attrs.pad);
    if (onnx_is_row(load, &x)) {
        if (window.kernel[0] != 1 || window.kernel[1] != 1) {
            return onnx_fail(node, "the window does not fit an image of 1 x 1");
        }
        return onnx_bind_output(load, node, &x);
    }
    if (is_slice(load, &attrs)) {
        memcpy(x.stride, attrs.stride, sizeof x.stride);
        return onnx_bind_output(load, node, &x);
    }
    return onnx_add_node(load, node, op, NULL, &attrs, &x.value, 1, &x);
}

static clq_status read_max_pool(onnx_loader *load, onnx_node *node) {
    onnx_attribute_ignore(node, "storage_order"); /* of the indices, which nobody reads */
    return add_pool(load, node, "max_pool", false);
}

static clq_status read_average_pool(onnx_loader *load, onnx_node *node) {
    int64_t include = 0;
    CLQ_TRY(onnx_attribute_int(node, "count_include_pad", 0, 1, &include));
    return add_pool(load, node, "avg_pool", include != 0);
}

static clq_status add_global_pool(onnx_loader *load, const onnx_node *node, const char *op,
                                  onnx_operand *x, const onnx_operand *like) {
    if (onnx_is_row(load, x)) {
        x->rank = like->rank;
        memcpy(x->axis, like->axis, sizeof x->axis);
        return onnx_bind_output(load, node, x);
    }
    return onnx_add_node(load, node, op, NULL, NULL, &x->value, 1, like);
}

clq_status onnx_add_global_pool(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                                const onnx_operand *like) {
    return add_global_pool(load, node, "global_avg_pool", x, like);
}

static clq_status read_global_pool(onnx_loader *load, onnx_node *node) {
    onnx_operand x, pooled = {.axis = {0, 1, -1, -1}};
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_want_image(load, node, 0, &x, NULL, false));
    pooled.rank = x.rank;
    const bool max = strcmp(node->op, "GlobalMaxPool") == 0;
    return add_global_pool(load, node, max ? "global_max_pool" : "global_avg_pool", &x, &pooled);
}

/* Attributes that mean the same to readers who count windows as ceil(slack / stride) + 1, also
 * where the last one would begin in the padding and is left out: there the padding that makes a
 * part of a window goes away, or ceil_mode, whose windows padding then completes elsewhere. */
static clq_status plain_pool(const clq_graph *graph, const clq_node *node, clq_pool_attrs *attrs) {
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    const clq_shape *y = &graph->values[node->output].shape;
    int less[2] = {0, 0}, more[2] = {0, 0};
    for (int axis = 0; attrs->ceil_mode && axis < 2; axis++) {
        const int stride = attrs->stride[axis];
        const int dilation = attrs->dilation[axis] > 1 ? attrs->dilation[axis] : 1;
        const int64_t slack = x->dim[1 + axis] + attrs->pad[axis] + attrs->pad[axis + 2] -
                              dilation * (attrs->kernel[axis] - 1) - 1;
        const int rest = (int)(slack % stride);
        if (rest > 0 && y->dim[1 + axis] == slack / stride + 1) {
            less[axis] = rest;
        } else {
            more[axis] = rest > 0 ? stride - rest : 0;
        }
    }
    if (less[0] == 0 && less[1] == 0) {
        return CLQ_OK;
    }
    const bool pads = attrs->pad[0] || attrs->pad[1] || attrs->pad[2] || attrs->pad[3];
    const bool drops = less[0] <= attrs->pad[2] && less[1] <= attrs->pad[3];
    if ((more[0] || more[1]) && !drops && attrs->count_include_pad && pads) {
        return clq_fail(CLQ_BAD_DATA, "%s \"%s\": ONNX has no padding for its windows",
                        node->op->name, node->name);
    }
    attrs->count_include_pad &= pads;
    attrs->ceil_mode = drops && (more[0] || more[1]);
    for (int axis = 0; axis < 2; axis++) {
        attrs->pad[axis + 2] += drops ? -less[axis] : more[axis];
    }
    return CLQ_OK;
}

static clq_status write_pool(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                             size_t count) {
    static const char op_max[] = "MaxPool", op_average[] = "AveragePool";
    clq_pool_attrs attrs = *(const clq_pool_attrs *)graph_node->attrs;
    onnx_saver *save = chain->save;
    bool max = strcmp(graph_node->op->name, "max_pool") == 0;
    Onnx__NodeProto *node;
    CLQ_TRY(plain_pool(save->graph, graph_node, &attrs));
    onnx_save_plan(chain, max ? op_max : op_average, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, max ? op_max : op_average, inputs, count, &node));
    CLQ_TRY(onnx_save_int(save, node, "ceil_mode", attrs.ceil_mode));
    if (!max) {
        CLQ_TRY(onnx_save_int(save, node, "count_include_pad", attrs.count_include_pad));
    }
    if (attrs.dilation[0] > 1 || attrs.dilation[1] > 1) {
        const int dilation[2] = {attrs.dilation[0] > 1 ? attrs.dilation[0] : 1,
                                 attrs.dilation[1] > 1 ? attrs.dilation[1] : 1};
        save->opset = max || save->opset > AVERAGE_OPSET ? save->opset : AVERAGE_OPSET;
        CLQ_TRY(onnx_save_ints(save, node, "dilations", dilation, 2));
    }
    CLQ_TRY(onnx_save_ints(save, node, "kernel_shape", attrs.kernel, 2));
    CLQ_TRY(onnx_save_ints(save, node, "pads", attrs.pad, 4));
    CLQ_TRY(onnx_save_ints(save, node, "strides", attrs.stride, 2));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* (N, C, H, W) -> (N, C, 1, 1) -> (N, C), with codes behind both. */
static clq_status write_global_pool(onnx_chain *chain, const clq_node *graph_node,
                                    const char **inputs, size_t count) {
    onnx_saver *save = chain->save;
    const clq_qparams *q = &save->graph->values[graph_node->output].q;
    Onnx__NodeProto *node;
    const char *quantizer[3];
    chain->last = "Flatten";
    CLQ_TRY(onnx_save_step(chain, chain->onnx, inputs, count, &node));
    if (q->count > 0) {
        CLQ_TRY(
            onnx_save_rounding(save, chain->base, q, chain->current, quantizer, &chain->current));
    }
    onnx_save_plan(chain, "Flatten", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, "Flatten", &chain->current, 1, &node));
    CLQ_TRY(onnx_save_int(save, node, "axis", 1));
    return q->count > 0 ? onnx_save_finish_codes(chain, quantizer) : CLQ_OK;
}

const onnx_operator onnx_pool_operators[] = {
    {"MaxPool", .read = read_max_pool, .op = "max_pool", .write = write_pool},
    {"AveragePool", .read = read_average_pool, .op = "avg_pool", .write = write_pool},
    {"GlobalAveragePool", .read = read_global_pool, .op = "global_avg_pool",
     .write = write_global_pool},
    {"GlobalMaxPool", .read = read_global_pool, .op = "global_max_pool",
     .write = write_global_pool},
    {0},
};

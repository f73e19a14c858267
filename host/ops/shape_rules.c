#include "ops/shape_rules.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/numbers.h"
#include "base/text.h"
#include "graph/codes.h"

enum { ERROR_TEXT_SIZE = 512, SHAPE_TEXT_SIZE = 96 };

clq_status clq_op_broken(const clq_node *node, const char *format, ...) {
    char rule[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    clq_vsnprintf(rule, sizeof rule, format, arguments);
    va_end(arguments);
    return clq_fail(CLQ_BAD_DATA, "%s \"%.200s\": %s", node->op->name, node->name, rule);
}

/* The rules of this file say it shortly. */
#define broken clq_op_broken

static const clq_shape *input_shape(const clq_graph *graph, const clq_node *node, int input) {
    return &graph->values[node->inputs[input]].shape;
}

/* ---- checks on inputs ---- */

clq_status clq_want_activation(const clq_graph *graph, const clq_node *node, int input,
                               int least_rank, int most_rank) {
    const clq_value *value = &graph->values[node->inputs[input]];
    if (value->kind != CLQ_VALUE_INPUT && value->kind != CLQ_VALUE_ACTIVATION) {
        return broken(node, "input %d is the parameter \"%.100s\", must be an activation", input,
                      value->name);
    }
    if (value->shape.rank < least_rank || value->shape.rank > most_rank) {
        char text[SHAPE_TEXT_SIZE];
        clq_shape_text(&value->shape, text, sizeof text);
        char range[24] = "";
        snprintf(range, sizeof range, least_rank == most_rank ? "%d" : "%d to %d", least_rank,
                 most_rank);
        return broken(node, "input %d has shape %s, must have %s dimensions", input, text, range);
    }
    return CLQ_OK;
}

static clq_status want_constant(const clq_graph *graph, const clq_node *node, int input,
                                clq_value_kind kind, int rank, const char *role) {
    const clq_value *value = &graph->values[node->inputs[input]];
    if (value->kind != kind) {
        return broken(node, "%s \"%.100s\" is no %s", role, value->name,
                      kind == CLQ_VALUE_STATE ? "state" : "parameter");
    }
    if (value->shape.rank != rank) {
        char text[SHAPE_TEXT_SIZE];
        clq_shape_text(&value->shape, text, sizeof text);
        return broken(node, "%s has shape %s, must have %d dimension%s", role, text, rank,
                      clq_plural(rank));
    }
    return CLQ_OK;
}

clq_status clq_want_vector(const clq_graph *graph, const clq_node *node, int input,
                           clq_value_kind kind, int64_t channels, const char *role) {
    CLQ_TRY(want_constant(graph, node, input, kind, 1, role));
    int64_t length = input_shape(graph, node, input)->dim[0];
    if (length != channels) {
        return broken(node, "%s has %lld element%s, must have %lld", role, (long long)length,
                      clq_plural(length), (long long)channels);
    }
    return CLQ_OK;
}

clq_status clq_want_weights(const clq_graph *graph, const clq_node *node, int weight_rank) {
    CLQ_TRY(want_constant(graph, node, 1, CLQ_VALUE_PARAMETER, weight_rank, "weight"));
    const clq_value *weight = &graph->values[node->inputs[1]];
    if (weight->dtype != CLQ_F32 && !clq_is_code_storage(weight->dtype)) {
        return broken(node, "weight must be F32, S8 or S4");
    }
    if (node->input_count < 3 || node->inputs[2] == CLQ_NO_VALUE) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_want_vector(graph, node, 2, CLQ_VALUE_PARAMETER, weight->shape.dim[0], "bias"));
    const clq_value *bias = &graph->values[node->inputs[2]];
    if (bias->dtype != CLQ_F32 && (bias->dtype != CLQ_S32 || weight->dtype == CLQ_F32)) {
        return broken(node, "bias must be F32, or S32 with integer weights");
    }
    return CLQ_OK;
}

clq_status clq_want_act(const clq_node *node, clq_act act) {
    if ((unsigned)act > CLQ_ACT_RELU6) {
        return broken(node, "fused activation %d is unknown", (int)act);
    }
    return CLQ_OK;
}

clq_status clq_want_groups(const clq_node *node, int groups, int64_t channels, const clq_shape *w) {
    if (groups < 1 || channels % groups != 0 || w->dim[0] % groups != 0) {
        return broken(node, "%d groups must divide %lld input and %lld output channels", groups,
                      (long long)channels, (long long)w->dim[0]);
    }
    if (w->dim[3] != channels / groups) {
        return broken(node, "weight has %lld input channel%s, must have %lld / %d",
                      (long long)w->dim[3], clq_plural(w->dim[3]), (long long)channels, groups);
    }
    return CLQ_OK;
}

/* ---- sliding windows ---- */

/* One axis of a convolution or pool: letters as in "floor((size + pads - extent) / stride) + 1". */
typedef struct window {
    int64_t size, kernel, stride, dilation, pad_before, pad_after;
    bool ceil_mode;
    const char *axis;
} window;

static const char *const axis_names[2] = {"height", "width"};

static clq_status window_count(const clq_node *node, const window *w, int64_t *count) {
    if (w->kernel < 1 || w->stride < 1 || w->dilation < 1) {
        return broken(node, "kernel %lld, stride %lld and dilation %lld along %s must be >= 1",
                      (long long)w->kernel, (long long)w->stride, (long long)w->dilation, w->axis);
    }
    if (w->pad_before < 0 || w->pad_after < 0) {
        return broken(node, "padding %lld, %lld along %s must be >= 0", (long long)w->pad_before,
                      (long long)w->pad_after, w->axis);
    }
    /* Attributes are ints and a dimension is below 2^31: nothing here can leave 64 bits. */
    int64_t padded = w->size + w->pad_before + w->pad_after;
    int64_t extent = w->dilation * (w->kernel - 1) + 1;
    if (padded > INT_MAX) {
        return broken(node, "the padded %s of %lld pixels must be below 2^31", w->axis,
                      (long long)padded);
    }
    if (extent > padded) {
        return broken(node, "a kernel of %lld pixel%s does not fit the padded %s of %lld pixel%s",
                      (long long)extent, clq_plural(extent), w->axis, (long long)padded,
                      clq_plural(padded));
    }
    int64_t slack = padded - extent;
    *count = slack / w->stride + 1;
    if (w->ceil_mode && slack % w->stride != 0) {
        /* One more window, unless it would begin behind the input (torch's rule). */
        *count += *count * w->stride < w->size + w->pad_before;
    }
    return CLQ_OK;
}

clq_status clq_infer_conv2d(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_conv2d_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    CLQ_TRY(clq_want_weights(graph, node, 4));
    CLQ_TRY(clq_want_act(node, attrs->act));
    const clq_shape *image = input_shape(graph, node, 0), *w = input_shape(graph, node, 1);
    /* What is no image stands for a single pixel. */
    const bool is_pixel = image->rank != 4;
    const clq_shape pixel = {4, {image->dim[0], 1, 1, image->dim[image->rank - 1]}};
    const clq_shape *x = is_pixel ? &pixel : image;
    *output = (clq_shape){4, {x->dim[0], 0, 0, w->dim[0]}};
    for (int axis = 0; axis < 2; axis++) {
        if (attrs->kernel[axis] != w->dim[1 + axis]) {
            return broken(node, "kernel %s is %d, but the weight's is %lld", axis_names[axis],
                          attrs->kernel[axis], (long long)w->dim[1 + axis]);
        }
        window slide = {.size = x->dim[1 + axis],
                        .kernel = attrs->kernel[axis],
                        .stride = attrs->stride[axis],
                        .dilation = attrs->dilation[axis],
                        .pad_before = attrs->pad[axis],
                        .pad_after = attrs->pad[axis + 2],
                        .axis = axis_names[axis]};
        CLQ_TRY(window_count(node, &slide, &output->dim[1 + axis]));
    }
    CLQ_TRY(clq_want_groups(node, attrs->groups, x->dim[3], w));
    if (is_pixel) {
        const bool one = output->dim[1] == 1 && output->dim[2] == 1 && w->dim[1] * w->dim[2] == 1;
        if (!one || attrs->groups != x->dim[3] || w->dim[0] != x->dim[3]) {
            return broken(node, "what is no image takes depthwise 1x1 convolutions that keep its "
                                "channels only");
        }
        *output = *image;
    }
    return CLQ_OK;
}

clq_status clq_infer_linear(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_linear_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, 2));
    CLQ_TRY(clq_want_weights(graph, node, 2));
    CLQ_TRY(clq_want_act(node, attrs->act));
    const clq_shape *x = input_shape(graph, node, 0), *w = input_shape(graph, node, 1);
    if (w->dim[1] != x->dim[1]) {
        return broken(node, "weight has %lld input%s, the input %lld feature%s",
                      (long long)w->dim[1], clq_plural(w->dim[1]), (long long)x->dim[1],
                      clq_plural(x->dim[1]));
    }
    *output = (clq_shape){2, {x->dim[0], w->dim[0]}};
    return CLQ_OK;
}

/* Every window covers a pixel, so that a maximum or a mean exists. */
static clq_status want_pixels(const clq_node *node, const window *w) {
    const int64_t extent = w->dilation * (w->kernel - 1) + 1;
    if (w->dilation >= 1 && w->kernel >= 1 && (w->pad_before >= extent || w->pad_after >= extent)) {
        return broken(node, "padding %lld, %lld along %s must be below the kernel's %lld",
                      (long long)w->pad_before, (long long)w->pad_after, w->axis,
                      (long long)extent);
    }
    if (w->dilation > w->size && w->pad_before > 0) {
        return broken(node, "dilation %lld along %s may pass over all of its %lld pixels",
                      (long long)w->dilation, w->axis, (long long)w->size);
    }
    return CLQ_OK;
}

static clq_status infer_pool(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_pool_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 4, 4));
    const clq_shape *x = input_shape(graph, node, 0);
    *output = *x;
    for (int axis = 0; axis < 2; axis++) {
        window slide = {.size = x->dim[1 + axis],
                        .kernel = attrs->kernel[axis],
                        .stride = attrs->stride[axis],
                        .dilation = attrs->dilation[axis] == 0 ? 1 : attrs->dilation[axis],
                        .pad_before = attrs->pad[axis],
                        .pad_after = attrs->pad[axis + 2],
                        .ceil_mode = attrs->ceil_mode,
                        .axis = axis_names[axis]};
        CLQ_TRY(want_pixels(node, &slide));
        CLQ_TRY(window_count(node, &slide, &output->dim[1 + axis]));
    }
    return CLQ_OK;
}

clq_status clq_infer_max_pool(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    return infer_pool(graph, node, output);
}

clq_status clq_infer_avg_pool(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    return infer_pool(graph, node, output);
}

/* x[:, ::stride, ::stride, :] with zero channels before and after. */
clq_status clq_infer_shortcut_a(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_pad_channels_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 4, 4));
    if (attrs->stride < 1 || attrs->front < 0 || attrs->back < 0) {
        return broken(node, "stride %d must be >= 1, front %d and back %d >= 0", attrs->stride,
                      attrs->front, attrs->back);
    }
    const clq_shape *x = input_shape(graph, node, 0);
    *output = *x;
    output->dim[1] = (x->dim[1] - 1) / attrs->stride + 1;
    output->dim[2] = (x->dim[2] - 1) / attrs->stride + 1;
    output->dim[3] = x->dim[3] + attrs->front + attrs->back;
    return CLQ_OK;
}

/* ---- shapes kept or flattened ---- */

clq_status clq_infer_batch_norm(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    static const char *const roles[5] = {"input", "gamma", "beta", "running_mean", "running_var"};
    const clq_batch_norm_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    const clq_shape *x = input_shape(graph, node, 0);
    for (int i = 1; i < 5; i++) {
        clq_value_kind kind = i < 3 ? CLQ_VALUE_PARAMETER : CLQ_VALUE_STATE;
        CLQ_TRY(clq_want_vector(graph, node, i, kind, x->dim[x->rank - 1], roles[i]));
        if (graph->values[node->inputs[i]].dtype != CLQ_F32) {
            return broken(node, "%s must be F32", roles[i]);
        }
    }
    /* Comparisons are written so that NaN fails them. */
    if (!(attrs->epsilon > 0 && isfinite(attrs->epsilon)) ||
        !(attrs->momentum >= 0 && attrs->momentum <= 1)) {
        return broken(node, "epsilon %g must be positive and momentum %g in 0..1",
                      (double)attrs->epsilon, (double)attrs->momentum);
    }
    const float *variance = graph->values[node->inputs[4]].data;
    for (int64_t c = 0; variance && c < x->dim[x->rank - 1]; c++) {
        if (!(variance[c] >= 0)) {
            return broken(node, "running_var of channel %lld is %g, must be >= 0", (long long)c,
                          (double)variance[c]);
        }
    }
    *output = *x;
    return CLQ_OK;
}

clq_status clq_infer_elementwise(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    *output = *input_shape(graph, node, 0);
    return CLQ_OK;
}

clq_status clq_infer_global_pool(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    CLQ_TRY(clq_want_activation(graph, node, 0, 4, 4));
    const clq_shape *x = input_shape(graph, node, 0);
    *output = (clq_shape){2, {x->dim[0], x->dim[3]}};
    return CLQ_OK;
}

clq_status clq_infer_flatten(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    const clq_shape *x = input_shape(graph, node, 0);
    *output = (clq_shape){2, {x->dim[0], clq_shape_count(x) / x->dim[0]}};
    return CLQ_OK;
}

clq_status clq_infer_dropout(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_dropout_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    if (!(attrs->probability >= 0 && attrs->probability < 1)) {
        return broken(node, "probability %g must be in [0, 1)", (double)attrs->probability);
    }
    *output = *input_shape(graph, node, 0);
    return CLQ_OK;
}

/* ---- multiply-adds; both factors are element counts below 2^31 ---- */

int64_t clq_macs_conv2d(const clq_graph *graph, const clq_node *node) {
    const clq_shape *w = input_shape(graph, node, 1);
    const clq_shape *y = &graph->values[node->output].shape;
    return clq_shape_count(y) * (w->dim[1] * w->dim[2] * w->dim[3]);
}

int64_t clq_macs_linear(const clq_graph *graph, const clq_node *node) {
    return clq_shape_count(input_shape(graph, node, 1));
}

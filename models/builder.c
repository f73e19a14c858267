#include "models/builder.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"

void clq_build_scope(clq_builder *b, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(b->scope, sizeof b->scope, format, arguments);
    va_end(arguments);
}

clq_shape clq_build_shape(const clq_builder *b, int x) {
    const clq_shape one = {4, {1, 1, 1, 1}};
    return b->status != CLQ_OK ? one : b->graph->values[x].shape;
}

int clq_build_channels(const clq_builder *b, int x) {
    const clq_shape shape = clq_build_shape(b, x);
    return (int)shape.dim[shape.rank - 1];
}

/* ---- initial weights ---- */

/* Each parameter draws from a stream of its own, so its values do not depend on the other layers.
 */
static clq_rng parameter_rng(const clq_builder *b, const clq_value *value) {
    return clq_rng_start(b->options->seed, clq_hash64(value->name, strlen(value->name)));
}

static void fill_normal(const clq_builder *b, int id, double deviation) {
    const clq_value *value = &b->graph->values[id];
    clq_rng rng = parameter_rng(b, value);
    float *data = value->data;
    int64_t count = clq_shape_count(&value->shape);
    for (int64_t i = 0; i < count; i += 2) {
        uint32_t bits[2] = {clq_rng_next(&rng), 0};
        bits[1] = clq_rng_next(&rng);
        float pair[2];
        clq_normal2(bits, pair);
        data[i] = (float)(pair[0] * deviation);
        if (i + 1 < count) {
            data[i + 1] = (float)(pair[1] * deviation);
        }
    }
}

static void fill_uniform(const clq_builder *b, int id, double bound) {
    const clq_value *value = &b->graph->values[id];
    clq_rng rng = parameter_rng(b, value);
    float *data = value->data;
    int64_t count = clq_shape_count(&value->shape);
    for (int64_t i = 0; i < count; i++) {
        data[i] = (float)((2.0 * clq_uniform(clq_rng_next(&rng)) - 1.0) * bound);
    }
}

static void fill_value(const clq_builder *b, int id, float filling) {
    const clq_value *value = &b->graph->values[id];
    float *data = value->data;
    int64_t count = clq_shape_count(&value->shape);
    for (int64_t i = 0; i < count; i++) {
        data[i] = filling;
    }
}

/* ---- graph steps with sticky failure ---- */

static int add_parameter(clq_builder *b, const char *layer, const char *what, clq_value_kind kind,
                         clq_shape shape) {
    int id = CLQ_NO_VALUE;
    if (b->status != CLQ_OK) {
        return id;
    }
    char *name = clq_format("%s%s%s%s", b->scope, layer, what ? "." : "", what ? what : "");
    b->status = name ? clq_graph_add_parameter(b->graph, name, kind, CLQ_F32, shape, NULL, &id)
                     : CLQ_NO_MEMORY;
    clq_free(name);
    return id;
}

static int add_node(clq_builder *b, const char *op, const char *layer, const void *attrs,
                    const int *inputs, int input_count) {
    int output = CLQ_NO_VALUE;
    if (b->status != CLQ_OK) {
        return output;
    }
    char *name = clq_format("%s%s", b->scope, layer);
    b->status = name ? clq_graph_add_node(b->graph, op, name, attrs, inputs, input_count, &output)
                     : CLQ_NO_MEMORY;
    clq_free(name);
    return output;
}

/* Whether there are parameters to fill. */
static bool fills(const clq_builder *b) {
    return b->status == CLQ_OK && !b->options->leave_zero;
}

/* ---- layers ---- */

int clq_build_input(clq_builder *b, clq_shape shape) {
    int id = CLQ_NO_VALUE;
    if (b->status == CLQ_OK) {
        b->status = clq_graph_add_input(b->graph, "input", shape, &id);
    }
    return id;
}

int clq_build_convolution(clq_builder *b, const char *name, int x, const clq_conv_spec *conv) {
    const int kernel = conv->kernel, stride = conv->stride ? conv->stride : 1;
    const int groups = conv->groups ? conv->groups : 1;
    const int pad = conv->unpadded ? 0 : (kernel - 1) / 2, in_channels = clq_build_channels(b, x);
    const clq_conv2d_attrs attrs = {.kernel = {kernel, kernel},
                                    .stride = {stride, stride},
                                    .dilation = {1, 1},
                                    .pad = {pad, pad, pad, pad},
                                    .groups = groups};
    const clq_shape shape = {4, {conv->channels, kernel, kernel, in_channels / groups}};
    const clq_shape vector = {1, {conv->channels}};
    int inputs[3] = {x, add_parameter(b, name, "weight", CLQ_VALUE_PARAMETER, shape)};
    if (conv->bias) {
        inputs[2] = add_parameter(b, name, "bias", CLQ_VALUE_PARAMETER, vector);
    }
    if (fills(b)) {
        fill_normal(b, inputs[1], sqrt(2.0 / ((double)conv->channels / groups * kernel * kernel)));
    }
    return add_node(b, "conv2d", name, &attrs, inputs, conv->bias ? 3 : 2);
}

int clq_build_conv(clq_builder *b, const char *name, int x, int channels, int kernel, int stride,
                   bool depthwise) {
    int pad = (kernel - 1) / 2, in_channels = clq_build_channels(b, x);
    clq_conv2d_attrs attrs = {.kernel = {kernel, kernel},
                              .stride = {stride, stride},
                              .dilation = {1, 1},
                              .pad = {pad, pad, pad, pad},
                              .groups = depthwise ? in_channels : 1};
    clq_shape shape = {4, {channels, kernel, kernel, depthwise ? 1 : in_channels}};
    int inputs[2] = {x, add_parameter(b, name, "weight", CLQ_VALUE_PARAMETER, shape)};
    if (fills(b)) {
        fill_normal(b, inputs[1], sqrt(2.0 / ((double)channels * kernel * kernel)));
    }
    return add_node(b, "conv2d", name, &attrs, inputs, 2);
}

int clq_build_upsample(clq_builder *b, const char *name, int x, int channels) {
    const clq_conv_transpose_attrs attrs = {
        .conv = {.kernel = {2, 2}, .stride = {2, 2}, .dilation = {1, 1}, .groups = 1}};
    const int in_channels = clq_build_channels(b, x);
    const clq_shape weight = {4, {channels, 2, 2, in_channels}}, bias = {1, {channels}};
    const int inputs[3] = {x, add_parameter(b, name, "weight", CLQ_VALUE_PARAMETER, weight),
                           add_parameter(b, name, "bias", CLQ_VALUE_PARAMETER, bias)};
    if (fills(b)) {
        fill_normal(b, inputs[1], sqrt(2.0 / in_channels)); /* a number is made of one pixel */
    }
    return add_node(b, "conv_transpose", name, &attrs, inputs, 3);
}

int clq_build_batch_norm(clq_builder *b, const char *name, int x) {
    return clq_build_norm(b, name, x, 1e-5f, 0.1f);
}

int clq_build_norm(clq_builder *b, const char *name, int x, float epsilon, float momentum) {
    clq_batch_norm_attrs attrs = {.epsilon = epsilon, .momentum = momentum};
    clq_shape shape = {1, {clq_build_channels(b, x)}};
    int inputs[5] = {x, add_parameter(b, name, "weight", CLQ_VALUE_PARAMETER, shape),
                     add_parameter(b, name, "bias", CLQ_VALUE_PARAMETER, shape),
                     add_parameter(b, name, "running_mean", CLQ_VALUE_STATE, shape),
                     add_parameter(b, name, "running_var", CLQ_VALUE_STATE, shape)};
    if (fills(b)) {
        fill_value(b, inputs[1], 1);
        fill_value(b, inputs[4], 1);
    }
    return add_node(b, "batch_norm", name, &attrs, inputs, 5);
}

int clq_build_max_pool(clq_builder *b, const char *name, int x, int kernel, int stride, int pad) {
    clq_pool_attrs attrs = {
        .kernel = {kernel, kernel}, .stride = {stride, stride}, .pad = {pad, pad, pad, pad}};
    return add_node(b, "max_pool", name, &attrs, &x, 1);
}

int clq_build_linear(clq_builder *b, const char *name, int x, int features, clq_linear_init init) {
    clq_linear_attrs attrs = {.act = CLQ_ACT_NONE};
    int in_features = clq_build_channels(b, x);
    clq_shape weight = {2, {features, in_features}}, bias = {1, {features}};
    int inputs[3] = {x, add_parameter(b, name, "weight", CLQ_VALUE_PARAMETER, weight),
                     add_parameter(b, name, "bias", CLQ_VALUE_PARAMETER, bias)};
    if (fills(b) && init == CLQ_LINEAR_UNIFORM) {
        fill_uniform(b, inputs[1], 1.0 / sqrt(in_features));
        fill_uniform(b, inputs[2], 1.0 / sqrt(in_features));
    } else if (fills(b)) {
        fill_normal(b, inputs[1], 0.01);
    }
    return add_node(b, "linear", name, &attrs, inputs, 3);
}

int clq_build_dropout(clq_builder *b, const char *name, int x, float probability) {
    clq_dropout_attrs attrs = {.probability = probability};
    return add_node(b, "dropout", name, &attrs, &x, 1);
}

int clq_build_add(clq_builder *b, const char *name, int x, int y) {
    clq_add_attrs attrs = {.act = CLQ_ACT_NONE};
    return add_node(b, "add", name, &attrs, (int[]){x, y}, 2);
}

int clq_build_shortcut_a(clq_builder *b, const char *name, int x, int channels, int stride) {
    int extra = channels - clq_build_channels(b, x);
    clq_pad_channels_attrs attrs = {
        .stride = stride, .front = extra / 2, .back = extra - extra / 2};
    return add_node(b, "shortcut_a", name, &attrs, &x, 1);
}

int clq_build_with(clq_builder *b, const char *op, const char *name, const void *attrs, int x) {
    return add_node(b, op, name, attrs, &x, 1);
}

int clq_build_op(clq_builder *b, const char *op, const char *name, int x) {
    return clq_build_with(b, op, name, NULL, x);
}

int clq_build_concat(clq_builder *b, const char *name, const int *inputs, int count) {
    const clq_concat_attrs attrs = {.axis = 3};
    return add_node(b, "concat", name, &attrs, inputs, count);
}

int clq_build_layer_norm(clq_builder *b, const char *name, int x, float epsilon) {
    const clq_layer_norm_attrs attrs = {.axes = 1, .epsilon = epsilon};
    const clq_shape shape = {1, {clq_build_channels(b, x)}};
    int inputs[3] = {x, add_parameter(b, name, "weight", CLQ_VALUE_PARAMETER, shape),
                     add_parameter(b, name, "bias", CLQ_VALUE_PARAMETER, shape)};
    if (fills(b)) {
        fill_value(b, inputs[1], 1);
    }
    return add_node(b, "layer_norm", name, &attrs, inputs, 3);
}

int clq_build_scale(clq_builder *b, const char *name, int x, float value) {
    const clq_binary_attrs attrs = {.act = CLQ_ACT_NONE};
    const clq_shape shape = {1, {clq_build_channels(b, x)}};
    int inputs[2] = {x, add_parameter(b, name, NULL, CLQ_VALUE_PARAMETER, shape)};
    if (fills(b)) {
        fill_value(b, inputs[1], value);
    }
    return add_node(b, "mul", "mul", &attrs, inputs, 2);
}

int clq_build_squeeze(clq_builder *b, const char *name, int x, int squeezed, const char *act,
                      const char *gate) {
    const clq_reduce_attrs mean = {.axes = 1u << 1 | 1u << 2, .keep = true};
    const clq_unary_attrs hard_sigmoid = {.alpha = 1.0f / 6, .beta = 0.5f};
    const clq_binary_attrs mul = {.act = CLQ_ACT_NONE};
    const int channels = clq_build_channels(b, x);
    const clq_conv_spec fc1 = {.channels = squeezed, .kernel = 1, .bias = true};
    const clq_conv_spec fc2 = {.channels = channels, .kernel = 1, .bias = true};
    char part[CLQ_SCOPE_SIZE];
    const char *const names[] = {"avgpool", "fc1", "activation", "fc2", "scale_activation", "mul"};
    int y = x;
    for (int step = 0; step < 6; step++) {
        snprintf(part, sizeof part, "%s.%s", name, names[step]);
        y = step == 0   ? clq_build_with(b, "reduce_mean", part, &mean, y)
            : step == 1 ? clq_build_convolution(b, part, y, &fc1)
            : step == 2 ? clq_build_op(b, act, part, y)
            : step == 3 ? clq_build_convolution(b, part, y, &fc2)
            : step == 4
                ? clq_build_with(b, gate, part,
                                 strcmp(gate, "hard_sigmoid") == 0 ? &hard_sigmoid : NULL, y)
                : add_node(b, "mul", part, &mul, (int[]){x, y}, 2);
    }
    return y;
}

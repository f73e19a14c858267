/* Plain loop nests that run a graph on one image: what a loaded network is compared by. Quantized
 * activations are rounded to their codes, integer parameters taken as the reals they stand for. */
#ifndef CLQ_TESTS_FORMATS_REF_FORWARD_H
#define CLQ_TESTS_FORMATS_REF_FORWARD_H

#include <clquant/ops.h>
#include <math.h>
#include <string.h>

#include "support/clq_test.h"
#include "support/ref_unary.h"

static inline float *ref_reals(const clq_value *value) {
    size_t count = (size_t)clq_shape_count(&value->shape),
           row = count / (size_t)value->shape.dim[0];
    float *reals = clq_calloc(count, sizeof *reals);
    for (size_t i = 0; i < count; i++) {
        float scale = value->q.count ? value->q.scale[value->q.count > 1 ? i / row : 0] : 1;
        if (value->dtype == CLQ_F32) {
            float x = ((const float *)value->data)[i];
            reals[i] = value->q.count ? scale * rintf(x / scale) : x;
        } else {
            int32_t code = value->dtype == CLQ_S8 ? ((const int8_t *)value->data)[i]
                                                  : ((const int32_t *)value->data)[i];
            reals[i] = scale * (float)code;
        }
    }
    return reals;
}

static inline float ref_act(clq_act act, float x) {
    x = act != CLQ_ACT_NONE && x < 0 ? 0 : x;
    return act == CLQ_ACT_RELU6 && x > 6 ? 6 : x;
}

/* x (H, W, C), w (OC, KH, KW, C / G) -> y (OH, OW, OC) */
static inline void ref_conv2d(const clq_conv2d_attrs *a, const clq_shape *xs, const float *x,
                              const float *w, const float *bias, const clq_shape *ys, float *y) {
    int64_t in = xs->dim[3] / a->groups, out = ys->dim[3] / a->groups;
    for (int64_t oh = 0; oh < ys->dim[1]; oh++) {
        for (int64_t ow = 0; ow < ys->dim[2]; ow++) {
            for (int64_t oc = 0; oc < ys->dim[3]; oc++) {
                double sum = bias ? bias[oc] : 0;
                for (int kh = 0; kh < a->kernel[0]; kh++) {
                    for (int kw = 0; kw < a->kernel[1]; kw++) {
                        int64_t h = oh * a->stride[0] + kh * a->dilation[0] - a->pad[0];
                        int64_t v = ow * a->stride[1] + kw * a->dilation[1] - a->pad[1];
                        if (h < 0 || v < 0 || h >= xs->dim[1] || v >= xs->dim[2]) {
                            continue;
                        }
                        for (int64_t c = 0; c < in; c++) {
                            sum +=
                                (double)x[(h * xs->dim[2] + v) * xs->dim[3] + oc / out * in + c] *
                                w[((oc * a->kernel[0] + kh) * a->kernel[1] + kw) * in + c];
                        }
                    }
                }
                y[(oh * ys->dim[2] + ow) * ys->dim[3] + oc] = ref_act(a->act, (float)sum);
            }
        }
    }
}

static inline void ref_linear(const clq_linear_attrs *a, int64_t in, const float *x, const float *w,
                              const float *bias, int64_t out, float *y) {
    for (int64_t o = 0; o < out; o++) {
        double sum = bias ? bias[o] : 0;
        for (int64_t i = 0; i < in; i++) {
            sum += (double)x[i] * w[o * in + i];
        }
        y[o] = ref_act(a->act, (float)sum);
    }
}

static inline void ref_pool(const clq_pool_attrs *a, bool max, const clq_shape *xs, const float *x,
                            const clq_shape *ys, float *y) {
    for (int64_t i = 0; i < clq_shape_count(ys); i++) {
        int64_t c = i % ys->dim[3], ow = i / ys->dim[3] % ys->dim[2],
                oh = i / ys->dim[3] / ys->dim[2];
        double sum = 0, best = -INFINITY;
        int inside = 0, padded = 0;
        for (int kh = 0; kh < a->kernel[0]; kh++) {
            for (int kw = 0; kw < a->kernel[1]; kw++) {
                int64_t h = oh * a->stride[0] + kh - a->pad[0],
                        w = ow * a->stride[1] + kw - a->pad[1];
                padded += h < xs->dim[1] + a->pad[2] && w < xs->dim[2] + a->pad[3];
                if (h < 0 || w < 0 || h >= xs->dim[1] || w >= xs->dim[2]) {
                    continue;
                }
                float v = x[(h * xs->dim[2] + w) * xs->dim[3] + c];
                sum += v;
                best = fmax(best, v);
                inside++;
            }
        }
        y[i] = (float)(max ? best : sum / (a->count_include_pad ? padded : inside));
    }
}

static inline void ref_batch_norm(const clq_graph *graph, const clq_node *node, const float *x,
                                  float *y) {
    const clq_shape *shape = &graph->values[node->output].shape;
    const clq_batch_norm_attrs *a = node->attrs;
    const float *p[4];
    for (int k = 0; k < 4; k++) {
        p[k] = graph->values[node->inputs[k + 1]].data;
    }
    for (int64_t i = 0; i < clq_shape_count(shape); i++) {
        int64_t c = i % shape->dim[shape->rank - 1];
        y[i] = (float)((x[i] - (double)p[2][c]) / sqrt((double)p[3][c] + a->epsilon) * p[0][c] +
                       p[1][c]);
    }
}

static inline void ref_shortcut_a(const clq_pad_channels_attrs *a, const clq_shape *xs,
                                  const float *x, const clq_shape *ys, float *y) {
    for (int64_t i = 0; i < clq_shape_count(ys); i++) {
        int64_t c = i % ys->dim[3] - a->front, w = i / ys->dim[3] % ys->dim[2] * a->stride;
        int64_t h = i / ys->dim[3] / ys->dim[2] * a->stride;
        bool real = c >= 0 && c < xs->dim[3];
        y[i] = real ? x[(h * xs->dim[2] + w) * xs->dim[3] + c] : 0;
    }
}

static inline void ref_global_avg_pool(const clq_shape *xs, const float *x, float *y) {
    int64_t pixels = xs->dim[1] * xs->dim[2];
    for (int64_t c = 0; c < xs->dim[3]; c++) {
        double sum = 0;
        for (int64_t i = 0; i < pixels; i++) {
            sum += x[i * xs->dim[3] + c];
        }
        y[c] = (float)(sum / (double)pixels);
    }
}

static inline void ref_node(const clq_graph *graph, const clq_node *node, float *const *values) {
    const char *op = node->op->name;
    const clq_shape *xs = &graph->values[node->inputs[0]].shape;
    const clq_shape *ys = &graph->values[node->output].shape;
    const float *x = values[node->inputs[0]];
    const float *w = node->input_count > 1 ? values[node->inputs[1]] : NULL;
    const float *bias = node->input_count > 2 ? values[node->inputs[2]] : NULL;
    float *y = values[node->output];
    if (strcmp(op, "conv2d") == 0) {
        const clq_shape x_pixel = {4, {xs->dim[0], 1, 1, xs->dim[1]}};
        const clq_shape y_pixel = {4, {ys->dim[0], 1, 1, ys->dim[1]}};
        const bool is_pixel = xs->rank == 2;
        ref_conv2d(node->attrs, is_pixel ? &x_pixel : xs, x, w, bias, is_pixel ? &y_pixel : ys, y);
    } else if (strcmp(op, "linear") == 0) {
        ref_linear(node->attrs, xs->dim[1], x, w, bias, ys->dim[1], y);
    } else if (strcmp(op, "max_pool") == 0 || strcmp(op, "avg_pool") == 0) {
        ref_pool(node->attrs, op[0] == 'm', xs, x, ys, y);
    } else if (strcmp(op, "batch_norm") == 0) {
        ref_batch_norm(graph, node, x, y);
    } else if (strcmp(op, "shortcut_a") == 0) {
        ref_shortcut_a(node->attrs, xs, x, ys, y);
    } else if (strcmp(op, "global_avg_pool") == 0) {
        ref_global_avg_pool(xs, x, y);
    } else {
        clq_act act = strcmp(op, "relu") == 0    ? CLQ_ACT_RELU
                      : strcmp(op, "relu6") == 0 ? CLQ_ACT_RELU6
                      : strcmp(op, "add") == 0   ? ((const clq_add_attrs *)node->attrs)->act
                                                 : CLQ_ACT_NONE;
        for (int64_t i = 0; i < clq_shape_count(ys); i++) {
            const float a = node->op->attrs_size == sizeof(clq_unary_attrs)
                                ? ((const clq_unary_attrs *)node->attrs)->alpha
                                : 0;
            float v = strcmp(op, "add") == 0 ? x[i] + w[i] : x[i];
            for (int u = 0; u < REF_UNARIES; u++) {
                v = strcmp(op, ref_unaries[u].op) == 0 ? (float)ref_unaries[u].f(x[i], a, 0) : v;
            }
            y[i] = ref_act(act, v);
        }
    }
}

static inline void ref_round(const clq_qparams *q, float *x, int64_t count) {
    for (int64_t i = 0; q->count > 0 && i < count; i++) {
        float code = rintf(x[i] / q->scale[0]) + (float)q->zero_point;
        code = code < 0 ? 0 : code > 255 ? 255 : code;
        x[i] = q->scale[0] * (code - (float)q->zero_point);
    }
}

/* `image` in the file's order (C, H, W); `out` has room for the output's elements. */
static inline void ref_forward(const clq_graph *graph, const float *image, float *out) {
    float **values = clq_calloc((size_t)graph->value_count, sizeof *values);
    for (int i = 0; i < graph->value_count; i++) {
        const clq_value *value = &graph->values[i];
        values[i] = value->data ? ref_reals(value)
                                : clq_calloc((size_t)clq_shape_count(&value->shape), sizeof(float));
    }
    const clq_value *input = &graph->values[clq_graph_input(graph)];
    int64_t count = clq_shape_count(&input->shape);
    int64_t channels = input->shape.dim[input->shape.rank - 1], pixels = count / channels;
    for (int64_t i = 0; i < count; i++) {
        values[clq_graph_input(graph)][i] = image[i % channels * pixels + i / channels];
    }
    ref_round(&input->q, values[clq_graph_input(graph)], count);
    for (int i = 0; i < graph->node_count; i++) {
        const clq_node *node = &graph->nodes[i];
        const clq_value *y = &graph->values[node->output];
        ref_node(graph, node, values);
        ref_round(&y->q, values[node->output], clq_shape_count(&y->shape));
    }
    memcpy(out, values[clq_graph_output(graph)],
           (size_t)clq_shape_count(&graph->values[clq_graph_output(graph)].shape) * sizeof *out);
    for (int i = 0; i < graph->value_count; i++) {
        clq_free(values[i]);
    }
    clq_free(values);
}

#endif

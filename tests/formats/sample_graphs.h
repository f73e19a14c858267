/* Graphs with every operator, in every form, and a comparison of graphs. */
#ifndef CLQ_TESTS_FORMATS_SAMPLE_GRAPHS_H
#define CLQ_TESTS_FORMATS_SAMPLE_GRAPHS_H

#include <clquant/ops.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/codes.h"
#include "support/clq_test.h"

/* ---- building ---- */

typedef struct sample {
    clq_graph *graph;
    int last; /* value */
    uint64_t stream;
} sample;

static inline int sample_parameter(sample *s, const char *node, const char *role, clq_shape shape,
                                   float low, float high) {
    char name[128];
    int value;
    size_t count = (size_t)clq_shape_count(&shape);
    float *data = clq_calloc(count, sizeof *data);
    clq_test_fill_f32(data, count, low, high, ++s->stream);
    snprintf(name, sizeof name, "%s.%s", node, role);
    clq_value_kind kind = strncmp(role, "running", 7) == 0 ? CLQ_VALUE_STATE : CLQ_VALUE_PARAMETER;
    assert_ok(clq_graph_add_parameter(s->graph, name, kind, CLQ_F32, shape, data, &value));
    clq_free(data);
    return value;
}

static inline int64_t sample_channels(const sample *s) {
    const clq_shape *shape = &s->graph->values[s->last].shape;
    return shape->dim[shape->rank - 1];
}

static inline void sample_add(sample *s, const char *op, const char *name, const void *attrs,
                              const int *more, int more_count) {
    int inputs[CLQ_MAX_INPUTS] = {s->last};
    for (int i = 0; i < more_count; i++) {
        inputs[1 + i] = more[i];
    }
    assert_ok(clq_graph_add_node(s->graph, op, name, attrs, inputs, 1 + more_count, &s->last));
}

static inline void sample_conv(sample *s, const char *name, int64_t channels, bool bias,
                               clq_conv2d_attrs attrs) {
    int64_t in = sample_channels(s) / attrs.groups;
    int more[2];
    more[0] = sample_parameter(s, name, "weight",
                               (clq_shape){4, {channels, attrs.kernel[0], attrs.kernel[1], in}},
                               -.5f, .5f);
    if (bias) {
        more[1] = sample_parameter(s, name, "bias", (clq_shape){1, {channels}}, -.2f, .2f);
    }
    sample_add(s, "conv2d", name, &attrs, more, bias ? 2 : 1);
}

static inline void sample_norm(sample *s, const char *name) {
    clq_batch_norm_attrs attrs = {.epsilon = 1e-5f, .momentum = 0.1f};
    clq_shape shape = {1, {sample_channels(s)}};
    int more[4] = {sample_parameter(s, name, "weight", shape, .5f, 1.5f),
                   sample_parameter(s, name, "bias", shape, -.3f, .3f),
                   sample_parameter(s, name, "running_mean", shape, -.3f, .3f),
                   sample_parameter(s, name, "running_var", shape, .5f, 2)};
    sample_add(s, "batch_norm", name, &attrs, more, 4);
}

static inline void sample_linear(sample *s, const char *name, int64_t outputs, bool bias) {
    clq_linear_attrs attrs = {CLQ_ACT_NONE};
    int more[2] = {sample_parameter(s, name, "weight",
                                    (clq_shape){2, {outputs, sample_channels(s)}}, -.3f, .3f)};
    if (bias) {
        more[1] = sample_parameter(s, name, "bias", (clq_shape){1, {outputs}}, -.2f, .2f);
    }
    sample_add(s, "linear", name, &attrs, more, bias ? 2 : 1);
}

static inline sample sample_start(const char *name, clq_shape input) {
    sample s = {0};
    assert_ok(clq_graph_create(name, &s.graph));
    assert_ok(clq_graph_add_input(s.graph, "input", input, &s.last));
    return s;
}

static inline clq_graph *sample_finish(sample *s) {
    clq_graph_set_output(s->graph, s->last);
    assert_ok(clq_graph_set_metadata(s->graph, "clquant.mean", "0.5,0.25,0.125"));
    assert_ok(clq_graph_set_metadata(s->graph, "clquant.classes", "cat\ndog\n\xc3\xa4pfel"));
    assert_ok(clq_graph_validate(s->graph));
    return s->graph;
}

/* Trained form of a network on (N, 11, 9, 3) with every operator that has a file form of its own;
 * `pooled`: global_avg_pool instead of avg_pool and flatten. */
static inline clq_graph *sample_trained(bool pooled) {
    sample s = sample_start("sample", (clq_shape){4, {1, 11, 9, 3}});
    sample_conv(&s, "conv1", 4, false,
                (clq_conv2d_attrs){.kernel = {3, 3},
                                   .stride = {1, 1},
                                   .dilation = {1, 1},
                                   .pad = {1, 1, 1, 1},
                                   .groups = 1});
    sample_norm(&s, "bn1");
    sample_add(&s, "relu", "relu", NULL, NULL, 0);
    clq_pool_attrs max = {
        .kernel = {3, 2}, .stride = {2, 1}, .pad = {1, 0, 1, 0}, .ceil_mode = true};
    sample_add(&s, "max_pool", "maxpool", &max, NULL, 0);
    int trunk = s.last;
    sample_conv(&s, "layer1.0.conv1", 4, true,
                (clq_conv2d_attrs){.kernel = {3, 3},
                                   .stride = {1, 1},
                                   .dilation = {2, 1},
                                   .pad = {2, 1, 2, 1},
                                   .groups = 4});
    sample_norm(&s, "layer1.0.bn1");
    sample_add(&s, "relu6", "layer1.0.relu", NULL, NULL, 0);
    sample_conv(
        &s, "layer1.0.conv2", 6, false,
        (clq_conv2d_attrs){.kernel = {1, 1}, .stride = {2, 2}, .dilation = {1, 1}, .groups = 2});
    int branch = s.last;
    s.last = trunk;
    clq_pad_channels_attrs shortcut = {.stride = 2, .front = 1, .back = 1};
    sample_add(&s, "shortcut_a", "layer1.0.downsample", &shortcut, NULL, 0);
    clq_add_attrs add = {CLQ_ACT_NONE};
    sample_add(&s, "add", "layer1.0.add", &add, &branch, 1);
    sample_add(&s, "relu", "layer1.0.relu_1", NULL, NULL, 0);
    sample_add(&s, "tanh", "tanh", NULL, NULL, 0);
    if (pooled) {
        sample_add(&s, "global_avg_pool", "avgpool", NULL, NULL, 0);
    } else {
        clq_pool_attrs average = {.kernel = {2, 2}, .stride = {1, 1}, .count_include_pad = true};
        sample_add(&s, "avg_pool", "avgpool", &average, NULL, 0);
        sample_add(&s, "flatten", "flatten", NULL, NULL, 0);
        sample_norm(&s, "bn2");
    }
    sample_linear(&s, "fc1", 7, true);
    sample_add(&s, "sigmoid", "sigmoid", NULL, NULL, 0);
    clq_dropout_attrs dropout = {0.25f};
    sample_add(&s, "dropout", "dropout", &dropout, NULL, 0);
    sample_linear(&s, "fc", 5, false);
    return sample_finish(&s);
}

/* A residual network that quantizes whole: conv, ReLU, max pool, add, pool or flatten, linear. */
static inline clq_graph *sample_folded(bool pooled, bool shortcut_a) {
    sample s = sample_start("residual", (clq_shape){4, {1, 8, 8, 3}});
    clq_conv2d_attrs conv = {.kernel = {3, 3},
                             .stride = {1, 1},
                             .dilation = {1, 1},
                             .pad = {1, 1, 1, 1},
                             .groups = 1,
                             .act = CLQ_ACT_RELU};
    sample_conv(&s, "conv1", 4, true, conv);
    clq_pool_attrs max = {.kernel = {2, 2}, .stride = {2, 2}};
    sample_add(&s, "max_pool", "maxpool", &max, NULL, 0);
    int trunk = s.last;
    conv.act = CLQ_ACT_RELU6;
    conv.stride[0] = conv.stride[1] = shortcut_a ? 2 : 1;
    sample_conv(&s, "layer1.0.conv1", shortcut_a ? 7 : 4, true, conv);
    conv.act = CLQ_ACT_NONE;
    conv.stride[0] = conv.stride[1] = 1;
    sample_conv(&s, "layer1.0.conv2", shortcut_a ? 7 : 4, true, conv);
    int branch = s.last;
    s.last = trunk;
    if (shortcut_a) {
        clq_pad_channels_attrs attrs = {.stride = 2, .front = 1, .back = 2};
        sample_add(&s, "shortcut_a", "layer1.0.downsample", &attrs, NULL, 0);
    }
    clq_add_attrs add = {CLQ_ACT_RELU};
    sample_add(&s, "add", "layer1.0.add", &add, &branch, 1);
    sample_add(&s, pooled ? "global_avg_pool" : "flatten", pooled ? "avgpool" : "flatten", NULL,
               NULL, 0);
    clq_linear_attrs relu = {CLQ_ACT_RELU};
    sample_linear(&s, "fc1", 6, true);
    *(clq_linear_attrs *)s.graph->nodes[s.graph->node_count - 1].attrs = relu;
    sample_linear(&s, "fc", 5, true);
    s.graph->folded = true;
    return sample_finish(&s);
}

/* ---- quantizing by hand ---- */

static inline void sample_to_codes(clq_graph *graph, int weight, int bias, float x_scale,
                                   clq_qtype type, bool per_tensor, bool integer) {
    clq_value *w = &graph->values[weight];
    int64_t channels = w->shape.dim[0], row = clq_shape_count(&w->shape) / channels;
    float *data = w->data, *scale = clq_calloc((size_t)channels, sizeof *scale);
    for (int64_t c = 0; c < channels; c++) {
        int64_t k = per_tensor ? 0 : c;
        for (int64_t i = 0; i < row; i++) {
            scale[k] =
                fmaxf(scale[k], fabsf(data[c * row + i]) / (float)clq_qtype_get(type)->highest);
        }
    }
    assert_ok(clq_qparams_set(&w->q, per_tensor ? 1 : channels, scale, 0, type));
    if (integer) {
        int8_t *codes = clq_calloc((size_t)(channels * row), 1);
        for (int64_t i = 0; i < channels * row; i++) {
            codes[i] = (int8_t)rintf(data[i] / scale[per_tensor ? 0 : i / row]);
        }
        assert_ok(clq_value_set_codes(w, clq_qtype_get(type)->storage, codes));
        if (bias != CLQ_NO_VALUE) {
            clq_value *b = &graph->values[bias];
            for (int64_t c = 0; c < channels; c++) {
                int64_t k = per_tensor ? 0 : c;
                float product = x_scale * scale[k];
                ((int32_t *)b->data)[c] = (int32_t)rintf(((float *)b->data)[c] / product);
            }
            for (int64_t c = 0; c < (per_tensor ? 1 : channels); c++) {
                scale[c] *= x_scale;
            }
            b->dtype = CLQ_S32;
            assert_ok(clq_qparams_set(&b->q, w->q.count, scale, 0, CLQ_Q_S32));
        }
    }
    clq_free(scale);
}

/* Gives a folded graph qparams (made up, but plausible) and, when `integer`, integer parameters. */
static inline clq_graph *sample_quantize_as(clq_graph *graph, clq_qtype type, bool per_tensor,
                                            bool integer) {
    for (int i = 0; i < graph->value_count; i++) {
        clq_value *value = &graph->values[i];
        bool activation = value->kind == CLQ_VALUE_INPUT || value->kind == CLQ_VALUE_ACTIVATION;
        if (!activation || i == clq_graph_output(graph)) {
            continue;
        }
        float scale = 0.01f + 0.001f * (float)i;
        const clq_node *node = value->producer >= 0 ? &graph->nodes[value->producer] : NULL;
        bool shares = node && node->op->output_shares_qparams;
        const clq_qparams *from = shares ? &graph->values[node->inputs[0]].q : NULL;
        assert_ok(clq_qparams_set(&value->q, 1, from ? from->scale : &scale,
                                  from ? from->zero_point : (i * 37) % 256, CLQ_Q_U8));
    }
    for (int i = 0; i < graph->node_count; i++) {
        const clq_node *node = &graph->nodes[i];
        if (strcmp(node->op->name, "conv2d") == 0 || strcmp(node->op->name, "linear") == 0) {
            sample_to_codes(graph, node->inputs[1],
                            node->input_count > 2 ? node->inputs[2] : CLQ_NO_VALUE,
                            graph->values[node->inputs[0]].q.scale[0], type, per_tensor, integer);
        }
    }
    assert_ok(clq_graph_validate(graph));
    assert_int_equal(clq_graph_form(graph), integer ? CLQ_FORM_INTEGER : CLQ_FORM_QUANTIZED);
    return graph;
}

static inline clq_graph *sample_quantize(clq_graph *graph, bool per_tensor, bool integer) {
    return sample_quantize_as(graph, CLQ_Q_S8, per_tensor, integer);
}

/* ---- comparing ---- */

static inline void assert_same_value(const clq_value *a, const clq_value *b) {
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->dtype, b->dtype);
    assert_true(clq_shape_equal(&a->shape, &b->shape));
    assert_int_equal(a->q.count, b->q.count);
    if (a->q.count > 0) {
        assert_int_equal(a->q.type, b->q.type);
        assert_int_equal(a->q.zero_point, b->q.zero_point);
        assert_memory_equal(a->q.scale, b->q.scale, (size_t)a->q.count * sizeof *a->q.scale);
    }
    if (a->data) {
        assert_memory_equal(a->data, b->data,
                            (size_t)clq_dtype_bytes(a->dtype, clq_shape_count(&a->shape)));
    }
}

static inline void assert_same_attrs(const clq_node *a, const clq_node *b) {
    if (strstr(a->op->name, "_pool") && a->op->attrs_size > 0) { /* has padding bytes */
        const clq_pool_attrs *x = a->attrs, *y = b->attrs;
        assert_memory_equal(x->kernel, y->kernel, sizeof x->kernel);
        assert_memory_equal(x->stride, y->stride, sizeof x->stride);
        assert_memory_equal(x->pad, y->pad, sizeof x->pad);
        assert_int_equal(x->ceil_mode, y->ceil_mode);
        assert_int_equal(x->count_include_pad, y->count_include_pad);
    } else if (a->op->attrs_size > 0) {
        assert_memory_equal(a->attrs, b->attrs, a->op->attrs_size);
    }
}

/* Everything but the order of values. */
static inline void assert_same_graph(const clq_graph *a, const clq_graph *b) {
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->folded, b->folded);
    assert_int_equal(a->node_count, b->node_count);
    assert_int_equal(a->metadata_count, b->metadata_count);
    for (int i = 0; i < a->metadata_count; i++) {
        const char *text = clq_graph_get_metadata(b, a->metadata[i].key);
        assert_non_null(text);
        assert_string_equal(a->metadata[i].value, text);
    }
    assert_int_equal(a->input_count, b->input_count);
    for (int i = 0; i < a->input_count; i++) {
        assert_same_value(&a->values[a->inputs[i]], &b->values[b->inputs[i]]);
    }
    assert_int_equal(a->output_count, b->output_count);
    for (int i = 0; i < a->output_count; i++) {
        assert_string_equal(clq_graph_output_name(a, i), clq_graph_output_name(b, i));
        assert_same_value(&a->values[a->outputs[i].value], &b->values[b->outputs[i].value]);
    }
    for (int i = 0; i < a->node_count; i++) {
        const clq_node *x = &a->nodes[i], *y = &b->nodes[i];
        assert_string_equal(x->name, y->name);
        assert_ptr_equal(x->op, y->op);
        assert_int_equal(x->input_count, y->input_count);
        assert_same_attrs(x, y);
        for (int k = 0; k < x->input_count; k++) {
            assert_same_value(&a->values[x->inputs[k]], &b->values[y->inputs[k]]);
        }
    }
}

#endif

/* Quantized form -> integer form: equations (2) and (8) of docs/quantization.md. Scales
 * and types are those that the values have: whoever set them last decided. */
#include <math.h>
#include <stdlib.h>

#include "base/arguments.h"
#include "graph/codes.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "kernels/include/scales.h"
#include "ops/binary.h"
#include "ops/multiplier.h"
#include "ops/quantized_run.h"
#include "quant/internal.h"

/* Scales of the layer's weights, one for each channel. */
static clq_status weight_scales(const clq_node *node, const clq_value *w, float **scale) {
    const int64_t oc = w->shape.dim[0];
    if (w->q.count == 0) {
        return clq_fail(CLQ_USAGE, "node %s: its weights \"%s\" have no scales; calibrate it first",
                        node->name, w->name);
    }
    *scale = clq_calloc((size_t)oc, sizeof **scale);
    if (!*scale) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t c = 0; c < oc; c++) {
        (*scale)[c] = w->q.scale[w->q.count == 1 ? 0 : c];
    }
    return CLQ_OK;
}

static clq_status convert_weights(clq_value *w, const float *scale) {
    const clq_qtype_info *type = clq_qtype_get(w->q.type);
    const int64_t oc = w->shape.dim[0], count = clq_shape_count(&w->shape), k = count / oc;
    const float *real = w->data, lowest = (float)type->lowest, highest = (float)type->highest;
    int8_t *codes = clq_calloc((size_t)count, sizeof *codes);
    if (!codes) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(real[i])) {
            clq_free(codes);
            return clq_fail(CLQ_BAD_DATA, "%s: element %lld is not finite", w->name, (long long)i);
        }
        codes[i] = (int8_t)clq_quantize_code(real[i], scale[i / k], 0, lowest, highest);
    }
    return clq_value_set_codes(w, type->storage, codes);
}

/* The bias gets as many scales as the weights have, which is how files keep it. */
static clq_status convert_bias(const clq_node *node, clq_value *bias, float x_scale,
                               const float *w_scale, int64_t scales) {
    const int64_t oc = bias->shape.dim[0];
    const float *real = bias->data;
    clq_status status = CLQ_NO_MEMORY;
    int32_t *codes = clq_calloc((size_t)oc, sizeof *codes);
    float *scale = clq_calloc((size_t)oc, sizeof *scale);
    if (!codes || !scale) {
        goto cleanup;
    }
    for (int64_t c = 0; c < oc; c++) {
        scale[c] = x_scale * w_scale[c];
        if (!clq_bias_fits(real[c], scale[c])) { /* nor does a NaN */
            status =
                clq_fail(CLQ_BAD_DATA,
                         "node %s: channel %lld: bias %g is beyond 2^30 steps of %g, the scale "
                         "of its input by that of its weights",
                         node->name, (long long)c, (double)real[c], (double)scale[c]);
            goto cleanup;
        }
        codes[c] = (int32_t)clq_bias_code(real[c], scale[c]);
    }
    CLQ_GOTO(status, cleanup, clq_qparams_set(&bias->q, scales, scale, 0, CLQ_Q_S32));
    clq_free(bias->data);
    bias->data = codes;
    bias->dtype = CLQ_S32;
    codes = NULL;
    status = CLQ_OK;
cleanup:
    clq_free(codes);
    clq_free(scale);
    return status;
}

/* Every sum fits int32, and the requantizer takes every factor of (8). codes: of the weights */
static clq_status check_sums(const clq_graph *graph, const clq_node *node, const float *w_scale,
                             const int8_t *codes) {
    const clq_value *w = &graph->values[node->inputs[CLQ_LAYER_W]];
    const clq_value *bias = clq_layer_bias(graph, node);
    const clq_qparams *x = &graph->values[node->inputs[CLQ_LAYER_X]].q;
    const clq_qparams *y = &graph->values[node->output].q;
    const clq_qtype_info *type = clq_qtype_get(x->type);
    const int64_t oc = w->shape.dim[0], k = clq_shape_count(&w->shape) / oc;
    const int64_t most = (int64_t)type->highest - type->lowest; /* |q_x - z_x| */
    for (int64_t c = 0; c < oc; c++) {
        const int8_t *row = codes + c * k;
        int64_t sum = bias ? llabs(((const int32_t *)bias->data)[c]) : 0;
        int32_t factor[2];
        for (int64_t i = 0; i < k; i++) {
            sum += most * (row[i] < 0 ? -row[i] : row[i]);
        }
        if (sum > INT32_MAX) {
            return clq_fail(CLQ_BAD_DATA, "node %s: the sums of channel %lld may leave 32 bits",
                            node->name, (long long)c);
        }
        CLQ_TRY(clq_fail_in(
            clq_multiplier_sum(y->count > 0 ? clq_graph_requantizer(graph) : CLQ_REQUANT_FLOAT,
                               x->scale[0], w_scale[c], y->count > 0 ? y->scale[0] : 1.0f, factor),
            "node %s, channel %lld", node->name, (long long)c));
    }
    return CLQ_OK;
}

static clq_status check_layer(const clq_graph *graph, const clq_node *node, const float *w_scale) {
    int8_t *codes = NULL;
    clq_status status = clq_value_codes(&graph->values[node->inputs[CLQ_LAYER_W]], &codes);
    if (status == CLQ_OK) {
        status = check_sums(graph, node, w_scale, codes);
    }
    clq_free(codes);
    return status;
}

static clq_status convert_layer(clq_graph *graph, const clq_node *node) {
    clq_value *w = &graph->values[node->inputs[CLQ_LAYER_W]];
    clq_value *bias = clq_layer_bias(graph, node);
    float *scale = NULL;
    clq_status status = CLQ_OK;
    if (w->dtype != CLQ_F32 || (bias && bias->dtype != CLQ_F32)) {
        return clq_fail(CLQ_USAGE, "node %s: its parameters are integers already", node->name);
    }
    CLQ_GOTO(status, cleanup, weight_scales(node, w, &scale));
    CLQ_GOTO(status, cleanup, convert_weights(w, scale));
    if (clq_is_weight_only(graph, node)) {
        goto cleanup; /* its sums are reals, and so is its bias */
    }
    if (bias) {
        const float x_scale = graph->values[node->inputs[CLQ_LAYER_X]].q.scale[0];
        CLQ_GOTO(status, cleanup, convert_bias(node, bias, x_scale, scale, w->q.count));
    }
    CLQ_GOTO(status, cleanup, check_layer(graph, node, scale));
cleanup:
    clq_free(scale);
    return status;
}

/* The constant, if any, of an elementwise operator. */
static clq_status convert_constants(clq_graph *graph, const clq_node *node) {
    for (int k = 0; clq_binary_of(node->op) != CLQ_BINARY_COUNT && k < node->input_count; k++) {
        clq_value *value = &graph->values[node->inputs[k]];
        if (!clq_is_constant(value) || value->dtype != CLQ_F32) {
            continue;
        }
        const int64_t count = clq_shape_count(&value->shape);
        const clq_qtype_info *type = clq_qtype_get(value->q.type);
        const float *real = value->data, z = (float)value->q.zero_point;
        if (value->q.count == 0) {
            return clq_fail(CLQ_USAGE,
                            "node %s: its constant \"%s\" has no scale; calibrate it "
                            "first",
                            node->name, value->name);
        }
        int8_t *codes = clq_calloc((size_t)count, sizeof *codes);
        if (!codes) {
            return CLQ_NO_MEMORY;
        }
        for (int64_t i = 0; i < count; i++) {
            codes[i] = (int8_t)clq_quantize_code(real[i], value->q.scale[0], z, (float)type->lowest,
                                                 (float)type->highest);
        }
        CLQ_TRY(clq_value_set_codes(value, CLQ_S8, codes));
    }
    return CLQ_OK;
}

/* Nodes read codes only or reals only; between them stand quantize and dequantize. */
static clq_status check_activations(const clq_graph *graph) {
    for (int n = 0; n < graph->node_count; n++) {
        if (!clq_node_on_codes(graph, &graph->nodes[n]) || graph->nodes[n].op == &clq_op_quantize) {
            continue;
        }
        for (int i = 0; i < graph->nodes[n].input_count; i++) {
            const int id = graph->nodes[n].inputs[i];
            if (id != CLQ_NO_VALUE && !graph->values[id].data && graph->values[id].q.count == 0) {
                return clq_fail(CLQ_USAGE, "node %s reads \"%s\", which is not quantized",
                                graph->nodes[n].name, graph->values[id].name);
            }
        }
    }
    return CLQ_OK;
}

static clq_status convert(const clq_graph *quantized, clq_graph **integer) {
    clq_status status = CLQ_OK;
    clq_graph *graph = NULL;
    if (clq_graph_form(quantized) == CLQ_FORM_FLOAT || clq_has_integers(quantized)) {
        return clq_fail(CLQ_USAGE, "%s: is not quantized; calibrate it first",
                        clq_graph_called(quantized));
    }
    CLQ_TRY(check_activations(quantized));
    CLQ_TRY(clq_graph_check_requantizer(quantized));
    CLQ_TRY(clq_graph_clone(quantized, &graph));
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        const bool on_codes = clq_node_on_codes(graph, node);
        if (clq_is_layer(node) && (on_codes || clq_is_weight_only(graph, node))) {
            CLQ_GOTO(status, cleanup, convert_layer(graph, node));
        } else if (on_codes) {
            CLQ_GOTO(status, cleanup, convert_constants(graph, node));
            CLQ_GOTO(status, cleanup,
                     clq_fail_in(clq_check_factors(graph, node), "node %s", node->name));
        }
    }
    *integer = graph;
    graph = NULL;
cleanup:
    clq_graph_destroy(graph);
    return status;
}

clq_status clq_convert(const clq_graph *quantized, clq_graph **integer) {
    CLQ_NEEDS(quantized, integer);
    CLQ_NEEDS_ENDS(quantized);
    return clq_fail_in_graph(quantized, convert(quantized, integer));
}

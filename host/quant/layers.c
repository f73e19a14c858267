/* Which values get qparams, and the scales of weights. */
#include <math.h>

#include "graph/node.h"
#include "kernels/include/scales.h"
#include "ops/binary.h"
#include "ops/layer.h"
#include "quant/internal.h"
#include "quant/observers/weights.h"
#include "quant/report.h"
#include "quant/steps.h"

/* The group's representative: the value that is made first. */
static int find_group(int *groups, int value) {
    while (groups[value] != value) {
        value = groups[value] = groups[groups[value]];
    }
    return value;
}

static void join(int *groups, int a, int b) {
    a = find_group(groups, a);
    b = find_group(groups, b);
    groups[a < b ? b : a] = a < b ? a : b; /* ids rise in the order in which values are made */
}

/* Inputs, the first ones, that have the output's range. */
static int joined_inputs(const clq_node *node) {
    return node->op->joins_qparams ? node->input_count : node->op->output_shares_qparams;
}

void clq_find_groups(const clq_graph *graph, int *groups) {
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        groups[v] = !clq_is_constant(value) && value->q.count > 0 ? v : -1;
    }
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        const int joined = joined_inputs(node);
        for (int k = 0; k < joined; k++) {
            if (groups[node->output] >= 0 && groups[node->inputs[k]] >= 0) {
                join(groups, node->inputs[k], node->output);
            }
        }
    }
    for (int v = 0; v < graph->value_count; v++) {
        groups[v] = groups[v] < 0 ? -1 : find_group(groups, v);
    }
}

/* A padding is a number of its own, but 0, which every range contains. */
static bool adds_numbers(const clq_node *node) {
    const clq_pad_attrs *pad = node->attrs;
    return node->op == &clq_op_pad && pad->mode == CLQ_PAD_CONSTANT && pad->value != 0;
}

void clq_find_sources(const clq_graph *graph, const int *groups, bool *sources) {
    for (int v = 0; v < graph->value_count; v++) {
        sources[v] = groups[v] >= 0;
    }
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        const int joined = joined_inputs(node);
        bool own = joined == 0 || adds_numbers(node);
        for (int k = 0; k < joined; k++) {
            own = own || groups[node->inputs[k]] != groups[node->output];
        }
        sources[node->output] = sources[node->output] && own;
    }
}

static clq_status check_finite(const clq_value *value) {
    const float *data = value->data;
    const int64_t count = clq_shape_count(&value->shape);
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(data[i])) {
            return clq_fail(CLQ_BAD_DATA, "%s: element %lld is not finite", value->name,
                            (long long)i);
        }
    }
    return CLQ_OK;
}

static float largest_magnitude(const float *data, size_t count) {
    float largest = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmaxf(largest, fabsf(data[i]));
    }
    return largest;
}

/* Only a power of two that max_shift clamps is too small for (5). */
static clq_status check_biases(const clq_quant_config *config, const clq_node *node,
                               const float *bias, float x_scale, const float *scale, size_t oc) {
    for (size_t c = 0; c < oc; c++) {
        if (!clq_bias_fits(bias[c], x_scale * scale[c])) {
            return clq_fail(CLQ_BAD_DATA,
                            "node %s: channel %zu: bias %g is beyond 2^30 steps of %g; it needs "
                            "larger scales than max_shift %d allows",
                            node->name, c, (double)bias[c], (double)(x_scale * scale[c]),
                            config->max_shift);
        }
    }
    return CLQ_OK;
}

clq_qtype clq_weights_type(const clq_value *w) {
    return w->q.count > 0 ? w->q.type : CLQ_Q_S8_NARROW;
}

static bool has_one_scale(const clq_quant_config *config, const clq_graph *graph,
                          const clq_node *node) {
    return config->per_tensor_weights || clq_takes_one_scale(graph, node);
}

/* Equation (5), or (23) with `learned` scales: scale[OC], also with one scale for all; counted in
 * `report`, or NULL. */
static clq_status choose_weight_scales(const clq_quant_config *config, const clq_graph *graph,
                                       const clq_node *node, const float *learned, float *scale,
                                       clq_quant_report *report) {
    const clq_value *x = &graph->values[node->inputs[CLQ_LAYER_X]];
    const clq_value *w = &graph->values[node->inputs[CLQ_LAYER_W]];
    const clq_value *bias = clq_layer_bias(graph, node);
    const size_t oc = (size_t)w->shape.dim[0], k = (size_t)clq_shape_count(&w->shape) / oc;
    const int shift = clq_scale_shift(config);
    const clq_qtype_info *type = clq_qtype_get(clq_weights_type(w));
    const bool levels = clq_has_levels(config, clq_weights_type(w));
    /* A learned scale is that of weights whose largest magnitude is its own:
     * clq_learned_weights_scale */
    const float highest =
        learned ? 1 : (float)(levels ? clq_highest_level(config->weight_steps) : type->highest);
    const bool weight_only = clq_is_weight_only(graph, node); /* whose bias stays real */
    const float *data = w->data, *biases = bias && !weight_only ? bias->data : NULL;
    if (w->dtype != CLQ_F32 || (bias && bias->dtype != CLQ_F32)) {
        return clq_fail(CLQ_USAGE, "node %s: its parameters are integers already", node->name);
    }
    if (x->q.count == 0 && !weight_only) {
        return clq_fail(CLQ_USAGE, "node %s: its input \"%s\" is not quantized", node->name,
                        x->name);
    }
    const float x_scale = weight_only ? 1 : x->q.scale[0];
    CLQ_TRY(check_finite(w));
    if (bias) {
        CLQ_TRY(check_finite(bias));
    }
    const size_t shared = has_one_scale(config, graph, node) ? oc : 1; /* channels of one scale */
    for (size_t c = 0; c < oc; c++) {
        if (c % shared != 0) {
            scale[c] = scale[0];
            continue;
        }
        const float most = learned ? learned[c]
                           : config->weight_observer == CLQ_WEIGHTS_MSE && !levels
                               ? clq_weights_reach(data + c * k, shared * k, type, shift)
                               : largest_magnitude(data + c * k, shared * k);
        const float bias_most = biases ? largest_magnitude(biases + c, shared) : 0;
        const float exact = clq_weights_scale(most, highest, bias_most, x_scale, CLQ_ANY_SCALE);
        scale[c] = clq_weights_scale(most, highest, bias_most, x_scale, shift);
        CLQ_TRY(clq_report_scale(report, config, w, exact, scale[c]));
        if (report && bias_most > 0 &&
            exact > clq_weights_scale(most, highest, 0, 1, CLQ_ANY_SCALE)) {
            report->widened++;
        }
    }
    return biases ? check_biases(config, node, biases, x_scale, scale, oc) : CLQ_OK;
}

clq_status clq_set_weight_qparams(const clq_quant_config *config, clq_graph *graph,
                                  const float *const *learned, clq_quant_report *report) {
    int with_levels = 0;
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        if (!clq_is_layer(node) ||
            (!clq_node_on_codes(graph, node) && !clq_is_weight_only(graph, node))) {
            continue;
        }
        clq_value *w = &graph->values[node->inputs[CLQ_LAYER_W]];
        const int64_t oc = w->shape.dim[0];
        float *scale = clq_calloc((size_t)oc, sizeof *scale);
        if (!scale) {
            return CLQ_NO_MEMORY;
        }
        clq_status status = choose_weight_scales(
            config, graph, node, learned ? learned[node->inputs[CLQ_LAYER_W]] : NULL, scale,
            report);
        if (status == CLQ_OK) {
            status = clq_qparams_set(&w->q, has_one_scale(config, graph, node) ? 1 : oc, scale, 0,
                                     clq_weights_type(w));
        }
        if (status == CLQ_OK && clq_has_levels(config, w->q.type)) {
            clq_set_levels(config->weight_steps, w);
            with_levels++;
        }
        clq_free(scale);
        CLQ_TRY(status);
    }
    if (config->weight_steps != CLQ_STEPS_UNIFORM && with_levels == 0) {
        return clq_fail(CLQ_USAGE,
                        "weight_steps %s gives levels to weights of 4 bits, and no layer has them "
                        "(--weight-bits '*=4')",
                        clq_steps_names[config->weight_steps]);
    }
    return CLQ_OK;
}

clq_status clq_set_constant_qparams(const clq_quant_config *config, clq_graph *graph,
                                    clq_quant_report *report) {
    const int shift = clq_scale_shift(config);
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        const bool binary = clq_binary_of(node->op) != CLQ_BINARY_COUNT;
        for (int k = 0; binary && clq_node_on_codes(graph, node) && k < node->input_count; k++) {
            clq_value *value = &graph->values[node->inputs[k]];
            if (!clq_is_constant(value) || value->q.count == 0) {
                continue;
            }
            const float highest = (float)clq_qtype_get(value->q.type)->highest;
            if (value->dtype != CLQ_F32) {
                return clq_fail(CLQ_USAGE, "node %s: its constant is integers already", node->name);
            }
            CLQ_TRY(check_finite(value));
            const float most =
                largest_magnitude(value->data, (size_t)clq_shape_count(&value->shape));
            const float scale = clq_constant_scale(most, highest, shift);
            CLQ_TRY(clq_report_scale(report, config, value,
                                     clq_constant_scale(most, highest, CLQ_ANY_SCALE), scale));
            CLQ_TRY(clq_qparams_set(&value->q, 1, &scale, 0, value->q.type));
        }
    }
    return CLQ_OK;
}

/* ---- layers ---- */

bool clq_is_quantized_layer(const clq_graph *graph, int n) {
    const clq_node *node = &graph->nodes[n];
    const clq_value *w = clq_is_layer(node) ? &graph->values[node->inputs[CLQ_LAYER_W]] : NULL;
    return w && w->q.count > 0 && w->dtype == CLQ_F32;
}

int clq_count_quantized_layers(const clq_graph *graph) {
    int count = 0;
    for (int n = 0; n < graph->node_count; n++) {
        count += clq_is_quantized_layer(graph, n);
    }
    return count;
}

/* Parameters: weights and biases, which may be codes, and their order when the graph stands. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "formats/layout.h"
#include "formats/onnx/load.h"
#include "graph/codes.h"
#include "graph/node.h"

static clq_status add_parameter(onnx_loader *load, const onnx_node *node,
                                const onnx_constant *constant, clq_value_kind kind, clq_dtype dtype,
                                clq_shape shape, const void *data, const char *node_name,
                                const char *role, int *value) {
    char *name;
    size_t bytes = (size_t)clq_shape_count(&shape) * clq_dtype_size(dtype);
    if (!clq_add_size(load->parameter_bytes, bytes, &load->parameter_bytes) ||
        load->parameter_bytes > load->arena.limit) {
        return onnx_fail(node, "the same weights are used so often that they grow out of "
                               "proportion to the file");
    }
    const char *file_name = constant ? constant->name : "";
    CLQ_TRY(onnx_parameter_name(load, file_name, node_name, role, &name));
    CLQ_TRY(clq_graph_add_parameter(load->graph, name, kind, dtype, shape, data, value));
    return clq_value_set_file_name(&load->graph->values[*value],
                                   file_name[0] && strcmp(file_name, name) != 0 ? file_name : NULL);
}

clq_status onnx_add_float(onnx_loader *load, const onnx_node *node, const onnx_constant *constant,
                          clq_value_kind kind, clq_shape shape, const char *node_name,
                          const char *role, int *value) {
    const float *data;
    CLQ_TRY(onnx_constant_floats(&load->arena, constant, &data));
    return add_parameter(load, node, constant, kind, CLQ_F32, shape, data, node_name, role, value);
}

/* Of weights: what clquant wrote beside the file, else what ONNX's type says. */
static clq_status find_type(const onnx_loader *load, const onnx_node *node,
                            const onnx_constant *weight, clq_qtype *type) {
    const json_t *stated = json_object_get(load->types, weight->name);
    const char *name = json_string_value(stated);
    int32_t lowest, highest;
    if (!onnx_code_range(weight->type, &lowest, &highest)) {
        return onnx_fail(node, "weights \"%.100s\" must be codes of 4 or 8 bits", weight->name);
    }
    *type = lowest == -8 || highest == 15 ? CLQ_Q_S4 : CLQ_Q_S8;
    if (stated && (*type != CLQ_Q_S8 || !name || !clq_qtype_find(name, type) ||
                   clq_qtype_get(*type)->storage != CLQ_S8)) {
        return onnx_fail(node, "weights \"%.100s\": " ONNX_TYPES_KEY " says they are %.40s",
                         weight->name, name ? name : "no type");
    }
    return CLQ_OK;
}

/* Codes with zero point 0, from any that fit the type, or a wider one. */
static clq_status shift_codes(onnx_loader *load, const onnx_node *node, const onnx_constant *weight,
                              clq_qtype *type, const int8_t **codes) {
    void *data;
    int32_t least = 0, most = 0;
    if (weight->type == ONNX_INT8 && weight->zero_point == 0 && *type == CLQ_Q_S8) {
        *codes = weight->data;
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_take(&load->arena, weight->count, 1, &data));
    for (size_t i = 0; i < weight->count; i++) {
        const int32_t code = onnx_code(weight, i) - weight->zero_point;
        least = code < least ? code : least;
        most = code > most ? code : most;
        ((int8_t *)data)[i] = (int8_t)code;
    }
    if (least < clq_qtype_get(*type)->lowest || most > clq_qtype_get(*type)->highest) {
        if (json_object_get(load->types, weight->name)) {
            return onnx_fail(node, "weights \"%.100s\" hold codes %d..%d, which %s has not",
                             weight->name, least, most, clq_qtype_get(*type)->name);
        }
        *type = CLQ_Q_S8; /* unsigned ones with another zero point than 8 */
    }
    *codes = data;
    return CLQ_OK;
}

/* A float or differently scaled bias to codes of scale x * w. */
static clq_status quantize_bias(onnx_loader *load, const onnx_node *node, const onnx_constant *bias,
                                const float *scale, size_t scale_count, int32_t *codes) {
    bool exact = bias->scale && bias->type == ONNX_INT32 && bias->zero_point == 0 &&
                 (bias->scale_count == scale_count || bias->scale_count == 1);
    for (size_t i = 0; exact && i < scale_count; i++) {
        float own = bias->scale[bias->scale_count == 1 ? 0 : i];
        exact = fabsf(own - scale[i]) <= 1e-6f * scale[i];
    }
    if (exact) {
        memcpy(codes, bias->data, bias->count * sizeof *codes);
        return CLQ_OK;
    }
    const float *values;
    CLQ_TRY(onnx_constant_floats(&load->arena, bias, &values));
    for (size_t i = 0; i < bias->count; i++) {
        double code = rint((double)values[i] / (double)scale[scale_count == 1 ? 0 : i]);
        if (!(code >= INT32_MIN && code <= INT32_MAX)) {
            return onnx_fail(node, "bias %zu, %g, does not fit 32 bits at scale %g", i,
                             (double)values[i], (double)scale[scale_count == 1 ? 0 : i]);
        }
        codes[i] = (int32_t)code;
    }
    return CLQ_OK;
}

/* Weights that stay codes, and `on_codes` their bias. */
static clq_status add_integer_weights(onnx_loader *load, const onnx_node *node,
                                      const onnx_operand *x, const onnx_constant *weight,
                                      const onnx_constant *bias, clq_shape shape,
                                      const char *node_name, bool on_codes, int inputs[3]) {
    const int8_t *codes = NULL;
    clq_qtype type = CLQ_Q_S8;
    void *scale, *data;
    if (weight->scale_count > 1 && weight->axis != 0) {
        return onnx_fail(node, "weights must be quantized per output channel, or with one scale");
    }
    CLQ_TRY(find_type(load, node, weight, &type));
    CLQ_TRY(shift_codes(load, node, weight, &type, &codes));
    /* A byte a code until the layout is found. */
    CLQ_TRY(add_parameter(load, node, weight, CLQ_VALUE_PARAMETER, CLQ_S8, shape, codes, node_name,
                          "weight", &inputs[1]));
    CLQ_TRY(clq_qparams_set(&load->graph->values[inputs[1]].q, (int64_t)weight->scale_count,
                            weight->scale, 0, type));
    if (!bias) {
        return CLQ_OK;
    }
    if (!on_codes) {
        return onnx_add_float(load, node, bias, CLQ_VALUE_PARAMETER, (clq_shape){1, {shape.dim[0]}},
                              node_name, "bias", &inputs[2]);
    }
    CLQ_TRY(clq_arena_take(&load->arena, weight->scale_count, sizeof(float), &scale));
    CLQ_TRY(clq_arena_take(&load->arena, bias->count, sizeof(int32_t), &data));
    for (size_t i = 0; i < weight->scale_count; i++) {
        ((float *)scale)[i] = load->graph->values[x->value].q.scale[0] * weight->scale[i];
        if (!(((float *)scale)[i] > 0)) {
            return onnx_fail(node, "the product of input and weight scale underflows");
        }
    }
    CLQ_TRY(quantize_bias(load, node, bias, scale, weight->scale_count, data));
    CLQ_TRY(add_parameter(load, node, bias, CLQ_VALUE_PARAMETER, CLQ_S32,
                          (clq_shape){1, {shape.dim[0]}}, data, node_name, "bias", &inputs[2]));
    return clq_qparams_set(&load->graph->values[inputs[2]].q, (int64_t)weight->scale_count, scale,
                           0, CLQ_Q_S32);
}

clq_status onnx_weight_shape(const onnx_node *node, const onnx_constant *weight, int rank,
                             clq_shape *shape) {
    char text[96];
    onnx_dims_text(weight->rank, weight->dim, text, sizeof text);
    if (weight->rank != rank || weight->count == 0) {
        return onnx_fail(node, "weights \"%.100s\" have shape %s, must have %d dimensions",
                         weight->name, text, rank);
    }
    *shape = (clq_shape){rank, {weight->dim[0], weight->dim[1]}};
    if (rank == 4) {
        *shape = (clq_shape){4, {weight->dim[0], weight->dim[2], weight->dim[3], weight->dim[1]}};
    }
    return CLQ_OK;
}

/* A bias of one element for all channels, spread out. */
static clq_status spread_bias(onnx_loader *load, const onnx_node *node, int64_t channels,
                              const onnx_constant **bias) {
    if (!*bias || (int64_t)(*bias)->count == channels) {
        return CLQ_OK;
    }
    const float *value;
    onnx_constant *spread;
    void *data;
    if ((*bias)->count != 1 || (*bias)->scale || channels > INT32_MAX) {
        return onnx_fail(node, "bias \"%.100s\" has %zu elements, must have %lld", (*bias)->name,
                         (*bias)->count, (long long)channels);
    }
    CLQ_TRY(onnx_constant_floats(&load->arena, *bias, &value));
    CLQ_TRY(
        onnx_constant_make(&load->arena, (*bias)->name, ONNX_FLOAT, 1, &channels, &spread, &data));
    for (int64_t i = 0; i < channels; i++) {
        ((float *)data)[i] = *value;
    }
    *bias = spread;
    return CLQ_OK;
}

/* Whether codes less their zero point are codes of 8 bits, which layers on codes have. */
static bool are_symmetric(const onnx_constant *weight) {
    int32_t lowest, highest;
    bool fit = true;
    for (size_t i = 0; fit && onnx_code_range(weight->type, &lowest, &highest) && i < weight->count;
         i++) {
        const int32_t code = onnx_code(weight, i) - weight->zero_point;
        fit = code >= -128 && code <= 127;
    }
    return fit;
}

clq_status onnx_add_weights(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                            const onnx_constant *weight, const onnx_constant *bias, clq_shape shape,
                            const char *node_name, int inputs[3], int *input_count) {
    clq_shape vector = {1, {shape.dim[0]}};
    const onnx_constant *unrounded = load->keep_float ? weight->unrounded : NULL;
    *input_count = bias ? 3 : 2;
    CLQ_TRY(spread_bias(load, node, shape.dim[0], &bias));
    const bool on_codes = x->dequantized && !onnx_is_real_node(load, node_name);
    const bool integer = (on_codes || load->keep_codes) && weight->scale && !unrounded;
    if (integer && !are_symmetric(weight)) {
        char place[ONNX_PLACE_SIZE];
        clq_log_warn("%s: its weights \"%.100s\" have a zero point beyond codes of 8 bits: it "
                     "computes on the reals that they stand for",
                     onnx_place(node, place, sizeof place), weight->name);
    } else if (integer) {
        return add_integer_weights(load, node, x, weight, bias, shape, node_name, on_codes, inputs);
    }
    CLQ_TRY(onnx_add_float(load, node, unrounded ? unrounded : weight, CLQ_VALUE_PARAMETER, shape,
                           node_name, "weight", &inputs[1]));
    if (unrounded) {
        clq_qtype type;
        CLQ_TRY(find_type(load, node, weight, &type));
        CLQ_TRY(clq_qparams_set(&load->graph->values[inputs[1]].q, (int64_t)weight->scale_count,
                                weight->scale, 0, type));
    }
    return bias ? onnx_add_float(load, node, bias, CLQ_VALUE_PARAMETER, vector, node_name, "bias",
                                 &inputs[2])
                : CLQ_OK;
}

/* ---- constants of elementwise nodes ---- */

/* Codes of 8 bits as S8: unsigned ones, and their zero point, are 128 less. */
static clq_status add_operand_codes(onnx_loader *load, const onnx_node *node,
                                    const onnx_constant *turned, clq_shape shape,
                                    const char *node_name, int shift, int *value) {
    void *data;
    CLQ_TRY(clq_arena_take(&load->arena, turned->count, 1, &data));
    for (size_t i = 0; i < turned->count; i++) {
        ((int8_t *)data)[i] = (int8_t)(onnx_code(turned, i) - shift);
    }
    return add_parameter(load, node, turned, CLQ_VALUE_PARAMETER, CLQ_S8, shape, data, node_name,
                         "constant", value);
}

clq_status onnx_add_operand(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                            const onnx_constant *turned, const onnx_constant *codes,
                            clq_shape shape, const char *node_name, int *value) {
    int32_t lowest = 0, highest = 0;
    const bool bytes = codes->scale && codes->scale_count == 1 &&
                       onnx_code_range(codes->type, &lowest, &highest) && highest - lowest == 255;
    const int shift = lowest == 0 ? 128 : 0;
    const bool unrounded = !turned->scale && codes->scale;
    if (!codes->scale && codes->type != ONNX_FLOAT) {
        return onnx_fail(node, "the constant \"%.100s\" must be float", codes->name);
    }
    if (bytes && !unrounded && x->dequantized && !onnx_is_real_node(load, node_name)) {
        CLQ_TRY(add_operand_codes(load, node, turned, shape, node_name, shift, value));
    } else {
        CLQ_TRY(onnx_add_float(load, node, turned, CLQ_VALUE_PARAMETER, shape, node_name,
                               "constant", value));
        if (!bytes || !unrounded) {
            return CLQ_OK;
        }
    }
    return clq_qparams_set(&load->graph->values[*value].q, 1, codes->scale,
                           codes->zero_point - shift, CLQ_Q_S8);
}

/* ---- when the graph stands ---- */

/* Scales follow the channels where these are in one row; else a row has one. */
static clq_status turn_scales(onnx_loader *load, const clq_layout *layout, clq_qparams *q) {
    void *turned;
    if (layout->rows > 1 || layout->transposed || q->count <= 1) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_take(&load->arena, (size_t)q->count, sizeof *q->scale, &turned));
    clq_layout_from_file(layout, sizeof *q->scale, q->scale, turned);
    return clq_qparams_set(q, q->count, turned, q->zero_point, q->type);
}

/* A parameter, with its scales, to the graph's order. */
static clq_status turn_value(onnx_loader *load, const clq_layout *layout, clq_value *value) {
    const size_t size = clq_dtype_size(value->dtype);
    if (!value->data || layout->pixels == 1 || layout->channels == 1) {
        return CLQ_OK;
    }
    void *turned = clq_calloc((size_t)clq_shape_count(&value->shape), size);
    if (!turned) {
        return CLQ_NO_MEMORY;
    }
    clq_layout_from_file(layout, size, value->data, turned);
    clq_free(value->data);
    value->data = turned;
    return turn_scales(load, layout, &value->q);
}

clq_status onnx_finish_layouts(onnx_loader *load) {
    clq_graph *graph = load->graph;
    void *memory;
    CLQ_TRY(clq_arena_take(&load->arena, (size_t)graph->value_count, sizeof(clq_layout), &memory));
    clq_layout *layouts = memory;
    clq_layout_find(graph, layouts);
    for (int i = 0; i < graph->output_count; i++) {
        const clq_layout *out = &layouts[graph->outputs[i].value];
        const clq_shape *shape = &graph->values[graph->outputs[i].value].shape;
        if (shape->rank == 2 && out->pixels > 1 && out->channels > 1) {
            return clq_fail(CLQ_BAD_DATA,
                            "output \"%.200s\": a flattened image cannot be an output",
                            clq_graph_output_name(graph, i));
        }
    }
    for (int i = 0; i < graph->value_count; i++) {
        clq_value *value = &graph->values[i];
        CLQ_TRY(turn_value(load, &layouts[i], value));
        if (value->dtype == CLQ_S8 && value->q.type == CLQ_Q_S4) {
            int8_t *codes = NULL;
            CLQ_TRY(clq_value_codes(value, &codes));
            CLQ_TRY(clq_value_set_codes(value, CLQ_S4, codes));
        }
    }
    return CLQ_OK;
}

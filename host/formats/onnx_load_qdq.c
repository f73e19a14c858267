/* Quantized models: QuantizeLinear and DequantizeLinear, and parameters, which may be codes.
 *
 * On an activation, QuantizeLinear sets the qparams of the graph's value and DequantizeLinear takes
 * the codes back to "the same value, rounded". A Clip between them says which of the codes a type
 * of fewer bits has. On constants all are carried out. A value that has qparams must not be read
 * past them: the integer network only has the codes. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "formats/layout.h"
#include "formats/onnx_load.h"
#include "graph/codes.h"

/* ---- the two operators ---- */

typedef struct quantizer {
    const float *scale;
    size_t scale_count;
    int32_t zero_point;
    onnx_type type;
    int axis;
} quantizer;

static bool is_codes(onnx_type type) {
    int32_t lowest, highest;
    return type == ONNX_INT32 || onnx_code_range(type, &lowest, &highest);
}

/* The zero point: one number, the same for all channels. */
static clq_status read_zero_point(const onnx_node *node, const onnx_constant *constant,
                                  quantizer *q) {
    q->type = constant->type;
    if ((constant->count != 1 && constant->count != q->scale_count) || constant->count == 0 ||
        constant->scale) {
        return onnx_fail(node, "zero point and scale must be of one length");
    }
    if (!is_codes(constant->type)) {
        return onnx_fail(node, "codes must be int8, uint8, int4 or uint4 (int32 for a bias)");
    }
    for (size_t i = 0; i < constant->count; i++) {
        const int32_t code = onnx_code(constant, i);
        if (i > 0 && code != q->zero_point) {
            return onnx_fail(node, "zero points differ from channel to channel");
        }
        q->zero_point = code;
    }
    return CLQ_OK;
}

/* Inputs 1 and 2 and the attributes. `type` is the one without a zero point. */
static clq_status read_quantizer(onnx_loader *load, onnx_node *node, onnx_type type, quantizer *q) {
    const onnx_constant *scale, *zero_point;
    int64_t axis = 1, output_type = 0, block = 0;
    *q = (quantizer){.type = type};
    CLQ_TRY(onnx_want_inputs(node, 2, 3));
    CLQ_TRY(onnx_want_constant(load, node, 1, &scale));
    CLQ_TRY(onnx_want_constant(load, node, 2, &zero_point));
    CLQ_TRY(onnx_attribute_int(node, "axis", -ONNX_MAX_RANK, ONNX_MAX_RANK - 1, &axis));
    CLQ_TRY(onnx_attribute_int(node, "output_dtype", 0, INT_MAX, &output_type));
    CLQ_TRY(onnx_attribute_int(node, "block_size", 0, 0, &block));
    onnx_attribute_ignore(node, "saturate");
    onnx_attribute_ignore(node, "precision");
    if (scale->type != ONNX_FLOAT || scale->scale || scale->count == 0 || scale->rank > 1) {
        return onnx_fail(node, "the scale must be a float or a vector of floats");
    }
    q->scale = scale->data;
    q->scale_count = scale->count;
    q->axis = (int)axis;
    for (size_t i = 0; i < q->scale_count; i++) {
        if (!(q->scale[i] > 0) || !isfinite(q->scale[i])) {
            return onnx_fail(node, "scale %zu is %g, must be positive and finite", i,
                             (double)q->scale[i]);
        }
    }
    if (output_type) {
        q->type = (onnx_type)output_type;
    }
    return zero_point ? read_zero_point(node, zero_point, q) : CLQ_OK;
}

/* Per channel: one scale for each index along the axis. */
static clq_status check_axis(const onnx_node *node, const onnx_constant *constant, quantizer *q) {
    if (q->scale_count == 1) {
        q->axis = 0; /* of no meaning */
        return CLQ_OK;
    }
    q->axis += q->axis < 0 ? constant->rank : 0;
    if (q->axis < 0 || q->axis >= constant->rank ||
        constant->dim[q->axis] != (int64_t)q->scale_count) {
        return onnx_fail(node, "%zu scales do not fit axis %d of \"%.100s\"", q->scale_count,
                         q->axis, constant->name);
    }
    return CLQ_OK;
}

/* q = clamp(rint(x / scale) + zero_point), as everywhere. */
static clq_status quantize_constant(onnx_loader *load, const onnx_node *node,
                                    const onnx_constant *x, quantizer *q) {
    onnx_constant *out;
    void *data;
    const float *values;
    size_t inner = 1;
    int32_t lowest, highest;
    if (!onnx_code_range(q->type, &lowest, &highest)) {
        return onnx_fail(node, "quantizes to other codes than int8, uint8, int4 and uint4, which "
                               "is not supported");
    }
    CLQ_TRY(check_axis(node, x, q));
    CLQ_TRY(onnx_constant_floats(&load->arena, x, &values));
    CLQ_TRY(onnx_constant_make(&load->arena, x->name, q->type, x->rank, x->dim, &out, &data));
    const float least = (float)lowest, most = (float)highest;
    for (int i = q->axis + 1; i < x->rank; i++) {
        inner *= (size_t)x->dim[i];
    }
    for (size_t i = 0; i < x->count; i++) {
        float scale = q->scale[q->scale_count > 1 ? i / inner % q->scale_count : 0];
        float code = rintf(values[i] / scale) + (float)q->zero_point;
        code = code >= least ? code : least; /* NaN too */
        ((uint8_t *)data)[i] = (uint8_t)(int)(code <= most ? code : most);
    }
    out->unrounded = x;
    return onnx_bind_constant(load, node, out);
}

/* The type that has all codes of an element type. */
static bool stored_type(onnx_type type, clq_qtype *codes) {
    int32_t lowest, highest;
    return onnx_code_range(type, &lowest, &highest) &&
           clq_qtype_find_codes(lowest < 0, lowest, highest, codes);
}

clq_status onnx_quantize(onnx_loader *load, onnx_node *node) {
    quantizer q;
    CLQ_TRY(read_quantizer(load, node, ONNX_UINT8, &q));
    onnx_operand x = *onnx_input(load, node, 0);
    if (x.constant) {
        return quantize_constant(load, node, x.constant, &q);
    }
    if (q.scale_count != 1 || x.codes || !stored_type(q.type, &x.type)) {
        return onnx_fail(node, "an activation must have one scale (per tensor) and codes of int8, "
                               "uint8, int4 or uint4");
    }
    clq_value *value = &load->graph->values[x.value];
    if (value->q.count == 0) {
        CLQ_TRY(clq_qparams_set(&value->q, 1, q.scale, q.zero_point, x.type));
    } else if (value->q.scale[0] != q.scale[0] || value->q.zero_point != q.zero_point) {
        return onnx_fail(node, "quantizes \"%.100s\" a second time, by another scale or zero point",
                         value->name);
    }
    x.codes = true;
    x.dequantized = false;
    return onnx_bind_output(load, node, &x);
}

static clq_status dequantize_constant(onnx_loader *load, const onnx_node *node,
                                      const onnx_constant *codes, quantizer *q) {
    void *copy;
    CLQ_TRY(check_axis(node, codes, q));
    if (codes->scale || !is_codes(codes->type) ||
        (onnx_input_name(node, 2)[0] && q->type != codes->type)) {
        return onnx_fail(node,
                         "input and zero point must be codes of one type, of 4, 8 or 32 bits");
    }
    CLQ_TRY(clq_arena_copy(&load->arena, codes, sizeof *codes, &copy));
    onnx_constant *out = copy;
    out->scale = q->scale;
    out->scale_count = q->scale_count;
    out->axis = q->axis;
    out->zero_point = q->zero_point;
    static const char suffix[] = "_quantized"; /* ONNX Runtime's "fc.weight_quantized" */
    size_t length = strlen(out->name), tail = sizeof suffix - 1;
    if (length > tail && strcmp(out->name + length - tail, suffix) == 0) {
        char *name;
        CLQ_TRY(clq_arena_format(&load->arena, &name, "%.*s", (int)(length - tail), out->name));
        out->name = name;
    }
    return onnx_bind_constant(load, node, out);
}

/* All readers of a value's codes take the same: those of the first DequantizeLinear. */
static clq_status set_type(onnx_loader *load, const onnx_node *node, const onnx_operand *x) {
    clq_value *value = &load->graph->values[x->value];
    const clq_qtype_info *type = clq_qtype_get(x->type);
    bool *typed = &load->value_uses[x->value].typed;
    if (*typed && value->q.type != x->type) {
        return onnx_fail(node, "takes codes of \"%.100s\" as %s, others as %s", value->name,
                         type->name, clq_qtype_get(value->q.type)->name);
    }
    if (value->q.zero_point < type->lowest || value->q.zero_point > type->highest) {
        return onnx_fail(node, "zero point %d is no code of %s, which the Clip before leaves",
                         value->q.zero_point, type->name);
    }
    value->q.type = x->type;
    *typed = true;
    return CLQ_OK;
}

clq_status onnx_dequantize(onnx_loader *load, onnx_node *node) {
    quantizer q;
    clq_qtype type;
    onnx_operand x = *onnx_input(load, node, 0);
    const bool is_signed = x.codes && clq_qtype_get(x.type)->is_signed;
    CLQ_TRY(read_quantizer(load, node,
                           x.constant  ? x.constant->type
                           : is_signed ? ONNX_INT8
                                       : ONNX_UINT8,
                           &q));
    if (x.constant) {
        return dequantize_constant(load, node, x.constant, &q);
    }
    if (!x.codes) {
        return onnx_fail(node, "the input holds no codes");
    }
    const clq_qparams *value = &load->graph->values[x.value].q;
    if (q.scale_count != 1 || value->scale[0] != q.scale[0] || value->zero_point != q.zero_point ||
        !stored_type(q.type, &type) || clq_qtype_get(type)->is_signed != is_signed) {
        return onnx_fail(node, "scale and zero point differ from QuantizeLinear's");
    }
    CLQ_TRY(set_type(load, node, &x));
    x.codes = false;
    x.dequantized = true;
    return onnx_bind_output(load, node, &x);
}

/* ---- Clip on codes ---- */

/* One code of the input's element type; *code stays where there is none. */
static clq_status read_bound(const onnx_loader *load, const onnx_node *node, size_t index,
                             bool is_signed, int32_t *code) {
    const onnx_constant *constant;
    int32_t lowest, highest;
    CLQ_TRY(onnx_want_constant(load, node, index, &constant));
    if (!constant) {
        return CLQ_OK;
    }
    if (constant->count != 1 || !onnx_code_range(constant->type, &lowest, &highest) ||
        (lowest < 0) != is_signed) {
        return onnx_fail(node, "clips codes, so min and max must be one code each");
    }
    *code = onnx_code(constant, 0);
    return CLQ_OK;
}

static clq_status clip_constant(onnx_loader *load, const onnx_node *node, const onnx_constant *x,
                                int32_t lowest, int32_t highest) {
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_constant_make(&load->arena, x->name, x->type, x->rank, x->dim, &out, &data));
    for (size_t i = 0; i < x->count; i++) {
        const int32_t code = onnx_code(x, i);
        ((uint8_t *)data)[i] = (uint8_t)(code < lowest ? lowest : code > highest ? highest : code);
    }
    out->unrounded = x->unrounded;
    return onnx_bind_constant(load, node, out);
}

clq_status onnx_clip_codes(onnx_loader *load, onnx_node *node) {
    onnx_operand x = *onnx_input(load, node, 0);
    int32_t lowest, highest, least = INT32_MIN, most = INT32_MAX;
    if (x.constant) {
        if (x.constant->scale || !onnx_code_range(x.constant->type, &lowest, &highest)) {
            return onnx_fail(node, "clips neither floats nor codes of 4 or 8 bits");
        }
    } else {
        lowest = clq_qtype_get(x.type)->lowest;
        highest = clq_qtype_get(x.type)->highest;
    }
    const bool is_signed = lowest < 0;
    CLQ_TRY(read_bound(load, node, 1, is_signed, &least));
    CLQ_TRY(read_bound(load, node, 2, is_signed, &most));
    lowest = least > lowest ? least : lowest;
    highest = most < highest ? most : highest;
    if (x.constant) {
        return lowest <= highest
                   ? clip_constant(load, node, x.constant, lowest, highest)
                   : onnx_fail(node, "clips to %d..%d, which is nothing", lowest, highest);
    }
    if (!clq_qtype_find_codes(is_signed, lowest, highest, &x.type)) {
        return onnx_fail(node,
                         "clips codes to %d..%d, which is no type: u8 to u2 begin at 0, s8 to s2 "
                         "have one negative code more than positive ones, s8_narrow is -127..127",
                         lowest, highest);
    }
    return onnx_bind_output(load, node, &x);
}

/* ---- parameters ---- */

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
    CLQ_TRY(onnx_parameter_name(load, constant ? constant->name : "", node_name, role, &name));
    return clq_graph_add_parameter(load->graph, name, kind, dtype, shape, data, value);
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
    CLQ_TRY(clq_arena_take(&load->arena, weight->count, 1, &data));
    for (size_t i = 0; i < weight->count; i++) {
        const int32_t code = onnx_code(weight, i) - weight->zero_point;
        least = code < least ? code : least;
        most = code > most ? code : most;
        ((int8_t *)data)[i] = (int8_t)code;
    }
    if (least < -128 || most > 127) {
        return onnx_fail(node,
                         "weights \"%.100s\" are asymmetric: code - zero point is %d, "
                         "must be -128..127; quantize weights symmetrically",
                         weight->name, least < -128 ? least : most);
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

clq_status onnx_add_weights(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                            const onnx_constant *weight, const onnx_constant *bias, clq_shape shape,
                            const char *node_name, int inputs[3], int *input_count) {
    clq_shape vector = {1, {shape.dim[0]}};
    const onnx_constant *unrounded = load->keep_float ? weight->unrounded : NULL;
    *input_count = bias ? 3 : 2;
    CLQ_TRY(spread_bias(load, node, shape.dim[0], &bias));
    const bool on_codes = x->dequantized && !onnx_is_real_node(load, node_name);
    if ((on_codes || load->keep_codes) && weight->scale && !unrounded) {
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

/* ---- when the graph stands ---- */

/* Scales follow the channels where these are in one row; else a row has one. */
static clq_status turn_scales(onnx_loader *load, const clq_layout *layout, clq_qparams *q) {
    void *turned;
    if (layout->rows > 1 || q->count <= 1) {
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

/* QuantizeLinear and DequantizeLinear, and a Clip of codes.
 *
 * On an activation, QuantizeLinear sets the qparams of the graph's value and DequantizeLinear takes
 * the codes back to "the same value, rounded". A Clip between them says which of the codes a type
 * of fewer bits has. On constants all are carried out. A value that has qparams must not be read
 * past them: the integer network only has the codes. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "formats/onnx/operators.h"

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

/* A value that is codes already, or will be for other readers, as codes of other scales too: a node
 * of the graph makes these of its reals, rounded or not. */
static clq_status quantize_again(onnx_loader *load, const onnx_node *node, const quantizer *q,
                                 onnx_operand *x) {
    char *name;
    int made;
    CLQ_TRY(onnx_note_read(load, x));
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    CLQ_TRY(clq_graph_add_node(load->graph, "quantize", name, NULL, &x->value, 1, &made));
    CLQ_TRY(onnx_make_room(load, made));
    load->value_uses[made] = (onnx_value_use){.turned = load->value_uses[x->value].turned,
                                              .image = load->value_uses[x->value].image};
    x->value = made;
    return clq_qparams_set(&load->graph->values[made].q, 1, q->scale, q->zero_point, x->type);
}

static clq_status read_quantize(onnx_loader *load, onnx_node *node) {
    quantizer q;
    CLQ_TRY(read_quantizer(load, node, ONNX_UINT8, &q));
    onnx_operand x = *onnx_input(load, node, 0);
    if (x.constant) {
        return quantize_constant(load, node, x.constant, &q);
    }
    if (x.flatten) {
        CLQ_TRY(onnx_note_read(load, &x));
        x.dequantized = false; /* what it makes has qparams of its own */
        CLQ_TRY(onnx_settle(load, node, &x, true));
    }
    if (q.scale_count != 1 || x.codes || !stored_type(q.type, &x.type)) {
        return onnx_fail(node, "an activation must have one scale (per tensor) and codes of int8, "
                               "uint8, int4 or uint4");
    }
    clq_value *value = &load->graph->values[x.value];
    if (value->q.count == 0) {
        CLQ_TRY(clq_qparams_set(&value->q, 1, q.scale, q.zero_point, x.type));
    } else if (value->q.scale[0] != q.scale[0] || value->q.zero_point != q.zero_point) {
        CLQ_TRY(quantize_again(load, node, &q, &x));
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

static clq_status read_dequantize(onnx_loader *load, onnx_node *node) {
    quantizer q;
    clq_qtype type;
    CLQ_TRY(onnx_want_inputs(node, 2, 3));
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

/* quantize is the rounding that stands behind other nodes; dequantize is nothing, as readers of
 * codes in the file read them dequantized. */
static clq_status write_border(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                               size_t count) {
    const clq_graph *graph = chain->save->graph;
    Onnx__NodeProto *node;
    chain->current = inputs[0];
    if (graph->values[graph_node->output].q.count > 0) {
        onnx_save_plan(chain, "QuantizeLinear", CLQ_ACT_NONE);
        return onnx_save_finish(chain, CLQ_ACT_NONE);
    }
    for (int i = 0; i < graph->output_count; i++) {
        if (graph->outputs[i].value == graph_node->output) {
            onnx_save_plan(chain, "Identity", CLQ_ACT_NONE);
            return onnx_save_step(chain, "Identity", inputs, count, &node);
        }
    }
    chain->save->reads[chain->value] = inputs[0];
    return CLQ_OK;
}

/* ---- by an activation's own range: load_dynamic.c ---- */

static clq_status read_rounding(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    if (load->batch > 1 && !load->whole) {
        return onnx_fail(node, "takes one range for the whole batch of %lld",
                         (long long)load->batch);
    }
    load->dynamic_count++;
    return onnx_add_node(load, node, "dynamic_quantize", NULL, NULL, &x.value, 1, &x);
}

static clq_status write_dynamic(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                                size_t count) {
    static const char *const what[2] = {"scale", "zero_point"};
    const char *codes[3];
    Onnx__NodeProto *node;
    void *outputs;
    char *name;
    (void)graph_node;
    onnx_save_plan(chain, "DequantizeLinear", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, chain->onnx, inputs, count, &node));
    codes[0] = chain->current;
    for (int i = 1; i < 3; i++) {
        CLQ_TRY(clq_arena_format(&chain->save->arena, &name, "%s/%s", chain->base, what[i - 1]));
        CLQ_TRY(onnx_save_name(chain->save, &chain->save->values, name, &codes[i]));
    }
    CLQ_TRY(clq_arena_copy(&chain->save->arena, codes, sizeof codes, &outputs));
    node->output = outputs;
    node->n_output = 3;
    return onnx_save_step(chain, "DequantizeLinear", codes, 3, &node);
}

const onnx_operator onnx_quantize_operators[] = {
    {"QuantizeLinear", .read = read_quantize, .fold = read_quantize, .op = "quantize",
     .write = write_border},
    {"DequantizeLinear", .read = read_dequantize, .fold = read_dequantize, .op = "dequantize",
     .write = write_border},
    {ONNX_DYNAMIC_ROUNDING, .read = read_rounding},
    {"DynamicQuantizeLinear", .op = "dynamic_quantize", .write = write_dynamic},
    {0},
};

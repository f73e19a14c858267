/* Each operator of the graph as ONNX nodes. */
#include <string.h>

#include "formats/onnx_save.h"
#include "graph/codes.h"

#define TYPE(name) ONNX__TENSOR_PROTO__DATA_TYPE__##name

static const char op_conv[] = "Conv", op_gemm[] = "Gemm", op_relu[] = "Relu", op_clip[] = "Clip",
                  op_quantize[] = "QuantizeLinear", op_dequantize[] = "DequantizeLinear",
                  op_add[] = "Add", op_flatten[] = "Flatten", op_slice[] = "Slice",
                  op_pad[] = "Pad", op_identity[] = "Identity";

/* ---- quantized values ---- */

/* Scale and zero point of `q` as initializers named after `of`; they follow `x` in inputs[3]. */
static clq_status save_qparams(onnx_saver *save, const char *of, const clq_qparams *q,
                               const char *x, const char *inputs[3]) {
    const clq_qtype_info *type = clq_qtype_get(q->type);
    int rank = q->count > 1 ? 1 : 0;
    size_t count = (size_t)q->count;
    size_t size = (size_t)clq_dtype_bytes(type->storage, q->count);
    char *name;
    void *zero_point;
    save->half_bytes |= type->storage == CLQ_S4;
    CLQ_TRY(clq_arena_take(&save->arena, size, 1, &zero_point));
    *(uint8_t *)zero_point = (uint8_t)q->zero_point; /* parameters' are 0 */
    inputs[0] = x;
    CLQ_TRY(clq_arena_format(&save->arena, &name, "%s_scale", of));
    CLQ_TRY(onnx_save_tensor(save, name, TYPE(FLOAT), rank, &q->count, q->scale,
                             count * sizeof *q->scale, &inputs[1]));
    CLQ_TRY(clq_arena_format(&save->arena, &name, "%s_zero_point", of));
    return onnx_save_tensor(save, name, type->onnx_type, rank, &q->count, zero_point, size,
                            &inputs[2]);
}

/* `op` is QuantizeLinear, Clip or DequantizeLinear; *output is a new value. */
static clq_status save_linear(onnx_saver *save, const char *op, const char *of,
                              const clq_qparams *q, const char *const inputs[3],
                              const char **output) {
    Onnx__NodeProto *node;
    char *name;
    const char *made;
    CLQ_TRY(clq_arena_format(&save->arena, &name, "%s/%s", of, op));
    CLQ_TRY(onnx_save_name(save, &save->values, name, &made));
    CLQ_TRY(onnx_save_node(save, op, name, inputs, 3, made, &node));
    *output = made; /* last: it may be inputs[0] */
    return q->count > 1 ? onnx_save_int(save, node, "axis", 0) : CLQ_OK;
}

/* An activation's qparams as the file has them: in bytes, of all codes. */
static clq_qparams byte_qparams(const clq_qparams *q) {
    clq_qparams bytes = *q;
    bytes.type = clq_qtype_byte(q->type);
    return bytes;
}

/* inputs[3] of a Clip behind `x` to the codes that the type has; *needed: it has not all bytes. */
static clq_status save_limits(onnx_saver *save, clq_qtype type, const char *x,
                              const char *inputs[3], bool *needed) {
    const clq_qtype_info *codes = clq_qtype_get(type);
    const clq_qtype_info *bytes = clq_qtype_get(clq_qtype_byte(type));
    const char **limits = save->limits[type];
    *needed = codes->lowest != bytes->lowest || codes->highest != bytes->highest;
    for (int i = 0; *needed && !limits[0] && i < 2; i++) {
        char *name;
        void *code;
        CLQ_TRY(clq_arena_take(&save->arena, 1, 1, &code));
        *(uint8_t *)code = (uint8_t)(i ? codes->highest : codes->lowest);
        CLQ_TRY(
            clq_arena_format(&save->arena, &name, "%s_%s", codes->name, i ? "highest" : "lowest"));
        CLQ_TRY(onnx_save_tensor(save, name, bytes->onnx_type, 0, NULL, code, 1, &inputs[1 + i]));
    }
    inputs[0] = x;
    for (int i = 0; *needed && i < 2; i++) {
        limits[i] = limits[i] ? limits[i] : inputs[1 + i];
        inputs[1 + i] = limits[i];
    }
    return CLQ_OK;
}

/* An activation to codes and back: *output is a new value. `inputs`: what QuantizeLinear reads. */
static clq_status save_rounding(onnx_saver *save, const char *of, const clq_qparams *q,
                                const char *x, const char *inputs[3], const char **output) {
    const clq_qparams bytes = byte_qparams(q);
    const char *clip[3];
    bool needed;
    CLQ_TRY(save_qparams(save, of, &bytes, x, inputs));
    CLQ_TRY(save_linear(save, op_quantize, of, q, inputs, &inputs[0]));
    CLQ_TRY(save_limits(save, q->type, inputs[0], clip, &needed));
    if (needed) {
        CLQ_TRY(save_linear(save, op_clip, of, q, clip, &inputs[0]));
    }
    return save_linear(save, op_dequantize, of, q, inputs, output);
}

/* ---- parameters ---- */

/* Notes the type of a value's codes where ONNX's says less. */
static clq_status note_type(onnx_saver *save, const char *name, clq_qtype type) {
    const clq_qtype_info *info = clq_qtype_get(type);
    if (info->bits >= 8 || info->storage == CLQ_S4) {
        return CLQ_OK;
    }
    save->types = save->types ? save->types : json_object();
    return clq_json_put(save->types, name, json_string(info->name));
}

/* file_data of S4. */
static clq_status half_bytes(onnx_saver *save, const clq_value *v, const clq_layout *layout,
                             const void **data) {
    const size_t count = (size_t)clq_shape_count(&v->shape);
    int8_t *codes = NULL;
    void *turned = NULL, *packed = NULL;
    clq_status status = clq_value_codes(v, &codes);
    CLQ_GOTO(status, cleanup, status);
    CLQ_GOTO(status, cleanup, clq_arena_take(&save->arena, count, 1, &turned));
    CLQ_GOTO(status, cleanup, clq_arena_take(&save->arena, count / 2 + 1, 1, &packed));
    clq_layout_to_file(layout, 1, codes, turned);
    clq_pack_s4(turned, count, packed);
    *data = packed;
cleanup:
    clq_free(codes);
    return status;
}

/* A parameter's data in the file's order. */
static clq_status file_data(onnx_saver *save, int value, const void **data) {
    const clq_value *v = &save->graph->values[value];
    const clq_layout *layout = &save->layouts[value];
    size_t size = clq_dtype_size(v->dtype);
    void *turned;
    *data = v->data;
    if (layout->pixels == 1 || layout->channels == 1) {
        return CLQ_OK;
    }
    if (v->dtype == CLQ_S4) {
        return half_bytes(save, v, layout, data);
    }
    CLQ_TRY(clq_arena_take(&save->arena, (size_t)clq_shape_count(&v->shape), size, &turned));
    clq_layout_to_file(layout, size, v->data, turned);
    *data = turned;
    return CLQ_OK;
}

/* Scales in the file's order: they follow the channels where these are in one row. */
static clq_status file_scales(onnx_saver *save, const clq_layout *layout, clq_qparams *q) {
    void *turned;
    if (layout->rows > 1 || q->count <= 1) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_take(&save->arena, (size_t)q->count, sizeof *q->scale, &turned));
    clq_layout_to_file(layout, sizeof *q->scale, q->scale, turned);
    q->scale = turned;
    return CLQ_OK;
}

/* *name is what the operator reads: the initializer, or behind it DequantizeLinear. */
static clq_status save_parameter(onnx_saver *save, int value, const char **name) {
    const clq_value *v = &save->graph->values[value];
    if (save->reads[value]) { /* shared by several nodes */
        *name = save->reads[value];
        return CLQ_OK;
    }
    int type = v->dtype == CLQ_F32 ? TYPE(FLOAT) : clq_qtype_get(v->q.type)->onnx_type;
    clq_shape shape = clq_layout_file_shape(&v->shape);
    const void *data;
    const char *inputs[3];
    CLQ_TRY(file_data(save, value, &data));
    CLQ_TRY(onnx_save_tensor(save, v->name, type, shape.rank, shape.dim, data,
                             (size_t)clq_dtype_bytes(v->dtype, clq_shape_count(&shape)), name));
    if (v->q.count > 0) {
        CLQ_TRY(note_type(save, *name, v->q.type));
        clq_qparams q = v->q;
        CLQ_TRY(file_scales(save, &save->layouts[value], &q));
        CLQ_TRY(save_qparams(save, v->name, &q, *name, inputs));
        if (v->dtype == CLQ_F32) { /* quantized form: rounded on the way */
            CLQ_TRY(save_linear(save, op_quantize, v->name, &v->q, inputs, &inputs[0]));
        }
        CLQ_TRY(save_linear(save, op_dequantize, v->name, &v->q, inputs, name));
    }
    save->reads[value] = *name;
    return CLQ_OK;
}

/* ---- chains ---- */

/* One more ONNX node, reading inputs[0..count); the first of a chain has the base's name. */
static clq_status step(onnx_chain *chain, const char *op, const char *const *inputs, size_t count,
                       Onnx__NodeProto **node) {
    onnx_saver *save = chain->save;
    char *path;
    const char *output;
    CLQ_TRY(clq_arena_format(&save->arena, &path, "%s/%s", chain->base, op));
    if (op == chain->last) {
        output = save->reads[chain->value];
    } else {
        CLQ_TRY(onnx_save_name(save, &save->values, path, &output));
    }
    bool first = clq_names_find(&save->nodes, chain->base) < 0;
    CLQ_TRY(onnx_save_node(save, op, first ? chain->base : path, inputs, count, output, node));
    chain->current = output;
    return CLQ_OK;
}

/* Behind the operator `op`: which step is the last. */
static void plan(onnx_chain *chain, const char *op, clq_act act) {
    bool quantized = chain->save->graph->values[chain->value].q.count > 0;
    chain->last = quantized              ? op_dequantize
                  : act == CLQ_ACT_RELU  ? op_relu
                  : act == CLQ_ACT_RELU6 ? op_clip
                                         : op;
}

static clq_status save_clip(onnx_chain *chain) {
    onnx_saver *save = chain->save;
    Onnx__NodeProto *node;
    if (!save->six) {
        CLQ_TRY(onnx_save_scalar(save, "relu6_min", 0, &save->zero));
        CLQ_TRY(onnx_save_scalar(save, "relu6_max", 6, &save->six));
    }
    const char *inputs[3] = {chain->current, save->zero, save->six};
    return step(chain, op_clip, inputs, 3, &node);
}

/* To codes and back, by inputs[1] and [2]: the last steps of a chain. */
static clq_status finish_codes(onnx_chain *chain, const char *inputs[3]) {
    const clq_qparams *q = &chain->save->graph->values[chain->value].q;
    Onnx__NodeProto *node;
    const char *clip[3];
    bool needed;
    inputs[0] = chain->current;
    CLQ_TRY(step(chain, op_quantize, inputs, 3, &node));
    CLQ_TRY(save_limits(chain->save, q->type, chain->current, clip, &needed));
    if (needed) {
        CLQ_TRY(step(chain, op_clip, clip, 3, &node));
    }
    inputs[0] = chain->current;
    return step(chain, op_dequantize, inputs, 3, &node);
}

/* The fused activation, then the rounding to codes and back. */
static clq_status finish(onnx_chain *chain, clq_act act) {
    onnx_saver *save = chain->save;
    const clq_qparams *q = &save->graph->values[chain->value].q;
    Onnx__NodeProto *node;
    const char *inputs[3];
    if (act == CLQ_ACT_RELU) {
        CLQ_TRY(step(chain, op_relu, &chain->current, 1, &node));
    } else if (act == CLQ_ACT_RELU6) {
        CLQ_TRY(save_clip(chain));
    }
    if (q->count > 0) {
        const clq_qparams bytes = byte_qparams(q);
        CLQ_TRY(save_qparams(save, chain->base, &bytes, chain->current, inputs));
        CLQ_TRY(finish_codes(chain, inputs));
    }
    return CLQ_OK;
}

/* ---- operators ---- */

/* (N, C) -> (N, C, 1, 1), which *input then is. */
static clq_status save_unsqueeze(onnx_chain *chain, const char **input) {
    static const int64_t axes[2] = {2, 3};
    onnx_saver *save = chain->save;
    const char *inputs[2] = {*input};
    Onnx__NodeProto *node;
    char *path;
    CLQ_TRY(clq_arena_format(&save->arena, &path, "%s/Unsqueeze", chain->base));
    CLQ_TRY(onnx_save_longs(save, "unsqueeze_axes", axes, 2, &inputs[1]));
    CLQ_TRY(onnx_save_name(save, &save->values, path, input));
    return onnx_save_node(save, "Unsqueeze", path, inputs, 2, *input, &node);
}

static clq_status save_conv2d(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                              size_t count) {
    const clq_conv2d_attrs *attrs = graph_node->attrs;
    onnx_saver *save = chain->save;
    const bool is_pixel = save->graph->values[graph_node->output].shape.rank == 2;
    Onnx__NodeProto *node;
    plan(chain, is_pixel ? op_flatten : op_conv, attrs->act);
    if (is_pixel) {
        CLQ_TRY(save_unsqueeze(chain, &inputs[0]));
    }
    CLQ_TRY(step(chain, op_conv, inputs, count, &node));
    CLQ_TRY(onnx_save_ints(save, node, "dilations", attrs->dilation, 2));
    CLQ_TRY(onnx_save_int(save, node, "group", attrs->groups));
    CLQ_TRY(onnx_save_ints(save, node, "kernel_shape", attrs->kernel, 2));
    CLQ_TRY(onnx_save_ints(save, node, "pads", attrs->pad, 4));
    CLQ_TRY(onnx_save_ints(save, node, "strides", attrs->stride, 2));
    if (is_pixel) {
        CLQ_TRY(step(chain, op_flatten, &chain->current, 1, &node));
        CLQ_TRY(onnx_save_int(save, node, "axis", 1));
    }
    return finish(chain, attrs->act);
}

static clq_status save_gemm(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                            size_t count) {
    const clq_linear_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    plan(chain, op_gemm, attrs->act);
    CLQ_TRY(step(chain, op_gemm, inputs, count, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "transB", 1));
    return finish(chain, attrs->act);
}

static clq_status save_add(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                           size_t count) {
    const clq_add_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    plan(chain, op_add, attrs->act);
    CLQ_TRY(step(chain, op_add, inputs, count, &node));
    return finish(chain, attrs->act);
}

static clq_status save_batch_norm(onnx_chain *chain, const clq_node *graph_node,
                                  const char **inputs, size_t count) {
    static const char op[] = "BatchNormalization";
    const clq_batch_norm_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    plan(chain, op, CLQ_ACT_NONE);
    CLQ_TRY(step(chain, op, inputs, count, &node));
    CLQ_TRY(onnx_save_float(chain->save, node, "epsilon", attrs->epsilon));
    CLQ_TRY(onnx_save_float(chain->save, node, "momentum", (float)(1 - (double)attrs->momentum)));
    return finish(chain, CLQ_ACT_NONE);
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
        const int64_t slack =
            x->dim[1 + axis] + attrs->pad[axis] + attrs->pad[axis + 2] - attrs->kernel[axis];
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

static clq_status save_pool(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                            size_t count) {
    static const char op_max[] = "MaxPool", op_average[] = "AveragePool";
    clq_pool_attrs attrs = *(const clq_pool_attrs *)graph_node->attrs;
    onnx_saver *save = chain->save;
    bool max = strcmp(graph_node->op->name, "max_pool") == 0;
    Onnx__NodeProto *node;
    CLQ_TRY(plain_pool(save->graph, graph_node, &attrs));
    plan(chain, max ? op_max : op_average, CLQ_ACT_NONE);
    CLQ_TRY(step(chain, max ? op_max : op_average, inputs, count, &node));
    CLQ_TRY(onnx_save_int(save, node, "ceil_mode", attrs.ceil_mode));
    if (!max) {
        CLQ_TRY(onnx_save_int(save, node, "count_include_pad", attrs.count_include_pad));
    }
    CLQ_TRY(onnx_save_ints(save, node, "kernel_shape", attrs.kernel, 2));
    CLQ_TRY(onnx_save_ints(save, node, "pads", attrs.pad, 4));
    CLQ_TRY(onnx_save_ints(save, node, "strides", attrs.stride, 2));
    return finish(chain, CLQ_ACT_NONE);
}

/* (N, C, H, W) -> (N, C, 1, 1) -> (N, C), with codes behind both. */
static clq_status save_global_pool(onnx_chain *chain, const clq_node *graph_node,
                                   const char **inputs, size_t count) {
    onnx_saver *save = chain->save;
    const clq_qparams *q = &save->graph->values[graph_node->output].q;
    Onnx__NodeProto *node;
    const char *quantizer[3];
    chain->last = op_flatten;
    CLQ_TRY(step(chain, "GlobalAveragePool", inputs, count, &node));
    if (q->count > 0) {
        CLQ_TRY(save_rounding(save, chain->base, q, chain->current, quantizer, &chain->current));
    }
    plan(chain, op_flatten, CLQ_ACT_NONE);
    CLQ_TRY(step(chain, op_flatten, &chain->current, 1, &node));
    CLQ_TRY(onnx_save_int(save, node, "axis", 1));
    return q->count > 0 ? finish_codes(chain, quantizer) : CLQ_OK;
}

/* x[:, :, ::s, ::s] and zero channels. */
static clq_status save_shortcut(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                                size_t count) {
    const clq_pad_channels_attrs *attrs = graph_node->attrs;
    onnx_saver *save = chain->save;
    const char *base = chain->base;
    Onnx__NodeProto *node;
    bool pads = attrs->front > 0 || attrs->back > 0;
    chain->current = inputs[0];
    (void)count;
    plan(chain, pads ? op_pad : op_slice, CLQ_ACT_NONE);
    if (attrs->stride > 1 || !pads) {
        const int64_t zeros[2] = {0, 0}, ends[2] = {INT64_MAX, INT64_MAX}, axes[2] = {2, 3};
        const int64_t steps[2] = {attrs->stride, attrs->stride};
        const char *slice[5] = {chain->current};
        char *path;
        CLQ_TRY(clq_arena_format(&save->arena, &path, "%s/%s", base, op_slice));
        CLQ_TRY(onnx_save_longs(save, "slice_starts", zeros, 2, &slice[1]));
        CLQ_TRY(onnx_save_longs(save, "slice_ends", ends, 2, &slice[2]));
        CLQ_TRY(onnx_save_longs(save, "slice_axes", axes, 2, &slice[3]));
        CLQ_TRY(onnx_save_longs(save, "slice_steps", steps, 2, &slice[4]));
        if (pads) {
            const char *sliced;
            CLQ_TRY(onnx_save_name(save, &save->values, path, &sliced));
            CLQ_TRY(onnx_save_node(save, op_slice, path, slice, 5, sliced, &node));
            chain->current = sliced;
        } else {
            CLQ_TRY(step(chain, op_slice, slice, 5, &node));
        }
    }
    if (pads) {
        const int64_t around[8] = {0, attrs->front, 0, 0, 0, attrs->back, 0, 0};
        const char *pad[3] = {chain->current};
        CLQ_TRY(onnx_save_longs(save, "pad_channels", around, 8, &pad[1]));
        CLQ_TRY(onnx_save_scalar(save, "pad_value", 0, &pad[2]));
        CLQ_TRY(step(chain, op_pad, pad, 3, &node));
    }
    return finish(chain, CLQ_ACT_NONE);
}

static clq_status save_dropout(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                               size_t count) {
    static const char op[] = "Dropout";
    const clq_dropout_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    const char *with_ratio[2] = {inputs[0]};
    (void)count;
    plan(chain, op, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_scalar(chain->save, "dropout_ratio", attrs->probability, &with_ratio[1]));
    CLQ_TRY(step(chain, op, with_ratio, 2, &node));
    return finish(chain, CLQ_ACT_NONE);
}

/* Operators without attributes of their own. */
static clq_status save_plain(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                             size_t count) {
    static const struct {
        const char *op, *onnx;
    } plain[] = {{"tanh", "Tanh"}, {"sigmoid", "Sigmoid"}, {"relu", op_relu}};
    const char *op = NULL;
    Onnx__NodeProto *node;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        op = strcmp(plain[i].op, graph_node->op->name) == 0 ? plain[i].onnx : op;
    }
    plan(chain, op, CLQ_ACT_NONE);
    CLQ_TRY(step(chain, op, inputs, count, &node));
    return finish(chain, CLQ_ACT_NONE);
}

static clq_status save_relu6(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                             size_t count) {
    (void)graph_node;
    (void)count;
    chain->current = inputs[0];
    plan(chain, op_clip, CLQ_ACT_NONE);
    CLQ_TRY(save_clip(chain));
    return finish(chain, CLQ_ACT_NONE);
}

static clq_status save_flatten(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                               size_t count) {
    Onnx__NodeProto *node;
    (void)graph_node;
    plan(chain, op_flatten, CLQ_ACT_NONE);
    CLQ_TRY(step(chain, op_flatten, inputs, count, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "axis", 1));
    return finish(chain, CLQ_ACT_NONE);
}

/* quantize is the rounding that stands behind other nodes; dequantize is nothing, as readers of
 * codes in the file read them dequantized. */
static clq_status save_border(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                              size_t count) {
    const clq_graph *graph = chain->save->graph;
    Onnx__NodeProto *node;
    chain->current = inputs[0];
    if (graph->values[graph_node->output].q.count > 0) {
        plan(chain, op_quantize, CLQ_ACT_NONE);
        return finish(chain, CLQ_ACT_NONE);
    }
    for (int i = 0; i < graph->output_count; i++) {
        if (graph->outputs[i].value == graph_node->output) {
            plan(chain, op_identity, CLQ_ACT_NONE);
            return step(chain, op_identity, inputs, count, &node);
        }
    }
    chain->save->reads[chain->value] = inputs[0];
    return CLQ_OK;
}

static const struct {
    const char *op;
    clq_status (*save)(onnx_chain *chain, const clq_node *node, const char **inputs, size_t count);
} operators[] = {
    {"conv2d", save_conv2d},
    {"linear", save_gemm},
    {"batch_norm", save_batch_norm},
    {"add", save_add},
    {"relu", save_plain},
    {"relu6", save_relu6},
    {"tanh", save_plain},
    {"sigmoid", save_plain},
    {"max_pool", save_pool},
    {"avg_pool", save_pool},
    {"global_avg_pool", save_global_pool},
    {"flatten", save_flatten},
    {"dropout", save_dropout},
    {"shortcut_a", save_shortcut},
    {"quantize", save_border},
    {"dequantize", save_border},
};

/* The name that readers of a node's value take: an output's is set already. */
static clq_status name_output(onnx_saver *save, const clq_node *node) {
    if (save->reads[node->output]) {
        return CLQ_OK;
    }
    return onnx_save_name(save, &save->values, save->graph->values[node->output].name,
                          &save->reads[node->output]);
}

clq_status onnx_save_graph_node(onnx_saver *save, const clq_node *node) {
    const char *inputs[CLQ_MAX_INPUTS];
    size_t count = 0;
    for (int i = 0; i < node->input_count; i++) {
        int value = node->inputs[i];
        if (value == CLQ_NO_VALUE) {
            continue; /* only a last one can be absent: the bias */
        }
        if (save->graph->values[value].data) {
            CLQ_TRY(save_parameter(save, value, &inputs[count]));
        } else {
            inputs[count] = save->reads[value];
        }
        count++;
    }
    CLQ_TRY(name_output(save, node));
    onnx_chain chain = {.save = save, .value = node->output, .base = node->name};
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (strcmp(operators[i].op, node->op->name) == 0) {
            return operators[i].save(&chain, node, inputs, count);
        }
    }
    return clq_fail(CLQ_USAGE, "%s \"%s\": cannot be written as ONNX", node->op->name, node->name);
}

/* ---- the graph's ends ---- */

clq_status onnx_save_output_names(onnx_saver *save) {
    for (int i = 0; i < save->graph->output_count; i++) {
        const char *name = clq_graph_output_name(save->graph, i);
        const char **reads = &save->reads[save->graph->outputs[i].value];
        CLQ_TRY(clq_names_set(&save->values, name, 1));
        *reads = *reads ? *reads : name;
    }
    return CLQ_OK;
}

clq_status onnx_save_more_outputs(onnx_saver *save) {
    for (int i = 0; i < save->graph->output_count; i++) {
        const char *name = clq_graph_output_name(save->graph, i);
        const char *made = save->reads[save->graph->outputs[i].value];
        Onnx__NodeProto *node;
        if (strcmp(made, name) != 0) {
            CLQ_TRY(onnx_save_node(save, "Identity", name, &made, 1, name, &node));
        }
    }
    return CLQ_OK;
}

clq_status onnx_save_inputs(onnx_saver *save) {
    for (int i = 0; i < save->graph->input_count; i++) {
        const clq_value *input = &save->graph->values[save->graph->inputs[i]];
        const char **reads = &save->reads[save->graph->inputs[i]];
        const char *inputs[3];
        *reads = input->name;
        CLQ_TRY(clq_names_set(&save->values, input->name, 1));
        if (input->q.count > 0) {
            CLQ_TRY(save_rounding(save, input->name, &input->q, input->name, inputs, reads));
        }
    }
    return CLQ_OK;
}

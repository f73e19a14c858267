/* Quantized values and parameters as ONNX tensors and nodes. */
#include <string.h>

#include "formats/onnx/save.h"
#include "graph/codes.h"

#define TYPE(name) ONNX__TENSOR_PROTO__DATA_TYPE__##name

/* ---- quantized values ---- */

/* Scale and zero point of `q` as initializers named after `of`; they follow `x` in inputs[3]. */
clq_status onnx_save_qparams(onnx_saver *save, const char *of, const clq_qparams *q, const char *x,
                             const char *inputs[3]) {
    const clq_qtype_info *type = clq_qtype_get(q->type);
    int rank = q->count > 1 ? 1 : 0;
    size_t count = (size_t)q->count;
    size_t size = (size_t)clq_dtype_bytes(type->storage, q->count);
    char *name;
    void *zero_point;
    CLQ_TRY(clq_arena_take(&save->arena, size, 1, &zero_point));
    *(uint8_t *)zero_point = (uint8_t)q->zero_point; /* with several scales 0 */
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
                              const clq_qparams *q, int axis, const char *const inputs[3],
                              const char **output) {
    Onnx__NodeProto *node;
    char *name;
    const char *made;
    CLQ_TRY(clq_arena_format(&save->arena, &name, "%s/%s", of, op));
    CLQ_TRY(onnx_save_name(save, &save->values, name, &made));
    CLQ_TRY(onnx_save_node(save, op, name, inputs, 3, made, &node));
    *output = made; /* last: it may be inputs[0] */
    return q->count > 1 ? onnx_save_int(save, node, "axis", axis) : CLQ_OK;
}

/* An activation's qparams as the file has them: in bytes, of all codes. */
clq_qparams onnx_byte_qparams(const clq_qparams *q) {
    clq_qparams bytes = *q;
    bytes.type = clq_qtype_byte(q->type);
    return bytes;
}

/* inputs[3] of a Clip behind `x` to the codes that the type has; *needed: it has not all bytes. */
clq_status onnx_save_limits(onnx_saver *save, clq_qtype type, const char *x, const char *inputs[3],
                            bool *needed) {
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
clq_status onnx_save_rounding(onnx_saver *save, const char *of, const clq_qparams *q, const char *x,
                              const char *inputs[3], const char **output) {
    const clq_qparams bytes = onnx_byte_qparams(q);
    const char *clip[3];
    bool needed;
    CLQ_TRY(onnx_save_qparams(save, of, &bytes, x, inputs));
    CLQ_TRY(save_linear(save, "QuantizeLinear", of, q, 0, inputs, &inputs[0]));
    CLQ_TRY(onnx_save_limits(save, q->type, inputs[0], clip, &needed));
    if (needed) {
        CLQ_TRY(save_linear(save, "Clip", of, q, 0, clip, &inputs[0]));
    }
    return save_linear(save, "DequantizeLinear", of, q, 0, inputs, output);
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

/* Scales in the file's order: they follow the channels where these are in one row. Those of a
 * transposed convolution belong to axis 1, which its groups have in common; to axis 0 where a group
 * is one channel. */
static clq_status file_scales(onnx_saver *save, const clq_value *v, const clq_layout *layout,
                              clq_qparams *q, int *axis) {
    void *turned;
    const int64_t columns = q->count / layout->rows;
    *axis = layout->transposed;
    if (layout->transposed && columns == 1 && layout->channels == 1) {
        *axis = 0;
        return CLQ_OK;
    }
    for (int64_t i = columns; layout->transposed && q->count > 1 && i < q->count; i++) {
        if (q->scale[i] != q->scale[i % columns]) {
            return clq_fail(CLQ_USAGE,
                            "\"%s\": ONNX has no scales per channel of a transposed convolution "
                            "with %lld groups: quantize with one scale per tensor",
                            v->name, (long long)layout->rows);
        }
    }
    if (layout->transposed && q->count > 1) {
        q->count = columns;
    }
    if (layout->rows > 1 || layout->transposed || q->count <= 1) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_take(&save->arena, (size_t)q->count, sizeof *q->scale, &turned));
    clq_layout_to_file(layout, sizeof *q->scale, q->scale, turned);
    q->scale = turned;
    return CLQ_OK;
}

/* *name is what the operator reads: the initializer, or behind it DequantizeLinear. */
clq_status onnx_save_parameter(onnx_saver *save, int value, const char **name) {
    const clq_value *v = &save->graph->values[value];
    if (save->reads[value]) { /* shared by several nodes */
        *name = save->reads[value];
        return CLQ_OK;
    }
    int type = v->dtype == CLQ_F32 ? TYPE(FLOAT) : clq_qtype_get(v->q.type)->onnx_type;
    const clq_shape own = save->layouts[value].image ? clq_layout_as_image(&v->shape) : v->shape;
    clq_shape shape = clq_layout_file_shape(&save->layouts[value], &own);
    const void *data;
    const char *inputs[3];
    CLQ_TRY(file_data(save, value, &data));
    CLQ_TRY(onnx_save_tensor(save, v->name, type, shape.rank, shape.dim, data,
                             (size_t)clq_dtype_bytes(v->dtype, clq_shape_count(&shape)), name));
    int axis;
    if (v->q.count > 0) {
        CLQ_TRY(note_type(save, *name, v->q.type));
        clq_qparams q = v->q;
        CLQ_TRY(file_scales(save, v, &save->layouts[value], &q, &axis));
        CLQ_TRY(onnx_save_qparams(save, v->name, &q, *name, inputs));
        if (v->dtype == CLQ_F32) { /* quantized form: rounded on the way */
            CLQ_TRY(save_linear(save, "QuantizeLinear", v->name, &v->q, axis, inputs, &inputs[0]));
        }
        CLQ_TRY(save_linear(save, "DequantizeLinear", v->name, &v->q, axis, inputs, name));
    }
    save->reads[value] = *name;
    return CLQ_OK;
}

#include "graph/codes.h"

#include <string.h>

#include "kernels/include/scales.h"

void clq_pack_s4(const int8_t *codes, size_t count, uint8_t *packed) {
    memset(packed, 0, count / 2 + count % 2);
    for (size_t i = 0; i < count; i++) {
        packed[i / 2] |= (uint8_t)((codes[i] & 15) << (i % 2 * 4));
    }
}

void clq_unpack_s4(const uint8_t *packed, size_t count, int8_t *codes) {
    for (size_t i = 0; i < count; i++) {
        const int nibble = packed[i / 2] >> (i % 2 * 4) & 15;
        codes[i] = (int8_t)(nibble < 8 ? nibble : nibble - 16);
    }
}

clq_status clq_value_codes(const clq_value *value, int8_t **codes) {
    const size_t count = (size_t)clq_shape_count(&value->shape);
    if (!clq_is_code_storage(value->dtype)) {
        return clq_fail(CLQ_USAGE, "\"%s\" holds no codes of weights", value->name);
    }
    *codes = clq_realloc(NULL, count, 1);
    if (!*codes) {
        return CLQ_NO_MEMORY;
    }
    if (value->dtype == CLQ_S4) {
        clq_unpack_s4(value->data, count, *codes);
    } else {
        memcpy(*codes, value->data, count);
    }
    return CLQ_OK;
}

clq_status clq_value_borrow_codes(const clq_value *value, const int8_t **codes, int8_t **own) {
    *own = NULL;
    if (value->dtype != CLQ_S8) {
        CLQ_TRY(clq_value_codes(value, own));
    }
    *codes = *own ? *own : value->data;
    return CLQ_OK;
}

clq_status clq_value_set_codes(clq_value *value, clq_dtype dtype, int8_t *codes) {
    void *data = codes;
    if (dtype == CLQ_S4) {
        const int64_t count = clq_shape_count(&value->shape);
        data = clq_realloc(NULL, (size_t)clq_dtype_bytes(dtype, count), 1);
        if (data) {
            clq_pack_s4(codes, (size_t)count, data);
        }
        clq_free(codes);
    }
    if (!data) {
        return CLQ_NO_MEMORY;
    }
    clq_free(value->data);
    value->data = data;
    value->dtype = dtype;
    return CLQ_OK;
}

clq_status clq_value_reals(const clq_value *value, float *reals) {
    const int64_t count = clq_shape_count(&value->shape);
    const int64_t each = value->q.count > 0 ? count / value->q.count : count; /* of one scale */
    const clq_qtype_info *type = clq_qtype_get(value->q.type);
    const int32_t z = value->q.zero_point;
    const float lowest = (float)(type->lowest - z), highest = (float)(type->highest - z);
    const float *floats = value->data;
    int8_t *codes = NULL;
    if (value->dtype == CLQ_F32 && value->q.count == 0) {
        memcpy(reals, floats, (size_t)count * sizeof *reals);
        return CLQ_OK;
    }
    if (value->q.count == 0) {
        return clq_fail(CLQ_USAGE, "parameter \"%s\" is integer and has no scale", value->name);
    }
    if (clq_is_code_storage(value->dtype)) {
        CLQ_TRY(clq_value_codes(value, &codes));
    }
    for (int64_t i = 0; i < count; i++) {
        const float scale = value->q.scale[i / each];
        reals[i] = scale * (codes ? (float)(codes[i] - z)
                            : value->dtype == CLQ_S32
                                ? (float)((const int32_t *)value->data)[i]
                                : clq_quantize_code(floats[i], scale, 0, lowest, highest));
    }
    clq_free(codes);
    return CLQ_OK;
}

/* The table of quantization types: a new type is a row. */
#include <clquant/graph.h>

#include <string.h>

#include "base/arguments.h"

/* ONNX's numbers: 2 uint8, 3 int8, 5 int16, 6 int32, 22 int4. Other codes of few bits are kept one
 * a byte. 16-bit codes have no kernels: they are no bytes, and sums of their products with weights
 * of 8 bits are exact neither in floats nor, from 512 of them on, in int32. */
static const clq_qtype_info types[CLQ_QTYPE_COUNT] = {
    [CLQ_Q_U8] = {"u8", 8, false, 0, 255, CLQ_U8, 2},
    [CLQ_Q_U7] = {"u7", 7, false, 0, 127, CLQ_U8, 2},
    [CLQ_Q_U6] = {"u6", 6, false, 0, 63, CLQ_U8, 2},
    [CLQ_Q_U5] = {"u5", 5, false, 0, 31, CLQ_U8, 2},
    [CLQ_Q_U4] = {"u4", 4, false, 0, 15, CLQ_U8, 2},
    [CLQ_Q_U3] = {"u3", 3, false, 0, 7, CLQ_U8, 2},
    [CLQ_Q_U2] = {"u2", 2, false, 0, 3, CLQ_U8, 2},
    [CLQ_Q_S8] = {"s8", 8, true, -128, 127, CLQ_S8, 3},
    [CLQ_Q_S8_NARROW] = {"s8_narrow", 8, true, -127, 127, CLQ_S8, 3},
    [CLQ_Q_S7] = {"s7", 7, true, -64, 63, CLQ_S8, 3},
    [CLQ_Q_S6] = {"s6", 6, true, -32, 31, CLQ_S8, 3},
    [CLQ_Q_S5] = {"s5", 5, true, -16, 15, CLQ_S8, 3},
    [CLQ_Q_S4] = {"s4", 4, true, -8, 7, CLQ_S4, 22},
    [CLQ_Q_S3] = {"s3", 3, true, -4, 3, CLQ_S8, 3},
    [CLQ_Q_S2] = {"s2", 2, true, -2, 1, CLQ_S8, 3},
    [CLQ_Q_S16] = {"s16", 16, true, INT16_MIN, INT16_MAX, CLQ_S32, 5},
    [CLQ_Q_S32] = {"s32", 32, true, INT32_MIN, INT32_MAX, CLQ_S32, 6},
    [CLQ_Q_FLOAT] = {"float", 32, true, 0, 0, CLQ_F32, 1},
};

const clq_qtype_info *clq_qtype_get(clq_qtype type) {
    return type > CLQ_Q_NONE && type < CLQ_QTYPE_COUNT ? &types[type] : NULL;
}

bool clq_qtype_find(const char *name, clq_qtype *type) {
    CLQ_NEEDS_OR(false, name, type);
    for (int i = CLQ_Q_NONE + 1; i < CLQ_QTYPE_COUNT; i++) {
        if (strcmp(types[i].name, name) == 0) {
            *type = (clq_qtype)i;
            return true;
        }
    }
    return false;
}

bool clq_qtype_find_codes(bool is_signed, int32_t lowest, int32_t highest, clq_qtype *type) {
    CLQ_NEEDS_OR(false, type);
    for (int i = CLQ_Q_NONE + 1; i < CLQ_QTYPE_COUNT; i++) {
        if (types[i].is_signed == is_signed && types[i].lowest == lowest &&
            types[i].highest == highest) {
            *type = (clq_qtype)i;
            return true;
        }
    }
    return false;
}

clq_qtype clq_qtype_byte(clq_qtype type) {
    const clq_qtype_info *info = clq_qtype_get(type);
    return !info || info->bits > 8 ? CLQ_Q_NONE : info->is_signed ? CLQ_Q_S8 : CLQ_Q_U8;
}

bool clq_qtype_for_activations(clq_qtype type) {
    const clq_qtype_info *info = clq_qtype_get(type);
    return info && info->bits <= 8;
}

bool clq_qtype_for_weights(clq_qtype type) {
    const clq_qtype_info *info = clq_qtype_get(type);
    return info && info->bits <= 8 && info->is_signed;
}

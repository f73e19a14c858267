/* The table of quantization types: a new type is a row. */
#include <clquant/graph.h>

#include <string.h>

#include "base/arguments.h"

/* ONNX's numbers: 2 uint8, 3 int8, 6 int32, 22 int4. Other codes of few bits are kept one a byte.
 */
static const clq_qtype_info types[CLQ_QTYPE_COUNT] = {
    [CLQ_Q_U8] = {"u8", 8, false, 0, 255, CLQ_U8, 2},
    [CLQ_Q_S8] = {"s8", 8, true, -128, 127, CLQ_S8, 3},
    [CLQ_Q_S8_NARROW] = {"s8_narrow", 8, true, -127, 127, CLQ_S8, 3},
    [CLQ_Q_S7] = {"s7", 7, true, -64, 63, CLQ_S8, 3},
    [CLQ_Q_S6] = {"s6", 6, true, -32, 31, CLQ_S8, 3},
    [CLQ_Q_S5] = {"s5", 5, true, -16, 15, CLQ_S8, 3},
    [CLQ_Q_S4] = {"s4", 4, true, -8, 7, CLQ_S4, 22},
    [CLQ_Q_S3] = {"s3", 3, true, -4, 3, CLQ_S8, 3},
    [CLQ_Q_S2] = {"s2", 2, true, -2, 1, CLQ_S8, 3},
    [CLQ_Q_S32] = {"s32", 32, true, INT32_MIN, INT32_MAX, CLQ_S32, 6},
};

const clq_qtype_info *clq_qtype_get(clq_qtype type) {
    return (unsigned)type < CLQ_QTYPE_COUNT ? &types[type] : NULL;
}

bool clq_qtype_find(const char *name, clq_qtype *type) {
    CLQ_NEEDS_OR(false, name, type);
    for (int i = 0; i < CLQ_QTYPE_COUNT; i++) {
        if (strcmp(types[i].name, name) == 0) {
            *type = (clq_qtype)i;
            return true;
        }
    }
    return false;
}

#include "formats/onnx/operators.h"

#include <string.h>

#define ROWS(name) onnx_##name##_operators,
static const onnx_operator *const families[] = {FAMILIES(ROWS)};
#undef ROWS

static bool is_last(const onnx_operator *row) {
    return !row->name && !row->op;
}

const onnx_operator *onnx_find_operator(const char *name) {
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        for (const onnx_operator *row = families[i]; !is_last(row); row++) {
            if (row->name && (row->read || row->fold) && strcmp(row->name, name) == 0) {
                return row;
            }
        }
    }
    return NULL;
}

const onnx_operator *onnx_find_writer(const char *op) {
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        for (const onnx_operator *row = families[i]; !is_last(row); row++) {
            if (row->op && strcmp(row->op, op) == 0) {
                return row;
            }
        }
    }
    return NULL;
}

clq_status onnx_write_plain(onnx_chain *chain, const clq_node *node, const char **inputs,
                            size_t count) {
    Onnx__NodeProto *made;
    (void)node;
    onnx_save_plan(chain, chain->onnx, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, chain->onnx, inputs, count, &made));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

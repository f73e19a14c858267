#include "formats/onnx/operators.h"

#include <string.h>

#define ROWS(name) onnx_##name##_operators,
static const onnx_operator *const families[] = {FAMILIES(ROWS)};
#undef ROWS

static bool is_last(const onnx_operator *row) {
    return !row->name && !row->op;
}

typedef bool test(const onnx_operator *row, const char *name);

static const onnx_operator *find(test *fits, const char *name) {
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        for (const onnx_operator *row = families[i]; !is_last(row); row++) {
            if (fits(row, name)) {
                return row;
            }
        }
    }
    return NULL;
}

static bool reads(const onnx_operator *row, const char *name) {
    return row->read && strcmp(row->name, name) == 0;
}

static bool folds(const onnx_operator *row, const char *name) {
    return row->fold && strcmp(row->name, name) == 0;
}

static bool writes(const onnx_operator *row, const char *name) {
    return row->op && strcmp(row->op, name) == 0;
}

const onnx_operator *onnx_find_reader(const char *name) {
    return find(reads, name);
}

const onnx_operator *onnx_find_folder(const char *name) {
    return find(folds, name);
}

const onnx_operator *onnx_find_writer(const char *op) {
    return find(writes, op);
}

clq_status onnx_write_plain(onnx_chain *chain, const clq_node *node, const char **inputs,
                            size_t count) {
    Onnx__NodeProto *made;
    (void)node;
    onnx_save_plan(chain, chain->onnx, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, chain->onnx, inputs, count, &made));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

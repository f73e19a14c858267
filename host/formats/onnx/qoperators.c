#include "formats/onnx/qoperators.h"

#include <string.h>

const onnx_qoperator onnx_qoperators[] = {
    {"", "QLinearConv", "Conv", 0, 2, 6, false, 8, 0, true},
    {"", "QLinearMatMul", "MatMul", 0, 2, 6, false, 0, -1, true},
    {ONNX_MICROSOFT, "QGemm", "Gemm", 0, 2, 7, true, 6, 1, true},
    {ONNX_MICROSOFT, "QLinearAdd", "Add", 0, 2, 6, false, 0, 0, true},
    {ONNX_MICROSOFT, "QLinearMul", "Mul", 0, 2, 6, false, 0, 0, true},
    {ONNX_MICROSOFT, "QLinearSigmoid", "Sigmoid", 0, 1, 3, false, 0, 0, true},
    {ONNX_MICROSOFT, "QLinearLeakyRelu", "LeakyRelu", 0, 1, 3, false, 0, 0, true},
    {ONNX_MICROSOFT, "QLinearReduceMean", "ReduceMean", 0, 1, 3, false, 0, 0, false},
    {ONNX_MICROSOFT, "QLinearAveragePool", "AveragePool", 0, 1, 3, false, 0, 0, true},
    {ONNX_MICROSOFT, "QLinearGlobalAveragePool", "GlobalAveragePool", 0, 1, 3, false, 0, 0, true},
    {ONNX_MICROSOFT, "QLinearConcat", "Concat", 2, -1, 0, false, 0, 0, true},
    {0},
};

/* `anywhere`: ONNX Runtime takes codes of both signs. */
static const struct passing {
    const char *name;
    bool anywhere;
} passing[] = {
    {"MaxPool", true},  {"Reshape", true},        {"Flatten", true},       {"Transpose", true},
    {"Squeeze", true},  {"Unsqueeze", true},      {"Slice", true},         {"Split", true},
    {"Identity", true}, {"Expand", true},         {"Tile", true},          {"Concat", true},
    {"Resize", false},  {"GlobalMaxPool", false}, {"DepthToSpace", false}, {"SpaceToDepth", false}};

const char *onnx_domain_of(const Onnx__NodeProto *node) {
    return node->domain && strcmp(node->domain, "ai.onnx") != 0 ? node->domain : "";
}

const Onnx__AttributeProto *onnx_proto_attribute(const Onnx__NodeProto *node, const char *name) {
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (node->attribute[i]->name && strcmp(node->attribute[i]->name, name) == 0) {
            return node->attribute[i];
        }
    }
    return NULL;
}

static const struct passing *find_passing(const Onnx__NodeProto *node) {
    for (size_t i = 0; !onnx_domain_of(node)[0] && i < sizeof passing / sizeof passing[0]; i++) {
        if (strcmp(passing[i].name, node->op_type) == 0) {
            return &passing[i];
        }
    }
    return NULL;
}

bool onnx_passes_codes(const Onnx__NodeProto *node) {
    return find_passing(node) != NULL;
}

bool onnx_passes_codes_anywhere(const Onnx__NodeProto *node) {
    const struct passing *found = find_passing(node);
    return found && found->anywhere;
}

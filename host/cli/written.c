#include "cli/written.h"

enum { FORM = CLQ_KEY_LONG + 950, OPSET };

static clq_onnx_options given;

static clq_status take_form(const char *argument) {
    const char *names[CLQ_ONNX_FORM_COUNT];
    int form = 0;
    for (int i = 0; i < CLQ_ONNX_FORM_COUNT; i++) {
        names[i] = clq_onnx_form_name((clq_onnx_form)i);
    }
    CLQ_TRY(clq_option_enum("--onnx-form", argument, names, CLQ_ONNX_FORM_COUNT, &form));
    given.form = (clq_onnx_form)form;
    return CLQ_OK;
}

static error_t parse(int key, char *argument, struct argp_state *state) {
    switch (key) {
    case FORM:
        return clq_option_result(state, take_form(argument));
    case OPSET:
        return clq_option_result(state, clq_option_int("--opset", argument, CLQ_ONNX_OLDEST_OPSET,
                                                       CLQ_ONNX_NEWEST_OPSET, &given.opset));
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"onnx-form", FORM, "qdq|qoperator|qoperator-ort", 0,
     "How layers on codes are written: QuantizeLinear and DequantizeLinear around float operators "
     "(default); as QLinearConv and the like where ONNX has them; or with ONNX Runtime's own "
     "operators (com.microsoft) too",
     0},
    {"opset", OPSET, "N", 0,
     "Write this opset of ONNX, 13 to 21 (default: the oldest that has all that is needed)", 0},
    {0},
};
const struct argp clq_written_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

clq_status clq_written_save(const clq_graph *graph, const char *path) {
    return clq_onnx_save_as(graph, &given, path);
}

clq_status clq_written_save_float(const clq_graph *graph, const char *path) {
    const clq_onnx_options options = {.opset = given.opset};
    return clq_onnx_save_as(graph, &options, path);
}

/* The ONNX loader: any bytes give a valid graph or an error. A graph that loads must save, an
 * integer network in every form, and what was saved must load again. */
#include <clquant/formats.h>
#include <clquant/ops.h>

#include <stdio.h>

#include "fuzz.h"
#include "fuzz_seeds.h"

static void save_and_load(const clq_graph *graph, clq_onnx_form form) {
    const clq_onnx_options options = {.form = form};
    const char *path = fuzz_put("x.onnx", "", 0);
    clq_graph *again = NULL;
    fuzz_check(clq_onnx_save_as(graph, &options, path) == CLQ_OK, "saves");
    fuzz_check(clq_onnx_load(path, &again) == CLQ_OK, "loads again");
    clq_graph_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    clq_graph *graph = NULL;
    if (clq_onnx_load_memory(data, size, "fuzz", &graph) == CLQ_OK) {
        fuzz_check(clq_graph_validate(graph) == CLQ_OK, "valid");
        save_and_load(graph, CLQ_ONNX_QDQ);
        for (int form = CLQ_ONNX_QOPERATOR;
             clq_graph_form(graph) == CLQ_FORM_INTEGER && form < CLQ_ONNX_FORM_COUNT; form++) {
            save_and_load(graph, (clq_onnx_form)form);
        }
    }
    clq_graph_destroy(graph);
    return 0;
}

static void add_saved(const clq_graph *graph, clq_onnx_form form) {
    static uint8_t bytes[1 << 16];
    const clq_onnx_options options = {.form = form};
    const char *path = fuzz_put("seed.onnx", "", 0);
    fuzz_check(clq_onnx_save_as(graph, &options, path) == CLQ_OK, "saves a seed");
    FILE *file = fopen(path, "rb");
    fuzz_check(file != NULL, "opens the seed");
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    fuzz_check(size < sizeof bytes, "has room");
    fuzz_add(bytes, size);
}

/* The latest seed in QOperator form too. */
static void add_qoperators(void) {
    const fuzz_seed *seed = &fuzz_all_seeds[fuzz_seed_count - 1];
    clq_graph *graph = NULL;
    fuzz_check(clq_onnx_load_memory(seed->data, seed->size, "seed", &graph) == CLQ_OK, "loads");
    add_saved(graph, CLQ_ONNX_QOPERATOR_ORT);
    clq_graph_destroy(graph);
}

/* A file of functions, some of which are several nodes in it. */
static void add_functions(void) {
    static const char *const ops[] = {"silu",       "mish",         "gelu", "gelu_tanh",
                                      "hard_swish", "hard_sigmoid", "clip", "leaky_relu",
                                      "selu",       "erf"};
    static const float slopes[3] = {0.25f, -0.5f, 2};
    const clq_unary_attrs attrs = {0.25f, 0.5f};
    clq_graph *graph = NULL;
    int x[2];
    fuzz_check(clq_graph_create("functions", &graph) == CLQ_OK, "made");
    fuzz_check(clq_graph_add_input(graph, "x", (clq_shape){4, {1, 4, 4, 3}}, &x[0]) == CLQ_OK,
               "input");
    fuzz_check(clq_graph_add_parameter(graph, "slope", CLQ_VALUE_PARAMETER, CLQ_F32,
                                       (clq_shape){1, {3}}, slopes, &x[1]) == CLQ_OK,
               "parameter");
    fuzz_check(clq_graph_add_node(graph, "prelu", "prelu", NULL, x, 2, &x[0]) == CLQ_OK, "prelu");
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        fuzz_check(clq_graph_add_node(graph, ops[i], ops[i], &attrs, x, 1, &x[0]) == CLQ_OK,
                   ops[i]);
    }
    clq_graph_set_output(graph, x[0]);
    add_saved(graph, CLQ_ONNX_QDQ);
    clq_graph_destroy(graph);
}

void fuzz_seeds(void) {
    add_functions();
    fuzz_add_file("tests/formats/data/tiny_eval.onnx");
    fuzz_add_file("tests/formats/data/tiny_trained.onnx");
    fuzz_add_file("tests/formats/data/tiny_dynamo.onnx");
    fuzz_add_file("tests/formats/data/tiny_qdq.onnx");
    add_qoperators();
    fuzz_add_file("tests/formats/data/tiny_int4.onnx");
    fuzz_add_file("tests/formats/data/tiny_moves.onnx");
    fuzz_add_file("tests/formats/data/tiny_folds.onnx");
    fuzz_add_file("tests/formats/data/tiny_forms.onnx");
    fuzz_add_file("tests/formats/data/tiny_codes.onnx");
    fuzz_add_file("tests/formats/data/shortcut_a_eval.onnx");
    fuzz_add_file("tests/formats/data/shortcut_a_qdq.onnx");
    add_qoperators();
}

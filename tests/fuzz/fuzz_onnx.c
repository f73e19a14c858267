/* The ONNX loader: any bytes give a valid graph or an error. A graph that loads must save, and what
 * was saved must load again. */
#include <clquant/formats.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    clq_graph *graph = NULL, *again = NULL;
    if (clq_onnx_load_memory(data, size, "fuzz", &graph) == CLQ_OK) {
        const char *path = fuzz_put("x.onnx", "", 0);
        fuzz_check(clq_graph_validate(graph) == CLQ_OK, "valid");
        fuzz_check(clq_onnx_save(graph, path) == CLQ_OK, "saves");
        fuzz_check(clq_onnx_load(path, &again) == CLQ_OK, "loads again");
    }
    clq_graph_destroy(graph);
    clq_graph_destroy(again);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_add_file("tests/formats/data/tiny_eval.onnx");
    fuzz_add_file("tests/formats/data/tiny_trained.onnx");
    fuzz_add_file("tests/formats/data/tiny_dynamo.onnx");
    fuzz_add_file("tests/formats/data/tiny_qdq.onnx");
    fuzz_add_file("tests/formats/data/tiny_int4.onnx");
    fuzz_add_file("tests/formats/data/shortcut_a_eval.onnx");
    fuzz_add_file("tests/formats/data/shortcut_a_qdq.onnx");
}

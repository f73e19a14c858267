/* Fuzzes the ONNX loader: any bytes give a valid graph or an error. A graph that loads must save,
 * and what was saved must load again.
 *
 *     cmake -B build-fuzz -DCMAKE_C_COMPILER=clang -DCLQ_FUZZ=ON -DCLQ_SANITIZE=address,undefined
 *     build-fuzz/fuzz_onnx -max_len=20000 corpus tests/formats/data */
#include <clquant/formats.h>
#include <stdio.h>
#include <stdlib.h>

static void silent(void *context, clq_log_level level, const char *line) {
    (void)context;
    (void)level;
    (void)line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char path[] = "/tmp/clq-fuzz-XXXXXX";
    static bool ready;
    if (!ready) {
        clq_set_log(silent, NULL, CLQ_LOG_ERROR);
        ready = mkdtemp(path) != NULL;
    }
    clq_graph *graph = NULL, *again = NULL;
    if (clq_onnx_load_memory(data, size, "fuzz", &graph) == CLQ_OK) {
        char file[64];
        snprintf(file, sizeof file, "%s/x.onnx", path);
        if (clq_graph_validate(graph) != CLQ_OK || clq_onnx_save(graph, file) != CLQ_OK ||
            clq_onnx_load(file, &again) != CLQ_OK) {
            fprintf(stderr, "%s\n", clq_last_error());
            abort();
        }
    }
    clq_graph_destroy(graph);
    clq_graph_destroy(again);
    return 0;
}

/* AIMET's encodings and ncnn's tables: any bytes give scales that are finite and above 0, or an
 * error; a network takes them or refuses them, and is valid afterwards. */
#include <clquant/formats.h>
#include <clquant/ops.h>

#include "fuzz.h"

/* A convolution of two channels in two groups, with codes everywhere. */
static clq_graph *make(void) {
    static const float weights[2] = {0.5f, 0.25f}, one[2] = {1, 1};
    const clq_conv2d_attrs conv = {
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 2};
    clq_graph *graph = NULL;
    int x, w, y;
    fuzz_check(clq_graph_create("net", &graph) == CLQ_OK &&
                   clq_graph_add_input(graph, "x", (clq_shape){4, {1, 2, 2, 2}}, &x) == CLQ_OK &&
                   clq_graph_add_parameter(graph, "c.weight", CLQ_VALUE_PARAMETER, CLQ_F32,
                                           (clq_shape){4, {2, 1, 1, 1}}, weights, &w) == CLQ_OK &&
                   clq_graph_add_node(graph, "conv2d", "c", &conv, (int[]){x, w}, 2, &y) ==
                       CLQ_OK &&
                   clq_qparams_set(&graph->values[x].q, 1, one, 0, CLQ_Q_U8) == CLQ_OK &&
                   clq_qparams_set(&graph->values[w].q, 2, one, 0, CLQ_Q_S8) == CLQ_OK &&
                   clq_qparams_set(&graph->values[y].q, 1, one, 0, CLQ_Q_S8) == CLQ_OK,
               "the network is made");
    graph->folded = true;
    clq_graph_set_output(graph, y);
    return graph;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    clq_encodings *encodings = NULL;
    bool given[3] = {false};
    if (clq_encodings_load_memory(data, size, "fuzz", &encodings) != CLQ_OK) {
        return 0;
    }
    clq_graph *graph = make();
    if (clq_encodings_apply(encodings, graph, false, given) == CLQ_OK &&
        clq_encodings_apply(encodings, graph, true, given) == CLQ_OK) {
        fuzz_check(clq_graph_validate(graph) == CLQ_OK, "the network is valid");
    }
    clq_graph_destroy(graph);
    clq_encodings_destroy(encodings);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_add_text("c_param_0 127.5 64\n# text\nc 12.5e-1\nd_param_0 3\r\n");
    fuzz_add_text("{\"version\": \"0.6.1\", \"activation_encodings\": {\"x\": [{\"bitwidth\": 8, "
                  "\"dtype\": \"int\", \"is_symmetric\": \"False\", \"max\": 1.0, \"min\": -1.0, "
                  "\"offset\": -128, \"scale\": 0.5}]}, \"param_encodings\": {\"c.weight\": "
                  "[{\"bitwidth\": 4, \"offset\": -8, \"scale\": 0.25}, {\"bitwidth\": 4, "
                  "\"offset\": -8, \"scale\": 0.125}]}}");
    fuzz_add_text(
        "{\"version\": \"1.0.0\", \"activation_encodings\": [{\"name\": \"c\", \"bw\": 8, "
        "\"dtype\": \"INT\", \"enc_type\": \"PER_TENSOR\", \"is_sym\": true, \"offset\": "
        "[-127], \"scale\": [0.5]}], \"param_encodings\": [{\"name\": \"c.weight\", "
        "\"bw\": 8, \"offset\": [-128, -128], \"scale\": [1e-3, 2]}, {\"name\": \"f\", "
        "\"dtype\": \"FLOAT\", \"bw\": 16}]}");
}

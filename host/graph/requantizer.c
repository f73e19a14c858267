/* The requantizer: metadata of the graph, so that copies and files keep it. */
#include <math.h>
#include <string.h>

#include "base/arguments.h"
#include "graph/node.h"

const char *const clq_requantizer_names[CLQ_REQUANT_COUNT] = {"float", "fixed", "shift"};

const char *clq_requantizer_name(clq_requantizer requantizer) {
    return (unsigned)requantizer < CLQ_REQUANT_COUNT ? clq_requantizer_names[requantizer] : NULL;
}

/* CLQ_REQUANT_COUNT for a word that is none of them. */
static clq_requantizer read_requantizer(const clq_graph *graph) {
    const char *text = clq_graph_get_metadata(graph, CLQ_META_REQUANTIZER);
    int found = 0;
    while (text && found < CLQ_REQUANT_COUNT && strcmp(text, clq_requantizer_names[found]) != 0) {
        found++;
    }
    return (clq_requantizer)found;
}

clq_requantizer clq_graph_requantizer(const clq_graph *graph) {
    CLQ_NEEDS_OR(CLQ_REQUANT_FLOAT, graph);
    const clq_requantizer requantizer = read_requantizer(graph);
    return requantizer < CLQ_REQUANT_COUNT ? requantizer : CLQ_REQUANT_FLOAT;
}

clq_status clq_graph_set_requantizer(clq_graph *graph, clq_requantizer requantizer) {
    CLQ_NEEDS(graph);
    const char *name = clq_requantizer_name(requantizer);
    if (!name) {
        return clq_fail(CLQ_USAGE, "unknown requantizer %d", (int)requantizer);
    }
    if (requantizer == CLQ_REQUANT_FLOAT && !clq_graph_get_metadata(graph, CLQ_META_REQUANTIZER)) {
        return CLQ_OK; /* what a graph that says nothing has */
    }
    return clq_graph_set_metadata(graph, CLQ_META_REQUANTIZER, name);
}

static clq_status check_pow2(const clq_value *value) {
    for (int64_t i = 0; i < value->q.count; i++) {
        int exponent = 0;
        if (frexpf(value->q.scale[i], &exponent) != 0.5f) {
            return clq_fail(CLQ_BAD_DATA,
                            "\"%s\": scale %lld is %.9g, and the requantizer shift needs powers of "
                            "two",
                            value->name, (long long)i, (double)value->q.scale[i]);
        }
    }
    return CLQ_OK;
}

clq_status clq_graph_check_requantizer(const clq_graph *graph) {
    const clq_requantizer requantizer = read_requantizer(graph);
    if (requantizer == CLQ_REQUANT_COUNT) {
        return clq_fail(CLQ_BAD_DATA,
                        "metadata " CLQ_META_REQUANTIZER " is \"%.40s\": must be "
                        "float, fixed or shift",
                        clq_graph_get_metadata(graph, CLQ_META_REQUANTIZER));
    }
    for (int v = 0; requantizer == CLQ_REQUANT_SHIFT && v < graph->value_count; v++) {
        CLQ_TRY(check_pow2(&graph->values[v]));
    }
    return CLQ_OK;
}

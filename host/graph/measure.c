/* What a graph is and what it costs. */
#include <clquant/graph.h>

#include "base/arguments.h"
#include "base/checked.h"
#include "graph/node.h"

clq_form clq_graph_form(const clq_graph *graph) {
    CLQ_NEEDS_OR((clq_form){0}, graph);
    clq_form form = CLQ_FORM_FLOAT;
    for (int i = 0; i < graph->value_count; i++) {
        const clq_value *value = &graph->values[i];
        if (value->q.count > 0 && clq_is_constant(value) && value->dtype == CLQ_F32) {
            return CLQ_FORM_QUANTIZED;
        }
        if (value->q.count > 0) {
            form = CLQ_FORM_INTEGER;
        }
    }
    return form;
}

const char *clq_graph_form_name(const clq_graph *graph) {
    switch (clq_graph_form(graph)) {
    case CLQ_FORM_INTEGER:
        return "integer";
    case CLQ_FORM_QUANTIZED:
        return "quantized";
    default:
        return graph->folded ? "folded" : "trained";
    }
}

static int64_t add_saturating(int64_t a, int64_t b) {
    int64_t sum;
    return clq_add_i64(a, b, &sum) ? sum : INT64_MAX;
}

clq_graph_size clq_graph_measure(const clq_graph *graph) {
    CLQ_NEEDS_OR((clq_graph_size){0}, graph);
    clq_graph_size size = {0};
    for (int i = 0; i < graph->value_count; i++) {
        const clq_value *value = &graph->values[i];
        if (value->kind == CLQ_VALUE_PARAMETER) {
            int64_t count = clq_shape_count(&value->shape);
            size.parameters = add_saturating(size.parameters, count);
            size.bytes = add_saturating(size.bytes, clq_dtype_bytes(value->dtype, count));
        }
    }
    for (int i = 0; i < graph->node_count; i++) {
        const clq_node *node = &graph->nodes[i];
        if (node->op->macs) {
            size.macs = add_saturating(size.macs, node->op->macs(graph, node));
        }
    }
    return size;
}

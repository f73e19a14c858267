#include "bench/fp32_form.h"

#include <clquant/ops.h>

static bool same_inputs(const clq_graph *a, const clq_graph *b) {
    bool same = a->input_count == b->input_count;
    for (int i = 0; same && i < a->input_count; i++) {
        same = clq_shape_equal(&a->values[a->inputs[i]].shape, &b->values[b->inputs[i]].shape);
    }
    return same;
}

bool clq_bench_is_fp32_form(const clq_graph *fp32, const clq_graph *integer) {
    enum { WEIGHTS = 1 }; /* among the inputs of conv2d and linear */
    if (clq_graph_form(fp32) != CLQ_FORM_FLOAT || clq_graph_form(integer) != CLQ_FORM_INTEGER ||
        !same_inputs(fp32, integer)) {
        return false;
    }
    for (int n = 0; n < integer->node_count; n++) {
        const clq_node *node = &integer->nodes[n];
        const int other = clq_graph_find_node(fp32, node->name);
        if (!node->op->macs) {
            continue;
        }
        if (other < 0 || fp32->nodes[other].op != node->op ||
            !clq_shape_equal(&fp32->values[fp32->nodes[other].inputs[WEIGHTS]].shape,
                             &integer->values[node->inputs[WEIGHTS]].shape)) {
            return false;
        }
    }
    return true;
}

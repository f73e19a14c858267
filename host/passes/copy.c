#include "passes/copy.h"

#include "graph/node.h"

#include <string.h>

clq_status clq_copy_begin(const clq_graph *old, clq_graph_copy *copy) {
    clq_status status = CLQ_OK;
    *copy = (clq_graph_copy){.old = old};
    copy->map = clq_calloc((size_t)old->value_count, sizeof *copy->map);
    if (!copy->map) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < old->value_count; i++) {
        copy->map[i] = CLQ_NO_VALUE;
    }
    CLQ_GOTO(status, failed, clq_graph_create_like(old, &copy->new));
    for (int i = 0; i < old->input_count; i++) {
        const clq_value *input = &old->values[old->inputs[i]];
        CLQ_GOTO(
            status, failed,
            clq_graph_add_input(copy->new, input->name, input->shape, &copy->map[old->inputs[i]]));
        CLQ_GOTO(status, failed,
                 clq_copy_file_name(copy, old->inputs[i], copy->map[old->inputs[i]]));
    }
    memcpy(copy->new->input_axes, old->input_axes, sizeof old->input_axes);
    for (int i = 0; i < old->metadata_count; i++) {
        CLQ_GOTO(status, failed,
                 clq_graph_set_metadata(copy->new, old->metadata[i].key, old->metadata[i].value));
    }
    return CLQ_OK;
failed:
    clq_copy_abandon(copy);
    return status;
}

clq_graph *clq_copy_end(clq_graph_copy *copy) {
    clq_graph *graph = copy->new;
    copy->new = NULL;
    clq_copy_abandon(copy);
    return graph;
}

void clq_copy_abandon(clq_graph_copy *copy) {
    clq_graph_destroy(copy->new);
    clq_free(copy->map);
    copy->new = NULL;
    copy->map = NULL;
}

clq_status clq_copy_value(clq_graph_copy *copy, int old, int *new) {
    if (old == CLQ_NO_VALUE) {
        *new = CLQ_NO_VALUE;
        return CLQ_OK;
    }
    if (copy->map[old] == CLQ_NO_VALUE) {
        const clq_value *value = &copy->old->values[old];
        CLQ_TRY(clq_graph_add_parameter(copy->new, value->name, value->kind, value->dtype,
                                        value->shape, value->data, &copy->map[old]));
        copy->new->values[copy->map[old]].frozen = value->frozen;
        CLQ_TRY(clq_copy_file_name(copy, old, copy->map[old]));
    }
    *new = copy->map[old];
    return CLQ_OK;
}

clq_status clq_copy_node_with(clq_graph_copy *copy, const clq_node *node, const int *inputs) {
    CLQ_TRY(clq_graph_add_node(copy->new, node->op->name, node->name, node->attrs, inputs,
                               node->input_count, &copy->map[node->output]));
    return clq_copy_file_name(copy, node->output, copy->map[node->output]);
}

clq_status clq_copy_file_name(clq_graph_copy *copy, int old, int new) {
    const clq_value *from = &copy->old->values[old];
    clq_value *to = &copy->new->values[new];
    const char *name = clq_value_file_name(from);
    return clq_value_set_file_name(to, strcmp(name, to->name) == 0 ? NULL : name);
}

clq_status clq_copy_node(clq_graph_copy *copy, const clq_node *node) {
    int inputs[CLQ_MAX_INPUTS];
    for (int k = 0; k < node->input_count; k++) {
        CLQ_TRY(clq_copy_value(copy, node->inputs[k], &inputs[k]));
    }
    return clq_copy_node_with(copy, node, inputs);
}

clq_status clq_copy_qparams(clq_graph_copy *copy, int old, int new) {
    const clq_qparams *q = &copy->old->values[old].q;
    return q->count == 0 ? CLQ_OK
                         : clq_qparams_set(&copy->new->values[new].q, q->count, q->scale,
                                           q->zero_point, q->type);
}

clq_status clq_copy_outputs(clq_graph_copy *copy) {
    for (int i = 0; i < copy->old->output_count; i++) {
        const clq_graph_end *output = &copy->old->outputs[i];
        CLQ_TRY(clq_graph_add_output_like(copy->new, output, copy->map[output->value]));
    }
    return CLQ_OK;
}

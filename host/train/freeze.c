#include "train/freeze.h"

#include <string.h>

#include "base/log.h"
#include "base/text.h"

static bool begins_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int mark(clq_graph *graph, const char *prefix) {
    int marked = 0;
    for (int v = 0; v < graph->value_count; v++) {
        clq_value *value = &graph->values[v];
        if (value->kind == CLQ_VALUE_PARAMETER && begins_with(value->name, prefix)) {
            value->frozen = true;
            marked++;
        }
    }
    return marked;
}

/* How many of a node's parameters there are, and how many of them are frozen. */
static int count_parameters(const clq_graph *graph, const clq_node *node, int *frozen) {
    int count = 0;
    *frozen = 0;
    for (int i = 0; i < node->input_count; i++) {
        const clq_value *value = node->inputs[i] < 0 ? NULL : &graph->values[node->inputs[i]];
        if (value && value->kind == CLQ_VALUE_PARAMETER) {
            count++;
            *frozen += value->frozen;
        }
    }
    return count;
}

static clq_status fail_unknown(const clq_graph *graph, const char *prefix) {
    clq_text layers = {0};
    int frozen;
    for (int n = 0; n < graph->node_count; n++) {
        if (count_parameters(graph, &graph->nodes[n], &frozen) > 0) {
            clq_text_printf(&layers, "%s%s", layers.size ? ", " : "", graph->nodes[n].name);
        }
    }
    CLQ_TRY(clq_text_status(&layers));
    const clq_status status =
        clq_fail(CLQ_USAGE, "freeze: no parameter begins with \"%s\"; the layers are %s", prefix,
                 layers.data ? layers.data : "none");
    clq_text_free(&layers);
    return status;
}

/* Freezes all parameters of a node; whether one was not frozen yet. */
static bool freeze_node(clq_graph *graph, const clq_node *node) {
    bool changed = false;
    for (int i = 0; i < node->input_count; i++) {
        clq_value *value = node->inputs[i] < 0 ? NULL : &graph->values[node->inputs[i]];
        if (value && value->kind == CLQ_VALUE_PARAMETER && !value->frozen) {
            value->frozen = changed = true;
        }
    }
    return changed;
}

static int count_readers(const clq_graph *graph, int value) {
    int readers = 0;
    for (int n = 0; n < graph->node_count; n++) {
        for (int i = 0; i < graph->nodes[n].input_count; i++) {
            readers += graph->nodes[n].inputs[i] == value;
        }
    }
    return readers;
}

/* What several nodes read has room for one gradient only: it stays as it is, and so does what else
 * these nodes read. */
static void freeze_shared(clq_graph *graph) {
    int shared = 0, frozen;
    const char *first = "";
    for (int v = 0; v < graph->value_count; v++) {
        clq_value *value = &graph->values[v];
        if (value->kind == CLQ_VALUE_PARAMETER && !value->frozen && count_readers(graph, v) > 1) {
            value->frozen = true;
            first = shared++ ? first : value->name;
        }
    }
    for (bool changed = shared > 0; changed;) {
        changed = false;
        for (int n = 0; n < graph->node_count; n++) {
            if (count_parameters(graph, &graph->nodes[n], &frozen) > frozen && frozen > 0) {
                changed |= freeze_node(graph, &graph->nodes[n]);
            }
        }
    }
    if (shared > 0) {
        clq_log_info("%d parameter%s read by several nodes, %s%s, stay%s as before", shared,
                     clq_plural(shared), first, shared > 1 ? " first" : "", shared > 1 ? "" : "s");
    }
}

clq_status clq_freeze(clq_graph *graph, const char *const *prefixes, int count) {
    int all = 0, all_frozen = 0;
    for (int v = 0; v < graph->value_count; v++) {
        graph->values[v].frozen = false;
    }
    for (int i = 0; i < count; i++) {
        if (mark(graph, prefixes[i]) == 0) {
            return fail_unknown(graph, prefixes[i]);
        }
    }
    for (int n = 0; n < graph->node_count; n++) {
        int frozen;
        const int parameters = count_parameters(graph, &graph->nodes[n], &frozen);
        if (frozen > 0 && frozen < parameters) {
            return clq_fail(CLQ_USAGE, "freeze: only %d of the %d parameters of %s would be frozen",
                            frozen, parameters, graph->nodes[n].name);
        }
        all += parameters;
        all_frozen += frozen;
    }
    if (count > 0 && all_frozen == all) {
        return clq_fail(CLQ_USAGE, "freeze: nothing is left to learn");
    }
    freeze_shared(graph);
    return CLQ_OK;
}

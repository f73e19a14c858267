#include "passes/part.h"

#include "graph/node.h"
#include "passes/copy.h"

typedef struct parting {
    clq_graph_copy copy;
    int from, to;
    bool *needed; /* (value_count) */
} parting;

static void mark_needed(parting *p) {
    const clq_graph *graph = p->copy.old;
    p->needed[p->to] = true;
    for (int n = graph->node_count - 1; n >= 0; n--) {
        const clq_node *node = &graph->nodes[n];
        for (int k = 0; k < node->input_count; k++) {
            if (p->needed[node->output] && node->output != p->from &&
                node->inputs[k] != CLQ_NO_VALUE) {
                p->needed[node->inputs[k]] = true;
            }
        }
    }
}

static clq_status add_input(parting *p, int value) {
    const clq_value *old = &p->copy.old->values[value];
    CLQ_TRY(clq_graph_add_input(p->copy.new, old->name, old->shape, &p->copy.map[value]));
    for (int i = 0; i < p->copy.old->input_count; i++) {
        if (p->copy.old->inputs[i] == value) {
            p->copy.new->input_axes[p->copy.new->input_count - 1] = p->copy.old->input_axes[i];
        }
    }
    return clq_copy_qparams(&p->copy, value, p->copy.map[value]);
}

static clq_status add_node(parting *p, const clq_node *node) {
    int inputs[CLQ_MAX_INPUTS];
    for (int k = 0; k < node->input_count; k++) {
        const int in = node->inputs[k];
        const bool copied = in == CLQ_NO_VALUE || p->copy.map[in] != CLQ_NO_VALUE;
        if (!copied && !clq_is_constant(&p->copy.old->values[in])) {
            return clq_fail(CLQ_USAGE, "\"%s\" does not follow from \"%s\" alone",
                            p->copy.old->values[p->to].name, p->copy.old->values[p->from].name);
        }
        CLQ_TRY(clq_copy_value(&p->copy, in, &inputs[k]));
        CLQ_TRY(copied ? CLQ_OK : clq_copy_qparams(&p->copy, in, inputs[k]));
    }
    CLQ_TRY(clq_copy_node_with(&p->copy, node, inputs));
    return clq_copy_qparams(&p->copy, node->output, p->copy.map[node->output]);
}

static clq_status make_part(parting *p) {
    const clq_graph *old = p->copy.old;
    CLQ_TRY(clq_graph_create_like(old, &p->copy.new));
    for (int v = 0; v < old->value_count; v++) {
        p->copy.map[v] = CLQ_NO_VALUE;
    }
    for (int i = 0; i < old->input_count && p->from == CLQ_NO_VALUE; i++) {
        CLQ_TRY(add_input(p, old->inputs[i]));
    }
    if (p->from != CLQ_NO_VALUE) {
        CLQ_TRY(add_input(p, p->from));
    }
    mark_needed(p);
    for (int n = 0; n < old->node_count; n++) {
        const int output = old->nodes[n].output;
        if (p->needed[output] && output != p->from) {
            CLQ_TRY(add_node(p, &old->nodes[n]));
        }
    }
    p->copy.new->folded = old->folded;
    return clq_graph_add_output(p->copy.new, NULL, p->copy.map[p->to]);
}

clq_status clq_graph_part(const clq_graph *graph, int from, int to, clq_graph **part) {
    const size_t values = (size_t)graph->value_count;
    parting p = {.copy = {.old = graph}, .from = from, .to = to};
    clq_status status = CLQ_NO_MEMORY;
    p.copy.map = clq_calloc(values, sizeof *p.copy.map);
    p.needed = clq_calloc(values, sizeof *p.needed);
    if (p.copy.map && p.needed) {
        status = make_part(&p);
    }
    if (status == CLQ_OK) {
        *part = clq_copy_end(&p.copy);
    }
    clq_copy_abandon(&p.copy);
    clq_free(p.needed);
    return status;
}

/* ---- cuts ---- */

/* The last node that reads a value; -1: none. */
static int last_reader(const clq_graph *graph, int value) {
    for (int n = graph->node_count - 1; n >= 0; n--) {
        for (int k = 0; k < graph->nodes[n].input_count; k++) {
            if (graph->nodes[n].inputs[k] == value) {
                return n;
            }
        }
    }
    return -1;
}

int clq_graph_cut_before(const clq_graph *graph, int n) {
    int cut = CLQ_NO_VALUE, crossing = -1; /* the last reader of what was made so far */
    for (int i = 0; i < graph->input_count; i++) {
        const int reader = last_reader(graph, graph->inputs[i]);
        crossing = reader > crossing ? reader : crossing;
    }
    for (int i = 0; i < n; i++) {
        const int output = graph->nodes[i].output, reader = last_reader(graph, output);
        if (crossing <= i && reader > i) {
            cut = output;
        }
        crossing = reader > crossing ? reader : crossing;
    }
    return cut;
}

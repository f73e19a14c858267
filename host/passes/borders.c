#include "passes/borders.h"

#include "base/text.h"
#include "graph/node.h"
#include "passes/copy.h"

typedef struct bordering {
    clq_graph_copy copy;
    const clq_borders *borders;
    int *codes, *reals; /* (old value_count): the value's other form; CLQ_NO_VALUE: not made yet */
} bordering;

static bool is_taken(const clq_graph *graph, const char *name) {
    return clq_graph_find_node(graph, name) >= 0 || clq_graph_find_value(graph, name) >= 0;
}

/* Adds `op`, called "VALUE.op", that reads the new value `x`. */
static clq_status add_border(bordering *b, const char *op, const char *value, int x, int *y) {
    char *name = clq_format("%s.%s", value, op);
    for (int i = 2; name && (is_taken(b->copy.old, name) || is_taken(b->copy.new, name)); i++) {
        clq_free(name);
        name = clq_format("%s.%s_%d", value, op, i);
    }
    const clq_status status =
        name ? clq_graph_add_node(b->copy.new, op, name, NULL, &x, 1, y) : CLQ_NO_MEMORY;
    clq_free(name);
    return status;
}

/* The new value that holds an old activation's codes. */
static clq_status codes_of(bordering *b, int old, int *new) {
    if (!b->borders->real[old]) {
        *new = b->copy.map[old];
        return CLQ_OK;
    }
    if (b->codes[old] == CLQ_NO_VALUE) {
        CLQ_TRY(add_border(b, "quantize", b->copy.old->values[old].name, b->copy.map[old],
                           &b->codes[old]));
        CLQ_TRY(clq_copy_qparams(&b->copy, old, b->codes[old]));
    }
    *new = b->codes[old];
    return CLQ_OK;
}

/* The new value that holds an old activation's reals; `rounded`: those that its codes stand for. */
static clq_status reals_of(bordering *b, int old, bool rounded, int *new) {
    int codes;
    if (b->borders->real[old] && !rounded) {
        *new = b->copy.map[old];
        return CLQ_OK;
    }
    if (b->reals[old] == CLQ_NO_VALUE) {
        CLQ_TRY(codes_of(b, old, &codes));
        CLQ_TRY(add_border(b, "dequantize", b->copy.old->values[old].name, codes, &b->reals[old]));
    }
    *new = b->reals[old];
    return CLQ_OK;
}

static clq_status border_node(bordering *b, int n) {
    const clq_borders *borders = b->borders;
    const clq_node *node = &b->copy.old->nodes[n];
    int inputs[CLQ_MAX_INPUTS];
    for (int k = 0; k < node->input_count; k++) {
        const int old = node->inputs[k];
        const bool rounded =
            borders->reads && borders->reads[n * CLQ_MAX_INPUTS + k] == CLQ_READ_ROUNDED;
        if (old == CLQ_NO_VALUE || clq_is_constant(&b->copy.old->values[old])) {
            CLQ_TRY(clq_copy_value(&b->copy, old, &inputs[k]));
            if (old != CLQ_NO_VALUE) {
                CLQ_TRY(clq_copy_qparams(&b->copy, old, inputs[k]));
            }
        } else if (borders->on_codes[n]) {
            CLQ_TRY(codes_of(b, old, &inputs[k]));
        } else {
            CLQ_TRY(reals_of(b, old, rounded, &inputs[k]));
        }
    }
    CLQ_TRY(clq_copy_node_with(&b->copy, node, inputs));
    return borders->real[node->output]
               ? CLQ_OK
               : clq_copy_qparams(&b->copy, node->output, b->copy.map[node->output]);
}

static clq_status border_graph(bordering *b) {
    const clq_graph *old = b->copy.old;
    for (int v = 0; v < old->value_count; v++) {
        b->codes[v] = b->reals[v] = CLQ_NO_VALUE;
    }
    for (int i = 0; i < old->input_count; i++) {
        if (!b->borders->real[old->inputs[i]]) {
            CLQ_TRY(clq_copy_qparams(&b->copy, old->inputs[i], b->copy.map[old->inputs[i]]));
        }
    }
    for (int n = 0; n < old->node_count; n++) {
        CLQ_TRY(border_node(b, n));
    }
    for (int i = 0; i < old->output_count; i++) {
        const bool rounded =
            b->borders->output_reads && b->borders->output_reads[i] == CLQ_READ_ROUNDED;
        int value = b->copy.map[old->outputs[i].value];
        if (rounded) { /* the executor dequantizes by itself */
            CLQ_TRY(codes_of(b, old->outputs[i].value, &value));
        }
        CLQ_TRY(clq_graph_add_output_like(b->copy.new, &old->outputs[i], value));
    }
    b->copy.new->folded = old->folded;
    return CLQ_OK;
}

clq_status clq_insert_borders(const clq_graph *graph, const clq_borders *borders,
                              clq_graph **typed) {
    bordering b = {.borders = borders};
    clq_status status = CLQ_NO_MEMORY;
    b.codes = clq_calloc((size_t)graph->value_count, sizeof *b.codes);
    b.reals = clq_calloc((size_t)graph->value_count, sizeof *b.reals);
    if (!b.codes || !b.reals) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_copy_begin(graph, &b.copy));
    CLQ_GOTO(status, cleanup, border_graph(&b));
    *typed = clq_copy_end(&b.copy);
cleanup:
    clq_copy_abandon(&b.copy);
    clq_free(b.codes);
    clq_free(b.reals);
    return status;
}

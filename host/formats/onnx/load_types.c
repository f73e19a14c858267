/* Quantized models, when all nodes stand: which nodes work on codes.
 *
 * A value has one QuantizeLinear's qparams, and its readers take it with that rounding or without.
 * A node works on codes where all that it reads and makes is rounded, a convolution or linear layer
 * also where its weights are quantized and its output is not. Between nodes on codes and those on
 * reals stand quantize and dequantize nodes. */
#include "formats/onnx/load.h"

#include <string.h>

#include "graph/codes.h"
#include "graph/node.h"
#include "ops/binary.h"
#include "ops/layer.h"
#include "passes/borders.h"

/* ---- who reads what how ---- */

clq_status onnx_note_read(onnx_loader *load, const onnx_operand *operand) {
    if (load->read_count == load->read_capacity) {
        const int capacity = load->read_capacity ? 2 * load->read_capacity : 64;
        onnx_read *grown = clq_realloc(load->reads, (size_t)capacity, sizeof *grown);
        if (!grown) {
            return CLQ_NO_MEMORY;
        }
        load->reads = grown;
        load->read_capacity = capacity;
    }
    load->reads[load->read_count++] = (onnx_read){.value = operand->value,
                                                  .first = load->graph->node_count,
                                                  .end = -1,
                                                  .rounded = operand->dequantized};
    return CLQ_OK;
}

clq_status onnx_end_reads(onnx_loader *load, const onnx_node *node) {
    const int last = load->read_count;
    for (int i = last - 1; i >= 0 && load->reads[i].end < 0; i--) {
        load->reads[i].end = load->graph->node_count;
        for (int k = i + 1; k < last; k++) {
            if (load->reads[k].value == load->reads[i].value &&
                load->reads[k].rounded != load->reads[i].rounded) {
                return onnx_fail(node, "reads \"%.200s\" both rounded and not",
                                 load->graph->values[load->reads[i].value].name);
            }
        }
    }
    return CLQ_OK;
}

bool onnx_is_real_node(const onnx_loader *load, const char *name) {
    size_t i;
    json_t *stated;
    json_array_foreach(load->real_nodes, i, stated) {
        if (json_is_string(stated) && strcmp(json_string_value(stated), name) == 0) {
            return true;
        }
    }
    return false;
}

typedef struct typing {
    onnx_loader *load;
    clq_graph *graph;
    bool *on_codes;       /* (node_count) */
    bool *real;           /* (value_count) */
    bool *unrounded;      /* (value_count): somebody reads it without rounding it */
    bool *derived;        /* (value_count): its codes are another value's, so that rounding changes
                             nothing */
    bool *wanted;         /* (value_count): by somebody as codes */
    unsigned char *reads; /* (node_count, CLQ_MAX_INPUTS) clq_read */
    unsigned char output_reads[CLQ_MAX_ENDS];
} typing;

static void find_reads(typing *t) {
    for (int i = 0; i < t->load->read_count; i++) {
        const onnx_read *read = &t->load->reads[i];
        for (int n = read->first; n < read->end; n++) {
            const clq_node *node = &t->graph->nodes[n];
            for (int k = 0; k < node->input_count; k++) {
                if (node->inputs[k] != read->value) {
                    continue;
                }
                t->reads[n * CLQ_MAX_INPUTS + k] =
                    read->rounded ? CLQ_READ_ROUNDED : CLQ_READ_AS_IS;
                t->unrounded[read->value] |= !read->rounded;
            }
        }
    }
    for (int i = 0; i < t->graph->output_count; i++) {
        const bool rounded = t->load->output_rounded[i];
        t->output_reads[i] = rounded ? CLQ_READ_ROUNDED : CLQ_READ_AS_IS;
        t->unrounded[t->graph->outputs[i].value] |= !rounded;
    }
}

/* ---- codes that several values share ---- */

static clq_status copy_qparams(typing *t, int from, int to, bool *changed) {
    const clq_qparams *q = &t->graph->values[from].q;
    if (q->count == 0 || t->graph->values[to].q.count > 0) {
        return CLQ_OK;
    }
    *changed = true;
    t->derived[to] = true;
    return clq_qparams_set(&t->graph->values[to].q, q->count, q->scale, q->zero_point, q->type);
}

static bool keeps_codes(const typing *t, const clq_node *node) {
    return (node->op->output_shares_qparams || node->op == &clq_op_shortcut_a) &&
           !onnx_is_real_node(t->load, node->name);
}

/* Which values somebody can use as codes: nodes that have qparams behind or in them. */
static void find_wanted(typing *t) {
    const clq_graph *graph = t->graph;
    for (int i = 0; i < graph->output_count; i++) {
        t->wanted[graph->outputs[i].value] = true;
    }
    for (int n = graph->node_count - 1; n >= 0; n--) {
        const clq_node *node = &graph->nodes[n];
        const bool wants =
            graph->values[node->output].q.count > 0 ||
            (keeps_codes(t, node) && t->wanted[node->output]) ||
            (clq_is_layer(node) && graph->values[node->inputs[CLQ_LAYER_W]].q.count > 0);
        for (int k = 0; wants && k < node->input_count; k++) {
            if (node->inputs[k] != CLQ_NO_VALUE) {
                t->wanted[node->inputs[k]] = true;
            }
        }
    }
}

/* Codes behind max_pool, flatten and relu mean what they mean before it, so qparams on one side
 * hold on the other, if nobody else reads the one before; a zero-padded shortcut may keep its
 * input's. */
static clq_status share_qparams(typing *t) {
    clq_graph *graph = t->graph;
    bool changed = true;
    while (changed) {
        changed = false;
        for (int i = graph->node_count - 1; i >= 0; i--) {
            const clq_node *node = &graph->nodes[i];
            if (node->op->output_shares_qparams && keeps_codes(t, node) &&
                clq_graph_use_count(graph, node->inputs[0]) == 1) {
                CLQ_TRY(copy_qparams(t, node->output, node->inputs[0], &changed));
            }
        }
        for (int i = 0; i < graph->node_count; i++) {
            const clq_node *node = &graph->nodes[i];
            const bool rounded =
                t->reads[i * CLQ_MAX_INPUTS] == CLQ_READ_ROUNDED || t->derived[node->inputs[0]];
            if (rounded && keeps_codes(t, node) && t->wanted[node->output]) {
                CLQ_TRY(copy_qparams(t, node->inputs[0], node->output, &changed));
            }
        }
    }
    return CLQ_OK;
}

/* ---- nodes ---- */

static bool reads_codes(const typing *t, int n, int k) {
    const int value = t->graph->nodes[n].inputs[k];
    return t->graph->values[value].q.count > 0 &&
           (t->reads[n * CLQ_MAX_INPUTS + k] == CLQ_READ_ROUNDED || t->derived[value]);
}

/* A constant of an elementwise node is codes like an activation. */
static bool reads_only_codes(const typing *t, int n) {
    const clq_node *node = &t->graph->nodes[n];
    const bool binary = clq_binary_of(node->op) != CLQ_BINARY_COUNT;
    for (int k = 0; k < node->input_count; k++) {
        const int value = node->inputs[k];
        const bool constant = value == CLQ_NO_VALUE || clq_is_constant(&t->graph->values[value]);
        if (constant ? binary && t->graph->values[value].q.count == 0 : !reads_codes(t, n, k)) {
            return false;
        }
    }
    return true;
}

static bool same_qparams(const clq_qparams *a, const clq_qparams *b) {
    return a->scale[0] == b->scale[0] && a->zero_point == b->zero_point && a->type == b->type;
}

static bool is_unrounded(const typing *t, int value) {
    return t->graph->values[value].q.count == 0 || (t->unrounded[value] && !t->derived[value]);
}

static bool works_on_codes(const typing *t, int n) {
    const clq_node *node = &t->graph->nodes[n];
    const clq_value *values = t->graph->values;
    if (!node->op->quantized || node->op == &clq_op_quantize || !reads_only_codes(t, n) ||
        onnx_is_real_node(t->load, node->name)) {
        return false;
    }
    if (clq_is_layer(node)) {
        return values[node->inputs[CLQ_LAYER_W]].q.count > 0;
    }
    return !is_unrounded(t, node->output) &&
           (!node->op->output_shares_qparams ||
            same_qparams(&values[node->inputs[0]].q, &values[node->output].q));
}

/* Whether anything is not as in a network that is quantized as a whole. */
static bool choose(typing *t) {
    const clq_graph *graph = t->graph;
    bool mixed = false;
    for (int i = 0; i < graph->input_count; i++) {
        t->real[graph->inputs[i]] = is_unrounded(t, graph->inputs[i]);
    }
    for (int n = 0; n < graph->node_count; n++) {
        const int out = graph->nodes[n].output;
        t->on_codes[n] = works_on_codes(t, n);
        const bool border = graph->nodes[n].op == &clq_op_quantize;
        t->real[out] = !border && (!t->on_codes[n] || is_unrounded(t, out));
        mixed |= !t->on_codes[n];
    }
    for (int v = 0; v < graph->value_count; v++) {
        mixed |= t->real[v] && graph->values[v].q.count > 0;
    }
    return mixed;
}

/* A node on reals reads the reals that its constant's codes stand for. */
static clq_status make_constants_real(const typing *t) {
    for (int n = 0; n < t->graph->node_count; n++) {
        const clq_node *node = &t->graph->nodes[n];
        const bool binary = clq_binary_of(node->op) != CLQ_BINARY_COUNT;
        for (int k = 0; binary && !t->on_codes[n] && k < node->input_count; k++) {
            clq_value *value = &t->graph->values[node->inputs[k]];
            if (!clq_is_constant(value) || value->q.count == 0) {
                continue;
            }
            float *reals = clq_calloc((size_t)clq_shape_count(&value->shape), sizeof *reals);
            if (!reals) {
                return CLQ_NO_MEMORY;
            }
            const clq_status status = clq_value_reals(value, reals);
            if (status != CLQ_OK) {
                clq_free(reals);
                return status;
            }
            clq_free(value->data);
            value->data = reals;
            value->dtype = CLQ_F32;
            clq_qparams_clear(&value->q);
        }
    }
    return CLQ_OK;
}

static clq_status insert_borders(typing *t) {
    const clq_borders borders = {t->on_codes, t->real, t->reads, t->output_reads};
    clq_graph *typed = NULL;
    CLQ_TRY(clq_insert_borders(t->graph, &borders, &typed));
    clq_graph_destroy(t->load->graph);
    t->load->graph = typed;
    return CLQ_OK;
}

clq_status onnx_finish_qparams(onnx_loader *load) {
    const size_t values = (size_t)load->graph->value_count;
    const size_t nodes = (size_t)load->graph->node_count;
    clq_status status = CLQ_NO_MEMORY;
    typing t = {.load = load, .graph = load->graph};
    if (!load->has_q) {
        return CLQ_OK;
    }
    t.on_codes = clq_calloc(nodes, sizeof *t.on_codes);
    t.real = clq_calloc(values, sizeof *t.real);
    t.unrounded = clq_calloc(values, sizeof *t.unrounded);
    t.wanted = clq_calloc(values, sizeof *t.wanted);
    t.derived = clq_calloc(values, sizeof *t.derived);
    t.reads = clq_calloc(nodes * CLQ_MAX_INPUTS, sizeof *t.reads);
    if (!t.on_codes || !t.real || !t.unrounded || !t.derived || !t.wanted || !t.reads) {
        goto cleanup;
    }
    find_reads(&t);
    find_wanted(&t);
    CLQ_GOTO(status, cleanup, share_qparams(&t));
    const bool mixed = choose(&t);
    CLQ_GOTO(status, cleanup, make_constants_real(&t));
    status = mixed ? insert_borders(&t) : CLQ_OK;
cleanup:
    clq_free(t.on_codes);
    clq_free(t.real);
    clq_free(t.unrounded);
    clq_free(t.derived);
    clq_free(t.wanted);
    clq_free(t.reads);
    return status;
}

/* Which values are codes, and of which types: what the policy says of nodes, as provisional qparams
 * of the values that they read and make. Scales are chosen later. */
#include "graph/node.h"
#include "ops/binary.h"
#include "ops/layer.h"
#include "passes/borders.h"
#include "quant/internal.h"
#include "quant/policy.h"

typedef struct assignment {
    clq_graph *graph;
    const clq_policy *policy; /* NULL: weights get the usual type */
    const bool *on_codes;     /* (node_count) */
    const bool *rounded;      /* (node_count): a layer on reals whose input is rounded to codes and
                                 back; NULL: none */
    bool *real;               /* (value_count) */
    int *readers;             /* (value_count): nodes that read its codes */
} assignment;

static bool is_rounded(const assignment *a, int node) {
    return a->rounded != NULL && a->rounded[node];
}

static clq_status check_nodes(assignment *a) {
    for (int n = 0; n < a->graph->node_count; n++) {
        const clq_node *node = &a->graph->nodes[n];
        if (node->op == &clq_op_quantize || node->op == &clq_op_dequantize) {
            return clq_fail(CLQ_USAGE, "node %s: the network is quantized in part already",
                            node->name);
        }
        if (a->on_codes[n] && node->op->quantized == NULL) {
            return clq_fail(CLQ_USAGE,
                            "node %s: %s does not exist in a quantized network; fold it first",
                            node->name, node->op->name);
        }
        const int wanted = a->on_codes[n] ? node->input_count : is_rounded(a, n) ? 1 : 0;
        for (int k = 0; k < wanted; k++) {
            if (node->inputs[k] != CLQ_NO_VALUE) {
                a->readers[node->inputs[k]]++;
            }
        }
    }
    return CLQ_OK;
}

/* A layer makes reals as well as codes, so where nobody wants codes, its output is not rounded: the
 * network's, when no activation follows and nobody reads it, and where all readers are on reals. */
static bool stays_real(const assignment *a, const clq_node *node) {
    const int uses = clq_graph_use_count(a->graph, node->output);
    int outputs = 0;
    for (int i = 0; i < a->graph->output_count; i++) {
        outputs += a->graph->outputs[i].value == node->output;
    }
    if (!clq_is_layer(node) || a->readers[node->output] > 0) {
        return false;
    }
    return outputs > 0 ? outputs == uses && clq_node_act(node) == CLQ_ACT_NONE : uses > 0;
}

/* An input is codes unless a node on reals wants it as it is. */
static void choose_values(assignment *a) {
    const clq_graph *graph = a->graph;
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        a->real[node->output] = !a->on_codes[n] || stays_real(a, node);
        for (int k = is_rounded(a, n) ? 1 : 0; !a->on_codes[n] && k < node->input_count; k++) {
            const int in = node->inputs[k];
            if (in != CLQ_NO_VALUE && graph->values[in].kind == CLQ_VALUE_INPUT) {
                a->real[in] = true;
            }
        }
    }
}

static clq_policy_rule rule_of(const assignment *a, int node) {
    static const clq_policy none = {.count = 0};
    clq_policy_rule rule = clq_policy_find(a->policy ? a->policy : &none, a->graph, node);
    rule.keep_float |= !a->policy && !a->on_codes[node];
    return rule;
}

/* Parameters that nodes of both kinds read could not be stored. */
static clq_status check_parameters(const assignment *a, int n) {
    const clq_node *node = &a->graph->nodes[n];
    for (int k = 0; !a->on_codes[n] && k < node->input_count; k++) {
        const int in = node->inputs[k];
        if (in != CLQ_NO_VALUE && clq_is_constant(&a->graph->values[in]) && a->readers[in] > 0) {
            return clq_fail(CLQ_USAGE,
                            "node %s: its parameter \"%s\" is read by a quantized node too, so "
                            "it cannot stay float",
                            node->name, a->graph->values[in].name);
        }
    }
    return CLQ_OK;
}

/* The constants of an elementwise operator have 8 bits whatever the policy says of weights: there
 * are few of them, and each serves many results. */
static clq_status set_constants(assignment *a, int n) {
    static const float one = 1;
    const clq_node *node = &a->graph->nodes[n];
    for (int k = 0; clq_binary_of(node->op) != CLQ_BINARY_COUNT && k < node->input_count; k++) {
        clq_value *value = &a->graph->values[node->inputs[k]];
        if (clq_is_constant(value)) {
            clq_qparams_clear(&value->q);
        }
        if (clq_is_constant(value) && a->on_codes[n]) {
            CLQ_TRY(clq_qparams_set(&value->q, 1, &one, 0, CLQ_Q_S8_NARROW));
        }
    }
    return CLQ_OK;
}

static clq_status set_weights(assignment *a) {
    static const float one = 1;
    clq_graph *graph = a->graph;
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        CLQ_TRY(check_parameters(a, n));
        CLQ_TRY(set_constants(a, n));
        if (!clq_is_layer(node)) {
            continue;
        }
        clq_qparams *q = &graph->values[node->inputs[CLQ_LAYER_W]].q;
        clq_qparams_clear(q);
        const clq_policy_rule rule = rule_of(a, n);
        if (!rule.keep_float && rule.weights != CLQ_Q_FLOAT) {
            CLQ_TRY(clq_qparams_set(q, 1, &one, 0, rule.weights));
        }
    }
    return CLQ_OK;
}

static clq_status set_activation(assignment *a, int v, clq_qtype type) {
    static const float one = 1;
    clq_qparams *q = &a->graph->values[v].q;
    if (a->real[v] && a->readers[v] == 0) {
        clq_qparams_clear(q);
        return CLQ_OK;
    }
    return clq_qparams_set(q, 1, &one, 0, type == CLQ_Q_FLOAT ? CLQ_Q_U8 : type);
}

static clq_status check_types(const assignment *a) {
    bool *codes = clq_calloc((size_t)a->graph->value_count, sizeof *codes);
    if (!codes) {
        return CLQ_NO_MEMORY;
    }
    for (int v = 0; v < a->graph->value_count; v++) {
        codes[v] = !a->real[v] || a->readers[v] > 0;
    }
    const clq_status status =
        a->policy && a->graph->folded ? clq_policy_check_codes(a->policy, a->graph, codes) : CLQ_OK;
    clq_free(codes);
    return status;
}

/* A node gives the codes that it makes their type, but for one that keeps those that it reads. */
static clq_status set_activations(assignment *a, bool *mixed) {
    const clq_graph *graph = a->graph;
    *mixed = false;
    for (int i = 0; i < graph->input_count; i++) {
        const int in = graph->inputs[i];
        CLQ_TRY(set_activation(a, in,
                               a->policy ? clq_policy_find_input(a->policy, graph, in) : CLQ_Q_U8));
    }
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        clq_qtype type = rule_of(a, n).activations;
        if (a->on_codes[n] && node->op->output_shares_qparams) {
            type = graph->values[node->inputs[0]].q.type;
        }
        CLQ_TRY(set_activation(a, node->output, type));
        *mixed |= !a->on_codes[n];
    }
    return CLQ_OK;
}

static clq_status insert_borders(const assignment *a, clq_graph **typed) {
    const int nodes = a->graph->node_count;
    unsigned char *reads = clq_calloc((size_t)nodes * CLQ_MAX_INPUTS, sizeof *reads);
    const clq_borders borders = {.on_codes = a->on_codes, .real = a->real, .reads = reads};
    if (!reads) {
        return CLQ_NO_MEMORY;
    }
    for (int n = 0; n < nodes; n++) {
        reads[n * CLQ_MAX_INPUTS] = is_rounded(a, n) ? CLQ_READ_ROUNDED : CLQ_READ_AS_IS;
    }
    const clq_status status = clq_insert_borders(a->graph, &borders, typed);
    clq_free(reads);
    return status;
}

static clq_status assign(assignment *a, const clq_graph *untyped, clq_graph **typed) {
    const size_t values = (size_t)untyped->value_count;
    clq_status status = CLQ_NO_MEMORY;
    bool mixed = false;
    a->real = clq_calloc(values, sizeof *a->real);
    a->readers = clq_calloc(values, sizeof *a->readers);
    if (!a->real || !a->readers) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_graph_clone(untyped, &a->graph));
    CLQ_GOTO(status, cleanup, check_nodes(a));
    choose_values(a);
    CLQ_GOTO(status, cleanup, check_types(a));
    CLQ_GOTO(status, cleanup, set_weights(a));
    CLQ_GOTO(status, cleanup, set_activations(a, &mixed));
    if (mixed) {
        status = insert_borders(a, typed);
    } else {
        *typed = a->graph;
        a->graph = NULL;
    }
cleanup:
    clq_graph_destroy(a->graph);
    clq_free(a->real);
    clq_free(a->readers);
    return status;
}

/* Whether the operator has an integer form, or should not be there: check_nodes then says so. The
 * others work on reals whatever the policy says. */
static bool may_have_codes(const clq_node *node) {
    return node->op->quantized != NULL || node->op == &clq_op_batch_norm ||
           (node->op->flags & CLQ_OP_TRAINING_ONLY) != 0;
}

clq_status clq_assign_types(const clq_policy *policy, const clq_graph *untyped, clq_graph **typed) {
    const size_t nodes = (size_t)untyped->node_count;
    clq_status status = CLQ_NO_MEMORY;
    CLQ_TRY(clq_policy_check(policy, untyped));
    bool *on_codes = clq_calloc(nodes, sizeof *on_codes);
    bool *rounded = clq_calloc(nodes, sizeof *rounded);
    if (on_codes && rounded) {
        for (int n = 0; n < untyped->node_count; n++) {
            const clq_policy_rule rule = clq_policy_find(policy, untyped, n);
            const bool codes = !rule.keep_float && rule.activations != CLQ_Q_FLOAT;
            rounded[n] = codes && clq_is_layer(&untyped->nodes[n]) && rule.weights == CLQ_Q_FLOAT;
            on_codes[n] = codes && !rounded[n] && may_have_codes(&untyped->nodes[n]);
        }
        assignment a = {.policy = policy, .on_codes = on_codes, .rounded = rounded};
        status = assign(&a, untyped, typed);
    }
    clq_free(on_codes);
    clq_free(rounded);
    return status;
}

clq_status clq_assign_nodes(const bool *on_codes, const clq_graph *untyped, clq_graph **typed) {
    assignment a = {.on_codes = on_codes};
    return assign(&a, untyped, typed);
}

/* The networks that an analysis runs: the float one with some of its nodes rounded as the integer
 * one rounds them, and the integer one with a node on reals. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arguments.h"
#include "base/text.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "passes/copy.h"
#include "quant/analyze.h"
#include "quant/internal.h"

/* ---- who is who ---- */

static bool is_border(const clq_node *node) {
    return node->op == &clq_op_quantize || node->op == &clq_op_dequantize;
}

static bool same_weights(const clq_graph *a, const clq_node *x, const clq_graph *b,
                         const clq_node *y) {
    return x->op == y->op && clq_shape_equal(&a->values[x->inputs[CLQ_LAYER_W]].shape,
                                             &b->values[y->inputs[CLQ_LAYER_W]].shape);
}

/* Every layer of `a` is in `b`, under the same name. */
static clq_status check_layers(const clq_graph *a, const clq_graph *b, const char *which) {
    for (int n = 0; n < a->node_count; n++) {
        const int other = clq_graph_find_node(b, a->nodes[n].name);
        if (!clq_is_layer(&a->nodes[n])) {
            continue;
        }
        if (other < 0) {
            return clq_fail(CLQ_BAD_DATA,
                            "the networks are not the same: the %s one has the layer \"%s\", "
                            "which the other one has not",
                            which, a->nodes[n].name);
        }
        if (!clq_is_layer(&b->nodes[other]) ||
            !same_weights(a, &a->nodes[n], b, &b->nodes[other])) {
            return clq_fail(CLQ_BAD_DATA,
                            "the networks are not the same: layer \"%s\" has weights of another "
                            "shape in the %s one",
                            a->nodes[n].name, which);
        }
    }
    return CLQ_OK;
}

static clq_status check_end(const clq_graph *a, int x, const clq_graph *b, int y,
                            const char *what) {
    char of_a[96], of_b[96];
    if (clq_shape_equal(&a->values[x].shape, &b->values[y].shape)) {
        return CLQ_OK;
    }
    clq_shape_text(&a->values[x].shape, of_a, sizeof of_a);
    clq_shape_text(&b->values[y].shape, of_b, sizeof of_b);
    return clq_fail(CLQ_BAD_DATA,
                    "the networks are not the same: %s \"%s\" is %s in the float one and %s in "
                    "the integer one",
                    what, a->values[x].name, of_a, of_b);
}

clq_status clq_analysis_check(const clq_graph *real, const clq_graph *integer) {
    CLQ_NEEDS(real, integer);
    CLQ_NEEDS_ENDS(real);
    CLQ_NEEDS_ENDS(integer);
    if (real->input_count != integer->input_count || real->output_count != integer->output_count) {
        return clq_fail(CLQ_BAD_DATA,
                        "the networks are not the same: %d inputs and %d outputs in the float one, "
                        "%d and %d in the integer one",
                        real->input_count, real->output_count, integer->input_count,
                        integer->output_count);
    }
    for (int i = 0; i < real->input_count; i++) {
        CLQ_TRY(check_end(real, real->inputs[i], integer, integer->inputs[i], "input"));
    }
    CLQ_TRY(check_layers(real, integer, "float"));
    CLQ_TRY(check_layers(integer, real, "integer"));
    for (int o = 0; o < real->output_count; o++) {
        CLQ_TRY(
            check_end(real, real->outputs[o].value, integer, integer->outputs[o].value, "output"));
    }
    return CLQ_OK;
}

/* The share of weights that are further than a step from their codes, and no clipped ones. */
static double share_moved(const clq_value *real, const clq_value *rounded, const clq_qparams *q) {
    const clq_qtype_info *type = clq_qtype_get(q->type);
    const int64_t count = clq_shape_count(&real->shape), each = count / q->count;
    const float *x = real->data, *y = rounded->data;
    int64_t moved = 0;
    for (int64_t i = 0; i < count; i++) {
        const float scale = q->scale[i / each];
        const float code = y[i] / scale;
        const bool at_end =
            code <= (float)type->lowest + 1.5f || code >= (float)type->highest - 0.5f;
        moved += fabsf(x[i] - y[i]) > 1.01f * scale && !at_end;
    }
    return (double)moved / (double)count;
}

clq_status clq_analysis_check_weights(const clq_graph *real, const clq_graph *integer) {
    CLQ_NEEDS(real, integer);
    static const double MOST_MOVED = 0.01;
    clq_graph *rounded = NULL;
    clq_status status = CLQ_OK;
    CLQ_TRY(clq_dequantize(integer, &rounded));
    for (int n = 0; n < real->node_count && status == CLQ_OK; n++) {
        const clq_node *node = &real->nodes[n];
        const int other = clq_is_layer(node) ? clq_graph_find_node(integer, node->name) : -1;
        if (other < 0) {
            continue;
        }
        const int w = integer->nodes[other].inputs[CLQ_LAYER_W];
        const clq_qparams *q = &integer->values[w].q;
        if (q->count > 0 && integer->values[w].dtype != CLQ_F32 &&
            share_moved(&real->values[node->inputs[CLQ_LAYER_W]], &rounded->values[w], q) >
                MOST_MOVED) {
            status = clq_fail(CLQ_BAD_DATA,
                              "layer \"%s\": the integer network's weights are not the float "
                              "one's, rounded",
                              node->name);
        }
    }
    clq_graph_destroy(rounded);
    return status;
}

clq_status clq_analysis_graphs_open(const clq_graph *real, const clq_graph *integer,
                                    clq_analysis_graphs *g) {
    *g = (clq_analysis_graphs){.real = real, .integer = integer};
    CLQ_TRY(clq_analysis_check(real, integer));
    CLQ_TRY(clq_dequantize(integer, &g->rounded));
    g->nodes = clq_calloc((size_t)real->node_count, sizeof *g->nodes);
    if (!g->nodes) {
        return CLQ_NO_MEMORY;
    }
    for (int n = 0; n < real->node_count; n++) {
        const int other = clq_graph_find_node(integer, real->nodes[n].name);
        g->nodes[n] = other >= 0 && integer->nodes[other].op == real->nodes[n].op ? other : -1;
    }
    return CLQ_OK;
}

void clq_analysis_graphs_close(clq_analysis_graphs *g) {
    clq_graph_destroy(g->rounded);
    clq_free(g->nodes);
    *g = (clq_analysis_graphs){0};
}

int clq_analysis_value(const clq_analysis_graphs *g, int real_value) {
    const int producer = g->real->values[real_value].producer;
    for (int i = 0; i < g->real->input_count; i++) {
        if (g->real->inputs[i] == real_value) {
            return g->integer->inputs[i];
        }
    }
    if (producer >= 0 && g->nodes[producer] >= 0) {
        return g->integer->nodes[g->nodes[producer]].output;
    }
    /* A ReLU that other tools leave out, since the codes before it end where it does. */
    return producer >= 0 && g->real->nodes[producer].op->output_shares_qparams
               ? clq_analysis_value(g, g->real->nodes[producer].inputs[0])
               : CLQ_NO_VALUE;
}

const clq_qparams *clq_analysis_codes(const clq_analysis_graphs *g, int real_value) {
    const int value = clq_analysis_value(g, real_value);
    if (value == CLQ_NO_VALUE) {
        return NULL;
    }
    const clq_qparams *q = &g->integer->values[value].q;
    for (int n = 0; n < g->integer->node_count && q->count == 0; n++) {
        const clq_node *node = &g->integer->nodes[n];
        if (node->op == &clq_op_quantize && node->inputs[0] == value) {
            return &g->integer->values[node->output].q;
        }
    }
    return q->count > 0 ? q : NULL;
}

static bool has_integer_parameters(const clq_graph *graph, const clq_node *node) {
    for (int k = 0; k < node->input_count; k++) {
        const int in = node->inputs[k];
        if (in != CLQ_NO_VALUE && clq_is_constant(&graph->values[in]) &&
            graph->values[in].dtype != CLQ_F32) {
            return true;
        }
    }
    return false;
}

bool clq_analysis_is_quantized(const clq_analysis_graphs *g, int node) {
    const clq_node *real = &g->real->nodes[node];
    if (g->nodes[node] < 0) {
        return false;
    }
    if (has_integer_parameters(g->integer, &g->integer->nodes[g->nodes[node]])) {
        return true;
    }
    const bool keeps = real->op->output_shares_qparams &&
                       clq_analysis_codes(g, real->inputs[0]) != NULL; /* codes stay as they are */
    return !keeps && clq_analysis_codes(g, real->output) != NULL;
}

static const char *type_name(const clq_qparams *q) {
    return q && q->count > 0 ? clq_qtype_get(q->type)->name : "f32";
}

void clq_analysis_type(const clq_analysis_graphs *g, int node, char *text, size_t size) {
    const clq_node *real = &g->real->nodes[node];
    if (!clq_is_layer(real) || g->nodes[node] < 0) {
        snprintf(text, size, "%s", type_name(clq_analysis_codes(g, real->output)));
        return;
    }
    const clq_node *integer = &g->integer->nodes[g->nodes[node]];
    snprintf(text, size, "%s x %s", type_name(&g->integer->values[integer->inputs[CLQ_LAYER_X]].q),
             type_name(&g->integer->values[integer->inputs[CLQ_LAYER_W]].q));
}

/* ---- the float network with something rounded ---- */

/* The node again, with the reals of its rounded parameters. */
static clq_status copy_rounded(clq_graph_copy *copy, const clq_analysis_graphs *g, int n,
                               const int *activations) {
    const clq_node *node = &g->real->nodes[n];
    const clq_node *from = g->nodes[n] < 0 ? node : &g->rounded->nodes[g->nodes[n]];
    const clq_graph *graph = g->nodes[n] < 0 ? g->real : g->rounded;
    int inputs[CLQ_MAX_INPUTS];
    for (int k = 0; k < from->input_count; k++) {
        const int in = from->inputs[k];
        if (in == CLQ_NO_VALUE || !clq_is_constant(&graph->values[in])) {
            inputs[k] = activations[k];
            continue;
        }
        const clq_value *value = &graph->values[in];
        CLQ_TRY(clq_graph_add_parameter(copy->new, value->name, value->kind, value->dtype,
                                        value->shape, value->data, &inputs[k]));
    }
    return clq_graph_add_node(copy->new, node->op->name, node->name, node->attrs, inputs,
                              from->input_count, &copy->map[node->output]);
}

clq_status clq_analysis_round_parameters(const clq_analysis_graphs *g, clq_graph **graph) {
    clq_status status = CLQ_OK;
    clq_graph_copy copy = {0};
    CLQ_TRY(clq_copy_begin(g->real, &copy));
    for (int n = 0; n < g->real->node_count; n++) {
        int inputs[CLQ_MAX_INPUTS];
        for (int k = 0; k < g->real->nodes[n].input_count; k++) {
            CLQ_GOTO(status, cleanup,
                     clq_copy_value(&copy, g->real->nodes[n].inputs[k], &inputs[k]));
        }
        CLQ_GOTO(status, cleanup, copy_rounded(&copy, g, n, inputs));
    }
    CLQ_GOTO(status, cleanup, clq_copy_outputs(&copy));
    copy.new->folded = g->real->folded;
    *graph = clq_copy_end(&copy);
cleanup:
    clq_copy_abandon(&copy);
    return status;
}

/* Whether those who read `value` of the integer network, for an activation that is this one of the
 * real network, read it rounded. */
static bool reads_rounded(const clq_analysis_graphs *g, int real_value, int value) {
    const int same = clq_analysis_value(g, real_value);
    return value != same || g->integer->values[value].q.count > 0;
}

/* quantize and dequantize behind a new graph's value. */
static clq_status add_rounding(clq_graph *graph, int x, const clq_qparams *q, int *y) {
    char *codes = clq_format("%s (codes)", graph->values[x].name);
    char *reals = clq_format("%s (rounded)", graph->values[x].name);
    clq_status status = codes && reals ? CLQ_OK : CLQ_NO_MEMORY;
    int between = x;
    if (status == CLQ_OK) {
        status = clq_graph_add_node(graph, "quantize", codes, NULL, &x, 1, &between);
    }
    if (status == CLQ_OK) {
        status =
            clq_qparams_set(&graph->values[between].q, q->count, q->scale, q->zero_point, q->type);
    }
    if (status == CLQ_OK) {
        status = clq_graph_add_node(graph, "dequantize", reals, NULL, &between, 1, y);
    }
    clq_free(codes);
    clq_free(reals);
    return status;
}

typedef struct lone {
    const clq_analysis_graphs *g;
    clq_graph_copy copy;
    int value;   /* of the real network: what is rounded */
    int rounded; /* the new value that is; CLQ_NO_VALUE before it is made */
} lone;

static clq_status begin_rounded(lone *l, int new_value) {
    const clq_qparams *q = clq_analysis_codes(l->g, l->value);
    l->rounded = new_value;
    return q ? add_rounding(l->copy.new, new_value, q, &l->rounded) : CLQ_OK;
}

/* A node that is not the one, reading what is rounded where the integer network's does. */
static clq_status copy_reader(lone *l, int n) {
    const clq_analysis_graphs *g = l->g;
    const clq_node *node = &g->real->nodes[n];
    const clq_node *integer = g->nodes[n] < 0 ? NULL : &g->integer->nodes[g->nodes[n]];
    int inputs[CLQ_MAX_INPUTS];
    for (int k = 0; k < node->input_count; k++) {
        CLQ_TRY(clq_copy_value(&l->copy, node->inputs[k], &inputs[k]));
        if (node->inputs[k] == l->value &&
            (!integer || reads_rounded(g, l->value, integer->inputs[k]))) {
            inputs[k] = l->rounded;
        }
    }
    return clq_copy_node_with(&l->copy, node, inputs);
}

/* The one: first as it is, then with rounded parameters. */
static clq_status copy_lone(lone *l, int n, clq_lone_graph *made) {
    const clq_node *node = &l->g->real->nodes[n];
    int inputs[CLQ_MAX_INPUTS];
    for (int k = 0; k < node->input_count; k++) {
        CLQ_TRY(clq_copy_value(&l->copy, node->inputs[k], &inputs[k]));
    }
    char *name = clq_format("%s (float)", node->name);
    clq_status status =
        name ? clq_graph_add_node(l->copy.new, node->op->name, name, node->attrs, inputs,
                                  node->input_count, &l->copy.map[node->output])
             : CLQ_NO_MEMORY;
    clq_free(name);
    CLQ_TRY(status);
    made->twin = l->copy.new->node_count - 1;
    CLQ_TRY(copy_rounded(&l->copy, l->g, n, inputs));
    return begin_rounded(l, l->copy.map[node->output]);
}

static clq_status copy_lone_outputs(lone *l) {
    const clq_graph *real = l->g->real;
    for (int o = 0; o < real->output_count; o++) {
        const clq_graph_end *output = &real->outputs[o];
        const bool rounded = output->value == l->value &&
                             reads_rounded(l->g, l->value, l->g->integer->outputs[o].value);
        CLQ_TRY(clq_graph_add_output_like(l->copy.new, output,
                                          rounded ? l->rounded : l->copy.map[output->value]));
    }
    return CLQ_OK;
}

clq_status clq_analysis_quantize_one(const clq_analysis_graphs *g, int value,
                                     clq_lone_graph *made) {
    const int producer = g->real->values[value].producer;
    lone l = {.g = g, .value = value, .rounded = CLQ_NO_VALUE};
    clq_status status = CLQ_OK;
    *made = (clq_lone_graph){.twin = -1};
    CLQ_TRY(clq_copy_begin(g->real, &l.copy));
    if (producer < 0) {
        CLQ_GOTO(status, cleanup, begin_rounded(&l, l.copy.map[value]));
        made->rounded = l.copy.new->node_count - 1;
    }
    for (int n = 0; n < g->real->node_count; n++) {
        CLQ_GOTO(status, cleanup, n == producer ? copy_lone(&l, n, made) : copy_reader(&l, n));
        made->rounded = n == producer ? l.copy.new->node_count - 1 : made->rounded;
    }
    CLQ_GOTO(status, cleanup, copy_lone_outputs(&l));
    l.copy.new->folded = g->real->folded;
    made->graph = clq_copy_end(&l.copy);
cleanup:
    clq_copy_abandon(&l.copy);
    return status;
}

/* ---- the integer network with a node on reals ---- */

static clq_status copy_data(const clq_value *from, clq_value *to) {
    const size_t size = (size_t)clq_dtype_bytes(from->dtype, clq_shape_count(&from->shape));
    void *data = clq_calloc(size, 1);
    if (!data) {
        return CLQ_NO_MEMORY;
    }
    memcpy(data, from->data, size);
    clq_free(to->data);
    to->data = data;
    to->dtype = from->dtype;
    clq_qparams_clear(&to->q);
    return from->q.count > 0 ? clq_qparams_set(&to->q, from->q.count, from->q.scale,
                                               from->q.zero_point, from->q.type)
                             : CLQ_OK;
}

/* The integer network's parameters and scales for a graph that was typed like it, but for the node
 * that is kept; *fits false where there are none for something. */
static clq_status take_codes(const clq_analysis_graphs *g, int kept, clq_graph *typed, bool *fits) {
    for (int n = 0; n < typed->node_count; n++) {
        const clq_node *node = &typed->nodes[n];
        const int real = is_border(node) ? -1 : clq_graph_find_node(g->real, node->name);
        const int other = real < 0 ? -1 : g->nodes[real];
        for (int k = 0; k < node->input_count && real >= 0 && real != kept; k++) {
            clq_value *to =
                node->inputs[k] == CLQ_NO_VALUE ? NULL : &typed->values[node->inputs[k]];
            if (to && clq_is_constant(to)) {
                const clq_node *from = other < 0 ? NULL : &g->integer->nodes[other];
                *fits &= from && from->input_count == node->input_count;
                CLQ_TRY(*fits ? copy_data(&g->integer->values[from->inputs[k]], to) : CLQ_OK);
            }
        }
    }
    for (int v = 0; v < typed->value_count; v++) {
        clq_value *value = &typed->values[v];
        if (clq_is_constant(value) || value->q.count == 0) {
            continue;
        }
        const clq_node *border = value->producer < 0 ? NULL : &typed->nodes[value->producer];
        const char *name = border && border->op == &clq_op_quantize
                               ? typed->values[border->inputs[0]].name
                               : value->name;
        const int real = clq_graph_find_value(g->real, name);
        const clq_qparams *q = real < 0 ? NULL : clq_analysis_codes(g, real);
        *fits &= q != NULL;
        CLQ_TRY(q ? clq_qparams_set(&value->q, q->count, q->scale, q->zero_point, q->type)
                  : CLQ_OK);
    }
    return CLQ_OK;
}

/* Outputs of the network that the integer one rounds, as clquant's own do not, stay rounded where
 * the layer that makes them is on codes and nobody else reads them. */
static clq_status round_outputs(const clq_analysis_graphs *g, int kept, clq_graph *typed) {
    for (int o = 0; o < typed->output_count; o++) {
        clq_value *value = &typed->values[typed->outputs[o].value];
        const clq_qparams *q = &g->integer->values[g->integer->outputs[o].value].q;
        const clq_node *node = value->producer < 0 ? NULL : &typed->nodes[value->producer];
        bool alone = node && clq_is_layer(node) && clq_node_on_codes(typed, node) &&
                     strcmp(node->name, g->real->nodes[kept].name) != 0;
        for (int n = 0; n < typed->node_count; n++) {
            for (int k = 0; k < typed->nodes[n].input_count; k++) {
                alone &= typed->nodes[n].inputs[k] != typed->outputs[o].value;
            }
        }
        if (alone && value->q.count == 0 && q->count > 0) {
            CLQ_TRY(clq_qparams_set(&value->q, q->count, q->scale, q->zero_point, q->type));
        }
    }
    return CLQ_OK;
}

/* Whether another node reads a parameter of this one, which could then not be of both kinds. */
static bool shares_parameters(const clq_graph *graph, const clq_node *node) {
    for (int k = 0; k < node->input_count; k++) {
        const int in = node->inputs[k];
        if (in != CLQ_NO_VALUE && clq_is_constant(&graph->values[in]) &&
            clq_graph_use_count(graph, in) > 1) {
            return true;
        }
    }
    return false;
}

static bool reads_codes(const clq_graph *graph, const bool *on_codes, int value) {
    for (int n = 0; n < graph->node_count; n++) {
        for (int k = 0; k < graph->nodes[n].input_count && on_codes[n]; k++) {
            if (graph->nodes[n].inputs[k] == value) {
                return true;
            }
        }
    }
    return false;
}

clq_status clq_analysis_keep_one(const clq_analysis_graphs *g, int node, clq_graph **graph) {
    const clq_graph *real = g->real;
    clq_status status = CLQ_OK;
    clq_graph *typed = NULL;
    bool fits = !shares_parameters(real, &real->nodes[node]);
    *graph = NULL;
    bool *on_codes = clq_calloc((size_t)real->node_count, sizeof *on_codes);
    if (!on_codes) {
        return CLQ_NO_MEMORY;
    }
    for (int n = real->node_count - 1; n >= 0; n--) { /* readers first */
        const int other = g->nodes[n];
        if (other >= 0) {
            on_codes[n] = n != node && clq_node_on_codes(g->integer, &g->integer->nodes[other]);
        } else { /* one that the integer network does without: as those who read it */
            fits &= clq_analysis_value(g, real->nodes[n].output) != CLQ_NO_VALUE;
            on_codes[n] = reads_codes(real, on_codes, real->nodes[n].output);
        }
    }
    if (fits) {
        CLQ_GOTO(status, cleanup, clq_assign_nodes(on_codes, real, &typed));
        CLQ_GOTO(status, cleanup, take_codes(g, node, typed, &fits));
        CLQ_GOTO(status, cleanup, round_outputs(g, node, typed));
    }
    if (fits) {
        *graph = typed;
        typed = NULL;
    }
cleanup:
    clq_graph_destroy(typed);
    clq_free(on_codes);
    return status;
}

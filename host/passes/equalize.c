/* Cross-layer equalization (Nagel et al. 2019, arXiv 1906.04721): channels between two layers are
 * scaled so that both layers' weights use their ranges alike; the function stays as it is. */
#include <clquant/ops.h>
#include <clquant/passes.h>

#include <math.h>

#include "base/arguments.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "ops/layer.h"

enum { MOST_SWEEPS = 100 };
static const double done = 1e-4; /* of |ln s|, in the last sweep */

typedef struct pair {
    int first, second; /* nodes */
    int value;         /* what the first makes */
    int channels, held;
    double *scale;   /* (channels): so far, the value is divided by it */
    double *r1, *r2; /* (channels): largest magnitudes of both layers' weights */
} pair;

/* Scales of a layer's channels; NULL: all 1. */
typedef struct ends {
    const double *in, *out;
    int64_t in_channels;
} ends;

typedef struct equalizer {
    clq_graph *graph;
    const float *const *largest; /* (value_count), or NULL */
    pair *pairs;
    int count;
    ends *ends; /* (node_count) */
} equalizer;

/* ---- pairs ---- */

/* Operators of which s x gives s y, for s > 0 of each channel. */
static bool keeps_scales(const clq_op *op) {
    static const clq_op *const those[] = {&clq_op_relu,
                                          &clq_op_leaky_relu,
                                          &clq_op_prelu,
                                          &clq_op_abs,
                                          &clq_op_neg,
                                          &clq_op_max_pool,
                                          &clq_op_avg_pool,
                                          &clq_op_global_avg_pool,
                                          &clq_op_global_max_pool,
                                          &clq_op_flatten};
    bool keeps = false;
    for (size_t i = 0; i < sizeof those / sizeof *those; i++) {
        keeps = keeps || op == those[i];
    }
    return keeps;
}

static int sole_reader(const clq_graph *graph, int value) {
    if (clq_graph_use_count(graph, value) != 1) {
        return -1;
    }
    for (int n = 0; n < graph->node_count; n++) {
        for (int k = 0; k < graph->nodes[n].input_count; k++) {
            if (graph->nodes[n].inputs[k] == value) {
                return n;
            }
        }
    }
    return -1;
}

static bool owns_parameters(const clq_graph *graph, const clq_node *node) {
    for (int k = CLQ_LAYER_W; k < node->input_count; k++) {
        const int value = node->inputs[k];
        if (value != CLQ_NO_VALUE &&
            (graph->values[value].dtype != CLQ_F32 || clq_graph_use_count(graph, value) != 1)) {
            return false;
        }
    }
    return true;
}

/* The layer that alone reads what node n makes, by way of pools and the like; -1: none. */
static int next_layer(const clq_graph *graph, int n) {
    int reader = sole_reader(graph, graph->nodes[n].output);
    while (reader >= 0 && keeps_scales(graph->nodes[reader].op)) {
        reader = sole_reader(graph, graph->nodes[reader].output);
    }
    return reader >= 0 && clq_is_layer(&graph->nodes[reader]) ? reader : -1;
}

/* ReLU6 bounds what it passes on, which only data tell how to keep. */
static bool is_pair(const equalizer *e, int first, int second) {
    const clq_node *node = &e->graph->nodes[first];
    return second >= 0 && owns_parameters(e->graph, node) &&
           owns_parameters(e->graph, &e->graph->nodes[second]) &&
           (clq_node_act(node) != CLQ_ACT_RELU6 || (e->largest && e->largest[node->output]));
}

static clq_status add_pair(equalizer *e, int first, int second) {
    const clq_node *node = &e->graph->nodes[first];
    const int channels = (int)e->graph->values[node->inputs[CLQ_LAYER_W]].shape.dim[0];
    pair *p = &e->pairs[e->count++];
    *p = (pair){.first = first, .second = second, .value = node->output, .channels = channels};
    p->scale = clq_calloc((size_t)channels, sizeof *p->scale);
    p->r1 = clq_calloc((size_t)channels, sizeof *p->r1);
    p->r2 = clq_calloc((size_t)channels, sizeof *p->r2);
    if (!p->scale || !p->r1 || !p->r2) {
        return CLQ_NO_MEMORY;
    }
    for (int c = 0; c < channels; c++) {
        p->scale[c] = 1;
    }
    e->ends[first].out = p->scale;
    e->ends[second].in = p->scale;
    e->ends[second].in_channels = channels;
    return CLQ_OK;
}

static clq_status find_pairs(equalizer *e) {
    const size_t nodes = (size_t)e->graph->node_count;
    e->pairs = clq_calloc(nodes, sizeof *e->pairs);
    e->ends = clq_calloc(nodes, sizeof *e->ends);
    if (!e->pairs || !e->ends) {
        return CLQ_NO_MEMORY;
    }
    for (int n = 0; n < e->graph->node_count; n++) {
        const int second = clq_is_layer(&e->graph->nodes[n]) ? next_layer(e->graph, n) : -1;
        if (is_pair(e, n, second)) {
            CLQ_TRY(add_pair(e, n, second));
        }
    }
    return CLQ_OK;
}

/* ---- weights ---- */

/* A layer's weights (OC, K), scaled as far as has been decided. */
typedef struct rows {
    float *w;
    int64_t oc, k;
    int64_t group_oc, group_ic; /* of one group of channels */
    const ends *ends;
} rows;

static rows rows_of(const equalizer *e, int n) {
    const clq_node *node = &e->graph->nodes[n];
    const clq_value *w = &e->graph->values[node->inputs[CLQ_LAYER_W]];
    const clq_conv2d_attrs *conv = clq_layer_conv(node);
    rows r = {.w = w->data, .oc = w->shape.dim[0], .ends = &e->ends[n]};
    r.k = clq_shape_count(&w->shape) / r.oc;
    r.group_oc = r.oc / (conv ? conv->groups : 1);
    r.group_ic = w->shape.dim[w->shape.rank - 1];
    return r;
}

/* The channel of the pair in front that weight (oc, k) multiplies. Behind a flatten the channels of
 * a pixel lie together. */
static int64_t channel_in(const rows *r, int64_t oc, int64_t k) {
    return (oc / r->group_oc * r->group_ic + k % r->group_ic) % r->ends->in_channels;
}

static double scaled(const rows *r, int64_t oc, int64_t k) {
    const double in = r->ends->in ? r->ends->in[channel_in(r, oc, k)] : 1;
    return r->w[oc * r->k + k] * in / (r->ends->out ? r->ends->out[oc] : 1);
}

static void find_magnitudes(const equalizer *e, pair *p) {
    const rows first = rows_of(e, p->first), second = rows_of(e, p->second);
    for (int c = 0; c < p->channels; c++) {
        p->r1[c] = p->r2[c] = 0;
    }
    for (int64_t oc = 0; oc < first.oc; oc++) {
        for (int64_t k = 0; k < first.k; k++) {
            p->r1[oc] = fmax(p->r1[oc], fabs(scaled(&first, oc, k)));
        }
    }
    for (int64_t oc = 0; oc < second.oc; oc++) {
        for (int64_t k = 0; k < second.k; k++) {
            double *r2 = &p->r2[channel_in(&second, oc, k)];
            *r2 = fmax(*r2, fabs(scaled(&second, oc, k)));
        }
    }
}

/* Applies what was decided. */
static clq_status scale_layer(const equalizer *e, int n) {
    const clq_node *node = &e->graph->nodes[n];
    const rows r = rows_of(e, n);
    clq_value *bias = clq_layer_bias(e->graph, node);
    bool finite = true;
    for (int64_t oc = 0; oc < r.oc; oc++) {
        for (int64_t k = 0; k < r.k; k++) {
            r.w[oc * r.k + k] = (float)scaled(&r, oc, k);
            finite &= isfinite(r.w[oc * r.k + k]);
        }
        if (bias && r.ends->out) {
            float *b = bias->data;
            b[oc] = (float)(b[oc] / r.ends->out[oc]);
            finite &= isfinite(b[oc]);
        }
    }
    return finite ? CLQ_OK
                  : clq_fail(CLQ_BAD_DATA, "node %s: its equalized parameters are not finite",
                             node->name);
}

/* ---- scales ---- */

/* The largest magnitude that the value may come to. */
static double bound_of(const equalizer *e, const pair *p, const float *largest) {
    double bound = 0;
    if (clq_node_act(&e->graph->nodes[p->first]) == CLQ_ACT_RELU6) {
        return 6;
    }
    for (int c = 0; largest && c < p->channels; c++) {
        bound = fmax(bound, largest[c]);
    }
    return bound;
}

/* s = sqrt((r1 / max r1) / (r2 / max r2)) for each channel, which makes the shares of both ranges
 * that the channel uses the same. Channels that are bounded, as ReLU6 cut them, stay; others stay
 * within the bound. Returns the largest |ln s|. */
static double equalize_pair(const equalizer *e, pair *p) {
    const float *largest = e->largest ? e->largest[p->value] : NULL;
    const bool relu6 = clq_node_act(&e->graph->nodes[p->first]) == CLQ_ACT_RELU6;
    const double bound = bound_of(e, p, largest);
    double most1 = 0, most2 = 0, moved = 0;
    find_magnitudes(e, p);
    for (int c = 0; c < p->channels; c++) {
        most1 = fmax(most1, p->r1[c]);
        most2 = fmax(most2, p->r2[c]);
    }
    p->held = 0;
    for (int c = 0; c < p->channels; c++) {
        if (!(p->r1[c] > 0) || !(p->r2[c] > 0)) {
            continue; /* nothing passes */
        }
        if (relu6 && largest[c] >= bound) {
            p->held++;
            continue;
        }
        double s = sqrt(p->r1[c] / most1 / (p->r2[c] / most2));
        if (largest && bound > 0) {
            s = fmax(s, largest[c] / p->scale[c] / bound);
        }
        p->scale[c] *= s;
        moved = fmax(moved, fabs(log(s)));
    }
    return moved;
}

/* ---- what was done ---- */

static clq_status report_pairs(const equalizer *e, clq_equalization *report) {
    report->pairs = clq_calloc((size_t)e->count + 1, sizeof *report->pairs);
    if (!report->pairs) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < e->count; i++) {
        clq_equalized_pair *pair = &report->pairs[report->count++];
        *pair = (clq_equalized_pair){.first = clq_strdup(e->graph->nodes[e->pairs[i].first].name),
                                     .second = clq_strdup(e->graph->nodes[e->pairs[i].second].name),
                                     .channels = e->pairs[i].channels,
                                     .held = e->pairs[i].held};
        if (!pair->first || !pair->second) {
            return CLQ_NO_MEMORY;
        }
    }
    return CLQ_OK;
}

void clq_equalization_clear(clq_equalization *report) {
    if (!report) {
        return;
    }
    for (int i = 0; i < report->count; i++) {
        clq_free(report->pairs[i].first);
        clq_free(report->pairs[i].second);
    }
    clq_free(report->pairs);
    *report = (clq_equalization){0};
}

static clq_status equalize(equalizer *e) {
    double moved = 1;
    CLQ_TRY(find_pairs(e));
    for (int sweep = 0; sweep < MOST_SWEEPS && moved > done; sweep++) {
        moved = 0;
        for (int i = 0; i < e->count; i++) {
            moved = fmax(moved, equalize_pair(e, &e->pairs[i]));
        }
    }
    for (int n = 0; n < e->graph->node_count; n++) {
        if (e->ends[n].in || e->ends[n].out) {
            CLQ_TRY(scale_layer(e, n));
        }
    }
    return CLQ_OK;
}

static void clear(equalizer *e) {
    for (int i = 0; i < e->count; i++) {
        clq_free(e->pairs[i].scale);
        clq_free(e->pairs[i].r1);
        clq_free(e->pairs[i].r2);
    }
    clq_free(e->pairs);
    clq_free(e->ends);
}

clq_status clq_graph_equalize(const clq_graph *folded, const float *const *largest,
                              clq_equalization *report, clq_graph **equalized) {
    CLQ_NEEDS(folded, equalized);
    CLQ_NEEDS_ENDS(folded);
    clq_equalization found = {0};
    clq_status status = CLQ_OK;
    equalizer e = {.largest = largest};
    if (!folded->folded || clq_graph_form(folded) != CLQ_FORM_FLOAT) {
        return clq_fail(CLQ_USAGE, "graph \"%s\": only a folded float graph can be equalized",
                        folded->name);
    }
    CLQ_TRY(clq_graph_clone(folded, &e.graph));
    CLQ_GOTO(status, cleanup, equalize(&e));
    CLQ_GOTO(status, cleanup, report_pairs(&e, &found));
    if (report) {
        *report = found;
        found = (clq_equalization){0};
    }
    *equalized = e.graph;
    e.graph = NULL;
cleanup:
    clq_equalization_clear(&found);
    clq_graph_destroy(e.graph);
    clear(&e);
    return status;
}

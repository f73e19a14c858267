/* From the trained form to the folded form: what inference and quantization work on.
 *
 * One walk over the nodes in order. A node is copied into the new graph, or is folded into the node
 * that made its input (batch norm into a convolution, an activation into what it follows), or
 * vanishes (dropout). `map` says for each old value which new value has taken its place. */
#include <clquant/ops.h>
#include <clquant/passes.h>

#include <math.h>
#include <string.h>

#include "base/arguments.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "graph/shape.h"
#include "ops/layer.h"
#include "passes/copy.h"

typedef struct folding {
    clq_graph_copy copy;
    bool keep_norms; /* batch norms stay */
    int *
        root; /* (old value_count): the value itself, or the one that reaches it through dropouts */
    int *uses; /* (old value_count): readers of a root or of its dropouts; readers of a parameter */
} folding;

/* ---- who reads what ---- */

static void count_uses(folding *f) {
    for (int i = 0; i < f->copy.old->value_count; i++) {
        f->root[i] = i;
    }
    for (int n = 0; n < f->copy.old->node_count; n++) {
        const clq_node *node = &f->copy.old->nodes[n];
        if (node->op->flags & CLQ_OP_TRAINING_ONLY) {
            f->root[node->output] = f->root[node->inputs[0]];
            continue;
        }
        for (int k = 0; k < node->input_count; k++) {
            if (node->inputs[k] != CLQ_NO_VALUE) {
                f->uses[f->root[node->inputs[k]]]++;
            }
        }
    }
    for (int i = 0; i < f->copy.old->output_count; i++) {
        f->uses[f->root[f->copy.old->outputs[i].value]]++;
    }
}

static const clq_value *old_value(const folding *f, const clq_node *node, int input) {
    return &f->copy.old->values[node->inputs[input]];
}

/* The new node that made input 0 of `node`, if `node` alone reads it; else NULL. */
static clq_node *sole_producer(const folding *f, const clq_node *node) {
    int in = node->inputs[0];
    int producer = f->copy.new->values[f->copy.map[in]].producer;
    return producer >= 0 && f->uses[f->root[in]] == 1 ? &f->copy.new->nodes[producer] : NULL;
}

/* ---- new parameters ---- */

static bool is_taken(const folding *f, const char *name, int replaced) {
    int old = clq_graph_find_value(f->copy.old, name);
    return clq_graph_find_value(f->copy.new, name) >= 0 || (old >= 0 && old != replaced);
}

/* A new parameter called `name`, or `name_2` and so on when a value of either graph is called that.
 * `replaced`: the old value that it takes the place, and may take the name, of; or CLQ_NO_VALUE. */
static clq_status add_parameter(folding *f, const char *name, int replaced, clq_shape shape,
                                const float *data, int *value) {
    char *unique = clq_strdup(name);
    for (int i = 2; unique && is_taken(f, unique, replaced); i++) {
        clq_free(unique);
        unique = clq_format("%s_%d", name, i);
    }
    clq_status status = unique ? clq_graph_add_parameter(f->copy.new, unique, CLQ_VALUE_PARAMETER,
                                                         CLQ_F32, shape, data, value)
                               : CLQ_NO_MEMORY;
    clq_free(unique);
    return status;
}

/* ---- batch norm ---- */

/* y = factor * x + offset, per channel, in double: gamma and beta with the running statistics. */
typedef struct affine {
    double *factor, *offset; /* (channels) */
    int64_t channels;
} affine;

static void affine_clear(affine *a) {
    clq_free(a->factor);
    clq_free(a->offset);
    *a = (affine){0};
}

static clq_status affine_of(const folding *f, const clq_node *bn, affine *a) {
    const clq_batch_norm_attrs *attrs = bn->attrs;
    const float *gamma = old_value(f, bn, 1)->data, *beta = old_value(f, bn, 2)->data;
    const float *mean = old_value(f, bn, 3)->data, *variance = old_value(f, bn, 4)->data;
    a->channels = clq_shape_count(&old_value(f, bn, 1)->shape);
    a->factor = clq_calloc((size_t)a->channels, sizeof *a->factor);
    a->offset = clq_calloc((size_t)a->channels, sizeof *a->offset);
    if (!a->factor || !a->offset) {
        affine_clear(a);
        return CLQ_NO_MEMORY;
    }
    for (int64_t c = 0; c < a->channels; c++) {
        a->factor[c] = gamma[c] / sqrt((double)variance[c] + attrs->epsilon);
        a->offset[c] = beta[c] - mean[c] * a->factor[c];
        if (!isfinite(a->factor[c]) || !isfinite(a->offset[c])) {
            affine_clear(a);
            return clq_fail(CLQ_BAD_DATA,
                            "batch_norm \"%s\": channel %lld folds to no finite number", bn->name,
                            (long long)c);
        }
    }
    return CLQ_OK;
}

static clq_status to_float(const clq_node *bn, double x, float *y) {
    *y = (float)x;
    return isfinite(*y) ? CLQ_OK
                        : clq_fail(CLQ_BAD_DATA, "batch_norm \"%s\": folds to %g, no finite float",
                                   bn->name, x);
}

/* Gives `node` weights (and a bias) that no other node reads, so that they may be changed. */
static clq_status own_parameters(folding *f, int node_index) {
    for (int k = 1; k < 3; k++) {
        clq_node *node = &f->copy.new->nodes[node_index];
        int value = k < node->input_count ? node->inputs[k] : CLQ_NO_VALUE;
        int readers = 0;
        for (int old = 0; value != CLQ_NO_VALUE && old < f->copy.old->value_count; old++) {
            readers += f->copy.map[old] == value ? f->uses[old] : 0;
        }
        if (readers > 1) {
            char *name = clq_format("%s.%s", node->name, k == 1 ? "weight" : "bias");
            clq_value shared = f->copy.new->values[value];
            clq_status status =
                name ? add_parameter(f, name, CLQ_NO_VALUE, shared.shape, shared.data, &value)
                     : CLQ_NO_MEMORY;
            clq_free(name);
            CLQ_TRY(status);
            node->inputs[k] = value;
        }
    }
    return CLQ_OK;
}

static clq_status ensure_bias(folding *f, int node_index, int64_t channels) {
    clq_node *node = &f->copy.new->nodes[node_index];
    if (node->input_count > 2 && node->inputs[2] != CLQ_NO_VALUE) {
        return CLQ_OK;
    }
    char *name = clq_format("%s.bias", node->name);
    if (!name) {
        return CLQ_NO_MEMORY;
    }
    clq_status status =
        add_parameter(f, name, CLQ_NO_VALUE, (clq_shape){1, {channels}}, NULL, &node->inputs[2]);
    clq_free(name);
    node->input_count = 3;
    return status;
}

/* w' = w * factor, b' = b * factor + offset; output channels are the weight's first axis. */
static clq_status scale_parameters(folding *f, const clq_node *node, const clq_node *bn,
                                   const affine *a) {
    clq_value *weight = &f->copy.new->values[node->inputs[1]];
    clq_value *bias = &f->copy.new->values[node->inputs[2]];
    int64_t row = clq_shape_count(&weight->shape) / a->channels;
    float *w = weight->data, *b = bias->data;
    for (int64_t c = 0; c < a->channels; c++) {
        for (int64_t i = 0; i < row; i++) {
            CLQ_TRY(to_float(bn, w[c * row + i] * a->factor[c], &w[c * row + i]));
        }
        CLQ_TRY(to_float(bn, b[c] * a->factor[c] + a->offset[c], &b[c]));
    }
    return CLQ_OK;
}

static bool takes_batch_norm(const clq_node *node) {
    return clq_is_layer(node) && clq_node_act(node) == CLQ_ACT_NONE;
}

/* A batch norm that follows something else becomes a depthwise 1x1 convolution. The parameters
 * keep its names: gamma's is the weight's, beta's the bias's. */
static clq_status batch_norm_to_conv2d(folding *f, const clq_node *bn, const affine *a) {
    clq_conv2d_attrs attrs = {
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = (int)a->channels};
    clq_shape weight = {4, {a->channels, 1, 1, 1}}, bias = {1, {a->channels}};
    int inputs[3] = {f->copy.map[bn->inputs[0]]};
    CLQ_TRY(add_parameter(f, old_value(f, bn, 1)->name, bn->inputs[1], weight, NULL, &inputs[1]));
    CLQ_TRY(add_parameter(f, old_value(f, bn, 2)->name, bn->inputs[2], bias, NULL, &inputs[2]));
    float *w = f->copy.new->values[inputs[1]].data, *b = f->copy.new->values[inputs[2]].data;
    for (int64_t c = 0; c < a->channels; c++) {
        CLQ_TRY(to_float(bn, a->factor[c], &w[c]));
        CLQ_TRY(to_float(bn, a->offset[c], &b[c]));
    }
    return clq_graph_add_node(f->copy.new, "conv2d", bn->name, &attrs, inputs, 3,
                              &f->copy.map[bn->output]);
}

static clq_status fold_batch_norm(folding *f, const clq_node *bn) {
    clq_node *producer = sole_producer(f, bn);
    bool folds = producer && takes_batch_norm(producer);
    affine a = {0};
    CLQ_TRY(affine_of(f, bn, &a));
    clq_status status = CLQ_OK;
    if (folds) {
        int index = (int)(producer - f->copy.new->nodes);
        CLQ_GOTO(status, cleanup, own_parameters(f, index));
        CLQ_GOTO(status, cleanup, ensure_bias(f, index, a.channels));
        CLQ_GOTO(status, cleanup, scale_parameters(f, producer, bn, &a));
        f->copy.map[bn->output] = producer->output;
    } else {
        status = batch_norm_to_conv2d(f, bn, &a);
    }
cleanup:
    affine_clear(&a);
    return status;
}

/* ---- activations ---- */

static clq_status fuse_activation(folding *f, const clq_node *node) {
    clq_node *producer = sole_producer(f, node);
    if (producer && clq_node_fuse_act(producer, node->op->as_act)) {
        f->copy.map[node->output] = producer->output;
        return CLQ_OK;
    }
    return clq_copy_node(&f->copy, node);
}

/* ---- the walk ---- */

static clq_status fold_node(folding *f, const clq_node *node) {
    if (node->op->flags & CLQ_OP_TRAINING_ONLY) {
        f->copy.map[node->output] = f->copy.map[node->inputs[0]];
        return CLQ_OK;
    }
    if (node->op == &clq_op_batch_norm && !f->keep_norms) {
        return fold_batch_norm(f, node);
    }
    if (node->op->as_act != CLQ_ACT_NONE) {
        return fuse_activation(f, node);
    }
    return clq_copy_node(&f->copy, node);
}

static clq_status fold_graph(folding *f) {
    count_uses(f);
    for (int n = 0; n < f->copy.old->node_count; n++) {
        CLQ_TRY(fold_node(f, &f->copy.old->nodes[n]));
    }
    CLQ_TRY(clq_copy_outputs(&f->copy));
    f->copy.new->folded = !f->keep_norms;
    return CLQ_OK;
}

static clq_status fold(const clq_graph *graph, bool keep_norms, clq_graph **folded) {
    if (graph->folded) {
        return clq_graph_clone(graph, folded);
    }
    if (clq_graph_form(graph) != CLQ_FORM_FLOAT) {
        return clq_fail(CLQ_USAGE, "graph \"%s\": is quantized, only a float graph can be folded",
                        graph->name);
    }
    clq_status status = CLQ_NO_MEMORY;
    folding f = {.keep_norms = keep_norms};
    f.root = clq_calloc((size_t)graph->value_count, sizeof *f.root);
    f.uses = clq_calloc((size_t)graph->value_count, sizeof *f.uses);
    if (!f.root || !f.uses) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_copy_begin(graph, &f.copy));
    CLQ_GOTO(status, cleanup, fold_graph(&f));
    *folded = clq_copy_end(&f.copy);
cleanup:
    clq_copy_abandon(&f.copy);
    clq_free(f.root);
    clq_free(f.uses);
    return status;
}

clq_status clq_graph_fold(const clq_graph *graph, clq_graph **folded) {
    CLQ_NEEDS(graph, folded);
    CLQ_NEEDS_ENDS(graph);
    return fold(graph, false, folded);
}

clq_status clq_graph_fold_activations(const clq_graph *graph, clq_graph **folded) {
    CLQ_NEEDS(graph, folded);
    CLQ_NEEDS_ENDS(graph);
    return fold(graph, true, folded);
}

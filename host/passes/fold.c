/* From the trained form to the folded form: what inference and quantization work on.
 *
 * One walk over the nodes in order. A node is copied into the new graph, or is folded into the node
 * that made its input (batch norm or a constant for each channel into a convolution, an activation
 * into what it follows), or vanishes (dropout). `map` says for each old value which new value has
 * taken its place. */
#include <clquant/ops.h>
#include <clquant/passes.h>

#include <math.h>
#include <string.h>

#include "base/arguments.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "graph/shape.h"
#include "ops/binary.h"
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

/* The new node that made input `input` of `node`, if `node` alone reads it; else NULL. */
static clq_node *sole_producer(const folding *f, const clq_node *node, int input) {
    int in = node->inputs[input];
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

/* ---- a factor and an offset for each channel ---- */

/* y = factor * x + offset, per channel, in double. */
typedef struct affine {
    double *factor, *offset; /* (channels) */
    int64_t channels;
} affine;

static void affine_clear(affine *a) {
    clq_free(a->factor);
    clq_free(a->offset);
    *a = (affine){0};
}

static clq_status affine_create(int64_t channels, affine *a) {
    a->channels = channels;
    a->factor = clq_calloc((size_t)channels, sizeof *a->factor);
    a->offset = clq_calloc((size_t)channels, sizeof *a->offset);
    if (!a->factor || !a->offset) {
        affine_clear(a);
        return CLQ_NO_MEMORY;
    }
    return CLQ_OK;
}

/* A batch norm's: gamma and beta with the running statistics. */
static clq_status affine_of(const folding *f, const clq_node *bn, affine *a) {
    const clq_batch_norm_attrs *attrs = bn->attrs;
    const float *gamma = old_value(f, bn, 1)->data, *beta = old_value(f, bn, 2)->data;
    const float *mean = old_value(f, bn, 3)->data, *variance = old_value(f, bn, 4)->data;
    CLQ_TRY(affine_create(clq_shape_count(&old_value(f, bn, 1)->shape), a));
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

static clq_status to_float(const clq_node *node, double x, float *y) {
    *y = (float)x;
    return isfinite(*y) ? CLQ_OK
                        : clq_fail(CLQ_BAD_DATA, "%s \"%s\": folds to %g, no finite float",
                                   node->op->name, node->name, x);
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

/* w' = w * factor, b' = b * factor + offset; output channels are the weight's first axis. `from`
 * is the node that the affine is of. */
static clq_status scale_parameters(folding *f, const clq_node *node, const clq_node *from,
                                   const affine *a) {
    clq_value *weight = &f->copy.new->values[node->inputs[1]];
    clq_value *bias = &f->copy.new->values[node->inputs[2]];
    int64_t row = clq_shape_count(&weight->shape) / a->channels;
    float *w = weight->data, *b = bias->data;
    for (int64_t c = 0; c < a->channels; c++) {
        for (int64_t i = 0; i < row; i++) {
            CLQ_TRY(to_float(from, w[c * row + i] * a->factor[c], &w[c * row + i]));
        }
        CLQ_TRY(to_float(from, b[c] * a->factor[c] + a->offset[c], &b[c]));
    }
    return CLQ_OK;
}

static bool takes_affine(const clq_node *node) {
    return clq_is_layer(node) && clq_node_act(node) == CLQ_ACT_NONE;
}

/* The layer `index` of the new graph makes what `node` makes of its output. */
static clq_status fold_affine(folding *f, int index, const clq_node *node, const affine *a) {
    CLQ_TRY(own_parameters(f, index));
    CLQ_TRY(ensure_bias(f, index, a->channels));
    const clq_node *layer = &f->copy.new->nodes[index];
    CLQ_TRY(scale_parameters(f, layer, node, a));
    (void)clq_node_fuse_act(layer, clq_node_act(node));
    f->copy.map[node->output] = layer->output;
    return clq_copy_file_name(&f->copy, node->output, layer->output);
}

/* What follows something else becomes a depthwise 1x1 convolution of the old value `x`. The new
 * parameters get these names, which old values, or CLQ_NO_VALUE, have. */
static clq_status affine_to_conv2d(folding *f, const clq_node *node, const affine *a, int x,
                                   const char *const names[2], const int replaced[2]) {
    clq_conv2d_attrs attrs = {.kernel = {1, 1},
                              .stride = {1, 1},
                              .dilation = {1, 1},
                              .groups = (int)a->channels,
                              .act = clq_node_act(node)};
    clq_shape weight = {4, {a->channels, 1, 1, 1}}, bias = {1, {a->channels}};
    int inputs[3] = {f->copy.map[x]};
    CLQ_TRY(add_parameter(f, names[0], replaced[0], weight, NULL, &inputs[1]));
    CLQ_TRY(add_parameter(f, names[1], replaced[1], bias, NULL, &inputs[2]));
    float *w = f->copy.new->values[inputs[1]].data, *b = f->copy.new->values[inputs[2]].data;
    for (int64_t c = 0; c < a->channels; c++) {
        CLQ_TRY(to_float(node, a->factor[c], &w[c]));
        CLQ_TRY(to_float(node, a->offset[c], &b[c]));
    }
    CLQ_TRY(clq_graph_add_node(f->copy.new, "conv2d", node->name, &attrs, inputs, 3,
                               &f->copy.map[node->output]));
    return clq_copy_file_name(&f->copy, node->output, f->copy.map[node->output]);
}

/* ---- batch norm ---- */

/* The parameters of a convolution keep its names: gamma's is the weight's, beta's the bias's. */
static clq_status fold_batch_norm(folding *f, const clq_node *bn) {
    const char *const names[2] = {old_value(f, bn, 1)->name, old_value(f, bn, 2)->name};
    clq_node *producer = sole_producer(f, bn, 0);
    affine a = {0};
    CLQ_TRY(affine_of(f, bn, &a));
    const clq_status status =
        producer && takes_affine(producer)
            ? fold_affine(f, (int)(producer - f->copy.new->nodes), bn, &a)
            : affine_to_conv2d(f, bn, &a, bn->inputs[0], names, &bn->inputs[1]);
    affine_clear(&a);
    return status;
}

/* ---- constants ---- */

/* The operand of a node of two that is a constant; -1: none. */
static int constant_of(const folding *f, const clq_node *node) {
    return clq_is_constant(old_value(f, node, 0))   ? 0
           : clq_is_constant(old_value(f, node, 1)) ? 1
                                                    : -1;
}

/* Whether the constant has one number for each channel of the other operand, or one for all, and
 * leaves its shape. */
static bool is_per_channel(const folding *f, const clq_node *node, int constant) {
    const clq_shape *c = &old_value(f, node, constant)->shape;
    const clq_shape *x = &old_value(f, node, 1 - constant)->shape;
    const int64_t last = c->dim[c->rank - 1];
    return old_value(f, node, constant)->dtype == CLQ_F32 && clq_shape_count(c) == last &&
           (last == 1 || last == x->dim[x->rank - 1]);
}

/* *done: the node is y = factor * x + offset. */
static clq_status constant_affine(const folding *f, const clq_node *node, int constant, affine *a,
                                  bool *done) {
    const clq_shape *x = &old_value(f, node, 1 - constant)->shape;
    const clq_value *value = old_value(f, node, constant);
    const float *data = value->data;
    const clq_binary kind = clq_binary_of(node->op);
    *done = kind <= CLQ_BINARY_MUL || (kind == CLQ_BINARY_DIV && constant == 1);
    if (!*done) {
        return CLQ_OK;
    }
    CLQ_TRY(affine_create(x->dim[x->rank - 1], a));
    for (int64_t c = 0; c < a->channels; c++) {
        const double number = (double)data[clq_shape_count(&value->shape) > 1 ? c : 0];
        const bool negative = kind == CLQ_BINARY_SUB && constant == 0;
        a->factor[c] = kind == CLQ_BINARY_MUL   ? number
                       : kind == CLQ_BINARY_DIV ? 1 / number
                                                : (negative ? -1 : 1);
        a->offset[c] = kind == CLQ_BINARY_ADD || negative ? number
                       : kind == CLQ_BINARY_SUB           ? -number
                                                          : 0;
        *done = *done && isfinite((float)a->factor[c]);
    }
    return CLQ_OK;
}

/* By a constant divisor: a product with the reciprocals, which has an integer form. */
static clq_status multiply_instead(folding *f, const clq_node *node) {
    const clq_value *value = old_value(f, node, 1);
    const int64_t count = clq_shape_count(&value->shape);
    int inputs[2];
    CLQ_TRY(clq_copy_value(&f->copy, node->inputs[0], &inputs[0]));
    CLQ_TRY(add_parameter(f, value->name, node->inputs[1], value->shape, NULL, &inputs[1]));
    float *to = f->copy.new->values[inputs[1]].data;
    for (int64_t i = 0; i < count; i++) {
        CLQ_TRY(to_float(node, 1 / (double)((const float *)value->data)[i], &to[i]));
    }
    CLQ_TRY(clq_graph_add_node(f->copy.new, "mul", node->name, node->attrs, inputs, 2,
                               &f->copy.map[node->output]));
    return clq_copy_file_name(&f->copy, node->output, f->copy.map[node->output]);
}

/* x to one power: a function of one number, which has an integer form. */
static bool is_power(const folding *f, const clq_node *node, int constant) {
    const clq_value *value = constant == 1 ? old_value(f, node, 1) : NULL;
    return node->op == &clq_op_pow && clq_node_act(node) == CLQ_ACT_NONE && value &&
           value->dtype == CLQ_F32 && clq_shape_count(&value->shape) == 1 &&
           isfinite(((const float *)value->data)[0]);
}

static clq_status to_function(folding *f, const clq_node *node) {
    const clq_unary_attrs attrs = {((const float *)old_value(f, node, 1)->data)[0], 0};
    CLQ_TRY(clq_graph_add_node(f->copy.new, "pow_const", node->name, &attrs,
                               &f->copy.map[node->inputs[0]], 1, &f->copy.map[node->output]));
    return clq_copy_file_name(&f->copy, node->output, f->copy.map[node->output]);
}

static bool has_reciprocals(const clq_value *value) {
    const int64_t count = clq_shape_count(&value->shape);
    bool all = value->dtype == CLQ_F32;
    for (int64_t i = 0; all && i < count; i++) {
        all = isfinite(1 / ((const float *)value->data)[i]);
    }
    return all;
}

/* Into the layer before it; several numbers elsewhere become a depthwise convolution, whose
 * channels have scales of their own. */
static clq_status fold_constant(folding *f, const clq_node *node) {
    const int constant = constant_of(f, node);
    affine a = {0};
    bool done = false;
    if (constant >= 0 && is_per_channel(f, node, constant)) {
        CLQ_TRY(constant_affine(f, node, constant, &a, &done));
    }
    const int x = constant >= 0 ? node->inputs[1 - constant] : CLQ_NO_VALUE;
    clq_node *producer = done ? sole_producer(f, node, 1 - constant) : NULL;
    clq_status status = CLQ_OK;
    if (producer && takes_affine(producer)) {
        status = fold_affine(f, (int)(producer - f->copy.new->nodes), node, &a);
    } else if (done && clq_shape_count(&old_value(f, node, constant)->shape) > 1 &&
               (f->copy.old->values[x].shape.rank == 2 || f->copy.old->values[x].shape.rank == 4)) {
        char *weight = clq_format("%s.weight", node->name);
        char *bias = clq_format("%s.bias", node->name);
        const char *const names[2] = {weight, bias};
        status = weight && bias
                     ? affine_to_conv2d(f, node, &a, x, names, (int[]){CLQ_NO_VALUE, CLQ_NO_VALUE})
                     : CLQ_NO_MEMORY;
        clq_free(weight);
        clq_free(bias);
    } else if (node->op == &clq_op_div && constant == 1 && has_reciprocals(old_value(f, node, 1))) {
        status = multiply_instead(f, node);
    } else if (is_power(f, node, constant)) {
        status = to_function(f, node);
    } else {
        status = clq_copy_node(&f->copy, node);
    }
    affine_clear(&a);
    return status;
}

/* ---- activations ---- */

static clq_status fuse_activation(folding *f, const clq_node *node) {
    clq_node *producer = sole_producer(f, node, 0);
    if (producer && clq_node_fuse_act(producer, node->op->as_act)) {
        f->copy.map[node->output] = producer->output;
        return clq_copy_file_name(&f->copy, node->output, producer->output);
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
    if (clq_binary_of(node->op) != CLQ_BINARY_COUNT) {
        return fold_constant(f, node);
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
    return clq_fail_in_graph(graph, fold(graph, false, folded));
}

clq_status clq_graph_fold_activations(const clq_graph *graph, clq_graph **folded) {
    CLQ_NEEDS(graph, folded);
    CLQ_NEEDS_ENDS(graph);
    return clq_fail_in_graph(graph, fold(graph, true, folded));
}

/* Normalization. */
#include <limits.h>
#include <math.h>

#include "formats/onnx/operators.h"

/* The channels, the file's axis 1, last. */
static clq_status arrange_channels(onnx_loader *load, const onnx_node *node, onnx_operand *x) {
    int places[CLQ_MAX_RANK] = {0};
    if (x->rank < 2 || x->rank > CLQ_MAX_RANK) {
        return onnx_fail(node, "input has %d dimensions, must have 2..%d", x->rank, CLQ_MAX_RANK);
    }
    if (x->axis[1] == load->graph->values[x->value].shape.rank - 1) {
        return CLQ_OK;
    }
    for (int p = 1; p < x->rank; p++) {
        places[p] = p == x->rank - 1 ? 1 : p + 1;
    }
    return onnx_arrange(load, node, x, x->rank, places);
}

static clq_status read_batch_norm(onnx_loader *load, onnx_node *node) {
    static const char *const roles[5] = {NULL, "weight", "bias", "running_mean", "running_var"};
    clq_batch_norm_attrs attrs = {.epsilon = 1e-5f};
    onnx_operand x;
    const onnx_constant *vector;
    int inputs[5];
    char *name;
    int64_t spatial = 1, training = 0;
    float momentum = 0.9f;
    CLQ_TRY(onnx_want_inputs(node, 5, 5));
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    CLQ_TRY(arrange_channels(load, node, &x));
    CLQ_TRY(onnx_attribute_float(node, "epsilon", &attrs.epsilon));
    CLQ_TRY(onnx_attribute_float(node, "momentum", &momentum));
    CLQ_TRY(onnx_attribute_int(node, "spatial", 1, 1, &spatial));
    CLQ_TRY(onnx_attribute_int(node, "training_mode", 0, 1, &training));
    if (training) {
        onnx_note_training(load, node);
    }
    /* ONNX weighs the old value, torch the new one; rounded so that 0.9 comes out as 0.1. */
    attrs.momentum = (float)(rint((1 - (double)momentum) * 1e6) / 1e6);
    CLQ_TRY(onnx_want_constant(load, node, 1, &vector));
    CLQ_TRY(onnx_node_name(load, node, vector->name, &name));
    inputs[0] = x.value;
    for (size_t i = 1; i < 5; i++) {
        CLQ_TRY(onnx_want_constant(load, node, i, &vector));
        if (vector->rank != 1 || vector->count == 0) {
            return onnx_fail(node, "%s must be a vector", roles[i]);
        }
        CLQ_TRY(onnx_add_float(load, node, vector, i < 3 ? CLQ_VALUE_PARAMETER : CLQ_VALUE_STATE,
                               (clq_shape){1, {vector->dim[0]}}, name, roles[i], &inputs[i]));
    }
    return onnx_add_node(load, node, "batch_norm", name, &attrs, inputs, 5, &x);
}

static clq_status write_batch_norm(onnx_chain *chain, const clq_node *graph_node,
                                   const char **inputs, size_t count) {
    static const char op[] = "BatchNormalization";
    const clq_batch_norm_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    onnx_save_plan(chain, onnx_is_column(chain->save, chain->value) ? "Reshape" : op, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_column(chain, graph_node->inputs[0], &inputs[0]));
    CLQ_TRY(onnx_save_step(chain, op, inputs, count, &node));
    CLQ_TRY(onnx_save_float(chain->save, node, "epsilon", attrs->epsilon));
    CLQ_TRY(onnx_save_float(chain->save, node, "momentum", (float)(1 - (double)attrs->momentum)));
    CLQ_TRY(onnx_save_from_column(chain, chain->value));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* ---- by an image's own mean and variance ---- */

/* How elements of a parameter follow one another in the graph: the file's axes `axes` of x, whose
 * dimensions are `dim`, in the order of `order`. */
typedef struct vector_order {
    int count;
    int64_t dim[CLQ_MAX_RANK]; /* (count), in the file's order */
    int order[CLQ_MAX_RANK];   /* (count): which of them comes first, second, ... */
    bool lacks_last; /* the file's constants have all but the last, for which they repeat */
} vector_order;

/* Constant `index` as a vector parameter with an element for each of those dimensions, to which it
 * is broadcast; CLQ_NO_VALUE where it is absent. */
static clq_status add_vector(onnx_loader *load, const onnx_node *node, size_t index,
                             const vector_order *o, const char *node_name, const char *role,
                             int *value) {
    const onnx_constant *constant;
    onnx_constant *made;
    const float *data;
    int64_t count = 1, step[CLQ_MAX_RANK], next = 1;
    void *memory;
    *value = CLQ_NO_VALUE;
    CLQ_TRY(onnx_want_constant(load, node, index, &constant));
    if (!constant) {
        return CLQ_OK;
    }
    CLQ_TRY(onnx_constant_floats(&load->arena, constant, &data));
    for (int d = o->count - 1, k = constant->rank - (o->lacks_last ? 0 : 1); d >= 0 || k >= 0;
         d--, k--) {
        const bool there = k >= 0 && k < constant->rank;
        const int64_t have = there ? constant->dim[k] : 1, want = d >= 0 ? o->dim[d] : 1;
        if (have != 1 && have != want) {
            return onnx_fail(node, "%s has %lld elements along an axis of %lld", role,
                             (long long)have, (long long)want);
        }
        if (d >= 0) {
            step[d] = have == 1 ? 0 : next;
            count *= want; /* at most the elements of a value */
        }
        next *= have;
    }
    CLQ_TRY(
        onnx_constant_make(&load->arena, constant->name, ONNX_FLOAT, 1, &count, &made, &memory));
    float *vector = memory;
    int64_t at[CLQ_MAX_RANK] = {0};
    for (int64_t i = 0; i < count; i++) {
        int64_t from = 0;
        for (int d = 0; d < o->count; d++) {
            from += at[d] * step[d];
        }
        vector[i] = data[from];
        for (int k = o->count - 1; k >= 0 && ++at[o->order[k]] == o->dim[o->order[k]]; k--) {
            at[o->order[k]] = 0;
        }
    }
    return onnx_add_float(load, node, made, CLQ_VALUE_PARAMETER, (clq_shape){1, {count}}, node_name,
                          role, value);
}

/* A node that reads x and the vectors gamma and beta, inputs 1 and 2. */
static clq_status add_norm(onnx_loader *load, const onnx_node *node, const char *op,
                           const void *attrs, const onnx_operand *x, const vector_order *o) {
    const onnx_constant *gamma;
    int inputs[3] = {x->value};
    char *name;
    CLQ_TRY(onnx_want_constant(load, node, 1, &gamma));
    CLQ_TRY(onnx_node_name(load, node, gamma ? gamma->name : NULL, &name));
    CLQ_TRY(add_vector(load, node, 1, o, name, "weight", &inputs[1]));
    CLQ_TRY(add_vector(load, node, 2, o, name, "bias", &inputs[2]));
    return onnx_add_node(load, node, op, name, attrs, inputs, inputs[2] == CLQ_NO_VALUE ? 2 : 3, x);
}

/* Whether the file's axes from `first` on are the last ones of the value, in any order. */
static bool are_last(const onnx_loader *load, const onnx_operand *x, int first) {
    const int begin = load->graph->values[x->value].shape.rank - (x->rank - first);
    for (int k = first; k < x->rank; k++) {
        if (x->axis[k] < begin) {
            return false;
        }
    }
    return begin > 0;
}

/* A node called `name` and the step, not bound. */
static clq_status make_step(onnx_loader *load, const onnx_node *node, const char *name,
                            const char *op, const void *attrs, const onnx_operand *x,
                            onnx_operand *y) {
    char *own;
    CLQ_TRY(clq_arena_format(&load->arena, &own, "%s.%s", name, op));
    CLQ_TRY(onnx_unique_name(load, own, &own));
    return onnx_make_node(load, node, op, own, attrs, &x->value, 1, x, y);
}

/* Outputs 1 and 2 of LayerNormalization where somebody reads them: the mean over x's last `axes`
 * axes, and 1 / sqrt(variance + epsilon). */
static clq_status add_statistics(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                                 const clq_layer_norm_attrs *norm) {
    const int rank = load->graph->values[x->value].shape.rank;
    const unsigned axes = (1u << rank) - (1u << (rank - norm->axes));
    const clq_reduce_attrs reduce = {.axes = axes, .keep = true};
    const size_t outputs = node->proto->n_output;
    bool read = false;
    onnx_side from = {.x = *x}, mean = {0}, offset = {0}, same, square, epsilon = {0}, sum;
    onnx_operand variance, root, inverse;
    char *name;
    for (size_t i = 1; i < outputs; i++) {
        read = read || onnx_use_count(load, node->proto->output[i]) > 0;
    }
    if (!read) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_format(&load->arena, &name, "%s", onnx_output_name(node)));
    CLQ_TRY(make_step(load, node, name, "reduce_mean", &reduce, x, &mean.x));
    CLQ_TRY(onnx_bind_made(load, node, 1, &mean.x));
    CLQ_TRY(clq_arena_format(&load->arena, &name, "%s.inverse", name));
    CLQ_TRY(onnx_unique_name(load, name, &name));
    CLQ_TRY(onnx_combine(load, node, CLQ_BINARY_SUB, &from, &mean, name, &offset));
    same = offset;
    CLQ_TRY(clq_arena_format(&load->arena, &name, "%s.square", name));
    CLQ_TRY(onnx_combine(load, node, CLQ_BINARY_MUL, &offset, &same, name, &square));
    CLQ_TRY(make_step(load, node, name, "reduce_mean", &reduce, &square.x, &variance));
    CLQ_TRY(onnx_constant_number(load, norm->epsilon, &epsilon.constant));
    CLQ_TRY(clq_arena_format(&load->arena, &name, "%s.epsilon", name));
    from = (onnx_side){.x = variance};
    CLQ_TRY(onnx_combine(load, node, CLQ_BINARY_ADD, &from, &epsilon, name, &sum));
    CLQ_TRY(make_step(load, node, name, "sqrt", NULL, &sum.x, &root));
    CLQ_TRY(make_step(load, node, name, "reciprocal", NULL, &root, &inverse));
    return outputs > 2 ? onnx_bind_made(load, node, 2, &inverse) : CLQ_OK;
}

static clq_status read_layer_norm(onnx_loader *load, onnx_node *node) {
    clq_layer_norm_attrs attrs = {.epsilon = 1e-5f};
    vector_order o = {.count = 0};
    onnx_operand x;
    int64_t axis = -1, stash = 1;
    int first;
    CLQ_TRY(onnx_want_inputs(node, 2, 3));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    CLQ_TRY(onnx_attribute_int(node, "axis", INT_MIN, INT_MAX, &axis));
    CLQ_TRY(onnx_attribute_float(node, "epsilon", &attrs.epsilon));
    CLQ_TRY(onnx_attribute_int(node, "stash_type", 1, 1, &stash));
    CLQ_TRY(onnx_want_axis(node, &x, axis, &first));
    /* Over all axes of one image: the graph has its batch in front of them. */
    const int more = first == 0 && load->batch == 1 ? 1 : 0;
    if (x.rank + more > CLQ_MAX_RANK) {
        return onnx_fail(node, "input has %d dimensions, at most %d are supported", x.rank,
                         CLQ_MAX_RANK - more);
    }
    if (!are_last(load, &x, first)) {
        int places[CLQ_MAX_RANK] = {-1};
        for (int p = more; p < x.rank + more; p++) {
            places[p] = p - more;
        }
        CLQ_TRY(onnx_arrange(load, node, &x, x.rank + more, places));
    }
    if (!are_last(load, &x, first)) {
        return onnx_fail(node, "goes over the batch: images must stay apart");
    }
    const onnx_dims dims = onnx_activation_dims(load, &x);
    const int begin = load->graph->values[x.value].shape.rank - (x.rank - first);
    for (int k = first; k < x.rank; k++) {
        o.dim[k - first] = dims.dim[k];
        o.order[x.axis[k] - begin] = k - first;
        o.count++;
    }
    attrs.axes = o.count;
    CLQ_TRY(add_statistics(load, node, &x, &attrs));
    return add_norm(load, node, "layer_norm", &attrs, &x, &o);
}

/* The channels last, and the order of their parameters. */
static clq_status want_channels(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                                vector_order *o) {
    CLQ_TRY(onnx_want_activation(load, node, 0, x));
    if (onnx_is_row(load, x) && x->rank > 2) { /* (N, C, 1, 1): pixels are wanted */
        CLQ_TRY(onnx_store_all(load, node, x));
    }
    CLQ_TRY(arrange_channels(load, node, x));
    *o = (vector_order){.count = 1, .dim = {onnx_activation_dims(load, x).dim[1]}};
    return CLQ_OK;
}

static clq_status read_instance_norm(onnx_loader *load, onnx_node *node) {
    clq_instance_norm_attrs attrs = {.epsilon = 1e-5f};
    vector_order o;
    onnx_operand x;
    CLQ_TRY(onnx_want_inputs(node, 3, 3));
    CLQ_TRY(want_channels(load, node, &x, &o));
    CLQ_TRY(onnx_attribute_float(node, "epsilon", &attrs.epsilon));
    return add_norm(load, node, "instance_norm", &attrs, &x, &o);
}

/* gamma and beta have an element for each channel since opset 21, for each group before. */
static clq_status read_group_norm(onnx_loader *load, onnx_node *node) {
    clq_group_norm_attrs attrs = {.epsilon = 1e-5f};
    const onnx_constant *gamma;
    vector_order o;
    onnx_operand x;
    int64_t groups = 0, stash = 1;
    CLQ_TRY(onnx_want_inputs(node, 3, 3));
    CLQ_TRY(want_channels(load, node, &x, &o));
    CLQ_TRY(onnx_attribute_float(node, "epsilon", &attrs.epsilon));
    CLQ_TRY(onnx_attribute_int(node, "num_groups", 1, INT_MAX, &groups));
    CLQ_TRY(onnx_attribute_int(node, "stash_type", 1, 1, &stash));
    CLQ_TRY(onnx_want_constant(load, node, 1, &gamma));
    if (groups < 1 || o.dim[0] % groups != 0) {
        return onnx_fail(node, "num_groups %lld must divide %lld channels", (long long)groups,
                         (long long)o.dim[0]);
    }
    if (gamma->count != (size_t)o.dim[0]) { /* (groups, 1), broadcast over a group's channels */
        o = (vector_order){
            .count = 2, .dim = {groups, o.dim[0] / groups}, .order = {0, 1}, .lacks_last = true};
    }
    attrs.groups = (int)groups;
    return add_norm(load, node, "group_norm", &attrs, &x, &o);
}

static clq_status read_lrn(onnx_loader *load, onnx_node *node) {
    clq_lrn_attrs attrs = {.alpha = 1e-4f, .beta = 0.75f, .bias = 1};
    vector_order unused;
    onnx_operand x;
    int64_t size = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(want_channels(load, node, &x, &unused));
    CLQ_TRY(onnx_attribute_float(node, "alpha", &attrs.alpha));
    CLQ_TRY(onnx_attribute_float(node, "beta", &attrs.beta));
    CLQ_TRY(onnx_attribute_float(node, "bias", &attrs.bias));
    CLQ_TRY(onnx_attribute_int(node, "size", 1, INT_MAX, &size));
    attrs.size = (int)size;
    return onnx_add_node(load, node, "lrn", NULL, &attrs, &x.value, 1, &x);
}

/* ---- writing them ---- */

/* The axes of x in another order for a node, and those of its result back: the last step of a chain
 * that moves is the Transpose behind it. */
typedef struct moves {
    clq_axes kept, wanted;
    bool any;
} moves;

static clq_status begin_moved(onnx_chain *chain, const clq_node *node, const clq_axes *wanted,
                              moves *m, const char **x) {
    *m = (moves){.kept = onnx_save_kept_axes(chain->save, node->inputs[0]), .wanted = *wanted};
    for (int k = 0; k < wanted->rank; k++) {
        m->any = m->any || m->kept.axis[k] != wanted->axis[k];
    }
    onnx_save_plan(chain, m->any ? "Transpose" : chain->onnx, CLQ_ACT_NONE);
    return m->any ? onnx_save_axes(chain->save, chain->base, &m->kept, wanted, NULL, x) : CLQ_OK;
}

static clq_status end_moved(onnx_chain *chain, const moves *m) {
    int perm[CLQ_MAX_AXES];
    Onnx__NodeProto *node;
    for (int k = 0; k < m->kept.rank; k++) {
        for (int from = 0; from < m->wanted.rank; from++) {
            perm[k] = m->wanted.axis[from] == m->kept.axis[k] ? from : perm[k];
        }
    }
    if (m->any) {
        CLQ_TRY(onnx_save_step(chain, "Transpose", &chain->current, 1, &node));
        CLQ_TRY(onnx_save_ints(chain->save, node, "perm", perm, (size_t)m->kept.rank));
    }
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* Batch, channels, the others. */
static clq_axes channels_first(int rank) {
    clq_axes axes = {.rank = rank, .axis = {0, rank - 1}};
    for (int k = 2; k < rank; k++) {
        axes.axis[k] = k - 1;
    }
    return axes;
}

static bool has_input(const clq_node *node, int index) {
    return node->input_count > index && node->inputs[index] != CLQ_NO_VALUE;
}

/* inputs[1 .. most - 1] as vectors; ones and zeros where the node has none. */
static clq_status want_vectors(onnx_chain *chain, const char **given, size_t count,
                               const clq_node *node, int64_t channels, int most,
                               const char *inputs[3]) {
    size_t next = 1;
    for (int i = 1; i < most; i++) {
        void *memory;
        char *name;
        if (has_input(node, i)) {
            inputs[i] = next < count ? given[next++] : "";
            continue;
        }
        CLQ_TRY(clq_arena_take(&chain->save->arena, (size_t)channels, sizeof(float), &memory));
        for (int64_t c = 0; c < channels; c++) {
            ((float *)memory)[c] = i == 1 ? 1.0f : 0.0f;
        }
        CLQ_TRY(clq_arena_format(&chain->save->arena, &name, "%s.%s", chain->base,
                                 i == 1 ? "weight" : "bias"));
        CLQ_TRY(onnx_save_tensor(chain->save, name, ONNX_FLOAT, 1, &channels, memory,
                                 (size_t)channels * sizeof(float), &inputs[i]));
    }
    return CLQ_OK;
}

/* Over the last axes as they are stored. */
static clq_status write_layer_norm(onnx_chain *chain, const clq_node *graph_node,
                                   const char **inputs, size_t count) {
    const clq_layer_norm_attrs *attrs = graph_node->attrs;
    const clq_shape *x = &chain->save->graph->values[graph_node->inputs[0]].shape;
    const int most = has_input(graph_node, 2) ? 3 : 2; /* beta may be absent */
    const char *all[3] = {inputs[0]};
    clq_axes stored = {.rank = x->rank};
    int64_t dim[CLQ_MAX_RANK], elements = 1;
    Onnx__NodeProto *node;
    char *name;
    moves m;
    for (int k = 0; k < x->rank; k++) {
        stored.axis[k] = k;
    }
    for (int k = 0; k < attrs->axes; k++) {
        dim[k] = x->dim[x->rank - attrs->axes + k];
        elements *= dim[k];
    }
    CLQ_TRY(want_vectors(chain, inputs, count, graph_node, elements, most, all));
    CLQ_TRY(begin_moved(chain, graph_node, &stored, &m, &all[0]));
    for (int i = 1; i < most && attrs->axes > 1; i++) { /* a vector in the dimensions of x */
        const char *reshape[2] = {all[i]};
        CLQ_TRY(clq_arena_format(&chain->save->arena, &name, "%s.shape%d", chain->base, i));
        CLQ_TRY(onnx_save_longs(chain->save, name, dim, (size_t)attrs->axes, &reshape[1]));
        CLQ_TRY(onnx_save_step(chain, "Reshape", reshape, 2, &node));
        all[i] = chain->current;
    }
    CLQ_TRY(onnx_save_step(chain, chain->onnx, all, (size_t)most, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "axis", -attrs->axes));
    CLQ_TRY(onnx_save_float(chain->save, node, "epsilon", attrs->epsilon));
    return end_moved(chain, &m);
}

/* x with its channels behind the batch, and gamma and beta. */
static clq_status begin_channels(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                                 size_t count, moves *m, Onnx__NodeProto **node) {
    const clq_shape *x = &chain->save->graph->values[graph_node->inputs[0]].shape;
    const clq_axes wanted = channels_first(x->rank);
    const bool vectors = graph_node->op->max_inputs > 1;
    const char *all[3] = {inputs[0]};
    if (vectors) {
        CLQ_TRY(want_vectors(chain, inputs, count, graph_node, x->dim[x->rank - 1], 3, all));
    }
    CLQ_TRY(begin_moved(chain, graph_node, &wanted, m, &all[0]));
    return onnx_save_step(chain, chain->onnx, all, vectors ? 3 : 1, node);
}

static clq_status write_instance_norm(onnx_chain *chain, const clq_node *graph_node,
                                      const char **inputs, size_t count) {
    const clq_instance_norm_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    moves m;
    CLQ_TRY(begin_channels(chain, graph_node, inputs, count, &m, &node));
    CLQ_TRY(onnx_save_float(chain->save, node, "epsilon", attrs->epsilon));
    return end_moved(chain, &m);
}

static clq_status write_group_norm(onnx_chain *chain, const clq_node *graph_node,
                                   const char **inputs, size_t count) {
    const clq_group_norm_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    moves m;
    CLQ_TRY(begin_channels(chain, graph_node, inputs, count, &m, &node));
    CLQ_TRY(onnx_save_float(chain->save, node, "epsilon", attrs->epsilon));
    CLQ_TRY(onnx_save_int(chain->save, node, "num_groups", attrs->groups));
    return end_moved(chain, &m);
}

static clq_status write_lrn(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                            size_t count) {
    const clq_lrn_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    moves m;
    CLQ_TRY(begin_channels(chain, graph_node, inputs, count, &m, &node));
    CLQ_TRY(onnx_save_float(chain->save, node, "alpha", attrs->alpha));
    CLQ_TRY(onnx_save_float(chain->save, node, "beta", attrs->beta));
    CLQ_TRY(onnx_save_float(chain->save, node, "bias", attrs->bias));
    CLQ_TRY(onnx_save_int(chain->save, node, "size", attrs->size));
    return end_moved(chain, &m);
}

const onnx_operator onnx_norm_operators[] = {
    {"BatchNormalization", .read = read_batch_norm, .op = "batch_norm", .write = write_batch_norm},
    {"LayerNormalization", .read = read_layer_norm, .op = "layer_norm", .opset = 17,
     .write = write_layer_norm},
    {"InstanceNormalization", .read = read_instance_norm, .op = "instance_norm",
     .write = write_instance_norm},
    {"GroupNormalization", .read = read_group_norm, .op = "group_norm", .opset = 21,
     .write = write_group_norm},
    {"LRN", .read = read_lrn, .op = "lrn", .write = write_lrn},
    {0},
};

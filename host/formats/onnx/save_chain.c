/* The ONNX nodes of one graph node, and those of the graph's ends. */
#include <string.h>

#include "formats/onnx/operators.h"

/* One more ONNX node, reading inputs[0..count); the first of a chain has the base's name. */
clq_status onnx_save_step(onnx_chain *chain, const char *op, const char *const *inputs,
                          size_t count, Onnx__NodeProto **node) {
    onnx_saver *save = chain->save;
    char *path;
    const char *output;
    CLQ_TRY(clq_arena_format(&save->arena, &path, "%s/%s", chain->base, op));
    if (strcmp(op, chain->last) == 0) {
        output = save->reads[chain->value];
    } else {
        CLQ_TRY(onnx_save_name(save, &save->values, path, &output));
    }
    bool first = clq_names_find(&save->nodes, chain->base) < 0;
    CLQ_TRY(onnx_save_node(save, op, first ? chain->base : path, inputs, count, output, node));
    chain->current = output;
    return CLQ_OK;
}

/* Behind the operator `op`: which step is the last. */
void onnx_save_plan(onnx_chain *chain, const char *op, clq_act act) {
    bool quantized = chain->save->graph->values[chain->value].q.count > 0;
    chain->last = quantized              ? "DequantizeLinear"
                  : act == CLQ_ACT_RELU  ? "Relu"
                  : act == CLQ_ACT_RELU6 ? "Clip"
                                         : op;
}

clq_status onnx_save_clip(onnx_chain *chain) {
    onnx_saver *save = chain->save;
    Onnx__NodeProto *node;
    if (!save->six) {
        CLQ_TRY(onnx_save_scalar(save, "relu6_min", 0, &save->zero));
        CLQ_TRY(onnx_save_scalar(save, "relu6_max", 6, &save->six));
    }
    const char *inputs[3] = {chain->current, save->zero, save->six};
    return onnx_save_step(chain, "Clip", inputs, 3, &node);
}

/* To codes and back, by inputs[1] and [2]: the last steps of a chain. */
clq_status onnx_save_finish_codes(onnx_chain *chain, const char *inputs[3]) {
    const clq_qparams *q = &chain->save->graph->values[chain->value].q;
    Onnx__NodeProto *node;
    const char *clip[3];
    bool needed;
    inputs[0] = chain->current;
    CLQ_TRY(onnx_save_step(chain, "QuantizeLinear", inputs, 3, &node));
    CLQ_TRY(onnx_save_limits(chain->save, q->type, chain->current, clip, &needed));
    if (needed) {
        CLQ_TRY(onnx_save_step(chain, "Clip", clip, 3, &node));
    }
    inputs[0] = chain->current;
    return onnx_save_step(chain, "DequantizeLinear", inputs, 3, &node);
}

/* The fused activation, then the rounding to codes and back. */
clq_status onnx_save_finish(onnx_chain *chain, clq_act act) {
    onnx_saver *save = chain->save;
    const clq_qparams *q = &save->graph->values[chain->value].q;
    Onnx__NodeProto *node;
    const char *inputs[3];
    if (act == CLQ_ACT_RELU) {
        CLQ_TRY(onnx_save_step(chain, "Relu", &chain->current, 1, &node));
    } else if (act == CLQ_ACT_RELU6) {
        CLQ_TRY(onnx_save_clip(chain));
    }
    if (q->count > 0) {
        const clq_qparams bytes = onnx_byte_qparams(q);
        CLQ_TRY(onnx_save_qparams(save, chain->base, &bytes, chain->current, inputs));
        CLQ_TRY(onnx_save_finish_codes(chain, inputs));
    }
    return CLQ_OK;
}

/* The name that readers of a node's value take: an output's is set already. */
static clq_status name_output(onnx_saver *save, const clq_node *node) {
    if (save->reads[node->output]) {
        return CLQ_OK;
    }
    return onnx_save_name(save, &save->values, save->graph->values[node->output].name,
                          &save->reads[node->output]);
}

clq_status onnx_save_graph_node(onnx_saver *save, const clq_node *node) {
    const char *inputs[CLQ_MAX_INPUTS];
    size_t count = 0;
    for (int i = 0; i < node->input_count; i++) {
        int value = node->inputs[i];
        if (value == CLQ_NO_VALUE) {
            continue; /* only a last one can be absent: the bias */
        }
        if (save->graph->values[value].data) {
            CLQ_TRY(onnx_save_parameter(save, value, &inputs[count]));
        } else {
            inputs[count] = save->reads[value];
        }
        count++;
    }
    CLQ_TRY(name_output(save, node));
    const onnx_operator *found = onnx_find_writer(node->op->name);
    if (!found) {
        return clq_fail(CLQ_USAGE, "%s \"%s\": cannot be written as ONNX", node->op->name,
                        node->name);
    }
    onnx_chain chain = {
        .save = save, .value = node->output, .base = node->name, .onnx = found->name};
    return found->write(&chain, node, inputs, count);
}

/* ---- axes ---- */

/* The place of a value's axis in a list; -1: it is not there. */
static int place_of(const clq_axes *axes, int axis) {
    for (int k = 0; axis >= 0 && k < axes->rank; k++) {
        if (axes->axis[k] == axis) {
            return k;
        }
    }
    return -1;
}

int onnx_file_axis(const clq_shape *shape, int axis) {
    static const clq_axes none = {0};
    const clq_axes axes = clq_axes_of(&none, shape->rank);
    return place_of(&axes, axis);
}

/* Squeeze or Unsqueeze of those of `axes` that `other` has not; *left are the others. */
static int find_ones(const clq_axes *axes, const clq_axes *other, int64_t *ones, clq_axes *left) {
    int count = 0;
    left->rank = 0;
    for (int k = 0; k < axes->rank; k++) {
        if (place_of(other, axes->axis[k]) < 0) {
            ones[count++] = k;
        } else {
            left->axis[left->rank++] = axes->axis[k];
        }
    }
    return count;
}

/* One node of those below; the last one makes `output`, the others a new value. */
static clq_status save_view(onnx_saver *save, const char *of, const char *op, const char *ones_name,
                            const int64_t *ones, int count, bool last, const char *output,
                            const char **x, Onnx__NodeProto **node) {
    const char *inputs[2] = {*x}, *made = output;
    char *path;
    CLQ_TRY(clq_arena_format(&save->arena, &path, "%s/%s", of, op));
    if (count > 0) {
        CLQ_TRY(onnx_save_longs(save, ones_name, ones, (size_t)count, &inputs[1]));
    }
    if (!last || !output) {
        CLQ_TRY(onnx_save_name(save, &save->values, path, &made));
    }
    *x = made;
    return onnx_save_node(save, op, path, inputs, count > 0 ? 2 : 1, made, node);
}

clq_status onnx_save_axes(onnx_saver *save, const char *of, const clq_axes *from,
                          const clq_axes *to, const char *output, const char **x) {
    int64_t dropped[CLQ_MAX_AXES], added[CLQ_MAX_AXES];
    clq_axes before, after;
    int perm[CLQ_MAX_AXES];
    bool moves = false;
    Onnx__NodeProto *node;
    const int drops = find_ones(from, to, dropped, &before);
    const int adds = find_ones(to, from, added, &after);
    for (int k = 0; k < after.rank; k++) {
        perm[k] = place_of(&before, after.axis[k]);
        moves = moves || perm[k] != k;
    }
    if (drops > 0) {
        CLQ_TRY(save_view(save, of, "Squeeze", "squeeze_axes", dropped, drops, !moves && !adds,
                          output, x, &node));
    }
    if (moves) {
        CLQ_TRY(save_view(save, of, "Transpose", NULL, NULL, 0, !adds, output, x, &node));
        CLQ_TRY(onnx_save_ints(save, node, "perm", perm, (size_t)after.rank));
    }
    if (adds > 0) {
        CLQ_TRY(save_view(save, of, "Unsqueeze", "unsqueeze_axes", added, adds, true, output, x,
                          &node));
    }
    return CLQ_OK;
}

clq_axes onnx_save_kept_axes(const onnx_saver *save, int value) {
    static const clq_axes none = {0};
    return clq_axes_of(&none, save->graph->values[value].shape.rank);
}

bool onnx_is_column(const onnx_saver *save, int value) {
    const int rank = save->graph->values[value].shape.rank;
    return rank == 3 || rank == 5;
}

clq_status onnx_save_column(onnx_chain *chain, int value, const char **x) {
    static const clq_axes last = {4, {0, 1, 2, 3}}, first = {4, {0, 3, 1, 2}};
    onnx_saver *save = chain->save;
    const clq_shape *shape = &save->graph->values[value].shape;
    const int64_t channels = shape->dim[shape->rank - 1];
    const int64_t dim[4] = {0, clq_shape_count(shape) / channels, 1, channels};
    const char *inputs[2] = {*x};
    Onnx__NodeProto *node;
    char *path;
    if (!onnx_is_column(save, value)) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_format(&save->arena, &path, "%s/Reshape", chain->base));
    CLQ_TRY(onnx_save_longs(save, "column_shape", dim, 4, &inputs[1]));
    CLQ_TRY(onnx_save_name(save, &save->values, path, x));
    CLQ_TRY(onnx_save_node(save, "Reshape", path, inputs, 2, *x, &node));
    return onnx_save_axes(save, chain->base, &last, &first, NULL, x);
}

clq_status onnx_save_from_column(onnx_chain *chain, int value) {
    static const int perm[4] = {0, 2, 3, 1};
    onnx_saver *save = chain->save;
    const clq_shape *shape = &save->graph->values[value].shape;
    int64_t dim[CLQ_MAX_RANK] = {0};
    const char *inputs[2];
    Onnx__NodeProto *node;
    if (!onnx_is_column(save, value)) {
        return CLQ_OK;
    }
    for (int k = 1; k < shape->rank; k++) {
        dim[k] = shape->dim[k];
    }
    CLQ_TRY(onnx_save_step(chain, "Transpose", &chain->current, 1, &node));
    CLQ_TRY(onnx_save_ints(save, node, "perm", perm, 4));
    inputs[0] = chain->current;
    CLQ_TRY(onnx_save_longs(save, "column_back", dim, (size_t)shape->rank, &inputs[1]));
    return onnx_save_step(chain, "Reshape", inputs, 2, &node);
}

static bool same_axes(const clq_axes *a, const clq_axes *b) {
    return a->rank == b->rank && memcmp(a->axis, b->axis, (size_t)a->rank * sizeof *a->axis) == 0;
}

/* Whether an output is the value as the file has it. */
static bool is_kept(const onnx_saver *save, const clq_graph_end *end, clq_axes *kept,
                    clq_axes *axes) {
    *kept = onnx_save_kept_axes(save, end->value);
    *axes = clq_axes_of(&end->axes, kept->rank);
    return same_axes(kept, axes);
}

/* ---- the graph's ends ---- */

clq_status onnx_save_output_names(onnx_saver *save) {
    for (int i = 0; i < save->graph->output_count; i++) {
        const clq_graph_end *end = &save->graph->outputs[i];
        const char *name = clq_graph_output_name(save->graph, i);
        const char **reads = &save->reads[end->value];
        clq_axes kept, axes;
        CLQ_TRY(clq_names_set(&save->values, name, 1));
        if (is_kept(save, end, &kept, &axes)) {
            *reads = *reads ? *reads : name;
        }
    }
    return CLQ_OK;
}

clq_status onnx_save_more_outputs(onnx_saver *save) {
    for (int i = 0; i < save->graph->output_count; i++) {
        const clq_graph_end *end = &save->graph->outputs[i];
        const char *name = clq_graph_output_name(save->graph, i);
        const char *made = save->reads[end->value];
        Onnx__NodeProto *node;
        clq_axes kept, axes;
        if (!is_kept(save, end, &kept, &axes)) {
            CLQ_TRY(onnx_save_axes(save, name, &kept, &axes, name, &made));
        } else if (strcmp(made, name) != 0) {
            CLQ_TRY(onnx_save_node(save, "Identity", name, &made, 1, name, &node));
        }
    }
    return CLQ_OK;
}

clq_status onnx_save_inputs(onnx_saver *save) {
    for (int i = 0; i < save->graph->input_count; i++) {
        const clq_value *input = &save->graph->values[save->graph->inputs[i]];
        const char **reads = &save->reads[save->graph->inputs[i]];
        const clq_axes kept = onnx_save_kept_axes(save, save->graph->inputs[i]);
        const clq_axes axes = clq_axes_of(&save->graph->input_axes[i], kept.rank);
        const char *inputs[3];
        *reads = input->name;
        CLQ_TRY(clq_names_set(&save->values, input->name, 1));
        CLQ_TRY(onnx_save_axes(save, input->name, &axes, &kept, NULL, reads));
        if (input->q.count > 0) {
            CLQ_TRY(onnx_save_rounding(save, input->name, &input->q, *reads, inputs, reads));
        }
    }
    return CLQ_OK;
}

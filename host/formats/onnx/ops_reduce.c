/* Reductions over axes, and places of extremes along one. */
#include <limits.h>
#include <string.h>

#include "formats/onnx/operators.h"
#include "graph/node.h"

/* ---- reading ---- */

/* The file's axes that a node reduces, as bits; none where it says so. */
static clq_status read_axes(onnx_loader *load, onnx_node *node, const onnx_operand *x,
                            unsigned *reduced) {
    const int64_t *axes = NULL;
    size_t count = 0;
    int64_t noop = 0;
    CLQ_TRY(onnx_attribute_ints(node, "axes", &axes, &count));
    if (count == 0) {
        CLQ_TRY(onnx_want_integers(load, node, 1, "axes", &axes, &count));
    }
    CLQ_TRY(onnx_attribute_int(node, "noop_with_empty_axes", 0, 1, &noop));
    *reduced = count == 0 && !noop ? (1u << x->rank) - 1 : 0;
    for (size_t i = 0; i < count; i++) {
        int axis;
        CLQ_TRY(onnx_want_axis(node, x, axes[i], &axis));
        *reduced |= 1u << axis;
    }
    return CLQ_OK;
}

/* Where these axes are stored, as bits. */
static clq_status stored_axes(const onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                              unsigned reduced, unsigned *stored) {
    *stored = 0;
    for (int k = 0; k < x->rank; k++) {
        if (!(reduced & 1u << k) || x->axis[k] < 0) {
            continue;
        }
        if (x->axis[k] == 0 && load->batch != 1) {
            return onnx_fail(node, "goes over the batch: images must stay apart");
        }
        /* A batch of 1 is reduced by leaving it. */
        const bool one = load->graph->values[x->value].shape.dim[x->axis[k]] == 1;
        *stored |= x->axis[k] > 0 || !one ? 1u << x->axis[k] : 0;
    }
    return CLQ_OK;
}

/* The axes of a result: reduced ones stay, with 1 element, or go. */
static onnx_operand left_axes(const onnx_operand *x, unsigned reduced, bool keep) {
    onnx_operand left = {.rank = 0};
    for (int k = 0; k < x->rank; k++) {
        if (keep || !(reduced & 1u << k)) {
            left.axis[left.rank++] = x->axis[k];
        }
    }
    return left;
}

/* The mean over height and width has an operator of its own, whose result is (N, C). */
static clq_status add_pool(onnx_loader *load, onnx_node *node, onnx_operand *x,
                           const onnx_operand *left) {
    onnx_operand pooled = *left;
    for (int k = 0; k < pooled.rank; k++) {
        const int axis = pooled.axis[k];
        pooled.axis[k] = axis == 3 ? 1 : axis == 0 ? 0 : -1;
    }
    return onnx_add_global_pool(load, node, x, &pooled);
}

static clq_status read_reduce(onnx_loader *load, onnx_node *node, const char *op) {
    const bool mean = strcmp(op, "reduce_mean") == 0;
    /* Of one element these are the element. */
    const bool plain = mean || strcmp(op, "reduce_sum") == 0 || strcmp(op, "reduce_max") == 0 ||
                       strcmp(op, "reduce_min") == 0 || strcmp(op, "reduce_prod") == 0 ||
                       strcmp(op, "reduce_log_sum_exp") == 0;
    clq_reduce_attrs attrs = {.keep = true};
    onnx_operand x;
    int64_t keepdims = 1;
    unsigned reduced;
    CLQ_TRY(onnx_want_inputs(node, 1, 2));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    CLQ_TRY(onnx_attribute_int(node, "keepdims", 0, 1, &keepdims));
    CLQ_TRY(read_axes(load, node, &x, &reduced));
    CLQ_TRY(stored_axes(load, node, &x, reduced, &attrs.axes));
    if (attrs.axes == 0 && !plain) { /* over dimensions of 1, which get places */
        CLQ_TRY(onnx_store_all(load, node, &x));
        CLQ_TRY(stored_axes(load, node, &x, reduced, &attrs.axes));
    }
    const onnx_operand left = left_axes(&x, reduced, keepdims != 0);
    if (attrs.axes == 0 && !plain) { /* of each element alone */
        static const clq_binary_attrs times = {CLQ_ACT_NONE};
        return strcmp(op, "reduce_sum_square") == 0
                   ? onnx_add_node(load, node, "mul", NULL, &times, (int[]){x.value, x.value}, 2,
                                   &left)
                   : onnx_add_node(load, node, "abs", NULL, NULL, &x.value, 1, &left);
    }
    if (attrs.axes == 0) {
        x.rank = left.rank;
        memcpy(x.axis, left.axis, sizeof left.axis);
        return onnx_bind_output(load, node, &x);
    }
    if (mean && load->graph->values[x.value].shape.rank == 4 && attrs.axes == 6) {
        return add_pool(load, node, &x, &left);
    }
    return onnx_add_node(load, node, op, NULL, &attrs, &x.value, 1, &left);
}

#define READ_REDUCE(NAME)                                                                          \
    static clq_status read_reduce_##NAME(onnx_loader *load, onnx_node *node) {                     \
        return read_reduce(load, node, "reduce_" #NAME);                                           \
    }
READ_REDUCE(mean)
READ_REDUCE(sum)
READ_REDUCE(max)
READ_REDUCE(min)
READ_REDUCE(prod)
READ_REDUCE(l1)
READ_REDUCE(l2)
READ_REDUCE(sum_square)
READ_REDUCE(log_sum_exp)

static clq_status read_arg(onnx_loader *load, onnx_node *node, const char *op) {
    clq_arg_attrs attrs = {.keep = true};
    onnx_operand x;
    int64_t axis = 0, keepdims = 1, last = 0;
    int place;
    unsigned stored;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    CLQ_TRY(onnx_attribute_int(node, "axis", INT_MIN, INT_MAX, &axis));
    CLQ_TRY(onnx_attribute_int(node, "keepdims", 0, 1, &keepdims));
    CLQ_TRY(onnx_attribute_int(node, "select_last_index", 0, 1, &last));
    CLQ_TRY(onnx_want_axis(node, &x, axis, &place));
    if (x.axis[place] < 0) {
        CLQ_TRY(onnx_store_all(load, node, &x));
    }
    CLQ_TRY(stored_axes(load, node, &x, 1u << place, &stored));
    if (stored == 0) {
        return onnx_fail(node, "goes over the batch: images must stay apart");
    }
    attrs.axis = x.axis[place];
    attrs.last = last != 0;
    const onnx_operand left = left_axes(&x, 1u << place, keepdims != 0);
    return onnx_add_node(load, node, op, NULL, &attrs, &x.value, 1, &left);
}

static clq_status read_arg_max(onnx_loader *load, onnx_node *node) {
    return read_arg(load, node, "arg_max");
}

static clq_status read_arg_min(onnx_loader *load, onnx_node *node) {
    return read_arg(load, node, "arg_min");
}

/* ---- writing ---- */

static int place_of(const clq_axes *axes, int axis) {
    for (int k = 0; k < axes->rank; k++) {
        if (axes->axis[k] == axis) {
            return k;
        }
    }
    return -1;
}

/* The permutation from the axes that a node without its reduced ones leaves to those that the file
 * has of its output; false: it is none. */
static bool moves_result(const onnx_chain *chain, const clq_node *node, unsigned axes, bool keep,
                         int *perm, size_t *rank) {
    const clq_axes x = onnx_save_kept_axes(chain->save, node->inputs[0]);
    const clq_axes y = onnx_save_kept_axes(chain->save, node->output);
    clq_axes left = {.rank = 0}; /* numbered as the output's */
    bool moves = false;
    for (int k = 0; k < x.rank; k++) {
        int place = 0;
        for (int axis = 0; axis < x.axis[k]; axis++) {
            place += keep || !(axes >> axis & 1);
        }
        if (keep || !(axes >> x.axis[k] & 1)) {
            left.axis[left.rank++] = place;
        }
    }
    for (int k = 0; k < y.rank; k++) {
        perm[k] = place_of(&left, y.axis[k]);
        moves = moves || perm[k] != k;
    }
    *rank = (size_t)y.rank;
    return moves;
}

static clq_status finish_result(onnx_chain *chain, bool moves, const int *perm, size_t rank) {
    Onnx__NodeProto *node;
    if (moves) {
        CLQ_TRY(onnx_save_step(chain, "Transpose", &chain->current, 1, &node));
        CLQ_TRY(onnx_save_ints(chain->save, node, "perm", perm, rank));
    }
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* Axes as an attribute, or since opset 18 as an input; those of ReduceSum since 13. */
static clq_status write_reduce(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                               size_t count) {
    enum { SUM_OPSET = 13, OPSET = 18 };
    const clq_reduce_attrs *attrs = graph_node->attrs;
    const clq_axes x = onnx_save_kept_axes(chain->save, graph_node->inputs[0]);
    const int opset = strcmp(chain->onnx, "ReduceSum") == 0 ? SUM_OPSET : OPSET;
    const bool as_input = chain->save->opset >= opset;
    int64_t axes[CLQ_MAX_RANK];
    int as_ints[CLQ_MAX_RANK], perm[CLQ_MAX_RANK];
    const char *with_axes[2] = {inputs[0]};
    size_t axis_count = 0, rank;
    char *name;
    Onnx__NodeProto *node;
    const bool moves = moves_result(chain, graph_node, attrs->axes, attrs->keep, perm, &rank);
    for (int k = 0; k < x.rank; k++) {
        if (attrs->axes >> x.axis[k] & 1) {
            axes[axis_count] = as_ints[axis_count] = k;
            axis_count++;
        }
    }
    (void)count;
    onnx_save_plan(chain, moves ? "Transpose" : chain->onnx, CLQ_ACT_NONE);
    if (as_input) {
        CLQ_TRY(clq_arena_format(&chain->save->arena, &name, "%s.axes", chain->base));
        CLQ_TRY(onnx_save_longs(chain->save, name, axes, axis_count, &with_axes[1]));
    }
    CLQ_TRY(onnx_save_step(chain, chain->onnx, with_axes, as_input ? 2 : 1, &node));
    if (!as_input) {
        CLQ_TRY(onnx_save_ints(chain->save, node, "axes", as_ints, axis_count));
    }
    CLQ_TRY(onnx_save_int(chain->save, node, "keepdims", attrs->keep));
    return finish_result(chain, moves, perm, rank);
}

/* Places are integers in files, and floats here. */
static clq_status write_arg(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                            size_t count) {
    const clq_arg_attrs *attrs = graph_node->attrs;
    const clq_axes x = onnx_save_kept_axes(chain->save, graph_node->inputs[0]);
    int perm[CLQ_MAX_RANK];
    size_t rank;
    Onnx__NodeProto *node;
    const clq_layout *layout = &chain->save->layouts[graph_node->inputs[0]];
    if (layout->pixels > 1 && layout->channels > 1) {
        return clq_fail(CLQ_USAGE,
                        "%s \"%s\": cannot be written behind a flattened image, whose elements "
                        "files have in another order",
                        graph_node->op->name, graph_node->name);
    }
    const bool moves = moves_result(chain, graph_node, 1u << attrs->axis, attrs->keep, perm, &rank);
    onnx_save_plan(chain, moves ? "Transpose" : "Cast", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, chain->onnx, inputs, count, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "axis", place_of(&x, attrs->axis)));
    CLQ_TRY(onnx_save_int(chain->save, node, "keepdims", attrs->keep));
    CLQ_TRY(onnx_save_int(chain->save, node, "select_last_index", attrs->last));
    CLQ_TRY(onnx_save_step(chain, "Cast", &chain->current, 1, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "to", ONNX_FLOAT));
    return finish_result(chain, moves, perm, rank);
}

const onnx_operator onnx_reduce_operators[] = {
    {"ReduceMean", read_reduce_mean, .op = "reduce_mean", .write = write_reduce},
    {"ReduceSum", read_reduce_sum, .op = "reduce_sum", .write = write_reduce},
    {"ReduceMax", read_reduce_max, .op = "reduce_max", .write = write_reduce},
    {"ReduceMin", read_reduce_min, .op = "reduce_min", .write = write_reduce},
    {"ReduceProd", read_reduce_prod, .op = "reduce_prod", .write = write_reduce},
    {"ReduceL1", read_reduce_l1, .op = "reduce_l1", .write = write_reduce},
    {"ReduceL2", read_reduce_l2, .op = "reduce_l2", .write = write_reduce},
    {"ReduceSumSquare", read_reduce_sum_square, .op = "reduce_sum_square", .write = write_reduce},
    {"ReduceLogSumExp", read_reduce_log_sum_exp, .op = "reduce_log_sum_exp", .write = write_reduce},
    {"ArgMax", read_arg_max, .op = "arg_max", .write = write_arg},
    {"ArgMin", read_arg_min, .op = "arg_min", .write = write_arg},
    {0},
};

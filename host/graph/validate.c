/* The full check of a graph that came from outside: nothing else looks at a graph so closely. */
#include <clquant/graph.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arguments.h"
#include "base/text.h"
#include "graph/node.h"
#include "graph/shape.h"

/* ---- values ---- */

static clq_status check_finite(const clq_value *value) {
    const float *data = value->data;
    int64_t count = clq_shape_count(&value->shape);
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(data[i])) {
            return clq_fail(CLQ_BAD_DATA, "\"%s\": element %lld is %f, must be finite", value->name,
                            (long long)i, (double)data[i]);
        }
    }
    return CLQ_OK;
}

static clq_status check_qparams(const clq_value *value) {
    const clq_qparams *q = &value->q;
    int64_t channels = clq_is_constant(value) ? value->shape.dim[0] : 1;
    if (q->count == 0) {
        return CLQ_OK;
    }
    if ((q->count != 1 && q->count != channels) || !q->scale) {
        return clq_fail(CLQ_BAD_DATA, "\"%s\": has %lld scale%s, wants 1%s", value->name,
                        (long long)q->count, clq_plural(q->count),
                        channels > 1 ? " or one a channel" : "");
    }
    for (int64_t i = 0; i < q->count; i++) {
        /* Some devices flush subnormals. A bias scale is a product that only the host computes
         * with. */
        float least = q->type == CLQ_Q_S32 ? FLT_TRUE_MIN : FLT_MIN;
        if (!isfinite(q->scale[i]) || q->scale[i] < least) {
            return clq_fail(CLQ_BAD_DATA,
                            "\"%s\": scale %lld is %g, must be finite and at least %g", value->name,
                            (long long)i, (double)q->scale[i], (double)least);
        }
    }
    bool activation = !clq_is_constant(value);
    const clq_qtype_info *type = clq_qtype_get(q->type);
    if (!type ||
        !(activation ? clq_qtype_for_activations(q->type)
                     : clq_qtype_for_weights(q->type) || q->type == CLQ_Q_S32) ||
        (value->dtype != CLQ_F32 && value->dtype != type->storage)) {
        return clq_fail(CLQ_BAD_DATA, "\"%s\": quantized as %s, which %s cannot be", value->name,
                        type ? type->name : "no known type",
                        activation ? "an activation" : "a parameter");
    }
    /* Of other parameters check_node asks the operator. */
    const bool centred = !activation && (q->count > 1 || q->type == CLQ_Q_S32);
    const int32_t lowest = centred ? 0 : type->lowest, highest = centred ? 0 : type->highest;
    if (q->zero_point < lowest || q->zero_point > highest) {
        return clq_fail(CLQ_BAD_DATA, "\"%s\": zero point %d must be %d..%d", value->name,
                        q->zero_point, lowest, highest);
    }
    return CLQ_OK;
}

/* Names end up in files, which hold nothing but UTF-8. */
static clq_status check_text(const char *what, const char *name) {
    return clq_is_utf8(name)
               ? CLQ_OK
               : clq_fail(CLQ_BAD_DATA, "%s \"%.100s\": its name is not UTF-8", what, name);
}

static bool is_input(const clq_graph *graph, int id) {
    for (int i = 0; i < graph->input_count; i++) {
        if (graph->inputs[i] == id) {
            return true;
        }
    }
    return false;
}

static clq_status check_value(const clq_graph *graph, int id) {
    const clq_value *value = &graph->values[id];
    if (!value->name || value->name[0] == '\0') {
        return clq_fail(CLQ_BAD_DATA, "value %d: has no name", id);
    }
    CLQ_TRY(check_text("value", value->name));
    if ((unsigned)value->kind > CLQ_VALUE_STATE || clq_dtype_bytes(value->dtype, 1) == 0) {
        return clq_fail(CLQ_BAD_DATA, "\"%s\": kind %d or dtype %d is unknown", value->name,
                        (int)value->kind, (int)value->dtype);
    }
    CLQ_TRY(clq_fail_in(clq_shape_check(&value->shape), "\"%s\"", value->name));
    if (clq_is_constant(value) != (value->data != NULL)) {
        return clq_fail(CLQ_BAD_DATA, "\"%s\": %s", value->name,
                        value->data ? "an activation has no data" : "a parameter needs data");
    }
    if (value->kind == CLQ_VALUE_INPUT && !is_input(graph, id)) {
        return clq_fail(CLQ_BAD_DATA, "\"%s\": is not among the graph's inputs", value->name);
    }
    bool produced = value->kind == CLQ_VALUE_ACTIVATION;
    if (produced ? value->producer < 0 || value->producer >= graph->node_count ||
                       graph->nodes[value->producer].output != id
                 : value->producer != -1) {
        return clq_fail(CLQ_BAD_DATA, "\"%s\": producer %d is not the node that writes it",
                        value->name, value->producer);
    }
    if (value->data && value->dtype == CLQ_F32) {
        CLQ_TRY(check_finite(value));
    }
    if (value->dtype != CLQ_F32 && value->q.count == 0) {
        return clq_fail(CLQ_BAD_DATA, "\"%s\": integers without a scale", value->name);
    }
    return check_qparams(value);
}

/* ---- nodes ---- */

static clq_status check_node(const clq_graph *graph, int index) {
    const clq_node *node = &graph->nodes[index];
    if (!node->op || !node->name || node->name[0] == '\0' || !node->attrs) {
        return clq_fail(CLQ_BAD_DATA, "node %d: has no operator, name or attributes", index);
    }
    const char *op = node->op->name, *name = node->name;
    CLQ_TRY(check_text(op, name));
    if (node->input_count < node->op->min_inputs || node->input_count > node->op->max_inputs ||
        node->input_count > CLQ_MAX_INPUTS) {
        return clq_fail(CLQ_BAD_DATA, "%s \"%s\": has %d input%s, wants %d..%d", op, name,
                        node->input_count, clq_plural(node->input_count), node->op->min_inputs,
                        node->op->max_inputs);
    }
    for (int i = 0; i < node->input_count; i++) {
        int id = node->inputs[i];
        if (id == CLQ_NO_VALUE && i >= node->op->min_inputs) {
            continue;
        }
        if (id < 0 || id >= graph->value_count) {
            return clq_fail(CLQ_BAD_DATA, "%s \"%s\": input %d is %d, no value of the graph", op,
                            name, i, id);
        }
        const clq_value *value = &graph->values[id];
        if (clq_is_constant(value) && value->q.zero_point != 0 &&
            !(node->op->flags & CLQ_OP_ANY_ZERO)) {
            return clq_fail(CLQ_BAD_DATA, "%s \"%s\": \"%s\" has the zero point %d, must have 0",
                            op, name, value->name, value->q.zero_point);
        }
        if (value->producer >= index) {
            return clq_fail(CLQ_BAD_DATA, "%s \"%s\": reads \"%s\" before it is made", op, name,
                            value->name);
        }
    }
    int out = node->output;
    if (out < 0 || out >= graph->value_count || graph->values[out].producer != index ||
        graph->values[out].kind != CLQ_VALUE_ACTIVATION) {
        return clq_fail(CLQ_BAD_DATA, "%s \"%s\": output %d is not its own value", op, name, out);
    }
    clq_shape shape = {0};
    CLQ_TRY(node->op->infer(graph, node, &shape));
    if (!clq_shape_equal(&shape, &graph->values[out].shape)) {
        char is[CLQ_SHAPE_TEXT_SIZE], wants[CLQ_SHAPE_TEXT_SIZE];
        clq_shape_text(&graph->values[out].shape, is, sizeof is);
        clq_shape_text(&shape, wants, sizeof wants);
        return clq_fail(CLQ_BAD_DATA, "%s \"%s\": output shape is %s, must be %s", op, name, is,
                        wants);
    }
    return CLQ_OK;
}

/* ---- names ---- */

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts `names`. */
static clq_status check_unique(const char **names, int count, const char *what) {
    qsort(names, (size_t)count, sizeof *names, compare_names);
    for (int i = 1; i < count; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            return clq_fail(CLQ_BAD_DATA, "two %s are named \"%s\"", what, names[i]);
        }
    }
    return CLQ_OK;
}

/* One namespace for callers, who give inputs and get outputs by name. */
static clq_status check_end_names(const clq_graph *graph) {
    const char *names[2 * CLQ_MAX_ENDS];
    int count = 0;
    for (int i = 0; i < graph->input_count; i++) {
        names[count++] = clq_graph_input_name(graph, i);
    }
    for (int i = 0; i < graph->output_count; i++) {
        names[count] = clq_graph_output_name(graph, i);
        CLQ_TRY(check_text("output", names[count++]));
    }
    return check_unique(names, count, "inputs or outputs");
}

static clq_status check_names(const clq_graph *graph) {
    int most = graph->value_count > graph->node_count ? graph->value_count : graph->node_count;
    const char **names = clq_calloc((size_t)most, sizeof *names);
    if (!names) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < graph->value_count; i++) {
        names[i] = graph->values[i].name;
    }
    clq_status status = check_unique(names, graph->value_count, "values");
    for (int i = 0; i < graph->node_count; i++) {
        names[i] = graph->nodes[i].name;
    }
    if (status == CLQ_OK) {
        status = check_unique(names, graph->node_count, "nodes");
    }
    clq_free(names);
    return status;
}

/* Each axis of the value once, or it has one element; the others have one element too. */
static bool are_axes(const clq_axes *axes, const clq_shape *shape) {
    bool used[CLQ_MAX_RANK] = {false};
    if (axes->rank < CLQ_NO_AXES || axes->rank > CLQ_MAX_AXES) {
        return false;
    }
    for (int k = 0; k < axes->rank; k++) {
        const int axis = axes->axis[k];
        if (axis < -1 || axis >= shape->rank || (axis >= 0 && used[axis])) {
            return false;
        }
        if (axis >= 0) {
            used[axis] = true;
        }
    }
    for (int d = 0; axes->rank != 0 && d < shape->rank; d++) {
        if (!used[d] && shape->dim[d] != 1) {
            return false;
        }
    }
    return true;
}

static clq_status check_axes(const clq_graph *graph) {
    for (int i = 0; i < graph->input_count; i++) {
        if (!are_axes(&graph->input_axes[i], &graph->values[graph->inputs[i]].shape)) {
            return clq_fail(CLQ_BAD_DATA, "input \"%s\": axes that do not fit its shape",
                            clq_graph_input_name(graph, i));
        }
    }
    for (int i = 0; i < graph->output_count; i++) {
        const clq_graph_end *end = &graph->outputs[i];
        if (!are_axes(&end->axes, &graph->values[end->value].shape)) {
            return clq_fail(CLQ_BAD_DATA, "output \"%s\": axes that do not fit its shape",
                            clq_graph_output_name(graph, i));
        }
    }
    return CLQ_OK;
}

static clq_status check_ends(const clq_graph *graph) {
    if (graph->value_count < 0 || graph->node_count < 1 || graph->input_count < 1 ||
        graph->input_count > CLQ_MAX_ENDS) {
        return clq_fail(CLQ_BAD_DATA, "graph \"%s\": has no input or no node", graph->name);
    }
    for (int i = 0; i < graph->input_count; i++) {
        const int id = graph->inputs[i];
        if (id < 0 || id >= graph->value_count || graph->values[id].kind != CLQ_VALUE_INPUT) {
            return clq_fail(CLQ_BAD_DATA, "graph \"%s\": input %d is no input value", graph->name,
                            i);
        }
    }
    bool made = graph->output_count >= 1 && graph->output_count <= CLQ_MAX_ENDS;
    for (int i = 0; made && i < graph->output_count; i++) {
        const int id = graph->outputs[i].value;
        made = id >= 0 && id < graph->value_count && graph->values[id].kind == CLQ_VALUE_ACTIVATION;
    }
    return made ? CLQ_OK
                : clq_fail(CLQ_BAD_DATA, "graph \"%s\": an output is not made by a node",
                           graph->name);
}

clq_status clq_graph_validate(const clq_graph *graph) {
    CLQ_NEEDS(graph);
    CLQ_TRY(check_ends(graph));
    CLQ_TRY(check_text("graph", graph->name ? graph->name : ""));
    for (int i = 0; i < graph->value_count; i++) {
        CLQ_TRY(check_value(graph, i));
    }
    for (int i = 0; i < graph->node_count; i++) {
        CLQ_TRY(check_node(graph, i));
    }
    CLQ_TRY(check_axes(graph));
    CLQ_TRY(clq_graph_check_requantizer(graph));
    CLQ_TRY(check_names(graph));
    return check_end_names(graph);
}

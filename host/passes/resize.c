/* The same network for images of another size. */
#include <clquant/ops.h>
#include <clquant/passes.h>
#include <string.h>

#include "base/arguments.h"
#include "graph/ends.h"
#include "graph/shape.h"
#include "ops/registry.h"

/* An axis that was taken whole still is, either way round. */
static clq_status adapt_slice(const clq_node *node, const clq_shape *old, const clq_shape *new) {
    clq_slice_attrs *attrs = node->attrs;
    for (int a = 0; a < old->rank; a++) {
        const bool whole = attrs->count[a] == old->dim[a];
        if (old->dim[a] == new->dim[a]) {
            continue;
        }
        if (!whole) {
            return clq_fail(CLQ_USAGE,
                            "slice \"%s\" names the sizes of axis %d, of which it takes "
                            "a part",
                            node->name, a);
        }
        attrs->start[a] = attrs->step[a] > 0 ? 0 : new->dim[a] - 1;
        attrs->count[a] = new->dim[a];
    }
    return CLQ_OK;
}

/* Axes that are kept: the first ones of a reshape, those of an expand that had more than one
 * element. */
static clq_status adapt_dims(const clq_node *node, const clq_shape *old, const clq_shape *new) {
    clq_reshape_attrs *attrs = node->attrs;
    const bool expands = node->op == &clq_op_expand;
    bool kept = true;
    for (int a = 0; a < old->rank && a < attrs->rank; a++) {
        const bool same = attrs->dim[a] == old->dim[a];
        if (expands && !same && !clq_shape_equal(old, new)) {
            return clq_fail(CLQ_USAGE, "expand \"%s\" names the size of axis %d", node->name, a);
        }
        kept = kept && same;
        attrs->dim[a] = kept || (expands && same) ? new->dim[a] : attrs->dim[a];
    }
    clq_shape shape = {.rank = attrs->rank};
    memcpy(shape.dim, attrs->dim, sizeof shape.dim);
    const bool fits =
        clq_shape_check(&shape) == CLQ_OK && clq_shape_count(&shape) == clq_shape_count(new);
    return expands || fits
               ? CLQ_OK
               : clq_fail(CLQ_USAGE, "reshape \"%s\" names sizes of other images", node->name);
}

/* What names sizes of images of the old size. */
static clq_status adapt_node(const clq_graph *graph, const clq_graph *copy, const clq_node *node) {
    const clq_shape *old = &graph->values[node->inputs[0]].shape;
    const clq_shape *new = &copy->values[node->inputs[0]].shape;
    if (node->op == &clq_op_slice) {
        return adapt_slice(node, old, new);
    }
    return node->op == &clq_op_reshape || node->op == &clq_op_expand ? adapt_dims(node, old, new)
                                                                     : CLQ_OK;
}

static clq_status infer_shapes(const clq_graph *old, clq_graph *graph) {
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        clq_shape shape = {0};
        CLQ_TRY(adapt_node(old, graph, node));
        CLQ_TRY(node->op->infer(graph, node, &shape));
        CLQ_TRY(
            clq_fail_in(clq_shape_check(&shape), "%s \"%s\": output", node->op->name, node->name));
        graph->values[node->output].shape = shape;
    }
    return CLQ_OK;
}

clq_status clq_graph_resize(const clq_graph *graph, int height, int width, clq_graph **resized) {
    CLQ_NEEDS(graph, resized);
    CLQ_NEEDS_ENDS(graph);
    CLQ_TRY(clq_graph_check_single(graph, "another image size is for"));
    const clq_shape *input = &graph->values[clq_graph_input(graph)].shape;
    clq_graph *copy = NULL;
    *resized = NULL;
    if (input->rank != 4 || height < 1 || width < 1) {
        return clq_fail(CLQ_USAGE, "graph \"%s\": its input of rank %d cannot become %dx%d",
                        graph->name, input->rank, height, width);
    }
    CLQ_TRY(clq_graph_clone(graph, &copy));
    clq_shape *shape = &copy->values[clq_graph_input(copy)].shape;
    shape->dim[1] = height;
    shape->dim[2] = width;
    const clq_status status =
        clq_fail_in(infer_shapes(graph, copy), "with inputs of %dx%d", height, width);
    if (status != CLQ_OK) {
        clq_graph_destroy(copy);
        return status;
    }
    *resized = copy;
    return CLQ_OK;
}

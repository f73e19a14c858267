/* The same network for images of another size. */
#include <clquant/ops.h>
#include <clquant/passes.h>

#include "base/arguments.h"
#include "graph/ends.h"
#include "graph/shape.h"

static clq_status infer_shapes(clq_graph *graph) {
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        clq_shape shape = {0};
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
        clq_fail_in(infer_shapes(copy), "with inputs of %dx%d", height, width);
    if (status != CLQ_OK) {
        clq_graph_destroy(copy);
        return status;
    }
    *resized = copy;
    return CLQ_OK;
}

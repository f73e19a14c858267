/* reshape: the same elements in the same order with other axes. flatten: (N,..) -> (N,F). Floats
 * stay where they are unless the input is still needed elsewhere. */
#include "graph/shape.h"
#include "ops/elementwise.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status infer_reshape(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_reshape_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    char from[CLQ_SHAPE_TEXT_SIZE], to[CLQ_SHAPE_TEXT_SIZE];
    if (attrs->rank < 2 || attrs->rank > CLQ_MAX_RANK) {
        return clq_op_broken(node, "%d dimensions must be 2 to %d", attrs->rank, CLQ_MAX_RANK);
    }
    *output = (clq_shape){.rank = attrs->rank};
    for (int a = 0; a < attrs->rank; a++) {
        output->dim[a] = attrs->dim[a];
    }
    CLQ_TRY(clq_fail_in(clq_shape_check(output), "%s \"%.200s\"", node->op->name, node->name));
    if (clq_shape_count(x) != clq_shape_count(output)) {
        clq_shape_text(x, from, sizeof from);
        clq_shape_text(output, to, sizeof to);
        return clq_op_broken(node, "%s does not have the elements of %s", from, to);
    }
    return CLQ_OK;
}

static clq_status forward(clq_op_run *run) {
    return clq_copy_or_add(run->device, run->in[0].buffer, run->out.buffer,
                           clq_shape_count(&run->out.shape), false);
}

static clq_status backward(clq_op_run *run) {
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    return clq_copy_or_add(run->device, run->grad_out.buffer, run->grad_in[0].buffer,
                           clq_shape_count(&run->out.shape), run->accumulate[0]);
}

const clq_op clq_op_reshape = {
    .name = "reshape",
    .attrs_size = sizeof(clq_reshape_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer_reshape,
    .forward = forward,
    .backward = backward,
    .flags = CLQ_OP_IN_PLACE | CLQ_OP_VIEW,
    .quantized = &clq_reshape_quantized,
    .output_shares_qparams = true,
};

const clq_op clq_op_flatten = {
    .name = "flatten",
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = clq_infer_flatten,
    .forward = forward,
    .backward = backward,
    .flags = CLQ_OP_IN_PLACE | CLQ_OP_VIEW,
    .quantized = &clq_reshape_quantized,
    .output_shares_qparams = true,
};

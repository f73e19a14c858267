/* expand: axes of one element repeat it. */
#include "ops/move_node.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_reshape_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    if (attrs->rank != x->rank) {
        return clq_op_broken(node, "%d dimensions of %d cannot be", attrs->rank, x->rank);
    }
    *output = *x;
    for (int a = 0; a < x->rank; a++) {
        if (attrs->dim[a] < 1 || (attrs->dim[a] != x->dim[a] && x->dim[a] != 1)) {
            return clq_op_broken(node, "axis %d of %lld elements cannot become one of %lld", a,
                                 (long long)x->dim[a], (long long)attrs->dim[a]);
        }
        output->dim[a] = attrs->dim[a];
    }
    return CLQ_OK;
}

static clq_status prepare(clq_op_run *run) {
    clq_move_map map = clq_move_between(&run->in[0], &run->out);
    for (int a = 0; a < map.axis_count; a++) {
        map.axis[a].step = map.axis[a].from_count == map.axis[a].count;
    }
    return clq_move_node_prepare(run, &map);
}

static const clq_quantized_op quantized = {
    prepare, NULL, clq_move_node_forward, clq_move_node_backward, clq_move_node_release, 0};

const clq_op clq_op_expand = {
    .name = "expand",
    .attrs_size = sizeof(clq_reshape_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .prepare = prepare,
    .forward = clq_move_node_forward,
    .backward = clq_move_node_backward,
    .release = clq_move_node_release,
    .quantized = &quantized,
    .output_shares_qparams = true,
};

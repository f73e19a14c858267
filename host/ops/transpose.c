/* transpose: axis k of y is axis perm[k] of x. */
#include "ops/move_node.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_transpose_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    bool taken[CLQ_MAX_RANK] = {false};
    *output = *x;
    for (int k = 0; k < x->rank; k++) {
        const int from = attrs->perm[k];
        if (from < 0 || from >= x->rank || taken[from]) {
            return clq_op_broken(node,
                                 "axis %d is to be the input's axis %d of %d, each of them once", k,
                                 from, x->rank);
        }
        taken[from] = true;
        output->dim[k] = x->dim[from];
    }
    return CLQ_OK;
}

static bool fixes_batch(const clq_graph *graph, const clq_node *node) {
    (void)graph;
    return ((const clq_transpose_attrs *)node->attrs)->perm[0] != 0;
}

static clq_status prepare(clq_op_run *run) {
    const clq_transpose_attrs *attrs = run->node->attrs;
    const clq_shape *x = &run->in[0].shape;
    int64_t from[CLQ_MAX_RANK];
    clq_move_map map = clq_move_between(&run->in[0], &run->out);
    clq_move_strides(&run->in[0], from);
    for (int k = 0; k < x->rank; k++) {
        map.axis[k].from_count = x->dim[attrs->perm[k]];
        map.axis[k].from = from[attrs->perm[k]];
    }
    return clq_move_node_prepare(run, &map);
}

static const clq_quantized_op quantized = {
    prepare, NULL, clq_move_node_forward, clq_move_node_backward, clq_move_node_release, 0};

const clq_op clq_op_transpose = {
    .name = "transpose",
    .attrs_size = sizeof(clq_transpose_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .fixes_batch = fixes_batch,
    .prepare = prepare,
    .forward = clq_move_node_forward,
    .backward = clq_move_node_backward,
    .release = clq_move_node_release,
    .quantized = &quantized,
    .output_shares_qparams = true,
};

/* slice: element i of y's axis a is x's element start[a] + i * step[a]. */
#include "ops/move_node.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_slice_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    *output = *x;
    for (int a = 0; a < x->rank; a++) {
        const int64_t start = attrs->start[a], step = attrs->step[a], count = attrs->count[a];
        const int64_t size = x->dim[a];
        /* In this order nothing leaves 64 bits. */
        const bool fits = start >= 0 && start < size && step > -size - 1 && step < size + 1 &&
                          step != 0 && count >= 1 && count <= size &&
                          start + (count - 1) * step >= 0 && start + (count - 1) * step < size;
        if (!fits) {
            return clq_op_broken(node,
                                 "%lld elements from %lld in steps of %lld do not lie within axis "
                                 "%d of %lld",
                                 (long long)count, (long long)start, (long long)step, a,
                                 (long long)size);
        }
        output->dim[a] = count;
    }
    return CLQ_OK;
}

static clq_status prepare(clq_op_run *run) {
    const clq_slice_attrs *attrs = run->node->attrs;
    clq_move_map map = clq_move_between(&run->in[0], &run->out);
    for (int a = 0; a < map.axis_count; a++) {
        if (a > 0 || run->batch == 1) { /* else it is the batch */
            map.axis[a].start = attrs->start[a];
            map.axis[a].step = attrs->step[a];
        }
    }
    return clq_move_node_prepare(run, &map);
}

static const clq_quantized_op quantized = {
    prepare, NULL, clq_move_node_forward, clq_move_node_backward, clq_move_node_release, 0};

const clq_op clq_op_slice = {
    .name = "slice",
    .attrs_size = sizeof(clq_slice_attrs),
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

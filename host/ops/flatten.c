/* flatten: (N,H,W,C) -> (N,HWC). The floats stay where they are, so only the shape changes unless
 * the input is still needed elsewhere. */
#include "ops/elementwise.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status flatten_forward(clq_op_run *run) {
    return clq_copy_or_add(run->device, run->in[0].buffer, run->out.buffer,
                           clq_shape_count(&run->out.shape), false);
}

static clq_status flatten_backward(clq_op_run *run) {
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    return clq_copy_or_add(run->device, run->grad_out.buffer, run->grad_in[0].buffer,
                           clq_shape_count(&run->out.shape), run->accumulate[0]);
}

const clq_op clq_op_flatten = {
    .name = "flatten",
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = clq_infer_flatten,
    .forward = flatten_forward,
    .backward = flatten_backward,
    .flags = CLQ_OP_IN_PLACE | CLQ_OP_VIEW,
    .quantized = &clq_flatten_quantized,
    .output_shares_qparams = true,
};

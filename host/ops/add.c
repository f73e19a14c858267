/* add: y = act(a + b), equal shapes. */
#include "ops/elementwise.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static const char *const forward_kernels[] = {
    [CLQ_ACT_NONE] = "add_f32",
    [CLQ_ACT_RELU] = "add_relu_f32",
    [CLQ_ACT_RELU6] = "add_relu6_f32",
};

static clq_status add_forward(clq_op_run *run) {
    const clq_add_attrs *attrs = run->node->attrs;
    return clq_elementwise(run->device, forward_kernels[attrs->act], run->in[0].buffer,
                           run->in[1].buffer, run->out.buffer, clq_shape_count(&run->out.shape));
}

static clq_status add_backward(clq_op_run *run) {
    const clq_add_attrs *attrs = run->node->attrs;
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_buffer *dy = run->grad_out.buffer;
    CLQ_TRY(clq_act_gradient(run->device, attrs->act, run->out.buffer, dy, count));
    for (int i = 0; i < 2; i++) {
        if (run->grad_in[i].buffer != NULL) {
            CLQ_TRY(clq_copy_or_add(run->device, dy, run->grad_in[i].buffer, count,
                                    run->accumulate[i]));
        }
    }
    return CLQ_OK;
}

static clq_act *add_act(void *attrs) {
    return &((clq_add_attrs *)attrs)->act;
}

const clq_op clq_op_add = {
    .name = "add",
    .attrs_size = sizeof(clq_add_attrs),
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = clq_infer_add,
    .forward = add_forward,
    .backward = add_backward,
    .flags = CLQ_OP_IN_PLACE,
    .quantized = &clq_add_quantized,
    .act = add_act,
};

/* relu and relu6, which other operators also do last. */
#include "ops/elementwise.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status forward(clq_op_run *run, const char *kernel) {
    return clq_elementwise(run->device, kernel, run->in[0].buffer, NULL, run->out.buffer,
                           clq_shape_count(&run->out.shape));
}

static clq_status backward(clq_op_run *run, const char *kernel) {
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    return clq_elementwise_gradient(run->device, kernel, run->out.buffer, run->grad_out.buffer,
                                    run->grad_in[0].buffer, clq_shape_count(&run->out.shape),
                                    run->accumulate[0]);
}

#define DEFINE_ACTIVATION(NAME, ACT)                                                               \
    static clq_status NAME##_forward(clq_op_run *run) {                                            \
        return forward(run, #NAME "_f32");                                                         \
    }                                                                                              \
    static clq_status NAME##_backward(clq_op_run *run) {                                           \
        return backward(run, #NAME "_grad_f32");                                                   \
    }                                                                                              \
    const clq_op clq_op_##NAME = {                                                                 \
        .name = #NAME,                                                                             \
        .min_inputs = 1,                                                                           \
        .max_inputs = 1,                                                                           \
        .infer = clq_infer_elementwise,                                                            \
        .forward = NAME##_forward,                                                                 \
        .backward = NAME##_backward,                                                               \
        .flags = CLQ_OP_IN_PLACE,                                                                  \
        .backward_reads = CLQ_READS_OUTPUT,                                                        \
        .quantized = &clq_activation_quantized,                                                    \
        .as_act = (ACT),                                                                           \
        .output_shares_qparams = true, /* it just clamps codes */                                  \
    }

DEFINE_ACTIVATION(relu, CLQ_ACT_RELU);
DEFINE_ACTIVATION(relu6, CLQ_ACT_RELU6);

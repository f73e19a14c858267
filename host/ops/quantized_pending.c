/* Stand-ins for the quantized operators until their files exist. */
#include "ops/quantized.h"

static clq_status pending(clq_op_run *run) {
    return clq_fail(CLQ_INTERNAL, "operator %s: its quantized form is not written yet",
                    run->node->op->name);
}

#define PENDING                                                                                    \
    { pending, NULL, pending, pending, NULL }

const clq_quantized_op clq_conv2d_quantized = PENDING, clq_linear_quantized = PENDING,
                       clq_add_quantized = PENDING, clq_activation_quantized = PENDING,
                       clq_max_pool_quantized = PENDING, clq_avg_pool_quantized = PENDING,
                       clq_global_avg_pool_quantized = PENDING, clq_flatten_quantized = PENDING,
                       clq_shortcut_a_quantized = PENDING;

clq_status clq_quantize_activation(clq_device *device, const clq_graph *graph,
                                   const clq_qstate *qstate, const clq_tensor *real,
                                   const clq_tensor *codes) {
    (void)device, (void)graph, (void)qstate, (void)real, (void)codes;
    return clq_fail(CLQ_INTERNAL, "quantizing the network's input is not written yet");
}

clq_status clq_dequantize_activation(clq_device *device, const clq_graph *graph,
                                     const clq_qstate *qstate, const clq_tensor *codes,
                                     const clq_tensor *real) {
    (void)device, (void)graph, (void)qstate, (void)codes, (void)real;
    return clq_fail(CLQ_INTERNAL, "dequantizing the network's output is not written yet");
}

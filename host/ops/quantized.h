/* The operators in the quantized modes (FAKE_QUANT, QAT, INT8): one table an operator, filled in by
 * host/ops/NAME_quantized.c and named by the operator's descriptor as clq_op.quantized.
 *
 * Activations with qparams: INT8 holds codes as bytes with pitch (those of signed types plus
 * 128: clq_code_byte), and goes by value->q; the float modes hold q - z as F32, and go by
 * run->qstate at the value's id. Values without qparams are real. Gradients are F32 and of real
 * values. An operator that must not run in these modes (batch_norm, dropout: clq_graph_fold removes
 * them) has no table. */
#ifndef CLQUANT_OPS_QUANTIZED_H
#define CLQUANT_OPS_QUANTIZED_H

#include <clquant/ops.h>

extern const clq_quantized_op clq_conv2d_quantized, clq_linear_quantized, clq_add_quantized,
    clq_binary_quantized,     /* mul, min, max */
    clq_activation_quantized, /* relu, relu6: by node->op->as_act */
    clq_unary_quantized,      /* all of CLQ_UNARY_OPS, and prelu */
    clq_max_pool_quantized, clq_avg_pool_quantized, clq_global_avg_pool_quantized,
    clq_reshape_quantized, clq_shortcut_a_quantized, clq_reduce_sum_quantized, /* and mean */
    clq_reduce_extreme_quantized, clq_resize_quantized;

/* Tables with the qparams in the graph's values; weights keep their scales. */
clq_status clq_qstate_create(clq_device *device, const clq_graph *graph, clq_qstate **qstate);
void clq_qstate_destroy(clq_qstate *qstate); /* NULL ok */

/* The network's edges, queued by the executor. The codes' tensor.value carries the qparams.
 *
 * real (F32, dense) -> codes: bytes with pitch, or F32 holding q - z. In QAT with qstate->observe
 * the real values also widen qstate->range. */
clq_status clq_quantize_activation(clq_device *device, const clq_graph *graph,
                                   const clq_qstate *qstate, const clq_tensor *real,
                                   const clq_tensor *codes);
/* The reverse: real = scale * (q - z). */
clq_status clq_dequantize_activation(clq_device *device, const clq_graph *graph,
                                     const clq_qstate *qstate, const clq_tensor *codes,
                                     const clq_tensor *real);

/* FAKE_QUANT, conv2d and linear: whether bound (13) holds for the loaded parameters, so that sums
 * are exact in float; otherwise they are made in int32. True for other nodes. */
bool clq_layer_is_float_exact(const clq_op_run *run);
/* INT8: the dot-product path that a conv2d or linear node runs on. False for other nodes. */
bool clq_layer_dot(const clq_op_run *run, clq_dot *dot);

#endif

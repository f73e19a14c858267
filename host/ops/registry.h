/* Every operator's descriptor, one a file in host/ops. */
#ifndef CLQ_OPS_REGISTRY_H
#define CLQ_OPS_REGISTRY_H

#include <clquant/ops.h>

extern const clq_op clq_op_conv2d;
extern const clq_op clq_op_conv_transpose;
extern const clq_op clq_op_linear;
extern const clq_op clq_op_batch_norm;
extern const clq_op clq_op_relu;
extern const clq_op clq_op_relu6;
extern const clq_op clq_op_prelu;
extern const clq_op clq_op_add;
extern const clq_op clq_op_sub;
extern const clq_op clq_op_mul;
extern const clq_op clq_op_div;
extern const clq_op clq_op_min;
extern const clq_op clq_op_max;
extern const clq_op clq_op_pow;
extern const clq_op clq_op_max_pool;
extern const clq_op clq_op_avg_pool;
extern const clq_op clq_op_global_max_pool;
extern const clq_op clq_op_global_avg_pool;
extern const clq_op clq_op_flatten;
extern const clq_op clq_op_reshape;
extern const clq_op clq_op_transpose;
extern const clq_op clq_op_slice;
extern const clq_op clq_op_concat;
extern const clq_op clq_op_pad;
extern const clq_op clq_op_expand;
extern const clq_op clq_op_depth_to_space;
extern const clq_op clq_op_space_to_depth;
extern const clq_op clq_op_dropout;
extern const clq_op clq_op_shortcut_a;
extern const clq_op clq_op_resize;
extern const clq_op clq_op_quantize;
extern const clq_op clq_op_dequantize;
extern const clq_op clq_op_dynamic_quantize;
extern const clq_op clq_op_reduce_mean;
extern const clq_op clq_op_reduce_sum;
extern const clq_op clq_op_reduce_max;
extern const clq_op clq_op_reduce_min;
extern const clq_op clq_op_reduce_prod;
extern const clq_op clq_op_reduce_l1;
extern const clq_op clq_op_reduce_l2;
extern const clq_op clq_op_reduce_sum_square;
extern const clq_op clq_op_reduce_log_sum_exp;
extern const clq_op clq_op_arg_max;
extern const clq_op clq_op_arg_min;
extern const clq_op clq_op_softmax;
extern const clq_op clq_op_log_softmax;
extern const clq_op clq_op_lp_normalization;
extern const clq_op clq_op_layer_norm;
extern const clq_op clq_op_instance_norm;
extern const clq_op clq_op_group_norm;
extern const clq_op clq_op_lrn;
extern const clq_op clq_op_matmul;

/* Functions of one number: OP(operator, function of kernels/include/unary.h, whether it has
 * clq_unary_attrs). */
#define CLQ_UNARY_OPS(OP)                                                                          \
    OP(tanh, TANH, false)                                                                          \
    OP(sigmoid, SIGMOID, false)                                                                    \
    OP(leaky_relu, LEAKY_RELU, true)                                                               \
    OP(elu, ELU, true)                                                                             \
    OP(celu, CELU, true)                                                                           \
    OP(selu, SELU, true)                                                                           \
    OP(hard_sigmoid, HARD_SIGMOID, true)                                                           \
    OP(hard_swish, HARD_SWISH, false)                                                              \
    OP(silu, SILU, false)                                                                          \
    OP(gelu, GELU, false)                                                                          \
    OP(gelu_tanh, GELU_TANH, false)                                                                \
    OP(mish, MISH, false)                                                                          \
    OP(softplus, SOFTPLUS, false)                                                                  \
    OP(softsign, SOFTSIGN, false)                                                                  \
    OP(thresholded_relu, THRESHOLDED_RELU, true)                                                   \
    OP(clip, CLIP, true)                                                                           \
    OP(exp, EXP, false)                                                                            \
    OP(log, LOG, false)                                                                            \
    OP(sqrt, SQRT, false)                                                                          \
    OP(reciprocal, RECIPROCAL, false)                                                              \
    OP(abs, ABS, false)                                                                            \
    OP(neg, NEG, false)                                                                            \
    OP(erf, ERF, false)                                                                            \
    OP(floor, FLOOR, false)                                                                        \
    OP(ceil, CEIL, false)                                                                          \
    OP(round, ROUND, false)                                                                        \
    OP(sign, SIGN, false)                                                                          \
    OP(pow_const, POW_CONST, true)
#define CLQ_DECLARE_UNARY(NAME, FUNCTION, ATTRS) extern const clq_op clq_op_##NAME;
CLQ_UNARY_OPS(CLQ_DECLARE_UNARY)

#endif

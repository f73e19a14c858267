#include "ops/registry.h"

#include <string.h>

#include "base/arguments.h"

#define LISTED(NAME, FUNCTION, ATTRS) , &clq_op_##NAME
static const clq_op *const operators[] = {
    &clq_op_conv2d CLQ_UNARY_OPS(LISTED),
    &clq_op_conv_transpose,
    &clq_op_linear,
    &clq_op_batch_norm,
    &clq_op_relu,
    &clq_op_relu6,
    &clq_op_prelu,
    &clq_op_add,
    &clq_op_sub,
    &clq_op_mul,
    &clq_op_div,
    &clq_op_min,
    &clq_op_max,
    &clq_op_pow,
    &clq_op_max_pool,
    &clq_op_avg_pool,
    &clq_op_global_max_pool,
    &clq_op_global_avg_pool,
    &clq_op_resize,
    &clq_op_flatten,
    &clq_op_dropout,
    &clq_op_shortcut_a,
    &clq_op_quantize,
    &clq_op_dequantize,
    &clq_op_dynamic_quantize,
    &clq_op_reduce_mean,
    &clq_op_reduce_sum,
    &clq_op_reduce_max,
    &clq_op_reduce_min,
    &clq_op_reduce_prod,
    &clq_op_reduce_l1,
    &clq_op_reduce_l2,
    &clq_op_reduce_sum_square,
    &clq_op_reduce_log_sum_exp,
    &clq_op_arg_max,
    &clq_op_arg_min,
    &clq_op_softmax,
    &clq_op_log_softmax,
    &clq_op_lp_normalization,
    &clq_op_layer_norm,
    &clq_op_instance_norm,
    &clq_op_group_norm,
    &clq_op_lrn,
    &clq_op_matmul,
    &clq_op_reshape,
    &clq_op_transpose,
    &clq_op_slice,
    &clq_op_concat,
    &clq_op_pad,
    &clq_op_expand,
    &clq_op_depth_to_space,
    &clq_op_space_to_depth,
};

enum { OPERATOR_COUNT = sizeof operators / sizeof operators[0] };

const clq_op *clq_op_find(const char *name) {
    CLQ_NEEDS_OR(NULL, name);
    for (size_t i = 0; i < OPERATOR_COUNT; i++) {
        if (strcmp(operators[i]->name, name) == 0) {
            return operators[i];
        }
    }
    return NULL;
}

const clq_op *const *clq_op_list(size_t *count) {
    CLQ_NEEDS_OR(NULL, count);
    *count = OPERATOR_COUNT;
    return operators;
}

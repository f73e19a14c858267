/* Operators of two operands: add, sub, mul, div, min, max, pow. */
#ifndef CLQUANT_OPS_BINARY_H
#define CLQUANT_OPS_BINARY_H

#include "ops/broadcast.h"
#include "ops/registry.h"

/* What kernels take as -DCLQ_BINARY. */
typedef enum clq_binary {
    CLQ_BINARY_ADD,
    CLQ_BINARY_SUB,
    CLQ_BINARY_MUL,
    CLQ_BINARY_DIV,
    CLQ_BINARY_MIN,
    CLQ_BINARY_MAX,
    CLQ_BINARY_POW,
    CLQ_BINARY_COUNT /* none of them */
} clq_binary;
clq_binary clq_binary_of(const clq_op *op);

/* The build options of an operator's kernels with a requantizer (FLOAT: those on reals too); NULL:
 * none. */
const char *clq_binary_options(clq_binary kind, clq_requantizer requantizer);

/* Whether operand `input` has an element for each of the output's. */
bool clq_operand_is_whole(const clq_op_run *run, int input);

/* What int8_binary takes of the scales: fa, fb, shift, shift_b. CLQ_BAD_DATA: the requantizer
 * cannot express them; CLQ_OK for operators without an integer form. */
clq_status clq_binary_factors(clq_binary kind, clq_requantizer requantizer, float a_scale,
                              float b_scale, float y_scale, int32_t factors[4]);

/* ---- backward, behind the activation: run->grad_out is the gradient of a op b ---- */

/* Reserves the scratch that it takes. */
clq_status clq_binary_reserve(const clq_op_run *run);
/* The gradients of a and b with an element for each of the output's, or adds them; a buffer that is
 * NULL is not wanted. */
typedef clq_status (*clq_whole_gradients)(const clq_op_run *run, clq_buffer *da, bool add_to_a,
                                          clq_buffer *db, bool add_to_b);
/* Those of reals. */
clq_status clq_binary_gradients(const clq_op_run *run, clq_buffer *da, bool add_to_a,
                                clq_buffer *db, bool add_to_b);
/* grad_in of both, summed where an operand was broadcast. */
clq_status clq_binary_backward(const clq_op_run *run, clq_whole_gradients whole_gradients);

#endif

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

/* The shape rule of all of them. */
clq_status clq_infer_binary(const clq_graph *graph, const clq_node *node, clq_shape *output);

#endif

/* Functions of one number (kernels/include/unary.h), on reals and as tables of codes. */
#ifndef CLQUANT_OPS_UNARY_H
#define CLQUANT_OPS_UNARY_H

#include <clquant/ops.h>

#include "kernels/include/unary.h"

typedef struct clq_unary_function {
    clq_unary function;
    clq_unary_attrs attrs; /* zeros of a function without any */
} clq_unary_function;

/* Of a node whose operator is such a function. */
clq_unary_function clq_unary_function_of(const clq_node *node);

/* y = f(x) of `count` floats. y may be x. */
clq_status clq_unary_values(clq_device *device, const clq_unary_function *f, clq_buffer *x,
                            clq_buffer *y, int64_t count);
/* dx = dy f', or dx += it. `kept` is x or y: CLQ_UNARY_KEEPS_OUTPUT. dx may be dy. */
clq_status clq_unary_slopes(clq_device *device, const clq_unary_function *f, clq_buffer *kept,
                            clq_buffer *dy, clq_buffer *dx, int64_t count, bool accumulate);

#endif

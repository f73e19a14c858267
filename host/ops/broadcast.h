/* How two operands of different shapes meet, element by element: numpy's broadcasting. */
#ifndef CLQUANT_OPS_BROADCAST_H
#define CLQUANT_OPS_BROADCAST_H

#include <clquant/ops.h>

enum { CLQ_BROADCAST_AXES = 5 };

/* The dimension of an operand along `axis` of a result of `rank` axes: its own, or 1 where it has
 * none. Axes are aligned at the end; the first one of an activation is the result's first. */
int64_t clq_broadcast_dim(const clq_shape *operand, bool constant, int rank, int axis);

/* The result's axes, outermost first, as few as will do and 1 before them, and for each how far a
 * step along it is in a and in b, 0 where that has one element for all. Counts elements; of bytes
 * with pitch (INT8) words of 4. The last axis is a run: neighbours in the result, and neighbours or
 * one element in a and b. */
typedef struct clq_broadcast {
    int dim[CLQ_BROADCAST_AXES], a[CLQ_BROADCAST_AXES], b[CLQ_BROADCAST_AXES];
    int count;    /* of all elements or words */
    int channels; /* INT8: codes in a run */
} clq_broadcast;

void clq_broadcast_make(const clq_tensor *out, const clq_tensor *a, const clq_tensor *b,
                        clq_broadcast *broadcast);

/* The kernels' arguments for it: PAIR_SHAPE of kernels/include/broadcast.h. */
#define CLQ_BROADCAST(s)                                                                           \
    CLQ_I32((s).dim[1]), CLQ_I32((s).dim[2]), CLQ_I32((s).dim[3]), CLQ_I32((s).dim[4]),            \
        CLQ_I32((s).a[0]), CLQ_I32((s).a[1]), CLQ_I32((s).a[2]), CLQ_I32((s).a[3]),                \
        CLQ_I32((s).a[4]), CLQ_I32((s).b[0]), CLQ_I32((s).b[1]), CLQ_I32((s).b[2]),                \
        CLQ_I32((s).b[3]), CLQ_I32((s).b[4]), CLQ_I32((s).count)

/* The axes of the result, bit by bit, along which the operand has one element for all. */
unsigned clq_broadcast_axes(const clq_tensor *out, const clq_tensor *operand);

#endif

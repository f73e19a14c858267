/* Nodes that move the elements of their one input. */
#ifndef CLQUANT_OPS_MOVE_NODE_H
#define CLQUANT_OPS_MOVE_NODE_H

#include "ops/move.h"

/* run->state */
typedef struct clq_move_node {
    clq_move *forward, *back; /* back: training only */
    clq_buffer *fill;         /* four bytes; NULL: 0 */
    clq_buffer
        *real; /* F32: what `fill` is the code of, where the device's tables say how; else NULL
                */
} clq_move_node;

/* In every mode; in the quantized ones input and output have the same qparams. */
clq_status clq_move_node_prepare(clq_op_run *run, const clq_move_map *map);
clq_status clq_move_node_forward(clq_op_run *run);
clq_status clq_move_node_backward(clq_op_run *run);
void clq_move_node_release(clq_op_run *run);

#endif

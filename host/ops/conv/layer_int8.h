/* conv2d and linear of the integer network. */
#ifndef CLQUANT_OPS_LAYER_INT8_H
#define CLQUANT_OPS_LAYER_INT8_H

#include <clquant/ops.h>

clq_status clq_layer_int8_prepare(clq_op_run *run);
clq_status clq_layer_int8_forward(clq_op_run *run);
void clq_layer_int8_release(clq_op_run *run);

#endif

/* conv2d, conv_transpose and linear on codes held as floats: FAKE_QUANT and QAT. */
#ifndef CLQUANT_OPS_LAYER_CODES_H
#define CLQUANT_OPS_LAYER_CODES_H

#include <clquant/ops.h>

clq_status clq_layer_codes_prepare(clq_op_run *run);
clq_status clq_layer_codes_load_parameters(clq_op_run *run);
clq_status clq_layer_codes_forward(clq_op_run *run);
clq_status clq_layer_codes_backward(clq_op_run *run);
void clq_layer_codes_release(clq_op_run *run);

#endif

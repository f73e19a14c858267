/* conv2d and linear in the quantized modes: on floats that hold codes (layer_codes.c) or on
 * integers (layer_int8.c). */
#include "ops/conv/conv2d_int8.h"
#include "ops/conv/layer_codes.h"
#include "ops/conv/layer_int8.h"
#include "ops/quantized.h"

static bool is_int8(const clq_op_run *run) {
    return run->mode == CLQ_EXEC_INT8;
}

static clq_status prepare(clq_op_run *run) {
    return is_int8(run) ? clq_layer_int8_prepare(run) : clq_layer_codes_prepare(run);
}

static clq_status load_parameters(clq_op_run *run) {
    return is_int8(run) ? CLQ_OK : clq_layer_codes_load_parameters(run);
}

static clq_status forward(clq_op_run *run) {
    return is_int8(run) ? clq_layer_int8_forward(run) : clq_layer_codes_forward(run);
}

static void release(clq_op_run *run) {
    if (is_int8(run)) {
        clq_layer_int8_release(run);
    } else {
        clq_layer_codes_release(run);
    }
}

const clq_quantized_op clq_conv2d_quantized = {
    prepare, load_parameters, forward, clq_layer_codes_backward, release, CLQ_READS_INPUT};
const clq_quantized_op clq_linear_quantized = {
    prepare, load_parameters, forward, clq_layer_codes_backward, release, CLQ_READS_INPUT};

bool clq_layer_dot(const clq_op_run *run, clq_dot *dot) {
    const clq_quantized_op *op = run->node->op->quantized;
    if (!is_int8(run) || (op != &clq_conv2d_quantized && op != &clq_linear_quantized)) {
        return false;
    }
    *dot = clq_conv2d_int8_dot(run->state);
    return true;
}

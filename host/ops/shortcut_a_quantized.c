/* shortcut_a moves codes: on floats as its FP32 form does (real 0 is q - z = 0). */
#include "ops/quantized_run.h"

static clq_status prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    return clq_check_shared(run);
}

static clq_status backward(clq_op_run *run) {
    void *none = NULL;
    return clq_call_real(run, run->node->op->backward, &none);
}

static clq_status forward(clq_op_run *run) {
    void *none = NULL;
    if (run->mode != CLQ_EXEC_INT8) {
        return clq_call_real(run, run->node->op->forward, &none);
    }
    const clq_pad_channels_attrs *attrs = run->node->attrs;
    const int64_t *x = run->in[0].shape.dim, *y = run->out.shape.dim;
    const clq_int8_shortcut shape = {
        .n = (int)x[0],
        .ih = (int)x[1],
        .iw = (int)x[2],
        .ic = (int)x[3],
        .oh = (int)y[1],
        .ow = (int)y[2],
        .oc = (int)y[3],
        .stride = attrs->stride,
        .front = attrs->front,
        .zero_point = clq_code_byte(run->in[0].value, run->in[0].value->q.zero_point),
    };
    return clq_int8_shortcut_a(run->device, run->in[0].buffer, run->out.buffer, &shape);
}

const clq_quantized_op clq_shortcut_a_quantized = {prepare, NULL, forward, backward, NULL, 0};

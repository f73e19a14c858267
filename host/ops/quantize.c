/* quantize: reals to codes of the output's qparams; dequantize: codes to reals. They stand where a
 * network's precision changes; on reals alone they are the identity. */
#include "ops/quantized_run.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status real_forward(clq_op_run *run) {
    return clq_copy_or_add(run->device, run->in[0].buffer, run->out.buffer,
                           clq_shape_count(&run->out.shape), false);
}

static clq_status real_backward(clq_op_run *run) {
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    return clq_copy_or_add(run->device, run->grad_out.buffer, run->grad_in[0].buffer,
                           clq_shape_count(&run->out.shape), run->accumulate[0]);
}

/* ---- in the quantized modes ---- */

static clq_status check(clq_op_run *run) {
    const bool quantizes = run->node->op == &clq_op_quantize;
    const clq_value *x = run->in[0].value, *y = run->out.value;
    if (quantizes ? x->q.count > 0 || y->q.count == 0 : x->q.count == 0 || y->q.count > 0) {
        return clq_fail(
            CLQ_USAGE, "%s from \"%s\" to \"%s\", which %s", run->node->op->name, x->name, y->name,
            (quantizes ? x : y)->q.count > 0 ? "are both quantized" : "are both not quantized");
    }
    return CLQ_OK;
}

static clq_status quantize_forward(clq_op_run *run) {
    return clq_quantize_activation(run->device, run->graph, run->qstate, &run->in[0], &run->out);
}

static clq_status dequantize_forward(clq_op_run *run) {
    return clq_dequantize_activation(run->device, run->graph, run->qstate, &run->in[0], &run->out);
}

/* Straight through, where the code was not clamped. */
static clq_status quantize_backward(clq_op_run *run) {
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    if (clq_is_learned(run->qstate, run->graph, run->out.value)) {
        CLQ_TRY(clq_learned_gradient(run, run->in[0].buffer, true)); /* masks the gradient too */
        return real_backward(run);
    }
    CLQ_TRY(clq_kernel_get(run->device, "quantize_codes_gradient", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->grad_out.buffer),
                      CLQ_BUF(run->grad_in[0].buffer), CLQ_TABLES(run), CLQ_INDEX(run, out),
                      CLQ_I32(run->accumulate[0]), CLQ_I32(count));
}

static const clq_quantized_op quantize_quantized = {.prepare = check,
                                                    .forward = quantize_forward,
                                                    .backward = quantize_backward,
                                                    .backward_reads = CLQ_READS_INPUT};
/* Gradients are of real values on both sides. */
static const clq_quantized_op dequantize_quantized = {
    .prepare = check, .forward = dequantize_forward, .backward = real_backward};

#define DEFINE_BORDER(NAME)                                                                        \
    const clq_op clq_op_##NAME = {                                                                 \
        .name = #NAME,                                                                             \
        .min_inputs = 1,                                                                           \
        .max_inputs = 1,                                                                           \
        .infer = clq_infer_elementwise,                                                            \
        .forward = real_forward,                                                                   \
        .backward = real_backward,                                                                 \
        .flags = CLQ_OP_IN_PLACE | CLQ_OP_VIEW,                                                    \
        .quantized = &NAME##_quantized,                                                            \
    }

DEFINE_BORDER(quantize);
DEFINE_BORDER(dequantize);

/* add on codes: equations (11), (11f), (11s). In QAT run->state is clq_kept_create's. */
#include "graph/node.h"
#include "ops/binary.h"
#include "ops/quantized_run.h"

static clq_status prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    if (!clq_operand_is_whole(run, 0) || !clq_operand_is_whole(run, 1)) {
        return clq_fail(CLQ_USAGE, "broadcasts, which no integer form does so far");
    }
    CLQ_TRY(clq_check_factors(run->graph, run->node));
    if (run->mode != CLQ_EXEC_QAT) {
        return CLQ_OK;
    }
    clq_buffer *kept = NULL;
    CLQ_TRY(clq_kept_create(run, &kept));
    run->state = kept;
    return CLQ_OK;
}

static void release(clq_op_run *run) {
    clq_buffer_release(run->state);
}

static clq_status forward_int8(clq_op_run *run) {
    return clq_int8_add(run->device, run->requantizer, run->in[0].buffer,
                        clq_int8_range_of(run->in[0].value, CLQ_ACT_NONE), run->in[1].buffer,
                        clq_int8_range_of(run->in[1].value, CLQ_ACT_NONE), run->out.buffer,
                        clq_int8_range_of(run->out.value, clq_node_act(run->node)),
                        clq_pixels(&run->out), clq_channels(&run->out));
}

static clq_status forward_train(clq_op_run *run, int64_t count) {
    clq_kernel *kernel = NULL;
    if (!run->qstate->observe) {
        CLQ_TRY(clq_kernel_get(run->device, "add_codes_train",
                               clq_requantizer_option(run->requantizer), &kernel));
        return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                          CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->in[1].buffer),
                          CLQ_BUF(run->out.buffer), CLQ_KEPT(run, run->state), CLQ_TABLES(run),
                          CLQ_INDEX(run, in[0]), CLQ_INDEX(run, in[1]), CLQ_INDEX(run, out),
                          CLQ_I32(clq_node_act(run->node)), CLQ_I32(count));
    }
    CLQ_TRY(clq_kernel_get(run->device, "add_codes_observe",
                           clq_requantizer_option(run->requantizer), &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_observing_range(run->device, count),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->in[1].buffer),
                      CLQ_BUF(run->out.buffer), CLQ_KEPT(run, run->state), CLQ_TABLES(run),
                      CLQ_BUF(run->qstate->range), CLQ_INDEX(run, in[0]), CLQ_INDEX(run, in[1]),
                      CLQ_INDEX(run, out), CLQ_I32(clq_node_act(run->node)), CLQ_I32(count));
}

static clq_status forward(clq_op_run *run) {
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    if (run->mode == CLQ_EXEC_INT8) {
        return forward_int8(run);
    }
    if (run->mode == CLQ_EXEC_FAKE_QUANT) {
        CLQ_TRY(clq_kernel_get(run->device, "add_codes", clq_requantizer_option(run->requantizer),
                               &kernel));
        return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                          CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->in[1].buffer),
                          CLQ_BUF(run->out.buffer), CLQ_TABLES(run), CLQ_INDEX(run, in[0]),
                          CLQ_INDEX(run, in[1]), CLQ_INDEX(run, out),
                          CLQ_I32(clq_node_act(run->node)), CLQ_I32(count));
    }
    return forward_train(run, count);
}

static clq_status backward(clq_op_run *run) {
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_buffer *mask = run->state;
    clq_buffer *da = run->grad_in[0].buffer, *db = run->grad_in[1].buffer;
    /* x + x: both halves go to the one gradient of x, one after the other. */
    const bool twice = da != NULL && da == db;
    clq_kernel *kernel = NULL;
    if (clq_is_learned(run->qstate, run->graph, run->out.value)) {
        CLQ_TRY(clq_learned_gradient(run, run->state, false)); /* masks the gradient too */
        mask = NULL;
    }
    CLQ_TRY(clq_kernel_get(run->device, "add_codes_gradient", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count), CLQ_BUF(mask),
                       CLQ_BUF(run->grad_out.buffer), CLQ_BUF(da), CLQ_BUF(twice ? NULL : db),
                       CLQ_I32(run->accumulate[0]), CLQ_I32(run->accumulate[1]), CLQ_I32(count)));
    if (!twice) {
        return CLQ_OK;
    }
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count), CLQ_BUF(mask),
                      CLQ_BUF(run->grad_out.buffer), CLQ_BUF(NULL), CLQ_BUF(db), CLQ_I32(false),
                      CLQ_I32(true), CLQ_I32(count));
}

const clq_quantized_op clq_add_quantized = {prepare, NULL, forward, backward, release, 0};

/* reduce_sum, reduce_mean, reduce_max and reduce_min in the quantized modes. */
#include "ops/multiplier.h"
#include "ops/quantized_run.h"
#include "ops/reduction.h"
#include "ops/registry.h"

static clq_reduction rows_of(const clq_op_run *run) {
    const clq_reduce_attrs *attrs = run->node->attrs;
    return clq_reduction_of(&run->in[0], attrs->axes);
}

/* Words of y, and items for them. */
static int64_t words_of(const clq_op_run *run) {
    return clq_pixels(&run->out) * ((clq_channels(&run->out) + 3) / 4);
}

static clq_range words_range(const clq_op_run *run, const clq_reduction *rows) {
    enum { WORD_GRAIN = 1024 }; /* words of x an item reads at least */
    return CLQ_RANGE1(clq_work_items(run->device, words_of(run), 1 + (WORD_GRAIN - 1) / rows->row));
}

/* What a sum is divided by. */
static int divisor(const clq_op_run *run, const clq_reduction *rows) {
    return run->node->op == &clq_op_reduce_mean ? (int)rows->row : 1;
}

/* ---- the greatest or smallest code; on floats the FP32 form finds it, and its state is ours ----
 */

static clq_status extreme_prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    CLQ_TRY(clq_check_shared(run));
    return run->mode == CLQ_EXEC_INT8 ? CLQ_OK
                                      : clq_call_real(run, run->node->op->prepare, &run->state);
}

static clq_status extreme_forward(clq_op_run *run) {
    const clq_reduction rows = rows_of(run);
    clq_kernel *kernel = NULL;
    if (run->mode != CLQ_EXEC_INT8) {
        return clq_call_real(run, run->node->op->forward, &run->state);
    }
    CLQ_TRY(clq_kernel_get(run->device, "int8_reduce_max", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, words_range(run, &rows), CLQ_BUF(run->in[0].buffer),
                      CLQ_BUF(run->out.buffer), CLQ_I32(run->node->op == &clq_op_reduce_min),
                      CLQ_I32(words_of(run)), CLQ_I32(clq_channels(&run->out)),
                      CLQ_REDUCTION(rows));
}

static clq_status extreme_backward(clq_op_run *run) {
    return clq_call_real(run, run->node->op->backward, &run->state);
}

static void extreme_release(clq_op_run *run) {
    if (run->mode != CLQ_EXEC_INT8) {
        clq_release_real(run, run->state);
    }
}

const clq_quantized_op clq_reduce_extreme_quantized = {
    extreme_prepare, NULL, extreme_forward, extreme_backward, extreme_release, 0};

/* ---- sums: equations (12), (12f), (12s); in QAT run->state is clq_kept_create's ---- */

static clq_status sum_prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    CLQ_TRY(clq_check_factors(run->graph, run->node));
    if (run->mode != CLQ_EXEC_QAT) {
        return CLQ_OK;
    }
    clq_buffer *kept = NULL;
    CLQ_TRY(clq_kept_create(run, &kept));
    run->state = kept;
    return CLQ_OK;
}

static void sum_release(clq_op_run *run) {
    clq_buffer_release(run->state);
}

static clq_status sum_forward_int8(clq_op_run *run, const clq_reduction *rows) {
    const clq_int8_range x = clq_int8_range_of(run->in[0].value, CLQ_ACT_NONE);
    const clq_int8_range y = clq_int8_range_of(run->out.value, CLQ_ACT_NONE);
    int32_t factor[2];
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_multiplier_mean(run->requantizer, x.scale, y.scale, divisor(run, rows), factor));
    CLQ_TRY(clq_kernel_get(run->device, "int8_reduce_sum", clq_requantizer_option(run->requantizer),
                           &kernel));
    return CLQ_LAUNCH(run->device, kernel, words_range(run, rows), CLQ_BUF(run->in[0].buffer),
                      CLQ_BUF(run->out.buffer), CLQ_I32(factor[0]), CLQ_I32(factor[1]),
                      CLQ_I32(x.zero_point), CLQ_I32(y.zero_point), CLQ_I32(y.lo), CLQ_I32(y.hi),
                      CLQ_I32(words_of(run)), CLQ_I32(clq_channels(&run->out)),
                      CLQ_REDUCTION(*rows));
}

static clq_status sum_forward(clq_op_run *run) {
    const clq_reduction rows = rows_of(run);
    const char *option = clq_requantizer_option(run->requantizer);
    const clq_range range = clq_reduction_range(run->device, &rows);
    clq_kernel *kernel = NULL;
    if (run->mode == CLQ_EXEC_INT8) {
        return sum_forward_int8(run, &rows);
    }
    if (run->mode == CLQ_EXEC_QAT) {
        CLQ_TRY(clq_kernel_get(run->device, "reduce_codes_train", option, &kernel));
        return CLQ_LAUNCH(run->device, kernel, range, CLQ_BUF(run->in[0].buffer),
                          CLQ_BUF(run->out.buffer), CLQ_KEPT(run, run->state),
                          CLQ_BUF(run->qstate->range), CLQ_TABLES(run), CLQ_INDEX(run, in[0]),
                          CLQ_INDEX(run, out), CLQ_I32(divisor(run, &rows)), CLQ_REDUCTION(rows));
    }
    CLQ_TRY(clq_kernel_get(run->device, "reduce_codes", option, &kernel));
    return CLQ_LAUNCH(run->device, kernel, range, CLQ_BUF(run->in[0].buffer),
                      CLQ_BUF(run->out.buffer), CLQ_TABLES(run), CLQ_INDEX(run, in[0]),
                      CLQ_INDEX(run, out), CLQ_I32(divisor(run, &rows)), CLQ_REDUCTION(rows));
}

static clq_status sum_backward(clq_op_run *run) {
    void *none = NULL;
    CLQ_TRY(clq_pass_gradient(run, run->state));
    return clq_call_real(run, run->node->op->backward, &none);
}

const clq_quantized_op clq_reduce_sum_quantized = {sum_prepare,  NULL,        sum_forward,
                                                   sum_backward, sum_release, 0};

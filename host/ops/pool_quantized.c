/* Pooling in the quantized modes. */
#include "ops/pool_geometry.h"
#include "ops/quantized_run.h"
#include "ops/registry.h"

static clq_int8_pool int8_pool(const clq_pool_geometry *g) {
    return (clq_int8_pool){
        .n = g->n,
        .ih = g->ih,
        .iw = g->iw,
        .channels = g->c,
        .oh = g->oh,
        .ow = g->ow,
        .kernel_h = g->kh,
        .kernel_w = g->kw,
        .stride_h = g->sh,
        .stride_w = g->sw,
        .pad_top = g->pad[0],
        .pad_left = g->pad[1],
        .dilation_h = g->dh,
        .dilation_w = g->dw,
    };
}

/* ---- max_pool: the greatest code; on floats the FP32 form does it, and its state is ours ---- */

static clq_status max_prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    CLQ_TRY(clq_check_shared(run));
    return run->mode == CLQ_EXEC_INT8 ? CLQ_OK
                                      : clq_call_real(run, clq_op_max_pool.prepare, &run->state);
}

static clq_status max_forward(clq_op_run *run) {
    if (run->mode == CLQ_EXEC_INT8) {
        const clq_pool_geometry g = clq_pool_node_geometry(run);
        const clq_int8_pool pool = int8_pool(&g);
        return clq_int8_max_pool(run->device, run->in[0].buffer, run->out.buffer, &pool);
    }
    return clq_call_real(run, clq_op_max_pool.forward, &run->state);
}

static clq_status max_backward(clq_op_run *run) {
    return clq_call_real(run, clq_op_max_pool.backward, &run->state);
}

static void max_release(clq_op_run *run) {
    if (run->mode != CLQ_EXEC_INT8) {
        clq_release_real(run, run->state);
    }
}

const clq_quantized_op clq_max_pool_quantized = {max_prepare,  NULL,        max_forward,
                                                 max_backward, max_release, 0};

/* ---- averages: equations (12), (12f), (12s) ----
 *
 * run->state is the clq_int8_avg_pool in INT8, clq_kept_create's in QAT. */

static clq_status avg_prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    CLQ_TRY(clq_check_factors(run->graph, run->node));
    if (run->mode == CLQ_EXEC_QAT) {
        clq_buffer *kept = NULL;
        CLQ_TRY(clq_kept_create(run, &kept));
        run->state = kept;
    } else if (run->mode == CLQ_EXEC_INT8) {
        const clq_pool_geometry g = clq_pool_node_geometry(run);
        const clq_int8_pool pool = int8_pool(&g);
        clq_int8_avg_pool *made = NULL;
        CLQ_TRY(clq_int8_avg_pool_create(run->device, run->requantizer, &pool, g.pad[2], g.pad[3],
                                         g.count_include_pad,
                                         clq_int8_range_of(run->in[0].value, CLQ_ACT_NONE),
                                         clq_int8_range_of(run->out.value, CLQ_ACT_NONE), &made));
        run->state = made;
    }
    return CLQ_OK;
}

static void avg_release(clq_op_run *run) {
    if (run->mode == CLQ_EXEC_INT8) {
        clq_int8_avg_pool_destroy(run->state);
    } else {
        clq_buffer_release(run->state);
    }
}

#define POOL_ARGUMENTS(run, g)                                                                     \
    CLQ_TABLES(run), CLQ_INDEX(run, in[0]), CLQ_INDEX(run, out), CLQ_POOL_SHAPE(g),                \
        CLQ_I32((g).pad[2]), CLQ_I32((g).pad[3]), CLQ_I32((g).count_include_pad)

static clq_status avg_forward_train(clq_op_run *run, const clq_pool_geometry *g) {
    clq_range range = clq_pool_forward_range(run, g);
    clq_kernel *kernel = NULL;
    if (clq_device_get_info(run->device)->schedule == CLQ_SCHEDULE_GPU) {
        range = clq_observing_range(run->device, clq_shape_count(&run->out.shape));
    }
    CLQ_TRY(clq_kernel_get(run->device, "avg_pool_codes_train",
                           clq_requantizer_option(run->requantizer), &kernel));
    return CLQ_LAUNCH(run->device, kernel, range, CLQ_BUF(run->in[0].buffer),
                      CLQ_BUF(run->out.buffer), CLQ_KEPT(run, run->state),
                      CLQ_BUF(run->qstate->range), POOL_ARGUMENTS(run, *g));
}

static clq_status avg_forward(clq_op_run *run) {
    const clq_pool_geometry g = clq_pool_node_geometry(run);
    clq_kernel *kernel = NULL;
    if (run->mode == CLQ_EXEC_INT8) {
        return clq_int8_avg_pool_forward(run->state, run->in[0].buffer, run->out.buffer);
    }
    if (run->mode == CLQ_EXEC_QAT) {
        return avg_forward_train(run, &g);
    }
    CLQ_TRY(clq_kernel_get(run->device, "avg_pool_codes", clq_requantizer_option(run->requantizer),
                           &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_pool_forward_range(run, &g),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), POOL_ARGUMENTS(run, g));
}

static clq_status avg_backward(clq_op_run *run) {
    void *none = NULL;
    CLQ_TRY(clq_pass_gradient(run, run->state));
    return clq_call_real(run, run->node->op->backward, &none);
}

const clq_quantized_op clq_avg_pool_quantized = {avg_prepare,  NULL,        avg_forward,
                                                 avg_backward, avg_release, 0};
const clq_quantized_op clq_global_avg_pool_quantized = {avg_prepare,  NULL,        avg_forward,
                                                        avg_backward, avg_release, 0};

/* max_pool, avg_pool, global_max_pool, global_avg_pool: x (N,IH,IW,C) -> y (N,OH,OW,C). The global
 * ones have one window as large as the image. */
#include <limits.h>

#include "ops/pool_geometry.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_range backward_range(const clq_op_run *run, const clq_pool_geometry *g) {
    return clq_pool_range(run, (int64_t)g->n * g->ih, (int64_t)g->iw * g->c, 1);
}

/* ---- max_pool; run->state is the buffer of the maxima's places ---- */

static clq_status max_pool_prepare(clq_op_run *run) {
    const clq_pool_geometry g = clq_pool_node_geometry(run);
    if (run->mode != CLQ_EXEC_TRAIN) {
        return CLQ_OK;
    }
    if ((int64_t)g.kh * g.kw > USHRT_MAX) {
        return clq_fail(CLQ_USAGE, "a %dx%d window is too large to train %s", g.kh, g.kw,
                        run->node->op->name);
    }
    clq_buffer *places = NULL;
    CLQ_TRY(clq_buffer_create(
        run->device, (size_t)clq_shape_count(&run->out.shape) * sizeof(uint16_t), &places));
    run->state = places;
    return CLQ_OK;
}

static void max_pool_release(clq_op_run *run) {
    clq_buffer_release(run->state);
}

static clq_status max_pool_forward(clq_op_run *run) {
    const clq_pool_geometry g = clq_pool_node_geometry(run);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "max_pool_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_pool_forward_range(run, &g),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), CLQ_BUF(run->state),
                      CLQ_POOL_SHAPE(g));
}

static clq_status max_pool_backward(clq_op_run *run) {
    const clq_pool_geometry g = clq_pool_node_geometry(run);
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "max_pool_grad_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, backward_range(run, &g), CLQ_BUF(run->grad_out.buffer),
                      CLQ_BUF(run->state), CLQ_BUF(run->grad_in[0].buffer), CLQ_POOL_SHAPE(g),
                      CLQ_I32(run->accumulate[0]));
}

const clq_op clq_op_max_pool = {
    .name = "max_pool",
    .attrs_size = sizeof(clq_pool_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = clq_infer_max_pool,
    .prepare = max_pool_prepare,
    .forward = max_pool_forward,
    .backward = max_pool_backward,
    .release = max_pool_release,
    .quantized = &clq_max_pool_quantized,
    .output_shares_qparams = true,
};

const clq_op clq_op_global_max_pool = {
    .name = "global_max_pool",
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = clq_infer_global_pool,
    .prepare = max_pool_prepare,
    .forward = max_pool_forward,
    .backward = max_pool_backward,
    .release = max_pool_release,
    .quantized = &clq_max_pool_quantized,
    .output_shares_qparams = true,
};

/* ---- averages ---- */

static clq_status avg_pool_forward(clq_op_run *run) {
    const clq_pool_geometry g = clq_pool_node_geometry(run);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "avg_pool_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_pool_forward_range(run, &g),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), CLQ_POOL_SHAPE(g),
                      CLQ_I32(g.pad[2]), CLQ_I32(g.pad[3]), CLQ_I32(g.count_include_pad));
}

static clq_status avg_pool_backward(clq_op_run *run) {
    const clq_pool_geometry g = clq_pool_node_geometry(run);
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "avg_pool_grad_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, backward_range(run, &g), CLQ_BUF(run->grad_out.buffer),
                      CLQ_BUF(run->grad_in[0].buffer), CLQ_POOL_SHAPE(g), CLQ_I32(g.pad[2]),
                      CLQ_I32(g.pad[3]), CLQ_I32(g.count_include_pad), CLQ_I32(run->accumulate[0]));
}

const clq_op clq_op_avg_pool = {
    .name = "avg_pool",
    .attrs_size = sizeof(clq_pool_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = clq_infer_avg_pool,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
    .quantized = &clq_avg_pool_quantized,
};

const clq_op clq_op_global_avg_pool = {
    .name = "global_avg_pool",
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = clq_infer_global_pool,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
    .quantized = &clq_global_avg_pool_quantized,
};

/* max_pool, avg_pool, global_avg_pool: x (N,IH,IW,C) -> y (N,OH,OW,C). The global one is the
 * average over one window as large as the image. */
#include <limits.h>

#include "ops/elementwise.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

enum { PIXEL_GRAIN = 4096 }; /* floats that an item reads at least */

typedef struct pool_geometry {
    int n, ih, iw, c, oh, ow, kh, kw, sh, sw, pad[4];
    bool count_include_pad;
} pool_geometry;

static pool_geometry geometry_of(const clq_op_run *run) {
    const int64_t *x = run->in[0].shape.dim, *y = run->out.shape.dim;
    pool_geometry g = {.n = (int)x[0], .ih = (int)x[1], .iw = (int)x[2], .c = (int)x[3]};
    if (run->node->op == &clq_op_global_avg_pool) {
        g.oh = g.ow = g.sh = g.sw = 1;
        g.kh = g.ih;
        g.kw = g.iw;
        return g;
    }
    const clq_pool_attrs *attrs = run->node->attrs;
    g.oh = (int)y[1];
    g.ow = (int)y[2];
    g.kh = attrs->kernel[0];
    g.kw = attrs->kernel[1];
    g.sh = attrs->stride[0];
    g.sw = attrs->stride[1];
    for (int i = 0; i < 4; i++) {
        g.pad[i] = attrs->pad[i];
    }
    g.count_include_pad = attrs->count_include_pad;
    return g;
}

/* The kernels' common arguments. */
#define POOL_SHAPE(g)                                                                              \
    CLQ_I32((g).n), CLQ_I32((g).ih), CLQ_I32((g).iw), CLQ_I32((g).c), CLQ_I32((g).oh),             \
        CLQ_I32((g).ow), CLQ_I32((g).kh), CLQ_I32((g).kw), CLQ_I32((g).sh), CLQ_I32((g).sw),       \
        CLQ_I32((g).pad[0]), CLQ_I32((g).pad[1])

/* Work-items for an image of n * height rows of `row` floats, of which each costs `reads`. */
static clq_range pixel_range(const clq_op_run *run, int64_t rows, int64_t row, int64_t reads) {
    if (clq_device_get_info(run->device)->schedule == CLQ_SCHEDULE_GPU) {
        return CLQ_RANGE1((size_t)(rows * row));
    }
    return CLQ_RANGE1(clq_work_items(run->device, rows, 1 + (PIXEL_GRAIN - 1) / (row * reads)));
}

static clq_range forward_range(const clq_op_run *run, const pool_geometry *g) {
    return pixel_range(run, (int64_t)g->n * g->oh, (int64_t)g->ow * g->c, (int64_t)g->kh * g->kw);
}

static clq_range backward_range(const clq_op_run *run, const pool_geometry *g) {
    return pixel_range(run, (int64_t)g->n * g->ih, (int64_t)g->iw * g->c, 1);
}

/* ---- max_pool; run->state is the buffer of the maxima's places ---- */

static clq_status max_pool_prepare(clq_op_run *run) {
    const pool_geometry g = geometry_of(run);
    if (run->mode != CLQ_EXEC_TRAIN) {
        return CLQ_OK;
    }
    if ((int64_t)g.kh * g.kw > USHRT_MAX) {
        return clq_fail(CLQ_USAGE, "a %dx%d window is too large to train max_pool", g.kh, g.kw);
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
    const pool_geometry g = geometry_of(run);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "max_pool_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, forward_range(run, &g), CLQ_BUF(run->in[0].buffer),
                      CLQ_BUF(run->out.buffer), CLQ_BUF(run->state), POOL_SHAPE(g));
}

static clq_status max_pool_backward(clq_op_run *run) {
    const pool_geometry g = geometry_of(run);
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "max_pool_grad_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, backward_range(run, &g), CLQ_BUF(run->grad_out.buffer),
                      CLQ_BUF(run->state), CLQ_BUF(run->grad_in[0].buffer), POOL_SHAPE(g),
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

/* ---- averages ---- */

static clq_status avg_pool_forward(clq_op_run *run) {
    const pool_geometry g = geometry_of(run);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "avg_pool_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, forward_range(run, &g), CLQ_BUF(run->in[0].buffer),
                      CLQ_BUF(run->out.buffer), POOL_SHAPE(g), CLQ_I32(g.pad[2]), CLQ_I32(g.pad[3]),
                      CLQ_I32(g.count_include_pad));
}

static clq_status avg_pool_backward(clq_op_run *run) {
    const pool_geometry g = geometry_of(run);
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "avg_pool_grad_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, backward_range(run, &g), CLQ_BUF(run->grad_out.buffer),
                      CLQ_BUF(run->grad_in[0].buffer), POOL_SHAPE(g), CLQ_I32(g.pad[2]),
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
    .infer = clq_infer_global_avg_pool,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
    .quantized = &clq_global_avg_pool_quantized,
};

#include "ops/conv/conv2d_f32_gemm.h"

#include <math.h>
#include <string.h>

#include "ops/conv/conv2d_f32_shape.h"

bool clq_conv_gemm_suits(const clq_device *device, const clq_conv_geometry *g) {
    return clq_has_gemm_f32() && clq_device_get_info(device)->schedule == CLQ_SCHEDULE_GPU &&
           g->kh == 1 && g->kw == 1 && g->stride_h == 1 && g->stride_w == 1 && g->groups == 1 &&
           g->pad_top == 0 && g->pad_left == 0 && g->oh == g->ih && g->ow == g->iw;
}

clq_status clq_conv_gemm_init(clq_conv_gemm *gemm, clq_device *device, const clq_conv_geometry *g) {
    gemm->device = device;
    gemm->pixels = (size_t)g->n * (size_t)g->oh * (size_t)g->ow;
    gemm->in = (size_t)g->ic;
    gemm->out = (size_t)g->oc;
    gemm->operations = clq_conv_operations(g);
    CLQ_TRY(clq_kernel_get(device, "conv2d_f32_finish", NULL, &gemm->finish));
    return clq_buffer_create(device, gemm->in * gemm->out * sizeof(float), &gemm->w);
}

void clq_conv_gemm_free(clq_conv_gemm *gemm) {
    clq_buffer_release(gemm->w);
    memset(gemm, 0, sizeof *gemm);
}

clq_status clq_conv_gemm_load_weights(clq_conv_gemm *gemm, clq_buffer *w) {
    return clq_buffer_copy(gemm->w, 0, w, 0, gemm->in * gemm->out * sizeof(float));
}

clq_status clq_conv_gemm_run(clq_conv_gemm *gemm, clq_buffer *x, clq_buffer *bias,
                             clq_buffer *residual, clq_act act, clq_buffer *y) {
    const float lo = act == CLQ_ACT_NONE ? -INFINITY : 0.0f;
    const float hi = act == CLQ_ACT_RELU6 ? 6.0f : INFINITY;
    /* The product overwrites y, so a residual that is there already is added by it. */
    const bool accumulate = residual && clq_buffer_same(residual, y);
    clq_buffer *rest = accumulate ? NULL : residual;
    clq_device_set_work(gemm->device, gemm->operations);
    CLQ_TRY(
        clq_gemm_f32(gemm->device, gemm->pixels, gemm->out, gemm->in, x, gemm->w, accumulate, y));
    if (!bias && !rest && act == CLQ_ACT_NONE) {
        return CLQ_OK;
    }
    return CLQ_LAUNCH(gemm->device, gemm->finish, CLQ_RANGE2(gemm->out, gemm->pixels),
                      CLQ_BUF(bias), CLQ_BUF(rest), CLQ_BUF(y), CLQ_F32(lo), CLQ_F32(hi),
                      CLQ_I32(gemm->out), CLQ_I32(gemm->pixels));
}

#include "ops/conv2d_f32.h"

#include <stdlib.h>
#include <string.h>

#include "ops/conv2d_f32_gemm.h"
#include "ops/conv2d_f32_sum.h"
#include "ops/conv2d_f32_weights.h"

struct clq_conv2d_f32 {
    int directions; /* CLQ_CONV_* */
    bool by_gemm;   /* forward: `gemm` instead of the sum over taps */
    clq_conv_gemm gemm;
    clq_conv_sum forward, backward_data;
    clq_conv_weights backward_weights;
};

/* The kernels count pixels and weights in 32 bits, with room for a tile beyond the last. */
static clq_status check_size(const clq_conv_geometry *g) {
    const double limit = 1 << 30;
    const double in = (double)g->n * g->ih * g->iw, out = (double)g->n * g->oh * g->ow;
    const double weights = (double)g->oc * g->kh * g->kw * (g->ic / g->groups);
    if (in > limit || out > limit || weights > limit) {
        return clq_fail(CLQ_NO_MEMORY,
                        "a convolution of %dx%dx%d pixels with %.0f weights: the limit is %.0f "
                        "pixels and as many weights",
                        g->n, g->ih, g->iw, weights, limit);
    }
    return CLQ_OK;
}

/* CLQUANT_GEMM=clblast asks for CLBlast where it suits. */
static bool wants_gemm(const clq_device *device, const clq_conv_geometry *geometry) {
    const char *gemm = getenv("CLQUANT_GEMM");
    return gemm && strcmp(gemm, "clblast") == 0 && clq_conv_gemm_suits(device, geometry);
}

static clq_status init_forward(clq_conv2d_f32 *conv, clq_device *device,
                               const clq_conv_geometry *geometry) {
    conv->by_gemm = wants_gemm(device, geometry);
    return conv->by_gemm ? clq_conv_gemm_init(&conv->gemm, device, geometry)
                         : clq_conv_sum_init(&conv->forward, device, geometry, false);
}

clq_status clq_conv2d_f32_create(clq_device *device, const clq_conv_geometry *geometry,
                                 int directions, clq_conv2d_f32 **conv) {
    clq_status status = CLQ_OK;
    CLQ_TRY(check_size(geometry));
    clq_conv2d_f32 *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    made->directions = directions;
    if (directions & CLQ_CONV_FORWARD) {
        CLQ_GOTO(status, failed, init_forward(made, device, geometry));
    }
    if (directions & CLQ_CONV_BACKWARD_DATA) {
        CLQ_GOTO(status, failed, clq_conv_sum_init(&made->backward_data, device, geometry, true));
    }
    if (directions & CLQ_CONV_BACKWARD_WEIGHTS) {
        CLQ_GOTO(status, failed, clq_conv_weights_init(&made->backward_weights, device, geometry));
    }
    *conv = made;
    return CLQ_OK;
failed:
    clq_conv2d_f32_destroy(made);
    return status;
}

void clq_conv2d_f32_destroy(clq_conv2d_f32 *conv) {
    if (conv) {
        clq_conv_gemm_free(&conv->gemm);
        clq_conv_sum_free(&conv->forward);
        clq_conv_sum_free(&conv->backward_data);
        clq_conv_weights_free(&conv->backward_weights);
        clq_free(conv);
    }
}

const clq_conv_choice *clq_conv2d_f32_choice(const clq_conv2d_f32 *conv) {
    return conv->directions & CLQ_CONV_FORWARD ? &conv->forward.plan.choice : NULL;
}

clq_status clq_conv2d_f32_load_weights(clq_conv2d_f32 *conv, clq_buffer *w) {
    if (conv->directions & CLQ_CONV_FORWARD) {
        CLQ_TRY(conv->by_gemm ? clq_conv_gemm_load_weights(&conv->gemm, w)
                              : clq_conv_sum_load_weights(&conv->forward, w));
    }
    if (conv->directions & CLQ_CONV_BACKWARD_DATA) {
        CLQ_TRY(clq_conv_sum_load_weights(&conv->backward_data, w));
    }
    return CLQ_OK;
}

static clq_status not_created_for(const char *direction) {
    return clq_fail(CLQ_INTERNAL, "a convolution was not created for %s", direction);
}

clq_status clq_conv2d_f32_forward(clq_conv2d_f32 *conv, clq_buffer *x, clq_buffer *bias,
                                  clq_buffer *residual, clq_act act, clq_buffer *y) {
    if (!(conv->directions & CLQ_CONV_FORWARD)) {
        return not_created_for("forward");
    }
    return conv->by_gemm ? clq_conv_gemm_run(&conv->gemm, x, bias, residual, act, y)
                         : clq_conv_sum_run(&conv->forward, x, bias, residual, act, y);
}

clq_status clq_conv2d_f32_backward_data(clq_conv2d_f32 *conv, clq_buffer *dy, clq_buffer *dx,
                                        bool accumulate) {
    if (!(conv->directions & CLQ_CONV_BACKWARD_DATA)) {
        return not_created_for("backward-data");
    }
    return clq_conv_sum_run(&conv->backward_data, dy, NULL, accumulate ? dx : NULL, CLQ_ACT_NONE,
                            dx);
}

clq_status clq_conv2d_f32_backward_weights(clq_conv2d_f32 *conv, clq_buffer *x, clq_buffer *dy,
                                           clq_buffer *dw, clq_buffer *db) {
    if (!(conv->directions & CLQ_CONV_BACKWARD_WEIGHTS)) {
        return not_created_for("backward-weights");
    }
    return clq_conv_weights_run(&conv->backward_weights, x, dy, dw, db);
}

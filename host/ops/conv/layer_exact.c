#include "ops/conv/layer_exact.h"

#include <math.h>

struct clq_layer_exact {
    clq_device *device;
    clq_conv_geometry geometry;
    clq_kernel *kernel;
    clq_buffer *w;    /* S8 (G, KH, KW, IC/G, OC/G) and LANES bytes that are read but not used */
    clq_buffer *bias; /* S32 (OC), or NULL */
    size_t sums_bytes;
};

enum { LANES = 16 }; /* output channels of a work-item */

static size_t taps_of(const clq_conv_geometry *g) {
    return (size_t)g->kh * (size_t)g->kw;
}

static size_t depth_of(const clq_conv_geometry *g) {
    return (size_t)(g->ic / g->groups);
}

bool clq_layer_bound_holds(const clq_conv_geometry *g, double most, const float *w,
                           const int32_t *bias) {
    const size_t k = taps_of(g) * depth_of(g);
    for (int c = 0; c < g->oc; c++) {
        double sum = 0;
        for (size_t i = 0; i < k; i++) {
            sum += fabs((double)w[(size_t)c * k + i]);
        }
        /* Written so that a NaN does not hold. */
        if (!(most * sum + (bias ? fabs((double)bias[c]) : 0) < 0x1p24)) {
            return false;
        }
    }
    return true;
}

static clq_status upload_weights(clq_layer_exact *exact, const float *w) {
    const clq_conv_geometry *g = &exact->geometry;
    const size_t depth = depth_of(g), taps = taps_of(g), cols = (size_t)(g->oc / g->groups);
    const size_t size = (size_t)g->oc * taps * depth + LANES;
    int8_t *codes = clq_calloc(size, 1);
    if (!codes) {
        return CLQ_NO_MEMORY;
    }
    for (size_t oc = 0; oc < (size_t)g->oc; oc++) {
        for (size_t i = 0; i < taps * depth; i++) {
            /* The taps of a transposed convolution turned around. */
            const size_t from = g->transposed ? (taps - 1 - i / depth) * depth + i % depth : i;
            codes[(oc / cols * taps * depth + i) * cols + oc % cols] =
                (int8_t)w[oc * taps * depth + from];
        }
    }
    clq_status status = clq_buffer_create(exact->device, size, &exact->w);
    if (status == CLQ_OK) {
        status = clq_buffer_write(exact->w, 0, size, codes);
    }
    clq_free(codes);
    return status;
}

clq_status clq_layer_exact_create(clq_device *device, const clq_conv_geometry *geometry,
                                  const float *w, const int32_t *bias, clq_layer_exact **result) {
    clq_status status = CLQ_OK;
    const clq_conv_geometry *g = geometry;
    clq_layer_exact *exact = clq_calloc(1, sizeof *exact);
    if (!exact) {
        return CLQ_NO_MEMORY;
    }
    exact->device = device;
    exact->geometry = *geometry;
    exact->sums_bytes =
        (size_t)g->n * (size_t)g->oh * (size_t)g->ow * (size_t)g->oc * sizeof(int32_t);
    CLQ_GOTO(status, cleanup, clq_kernel_get(device, "conv2d_codes_exact", NULL, &exact->kernel));
    CLQ_GOTO(status, cleanup, upload_weights(exact, w));
    if (bias) {
        const size_t size = (size_t)g->oc * sizeof *bias;
        CLQ_GOTO(status, cleanup, clq_buffer_create(device, size, &exact->bias));
        CLQ_GOTO(status, cleanup, clq_buffer_write(exact->bias, 0, size, bias));
    }
    CLQ_GOTO(status, cleanup, clq_scratch_reserve(device, exact->sums_bytes));
    *result = exact;
    exact = NULL;
cleanup:
    clq_layer_exact_destroy(exact);
    return status;
}

void clq_layer_exact_destroy(clq_layer_exact *exact) {
    if (!exact) {
        return;
    }
    clq_buffer_release(exact->w);
    clq_buffer_release(exact->bias);
    clq_free(exact);
}

clq_status clq_layer_exact_forward(clq_layer_exact *exact, clq_buffer *x, clq_buffer **sums) {
    const clq_conv_geometry *g = &exact->geometry;
    const int pixels = g->n * g->oh * g->ow;
    const int blocks = (g->oc / g->groups + LANES - 1) / LANES * g->groups;
    const bool t = g->transposed;
    const int reach_h = (g->kh - 1) * g->dilation_h, reach_w = (g->kw - 1) * g->dilation_w;
    CLQ_TRY(clq_scratch_take(exact->device, exact->sums_bytes, sums));
    return CLQ_LAUNCH(exact->device, exact->kernel, CLQ_RANGE2((size_t)pixels, (size_t)blocks),
                      CLQ_BUF(x), CLQ_BUF(exact->w), CLQ_BUF(exact->bias), CLQ_BUF(*sums),
                      CLQ_I32(pixels), CLQ_I32(g->ih), CLQ_I32(g->iw), CLQ_I32(g->ic),
                      CLQ_I32(g->oh), CLQ_I32(g->ow), CLQ_I32(g->oc), CLQ_I32(g->kh),
                      CLQ_I32(g->kw), CLQ_I32(t ? 1 : g->stride_h), CLQ_I32(t ? 1 : g->stride_w),
                      CLQ_I32(t ? reach_h - g->pad_top : g->pad_top),
                      CLQ_I32(t ? reach_w - g->pad_left : g->pad_left), CLQ_I32(g->dilation_h),
                      CLQ_I32(g->dilation_w), CLQ_I32(g->groups), CLQ_I32(t ? g->stride_h : 1),
                      CLQ_I32(t ? g->stride_w : 1));
}

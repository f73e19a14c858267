#include "ops/conv/conv2d_f32.h"

#include "ops/conv/conv2d_f32_gemm.h"
#include "ops/conv/conv2d_f32_sum.h"
#include "ops/conv/conv2d_f32_transposed.h"
#include "ops/conv/conv2d_f32_weights.h"
#include "ops/conv/conv2d_f32_winograd.h"
#include "ops/conv/conv2d_f32_winograd_weights.h"
#include "ops/self_test.h"

/* Forward or backward-data: one of the three is prepared. */
typedef struct direction {
    bool by_gemm, by_winograd;
    bool repacks;
    clq_buffer *w; /* when it repacks: the weights */
    clq_conv_gemm gemm;
    clq_conv_sum sum;
    clq_conv_winograd winograd;
} direction;

struct clq_conv2d_f32 {
    clq_device *device;
    int directions; /* CLQ_CONV_* */
    direction forward, backward_data;
    bool weights_by_winograd; /* one of the two is prepared */
    clq_conv_weights backward_weights;
    clq_conv_winograd_weights winograd_weights;
    clq_conv_transposed *transposed; /* NULL, or does all of it */
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

/* What the tuning table asks for; CLQ_CONV_ANY where it may not or does not. */
static clq_conv_kernel tuned_kernel(const clq_device *device, const clq_conv_geometry *g,
                                    int directions, bool backward) {
    char key[CLQ_CONV_KEY];
    clq_conv_choice choice;
    clq_conv_key(device, CLQ_CONV_F32, g, key);
    return (directions & CLQ_CONV_TUNE) && !backward && clq_conv_tuned(device, key, &choice)
               ? choice.kernel
               : CLQ_CONV_ANY;
}

static clq_conv_packed *packed_of(direction *d) {
    return d->by_winograd ? &d->winograd.packed : &d->sum.packed;
}

static clq_status take_packed(direction *d, clq_device *device) {
    const size_t transformed = d->by_winograd ? d->winograd.scratch_bytes : 0;
    const size_t packed = d->repacks ? clq_conv_packed_bytes(packed_of(d)) : 0;
    if (packed + transformed > 0) {
        CLQ_TRY(clq_scratch_reserve(device, packed + transformed));
    }
    return d->repacks ? CLQ_OK : clq_conv_packed_take(packed_of(d), device, false);
}

/* The sum over taps is the default; CLBlast's product must be asked for, Winograd's algorithm is
 * taken where it should be faster. */
static clq_status init_direction(direction *d, clq_device *device, const clq_conv_geometry *g,
                                 int directions, bool backward) {
    const clq_conv_kernel kernel = tuned_kernel(device, g, directions, backward);
    clq_winograd_plan plan;
    d->by_gemm = kernel == CLQ_CONV_GEMM && clq_conv_gemm_suits(device, g);
    if (d->by_gemm) {
        CLQ_TRY(clq_f32_gemm_works(device, &d->by_gemm));
    }
    if (d->by_gemm) {
        return clq_conv_gemm_init(&d->gemm, device, g);
    }
    d->by_winograd = kernel == CLQ_CONV_ANY && (directions & CLQ_CONV_WINOGRAD) &&
                     clq_winograd_choose(device, g, backward, &plan);
    if (d->by_winograd) {
        CLQ_TRY(clq_f32_winograd_works(device, &plan, &d->by_winograd));
    }
    CLQ_TRY(d->by_winograd ? clq_conv_winograd_init(&d->winograd, device, g, backward, &plan)
                           : clq_conv_sum_init(&d->sum, device, g, backward));
    d->repacks = (directions & CLQ_CONV_REPACK) != 0;
    return take_packed(d, device);
}

static clq_status init_weights(clq_conv2d_f32 *conv, clq_device *device,
                               const clq_conv_geometry *g) {
    conv->weights_by_winograd =
        (conv->directions & CLQ_CONV_WINOGRAD_WEIGHTS) && clq_winograd_weights_choose(device, g);
    if (conv->weights_by_winograd) {
        CLQ_TRY(clq_f32_weights_work(device, g, true, &conv->weights_by_winograd));
    }
    if (!conv->weights_by_winograd) {
        bool works;
        CLQ_TRY(clq_f32_weights_work(device, g, false, &works));
        if (!works) {
            return clq_self_test_none_left(device, "the weights' gradient of a convolution");
        }
    }
    return conv->weights_by_winograd
               ? clq_conv_winograd_weights_init(&conv->winograd_weights, device, g)
               : clq_conv_weights_init(&conv->backward_weights, device, g);
}

static void free_direction(direction *d) {
    clq_conv_gemm_free(&d->gemm);
    clq_conv_sum_free(&d->sum);
    clq_conv_winograd_free(&d->winograd);
}

static clq_status pack_weights(direction *d, clq_buffer *w) {
    return d->by_gemm       ? clq_conv_gemm_load_weights(&d->gemm, w)
           : d->by_winograd ? clq_conv_winograd_load_weights(&d->winograd, w)
                            : clq_conv_sum_load_weights(&d->sum, w);
}

static clq_status load_weights(direction *d, clq_buffer *w) {
    if (d->repacks) {
        d->w = w;
        return CLQ_OK;
    }
    return pack_weights(d, w);
}

static clq_status run_packed(direction *d, clq_buffer *src, clq_buffer *bias, clq_buffer *residual,
                             clq_act act, clq_buffer *dst) {
    return d->by_gemm       ? clq_conv_gemm_run(&d->gemm, src, bias, residual, act, dst)
           : d->by_winograd ? clq_conv_winograd_run(&d->winograd, src, bias, residual, act, dst)
                            : clq_conv_sum_run(&d->sum, src, bias, residual, act, dst);
}

static clq_status run_direction(direction *d, clq_device *device, clq_buffer *src, clq_buffer *bias,
                                clq_buffer *residual, clq_act act, clq_buffer *dst) {
    clq_status status = CLQ_OK;
    if (!d->repacks) {
        return run_packed(d, src, bias, residual, act, dst);
    }
    clq_device_set_work(device, 0); /* packing is none of the convolution's */
    CLQ_GOTO(status, cleanup, clq_conv_packed_take(packed_of(d), device, true));
    CLQ_GOTO(status, cleanup, pack_weights(d, d->w));
    CLQ_GOTO(status, cleanup, run_packed(d, src, bias, residual, act, dst));
cleanup: /* the queued launches still complete */
    clq_conv_packed_release(packed_of(d));
    return status;
}

clq_status clq_conv2d_f32_create(clq_device *device, const clq_conv_geometry *geometry,
                                 int directions, clq_conv2d_f32 **conv) {
    clq_status status = CLQ_OK;
    CLQ_TRY(check_size(geometry));
    clq_conv2d_f32 *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    made->device = device;
    made->directions = directions;
    if (geometry->transposed) {
        CLQ_GOTO(status, failed,
                 clq_conv_transposed_create(device, geometry, directions, &made->transposed));
        *conv = made;
        return CLQ_OK;
    }
    if (directions & CLQ_CONV_FORWARD) {
        CLQ_GOTO(status, failed,
                 init_direction(&made->forward, device, geometry, directions, false));
    }
    if (directions & CLQ_CONV_BACKWARD_DATA) {
        CLQ_GOTO(status, failed,
                 init_direction(&made->backward_data, device, geometry, directions, true));
    }
    if (directions & CLQ_CONV_BACKWARD_WEIGHTS) {
        CLQ_GOTO(status, failed, init_weights(made, device, geometry));
    }
    *conv = made;
    return CLQ_OK;
failed:
    clq_conv2d_f32_destroy(made);
    return status;
}

void clq_conv2d_f32_destroy(clq_conv2d_f32 *conv) {
    if (conv) {
        clq_conv_transposed_destroy(conv->transposed);
        free_direction(&conv->forward);
        free_direction(&conv->backward_data);
        clq_conv_weights_free(&conv->backward_weights);
        clq_conv_winograd_weights_free(&conv->winograd_weights);
        clq_free(conv);
    }
}

const clq_conv_choice *clq_conv2d_f32_choice(const clq_conv2d_f32 *conv) {
    const direction *d = &conv->forward;
    const bool by_sum = !conv->transposed && (conv->directions & CLQ_CONV_FORWARD) && !d->by_gemm &&
                        !d->by_winograd;
    return by_sum ? &d->sum.plan.choice : NULL;
}

clq_status clq_conv2d_f32_load_weights(clq_conv2d_f32 *conv, clq_buffer *w) {
    if (conv->transposed) {
        return clq_conv_transposed_load_weights(conv->transposed, w);
    }
    if (conv->directions & CLQ_CONV_FORWARD) {
        CLQ_TRY(load_weights(&conv->forward, w));
    }
    if (conv->directions & CLQ_CONV_BACKWARD_DATA) {
        CLQ_TRY(load_weights(&conv->backward_data, w));
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
    return conv->transposed
               ? clq_conv_transposed_forward(conv->transposed, x, bias, residual, act, y)
               : run_direction(&conv->forward, conv->device, x, bias, residual, act, y);
}

clq_status clq_conv2d_f32_turned(clq_conv2d_f32 *conv, clq_buffer *dy, clq_buffer *bias,
                                 clq_buffer *residual, clq_act act, clq_buffer *dx) {
    if (!(conv->directions & CLQ_CONV_BACKWARD_DATA)) {
        return not_created_for("backward-data");
    }
    return run_direction(&conv->backward_data, conv->device, dy, bias, residual, act, dx);
}

clq_status clq_conv2d_f32_backward_data(clq_conv2d_f32 *conv, clq_buffer *dy, clq_buffer *dx,
                                        bool accumulate) {
    return conv->transposed
               ? clq_conv_transposed_backward_data(conv->transposed, dy, dx, accumulate)
               : clq_conv2d_f32_turned(conv, dy, NULL, accumulate ? dx : NULL, CLQ_ACT_NONE, dx);
}

clq_status clq_conv2d_f32_backward_weights(clq_conv2d_f32 *conv, clq_buffer *x, clq_buffer *dy,
                                           clq_buffer *dw, clq_buffer *db) {
    if (!(conv->directions & CLQ_CONV_BACKWARD_WEIGHTS)) {
        return not_created_for("backward-weights");
    }
    if (conv->transposed) {
        return clq_conv_transposed_backward_weights(conv->transposed, x, dy, dw, db);
    }
    return conv->weights_by_winograd
               ? clq_conv_winograd_weights_run(&conv->winograd_weights, x, dy, dw, db)
               : clq_conv_weights_run(&conv->backward_weights, x, dy, dw, db);
}

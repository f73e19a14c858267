#include "ops/conv/conv2d_int8.h"

#include <math.h>
#include <string.h>

#include "base/log.h"
#include "ops/conv/conv2d_int8_plan.h"
#include "ops/conv/conv2d_int8_transposed.h"
#include "ops/multiplier.h"
#include "ops/self_test.h"

struct clq_conv2d_int8 {
    clq_device *device;
    clq_kernel *kernel;
    clq_range range;
    clq_dot dot;
    clq_conv_choice choice;
    double operations; /* 0: as the caller has set them */
    bool has_residual;
    clq_buffer *weights, *channels, *shape;
    clq_int8_phases *phases; /* of a transposed one, which this is the convolution of; or NULL */
};

static bool is_code(int32_t q) {
    return q >= 0 && q <= 255;
}

static clq_status check_codes(const char *what, int32_t zero_point, int32_t lo, int32_t hi) {
    if (!is_code(zero_point) || !is_code(lo) || !is_code(hi) || lo > hi) {
        return clq_fail(CLQ_BAD_DATA, "%s: zero point %d and bounds %d..%d must lie in 0..255",
                        what, (int)zero_point, (int)lo, (int)hi);
    }
    return CLQ_OK;
}

/* A whole number as the epilogue wants it. */
static int number(const clq_conv2d_int8_params *p, int32_t n) {
    return p->requantizer == CLQ_REQUANT_FLOAT ? clq_float_bits((float)n) : n;
}

/* The part of the epilogue that is the same for all channels. */
static clq_status make_epilogue(const clq_conv2d_int8_params *p, int8_epilogue *e) {
    CLQ_TRY(check_codes("input", p->x_zero_point, 0, 255));
    if (p->float_output) {
        e->float_output = 1;
        e->float_lo = p->float_act == CLQ_ACT_NONE ? -INFINITY : 0;
        e->float_hi = p->float_act == CLQ_ACT_RELU6 ? 6 : INFINITY;
        return p->has_residual ? clq_fail(CLQ_USAGE, "a float result takes no residual") : CLQ_OK;
    }
    CLQ_TRY(check_codes("output", p->y_zero_point, p->y_lo, p->y_hi));
    e->y_zero = number(p, p->y_zero_point);
    e->y_lo = number(p, p->y_lo);
    e->y_hi = number(p, p->y_hi);
    if (!p->has_residual) {
        return CLQ_OK;
    }
    CLQ_TRY(check_codes("residual", p->r_zero_point, 0, 255));
    CLQ_TRY(check_codes("sum", p->out_zero_point, p->out_lo, p->out_hi));
    clq_add_factors factors;
    CLQ_TRY(clq_multiplier_add(p->requantizer, p->y_scale, p->r_scale, p->out_scale, &factors));
    e->y_factor = factors.a;
    e->r_factor = factors.b;
    e->add_shift = factors.shift;
    e->r_zero = number(p, p->r_zero_point);
    e->out_zero = number(p, p->out_zero_point);
    e->out_lo = number(p, p->out_lo);
    e->out_hi = number(p, p->out_hi);
    return CLQ_OK;
}

/* Whether sums become codes by floats of which none reaches 2^30: then whole tiles are finished by
 * conversions (kernels/include/narrow.h). A sum is an int. */
static bool is_near(const clq_int8_plan *plan, const clq_conv2d_int8_params *p,
                    const int32_t *channels) {
    const int8_epilogue *e = &plan->shape.epilogue;
    const size_t stride = (size_t)plan->shape.blocks * (size_t)plan->nr;
    bool near = p->requantizer == CLQ_REQUANT_FLOAT && !p->float_output;
    for (size_t c = 0; near && c < stride; c++) {
        near = clq_bits_float(channels[stride + c]) < 0.5f;
    }
    return near && (!p->has_residual || 255 * (fabsf(clq_bits_float(e->y_factor)) +
                                               fabsf(clq_bits_float(e->r_factor))) <
                                            0x1p30f);
}

static clq_status upload(clq_device *device, const void *data, size_t size, clq_buffer **buffer) {
    CLQ_TRY(clq_buffer_create(device, size, buffer));
    return clq_buffer_write(*buffer, 0, size, data);
}

static clq_status upload_constants(clq_conv2d_int8 *conv, clq_int8_plan *plan,
                                   const clq_conv_geometry *geometry,
                                   const clq_conv2d_int8_params *params) {
    clq_status status = CLQ_OK;
    size_t weight_bytes = clq_int8_weight_bytes(plan);
    size_t channel_bytes = clq_int8_channel_bytes(plan);
    void *weights;
    int32_t *channels = clq_calloc(channel_bytes, 1);
    if (!channels) {
        return CLQ_NO_MEMORY;
    }
    CLQ_GOTO(status, cleanup, clq_int8_pack_channels(plan, geometry, params, channels));
    plan->shape.epilogue.near = is_near(plan, params, channels);
    CLQ_GOTO(status, cleanup, clq_buffer_create(conv->device, weight_bytes, &conv->weights));
    CLQ_GOTO(status, cleanup, clq_buffer_map(conv->weights, &weights));
    memset(weights, 0, weight_bytes);
    clq_int8_pack_weights(plan, geometry, params->w, weights);
    if (plan->kernel == CLQ_CONV_SPLIT) {
        clq_int8_list_unfit(plan, weights, channels);
    }
    CLQ_GOTO(status, cleanup, clq_buffer_unmap(conv->weights, weights));
    CLQ_GOTO(status, cleanup, upload(conv->device, channels, channel_bytes, &conv->channels));
    CLQ_GOTO(status, cleanup, upload(conv->device, &plan->shape, sizeof plan->shape, &conv->shape));
cleanup:
    clq_free(channels);
    return status;
}

const char *clq_int8_kernel_name(clq_conv_kernel kernel) {
    static const char *const names[CLQ_CONV_KERNEL_COUNT] = {
        [CLQ_CONV_TILE] = "conv2d_int8_tile",
        [CLQ_CONV_SPLIT] = "conv2d_int8_tile",
        [CLQ_CONV_INT8_WINOGRAD] = "conv2d_int8_winograd",
        [CLQ_CONV_GROUP] = "conv2d_int8_group",
        [CLQ_CONV_MMA] = "conv2d_int8_mma",
        [CLQ_CONV_DEPTHWISE] = "conv2d_int8_depthwise",
    };
    return names[kernel];
}

clq_status clq_int8_create_planned(clq_device *device, const clq_conv_geometry *geometry,
                                   const clq_conv2d_int8_params *params, clq_int8_plan *plan,
                                   clq_conv2d_int8 **conv) {
    clq_status status = CLQ_OK;
    *conv = NULL;
    clq_conv2d_int8 *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < sizeof plan->shape.outside / sizeof plan->shape.outside[0]; i++) {
        plan->shape.outside[i] = (unsigned)params->x_zero_point * 0x01010101u;
    }
    CLQ_GOTO(status, cleanup, make_epilogue(params, &plan->shape.epilogue));
    made->device = device;
    made->range = plan->range;
    made->dot = plan->dot;
    made->choice = plan->choice;
    made->operations = plan->operations;
    made->has_residual = params->has_residual;
    CLQ_GOTO(status, cleanup, upload_constants(made, plan, geometry, params));
    CLQ_GOTO(
        status, cleanup,
        clq_kernel_get(device, clq_int8_kernel_name(plan->kernel), plan->options, &made->kernel));
    *conv = made;
    made = NULL;
cleanup:
    clq_conv2d_int8_destroy(made);
    return status;
}

void clq_conv2d_int8_constants(const clq_conv2d_int8 *conv, clq_buffer **weights,
                               clq_buffer **channels) {
    *weights = conv->weights;
    *channels = conv->channels;
}

/* ---- which kernel ---- */

/* Plans `choice` (NULL: by heuristics) where that can be had; *works: and its self-test passes. */
static clq_status try_choice(clq_device *device, const clq_conv_geometry *geometry,
                             const clq_conv2d_int8_params *params, const clq_conv_choice *choice,
                             clq_int8_plan *plan, bool *works) {
    *works = clq_int8_make_plan(clq_device_get_info(device), geometry, params->requantizer,
                                params->x_zero_point, params->four_bits, choice, plan);
    return *works ? clq_int8_plan_works(device, plan, params->requantizer, works) : CLQ_OK;
}

/* As tuned for this device, where that is known and can be had; else by heuristics; else, where a
 * self-test failed, the plainest kernel. */
static clq_status choose_plan(clq_device *device, const clq_conv_geometry *geometry,
                              const clq_conv2d_int8_params *params, clq_int8_plan *plan,
                              bool *works) {
    static const clq_conv_choice plainest = {.kernel = CLQ_CONV_TILE};
    char key[CLQ_CONV_KEY];
    clq_conv_choice tuned;
    clq_conv_key(device, CLQ_CONV_INT8, geometry, key);
    *works = false;
    if (clq_conv_tuned(device, key, &tuned)) {
        CLQ_TRY(try_choice(device, geometry, params, &tuned, plan, works));
        if (!*works) {
            clq_log_debug("%s: the tuned choice cannot be had here", key);
        }
    }
    if (!*works) {
        CLQ_TRY(try_choice(device, geometry, params, NULL, plan, works));
    }
    return *works ? CLQ_OK : try_choice(device, geometry, params, &plainest, plan, works);
}

/* On the device's dot path or, where nothing works there, in plain C. */
static clq_status make_plan(clq_device *device, const clq_conv_geometry *geometry,
                            const clq_conv2d_int8_params *params, clq_int8_plan *plan) {
    bool works;
    CLQ_TRY(choose_plan(device, geometry, params, plan, &works));
    if (!works && clq_device_get_info(device)->dot != CLQ_DOT_PORTABLE) {
        CLQ_TRY(clq_device_set_dot(device, CLQ_DOT_PORTABLE));
        CLQ_TRY(choose_plan(device, geometry, params, plan, &works));
    }
    return works ? CLQ_OK : clq_self_test_none_left(device, "this integer convolution");
}

/* The convolution of all phases. */
static clq_status create_transposed(clq_device *device, const clq_conv_geometry *geometry,
                                    const clq_conv2d_int8_params *params, clq_conv2d_int8 **conv) {
    clq_conv_geometry expanded;
    clq_conv2d_int8_params of_all;
    clq_int8_phases *phases = NULL;
    CLQ_TRY(clq_int8_phases_create(device, geometry, params, &expanded, &of_all, &phases));
    const clq_status status = clq_conv2d_int8_create(device, &expanded, &of_all, conv);
    clq_int8_phases_drop(phases);
    if (status != CLQ_OK) {
        clq_int8_phases_destroy(phases);
        return status;
    }
    (*conv)->phases = phases;
    return CLQ_OK;
}

clq_status clq_conv2d_int8_create(clq_device *device, const clq_conv_geometry *geometry,
                                  const clq_conv2d_int8_params *params, clq_conv2d_int8 **conv) {
    const clq_dot dot = clq_device_get_info(device)->dot;
    clq_int8_plan plan;
    *conv = NULL;
    if (geometry->transposed) {
        return create_transposed(device, geometry, params, conv);
    }
    clq_status status = make_plan(device, geometry, params, &plan);
    if (status == CLQ_OK) {
        status = clq_int8_create_planned(device, geometry, params, &plan, conv);
    }
    if (clq_device_get_info(device)->dot != dot) {
        clq_device_set_dot(device, dot);
    }
    return status;
}

void clq_conv2d_int8_destroy(clq_conv2d_int8 *conv) {
    if (conv) {
        clq_buffer_release(conv->weights);
        clq_buffer_release(conv->channels);
        clq_buffer_release(conv->shape);
        clq_int8_phases_destroy(conv->phases);
        clq_free(conv);
    }
}

clq_dot clq_conv2d_int8_dot(const clq_conv2d_int8 *conv) {
    return conv->dot;
}

size_t clq_conv2d_int8_weight_bytes(const clq_conv2d_int8 *conv) {
    return clq_buffer_size(conv->weights);
}

const clq_conv_choice *clq_conv2d_int8_choice(const clq_conv2d_int8 *conv) {
    return &conv->choice;
}

clq_status clq_conv2d_int8_forward(clq_conv2d_int8 *conv, clq_buffer *x, clq_buffer *residual,
                                   clq_buffer *y) {
    if (conv->has_residual != (residual != NULL)) {
        return clq_fail(CLQ_INTERNAL, "integer convolution: a residual %s",
                        residual ? "that it was not made for" : "is missing");
    }
    if (conv->operations > 0) {
        clq_device_set_work(conv->device, conv->operations);
    }
    clq_buffer *made = y;
    if (conv->phases) {
        CLQ_TRY(clq_int8_phases_take(conv->phases, &made));
    }
    clq_status status =
        CLQ_LAUNCH(conv->device, conv->kernel, conv->range, CLQ_BUF(x), CLQ_BUF(conv->weights),
                   CLQ_BUF(conv->channels), CLQ_BUF(residual), CLQ_BUF(made), CLQ_BUF(conv->shape));
    if (conv->phases) {
        status = status == CLQ_OK ? clq_int8_phases_place(conv->phases, made, y) : status;
        clq_buffer_release(made);
    }
    return status;
}

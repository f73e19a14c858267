#include "ops/conv/conv2d_f32_sum.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "ops/conv/conv2d_f32_shape.h"
#include "ops/self_test.h"

/* ---- the kernel ---- */

/* Plans `choice` (NULL: by heuristics) where that can be had; *works: and its self-test passes. */
static clq_status try_choice(clq_conv_sum *sum, const clq_conv_geometry *geometry,
                             const conv_phase *phases, const clq_conv_choice *choice, bool *works) {
    *works = clq_f32_make_plan(clq_device_get_info(sum->device), &sum->shape, phases,
                               clq_conv_is_depthwise(geometry), choice, &sum->plan);
    return *works ? clq_f32_plan_works(sum->device, &sum->plan, geometry, works) : CLQ_OK;
}

/* The forward as tuned for this device, where that is known and can be had; else by heuristics;
 * else, where a self-test failed, the plainest kernel. */
static clq_status make_plan(clq_conv_sum *sum, const clq_conv_geometry *geometry, bool backward,
                            const conv_phase *phases) {
    static const clq_conv_choice plainest = {.kernel = CLQ_CONV_TILE};
    char key[CLQ_CONV_KEY];
    clq_conv_choice tuned;
    bool works = false;
    clq_conv_key(sum->device, CLQ_CONV_F32, geometry, key);
    if (!backward && clq_conv_tuned(sum->device, key, &tuned)) {
        CLQ_TRY(try_choice(sum, geometry, phases, &tuned, &works));
        if (!works) {
            clq_log_debug("%s: the tuned choice cannot be had here", key);
        }
    }
    if (!works) {
        CLQ_TRY(try_choice(sum, geometry, phases, NULL, &works));
    }
    if (!works) {
        CLQ_TRY(try_choice(sum, geometry, phases, &plainest, &works));
    }
    return works ? CLQ_OK : clq_self_test_none_left(sum->device, "this FP32 convolution");
}

static clq_status get_kernels(clq_conv_sum *sum) {
    sum->shape.col_tile = sum->plan.col_tile;
    sum->shape.col_tiles = sum->plan.col_tiles;
    CLQ_TRY(clq_kernel_get(sum->device, sum->plan.kernel_name, sum->plan.options, &sum->kernel));
    return clq_kernel_get(sum->device, "conv2d_f32_pack", NULL, &sum->pack);
}

/* ---- buffers ---- */

static clq_status size_weights(clq_conv_sum *sum) {
    conv_shape *s = &sum->shape;
    const size_t weights = (size_t)s->groups * (size_t)s->col_tiles * (size_t)s->col_tile *
                           (size_t)s->depth * (size_t)sum->taps;
    if (weights > INT32_MAX) {
        return clq_fail(CLQ_NO_MEMORY, "a convolution with %zu packed weights: the limit is 2^31",
                        weights);
    }
    s->zeros = (int)weights;
    sum->packed.weights = weights;
    sum->packed.zeros = (size_t)s->depth;
    return CLQ_OK;
}

static clq_status upload_tables(clq_conv_sum *sum, const conv_phase *phases, const conv_tap *taps) {
    const size_t phase_bytes = (size_t)sum->shape.phases * sizeof *phases;
    const size_t tap_bytes = (size_t)sum->taps * sizeof *taps;
    const size_t shape_bytes = sizeof sum->shape;
    CLQ_TRY(clq_buffer_create(sum->device, shape_bytes + phase_bytes + tap_bytes, &sum->tables));
    CLQ_TRY(clq_buffer_write(sum->tables, 0, shape_bytes, &sum->shape));
    CLQ_TRY(clq_buffer_write(sum->tables, shape_bytes, phase_bytes, phases));
    return clq_buffer_write(sum->tables, shape_bytes + phase_bytes, tap_bytes, taps);
}

clq_status clq_conv_sum_init_as(clq_conv_sum *sum, clq_device *device,
                                const clq_conv_geometry *geometry, bool backward,
                                const clq_conv_choice *choice) {
    clq_status status = CLQ_OK;
    sum->device = device;
    sum->operations = clq_conv_operations(geometry);
    sum->shape = clq_f32_shape(geometry, backward);
    conv_phase *phases = clq_calloc((size_t)sum->shape.phases, sizeof *phases);
    conv_tap *taps = clq_calloc((size_t)geometry->kh * (size_t)geometry->kw, sizeof *taps);
    if (!phases || !taps) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    sum->taps = clq_f32_phases(geometry, backward, phases, taps);
    if (!choice) {
        CLQ_GOTO(status, cleanup, make_plan(sum, geometry, backward, phases));
    } else if (!clq_f32_make_plan(clq_device_get_info(device), &sum->shape, phases,
                                  clq_conv_is_depthwise(geometry), choice, &sum->plan)) {
        status = clq_fail(CLQ_INTERNAL, "an FP32 convolution cannot run as it was told to");
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, get_kernels(sum));
    CLQ_GOTO(status, cleanup, size_weights(sum));
    CLQ_GOTO(status, cleanup, upload_tables(sum, phases, taps));
cleanup:
    clq_free(phases);
    clq_free(taps);
    return status;
}

clq_status clq_conv_sum_suits(clq_device *device, const clq_conv_geometry *geometry, bool backward,
                              const clq_conv_choice *choice, bool *suits) {
    const conv_shape shape = clq_f32_shape(geometry, backward);
    clq_f32_plan plan;
    conv_phase *phases = clq_calloc((size_t)shape.phases, sizeof *phases);
    conv_tap *taps = clq_calloc((size_t)geometry->kh * (size_t)geometry->kw, sizeof *taps);
    const bool made = phases && taps;
    if (made) {
        clq_f32_phases(geometry, backward, phases, taps);
        *suits = clq_f32_make_plan(clq_device_get_info(device), &shape, phases,
                                   clq_conv_is_depthwise(geometry), choice, &plan);
    }
    clq_free(phases);
    clq_free(taps);
    return made ? CLQ_OK : CLQ_NO_MEMORY;
}

clq_status clq_conv_sum_init(clq_conv_sum *sum, clq_device *device,
                             const clq_conv_geometry *geometry, bool backward) {
    return clq_conv_sum_init_as(sum, device, geometry, backward, NULL);
}

void clq_conv_sum_free(clq_conv_sum *sum) {
    clq_buffer_release(sum->tables);
    clq_conv_packed_release(&sum->packed);
    memset(sum, 0, sizeof *sum);
}

/* ---- running ---- */

clq_status clq_conv_sum_load_weights(clq_conv_sum *sum, clq_buffer *w) {
    enum { CHANNELS = 64 }; /* an item packs this many */
    const conv_shape *s = &sum->shape;
    const bool gpu = clq_device_get_info(sum->device)->schedule == CLQ_SCHEDULE_GPU;
    const size_t depth =
        gpu ? (size_t)s->depth * (size_t)s->col_tile : clq_ceil_div((size_t)s->depth, CHANNELS);
    const clq_range range =
        CLQ_RANGE3(depth, (size_t)s->groups * (size_t)s->col_tiles, (size_t)sum->taps);
    return CLQ_LAUNCH(sum->device, sum->pack, range, CLQ_BUF(w), CLQ_BUF(sum->tables),
                      CLQ_BUF(sum->packed.buffer), CLQ_I32(sum->taps), CLQ_I32(CHANNELS));
}

clq_status clq_conv_sum_run(clq_conv_sum *sum, clq_buffer *src, clq_buffer *bias,
                            clq_buffer *residual, clq_act act, clq_buffer *dst) {
    const float lo = act == CLQ_ACT_NONE ? -INFINITY : 0.0f;
    const float hi = act == CLQ_ACT_RELU6 ? 6.0f : INFINITY;
    const clq_arg args[] = {
        CLQ_BUF(src),
        CLQ_BUF(sum->packed.buffer),
        CLQ_BUF(sum->tables),
        CLQ_BUF(bias),
        CLQ_BUF(residual),
        CLQ_BUF(dst),
        CLQ_F32(lo),
        CLQ_F32(hi),
        CLQ_I32(sum->plan.extra[0]),
        CLQ_I32(sum->plan.extra[1]),
        CLQ_I32(sum->plan.extra[2]),
    };
    clq_device_set_work(sum->device, sum->operations);
    return clq_launch(sum->device, sum->kernel, sum->plan.range, args,
                      8 + (size_t)sum->plan.extras);
}

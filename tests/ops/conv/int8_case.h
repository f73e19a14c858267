/* One integer convolution with its data, run on the device and compared with its reference. */
#ifndef CLQ_TEST_INT8_CASE_H
#define CLQ_TEST_INT8_CASE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"
#include "ops/conv/conv2d_int8.h"
#include "support/device.h"
#include "support/ref_int8.h"

static clq_device *device;

/* ---- one case ---- */

typedef struct conv_case {
    int n, h, w, ic, oc, k, stride, pad, dilation, groups;
    int x_zero, y_zero;
    clq_requantizer requantizer;
    bool residual, float_output, relu, relu6, extreme, four_bits, far;
} conv_case;

static inline clq_conv_geometry geometry_of(const conv_case *c) {
    int reach = c->dilation * (c->k - 1) + 1;
    return (clq_conv_geometry){.n = c->n,
                               .ih = c->h,
                               .iw = c->w,
                               .ic = c->ic,
                               .oc = c->oc,
                               .kh = c->k,
                               .kw = c->k,
                               .oh = (c->h + 2 * c->pad - reach) / c->stride + 1,
                               .ow = (c->w + 2 * c->pad - reach) / c->stride + 1,
                               .stride_h = c->stride,
                               .stride_w = c->stride,
                               .pad_top = c->pad,
                               .pad_left = c->pad,
                               .dilation_h = c->dilation,
                               .dilation_w = c->dilation,
                               .groups = c->groups};
}

typedef struct conv_data {
    clq_conv_geometry g;
    clq_conv2d_int8_params params;
    int8_t *w;
    int32_t *bias;
    float *w_scale;
    uint8_t *x, *residual;
    void *expected, *actual;
    size_t x_bytes, y_bytes;
} conv_data;

/* Random codes; the padding channels' bytes are filled too, as nothing may read them. */
static inline void make_data(const conv_case *c, conv_data *d) {
    clq_conv_geometry *g = &d->g;
    *d = (conv_data){.g = geometry_of(c)};
    int inputs = g->ic / g->groups * g->kh * g->kw;
    size_t pixels = (size_t)g->n * g->oh * g->ow;
    d->x_bytes = (size_t)g->n * g->ih * g->iw * ref_int8_pitch(g->ic);
    d->y_bytes = pixels * (c->float_output ? g->oc * sizeof(float) : (size_t)ref_int8_pitch(g->oc));
    d->w = malloc((size_t)g->oc * inputs);
    d->bias = malloc(g->oc * sizeof *d->bias);
    d->w_scale = malloc(g->oc * sizeof *d->w_scale);
    d->x = malloc(d->x_bytes);
    d->residual = malloc(d->y_bytes);
    d->expected = malloc(d->y_bytes);
    d->actual = clq_test_guarded(d->y_bytes);
    clq_test_fill_u8(d->x, d->x_bytes, c->extreme ? 255 : 0, 255, 1);
    clq_test_fill_u8(d->residual, d->y_bytes, 0, 255, 2);
    clq_test_fill_s8(d->w, (size_t)g->oc * inputs, -128, 127, 3);
    clq_test_fill_s32(d->bias, g->oc, -5000, 5000, 4);
    clq_test_fill_f32(d->w_scale, g->oc, 0.001f, 0.01f, 5);
    for (int oc = 0; oc < g->oc; oc++) {
        if (c->extreme) { /* whole channels of 127 and -128, and one that alternates */
            for (int i = 0; i < inputs; i++) {
                d->w[oc * inputs + i] =
                    (int8_t)(oc % 3 == 0 || (oc % 3 == 2 && i % 2) ? 127 : -128);
            }
        }
        for (int i = 0; c->four_bits && i < inputs; i++) { /* all of -8..7 */
            d->w[oc * inputs + i] = (int8_t)(d->w[oc * inputs + i] >> 4);
        }
        if (c->requantizer == CLQ_REQUANT_SHIFT) {
            d->w_scale[oc] = ldexpf(1.0f, -9 - oc % 3);
        }
    }
    /* Makes codes spread over 0..255 around y_zero. */
    float spread = c->extreme ? 255.0f * (float)inputs : 128.0f * sqrtf((float)inputs);
    spread = c->four_bits ? spread / 16 : spread;
    float y_scale = exp2f(roundf(log2f(0.02f * 0.005f * 127.0f * spread / 100.0f)));
    if (c->far) {
        y_scale = ldexpf(y_scale, -40);
    }
    d->params = (clq_conv2d_int8_params){
        .w = d->w,
        .four_bits = c->four_bits,
        .bias = d->bias,
        .w_scale = d->w_scale,
        .x_scale = c->requantizer == CLQ_REQUANT_SHIFT ? 0.015625f : 0.0203f,
        .x_zero_point = c->x_zero,
        .float_output = c->float_output,
        .float_act = !c->float_output || !c->relu ? CLQ_ACT_NONE
                     : c->relu6                   ? CLQ_ACT_RELU6
                                                  : CLQ_ACT_RELU,
        .y_scale = c->requantizer == CLQ_REQUANT_SHIFT ? y_scale : y_scale * 1.07f,
        .y_zero_point = c->y_zero,
        .y_lo = c->relu && !c->residual ? c->y_zero : 0,
        .y_hi = 255,
        .requantizer = c->requantizer,
        .has_residual = c->residual,
        .r_scale = y_scale * (c->requantizer == CLQ_REQUANT_SHIFT ? 0.5f : 0.71f),
        .out_scale = y_scale * (c->requantizer == CLQ_REQUANT_SHIFT ? 2 : 1.3f),
        .r_zero_point = 11,
        .out_zero_point = 5,
        .out_lo = c->relu ? 5 : 0,
        .out_hi = 254};
}

static inline void free_data(conv_data *d) {
    free(d->w);
    free(d->bias);
    free(d->w_scale);
    free(d->x);
    free(d->residual);
    free(d->expected);
    clq_test_guarded_free(d->actual);
}

/* Guard bytes behind and before y on the device too. */
enum { DEVICE_GUARD = 256 };

/* Bytes of weights of the last run. */
static size_t weight_bytes;

/* *used: how it ran; may be NULL. */
static inline void run_conv_as(conv_data *d, clq_conv_choice *used) {
    clq_conv2d_int8 *conv = NULL;
    clq_buffer *x = NULL, *residual = NULL, *all = NULL, *y = NULL;
    size_t guard = clq_device_get_info(device)->base_alignment;
    guard = guard < DEVICE_GUARD ? DEVICE_GUARD / guard * guard + guard : guard;
    size_t total = (guard + d->y_bytes + DEVICE_GUARD + 3) / 4 * 4;
    uint8_t *raw = malloc(total);
    assert_ok(clq_conv2d_int8_create(device, &d->g, &d->params, &conv));
    assert_ok(clq_buffer_create(device, d->x_bytes, &x));
    assert_ok(clq_buffer_write(x, 0, d->x_bytes, d->x));
    if (d->params.has_residual) {
        assert_ok(clq_buffer_create(device, d->y_bytes, &residual));
        assert_ok(clq_buffer_write(residual, 0, d->y_bytes, d->residual));
    }
    assert_ok(clq_buffer_create(device, total, &all));
    assert_ok(clq_buffer_fill(all, 0, total, 0x5a5a5a5a));
    assert_ok(clq_buffer_view(all, guard, total - guard, &y));
    assert_ok(clq_conv2d_int8_forward(conv, x, residual, y));
    assert_ok(clq_buffer_read(all, 0, total, raw));
    for (size_t i = 0; i < total; i++) {
        if ((i < guard || i >= guard + d->y_bytes) && raw[i] != 0x5a) {
            fail_msg("byte %ld outside y was written", (long)i - (long)guard);
        }
    }
    memcpy(d->actual, raw + guard, d->y_bytes);
    weight_bytes = clq_conv2d_int8_weight_bytes(conv);
    if (used) {
        *used = *clq_conv2d_int8_choice(conv);
    }
    free(raw);
    clq_buffer_release(y);
    clq_buffer_release(all);
    clq_buffer_release(residual);
    clq_buffer_release(x);
    clq_conv2d_int8_destroy(conv);
}

static inline void run_conv(conv_data *d) {
    run_conv_as(d, NULL);
}

static inline void compare(const conv_case *c, conv_data *d, const char *path) {
    char text[256];
    const clq_conv_geometry *g = &d->g;
    clq_test_shape shape =
        clq_test_shape_of((size_t)g->n, (size_t)g->oh, (size_t)g->ow,
                          c->float_output ? (size_t)g->oc : (size_t)ref_int8_pitch(g->oc));
    bool equal = c->float_output
                     ? clq_test_equal_bits(d->actual, d->expected, d->y_bytes, text, sizeof text)
                     : clq_test_equal_u8(d->actual, d->expected, shape, text, sizeof text);
    if (!equal) {
        fail_msg("%s: n %d, %dx%d, ic %d, oc %d, k %d, stride %d, pad %d, dilation %d, groups %d, "
                 "zero points %d %d, requantizer %d, residual %d: %s",
                 path, c->n, c->h, c->w, c->ic, c->oc, c->k, c->stride, c->pad, c->dilation,
                 c->groups, c->x_zero, c->y_zero, (int)c->requantizer, c->residual, text);
    }
}

/* The paths that work here, and two that C stands in for where the kernel compiler lacks their
 * instruction (kernels/include/dot4.h), with the same tiles and packing: AVX-512 and tensor cores.
 * PoCL's and Oclgrind's compilers are known to tell that they lack them. What no GPU has runs under
 * the GPU schedule in an exhaustive test only. */
static inline bool can_check(const clq_device_info *info, clq_dot dot) {
    bool pocl = strcmp(info->platform, "Portable Computing Language") == 0 && info->is_cpu;
    bool knows = pocl || strcmp(info->platform, "Oclgrind") == 0;
    bool stands_in = info->schedule == CLQ_SCHEDULE_CPU
                         ? pocl && dot == CLQ_DOT_AVX512VNNI && info->simd_bytes < 64
                         : knows && dot == CLQ_DOT_MMA;
    const bool foreign = dot == CLQ_DOT_AVX512VNNI || dot == CLQ_DOT_AVXVNNI || dot == CLQ_DOT_AVX2;
    if (info->schedule == CLQ_SCHEDULE_GPU && foreign && !clq_test_all()) {
        return false;
    }
    return (info->dots & (1u << dot)) != 0 || stands_in;
}

/* Whether a case runs on a path: in an exhaustive test on all. Otherwise, under the CPU schedule,
 * on the device's own, as a program is compiled for each path and `clquant verify` tries them all;
 * under the GPU schedule on one after the other. Each round there begins one path later, so that no
 * path always meets the same cases. */
static inline uint32_t paths_of_case(const clq_device_info *info, int number) {
    uint32_t paths = 0;
    int count = 0, position = 0;
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        count += can_check(info, (clq_dot)dot);
    }
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        if (can_check(info, (clq_dot)dot)) {
            const bool taken = info->schedule == CLQ_SCHEDULE_CPU
                                   ? clq_test_all() || (clq_dot)dot == info->dot
                                   : clq_test_takes(number + number / count + position, count);
            paths |= taken ? 1u << dot : 0u;
            position++;
        }
    }
    return paths;
}

/* Those of the next case; unless the test is exhaustive none but for one case in `on_cpu` or, under
 * the GPU schedule, `on_gpu`, which should divide no loop's number of cases. */
static inline uint32_t paths_of_next_case(const clq_device_info *info, int on_cpu, int on_gpu) {
    static int number;
    const int in_turn = info->schedule == CLQ_SCHEDULE_CPU ? on_cpu : on_gpu;
    const int here = number++;
    return clq_test_takes(here, in_turn) ? paths_of_case(info, here / in_turn) : 0;
}

static const conv_case plain = {.n = 1,
                                .h = 7,
                                .w = 5,
                                .ic = 8,
                                .oc = 8,
                                .k = 1,
                                .stride = 1,
                                .dilation = 1,
                                .groups = 1,
                                .x_zero = 7,
                                .y_zero = 128};

static inline int open_device(void **state) {
    (void)state;
    return clq_test_open(NULL, &device) == CLQ_OK ? 0 : -1;
}

static inline int close_device(void **state) {
    (void)state;
    clq_device_close(device);
    return 0;
}

#endif

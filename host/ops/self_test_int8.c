/* Self-test of the integer convolutions: every code equals that of a plain loop. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/self_test.h"

typedef struct int8_variant {
    const clq_int8_plan *plan;
    clq_requantizer requantizer;
} int8_variant;

/* One convolution's host arrays. */
typedef struct int8_data {
    clq_conv_geometry g;
    clq_conv2d_int8_params params;
    int8_t *w;
    int32_t *bias;
    float *w_scale;
    uint8_t *x, *residual;
    void *expected, *got;
    size_t x_bytes, y_bytes; /* y: room for floats */
} int8_data;

static int pitch_of(int channels) {
    return (channels + 3) / 4 * 4;
}

/* A shape whose own plan has the build options of the variant: several tiles, the last ones not
 * whole, and padding all around. */
static clq_conv_geometry test_geometry(const clq_int8_plan *plan) {
    clq_conv_geometry g = {.n = 1,
                           .ih = 7,
                           .iw = 9,
                           .ic = 24,
                           .oc = 72,
                           .kh = 3,
                           .kw = 3,
                           .stride_h = 1,
                           .stride_w = 1,
                           .pad_top = 1,
                           .pad_left = 1,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .groups = 1};
    if (plan->kernel == CLQ_CONV_DEPTHWISE) {
        g.ic = g.oc = g.groups = 64 + 32 + 16 + 4; /* chunks of every width */
    } else if (plan->kernel == CLQ_CONV_GROUP || plan->kernel == CLQ_CONV_MMA) {
        g.ih = 11;
        g.iw = 13;
        g.ic = strstr(plan->options, "-DVEC=4") ? 32 : 12;
        g.oc = 140;
    } else if (plan->kernel != CLQ_CONV_INT8_WINOGRAD && plan->choice.tile[0] == 1) {
        g.ih = g.iw = g.kh = g.kw = 1; /* what a linear layer is */
        g.pad_top = g.pad_left = 0;
        g.ic = plan->nibbles ? 92 : 88; /* the last word of 8 weights is half empty */
    } else if (plan->dense) {
        g.ic = plan->shape.depth;
        g.iw = 21;
        g.kh = plan->shape.kh;
        g.kw = plan->shape.kw;
        g.pad_top = g.kh / 2;
        g.pad_left = g.kw / 2;
    }
    g.oh = g.ih;
    g.ow = g.iw;
    return g;
}

/* ---- data ---- */

static void free_data(int8_data *d) {
    clq_free(d->w);
    clq_free(d->bias);
    clq_free(d->w_scale);
    clq_free(d->x);
    clq_free(d->residual);
    clq_free(d->expected);
    clq_free(d->got);
}

static clq_status allocate(const clq_conv_geometry *g, int8_data *d) {
    const size_t oc = (size_t)g->oc, pixels = (size_t)g->n * (size_t)g->oh * (size_t)g->ow;
    d->g = *g;
    d->x_bytes = (size_t)g->n * (size_t)g->ih * (size_t)g->iw * (size_t)pitch_of(g->ic);
    d->y_bytes = pixels * (size_t)pitch_of(g->oc) * sizeof(float);
    d->w = clq_calloc(oc * (size_t)(g->kh * g->kw * (g->ic / g->groups)), 1);
    d->bias = clq_calloc(oc, sizeof *d->bias);
    d->w_scale = clq_calloc(oc, sizeof *d->w_scale);
    d->x = clq_calloc(d->x_bytes, 1);
    d->residual = clq_calloc(d->y_bytes, 1);
    d->expected = clq_calloc(d->y_bytes, 1);
    d->got = clq_calloc(d->y_bytes, 1);
    return d->w && d->bias && d->w_scale && d->x && d->residual && d->expected && d->got
               ? CLQ_OK
               : CLQ_NO_MEMORY;
}

/* Weights and activations of every size, few activations above 127 (what the split kernel is for),
 * scales that spread the results over all codes. */
static void fill(clq_requantizer requantizer, bool four_bits, int8_data *d) {
    const clq_conv_geometry *g = &d->g;
    const int inputs = g->kh * g->kw * (g->ic / g->groups);
    const bool shift = requantizer == CLQ_REQUANT_SHIFT;
    uint32_t state = 1;
    for (int i = 0; i < g->oc * inputs; i++) {
        d->w[i] = (int8_t)((int)(clq_self_test_draw(&state) % 256) - 128);
        d->w[i] = (int8_t)(four_bits ? d->w[i] >> 4 : d->w[i]);
    }
    for (int i = 0; i < g->oc; i++) {
        d->bias[i] = (int32_t)(clq_self_test_draw(&state) % 4001) - 2000;
        d->w_scale[i] = ldexpf(shift ? 1.0f : 1.0f + 0.013f * (float)(i % 31), -8 - i % 3);
    }
    for (size_t i = 0; i < d->x_bytes; i++) {
        const uint32_t drawn = clq_self_test_draw(&state);
        d->x[i] = (uint8_t)(drawn % 11 == 0 ? drawn >> 8 : drawn >> 8 & 127);
    }
    for (size_t i = 0; i < d->y_bytes; i++) {
        d->residual[i] = (uint8_t)(clq_self_test_draw(&state) >> 8);
    }
    const int spread = (inputs > 100 ? 6 : inputs > 20 ? 4 : 3) - (four_bits ? 4 : 0);
    d->params = (clq_conv2d_int8_params){.w = d->w,
                                         .four_bits = four_bits,
                                         .bias = d->bias,
                                         .w_scale = d->w_scale,
                                         .x_scale = shift ? 0.015625f : 0.0161f,
                                         .x_zero_point = 7,
                                         .y_scale = ldexpf(shift ? 1.0f : 1.07f, spread - 7),
                                         .y_zero_point = 101,
                                         .y_hi = 255,
                                         .requantizer = requantizer};
}

/* ---- reference ---- */

static int32_t sum_at(const int8_data *d, int oy, int ox, int oc) {
    const clq_conv_geometry *g = &d->g;
    const int inputs = g->ic / g->groups, group = oc / (g->oc / g->groups);
    int32_t sum = d->bias[oc];
    for (int ky = 0; ky < g->kh; ky++) {
        for (int kx = 0; kx < g->kw; kx++) {
            const int y = oy - g->pad_top + ky, x = ox - g->pad_left + kx;
            if (y < 0 || y >= g->ih || x < 0 || x >= g->iw) {
                continue;
            }
            const uint8_t *pixel = d->x + (y * g->iw + x) * pitch_of(g->ic) + group * inputs;
            const int8_t *w = d->w + ((oc * g->kh + ky) * g->kw + kx) * inputs;
            for (int c = 0; c < inputs; c++) {
                sum += (pixel[c] - d->params.x_zero_point) * w[c];
            }
        }
    }
    return sum;
}

static int clamp_code(double value, int low, int high) {
    return (int)(value < low ? low : value > high ? high : value);
}

/* The equations of kernels/include/requantize.h; the fixed-point one exact, ties upwards. */
static int code_of(const clq_conv2d_int8_params *p, int oc, int32_t sum) {
    const float product = p->x_scale * p->w_scale[oc], m = product / p->y_scale;
    const float scaled = (float)sum * m;
    const double code = p->requantizer == CLQ_REQUANT_FIXED
                            ? (double)floorl((long double)sum * (long double)m + 0.5L)
                        : p->requantizer == CLQ_REQUANT_SHIFT ? rint((double)sum * (double)m)
                                                              : (double)rintf(scaled);
    return clamp_code(code + p->y_zero_point, p->y_lo, p->y_hi);
}

static int add_residual(const clq_conv2d_int8_params *p, int code, int residual) {
    const float y_factor = p->y_scale / p->out_scale, r_factor = p->r_scale / p->out_scale;
    const int qa = code - p->y_zero_point, qb = residual - p->r_zero_point;
    const float a = (float)qa * y_factor, b = (float)qb * r_factor;
    double sum = (double)rintf(a + b);
    if (p->requantizer == CLQ_REQUANT_FIXED) {
        const int shift = 20 - ilogbf(fmaxf(y_factor, r_factor));
        sum = qa * rint(ldexp((double)y_factor, shift)) + qb * rint(ldexp((double)r_factor, shift));
        sum = floor(ldexp(sum, -shift) + 0.5);
    }
    return clamp_code(sum + p->out_zero_point, p->out_lo, p->out_hi);
}

static void compute(int8_data *d) {
    const clq_conv2d_int8_params *p = &d->params;
    const int pitch = pitch_of(d->g.oc);
    uint8_t *codes = d->expected;
    float *reals = d->expected;
    memset(d->expected, 0, d->y_bytes);
    for (int pixel = 0; pixel < d->g.oh * d->g.ow; pixel++) {
        for (int oc = 0; oc < d->g.oc; oc++) {
            const int32_t sum = sum_at(d, pixel / d->g.ow, pixel % d->g.ow, oc);
            if (p->float_output) {
                const float m = p->x_scale * p->w_scale[oc], real = (float)sum * m;
                reals[pixel * d->g.oc + oc] = real;
                continue;
            }
            int code = code_of(p, oc, sum);
            if (p->has_residual) {
                code = add_residual(p, code, d->residual[pixel * pitch + oc]);
            }
            codes[pixel * pitch + oc] = (uint8_t)code;
        }
    }
}

/* ---- the test ---- */

static clq_status run_on_device(clq_device *device, const clq_int8_plan *plan, int8_data *d,
                                size_t bytes) {
    clq_status status = CLQ_OK;
    clq_conv2d_int8 *conv = NULL;
    clq_buffer *x = NULL, *residual = NULL, *y = NULL;
    clq_int8_plan copy = *plan;
    CLQ_GOTO(status, cleanup, clq_int8_create_planned(device, &d->g, &d->params, &copy, &conv));
    CLQ_GOTO(status, cleanup, clq_self_test_buffer(device, d->x_bytes, d->x, &x));
    CLQ_GOTO(status, cleanup, clq_self_test_buffer(device, bytes, NULL, &y));
    if (d->params.has_residual) {
        CLQ_GOTO(status, cleanup, clq_self_test_buffer(device, bytes, d->residual, &residual));
    }
    CLQ_GOTO(status, cleanup, clq_conv2d_int8_forward(conv, x, residual, y));
    CLQ_GOTO(status, cleanup, clq_buffer_read(y, 0, bytes, d->got));
cleanup:
    clq_buffer_release(x);
    clq_buffer_release(residual);
    clq_buffer_release(y);
    clq_conv2d_int8_destroy(conv);
    return status;
}

static clq_status check(clq_device *device, const clq_int8_plan *plan, int8_data *d, bool *right,
                        char wrong[CLQ_WRONG_TEXT]) {
    const size_t pixels = (size_t)d->g.oh * (size_t)d->g.ow;
    const size_t bytes = d->params.float_output ? pixels * (size_t)d->g.oc * sizeof(float)
                                                : pixels * (size_t)pitch_of(d->g.oc);
    compute(d);
    CLQ_TRY(run_on_device(device, plan, d, bytes));
    size_t different = 0;
    for (size_t i = 0; i < bytes; i++) {
        different += ((uint8_t *)d->got)[i] != ((uint8_t *)d->expected)[i];
    }
    *right = different == 0;
    if (!*right) {
        snprintf(wrong, CLQ_WRONG_TEXT, "%zu of %zu bytes are wrong", different, bytes);
    }
    return CLQ_OK;
}

/* Plain codes, codes with a residual, floats. */
static clq_status run_test(clq_device *device, const void *context, bool *right,
                           char wrong[CLQ_WRONG_TEXT]) {
    const int8_variant *variant = context;
    const clq_conv_geometry g = test_geometry(variant->plan);
    const clq_conv_choice *of = &variant->plan->choice;
    const clq_conv_choice choice = {.kernel = of->kernel,
                                    .tile = {of->tile[0], of->tile[1]},
                                    .bits = of->bits,
                                    .group = of->group};
    clq_status status = CLQ_OK;
    clq_int8_plan plan;
    int8_data d = {0};
    CLQ_GOTO(status, cleanup, allocate(&g, &d));
    fill(variant->requantizer, variant->plan->nibbles, &d);
    if (!clq_int8_make_plan(clq_device_get_info(device), &g, variant->requantizer,
                            d.params.x_zero_point, d.params.four_bits, &choice, &plan)) {
        status = clq_fail(CLQ_INTERNAL, "the self-test of an integer convolution has no plan");
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, check(device, &plan, &d, right, wrong));
    if (*right) {
        d.params.has_residual = true;
        const bool shift = variant->requantizer == CLQ_REQUANT_SHIFT;
        d.params.r_scale = d.params.y_scale * (shift ? 0.5f : 0.71f);
        d.params.out_scale = d.params.y_scale * (shift ? 2 : 1.3f);
        d.params.r_zero_point = 11;
        d.params.out_zero_point = d.params.out_lo = 5;
        d.params.out_hi = 254;
        CLQ_GOTO(status, cleanup, check(device, &plan, &d, right, wrong));
    }
    if (*right) {
        d.params.has_residual = false;
        d.params.float_output = true;
        CLQ_GOTO(status, cleanup, check(device, &plan, &d, right, wrong));
    }
cleanup:
    free_data(&d);
    return status;
}

clq_status clq_int8_plan_works(clq_device *device, const clq_int8_plan *plan,
                               clq_requantizer requantizer, bool *works) {
    const int8_variant variant = {plan, requantizer};
    char family[64];
    snprintf(family, sizeof family, "%s%s %s", clq_int8_kernel_name(plan->kernel),
             plan->kernel == CLQ_CONV_SPLIT ? " (split)" : "",
             clq_dot_name(clq_device_get_info(device)->dot));
    return clq_self_test(device, family, plan->options, run_test, &variant, works);
}

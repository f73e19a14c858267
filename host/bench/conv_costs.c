#include "bench/conv_costs.h"

#include "base/clock.h"
#include "ops/conv/conv2d_int8.h"

enum { ROUNDS = 12, CALLS = 6, SIDE = 64 };

/* The best time of a call, in ns; its launch is in it. */
static clq_status time_calls(clq_device *device, clq_conv2d_int8 *conv, clq_buffer *x,
                             clq_buffer *y, double *ns) {
    *ns = 0;
    for (int round = 0; round <= ROUNDS; round++) { /* the first warms up */
        const double start = clq_now_seconds();
        for (int i = 0; i < CALLS; i++) {
            CLQ_TRY(clq_conv2d_int8_forward(conv, x, NULL, y));
        }
        CLQ_TRY(clq_device_finish(device));
        const double took = 1e9 * (clq_now_seconds() - start) / CALLS;
        *ns = round > 0 && (*ns == 0 || took < *ns) ? took : *ns;
    }
    return CLQ_OK;
}

/* SIDE x SIDE pixels, `side` x `side` taps. */
static clq_status time_conv(clq_device *device, int ic, int oc, int side, int groups, double *ns) {
    const clq_conv_geometry g = {.n = 1,
                                 .ih = SIDE,
                                 .iw = SIDE,
                                 .ic = ic,
                                 .oc = oc,
                                 .kh = side,
                                 .kw = side,
                                 .oh = SIDE,
                                 .ow = SIDE,
                                 .stride_h = 1,
                                 .stride_w = 1,
                                 .pad_top = side / 2,
                                 .pad_left = side / 2,
                                 .dilation_h = 1,
                                 .dilation_w = 1,
                                 .groups = groups};
    const size_t weights = (size_t)oc * (size_t)(side * side) * (size_t)(ic / groups);
    const size_t pixels = (size_t)SIDE * SIDE;
    clq_status status = CLQ_NO_MEMORY;
    clq_conv2d_int8 *conv = NULL;
    clq_buffer *x = NULL, *y = NULL;
    int8_t *w = clq_calloc(weights, 1);
    float *scales = clq_calloc((size_t)oc, sizeof *scales);
    if (!w || !scales) {
        goto cleanup;
    }
    for (size_t i = 0; i < weights; i++) {
        w[i] = (int8_t)((int)(i * 37 % 101) - 50);
    }
    for (int c = 0; c < oc; c++) {
        scales[c] = 0.001f;
    }
    const clq_conv2d_int8_params params = {
        .w = w, .w_scale = scales, .x_scale = 0.02f, .y_scale = 0.02f, .y_hi = 255};
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, pixels * (size_t)ic, &x));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, pixels * (size_t)oc, &y));
    CLQ_GOTO(status, cleanup, clq_buffer_fill(x, 0, pixels * (size_t)ic, 3));
    CLQ_GOTO(status, cleanup, clq_conv2d_int8_create(device, &g, &params, &conv));
    CLQ_GOTO(status, cleanup, time_calls(device, conv, x, y, ns));
cleanup:
    clq_conv2d_int8_destroy(conv);
    clq_buffer_release(x);
    clq_buffer_release(y);
    clq_free(w);
    clq_free(scales);
    return status;
}

static double at_least_zero(double value) {
    return value > 0 ? value : 0;
}

/* With the arithmetic taken off, a pixel of C channels and T taps of I inputs takes
 *
 *   C * sum + T * tap + T * I * input
 *
 * which three convolutions are enough for: C 64, T 1, I 4; C 64, T 9, I 4; C 16, T 9, I 64. */
static clq_conv_costs solve(double one_tap, double nine_taps, double narrow) {
    clq_conv_costs costs = {0};
    const double tap_of_4 = at_least_zero(nine_taps - one_tap) / 8;
    costs.sum_ns = at_least_zero(one_tap - tap_of_4) / 64;
    costs.input_ns = at_least_zero(narrow - 16 * costs.sum_ns - 9 * tap_of_4) / (9 * (64 - 4));
    costs.tap_ns = at_least_zero(tap_of_4 - 4 * costs.input_ns);
    return costs;
}

clq_status clq_conv_costs_measure(clq_device *device, double peak_gops, double launch_us,
                                  clq_conv_costs *costs) {
    static const struct { int in, out, side; } convs[] = {{4, 64, 1}, {4, 64, 3}, {64, 16, 3}};
    const double pixels = (double)SIDE * SIDE;
    double ns, each[3];
    *costs = (clq_conv_costs){0};
    for (int i = 0; i < 3; i++) {
        const double products = (double)convs[i].in * convs[i].out * convs[i].side * convs[i].side;
        CLQ_TRY(time_conv(device, convs[i].in, convs[i].out, convs[i].side, 1, &ns));
        each[i] = (ns - 1e3 * launch_us) / pixels - 2 * products / peak_gops;
    }
    *costs = solve(each[0], each[1], each[2]);
    CLQ_TRY(time_conv(device, 64, 64, 3, 64, &ns));
    costs->depthwise_ns = at_least_zero(ns - 1e3 * launch_us) / (pixels * 64 * 9);
    return CLQ_OK;
}

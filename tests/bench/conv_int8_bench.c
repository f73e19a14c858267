/* Speed of the integer convolution on ResNet-50's layers, against the device's measured peak.
 *
 *   conv_int8_bench [batch [size]]      size 224: ImageNet stem; 32: CIFAR stem
 *
 * Not a test. Each line is the best of several runs; `core` counts the processor time of all
 * threads instead of the clock, which other load does not disturb, as GOPS of one core. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ops/conv/conv2d_int8.h"

typedef struct layer {
    int size, ic, oc, k, stride, count; /* input size at the scale of a 56 x 56 first stage */
} layer;

static const layer layers[] = {
    {56, 64, 64, 1, 1, 1},    {56, 64, 64, 3, 1, 3},     {56, 64, 256, 1, 1, 4},
    {56, 256, 64, 1, 1, 2},   {56, 256, 128, 1, 1, 1},   {56, 128, 128, 3, 2, 1},
    {28, 128, 512, 1, 1, 4},  {56, 256, 512, 1, 2, 1},   {28, 512, 128, 1, 1, 3},
    {28, 128, 128, 3, 1, 3},  {28, 512, 256, 1, 1, 1},   {28, 256, 256, 3, 2, 1},
    {14, 256, 1024, 1, 1, 6}, {28, 512, 1024, 1, 2, 1},  {14, 1024, 256, 1, 1, 5},
    {14, 256, 256, 3, 1, 5},  {14, 1024, 512, 1, 1, 1},  {14, 512, 512, 3, 2, 1},
    {7, 512, 2048, 1, 1, 3},  {14, 1024, 2048, 1, 2, 1}, {7, 2048, 512, 1, 1, 2},
    {7, 512, 512, 3, 1, 2},
};

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(clq_status status) {
    if (status != CLQ_OK) {
        fprintf(stderr, "%s\n", clq_last_error());
        exit(1);
    }
}

static clq_conv2d_int8 *make_conv(clq_device *device, const clq_conv_geometry *g) {
    size_t weights = (size_t)g->oc * g->kh * g->kw * g->ic;
    int8_t *w = malloc(weights);
    float *scale = malloc(g->oc * sizeof *scale);
    clq_conv2d_int8 *conv;
    for (size_t i = 0; i < weights; i++) {
        w[i] = (int8_t)(rand() % 255 - 127);
    }
    for (int i = 0; i < g->oc; i++) {
        scale[i] = 1.0f / (127.0f * sqrtf((float)(weights / g->oc)));
    }
    check(clq_conv2d_int8_create(device, g,
                                 &(clq_conv2d_int8_params){.w = w,
                                                           .w_scale = scale,
                                                           .x_scale = 0.02f,
                                                           .x_zero_point = 3,
                                                           .y_scale = 0.02f,
                                                           .y_hi = 255},
                                 &conv));
    free(w);
    free(scale);
    return conv;
}

/* Best time of one call; `core` the same in processor time of all threads. */
static double measure(clq_device *device, const clq_conv_geometry *g, double *core) {
    clq_conv2d_int8 *conv = make_conv(device, g);
    clq_buffer *x, *y;
    double best = 1e9, macs = (double)g->n * g->oh * g->ow * g->oc * g->kh * g->kw * g->ic;
    int calls = macs > 1e8 ? 1 : (int)(1e8 / macs) + 1;
    check(clq_buffer_create(device, (size_t)g->n * g->ih * g->iw * ((g->ic + 3) / 4 * 4), &x));
    check(clq_buffer_create(device, (size_t)g->n * g->oh * g->ow * ((g->oc + 3) / 4 * 4), &y));
    check(clq_buffer_fill(x, 0, clq_buffer_size(x), 0x7f3a1c11));
    *core = 1e9;
    for (int r = 0; r < 15; r++) {
        double t = seconds(CLOCK_MONOTONIC), c = seconds(CLOCK_PROCESS_CPUTIME_ID);
        for (int i = 0; i < calls; i++) {
            check(clq_conv2d_int8_forward(conv, x, NULL, y));
        }
        check(clq_device_finish(device));
        t = (seconds(CLOCK_MONOTONIC) - t) / calls;
        c = (seconds(CLOCK_PROCESS_CPUTIME_ID) - c) / calls;
        best = t < best ? t : best;
        *core = c < *core ? c : *core;
    }
    clq_buffer_release(x);
    clq_buffer_release(y);
    clq_conv2d_int8_destroy(conv);
    return best;
}

int main(int argc, char **argv) {
    int batch = argc > 1 ? atoi(argv[1]) : 1, size = argc > 2 ? atoi(argv[2]) : 224;
    double fp32, peak, total = 0, total_core = 0, operations = 0;
    clq_device *device;
    check(clq_device_open(NULL, &device));
    const clq_device_info *info = clq_device_get_info(device);
    if (clq_device_peak(device, &fp32, &peak) != CLQ_OK) {
        peak = NAN;
    }
    printf("%s, %s, batch %d, %dx%d; peak %.0f GOPS\n", info->name, clq_dot_name(info->dot), batch,
           size, size, peak);
    printf("%-28s %10s %8s %7s %8s\n", "layer", "ms", "GOPS", "peak", "core");
    for (int i = -1; i < (int)(sizeof layers / sizeof layers[0]); i++) {
        layer l = i >= 0       ? layers[i]
                  : size >= 64 ? (layer){224, 3, 64, 7, 2, 1}
                               : (layer){56, 3, 64, 3, 1, 1};
        int in = size >= 64 ? l.size * size / 224 : l.size * size / 56,
            out = (in - 1) / l.stride + 1;
        clq_conv_geometry g = {.n = batch,
                               .ih = in,
                               .iw = in,
                               .ic = l.ic,
                               .oc = l.oc,
                               .kh = l.k,
                               .kw = l.k,
                               .oh = out,
                               .ow = out,
                               .stride_h = l.stride,
                               .stride_w = l.stride,
                               .pad_top = l.k / 2,
                               .pad_left = l.k / 2,
                               .dilation_h = 1,
                               .dilation_w = 1,
                               .groups = 1};
        double core, time = measure(device, &g, &core);
        double ops = 2.0 * batch * out * out * l.oc * l.k * l.k * l.ic;
        char name[64];
        snprintf(name, sizeof name, "%dx%d %d->%d k%d s%d x%d", in, in, l.ic, l.oc, l.k, l.stride,
                 l.count);
        printf("%-28s %10.3f %8.1f %6.1f%% %8.1f\n", name, time * 1e3, ops / time / 1e9,
               100 * ops / time / 1e9 / peak, ops / core / 1e9);
        fflush(stdout);
        total += l.count * time;
        total_core += l.count * core;
        operations += l.count * ops;
    }
    printf("%-28s %10.3f %8.1f %6.1f%% %8.1f\n", "all convolutions", total * 1e3,
           operations / total / 1e9, 100 * operations / total / 1e9 / peak,
           operations / total_core / 1e9);
    clq_device_close(device);
    return 0;
}

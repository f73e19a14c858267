/* How fast the FP32 convolutions of well-known networks run, against the device's measured peak.
 *
 *   conv_f32_bench [FILTER [REPETITIONS [PEAK]]]
 *
 * For each layer whose name contains FILTER and each direction (forward also as inference does it,
 * where Winograd's algorithm may be used): the best time of a number of
 * repetitions, GFLOPS, and the fraction of the peak (measured unless PEAK gives it). Not a test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "clquant/device.h"
#include "ops/conv/conv2d_f32.h"

typedef struct layer {
    const char *name;
    int n, size, ic, oc, k, stride, groups;
} layer;

static const layer layers[] = {
    {"resnet20 stem 32x32 3-16", 128, 32, 3, 16, 3, 1, 1},
    {"resnet20 32x32 16-16", 128, 32, 16, 16, 3, 1, 1},
    {"resnet20 32x32 16-32 /2", 128, 32, 16, 32, 3, 2, 1},
    {"resnet20 16x16 32-32", 128, 16, 32, 32, 3, 1, 1},
    {"resnet20 16x16 32-64 /2", 128, 16, 32, 64, 3, 2, 1},
    {"resnet20 8x8 64-64", 128, 8, 64, 64, 3, 1, 1},
    {"resnet20 fc 64-10", 128, 1, 64, 10, 1, 1, 1},
    {"resnet50 stem 224 3-64 7x7/2", 4, 224, 3, 64, 7, 2, 1},
    {"resnet50 56x56 64-64 1x1", 8, 56, 64, 64, 1, 1, 1},
    {"resnet50 56x56 64-64 3x3", 8, 56, 64, 64, 3, 1, 1},
    {"resnet50 56x56 64-256 1x1", 8, 56, 64, 256, 1, 1, 1},
    {"resnet50 56x56 256-64 1x1", 8, 56, 256, 64, 1, 1, 1},
    {"resnet50 56x56 128-128 3x3/2", 8, 56, 128, 128, 3, 2, 1},
    {"resnet50 56x56 256-512 1x1/2", 8, 56, 256, 512, 1, 2, 1},
    {"resnet50 28x28 128-128 3x3", 8, 28, 128, 128, 3, 1, 1},
    {"resnet50 28x28 128-512 1x1", 8, 28, 128, 512, 1, 1, 1},
    {"resnet50 14x14 256-256 3x3", 8, 14, 256, 256, 3, 1, 1},
    {"resnet50 14x14 1024-256 1x1", 8, 14, 1024, 256, 1, 1, 1},
    {"resnet50 7x7 512-512 3x3", 8, 7, 512, 512, 3, 1, 1},
    {"resnet50 7x7 2048-512 1x1", 8, 7, 2048, 512, 1, 1, 1},
    {"resnet50 7x7 512-2048 1x1", 8, 7, 512, 2048, 1, 1, 1},
    {"resnet50 fc 2048-1000", 8, 1, 2048, 1000, 1, 1, 1},
    {"batch1 56x56 64-64 3x3", 1, 56, 64, 64, 3, 1, 1},
    {"batch1 28x28 128-128 3x3", 1, 28, 128, 128, 3, 1, 1},
    {"batch1 14x14 256-256 3x3", 1, 14, 256, 256, 3, 1, 1},
    {"batch1 7x7 512-512 3x3", 1, 7, 512, 512, 3, 1, 1},
    {"batch1 7x7 512-2048 1x1", 1, 7, 512, 2048, 1, 1, 1},
    {"batch1 32x32 64-64 3x3", 1, 32, 64, 64, 3, 1, 1},
    {"batch1 16x16 128-128 3x3", 1, 16, 128, 128, 3, 1, 1},
    {"batch1 8x8 256-256 3x3", 1, 8, 256, 256, 3, 1, 1},
    {"batch1 4x4 512-512 3x3", 1, 4, 512, 512, 3, 1, 1},
    {"mobilenet 56x56 144 dw", 8, 56, 144, 144, 3, 1, 144},
    {"mobilenet 28x28 192 dw/2", 8, 28, 192, 192, 3, 2, 192},
    {"mobilenet 14x14 576 dw", 8, 14, 576, 576, 3, 1, 576},
    {"resnext 28x28 256-256 g32", 4, 28, 256, 256, 3, 1, 32},
};

typedef struct job {
    clq_device *device;
    clq_conv2d_f32 *conv, *inference;
    clq_buffer *x, *w, *y, *dx, *dw, *db;
} job;

static clq_status create_filled(clq_device *device, size_t count, clq_buffer **buffer) {
    CLQ_TRY(clq_buffer_create(device, count * sizeof(float), buffer));
    return clq_buffer_fill(*buffer, 0, count * sizeof(float), 0x3f000000); /* 0.5f */
}

static clq_status run(job *j, int direction) {
    switch (direction) {
    case 0:
        return clq_conv2d_f32_forward(j->conv, j->x, NULL, NULL, CLQ_ACT_NONE, j->y);
    case 1:
        return clq_conv2d_f32_backward_data(j->conv, j->y, j->dx, false);
    case 2:
        return clq_conv2d_f32_backward_weights(j->conv, j->x, j->y, j->dw, j->db);
    case 3:
        return clq_conv2d_f32_forward(j->inference, j->x, NULL, NULL, CLQ_ACT_NONE, j->y);
    case 4:
        return clq_conv2d_f32_load_weights(j->conv, j->w);
    default:
        return clq_conv2d_f32_load_weights(j->inference, j->w);
    }
}

static clq_status measure(job *j, int direction, int repetitions, double operations, double *best) {
    CLQ_TRY(run(j, direction));
    CLQ_TRY(clq_device_finish(j->device));
    const int inner = operations < 2e8 ? (int)(2e8 / operations) + 1 : 1;
    *best = 1e30;
    for (int r = 0; r < repetitions; r++) {
        const double start = clq_now_seconds();
        for (int i = 0; i < inner; i++) {
            CLQ_TRY(run(j, direction));
        }
        CLQ_TRY(clq_device_finish(j->device));
        const double seconds = (clq_now_seconds() - start) / inner;
        *best = seconds < *best ? seconds : *best;
    }
    return CLQ_OK;
}

static clq_status bench_layer(clq_device *device, const layer *l, int repetitions, double peak) {
    const int pad = l->k / 2, out = (l->size + 2 * pad - l->k) / l->stride + 1;
    const clq_conv_geometry g = {.n = l->n,
                                 .ih = l->size,
                                 .iw = l->size,
                                 .ic = l->ic,
                                 .oc = l->oc,
                                 .kh = l->k,
                                 .kw = l->k,
                                 .oh = out,
                                 .ow = out,
                                 .stride_h = l->stride,
                                 .stride_w = l->stride,
                                 .pad_top = pad,
                                 .pad_left = pad,
                                 .dilation_h = 1,
                                 .dilation_w = 1,
                                 .groups = l->groups};
    const size_t x = (size_t)l->n * (size_t)(l->size * l->size) * (size_t)l->ic;
    const size_t y = (size_t)l->n * (size_t)(out * out) * (size_t)l->oc;
    const size_t w = (size_t)l->oc * (size_t)(l->k * l->k) * (size_t)(l->ic / l->groups);
    const double operations = 2.0 * (double)y * l->k * l->k * (l->ic / l->groups);
    clq_status status = CLQ_OK;
    job j = {.device = device};
    CLQ_GOTO(status, cleanup, create_filled(device, x, &j.x));
    CLQ_GOTO(status, cleanup, create_filled(device, x, &j.dx));
    CLQ_GOTO(status, cleanup, create_filled(device, y, &j.y));
    CLQ_GOTO(status, cleanup, create_filled(device, w, &j.w));
    CLQ_GOTO(status, cleanup, create_filled(device, w, &j.dw));
    CLQ_GOTO(status, cleanup, create_filled(device, (size_t)l->oc, &j.db));
    CLQ_GOTO(status, cleanup, clq_conv2d_f32_create(device, &g, 7, &j.conv));
    CLQ_GOTO(status, cleanup, clq_conv2d_f32_load_weights(j.conv, j.w));
    CLQ_GOTO(status, cleanup,
             clq_conv2d_f32_create(device, &g, CLQ_CONV_FORWARD | CLQ_CONV_WINOGRAD, &j.inference));
    CLQ_GOTO(status, cleanup, clq_conv2d_f32_load_weights(j.inference, j.w));
    printf("%-30s", l->name);
    for (int direction = 0; direction < 6; direction++) {
        double best;
        CLQ_GOTO(status, cleanup, measure(&j, direction, repetitions, operations, &best));
        if (direction < 4) {
            printf(" %8.3f ms %6.1f %4.0f%%", best * 1e3, operations / best * 1e-9,
                   operations / best * 1e-7 / peak);
        } else {
            printf(" %8.3f ms", best * 1e3);
        }
    }
    printf("\n");
    fflush(stdout);
cleanup:
    clq_conv2d_f32_destroy(j.conv);
    clq_conv2d_f32_destroy(j.inference);
    clq_buffer *all[] = {j.x, j.w, j.y, j.dx, j.dw, j.db};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        clq_buffer_release(all[i]);
    }
    return status;
}

static clq_status bench(const char *filter, int repetitions, double peak) {
    clq_device *device = NULL;
    double int8_peak;
    clq_status status = CLQ_OK;
    CLQ_TRY(clq_device_open(NULL, &device));
    if (peak <= 0) {
        CLQ_GOTO(status, cleanup, clq_device_peak(device, &peak, &int8_peak));
    }
    printf("%s, peak %.0f GFLOPS\n%-30s %-23s %-23s %-23s %-23s %s\n",
           clq_device_get_info(device)->name, peak, "", " forward", " backward-data",
           " backward-weights", " inference", " load weights, for inference");
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        if (strstr(layers[i].name, filter)) {
            CLQ_GOTO(status, cleanup, bench_layer(device, &layers[i], repetitions, peak));
        }
    }
cleanup:
    clq_device_close(device);
    return status;
}

int main(int argc, char **argv) {
    const clq_status status =
        bench(argc > 1 ? argv[1] : "", argc > 2 ? atoi(argv[2]) : 10, argc > 3 ? atof(argv[3]) : 0);
    if (status != CLQ_OK) {
        fprintf(stderr, "conv_f32_bench: %s\n", clq_last_error());
    }
    return (int)status;
}

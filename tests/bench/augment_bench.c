/* What augmentation costs a training step.
 *
 *   augment_bench [BATCH [SIZE [REPEATS]]]      default: 128 32 50
 *
 * Prints the shortest and the median wall time of a batch, from decoded images to the finished
 * tensor, for crop and flip, for all that models/recipes/resnet50-cifar10.json asks for, and for
 * its mixed batches; and what of it are the draws on the host. Not a test. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "data/augment.h"

enum { MAX_REPEATS = 1000 };

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, double *seconds, int count) {
    qsort(seconds, (size_t)count, sizeof *seconds, by_value);
    printf("%-24s min %7.3f ms  median %7.3f ms\n", name, 1e3 * seconds[0],
           1e3 * seconds[count / 2]);
}

static clq_augment_config whole_recipe(double mixup) {
    return (clq_augment_config){
        .crop_padding = 4,
        .flip = true,
        .rotation = 20,
        .translate = 0.1,
        .scale = {0.9, 1.1},
        .brightness = 0.3,
        .contrast = 0.3,
        .saturation = 0.3,
        .hue = 0.1,
        .erase = {.probability = 0.6, .scale = {0.02, 0.4}, .ratio = {0.3, 3.3}},
        .mixup = {.alpha = 0.2, .probability = mixup}};
}

static clq_status time_batches(clq_device *device, const char *name,
                               const clq_augment_options *options, clq_batch *batch, int repeats) {
    clq_status status = CLQ_OK;
    clq_augment *augment = NULL;
    clq_buffer *out = NULL;
    double seconds[MAX_REPEATS];
    const size_t bytes = (size_t)options->batch * (size_t)options->height * (size_t)options->width *
                         (size_t)options->channels * sizeof(float);
    CLQ_GOTO(status, cleanup, clq_augment_create(device, options, &augment));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, bytes, &out));
    for (int i = -3; i < repeats; i++) { /* the first ones warm up */
        batch->where.batch = i + 3;
        batch->position = (int64_t)(i + 3) * options->batch;
        const double start = clq_now_seconds();
        CLQ_GOTO(status, cleanup, clq_augment_apply(augment, batch, true, out));
        CLQ_GOTO(status, cleanup, clq_device_finish(device));
        seconds[i > 0 ? i : 0] = clq_now_seconds() - start;
    }
    print_times(name, seconds, repeats);
cleanup:
    clq_buffer_release(out);
    clq_augment_destroy(augment);
    return status;
}

static void time_draws(const clq_augment_options *options, int repeats) {
    double seconds[MAX_REPEATS];
    float params[AUGMENT_FIELDS];
    for (int i = 0; i < repeats; i++) {
        const double start = clq_now_seconds();
        for (int n = 0; n < options->batch; n++) {
            clq_augment_draw(options, 1, 0, (int64_t)i * options->batch + n, params);
        }
        seconds[i] = clq_now_seconds() - start;
    }
    print_times("  of it draws", seconds, repeats);
}

static clq_status run(int batch, int size, int repeats) {
    clq_status status = CLQ_OK;
    clq_device *device = NULL;
    clq_augment_options o = {.batch = batch,
                             .height = size,
                             .width = size,
                             .channels = 3,
                             .out_height = size,
                             .out_width = size,
                             .normalization.std = {0.2f, 0.2f, 0.2f}};
    const size_t bytes = (size_t)batch * (size_t)size * (size_t)size * 3;
    uint8_t *images = clq_calloc(bytes, 1);
    if (!images) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < bytes; i++) {
        images[i] = (uint8_t)rand();
    }
    clq_batch b = {
        .count = batch, .height = size, .width = size, .channels = 3, .images = images, .seed = 1};
    CLQ_GOTO(status, cleanup, clq_device_open(NULL, &device));
    o.config = (clq_augment_config){.crop_padding = 4, .flip = true};
    CLQ_GOTO(status, cleanup, time_batches(device, "crop and flip", &o, &b, repeats));
    o.config = whole_recipe(0);
    CLQ_GOTO(status, cleanup, time_batches(device, "the whole recipe", &o, &b, repeats));
    o.config = whole_recipe(1);
    CLQ_GOTO(status, cleanup, time_batches(device, "the whole recipe, mixed", &o, &b, repeats));
    time_draws(&o, repeats);
cleanup:
    clq_device_close(device);
    clq_free(images);
    return status;
}

int main(int argc, char **argv) {
    const int batch = argc > 1 ? atoi(argv[1]) : 128;
    const int size = argc > 2 ? atoi(argv[2]) : 32;
    const int repeats = argc > 3 ? atoi(argv[3]) : 50;
    if (batch < 1 || size < 1 || repeats < 1 || repeats > MAX_REPEATS) {
        fprintf(stderr, "augment_bench [BATCH [SIZE [REPEATS]]]\n");
        return 64;
    }
    if (run(batch, size, repeats) != CLQ_OK) {
        fprintf(stderr, "%s\n", clq_last_error());
        return 1;
    }
    return 0;
}

#include "data/augment.h"

#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "base/rng.h"
#include "data/draws.h"

enum { MAX_PADDING = 4096 };

struct clq_augment {
    clq_device *device;
    clq_augment_options options;
    clq_kernel *kernel;
    clq_buffer *images, *params, *table;
    float *host_params; /* (B, AUGMENT_FIELDS) */
};

void clq_augment_draw(const clq_augment_options *options, uint64_t seed, int64_t epoch,
                      int64_t position, float params[AUGMENT_FIELDS]) {
    uint32_t words[4];
    for (int i = 0; i < AUGMENT_FIELDS; i++) {
        params[i] = 0;
    }
    /* 16 counters a position: room for more draws without changing these. */
    clq_philox(seed, clq_draw_stream(CLQ_DRAW_AUGMENT, epoch), (uint64_t)position << 4, words);
    const int pad = options->crop_padding;
    const uint32_t places = 2 * (uint32_t)pad + 1;
    params[AUGMENT_DY] = (float)((int)clq_bounded(words[0], places) - pad);
    params[AUGMENT_DX] = (float)((int)clq_bounded(words[1], places) - pad);
    params[AUGMENT_FLIP] = options->flip && words[2] >> 31 ? 1.0f : 0.0f;
}

void clq_augment_table(const clq_augment_options *options, float *table) {
    for (int c = 0; c < options->channels; c++) {
        for (int code = 0; code < 256; code++) {
            const float value = (float)code / 255.0f;
            table[c * 256 + code] = (value - options->mean[c]) / options->std[c];
        }
    }
}

static clq_status check_options(const clq_augment_options *o) {
    if (o->batch < 1 || o->height < 1 || o->width < 1 || o->channels < 1 ||
        o->channels > CLQ_MAX_CHANNELS || o->crop_padding < 0 || o->crop_padding > MAX_PADDING) {
        return clq_fail(CLQ_USAGE, "augment: batch %d of %d x %d x %d with padding %d", o->batch,
                        o->height, o->width, o->channels, o->crop_padding);
    }
    for (int c = 0; c < o->channels; c++) {
        if (!(o->std[c] > 0) || !isfinite(o->std[c]) || !isfinite(o->mean[c])) {
            return clq_fail(CLQ_USAGE,
                            "normalisation: mean %g, std %g of channel %d; must be "
                            "finite, and std above 0",
                            (double)o->mean[c], (double)o->std[c], c);
        }
    }
    return CLQ_OK;
}

static clq_status create_buffers(clq_augment *a) {
    const clq_augment_options *o = &a->options;
    size_t pixels, bytes;
    if (!clq_mul_size((size_t)o->height * (size_t)o->width, (size_t)o->batch, &pixels) ||
        !clq_mul_size(pixels, (size_t)o->channels, &bytes)) {
        return clq_fail(CLQ_NO_MEMORY, "augment: a batch of %d images is too big", o->batch);
    }
    const size_t param_bytes = (size_t)o->batch * AUGMENT_FIELDS * sizeof(float);
    const size_t table_bytes = (size_t)o->channels * 256 * sizeof(float);
    float table[CLQ_MAX_CHANNELS * 256];
    a->host_params = clq_calloc((size_t)o->batch * AUGMENT_FIELDS, sizeof *a->host_params);
    if (!a->host_params) {
        return CLQ_NO_MEMORY;
    }
    CLQ_TRY(clq_buffer_create(a->device, bytes, &a->images));
    CLQ_TRY(clq_buffer_create(a->device, param_bytes, &a->params));
    CLQ_TRY(clq_buffer_create(a->device, table_bytes, &a->table));
    clq_augment_table(o, table);
    return clq_buffer_write(a->table, 0, table_bytes, table);
}

clq_status clq_augment_create(clq_device *device, const clq_augment_options *options,
                              clq_augment **augment) {
    *augment = NULL;
    CLQ_TRY(check_options(options));
    clq_augment *a = clq_calloc(1, sizeof *a);
    if (!a) {
        return CLQ_NO_MEMORY;
    }
    a->device = device;
    a->options = *options;
    char build[16];
    snprintf(build, sizeof build, "-DC=%d", options->channels);
    clq_status status = clq_kernel_get(device, "augment", build, &a->kernel);
    if (status == CLQ_OK) {
        status = create_buffers(a);
    }
    if (status != CLQ_OK) {
        clq_augment_destroy(a);
        return status;
    }
    *augment = a;
    return CLQ_OK;
}

void clq_augment_destroy(clq_augment *augment) {
    if (!augment) {
        return;
    }
    clq_buffer_release(augment->images);
    clq_buffer_release(augment->params);
    clq_buffer_release(augment->table);
    clq_free(augment->host_params);
    clq_free(augment);
}

clq_status clq_augment_apply(clq_augment *a, const clq_batch *batch, bool random, clq_buffer *out) {
    const clq_augment_options *o = &a->options;
    if (batch->count < 1 || batch->count > o->batch || batch->height != o->height ||
        batch->width != o->width || batch->channels != o->channels) {
        return clq_fail(CLQ_INTERNAL,
                        "augment: made for batches of %d x %d x %d x %d, got %d x %d "
                        "x %d x %d",
                        o->batch, o->height, o->width, o->channels, batch->count, batch->height,
                        batch->width, batch->channels);
    }
    const clq_augment_options nothing = {0};
    for (int i = 0; i < batch->count; i++) {
        clq_augment_draw(random ? o : &nothing, batch->seed, batch->where.epoch,
                         batch->position + i, a->host_params + i * AUGMENT_FIELDS);
    }
    const size_t count = (size_t)batch->count;
    const size_t image_bytes = (size_t)o->height * (size_t)o->width * (size_t)o->channels;
    CLQ_TRY(clq_buffer_write(a->images, 0, count * image_bytes, batch->images));
    CLQ_TRY(clq_buffer_write(a->params, 0, count * AUGMENT_FIELDS * sizeof(float), a->host_params));
    const bool cpu = clq_device_get_info(a->device)->schedule == CLQ_SCHEDULE_CPU;
    const size_t items = (size_t)o->height * (cpu ? 1 : (size_t)o->width);
    return CLQ_LAUNCH(a->device, a->kernel, CLQ_RANGE2(items, (size_t)o->batch), CLQ_BUF(a->images),
                      CLQ_BUF(a->params), CLQ_BUF(a->table), CLQ_BUF(out), CLQ_I32(batch->count),
                      CLQ_I32(o->batch), CLQ_I32(o->height), CLQ_I32(o->width));
}

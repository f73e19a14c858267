#include "data/augment.h"

#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "data/self_test.h"

enum { MAX_PADDING = 4096, GREY_GROUP = 64 /* work-items an image on the GPU schedule */ };

struct clq_augment {
    clq_device *device;
    clq_augment_options options;
    clq_buffer *images, *params, *table;
    float *host_params; /* (1 + B, AUGMENT_FIELDS) */
    uint32_t *partners; /* (B) */
    /* Of the batch applied last: */
    int count;
    bool general; /* more happens to it than crop and flip */
    clq_mix mix;
};

void clq_augment_table(const clq_augment_options *options, float *table) {
    const clq_normalization *n = &options->normalization;
    for (int c = 0; c < options->channels; c++) {
        for (int code = 0; code < 256; code++) {
            const float value = n->range == 255 ? (float)code : (float)code / 255.0f;
            table[c * 256 + code] = (value - n->mean[c]) / n->std[c];
        }
    }
}

static clq_status check_options(const clq_augment_options *o) {
    if (o->batch < 1 || o->height < 1 || o->width < 1 || o->channels < 1 ||
        o->channels > CLQ_MAX_CHANNELS || o->config.crop_padding < 0 ||
        o->config.crop_padding > MAX_PADDING || o->out_height < 1 || o->out_width < 1) {
        return clq_fail(CLQ_USAGE, "augment: batch %d of %d x %d x %d with padding %d to %d x %d",
                        o->batch, o->height, o->width, o->channels, o->config.crop_padding,
                        o->out_height, o->out_width);
    }
    const clq_normalization *n = &o->normalization;
    for (int c = 0; c < o->channels; c++) {
        if (!(n->std[c] > 0) || !isfinite(n->std[c]) || !isfinite(n->mean[c])) {
            return clq_fail(CLQ_USAGE,
                            "normalization: mean %g, std %g of channel %d; must be "
                            "finite, and std above 0",
                            (double)n->mean[c], (double)n->std[c], c);
        }
    }
    if (n->range != 0 && n->range != 1 && n->range != 255) {
        return clq_fail(CLQ_USAGE, "normalization: a range of %g; must be 1 or 255",
                        (double)n->range);
    }
    return CLQ_OK;
}

/* The table of all codes, then means, standard deviations and the range. */
static clq_status create_table(clq_augment *a) {
    const clq_augment_options *o = &a->options;
    const size_t codes = (size_t)o->channels * 256, count = codes + 2 * (size_t)o->channels + 1;
    float table[CLQ_MAX_CHANNELS * 258 + 1];
    clq_augment_table(o, table);
    for (int c = 0; c < o->channels; c++) {
        table[codes + (size_t)c] = o->normalization.mean[c];
        table[codes + (size_t)(o->channels + c)] = o->normalization.std[c];
    }
    table[count - 1] = o->normalization.range == 255 ? 255.0f : 1.0f;
    CLQ_TRY(clq_buffer_create(a->device, count * sizeof *table, &a->table));
    return clq_buffer_write(a->table, 0, count * sizeof *table, table);
}

static clq_status create_buffers(clq_augment *a) {
    const clq_augment_options *o = &a->options;
    size_t pixels, bytes;
    if (!clq_mul_size((size_t)o->height * (size_t)o->width, (size_t)o->batch, &pixels) ||
        !clq_mul_size(pixels, (size_t)o->channels, &bytes)) {
        return clq_fail(CLQ_NO_MEMORY, "augment: a batch of %d images is too big", o->batch);
    }
    const size_t fields = (1 + (size_t)o->batch) * AUGMENT_FIELDS;
    a->host_params = clq_calloc(fields, sizeof *a->host_params);
    a->partners = clq_calloc((size_t)o->batch, sizeof *a->partners);
    if (!a->host_params || !a->partners) {
        return CLQ_NO_MEMORY;
    }
    CLQ_TRY(clq_buffer_create(a->device, bytes + 1, &a->images)); /* see the kernel */
    CLQ_TRY(clq_buffer_create(a->device, fields * sizeof *a->host_params, &a->params));
    return create_table(a);
}

clq_status clq_augment_create(clq_device *device, const clq_augment_options *options,
                              clq_augment **augment) {
    *augment = NULL;
    clq_augment_options o = *options;
    o.out_height = o.out_height ? o.out_height : o.height;
    o.out_width = o.out_width ? o.out_width : o.width;
    CLQ_TRY(check_options(&o));
    clq_augment *a = clq_calloc(1, sizeof *a);
    if (!a) {
        return CLQ_NO_MEMORY;
    }
    a->device = device;
    a->options = o;
    const clq_status status = create_buffers(a);
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
    clq_free(augment->partners);
    clq_free(augment);
}

/* ---- a batch ---- */

static bool on_cpu(const clq_augment *a) {
    return clq_device_get_info(a->device)->schedule == CLQ_SCHEDULE_CPU;
}

clq_augment_variant clq_augment_variant_of(clq_device *device, int channels, bool general,
                                           bool bgr) {
    const bool gpu = clq_device_get_info(device)->schedule == CLQ_SCHEDULE_GPU;
    clq_augment_variant variant = {channels, general, bgr && channels == 3, gpu ? GREY_GROUP : 1,
                                   ""};
    snprintf(variant.build, sizeof variant.build, "-DC=%d -DGENERAL=%d -DWG=%zu%s", channels,
             general, variant.group, variant.bgr ? " -DBGR=1" : "");
    return variant;
}

static clq_augment_variant variant_of(const clq_augment *a) {
    const clq_augment_options *o = &a->options;
    return clq_augment_variant_of(a->device, o->channels, a->general, o->normalization.bgr);
}

/* Whether pixels are taken from between others, or changed. */
static bool is_general(const clq_augment_options *o, bool random) {
    const clq_augment_config *c = &o->config;
    const bool resized = o->out_height != o->height || o->out_width != o->width;
    const bool moved =
        c->rotation > 0 || c->translate > 0 || c->scale[0] > 0 || c->resized_crop.scale[1] > 0;
    const bool coloured = c->brightness > 0 || c->contrast > 0 || c->saturation > 0 || c->hue > 0;
    return resized || (random && (moved || coloured));
}

/* Of the program for the batch applied last. */
static clq_status get_kernel(const clq_augment *a, const char *name, clq_kernel **kernel) {
    const clq_augment_variant variant = variant_of(a);
    CLQ_TRY(clq_augment_works(a->device, &variant));
    return clq_kernel_get(a->device, name, variant.build, kernel);
}

static void draw_batch(clq_augment *a, const clq_batch *batch, bool random) {
    clq_augment_options o = a->options;
    float *row = a->host_params;
    if (!random) {
        o.config = (clq_augment_config){0};
    }
    clq_mix_draw(&o.config, batch->seed, batch->where.epoch, batch->position, batch->count,
                 o.out_height, o.out_width, &a->mix, a->partners);
    row[AUGMENT_KEEP] = a->mix.keep;
    row[AUGMENT_CUT] = (float)a->mix.y;
    row[AUGMENT_CUT + 1] = (float)a->mix.x;
    row[AUGMENT_CUT + 2] = (float)a->mix.height;
    row[AUGMENT_CUT + 3] = (float)a->mix.width;
    row[AUGMENT_SHARE] = a->mix.share;
    for (int i = 0; i < batch->count; i++) {
        row += AUGMENT_FIELDS;
        clq_augment_draw(&o, batch->seed, batch->where.epoch, batch->position + i, row);
        row[AUGMENT_PARTNER] = (float)a->partners[i];
    }
    a->count = batch->count;
    a->general = is_general(&a->options, random);
}

static clq_status launch_grey(clq_augment *a) {
    const clq_augment_options *o = &a->options;
    const size_t group = variant_of(a).group;
    const clq_range range = {1, {(size_t)a->count * group, 1, 1}, {group, 1, 1}};
    clq_kernel *kernel = NULL;
    CLQ_TRY(get_kernel(a, "augment_grey", &kernel));
    return CLQ_LAUNCH(a->device, kernel, range, CLQ_BUF(a->images), CLQ_BUF(a->params),
                      CLQ_I32(o->height), CLQ_I32(o->width));
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
    draw_batch(a, batch, random);
    const size_t count = (size_t)batch->count;
    const size_t image_bytes = (size_t)o->height * (size_t)o->width * (size_t)o->channels;
    const size_t param_bytes = (1 + count) * AUGMENT_FIELDS * sizeof(float);
    CLQ_TRY(clq_buffer_write(a->images, 0, count * image_bytes, batch->images));
    CLQ_TRY(clq_buffer_write(a->params, 0, param_bytes, a->host_params));
    if (random && o->config.contrast > 0) {
        CLQ_TRY(launch_grey(a));
    }
    clq_kernel *kernel = NULL;
    CLQ_TRY(get_kernel(a, "augment", &kernel));
    const size_t items = (size_t)o->out_height * (on_cpu(a) ? 1 : (size_t)o->out_width);
    return CLQ_LAUNCH(a->device, kernel, CLQ_RANGE2(items, (size_t)o->batch), CLQ_BUF(a->images),
                      CLQ_BUF(a->params), CLQ_BUF(a->table), CLQ_BUF(out), CLQ_I32(batch->count),
                      CLQ_I32(o->batch), CLQ_I32(o->height), CLQ_I32(o->width),
                      CLQ_I32(o->out_height), CLQ_I32(o->out_width));
}

bool clq_augment_is_mixed(const clq_augment *augment) {
    return augment->mix.share < 1;
}

clq_status clq_augment_targets(clq_augment *a, clq_buffer *labels, int classes,
                               clq_buffer *targets) {
    const size_t batch = (size_t)a->options.batch;
    clq_kernel *kernel = NULL;
    CLQ_TRY(get_kernel(a, "augment_targets", &kernel));
    return CLQ_LAUNCH(a->device, kernel, CLQ_RANGE2((size_t)classes, batch), CLQ_BUF(a->params),
                      CLQ_BUF(labels), CLQ_BUF(targets), CLQ_I32(a->count), CLQ_I32(batch),
                      CLQ_I32(classes));
}

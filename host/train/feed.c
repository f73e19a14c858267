#include <string.h>

#include <clquant/train.h>

#include "data/augment.h"

struct clq_feed {
    clq_device *device;
    clq_dataset *dataset;
    clq_feed_options options;
    clq_loader *loader;
    clq_augment *augment;
    clq_buffer *labels;
    int32_t *host_labels; /* (batch): those of the latest batch, the last one repeated to the end */
    clq_loader_position position;
    bool at_end; /* an epoch's last batch was given, and not in training */
};

static clq_status open_loader(clq_feed *feed) {
    const clq_feed_options *o = &feed->options;
    const clq_loader_options options = {.batch = o->batch,
                                        .shuffle = o->training || o->shuffle,
                                        .drop_last = o->training,
                                        .seed = o->seed,
                                        .threads = o->threads,
                                        .start = feed->position,
                                        .shard = o->training ? o->shard : 0,
                                        .shards = o->training ? o->shards : 0};
    clq_loader_destroy(feed->loader);
    feed->loader = NULL;
    return clq_loader_create(feed->dataset, &options, &feed->loader);
}

clq_status clq_feed_create(clq_device *device, clq_dataset *dataset,
                           const clq_feed_options *options, clq_feed **out) {
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    clq_augment_options augment = {.batch = options->batch,
                                   .height = info->height,
                                   .width = info->width,
                                   .channels = info->channels,
                                   .crop_padding = options->augment.crop_padding,
                                   .flip = options->augment.flip};
    clq_status status = CLQ_OK;
    *out = NULL;
    clq_feed *feed = clq_calloc(1, sizeof *feed);
    if (!feed) {
        return CLQ_NO_MEMORY;
    }
    feed->device = device;
    feed->dataset = dataset;
    feed->options = *options;
    memcpy(augment.mean, options->mean, sizeof augment.mean);
    memcpy(augment.std, options->std, sizeof augment.std);
    const size_t label_bytes = (size_t)options->batch * sizeof(int32_t);
    feed->host_labels = clq_calloc((size_t)options->batch, sizeof(int32_t));
    if (!feed->host_labels) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_augment_create(device, &augment, &feed->augment));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, label_bytes, &feed->labels));
    CLQ_GOTO(status, cleanup, open_loader(feed));
    *out = feed;
    feed = NULL;
cleanup:
    clq_feed_destroy(feed);
    return status;
}

void clq_feed_destroy(clq_feed *feed) {
    if (!feed) {
        return;
    }
    clq_loader_destroy(feed->loader);
    clq_augment_destroy(feed->augment);
    clq_buffer_release(feed->labels);
    clq_free(feed->host_labels);
    clq_free(feed);
}

int64_t clq_feed_batches(const clq_feed *feed) {
    return clq_loader_batches(feed->loader);
}

clq_status clq_feed_seek(clq_feed *feed, int64_t epoch, int64_t batch) {
    const clq_loader_position now = clq_loader_get_position(feed->loader);
    feed->at_end = false;
    if (now.epoch == epoch && now.batch == batch) {
        return CLQ_OK; /* what was made ahead is what is wanted */
    }
    feed->position = (clq_loader_position){epoch, batch};
    return open_loader(feed);
}

clq_status clq_feed_next(clq_feed *feed, clq_buffer *x, clq_feed_batch *out) {
    const clq_batch *batch = NULL;
    *out = (clq_feed_batch){0};
    if (feed->at_end) {
        feed->at_end = false;
        return CLQ_OK;
    }
    CLQ_TRY(clq_loader_next(feed->loader, &batch));
    if (!batch) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_augment_apply(feed->augment, batch, feed->options.training, x));
    for (int i = 0; i < feed->options.batch; i++) {
        feed->host_labels[i] = batch->labels[i < batch->count ? i : batch->count - 1];
    }
    const size_t bytes = (size_t)feed->options.batch * sizeof(int32_t);
    CLQ_TRY(clq_buffer_write(feed->labels, 0, bytes, feed->host_labels));
    feed->at_end = batch->last && !feed->options.training;
    *out = (clq_feed_batch){
        .count = batch->count, .labels = feed->host_labels, .device_labels = feed->labels};
    return CLQ_OK;
}

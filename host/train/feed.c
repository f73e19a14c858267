#include <string.h>

#include <clquant/train.h>

#include "base/arguments.h"
#include "base/progress.h"
#include "base/text.h"
#include "data/augment.h"
#include "graph/ends.h"
#include "train/array_feed.h"
#include "train/table_feed.h"

struct clq_feed {
    clq_table_feed *table;  /* does everything when the data set is a table; else NULL */
    clq_array_feed *arrays; /* does everything when it feeds arrays; else NULL */
    clq_device *device;
    clq_dataset *dataset;
    clq_feed_options options;
    clq_loader *loader;
    clq_augment *augment;
    clq_buffer *labels;
    clq_buffer *targets;  /* (batch, classes); NULL: batches are never mixed */
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

static clq_status open_augment(clq_feed *feed) {
    const clq_feed_options *o = &feed->options;
    const clq_dataset_info *info = clq_dataset_get_info(feed->dataset);
    const clq_augment_options options = {.batch = o->batch,
                                         .height = info->height,
                                         .width = info->width,
                                         .channels = info->channels,
                                         .out_height = o->height,
                                         .out_width = o->width,
                                         .centre_crop = o->centre_crop,
                                         .normalization = o->normalization,
                                         .config = o->augment};
    return clq_augment_create(feed->device, &options, &feed->augment);
}

static clq_status create_labels(clq_feed *feed) {
    clq_feed_options *o = &feed->options;
    const clq_dataset_info *info = clq_dataset_get_info(feed->dataset);
    const size_t batch = (size_t)o->batch;
    const bool mixed = o->training && (o->augment.mixup.alpha > 0 || o->augment.cutmix.alpha > 0);
    o->classes = o->classes ? o->classes : info->class_count;
    if (o->classes < info->class_count) {
        return clq_fail(CLQ_USAGE, "%s: has %d class%s, the labels fed %d", info->path,
                        info->class_count, info->class_count == 1 ? "" : "es", o->classes);
    }
    feed->host_labels = clq_calloc(batch, sizeof *feed->host_labels);
    if (!feed->host_labels) {
        return CLQ_NO_MEMORY;
    }
    CLQ_TRY(clq_buffer_create(feed->device, batch * sizeof *feed->host_labels, &feed->labels));
    return mixed ? clq_buffer_create(feed->device, batch * (size_t)o->classes * sizeof(float),
                                     &feed->targets)
                 : CLQ_OK;
}

clq_status clq_feed_create(clq_device *device, clq_dataset *dataset,
                           const clq_feed_options *options, clq_feed **out) {
    CLQ_NEEDS(device, dataset, options, out);
    clq_status status = CLQ_OK;
    *out = NULL;
    clq_feed *feed = clq_calloc(1, sizeof *feed);
    if (!feed) {
        return CLQ_NO_MEMORY;
    }
    feed->options = *options;
    feed->dataset = dataset;
    if (clq_dataset_table(dataset)) {
        CLQ_GOTO(status, cleanup,
                 clq_table_feed_create(device, clq_dataset_table(dataset), options, &feed->table));
        *out = feed;
        return CLQ_OK;
    }
    if (options->training && !options->no_labels) {
        CLQ_GOTO(status, cleanup, clq_dataset_require_labels(dataset));
    }
    feed->device = device;
    CLQ_GOTO(status, cleanup, open_augment(feed));
    CLQ_GOTO(status, cleanup, create_labels(feed));
    CLQ_GOTO(status, cleanup, open_loader(feed));
    *out = feed;
    feed = NULL;
cleanup:
    clq_feed_destroy(feed);
    return status;
}

/* `device` NULL: without labels. */
static clq_status create_arrays(clq_device *device, const clq_graph *graph, clq_arrays *arrays,
                                const clq_feed_options *options, int64_t limit, clq_feed **out) {
    clq_status status = CLQ_OK;
    clq_feed *feed = clq_calloc(1, sizeof *feed);
    if (!feed) {
        return CLQ_NO_MEMORY;
    }
    feed->options = *options;
    CLQ_GOTO(status, cleanup,
             clq_array_feed_create(graph, arrays, options->batch, limit,
                                   options->training ? options : NULL, &feed->arrays));
    if (device) {
        const size_t labels = (size_t)options->batch * sizeof(int32_t) *
                              (size_t)clq_array_feed_label_size(feed->arrays);
        CLQ_GOTO(status, cleanup, clq_buffer_create(device, labels, &feed->labels));
        CLQ_GOTO(status, cleanup, clq_buffer_fill(feed->labels, 0, labels, 0));
    }
    *out = feed;
    feed = NULL;
cleanup:
    clq_feed_destroy(feed);
    return status;
}

clq_status clq_feed_create_arrays(const clq_graph *graph, clq_arrays *arrays, int batch,
                                  int64_t limit, clq_feed **out) {
    CLQ_NEEDS(graph, arrays, out);
    CLQ_NEEDS_ENDS(graph);
    CLQ_REQUIRE(batch >= 1, "batch must be at least 1");
    *out = NULL;
    return create_arrays(NULL, graph, arrays, &(clq_feed_options){.batch = batch}, limit, out);
}

clq_status clq_feed_create_arrays_with(clq_device *device, const clq_graph *graph,
                                       clq_arrays *arrays, const clq_feed_options *options,
                                       clq_feed **out) {
    CLQ_NEEDS(device, graph, arrays, options, out);
    CLQ_NEEDS_ENDS(graph);
    CLQ_REQUIRE(options->batch >= 1 && options->shard >= 0, "batch must be at least 1, shard 0");
    *out = NULL;
    return create_arrays(device, graph, arrays, options, 0, out);
}

void clq_feed_destroy(clq_feed *feed) {
    if (!feed) {
        return;
    }
    clq_table_feed_destroy(feed->table);
    clq_array_feed_destroy(feed->arrays);
    clq_loader_destroy(feed->loader);
    clq_augment_destroy(feed->augment);
    clq_buffer_release(feed->labels);
    clq_buffer_release(feed->targets);
    clq_free(feed->host_labels);
    clq_free(feed);
}

const clq_table *clq_feed_table(const clq_feed *feed) {
    CLQ_NEEDS_OR(NULL, feed);
    return feed->table ? clq_table_feed_table(feed->table) : NULL;
}

const char *clq_feed_unit(const clq_feed *feed) {
    CLQ_NEEDS_OR(NULL, feed);
    return feed->table || feed->arrays ? "rows" : "images";
}

const char *clq_feed_path(const clq_feed *feed) {
    CLQ_NEEDS_OR("", feed);
    return feed->arrays ? clq_arrays_path(clq_array_feed_arrays(feed->arrays))
                        : clq_dataset_get_info(feed->dataset)->path;
}

int64_t clq_feed_count(const clq_feed *feed) {
    CLQ_NEEDS_OR(0, feed);
    return feed->arrays ? clq_array_feed_count(feed->arrays)
                        : clq_dataset_get_info(feed->dataset)->count;
}

int64_t clq_feed_label_size(const clq_feed *feed) {
    CLQ_NEEDS_OR(0, feed);
    return feed->arrays ? clq_array_feed_label_size(feed->arrays) : 1;
}

uint64_t clq_feed_hash_arrays(const clq_feed *feed) {
    CLQ_NEEDS_OR(0, feed);
    return feed->arrays ? clq_array_feed_hash(feed->arrays) : 0;
}

int64_t clq_feed_batches(const clq_feed *feed) {
    CLQ_NEEDS_OR(0, feed);
    if (feed->table) {
        return clq_table_feed_batches(feed->table);
    }
    if (feed->arrays) {
        return clq_array_feed_batches(feed->arrays);
    }
    return clq_loader_batches(feed->loader);
}

clq_status clq_feed_seek(clq_feed *feed, int64_t epoch, int64_t batch) {
    CLQ_NEEDS(feed);
    if (feed->table) {
        return clq_table_feed_seek(feed->table, epoch, batch);
    }
    if (feed->arrays) {
        clq_array_feed_seek(feed->arrays, epoch, batch);
        return CLQ_OK;
    }
    const clq_loader_position now = clq_loader_get_position(feed->loader);
    feed->at_end = false;
    if (now.epoch == epoch && now.batch == batch) {
        return CLQ_OK; /* what was made ahead is what is wanted */
    }
    feed->position = (clq_loader_position){epoch, batch};
    return open_loader(feed);
}

clq_status clq_feed_fill(clq_feed *feed, clq_exec *exec, clq_feed_batch *batch) {
    CLQ_NEEDS(feed, exec, batch);
    if (feed->arrays) {
        CLQ_TRY(feed->options.training ? CLQ_OK : clq_check_stopped());
        *batch = (clq_feed_batch){.device_labels = feed->labels};
        CLQ_TRY(clq_array_feed_fill(feed->arrays, exec, batch));
        return feed->labels && batch->labels
                   ? clq_buffer_write(feed->labels, 0, clq_buffer_size(feed->labels), batch->labels)
                   : CLQ_OK;
    }
    CLQ_TRY(clq_graph_check_one_input(clq_exec_graph(exec), "images or rows of a data set feed"));
    return clq_feed_next(feed, clq_exec_input(exec)->buffer, batch);
}

clq_status clq_feed_next(clq_feed *feed, clq_buffer *x, clq_feed_batch *out) {
    CLQ_NEEDS(feed, x, out);
    const clq_batch *batch = NULL;
    *out = (clq_feed_batch){0};
    CLQ_REQUIRE(!feed->arrays, "arrays are fed by clq_feed_fill");
    if (feed->options.stop && *feed->options.stop) {
        return clq_fail(CLQ_INTERRUPTED, "interrupted");
    }
    CLQ_TRY(feed->options.training ? CLQ_OK : clq_check_stopped());
    if (feed->table) {
        return clq_table_feed_next(feed->table, x, out);
    }
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
        const int from = i < batch->count ? i : batch->count - 1;
        feed->host_labels[i] = batch->labels ? batch->labels[from] : 0;
    }
    const size_t bytes = (size_t)feed->options.batch * sizeof(int32_t);
    CLQ_TRY(clq_buffer_write(feed->labels, 0, bytes, feed->host_labels));
    if (clq_augment_is_mixed(feed->augment)) {
        CLQ_TRY(
            clq_augment_targets(feed->augment, feed->labels, feed->options.classes, feed->targets));
        out->targets = feed->targets;
    }
    feed->at_end = batch->last && !feed->options.training;
    out->count = batch->count;
    out->labels = batch->labels ? feed->host_labels : NULL;
    out->device_labels = feed->labels;
    return CLQ_OK;
}

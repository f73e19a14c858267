#include "train/table_feed.h"

#include "base/text.h"

struct clq_table_feed {
    const clq_table *table;
    clq_feed_options options;
    int shard, shards; /* this feed's part of each batch of options.batch * shards rows */
    clq_buffer *device_labels, *device_targets; /* S32 (batch); F32 (batch, targets) or NULL */
    uint32_t *order;                            /* (rows): of `ordered`, or of the file */
    int64_t ordered;                            /* the epoch that `order` is of; -1: none */
    clq_loader_position next;
    bool at_end; /* an epoch's last batch was given, and not in training */
    /* the latest batch */
    uint32_t *numbers; /* (batch): which rows */
    float *x, *y;      /* (batch, features), (batch, targets) */
    int32_t *labels;   /* (batch) */
};

static clq_status allocate(clq_table_feed *feed, clq_device *device) {
    const clq_table *table = feed->table;
    const size_t batch = (size_t)feed->options.batch, targets = (size_t)table->targets;
    feed->order = clq_calloc((size_t)table->rows, sizeof *feed->order);
    feed->numbers = clq_calloc(batch, sizeof *feed->numbers);
    feed->labels = clq_calloc(batch, sizeof *feed->labels);
    feed->x = clq_calloc(batch * (size_t)table->features, sizeof *feed->x);
    if (!feed->order || !feed->numbers || !feed->labels || !feed->x) {
        return CLQ_NO_MEMORY;
    }
    CLQ_TRY(clq_buffer_create(device, batch * sizeof(int32_t), &feed->device_labels));
    CLQ_TRY(clq_buffer_fill(feed->device_labels, 0, batch * sizeof(int32_t), 0));
    if (!table->y) {
        return CLQ_OK;
    }
    feed->y = clq_calloc(batch * targets, sizeof *feed->y);
    if (!feed->y) {
        return CLQ_NO_MEMORY;
    }
    return clq_buffer_create(device, batch * targets * sizeof(float), &feed->device_targets);
}

clq_status clq_table_feed_create(clq_device *device, const clq_table *table,
                                 const clq_feed_options *options, clq_table_feed **out) {
    *out = NULL;
    if (options->batch < 1 || options->shard < 0) {
        return clq_fail(CLQ_USAGE, "feed: batch %d, shard %d: must be at least 1 and 0",
                        options->batch, options->shard);
    }
    const int shards = options->training && options->shards > 1 ? options->shards : 1;
    const int64_t step = (int64_t)options->batch * shards;
    if (options->training && table->rows < step) {
        return clq_fail(CLQ_USAGE, "the table's %lld row%s less than one batch of %lld",
                        (long long)table->rows, table->rows == 1 ? " is" : "s are",
                        (long long)step);
    }
    clq_table_feed *feed = clq_calloc(1, sizeof *feed);
    if (!feed) {
        return CLQ_NO_MEMORY;
    }
    feed->table = table;
    feed->options = *options;
    feed->shard = shards > 1 ? options->shard : 0;
    feed->shards = shards;
    feed->ordered = -1;
    const clq_status status = allocate(feed, device);
    if (status != CLQ_OK) {
        clq_table_feed_destroy(feed);
        return status;
    }
    for (int64_t i = 0; i < table->rows; i++) {
        feed->order[i] = (uint32_t)i;
    }
    *out = feed;
    return CLQ_OK;
}

void clq_table_feed_destroy(clq_table_feed *feed) {
    if (!feed) {
        return;
    }
    clq_buffer_release(feed->device_labels);
    clq_buffer_release(feed->device_targets);
    clq_free(feed->order);
    clq_free(feed->numbers);
    clq_free(feed->labels);
    clq_free(feed->x);
    clq_free(feed->y);
    clq_free(feed);
}

const clq_table *clq_table_feed_table(const clq_table_feed *feed) {
    return feed->table;
}

int64_t clq_table_feed_batches(const clq_table_feed *feed) {
    const int64_t rows = feed->table->rows, batch = feed->options.batch;
    return feed->options.training ? rows / (batch * feed->shards) : (rows + batch - 1) / batch;
}

clq_status clq_table_feed_seek(clq_table_feed *feed, int64_t epoch, int64_t batch) {
    if (epoch < 0 || batch < 0 || batch >= clq_table_feed_batches(feed)) {
        return clq_fail(CLQ_USAGE, "the table has no batch %lld in epoch %lld", (long long)batch,
                        (long long)epoch);
    }
    feed->at_end = false;
    feed->next = (clq_loader_position){epoch, batch};
    return CLQ_OK;
}

/* Copies the rows of batch feed->next; how many there are. The last one is repeated to the end. */
static int gather(clq_table_feed *feed) {
    const clq_feed_options *o = &feed->options;
    const int64_t first = (feed->next.batch * feed->shards + feed->shard) * o->batch;
    const int64_t left = feed->table->rows - first;
    const int count = left < o->batch ? (int)left : o->batch;
    if ((o->training || o->shuffle) && feed->ordered != feed->next.epoch) {
        clq_table_order(feed->table, o->seed, feed->next.epoch, feed->order);
        feed->ordered = feed->next.epoch;
    }
    for (int i = 0; i < o->batch; i++) {
        feed->numbers[i] = feed->order[first + (i < count ? i : count - 1)];
    }
    clq_table_gather(feed->table, feed->numbers, o->batch, feed->x, feed->y, feed->labels);
    return count;
}

clq_status clq_table_feed_next(clq_table_feed *feed, clq_buffer *x, clq_feed_batch *batch) {
    const size_t rows = (size_t)feed->options.batch;
    if (feed->at_end) {
        feed->at_end = false;
        return CLQ_OK;
    }
    const int count = gather(feed);
    CLQ_TRY(clq_buffer_write(x, 0, rows * (size_t)feed->table->features * sizeof(float), feed->x));
    if (feed->y) {
        CLQ_TRY(clq_buffer_write(feed->device_targets, 0,
                                 rows * (size_t)feed->table->targets * sizeof(float), feed->y));
    } else {
        CLQ_TRY(clq_buffer_write(feed->device_labels, 0, rows * sizeof(int32_t), feed->labels));
    }
    if (++feed->next.batch == clq_table_feed_batches(feed)) {
        feed->next = (clq_loader_position){feed->next.epoch + 1, 0};
        feed->at_end = !feed->options.training;
    }
    *batch = (clq_feed_batch){.count = count,
                              .labels = feed->table->labels ? feed->labels : NULL,
                              .device_labels = feed->device_labels,
                              .targets = feed->device_targets,
                              .numbers = feed->y};
    return CLQ_OK;
}

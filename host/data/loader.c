/* The prefetching loader. Batches are made in a ring of slots. Threads take images one by one from
 * the slot being filled, in order; when all of a slot's images are taken, the next free slot is
 * begun. What an image is depends on its position alone, so it does not matter who makes it.
 *
 * All fields below "shared" are guarded by `lock`; a thread decodes outside of it, into a place
 * of a slot that is its own. */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/arguments.h"
#include "base/checked.h"
#include "base/rng.h"
#include "base/text.h"
#include "data/draws.h"
#include "data/parallel.h"

enum { MAX_THREADS = 64, MAX_PREFETCH = 256, ERROR_SIZE = 2048 };

typedef struct slot {
    clq_batch batch; /* its pointers are the arrays below */
    uint8_t *images;
    int32_t *labels;
    uint32_t *indices;
    int unfinished;    /* images not made yet */
    clq_status status; /* of the failed image of the lowest place, if any */
    int failed_place;
    char error[ERROR_SIZE];
} slot;

struct clq_loader {
    const clq_dataset *dataset;
    clq_loader_options options;
    int64_t batches; /* an epoch */
    size_t image_bytes;
    int slot_count;
    slot *slots;
    pthread_t threads[MAX_THREADS];
    int thread_count;
    pthread_mutex_t lock;
    pthread_cond_t work_came, batch_done;

    /* shared */
    bool stop;
    uint32_t *order;             /* (count): of `order_epoch`; NULL without shuffle */
    int64_t order_epoch;         /* -1: none yet */
    clq_loader_position filling; /* the batch being filled, or to be begun next */
    bool begun;                  /* `filling` has its slot */
    int taken;                   /* of its images */
    int64_t begun_count;         /* batches begun since create; slot = number % slot_count */
    int64_t given_count;         /* batches given by next */
    bool holding;                /* the caller holds the batch given last */
    clq_loader_position next;    /* of the batch that next gives */
};

static bool ended(const clq_loader *l, clq_loader_position where) {
    return l->options.epochs > 0 && where.epoch >= l->options.epochs;
}

static clq_loader_position advance(const clq_loader *l, clq_loader_position where) {
    where.batch++;
    if (where.batch == l->batches) {
        where = (clq_loader_position){where.epoch + 1, 0};
    }
    return where;
}

/* Gives batch `filling` its slot: which images, their labels. */
static void begin_batch(clq_loader *l) {
    const clq_loader_options *o = &l->options;
    const clq_dataset_info *info = clq_dataset_get_info(l->dataset);
    const clq_loader_position where = l->filling;
    if (l->order && l->order_epoch != where.epoch) {
        clq_permutation(o->seed, clq_draw_stream(CLQ_DRAW_ORDER, where.epoch),
                        (uint32_t)info->count, l->order);
        l->order_epoch = where.epoch;
    }
    slot *s = &l->slots[l->begun_count % l->slot_count];
    const int64_t first = (where.batch * o->shards + o->shard) * o->batch;
    const int64_t left = info->count - first;
    const int count = left < o->batch ? (int)left : o->batch;
    for (int i = 0; i < count; i++) {
        s->indices[i] = l->order ? l->order[first + i] : (uint32_t)(first + i);
        s->labels[i] = info->labels ? info->labels[s->indices[i]] : 0;
    }
    s->batch.count = count;
    s->batch.where = where;
    s->batch.position = first;
    s->batch.last = where.batch == l->batches - 1;
    s->unfinished = count;
    s->status = CLQ_OK;
    l->begun_count++;
    l->taken = 0;
    l->begun = true;
}

/* Waits for an image to make. NULL: the loader stops. */
static slot *take_image(clq_loader *l, int *place) {
    for (;;) {
        if (l->stop) {
            return NULL;
        }
        /* The slot in the caller's hands is not free. */
        const int64_t in_use = l->begun_count - l->given_count + (l->holding ? 1 : 0);
        if (!l->begun && !ended(l, l->filling) && in_use < l->slot_count) {
            begin_batch(l);
            pthread_cond_broadcast(&l->work_came);
        }
        if (l->begun) {
            slot *s = &l->slots[(l->begun_count - 1) % l->slot_count];
            *place = l->taken++;
            if (l->taken == s->batch.count) {
                l->begun = false;
                l->filling = advance(l, l->filling);
            }
            return s;
        }
        pthread_cond_wait(&l->work_came, &l->lock);
    }
}

static void *work(void *argument) {
    clq_loader *l = argument;
    int place = 0;
    pthread_mutex_lock(&l->lock);
    for (slot *s = take_image(l, &place); s; s = take_image(l, &place)) {
        const uint32_t index = s->indices[place];
        pthread_mutex_unlock(&l->lock);
        clq_status status =
            clq_dataset_read(l->dataset, index, s->images + (size_t)place * l->image_bytes);
        pthread_mutex_lock(&l->lock);
        if (status != CLQ_OK && (s->status == CLQ_OK || place < s->failed_place)) {
            s->status = status;
            s->failed_place = place;
            snprintf(s->error, sizeof s->error, "%s", clq_last_error());
        }
        if (--s->unfinished == 0) {
            pthread_cond_signal(&l->batch_done);
        }
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static clq_status check_options(const clq_loader_options *o, const clq_dataset_info *info) {
    if (o->batch < 1 || o->batch > 1 << 20) {
        return clq_fail(CLQ_USAGE, "loader: a batch of %d images; must be 1..%d", o->batch,
                        1 << 20);
    }
    if (o->threads < 0 || o->threads > MAX_THREADS || o->prefetch < 0 ||
        o->prefetch > MAX_PREFETCH) {
        return clq_fail(CLQ_USAGE, "loader: %d threads, %d batches ahead; must be 0..%d and 0..%d",
                        o->threads, o->prefetch, MAX_THREADS, MAX_PREFETCH);
    }
    if (o->shards < 1 || o->shard < 0 || o->shard >= o->shards ||
        (o->shards > 1 && !o->drop_last)) {
        return clq_fail(CLQ_USAGE, "loader: shard %d of %d; several shards need drop_last",
                        o->shard, o->shards);
    }
    if (o->drop_last && info->count < (int64_t)o->batch * o->shards) {
        return clq_fail(CLQ_USAGE, "%s: %lld image%s less than one batch of %lld", info->path,
                        (long long)info->count, info->count == 1 ? " is" : "s are",
                        (long long)o->batch * o->shards);
    }
    return CLQ_OK;
}

static clq_status create_slots(clq_loader *l) {
    const clq_dataset_info *info = clq_dataset_get_info(l->dataset);
    const size_t batch = (size_t)l->options.batch;
    size_t bytes;
    l->image_bytes = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
    if (!clq_mul_size(batch, l->image_bytes, &bytes)) {
        return clq_fail(CLQ_NO_MEMORY, "loader: a batch of %zu images is too big", batch);
    }
    l->slots = clq_calloc((size_t)l->slot_count, sizeof *l->slots);
    if (!l->slots) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < l->slot_count; i++) {
        slot *s = &l->slots[i];
        s->images = clq_calloc(bytes, 1);
        s->labels = clq_calloc(batch, sizeof *s->labels);
        s->indices = clq_calloc(batch, sizeof *s->indices);
        if (!s->images || !s->labels || !s->indices) {
            return CLQ_NO_MEMORY;
        }
        s->batch = (clq_batch){.height = info->height,
                               .width = info->width,
                               .channels = info->channels,
                               .images = s->images,
                               .labels = info->labels ? s->labels : NULL,
                               .indices = s->indices,
                               .seed = l->options.seed};
    }
    return CLQ_OK;
}

static clq_status start_threads(clq_loader *l, int wanted) {
    while (l->thread_count < wanted &&
           pthread_create(&l->threads[l->thread_count], NULL, work, l) == 0) {
        l->thread_count++;
    }
    return l->thread_count > 0 ? CLQ_OK : clq_fail(CLQ_NO_MEMORY, "loader: cannot start a thread");
}

clq_status clq_loader_create(const clq_dataset *dataset, const clq_loader_options *options,
                             clq_loader **loader) {
    CLQ_NEEDS(dataset, options, loader);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    *loader = NULL;
    clq_loader_options o = *options;
    o.shards = o.shards == 0 ? 1 : o.shards;
    CLQ_TRY(check_options(&o, info));
    const int64_t share = (int64_t)o.batch * o.shards;
    const int64_t batches = o.drop_last ? info->count / share : (info->count + share - 1) / share;
    if (o.start.epoch < 0 || o.start.batch < 0 || o.start.batch >= batches) {
        return clq_fail(CLQ_USAGE, "loader: cannot start at epoch %lld, batch %lld of %lld",
                        (long long)o.start.epoch, (long long)o.start.batch, (long long)batches);
    }
    clq_loader *l = clq_calloc(1, sizeof *l);
    if (!l) {
        return CLQ_NO_MEMORY;
    }
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work_came, NULL);
    pthread_cond_init(&l->batch_done, NULL);
    l->dataset = dataset;
    l->options = o;
    l->batches = batches;
    l->filling = l->next = o.start;
    l->order_epoch = -1;
    /* Copying from memory needs no more than one thread. */
    int threads = o.threads ? o.threads : info->in_memory ? 1 : clq_thread_count(0);
    l->slot_count = 1 + (o.prefetch ? o.prefetch : 3);
    clq_status status;
    CLQ_GOTO(status, failed, create_slots(l));
    if (o.shuffle) {
        l->order = clq_calloc((size_t)info->count, sizeof *l->order);
        status = l->order ? CLQ_OK : CLQ_NO_MEMORY;
        CLQ_GOTO(status, failed, status);
    }
    CLQ_GOTO(status, failed, start_threads(l, threads));
    *loader = l;
    return CLQ_OK;

failed:
    clq_loader_destroy(l);
    return status;
}

void clq_loader_destroy(clq_loader *l) {
    if (!l) {
        return;
    }
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->work_came);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->thread_count; i++) {
        pthread_join(l->threads[i], NULL);
    }
    for (int i = 0; l->slots && i < l->slot_count; i++) {
        clq_free(l->slots[i].images);
        clq_free(l->slots[i].labels);
        clq_free(l->slots[i].indices);
    }
    clq_free(l->slots);
    clq_free(l->order);
    pthread_cond_destroy(&l->batch_done);
    pthread_cond_destroy(&l->work_came);
    pthread_mutex_destroy(&l->lock);
    clq_free(l);
}

clq_status clq_loader_next(clq_loader *l, const clq_batch **batch) {
    CLQ_NEEDS(l, batch);
    *batch = NULL;
    if (ended(l, l->next)) {
        return CLQ_OK;
    }
    pthread_mutex_lock(&l->lock);
    if (l->holding) {
        l->holding = false;
        pthread_cond_broadcast(&l->work_came);
    }
    slot *s = &l->slots[l->given_count % l->slot_count];
    while (l->begun_count == l->given_count || s->unfinished > 0) {
        pthread_cond_wait(&l->batch_done, &l->lock);
    }
    clq_status status = s->status;
    if (status == CLQ_OK) {
        l->given_count++;
        l->holding = true;
        l->next = advance(l, l->next);
        *batch = &s->batch;
    }
    pthread_mutex_unlock(&l->lock);
    return status == CLQ_OK ? CLQ_OK : clq_fail(status, "%s", s->error);
}

clq_loader_position clq_loader_get_position(const clq_loader *loader) {
    CLQ_NEEDS_OR((clq_loader_position){0}, loader);
    return loader->next;
}

int64_t clq_loader_batches(const clq_loader *loader) {
    CLQ_NEEDS_OR(0, loader);
    return loader->batches;
}

#include "data/parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { MAX_THREADS = 64, CHUNK = 16 };

typedef struct loop {
    int64_t count;
    clq_parallel_body body;
    void *context;
    clq_progress *progress;
    _Atomic int64_t next;   /* first index nobody has taken */
    _Atomic int64_t done;   /* how many are, for the progress bar */
    _Atomic int64_t failed; /* smallest index that failed so far; count when none */
    pthread_mutex_t lock;   /* of the three below */
    int64_t failure_index;
    clq_status failure;
    char failure_text[2048]; /* last errors are per thread, so it is carried over */
} loop;

int clq_thread_count(int threads) {
    long wanted = threads > 0 ? threads : sysconf(_SC_NPROCESSORS_ONLN);
    return wanted < 1 ? 1 : wanted > MAX_THREADS ? MAX_THREADS : (int)wanted;
}

static void record_failure(loop *l, int64_t index, clq_status status) {
    pthread_mutex_lock(&l->lock);
    if (index < l->failure_index) {
        l->failure_index = index;
        l->failure = status;
        snprintf(l->failure_text, sizeof l->failure_text, "%s", clq_last_error());
        atomic_store(&l->failed, index);
    }
    pthread_mutex_unlock(&l->lock);
}

/* Chunks are taken in ascending order and an index is skipped only when a smaller one has
 * failed, so the smallest failing index is always found. */
static void *work(void *argument) {
    loop *l = argument;
    for (;;) {
        int64_t first = atomic_fetch_add(&l->next, CHUNK);
        if (first >= l->count) {
            return NULL;
        }
        int64_t end = l->count - first < CHUNK ? l->count : first + CHUNK;
        for (int64_t i = first; i < end; i++) {
            if (i > atomic_load(&l->failed)) {
                return NULL;
            }
            clq_status status = l->body(l->context, i);
            if (status != CLQ_OK) {
                record_failure(l, i, status);
            }
        }
        if (l->progress) {
            const int64_t done = atomic_fetch_add(&l->done, end - first) + end - first;
            clq_progress_update(l->progress, done, NULL);
            if (clq_progress_is_stopped(l->progress)) {
                record_failure(l, first, clq_fail(CLQ_INTERRUPTED, "interrupted"));
            }
        }
    }
}

clq_status clq_parallel_for(int threads, int64_t count, clq_parallel_body body, void *context,
                            clq_progress *progress) {
    loop l = {.count = count,
              .body = body,
              .context = context,
              .progress = progress,
              .failure_index = count};
    atomic_init(&l.next, 0);
    atomic_init(&l.failed, count);
    atomic_init(&l.done, 0);
    pthread_mutex_init(&l.lock, NULL);
    pthread_t helpers[MAX_THREADS];
    int64_t useful = (count + CHUNK - 1) / CHUNK;
    int wanted = clq_thread_count(threads);
    wanted = useful < wanted ? (int)useful : wanted;
    int started = 0;
    while (started < wanted - 1 && pthread_create(&helpers[started], NULL, work, &l) == 0) {
        started++;
    }
    work(&l);
    for (int i = 0; i < started; i++) {
        pthread_join(helpers[i], NULL);
    }
    pthread_mutex_destroy(&l.lock);
    return l.failure == CLQ_OK ? CLQ_OK : clq_fail(l.failure, "%s", l.failure_text);
}

/* The loader: what it gives depends on (data set, seed, epoch, batch) and on nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/hash.h"
#include "data/parallel.h"
#include "support/clq_test.h"
#include "support/image_files.h"

#include <clquant/data.h>

enum { COUNT = 53, SIDE = 8, BYTES = SIDE * SIDE * 3 };

/* The set all tests share; decoded when read, so that threads have something to do. */
static clq_dataset *dataset;

static int open_dataset(void **state) {
    (void)state;
    const clq_dataset_options options = {.max_memory = 1, .height = SIDE};
    return clq_dataset_open("synthetic:train=53", &options, &dataset) == CLQ_OK ? 0 : -1;
}

static int close_dataset(void **state) {
    (void)state;
    clq_dataset_close(dataset);
    return 0;
}

static clq_loader *create(clq_loader_options options) {
    clq_loader *loader = NULL;
    assert_ok(clq_loader_create(dataset, &options, &loader));
    return loader;
}

/* Checks that a batch holds what its indices say, and hashes it. */
static uint64_t check_batch(const clq_batch *batch) {
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    uint8_t image[BYTES];
    assert_int_equal(batch->height, SIDE);
    assert_int_equal(batch->width, SIDE);
    assert_int_equal(batch->channels, 3);
    for (int i = 0; i < batch->count; i++) {
        assert_in_range(batch->indices[i], 0, COUNT - 1);
        assert_int_equal(batch->labels[i], info->labels[batch->indices[i]]);
        assert_ok(clq_dataset_read(dataset, batch->indices[i], image));
        assert_memory_equal(batch->images + (size_t)i * BYTES, image, BYTES);
    }
    uint64_t hash = clq_hash64(batch->images, (size_t)batch->count * BYTES);
    hash = clq_hash64_seeded(batch->labels, (size_t)batch->count * sizeof(int32_t), hash);
    return clq_hash64_seeded(&batch->position, sizeof batch->position, hash);
}

/* Hashes of the next `count` batches. */
static void take(clq_loader *loader, int count, uint64_t *hashes) {
    for (int i = 0; i < count; i++) {
        const clq_batch *batch = NULL;
        assert_ok(clq_loader_next(loader, &batch));
        assert_non_null(batch);
        hashes[i] = check_batch(batch);
    }
}

static void without_shuffle_images_come_in_order(void **state) {
    (void)state;
    clq_loader *loader = create((clq_loader_options){.batch = 10, .epochs = 2});
    assert_int_equal(clq_loader_batches(loader), 6);
    const clq_batch *batch = NULL;
    for (int epoch = 0; epoch < 2; epoch++) {
        for (int k = 0; k < 6; k++) {
            assert_ok(clq_loader_next(loader, &batch));
            check_batch(batch);
            assert_int_equal(batch->count, k == 5 ? 3 : 10);
            assert_int_equal(batch->indices[0], 10 * k);
            assert_int_equal(batch->position, 10 * k);
            assert_int_equal(batch->where.epoch, epoch);
            assert_int_equal(batch->where.batch, k);
            assert_int_equal(batch->last, k == 5);
        }
    }
    for (int i = 0; i < 3; i++) {
        assert_ok(clq_loader_next(loader, &batch));
        assert_null(batch);
    }
    clq_loader_destroy(loader);
}

static void an_epoch_has_every_image_once(void **state) {
    (void)state;
    clq_loader *loader = create((clq_loader_options){.batch = 7, .shuffle = true, .seed = 5});
    uint32_t first[3] = {0};
    for (int epoch = 0; epoch < 3; epoch++) {
        int seen[COUNT] = {0};
        bool last = false;
        while (!last) {
            const clq_batch *batch = NULL;
            assert_ok(clq_loader_next(loader, &batch));
            assert_int_equal(batch->where.epoch, epoch);
            if (batch->where.batch == 0) {
                first[epoch] =
                    batch->indices[0] + 64 * batch->indices[1] + 4096 * batch->indices[2];
            }
            for (int i = 0; i < batch->count; i++) {
                seen[batch->indices[i]]++;
            }
            last = batch->last;
        }
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(seen[i], 1);
        }
    }
    assert_true(first[0] != first[1] && first[1] != first[2]); /* another order each time */
    clq_loader_destroy(loader);
}

static void threads_and_prefetch_do_not_change_batches(void **state) {
    (void)state;
    enum { BATCHES = 20 };
    uint64_t expected[BATCHES], hashes[BATCHES];
    clq_loader_options options = {.batch = 6, .shuffle = true, .seed = 9, .threads = 1};
    clq_loader *loader = create(options);
    take(loader, BATCHES, expected);
    clq_loader_destroy(loader);
    for (int threads = 1; threads <= 4; threads *= 2) {
        for (int prefetch = 1; prefetch <= 25; prefetch += 12) {
            options.threads = threads;
            options.prefetch = prefetch;
            loader = create(options);
            take(loader, BATCHES, hashes);
            clq_loader_destroy(loader);
            assert_memory_equal(hashes, expected, sizeof expected);
        }
    }
}

static void a_loader_goes_on_from_any_position(void **state) {
    (void)state;
    enum { BATCHES = 30 };
    uint64_t expected[BATCHES], hashes[BATCHES];
    clq_loader_options options = {.batch = 6, .shuffle = true, .seed = 10, .threads = 2};
    clq_loader *loader = create(options);
    take(loader, BATCHES, expected);
    clq_loader_destroy(loader);
    for (int stop = 0; stop < 22; stop++) {
        options.start = (clq_loader_position){0};
        loader = create(options);
        take(loader, stop, hashes);
        const clq_loader_position position = clq_loader_get_position(loader);
        assert_int_equal(position.epoch, stop / 9);
        assert_int_equal(position.batch, stop % 9);
        clq_loader_destroy(loader);
        options.start = position;
        options.threads = 1 + stop % 4;
        loader = create(options);
        take(loader, BATCHES - stop, hashes + stop);
        clq_loader_destroy(loader);
        assert_memory_equal(hashes, expected, sizeof expected);
    }
}

static void drop_last_leaves_out_what_is_left(void **state) {
    (void)state;
    clq_loader *loader = create((clq_loader_options){.batch = 10, .drop_last = true});
    assert_int_equal(clq_loader_batches(loader), 5);
    for (int k = 0; k < 11; k++) {
        const clq_batch *batch = NULL;
        assert_ok(clq_loader_next(loader, &batch));
        assert_int_equal(batch->count, 10);
        assert_int_equal(batch->last, k % 5 == 4);
    }
    clq_loader_destroy(loader);
}

static void shards_make_up_the_whole_batch(void **state) {
    (void)state;
    clq_loader *whole =
        create((clq_loader_options){.batch = 12, .drop_last = true, .shuffle = true});
    clq_loader *shards[3];
    for (int i = 0; i < 3; i++) {
        shards[i] = create((clq_loader_options){
            .batch = 4, .drop_last = true, .shuffle = true, .shard = i, .shards = 3});
        assert_int_equal(clq_loader_batches(shards[i]), clq_loader_batches(whole));
    }
    for (int k = 0; k < 9; k++) {
        const clq_batch *all = NULL, *part = NULL;
        assert_ok(clq_loader_next(whole, &all));
        for (int i = 0; i < 3; i++) {
            assert_ok(clq_loader_next(shards[i], &part));
            assert_int_equal(part->count, 4);
            assert_int_equal(part->position, all->position + 4 * i);
            assert_memory_equal(part->indices, all->indices + 4 * i, 4 * sizeof *part->indices);
        }
    }
    clq_loader_destroy(whole);
    for (int i = 0; i < 3; i++) {
        clq_loader_destroy(shards[i]);
    }
}

static void it_stops_at_any_time(void **state) {
    (void)state;
    for (int i = 0; i < 40; i++) {
        clq_loader *loader = create((clq_loader_options){
            .batch = 1 + i, .threads = 1 + i % 4, .prefetch = 1 + i % 5, .epochs = i % 3});
        for (int k = 0; k < i % 4; k++) {
            const clq_batch *batch = NULL;
            assert_ok(clq_loader_next(loader, &batch));
        }
        clq_loader_destroy(loader);
    }
    clq_loader_destroy(NULL);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    const clq_loader_options bad[] = {
        {.batch = 0},
        {.batch = -1},
        {.batch = 8, .threads = 1000},
        {.batch = 8, .prefetch = -1},
        {.batch = 54, .drop_last = true},
        {.batch = 8, .start = {.epoch = 0, .batch = 7}},
        {.batch = 8, .start = {.epoch = -1}},
        {.batch = 8, .shards = 2},
        {.batch = 8, .shards = 2, .shard = 2, .drop_last = true},
        {.batch = 30, .shards = 2, .drop_last = true},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        clq_loader *loader = NULL;
        assert_status(clq_loader_create(dataset, &bad[i], &loader), CLQ_USAGE);
        assert_null(loader);
    }
}

/* An image that cannot be read fails its own batch, no earlier one and again and again. */
static void a_bad_image_fails_its_batch(void **state) {
    (void)state;
    clq_test_temp_dir();
    for (int i = 0; i < 12; i++) {
        char name[64];
        snprintf(name, sizeof name, "train/a/%02d.png", i);
        test_put_image(clq_test_temp_path(name), 4, 4, 3);
    }
    test_file_write(clq_test_temp_path("train/a/07.png"), "bad", 3);
    test_file_write(clq_test_temp_path("train/a/08.png"), "bad", 3);
    clq_dataset *images = NULL;
    const clq_dataset_options options = {.max_memory = 1};
    char *root = clq_path_folder(clq_test_temp_path("train"));
    assert_ok(clq_dataset_open(root, &options, &images));
    clq_free(root);
    for (int threads = 1; threads <= 4; threads++) {
        clq_loader *loader = NULL;
        const clq_batch *batch = NULL;
        const clq_loader_options lo = {.batch = 3, .threads = threads};
        assert_ok(clq_loader_create(images, &lo, &loader));
        assert_ok(clq_loader_next(loader, &batch));
        assert_ok(clq_loader_next(loader, &batch));
        for (int i = 0; i < 3; i++) {
            assert_status(clq_loader_next(loader, &batch), CLQ_BAD_DATA);
            assert_error_has("train/a/07.png");
            assert_null(batch);
            assert_int_equal(clq_loader_get_position(loader).batch, 2);
        }
        clq_loader_destroy(loader);
    }
    clq_dataset_close(images);
    clq_test_remove_temp_dir();
}

static void out_of_memory_leaves_nothing(void **state) {
    (void)state;
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; n < 100 && status != CLQ_OK; n++) {
        clq_loader *loader = NULL;
        const clq_loader_options options = {.batch = 4, .shuffle = true, .threads = 1};
        clq_test_fail_allocation(n);
        status = clq_loader_create(dataset, &options, &loader);
        const bool created = loader != NULL;
        clq_loader_destroy(loader);
        const long live = clq_test_live_allocations();
        clq_test_restore_allocator();
        assert_int_equal(live, 0);
        assert_true(status == CLQ_NO_MEMORY || (status == CLQ_OK && created));
    }
    assert_int_equal(status, CLQ_OK);
}

/* ---- the parallel loop ---- */

typedef struct marks {
    int done[1000];
    int64_t failing[2];
} marks;

static clq_status mark(void *context, int64_t index) {
    marks *m = context;
    m->done[index]++;
    if (index == m->failing[0] || index == m->failing[1]) {
        return clq_fail(CLQ_IO, "index %lld", (long long)index);
    }
    return CLQ_OK;
}

static void a_parallel_loop_does_all_or_fails_at_the_first(void **state) {
    (void)state;
    for (int threads = 1; threads <= 8; threads++) {
        marks m = {.failing = {-1, -1}};
        assert_ok(clq_parallel_for(threads, 1000, mark, &m, NULL));
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(m.done[i], 1);
        }
        m = (marks){.failing = {777, 321 + threads}};
        assert_status(clq_parallel_for(threads, 1000, mark, &m, NULL), CLQ_IO);
        char text[32];
        snprintf(text, sizeof text, "index %d", 321 + threads);
        assert_string_equal(clq_last_error(), text);
        assert_ok(clq_parallel_for(threads, 0, mark, &m, NULL));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_shuffle_images_come_in_order),
        cmocka_unit_test(an_epoch_has_every_image_once),
        cmocka_unit_test(threads_and_prefetch_do_not_change_batches),
        cmocka_unit_test(a_loader_goes_on_from_any_position),
        cmocka_unit_test(drop_last_leaves_out_what_is_left),
        cmocka_unit_test(shards_make_up_the_whole_batch),
        cmocka_unit_test(it_stops_at_any_time),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(a_bad_image_fails_its_batch),
        cmocka_unit_test(out_of_memory_leaves_nothing),
        cmocka_unit_test(a_parallel_loop_does_all_or_fails_at_the_first),
    };
    return cmocka_run_group_tests_name("data/loader", tests, open_dataset, close_dataset);
}

/* Feeding with all augmentation on: the same bits whatever the loader threads, after a seek and
 * after a resumed training; sizes and labels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/image_files.h"
#include "train/small_training.h"

enum { SIZE = 9, CLASSES = 12, FEED_BATCH = 40, STEPS = 6 /* of 4 an epoch */ };

static const size_t x_bytes = (size_t)FEED_BATCH * SIZE * SIZE * 3 * sizeof(float);
static const size_t target_bytes = (size_t)FEED_BATCH * CLASSES * sizeof(float);

static clq_augment_config everything(void) {
    return (clq_augment_config){
        .crop_padding = 2,
        .flip = true,
        .rotation = 20,
        .translate = 0.1,
        .scale = {0.9, 1.1},
        .resized_crop = {.scale = {0.3, 1}, .ratio = {0.75, 1.33}},
        .brightness = 0.3,
        .contrast = 0.3,
        .saturation = 0.3,
        .hue = 0.1,
        .erase = {.probability = 0.6, .scale = {0.02, 0.4}, .ratio = {0.3, 3.3}},
        .mixup = {.alpha = 0.4, .probability = 0.4},
        .cutmix = {.alpha = 1, .probability = 0.4}};
}

static clq_feed_options options_with(int threads) {
    return (clq_feed_options){
        .batch = FEED_BATCH,
        .training = true,
        .seed = 4,
        .threads = threads,
        .normalization = {.mean = {0.5f, 0.5f, 0.5f}, .std = {0.25f, 0.25f, 0.25f}},
        .height = SIZE,
        .width = SIZE,
        .classes = CLASSES,
        .augment = everything()};
}

/* x, then the targets, of a mixed batch, of batches first .. STEPS - 1; returns how many were
 * mixed. */
static int feed_steps(int threads, int first, uint64_t hashes[STEPS]) {
    const clq_feed_options options = options_with(threads);
    clq_feed *feed = NULL;
    clq_buffer *x = NULL;
    float *data = malloc(x_bytes + target_bytes);
    int mixed = 0;
    assert_non_null(data);
    assert_ok(clq_feed_create(device, train_set, &options, &feed));
    assert_ok(clq_buffer_create(device, x_bytes, &x));
    if (first) {
        assert_ok(clq_feed_seek(feed, first / 4, first % 4));
    }
    for (int i = first; i < STEPS; i++) {
        clq_feed_batch batch;
        assert_ok(clq_feed_next(feed, x, &batch));
        assert_int_equal(batch.count, FEED_BATCH);
        assert_ok(clq_buffer_read(x, 0, x_bytes, data));
        hashes[i] = clq_hash64(data, x_bytes);
        if (batch.targets) {
            assert_ok(clq_buffer_read(batch.targets, 0, target_bytes, data));
            hashes[i] = clq_hash64_seeded(data, target_bytes, hashes[i]);
            for (int n = 0; n < FEED_BATCH; n++) {
                double sum = 0;
                for (int k = 0; k < CLASSES; k++) {
                    sum += (double)data[n * CLASSES + k];
                }
                assert_true(fabs(sum - 1) < 1e-6);
                assert_true(data[n * CLASSES + batch.labels[n]] > 0);
            }
            mixed++;
        }
    }
    clq_buffer_release(x);
    clq_feed_destroy(feed);
    free(data);
    return mixed;
}

static void threads_and_seeking_change_no_bit(void **state) {
    (void)state;
    uint64_t expected[STEPS], hashes[STEPS];
    const int mixed = feed_steps(1, 0, expected);
    assert_true(mixed > 0 && mixed < STEPS);
    for (int threads = 2; threads <= 4; threads *= 2) {
        assert_int_equal(feed_steps(threads, 0, hashes), mixed);
        assert_memory_equal(hashes, expected, sizeof expected);
    }
    feed_steps(2, 5, hashes);
    assert_true(hashes[5] == expected[5]);
    feed_steps(1, 2, hashes);
    assert_memory_equal(hashes + 2, expected + 2, 4 * sizeof *hashes);
}

static void evaluation_is_not_augmented(void **state) {
    (void)state;
    clq_feed_options options = options_with(1), plain = options_with(1);
    float *data[2];
    options.training = plain.training = false;
    plain.augment = (clq_augment_config){0};
    for (int i = 0; i < 2; i++) {
        clq_feed *feed = NULL;
        clq_buffer *x = NULL;
        clq_feed_batch batch;
        data[i] = malloc(x_bytes);
        assert_non_null(data[i]);
        assert_ok(clq_feed_create(device, test_set, i ? &plain : &options, &feed));
        assert_ok(clq_buffer_create(device, x_bytes, &x));
        assert_ok(clq_feed_next(feed, x, &batch));
        assert_null(batch.targets);
        assert_ok(clq_buffer_read(x, 0, x_bytes, data[i]));
        clq_buffer_release(x);
        clq_feed_destroy(feed);
    }
    assert_memory_equal(data[0], data[1], x_bytes);
    free(data[0]);
    free(data[1]);
}

static void too_few_classes_are_refused(void **state) {
    (void)state;
    clq_feed_options options = options_with(1);
    clq_feed *feed = NULL;
    options.classes = 9;
    assert_status(clq_feed_create(device, train_set, &options, &feed), CLQ_USAGE);
    assert_error_has("has 10 classes");
    assert_null(feed);
}

/* They are fed, say that they have no labels, and neither train nor count as right. */
static void images_without_labels_are_fed(void **state) {
    (void)state;
    clq_feed_options options = {
        .batch = 2, .normalization = {.std = {1, 1, 1}}, .height = SIZE, .width = SIZE};
    clq_dataset *dataset = NULL;
    clq_graph *graph = build("mlp", SIZE, CLASSES, 5);
    clq_exec *exec = NULL;
    clq_feed *feed = NULL;
    clq_feed_batch batch;
    clq_evaluation evaluation;
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "flat/%d.png", i);
        test_put_image(clq_test_temp_path(name), SIZE, SIZE, 3);
    }
    assert_ok(clq_dataset_open(clq_test_temp_path("flat"), NULL, &dataset));
    assert_ok(clq_exec_create(device, graph, &(clq_exec_options){.batch = 2}, &exec));
    assert_ok(clq_feed_create(device, dataset, &options, &feed));
    assert_ok(clq_feed_next(feed, clq_exec_input(exec)->buffer, &batch));
    assert_int_equal(batch.count, 2);
    assert_null(batch.labels);
    assert_non_null(batch.device_labels);
    assert_status(clq_evaluate(exec, feed, NULL, &evaluation, NULL), CLQ_BAD_DATA);
    assert_error_has("no labels");
    clq_feed_destroy(feed);
    options.training = true;
    assert_status(clq_feed_create(device, dataset, &options, &feed), CLQ_BAD_DATA);
    assert_error_has("flat: its images have no labels");
    clq_exec_destroy(exec);
    clq_graph_destroy(graph);
    clq_dataset_close(dataset);
}

/* Images of 12 x 12 on a network for 9 x 9 with more classes than the data. */
static void a_resumed_training_has_the_same_bits(void **state) {
    (void)state;
    uint64_t hashes[2];
    for (int resumed = 0; resumed < 2; resumed++) {
        clq_graph *graph = build("mlp", SIZE, CLASSES, 5);
        clq_train_job job = job_of(graph, clq_test_temp_path(resumed ? "parts" : "whole"));
        job.config.augment = everything();
        job.config.checkpoint_steps = 5;
        if (resumed) {
            job.stop_after_steps = 7;
            assert_ok(run(&job, NULL));
            clq_graph_destroy(graph);
            job.graph = graph = build("mlp", SIZE, CLASSES, 5);
            job.stop_after_steps = 0;
            job.resume = true;
        }
        assert_ok(run(&job, NULL));
        hashes[resumed] = hash_of(graph);
        clq_graph_destroy(graph);
    }
    assert_true(hashes[0] == hashes[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_seeking_change_no_bit),
        cmocka_unit_test(evaluation_is_not_augmented),
        cmocka_unit_test(too_few_classes_are_refused),
        cmocka_unit_test(images_without_labels_are_fed),
        cmocka_unit_test(a_resumed_training_has_the_same_bits),
    };
    return cmocka_run_group_tests_name("train/feed", tests, open_all, close_all);
}

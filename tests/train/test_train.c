/* The training loop: it learns, repeats and resumes to the bit, finds divergence, survives damage.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/formats.h>
#include <clquant/models.h>
#include <clquant/train.h>

#include "base/files.h"
#include "base/hash.h"
#include "support/clq_test.h"

static clq_device *device;
static clq_dataset *train_set, *test_set;

enum { EPOCHS = 3, BATCH = 16, STEPS_PER_EPOCH = 192 / BATCH };

static clq_graph *new_graph(void) {
    const int hidden[] = {32};
    const clq_network_options options = {.network = "mlp",
                                         .size = 12,
                                         .channels = 3,
                                         .classes = 10,
                                         .hidden = hidden,
                                         .hidden_count = 1,
                                         .seed = 5};
    clq_graph *graph = NULL;
    assert_ok(clq_network_build(&options, &graph));
    return graph;
}

static clq_train_job job_of(clq_graph *graph, const char *out) {
    clq_train_job job = {.device = device,
                         .graph = graph,
                         .train = train_set,
                         .test = test_set,
                         .mode = CLQ_EXEC_TRAIN,
                         .out = out,
                         .phase = "train"};
    clq_train_config_init(&job.config);
    job.config.epochs = EPOCHS;
    job.config.batch = BATCH;
    job.config.schedule.lr = 0.02;
    job.config.augment.crop_padding = 1;
    for (int c = 0; c < 3; c++) {
        job.mean[c] = 0.5f;
        job.std[c] = 0.25f;
    }
    return job;
}

static clq_status run(clq_train_job *job, clq_epoch_record *last) {
    clq_epoch_record *history = NULL;
    int count = 0;
    const clq_status status = clq_train(job, &history, &count);
    if (status == CLQ_OK && last && count) {
        *last = history[count - 1];
    }
    clq_free(history);
    return status;
}

/* Over all parameters and states. */
static uint64_t hash_of(const clq_graph *graph) {
    uint64_t hash = 0;
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        if (value->data) {
            hash = clq_hash64_seeded(value->data,
                                     (size_t)clq_shape_count(&value->shape) * sizeof(float), hash);
        }
    }
    return hash;
}

/* The bytes of the newest checkpoint in `folder`. */
static uint64_t checkpoint_hash(const char *folder) {
    char **names = NULL;
    size_t count = 0, size = 0;
    void *data = NULL;
    uint64_t hash = 0;
    assert_ok(clq_folder_list(folder, &names, &count));
    for (size_t i = count; i-- > 0 && !data;) {
        if (strstr(names[i], "checkpoint")) {
            char *path = clq_path_join(folder, names[i]);
            assert_ok(clq_file_read(path, 1 << 26, &data, &size));
            hash = clq_hash64(data, size);
            clq_free(path);
        }
    }
    assert_non_null(data);
    clq_free(data);
    clq_folder_list_free(names, count);
    return hash;
}

static uint64_t reference_hash, reference_checkpoint;

static void it_learns(void **state) {
    (void)state;
    clq_epoch_record last = {0};
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, clq_test_temp_path("whole"));
    assert_ok(run(&job, &last));
    assert_int_equal(last.epoch, EPOCHS);
    assert_true(last.train_loss < 2.3); /* ln 10 = 2.303: a network that knows nothing */
    assert_true(isfinite(last.test_loss));
    reference_hash = hash_of(graph);
    reference_checkpoint = checkpoint_hash(clq_test_temp_path("whole"));
    clq_graph_destroy(graph);
}

static void same_seed_same_bits_whatever_the_threads(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads *= 2) {
        clq_graph *graph = new_graph();
        clq_train_job job = job_of(graph, NULL);
        job.config.loader_threads = threads;
        assert_ok(run(&job, NULL));
        assert_true(hash_of(graph) == reference_hash);
        clq_graph_destroy(graph);
    }
}

/* Stops as if killed after `steps`, with a checkpoint every 5 steps, then resumes. */
static void stopped_and_resumed(int steps) {
    char folder[512];
    snprintf(folder, sizeof folder, "%s-%d", clq_test_temp_path("stopped"), steps);
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, folder);
    job.config.checkpoint_steps = 5;
    job.stop_after_steps = steps;
    assert_ok(run(&job, NULL));
    clq_graph_destroy(graph);

    graph = new_graph();
    job = job_of(graph, folder);
    job.config.checkpoint_steps = 5;
    job.resume = true;
    assert_ok(run(&job, NULL));
    assert_true(hash_of(graph) == reference_hash);
    assert_true(checkpoint_hash(folder) == reference_checkpoint);
    clq_graph_destroy(graph);
}

static void resuming_gives_the_same_bits(void **state) {
    (void)state;
    static const int steps[] = {
        1, 5, 7, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 1, 2 * STEPS_PER_EPOCH + 9};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        stopped_and_resumed(steps[i]);
    }
}

static void another_configuration_does_not_resume(void **state) {
    (void)state;
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, clq_test_temp_path("whole"));
    job.resume = true;
    job.config.schedule.lr = 0.03;
    assert_status(run(&job, NULL), CLQ_USAGE);
    assert_error_has("another network, data set or configuration");
    clq_graph_destroy(graph);
}

/* The newest checkpoint is damaged: training goes on from the one before. */
static void a_damaged_checkpoint_is_passed_over(void **state) {
    (void)state;
    const char *folder = clq_test_temp_path("damaged");
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, folder);
    job.config.checkpoint_steps = 5;
    job.stop_after_steps = 11;
    assert_ok(run(&job, NULL));
    clq_graph_destroy(graph);

    char path[512];
    void *data = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/train-checkpoint-000000010.safetensors", folder);
    assert_ok(clq_file_read(path, 1 << 26, &data, &size));
    ((uint8_t *)data)[size - 100] ^= 1;
    assert_ok(clq_file_write_atomic(path, data, size));
    clq_free(data);

    graph = new_graph();
    job = job_of(graph, folder);
    job.config.checkpoint_steps = 5;
    job.resume = true;
    assert_ok(run(&job, NULL));
    assert_true(hash_of(graph) == reference_hash);
    clq_graph_destroy(graph);
}

static void only_the_newest_two_checkpoints_stay(void **state) {
    (void)state;
    char **names = NULL;
    size_t count = 0;
    int checkpoints = 0;
    assert_ok(clq_folder_list(clq_test_temp_path("whole"), &names, &count));
    for (size_t i = 0; i < count; i++) {
        checkpoints += strstr(names[i], "checkpoint") != NULL;
    }
    clq_folder_list_free(names, count);
    assert_int_equal(checkpoints, 2);
}

static void divergence_is_status_3(void **state) {
    (void)state;
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, NULL);
    job.config.schedule.lr = 1000;
    job.config.schedule.kind = CLQ_LR_CONSTANT;
    assert_status(run(&job, NULL), CLQ_DIVERGED);
    assert_error_has("diverged in step ");
    clq_graph_destroy(graph);
}

static void adam_learns_too(void **state) {
    (void)state;
    clq_epoch_record last = {0};
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, NULL);
    job.config.optimizer.kind = CLQ_OPTIMIZER_ADAM;
    job.config.schedule.lr = 0.002;
    assert_ok(run(&job, &last));
    assert_true(last.train_loss < 2.3);
    clq_graph_destroy(graph);
}

static void history_is_written(void **state) {
    (void)state;
    char path[512];
    void *data = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/history.csv", clq_test_temp_path("whole"));
    assert_ok(clq_file_read(path, 1 << 20, &data, &size));
    int lines = 0;
    for (size_t i = 0; i < size; i++) {
        lines += ((char *)data)[i] == '\n';
    }
    assert_int_equal(lines, EPOCHS + 1);
    assert_int_equal(
        strncmp(data, "epoch,lr,train_loss,train_top1,test_loss,test_top1,skipped_steps,", 65), 0);
    clq_free(data);
}

/* A full disk or a broken one: an error, never a crash, and an old checkpoint stays good. */
static void failing_files_lose_nothing(void **state) {
    (void)state;
    for (long nth = 1; nth < 40; nth += 3) {
        char folder[512];
        snprintf(folder, sizeof folder, "%s-%ld", clq_test_temp_path("failing"), nth);
        clq_graph *graph = new_graph();
        clq_train_job job = job_of(graph, folder);
        job.test = NULL;
        job.config.checkpoint_steps = 4;
        clq_test_fail_file_op(nth, ENOSPC);
        const clq_status failed = run(&job, NULL);
        clq_test_restore_file_ops();
        clq_graph_destroy(graph);
        if (failed == CLQ_OK) {
            continue;
        }
        graph = new_graph();
        job = job_of(graph, folder);
        job.config.checkpoint_steps = 4;
        job.resume = true;
        assert_ok(run(&job, NULL));
        assert_true(hash_of(graph) == reference_hash);
        clq_graph_destroy(graph);
    }
}

static int open_all(void **state) {
    clq_dataset_options options = {.split = CLQ_SPLIT_TRAIN};
    assert_ok(clq_device_open(NULL, &device));
    assert_ok(clq_dataset_open("synthetic:train=192,test=48,size=12", &options, &train_set));
    options.split = CLQ_SPLIT_TEST;
    assert_ok(clq_dataset_open("synthetic:train=192,test=48,size=12", &options, &test_set));
    return clq_test_setup_temp_dir(state);
}

static int close_all(void **state) {
    clq_dataset_close(train_set);
    clq_dataset_close(test_set);
    clq_device_close(device);
    return clq_test_teardown_temp_dir(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_learns),
        cmocka_unit_test(same_seed_same_bits_whatever_the_threads),
        cmocka_unit_test(resuming_gives_the_same_bits),
        cmocka_unit_test(another_configuration_does_not_resume),
        cmocka_unit_test(a_damaged_checkpoint_is_passed_over),
        cmocka_unit_test(only_the_newest_two_checkpoints_stay),
        cmocka_unit_test(divergence_is_status_3),
        cmocka_unit_test(adam_learns_too),
        cmocka_unit_test(history_is_written),
        cmocka_unit_test(failing_files_lose_nothing),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

/* The training loop: it learns, repeats and resumes to the bit, finds divergence, survives damage.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/formats.h>

#include "base/files.h"
#include "base/json.h"
#include "train/small_training.h"

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
    graph = build("mlp", 12, 10, 6); /* in place of 5: the same network from other weights */
    job = job_of(graph, clq_test_temp_path("whole"));
    job.resume = true;
    assert_status(run(&job, NULL), CLQ_USAGE);
    assert_error_has("began with other parameters");
    clq_graph_destroy(graph);
}

/* Nor one whose images were prepared otherwise. */
static void another_preprocessing_does_not_resume(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        clq_graph *graph = new_graph();
        clq_train_job job = job_of(graph, clq_test_temp_path("whole"));
        job.resume = true;
        job.normalization.mean[2] += i == 0 ? 0.01f : 0;
        job.normalization.range = i == 1 ? 255 : 1;
        job.normalization.bgr = i == 2;
        if (i == 3) {
            assert_ok(clq_graph_set_metadata(graph, "clquant.interpolation", "nearest"));
        }
        assert_status(run(&job, NULL), CLQ_USAGE);
        assert_error_has("another network, data set or configuration");
        clq_graph_destroy(graph);
    }
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

static char warning[512];

static void keep_warning(void *context, clq_log_level level, const char *line) {
    (void)context;
    if (level == CLQ_LOG_WARN) {
        snprintf(warning, sizeof warning, "%s", line);
    }
}

/* The schedule of a longer training would end at its highest rate, without a word. */
static void a_warm_up_of_the_whole_training_is_told(void **state) {
    (void)state;
    for (int epochs = 1; epochs <= 2; epochs++) {
        clq_graph *graph = new_graph();
        clq_train_job job = job_of(graph, NULL);
        job.config.epochs = 1;
        job.config.schedule.warmup_epochs = epochs == 1 ? 0.5 : epochs;
        warning[0] = '\0';
        clq_set_log(keep_warning, NULL, CLQ_LOG_INFO);
        assert_ok(run(&job, NULL));
        clq_set_log(NULL, NULL, CLQ_LOG_WARN);
        assert_string_equal(warning,
                            epochs == 1
                                ? ""
                                : "train: the learning rate still rises at the end, as its warm-up "
                                  "takes 2 epochs and the training 1; set "
                                  "train.schedule.warmup_epochs");
        clq_graph_destroy(graph);
    }
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

/* ---- the log file ---- */

/* The lines of a log file as an array. */
static json_t *read_log(const char *path) {
    void *data = NULL;
    size_t size = 0;
    json_t *lines = json_array();
    assert_ok(clq_file_read(path, 1 << 20, &data, &size));
    for (char *line = strtok(data, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *json = NULL;
        assert_ok(clq_json_parse(path, line, strlen(line), &json));
        json_array_append_new(lines, json);
    }
    clq_free(data);
    return lines;
}

static const char *text_of(const json_t *line, const char *key) {
    return json_string_value(json_object_get(line, key));
}

static double number_of(const json_t *line, const char *key) {
    assert_true(json_is_number(json_object_get(line, key)));
    return json_number_value(json_object_get(line, key));
}

static int count_events(const json_t *lines, const char *event) {
    int count = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        count += strcmp(text_of(json_array_get(lines, i), "event"), event) == 0;
    }
    return count;
}

/* Stopped after 7 steps with a checkpoint after 5, and resumed. */
static void the_log_tells_what_happens(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", clq_test_temp_path("logged/log.jsonl"));
    for (int resumed = 0; resumed < 2; resumed++) {
        clq_graph *graph = new_graph();
        clq_train_job job = job_of(graph, clq_test_temp_path("logged"));
        job.log_file = path;
        job.recipe_json = "{\"name\":\"small\"}";
        job.config.log_steps = 1;
        job.config.checkpoint_steps = 5;
        job.resume = true;
        job.stop_after_steps = resumed ? 0 : 7;
        assert_ok(run(&job, NULL));
        assert_true(!resumed || hash_of(graph) == reference_hash);
        clq_graph_destroy(graph);
    }
    json_t *lines = read_log(path);
    json_t *first = json_array_get(lines, 0), *step = json_array_get(lines, 1);
    assert_string_equal(text_of(first, "event"), "start");
    assert_string_equal(text_of(first, "network"), "mlp");
    assert_string_equal(text_of(json_object_get(first, "recipe"), "name"), "small");
    assert_non_null(text_of(first, "device"));
    assert_string_equal(text_of(step, "event"), "step");
    assert_string_equal(text_of(step, "phase"), "train");
    assert_true(number_of(step, "loss") > 0);
    assert_true(number_of(step, "images_per_second") > 0);
    assert_int_equal(count_events(lines, "start"), 2);
    assert_int_equal(count_events(lines, "resume"), 1);
    assert_int_equal(count_events(lines, "step"), 7 + EPOCHS * STEPS_PER_EPOCH - 5);
    assert_int_equal(count_events(lines, "epoch"), EPOCHS);
    assert_int_equal(count_events(lines, "end"), 2);
    assert_true(number_of(json_array_get(lines, json_array_size(lines) - 1), "step") ==
                EPOCHS * STEPS_PER_EPOCH);
    json_decref(lines);
}

static void the_log_tells_of_failure(void **state) {
    (void)state;
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, NULL);
    job.log_file = clq_test_temp_path("diverged.jsonl");
    job.config.schedule.lr = 1000;
    job.config.schedule.kind = CLQ_LR_CONSTANT;
    assert_status(run(&job, NULL), CLQ_DIVERGED);
    assert_error_has("diverged in step");
    json_t *lines = read_log(clq_test_temp_path("diverged.jsonl"));
    json_t *last = json_array_get(lines, json_array_size(lines) - 1);
    assert_string_equal(text_of(last, "event"), "error");
    assert_true(number_of(last, "exit_code") == CLQ_DIVERGED);
    assert_non_null(strstr(text_of(last, "message"), "diverged in step"));
    json_decref(lines);
    clq_graph_destroy(graph);
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
        job.test = NULL;
        job.config.checkpoint_steps = 4;
        job.resume = true;
        assert_ok(run(&job, NULL));
        assert_true(hash_of(graph) == reference_hash);
        clq_graph_destroy(graph);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_learns),
        cmocka_unit_test(same_seed_same_bits_whatever_the_threads),
        cmocka_unit_test(resuming_gives_the_same_bits),
        cmocka_unit_test(another_configuration_does_not_resume),
        cmocka_unit_test(another_preprocessing_does_not_resume),
        cmocka_unit_test(a_damaged_checkpoint_is_passed_over),
        cmocka_unit_test(only_the_newest_two_checkpoints_stay),
        cmocka_unit_test(divergence_is_status_3),
        cmocka_unit_test(a_warm_up_of_the_whole_training_is_told),
        cmocka_unit_test(adam_learns_too),
        cmocka_unit_test(history_is_written),
        cmocka_unit_test(the_log_tells_what_happens),
        cmocka_unit_test(the_log_tells_of_failure),
        cmocka_unit_test(failing_files_lose_nothing),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

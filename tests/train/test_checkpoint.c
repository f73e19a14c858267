/* Checkpoints: all of one is restored or nothing; other versions of the format are refused, damaged
 * files passed over; a folder with an earlier training is not taken over without being told to. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/files.h"
#include "train/checkpoint.h"
#include "train/folder.h"
#include "train/small_training.h"

enum { STOP = 11 }; /* with a checkpoint every 5 steps */

static const char *const files[] = {"train-checkpoint-000000005.safetensors",
                                    "train-checkpoint-000000010.safetensors"};

/* A training in the folder, stopped behind two checkpoints. */
static void stopped_training(const char *folder) {
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, folder);
    job.config.checkpoint_steps = 5;
    job.recipe_json = "{\"epochs\": 3}";
    job.stop_after_steps = STOP;
    assert_ok(run(&job, NULL));
    clq_graph_destroy(graph);
}

static clq_status resumed_training(const char *folder) {
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, folder);
    job.config.checkpoint_steps = 5;
    job.recipe_json = "{\"epochs\": 3}";
    job.resume = true;
    job.stop_after_steps = STOP;
    const clq_status status = run(&job, NULL);
    clq_graph_destroy(graph);
    return status;
}

static char *path_of(const char *folder, const char *name) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static uint64_t file_hash(const char *path) {
    void *data = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(path, 1 << 26, &data, &size));
    const uint64_t hash = clq_hash64(data, size);
    clq_free(data);
    return hash;
}

static void damage(const char *path) {
    void *data = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(path, 1 << 26, &data, &size));
    ((uint8_t *)data)[size - 100] ^= 1;
    assert_ok(clq_file_write_atomic(path, data, size));
    clq_free(data);
}

/* Writes the file again as version 1 had it, with another version; NULL: with none, as the first
 * clquants did. */
static void set_version(const char *path, const char *version) {
    static const char *const keys[] = {"clquant.state", "clquant.config"};
    uint64_t sum = 0;
    char text[32];
    clq_tensors *old = NULL, *new = NULL;
    assert_ok(clq_tensors_load(path, &old));
    assert_ok(clq_tensors_create(&new));
    for (int i = 0; i < clq_tensors_count(old); i++) {
        const clq_file_tensor *t = clq_tensors_at(old, i);
        assert_ok(clq_tensors_add(new, t->name, t->dtype, t->rank, t->dim, t->data));
        sum += clq_hash64_seeded(t->data, t->size, clq_hash64(t->name, strlen(t->name)));
    }
    const char *json = clq_tensors_get_metadata(old, "clquant.state");
    snprintf(text, sizeof text, "%016" PRIx64, clq_hash64_seeded(json, strlen(json), sum));
    assert_ok(clq_tensors_set_metadata(new, "clquant.checksum", text));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_ok(clq_tensors_set_metadata(new, keys[i], clq_tensors_get_metadata(old, keys[i])));
    }
    if (version) {
        assert_ok(clq_tensors_set_metadata(new, "clquant.checkpoint_version", version));
    }
    assert_ok(clq_tensors_save(new, path));
    clq_tensors_destroy(old);
    clq_tensors_destroy(new);
}

static void files_without_a_version_load(void **state) {
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("first"));
    stopped_training(folder);
    set_version(path_of(folder, files[1]), NULL);
    const uint64_t before = file_hash(path_of(folder, files[1]));
    assert_ok(resumed_training(folder)); /* would write it again after a start from before it */
    assert_true(file_hash(path_of(folder, files[1])) == before);
    damage(path_of(folder, files[1]));
    assert_ok(resumed_training(folder));
    assert_true(file_hash(path_of(folder, files[1])) != before);
    stopped_training(clq_test_temp_path("again"));
    assert_true(file_hash(path_of(folder, files[1])) ==
                file_hash(path_of(clq_test_temp_path("again"), files[1])));
}

/* No bit of what describes a checkpoint makes it another training's: the older one is taken. */
static void flipped_metadata_is_damage(void **state) {
    (void)state;
    static const char *const keys[] = {"clquant.checkpoint_version",
                                       "clquant.state",
                                       "clquant.config",
                                       "clquant.data",
                                       "clquant.start",
                                       "clquant.recipe"};
    char folder[512];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("flipped"));
    stopped_training(folder);
    const uint64_t before = file_hash(path_of(folder, files[1]));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char *data = NULL;
        size_t size = 0;
        assert_ok(clq_file_read(path_of(folder, files[1]), 1 << 26, (void **)&data, &size));
        char *found = strstr(data + 8, keys[i]); /* behind the header's length */
        assert_non_null(found);
        char *value = strchr(found + strlen(keys[i]) + 1, ':') + 2;
        value += strcspn(value, "0123456789");
        *value ^= 1; /* a digit stays one */
        assert_ok(clq_file_write_atomic(path_of(folder, files[1]), data, size));
        clq_free(data);
        assert_ok(resumed_training(folder)); /* and writes the newer one again */
        assert_true(file_hash(path_of(folder, files[1])) == before);
    }
}

static clq_status resumed_on(const char *folder, clq_split changed) {
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, folder);
    const clq_dataset_options options = {.split = changed};
    clq_dataset *other = NULL;
    assert_ok(clq_dataset_open("synthetic:train=192,test=48,size=12,noise=0.4", &options, &other));
    job.config.checkpoint_steps = 5;
    job.recipe_json = "{\"epochs\": 3}";
    job.resume = true;
    job.stop_after_steps = STOP;
    *(changed == CLQ_SPLIT_TEST ? &job.test : &job.train) = other;
    const clq_status status = run(&job, NULL);
    clq_dataset_close(other);
    clq_graph_destroy(graph);
    return status;
}

/* As many images of the same size are not the same data. */
static void other_data_is_noticed(void **state) {
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("other"));
    stopped_training(folder);
    assert_status(resumed_on(folder, CLQ_SPLIT_TRAIN), CLQ_USAGE);
    assert_error_has("on other data");
    assert_status(resumed_on(folder, CLQ_SPLIT_TEST), CLQ_USAGE);
    assert_error_has("on other data");
    assert_ok(resumed_training(folder));
}

/* Nothing is removed unless all can be, and nothing is waited for. */
static void names_that_are_no_files(void **state) {
    (void)state;
    static const char other[] = "train-checkpoint-000000011.safetensors";
    char folder[512];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("no-file"));
    stopped_training(folder);
    for (int fifo = 0; fifo < 2; fifo++) {
        assert_int_equal(
            fifo ? mkfifo(path_of(folder, other), 0600) : mkdir(path_of(folder, other), 0700), 0);
        assert_status(clq_train_folder_clear(folder, "train"), CLQ_CANNOT_CREATE);
        assert_error_has(other);
        assert_true(clq_file_exists(path_of(folder, files[0])));
        assert_true(clq_file_exists(path_of(folder, files[1])));
        assert_int_equal(remove(path_of(folder, other)), 0);
    }
    assert_int_equal(remove(path_of(folder, files[1])), 0);
    assert_int_equal(mkfifo(path_of(folder, files[1]), 0600), 0);
    assert_status(resumed_training(folder), CLQ_CANNOT_CREATE); /* of the next save */
}

/* Not passed over for an older file: whoever wrote it was further. */
static void other_versions_are_refused(void **state) {
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("newer"));
    stopped_training(folder);
    set_version(path_of(folder, files[1]), "3");
    const uint64_t before = file_hash(path_of(folder, files[1]));
    assert_status(resumed_training(folder), CLQ_BAD_DATA);
    assert_error_has(files[1]);
    assert_error_has("version 3");
    assert_error_has("versions 1 to 2");
    assert_true(file_hash(path_of(folder, files[1])) == before);
    assert_true(clq_file_exists(path_of(folder, files[0])));
}

/* Starting anew in silence would lose both at the next save. */
static void all_damaged_is_an_error(void **state) {
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("damaged"));
    stopped_training(folder);
    damage(path_of(folder, files[0]));
    damage(path_of(folder, files[1]));
    const uint64_t before[] = {file_hash(path_of(folder, files[0])),
                               file_hash(path_of(folder, files[1]))};
    assert_status(resumed_training(folder), CLQ_BAD_DATA);
    assert_error_has("no checkpoint is good");
    assert_error_has(files[0]);
    assert_true(file_hash(path_of(folder, files[0])) == before[0]);
    assert_true(file_hash(path_of(folder, files[1])) == before[1]);
}

static clq_status accept(void *context, const char *path, const json_t *state) {
    (void)path;
    (void)state;
    return context ? clq_fail(CLQ_BAD_DATA, "not this state") : CLQ_OK;
}

/* Whatever is missing or wrong, even at the end, neither network nor buffers change. */
static void all_or_nothing(void **state) {
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("whole"));
    float ones[4] = {1, 1, 1, 1}, twos[4] = {2, 2, 2, 2}, now[4];
    clq_graph *graph = new_graph();
    clq_params *params = NULL;
    clq_buffer *a = NULL, *b = NULL;
    json_t *saved = json_object(), *got = NULL;
    assert_ok(clq_make_dirs(folder));
    assert_ok(clq_params_create(device, graph, true, &params));
    assert_ok(clq_buffer_create(device, sizeof ones, &a));
    assert_ok(clq_buffer_create(device, sizeof ones, &b));
    assert_ok(clq_buffer_write(a, 0, sizeof ones, ones));
    const clq_checkpoint_buffer buffers[] = {{"a", a}, {"b", b}};
    clq_checkpoint checkpoint = {.folder = folder,
                                 .phase = "train",
                                 .graph = graph,
                                 .params = params,
                                 .buffers = buffers,
                                 .buffer_count = 1};
    assert_ok(clq_checkpoint_save(&checkpoint, 1, saved));
    assert_ok(clq_buffer_write(a, 0, sizeof twos, twos));
    float *weight = NULL;
    for (int v = 0; v < graph->value_count && !weight; v++) {
        weight = graph->values[v].kind == CLQ_VALUE_PARAMETER ? graph->values[v].data : NULL;
    }
    float old = *weight;
    *weight = 7;

    checkpoint.buffer_count = 2; /* the file lacks "b" */
    assert_status(clq_checkpoint_load(&checkpoint, accept, NULL, &got), CLQ_BAD_DATA);
    assert_error_has("\"b\" is missing");
    assert_null(got);
    checkpoint.buffer_count = 1;
    assert_status(clq_checkpoint_load(&checkpoint, accept, &old, &got), CLQ_BAD_DATA);
    assert_error_has("not this state");
    assert_true(*weight == 7);
    assert_ok(clq_buffer_read(a, 0, sizeof now, now));
    assert_memory_equal(now, twos, sizeof now);

    assert_ok(clq_checkpoint_load(&checkpoint, accept, NULL, &got));
    assert_true(json_is_object(got));
    assert_true(*weight == old);
    assert_ok(clq_buffer_read(a, 0, sizeof now, now));
    assert_memory_equal(now, ones, sizeof now);
    json_decref(got);
    json_decref(saved);
    clq_buffer_release(a);
    clq_buffer_release(b);
    clq_params_destroy(params);
    clq_graph_destroy(graph);
}

/* ---- the folder of an earlier training ---- */

static clq_status train_into(const char *folder, bool overwrite, const char *frozen) {
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, folder);
    job.config.epochs = 1;
    job.overwrite = overwrite;
    if (frozen) {
        job.config.freeze[0] = frozen;
        job.config.freeze_count = 1;
    }
    const clq_status status = run(&job, NULL);
    clq_graph_destroy(graph);
    return status;
}

static void an_earlier_training_stays(void **state) {
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("used"));
    stopped_training(folder);
    assert_ok(clq_file_write_atomic(path_of(folder, "notes.txt"), "mine", 4));
    assert_status(train_into(folder, false, NULL), CLQ_CANNOT_CREATE);
    assert_error_has("2 checkpoints");
    assert_status(train_into(folder, true, "no such layer"), CLQ_USAGE); /* a start that fails */
    assert_true(clq_file_exists(path_of(folder, files[0])));
    assert_true(clq_file_exists(path_of(folder, files[1])));
    assert_ok(train_into(folder, true, NULL));
    assert_false(clq_file_exists(path_of(folder, files[0])));
    assert_false(clq_file_exists(path_of(folder, files[1])));
    assert_true(clq_file_exists(path_of(folder, "train-checkpoint-000000012.safetensors")));
    assert_true(clq_file_exists(path_of(folder, "notes.txt")));
}

static void killed_writers_leave_nothing_for_long(void **state) {
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("killed"));
    stopped_training(folder);
    const char *left = path_of(folder, ".train-checkpoint-000000007.safetensors.1234567-3.tmp");
    assert_ok(clq_file_write_atomic(left, "x", 1));
    assert_ok(resumed_training(folder));
    assert_false(
        clq_file_exists(path_of(folder, ".train-checkpoint-000000007.safetensors.1234567-3.tmp")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_without_a_version_load),
        cmocka_unit_test(other_versions_are_refused),
        cmocka_unit_test(flipped_metadata_is_damage),
        cmocka_unit_test(other_data_is_noticed),
        cmocka_unit_test(names_that_are_no_files),
        cmocka_unit_test(all_damaged_is_an_error),
        cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(an_earlier_training_stays),
        cmocka_unit_test(killed_writers_leave_nothing_for_long),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

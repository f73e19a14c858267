/* A program with a decimal comma reads and writes the same bytes as one without. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include <clquant/formats.h>
#include <clquant/models.h>
#include <clquant/train.h>

#include "base/files.h"
#include "support/device.h"

#define SMOOTH CLQ_SOURCE_DIR "/tests/data/tables/smooth.csv"

static clq_dataset *open_table(clq_split split) {
    const clq_dataset_options options = {.split = split};
    clq_dataset *dataset = NULL;
    assert_ok(clq_dataset_open(SMOOTH, &options, &dataset));
    return dataset;
}

/* Reads the table, trains an epoch with history and checkpoint in `out`, and writes the model,
 * reads it and writes it again. */
static void work(const char *out) {
    const int hidden[] = {5};
    clq_device *device = NULL;
    clq_graph *graph = NULL;
    clq_epoch_record *history = NULL;
    int epochs = 0;
    char *model = clq_path_join(out, "model.onnx"), *again = clq_path_join(out, "again.onnx");
    clq_dataset *train = open_table(CLQ_SPLIT_TRAIN), *test = open_table(CLQ_SPLIT_TEST);
    assert_ok(clq_test_open(NULL, &device));
    assert_ok(clq_network_build(&(clq_network_options){.network = "mlp",
                                                       .inputs = 3,
                                                       .classes = 1,
                                                       .hidden = hidden,
                                                       .hidden_count = 1,
                                                       .activation = "tanh",
                                                       .seed = 3},
                                &graph));
    assert_ok(clq_graph_measure_table(graph, clq_dataset_table(train)));
    assert_ok(clq_graph_normalize_table(graph, clq_dataset_table(train)));
    assert_ok(clq_graph_normalize_table(graph, clq_dataset_table(test)));
    clq_train_job job = {.device = device,
                         .graph = graph,
                         .train = train,
                         .test = test,
                         .mode = CLQ_EXEC_TRAIN,
                         .out = out,
                         .phase = "train"};
    clq_train_config_init(&job.config);
    job.config.epochs = 1;
    job.config.batch = 50;
    job.config.loss = CLQ_LOSS_MSE;
    assert_ok(clq_train(&job, &history, &epochs));
    assert_ok(clq_onnx_save(graph, model));
    clq_graph_destroy(graph);
    graph = NULL;
    assert_ok(clq_onnx_load(model, &graph));
    assert_non_null(strstr(clq_graph_get_metadata(graph, "clquant.mean"), "."));
    assert_ok(clq_graph_normalize_table(graph, clq_dataset_table(test))); /* reads the numbers */
    assert_ok(clq_onnx_save(graph, again));
    clq_free(history);
    clq_free(model);
    clq_free(again);
    clq_graph_destroy(graph);
    clq_dataset_close(train);
    clq_dataset_close(test);
    clq_device_close(device);
}

static void assert_same_file(const char *folder, const char *other, const char *name) {
    char *path = clq_path_join(folder, name), *other_path = clq_path_join(other, name);
    void *a = NULL, *b = NULL;
    size_t a_size = 0, b_size = 0;
    assert_ok(clq_file_read(path, 1 << 20, &a, &a_size));
    assert_ok(clq_file_read(other_path, 1 << 20, &b, &b_size));
    if (strcmp(name, "history.csv") == 0) { /* its last columns are times */
        const char *row = strchr(a, '\n'), *times = row;
        for (int column = 0; column < 7; column++) {
            times = strchr(times + 1, ',');
        }
        assert_memory_equal(a, b, (size_t)(times - (const char *)a));
    } else {
        assert_int_equal(a_size, b_size);
        assert_memory_equal(a, b, a_size);
    }
    clq_free(a);
    clq_free(b);
    clq_free(path);
    clq_free(other_path);
}

static void files_are_the_same(void **state) {
    (void)state;
    static const char *const names[] = {"model.onnx", "again.onnx",
                                        "train-checkpoint-000000008.safetensors", "history.csv"};
    const char *point = clq_test_temp_path("point"), *comma = clq_test_temp_path("comma");
    work(point);
    if (!clq_test_comma_locale()) {
        clq_test_skip("no locale with a decimal comma, nor localedef to make one");
    }
    work(comma);
    setlocale(LC_ALL, "C");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_same_file(point, comma, names[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_are_the_same, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
    };
    return cmocka_run_group_tests_name("train/locale", tests, NULL, NULL);
}

/* Which class of a data set is which output of a network. */
#include <stdio.h>
#include <string.h>

#include <clquant/models.h>
#include <clquant/train.h>

#include "support/clq_test.h"
#include "support/image_files.h"

/* ---- a network, and folders of one image a class ---- */

static clq_graph *network(const char *classes, int outputs) {
    clq_graph *graph = NULL;
    const clq_network_options options = {.network = "mlp", .size = 4, .classes = outputs};
    assert_ok(clq_network_build(&options, &graph));
    if (classes) {
        assert_ok(clq_graph_set_metadata(graph, "clquant.classes", classes));
    }
    return graph;
}

static clq_dataset *folders(const char *name, const char *const *classes, int count) {
    clq_dataset *dataset = NULL;
    for (int c = 0; c < count; c++) {
        char file[128];
        snprintf(file, sizeof file, "%s/test/%s/0.png", name, classes[c]);
        test_put_image(clq_test_temp_path(file), 4, 4, 3);
    }
    const clq_dataset_options options = {.split = CLQ_SPLIT_TEST, .height = 4};
    assert_ok(clq_dataset_open(clq_test_temp_path(name), &options, &dataset));
    return dataset;
}

/* ---- what is logged ---- */

static char log_lines[4096];

static void keep(void *context, clq_log_level level, const char *line) {
    (void)context;
    const size_t used = strlen(log_lines);
    snprintf(log_lines + used, sizeof log_lines - used, "%d %s\n", level, line);
}

static void assert_logged(clq_log_level level, const char *text) {
    char start[8];
    snprintf(start, sizeof start, "%d ", level);
    if (strncmp(log_lines, start, strlen(start)) != 0 || !strstr(log_lines, text)) {
        fail_msg("\"%s\" at level %d is not in: %s", text, level, log_lines);
    }
}

/* Labels of the dataset's images after matching; the classes' names are the network's. */
static clq_status match(const char *classes, int outputs, const char *name, const char *const *data,
                        int count, int32_t *labels) {
    clq_graph *graph = network(classes, outputs);
    clq_dataset *dataset = folders(name, data, count);
    log_lines[0] = '\0';
    clq_set_log(keep, NULL, CLQ_LOG_INFO);
    const clq_status status = clq_graph_match_classes(graph, dataset);
    clq_set_log(NULL, NULL, CLQ_LOG_INFO);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    memcpy(labels, info->labels, (size_t)count * sizeof *labels);
    if (status == CLQ_OK) { /* the images are still found and read */
        uint8_t image[4 * 4 * 3];
        assert_ok(clq_dataset_read(dataset, count - 1, image));
        for (int i = 0; i < count; i++) {
            assert_true(labels[i] >= 0 && labels[i] < info->class_count);
        }
    }
    clq_dataset_close(dataset);
    clq_graph_destroy(graph);
    return status;
}

/* ---- by name ---- */

static void names_are_mapped(void **state) {
    (void)state;
    static const char *const data[] = {"cat", "dog", "ship"};
    int32_t labels[3];
    assert_ok(match("plane\nship\ncar\ndog\ncat", 5, "names", data, 3, labels));
    assert_int_equal(labels[0], 4);
    assert_int_equal(labels[1], 3);
    assert_int_equal(labels[2], 1);
    assert_logged(CLQ_LOG_INFO, "3 of the model's 5");
    /* More outputs than names, a line that ends. */
    assert_ok(match("dog\nship\ncat\n", 7, "names", data, 3, labels));
    assert_int_equal(labels[0], 2);
    assert_ok(match("cat\ndog\nship", 3, "names", data, 3, labels));
    assert_int_equal(labels[2], 2);
    assert_string_equal(log_lines, "");
}

static void what_cannot_be_mapped_is_refused(void **state) {
    (void)state;
    static const char *const data[] = {"cat", "dog", "ship"};
    int32_t labels[3];
    assert_status(match("cat\nhorse\nfrog", 3, "names", data, 3, labels), CLQ_BAD_DATA);
    assert_error_has("images of \"dog\", \"ship\"");
    assert_error_has("the model's 3 classes: \"cat\", \"horse\", \"frog\"");
    assert_status(match("cat\ndog\nship\ndog", 4, "names", data, 3, labels), CLQ_BAD_DATA);
    assert_error_has("could be 1 or 3");
    assert_status(match("cat\ndog\nship\ntruck", 3, "names", data, 3, labels), CLQ_BAD_DATA);
    assert_error_has("names 4 classes");
    assert_status(match(NULL, 2, "names", data, 3, labels), CLQ_BAD_DATA);
    assert_error_has("2 outputs");
}

/* Many names are cut short. */
static void long_lists_stay_readable(void **state) {
    (void)state;
    static const char *const data[] = {"zebra"};
    char names[8192] = "";
    int32_t labels[1];
    for (int c = 0; c < 1000; c++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), "%sn%d", c ? "\n" : "", c);
    }
    assert_status(match(names, 1000, "zebra", data, 1, labels), CLQ_BAD_DATA);
    assert_error_has("and 988 more");
}

/* ---- by number ---- */

static void without_names_the_order_counts(void **state) {
    (void)state;
    static const char *const data[] = {"cat", "dog", "ship"};
    int32_t labels[3];
    assert_ok(match(NULL, 10, "names", data, 3, labels));
    assert_int_equal(labels[2], 2);
    assert_logged(CLQ_LOG_WARN, "from \"cat\", output 0, to \"ship\", output 2 of 0..9");
    assert_logged(CLQ_LOG_WARN, "--class-names FILE");
    assert_ok(match("0\n1\n2", 3, "names", data, 3, labels));
    assert_logged(CLQ_LOG_WARN, "does not name its classes");
}

/* Folders that are numbers are those outputs, not the ones in the order of their names. */
static void numbers_are_those_of_outputs(void **state) {
    (void)state;
    static const char *const all[] = {"0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9"};
    static const char *const some[] = {"8", "3", "10"};
    static const char *const twins[] = {"1", "01"};
    static const char *const mixed[] = {"1", "x2"};
    int32_t labels[11];
    assert_ok(match(NULL, 11, "digits", all, 11, labels));
    for (int i = 0; i < 11; i++) {
        assert_int_equal(labels[i], i); /* the images come in the order of the classes */
    }
    assert_string_equal(log_lines, "");
    assert_ok(match(NULL, 11, "three", some, 3, labels));
    assert_int_equal(labels[0], 3);
    assert_int_equal(labels[1], 8);
    assert_int_equal(labels[2], 10);
    assert_logged(CLQ_LOG_WARN, "\"3\" is output 3 of 11");
    assert_status(match(NULL, 10, "three", some, 3, labels), CLQ_BAD_DATA);
    assert_error_has("class \"10\" is a number, and the model's 10 outputs are numbered 0..9");
    assert_status(match("0\n1\n2\n3\n4\n5\n6\n7\n8\n9", 10, "three", some, 3, labels),
                  CLQ_BAD_DATA);
    assert_status(match(NULL, 10, "twins", twins, 2, labels), CLQ_BAD_DATA);
    assert_error_has("are one number");
    assert_ok(match(NULL, 10, "mixed", mixed, 2, labels));
    assert_int_equal(labels[0], 0);
    assert_logged(CLQ_LOG_WARN, "from \"1\", output 0, to \"x2\", output 1 of 0..9");
}

/* What a network learns from numbered folders is named so. */
static void numbered_folders_keep_their_names(void **state) {
    (void)state;
    static const char *const data[] = {"10", "9"};
    clq_graph *graph = network(NULL, 2);
    clq_dataset *dataset = folders("learnt", data, 2);
    assert_ok(clq_graph_set_classes(graph, dataset));
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.classes"), "9\n10");
    assert_ok(clq_graph_match_classes(graph, dataset));
    assert_int_equal(clq_dataset_get_info(dataset)->class_count, 2);
    clq_dataset_close(dataset);
    clq_graph_destroy(graph);
}

static const char *names_file(const char *text) {
    const char *path = clq_test_temp_path("names.txt");
    test_file_write(path, text, strlen(text));
    return path;
}

/* A file gives a network of others its names. */
static void names_are_read_from_a_file(void **state) {
    (void)state;
    clq_graph *graph = network("a\nb\nc", 3);
    assert_ok(clq_graph_load_classes(graph, names_file("\xef\xbb\xbf"
                                                       "cat\r\ngreat dog\r\nship")));
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.classes"), "cat\ngreat dog\nship");
    assert_ok(clq_graph_load_classes(graph, names_file("dog\ncat\nship\n")));
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.classes"), "dog\ncat\nship");
    assert_status(clq_graph_load_classes(graph, names_file("dog\ncat\n")), CLQ_BAD_DATA);
    assert_error_has("names.txt: names 2 classes, a line each, and the network has 3 outputs");
    assert_status(clq_graph_load_classes(graph, names_file("")), CLQ_BAD_DATA);
    assert_status(clq_graph_load_classes(graph, names_file("dog\n \ncat\n")), CLQ_BAD_DATA);
    assert_error_has("names.txt:2: no name");
    assert_status(clq_graph_load_classes(graph, names_file("dog\n\xff\ncat\n")), CLQ_BAD_DATA);
    assert_error_has("UTF-8");
    assert_status(clq_graph_load_classes(graph, clq_test_temp_path("none")), CLQ_NO_INPUT);
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.classes"), "dog\ncat\nship");
    assert_ok(clq_graph_set_metadata(graph, "clquant.target_mean", "0,0,0"));
    assert_status(clq_graph_load_classes(graph, names_file("a\nb\nc\n")), CLQ_USAGE);
    clq_graph_destroy(graph);
}

/* The data has numbers for names, the network words. */
static void numbers_are_the_networks(void **state) {
    (void)state;
    static const char *const data[] = {"0", "1", "10", "2"};
    static const char words[] = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk";
    int32_t labels[4];
    assert_ok(match(words, 11, "some", data, 4, labels));
    assert_int_equal(labels[2], 2);
    assert_int_equal(labels[3], 10);
    assert_logged(CLQ_LOG_WARN, "\"0\" is \"a\"");
    assert_status(match("a\nb\nc", 3, "some", data, 4, labels), CLQ_BAD_DATA);
    assert_error_has("\"10\"");
    /* As names, where the network has them. */
    assert_ok(match("2\n10\n1\n0", 4, "some", data, 4, labels));
    assert_int_equal(labels[0], 3);
    assert_int_equal(labels[3], 1);
}

/* ---- tables ---- */

static void tables_are_mapped_too(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("t.csv");
    static const char text[] = "1,2,dog\n3,4,cat\n5,6,dog\n";
    test_file_write(path, text, sizeof text - 1);
    clq_graph *graph = NULL;
    clq_dataset *dataset = NULL;
    const clq_network_options options = {.network = "mlp", .inputs = 2, .classes = 3};
    const clq_dataset_options all = {.table = {.test_fraction = 0.01}};
    assert_ok(clq_network_build(&options, &graph));
    assert_ok(clq_graph_set_metadata(graph, "clquant.classes", "dog\nship\ncat"));
    assert_ok(clq_dataset_open(path, &all, &dataset));
    assert_ok(clq_graph_match_classes(graph, dataset));
    const clq_table *table = clq_dataset_table(dataset);
    assert_int_equal(table->class_count, 3);
    assert_string_equal(table->class_names[1], "ship");
    assert_int_equal(table->labels[0], 0);
    assert_int_equal(table->labels[1], 2);
    assert_ptr_equal(table->labels, clq_dataset_get_info(dataset)->labels);
    clq_dataset_close(dataset);
    clq_graph_destroy(graph);
}

static void running_out_of_memory_is_told(void **state) {
    (void)state;
    static const char *const data[] = {"cat", "dog", "ship"};
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; n < 200 && status != CLQ_OK; n++) {
        clq_graph *graph = network("plane\nship\ncar\ndog\ncat", 5);
        clq_dataset *dataset = folders("names", data, 3);
        clq_test_fail_allocation(n);
        status = clq_graph_match_classes(graph, dataset);
        clq_test_restore_allocator();
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
        clq_dataset_close(dataset);
        clq_graph_destroy(graph);
    }
    assert_int_equal(status, CLQ_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_mapped),
        cmocka_unit_test(what_cannot_be_mapped_is_refused),
        cmocka_unit_test(long_lists_stay_readable),
        cmocka_unit_test(without_names_the_order_counts),
        cmocka_unit_test(numbers_are_those_of_outputs),
        cmocka_unit_test(numbered_folders_keep_their_names),
        cmocka_unit_test(names_are_read_from_a_file),
        cmocka_unit_test(numbers_are_the_networks),
        cmocka_unit_test(tables_are_mapped_too),
        cmocka_unit_test(running_out_of_memory_is_told),
    };
    return cmocka_run_group_tests_name("train/classes", tests, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir);
}

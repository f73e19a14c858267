/* Lists of labelled images: whole and broken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/files.h"
#include "support/clq_test.h"
#include "support/image_files.h"

#include <clquant/data.h>

static const char *const words[] = {"cat", "great white shark", "7"};

/* images/a.png, images/b.jpg, images/c d.png and images/sub/e.png, of different sizes. */
static const char *images(void) {
    test_put_image(clq_test_temp_path("images/a.png"), 12, 10, 3);
    test_put_image(clq_test_temp_path("images/b.jpg"), 9, 20, 3);
    test_put_image(clq_test_temp_path("images/c d.png"), 8, 8, 1);
    test_put_image(clq_test_temp_path("images/sub/e.png"), 31, 8, 3);
    return clq_test_temp_path("images");
}

static clq_status open_list(const void *text, size_t size, clq_label_list list,
                            clq_dataset **dataset) {
    const char *folder = images();
    list.file = clq_test_temp_path("list.txt");
    test_file_write(list.file, text, size);
    const clq_dataset_options options = {.height = 8, .list = list, .threads = 1};
    *dataset = NULL;
    return clq_dataset_open(folder, &options, dataset);
}

static void assert_refused(const char *text, clq_label_list list, clq_status status,
                           const char *error) {
    clq_dataset *dataset;
    assert_status(open_list(text, strlen(text), list, &dataset), status);
    assert_error_has(error);
    assert_null(dataset);
}

static void lines_are_images_and_labels(void **state) {
    (void)state;
    static const char text[] = "\xef\xbb\xbf# image label\r\n"
                               "\r\n"
                               "a.png 2\r\n"
                               "  ./sub/e.png\t \tgreat white shark \r\n"
                               "c d.png\t7\n"
                               "b.jpg cat";
    static const int32_t labels[] = {2, 1, 2, 0};
    clq_dataset *dataset;
    assert_ok(open_list(text, sizeof text - 1, (clq_label_list){NULL, words, 3}, &dataset));
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    assert_string_equal(info->kind, "list");
    assert_int_equal(info->count, 4);
    assert_int_equal(info->class_count, 3);
    assert_string_equal(info->class_names[1], "great white shark");
    assert_memory_equal(info->labels, labels, sizeof labels);
    clq_dataset_close(dataset);
}

/* Every image is what the same file is in a folder by class. */
static void images_are_read_as_in_folders(void **state) {
    (void)state;
    test_put_image(clq_test_temp_path("by/train/x/a.png"), 12, 10, 3);
    clq_dataset *list, *folder = NULL;
    const clq_dataset_options options = {.height = 8};
    uint8_t one[8 * 8 * 3], other[8 * 8 * 3];
    assert_ok(open_list("a.png 0", 7, (clq_label_list){0}, &list));
    assert_ok(clq_dataset_open(clq_test_temp_path("by"), &options, &folder));
    assert_ok(clq_dataset_read(list, 0, one));
    assert_ok(clq_dataset_read(folder, 0, other));
    assert_memory_equal(one, other, sizeof one);
    assert_int_equal(clq_dataset_get_info(list)->class_count, 1);
    clq_dataset_close(list);
    clq_dataset_close(folder);
}

static void mistakes_name_file_and_line(void **state) {
    (void)state;
    const clq_label_list three = {NULL, words, 3}, ten = {.class_count = 10}, open = {0};
    assert_refused("a.png 0\nz.png 1\n", three, CLQ_NO_INPUT, "list.txt:2: there is no image ");
    assert_refused("a.png 0\nsub 1\n", three, CLQ_NO_INPUT, "list.txt:2");
    assert_refused("a.png 0\n\na.png 1\n", three, CLQ_BAD_DATA, "stands in line 1 already");
    static const char *const again[] = {"./", ".//", "././", ".///./"};
    for (size_t i = 0; i < 4; i++) {
        char text[64];
        snprintf(text, sizeof text, "a.png 0\n%sa.png 1\n", again[i]);
        assert_refused(text, three, CLQ_BAD_DATA, "list.txt:2: \"a.png\" stands in line 1");
        snprintf(text, sizeof text, "sub/e.png 0\n./sub/%se.png 1\n", again[i]);
        assert_refused(text, three, CLQ_BAD_DATA, "list.txt:2: \"sub/e.png\" stands in line 1");
    }
    assert_refused("sub/e.png 0\nsub//e.png 1\n", three, CLQ_BAD_DATA, "stands in line 1");
    assert_refused("a.png/ 0\na.png 1\n", three, CLQ_BAD_DATA, "stands in line 1");
    assert_refused(". 0\n", three, CLQ_NO_INPUT, "list.txt:1: there is no image ");
    assert_refused(".//../a.png 0\n", three, CLQ_BAD_DATA, "does not lie below");
    assert_refused("a.png 3\n", three, CLQ_BAD_DATA, "list.txt:1: the label 3 is not in 0..2");
    assert_refused("a.png -1\n", three, CLQ_BAD_DATA, "not in 0..2");
    assert_refused("a.png 10\n", ten, CLQ_BAD_DATA, "not in 0..9");
    assert_refused("a.png 100000\n", open, CLQ_BAD_DATA, "not in 0..99999");
    assert_refused("a.png 99999999999999999999999\n", open, CLQ_BAD_DATA, "list.txt:1");
    assert_refused("a.png 1.5\n", ten, CLQ_BAD_DATA, "\"1.5\" is not a number");
    assert_refused("a.png dog\n", three, CLQ_BAD_DATA, "\"dog\" is not a number and not a class");
    assert_refused("c d.png 2\n", three, CLQ_BAD_DATA, "a tab ends an image's name");
    static const char *const twice[] = {"crane", "heron", "crane"};
    assert_refused("a.png crane\n", (clq_label_list){NULL, twice, 3}, CLQ_BAD_DATA,
                   "several classes called \"crane\"");
    assert_refused("a.png\n", three, CLQ_BAD_DATA, "must be IMAGE LABEL");
    assert_refused("a.png \n", three, CLQ_BAD_DATA, "must be IMAGE LABEL");
    assert_refused("../images/a.png 0\n", three, CLQ_BAD_DATA, "does not lie below");
    assert_refused("sub/../a.png 0\n", three, CLQ_BAD_DATA, "does not lie below");
    assert_refused("sub/.. 0\n", three, CLQ_BAD_DATA, "does not lie below");
    assert_refused("/etc/passwd 0\n", three, CLQ_BAD_DATA, "does not lie below");
    assert_refused("", three, CLQ_BAD_DATA, "names no image");
    assert_refused("# nothing\n\n", three, CLQ_BAD_DATA, "names no image");
}

static void bytes_that_are_no_text_are_refused(void **state) {
    (void)state;
    clq_dataset *dataset;
    char *line = malloc(10000);
    assert_non_null(line);
    memset(line, 'a', 10000);
    assert_status(open_list(line, 10000, (clq_label_list){0}, &dataset), CLQ_BAD_DATA);
    assert_error_has("list.txt:1: not a line of text");
    memset(line, '#', 1000);
    memcpy(line + 1000, "\nb.jpg\0 1\n", 11);
    assert_status(open_list(line, 1011, (clq_label_list){0}, &dataset), CLQ_BAD_DATA);
    assert_error_has("list.txt:2: not a line of text");
    free(line);
    assert_status(open_list("a.png 0\nb.jpg\0 1\n", 17, (clq_label_list){0}, &dataset),
                  CLQ_BAD_DATA);
    assert_error_has("list.txt: must be a list, IMAGE LABEL a line, is a binary file");
    /* What is listed must still be an image. */
    test_file_write(clq_test_temp_path("images/no.png"), "text", 4);
    assert_status(open_list("no.png 0", 8, (clq_label_list){0}, &dataset), CLQ_BAD_DATA);
    assert_error_has("no.png: neither a JPEG nor a PNG");
}

/* Nothing that waits or never ends is read. */
static void only_files_are_read(void **state) {
    (void)state;
    const char *folder = images();
    clq_dataset *dataset = NULL;
    clq_dataset_options options = {.height = 8, .list = {.file = clq_test_temp_path("pipe")}};
    assert_int_equal(mkfifo(options.list.file, 0600), 0);
    assert_status(clq_dataset_open(folder, &options, &dataset), CLQ_BAD_DATA);
    options.list.file = "/dev/zero";
    assert_status(clq_dataset_open(folder, &options, &dataset), CLQ_BAD_DATA);
    options.list.file = folder;
    assert_status(clq_dataset_open(folder, &options, &dataset), CLQ_BAD_DATA);
    options.list.file = clq_test_temp_path("missing.txt");
    assert_status(clq_dataset_open(folder, &options, &dataset), CLQ_NO_INPUT);
    options.list.file = clq_test_temp_path("images/a.png");
    assert_status(clq_dataset_open(options.list.file, &options, &dataset), CLQ_BAD_DATA);
    assert_error_has("must be the folder");
    const clq_dataset_options fifo = {.height = 8,
                                      .list = {.file = clq_test_temp_path("fifo.txt")}};
    assert_int_equal(mkfifo(clq_test_temp_path("images/fifo.png"), 0600), 0);
    test_file_write(fifo.list.file, "fifo.png 0", 10);
    assert_status(clq_dataset_open(folder, &fifo, &dataset), CLQ_BAD_DATA);
    assert_null(dataset);
}

static void running_out_of_memory_is_told(void **state) {
    (void)state;
    const char *folder = images();
    const clq_dataset_options options = {
        .height = 8, .list = {clq_test_temp_path("list.txt"), words, 3}, .max_memory = 1};
    test_file_write(options.list.file, "a.png 0\nb.jpg cat\n", 18);
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; n < 200 && status != CLQ_OK; n++) {
        clq_dataset *dataset = NULL;
        clq_test_fail_allocation(n);
        status = clq_dataset_open(folder, &options, &dataset);
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
        clq_dataset_close(dataset);
        assert_int_equal(clq_test_live_allocations(), 0);
    }
    clq_test_restore_allocator();
    assert_int_equal(status, CLQ_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_images_and_labels),
        cmocka_unit_test(images_are_read_as_in_folders),
        cmocka_unit_test(mistakes_name_file_and_line),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
        cmocka_unit_test(only_files_are_read),
        cmocka_unit_test(running_out_of_memory_is_told),
    };
    return cmocka_run_group_tests_name("data/list", tests, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir);
}

/* Files: limits, interruption, folders, paths. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_case.h"

/* ---- reading ---- */

static void reads_and_terminates(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.txt");
    put(path, "hello");
    assert_content(path, "hello");
    put(path, "");
    assert_content(path, "");
}

static void the_limit_holds_exactly(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.txt");
    void *data = NULL;
    size_t size = 0;
    put(path, "hello");
    assert_ok(clq_file_read(path, 5, &data, &size));
    assert_int_equal(size, 5);
    clq_free(data);
    data = NULL;
    assert_status(clq_file_read(path, 4, &data, &size), CLQ_BAD_DATA);
    assert_error_has("a.txt");
    assert_error_has("limit of 4");
    assert_null(data);
}

/* Nothing is waited for, and nothing without an end is read. */
static void only_regular_files_are_read(void **state) {
    (void)state;
    void *data = NULL;
    size_t size = 0;
    const char *pipe = clq_test_temp_path("pipe");
    assert_status(clq_file_read("/dev/zero", 100000, &data, &size), CLQ_BAD_DATA);
    assert_error_has("/dev/zero: is a device");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_status(clq_file_read(pipe, 100000, &data, &size), CLQ_BAD_DATA); /* nobody writes */
    assert_error_has("is a pipe");
    assert_null(data);
    assert_ok(clq_file_read("/proc/self/status", 1 << 20, &data, &size)); /* its size reads 0 */
    assert_int_equal(strlen(data), size);
    assert_true(size > 100);
    clq_free(data);
}

/* As `clquant info <(cat model.onnx)` gives it. */
static void a_pipe_given_by_number_is_read(void **state) {
    (void)state;
    char path[32], text[20000];
    int ends[2];
    void *data = NULL;
    size_t size = 0;
    memset(text, 'x', sizeof text);
    for (size_t limit = 30000; limit > 10000; limit -= 15000) {
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], text, sizeof text), sizeof text);
        close(ends[1]);
        snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
        if (limit > sizeof text) {
            assert_ok(clq_file_read(path, limit, &data, &size));
            assert_int_equal(size, sizeof text);
            assert_memory_equal(data, text, sizeof text);
            clq_free(data);
        } else {
            assert_status(clq_file_read(path, limit, &data, &size), CLQ_BAD_DATA);
            assert_error_has("more than the limit of 15000");
        }
        close(ends[0]);
    }
}

typedef struct looked {
    int calls;
    size_t head_size;
    uint64_t size;
    bool refuse;
} looked;

static clq_status look(void *context, const char *path, const void *head, size_t head_size,
                       uint64_t size) {
    looked *l = context;
    l->calls++;
    l->head_size = head_size;
    l->size = size;
    assert_true(l->refuse || memcmp(head, "head", head_size < 4 ? head_size : 4) == 0);
    return l->refuse ? clq_fail(CLQ_BAD_DATA, "%s: refused", path) : CLQ_OK;
}

/* A format sees the first bytes and the size before the rest is read. */
static void the_head_is_looked_at_first(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.bin");
    const long sizes[] = {0, 4, CLQ_FILE_HEAD - 1, CLQ_FILE_HEAD, CLQ_FILE_HEAD + 1, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        looked l = {0};
        void *data = NULL;
        size_t size = 0;
        put(path, sizes[i] ? "head" : "");
        assert_int_equal(truncate(path, sizes[i]), 0);
        assert_ok(clq_file_read_checked(path, 1 << 20, look, &l, &data, &size));
        assert_int_equal(l.calls, 1);
        assert_int_equal(l.head_size, sizes[i] < CLQ_FILE_HEAD ? sizes[i] : CLQ_FILE_HEAD);
        assert_int_equal(l.size, sizes[i]);
        assert_int_equal(size, sizes[i]);
        assert_int_equal(((char *)data)[size], 0);
        clq_free(data);
    }
    looked refusing = {.refuse = true};
    void *data = NULL;
    size_t size = 0;
    clq_test_put_zeros(path, 3000000000);
    clq_test_fail_file_op(0, 0);
    assert_status(clq_file_read_checked(path, SIZE_MAX, look, &refusing, &data, &size),
                  CLQ_BAD_DATA);
    assert_int_equal(clq_test_file_ops(), 3); /* open, read, close */
    assert_int_equal(clq_test_open_files(), 0);
    clq_test_restore_file_ops();
    assert_int_equal(refusing.size, 3000000000);
}

static void reading_names_what_is_wrong(void **state) {
    (void)state;
    void *data = NULL;
    size_t size = 0;
    assert_status(clq_file_read(clq_test_temp_path("no.bin"), 10, &data, &size), CLQ_NO_INPUT);
    assert_error_has("no.bin");
    assert_error_has("No such file");
    assert_status(clq_file_read(clq_test_temp_path(""), 10, &data, &size), CLQ_BAD_DATA);
    assert_error_has("is a folder");
    put(clq_test_temp_path("file"), "x");
    assert_status(clq_file_read(clq_test_temp_path("file/x"), 10, &data, &size), CLQ_NO_INPUT);
}

static void reading_survives_every_failure(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.txt");
    put(path, "content");
    for (long n = 1; n <= 3; n++) {
        void *data = NULL;
        size_t size = 0;
        clq_test_fail_file_op(n, EIO);
        clq_status status = clq_file_read(path, 100, &data, &size);
        assert_int_equal(status, n <= 3 ? CLQ_IO : CLQ_OK); /* open, read, read at the end */
        assert_null(data);
        assert_int_equal(clq_test_open_files(), 0);
        clq_test_restore_file_ops();
    }
    void *data = NULL;
    size_t size = 0;
    clq_test_fail_allocation(1);
    assert_status(clq_file_read(path, 100, &data, &size), CLQ_NO_MEMORY);
    assert_error_has("a.txt");
    clq_test_restore_allocator();
}

static void interrupted_io_goes_on(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.txt");
    const char *text = "a text of more than three times seven bytes";
    clq_test_interrupt_file_ops();
    assert_ok(clq_file_write_atomic(path, text, strlen(text)));
    assert_content(path, text);
    assert_true(clq_test_file_ops() > 12);
    assert_int_equal(clq_test_open_files(), 0);
    clq_test_restore_file_ops();
    assert_int_equal(clq_test_temp_entries(), 1);
}

/* ---- folders ---- */

static void makes_folders(void **state) {
    (void)state;
    assert_ok(clq_make_dirs(clq_test_temp_path("a/b//c/")));
    assert_true(clq_is_folder(clq_test_temp_path("a/b/c")));
    assert_ok(clq_make_dirs(clq_test_temp_path("a/b")));
    assert_ok(clq_make_dirs("/"));
    put(clq_test_temp_path("file"), "x");
    assert_status(clq_make_dirs(clq_test_temp_path("file")), CLQ_CANNOT_CREATE);
    assert_error_has("a file has that name");
    assert_status(clq_make_dirs(clq_test_temp_path("file/x")), CLQ_CANNOT_CREATE);
    assert_status(clq_make_dirs(""), CLQ_CANNOT_CREATE);
    assert_true(clq_file_exists(clq_test_temp_path("file")));
    assert_false(clq_is_folder(clq_test_temp_path("file")));
    assert_false(clq_file_exists(clq_test_temp_path("none")));
    clq_test_fail_file_op(1, EACCES);
    assert_ok(clq_make_dirs("/tmp")); /* mkdir("/tmp") may fail as it likes: it is there */
}

static void lists_sorted_without_hidden(void **state) {
    (void)state;
    char **names = NULL;
    size_t count = 9;
    assert_ok(clq_folder_list(clq_test_temp_path(""), &names, &count));
    assert_int_equal(count, 0);
    clq_folder_list_free(names, count);
    const char *const made[] = {"b", "a10", "a2", "\xc3\xa4", "B", ".hidden"};
    for (size_t i = 0; i < 6; i++) {
        put(clq_test_temp_path(made[i]), "x");
    }
    assert_ok(clq_make_dirs(clq_test_temp_path("folder")));
    assert_ok(clq_folder_list(clq_test_temp_path(""), &names, &count));
    const char *const expected[] = {"B", "a10", "a2", "b", "folder", "\xc3\xa4"};
    assert_int_equal(count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(names[i], expected[i]);
    }
    clq_folder_list_free(names, count);
    assert_status(clq_folder_list(clq_test_temp_path("none"), &names, &count), CLQ_NO_INPUT);
    assert_error_has("none");
    assert_status(clq_folder_list(clq_test_temp_path("b"), &names, &count), CLQ_NO_INPUT);
}

static void listing_survives_out_of_memory(void **state) {
    (void)state;
    char **names = NULL;
    size_t count = 0;
    put(clq_test_temp_path("a"), "x");
    put(clq_test_temp_path("b"), "x");
    for (long n = 1; n <= 3; n++) {
        clq_test_fail_allocation(n);
        assert_status(clq_folder_list(clq_test_temp_path(""), &names, &count), CLQ_NO_MEMORY);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
    }
}

static void removing(void **state) {
    (void)state;
    put(clq_test_temp_path("a"), "x");
    assert_ok(clq_file_remove(clq_test_temp_path("a")));
    assert_false(clq_file_exists(clq_test_temp_path("a")));
    assert_ok(clq_file_remove(clq_test_temp_path("a")));
    clq_test_fail_file_op(1, EACCES);
    assert_status(clq_file_remove(clq_test_temp_path("a")), CLQ_IO);
}

/* ---- paths ---- */

static void assert_taken(char *actual, const char *expected) {
    assert_string_equal(actual, expected);
    clq_free(actual);
}

static void paths(void **state) {
    (void)state;
    assert_taken(clq_path_join("a", "b"), "a/b");
    assert_taken(clq_path_join("a/", "b"), "a/b");
    assert_taken(clq_path_join("", "b"), "b");
    assert_taken(clq_path_join("a", "/b"), "/b");
    assert_string_equal(clq_path_basename("a/b.onnx"), "b.onnx");
    assert_string_equal(clq_path_basename("b"), "b");
    assert_string_equal(clq_path_basename("a/"), "");
    assert_taken(clq_path_folder("a/b/c"), "a/b");
    assert_taken(clq_path_folder("c"), ".");
    assert_taken(clq_path_folder("/c"), "/");
    assert_taken(clq_path_stem("a.b/model.int8.onnx"), "model.int8");
    assert_taken(clq_path_stem("a.b/model"), "model");
    assert_taken(clq_path_stem(".hidden"), ".hidden");
    assert_true(clq_path_has_extension("a/b.ONNX", ".onnx"));
    assert_false(clq_path_has_extension("a/.onnx", ".onnx"));
    assert_false(clq_path_has_extension("a.onnx/b", ".onnx"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        file_test(reads_and_terminates),
        file_test(the_limit_holds_exactly),
        file_test(only_regular_files_are_read),
        file_test(a_pipe_given_by_number_is_read),
        file_test(the_head_is_looked_at_first),
        file_test(reading_names_what_is_wrong),
        file_test(reading_survives_every_failure),
        file_test(interrupted_io_goes_on),
        file_test(makes_folders),
        file_test(lists_sorted_without_hidden),
        file_test(listing_survives_out_of_memory),
        file_test(removing),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

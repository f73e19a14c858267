/* Files that other files name: which are opened, and that their bytes are the right ones. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/inside.h"
#include "support/clq_test.h"

static const char content[] = "0123456789";
static char folder[4096]; /* has data, sub/data, and links; its parent has secret */

static void put(const char *name) {
    char *path = clq_path_join(folder, name);
    assert_ok(clq_file_write_atomic(path, content, 10));
    clq_free(path);
}

static void make_link(const char *target, const char *name) {
    char *path = clq_path_join(folder, name);
    assert_int_equal(symlink(target, path), 0);
    clq_free(path);
}

static int setup(void **state) {
    clq_test_setup_temp_dir(state);
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("model"));
    char *sub = clq_path_join(folder, "sub");
    assert_ok(clq_make_dirs(sub));
    clq_free(sub);
    put("data");
    put("sub/data");
    put("..data");
    put("../secret");
    make_link("sub/data", "link");
    make_link("sub", "folder");
    make_link("../secret", "out");
    make_link("..", "up");
    make_link(".", "itself");
    make_link("circle", "circle");
    make_link("../model/data", "round");
    return 0;
}

static void check(const char *name, clq_status expected, const char *error) {
    clq_inside_file file;
    char read[4];
    assert_status(clq_inside_open(folder, name, &file), expected);
    if (expected != CLQ_OK) {
        assert_error_has(error);
        return;
    }
    assert_int_equal(file.size, 10);
    assert_ok(clq_inside_read(&file, 3, read, 4));
    assert_memory_equal(read, content + 3, 4);
    assert_ok(clq_inside_read(&file, 10, read, 0));
    assert_status(clq_inside_read(&file, 8, read, 4), CLQ_IO);
    assert_status(clq_inside_read(&file, UINT64_MAX, read, 4), CLQ_IO);
    clq_inside_close(&file);
}

static void names(void **state) {
    (void)state;
    check("data", CLQ_OK, "");
    check("./data", CLQ_OK, "");
    check("sub//data", CLQ_OK, "");
    check("..data", CLQ_OK, "");
    check("", CLQ_BAD_DATA, "has no name");
    check("/etc/passwd", CLQ_BAD_DATA, "absolute");
    check("..", CLQ_BAD_DATA, "\"..\"");
    check("../secret", CLQ_BAD_DATA, "\"..\"");
    check("sub/../data", CLQ_BAD_DATA, "\"..\"");
    check("sub/..", CLQ_BAD_DATA, "\"..\"");
    check("none", CLQ_NO_INPUT, "No such file");
    check("data/x", CLQ_NO_INPUT, "Not a directory");
    char longest[8192];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    check(longest, CLQ_NO_INPUT, "too long");
}

static void links(void **state) {
    (void)state;
    check("link", CLQ_OK, "");
    check("folder/data", CLQ_OK, "");
    check("itself/data", CLQ_OK, "");
    check("round", CLQ_OK, ""); /* leaves, and comes back */
    check("out", CLQ_BAD_DATA, "a symbolic link leads out of the folder");
    check("up/secret", CLQ_BAD_DATA, "a symbolic link leads out of the folder");
    check("circle", CLQ_NO_INPUT, "");
}

/* A folder whose name only begins like the model's is another one. */
static void neighbours(void **state) {
    (void)state;
    char other[4200];
    snprintf(other, sizeof other, "%s2", folder);
    assert_ok(clq_make_dirs(other));
    put("../model2/data");
    make_link("../model2/data", "neighbour");
    check("neighbour", CLQ_BAD_DATA, "leads out of the folder");
}

/* The user's own path may lead through links. */
static void linked_folder(void **state) {
    (void)state;
    clq_inside_file file;
    char *path = clq_path_join(folder, "folder");
    assert_ok(clq_inside_open(path, "data", &file));
    clq_inside_close(&file);
    clq_free(path);
}

static void no_regular_file(void **state) {
    (void)state;
    char *fifo = clq_path_join(folder, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    check("fifo", CLQ_BAD_DATA, "is no regular file");
    check("sub", CLQ_BAD_DATA, "is no regular file");
    check(".", CLQ_BAD_DATA, "is no regular file");
    clq_free(fifo);
}

/* A link that takes the place of a folder or of the file after the name was resolved. */
static const char *swapped;

static int swapping_openat(int at, const char *name, int flags) {
    if (swapped && strcmp(name, swapped) == 0) {
        swapped = NULL;
        char *path = clq_path_join(folder, strcmp(name, "sub") == 0 ? "sub" : "sub/data");
        char *away = clq_path_join(folder, "away");
        assert_int_equal(rename(path, away), 0);
        assert_int_equal(symlink("../secret", path), 0);
        const int fd = clq_file_ops_posix()->openat(at, name, flags);
        const int error = errno;
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rename(away, path), 0);
        clq_free(path);
        clq_free(away);
        errno = error;
        return fd;
    }
    return clq_file_ops_posix()->openat(at, name, flags);
}

static void changed_meanwhile(void **state) {
    (void)state;
    clq_file_ops ops = *clq_file_ops_posix();
    ops.openat = swapping_openat;
    clq_set_file_ops(&ops);
    swapped = "sub";
    check("sub/data", CLQ_NO_INPUT, "cannot open");
    swapped = "data";
    check("sub/data", CLQ_NO_INPUT, "cannot open");
    ops.openat = NULL;
    clq_set_file_ops(&ops);
    check("data", CLQ_NO_INPUT, "openat");
    clq_set_file_ops(NULL);
    check("sub/data", CLQ_OK, "");
}

static void operations_that_fail(void **state) {
    (void)state;
    clq_test_interrupt_file_ops();
    check("sub/data", CLQ_OK, "");
    assert_int_equal(clq_test_open_files(), 0);
    for (int nth = 1;; nth++) {
        clq_inside_file file;
        char read[4];
        clq_test_fail_file_op(nth, EIO);
        clq_status status = clq_inside_open(folder, "sub/data", &file);
        if (status == CLQ_OK) {
            status = clq_inside_read(&file, 0, read, 4);
            clq_inside_close(&file);
        }
        assert_int_equal(clq_test_open_files(), 0);
        if (clq_test_file_ops() < nth) {
            break;
        }
        /* What a close says does not matter to a reader. */
        assert_true(status == CLQ_IO || status == CLQ_OK);
    }
    clq_test_restore_file_ops();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(links),
        cmocka_unit_test(neighbours),
        cmocka_unit_test(linked_folder),
        cmocka_unit_test(no_regular_file),
        cmocka_unit_test(changed_meanwhile),
        cmocka_unit_test(operations_that_fail),
    };
    return cmocka_run_group_tests(tests, setup, clq_test_teardown_temp_dir);
}

/* Writing: atomicity with every operation failing in turn, locks, appending. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file_case.h"

/* ---- the atomic writer ---- */

/* Three sizes: buffered, a full buffer and more, and both mixed. */
static clq_status write_large(const char *path) {
    static char block[70000];
    clq_writer *writer = NULL;
    clq_status status;
    memset(block, 'b', sizeof block);
    CLQ_GOTO(status, cleanup, clq_writer_open(path, &writer));
    CLQ_GOTO(status, cleanup, clq_writer_printf(writer, "head %d\n", 7));
    CLQ_GOTO(status, cleanup, clq_writer_write(writer, block, sizeof block));
    for (int i = 0; i < 100; i++) {
        CLQ_GOTO(status, cleanup, clq_writer_write(writer, block, 999));
    }
    assert_int_equal(clq_writer_size(writer), 7 + 70000 + 99900);
    status = clq_writer_commit(&writer);
cleanup:
    clq_writer_abort(&writer);
    return status;
}

static void writes_all_bytes(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.bin");
    assert_ok(write_large(path));
    void *data = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(path, 1 << 20, &data, &size));
    assert_int_equal(size, 7 + 70000 + 99900);
    assert_memory_equal(data, "head 7\nbbb", 10);
    for (size_t i = 7; i < size; i++) {
        assert_int_equal(((char *)data)[i], 'b');
    }
    clq_free(data);
    assert_int_equal(clq_test_temp_entries(), 1);
}

/* Whatever fails, the old content is there, or the whole new one when only the folder's fsync
 * failed; no hidden file, no open descriptor. */
static void any_failure_leaves_old_or_new(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.bin");
    int failures = 0, replaced = 0;
    for (long n = 1;; n++) {
        put(path, "old");
        clq_test_fail_file_op(n, ENOSPC);
        clq_status status = write_large(path);
        bool reached = clq_test_file_ops() >= n;
        assert_int_equal(clq_test_open_files(), 0);
        clq_test_restore_file_ops();
        assert_int_equal(clq_test_temp_entries(), 1);
        struct stat info;
        assert_int_equal(stat(path, &info), 0);
        assert_true(info.st_size == 3 || info.st_size == 7 + 70000 + 99900);
        if (!reached) {
            assert_int_equal(status, CLQ_OK);
            break;
        }
        if (status != CLQ_OK) {
            assert_int_equal(status, n == 1 ? CLQ_CANNOT_CREATE : CLQ_IO);
            assert_error_has("a.bin");
            assert_error_has("No space left");
            failures++;
            replaced += info.st_size != 3;
        }
    }
    /* open, writes, fsync, close, open folder, rename, fsync folder */
    assert_true(failures >= 8);
    assert_int_equal(replaced, 1);
}

static void out_of_memory_leaves_the_old(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.bin");
    put(path, "old");
    for (long n = 1;; n++) {
        clq_test_fail_allocation(n);
        clq_status status = write_large(path);
        bool reached = clq_test_allocations() >= n;
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
        assert_int_equal(clq_test_temp_entries(), 1);
        if (!reached) {
            assert_int_equal(status, CLQ_OK);
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
        assert_content(path, "old");
    }
}

static void a_failed_write_cannot_be_committed(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.bin");
    clq_writer *writer = NULL;
    static char block[200000];
    put(path, "old");
    assert_ok(clq_writer_open(path, &writer));
    clq_test_fail_file_op(1, ENOSPC);
    assert_status(clq_writer_write(writer, block, sizeof block), CLQ_IO);
    clq_fail(CLQ_USAGE, "something else");
    assert_status(clq_writer_write(writer, "x", 1), CLQ_IO);
    assert_status(clq_writer_commit(&writer), CLQ_IO);
    assert_error_has("No space left"); /* the cause, not a consequence */
    assert_null(writer);
    clq_test_restore_file_ops();
    assert_content(path, "old");
    /* A printf that ran out of memory leaves a hole as well. */
    assert_ok(clq_writer_open(path, &writer));
    clq_test_fail_allocation(1);
    assert_status(clq_writer_printf(writer, "%d", 1), CLQ_NO_MEMORY);
    clq_test_restore_allocator();
    assert_status(clq_writer_commit(&writer), CLQ_NO_MEMORY);
    assert_content(path, "old");
    assert_int_equal(clq_test_temp_entries(), 1);
}

static void abort_leaves_nothing(void **state) {
    (void)state;
    clq_writer *writer = NULL;
    clq_writer_abort(&writer);
    assert_ok(clq_writer_open(clq_test_temp_path("a.bin"), &writer));
    assert_ok(clq_writer_write(writer, "x", 1));
    clq_fail(CLQ_USAGE, "the reason");
    clq_writer_abort(&writer);
    assert_string_equal(clq_last_error(), "the reason");
    assert_null(writer);
    assert_int_equal(clq_test_temp_entries(), 0);
}

/* What a process that is gone left for a path goes when the path is written again, or on demand;
 * what is being written stays, and so does everything else. */
static void what_killed_writers_left_goes(void **state) {
    (void)state;
    static const char *const left[] = {".a.bin.1234567-0.tmp", ".a.bin.1-77.tmp"};
    static const char *const others[] = {".b.bin.1-0.tmp", ".a.bin.tmp",    ".a.bin.1-.tmp",
                                         ".a.bin.-1.tmp",  "a.bin.1-0.tmp", ".a.bin.1-0.tmp.x",
                                         ".1-0.tmp",       ".tmp",          ".x.a.bin.1-0.tmp"};
    const size_t others_count = sizeof others / sizeof *others;
    char path[512];
    snprintf(path, sizeof path, "%s", clq_test_temp_path("a.bin"));
    clq_writer *writer = NULL, *second = NULL;
    for (size_t i = 0; i < others_count; i++) {
        put(clq_test_temp_path(others[i]), "x");
    }
    put(clq_test_temp_path(left[0]), "x");
    put(clq_test_temp_path(left[1]), "x");
    assert_ok(clq_writer_open(path, &writer));
    assert_false(clq_file_exists(clq_test_temp_path(left[0])));
    assert_false(clq_file_exists(clq_test_temp_path(left[1])));
    assert_ok(clq_writer_open(path, &second));
    clq_remove_unfinished(clq_test_temp_path(""), NULL);
    assert_false(clq_file_exists(clq_test_temp_path(others[0])));
    assert_false(clq_file_exists(clq_test_temp_path(".x.a.bin.1-0.tmp")));
    assert_int_equal(clq_test_temp_entries(), others_count - 2 + 2); /* two are being written */
    assert_ok(clq_writer_write(second, "second", 6));
    assert_ok(clq_writer_commit(&second));
    assert_ok(clq_writer_write(writer, "first", 5));
    assert_ok(clq_writer_commit(&writer));
    assert_content(path, "first");
    assert_int_equal(clq_test_temp_entries(), others_count - 2 + 1);
}

/* A process that is killed while it writes: what it leaves is found by its missing lock. */
static void a_killed_writer_holds_no_lock(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.bin");
    clq_writer *writer = NULL;
    int ended;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const bool opened = clq_writer_open(path, &writer) == CLQ_OK;
        _exit(opened ? 0 : 1); /* as if killed */
    }
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_int_equal(ended, 0);
    assert_int_equal(clq_test_temp_entries(), 1);
    clq_remove_unfinished(clq_test_temp_path(""), NULL);
    assert_int_equal(clq_test_temp_entries(), 0);
}

static void abandoned_writers_leave_nothing(void **state) {
    (void)state;
    clq_writer *writers[3] = {NULL};
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.bin", i);
        assert_ok(clq_writer_open(clq_test_temp_path(name), &writers[i]));
    }
    clq_writer_abort(&writers[1]);
    assert_int_equal(clq_test_temp_entries(), 2);
    clq_writers_abandon();
    assert_int_equal(clq_test_temp_entries(), 0);
    clq_writer_abort(&writers[0]);
    clq_writer_abort(&writers[2]);
}

static void asking_whether_one_can_write(void **state) {
    (void)state;
    put(clq_test_temp_path("old"), "old");
    assert_ok(clq_file_check_writable(clq_test_temp_path("old")));
    assert_content(clq_test_temp_path("old"), "old");
    assert_ok(clq_file_check_writable(clq_test_temp_path("new")));
    assert_int_equal(clq_test_temp_entries(), 1);
    assert_int_equal(mkfifo(clq_test_temp_path("pipe"), 0600), 0);
    clq_appender *appender;
    assert_status(clq_file_check_writable(clq_test_temp_path("pipe")), CLQ_CANNOT_CREATE);
    assert_error_has("pipe: cannot create: is a pipe"); /* and nobody waits */
    assert_status(clq_appender_open(clq_test_temp_path("pipe"), &appender), CLQ_CANNOT_CREATE);
    assert_ok(clq_file_check_writable("/dev/null"));
    assert_status(clq_file_check_writable(clq_test_temp_path("")), CLQ_CANNOT_CREATE);
    assert_status(clq_file_check_writable(clq_test_temp_path("no/file")), CLQ_CANNOT_CREATE);
    assert_error_has("no/file");
}

/* ---- locks ---- */

static void one_at_a_time_holds_a_lock(void **state) {
    (void)state;
    const char *path = clq_test_temp_path(".lock");
    clq_lock *lock = NULL, *second = NULL;
    assert_ok(clq_lock_take(path, false, &lock));
    assert_status(clq_lock_take(path, false, &second), CLQ_CANNOT_CREATE);
    assert_error_has("another process holds this lock");
    assert_null(second);
    clq_lock_release(&lock);
    clq_lock_release(&lock);
    assert_int_equal(clq_test_temp_entries(), 0);
    put(path, ""); /* as a killed process leaves it */
    assert_ok(clq_lock_take(path, false, &lock));
    clq_lock_release(&lock);
    assert_int_equal(clq_test_temp_entries(), 0);
    assert_status(clq_lock_take(clq_test_temp_path("no/lock"), true, &lock), CLQ_CANNOT_CREATE);
    clq_test_fail_file_op(1, ENOSPC);
    assert_status(clq_lock_take(path, true, &lock), CLQ_CANNOT_CREATE);
    clq_test_restore_file_ops();
    for (long n = 1; n <= 2; n++) {
        clq_test_fail_allocation(n);
        assert_status(clq_lock_take(path, true, &lock), CLQ_NO_MEMORY);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
    }
}

/* Processes that each add one to a number in a file, often: none is lost. */
static void locked_changes_are_not_lost(void **state) {
    (void)state;
    enum { PROCESSES = 4, TIMES = 50 };
    char path[512], lock_path[512];
    snprintf(path, sizeof path, "%s", clq_test_temp_path("number"));
    snprintf(lock_path, sizeof lock_path, "%s", clq_test_temp_path(".number.lock"));
    put(path, "0");
    fflush(NULL);
    for (int p = 0; p < PROCESSES; p++) {
        if (fork() == 0) {
            for (int i = 0; i < TIMES; i++) {
                clq_lock *lock = NULL;
                void *text = NULL;
                size_t size;
                char next[16];
                if (clq_lock_take(lock_path, true, &lock) != CLQ_OK ||
                    clq_file_read(path, 100, &text, &size) != CLQ_OK) {
                    _exit(1);
                }
                snprintf(next, sizeof next, "%d", atoi(text) + 1);
                FILE *file = fopen(path, "w");
                if (!file || fputs(next, file) < 0 || fclose(file) != 0) {
                    _exit(1);
                }
                clq_free(text);
                clq_lock_release(&lock);
            }
            _exit(0);
        }
    }
    for (int p = 0; p < PROCESSES; p++) {
        int ended;
        assert_true(wait(&ended) > 0);
        assert_int_equal(ended, 0);
    }
    assert_content(path, "200");
    assert_int_equal(clq_test_temp_entries(), 1);
}

static void impossible_targets_are_refused(void **state) {
    (void)state;
    clq_writer *writer = NULL;
    assert_status(clq_writer_open(clq_test_temp_path("no/such/a.bin"), &writer), CLQ_CANNOT_CREATE);
    assert_error_has("No such file");
    assert_status(clq_writer_open(clq_test_temp_path(""), &writer), CLQ_CANNOT_CREATE);
    assert_ok(clq_make_dirs(clq_test_temp_path("folder")));
    assert_status(clq_writer_open(clq_test_temp_path("folder"), &writer), CLQ_CANNOT_CREATE);
    assert_error_has("is a folder");
    assert_status(clq_writer_open("", &writer), CLQ_CANNOT_CREATE);
    assert_null(writer);
}

static void devices_are_written_directly(void **state) {
    (void)state;
    struct stat info;
    assert_ok(clq_file_write_atomic("/dev/null", "x", 1));
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
}

static void a_private_file_stays_private(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.bin");
    struct stat info;
    put(path, "old");
    assert_int_equal(chmod(path, 0600), 0);
    assert_ok(clq_file_write_atomic(path, "new", 3));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void a_link_stays_a_link(void **state) {
    (void)state;
    const char *target = clq_test_temp_path("target");
    const char *link = clq_test_temp_path("link");
    struct stat info;
    put(target, "old");
    assert_int_equal(symlink("target", link), 0);
    assert_ok(clq_file_write_atomic(link, "new", 3));
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_content(target, "new");
    assert_int_equal(clq_test_temp_entries(), 2);
}

static void two_writers_do_not_collide(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("a.bin");
    clq_writer *first = NULL, *second = NULL;
    assert_ok(clq_writer_open(path, &first));
    assert_ok(clq_writer_open(path, &second));
    assert_ok(clq_writer_write(first, "first", 5));
    assert_ok(clq_writer_write(second, "second", 6));
    assert_ok(clq_writer_commit(&second));
    assert_content(path, "second");
    assert_ok(clq_writer_commit(&first));
    assert_content(path, "first");
}

/* ---- the appender ---- */

static void appends_lines(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("log.csv");
    clq_appender *appender = NULL;
    assert_ok(clq_appender_close(&appender));
    put(path, "epoch,loss\n");
    assert_ok(clq_appender_open(path, &appender));
    assert_ok(clq_appender_line(appender, "%d,%.1f", 1, 0.5));
    assert_content(path, "epoch,loss\n1,0.5\n"); /* visible at once */
    assert_ok(clq_appender_line(appender, "2,0.25"));
    assert_ok(clq_appender_flush(appender));
    assert_ok(clq_appender_close(&appender));
    assert_content(path, "epoch,loss\n1,0.5\n2,0.25\n");
}

static void appends_behind_a_torn_line(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("log.csv");
    clq_appender *appender = NULL;
    put(path, "epoch,loss\n1,0.");
    assert_ok(clq_appender_open(path, &appender));
    assert_ok(clq_appender_line(appender, "1,0.5"));
    assert_ok(clq_appender_close(&appender));
    assert_content(path, "epoch,loss\n1,0.\n1,0.5\n");
}

static clq_status append_one(const char *path) {
    clq_appender *appender = NULL;
    CLQ_TRY(clq_appender_open(path, &appender));
    clq_status status = clq_appender_line(appender, "line");
    if (status == CLQ_OK) {
        status = clq_appender_flush(appender);
    }
    clq_status closed = clq_appender_close(&appender);
    return status == CLQ_OK ? closed : status;
}

static void appending_reports_every_failure(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("log.csv");
    for (long n = 1; n <= 7; n++) { /* open, read, end the torn line, write, fsync, close */
        put(path, "torn");
        clq_test_fail_file_op(n, EIO);
        clq_status status = append_one(path);
        assert_int_equal(clq_test_open_files(), 0);
        clq_test_restore_file_ops();
        assert_int_equal(status, n == 1 ? CLQ_CANNOT_CREATE : n <= 6 ? CLQ_IO : CLQ_OK);
    }
    for (long n = 1; n <= 4; n++) {
        clq_test_fail_allocation(n);
        clq_status status = append_one(path);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
        assert_int_equal(status, n <= 3 ? CLQ_NO_MEMORY : CLQ_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        file_test(writes_all_bytes),
        file_test(any_failure_leaves_old_or_new),
        file_test(out_of_memory_leaves_the_old),
        file_test(a_failed_write_cannot_be_committed),
        file_test(abort_leaves_nothing),
        file_test(impossible_targets_are_refused),
        file_test(what_killed_writers_left_goes),
        file_test(a_killed_writer_holds_no_lock),
        file_test(abandoned_writers_leave_nothing),
        file_test(asking_whether_one_can_write),
        file_test(one_at_a_time_holds_a_lock),
        file_test(locked_changes_are_not_lost),
        file_test(devices_are_written_directly),
        file_test(a_private_file_stays_private),
        file_test(a_link_stays_a_link),
        file_test(two_writers_do_not_collide),
        file_test(appends_lines),
        file_test(appends_behind_a_torn_line),
        file_test(appending_reports_every_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

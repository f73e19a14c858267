/* An allocator and file operations that fail on demand. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/files.h"
#include "support/clq_test.h"

/* ---- memory ---- */

static atomic_long allocations, live, failing_allocation;

static void *counting_reallocate(void *context, void *pointer, size_t size) {
    (void)context;
    if (size == 0) {
        if (pointer) {
            atomic_fetch_sub(&live, 1);
        }
        free(pointer);
        return NULL;
    }
    if (atomic_fetch_add(&allocations, 1) + 1 == atomic_load(&failing_allocation)) {
        return NULL;
    }
    void *grown = realloc(pointer, size);
    if (grown && !pointer) {
        atomic_fetch_add(&live, 1);
    }
    return grown;
}

void clq_test_fail_allocation(long nth) {
    atomic_store(&allocations, 0);
    atomic_store(&live, 0);
    atomic_store(&failing_allocation, nth);
    clq_set_allocator(&(clq_allocator){counting_reallocate, NULL});
}

long clq_test_allocations(void) {
    return atomic_load(&allocations);
}

long clq_test_live_allocations(void) {
    return atomic_load(&live);
}

void clq_test_restore_allocator(void) {
    clq_set_allocator(NULL);
}

/* ---- files ---- */

static atomic_long file_ops, open_files, failing_file_op;
static int file_error;
static bool interrupting, interrupted;

static bool fails(void) {
    if (atomic_fetch_add(&file_ops, 1) + 1 != atomic_load(&failing_file_op)) {
        return false;
    }
    errno = file_error;
    return true;
}

/* Every other call is interrupted. */
static bool interrupts(void) {
    interrupted = interrupting && !interrupted;
    if (interrupted) {
        errno = EINTR;
    }
    return interrupted;
}

static size_t shortened(size_t size) {
    return interrupting && size > 7 ? 7 : size;
}

static int test_open(const char *path, int flags, int mode) {
    if (fails() || interrupts()) {
        return -1;
    }
    int fd = clq_file_ops_posix()->open(path, flags, mode);
    if (fd >= 0) {
        atomic_fetch_add(&open_files, 1);
    }
    return fd;
}

static int64_t test_read(int fd, void *data, size_t size) {
    return fails() || interrupts() ? -1 : clq_file_ops_posix()->read(fd, data, shortened(size));
}

static int64_t test_write(int fd, const void *data, size_t size) {
    return fails() || interrupts() ? -1 : clq_file_ops_posix()->write(fd, data, shortened(size));
}

static int test_fsync(int fd) {
    return fails() || interrupts() ? -1 : clq_file_ops_posix()->fsync(fd);
}

/* A failing close still gives the descriptor back, as on Linux. */
static int test_close(int fd) {
    bool failing = fails();
    int error = errno;
    int result = clq_file_ops_posix()->close(fd);
    atomic_fetch_sub(&open_files, 1);
    if (failing) {
        errno = error;
        return -1;
    }
    return result;
}

static int test_rename(const char *from, const char *to) {
    return fails() ? -1 : clq_file_ops_posix()->rename(from, to);
}

static int test_unlink(const char *path) {
    return fails() ? -1 : clq_file_ops_posix()->unlink(path);
}

static int test_mkdir(const char *path, int mode) {
    return fails() ? -1 : clq_file_ops_posix()->mkdir(path, mode);
}

static int test_openat(int folder, const char *name, int flags) {
    if (fails() || interrupts()) {
        return -1;
    }
    int fd = clq_file_ops_posix()->openat(folder, name, flags);
    if (fd >= 0) {
        atomic_fetch_add(&open_files, 1);
    }
    return fd;
}

static int64_t test_pread(int fd, void *data, size_t size, int64_t offset) {
    return fails() || interrupts() ? -1
                                   : clq_file_ops_posix()->pread(fd, data, shortened(size), offset);
}

void clq_test_fail_file_op(long nth, int error) {
    static const clq_file_ops ops = {
        test_open,   test_read,   test_write, test_fsync,  test_close,
        test_rename, test_unlink, test_mkdir, test_openat, test_pread,
    };
    atomic_store(&file_ops, 0);
    atomic_store(&open_files, 0);
    atomic_store(&failing_file_op, nth);
    file_error = error;
    interrupting = interrupted = false;
    clq_set_file_ops(&ops);
}

void clq_test_interrupt_file_ops(void) {
    clq_test_fail_file_op(0, 0);
    interrupting = true;
}

long clq_test_file_ops(void) {
    return atomic_load(&file_ops);
}

long clq_test_open_files(void) {
    return atomic_load(&open_files);
}

void clq_test_restore_file_ops(void) {
    clq_set_file_ops(NULL);
}

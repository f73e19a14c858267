/* Locks between processes (files.h). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"

struct clq_lock {
    char *path;
    int fd;
};

static int open_file(const char *path) {
    int fd;
    do {
        fd = clq_file_ops_now()->open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static int lock_file(int fd, bool wait) {
    int result;
    do {
        result = flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    return result;
}

/* Whether the path still names the file: whoever had the lock before has removed it. */
static bool is_named(const char *path, int fd) {
    struct stat opened, named;
    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
           opened.st_ino == named.st_ino;
}

static clq_status take(clq_lock *lock, bool wait) {
    for (;;) {
        lock->fd = open_file(lock->path);
        if (lock->fd < 0) {
            return clq_fail(CLQ_CANNOT_CREATE, "%s: cannot create: %s", lock->path,
                            strerror(errno));
        }
        const int error = lock_file(lock->fd, wait) == 0 ? 0 : errno;
        if (error == EWOULDBLOCK) {
            return clq_fail(CLQ_CANNOT_CREATE, "%s: another process holds this lock", lock->path);
        }
        if (error) {
            clq_log_warn("%s: no locks here (%s): see to it that nothing else writes there",
                         lock->path, strerror(error));
            return CLQ_OK;
        }
        if (is_named(lock->path, lock->fd)) {
            return CLQ_OK;
        }
        clq_file_ops_now()->close(lock->fd);
    }
}

clq_status clq_lock_take(const char *path, bool wait, clq_lock **out) {
    *out = NULL;
    clq_lock *lock = clq_calloc(1, sizeof *lock);
    if (!lock) {
        return CLQ_NO_MEMORY;
    }
    lock->fd = -1;
    lock->path = clq_strdup(path);
    const clq_status status = lock->path ? take(lock, wait) : CLQ_NO_MEMORY;
    if (status != CLQ_OK) {
        if (lock->fd >= 0) {
            clq_file_ops_now()->close(lock->fd);
        }
        clq_free(lock->path);
        clq_free(lock);
        return status;
    }
    *out = lock;
    return CLQ_OK;
}

void clq_lock_release(clq_lock **handle) {
    clq_lock *lock = *handle;
    if (!lock) {
        return;
    }
    *handle = NULL;
    clq_file_ops_now()->unlink(lock->path); /* while it is held, so that no other's goes */
    clq_file_ops_now()->close(lock->fd);
    clq_free(lock->path);
    clq_free(lock);
}

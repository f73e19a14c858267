#include "base/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/files.h"

/* ---- where the name leads ---- */

static clq_status check_name(const char *name) {
    if (name[0] == '\0') {
        return clq_fail(CLQ_BAD_DATA, "has no name");
    }
    if (name[0] == '/') {
        return clq_fail(CLQ_BAD_DATA, "must not be an absolute path");
    }
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0')) {
            return clq_fail(CLQ_BAD_DATA, "must not have \"..\" in its path");
        }
    }
    return CLQ_OK;
}

static clq_status cannot_open(void) {
    const bool ours = errno == EMFILE || errno == ENFILE || errno == EIO;
    return clq_fail(ours ? CLQ_IO : CLQ_NO_INPUT, "cannot open: %s", strerror(errno));
}

/* folder/name without links, relative to the folder: symbolic links inside of it are fine. */
static clq_status resolve(const char *folder, const char *name, char inside[PATH_MAX]) {
    char root[PATH_MAX], target[PATH_MAX];
    char *path = clq_path_join(folder, name);
    if (!path) {
        return CLQ_NO_MEMORY;
    }
    const bool found = realpath(folder, root) && realpath(path, target);
    const int error = errno;
    clq_free(path);
    errno = error;
    if (!found) {
        return cannot_open();
    }
    if (strcmp(target, root) == 0) {
        return clq_fail(CLQ_BAD_DATA, "is no regular file");
    }
    const size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(target, root, length) != 0 || target[length] != '/') {
        return clq_fail(CLQ_BAD_DATA,
                        "a symbolic link leads out of the folder; put the file itself "
                        "there (cp -L)");
    }
    memcpy(inside, target + length + 1, strlen(target + length + 1) + 1);
    return CLQ_OK;
}

/* ---- opening ---- */

static int open_part(int folder, const char *name, int flags) {
    int fd;
    do {
        fd = clq_file_ops_now()->openat(folder, name, flags | O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* Opens `name` in the folder `at`, which it closes, without following a link that came there since
 * the name was resolved. */
static int step(int at, const char *name, int flags) {
    const int fd = open_part(at, name, flags | O_NOFOLLOW);
    const int error = errno;
    clq_file_ops_now()->close(at);
    errno = error;
    return fd;
}

/* From the folder down, part by part. */
static int descend(const char *folder, char *inside) {
    int at = open_part(AT_FDCWD, folder, O_DIRECTORY);
    char *part = inside;
    for (char *end; at >= 0 && (end = strchr(part, '/')); part = end + 1) {
        *end = '\0';
        at = step(at, part, O_DIRECTORY);
    }
    return at < 0 ? -1 : step(at, part, O_NONBLOCK | O_NOCTTY);
}

static clq_status look_at(clq_inside_file *file) {
    struct stat info;
    if (fstat(file->fd, &info) != 0) {
        return clq_fail(CLQ_IO, "cannot be looked at: %s", strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return clq_fail(CLQ_BAD_DATA, "is no regular file");
    }
    file->size = (uint64_t)info.st_size;
    file->device = (uint64_t)info.st_dev;
    file->inode = (uint64_t)info.st_ino;
    return CLQ_OK;
}

clq_status clq_inside_open(const char *folder, const char *name, clq_inside_file *file) {
    char inside[PATH_MAX];
    CLQ_TRY(check_name(name));
    if (!clq_file_ops_now()->openat || !clq_file_ops_now()->pread) {
        return clq_fail(CLQ_NO_INPUT, "the program's file operations have no openat and pread");
    }
    CLQ_TRY(resolve(folder, name, inside));
    file->fd = descend(folder, inside);
    if (file->fd < 0) {
        return cannot_open();
    }
    clq_status status = look_at(file);
    if (status != CLQ_OK) {
        clq_inside_close(file);
    }
    return status;
}

/* ---- reading ---- */

clq_status clq_inside_read(const clq_inside_file *file, uint64_t offset, void *data, size_t size) {
    for (size_t got = 0; got < size;) {
        if (offset > INT64_MAX) {
            return clq_fail(CLQ_IO, "cannot read: the offset is out of range");
        }
        const int64_t n =
            clq_file_ops_now()->pread(file->fd, (char *)data + got, size - got, (int64_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return clq_fail(CLQ_IO, "cannot read: %s", strerror(errno));
        }
        if (n == 0) {
            return clq_fail(CLQ_IO, "cannot read: it became shorter meanwhile");
        }
        got += (size_t)n;
        offset += (uint64_t)n;
    }
    return CLQ_OK;
}

void clq_inside_close(clq_inside_file *file) {
    clq_file_ops_now()->close(file->fd);
}

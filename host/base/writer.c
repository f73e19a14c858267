/* Atomic and appending writers (files.h). */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/text.h"

enum { BUFFER_SIZE = 1 << 16, NAME_ATTEMPTS = 100, MAX_REMEMBERED = 64 };

struct clq_writer {
    char *path;        /* the target */
    char *temporary;   /* the hidden file beside it; NULL when the target is written directly */
    char *folder;      /* to fsync after the rename */
    int fd;            /* -1 once closed */
    int lock;          /* the same file, open until the writer is gone: it is locked; -1: none */
    clq_status status; /* of the first failure, and its text */
    char error[512];
    uint64_t size;
    size_t buffered;
    char buffer[BUFFER_SIZE];
};

static clq_status write_fully(const char *path, int fd, const char *data, size_t size) {
    while (size > 0) {
        int64_t n = clq_file_ops_now()->write(fd, data, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return clq_fail(CLQ_IO, "%s: cannot write: %s", path, strerror(n < 0 ? errno : ENOSPC));
        }
        data += n;
        size -= (size_t)n;
    }
    return CLQ_OK;
}

static int sync_fd(int fd) {
    int result;
    do {
        result = clq_file_ops_now()->fsync(fd);
    } while (result != 0 && errno == EINTR);
    /* Pipes, terminals and some network file systems have no fsync; nothing more can be done. */
    return result != 0 && (errno == EINVAL || errno == ENOTSUP) ? 0 : result;
}

static int open_retrying(const char *path, int flags, int mode) {
    int fd;
    do {
        fd = clq_file_ops_now()->open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* Closes once: whether close failed or not, the descriptor is gone (Linux, and POSIX 2024). */
static int close_writer(clq_writer *writer) {
    int fd = writer->fd;
    writer->fd = -1;
    return fd < 0 ? 0 : clq_file_ops_now()->close(fd);
}

/* ---- hidden files: .NAME.PID-N.tmp, locked while they are written ---- */

/* Those of this process, for clq_writers_abandon. */
static _Atomic(char *) unfinished[MAX_REMEMBERED];

void clq_unfinished_remember(char *path) {
    for (int i = 0; i < MAX_REMEMBERED; i++) {
        char *nothing = NULL;
        if (atomic_compare_exchange_strong(&unfinished[i], &nothing, path)) {
            return;
        }
    }
}

void clq_unfinished_forget(char *path) {
    for (int i = 0; i < MAX_REMEMBERED; i++) {
        char *same = path;
        if (atomic_compare_exchange_strong(&unfinished[i], &same, NULL)) {
            return;
        }
    }
}

void clq_writers_abandon(void) {
    for (int i = 0; i < MAX_REMEMBERED; i++) {
        const char *temporary = atomic_load(&unfinished[i]);
        if (temporary) {
            (void)unlink(temporary);
        }
    }
}

/* Whether `file` is the hidden name of a writer of `name` (NULL: of any). */
static bool is_temporary(const char *file, const char *name) {
    const size_t size = strlen(file), tail = strlen(".tmp");
    const char *end = size > tail ? file + size - tail : file;
    const char *at = end;
    if (file[0] != '.' || strcmp(end, ".tmp") != 0) {
        return false;
    }
    while (at > file && isdigit((unsigned char)at[-1])) {
        at--;
    }
    if (at == end || at[-1] != '-') {
        return false;
    }
    const char *pid_end = --at;
    while (at > file && isdigit((unsigned char)at[-1])) {
        at--;
    }
    if (at == pid_end || at[-1] != '.' || at - file < 3) {
        return false;
    }
    const size_t length = (size_t)(at - file) - 2; /* of NAME */
    return !name || (strlen(name) == length && strncmp(file + 1, name, length) == 0);
}

/* Removes the hidden file unless its writer holds the lock, or locks do not work here. */
static void remove_unlocked(const char *path) {
    struct stat opened, named;
    const int fd = open_retrying(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0) {
        return;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &opened) == 0 && S_ISREG(opened.st_mode) &&
        lstat(path, &named) == 0 && opened.st_dev == named.st_dev &&
        opened.st_ino == named.st_ino) {
        clq_file_ops_now()->unlink(path);
    }
    clq_file_ops_now()->close(fd);
}

void clq_remove_unfinished(const char *folder, const char *name) {
    DIR *open_folder = opendir(folder);
    const struct dirent *entry;
    while (open_folder && (entry = readdir(open_folder))) {
        char path[PATH_MAX];
        if (is_temporary(entry->d_name, name) &&
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path) {
            remove_unlocked(path);
        }
    }
    if (open_folder) {
        closedir(open_folder);
    }
}

/* Locks the file that was just created. False: someone took it for one that was left behind before
 * it was locked, so that it is gone or will be. */
static bool lock_temporary(clq_writer *writer) {
    struct stat info;
    if (flock(writer->fd, LOCK_EX | LOCK_NB) != 0) {
        return errno != EWOULDBLOCK; /* without locks here, nobody removes anything either */
    }
    return fstat(writer->fd, &info) == 0 && info.st_nlink > 0;
}

static void unlock_temporary(clq_writer *writer) {
    if (writer->lock >= 0) {
        close(writer->lock);
        writer->lock = -1;
    }
}

static void free_temporary(clq_writer *writer) {
    if (writer->temporary) {
        clq_unfinished_forget(writer->temporary);
        clq_free(writer->temporary);
        writer->temporary = NULL;
    }
}

static void free_writer(clq_writer *writer) {
    unlock_temporary(writer);
    free_temporary(writer);
    clq_free(writer->path);
    clq_free(writer->folder);
    clq_free(writer);
}

/* Creates folder/.name.PID-N.tmp, hidden so that clq_folder_list never shows it. */
static clq_status create_temporary(clq_writer *writer, int mode) {
    static atomic_uint serial;
    const char *name = clq_path_basename(writer->path);
    clq_remove_unfinished(writer->folder, name);
    for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
        free_temporary(writer);
        char *temporary = clq_format("%s/.%s.%ld-%u.tmp", writer->folder, name, (long)getpid(),
                                     atomic_fetch_add(&serial, 1));
        if (!temporary) {
            return CLQ_NO_MEMORY;
        }
        writer->temporary = temporary;
        writer->fd = open_retrying(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
        if (writer->fd < 0 && errno != EEXIST) {
            break;
        }
        if (writer->fd >= 0 && lock_temporary(writer)) {
            clq_unfinished_remember(temporary);
            writer->lock = fcntl(writer->fd, F_DUPFD_CLOEXEC, 0);
            return CLQ_OK;
        }
        close_writer(writer);
    }
    return clq_fail(CLQ_CANNOT_CREATE, "%s: cannot create: %s", writer->path, strerror(errno));
}

/* What exists and is to be written: nothing that an open would wait for, no disk. */
static clq_status check_kind(const char *path, const struct stat *info) {
    const mode_t mode = info->st_mode;
    if (S_ISREG(mode) || S_ISCHR(mode) || (S_ISFIFO(mode) && clq_is_meant_pipe(path))) {
        return CLQ_OK;
    }
    return clq_fail(CLQ_CANNOT_CREATE, "%s: cannot create: is a %s", path,
                    S_ISDIR(mode)    ? "folder"
                    : S_ISFIFO(mode) ? "pipe"
                    : S_ISSOCK(mode) ? "socket"
                                     : "block device");
}

static clq_status open_target(clq_writer *writer) {
    struct stat info;
    if (stat(writer->path, &info) != 0) {
        return create_temporary(writer, 0666);
    }
    if (S_ISREG(info.st_mode)) {
        return create_temporary(writer, (int)(info.st_mode & 0777)); /* stays as private */
    }
    CLQ_TRY(check_kind(writer->path, &info));
    writer->fd = open_retrying(writer->path, O_WRONLY, 0);
    return writer->fd >= 0 ? CLQ_OK
                           : clq_fail(CLQ_CANNOT_CREATE, "%s: cannot open for writing: %s",
                                      writer->path, strerror(errno));
}

/* A copy of `path`; where it is a link to something that exists, the path of that, so that the
 * rename replaces the file and not the link. */
static char *resolve(const char *path) {
    struct stat info;
    char resolved[PATH_MAX];
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode) && realpath(path, resolved)) {
        return clq_strdup(resolved);
    }
    return clq_strdup(path);
}

clq_status clq_writer_open(const char *path, clq_writer **out) {
    *out = NULL;
    if (clq_path_basename(path)[0] == '\0') {
        return clq_fail(CLQ_CANNOT_CREATE, "\"%s\": cannot create: no file name", path);
    }
    clq_writer *writer = clq_calloc(1, sizeof *writer);
    if (!writer) {
        return CLQ_NO_MEMORY;
    }
    writer->fd = writer->lock = -1;
    writer->path = resolve(path);
    writer->folder = writer->path ? clq_path_folder(writer->path) : NULL;
    clq_status status = writer->folder ? open_target(writer) : CLQ_NO_MEMORY;
    if (status != CLQ_OK) {
        free_writer(writer);
        return status;
    }
    *out = writer;
    return CLQ_OK;
}

/* Remembers the first failure: no later call may make a file with a hole look complete. */
static clq_status keep_failure(clq_writer *writer, clq_status status) {
    if (status != CLQ_OK && writer->status == CLQ_OK) {
        writer->status = status;
        snprintf(writer->error, sizeof writer->error, "%s", clq_last_error());
    }
    return status;
}

static clq_status earlier_failure(const clq_writer *writer) {
    return writer->status == CLQ_OK ? CLQ_OK : clq_fail(writer->status, "%s", writer->error);
}

static clq_status flush_buffer(clq_writer *writer) {
    size_t size = writer->buffered;
    writer->buffered = 0;
    return keep_failure(writer, write_fully(writer->path, writer->fd, writer->buffer, size));
}

clq_status clq_writer_write(clq_writer *writer, const void *data, size_t size) {
    CLQ_TRY(earlier_failure(writer));
    if (size > BUFFER_SIZE - writer->buffered) {
        CLQ_TRY(flush_buffer(writer));
    }
    if (size >= BUFFER_SIZE) {
        CLQ_TRY(keep_failure(writer, write_fully(writer->path, writer->fd, data, size)));
    } else if (size > 0) {
        memcpy(writer->buffer + writer->buffered, data, size);
        writer->buffered += size;
    }
    writer->size += size;
    return CLQ_OK;
}

clq_status clq_writer_printf(clq_writer *writer, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = clq_vformat(format, arguments);
    va_end(arguments);
    if (!text) {
        return keep_failure(writer, CLQ_NO_MEMORY);
    }
    clq_status status = clq_writer_write(writer, text, strlen(text));
    clq_free(text);
    return status;
}

uint64_t clq_writer_size(const clq_writer *writer) {
    return writer->size;
}

static clq_status finish_file(clq_writer *writer) {
    CLQ_TRY(earlier_failure(writer));
    CLQ_TRY(flush_buffer(writer));
    if (sync_fd(writer->fd) != 0) {
        return clq_fail(CLQ_IO, "%s: cannot flush to the disk: %s", writer->path, strerror(errno));
    }
    if (close_writer(writer) != 0) {
        return clq_fail(CLQ_IO, "%s: cannot close: %s", writer->path, strerror(errno));
    }
    return CLQ_OK;
}

/* The folder is opened before the rename, so that only its fsync can fail after it. */
static clq_status rename_durably(clq_writer *writer) {
    const clq_file_ops *ops = clq_file_ops_now();
    int folder = open_retrying(writer->folder, O_RDONLY | O_DIRECTORY, 0);
    if (folder < 0 && errno != EACCES) { /* a folder may be writable and not readable */
        return clq_fail(CLQ_IO, "%s: cannot open its folder: %s", writer->path, strerror(errno));
    }
    clq_status status = CLQ_OK;
    if (ops->rename(writer->temporary, writer->path) != 0) {
        status = clq_fail(CLQ_IO, "%s: cannot rename the finished file: %s", writer->path,
                          strerror(errno));
    } else {
        free_temporary(writer);
        if (folder >= 0 && sync_fd(folder) != 0) {
            status =
                clq_fail(CLQ_IO, "%s: written, but its folder cannot be flushed to the disk: %s",
                         writer->path, strerror(errno));
        }
    }
    if (folder >= 0) {
        ops->close(folder);
    }
    return status;
}

clq_status clq_writer_commit(clq_writer **handle) {
    clq_writer *writer = *handle;
    clq_status status = finish_file(writer);
    if (status == CLQ_OK && writer->temporary) {
        status = rename_durably(writer);
    }
    clq_writer_abort(handle); /* removes what a failure left; nothing after a success */
    return status;
}

void clq_writer_abort(clq_writer **handle) {
    clq_writer *writer = *handle;
    if (!writer) {
        return;
    }
    *handle = NULL;
    close_writer(writer);
    if (writer->temporary) {
        clq_file_ops_now()->unlink(writer->temporary);
    }
    free_writer(writer);
}

clq_status clq_file_check_writable(const char *path) {
    clq_writer *writer = NULL;
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        return check_kind(path, &info); /* to open a pipe would be to use it */
    }
    CLQ_TRY(clq_writer_open(path, &writer));
    clq_writer_abort(&writer);
    return CLQ_OK;
}

clq_status clq_file_check_replaceable(const char *path) {
    struct stat info;
    return stat(path, &info) != 0 || S_ISREG(info.st_mode)
               ? CLQ_OK
               : clq_fail(CLQ_CANNOT_CREATE, "%s: is no file, and cannot be replaced", path);
}

clq_status clq_file_write_atomic(const char *path, const void *data, size_t size) {
    clq_writer *writer = NULL;
    CLQ_TRY(clq_writer_open(path, &writer));
    clq_status status = clq_writer_write(writer, data, size);
    if (status != CLQ_OK) {
        clq_writer_abort(&writer);
        return status;
    }
    return clq_writer_commit(&writer);
}

/* ---- the appending writer ---- */

struct clq_appender {
    char *path;
    int fd;
};

/* Ends a last line that a kill tore. What has no place to seek to (a pipe) has no such line. */
static clq_status end_torn_line(const clq_appender *appender) {
    char last = '\n';
    if (lseek(appender->fd, -1, SEEK_END) >= 0 &&
        clq_file_ops_now()->read(appender->fd, &last, 1) < 0) {
        return clq_fail(CLQ_IO, "%s: cannot read: %s", appender->path, strerror(errno));
    }
    return last == '\n' ? CLQ_OK : write_fully(appender->path, appender->fd, "\n", 1);
}

clq_status clq_appender_open(const char *path, clq_appender **out) {
    struct stat info;
    *out = NULL;
    if (stat(path, &info) == 0) {
        CLQ_TRY(check_kind(path, &info));
    }
    clq_appender *appender = clq_calloc(1, sizeof *appender);
    char *copy = clq_strdup(path);
    clq_status status = CLQ_NO_MEMORY;
    if (appender && copy) {
        appender->path = copy;
        appender->fd = open_retrying(path, O_RDWR | O_CREAT | O_APPEND, 0666);
        if (appender->fd >= 0) {
            *out = appender;
            status = end_torn_line(appender);
            if (status != CLQ_OK) {
                (void)clq_appender_close(out);
            }
            return status;
        }
        status =
            clq_fail(CLQ_CANNOT_CREATE, "%s: cannot open for appending: %s", path, strerror(errno));
    }
    clq_free(copy);
    clq_free(appender);
    return status;
}

clq_status clq_appender_line(clq_appender *appender, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = clq_vformat(format, arguments);
    va_end(arguments);
    if (!text) {
        return CLQ_NO_MEMORY;
    }
    size_t length = strlen(text);
    text[length] = '\n'; /* in the NUL's place: one write for the whole line */
    clq_status status = write_fully(appender->path, appender->fd, text, length + 1);
    clq_free(text);
    return status;
}

clq_status clq_appender_flush(clq_appender *appender) {
    return sync_fd(appender->fd) == 0 ? CLQ_OK
                                      : clq_fail(CLQ_IO, "%s: cannot flush to the disk: %s",
                                                 appender->path, strerror(errno));
}

clq_status clq_appender_close(clq_appender **handle) {
    clq_appender *appender = *handle;
    if (!appender) {
        return CLQ_OK;
    }
    *handle = NULL;
    clq_status status = CLQ_OK;
    if (clq_file_ops_now()->close(appender->fd) != 0) {
        status = clq_fail(CLQ_IO, "%s: cannot close: %s", appender->path, strerror(errno));
    }
    clq_free(appender->path);
    clq_free(appender);
    return status;
}

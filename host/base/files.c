#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"

#define MAX_PIPE ((size_t)2 << 30)

/* ---- the table of system calls ---- */

static int posix_open(const char *path, int flags, int mode) {
    return open(path, flags, (mode_t)mode);
}

static int64_t posix_read(int fd, void *data, size_t size) {
    return read(fd, data, size);
}

static int64_t posix_write(int fd, const void *data, size_t size) {
    return write(fd, data, size);
}

static int posix_mkdir(const char *path, int mode) {
    return mkdir(path, (mode_t)mode);
}

static int posix_openat(int folder, const char *name, int flags) {
    return openat(folder, name, flags);
}

static int64_t posix_pread(int fd, void *data, size_t size, int64_t offset) {
    return pread(fd, data, size, offset);
}

static const clq_file_ops posix_ops = {
    posix_open, posix_read, posix_write, fsync,        close,
    rename,     unlink,     posix_mkdir, posix_openat, posix_pread,
};
static clq_file_ops custom_ops;
static const clq_file_ops *ops = &posix_ops;

void clq_set_file_ops(const clq_file_ops *table) {
    if (table) {
        custom_ops = *table;
        ops = &custom_ops;
    } else {
        ops = &posix_ops;
    }
}

const clq_file_ops *clq_file_ops_now(void) {
    return ops;
}

const clq_file_ops *clq_file_ops_posix(void) {
    return &posix_ops;
}

/* ---- reading ---- */

/* Without waiting for whoever may write to a pipe. */
static clq_status open_to_read(const char *path, int *fd) {
    do {
        *fd = ops->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    } while (*fd < 0 && errno == EINTR);
    if (*fd >= 0) {
        return CLQ_OK;
    }
    if (errno == EMFILE || errno == ENFILE || errno == EIO) {
        return clq_fail(CLQ_IO, "%s: cannot open: %s", path, strerror(errno));
    }
    return clq_fail(CLQ_NO_INPUT, "%s: cannot open: %s", path, strerror(errno));
}

/* Reads until `size` bytes or the end of the file; *got is what there was. */
static clq_status read_fully(const char *path, int fd, char *data, size_t size, size_t *got) {
    *got = 0;
    while (*got < size) {
        int64_t n = ops->read(fd, data + *got, size - *got);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return clq_fail(CLQ_IO, "%s: cannot read: %s", path, strerror(errno));
        }
        if (n == 0) {
            break;
        }
        *got += (size_t)n;
    }
    return CLQ_OK;
}

/* Pipes that a caller names by number are meant: `clquant info <(cat model.onnx)`. */
bool clq_is_meant_pipe(const char *path) {
    return strcmp(path, "/dev/stdin") == 0 || strcmp(path, "/dev/stdout") == 0 ||
           strcmp(path, "/dev/stderr") == 0 || strncmp(path, "/dev/fd/", 8) == 0 ||
           strncmp(path, "/proc/self/fd/", 14) == 0;
}

/* Refuses what is no regular file, and one that is too big. *size: its bytes, CLQ_UNKNOWN_SIZE of a
 * pipe and of what has a size of 0, as in /proc. */
static clq_status look_at(const char *path, int fd, size_t *max_bytes, uint64_t *size) {
    struct stat info;
    *size = CLQ_UNKNOWN_SIZE;
    if (fstat(fd, &info) != 0) {
        return CLQ_OK; /* a descriptor of the embedder's own making */
    }
    if (S_ISFIFO(info.st_mode) && clq_is_meant_pipe(path)) {
        *max_bytes = *max_bytes < MAX_PIPE ? *max_bytes : MAX_PIPE;
        const int flags = fcntl(fd, F_GETFL);
        return flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0
                   ? CLQ_OK
                   : clq_fail(CLQ_IO, "%s: cannot read: %s", path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return clq_fail(CLQ_BAD_DATA, "%s: is a %s, a file is expected", path,
                        S_ISDIR(info.st_mode)    ? "folder"
                        : S_ISFIFO(info.st_mode) ? "pipe"
                        : S_ISSOCK(info.st_mode) ? "socket"
                                                 : "device");
    }
    if ((uint64_t)info.st_size > *max_bytes) {
        return clq_fail(CLQ_BAD_DATA, "%s: has %lld bytes, more than the limit of %zu", path,
                        (long long)info.st_size, *max_bytes);
    }
    *size = info.st_size > 0 ? (uint64_t)info.st_size : CLQ_UNKNOWN_SIZE;
    return CLQ_OK;
}

static clq_status grow(const char *path, size_t room, char **data) {
    size_t block;
    char *grown = clq_add_size(room, 1, &block) ? clq_realloc(*data, block, 1) : NULL;
    if (!grown) {
        return clq_fail_in(CLQ_NO_MEMORY, "%s", path);
    }
    *data = grown;
    return CLQ_OK;
}

static clq_status read_growing(const char *path, int fd, size_t max_bytes, clq_file_check check,
                               void *context, char **data, size_t *size) {
    uint64_t expected;
    CLQ_TRY(look_at(path, fd, &max_bytes, &expected));
    /* The head first. Behind it a regular file in one go; one of unknown size doubles. One byte
     * more than expected shows the end of the file, or that the file is too long; grow adds one
     * for the NUL. */
    size_t room = CLQ_FILE_HEAD + 1;
    *size = 0;
    for (bool checked = false;; checked = true) {
        size_t got = 0;
        if (room > max_bytes && max_bytes < SIZE_MAX) {
            room = max_bytes + 1;
        }
        CLQ_TRY(grow(path, room, data));
        CLQ_TRY(read_fully(path, fd, *data + *size, room - *size, &got));
        *size += got;
        if (*size > max_bytes) {
            return clq_fail(CLQ_BAD_DATA, "%s: has more than the limit of %zu bytes", path,
                            max_bytes);
        }
        if (!checked && check) {
            CLQ_TRY(check(context, path, *data, *size < CLQ_FILE_HEAD ? *size : CLQ_FILE_HEAD,
                          *size < room ? *size : expected));
        }
        if (*size < room) {
            (*data)[*size] = '\0';
            return CLQ_OK;
        }
        if (!checked && expected != CLQ_UNKNOWN_SIZE && expected >= room) {
            room = (size_t)expected + 1; /* max_bytes bounds it */
        } else if (!clq_mul_size(room, 2, &room)) {
            room = SIZE_MAX;
        }
    }
}

clq_status clq_file_read_checked(const char *path, size_t max_bytes, clq_file_check check,
                                 void *context, void **data, size_t *size) {
    int fd = -1;
    char *buffer = NULL;
    size_t got = 0;
    CLQ_TRY(open_to_read(path, &fd));
    clq_status status = read_growing(path, fd, max_bytes, check, context, &buffer, &got);
    ops->close(fd);
    if (status != CLQ_OK) {
        clq_free(buffer);
        return status;
    }
    *data = buffer;
    *size = got;
    return CLQ_OK;
}

clq_status clq_file_read(const char *path, size_t max_bytes, void **data, size_t *size) {
    return clq_file_read_checked(path, max_bytes, NULL, NULL, data, size);
}

struct clq_reader {
    int fd;
    uint64_t size;
    char *path;
};

clq_status clq_reader_open(const char *path, clq_reader **out) {
    clq_status status = CLQ_NO_MEMORY;
    size_t any_size = SIZE_MAX;
    *out = NULL;
    clq_reader *reader = clq_calloc(1, sizeof *reader);
    if (!reader) {
        return CLQ_NO_MEMORY;
    }
    reader->fd = -1;
    reader->path = clq_strdup(path);
    if (reader->path) {
        status = open_to_read(path, &reader->fd);
    }
    if (status == CLQ_OK) {
        status = look_at(path, reader->fd, &any_size, &reader->size);
    }
    if (status != CLQ_OK) {
        clq_reader_close(reader);
        return status;
    }
    *out = reader;
    return CLQ_OK;
}

uint64_t clq_reader_size(const clq_reader *reader) {
    return reader->size;
}

clq_status clq_reader_read(clq_reader *reader, void *data, size_t size, size_t *got) {
    return read_fully(reader->path, reader->fd, data, size, got);
}

void clq_reader_close(clq_reader *reader) {
    if (reader) {
        if (reader->fd >= 0) {
            ops->close(reader->fd);
        }
        clq_free(reader->path);
        clq_free(reader);
    }
}

clq_status clq_file_remove(const char *path) {
    if (ops->unlink(path) != 0 && errno != ENOENT) {
        return clq_fail(CLQ_IO, "%s: cannot remove: %s", path, strerror(errno));
    }
    return CLQ_OK;
}

/* ---- folders ---- */

bool clq_file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool clq_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static clq_status make_dir(const char *path) {
    if (ops->mkdir(path, 0777) == 0) {
        return CLQ_OK;
    }
    int error = errno;
    if (clq_is_folder(path)) { /* EEXIST, or EROFS and the like on an existing parent */
        return CLQ_OK;
    }
    if (error == EEXIST) {
        return clq_fail(CLQ_CANNOT_CREATE, "%s: cannot create the folder: a file has that name",
                        path);
    }
    return clq_fail(CLQ_CANNOT_CREATE, "%s: cannot create the folder: %s", path, strerror(error));
}

clq_status clq_make_dirs(const char *path) {
    if (path[0] == '\0') {
        return clq_fail(CLQ_CANNOT_CREATE, "cannot create a folder with an empty name");
    }
    char *partial = clq_strdup(path);
    if (!partial) {
        return CLQ_NO_MEMORY;
    }
    clq_status status = CLQ_OK;
    for (char *slash = partial + 1; status == CLQ_OK && (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        status = make_dir(partial);
        *slash = '/';
    }
    if (status == CLQ_OK) {
        status = make_dir(path);
    }
    clq_free(partial);
    return status;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void clq_folder_list_free(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        clq_free(names[i]);
    }
    clq_free(names);
}

static clq_status collect_names(const char *path, DIR *folder, char ***names, size_t *count) {
    size_t capacity = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) {
            return errno ? clq_fail(CLQ_IO, "%s: cannot list: %s", path, strerror(errno)) : CLQ_OK;
        }
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            char **grown = clq_realloc(*names, capacity, sizeof **names);
            if (!grown) {
                return CLQ_NO_MEMORY;
            }
            *names = grown;
        }
        char *name = clq_strdup(entry->d_name);
        if (!name) {
            return CLQ_NO_MEMORY;
        }
        (*names)[(*count)++] = name;
    }
}

clq_status clq_folder_list(const char *path, char ***names, size_t *count) {
    char **found = NULL;
    size_t found_count = 0;
    DIR *folder = opendir(path);
    if (!folder) {
        return clq_fail(CLQ_NO_INPUT, "%s: cannot list: %s", path, strerror(errno));
    }
    clq_status status = collect_names(path, folder, &found, &found_count);
    closedir(folder);
    if (status != CLQ_OK) {
        clq_folder_list_free(found, found_count);
        return status;
    }
    if (found_count > 1) {
        qsort(found, found_count, sizeof *found, compare_names);
    }
    *names = found;
    *count = found_count;
    return CLQ_OK;
}

/* ---- paths ---- */

char *clq_path_join(const char *folder, const char *name) {
    size_t length = strlen(folder);
    if (length == 0 || name[0] == '/') {
        return clq_strdup(name);
    }
    return clq_format("%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name);
}

const char *clq_path_basename(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *clq_path_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return clq_strdup(".");
    }
    if (slash == path) {
        return clq_strdup("/");
    }
    return clq_format("%.*s", (int)(slash - path), path);
}

char *clq_path_stem(const char *path) {
    const char *base = clq_path_basename(path);
    const char *dot = strrchr(base, '.');
    return !dot || dot == base ? clq_strdup(base) : clq_format("%.*s", (int)(dot - base), base);
}

bool clq_path_has_extension(const char *path, const char *extension) {
    const char *base = clq_path_basename(path);
    size_t length = strlen(base);
    size_t tail = strlen(extension);
    return length > tail && strcasecmp(base + length - tail, extension) == 0;
}

/* ---- text ---- */

clq_status clq_file_check_text(const char *path, const char *wanted, const void *data,
                               size_t size) {
    enum { LOOKED_AT = 512 };
    static const char *const kinds[][2] = {{".onnx", "an ONNX model"},
                                           {".safetensors", "weights"},
                                           {".npy", "an array"},
                                           {".npz", "arrays"}};
    const unsigned char *bytes = data;
    bool text = true;
    for (size_t i = 0; i < size && i < LOOKED_AT; i++) {
        text = text && (bytes[i] >= ' ' || (bytes[i] >= '\t' && bytes[i] <= '\r'));
    }
    if (text) {
        return CLQ_OK;
    }
    const char *kind = NULL;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds && !kind; k++) {
        kind = clq_path_has_extension(path, kinds[k][0]) ? kinds[k][1] : NULL;
    }
    return clq_fail(CLQ_BAD_DATA, "%s: must be %s, is a binary file%s%s%s", path, wanted,
                    kind ? " (" : "", kind ? kind : "", kind ? ", by its name)" : "");
}

#include "device/cache_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/environment.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"

enum { FORMAT_VERSION = 1, HEADER_SIZE = 48, MAX_FILE = 1 << 28 };

static const char magic[8] = {'c', 'l', 'q', 'c', 'a', 'c', 'h', 'e'};

clq_cache_key clq_cache_key_start(void) {
    return (clq_cache_key){1, 2}; /* two seeds, so two independent 64-bit hashes */
}

void clq_cache_key_add(clq_cache_key *key, const void *part, size_t size) {
    uint64_t length = size;
    key->low = clq_hash64_seeded(&length, sizeof length, key->low);
    key->low = clq_hash64_seeded(part, size, key->low);
    key->high = clq_hash64_seeded(&length, sizeof length, key->high);
    key->high = clq_hash64_seeded(part, size, key->high);
}

void clq_cache_key_add_text(clq_cache_key *key, const char *text) {
    clq_cache_key_add(key, text, strlen(text));
}

char *clq_cache_folder(void) {
    if (clq_environment_is_off("CLQUANT_CACHE")) {
        return NULL;
    }
    const char *folder = clq_environment("CLQUANT_CACHE_DIR");
    if (folder) {
        return clq_strdup(folder);
    }
    folder = getenv("XDG_CACHE_HOME");
    if (folder && *folder == '/') { /* relative ones are invalid, says the XDG specification */
        return clq_path_join(folder, "clquant");
    }
    folder = getenv("HOME");
    return folder && *folder ? clq_path_join(folder, ".cache/clquant") : NULL;
}

bool clq_cache_enabled(void) {
    char *folder = clq_cache_folder();
    bool enabled = folder != NULL;
    clq_free(folder);
    return enabled;
}

static char *file_path(const char *folder, const char *kind, clq_cache_key key) {
    return clq_format("%s/%s-%016" PRIx64 "%016" PRIx64 ".bin", folder, kind, key.high, key.low);
}

/* The path of a kind and key; NULL when there is no folder to use, or out of memory. */
static char *path_of(const char *kind, clq_cache_key key) {
    char *folder = clq_cache_folder();
    char *path = folder ? file_path(folder, kind, key) : NULL;
    clq_free(folder);
    return path;
}

static void put_u64(unsigned char *at, uint64_t value) {
    for (int i = 0; i < 8; i++) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

static void make_header(unsigned char header[HEADER_SIZE], clq_cache_key key, const void *payload,
                        size_t size) {
    memcpy(header, magic, sizeof magic);
    put_u64(header + 8, FORMAT_VERSION);
    put_u64(header + 16, key.low);
    put_u64(header + 24, key.high);
    put_u64(header + 32, size);
    put_u64(header + 40, clq_hash64(payload, size));
}

bool clq_cache_load(const char *kind, clq_cache_key key, void **data, size_t *size) {
    bool good = false;
    void *file = NULL;
    size_t file_size = 0;
    char *path = path_of(kind, key);
    if (!path || !clq_file_exists(path) ||
        clq_file_read(path, MAX_FILE, &file, &file_size) != CLQ_OK) {
        goto cleanup;
    }
    if (file_size >= HEADER_SIZE) {
        unsigned char expected[HEADER_SIZE];
        unsigned char *payload = (unsigned char *)file + HEADER_SIZE;
        make_header(expected, key, payload, file_size - HEADER_SIZE);
        good = memcmp(file, expected, HEADER_SIZE) == 0;
    }
    if (!good) {
        clq_log_debug("ignoring %s, which is damaged", path);
        goto cleanup;
    }
    *size = file_size - HEADER_SIZE;
    memmove(file, (unsigned char *)file + HEADER_SIZE, *size);
    *data = file;
    file = NULL;
cleanup:
    clq_free(file);
    clq_free(path);
    return good;
}

/* A folder that cannot be used costs time in every run: worth a word, once in a process. */
static void report_failure(const char *path, clq_status status) {
    static atomic_flag told = ATOMIC_FLAG_INIT;
    if (status == CLQ_CANNOT_CREATE && !atomic_flag_test_and_set(&told)) {
        const bool named = clq_environment("CLQUANT_CACHE_DIR") != NULL;
        clq_log_warn("%snothing is kept for later runs: %s%s", named ? "CLQUANT_CACHE_DIR: " : "",
                     clq_last_error(), named ? "" : "; CLQUANT_CACHE_DIR names another folder");
    } else {
        clq_log_debug("cannot cache %s: %s", path, clq_last_error());
    }
}

void clq_cache_store(const char *kind, clq_cache_key key, const void *data, size_t size) {
    clq_writer *writer = NULL;
    clq_status status = CLQ_NO_MEMORY;
    unsigned char header[HEADER_SIZE];
    char *path = NULL, *folder = clq_cache_folder();
    if (!folder || size > MAX_FILE - HEADER_SIZE) {
        goto cleanup;
    }
    path = file_path(folder, kind, key);
    if (!path) {
        goto cleanup;
    }
    make_header(header, key, data, size);
    status = clq_make_dirs(folder);
    if (status == CLQ_OK) {
        status = clq_writer_open(path, &writer);
    }
    if (status == CLQ_OK) {
        status = clq_writer_write(writer, header, sizeof header);
    }
    if (status == CLQ_OK) {
        status = clq_writer_write(writer, data, size);
    }
    if (status == CLQ_OK) {
        status = clq_writer_commit(&writer);
    }
    if (status != CLQ_OK) {
        report_failure(path, status);
    }
cleanup:
    clq_writer_abort(&writer);
    clq_free(path);
    clq_free(folder);
}

/* Of a mark that was there already. */
static clq_mark_state state_of(const char *path) {
    const struct timespec moment = {.tv_nsec = 10000000};
    const int fd = clq_file_ops_now()->open(path, O_RDWR | O_CLOEXEC, 0);
    bool held = fd < 0; /* gone again */
    for (int look = 0; look < 2 && !held; look++) {
        if (look > 0) {
            nanosleep(&moment, NULL); /* whoever has just made it locks it next */
        }
        struct stat info;
        held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        held = held || fstat(fd, &info) != 0 || info.st_nlink == 0;
        flock(fd, LOCK_UN);
    }
    if (fd >= 0) {
        clq_file_ops_now()->close(fd);
    }
    return held ? CLQ_MARK_HELD : CLQ_MARK_LEFT;
}

clq_mark_state clq_cache_mark_begin(const char *kind, clq_cache_key key, clq_cache_mark *mark) {
    clq_mark_state state = CLQ_MARK_NONE;
    char *folder = clq_cache_folder();
    char *path = folder && clq_make_dirs(folder) == CLQ_OK ? file_path(folder, kind, key) : NULL;
    *mark = (clq_cache_mark){.fd = -1};
    if (path) {
        clq_unfinished_remember(path);
        mark->fd = clq_file_ops_now()->open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        state = mark->fd >= 0 ? CLQ_MARK_MADE : errno == EEXIST ? CLQ_MARK_LEFT : CLQ_MARK_NONE;
    }
    if (state == CLQ_MARK_MADE) {
        (void)flock(mark->fd, LOCK_EX | LOCK_NB); /* without locks all marks count as left */
    } else if (path) {
        clq_unfinished_forget(path);
        state = state == CLQ_MARK_LEFT ? state_of(path) : state;
    }
    if (state == CLQ_MARK_MADE || state == CLQ_MARK_LEFT) {
        mark->path = path;
        path = NULL;
    }
    clq_free(path);
    clq_free(folder);
    return state;
}

void clq_cache_mark_end(clq_cache_mark *mark, bool leave) {
    if (mark->path && mark->fd >= 0) {
        if (!leave) {
            clq_file_ops_now()->unlink(mark->path);
        }
        clq_unfinished_forget(mark->path);
        clq_file_ops_now()->close(mark->fd);
    }
    clq_free(mark->path);
    *mark = (clq_cache_mark){.fd = -1};
}

void clq_cache_drop(const char *kind, clq_cache_key key) {
    char *path = path_of(kind, key);
    if (path) {
        clq_file_ops_now()->unlink(path);
    }
    clq_free(path);
}

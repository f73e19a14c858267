#include "device/cache_folder.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "device/cache_file.h"

enum { KEY_DIGITS = 32, MAGIC_SIZE = 8 };

typedef struct visit {
    clq_cache_survey *survey;
    bool clear, tuning;
    clq_status status; /* of the first removal that failed, with its text */
} visit;

/* ---- names ---- */

static bool are_digits(const char *text, size_t count) {
    return strspn(text, "0123456789abcdef") >= count;
}

/* KIND-KEY.bin */
static bool is_cached(const char *name, char kind[CLQ_CACHE_KIND_SIZE]) {
    const size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (length == 0 || length >= CLQ_CACHE_KIND_SIZE || name[length] != '-' ||
        !are_digits(name + length + 1, KEY_DIGITS) ||
        strcmp(name + length + 1 + KEY_DIGITS, ".bin") != 0) {
        return false;
    }
    memcpy(kind, name, length);
    kind[length] = '\0';
    return true;
}

/* IDENTITY-UNITS.json */
static bool is_table(const char *name) {
    enum { IDENTITY_DIGITS = 16 };
    if (!are_digits(name, IDENTITY_DIGITS) || name[IDENTITY_DIGITS] != '-') {
        return false;
    }
    const char *units = name + IDENTITY_DIGITS + 1;
    const size_t digits = strspn(units, "0123456789");
    return digits > 0 && strcmp(units + digits, ".json") == 0;
}

/* ---- files ---- */

/* Opens a regular file that begins as clquant's do: `magic`, or nothing at all (a mark). -1: it is
 * none. */
static int open_own(const char *path, const char *magic, size_t size, int64_t *bytes) {
    struct stat info;
    char head[MAGIC_SIZE];
    const clq_file_ops *ops = clq_file_ops_now();
    const int fd = ops->open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    const bool own = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
                     (info.st_size == 0 || (ops->read(fd, head, size) == (int64_t)size &&
                                            memcmp(head, magic, size) == 0));
    if (!own) {
        ops->close(fd);
        return -1;
    }
    *bytes = (int64_t)info.st_size;
    return fd;
}

/* False: another process holds it, or it cannot be removed. */
static bool remove_own(visit *v, const char *path, int fd) {
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        v->survey->in_use++;
        return false;
    }
    const clq_status status = clq_file_remove(path);
    v->status = v->status == CLQ_OK ? status : v->status;
    return status == CLQ_OK;
}

static void count(clq_cache_survey *survey, const char *kind, int64_t bytes) {
    int k = 0;
    while (k < survey->kind_count && strcmp(survey->kinds[k].name, kind) != 0) {
        k++;
    }
    if (k == survey->kind_count && k < CLQ_CACHE_KINDS) {
        strcpy(survey->kinds[survey->kind_count++].name, kind);
    }
    if (k < CLQ_CACHE_KINDS) {
        survey->kinds[k].files++;
        survey->kinds[k].bytes += bytes;
    }
    survey->files++;
    survey->bytes += bytes;
}

static void visit_file(visit *v, const char *path, const char *name, bool in_tuning) {
    char kind[CLQ_CACHE_KIND_SIZE] = "";
    int64_t bytes = 0;
    const bool known = in_tuning ? is_table(name) : is_cached(name, kind);
    const int fd = !known      ? -1
                   : in_tuning ? open_own(path, "{", 1, &bytes)
                               : open_own(path, "clqcache", MAGIC_SIZE, &bytes);
    if (fd < 0) {
        v->survey->others++;
        return;
    }
    if (!v->clear || (in_tuning && !v->tuning) || remove_own(v, path, fd)) {
        if (!in_tuning) {
            count(v->survey, kind, bytes);
        } else if (!v->clear || v->tuning) {
            v->survey->tables.files++;
            v->survey->tables.bytes += bytes;
        }
    }
    clq_file_ops_now()->close(fd);
}

static clq_status visit_folder(visit *v, const char *folder, bool in_tuning) {
    char **names = NULL;
    size_t name_count = 0;
    clq_status status = CLQ_OK;
    if (v->clear) {
        clq_remove_unfinished(folder, NULL);
    }
    CLQ_TRY(clq_folder_list(folder, &names, &name_count));
    for (size_t i = 0; i < name_count && status == CLQ_OK; i++) {
        char *path = clq_path_join(folder, names[i]);
        if (!path) {
            status = CLQ_NO_MEMORY;
        } else if (!in_tuning && strcmp(names[i], "tune") == 0 && clq_is_folder(path)) {
            status = visit_folder(v, path, true);
        } else {
            visit_file(v, path, names[i], in_tuning);
        }
        clq_free(path);
    }
    clq_folder_list_free(names, name_count);
    return status;
}

static clq_status visit_all(visit *v) {
    struct stat info;
    char *folder = clq_cache_folder();
    clq_status status = CLQ_OK;
    *v->survey = (clq_cache_survey){.kind_count = 0};
    if (folder && stat(folder, &info) == 0) {
        status = S_ISDIR(info.st_mode) ? visit_folder(v, folder, false)
                                       : clq_fail(CLQ_BAD_DATA, "%s: is no folder", folder);
    }
    clq_free(folder);
    return status == CLQ_OK ? v->status : status;
}

clq_status clq_cache_survey_get(clq_cache_survey *survey) {
    visit v = {.survey = survey};
    return visit_all(&v);
}

clq_status clq_cache_clear(bool tuning, clq_cache_survey *removed) {
    visit v = {.survey = removed, .clear = true, .tuning = tuning};
    return visit_all(&v);
}

/* What the targets share: files to put inputs in, and seeds. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "fuzz.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "fuzz_seeds.h"

void fuzz_check(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "%s: %s\n", what, clq_last_error());
        abort();
    }
}

static void silent(void *context, clq_log_level level, const char *line) {
    (void)context;
    (void)level;
    (void)line;
}

/* libFuzzer has the main function. */
__attribute__((constructor)) static void begin(void) {
    clq_set_log(silent, NULL, CLQ_LOG_ERROR);
}

static char folder[256];

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static void remove_folder(void) {
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void) {
    if (!folder[0]) {
        const char *base = getenv("TMPDIR"); /* in memory, if there is such a folder: much faster */
        snprintf(folder, sizeof folder, "/dev/shm/clq-fuzz-XXXXXX");
        if (!mkdtemp(folder)) {
            snprintf(folder, sizeof folder, "%.200s/clq-fuzz-XXXXXX",
                     base && *base ? base : "/tmp");
            fuzz_check(mkdtemp(folder) != NULL, folder);
        }
        atexit(remove_folder);
    }
    return folder;
}

const char *fuzz_put(const char *name, const void *data, size_t size) {
    static char ring[8][512];
    static unsigned next;
    char *path = ring[next++ % 8], *slash;
    snprintf(path, sizeof ring[0], "%s/%s", fuzz_folder(), name);
    FILE *file = fopen(path, "wb");
    if (!file && (slash = strrchr(path, '/'))) {
        *slash = '\0';
        fuzz_check(clq_make_dirs(path) == CLQ_OK, path);
        *slash = '/';
        file = fopen(path, "wb");
    }
    fuzz_check(file && fwrite(data, 1, size, file) == size && fclose(file) == 0, path);
    return path;
}

char *fuzz_text(const uint8_t *data, size_t size) {
    char *text = clq_calloc(size + 1, 1);
    fuzz_check(text != NULL, "text");
    if (size > 0) {
        memcpy(text, data, size);
    }
    return text;
}

fuzz_seed fuzz_all_seeds[FUZZ_MOST_SEEDS];
size_t fuzz_seed_count;

void fuzz_add(const void *data, size_t size) {
    fuzz_check(fuzz_seed_count < FUZZ_MOST_SEEDS, "too many seeds");
    fuzz_seed *seed = &fuzz_all_seeds[fuzz_seed_count++];
    *seed = (fuzz_seed){malloc(size + 1), size};
    fuzz_check(seed->data != NULL, "seed");
    memcpy(seed->data, data, size);
}

void fuzz_add_text(const char *text) {
    fuzz_add(text, strlen(text));
}

void fuzz_add_file(const char *path) {
    char *full = clq_path_join(CLQ_SOURCE_DIR, path);
    void *data = NULL;
    size_t size = 0;
    fuzz_check(full && clq_file_read(full, 1 << 22, &data, &size) == CLQ_OK, path);
    fuzz_add(data, size);
    clq_free(data);
    clq_free(full);
}

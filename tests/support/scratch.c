/* The scratch folder, and status assertions. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/clq_test.h"

static char folder[512];

const char *clq_test_temp_dir(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/clquant-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(folder)) {
        fail_msg("cannot make the scratch folder %s", folder);
    }
    return folder;
}

const char *clq_test_temp_path(const char *name) {
    static char ring[8][1024];
    static unsigned next;
    char *path = ring[next++ % 8];
    if (!folder[0]) {
        fail_msg("%s: there is no scratch folder; the test needs clq_test_setup_temp_dir", name);
    }
    snprintf(path, sizeof ring[0], "%s/%s", folder, name);
    return path;
}

int clq_test_temp_entries(void) {
    int count = -2; /* "." and ".." */
    DIR *listing = opendir(folder);
    if (!listing) {
        fail_msg("cannot list the scratch folder %s", folder);
        return 0;
    }
    while (readdir(listing)) {
        count++;
    }
    closedir(listing);
    return count;
}

void clq_test_put_zeros(const char *path, int64_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fclose(file) != 0 || truncate(path, size) != 0) {
        fail_msg("cannot make %s", path);
    }
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

void clq_test_remove_temp_dir(void) {
    if (folder[0]) {
        nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        folder[0] = '\0';
    }
}

int clq_test_setup_temp_dir(void **state) {
    (void)state;
    clq_test_temp_dir();
    return 0;
}

int clq_test_teardown_temp_dir(void **state) {
    (void)state;
    clq_test_restore_file_ops();
    clq_test_restore_allocator();
    clq_test_remove_temp_dir();
    return 0;
}

void clq_test_assert_status(clq_status actual, clq_status expected, const char *expression,
                            const char *file, int line) {
    if (actual != expected) {
        print_error("%s: status %d, expected %d: %s\n", expression, (int)actual, (int)expected,
                    clq_last_error());
        _fail(file, line);
    }
}

void clq_test_assert_error_has(const char *part, const char *file, int line) {
    if (!strstr(clq_last_error(), part)) {
        print_error("the error \"%s\" lacks \"%s\"\n", clq_last_error(), part);
        _fail(file, line);
    }
}

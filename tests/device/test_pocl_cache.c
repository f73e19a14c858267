/* Where PoCL keeps its kernels, and where it does when it cannot. */
#include "device/pocl_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "device/choose.h"
#include "support/clq_test.h"

static int warnings;

static void count_warnings(void *context, clq_log_level level, const char *line) {
    (void)context;
    warnings += level == CLQ_LOG_WARN && strstr(line, "PoCL cannot keep its kernels") != NULL;
}

static char tmpdir[512]; /* as it was */

static int setup(void **state) {
    const char *base = getenv("TMPDIR");
    snprintf(tmpdir, sizeof tmpdir, "%s", base ? base : "");
    clq_test_setup_temp_dir(state);
    setenv("TMPDIR", clq_test_temp_path("tmp"), 1);
    assert_ok(clq_make_dirs(clq_test_temp_path("tmp")));
    unsetenv("POCL_CACHE_DIR");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    warnings = 0;
    clq_set_log(count_warnings, NULL, CLQ_LOG_WARN);
    return 0;
}

static int teardown(void **state) {
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    setenv("TMPDIR", tmpdir, 1);
    return clq_test_teardown_temp_dir(state);
}

static void assert_folder(const char *path, const char *from) {
    const char *variable = NULL;
    char *folder = clq_pocl_cache_folder(&variable);
    assert_string_equal(folder, path);
    assert_string_equal(variable, from);
    clq_free(folder);
}

/* PoCL's compiler would end the process. */
static void a_full_disk_is_found(void **state) {
    (void)state;
    const char *place = clq_test_temp_path("tmp");
    assert_ok(clq_pocl_check_space(place, 0));
    assert_status(clq_pocl_check_space(place, UINT64_MAX), CLQ_CANNOT_CREATE);
    assert_error_has(place);
    assert_error_has(" MB left, and kernels take ");
    assert_ok(clq_pocl_check_space(clq_test_temp_path("absent"), UINT64_MAX));
}

static void variables_are_read_as_pocl_does(void **state) {
    (void)state;
    assert_folder("/tmp/pocl/kcache", "");
    setenv("HOME", "/h", 1);
    assert_folder("/h/.cache/pocl/kcache", "HOME");
    setenv("XDG_CACHE_HOME", "/x", 1);
    assert_folder("/x/pocl/kcache", "XDG_CACHE_HOME");
    setenv("POCL_CACHE_DIR", "/p", 1);
    assert_folder("/p", "POCL_CACHE_DIR");
    setenv("POCL_CACHE_DIR", "", 1);
    assert_folder("/x/pocl/kcache", "XDG_CACHE_HOME");
}

static void a_folder_that_can_be_made_is_taken(void **state) {
    (void)state;
    char *warning = NULL;
    setenv("HOME", clq_test_temp_path("home"), 1);
    assert_ok(clq_pocl_cache_prepare(&warning));
    assert_null(warning);
    assert_null(getenv("POCL_CACHE_DIR"));
    assert_false(clq_is_folder(clq_test_temp_path("home"))); /* PoCL makes it, where there is one */
    assert_ok(clq_make_dirs(clq_test_temp_path("home/.cache/pocl/kcache")));
    assert_ok(clq_pocl_cache_prepare(&warning));
    assert_null(warning);
}

static void another_is_made_with_a_warning(void **state) {
    (void)state;
    char own[512], *warning = NULL;
    struct stat info;
    snprintf(own, sizeof own, "tmp/clquant-pocl-%lu", (unsigned long)geteuid());
    assert_ok(clq_file_write_atomic(clq_test_temp_path("file"), "x", 1));
    static const char *const variables[] = {"HOME", "XDG_CACHE_HOME", "POCL_CACHE_DIR"};
    for (int i = 0; i < 3; i++) {
        setenv(variables[i], clq_test_temp_path("file/home"), 1); /* a file is no folder */
        assert_ok(clq_pocl_cache_prepare(&warning));
        assert_non_null(warning);
        assert_non_null(strstr(warning, variables[i]));
        assert_non_null(strstr(warning, "cannot create the folder"));
        assert_non_null(strstr(warning, own));
        assert_string_equal(getenv("POCL_CACHE_DIR"), clq_test_temp_path(own));
        clq_free(warning);
        assert_ok(clq_pocl_cache_prepare(&warning)); /* it is the one now */
        assert_null(warning);
        unsetenv("POCL_CACHE_DIR");
    }
    assert_int_equal(stat(clq_test_temp_path(own), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
}

/* What is run from it must be this user's own. */
static void one_that_others_may_write_is_not_taken(void **state) {
    (void)state;
    char own[512], *warning = NULL;
    snprintf(own, sizeof own, "tmp/clquant-pocl-%lu", (unsigned long)geteuid());
    assert_ok(clq_file_write_atomic(clq_test_temp_path("file"), "x", 1));
    setenv("HOME", clq_test_temp_path("file/home"), 1);
    assert_ok(clq_make_dirs(clq_test_temp_path(own)));
    assert_int_equal(chmod(clq_test_temp_path(own), 0777), 0);
    assert_status(clq_pocl_cache_prepare(&warning), CLQ_CANNOT_CREATE);
    assert_error_has("POCL_CACHE_DIR");
    assert_error_has("is not a folder of this user's alone");
    assert_int_equal(rmdir(clq_test_temp_path(own)), 0);
    assert_int_equal(symlink("/tmp", clq_test_temp_path(own)), 0);
    assert_status(clq_pocl_cache_prepare(&warning), CLQ_CANNOT_CREATE);
    assert_null(getenv("POCL_CACHE_DIR"));
}

/* Without a folder PoCL 3.1 has no device. */
static void pocl_has_its_device(void **state) {
    (void)state;
    clq_found_device *found = NULL;
    size_t count = 0, pocl = 0;
    assert_ok(clq_file_write_atomic(clq_test_temp_path("file"), "x", 1));
    setenv("POCL_CACHE_DIR", clq_test_temp_path("file/x"), 1);
    const clq_status status = clq_find_devices(&found, &count);
    for (size_t i = 0; i < count; i++) {
        pocl += strcmp(found[i].info.platform, "Portable Computing Language") == 0;
    }
    clq_free(found);
    if (status != CLQ_OK || pocl + (size_t)warnings == 0) {
        clq_test_skip("there is no PoCL here");
    }
    assert_int_equal(warnings, 1);
    assert_true(pocl > 0);
    assert_non_null(strstr(getenv("POCL_CACHE_DIR"), "clquant-pocl-"));
}

int main(void) {
#define IN_TEMP_DIR(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_TEMP_DIR(a_full_disk_is_found),
        IN_TEMP_DIR(variables_are_read_as_pocl_does),
        IN_TEMP_DIR(a_folder_that_can_be_made_is_taken),
        IN_TEMP_DIR(another_is_made_with_a_warning),
        IN_TEMP_DIR(pocl_has_its_device),
        IN_TEMP_DIR(one_that_others_may_write_is_not_taken),
    };
    return cmocka_run_group_tests_name("device/pocl_cache", tests, NULL, NULL);
}

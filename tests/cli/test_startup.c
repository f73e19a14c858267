/* What `bench --startup` runs as a child, which here is this program itself: see child(). */
#include "cli/startup.c" /* of the command, which is no library; first, for what it defines */

#include "base/files.h"
#include "support/clq_test.h"

/* ---- the child ---- */

/* Says in the file $CLQ_TEST_LOG which cache folder it was given and how many files are in it, and
 * leaves one more there; then does as it was told. */
static int child(const char *what) {
    const char *cache = getenv("CLQUANT_CACHE_DIR");
    char **names = NULL;
    size_t count = 0;
    char name[64];
    if (clq_make_dirs(cache) != CLQ_OK || clq_folder_list(cache, &names, &count) != CLQ_OK) {
        return 70;
    }
    clq_folder_list_free(names, count);
    snprintf(name, sizeof name, "file%zu", count);
    char *path = clq_path_join(cache, name);
    const clq_status written = clq_file_write_atomic(path, "x", 1);
    clq_free(path);
    FILE *log = fopen(getenv("CLQ_TEST_LOG"), "a");
    if (written != CLQ_OK || !log) {
        return 70;
    }
    fprintf(log, "%zu %s %s\n", count, cache, getenv("POCL_CACHE_DIR"));
    fclose(log);
    if (strcmp(what, "fail") == 0) {
        return CLQ_BAD_DATA;
    }
    if (strcmp(what, "die") == 0) {
        raise(SIGKILL);
    }
    if (strcmp(what, "result") == 0) {
        puts("result");
    }
    return 0;
}

/* ---- the parent ---- */

static int setup(void **state) {
    clq_test_setup_temp_dir(state);
    setenv("CLQ_TEST_LOG", clq_test_temp_path("log"), 1);
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("users"), 1);
    setenv("TMPDIR", clq_test_temp_path("temporary"), 1);
    return clq_make_dirs(clq_test_temp_path("temporary")) == CLQ_OK ? 0 : -1;
}

static clq_status start(const char *what, clq_bench_startup *startup) {
    const char *const argv[] = {"test", what, NULL};
    *startup = (clq_bench_startup){0};
    return clq_startup_measure((char *const *)argv, startup);
}

/* rmdir takes empty folders only. */
static void assert_nothing_is_left(void) {
    assert_int_equal(rmdir(clq_test_temp_path("temporary")), 0);
    assert_ok(clq_make_dirs(clq_test_temp_path("temporary")));
    assert_false(clq_file_exists(clq_test_temp_path("users")));
    assert_string_equal(getenv("CLQUANT_CACHE_DIR"), clq_test_temp_path("users"));
}

static void children_share_one_fresh_cache(void **state) {
    char cache[3][512], pocl[3][512];
    clq_bench_startup startup;
    (void)state;
    unlink(clq_test_temp_path("log"));
    assert_ok(start("result", &startup));
    assert_true(startup.cold > 0 && startup.second > 0 && startup.warm > 0);
    FILE *log = fopen(clq_test_temp_path("log"), "r");
    assert_non_null(log);
    for (size_t i = 0; i < 3; i++) {
        size_t count = 99;
        assert_int_equal(fscanf(log, "%zu %511s %511s", &count, cache[i], pocl[i]), 3);
        assert_int_equal(count, i); /* empty, as the first left it, as the second did */
        assert_string_equal(cache[i], cache[0]);
        assert_string_equal(pocl[i], pocl[0]);
        assert_int_equal(strncmp(cache[i], getenv("TMPDIR"), strlen(getenv("TMPDIR"))), 0);
        assert_int_equal(strncmp(pocl[i], getenv("TMPDIR"), strlen(getenv("TMPDIR"))), 0);
    }
    fclose(log);
    assert_string_not_equal(cache[0], pocl[0]);
    assert_nothing_is_left();
}

static void failing_children_are_reported(void **state) {
    clq_bench_startup startup;
    (void)state;
    assert_status(start("fail", &startup), CLQ_BAD_DATA);
    assert_error_has("ended with exit code 65");
    assert_nothing_is_left();
    assert_status(start("die", &startup), CLQ_INTERNAL);
    assert_error_has("gave no result");
    assert_nothing_is_left();
    assert_status(start("silent", &startup), CLQ_INTERNAL);
    assert_error_has("gave no result");
    assert_nothing_is_left();
}

static void folder_that_cannot_be_made_is_named(void **state) {
    clq_bench_startup startup;
    char before[512];
    (void)state;
    snprintf(before, sizeof before, "%s", getenv("TMPDIR"));
    setenv("TMPDIR", clq_test_temp_path("nowhere"), 1);
    assert_status(start("result", &startup), CLQ_CANNOT_CREATE);
    assert_error_has("nowhere/clquant-startup-");
    setenv("TMPDIR", before, 1);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        return child(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_share_one_fresh_cache),
        cmocka_unit_test(failing_children_are_reported),
        cmocka_unit_test(folder_that_cannot_be_made_is_named),
    };
    return cmocka_run_group_tests(tests, setup, clq_test_teardown_temp_dir);
}

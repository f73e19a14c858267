/* clquant cache: counts what clquant keeps, and removes that and nothing else. */
#include <fcntl.h>
#include <jansson.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"

#define KEY "0123456789abcdef0123456789abcdef"

static char folder[512];

static const char *in(const char *name) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text) {
    FILE *file = fopen(in(name), "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool is_there(const char *name) {
    struct stat info;
    return lstat(in(name), &info) == 0;
}

/* Files as clquant writes them, and others that only look like it. */
static void fill(void) {
    mkdir(folder, 0777);
    mkdir(in("tune"), 0777);
    put("program-" KEY ".bin", "clqcache and what follows");
    put("probe-" KEY ".bin", "clqcache");
    put("trying-" KEY ".bin", "");
    put("tune/0123456789abcdef-2.json", "{}");
    put("program-" KEY ".binx", "clqcache");
    put("other-" KEY ".bin", "something else");
    put("notes.txt", "mine");
    put("tune/notes.json", "{}");
    put("precious.bin", "clqcache");
    unlink(in("link-" KEY ".bin"));
    assert_int_equal(symlink("precious.bin", in("link-" KEY ".bin")), 0);
    mkdir(in("folder-" KEY ".bin"), 0777);
}

static void assert_others_stay(void) {
    static const char *const others[] = {
        "program-" KEY ".binx", "other-" KEY ".bin", "notes.txt",         "tune/notes.json",
        "precious.bin",         "link-" KEY ".bin",  "folder-" KEY ".bin"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_true(is_there(others[i]));
    }
}

static int setup(void **state) {
    if (clq_test_setup_temp_dir(state) != 0) {
        return -1;
    }
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("cache"));
    setenv("CLQUANT_CACHE_DIR", folder, 1);
    setenv("POCL_CACHE_DIR", clq_test_temp_path("pocl"), 1);
    unsetenv("CLQUANT_CACHE");
    unsetenv("CLQUANT_TUNE");
    return 0;
}

static void it_is_counted(void **state) {
    (void)state;
    json_error_t error;
    assert_exit(0, "cache");
    assert_printed("nothing");
    fill();
    mkdir(clq_test_temp_path("pocl"), 0777);
    mkdir(clq_test_temp_path("pocl/deep"), 0777);
    text_file("pocl/deep/program", "twelve bytes");
    assert_exit(0, "cache");
    assert_printed(folder);
    assert_printed("(CLQUANT_CACHE_DIR)");
    assert_printed("and 7 that clquant did not write");
    assert_exit(0, "cache --json");
    json_t *json = json_loads(command_output, 0, &error);
    json_int_t files, bytes, tables, programs, others, pocl_files, pocl_bytes;
    assert_int_equal(json_unpack(json, "{s:{s:I, s:I, s:I, s:{s:I}, s:{s:{s:I}}}, s:{s:I, s:I}}",
                                 "clquant", "files", &files, "bytes", &bytes, "others", &others,
                                 "tuning", "files", &tables, "kinds", "program", "files", &programs,
                                 "pocl", "files", &pocl_files, "bytes", &pocl_bytes),
                     0);
    assert_int_equal(files, 3);
    assert_int_equal(bytes, 25 + 8);
    assert_int_equal(tables, 1);
    assert_int_equal(programs, 1);
    assert_int_equal(others, 7);
    assert_int_equal(pocl_files, 1);
    assert_int_equal(pocl_bytes, 12);
    json_decref(json);
}

static void only_its_own_goes(void **state) {
    (void)state;
    fill();
    const int held = open(in("trying-" KEY ".bin"), O_RDWR); /* of a process that is alive */
    assert_int_equal(flock(held, LOCK_EX), 0);
    assert_exit(0, "cache --clear");
    assert_printed("removed 2 files");
    assert_printed("left: 1 that another process holds");
    assert_printed("left: 7 that clquant did not write");
    assert_false(is_there("program-" KEY ".bin"));
    assert_false(is_there("probe-" KEY ".bin"));
    assert_true(is_there("trying-" KEY ".bin"));
    assert_true(is_there("tune/0123456789abcdef-2.json"));
    assert_others_stay();
    close(held);
    assert_exit(0, "cache --clear-tuning");
    assert_printed("removed 2 files");
    assert_false(is_there("trying-" KEY ".bin"));
    assert_false(is_there("tune/0123456789abcdef-2.json"));
    assert_others_stay();
    assert_exit(0, "cache --clear");
    assert_printed("removed 0 files");
}

static void strange_folders(void **state) {
    (void)state;
    setenv("CLQUANT_CACHE_DIR", text_file("file", "x"), 1);
    assert_exit(CLQ_BAD_DATA, "cache");
    assert_printed("is no folder");
    assert_exit(CLQ_BAD_DATA, "cache --clear");
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("absent"), 1);
    assert_exit(0, "cache --clear");
    assert_printed("removed 0 files");
    setenv("CLQUANT_CACHE_DIR", "/", 1); /* nothing there has such a name */
    assert_exit(0, "cache --clear");
    assert_printed("removed 0 files");
    setenv("CLQUANT_CACHE", "off", 1);
    assert_exit(0, "cache");
    assert_printed("keeps nothing");
    assert_exit(CLQ_USAGE, "cache --clear");
    unsetenv("CLQUANT_CACHE");
    setenv("CLQUANT_CACHE_DIR", folder, 1);
}

/* What real commands leave is all known, and made again. */
static void a_real_one(void **state) {
    (void)state;
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("real"), 1);
    assert_exit(0, "devices --no-peak");
    assert_exit(0, "cache --json");
    assert_printed("\"others\": 0");
    assert_printed("\"probe\"");
    assert_exit(0, "cache --clear-tuning");
    assert_exit(0, "cache");
    assert_printed("nothing");
    setenv("CLQUANT_CACHE_DIR", folder, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_counted),
        cmocka_unit_test(only_its_own_goes),
        cmocka_unit_test(strange_folders),
        cmocka_unit_test(a_real_one),
    };
    return cmocka_run_group_tests(tests, setup, clq_test_teardown_temp_dir);
}

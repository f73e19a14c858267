/* The table of tuned choices: kept, joined, damaged, of another device, off, shared. */
#include "support/clq_test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "device/tuning.h"

static int warnings;
static char last_warning[512];

static void count_warnings(void *context, clq_log_level level, const char *line) {
    (void)context;
    if (level == CLQ_LOG_WARN) {
        warnings++;
        snprintf(last_warning, sizeof last_warning, "%s", line);
    }
}

static int setup(void **state) {
    clq_test_setup_temp_dir(state);
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("cache"), 1);
    unsetenv("CLQUANT_CACHE");
    unsetenv("CLQUANT_TUNE");
    warnings = 0;
    clq_set_log(count_warnings, NULL, CLQ_LOG_INFO);
    return 0;
}

static int teardown(void **state) {
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    unsetenv("CLQUANT_CACHE");
    unsetenv("CLQUANT_TUNE");
    return clq_test_teardown_temp_dir(state);
}

static clq_device *open_device(void) {
    clq_device *device = NULL;
    assert_ok(clq_device_open(NULL, &device));
    return device;
}

/* One entry into the file, from a device of its own. */
static void keep(const char *key, const char *choice) {
    clq_device *device = open_device();
    assert_ok(clq_tuning_set(device, key, choice));
    assert_ok(clq_tuning_save(device));
    clq_device_close(device);
}

/* What a device that is opened now says about a key; in a static buffer. */
static const char *recall(const char *key) {
    static char choice[256];
    clq_device *device = open_device();
    const char *found = clq_tuning_find(device, key);
    snprintf(choice, sizeof choice, "%s", found ? found : "");
    clq_device_close(device);
    return found ? choice : NULL;
}

static const char *file_path(void) {
    static char path[512];
    clq_device *device = open_device();
    char *found = clq_tuning_path(device);
    snprintf(path, sizeof path, "%s", found);
    clq_free(found);
    clq_device_close(device);
    return path;
}

static void test_round_trip(void **state) {
    (void)state;
    assert_null(recall("a"));
    keep("a", "tile=5x2");
    keep("b", "tile=6x2"); /* from a device that also knows a */
    assert_string_equal(recall("a"), "tile=5x2");
    assert_string_equal(recall("b"), "tile=6x2");
    keep("a", "default");
    assert_string_equal(recall("a"), "default");
    assert_non_null(strstr(file_path(), "cache/tune/"));
    assert_int_equal(warnings, 0);
}

static void test_remove(void **state) {
    (void)state;
    clq_device *device = open_device();
    assert_ok(clq_tuning_set(device, "a", "tile=5x2"));
    assert_ok(clq_tuning_set(device, "a", NULL));
    assert_ok(clq_tuning_set(device, "never there", NULL));
    assert_null(clq_tuning_find(device, "a"));
    clq_device_close(device);
}

/* What another process added since this device was opened is not lost. */
static void test_saves_join(void **state) {
    (void)state;
    clq_device *first = open_device();
    keep("theirs", "x");
    assert_ok(clq_tuning_set(first, "ours", "y"));
    assert_ok(clq_tuning_save(first));
    assert_string_equal(clq_tuning_find(first, "theirs"), "x");
    clq_device_close(first);
    assert_string_equal(recall("theirs"), "x");
    assert_string_equal(recall("ours"), "y");
}

static void test_bad_files_are_ignored_with_a_warning(void **state) {
    (void)state;
    static const struct {
        const char *text, *warning;
    } cases[] = {
        {"", "1:"},
        {"{", "1:"},
        {"[]", "object"},
        {"{\"schema\": 2}", "schema"},
        {"{\"identity\": \"x\"}", "schema"},
        {"{\"schema\": 1, \"identity\": \"0123456789abcdef-1\", \"choices\": {\"a\": \"b\"}}",
         "0123456789abcdef-1"},
        {"{\"schema\": 1, \"choices\": {\"a\": \"b\"}}", "made for"},
    };
    const char *path = file_path();
    keep("a", "tile=5x2");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(clq_file_write_atomic(path, cases[i].text, strlen(cases[i].text)));
        warnings = 0;
        assert_null(recall("a"));
        assert_int_equal(warnings, 1);
        assert_non_null(strstr(last_warning, path));
        if (!strstr(last_warning, cases[i].warning)) {
            fail_msg("\"%s\" is missing in: %s", cases[i].warning, last_warning);
        }
    }
    keep("a", "tile=6x2"); /* replaces it */
    assert_string_equal(recall("a"), "tile=6x2");
}

/* Every byte of a good file changed in turn: read whole or ignored, never worse. */
static void test_damaged_anywhere(void **state) {
    (void)state;
    const char *path = file_path();
    void *good = NULL;
    size_t size;
    keep("a", "tile=5x2");
    clq_device *device = open_device();
    assert_ok(clq_file_read(path, 1 << 20, &good, &size));
    for (size_t i = 0; i < size; i++) {
        ((char *)good)[i] ^= 0x15;
        assert_ok(clq_file_write_atomic(path, good, size));
        ((char *)good)[i] ^= 0x15;
        clq_tuning_close(device);
        assert_ok(clq_tuning_open(device));
        clq_tuning_find(device, "a");
    }
    clq_free(good);
    clq_device_close(device);
}

static void test_choices_must_be_texts(void **state) {
    (void)state;
    char text[512];
    const char *path = file_path(), *name = clq_path_basename(path);
    const int identity = (int)(strlen(name) - strlen(".json"));
    static const char *const choices[] = {"[]", "{\"a\": 3}", "3"};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        snprintf(text, sizeof text, "{\"schema\": 1, \"identity\": \"%.*s\", \"choices\": %s}",
                 identity, name, choices[i]);
        assert_ok(clq_make_dirs(clq_test_temp_path("cache/tune")));
        assert_ok(clq_file_write_atomic(path, text, strlen(text)));
        warnings = 0;
        assert_null(recall("a"));
        assert_int_equal(warnings, 1);
    }
}

static void test_off(void **state) {
    (void)state;
    keep("a", "tile=5x2");
    setenv("CLQUANT_TUNE", "off", 1);
    assert_null(recall("a"));
    clq_device *device = open_device();
    assert_ok(clq_tuning_set(device, "a", "tile=6x2"));
    assert_status(clq_tuning_save(device), CLQ_USAGE);
    clq_device_close(device);
    unsetenv("CLQUANT_TUNE");
    setenv("CLQUANT_CACHE", "0", 1);
    assert_null(recall("a"));
    unsetenv("CLQUANT_CACHE");
    assert_string_equal(recall("a"), "tile=5x2");
}

static void test_named_file(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", clq_test_temp_path("some/where.json"));
    setenv("CLQUANT_TUNE", path, 1);
    assert_null(recall("a"));
    assert_int_equal(warnings, 1); /* a name that leads nowhere is likely a mistake */
    keep("a", "tile=5x2");
    assert_int_equal(warnings, 2);
    assert_true(clq_file_exists(path));
    assert_string_equal(recall("a"), "tile=5x2");
    unsetenv("CLQUANT_TUNE");
    assert_null(recall("a"));
    assert_int_equal(warnings, 2);
}

/* What the user named and is something else stays. */
static void test_named_file_of_another_kind(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", clq_test_temp_path("recipe.json"));
    assert_ok(clq_file_write_atomic(path, "{\"train\": {}}", 13));
    setenv("CLQUANT_TUNE", path, 1);
    clq_device *device = open_device();
    assert_ok(clq_tuning_set(device, "a", "tile=5x2"));
    assert_status(clq_tuning_save(device), CLQ_BAD_DATA);
    assert_error_has("recipe.json");
    assert_error_has("is not replaced");
    clq_device_close(device);
    void *data = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(path, 100, &data, &size));
    assert_string_equal(data, "{\"train\": {}}");
    clq_free(data);
    unsetenv("CLQUANT_TUNE");
}

static void test_unusable_folder(void **state) {
    (void)state;
    setenv("CLQUANT_TUNE", clq_test_temp_path("file/below.json"), 1);
    assert_ok(clq_file_write_atomic(clq_test_temp_path("file"), "x", 1));
    clq_device *device = open_device();
    assert_ok(clq_tuning_set(device, "a", "tile=5x2"));
    assert_true(clq_tuning_save(device) != CLQ_OK);
    setenv("CLQUANT_TUNE", clq_test_temp_path("tuned.json"), 1);
    for (long n = 1; n < 60; n++) {
        clq_test_fail_file_op(n, n % 2 ? EIO : ENOSPC);
        const clq_status status = clq_tuning_save(device);
        const long made = clq_test_file_ops();
        assert_int_equal(clq_test_open_files(), 0);
        clq_test_restore_file_ops();
        if (made < n) {
            assert_ok(status);
            break;
        }
    }
    clq_device_close(device);
    assert_string_equal(recall("a"), "tile=5x2");
}

static void test_out_of_memory(void **state) {
    (void)state;
    keep("a", "tile=5x2");
    clq_device *device = open_device();
    for (long nth = 1;; nth++) {
        clq_test_fail_allocation(nth);
        clq_tuning_close(device);
        clq_status status = clq_tuning_open(device);
        if (status == CLQ_OK) {
            status = clq_tuning_set(device, "b", "tile=6x2");
        }
        if (status == CLQ_OK) {
            status = clq_tuning_save(device);
        }
        const bool failed = clq_test_allocations() >= nth;
        clq_test_restore_allocator();
        if (!failed) {
            assert_ok(status);
            break;
        }
    }
    clq_device_close(device);
    assert_string_equal(recall("a"), "tile=5x2");
    assert_string_equal(recall("b"), "tile=6x2");
}

static void *save_often(void *argument) {
    clq_device *device = argument;
    for (int i = 0; i < 20; i++) {
        char key[32];
        snprintf(key, sizeof key, "%p-%d", argument, i);
        if (clq_tuning_set(device, key, "z") != CLQ_OK || clq_tuning_save(device) != CLQ_OK) {
            return "cannot save";
        }
    }
    return NULL;
}

/* Writers of one file never leave a mixture: whoever opens it finds a whole table. And none loses
 * what another one has added. */
static void test_concurrent_writers(void **state) {
    (void)state;
    enum { WRITERS = 4 };
    clq_device *devices[WRITERS];
    pthread_t threads[WRITERS];
    keep("common", "x");
    for (int i = 0; i < WRITERS; i++) {
        devices[i] = open_device();
        assert_ok(clq_tuning_set(devices[i], i % 2 ? "odd" : "even", "y"));
        assert_int_equal(pthread_create(&threads[i], NULL, save_often, devices[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        assert_string_equal(recall("common"), "x");
    }
    for (int i = 0; i < WRITERS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    clq_device *reader = open_device();
    for (int i = 0; i < WRITERS; i++) {
        for (int k = 0; k < 20; k++) {
            char key[32];
            snprintf(key, sizeof key, "%p-%d", (void *)devices[i], k);
            assert_non_null(clq_tuning_find(reader, key));
        }
    }
    clq_device_close(reader);
    for (int i = 0; i < WRITERS; i++) {
        clq_device_close(devices[i]);
    }
    assert_string_equal(recall("common"), "x");
    assert_int_equal(warnings, 0);
}

#define TUNING_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TUNING_TEST(test_round_trip),
        TUNING_TEST(test_remove),
        TUNING_TEST(test_saves_join),
        TUNING_TEST(test_bad_files_are_ignored_with_a_warning),
        TUNING_TEST(test_damaged_anywhere),
        TUNING_TEST(test_choices_must_be_texts),
        TUNING_TEST(test_off),
        TUNING_TEST(test_named_file),
        TUNING_TEST(test_named_file_of_another_kind),
        TUNING_TEST(test_unusable_folder),
        TUNING_TEST(test_out_of_memory),
        TUNING_TEST(test_concurrent_writers),
    };
    return cmocka_run_group_tests_name("tuning", tests, NULL, NULL);
}

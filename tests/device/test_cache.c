/* The cache of programs and probe outcomes: cold, warm, damaged, off, unusable. */
#include "support/clq_test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "clquant/device.h"
#include "device/cache_file.h"
#include "device/internal.h"
#include "device/program_cache.h"

static const clq_kernel_entry entry = {
    "test_cached", "cached.cl", "__kernel void test_cached(__global int *out) { out[0] = 42; }\n"};

static int setup(void **state) {
    clq_test_setup_temp_dir(state);
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("cache"), 1);
    unsetenv("CLQUANT_CACHE");
    return 0;
}

static int teardown(void **state) {
    unsetenv("CLQUANT_CACHE");
    return clq_test_teardown_temp_dir(state);
}

/* Files of a kind in the cache folder; *last is one of them. */
static size_t count_files(const char *kind, char last[512]) {
    char **names = NULL;
    size_t count = 0, found = 0;
    const char *folder = clq_test_temp_path("cache");
    if (!clq_is_folder(folder)) {
        return 0;
    }
    assert_ok(clq_folder_list(folder, &names, &count));
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], kind, strlen(kind)) == 0) {
            found++;
            if (last) {
                snprintf(last, 512, "%s/%s", folder, names[i]);
            }
        }
    }
    clq_folder_list_free(names, count);
    return found;
}

/* Opens a device that keeps programs, whichever it is. */
static clq_device *open_device(void) {
    clq_device *device = NULL;
    assert_ok(clq_device_open(NULL, &device));
    device->restores_programs = true;
    return device;
}

/* Opens a device, runs the kernel. */
static void use(void) {
    clq_device *device = open_device();
    clq_kernel *kernel = NULL;
    clq_buffer *out = NULL;
    int32_t got = 0;
    assert_ok(clq_kernel_get_entry(device, &entry, NULL, CLQ_DOT_PORTABLE, &kernel));
    assert_ok(clq_buffer_create(device, 4, &out));
    assert_ok(CLQ_LAUNCH(device, kernel, CLQ_RANGE1(1), CLQ_BUF(out)));
    assert_ok(clq_buffer_read(out, 0, 4, &got));
    assert_int_equal(got, 42);
    clq_buffer_release(out);
    clq_device_close(device);
}

static void flip_byte(const char *path, size_t offset) {
    void *data = NULL;
    size_t size;
    assert_ok(clq_file_read(path, 1 << 28, &data, &size));
    assert_true(offset < size);
    ((char *)data)[offset] ^= 1;
    assert_ok(clq_file_write_atomic(path, data, size));
    clq_free(data);
}

static void test_cold_and_warm(void **state) {
    (void)state;
    char path[512];
    use();
    assert_int_equal(count_files("probe-", NULL), 1);
    size_t programs = count_files("program-", path);
    assert_true(programs >= 1);
    use();
    assert_int_equal(count_files("program-", NULL), programs);
    assert_int_equal(count_files("trying-", NULL), 0);
    assert_true(clq_file_exists(path));
}

/* PoCL keeps its own programs, and 6.0 dies of some that are restored. */
static void test_pocl_keeps_its_own(void **state) {
    (void)state;
    clq_device *device = NULL;
    assert_ok(clq_device_open(NULL, &device));
    if (strcmp(clq_device_get_info(device)->platform, "Portable Computing Language") == 0) {
        assert_false(device->restores_programs);
        assert_int_equal(count_files("program-", NULL), 0);
    }
    clq_device_close(device);
}

/* Restores the entry's program; the caller closes the device, or dies before that. */
static clq_kernel *restore_kernel(clq_device *device) {
    clq_kernel *kernel = NULL;
    assert_ok(clq_kernel_get_entry(device, &entry, NULL, CLQ_DOT_PORTABLE, &kernel));
    return kernel;
}

static int warnings;
static char warning[1024];

static void keep_warning(void *context, clq_log_level level, const char *line) {
    (void)context;
    (void)level;
    warnings++;
    snprintf(warning, sizeof warning, "%s", line);
}

/* Closes the device, and leaves its mark as a process that crashed does: unlocked. */
static void die(clq_device *device) {
    clq_cache_mark_end(&device->mark, true);
    device->trials = 0;
    clq_device_close(device);
}

/* A process that ends between restoring a program and its first launch, as when the driver fails an
 * assertion there: later ones build from the source, keep nothing and go on. */
static void test_crash_while_restoring(void **state) {
    (void)state;
    char mark[512];
    use();
    assert_true(count_files("program-", NULL) >= 1);
    clq_device *device = open_device();
    clq_kernel *kernel = restore_kernel(device);
    assert_true(kernel->program->restored);
    assert_int_equal(count_files("trying-", NULL), 1);
    kernel->on_trial = false; /* closing does not tidy up, like a process that was aborted */
    die(device);
    clq_set_log(keep_warning, NULL, CLQ_LOG_WARN);
    for (int run = 0; run < 2; run++) {
        device = open_device();
        warnings = 0;
        assert_false(restore_kernel(device)->program->restored);
        assert_false(device->restores_programs);
        assert_int_equal(count_files("trying-", mark), 1);
        assert_int_equal(warnings, 1);
        assert_non_null(strstr(warning, mark));
        assert_non_null(strstr(warning, clq_device_get_info(device)->driver));
        clq_device_close(device);
        use();
    }
    assert_int_equal(unlink(mark), 0);
    device = open_device();
    assert_true(restore_kernel(device)->program->restored);
    clq_device_close(device);
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
}

/* A signal that the command handles is no crash, and an error of the driver is one. */
static void test_mark_at_signal(void **state) {
    (void)state;
    clq_device *device = open_device();
    assert_true(clq_program_trial_begin(device));
    assert_int_equal(count_files("trying-", NULL), 1);
    clq_writers_abandon(); /* what a handler calls */
    assert_int_equal(count_files("trying-", NULL), 0);
    clq_program_trial_end(device, false);
    assert_true(clq_program_trial_begin(device));
    assert_true(clq_program_trial_begin(device));
    clq_program_trial_end(device, true);
    clq_program_trial_end(device, false);
    clq_writers_abandon();
    assert_int_equal(count_files("trying-", NULL), 1);
    assert_false(device->restores_programs);
    clq_device_close(device);
}

/* Another process at work: no warning, and nothing is kept meanwhile. */
static void test_mark_of_a_living(void **state) {
    (void)state;
    clq_device *first = open_device(), *second = open_device();
    assert_true(clq_program_trial_begin(first));
    clq_set_log(keep_warning, NULL, CLQ_LOG_WARN);
    warnings = 0;
    assert_false(clq_program_trial_begin(second));
    assert_int_equal(warnings, 0);
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    clq_program_trial_end(first, false);
    assert_int_equal(count_files("trying-", NULL), 0);
    clq_device_close(first);
    clq_device_close(second);
}

/* The same while a binary is made of a built program. */
static void test_crash_while_storing(void **state) {
    (void)state;
    clq_device *device = open_device();
    assert_true(clq_program_trial_begin(device));
    die(device);
    use();
    assert_int_equal(count_files("program-", NULL), 0);
    assert_int_equal(count_files("trying-", NULL), 1);
}

/* A kernel that was never launched is no crash; one that has run ends the trial. */
static void test_trial_ends(void **state) {
    (void)state;
    use();
    clq_device *device = open_device();
    clq_kernel *kernel = restore_kernel(device);
    clq_device_close(device);
    assert_int_equal(count_files("trying-", NULL), 0);
    device = open_device();
    clq_buffer *out = NULL;
    kernel = restore_kernel(device);
    assert_true(kernel->program->restored);
    assert_ok(clq_buffer_create(device, 4, &out));
    assert_ok(CLQ_LAUNCH(device, kernel, CLQ_RANGE1(1), CLQ_BUF(out)));
    assert_int_equal(count_files("trying-", NULL), 0);
    clq_buffer_release(out);
    clq_device_close(device);
}

static void test_damaged_program(void **state) {
    (void)state;
    static const size_t offsets[] = {0, 8, 16, 31, 32, 40, 48, 1000};
    char path[512];
    use();
    use();
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        assert_true(count_files("program-", path) >= 1);
        flip_byte(path, offsets[i]);
        use(); /* builds it and writes it again */
        use();
        void *data = NULL;
        size_t size;
        assert_ok(clq_file_read(path, 1 << 28, &data, &size));
        assert_memory_equal(data, "clqcache\1\0\0\0\0\0\0\0", 16);
        clq_free(data);
    }
}

static void test_truncated(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 47, 48, 49};
    char path[512];
    use();
    use();
    assert_true(count_files("program-", path) >= 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *data = NULL;
        size_t size;
        assert_ok(clq_file_read(path, 1 << 28, &data, &size));
        assert_ok(clq_file_write_atomic(path, data, sizes[i]));
        clq_free(data);
        use();
        assert_ok(clq_file_read(path, 1 << 28, &data, &size));
        assert_true(size > 49);
        clq_free(data);
    }
}

/* A file that is whole but holds no program of this driver. */
static void test_foreign_binary(void **state) {
    (void)state;
    clq_device *device = open_device();
    clq_cache_key key = clq_cache_key_start();
    clq_cache_key_add(&key, &device->identity, sizeof device->identity);
    clq_cache_key_add_text(&key, "options");
    clq_cache_key_add_text(&key, "source");
    clq_cache_store("program", key, "certainly no program", 20);
    assert_null(clq_program_cache_load(device, "source", "options", "f"));
    clq_device_close(device);
}

static void test_damaged_outcome(void **state) {
    (void)state;
    char path[512];
    clq_device *device = NULL;
    use();
    assert_int_equal(count_files("probe-", path), 1);
    flip_byte(path, 48);
    assert_ok(clq_device_open(NULL, &device)); /* probes again */
    clq_device_info again = *clq_device_get_info(device);
    clq_device_close(device);
    setenv("CLQUANT_CACHE", "off", 1);
    assert_ok(clq_device_open(NULL, &device));
    const clq_device_info *probed = clq_device_get_info(device);
    assert_int_equal(again.dots, probed->dots);
    assert_int_equal(again.dot, probed->dot);
    assert_int_equal(again.simd_bytes, probed->simd_bytes);
    assert_int_equal(again.is_host_cpu, probed->is_host_cpu);
    clq_device_close(device);
}

static void test_off(void **state) {
    (void)state;
    static const char *const values[] = {"off", "0"};
    for (size_t i = 0; i < 2; i++) {
        setenv("CLQUANT_CACHE", values[i], 1);
        assert_false(clq_cache_enabled());
        use();
        assert_false(clq_file_exists(clq_test_temp_path("cache")));
    }
}

static void test_where(void **state) {
    (void)state;
    char *home = clq_strdup(getenv("HOME") ? getenv("HOME") : "/");
    char *xdg = getenv("XDG_CACHE_HOME") ? clq_strdup(getenv("XDG_CACHE_HOME")) : NULL;
    clq_cache_key key = clq_cache_key_start();
    unsetenv("CLQUANT_CACHE_DIR");
    setenv("XDG_CACHE_HOME", clq_test_temp_path("xdg"), 1);
    clq_cache_store("a", key, "x", 1);
    assert_true(clq_is_folder(clq_test_temp_path("xdg/clquant")));
    setenv("XDG_CACHE_HOME", "relative", 1);
    setenv("HOME", clq_test_temp_path("home"), 1);
    clq_cache_store("a", key, "x", 1);
    assert_true(clq_is_folder(clq_test_temp_path("home/.cache/clquant")));
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_false(clq_cache_enabled());
    clq_cache_store("a", key, "x", 1); /* nowhere */
    setenv("HOME", home, 1);
    if (xdg) {
        setenv("XDG_CACHE_HOME", xdg, 1);
    }
    clq_free(home);
    clq_free(xdg);
}

static void test_keys(void **state) {
    (void)state;
    void *data = NULL;
    size_t size;
    clq_cache_key a = clq_cache_key_start(), b = clq_cache_key_start();
    clq_cache_key_add_text(&a, "ab");
    clq_cache_key_add_text(&a, "c");
    clq_cache_key_add_text(&b, "a");
    clq_cache_key_add_text(&b, "bc");
    clq_cache_mark mark, other;
    assert_int_equal(clq_cache_mark_begin("m", a, &mark), CLQ_MARK_MADE); /* and the folder */
    assert_int_equal(clq_cache_mark_begin("m", a, &other), CLQ_MARK_HELD);
    assert_int_equal(clq_cache_mark_begin("m", b, &other), CLQ_MARK_MADE);
    clq_cache_mark_end(&other, true);
    assert_int_equal(clq_cache_mark_begin("m", b, &other), CLQ_MARK_LEFT);
    clq_cache_mark_end(&other, true);
    clq_cache_mark_end(&mark, false);
    assert_int_equal(count_files("m-", NULL), 1);
    assert_true(a.low != b.low && a.high != b.high);
    clq_cache_store("k", a, "payload", 7);
    assert_false(clq_cache_load("k", b, &data, &size));
    assert_false(clq_cache_load("other", a, &data, &size));
    assert_true(clq_cache_load("k", a, &data, &size));
    assert_int_equal(size, 7);
    assert_memory_equal(data, "payload", 7);
    clq_free(data);
}

/* A folder that cannot be made or written, and any file operation that fails: only time is lost. */
static int warnings;

static void count_warnings(void *context, clq_log_level level, const char *line) {
    (void)context;
    warnings += level == CLQ_LOG_WARN && strstr(line, "nothing is kept for later runs");
}

static void test_unusable_folder(void **state) {
    (void)state;
    assert_ok(clq_file_write_atomic(clq_test_temp_path("file"), "x", 1));
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("file"), 1); /* a file is no folder */
    clq_set_log(count_warnings, NULL, CLQ_LOG_WARN);
    use();
    use();
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    assert_int_equal(warnings, 1);
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("cache"), 1);
    for (long n = 1; n < 60; n++) {
        clq_test_fail_file_op(n, n % 2 ? EIO : ENOSPC);
        use();
        assert_int_equal(clq_test_open_files(), 0);
        clq_test_restore_file_ops();
    }
}

static void *store_and_load(void *argument) {
    const char *payload = argument;
    clq_cache_key key = clq_cache_key_start();
    for (int i = 0; i < 20; i++) {
        void *data = NULL;
        size_t size;
        clq_cache_store("shared", key, payload, strlen(payload));
        if (!clq_cache_load("shared", key, &data, &size) || (size != 5 && size != 500)) {
            return "torn";
        }
        clq_free(data);
    }
    return NULL;
}

/* Writers of one file never show a mixture. */
static void test_sharing(void **state) {
    (void)state;
    pthread_t threads[4];
    char longer[501];
    memset(longer, 'l', 500);
    longer[500] = '\0';
    for (int i = 0; i < 4; i++) {
        assert_int_equal(
            pthread_create(&threads[i], NULL, store_and_load, i % 2 ? longer : "short"), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
}

#define CACHE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CACHE_TEST(test_cold_and_warm),
        CACHE_TEST(test_damaged_program),
        CACHE_TEST(test_truncated),
        CACHE_TEST(test_foreign_binary),
        CACHE_TEST(test_pocl_keeps_its_own),
        CACHE_TEST(test_crash_while_restoring),
        CACHE_TEST(test_crash_while_storing),
        CACHE_TEST(test_trial_ends),
        CACHE_TEST(test_mark_at_signal),
        CACHE_TEST(test_mark_of_a_living),
        CACHE_TEST(test_damaged_outcome),
        CACHE_TEST(test_off),
        CACHE_TEST(test_where),
        CACHE_TEST(test_keys),
        CACHE_TEST(test_unusable_folder),
        CACHE_TEST(test_sharing),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}

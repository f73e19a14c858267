#include "device/self_test.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/environment.h"
#include "base/log.h"
#include "base/text.h"
#include "device/cache_file.h"
#include "device/internal.h"
#include "device/self_bench.h"

static const char kind[] = "selftest";

/* Whatever the values of any kernel may depend on. */
static clq_cache_key outcome_key(const clq_device *device) {
    const clq_device_info *info = &device->info;
    const unsigned parts[] = {(unsigned)info->schedule, info->simd_bytes, info->dots};
    clq_cache_key key = clq_cache_key_start();
    clq_cache_key_add(&key, &device->identity, sizeof device->identity);
    clq_cache_key_add(&key, parts, sizeof parts);
    for (unsigned long i = 0; i < clq_kernel_registry_count; i++) {
        clq_cache_key_add_text(&key, clq_kernel_registry[i].name);
        if (i == 0 || clq_kernel_registry[i].source != clq_kernel_registry[i - 1].source) {
            clq_cache_key_add_text(&key, clq_kernel_registry[i].source);
        }
    }
    return key;
}

/* The outcomes of earlier runs; an empty table where there are none that can be read. */
static json_t *load_outcomes(const clq_device *device) {
    void *data = NULL;
    size_t size = 0;
    json_t *found = NULL;
    if (clq_cache_load(kind, outcome_key(device), &data, &size)) {
        found = json_loadb(data, size, 0, NULL);
        clq_free(data);
    }
    if (!json_is_object(found)) {
        json_decref(found);
        found = json_object();
    }
    return found;
}

static clq_status no_memory(const clq_device *device) {
    return clq_fail(CLQ_NO_MEMORY, "out of memory testing kernels on %s", device->info.name);
}

static clq_status open_outcomes(clq_device *device) {
    clq_self_tests *tests = &device->self_tests;
    if (!tests->found) {
        tests->found = load_outcomes(device);
    }
    if (!tests->failing) {
        tests->failing = json_object();
    }
    return tests->found && tests->failing ? CLQ_OK : no_memory(device);
}

void clq_self_test_close(clq_device *device) {
    clq_self_tests *tests = &device->self_tests;
    char *text = tests->changed ? json_dumps(tests->found, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (text) {
        clq_cache_store(kind, outcome_key(device), text, strlen(text));
        clq_free(text);
    }
    json_decref(tests->found);
    json_decref(tests->failing);
    *tests = (clq_self_tests){0};
}

/* Leaves the family out from now on. */
static clq_status leave_out(clq_device *device, const char *family, const char *how) {
    if (json_object_get(device->self_tests.failing, family)) {
        return CLQ_OK; /* a test within its test has said so */
    }
    if (json_object_set_new(device->self_tests.failing, family, json_string(how)) != 0) {
        return no_memory(device);
    }
    clq_log_warn("%s, driver %s: the kernels %s failed their self-test (%s) and are left out",
                 device->info.name, device->info.driver, family, how);
    return CLQ_OK;
}

static clq_status note(clq_device *device, const char *key, const char *outcome, bool keep) {
    if (json_object_set_new(device->self_tests.found, key, json_string(outcome)) != 0) {
        return no_memory(device);
    }
    device->self_tests.changed |= keep;
    return CLQ_OK;
}

/* Runs the test and notes the outcome. */
static clq_status find_out(clq_device *device, const char *family, const char *key,
                           clq_self_test_run run, const void *context, bool *works) {
    char wrong[CLQ_WRONG_TEXT] = "wrong values";
    char reason[512];
    bool right = false;
    CLQ_TRY(note(device, key, "", false)); /* while it runs, so that it can use itself */
    const clq_status status = run(device, context, &right, wrong);
    *works = status == CLQ_OK && right;
    device->self_tests.changed |= *works;
    if (*works) {
        return CLQ_OK;
    }
    json_object_del(device->self_tests.found, key);
    if (status != CLQ_OK && status != CLQ_DEVICE) {
        return status; /* no fault of the driver's */
    }
    snprintf(reason, sizeof reason, "%s", status == CLQ_OK ? wrong : clq_last_error());
    CLQ_TRY(leave_out(device, family, reason));
    /* A device that could not run it may do better next time: that is known for this run only. */
    return status == CLQ_OK ? note(device, family, reason, true) : CLQ_OK;
}

clq_status clq_self_test(clq_device *device, const char *family, const char *variant,
                         clq_self_test_run run, const void *context, bool *works) {
    *works = true;
    if (clq_environment_is_off("CLQUANT_SELFTEST")) {
        return CLQ_OK;
    }
    CLQ_TRY(open_outcomes(device));
    const char *failed = json_string_value(json_object_get(device->self_tests.found, family));
    const bool known = json_object_get(device->self_tests.failing, family) != NULL;
    if (failed || known) {
        *works = false;
        return known ? CLQ_OK : leave_out(device, family, failed);
    }
    char *key = clq_format("%s %s", family, variant ? variant : "-");
    if (!key) {
        return no_memory(device);
    }
    clq_status status = CLQ_OK;
    if (!json_object_get(device->self_tests.found, key)) {
        status = find_out(device, family, key, run, context, works);
    }
    clq_free(key);
    return status;
}

void clq_device_failed_kernels(clq_device *device,
                               void (*tell)(void *context, const char *family, const char *how),
                               void *context) {
    const char *key;
    json_t *how;
    if (!device || !tell || clq_environment_is_off("CLQUANT_SELFTEST") ||
        open_outcomes(device) != CLQ_OK) {
        return;
    }
    json_object_foreach(device->self_tests.found, key, how) {
        if (json_is_string(how) && *json_string_value(how)) {
            tell(context, key, json_string_value(how));
        }
    }
    json_object_foreach(device->self_tests.failing, key, how) {
        if (!json_object_get(device->self_tests.found, key)) {
            tell(context, key, json_string_value(how));
        }
    }
}

/* ---- by file ---- */

enum { MOST_TABLES = 32 };
static const clq_file_test *_Atomic tables[MOST_TABLES];

void clq_self_tests_add(const clq_file_test *tests) {
    for (int i = 0; i < MOST_TABLES; i++) {
        const clq_file_test *there = NULL;
        if (atomic_compare_exchange_strong(&tables[i], &there, tests) || there == tests) {
            return;
        }
    }
    clq_log_warn("more than %d tables of self-tests: the kernels of \"%s\" and others run untested",
                 MOST_TABLES, tests->file);
}

typedef struct file_variant {
    const clq_file_test *test;
    const char *kernel, *options; /* kernel NULL: all of the file */
} file_variant;

static clq_status run_test(clq_device *device, const void *context, bool *right,
                           char wrong[CLQ_WRONG_TEXT]) {
    const file_variant *variant = context;
    clq_self_bench bench = {.device = device,
                            .kernel = variant->kernel,
                            .options = variant->options,
                            .right = right,
                            .wrong = wrong};
    *right = true;
    const clq_status status = variant->test->run(&bench);
    clq_bench_clear(&bench);
    return status;
}

static clq_status test_file(clq_device *device, const clq_file_test *test, const char *kernel,
                            const char *options, bool *works) {
    const file_variant variant = {test, test->by_kernel ? kernel : NULL, options};
    char *name = variant.kernel
                     ? clq_format("%s%s%s", kernel, options ? " " : "", options ? options : "")
                     : NULL;
    if (variant.kernel && !name) {
        return no_memory(device);
    }
    const clq_status status =
        clq_self_test(device, test->file, name ? name : options, run_test, &variant, works);
    clq_free(name);
    return status;
}

clq_status clq_self_test_kernel(clq_device *device, const char *file, const char *kernel,
                                const char *options) {
    for (int i = 0; i < MOST_TABLES; i++) {
        for (const clq_file_test *test = tables[i]; test && test->file; test++) {
            bool works = true;
            if (strcmp(test->file, file) == 0) {
                CLQ_TRY(test_file(device, test, kernel, options, &works));
            }
            if (!works) {
                return clq_self_test_none_left(device, file);
            }
        }
    }
    return CLQ_OK;
}

clq_status clq_self_test_files(clq_device *device) {
    for (int i = 0; i < MOST_TABLES; i++) {
        for (const clq_file_test *test = tables[i]; test && test->file; test++) {
            bool works;
            CLQ_TRY(test_file(device, test, NULL, NULL, &works));
        }
    }
    return CLQ_OK;
}

clq_status clq_self_test_none_left(const clq_device *device, const char *what) {
    const clq_device_info *info = clq_device_get_info(device);
    return clq_fail(CLQ_DEVICE,
                    "%s, driver %s: every kernel for %s failed its self-test "
                    "(CLQUANT_SELFTEST=off would run one all the same)",
                    info->name, info->driver, what);
}

#include "device/tuning.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/environment.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "device/cache_file.h"
#include "device/internal.h"

enum { SCHEMA = 1, IDENTITY_SIZE = 32 };

static void identity_text(const clq_device *device, char text[IDENTITY_SIZE]) {
    snprintf(text, IDENTITY_SIZE, "%016" PRIx64 "-%u", device->identity,
             device->info.compute_units);
}

static bool is_named_by_user(void) {
    return clq_environment("CLQUANT_TUNE") != NULL;
}

char *clq_tuning_path(const clq_device *device) {
    char identity[IDENTITY_SIZE];
    const char *named = clq_environment("CLQUANT_TUNE");
    if (named) {
        return clq_environment_is_off("CLQUANT_TUNE") ? NULL : clq_strdup(named);
    }
    char *folder = clq_cache_folder();
    if (!folder) {
        return NULL;
    }
    identity_text(device, identity);
    char *path = clq_format("%s/tune/%s.json", folder, identity);
    clq_free(folder);
    return path;
}

/* ---- reading ---- */

static clq_status check_choices(const char *path, const json_t *choices) {
    const char *key;
    json_t *choice;
    if (!json_is_object(choices)) {
        return clq_fail(CLQ_BAD_DATA, "%s: choices: must be an object", path);
    }
    json_object_foreach((json_t *)choices, key, choice) {
        if (!json_is_string(choice)) {
            return clq_fail(CLQ_BAD_DATA, "%s: choices: \"%s\" must be a text", path, key);
        }
    }
    return CLQ_OK;
}

/* *choices: the file's table (json_decref it). */
static clq_status read_file(const clq_device *device, const char *path, json_t **choices) {
    char identity[IDENTITY_SIZE];
    json_t *root = NULL;
    clq_json_reader reader;
    clq_status status = CLQ_OK;
    int schema = 0;
    const char *owner = "";
    identity_text(device, identity);
    CLQ_TRY(clq_json_load(path, &root));
    CLQ_GOTO(status, cleanup, clq_json_reader_init(&reader, path, root));
    CLQ_GOTO(status, cleanup, clq_json_require(&reader, "schema"));
    CLQ_GOTO(status, cleanup, clq_json_read_int(&reader, "schema", SCHEMA, SCHEMA, &schema));
    CLQ_GOTO(status, cleanup, clq_json_read_string(&reader, "identity", &owner));
    if (strcmp(owner, identity) != 0) {
        status = clq_fail(CLQ_BAD_DATA, "%s: was made for device %.40s, and this is %s", path,
                          owner, identity);
        goto cleanup;
    }
    json_t *table = json_object_get(root, "choices");
    CLQ_GOTO(status, cleanup, check_choices(path, table));
    *choices = json_incref(table);
cleanup:
    json_decref(root);
    return status;
}

clq_status clq_tuning_open(clq_device *device) {
    char *path = clq_tuning_path(device);
    if (path && clq_file_exists(path)) {
        if (read_file(device, path, &device->tuning) != CLQ_OK) {
            clq_log_warn("ignoring the tuning file: %s", clq_last_error());
        }
    } else if (path && is_named_by_user()) {
        clq_log_warn("CLQUANT_TUNE: there is no file %s; nothing is tuned", path);
    }
    clq_free(path);
    if (!device->tuning) {
        device->tuning = json_object();
    }
    return device->tuning ? CLQ_OK : clq_fail(CLQ_NO_MEMORY, "out of memory opening a device");
}

void clq_tuning_close(clq_device *device) {
    json_decref(device->tuning);
    device->tuning = NULL;
}

/* ---- the table ---- */

const char *clq_tuning_find(const clq_device *device, const char *key) {
    return json_string_value(json_object_get(device->tuning, key));
}

clq_status clq_tuning_set(clq_device *device, const char *key, const char *choice) {
    if (!choice) {
        json_object_del(device->tuning, key);
        return CLQ_OK;
    }
    if (json_object_set_new(device->tuning, key, clq_json_string(choice)) != 0) {
        return clq_fail(CLQ_NO_MEMORY, "out of memory keeping the tuned choice of %s", key);
    }
    return CLQ_OK;
}

/* ---- writing ---- */

/* Adds the entries of the file that the table lacks. A file in the cache that is none of this
 * device's tables will be replaced; one that the user named is not ours to replace. */
static clq_status join_file(clq_device *device, const char *path) {
    json_t *others = NULL;
    if (!clq_file_exists(path)) {
        return CLQ_OK;
    }
    const clq_status status = read_file(device, path, &others);
    if (status == CLQ_BAD_DATA && !is_named_by_user()) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_fail_in(status, "a file that is no tuning table of this device is not replaced"));
    const int failed = json_object_update_missing(device->tuning, others);
    json_decref(others);
    return failed ? clq_fail(CLQ_NO_MEMORY, "%s: out of memory joining it", path) : CLQ_OK;
}

static clq_status write_file(const clq_device *device, const char *path) {
    char identity[IDENTITY_SIZE];
    identity_text(device, identity);
    json_t *root = json_pack("{s:i, s:s, s:s, s:O}", "schema", SCHEMA, "identity", identity,
                             "device", device->info.name, "choices", device->tuning);
    const clq_status status = root ? clq_json_dump_file(path, root)
                                   : clq_fail(CLQ_NO_MEMORY, "%s: out of memory writing it", path);
    json_decref(root);
    return status;
}

/* From reading to writing the file is this process's. */
static clq_status join_and_write(clq_device *device, const char *path) {
    clq_status status = CLQ_NO_MEMORY;
    clq_lock *lock = NULL;
    char *folder = clq_path_folder(path), *lock_path = NULL;
    if (!folder) {
        return status;
    }
    CLQ_GOTO(status, cleanup, clq_make_dirs(folder));
    lock_path = clq_format("%s/.%s.lock", folder, clq_path_basename(path));
    if (!lock_path) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_lock_take(lock_path, true, &lock));
    CLQ_GOTO(status, cleanup, join_file(device, path));
    status = write_file(device, path);
cleanup:
    clq_lock_release(&lock);
    clq_free(lock_path);
    clq_free(folder);
    return status;
}

clq_status clq_tuning_save(clq_device *device) {
    char *path = clq_tuning_path(device);
    if (!path) {
        return clq_fail(CLQ_USAGE, "there is nowhere to keep what tuning finds: CLQUANT_TUNE is "
                                   "off, or the cache is");
    }
    const clq_status status = join_and_write(device, path);
    clq_free(path);
    return status;
}

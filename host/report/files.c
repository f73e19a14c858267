#include "report/files.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"

#define MANIFEST "report.json"

/* What reports left before they had one. */
static const char *const former[] = {"index.html",
                                     "comparison.csv",
                                     "comparison.png",
                                     "train.csv",
                                     "train-loss.png",
                                     "train-accuracy.png",
                                     "qat.csv",
                                     "qat-loss.png",
                                     "qat-accuracy.png",
                                     "confusion-fp32.csv",
                                     "confusion-fp32.png",
                                     "confusion-ptq.csv",
                                     "confusion-ptq.png",
                                     "confusion-qat.csv",
                                     "confusion-qat.png",
                                     "bench.csv",
                                     "layers.csv"};

/* ---- the list ---- */

clq_status clq_report_files_add(clq_report_files *files, clq_text *content, const char *name_format,
                                ...) {
    va_list arguments;
    va_start(arguments, name_format);
    char *name = clq_vformat(name_format, arguments);
    va_end(arguments);
    clq_report_file *items = clq_realloc(files->items, files->count + 1, sizeof *files->items);
    files->items = items ? items : files->items;
    if (!name || !items || clq_text_status(content) != CLQ_OK) {
        clq_free(name);
        clq_text_free(content);
        return clq_fail(CLQ_NO_MEMORY, "out of memory for a report");
    }
    items[files->count++] = (clq_report_file){name, *content};
    *content = (clq_text){0};
    return CLQ_OK;
}

void clq_report_files_clear(clq_report_files *files) {
    for (size_t i = 0; i < files->count; i++) {
        clq_free(files->items[i].name);
        clq_text_free(&files->items[i].content);
    }
    clq_free(files->items);
    *files = (clq_report_files){0};
}

static bool has(const clq_report_files *files, const char *name) {
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->items[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- links ---- */

/* RFC 3986: what is neither unreserved nor a slash is escaped. */
static void put_escaped(clq_text *link, const char *path) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789-._~/";
    for (const char *c = path; *c; c++) {
        if (strchr(plain, *c)) {
            clq_text_append(link, c, 1);
        } else {
            clq_text_printf(link, "%%%02X", (unsigned)(unsigned char)*c);
        }
    }
}

clq_status clq_report_link(const char *from, const char *folder, char **link) {
    char a[PATH_MAX + 1], b[PATH_MAX + 1];
    clq_text text = {0};
    size_t same = 0;
    if (!realpath(from, a) || !realpath(folder, b)) {
        return clq_fail(CLQ_NO_INPUT, "%s: cannot be reached from %s", folder, from);
    }
    strcat(a, strcmp(a, "/") == 0 ? "" : "/"); /* both end in a slash */
    strcat(b, strcmp(b, "/") == 0 ? "" : "/");
    for (size_t i = 0; a[i] && a[i] == b[i]; i++) {
        same = a[i] == '/' ? i + 1 : same;
    }
    for (const char *c = a + same; (c = strchr(c, '/')) != NULL; c++) {
        clq_text_puts(&text, "../");
    }
    put_escaped(&text, b + same);
    return clq_text_take(&text, link);
}

/* ---- what is there ---- */

static clq_status exists_in(const char *folder, const char *name, bool *found) {
    char *path = clq_path_join(folder, name);
    *found = path && clq_file_exists(path);
    clq_free(path);
    return path ? CLQ_OK : CLQ_NO_MEMORY;
}

/* The manifest of the folder; NULL where there is none, or one that is none of ours. */
static clq_status read_manifest(const char *folder, json_t **json) {
    char *path = clq_path_join(folder, MANIFEST);
    clq_status status = path ? CLQ_OK : CLQ_NO_MEMORY;
    *json = NULL;
    if (path && clq_file_exists(path)) {
        status = clq_json_load(path, json);
        status = status == CLQ_BAD_DATA ? CLQ_OK : status;
    }
    clq_free(path);
    if (*json && !json_is_array(json_object_get(*json, "runs"))) {
        json_decref(*json);
        *json = NULL;
    }
    return status;
}

static bool is_of(const json_t *manifest, char *const *runs, size_t count) {
    const json_t *its = json_object_get(manifest, "runs");
    bool same = json_array_size(its) == count;
    for (size_t i = 0; i < count && same; i++) {
        const char *run = json_string_value(json_array_get(its, i));
        same = run && strcmp(run, runs[i]) == 0;
    }
    return same;
}

/* What writing would take away, as words; empty: nothing but an earlier report of the same runs. */
static clq_status find_others(const clq_report_files *files, const char *folder,
                              const json_t *manifest, char *const *runs, size_t count, bool own,
                              clq_text *found) {
    if (manifest && !is_of(manifest, runs, count)) {
        const json_t *its = json_object_get(manifest, "runs");
        clq_text_puts(found, "the report of other runs");
        for (size_t i = 0; i < json_array_size(its) && i < 4; i++) {
            const char *run = json_string_value(json_array_get(its, i));
            clq_text_printf(found, "%s%s", i ? ", " : " (", run ? run : "?");
        }
        clq_text_puts(found, json_array_size(its) > 4 ? ", ...)" : json_array_size(its) ? ")" : "");
    }
    for (size_t i = 0; i < files->count && !manifest && !own; i++) {
        bool exists;
        CLQ_TRY(exists_in(folder, files->items[i].name, &exists));
        if (exists) {
            clq_text_printf(found, "%s%s", found->size ? ", " : "", files->items[i].name);
        }
    }
    return clq_text_status(found);
}

static clq_status check_others(const clq_report_files *files, const char *folder,
                               const json_t *manifest, char *const *runs, size_t count, bool own,
                               bool overwrite) {
    clq_text found = {0};
    clq_status status = find_others(files, folder, manifest, runs, count, own, &found);
    if (status == CLQ_OK && found.size > 0 && overwrite) {
        clq_log_info("%s: replaced: %s", folder, found.data);
    } else if (status == CLQ_OK && found.size > 0) {
        status = clq_fail(CLQ_CANNOT_CREATE,
                          "%s: holds %s: give another folder by --out, or --overwrite", folder,
                          found.data);
    }
    clq_text_free(&found);
    return status;
}

/* Only a report's files, and nothing outside the folder. */
static bool may_be_removed(const char *name) {
    return !strchr(name, '/') && *name != '.' &&
           (clq_path_has_extension(name, "png") || clq_path_has_extension(name, "csv"));
}

static clq_status remove_if_old(const clq_report_files *files, const char *folder,
                                const char *name) {
    if (!name || !may_be_removed(name) || has(files, name)) {
        return CLQ_OK;
    }
    char *path = clq_path_join(folder, name);
    const clq_status status = path ? clq_file_remove(path) : CLQ_NO_MEMORY;
    clq_free(path);
    return status;
}

static clq_status remove_old(const clq_report_files *files, const char *folder,
                             const json_t *manifest, bool own) {
    const json_t *names = json_object_get(manifest, "files");
    for (size_t i = 0; i < json_array_size(names); i++) {
        CLQ_TRY(remove_if_old(files, folder, json_string_value(json_array_get(names, i))));
    }
    for (size_t i = 0; !manifest && own && i < sizeof former / sizeof *former; i++) {
        CLQ_TRY(remove_if_old(files, folder, former[i]));
    }
    return CLQ_OK;
}

/* ---- writing ---- */

static clq_status write_manifest(const clq_report_files *files, const char *folder,
                                 char *const *runs, size_t count) {
    json_t *json = clq_json_result(), *paths = json_array(), *names = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(paths, clq_json_string(runs[i]));
    }
    for (size_t i = 0; i < files->count; i++) {
        json_array_append_new(names, clq_json_string(files->items[i].name));
    }
    json_object_set_new(json, "runs", paths);
    json_object_set_new(json, "files", names);
    char *path = clq_path_join(folder, MANIFEST);
    const clq_status status = path ? clq_json_dump_file(path, json) : CLQ_NO_MEMORY;
    clq_free(path);
    json_decref(json);
    return status;
}

clq_status clq_report_files_write(clq_report_files *files, const char *folder, char *const *runs,
                                  size_t count, bool own, bool overwrite) {
    json_t *manifest = NULL;
    clq_status status;
    CLQ_GOTO(status, cleanup, read_manifest(folder, &manifest));
    CLQ_GOTO(status, cleanup, check_others(files, folder, manifest, runs, count, own, overwrite));
    CLQ_GOTO(status, cleanup, write_manifest(files, folder, runs, count));
    for (size_t i = 0; i < files->count; i++) {
        char *path = clq_path_join(folder, files->items[i].name);
        const clq_text *content = &files->items[i].content;
        status =
            path ? clq_file_write_atomic(path, content->data ? content->data : "", content->size)
                 : CLQ_NO_MEMORY;
        clq_free(path);
        CLQ_GOTO(status, cleanup, status);
    }
    status = remove_old(files, folder, manifest, own);
cleanup:
    json_decref(manifest);
    return status;
}

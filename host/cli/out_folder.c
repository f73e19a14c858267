#include "cli/out_folder.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/text.h"
#include "train/checkpoint.h"
#include "train/folder.h"

/* Empty, and in the folder while a run writes there; a killed run leaves it. */
#define LOCK ".clquant.lock"

/* ---- folders ---- */

static bool has(const clq_out_folder *out, const char *name) {
    char *path = clq_path_join(out->path, name);
    const bool found = path && clq_file_exists(path);
    clq_free(path);
    return found;
}

/* What is there of that which the command writes, as a list: "model.onnx, train/: history.csv". */
static clq_status find_used(const clq_out_folder *out, clq_text *found) {
    for (size_t i = 0; i < out->result_count; i++) {
        if (has(out, out->results[i])) {
            clq_text_printf(found, "%s%s", found->size ? ", " : "", out->results[i]);
        }
    }
    for (size_t i = 0; i < out->training_count; i++) {
        const clq_out_training *t = &out->trainings[i];
        clq_text part = {0};
        char *folder = clq_path_join(out->path, t->folder);
        const clq_status status =
            folder ? clq_train_folder_find(folder, t->phase, &part) : CLQ_NO_MEMORY;
        if (part.size > 0) {
            clq_text_printf(found, "%s%s%s%s", found->size ? ", " : "", t->folder,
                            *t->folder ? "/: " : "", part.data);
        }
        clq_text_free(&part);
        clq_free(folder);
        CLQ_TRY(status);
    }
    return clq_text_status(found);
}

static clq_status check_unused(const clq_out_folder *out) {
    clq_text found = {0};
    clq_status status = find_used(out, &found);
    if (status == CLQ_OK && found.size > 0) {
        status = clq_fail(CLQ_CANNOT_CREATE,
                          "%s: holds an earlier run (%s): %s--overwrite replaces it", out->path,
                          found.data, out->training_count > 0 ? "--resume continues it, " : "");
    }
    clq_text_free(&found);
    return status;
}

/* A checkpoint of any training, or the lock of a run that was killed before its first one. */
static clq_status check_resumable(const clq_out_folder *out) {
    int all = 0;
    for (size_t i = 0; i < out->training_count; i++) {
        int count = 0;
        char *folder = clq_path_join(out->path, out->trainings[i].folder);
        const clq_status status =
            folder ? clq_checkpoint_count(folder, out->trainings[i].phase, &count) : CLQ_NO_MEMORY;
        clq_free(folder);
        CLQ_TRY(status);
        all += count;
    }
    if (all > 0) {
        return CLQ_OK;
    }
    if (has(out, LOCK)) {
        clq_log_info("%s: the run there ended before its first checkpoint; it starts from the "
                     "beginning",
                     out->path);
        return CLQ_OK;
    }
    return clq_fail(CLQ_NO_INPUT, "%s: no checkpoint to resume from%s", out->path,
                    clq_is_folder(out->path) ? "" : ": there is no such folder");
}

/* Two kinds of run in one folder would be a mixture: `clquant train` and `qat` leave checkpoints in
 * the folder itself, each of its phase, and the whole job an fp32.onnx. */
static clq_status check_kind(const clq_out_folder *out) {
    static const char of_job[] = "fp32.onnx";
    const char *phase = NULL; /* of this command's training in the folder itself */
    bool is_job = false;
    for (size_t i = 0; i < out->result_count; i++) {
        is_job = is_job || strcmp(out->results[i], of_job) == 0;
    }
    if (!is_job && has(out, of_job)) {
        return clq_fail(CLQ_CANNOT_CREATE,
                        "%s: holds another kind of run (%s), which is neither continued nor "
                        "replaced; give another folder",
                        out->path, of_job);
    }
    for (size_t i = 0; i < out->training_count; i++) {
        const clq_out_training *t = &out->trainings[i];
        char *folder = clq_path_join(out->path, t->folder);
        const clq_status status =
            folder ? clq_checkpoint_check_phase(folder, t->phase) : CLQ_NO_MEMORY;
        clq_free(folder);
        CLQ_TRY(status);
        phase = *t->folder ? phase : t->phase;
    }
    return clq_checkpoint_check_phase(out->path, phase);
}

clq_status clq_out_check(const clq_out_folder *out) {
    if (out->resume && out->overwrite) {
        return clq_fail(CLQ_USAGE, "--resume and --overwrite exclude each other");
    }
    if (!out->path) {
        return CLQ_OK;
    }
    CLQ_TRY(check_kind(out));
    if (out->overwrite) {
        return CLQ_OK;
    }
    return out->resume ? check_resumable(out) : check_unused(out);
}

static clq_status check_results(const clq_out_folder *out) {
    clq_status status = CLQ_OK;
    for (size_t i = 0; i < out->result_count && status == CLQ_OK; i++) {
        char *path = clq_path_join(out->path, out->results[i]);
        if (!path) {
            return CLQ_NO_MEMORY;
        }
        if (clq_is_folder(path)) {
            status = clq_fail(CLQ_CANNOT_CREATE, "%s: cannot create: is a folder", path);
        }
        clq_free(path);
    }
    return status;
}

clq_status clq_out_claim(clq_out_folder *out) {
    if (!out->path) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_make_dirs(out->path));
    CLQ_TRY(check_results(out));
    char *lock = clq_path_join(out->path, LOCK);
    const clq_status status = lock ? clq_lock_take(lock, false, &out->lock) : CLQ_NO_MEMORY;
    clq_free(lock);
    CLQ_TRY(clq_fail_in(status, "no run can write into %s now", out->path));
    clq_remove_unfinished(out->path, NULL);
    return CLQ_OK;
}

clq_status clq_out_clear(clq_out_folder *out) {
    clq_text found = {0};
    clq_status status = CLQ_OK;
    if (!out->path || !out->overwrite || out->cleared) {
        return CLQ_OK;
    }
    status = find_used(out, &found);
    if (status == CLQ_OK && found.size > 0) {
        clq_log_info("%s: the earlier run there is replaced; removed: %s", out->path, found.data);
    }
    clq_text_free(&found);
    for (size_t i = 0; i < out->result_count && status == CLQ_OK; i++) {
        char *path = clq_path_join(out->path, out->results[i]);
        status = path ? clq_file_remove(path) : CLQ_NO_MEMORY;
        clq_free(path);
    }
    for (size_t i = 0; i < out->training_count && status == CLQ_OK; i++) {
        char *folder = clq_path_join(out->path, out->trainings[i].folder);
        status = folder ? clq_train_folder_clear(folder, out->trainings[i].phase) : CLQ_NO_MEMORY;
        clq_free(folder);
    }
    out->cleared = status == CLQ_OK;
    return status;
}

void clq_out_release(clq_out_folder *out) {
    clq_lock_release(&out->lock);
}

/* ---- files ---- */

static bool same_node(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* A path without what does not change its meaning before and behind; its length. */
static size_t trim(const char **path) {
    while (strncmp(*path, "./", 2) == 0) {
        *path += 2 + strspn(*path + 2, "/");
    }
    size_t length = strlen(*path);
    while (length > 1 && (*path)[length - 1] == '/') {
        length--;
    }
    return length;
}

/* Folders that do not exist yet are known by their paths. */
static bool is_same_folder(const char *a, const char *b) {
    struct stat of_a, of_b;
    const bool a_exists = stat(a, &of_a) == 0, b_exists = stat(b, &of_b) == 0;
    if (a_exists || b_exists) {
        return a_exists && b_exists && same_node(&of_a, &of_b);
    }
    const size_t length_a = trim(&a), length_b = trim(&b);
    return length_a == length_b && memcmp(a, b, length_a) == 0;
}

/* Whether both paths name one file; one that does not exist yet is known by folder and name. */
static bool is_same(const char *a, const char *b) {
    struct stat of_a, of_b;
    const bool a_exists = stat(a, &of_a) == 0, b_exists = stat(b, &of_b) == 0;
    if (a_exists && b_exists) {
        return same_node(&of_a, &of_b) && S_ISREG(of_a.st_mode);
    }
    if (a_exists != b_exists || strcmp(clq_path_basename(a), clq_path_basename(b)) != 0) {
        return false;
    }
    char *folder_a = clq_path_folder(a), *folder_b = clq_path_folder(b);
    const bool same = folder_a && folder_b && is_same_folder(folder_a, folder_b);
    clq_free(folder_a);
    clq_free(folder_b);
    return same;
}

/* Whether `path` is a file, and lies somewhere below `folder`: it may be one of the data. */
static bool is_below(const char *path, const char *folder) {
    struct stat file, top, here;
    char at[PATH_MAX];
    if (stat(path, &file) != 0 || !S_ISREG(file.st_mode) || stat(folder, &top) != 0 ||
        !S_ISDIR(top.st_mode) || !realpath(path, at)) {
        return false;
    }
    for (char *end = strrchr(at, '/'); end; end = strrchr(at, '/')) {
        *end = '\0';
        if (stat(*at ? at : "/", &here) == 0 && same_node(&here, &top)) {
            return true;
        }
    }
    return false;
}

/* Whether it is a log already, which is continued. */
static bool is_log(const char *path) {
    struct stat info;
    const bool regular =
        stat(path, &info) == 0 && S_ISREG(info.st_mode); /* a pipe is not waited for */
    FILE *file = regular ? fopen(path, "r") : NULL;
    const int first = file ? fgetc(file) : EOF;
    if (file) {
        fclose(file);
    }
    return first == '{' || first == EOF;
}

static clq_status check_other(const char *option, const char *path, const char *const *others,
                              size_t count, bool appends) {
    for (size_t i = 0; path && i < count; i++) {
        if (others[i] && is_same(path, others[i])) {
            return clq_fail(CLQ_USAGE,
                            "%s %s: is the same file as %s, which would be lost; give another name",
                            option, path, others[i]);
        }
        if (others[i] && is_below(path, others[i]) && !(appends && is_log(path))) {
            return clq_fail(CLQ_USAGE,
                            "%s %s: is a file in %s, which the command reads; give another name",
                            option, path, others[i]);
        }
    }
    return CLQ_OK;
}

clq_status clq_out_check_file(const char *option, const char *path, const char *const *others,
                              size_t count) {
    CLQ_TRY(check_other(option, path, others, count, false));
    if (path && strcmp(path, "-") == 0) {
        return clq_fail(CLQ_USAGE, "%s: - is no file's name; standard output is /dev/stdout",
                        option);
    }
    return path ? clq_fail_in(clq_file_check_writable(path), "%s", option) : CLQ_OK;
}

clq_status clq_out_check_external(const char *option, const char *path, const clq_graph *graph) {
    return check_other(option, path, (const char *const *)graph->data_files,
                       (size_t)graph->data_file_count, false);
}

clq_status clq_out_check_recipe(const char *option, const char *path, const clq_recipe *recipe) {
    const char *const others[] = {recipe->weights, recipe->train.distill.teacher,
                                  recipe->qat.distill.teacher};
    return check_other(option, path, others, sizeof others / sizeof *others, false);
}

/* Not a file of the folder that the command writes itself. */
static clq_status check_log_name(const char *path, const char *folder, const char *name) {
    char *result = clq_path_join(folder, name);
    const char *const results[] = {result};
    const clq_status status =
        result ? check_other("--log-file", path, results, 1, true) : CLQ_NO_MEMORY;
    clq_free(result);
    return status;
}

static clq_status check_log_in(const char *path, const clq_out_folder *out) {
    for (size_t i = 0; i < out->result_count; i++) {
        CLQ_TRY(check_log_name(path, out->path, out->results[i]));
    }
    CLQ_TRY(check_log_name(path, out->path, LOCK));
    for (size_t i = 0; i < out->training_count; i++) {
        char *folder = clq_path_join(out->path, out->trainings[i].folder);
        clq_status status = folder ? CLQ_OK : CLQ_NO_MEMORY;
        for (size_t h = 0; h < CLQ_HISTORY_FILES && status == CLQ_OK; h++) {
            status = check_log_name(path, folder, clq_history_files[h]);
        }
        clq_free(folder);
        CLQ_TRY(status);
    }
    return CLQ_OK;
}

clq_status clq_out_check_log(const char *path, const clq_out_folder *out, const char *const *others,
                             size_t count) {
    if (!path) {
        return CLQ_OK;
    }
    CLQ_TRY(check_other("--log-file", path, others, count, true));
    if (out->path) {
        CLQ_TRY(check_log_in(path, out));
    }
    char *folder = clq_path_folder(path);
    const bool is_good =
        folder && (clq_is_folder(folder) || (out->path && is_same_folder(folder, out->path)));
    const clq_status status =
        is_good  ? CLQ_OK
        : folder ? clq_fail(CLQ_CANNOT_CREATE, "--log-file %s: there is no folder %s", path, folder)
                 : CLQ_NO_MEMORY;
    clq_free(folder);
    return status;
}

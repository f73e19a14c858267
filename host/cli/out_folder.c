#include "cli/out_folder.h"

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
                          "%s: holds an earlier run (%s): --resume continues it, --overwrite "
                          "replaces it",
                          out->path, found.data);
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
    const bool same = folder_a && folder_b && stat(folder_a, &of_a) == 0 &&
                      stat(folder_b, &of_b) == 0 && same_node(&of_a, &of_b);
    clq_free(folder_a);
    clq_free(folder_b);
    return same;
}

static clq_status check_other(const char *option, const char *path, const char *const *others,
                              size_t count) {
    for (size_t i = 0; path && i < count; i++) {
        if (others[i] && is_same(path, others[i])) {
            return clq_fail(CLQ_USAGE,
                            "%s %s: is the same file as %s, which would be lost; give another name",
                            option, path, others[i]);
        }
    }
    return CLQ_OK;
}

clq_status clq_out_check_file(const char *option, const char *path, const char *const *others,
                              size_t count) {
    CLQ_TRY(check_other(option, path, others, count));
    return path ? clq_fail_in(clq_file_check_writable(path), "%s", option) : CLQ_OK;
}

clq_status clq_out_check_log(const char *path, const char *const *others, size_t count) {
    return check_other("--log-file", path, others, count);
}

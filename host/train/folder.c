/* The folder that a training writes into: that it can, that nothing of an earlier one is there, and
 * that an earlier one goes when it shall. */
#include "train/folder.h"

#include <stdio.h>

#include "base/files.h"
#include "train/checkpoint.h"

const char *const clq_history_files[CLQ_HISTORY_FILES] = {"history.csv", "history.json",
                                                          "steps.json"};

/* Adds "name" to a list. */
static void list_name(clq_text *found, const char *name) {
    clq_text_printf(found, "%s%s", found->size ? ", " : "", name);
}

clq_status clq_train_folder_find(const char *folder, const char *phase, clq_text *found) {
    int checkpoints = 0;
    for (int i = 0; i < CLQ_HISTORY_FILES; i++) {
        char *path = clq_path_join(folder, clq_history_files[i]);
        if (!path) {
            return CLQ_NO_MEMORY;
        }
        if (clq_file_exists(path)) {
            list_name(found, clq_history_files[i]);
        }
        const clq_status status = clq_file_check_replaceable(path);
        clq_free(path);
        CLQ_TRY(status);
    }
    CLQ_TRY(clq_checkpoint_count(folder, phase, &checkpoints));
    if (checkpoints > 0) {
        char text[32];
        snprintf(text, sizeof text, "%d checkpoint%s", checkpoints, checkpoints > 1 ? "s" : "");
        list_name(found, text);
    }
    return CLQ_OK;
}

clq_status clq_train_folder_open(const clq_train_job *job) {
    clq_text found = {0};
    if (!job->out) {
        return CLQ_OK;
    }
    if (job->resume && job->overwrite) {
        return clq_fail(CLQ_USAGE, "a training is either resumed or overwritten");
    }
    CLQ_TRY(clq_make_dirs(job->out));
    CLQ_TRY(clq_checkpoint_check_phase(job->out, job->phase)); /* they would share the history */
    if (!job->resume && !job->overwrite) {
        clq_status status = clq_train_folder_find(job->out, job->phase, &found);
        if (status == CLQ_OK && found.size > 0) {
            status = clq_fail(CLQ_CANNOT_CREATE,
                              "%s: holds an earlier training (%s), which is neither to be resumed "
                              "nor overwritten",
                              job->out, found.data);
        }
        clq_text_free(&found);
        CLQ_TRY(status);
    }
    clq_remove_unfinished(job->out, NULL);
    char *path = clq_path_join(job->out, clq_history_files[0]);
    const clq_status status = path ? clq_file_check_writable(path) : CLQ_NO_MEMORY;
    clq_free(path);
    return status;
}

clq_status clq_train_folder_clear(const char *folder, const char *phase) {
    clq_text found = {0}; /* all of it or nothing */
    const clq_status can = clq_train_folder_find(folder, phase, &found);
    clq_text_free(&found);
    CLQ_TRY(can);
    for (int i = 0; i < CLQ_HISTORY_FILES; i++) {
        char *path = clq_path_join(folder, clq_history_files[i]);
        const clq_status status = path ? clq_file_remove(path) : CLQ_NO_MEMORY;
        clq_free(path);
        CLQ_TRY(status);
    }
    return clq_checkpoint_remove_all(folder, phase);
}

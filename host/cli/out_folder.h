/* Where commands write: the folder of a training or a whole job, which never loses an earlier run
 * without being told to, and single files, which never replace an input. */
#ifndef CLQUANT_CLI_OUT_FOLDER_H
#define CLQUANT_CLI_OUT_FOLDER_H

#include <clquant/graph.h>

#include "base/files.h"
#include "cli/recipe.h"

/* Where in the folder a training of a phase ("train", "qat") leaves history and checkpoints. */
typedef struct clq_out_training {
    const char *folder; /* in the out folder, "" for itself */
    const char *phase;
} clq_out_training;

typedef struct clq_out_folder {
    const char *path; /* NULL: there is none, and nothing is done */
    bool resume, overwrite;
    const clq_out_training *trainings; /* in the order in which they run */
    size_t training_count;
    const char *const *results; /* names of the other files that the command writes there */
    size_t result_count;
    clq_lock *lock; /* from claim to release */
    bool cleared;   /* what is there now is this run's own */
} clq_out_folder;

/* Of --overwrite, which has no letter on purpose. */
#define CLQ_OVERWRITE_HELP "Replace an earlier run in --out, which is refused otherwise"

/* Before any work, and without touching anything: CLQ_CANNOT_CREATE when the folder holds what the
 * command would write and neither resume nor overwrite is set; CLQ_NO_INPUT when there is nothing
 * to resume; CLQ_USAGE for both flags; CLQ_CANNOT_CREATE, whatever the flags, when a run of another
 * kind is there. A folder in which a run was killed before its first
 * checkpoint may be resumed: it starts from the beginning. */
clq_status clq_out_check(const clq_out_folder *out);
/* When all else is ready: makes the folder, locks it against other runs, and tries to write.
 * CLQ_CANNOT_CREATE otherwise. */
clq_status clq_out_claim(clq_out_folder *out);
/* Removes the earlier run that is to be overwritten, and says so; nothing without `overwrite`, and
 * nothing a second time: a run of several trainings keeps what the first of them made. */
clq_status clq_out_clear(clq_out_folder *out);
void clq_out_release(clq_out_folder *out);

/* Before the work whose result goes to the file `path` (NULL: none): CLQ_CANNOT_CREATE when it
 * cannot be written there, CLQ_USAGE when it is the same file as one of `others`, by name or by
 * link, or a file below one that is a folder; NULL among them is accepted. `option` names it in the
 * text. */
clq_status clq_out_check_file(const char *option, const char *path, const char *const *others,
                              size_t count);
/* The same once a model was loaded: `path` is none of the files that its external data are in. */
clq_status clq_out_check_external(const char *option, const char *path, const clq_graph *graph);
/* The same once a recipe was loaded: none of the files that it names, weights and teachers. */
clq_status clq_out_check_recipe(const char *option, const char *path, const clq_recipe *recipe);
/* As clq_out_check_file for --log-file, to which lines are appended: it is no file that the command
 * leaves in `out` either, and its folder is there, or is that of `out`. */
clq_status clq_out_check_log(const char *path, const clq_out_folder *out, const char *const *others,
                             size_t count);

#endif

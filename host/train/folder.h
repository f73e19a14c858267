/* What a training finds and leaves in its folder. */
#ifndef CLQUANT_TRAIN_FOLDER_H
#define CLQUANT_TRAIN_FOLDER_H

#include <clquant/train.h>

#include "base/text.h"

/* The names of the history of a training, of whatever phase. */
enum { CLQ_HISTORY_FILES = 3 };
extern const char *const clq_history_files[CLQ_HISTORY_FILES];

/* Appends to a list what an earlier training of the phase left: "history.csv, 2 checkpoints".
 * CLQ_CANNOT_CREATE when one of these names is no file's. */
clq_status clq_train_folder_find(const char *folder, const char *phase, clq_text *found);
/* Makes job->out (NULL: does nothing), removes what killed writers left, and tries to write.
 * CLQ_CANNOT_CREATE when that fails, or when an earlier training is there that is neither resumed
 * nor overwritten, or one of another phase. */
clq_status clq_train_folder_open(const clq_train_job *job);
/* Removes all of it, or nothing when that cannot be. */
clq_status clq_train_folder_clear(const char *folder, const char *phase);

#endif

/* What a training did, epoch by epoch: history.csv and history.json. */
#ifndef CLQUANT_TRAIN_HISTORY_H
#define CLQUANT_TRAIN_HISTORY_H

#include <jansson.h>

#include <clquant/train.h>

typedef struct clq_history {
    clq_epoch_record *records; /* (count), owned */
    int count;
} clq_history;

/* A record in which nothing is known yet: NaN everywhere. */
clq_epoch_record clq_epoch_unknown(int epoch);

clq_status clq_history_add(clq_history *history, const clq_epoch_record *record);
void clq_history_clear(clq_history *history);

/* [{"epoch":, "lr":, "train_loss":, ...}]; NaN (a value that was not measured) becomes null.
 * Without `timing`, nothing that differs between two equal trainings. */
json_t *clq_history_to_json(const clq_history *history, bool timing);
clq_status clq_history_from_json(clq_history *history, const char *file, const json_t *array);

/* Writes FOLDER/history.csv and FOLDER/history.json, each complete or not at all. */
clq_status clq_history_write(const clq_history *history, const char *folder);
/* Fills in the timing of epochs that FOLDER/history.json knows; a missing file is fine. */
void clq_history_read_timing(clq_history *history, const char *folder);

#endif

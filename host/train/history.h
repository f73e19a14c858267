/* What a training did: epoch by epoch in history.csv and history.json, and its curve in steps.json.
 */
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

/* ---- steps ---- */

/* Means over the batches since the record before, within the epoch; with several ranks, over rank
 * 0's part of them. NaN where every step was skipped. */
typedef struct clq_step_record {
    int64_t step; /* from 1 */
    int epoch;    /* from 1 */
    double lr, loss, top1;
} clq_step_record;

typedef struct clq_steps {
    clq_step_record *records; /* (count), owned; ascending */
    size_t count;
} clq_steps;

/* Every so many steps there is a record, so that a training of `total` steps has about 500. */
int64_t clq_steps_interval(int64_t total);
clq_status clq_steps_add(clq_steps *steps, const clq_step_record *record);
/* Forgets those behind `last`. */
void clq_steps_cut(clq_steps *steps, int64_t last);
void clq_steps_clear(clq_steps *steps);

/* FOLDER/steps.json: [{"step":, "epoch":, "lr":, "loss":, "top1":}, ...], complete or not at all.
 */
clq_status clq_steps_write(const clq_steps *steps, const char *folder);
/* Adds the array's rows; CLQ_BAD_DATA names the place and the rule. */
clq_status clq_steps_from_json(clq_steps *steps, const char *file, const json_t *array);
/* What FOLDER/steps.json has up to `last`: nothing where the file is missing or damaged, as it is
 * only for people to look at. */
void clq_steps_read(clq_steps *steps, const char *folder, int64_t last);

#endif

#include "train/history.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"

/* The columns, in order; the last two are timing. */
static const struct {
    const char *name;
    size_t offset;
} columns[] = {
    {"lr", offsetof(clq_epoch_record, lr)},
    {"train_loss", offsetof(clq_epoch_record, train_loss)},
    {"train_top1", offsetof(clq_epoch_record, train_top1)},
    {"test_loss", offsetof(clq_epoch_record, test_loss)},
    {"test_top1", offsetof(clq_epoch_record, test_top1)},
    {"skipped_steps", offsetof(clq_epoch_record, skipped_steps)},
    {"test_output_error", offsetof(clq_epoch_record, test_output_error)},
    {"images_per_second", offsetof(clq_epoch_record, images_per_second)},
    {"seconds", offsetof(clq_epoch_record, seconds)},
};
enum { COLUMN_COUNT = sizeof columns / sizeof *columns, TIMING_COLUMNS = 2 };

static double *field(clq_epoch_record *record, int column) {
    return (double *)(void *)((char *)record + columns[column].offset);
}

clq_epoch_record clq_epoch_unknown(int epoch) {
    clq_epoch_record record = {.epoch = epoch};
    for (int c = 0; c < COLUMN_COUNT; c++) {
        *field(&record, c) = NAN;
    }
    return record;
}

clq_status clq_history_add(clq_history *history, const clq_epoch_record *record) {
    clq_epoch_record *records =
        clq_realloc(history->records, (size_t)history->count + 1, sizeof *history->records);
    if (!records) {
        return CLQ_NO_MEMORY;
    }
    history->records = records;
    records[history->count++] = *record;
    return CLQ_OK;
}

void clq_history_clear(clq_history *history) {
    clq_free(history->records);
    *history = (clq_history){0};
}

json_t *clq_history_to_json(const clq_history *history, bool timing) {
    json_t *array = json_array();
    for (int i = 0; i < history->count; i++) {
        json_t *row = json_object();
        json_object_set_new(row, "epoch", json_integer(history->records[i].epoch));
        for (int c = 0; c < COLUMN_COUNT - (timing ? 0 : TIMING_COLUMNS); c++) {
            json_object_set_new(row, columns[c].name,
                                clq_json_real(*field(&history->records[i], c)));
        }
        json_array_append_new(array, row);
    }
    return array;
}

clq_status clq_history_from_json(clq_history *history, const char *file, const json_t *array) {
    size_t i;
    json_t *row;
    if (!json_is_array(array)) {
        return clq_fail(CLQ_BAD_DATA, "%s: history: must be an array", file);
    }
    json_array_foreach(array, i, row) {
        clq_epoch_record record = {.epoch = (int)json_integer_value(json_object_get(row, "epoch"))};
        for (int c = 0; c < COLUMN_COUNT; c++) {
            const json_t *value = json_object_get(row, columns[c].name);
            *field(&record, c) = json_is_number(value) ? json_number_value(value) : NAN;
        }
        CLQ_TRY(clq_history_add(history, &record));
    }
    return CLQ_OK;
}

static clq_status write_csv(const clq_history *history, const char *path) {
    clq_text text = {0};
    clq_text_puts(&text, "epoch");
    for (int c = 0; c < COLUMN_COUNT; c++) {
        clq_text_printf(&text, ",%s", columns[c].name);
    }
    clq_text_puts(&text, "\n");
    for (int i = 0; i < history->count; i++) {
        clq_text_printf(&text, "%d", history->records[i].epoch);
        for (int c = 0; c < COLUMN_COUNT; c++) {
            const double value = *field(&history->records[i], c);
            clq_text_puts(&text, ",");
            if (isfinite(value)) {
                clq_text_printf(&text, "%.9g", value);
            }
        }
        clq_text_puts(&text, "\n");
    }
    clq_status status = clq_text_status(&text);
    if (status == CLQ_OK) {
        status = clq_file_write_atomic(path, text.data, text.size);
    }
    clq_text_free(&text);
    return status;
}

clq_status clq_history_write(const clq_history *history, const char *folder) {
    clq_status status = CLQ_NO_MEMORY;
    json_t *json = clq_history_to_json(history, true);
    char *csv_path = clq_path_join(folder, "history.csv");
    char *json_path = clq_path_join(folder, "history.json");
    if (json && csv_path && json_path) {
        status = write_csv(history, csv_path);
        if (status == CLQ_OK) {
            status = clq_json_dump_file(json_path, json);
        }
    }
    json_decref(json);
    clq_free(csv_path);
    clq_free(json_path);
    return status;
}

void clq_history_read_timing(clq_history *history, const char *folder) {
    char *path = clq_path_join(folder, "history.json");
    json_t *json = NULL;
    clq_history old = {0};
    if (path && clq_json_load(path, &json) == CLQ_OK &&
        clq_history_from_json(&old, path, json) == CLQ_OK) {
        for (int i = 0; i < history->count && i < old.count; i++) {
            history->records[i].images_per_second = old.records[i].images_per_second;
            history->records[i].seconds = old.records[i].seconds;
        }
    }
    clq_history_clear(&old);
    json_decref(json);
    clq_free(path);
}

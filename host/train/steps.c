/* The curve of a training over its steps. */
#include <math.h>

#include "base/files.h"
#include "base/json.h"
#include "train/history.h"

enum { POINTS = 500, MAX_ROWS = 100000 };
static const double LARGE = 1e30;

int64_t clq_steps_interval(int64_t total) {
    return total > POINTS ? (total + POINTS - 1) / POINTS : 1;
}

clq_status clq_steps_add(clq_steps *steps, const clq_step_record *record) {
    clq_step_record *records =
        clq_realloc(steps->records, steps->count + 1, sizeof *steps->records);
    if (!records) {
        return CLQ_NO_MEMORY;
    }
    steps->records = records;
    records[steps->count++] = *record;
    return CLQ_OK;
}

void clq_steps_cut(clq_steps *steps, int64_t last) {
    while (steps->count > 0 && steps->records[steps->count - 1].step > last) {
        steps->count--;
    }
}

void clq_steps_clear(clq_steps *steps) {
    clq_free(steps->records);
    *steps = (clq_steps){0};
}

clq_status clq_steps_write(const clq_steps *steps, const char *folder) {
    json_t *array = json_array();
    for (size_t i = 0; i < steps->count; i++) {
        const clq_step_record *r = &steps->records[i];
        json_t *row = json_object();
        json_object_set_new(row, "step", json_integer(r->step));
        json_object_set_new(row, "epoch", json_integer(r->epoch));
        json_object_set_new(row, "lr", clq_json_real(r->lr));
        json_object_set_new(row, "loss", clq_json_real(r->loss));
        json_object_set_new(row, "top1", clq_json_real(r->top1));
        json_array_append_new(array, row);
    }
    char *path = clq_path_join(folder, "steps.json");
    const clq_status status = array && path ? clq_json_dump_file(path, array) : CLQ_NO_MEMORY;
    json_decref(array);
    clq_free(path);
    return status;
}

/* A number, or null, which stands for NaN as a missing key does. */
static clq_status read_real(clq_json_reader *reader, const char *key, double min, double max,
                            double *value) {
    *value = NAN;
    return json_is_null(json_object_get(reader->object, key))
               ? CLQ_OK
               : clq_json_read_f64(reader, key, min, max, value);
}

static clq_status read_row(clq_json_reader *reader, int64_t previous, clq_step_record *out) {
    *out = (clq_step_record){0};
    CLQ_TRY(clq_json_require(reader, "step"));
    CLQ_TRY(clq_json_read_i64(reader, "step", 0, INT32_MAX, &out->step));
    if (out->step <= previous) {
        return clq_json_fail(reader, "step", "must be more than the one before, %lld, is %lld",
                             (long long)previous, (long long)out->step);
    }
    CLQ_TRY(clq_json_read_int(reader, "epoch", 0, INT32_MAX, &out->epoch));
    CLQ_TRY(read_real(reader, "lr", 0, LARGE, &out->lr));
    CLQ_TRY(read_real(reader, "loss", -LARGE, LARGE, &out->loss));
    return read_real(reader, "top1", 0, 1, &out->top1);
}

clq_status clq_steps_from_json(clq_steps *steps, const char *file, const json_t *array) {
    clq_json_reader top, row;
    clq_step_record record = {.step = -1};
    CLQ_TRY(clq_json_reader_init(&top, file, NULL));
    if (!json_is_array(array) || json_array_size(array) > MAX_ROWS) {
        return clq_fail(CLQ_BAD_DATA, "%s: must be an array of at most %d steps", file, MAX_ROWS);
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        CLQ_TRY(clq_json_read_element(&top, "", array, i, &row));
        CLQ_TRY(read_row(&row, record.step, &record));
        CLQ_TRY(clq_steps_add(steps, &record));
    }
    return CLQ_OK;
}

void clq_steps_read(clq_steps *steps, const char *folder, int64_t last) {
    char *path = clq_path_join(folder, "steps.json");
    json_t *json = NULL;
    if (!path || !clq_file_exists(path) || clq_json_load(path, &json) != CLQ_OK ||
        clq_steps_from_json(steps, path, json) != CLQ_OK) {
        clq_steps_clear(steps);
    }
    clq_steps_cut(steps, last);
    json_decref(json);
    clq_free(path);
}

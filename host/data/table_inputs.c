/* The inputs alone of a .csv file, whose columns are found by name: for predictions. */
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "data/table.h"

static int find_column(const clq_csv *csv, const char *name, int *found) {
    int column = -1;
    *found = 0;
    for (int k = 0; k < csv->columns; k++) {
        if (strcmp(clq_csv_cell(csv, -1, k), name) == 0) {
            column = k;
            ++*found;
        }
    }
    return column;
}

/* Which column is which input: columns[o->features]. */
static clq_status choose_columns(const char *path, const clq_csv *csv, const clq_table_options *o,
                                 int *columns) {
    const bool named = csv->has_header && o->feature_names;
    bool in_place = csv->columns >= o->features; /* which also tells columns of one name apart */
    for (int i = 0; i < o->features; i++) {
        columns[i] = i;
        in_place =
            in_place && (!named || strcmp(clq_csv_cell(csv, -1, i), o->feature_names[i]) == 0);
    }
    if (!named && csv->columns != o->features && csv->columns != o->features + o->target_columns) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: has %d columns; without names, the first line's and the network's, "
                        "they must be the %d that it reads, or these and %d that it predicts",
                        path, csv->columns, o->features, o->target_columns);
    }
    for (int i = 0; !in_place && i < o->features; i++) {
        int found;
        columns[i] = find_column(csv, o->feature_names[i], &found);
        if (found != 1) {
            return clq_fail(CLQ_BAD_DATA,
                            "%s: has %s column called \"%.60s\", which the network reads", path,
                            found ? "more than one" : "no", o->feature_names[i]);
        }
    }
    return CLQ_OK;
}

/* "id", "price": the columns that no input is. */
static clq_status say_left_out(const char *path, const clq_csv *csv, const int *columns,
                               int count) {
    enum { SHOWN = 8 };
    clq_text text = {0};
    int left = 0;
    for (int k = 0; k < csv->columns; k++) {
        bool used = false;
        for (int i = 0; i < count; i++) {
            used = used || columns[i] == k;
        }
        if (used || left++ >= SHOWN) {
            continue;
        }
        clq_text_puts(&text, left > 1 ? ", " : "");
        if (csv->has_header) {
            clq_text_printf(&text, "\"%.60s\"", clq_csv_cell(csv, -1, k));
        } else {
            clq_text_printf(&text, "%d", k + 1);
        }
    }
    const clq_status status = clq_text_status(&text);
    if (status == CLQ_OK && left > 0) {
        clq_log_info("%s: column%s that the network does not read: %s%s", path, left > 1 ? "s" : "",
                     text.data, left > SHOWN ? ", ..." : "");
    }
    clq_text_free(&text);
    return status;
}

static clq_status read_inputs(const char *path, const clq_csv *csv, const int *columns,
                              clq_table *table) {
    for (int64_t i = 0; i < table->rows; i++) {
        for (int k = 0; k < table->features; k++) {
            const char *cell = clq_csv_cell(csv, i, columns[k]);
            if (!clq_csv_number(cell, &table->x[i * table->features + k])) {
                return clq_table_bad_cell(csv, path, i, columns[k], "is not a number");
            }
        }
    }
    return CLQ_OK;
}

static clq_status keep_names(const clq_csv *csv, const int *columns, clq_table *table) {
    table->column_names = clq_calloc((size_t)table->features, sizeof *table->column_names);
    if (!table->column_names) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < table->features; i++) {
        table->column_names[i] = clq_strdup(clq_csv_cell(csv, -1, columns[i]));
        if (!table->column_names[i]) {
            return CLQ_NO_MEMORY;
        }
    }
    return CLQ_OK;
}

clq_status clq_table_open_inputs(const char *path, const clq_table_options *o, clq_table *table) {
    clq_csv csv = {0};
    int *columns = clq_calloc((size_t)o->features, sizeof *columns);
    clq_status status = columns ? clq_csv_read(path, &csv) : CLQ_NO_MEMORY;
    CLQ_GOTO(status, cleanup, status);
    if (csv.rows > INT32_MAX) {
        status = clq_fail(CLQ_BAD_DATA, "%s: more than %d rows", path, INT32_MAX);
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, choose_columns(path, &csv, o, columns));
    CLQ_GOTO(status, cleanup, say_left_out(path, &csv, columns, o->features));
    table->rows = csv.rows;
    table->features = o->features;
    table->x = clq_calloc((size_t)csv.rows * (size_t)o->features, sizeof *table->x);
    CLQ_GOTO(status, cleanup, table->x ? read_inputs(path, &csv, columns, table) : CLQ_NO_MEMORY);
    status = csv.has_header ? keep_names(&csv, columns, table) : CLQ_OK;
cleanup:
    clq_csv_free(&csv);
    clq_free(columns);
    return status;
}

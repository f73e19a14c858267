/* Tables of features for multi-layer perceptrons: see clquant/data.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arguments.h"
#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "data/csv.h"
#include "data/dataset.h"
#include "data/draws.h"
#include "data/npy.h"
#include "data/table.h"

#define DEFAULT_TEST_FRACTION 0.2
enum { MAX_CLASSES = 4096, MAX_AUTO_CLASSES = 1000 };

/* A file's rows, before the split. */
typedef struct rows {
    const char *path;
    int64_t count;
    int features, targets;
    const float *x, *y; /* (count, features), (count, targets) */
} rows;

/* How the last column names classes. */
typedef struct classes {
    bool used;    /* class targets */
    bool words;   /* by name, else by number */
    char **names; /* words: (count), sorted, borrowed from the file's text */
    int count;
} classes;

/* ---- splitting and storing ---- */

/* Which rows belong to `split`: chosen[i]. All of them when `own_split`. */
static clq_status choose_rows(int64_t count, bool own_split, const clq_table_options *o,
                              bool *chosen, clq_table *table) {
    const double fraction = o->test_fraction > 0 ? o->test_fraction : DEFAULT_TEST_FRACTION;
    table->test_fraction = own_split ? 0 : fraction;
    const int64_t tests = own_split ? 0 : (int64_t)((double)count * fraction + 0.5);
    const bool want_tests = !own_split && o->split == CLQ_SPLIT_TEST;
    uint32_t *order = clq_calloc((size_t)count, sizeof *order);
    if (!order) {
        return CLQ_NO_MEMORY;
    }
    clq_permutation(o->seed, clq_draw_stream(CLQ_DRAW_SPLIT, 0), (uint32_t)count, order);
    for (int64_t i = 0; i < count; i++) {
        chosen[order[i]] = (i < tests) == want_tests;
    }
    clq_free(order);
    table->rows = want_tests ? tests : count - tests;
    return CLQ_OK;
}

/* Copies the rows of the split that is wanted into the table, targets as labels or as y. */
static clq_status store_rows(const rows *r, const classes *c, bool own_split,
                             const clq_table_options *o, clq_table *table) {
    if (r->count > INT32_MAX) {
        return clq_fail(CLQ_BAD_DATA, "%s: more than %d rows", r->path, INT32_MAX);
    }
    const size_t f = (size_t)r->features, t = (size_t)r->targets;
    bool *chosen = clq_calloc((size_t)r->count, sizeof *chosen);
    clq_status status = CLQ_NO_MEMORY;
    if (chosen) {
        status = choose_rows(r->count, own_split, o, chosen, table);
    }
    if (status == CLQ_OK && table->rows == 0) {
        status = clq_fail(CLQ_BAD_DATA, "%s: %lld row%s too few to split", r->path,
                          (long long)r->count, r->count == 1 ? " is" : "s are");
    }
    CLQ_GOTO(status, cleanup, status);
    table->features = r->features;
    table->targets = c->used ? 0 : r->targets;
    table->x = clq_calloc((size_t)table->rows * f, sizeof *table->x);
    if (c->used) {
        table->labels = clq_calloc((size_t)table->rows, sizeof *table->labels);
    } else {
        table->y = clq_calloc((size_t)table->rows * t, sizeof *table->y);
    }
    if (!table->x || (!table->labels && !table->y)) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    size_t row = 0;
    for (size_t i = 0; i < (size_t)r->count; i++) {
        if (!chosen[i]) {
            continue;
        }
        memcpy(table->x + row * f, r->x + i * f, f * sizeof *table->x);
        if (c->used) {
            table->labels[row] = (int32_t)r->y[i];
        } else {
            memcpy(table->y + row * t, r->y + i * t, t * sizeof *table->y);
        }
        row++;
    }

cleanup:
    clq_free(chosen);
    return status;
}

static clq_status store_class_names(const char *path, const classes *c, clq_table *table) {
    if (!c->used) {
        return CLQ_OK;
    }
    table->class_names = clq_calloc((size_t)c->count, sizeof *table->class_names);
    if (!table->class_names) {
        return CLQ_NO_MEMORY;
    }
    table->class_count = c->count;
    for (int i = 0; i < c->count; i++) {
        table->class_names[i] = c->words ? clq_strdup(c->names[i]) : clq_format("%d", i);
        if (!table->class_names[i]) {
            return CLQ_NO_MEMORY;
        }
        CLQ_TRY(clq_check_class_name(path, table->class_names[i]));
    }
    return CLQ_OK;
}

/* ---- class targets ---- */

static bool is_class_number(float value) {
    return value >= 0 && value < MAX_CLASSES && value == floorf(value);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted distinct words of a column. */
static clq_status collect_words(const clq_csv *csv, const char *path, int column, classes *c) {
    c->names = clq_calloc((size_t)csv->rows, sizeof *c->names);
    if (!c->names) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t i = 0; i < csv->rows; i++) {
        c->names[i] = csv->cells[(i + csv->has_header) * csv->columns + column];
    }
    qsort(c->names, (size_t)csv->rows, sizeof *c->names, compare_names);
    for (int64_t i = 0; i < csv->rows; i++) {
        if (c->count == 0 || strcmp(c->names[c->count - 1], c->names[i]) != 0) {
            c->names[c->count++] = c->names[i];
        }
        if (c->count > MAX_CLASSES) {
            return clq_fail(CLQ_BAD_DATA, "%s: column %d: more than %d classes", path, column + 1,
                            MAX_CLASSES);
        }
    }
    return CLQ_OK;
}

/* Raises c->count to what the numbers need, 2 at least; false when they are no class numbers. */
static bool count_numbers(const clq_npy *numbers, classes *c) {
    float most = 1;
    for (int64_t i = 0; i < numbers->count; i++) {
        if (!is_class_number(numbers->values[i])) {
            return false;
        }
        most = numbers->values[i] > most ? numbers->values[i] : most;
    }
    c->count = (int)most + 1 > c->count ? (int)most + 1 : c->count;
    return true;
}

clq_status clq_table_bad_cell(const clq_csv *csv, const char *path, int64_t row, int column,
                              const char *rule) {
    const char *cell = clq_csv_cell(csv, row, column);
    const long long line = csv->lines[row + csv->has_header];
    if (clq_csv_decimal_comma(cell)) {
        rule = "has a decimal comma: write numbers with a decimal point";
    }
    if (!clq_csv_blank(cell)) {
        return clq_fail(CLQ_BAD_DATA, "%s:%lld: column %d: \"%.60s\" %s", path, line, column + 1,
                        cell, rule);
    }
    const bool at_end = column == csv->columns - 1;
    return clq_fail(CLQ_BAD_DATA, "%s:%lld: column %d: is empty%s%s", path, line, column + 1,
                    at_end ? ", behind the last " : "",
                    at_end ? clq_csv_separator_name(csv->separator) : "");
}

/* Looks at the target column of the file that defines the classes. */
static clq_status csv_classes(const clq_csv *csv, const char *path, const clq_table_options *o,
                              classes *c) {
    const int column = csv->columns - 1;
    float value = 0;
    int64_t numbers = 0;
    bool classlike = true;
    int most = 1;
    float first = 0;
    bool equal = true; /* all class numbers */
    for (int64_t i = 0; i < csv->rows; i++) {
        const char *cell = clq_csv_cell(csv, i, column);
        if (clq_csv_blank(cell) || (o->target != CLQ_TARGET_CLASS && clq_csv_decimal_comma(cell))) {
            return clq_table_bad_cell(csv, path, i, column, "");
        }
        const bool number = clq_csv_number(cell, &value);
        first = i == 0 ? value : first;
        equal = equal && number && value == first;
        numbers += number;
        classlike = classlike && number && is_class_number(value);
        most = classlike && value > (float)most ? (int)value : most;
    }
    const bool automatic = o->target == CLQ_TARGET_AUTO && o->target_columns <= 1;
    c->words = numbers < csv->rows;
    /* A word among numbers is more likely a broken number than a class. */
    c->used = o->target == CLQ_TARGET_CLASS ||
              (automatic && (numbers == 0 || (classlike && most < MAX_AUTO_CLASSES)));
    if (!c->used) {
        return CLQ_OK;
    }
    if (c->words) {
        CLQ_TRY(collect_words(csv, path, column, c));
    } else if (!classlike) {
        return clq_fail(CLQ_BAD_DATA, "%s: column %d: class numbers must be whole and in 0..%d",
                        path, column + 1, MAX_CLASSES - 1);
    } else {
        c->count = most + 1;
    }
    if (c->words ? c->count == 1 : equal) {
        clq_log_warn("%s: column %d: all rows are of one class, \"%.60s\"", path, column + 1,
                     clq_csv_cell(csv, 0, column));
    }
    return CLQ_OK;
}

static clq_status class_of_cell(const char *path, const clq_csv *csv, int64_t row, const char *cell,
                                const classes *c, float *target) {
    if (c->words) {
        char *const *found =
            bsearch(&cell, c->names, (size_t)c->count, sizeof *c->names, compare_names);
        if (found) {
            *target = (float)(found - c->names);
            return CLQ_OK;
        }
    } else if (clq_csv_number(cell, target) && is_class_number(*target) &&
               *target < (float)c->count) {
        return CLQ_OK;
    }
    return clq_fail(CLQ_BAD_DATA, "%s:%lld: class \"%.60s\" is not one of the %d of training", path,
                    (long long)csv->lines[row + csv->has_header], cell, c->count);
}

/* ---- csv ---- */

static clq_status csv_numbers(const char *path, const clq_csv *csv, int targets, const classes *c,
                              float *x, float *y) {
    const int features = csv->columns - targets;
    for (int64_t i = 0; i < csv->rows; i++) {
        for (int k = 0; k < csv->columns; k++) {
            const char *cell = clq_csv_cell(csv, i, k);
            float *to = k < features ? &x[i * features + k] : &y[i * targets + k - features];
            if (clq_csv_blank(cell)) {
                return clq_table_bad_cell(csv, path, i, k, "");
            }
            if (k >= features && c->used) {
                CLQ_TRY(class_of_cell(path, csv, i, cell, c, to));
            } else if (!clq_csv_number(cell, to)) {
                return clq_table_bad_cell(csv, path, i, k, "is not a number");
            }
        }
    }
    return CLQ_OK;
}

/* Two columns of one name may be an accident of who wrote the file. */
static clq_status warn_of_twins(const clq_csv *csv, const char *path) {
    char **names = csv->has_header ? clq_calloc((size_t)csv->columns, sizeof *names) : NULL;
    if (!names) {
        return csv->has_header ? CLQ_NO_MEMORY : CLQ_OK;
    }
    memcpy(names, csv->cells, (size_t)csv->columns * sizeof *names);
    qsort(names, (size_t)csv->columns, sizeof *names, compare_names);
    for (int i = 1; i < csv->columns; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            clq_log_warn("%s: two columns have the name \"%.60s\"", path, names[i]);
            break;
        }
    }
    clq_free(names);
    return CLQ_OK;
}

/* The header's cells from column `first` on. */
static clq_status copy_names(const clq_csv *csv, int first, int count, char ***names) {
    if (!csv->has_header || count == 0) {
        return CLQ_OK;
    }
    *names = clq_calloc((size_t)count, sizeof **names);
    if (!*names) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < count; i++) {
        (*names)[i] = clq_strdup(clq_csv_cell(csv, -1, first + i));
        if (!(*names)[i]) {
            return CLQ_NO_MEMORY;
        }
    }
    return CLQ_OK;
}

static clq_status csv_to_table(const char *path, const clq_csv *csv, const classes *c,
                               bool own_split, const clq_table_options *o, clq_table *table) {
    const int targets = o->target_columns > 0 ? o->target_columns : 1;
    if (csv->columns <= targets) {
        return clq_fail(
            CLQ_BAD_DATA,
            "%s: %d column%s; at least one feature and %d target%s, separated by commas, "
            "semicolons or tabs",
            path, csv->columns, clq_plural(csv->columns), targets, clq_plural(targets));
    }
    const int features = csv->columns - targets;
    float *x = clq_calloc((size_t)csv->rows * (size_t)features, sizeof *x);
    float *y = clq_calloc((size_t)csv->rows * (size_t)targets, sizeof *y);
    clq_status status = x && y ? CLQ_OK : CLQ_NO_MEMORY;
    CLQ_GOTO(status, cleanup, status);
    CLQ_GOTO(status, cleanup, csv_numbers(path, csv, targets, c, x, y));
    const rows r = {path, csv->rows, features, targets, x, y};
    CLQ_GOTO(status, cleanup, store_rows(&r, c, own_split, o, table));
    CLQ_GOTO(status, cleanup, copy_names(csv, 0, features, &table->column_names));
    CLQ_GOTO(status, cleanup, copy_names(csv, features, table->targets, &table->target_names));
    status = store_class_names(path, c, table);

cleanup:
    clq_free(x);
    clq_free(y);
    return status;
}

/* Columns are taken by their place: the names, where both files have them, must agree. */
static clq_status compare_headers(const clq_csv *csv, const char *path, const clq_csv *train,
                                  const char *train_path) {
    if (csv->columns != train->columns) {
        return clq_fail(CLQ_BAD_DATA, "%s: %d column%s where %s has %d", path, csv->columns,
                        clq_plural(csv->columns), train_path, train->columns);
    }
    for (int i = 0; csv->has_header && train->has_header && i < csv->columns; i++) {
        const char *name = clq_csv_cell(csv, -1, i), *other = clq_csv_cell(train, -1, i);
        if (strcmp(name, other) != 0) {
            return clq_fail(CLQ_BAD_DATA, "%s: column %d is \"%.60s\" where %s has \"%.60s\"", path,
                            i + 1, name, train_path, other);
        }
    }
    return CLQ_OK;
}

/* `train` is the file that defines the classes; NULL: `path` itself, which is then split. */
static clq_status open_csv(const char *path, const char *train, const clq_table_options *o,
                           clq_table *table) {
    clq_csv csv = {0}, train_csv = {0};
    classes c = {0};
    clq_status status;
    CLQ_GOTO(status, cleanup, clq_csv_read(path, &csv));
    if (csv.separator != ',') {
        clq_log_info("%s: its cells are separated by %ss", path,
                     clq_csv_separator_name(csv.separator));
    }
    if (train) {
        CLQ_GOTO(status, cleanup, clq_csv_read(train, &train_csv));
        CLQ_GOTO(status, cleanup, compare_headers(&csv, path, &train_csv, train));
    }
    CLQ_GOTO(status, cleanup, warn_of_twins(&csv, path));
    CLQ_GOTO(status, cleanup, csv_classes(train ? &train_csv : &csv, train ? train : path, o, &c));
    status = csv_to_table(path, &csv, &c, train != NULL, o, table);

cleanup:
    clq_free(c.names);
    clq_csv_free(&csv);
    clq_csv_free(&train_csv);
    return status;
}

/* ---- npy ---- */

/* `train_y` holds the targets of training; NULL: `y_path` does, and is split. */
static clq_status npy_to_table(const char *x_path, const char *y_path, const char *train_y,
                               const clq_table_options *o, clq_table *table) {
    clq_npy x = {0}, y = {0}, all = {0};
    classes c = {0};
    clq_status status;
    CLQ_GOTO(status, cleanup, clq_npy_read(x_path, &x));
    CLQ_GOTO(status, cleanup, clq_npy_read(y_path, &y));
    const int64_t features = x.count / x.dims[0], targets = y.count / y.dims[0];
    if (x.rank < 2 || x.dims[0] != y.dims[0] || features > INT32_MAX || y.rank > 2) {
        status = clq_fail(CLQ_BAD_DATA,
                          "%s, %s: must be (rows, features) and (rows) or (rows, "
                          "targets), with equal numbers of rows",
                          x_path, y_path);
        goto cleanup;
    }
    c.used = o->target == CLQ_TARGET_CLASS ||
             (o->target == CLQ_TARGET_AUTO && y.is_integer && targets == 1);
    if (c.used && train_y) {
        CLQ_GOTO(status, cleanup, clq_npy_read(train_y, &all));
    }
    if (c.used && (targets != 1 || !count_numbers(&y, &c) || !count_numbers(&all, &c))) {
        status = clq_fail(CLQ_BAD_DATA, "%s: class numbers must be whole and in 0..%d, one a row",
                          y_path, MAX_CLASSES - 1);
        goto cleanup;
    }
    const rows r = {x_path, x.dims[0], (int)features, (int)targets, x.values, y.values};
    CLQ_GOTO(status, cleanup, store_rows(&r, &c, train_y != NULL, o, table));
    status = store_class_names(y_path, &c, table);

cleanup:
    clq_npy_free(&all);
    clq_npy_free(&x);
    clq_npy_free(&y);
    return status;
}

/* A file (rows, features + targets). */
static clq_status open_npy(const char *path, const clq_table_options *o, clq_table *table) {
    const int64_t targets = o->target_columns > 0 ? o->target_columns : 1;
    clq_npy all = {0}, x = {0}, y = {0};
    classes c = {0};
    clq_status status;
    CLQ_GOTO(status, cleanup, clq_npy_read(path, &all));
    const int64_t rows = all.dims[0], columns = all.count / rows, features = columns - targets;
    if (all.rank != 2 || features < 1 || features > INT32_MAX) {
        status =
            clq_fail(CLQ_BAD_DATA,
                     "%s: must be (rows, columns), with at least one feature and %lld target%s",
                     path, (long long)targets, clq_plural(targets));
        goto cleanup;
    }
    x.values = clq_calloc((size_t)(rows * features), sizeof *x.values);
    y.values = clq_calloc((size_t)(rows * targets), sizeof *y.values);
    if (!x.values || !y.values) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    y.count = rows * targets;
    for (int64_t i = 0; i < rows; i++) {
        const float *row = all.values + i * columns;
        memcpy(x.values + i * features, row, (size_t)features * sizeof *row);
        memcpy(y.values + i * targets, row + features, (size_t)targets * sizeof *row);
    }
    const bool countable =
        o->target != CLQ_TARGET_REGRESSION && targets == 1 && count_numbers(&y, &c);
    if (o->target == CLQ_TARGET_CLASS && !countable) {
        status = clq_fail(CLQ_BAD_DATA, "%s: column %lld: class numbers must be whole and in 0..%d",
                          path, (long long)columns, MAX_CLASSES - 1);
        goto cleanup;
    }
    c.used = countable && (o->target == CLQ_TARGET_CLASS || c.count <= MAX_AUTO_CLASSES);
    const struct rows r = {path, rows, (int)features, (int)targets, x.values, y.values};
    CLQ_GOTO(status, cleanup, store_rows(&r, &c, false, o, table));
    status = store_class_names(path, &c, table);

cleanup:
    clq_npy_free(&all);
    clq_npy_free(&x);
    clq_npy_free(&y);
    return status;
}

/* ---- opening ---- */

bool clq_table_here(const char *path) {
    static const char *const names[] = {"train.csv", "train.tsv", "x_train.npy", "x.npy"};
    bool found = false;
    if (!clq_is_folder(path)) {
        return clq_csv_named(path) || clq_path_has_extension(path, ".npy");
    }
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++) {
        char *file = clq_path_join(path, names[i]);
        found = file && clq_file_exists(file);
        clq_free(file);
    }
    return found;
}

static clq_status open_folder(const char *folder, const clq_table_options *o, clq_table *table) {
    enum { CSV, TRAIN_CSV, TSV, TRAIN_TSV, X, Y, TRAIN_Y, WHOLE_X, WHOLE_Y, FILES };
    const bool test = o->split == CLQ_SPLIT_TEST;
    const char *const names[FILES] = {[CSV] = test ? "test.csv" : "train.csv",
                                      [TRAIN_CSV] = "train.csv",
                                      [TSV] = test ? "test.tsv" : "train.tsv",
                                      [TRAIN_TSV] = "train.tsv",
                                      [X] = test ? "x_test.npy" : "x_train.npy",
                                      [Y] = test ? "y_test.npy" : "y_train.npy",
                                      [TRAIN_Y] = "y_train.npy",
                                      [WHOLE_X] = "x.npy",
                                      [WHOLE_Y] = "y.npy"};
    char *paths[FILES] = {0};
    clq_status status = CLQ_OK;
    for (int i = 0; i < FILES; i++) {
        paths[i] = clq_path_join(folder, names[i]);
        if (!paths[i]) {
            status = CLQ_NO_MEMORY;
            goto cleanup;
        }
    }
    if (clq_file_exists(paths[TRAIN_CSV])) {
        status = open_csv(paths[CSV], paths[TRAIN_CSV], o, table);
    } else if (clq_file_exists(paths[TRAIN_TSV])) {
        status = open_csv(paths[TSV], paths[TRAIN_TSV], o, table);
    } else if (clq_file_exists(paths[X])) {
        status = npy_to_table(paths[X], paths[Y], paths[TRAIN_Y], o, table);
    } else if (clq_file_exists(paths[WHOLE_X])) {
        status = npy_to_table(paths[WHOLE_X], paths[WHOLE_Y], NULL, o, table);
    } else {
        status = clq_fail(CLQ_NO_INPUT,
                          "%s: no table in it: looked for train.csv, train.tsv, %s and x.npy",
                          folder, names[X]);
    }

cleanup:
    for (int i = 0; i < FILES; i++) {
        clq_free(paths[i]);
    }
    return status;
}

clq_status clq_table_open(const char *path, const clq_table_options *options, clq_table **table) {
    CLQ_NEEDS(path, table);
    static const clq_table_options defaults = {0};
    const clq_table_options *o = options ? options : &defaults;
    *table = NULL;
    if ((unsigned)o->split > CLQ_SPLIT_TEST || (unsigned)o->target > CLQ_TARGET_NONE) {
        return clq_fail(CLQ_USAGE, "table: there is no split %d or kind of target %d",
                        (int)o->split, (int)o->target);
    }
    if (o->target_columns < 0 || !(o->test_fraction >= 0 && o->test_fraction < 1) ||
        (o->target == CLQ_TARGET_CLASS && o->target_columns > 1) ||
        (o->target == CLQ_TARGET_NONE) != (o->features > 0)) {
        return clq_fail(CLQ_USAGE, "table: %d target columns, test fraction %g, %d features",
                        o->target_columns, o->test_fraction, o->features);
    }
    if (o->target == CLQ_TARGET_NONE && !clq_csv_named(path)) {
        return clq_fail(CLQ_BAD_DATA, "%s: rows without targets are read from a .csv or .tsv file",
                        path);
    }
    clq_table *t = clq_calloc(1, sizeof *t);
    if (!t) {
        return CLQ_NO_MEMORY;
    }
    clq_status status;
    if (o->target == CLQ_TARGET_NONE) {
        status = clq_table_open_inputs(path, o, t);
    } else if (clq_is_folder(path)) {
        status = open_folder(path, o, t);
    } else if (clq_path_has_extension(path, ".npy")) {
        status = open_npy(path, o, t);
    } else {
        status = open_csv(path, NULL, o, t);
    }
    if (status != CLQ_OK) {
        clq_table_close(t);
        return status;
    }
    *table = t;
    return CLQ_OK;
}

static void free_names(char **names, int count) {
    for (int i = 0; names && i < count; i++) {
        clq_free(names[i]);
    }
    clq_free(names);
}

void clq_table_close(clq_table *table) {
    if (!table) {
        return;
    }
    free_names(table->class_names, table->class_count);
    free_names(table->column_names, table->features);
    free_names(table->target_names, table->targets);
    clq_free(table->target_std);
    clq_free(table->x);
    clq_free(table->y);
    clq_free(table->labels);
    clq_free(table);
}

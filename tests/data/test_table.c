/* Tables: csv and npy, whole and broken, splitting and batches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/csv.h"
#include "data/npy.h"
#include "support/clq_test.h"
#include "support/image_files.h"
#include "support/npy_file.h"

#include <clquant/data.h>

static const char *put(const char *name, const char *text) {
    const char *path = clq_test_temp_path(name);
    char *folder = clq_path_folder(path);
    assert_ok(clq_make_dirs(folder));
    clq_free(folder);
    test_file_write(path, text, strlen(text));
    return path;
}

static clq_table *open_ok(const char *path, clq_table_options options) {
    clq_table *table = NULL;
    assert_ok(clq_table_open(path, &options, &table));
    return table;
}

static void assert_fails(const char *path, clq_table_options options, clq_status status,
                         const char *text) {
    clq_table *table = NULL;
    assert_status(clq_table_open(path, &options, &table), status);
    assert_error_has(text);
    assert_null(table);
}

/* ---- csv ---- */

static void csv_has_headers_quotes_and_comments(void **state) {
    (void)state;
    clq_csv csv;
    assert_ok(clq_csv_read(put("a.csv", "\xef\xbb\xbf# made by hand\r\n"
                                        "\"first, one\" , second,third\r\n"
                                        "\r\n"
                                        " 1 ,2.5,\"say \"\"hi\"\"\"\r\n"
                                        "-3e2,,\"two\nlines\"\n"
                                        "5,6,end"),
                           &csv));
    assert_int_equal(csv.rows, 3);
    assert_int_equal(csv.columns, 3);
    assert_true(csv.has_header);
    assert_string_equal(clq_csv_cell(&csv, -1, 0), "first, one");
    assert_string_equal(clq_csv_cell(&csv, -1, 1), "second");
    assert_string_equal(clq_csv_cell(&csv, 0, 0), "1");
    assert_string_equal(clq_csv_cell(&csv, 0, 2), "say \"hi\"");
    assert_string_equal(clq_csv_cell(&csv, 1, 1), "");
    assert_string_equal(clq_csv_cell(&csv, 1, 2), "two\nlines");
    assert_string_equal(clq_csv_cell(&csv, 2, 2), "end");
    assert_int_equal(csv.lines[1], 4);
    assert_int_equal(csv.lines[3], 7);
    clq_csv_free(&csv);
    assert_ok(clq_csv_read(put("b.csv", "1,a\n2,b\n"), &csv));
    assert_false(csv.has_header);
    assert_int_equal(csv.rows, 2);
    clq_csv_free(&csv);
}

static void broken_csv_is_refused(void **state) {
    (void)state;
    assert_fails(put("a.csv", ""), (clq_table_options){0}, CLQ_BAD_DATA, "no rows");
    assert_fails(put("a.csv", "x,y\n"), (clq_table_options){0}, CLQ_BAD_DATA, "a header and no");
    assert_fails(put("a.csv", "1,2\n3\n"), (clq_table_options){0}, CLQ_BAD_DATA,
                 "a.csv:2: 1 cell where the first line has 2");
    assert_fails(put("a.csv", "1,2\n\"3,4\n"), (clq_table_options){0}, CLQ_BAD_DATA,
                 "a.csv:2: a quote that is never closed");
    assert_fails(put("a.csv", "1,2\n\"3\"4,5\n"), (clq_table_options){0}, CLQ_BAD_DATA,
                 "behind a closing quote");
    assert_fails(put("a.csv", "a,b\n1,2\nx,3\n"), (clq_table_options){0}, CLQ_BAD_DATA,
                 "a.csv:3: column 1: \"x\" is not a number");
    assert_fails(put("a.csv", "1,2\ninf,3\n"), (clq_table_options){0}, CLQ_BAD_DATA,
                 "is not a number");
    assert_fails(put("a.csv", "1,2.5\n1,3.5\n1,nan\n"), (clq_table_options){0}, CLQ_BAD_DATA,
                 "a.csv:3: column 2: \"nan\" is not a number");
    assert_fails(put("a.csv", "1\n2\n"), (clq_table_options){0}, CLQ_BAD_DATA,
                 "a.csv: 1 column; at least one feature and 1 target, separated");
    assert_fails(put("a.csv", "1,1\n"), (clq_table_options){.split = CLQ_SPLIT_TEST}, CLQ_BAD_DATA,
                 "too few to split");
    assert_fails(put("a.csv", "1,2,caf\xe9\n3,4,tea\n"), (clq_table_options){0}, CLQ_BAD_DATA,
                 "a.csv: class \"caf\xe9\": its name must be UTF-8");
    assert_fails(put("a.csv", "1,2,\"two\nlines\"\n3,4,tea\n"), (clq_table_options){0},
                 CLQ_BAD_DATA, "without line breaks");
    assert_fails(clq_test_temp_path("no.csv"), (clq_table_options){0}, CLQ_NO_INPUT, "no.csv");
    const char *path = clq_test_temp_path("nul.csv");
    test_file_write(path, "1,2\n3,\0\n", 8);
    assert_fails(path, (clq_table_options){0}, CLQ_BAD_DATA, "holds a NUL");
}

/* A cell with nothing in it is no class and no number. */
static void empty_cells_are_refused(void **state) {
    (void)state;
    static const char *const files[][2] = {
        {"a,b,y,\n1,2,3,\n4,5,6,\n", "a.csv:2: column 4: is empty, behind the last comma"},
        {"1,2,3,\n4,5,6,\n", "a.csv:1: column 4: is empty, behind the last comma"},
        {"a,b,kind\n1,2,\n3,4,cat\n", "a.csv:2: column 3: is empty"},
        {"1,2,cat\n3,4, \t\n5,6,dog\n", "a.csv:2: column 3: is empty"},
        {"1,2,cat\n3,4,\" \"\n5,6,dog\n", "a.csv:2: column 3: is empty"},
        {"1,2,cat\n3,4,\"\"\n", "a.csv:2: column 3: is empty"},
        {"1,2,7\n3,4,\n", "a.csv:2: column 3: is empty"},
        {"1,2,0.5\n\n3,4,\n", "a.csv:3: column 3: is empty"},
        {"a,b,y\n1,,7\n3,4,8\n", "a.csv:2: column 2: is empty"},
        {"1,,cat\n2,3,dog\n", "a.csv:1: column 2: is empty"}, /* no header */
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        for (int class = 0; class < 2; class ++) {
            assert_fails(put("a.csv", files[i][0]),
                         (clq_table_options){.target = class ? CLQ_TARGET_CLASS : CLQ_TARGET_AUTO},
                         CLQ_BAD_DATA, files[i][1]);
        }
    }
}

/* What other programs write where a number is missing or broken is an error in the first line too,
 * not a header to be left out. */
static void a_broken_first_row_is_no_header(void **state) {
    (void)state;
    static const char *const cells[] = {"nan",  "NA",    "-inf", "?",   "1e400",
                                        "0x10", "1.2.3", "-",    "null"};
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        char text[64], rule[64];
        snprintf(text, sizeof text, "1,%s,cat\n2,3,dog\n", cells[i]);
        snprintf(rule, sizeof rule, "a.csv:1: column 2: \"%s\" is not a number", cells[i]);
        assert_fails(put("a.csv", text), (clq_table_options){0}, CLQ_BAD_DATA, rule);
    }
    clq_csv csv;
    assert_ok(clq_csv_read(put("a.csv", ",0,1,y\n0,5,6,2\n1,7,8,3\n"), &csv));
    assert_true(csv.has_header); /* numbers as names, as of a matrix */
    clq_csv_free(&csv);
}

static void the_separator_is_found(void **state) {
    (void)state;
    const struct {
        const char *text;
        char separator;
        const char *last; /* cell of row 0 */
    } files[] = {
        {"a;b;y\n1.5;2.5;3\n", ';', "3"},
        {"\xef\xbb\xbf\"a\";b;y\r\n1;2;\"x;y\"\r\n", ';', "x;y"},
        {"# note, with a comma\n\na\tb\ty\n1\t 2 \t3 \n4\t\t6\n", '\t', "3"},
        {"1;2;\"x,y\"\n3;4;z\n", ';', "x,y"},
        {"a,b,y\n1,2,one;two\n3,4,three\n", ',', "one;two"},
        {"a,b;y\n1,2\n", ',', "2"}, /* only commas are in both */
        {"a;b;y\n1;2;3\n4;5;6\n", ';', "3"},
        {"1;2,5;3\n4;5;6\n", ';', "3"}, /* the second line has no comma */
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        clq_csv csv;
        assert_ok(clq_csv_read(put("a.csv", files[i].text), &csv));
        assert_int_equal(csv.separator, files[i].separator);
        assert_string_equal(clq_csv_cell(&csv, 0, csv.columns - 1), files[i].last);
        clq_csv_free(&csv);
    }
}

static void what_a_separator_leaves_open_is_refused(void **state) {
    (void)state;
    static const char *const files[][2] = {
        {"1,5;2,5;3\n4,5;5,5;7\n", "could be separated by commas or by semicolons"},
        {"a;b;y\n1,5;2;3\n", "a.csv:2: column 1: \"1,5\" has a decimal comma"},
        {"a;b;y\n1;2;-3,5\n1;2;,5\n", "a.csv:2: column 3: \"-3,5\" has a decimal comma"},
        {"a;b;y\n1;2;3\n4;5\n", "a.csv:3: 2 cells where the first line has 3"},
        {"a,y\n\"1,5\",3\n", "a.csv:2: column 1: \"1,5\" has a decimal comma"},
        {"1 2 3\n4 5 6\n", "separated by commas, semicolons or tabs"},
        {"1;2;\n3;4;\n", "a.csv:1: column 3: is empty, behind the last semicolon"},
        {"\xff\xfe"
         "1",
         "is text in UTF-16"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        assert_fails(put("a.csv", files[i][0]), (clq_table_options){0}, CLQ_BAD_DATA, files[i][1]);
    }
}

/* Their separator is the tab, if they have any, whatever commas do. */
static void tsv_files_are_tables(void **state) {
    (void)state;
    clq_table *table =
        open_ok(put("A.TSV", "a\tb\ty\n1\t2\t3.5\n4\t5\t6\n"), (clq_table_options){0});
    assert_int_equal(table->features, 2);
    assert_string_equal(table->target_names[0], "y");
    clq_table_close(table);
    assert_fails(put("a.csv", "1,5\t2,5\t3\n4,5\t5,5\t7\n"), (clq_table_options){0}, CLQ_BAD_DATA,
                 "could be separated by ");
    assert_fails(put("a.tsv", "1,5\t2,5\t3\n4,5\t5,5\t7\n"), (clq_table_options){0}, CLQ_BAD_DATA,
                 "a.tsv:1: column 1: \"1,5\" has a decimal comma");
    put("t/train.tsv", "1\t2\t3.5\n4\t5\t6\n");
    put("t/test.tsv", "7\t8\t9\n");
    table = open_ok(clq_test_temp_path("t"), (clq_table_options){.split = CLQ_SPLIT_TEST});
    assert_int_equal(table->rows, 1);
    assert_true(table->x[1] == 8);
    clq_table_close(table);
}

static void lines_may_end_in_carriage_returns(void **state) {
    (void)state;
    static const char *const files[] = {"a,b,y\r1,2,3\r\r# x\r4,5,\"6\"\r",
                                        "a,b,y\r\n1,2,3\r\n\r\n# x\r\n4,5,\"6\"\r\n",
                                        "a,b,y\n1,2,3\n\n# x\n4,5,\"6\""};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        clq_csv csv;
        assert_ok(clq_csv_read(put("a.csv", files[i]), &csv));
        assert_true(csv.has_header);
        assert_int_equal(csv.rows, 2);
        assert_int_equal(csv.columns, 3);
        assert_int_equal(csv.lines[2], 5);
        assert_string_equal(clq_csv_cell(&csv, 1, 2), "6");
        clq_csv_free(&csv);
    }
}

static void keep_line(void *context, clq_log_level level, const char *line) {
    (void)level;
    snprintf(context, 256, "%s", line);
}

static void another_separator_is_said(void **state) {
    (void)state;
    char line[256] = "";
    clq_set_log(keep_line, line, CLQ_LOG_INFO);
    clq_table_close(open_ok(put("a.csv", "1;2;x\n3;4;z\n5;6;x\n"), (clq_table_options){0}));
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    assert_non_null(strstr(line, "a.csv: its cells are separated by semicolons"));
}

static void what_is_likely_a_mistake_is_said(void **state) {
    (void)state;
    static const char *const files[][2] = {
        {"1,2,cat\n3,4,cat\n5,6,cat\n", "column 3: all rows are of one class, \"cat\""},
        {"1,2,4\n3,4,4\n5,6,4\n", "column 3: all rows are of one class, \"4\""},
        {"w,h,w,k\n1,2,3,a\n4,5,6,b\n7,8,9,a\n", "two columns have the name \"w\""},
        {"w,h,k\n1,2,a\n4,5,b\n7,8,a\n", ""},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char line[256] = "";
        clq_set_log(keep_line, line, CLQ_LOG_WARN);
        clq_table_close(open_ok(put("a.csv", files[i][0]), (clq_table_options){0}));
        clq_set_log(NULL, NULL, CLQ_LOG_WARN);
        assert_non_null(strstr(line, files[i][1]));
        assert_int_equal(line[0] == '\0', files[i][1][0] == '\0');
    }
}

/* 50 rows "i, -i, target". */
static const char *put_rows(const char *name, const char *const *targets, int kinds) {
    char text[4096];
    size_t used = 0;
    for (int i = 0; i < 50; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%d,%d,%s\n", i, -i,
                                 targets[i % kinds]);
    }
    return put(name, text);
}

static void a_file_is_split_by_seed(void **state) {
    (void)state;
    const char *const names[] = {"oak", "ash", "elm"};
    const char *path = put_rows("trees.csv", names, 3);
    int seen[50] = {0};
    for (int split = 0; split < 2; split++) {
        clq_table *table = open_ok(path, (clq_table_options){.split = (clq_split)split, .seed = 4});
        assert_int_equal(table->rows, split ? 10 : 40);
        assert_int_equal(table->features, 2);
        assert_int_equal(table->targets, 0);
        assert_null(table->y);
        assert_int_equal(table->class_count, 3);
        assert_string_equal(table->class_names[0], "ash");
        assert_string_equal(table->class_names[2], "oak");
        for (int64_t i = 0; i < table->rows; i++) {
            const int row = (int)table->x[2 * i];
            seen[row]++;
            assert_true(table->x[2 * i + 1] == (float)-row);
            assert_string_equal(table->class_names[table->labels[i]], names[row % 3]);
        }
        clq_table_close(table);
    }
    for (int i = 0; i < 50; i++) {
        assert_int_equal(seen[i], 1);
    }
}

static void targets_are_told_apart(void **state) {
    (void)state;
    const char *const integers[] = {"0", "3"}, *const reals[] = {"0.5", "3"};
    const char *path = put_rows("integers.csv", integers, 2);
    clq_table *table = open_ok(path, (clq_table_options){0});
    assert_int_equal(table->class_count, 4);
    assert_string_equal(table->class_names[3], "3");
    clq_table_close(table);
    table = open_ok(path, (clq_table_options){.target = CLQ_TARGET_REGRESSION});
    assert_int_equal(table->class_count, 0);
    assert_int_equal(table->targets, 1);
    assert_null(table->labels);
    clq_table_close(table);
    table = open_ok(path, (clq_table_options){.target_columns = 2});
    assert_int_equal(table->features, 1);
    assert_int_equal(table->targets, 2);
    assert_true(table->y[1] == 0.0f || table->y[1] == 3.0f);
    clq_table_close(table);
    path = put_rows("reals.csv", reals, 2);
    table = open_ok(path, (clq_table_options){0});
    assert_int_equal(table->targets, 1);
    clq_table_close(table);
    assert_fails(path, (clq_table_options){.target = CLQ_TARGET_CLASS}, CLQ_BAD_DATA,
                 "class numbers must be whole");
    assert_fails(path, (clq_table_options){.target_columns = 3}, CLQ_BAD_DATA, "3 columns");
    assert_fails(path, (clq_table_options){.test_fraction = 1}, CLQ_USAGE, "test fraction");
}

static void a_folder_may_hold_both_splits(void **state) {
    (void)state;
    put("f/train.csv", "w,h,kind\n1,2,b\n3,4,a\n5,6,c\n");
    put("f/test.csv", "w,h,kind\n7,8,c\n");
    const char *folder = clq_test_temp_path("f");
    clq_table *table = open_ok(folder, (clq_table_options){0});
    assert_int_equal(table->rows, 3);
    assert_string_equal(table->column_names[1], "h");
    clq_table_close(table);
    table = open_ok(folder, (clq_table_options){.split = CLQ_SPLIT_TEST});
    assert_int_equal(table->rows, 1);
    assert_int_equal(table->labels[0], 2);
    assert_int_equal(table->class_count, 3);
    clq_table_close(table);
    put("f/test.csv", "w,h,kind\n7,8,c\n7,8,d\n");
    assert_fails(folder, (clq_table_options){.split = CLQ_SPLIT_TEST}, CLQ_BAD_DATA,
                 "test.csv:3: class \"d\" is not one of the 3 of training");
    put("f/test.csv", "h,w,kind\n8,7,c\n");
    assert_fails(folder, (clq_table_options){.split = CLQ_SPLIT_TEST}, CLQ_BAD_DATA,
                 "column 1 is \"h\" where");
    put("f/test.csv", "7,c\n");
    assert_fails(folder, (clq_table_options){.split = CLQ_SPLIT_TEST}, CLQ_BAD_DATA,
                 "2 columns where");
    put("g/readme", "");
    assert_fails(clq_test_temp_path("g"), (clq_table_options){0}, CLQ_NO_INPUT, "no table in it");
}

/* ---- npy ---- */

static void npy_makes_tables(void **state) {
    (void)state;
    const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const float y[4] = {0.5f, 1, 1.5f, 2};
    char *folder = clq_strdup(clq_test_temp_path("n"));
    assert_ok(clq_make_dirs(folder));
    assert_ok(clq_npy_write(clq_test_temp_path("n/x.npy"), x, (int64_t[]){4, 2}, 2));
    assert_ok(clq_npy_write(clq_test_temp_path("n/y.npy"), y, (int64_t[]){4, 1}, 2));
    clq_table *table = open_ok(folder, (clq_table_options){.test_fraction = 0.25});
    assert_int_equal(table->rows, 3);
    assert_int_equal(table->targets, 1);
    assert_true(table->x[1] == 2 * table->y[0] * 2);
    clq_table_close(table);
    /* Splits of their own, and integers as classes. */
    const uint8_t labels[4] = {0, 2, 1, 0};
    assert_ok(clq_npy_write(clq_test_temp_path("n/x_train.npy"), x, (int64_t[]){4, 2}, 2));
    assert_ok(clq_npy_write(clq_test_temp_path("n/x_test.npy"), x, (int64_t[]){1, 2}, 2));
    test_put_npy("n/y_train.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }",
                 labels, 4);
    test_put_npy("n/y_test.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }",
                 labels, 1);
    table = open_ok(folder, (clq_table_options){.split = CLQ_SPLIT_TEST});
    assert_int_equal(table->rows, 1);
    assert_int_equal(table->class_count, 3);
    clq_table_close(table);
    test_put_npy("n/y_train.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }",
                 labels, 3);
    assert_fails(folder, (clq_table_options){0}, CLQ_BAD_DATA, "equal numbers of rows");
    clq_free(folder);
}

static void one_npy_holds_features_and_targets(void **state) {
    (void)state;
    const float values[12] = {1, 2, 0, 3, 4, 2, 5, 6, 1, 7, 8, 1};
    const char *path = clq_test_temp_path("all.npy");
    assert_ok(clq_npy_write(path, values, (int64_t[]){4, 3}, 2));
    clq_table *table = open_ok(path, (clq_table_options){.test_fraction = 1e-9});
    assert_int_equal(table->rows, 4);
    assert_int_equal(table->features, 2);
    assert_int_equal(table->class_count, 3);
    assert_int_equal(table->labels[1], 2);
    assert_true(table->x[3] == 4);
    clq_table_close(table);
    table = open_ok(path, (clq_table_options){.test_fraction = 1e-9, .target_columns = 2});
    assert_int_equal(table->features, 1);
    assert_int_equal(table->targets, 2);
    assert_true(table->x[1] == 3 && table->y[2] == 4 && table->y[3] == 2);
    clq_table_close(table);
    assert_fails(path, (clq_table_options){.target_columns = 3}, CLQ_BAD_DATA,
                 "must be (rows, columns)");
    assert_ok(clq_npy_write(path, (const float[]){1, 2.5f, 3, 4}, (int64_t[]){2, 2}, 2));
    assert_fails(path, (clq_table_options){.target = CLQ_TARGET_CLASS}, CLQ_BAD_DATA,
                 "column 2: class numbers must be whole");
}

/* ---- use ---- */

static void an_epoch_has_an_order_of_its_own(void **state) {
    (void)state;
    const char *const targets[] = {"0.25"};
    clq_table *table = open_ok(put_rows("r.csv", targets, 1), (clq_table_options){0});
    uint32_t order[40], other[40];
    float x[2 * 40], y[40];
    int in_order = 0;
    bool seen[50] = {false};
    assert_int_equal(table->rows, 40);
    clq_table_order(table, 3, 2, order);
    clq_table_order(table, 3, 3, other);
    assert_memory_not_equal(order, other, sizeof order);
    clq_table_gather(table, order, 40, x, y, NULL);
    for (int i = 0; i < 40; i++) {
        assert_true(x[2 * i] == table->x[2 * order[i]]);
        assert_false(seen[(int)x[2 * i]]);
        seen[(int)x[2 * i]] = true;
        assert_true(y[i] == 0.25f);
        in_order += i > 0 && x[2 * i] > x[2 * i - 2];
    }
    assert_in_range(in_order, 8, 32);
    clq_table_close(table);
}

static void columns_are_normalized(void **state) {
    (void)state;
    clq_table *table = open_ok(put("n.csv", "a,b,c\n1,5,0.5\n3,5,-1.5\n1,5,0.5\n3,5,-1.5\n"),
                               (clq_table_options){.test_fraction = 1e-9});
    float mean[2], std[2];
    assert_int_equal(table->rows, 4);
    assert_string_equal(table->column_names[1], "b");
    assert_string_equal(table->target_names[0], "c");
    clq_table_measure(table, mean, std);
    assert_true(mean[0] == 2 && std[0] == 1 && mean[1] == 5 && std[1] == 1);
    clq_table_normalize(table, mean, std);
    assert_true(table->x[0] == -1 && table->x[1] == 0 && table->x[2] == 1);
    clq_table_measure_targets(table, mean, std);
    assert_true(mean[0] == -0.5f && std[0] == 1);
    std[0] = 4;
    assert_null(table->target_std);
    assert_ok(clq_table_normalize_targets(table, mean, std));
    assert_true(table->y[0] == 0.25f && table->y[1] == -0.25f && table->target_std[0] == 4);
    clq_table_close(table);
}

static void a_limit_takes_rows_evenly(void **state) {
    (void)state;
    const char *const reals[] = {"0.5", "1.5"}, *const names[] = {"oak", "ash"};
    for (int kind = 0; kind < 2; kind++) {
        clq_table *table = open_ok(put_rows("l.csv", kind ? names : reals, 2),
                                   (clq_table_options){.test_fraction = 1e-9});
        clq_table_limit(table, 0);
        assert_int_equal(table->rows, 50);
        clq_table_limit(table, 7);
        assert_int_equal(table->rows, 7);
        for (int i = 0; i < 7; i++) {
            const int row = i * 50 / 7;
            assert_true(table->x[2 * i] == (float)row);
            assert_true(kind ? table->labels[i] == (row + 1) % 2
                             : table->y[i] == 0.5f + (float)(row % 2));
        }
        clq_table_close(table);
    }
}

/* A table is a data set, so that training need not know which it has. */
static void a_table_is_a_data_set(void **state) {
    (void)state;
    const char *const reals[] = {"0.5", "1.5"}, *const names[] = {"oak", "ash"};
    const clq_dataset_options options = {
        .split = CLQ_SPLIT_TEST, .limit = 6, .table = {.target_columns = 2}};
    uint8_t image[4];
    clq_dataset *dataset = NULL;
    assert_ok(clq_dataset_open(put_rows("d.csv", reals, 2), &options, &dataset));
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    assert_string_equal(info->kind, "table");
    assert_int_equal(info->count, 6);
    assert_int_equal(info->features, 1);
    assert_int_equal(info->targets, 2);
    assert_int_equal(info->class_count, 0);
    assert_int_equal(clq_dataset_table(dataset)->rows, 6);
    assert_status(clq_dataset_read(dataset, 0, image), CLQ_USAGE);
    assert_error_has("is a table, not images");
    clq_dataset_close(dataset);
    assert_ok(clq_dataset_open(put_rows("e.csv", names, 2), NULL, &dataset));
    info = clq_dataset_get_info(dataset);
    assert_int_equal(info->targets, 0);
    assert_int_equal(info->class_count, 2);
    assert_string_equal(info->class_names[1], "oak");
    clq_dataset_close(dataset);
    assert_status(clq_dataset_open(clq_test_temp_path("none.csv"), NULL, &dataset), CLQ_NO_INPUT);
    assert_null(dataset);
}

static void out_of_memory_leaves_nothing(void **state) {
    (void)state;
    const char *const names[] = {"oak", "ash", "elm"};
    const char *path = put_rows("trees.csv", names, 3);
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; n < 200 && status != CLQ_OK; n++) {
        clq_table *table = NULL;
        clq_test_fail_allocation(n);
        status = clq_table_open(path, NULL, &table);
        clq_table_close(table);
        const long live = clq_test_live_allocations();
        clq_test_restore_allocator();
        assert_int_equal(live, 0);
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
    }
    assert_int_equal(status, CLQ_OK);
}

int main(void) {
#define WITH_FILES(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, clq_test_setup_temp_dir, clq_test_teardown_temp_dir)
    const struct CMUnitTest tests[] = {
        WITH_FILES(csv_has_headers_quotes_and_comments),
        WITH_FILES(broken_csv_is_refused),
        WITH_FILES(empty_cells_are_refused),
        WITH_FILES(a_broken_first_row_is_no_header),
        WITH_FILES(the_separator_is_found),
        WITH_FILES(what_a_separator_leaves_open_is_refused),
        WITH_FILES(tsv_files_are_tables),
        WITH_FILES(lines_may_end_in_carriage_returns),
        WITH_FILES(another_separator_is_said),
        WITH_FILES(what_is_likely_a_mistake_is_said),
        WITH_FILES(a_file_is_split_by_seed),
        WITH_FILES(targets_are_told_apart),
        WITH_FILES(a_folder_may_hold_both_splits),
        WITH_FILES(npy_makes_tables),
        WITH_FILES(one_npy_holds_features_and_targets),
        WITH_FILES(an_epoch_has_an_order_of_its_own),
        WITH_FILES(columns_are_normalized),
        WITH_FILES(a_limit_takes_rows_evenly),
        WITH_FILES(a_table_is_a_data_set),
        WITH_FILES(out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests_name("data/table", tests, NULL, NULL);
}

/* Text tables: nothing is cut, and no line is longer than what they are printed on has room for. */
#include "report/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/clq_test.h"

static char printed[16384];

/* `rows` rows of all columns, on a line of `width` characters (0: not said). */
static void print(int width, const char *const *headers, const int *right, int columns,
                  const char *const *cells, int rows) {
    char text[16];
    snprintf(text, sizeof text, "%d", width);
    if (width) {
        setenv("COLUMNS", text, 1);
    } else {
        unsetenv("COLUMNS");
    }
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_ok(clq_table_print(file, headers, right, columns, cells, rows));
    rewind(file);
    printed[fread(printed, 1, sizeof printed - 1, file)] = '\0';
    fclose(file);
    unsetenv("COLUMNS");
}

static size_t longest_line(void) {
    size_t longest = 0;
    for (const char *line = printed; *line;) {
        const size_t length = strcspn(line, "\n");
        longest = length > longest ? length : longest;
        line += length + (line[length] == '\n');
    }
    return longest;
}

static void what_fits_is_one_table(void **state) {
    (void)state;
    static const char *const headers[] = {"model", "ms", "why"};
    static const int right[] = {0, 1, 0};
    static const char *const cells[] = {"a", "1.5", "x y", "long", "10.25", ""};
    print(0, headers, right, 3, cells, 2);
    assert_string_equal(printed, "model    ms why\n"
                                 "a       1.5 x y\n"
                                 "long  10.25 \n");
}

static void long_texts_are_broken(void **state) {
    (void)state;
    static const char *const headers[] = {"layer", "ms", "why"};
    static const int right[] = {0, 1, 0};
    static const char *const cells[] = {
        "stage3.block11.branch2.convolution_of_stride_2",
        "1.5",
        "memory-bound: 12.5 GB/s, 83 % of the bandwidth, and weights that come from memory",
        "b",
        "2",
        "short"};
    char words[128];
    print(0, headers, right, 3, cells, 2); /* not a terminal: 80 */
    assert_true(longest_line() <= 80 && longest_line() > 60);
    assert_non_null(strstr(printed, "memory-bound: 12.5 GB/s, 83"));
    assert_null(strstr(printed, "\n\n"));
    print(60, headers, right, 3, cells, 2);
    assert_true(longest_line() <= 60);
    for (const char *word = strtok(strcpy(words, cells[2]), " "); word; word = strtok(NULL, " ")) {
        assert_non_null(strstr(printed, word));
    }
    assert_non_null(strstr(printed, "stride_2"));
    print(200, headers, right, 3, cells, 2);
    assert_non_null(strstr(printed, cells[2]));
    assert_non_null(strstr(printed, cells[0]));
}

static void wide_tables_come_in_parts(void **state) {
    (void)state;
    enum { COLUMNS = 20, ROWS = 3 };
    static char text[(ROWS + 1) * COLUMNS][32];
    const char *headers[COLUMNS], *cells[ROWS * COLUMNS];
    int right[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) {
        snprintf(text[c], sizeof text[c], "column%d", c);
        headers[c] = text[c];
        right[c] = c > 0;
        for (int r = 0; r < ROWS; r++) {
            char *cell = text[(r + 1) * COLUMNS + c];
            snprintf(cell, sizeof text[0], "%d.%d", 1000 + r, c);
            cells[r * COLUMNS + c] = cell;
        }
    }
    for (int width = 20; width <= 200; width += 15) {
        print(width, headers, right, COLUMNS, cells, ROWS);
        assert_true(longest_line() <= (size_t)width);
        for (int i = 0; i < ROWS * COLUMNS; i++) {
            assert_non_null(strstr(printed, cells[i])); /* all of it is there */
        }
        int firsts = 0, parts = 1;
        for (const char *at = printed; (at = strstr(at, "column0")); at++) {
            firsts++;
        }
        for (const char *at = printed; (at = strstr(at, "\n\n")); at++) {
            parts++;
        }
        assert_int_equal(firsts, parts); /* each begins with the first column */
    }
    print(300, headers, right, COLUMNS, cells, ROWS);
    assert_null(strstr(printed, "\n\n"));
}

static void out_of_memory_is_said(void **state) {
    (void)state;
    static const char *const headers[] = {"a", "b"}, *const cells[] = {"x", "y"};
    static const int right[] = {0, 0};
    clq_status status = CLQ_NO_MEMORY;
    FILE *file = tmpfile();
    assert_non_null(file);
    for (long n = 1; n < 100 && status != CLQ_OK; n++) {
        clq_test_fail_allocation(n);
        status = clq_table_print(file, headers, right, 2, cells, 1);
        const long live = clq_test_live_allocations();
        clq_test_restore_allocator();
        assert_int_equal(live, 0);
    }
    assert_int_equal(status, CLQ_OK);
    fclose(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits_is_one_table),
        cmocka_unit_test(long_texts_are_broken),
        cmocka_unit_test(wide_tables_come_in_parts),
        cmocka_unit_test(out_of_memory_is_said),
    };
    return cmocka_run_group_tests_name("report/table", tests, NULL, NULL);
}

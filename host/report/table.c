#include "report/table.h"

#include <libsmartcols.h>
#include <unistd.h>

clq_status clq_table_print(FILE *out, const char *const *headers, const int *right_aligned,
                           int columns, const char *const *cells, int rows) {
    clq_status status = CLQ_OK;
    struct libscols_table *table = scols_new_table();
    if (!table) {
        return clq_fail(CLQ_NO_MEMORY, "out of memory for a table");
    }
    scols_table_set_stream(table, out);
    if (!isatty(fileno(out))) {
        scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
    }
    for (int c = 0; c < columns; c++) {
        const int flags = right_aligned[c] ? SCOLS_FL_RIGHT : c == 0 ? SCOLS_FL_TRUNC : 0;
        if (!scols_table_new_column(table, headers[c], 0, flags)) {
            status = clq_fail(CLQ_NO_MEMORY, "out of memory for a table");
            goto cleanup;
        }
    }
    for (int r = 0; r < rows; r++) {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        if (!line) {
            status = clq_fail(CLQ_NO_MEMORY, "out of memory for a table");
            goto cleanup;
        }
        for (int c = 0; c < columns; c++) {
            if (scols_line_set_data(line, (size_t)c, cells[r * columns + c]) != 0) {
                status = clq_fail(CLQ_NO_MEMORY, "out of memory for a table");
                goto cleanup;
            }
        }
    }
    if (scols_print_table(table) != 0) {
        status = clq_fail(CLQ_IO, "cannot print a table");
    }
cleanup:
    scols_unref_table(table);
    return status;
}

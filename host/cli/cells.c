#include "cli/cells.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/numbers.h"
#include "report/table.h"

clq_status clq_cells_open(clq_cells *t, const clq_column *columns, size_t column_count,
                          size_t row_count) {
    *t = (clq_cells){.columns = columns, .column_count = column_count};
    t->text = clq_calloc(column_count * row_count, CLQ_CELL_SIZE);
    return t->text ? CLQ_OK : CLQ_NO_MEMORY;
}

void clq_cells_put(clq_cells *t, const char *format, ...) {
    va_list list;
    va_start(list, format);
    clq_vsnprintf(t->text[t->filled++], CLQ_CELL_SIZE, format, list);
    va_end(list);
}

clq_status clq_cells_print(clq_cells *t, bool with_optional) {
    const char *headers[CLQ_MAX_COLUMNS];
    int right[CLQ_MAX_COLUMNS];
    clq_status status = CLQ_NO_MEMORY;
    const char **cells = clq_calloc(t->filled + 1, sizeof *cells);
    size_t columns = 0, count = 0;
    for (size_t c = 0; c < t->column_count; c++) {
        if (with_optional || t->columns[c].kind != CLQ_OPTIONAL) {
            headers[columns] = t->columns[c].header;
            right[columns++] = t->columns[c].kind != CLQ_TEXT;
        }
    }
    for (size_t i = 0; cells && i < t->filled; i++) {
        if (with_optional || t->columns[i % t->column_count].kind != CLQ_OPTIONAL) {
            cells[count++] = t->text[i];
        }
    }
    if (cells) {
        status =
            clq_table_print(stdout, headers, right, (int)columns, cells, (int)(count / columns));
    }
    clq_free(cells);
    clq_cells_close(t);
    return status;
}

void clq_cells_close(clq_cells *t) {
    clq_free(t->text);
    *t = (clq_cells){0};
}

/* A text table that is filled cell by cell. */
#ifndef CLQUANT_CLI_CELLS_H
#define CLQUANT_CLI_CELLS_H

#include <clquant/base.h>

enum { CLQ_CELL_SIZE = 224, CLQ_MAX_COLUMNS = 24 };

typedef struct clq_column {
    const char *header;
    enum {
        CLQ_TEXT,
        CLQ_NUMBER,
        CLQ_OPTIONAL, /* a number, in a column that may be left out */
    } kind;
} clq_column;

typedef struct clq_cells {
    const clq_column *columns; /* (column_count): cells are put for all of them */
    size_t column_count;
    size_t filled; /* cells, row after row */
    char (*text)[CLQ_CELL_SIZE];
} clq_cells;

#define CLQ_COLUMN_COUNT(columns) (sizeof(columns) / sizeof *(columns))

clq_status clq_cells_open(clq_cells *cells, const clq_column *columns, size_t column_count,
                          size_t row_count);
void clq_cells_put(clq_cells *cells, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints on standard output, with the optional columns or without, and closes. */
clq_status clq_cells_print(clq_cells *cells, bool with_optional);
void clq_cells_close(clq_cells *cells);

#endif

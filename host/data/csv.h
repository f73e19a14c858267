/* Comma-separated values, for tables. */
#ifndef CLQ_DATA_CSV_H
#define CLQ_DATA_CSV_H

#include <clquant/base.h>

typedef struct clq_csv {
    char *text;     /* the file; the cells point into it */
    char **cells;   /* all cells, the header's too: trimmed, without quotes */
    int64_t *lines; /* line number of each row in the file, from 1 */
    int64_t rows;   /* without the header */
    int columns;
    bool has_header; /* the first line has a word where the second has a number, or no number */
} clq_csv;

/* Column `column` of row `row`; row -1 is the header. */
static inline const char *clq_csv_cell(const clq_csv *csv, int64_t row, int column) {
    return csv->cells[(row + csv->has_header) * csv->columns + column];
}

/* RFC 4180 with "," and "\n", "\r\n" or "\r": quoted cells may hold commas, doubled quotes and line
 * ends. Empty lines and lines that begin with # are left out. CLQ_BAD_DATA names the line. */
clq_status clq_csv_read(const char *path, clq_csv *csv);
void clq_csv_free(clq_csv *csv);

/* Nothing but blanks. */
bool clq_csv_blank(const char *cell);

/* A finite number that fills the whole cell. */
bool clq_csv_number(const char *cell, float *value);

#endif

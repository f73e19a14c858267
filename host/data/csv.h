/* Values separated by commas, semicolons or tabs, for tables. */
#ifndef CLQ_DATA_CSV_H
#define CLQ_DATA_CSV_H

#include <clquant/base.h>

typedef struct clq_csv {
    char *text;     /* the file; the cells point into it */
    char **cells;   /* all cells, the header's too: trimmed, without quotes */
    int64_t *lines; /* line number of each row in the file, from 1 */
    int64_t rows;   /* without the header */
    int columns;
    char separator;  /* ',', ';' or a tab */
    bool has_header; /* the first line has a word where the second has a number, or no number */
} clq_csv;

/* Column `column` of row `row`; row -1 is the header. */
static inline const char *clq_csv_cell(const clq_csv *csv, int64_t row, int column) {
    return csv->cells[(row + csv->has_header) * csv->columns + column];
}

/* By the ending of its name: .csv or .tsv. */
bool clq_csv_named(const char *path);

/* RFC 4180 with ",", ";" or tab, whichever the first lines agree on (in a .tsv file the tab where
 * they agree on several), and "\n", "\r\n" or "\r":
 * quoted cells may hold separators, doubled quotes and line ends. Empty lines and lines that begin
 * with # are left out. CLQ_BAD_DATA names the line, or the separators that it could be. */
clq_status clq_csv_read(const char *path, clq_csv *csv);
void clq_csv_free(clq_csv *csv);

/* "comma", "semicolon" or "tab". */
const char *clq_csv_separator_name(char separator);

/* A number but for its decimal comma. */
bool clq_csv_decimal_comma(const char *cell);

/* Nothing but blanks. */
bool clq_csv_blank(const char *cell);

/* A finite number that fills the whole cell. */
bool clq_csv_number(const char *cell, float *value);

#endif

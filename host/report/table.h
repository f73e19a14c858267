/* Text tables on libsmartcols. */
#ifndef CLQUANT_REPORT_TABLE_H
#define CLQUANT_REPORT_TABLE_H

#include <stdio.h>

#include <clquant/base.h>

/* How many characters a line of `out` has: COLUMNS, else the terminal's, else 80. */
int clq_line_width(FILE *out);

/* Prints cells (rows, columns) under `headers`; right_aligned[columns] is for numbers. Nothing is
 * cut: where the table is wider than a line its texts are broken, and what is still too wide comes
 * in several tables below each other, each with the first column. */
clq_status clq_table_print(FILE *out, const char *const *headers, const int *right_aligned,
                           int columns, const char *const *cells, int rows);

#endif

/* Text tables on libsmartcols. */
#ifndef CLQUANT_REPORT_TABLE_H
#define CLQUANT_REPORT_TABLE_H

#include <stdio.h>

#include <clquant/base.h>

/* Prints cells (rows, columns) under `headers`; right_aligned[columns] is for numbers. On a
 * terminal the first column is shortened when the table would be too wide; elsewhere nothing is
 * cut. */
clq_status clq_table_print(FILE *out, const char *const *headers, const int *right_aligned,
                           int columns, const char *const *cells, int rows);

#endif

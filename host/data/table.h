/* Telling tables apart from images. */
#ifndef CLQ_DATA_TABLE_H
#define CLQ_DATA_TABLE_H

#include <clquant/data.h>

#include "data/csv.h"

/* Whether clq_table_open is the one to open `path`: by the file's ending, or by what is in a
 * folder. */
bool clq_table_here(const char *path);

/* Reads the inputs of a .csv or .tsv file, CLQ_TARGET_NONE; what `table` got is released by the
 * caller. */
clq_status clq_table_open_inputs(const char *path, const clq_table_options *options,
                                 clq_table *table);
/* CLQ_BAD_DATA, naming line and column of a cell that breaks `rule` or is empty. */
clq_status clq_table_bad_cell(const clq_csv *csv, const char *path, int64_t row, int column,
                              const char *rule);

#endif

/* Telling tables apart from images. */
#ifndef CLQ_DATA_TABLE_H
#define CLQ_DATA_TABLE_H

#include <clquant/data.h>

/* Whether clq_table_open is the one to open `path`: by the file's ending, or by what is in a
 * folder. */
bool clq_table_here(const char *path);

#endif

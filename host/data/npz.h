/* Writing .npz files: arrays of floats by name, of which rows come a few at a time. */
#ifndef CLQ_DATA_NPZ_H
#define CLQ_DATA_NPZ_H

#include <clquant/base.h>

typedef struct clq_npz_writer clq_npz_writer;

/* Rows wait in nameless files beside `path`, so memory does not grow with their number; the file
 * appears when it is complete (base/files.h), with the same bytes for the same contents. */
clq_status clq_npz_open(const char *path, clq_npz_writer **writer);
/* A .npy file instead, for one array. */
clq_status clq_npz_open_single(const char *path, clq_npz_writer **writer);
/* A new array, whose rows have `dims` (`rank` of them, 0 .. 3); *index counts arrays from 0.
 * CLQ_USAGE for a name that is taken. */
clq_status clq_npz_add(clq_npz_writer *writer, const char *name, const int64_t *dims, int rank,
                       int *index);
clq_status clq_npz_append(clq_npz_writer *writer, int index, const float *rows, int64_t count);
/* An array of strings (UTF-8; other bytes as Python's os.fsdecode keeps them). */
clq_status clq_npz_add_strings(clq_npz_writer *writer, const char *name, const char *const *texts,
                               int64_t count);
/* Frees the writer and sets *writer to NULL, on failure too. */
clq_status clq_npz_commit(clq_npz_writer **writer);
void clq_npz_abort(clq_npz_writer **writer); /* NULL inside is accepted */

#endif

/* The file that `predict` writes: .npz, .npy or .csv. */
#ifndef CLQUANT_CLI_PREDICTIONS_H
#define CLQUANT_CLI_PREDICTIONS_H

#include <clquant/clquant.h>

typedef struct clq_predictions clq_predictions;

/* By the name of `path`; CLQ_USAGE for another ending, for a .npy of several outputs, and for a
 * .csv of more columns than people read. `dataset` (NULL: rows of arrays) gives the images' names.
 * Of a table, outputs of a regression are written in the units of its targets, and under their
 * names.
 */
clq_status clq_predictions_open(const char *path, const clq_graph *graph, clq_dataset *dataset,
                                clq_predictions **predictions);
/* Takes what clq_predict gives: a clq_predict_sink, its context a clq_predictions. */
clq_status clq_predictions_add(void *predictions, int64_t first, int count,
                               const float *const *outputs);
/* Frees, sets *predictions to NULL. Nothing is left of the file on failure. */
clq_status clq_predictions_commit(clq_predictions **predictions);
void clq_predictions_abort(clq_predictions **predictions); /* NULL inside is accepted */
/* Whether `path` has one of the endings. */
clq_status clq_predictions_check_path(const char *path);

#endif

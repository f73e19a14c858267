/* What --inputs names: arrays, or images and tables that are prepared as `eval` prepares them. */
#ifndef CLQUANT_CLI_INPUTS_H
#define CLQUANT_CLI_INPUTS_H

#include <clquant/clquant.h>

#include "cli/data.h"

#define CLQ_INPUTS_HELP                                                                            \
    "Inputs as any runtime is fed, normalized already: X.npy (N, C, H, W) or (N, features), or "   \
    "X.npz with an array for each input under its name; or a folder of images (.csv: a table), "   \
    "prepared as eval prepares them"

typedef struct clq_inputs {
    clq_arrays *arrays;   /* NULL: images or a table */
    clq_dataset *dataset; /* NULL: arrays */
    int64_t count;        /* rows or images */
} clq_inputs;

/* By the ending of its name: .npy or .npz. */
bool clq_inputs_are_arrays(const char *path);
/* Images or a table as data without labels, of --inputs, or else of --data, whose labels may
 * matter.
 */
clq_data_source clq_inputs_source(const char *inputs, const char *data,
                                  const clq_image_flags *flags);
/* By what `path` holds. Images are up to `limit` (0: all) of them, spread over the set; of arrays
 * and tables all rows are there. Zeroed on failure. */
clq_status clq_inputs_open(const char *path, const clq_image_flags *flags, clq_graph *graph,
                           int64_t limit, clq_inputs *inputs);
void clq_inputs_close(clq_inputs *inputs);
/* Feeds them to an executor of `graph` with this batch. */
clq_status clq_inputs_feed(clq_device *device, const clq_graph *graph, const clq_inputs *inputs,
                           int batch, clq_feed **feed);
/* Opens what --inputs (NULL: not given) names if it is arrays; else *arrays is NULL, and it must be
 * images or a table that `graph` could read. CLQ_USAGE: image flags are of no use with arrays. */
clq_status clq_inputs_open_arrays(const char *path, const clq_image_flags *flags,
                                  const clq_graph *graph, clq_arrays **arrays);

#endif

/* Data for a network: what is said of images by flags, recipe and model, opened so that it fits the
 * network. */
#ifndef CLQUANT_SESSION_DATA_H
#define CLQUANT_SESSION_DATA_H

#include <jansson.h>

#include <clquant/train.h>

/* Metadata of a model: the share of tests in the table that it was trained on; none where the files
 * were split. */
#define CLQ_META_TEST_FRACTION "clquant.test_fraction"

/* ---- flags ---- */

/* What the command line says of images; zeroed: nothing. The input of the
 * command's parsers. */
typedef struct clq_image_flags {
    const char *labels; /* --labels; NULL: none */
    clq_preprocessing given;
    const char *mean, *std, *range, *resize, *crop; /* as written */
} clq_image_flags;

/* Checks what flags say, and that it fits an input (NULL: none yet), over which a single mean is
 * spread. CLQ_USAGE names the flag. */
clq_status clq_image_flags_check(clq_preprocessing *given, const clq_shape *input);
/* Turns mean and std round where the order of the channels that they were given in, by `source`, is
 * not that in which they are fed; says so unless `quiet`. */
void clq_normalization_reorder(clq_preprocessing *p, const char *source, clq_channel_order from,
                               clq_channel_order to, bool quiet);

/* ---- opening ---- */

typedef struct clq_data_source {
    const char *path;                /* --data */
    const clq_image_flags *flags;    /* NULL: none */
    const clq_preprocessing *recipe; /* what a recipe says that flags do not; NULL: none */
    bool any_classes;     /* labels are of no importance, so neither is whether they fit the network
                             and whether there are any */
    bool inputs_only;     /* a table's targets may be missing, and are not read; folders are no
                             classes */
    bool quiet;           /* do not say how images are prepared: it was said */
    const char **sources; /* (CLQ_PART_COUNT): receives where each part comes from; NULL ok */
} clq_data_source;

/* Opens a split so that it fits the graph's input; `limit` 0: all. How images are prepared comes
 * from the flags, else the recipe, else the graph's metadata, else what is usual, with a warning;
 * it is logged, and kept in the graph's metadata, from which everything else takes it. Labels get
 * the network's numbers; images without any are CLQ_BAD_DATA unless any_classes. A table is
 * normalized as the graph says. */
clq_status clq_data_open(const clq_data_source *source, clq_graph *graph, clq_split split,
                         int64_t limit, clq_dataset **dataset);
/* Feeding a network's input without augmentation; images that training crops from lose their edges.
 */
clq_status clq_inference_options(const clq_graph *graph, const clq_dataset *dataset, int batch,
                                 clq_feed_options *options);
/* Keeps the names of --class-names (NULL: none) in the graph, and says so where it had others. */
clq_status clq_class_names_keep(const char *file, clq_graph *graph);
/* Logs what a labelled set that is not split was taken as; `list` as of --labels, or NULL. */
clq_status clq_data_say_unsplit(const clq_dataset *dataset, const char *list);
/* Warns, before a training, that it is tested on what it learns from; nothing for a split set. */
void clq_data_warn_unsplit(const clq_dataset *dataset, const char *list);
/* Rows of the longest array; those that no input takes may be shorter. */
int64_t clq_arrays_rows(const clq_arrays *arrays);
/* Whether a path names arrays by its ending, .npz, or a folder of train.npz and test.npz. */
bool clq_labelled_arrays_here(const char *path);
/* Opens the arrays of a split, of a file both; those called "labels" are the labels, unless none
 * are wanted. */
clq_status clq_labelled_arrays_open(const char *path, clq_split split, bool no_labels,
                                    clq_arrays **arrays);
/* A feed in data-set order without augmentation, normalized as the graph says. */
clq_status clq_data_feed(clq_device *device, const clq_graph *graph, clq_dataset *dataset,
                         int batch, clq_feed **feed);

/* ---- saying ---- */

/* Logs a preprocessing and where its parts come from: sources[part's bit] is a word. */
clq_status clq_preprocessing_log(const clq_preprocessing *p, const char *const *sources);
/* What the graph's metadata says, and where it came from; null for a table's network. */
json_t *clq_preprocessing_to_json(const clq_graph *graph, const char *const *sources);

/* How many letters of a unit ("images") belong to a count: one has no plural. */
int clq_unit_length(const char *unit, int64_t count);

#endif

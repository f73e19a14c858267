/* The stages that the commands are made of: opening models and data, evaluating, training,
 * quantizing, and their results as JSON. `clquant run` is all of them in a row. */
#ifndef CLQUANT_CLI_PIPELINE_H
#define CLQUANT_CLI_PIPELINE_H

#include <jansson.h>

#include <clquant/clquant.h>

#include "cli/data.h"
#include "cli/origin.h"
#include "cli/out_folder.h"
#include "cli/recipe.h"
#include "session/results.h"
#include "session/session.h"
#include "session/stages.h"
#include "session/training.h"

/* Prints a name from a file on stdout, without control characters, which a terminal would
 * interpret. */
void clq_print_name(const char *name);

/* ---- models ---- */

/* Reads an .onnx file. */
clq_status clq_model_open(const char *path, clq_graph **graph);
/* CLQ_USAGE unless the graph is a float one that can be trained and quantized. */
clq_status clq_model_require_float(const char *path, const clq_graph *graph);
/* Makes an integer network of a quantized form, by the scales that its file gave; CLQ_USAGE when
 * the graph is no quantized model. */
clq_status clq_model_to_integer(const char *path, clq_graph **graph);

/* ---- data ---- */

/* Opens both splits and builds the recipe's network for them (inputs and outputs from the data
 * where the recipe does not say) from its weights, with normalization and class names in its
 * metadata. Tables are normalized as the training split was measured. */
clq_status clq_network_from_recipe(const clq_recipe *recipe, const char *data, clq_graph **graph,
                                   clq_dataset **train, clq_dataset **test);

/* The same for arrays, which give the input's size: images (N, C, H, H), or rows. */
clq_status clq_network_from_arrays(const clq_recipe *recipe, const clq_arrays *arrays,
                                   clq_graph **graph);

/* ---- ranks ---- */

/* Meets the other ranks, when there are any; all but rank 0 fall silent. */
clq_status clq_ranks_join(clq_ranks **ranks);

/* ---- stages ---- */

/* What the command adds to a training: signals stop it behind a checkpoint and say how to go on. */
typedef struct clq_watch {
    clq_out_folder *clears; /* of an earlier run, when all is ready for the first step; NULL ok */
    clq_origin *origin;     /* written into the folder of `clears` then; NULL: none */
} clq_watch;

/* clq_stage_train and clq_stage_qat so; `stage` says nothing of watching. */
clq_status clq_watched_train(clq_device *device, clq_graph *graph, const clq_stage_options *stage,
                             const clq_watch *watch);
clq_status clq_watched_qat(clq_device *device, const clq_graph *trained,
                           const clq_stage_options *stage, const clq_watch *watch,
                           const clq_quant_config *config, clq_quant_report *report,
                           clq_graph **integer);

/* ---- results ---- */

/* Text on stdout. */
void clq_evaluation_print(const clq_evaluation *evaluation, const char *name, clq_dataset *dataset);
void clq_verification_print(const clq_verification *verification);

#endif

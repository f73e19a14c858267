/* Training checkpoints: one .safetensors file with everything that continues a training to the same
 * bits.
 *
 * Tensors   model.NAME         parameters and states, F32, in clquant's layout (OC, KH, KW, IC / G)
 *           optimizer.*        F32, flat as clq_params_flat
 *           anything the quantization layer adds (observers)
 * Metadata  clquant.checkpoint_version   of this format, 2; a file without it is of version 1
 *           clquant.state      JSON: phase, step, position in the epoch, sums so far, history
 *           clquant.config     hash of what must not change between stop and resume
 *           clquant.data       hash of training and test data; not in version 1
 *           clquant.start      hash of the parameters that training began with
 *           clquant.facts      network, data, preprocessing, ranks in words, for what to tell when
 *                              clquant.config differs
 *           clquant.recipe     the recipe, when there is one
 *           clquant.checksum   XXH3 over names, sizes and data of all tensors and all metadata
 * above; of version 1: over tensors and state
 *
 * A checkpoint is written beside its name, made durable and renamed; the newest two stay. Loading
 * takes the newest whose checksum holds. */
#ifndef CLQUANT_TRAIN_CHECKPOINT_H
#define CLQUANT_TRAIN_CHECKPOINT_H

#include <jansson.h>

#include <clquant/formats.h>
#include <clquant/train.h>

/* A buffer of F32 that a checkpoint keeps. */
typedef struct clq_checkpoint_buffer {
    const char *name;
    clq_buffer *buffer;
} clq_checkpoint_buffer;

typedef struct clq_checkpoint {
    const char *folder, *phase; /* files: FOLDER/PHASE-checkpoint-STEP.safetensors */
    clq_graph *graph;
    clq_params *params;
    const clq_checkpoint_buffer *buffers;
    size_t buffer_count;
    uint64_t config_hash;
    uint64_t data_hash;  /* of both splits: clq_dataset_hash */
    uint64_t start_hash; /* of the parameters before the first step */
    const char *recipe;  /* NULL ok */
    const char *facts; /* in words, of what config_hash is made: a JSON object of texts; NULL ok */
} clq_checkpoint;

/* The file of a step (clq_free it); NULL: no memory. */
char *clq_checkpoint_path(const char *folder, const char *phase, int64_t step);

/* Writes the checkpoint of `step` and removes all but the newest two. `state` is kept as it is. */
clq_status clq_checkpoint_save(const clq_checkpoint *checkpoint, int64_t step, const json_t *state);

/* What a state must fulfil: CLQ_BAD_DATA when it does not, which damages the file at `path`. */
typedef clq_status (*clq_checkpoint_check)(void *context, const char *path, const json_t *state);

/* Restores parameters and buffers from the newest good checkpoint; *state (json_decref it) is NULL
 * when there is none. All of a file is read and checked before anything is restored. A damaged one
 * is passed over with a warning; CLQ_BAD_DATA when all are damaged, or the newest is of another
 * version of the format. CLQ_USAGE when the checkpoint belongs to another configuration. */
clq_status clq_checkpoint_load(const clq_checkpoint *checkpoint, clq_checkpoint_check check,
                               void *context, json_t **state);

/* How many checkpoints of the phase are in the folder; none in a missing one. CLQ_CANNOT_CREATE
 * when something else has such a name: a folder, a pipe. */
clq_status clq_checkpoint_count(const char *folder, const char *phase, int *count);
/* CLQ_CANNOT_CREATE when the folder holds a checkpoint of another phase than `phase` (NULL: of
 * any). */
clq_status clq_checkpoint_check_phase(const char *folder, const char *phase);
clq_status clq_checkpoint_remove_all(const char *folder, const char *phase);

#endif

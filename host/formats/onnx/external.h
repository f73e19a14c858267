/* External data: tensors whose bytes are in another file, below the model's folder. */
#ifndef CLQ_FORMATS_ONNX_EXTERNAL_H
#define CLQ_FORMATS_ONNX_EXTERNAL_H

#include <clquant/graph.h>

#include "base/inside.h"
#include "formats/arena.h"
#include "formats/onnx/wire.h"

typedef struct onnx_data_file {
    uint64_t device, inode;
    char *path;
} onnx_data_file;

/* The files that a model's tensors are in. One is open at a time: a model may have one a tensor. */
typedef struct onnx_external {
    const char *folder; /* the model's; NULL: it comes from memory or a pipe */
    clq_inside_file file;
    char *location;        /* of the open file; NULL: none is */
    onnx_data_file *known; /* every file there was, once under all its names */
    size_t known_count, known_capacity;
} onnx_external; /* starts zeroed */

/* Reads the `size` bytes that a tensor's type and shape make up into the arena, whose limit grows
 * with every file that is new. CLQ_BAD_DATA when location, offset or length is doubled, no number,
 * or does not fit file and tensor, or when the file is not one below the folder (base/inside.h);
 * CLQ_NO_INPUT when it is missing. Errors name the data file. */
clq_status onnx_external_read(onnx_external *external, clq_arena *arena,
                              const Onnx__TensorProto *tensor, size_t size, const void **data);

/* Leaves the paths of all files that were read with the graph. */
clq_status onnx_external_keep_paths(onnx_external *external, clq_graph *graph);

void onnx_external_free(onnx_external *external);

#endif

/* What clq_tensors holds; its functions are in tensors.c, safetensors_load.c, safetensors_save.c.
 */
#ifndef CLQ_FORMATS_TENSORS_H
#define CLQ_FORMATS_TENSORS_H

#include <clquant/formats.h>

#include "formats/names.h"

typedef struct clq_tensor_entry {
    clq_file_tensor tensor;
    char *name;  /* owned */
    void *owned; /* the data when it is not lent or part of the file */
} clq_tensor_entry;

struct clq_tensors {
    clq_tensor_entry *entries;
    int count, capacity;
    clq_names names; /* -> index in entries */
    clq_metadata *metadata;
    int metadata_count;
    void *file; /* a loaded file's bytes, which the tensors point into */
};

/* Adds an entry after checking it; data stays where it is. */
clq_status clq_tensors_insert(clq_tensors *tensors, const clq_file_tensor *tensor);

/* Bytes of a tensor of this type and shape; false when rank or a dimension is out of range. */
bool clq_file_tensor_size(clq_file_dtype dtype, int rank, const int64_t *dim, size_t *size);

/* The type with this name ("BF16"). */
bool clq_file_dtype_parse(const char *name, clq_file_dtype *dtype);

#endif

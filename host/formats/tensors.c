/* Named tensors in memory. */
#include "formats/tensors.h"

#include <limits.h>
#include <string.h>

#include "base/arguments.h"
#include "base/checked.h"
#include "base/half.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [CLQ_FILE_F32] = {"F32", 4}, [CLQ_FILE_F16] = {"F16", 2}, [CLQ_FILE_BF16] = {"BF16", 2},
    [CLQ_FILE_F64] = {"F64", 8}, [CLQ_FILE_I8] = {"I8", 1},   [CLQ_FILE_U8] = {"U8", 1},
    [CLQ_FILE_I32] = {"I32", 4}, [CLQ_FILE_I64] = {"I64", 8},
};
enum { DTYPE_COUNT = sizeof dtypes / sizeof dtypes[0] };

size_t clq_file_dtype_size(clq_file_dtype dtype) {
    return (unsigned)dtype < DTYPE_COUNT ? dtypes[dtype].size : 0;
}

const char *clq_file_dtype_name(clq_file_dtype dtype) {
    return (unsigned)dtype < DTYPE_COUNT ? dtypes[dtype].name : "?";
}

bool clq_file_dtype_parse(const char *name, clq_file_dtype *dtype) {
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            *dtype = (clq_file_dtype)i;
            return true;
        }
    }
    return false;
}

bool clq_file_tensor_size(clq_file_dtype dtype, int rank, const int64_t *dim, size_t *size) {
    size_t bytes = clq_file_dtype_size(dtype);
    if (bytes == 0 || rank < 0 || rank > CLQ_FILE_MAX_RANK) {
        return false;
    }
    for (int i = 0; i < rank; i++) {
        size_t extent;
        if (!clq_narrow_size(dim[i], &extent) || !clq_mul_size(bytes, extent, &bytes)) {
            return false;
        }
    }
    *size = bytes;
    return bytes <= PTRDIFF_MAX;
}

clq_status clq_tensors_create(clq_tensors **tensors) {
    CLQ_NEEDS(tensors);
    clq_tensors *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    *tensors = made;
    return CLQ_OK;
}

void clq_tensors_destroy(clq_tensors *tensors) {
    if (!tensors) {
        return;
    }
    for (int i = 0; i < tensors->count; i++) {
        clq_free(tensors->entries[i].name);
        clq_free(tensors->entries[i].owned);
    }
    for (int i = 0; i < tensors->metadata_count; i++) {
        clq_free(tensors->metadata[i].key);
        clq_free(tensors->metadata[i].value);
    }
    clq_free(tensors->entries);
    clq_free(tensors->metadata);
    clq_names_free(&tensors->names);
    clq_free(tensors->file);
    clq_free(tensors);
}

clq_status clq_tensors_insert(clq_tensors *tensors, const clq_file_tensor *tensor) {
    const char *name = tensor->name;
    size_t size;
    if (name[0] == '\0' || strcmp(name, "__metadata__") == 0) {
        return clq_fail(CLQ_USAGE, "tensor \"%s\": this name is not allowed", name);
    }
    if (clq_names_find(&tensors->names, name) >= 0) {
        return clq_fail(CLQ_USAGE, "tensor \"%s\": the name is taken", name);
    }
    if (!clq_file_tensor_size(tensor->dtype, tensor->rank, tensor->dim, &size)) {
        return clq_fail(CLQ_USAGE, "tensor \"%s\": type, rank or size is out of range", name);
    }
    if (!tensor->data && size > 0) {
        return clq_fail(CLQ_USAGE, "tensor \"%s\": data must not be NULL", name);
    }
    if (tensors->count == tensors->capacity) {
        int capacity = tensors->capacity ? tensors->capacity : 16;
        if (capacity > INT_MAX / 2) {
            return clq_fail(CLQ_NO_MEMORY, "more than %d tensors", capacity);
        }
        capacity *= 2;
        void *grown = clq_realloc(tensors->entries, (size_t)capacity, sizeof *tensors->entries);
        if (!grown) {
            return CLQ_NO_MEMORY;
        }
        tensors->entries = grown;
        tensors->capacity = capacity;
    }
    clq_tensor_entry entry = {.tensor = *tensor, .name = clq_strdup(name)};
    if (!entry.name) {
        return CLQ_NO_MEMORY;
    }
    clq_status status = clq_names_set(&tensors->names, entry.name, tensors->count);
    if (status != CLQ_OK) {
        clq_free(entry.name);
        return status;
    }
    entry.tensor.name = entry.name;
    entry.tensor.size = size;
    tensors->entries[tensors->count++] = entry;
    return CLQ_OK;
}

clq_status clq_tensors_lend(clq_tensors *tensors, const char *name, clq_file_dtype dtype, int rank,
                            const int64_t *dim, const void *data) {
    CLQ_NEEDS(tensors, name);
    CLQ_REQUIRE(dim || rank <= 0, "dim must not be NULL");
    clq_file_tensor tensor = {.name = name, .dtype = dtype, .rank = rank, .data = data};
    for (int i = 0; rank <= CLQ_FILE_MAX_RANK && i < rank; i++) {
        tensor.dim[i] = dim[i];
    }
    return clq_tensors_insert(tensors, &tensor);
}

clq_status clq_tensors_add(clq_tensors *tensors, const char *name, clq_file_dtype dtype, int rank,
                           const int64_t *dim, const void *data) {
    CLQ_NEEDS(tensors, name);
    CLQ_REQUIRE(dim || rank <= 0, "dim must not be NULL");
    size_t size = 0;
    void *copy = NULL;
    /* Otherwise insert says what is wrong. */
    if (clq_file_tensor_size(dtype, rank, dim, &size) && (data || size == 0)) {
        copy = clq_calloc(size, 1);
        if (!copy) {
            return CLQ_NO_MEMORY;
        }
        if (size > 0) {
            memcpy(copy, data, size);
        }
    }
    clq_status status = clq_tensors_lend(tensors, name, dtype, rank, dim, copy);
    if (status != CLQ_OK) {
        clq_free(copy);
        return status;
    }
    tensors->entries[tensors->count - 1].owned = copy;
    return CLQ_OK;
}

int clq_tensors_count(const clq_tensors *tensors) {
    CLQ_NEEDS_OR(0, tensors);
    return tensors->count;
}

const clq_file_tensor *clq_tensors_at(const clq_tensors *tensors, int index) {
    CLQ_NEEDS_OR(NULL, tensors);
    return index >= 0 && index < tensors->count ? &tensors->entries[index].tensor : NULL;
}

const clq_file_tensor *clq_tensors_find(const clq_tensors *tensors, const char *name) {
    CLQ_NEEDS_OR(NULL, tensors, name);
    int index = clq_names_find(&tensors->names, name);
    return index < 0 ? NULL : &tensors->entries[index].tensor;
}

/* ---- metadata ---- */

static clq_metadata *find_metadata(const clq_tensors *tensors, const char *key) {
    for (int i = 0; i < tensors->metadata_count; i++) {
        if (strcmp(tensors->metadata[i].key, key) == 0) {
            return &tensors->metadata[i];
        }
    }
    return NULL;
}

clq_status clq_tensors_set_metadata(clq_tensors *tensors, const char *key, const char *text) {
    CLQ_NEEDS(tensors, key, text);
    clq_metadata *metadata = find_metadata(tensors, key);
    char *value = clq_strdup(text);
    if (!value) {
        return CLQ_NO_MEMORY;
    }
    if (metadata) {
        clq_free(metadata->value);
        metadata->value = value;
        return CLQ_OK;
    }
    char *name = clq_strdup(key);
    metadata =
        clq_realloc(tensors->metadata, (size_t)tensors->metadata_count + 1, sizeof *metadata);
    if (metadata) {
        tensors->metadata = metadata;
    }
    if (!name || !metadata) {
        clq_free(name);
        clq_free(value);
        return CLQ_NO_MEMORY;
    }
    metadata[tensors->metadata_count++] = (clq_metadata){name, value};
    return CLQ_OK;
}

const char *clq_tensors_get_metadata(const clq_tensors *tensors, const char *key) {
    CLQ_NEEDS_OR(NULL, tensors, key);
    const clq_metadata *metadata = find_metadata(tensors, key);
    return metadata ? metadata->value : NULL;
}

/* ---- conversion ---- */

clq_status clq_file_tensor_to_f32(const clq_file_tensor *tensor, float *out) {
    CLQ_NEEDS(tensor, out);
    size_t size = clq_file_dtype_size(tensor->dtype);
    size_t count = size ? tensor->size / size : 0;
    switch (tensor->dtype) {
    case CLQ_FILE_F32:
        if (count > 0) {
            memcpy(out, tensor->data, tensor->size);
        }
        return CLQ_OK;
    case CLQ_FILE_F16:
        for (size_t i = 0; i < count; i++) {
            out[i] = clq_half_to_float(((const uint16_t *)tensor->data)[i]);
        }
        return CLQ_OK;
    case CLQ_FILE_BF16:
        for (size_t i = 0; i < count; i++) {
            out[i] = clq_bfloat_to_float(((const uint16_t *)tensor->data)[i]);
        }
        return CLQ_OK;
    case CLQ_FILE_F64:
        for (size_t i = 0; i < count; i++) {
            out[i] = clq_double_to_float(((const double *)tensor->data)[i]);
        }
        return CLQ_OK;
    default:
        return clq_fail(CLQ_BAD_DATA, "tensor \"%s\": is %s, must be F32, F16, BF16 or F64",
                        tensor->name, clq_file_dtype_name(tensor->dtype));
    }
}

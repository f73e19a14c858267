/* Writing safetensors: see safetensors_load.c for the format. */
#include "base/arguments.h"
#include "formats/tensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"

/* Largest elements first, so that every tensor begins at a multiple of its element's size. */
static int compare_tensors(const void *a, const void *b) {
    const clq_file_tensor *x = *(const clq_file_tensor *const *)a;
    const clq_file_tensor *y = *(const clq_file_tensor *const *)b;
    size_t x_size = clq_file_dtype_size(x->dtype), y_size = clq_file_dtype_size(y->dtype);
    if (x_size != y_size) {
        return x_size > y_size ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static int compare_metadata(const void *a, const void *b) {
    return strcmp((*(const clq_metadata *const *)a)->key, (*(const clq_metadata *const *)b)->key);
}

static clq_status put_metadata(const clq_tensors *tensors, json_t *header) {
    if (tensors->metadata_count == 0) {
        return CLQ_OK;
    }
    size_t count = (size_t)tensors->metadata_count;
    const clq_metadata **sorted = clq_calloc(count, sizeof *sorted);
    if (!sorted) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &tensors->metadata[i];
    }
    qsort(sorted, count, sizeof *sorted, compare_metadata);
    json_t *object = json_object();
    clq_status status = clq_json_put(header, "__metadata__", object);
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        status = clq_json_put_text(object, sorted[i]->key, sorted[i]->value);
    }
    clq_free(sorted);
    return status;
}

static clq_status put_tensor(json_t *header, const clq_file_tensor *tensor, size_t begin) {
    json_t *shape = json_array();
    for (int i = 0; shape && i < tensor->rank; i++) {
        if (json_array_append_new(shape, json_integer(tensor->dim[i])) != 0) {
            json_decref(shape);
            shape = NULL;
        }
    }
    json_t *entry = NULL;
    if (shape) { /* `o` takes shape over, on failure too */
        entry =
            json_pack("{s:s, s:o, s:[I, I]}", "dtype", clq_file_dtype_name(tensor->dtype), "shape",
                      shape, "data_offsets", (json_int_t)begin, (json_int_t)(begin + tensor->size));
    }
    return clq_json_put(header, tensor->name, entry);
}

/* The header's text, padded with spaces so that the data begin at a multiple of 8. */
static clq_status make_header(const clq_tensors *tensors, const clq_file_tensor *const *sorted,
                              char **text) {
    json_t *header = json_object();
    clq_status status = CLQ_NO_MEMORY;
    if (!header) {
        return clq_fail(status, "out of memory for the header");
    }
    CLQ_GOTO(status, cleanup, put_metadata(tensors, header));
    size_t begin = 0;
    for (int i = 0; i < tensors->count; i++) {
        CLQ_GOTO(status, cleanup, put_tensor(header, sorted[i], begin));
        begin += sorted[i]->size;
    }
    CLQ_GOTO(status, cleanup, clq_json_dump_exact(header, text));
cleanup:
    json_decref(header);
    return status;
}

static clq_status write_all(clq_writer *writer, const char *header, int count,
                            const clq_file_tensor *const *sorted) {
    size_t length = strlen(header), padding = (8 - length % 8) % 8;
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++) {
        prefix[i] = (unsigned char)((uint64_t)(length + padding) >> 8 * i);
    }
    CLQ_TRY(clq_writer_write(writer, prefix, sizeof prefix));
    CLQ_TRY(clq_writer_write(writer, header, length));
    CLQ_TRY(clq_writer_write(writer, "        ", padding));
    for (int i = 0; i < count; i++) {
        CLQ_TRY(clq_writer_write(writer, sorted[i]->data, sorted[i]->size));
    }
    return CLQ_OK;
}

clq_status clq_tensors_save(const clq_tensors *tensors, const char *path) {
    CLQ_NEEDS(tensors, path);
    char *header = NULL;
    clq_writer *writer = NULL;
    clq_status status = CLQ_NO_MEMORY;
    const clq_file_tensor **sorted = clq_calloc((size_t)tensors->count, sizeof *sorted);
    if (!sorted) {
        return status;
    }
    for (int i = 0; i < tensors->count; i++) {
        sorted[i] = &tensors->entries[i].tensor;
    }
    qsort(sorted, (size_t)tensors->count, sizeof *sorted, compare_tensors);
    CLQ_GOTO(status, cleanup, clq_fail_in(make_header(tensors, sorted, &header), "%s", path));
    CLQ_GOTO(status, cleanup, clq_writer_open(path, &writer));
    CLQ_GOTO(status, cleanup, write_all(writer, header, tensors->count, sorted));
    CLQ_GOTO(status, cleanup, clq_writer_commit(&writer));
cleanup:
    clq_writer_abort(&writer);
    clq_free(header);
    clq_free(sorted);
    return status;
}

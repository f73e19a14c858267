/* Reading safetensors (https://huggingface.co/docs/safetensors): 8 bytes with the header's length,
 * the header as JSON, then the tensors' bytes without any between them. */
#include "base/arguments.h"
#include "formats/tensors.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/files.h"
#include "base/json.h"
#include "formats/foreign.h"

enum { LENGTH_SIZE = 8, MAX_HEADER = 16 * 1024 * 1024 };

/* One tensor of the header, its data as offsets. */
typedef struct place {
    clq_file_tensor tensor;
    size_t begin, end;
} place;

typedef struct loader {
    const char *name; /* of the file */
    clq_tensors *tensors;
    place *places;
    size_t count;
    const unsigned char *data;
    size_t data_size;
} loader;

static clq_status bad(const loader *load, const char *tensor, const char *rule) {
    return clq_fail(CLQ_BAD_DATA, "%s: tensor \"%s\": %s", load->name, tensor, rule);
}

/* An array of `count` integers >= 0. */
static bool read_sizes(const json_t *array, size_t max_count, int64_t *values, size_t *count) {
    if (!json_is_array(array) || json_array_size(array) > max_count) {
        return false;
    }
    *count = json_array_size(array);
    for (size_t i = 0; i < *count; i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0) {
            return false;
        }
        values[i] = json_integer_value(item);
    }
    return true;
}

static clq_status read_place(loader *load, const char *name, const json_t *entry) {
    place *at = &load->places[load->count];
    at->tensor.name = name;
    if (!json_is_object(entry) || json_object_size(entry) != 3) {
        return bad(load, name, "must be an object with dtype, shape and data_offsets");
    }
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype || !clq_file_dtype_parse(dtype, &at->tensor.dtype)) {
        return clq_fail(
            CLQ_BAD_DATA,
            "%s: tensor \"%s\": dtype %.40s is not supported, only F32, F16, BF16, F64, "
            "I8, U8, I32, I64",
            load->name, name, dtype ? dtype : "(no text)");
    }
    size_t rank, pair, size, begin, end;
    int64_t offsets[2];
    if (!read_sizes(json_object_get(entry, "shape"), CLQ_FILE_MAX_RANK, at->tensor.dim, &rank)) {
        return bad(load, name, "shape must be an array of up to 8 integers >= 0");
    }
    at->tensor.rank = (int)rank;
    if (!read_sizes(json_object_get(entry, "data_offsets"), 2, offsets, &pair) || pair != 2 ||
        !clq_narrow_size(offsets[0], &begin) || !clq_narrow_size(offsets[1], &end)) {
        return bad(load, name, "data_offsets must be two integers >= 0");
    }
    if (begin > end || end > load->data_size) {
        return bad(load, name, "data_offsets lie outside the file's data; is it cut off?");
    }
    if (!clq_file_tensor_size(at->tensor.dtype, at->tensor.rank, at->tensor.dim, &size) ||
        size != end - begin) {
        return bad(load, name, "data_offsets do not span the bytes of dtype and shape");
    }
    at->begin = begin;
    at->end = end;
    load->count++;
    return CLQ_OK;
}

static clq_status read_metadata(loader *load, const json_t *object) {
    if (!json_is_object(object)) {
        return clq_fail(CLQ_BAD_DATA, "%s: __metadata__ must be an object", load->name);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        const char *text = json_string_value(value);
        if (!text) {
            return clq_fail(CLQ_BAD_DATA, "%s: __metadata__.%.100s must be a string", load->name,
                            key);
        }
        CLQ_TRY(clq_tensors_set_metadata(load->tensors, key, text));
    }
    return CLQ_OK;
}

static int compare_places(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    if (x->end != y->end) {
        return x->end < y->end ? -1 : 1;
    }
    return strcmp(x->tensor.name, y->tensor.name);
}

/* The tensors lie one behind the other and fill the data. */
static clq_status check_cover(const loader *load) {
    size_t end = 0;
    for (size_t i = 0; i < load->count; i++) {
        const place *at = &load->places[i];
        if (at->begin != end) {
            return bad(load, at->tensor.name,
                       at->begin < end ? "its data overlap another tensor's"
                                       : "there is a gap before its data");
        }
        end = at->end;
    }
    if (end != load->data_size) {
        return clq_fail(CLQ_BAD_DATA, "%s: %zu bytes behind the last tensor", load->name,
                        load->data_size - end);
    }
    return CLQ_OK;
}

static clq_status add_tensor(loader *load, place *at) {
    size_t alignment = clq_file_dtype_size(at->tensor.dtype);
    const void *data = load->data + at->begin;
    if ((uintptr_t)data % alignment == 0) {
        at->tensor.data = data;
        return clq_tensors_insert(load->tensors, &at->tensor);
    }
    return clq_tensors_add(load->tensors, at->tensor.name, at->tensor.dtype, at->tensor.rank,
                           at->tensor.dim, data);
}

static clq_status read_header(loader *load, const json_t *header) {
    load->places = clq_calloc(json_object_size(header), sizeof *load->places);
    if (!load->places) {
        return CLQ_NO_MEMORY;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)header, key, value) {
        if (strcmp(key, "__metadata__") == 0) {
            CLQ_TRY(read_metadata(load, value));
        } else if (key[0] == '\0') {
            return bad(load, key, "a tensor needs a name");
        } else {
            CLQ_TRY(read_place(load, key, value));
        }
    }
    qsort(load->places, load->count, sizeof *load->places, compare_places);
    CLQ_TRY(check_cover(load));
    for (size_t i = 0; i < load->count; i++) {
        CLQ_TRY(clq_fail_in(add_tensor(load, &load->places[i]), "%s", load->name));
    }
    return CLQ_OK;
}

/* A clq_file_check with the header's length, a uint64_t, as context. */
static clq_status check_head(void *context, const char *name, const void *head, size_t head_size,
                             uint64_t size) {
    const unsigned char *bytes = head;
    uint64_t *length = context;
    *length = 0;
    CLQ_TRY(clq_fail_in(clq_foreign_check(CLQ_EXPECTED_SAFETENSORS, head, head_size), "%s", name));
    if (head_size < LENGTH_SIZE) {
        return clq_fail(CLQ_BAD_DATA, "%s: %zu bytes are too few for a safetensors file", name,
                        head_size);
    }
    for (int i = 0; i < LENGTH_SIZE; i++) {
        *length |= (uint64_t)bytes[i] << 8 * i;
    }
    if (*length > MAX_HEADER || *length > size - LENGTH_SIZE) {
        return clq_fail(
            CLQ_BAD_DATA, "%s: a header of %llu bytes: the file has %llu, allowed are %d", name,
            (unsigned long long)*length, (unsigned long long)size - LENGTH_SIZE, MAX_HEADER);
    }
    if (*length == 0 || (head_size > LENGTH_SIZE && bytes[LENGTH_SIZE] != '{')) {
        return clq_fail(CLQ_BAD_DATA, "%s: the header must be a JSON object", name);
    }
    return CLQ_OK;
}

/* Reads tensors->file. */
static clq_status parse(clq_tensors *tensors, size_t size, const char *name) {
    const unsigned char *bytes = tensors->file;
    uint64_t header_size = 0;
    CLQ_TRY(check_head(&header_size, name, bytes, size, size));
    json_t *header = NULL;
    loader load = {.name = name,
                   .tensors = tensors,
                   .data = bytes + LENGTH_SIZE + header_size,
                   .data_size = size - LENGTH_SIZE - (size_t)header_size};
    clq_status status = clq_json_parse(name, bytes + LENGTH_SIZE, (size_t)header_size, &header);
    if (status == CLQ_OK && !json_is_object(header)) {
        status = clq_fail(CLQ_BAD_DATA, "%s: the header must be a JSON object", name);
    }
    if (status == CLQ_OK) {
        status = read_header(&load, header);
    }
    clq_free(load.places);
    json_decref(header);
    return status;
}

/* Takes `file` over, on failure too. */
static clq_status load_owned(void *file, size_t size, const char *name, clq_tensors **out) {
    clq_tensors *tensors = NULL;
    clq_status status = clq_tensors_create(&tensors);
    if (status != CLQ_OK) {
        clq_free(file);
        return status;
    }
    tensors->file = file;
    status = parse(tensors, size, name);
    if (status != CLQ_OK) {
        clq_tensors_destroy(tensors);
        return status;
    }
    *out = tensors;
    return CLQ_OK;
}

clq_status clq_tensors_load(const char *path, clq_tensors **tensors) {
    CLQ_NEEDS(path, tensors);
    void *file = NULL;
    size_t size = 0;
    uint64_t header_size;
    CLQ_TRY(clq_fail_in(clq_foreign_check_folder(CLQ_EXPECTED_SAFETENSORS, path), "%s", path));
    CLQ_TRY(clq_file_read_checked(path, PTRDIFF_MAX - 1, check_head, &header_size, &file, &size));
    return load_owned(file, size, path, tensors);
}

clq_status clq_tensors_load_memory(const void *data, size_t size, const char *name,
                                   clq_tensors **tensors) {
    CLQ_NEEDS(name, tensors);
    CLQ_REQUIRE(data || size == 0, "data must not be NULL");
    void *copy = clq_calloc(size, 1);
    if (!copy) {
        return CLQ_NO_MEMORY;
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return load_owned(copy, size, name, tensors);
}

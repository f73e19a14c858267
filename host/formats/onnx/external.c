#include "formats/onnx/external.h"

#include <string.h>

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

/* What external_data says: the spec's keys; others (checksum, basepath) are passed over. */
typedef struct place {
    const char *location;
    uint64_t offset, length;
    bool has_length;
} place;

/* ---- keys ---- */

enum { MAX_ENTRIES = 64 }; /* each is compared with those before it */

/* Decimal digits and nothing else, below 2^63. */
static bool parse_number(const char *text, uint64_t *value) {
    *value = 0;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9' || *value > (INT64_MAX - (uint64_t)(*c - '0')) / 10) {
            return false;
        }
        *value = *value * 10 + (uint64_t)(*c - '0');
    }
    return text[0] != '\0';
}

static clq_status read_key(const char *key, const char *value, place *at) {
    static const char *const names[3] = {"location", "offset", "length"};
    uint64_t *const numbers[3] = {NULL, &at->offset, &at->length};
    for (int i = 0; i < 3; i++) {
        if (strcmp(key, names[i]) != 0) {
            continue;
        }
        if (i > 0 && !parse_number(value, numbers[i])) {
            return clq_fail(CLQ_BAD_DATA, "external data: %s is \"%.40s\", must be a number >= 0",
                            key, value);
        }
        at->location = i == 0 ? value : at->location;
        at->has_length |= i == 2;
    }
    return CLQ_OK;
}

static clq_status read_place(const Onnx__TensorProto *tensor, place *at) {
    *at = (place){0};
    if (tensor->n_external_data > MAX_ENTRIES) {
        return clq_fail(CLQ_BAD_DATA, "external data: has %zu entries, must have up to %d",
                        tensor->n_external_data, MAX_ENTRIES);
    }
    for (size_t i = 0; i < tensor->n_external_data; i++) {
        const Onnx__StringStringEntryProto *entry = tensor->external_data[i];
        for (size_t k = 0; k < i; k++) {
            const char *other = tensor->external_data[k]->key;
            if (entry->key && other && strcmp(entry->key, other) == 0) {
                return clq_fail(CLQ_BAD_DATA, "external data: \"%.40s\" is there twice", other);
            }
        }
        CLQ_TRY(read_key(entry->key ? entry->key : "", entry->value ? entry->value : "", at));
    }
    return at->location ? CLQ_OK : clq_fail(CLQ_BAD_DATA, "external data: the location is missing");
}

/* ---- files ---- */

static bool is_known(const onnx_external *external) {
    for (size_t i = 0; i < external->known_count; i++) {
        if (external->known[i].device == external->file.device &&
            external->known[i].inode == external->file.inode) {
            return true;
        }
    }
    return false;
}

/* A new file raises what loading may take, in proportion; twice counted would be no limit. */
static clq_status count_file(onnx_external *external, clq_arena *arena) {
    if (is_known(external)) {
        return CLQ_OK;
    }
    if (external->known_count == external->known_capacity) {
        const size_t capacity = external->known_capacity ? 2 * external->known_capacity : 4;
        onnx_data_file *grown = clq_realloc(external->known, capacity, sizeof *grown);
        if (!grown) {
            return CLQ_NO_MEMORY;
        }
        external->known = grown;
        external->known_capacity = capacity;
    }
    char *path = clq_path_join(external->folder, external->location);
    if (!path) {
        return CLQ_NO_MEMORY;
    }
    external->known[external->known_count++] =
        (onnx_data_file){external->file.device, external->file.inode, path};
    size_t more;
    if (!clq_mul_size((size_t)external->file.size, CLQ_ONNX_MEMORY_FACTOR, &more) ||
        !clq_add_size(arena->limit, more, &arena->limit)) {
        arena->limit = SIZE_MAX;
    }
    return CLQ_OK;
}

static void close_file(onnx_external *external) {
    if (external->location) {
        clq_inside_close(&external->file);
        clq_free(external->location);
        external->location = NULL;
    }
}

static clq_status open_file(onnx_external *external, clq_arena *arena, const char *location) {
    if (external->location && strcmp(external->location, location) == 0) {
        return CLQ_OK;
    }
    close_file(external);
    char *copy = clq_strdup(location);
    if (!copy) {
        return CLQ_NO_MEMORY;
    }
    clq_status status = clq_inside_open(external->folder, location, &external->file);
    if (status != CLQ_OK) {
        clq_free(copy);
        return status;
    }
    external->location = copy;
    return count_file(external, arena);
}

static clq_status check_range(const onnx_external *external, const place *at, size_t size) {
    const uint64_t there = external->file.size;
    if (at->has_length && at->length != size) {
        return clq_fail(CLQ_BAD_DATA, "length is %llu, but type and shape make up %zu byte%s",
                        (unsigned long long)at->length, size, clq_plural((int64_t)size));
    }
    if (at->offset > there || size > there - at->offset) {
        return clq_fail(CLQ_BAD_DATA,
                        "%zu bytes from %llu on are needed, but it has %llu; is it of another "
                        "export, or cut off?",
                        size, (unsigned long long)at->offset, (unsigned long long)there);
    }
    return CLQ_OK;
}

static clq_status read_file(onnx_external *external, clq_arena *arena, const place *at, size_t size,
                            void **data) {
    CLQ_TRY(open_file(external, arena, at->location));
    CLQ_TRY(check_range(external, at, size));
    CLQ_TRY(clq_arena_take(arena, size, 1, data));
    return clq_inside_read(&external->file, at->offset, *data, size);
}

clq_status onnx_external_read(onnx_external *external, clq_arena *arena,
                              const Onnx__TensorProto *tensor, size_t size, const void **data) {
    place at;
    void *bytes = NULL;
    CLQ_TRY(read_place(tensor, &at));
    if (!external->folder) {
        return clq_fail(
            CLQ_BAD_DATA,
            "its data are in the file \"%.200s\", and a model that comes from a pipe or "
            "from memory has no folder to find it in; give the model's path",
            at.location);
    }
    clq_status status = read_file(external, arena, &at, size, &bytes);
    *data = bytes;
    if (status == CLQ_NO_INPUT) {
        status = clq_fail_in(status, "data file \"%.200s\", which belongs beside the model",
                             at.location);
    } else {
        status = clq_fail_in(status, "data file \"%.200s\"", at.location);
    }
    return status;
}

clq_status onnx_external_keep_paths(onnx_external *external, clq_graph *graph) {
    if (external->known_count == 0) {
        return CLQ_OK;
    }
    graph->data_files = clq_calloc(external->known_count, sizeof *graph->data_files);
    if (!graph->data_files) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < external->known_count; i++) {
        graph->data_files[graph->data_file_count++] = external->known[i].path;
        external->known[i].path = NULL;
    }
    return CLQ_OK;
}

void onnx_external_free(onnx_external *external) {
    close_file(external);
    for (size_t i = 0; i < external->known_count; i++) {
        clq_free(external->known[i].path);
    }
    clq_free(external->known);
    *external = (onnx_external){0};
}

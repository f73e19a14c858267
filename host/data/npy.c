#include "data/npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/files.h"

#define MAX_FILE_BYTES ((size_t)1 << 34)
enum { HEADER_SIZE = 128, MAX_HEADER = 4096 };

typedef struct number_type {
    const char *name; /* as in the header's 'descr' */
    int size;
    bool is_integer;
} number_type;

static const number_type types[] = {
    {"<f4", 4, false}, {"<f8", 8, false}, {"|i1", 1, true}, {"<i2", 2, true}, {"<i4", 4, true},
    {"<i8", 8, true},  {"|u1", 1, true},  {"<u2", 2, true}, {"<u4", 4, true}, {"|b1", 1, true}};

static float number_at(const number_type *type, const uint8_t *bytes) {
    uint64_t bits = 0;
    for (int i = 0; i < type->size; i++) {
        bits |= (uint64_t)bytes[i] << (8 * i);
    }
    if (type->name[1] == 'f') {
        if (type->size == 4) {
            const uint32_t low = (uint32_t)bits;
            float value;
            memcpy(&value, &low, sizeof value);
            return value;
        }
        double value;
        memcpy(&value, &bits, sizeof value);
        return (float)value;
    }
    if (type->name[1] == 'i') {
        const int unused = 64 - 8 * type->size;
        return (float)((int64_t)(bits << unused) >> unused);
    }
    return (float)bits;
}

/* What follows 'KEY': in the header's Python dictionary; NULL when it is not there. */
static const char *header_value(const char *header, const char *key) {
    const char *at = strstr(header, key);
    if (!at) {
        return NULL;
    }
    at += strlen(key);
    while (*at == ' ' || *at == ':') {
        at++;
    }
    return at;
}

static clq_status parse_shape(const char *path, const char *text, clq_npy *array) {
    array->count = 1;
    if (!text || *text != '(') {
        return clq_fail(CLQ_BAD_DATA, "%s: the npy header has no shape", path);
    }
    for (text++; *text != ')';) {
        char *end = NULL;
        const long long dim = strtoll(text, &end, 10);
        if (end == text || dim < 1 || array->rank == CLQ_NPY_MAX_RANK ||
            !clq_mul_i64(array->count, dim, &array->count)) {
            return clq_fail(CLQ_BAD_DATA, "%s: shape %.40s: must be 1..%d dimensions above 0", path,
                            text, CLQ_NPY_MAX_RANK);
        }
        array->dims[array->rank++] = dim;
        for (text = end; *text == ',' || *text == ' ';) {
            text++;
        }
    }
    return array->rank > 0
               ? CLQ_OK
               : clq_fail(CLQ_BAD_DATA, "%s: holds a single number, not an array", path);
}

static clq_status parse_header(const char *path, const char *header, clq_npy *array,
                               const number_type **type) {
    const char *descr = header_value(header, "'descr'");
    const char *order = header_value(header, "'fortran_order'");
    *type = NULL;
    for (size_t i = 0; descr && i < sizeof types / sizeof types[0]; i++) {
        if (*descr == '\'' && strncmp(descr + 1, types[i].name, 3) == 0 && descr[4] == '\'') {
            *type = &types[i];
        }
    }
    if (!*type) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: numbers of type %.12s; supported are little-endian f4, f8, i1, i2, "
                        "i4, i8, u1, u2, u4 and b1",
                        path, descr ? descr : "(none)");
    }
    if (!order || strncmp(order, "False", 5) != 0) {
        return clq_fail(CLQ_BAD_DATA, "%s: must be in C order ('fortran_order': False)", path);
    }
    return parse_shape(path, header_value(header, "'shape'"), array);
}

/* What the header of a file of `file_size` bytes says, in its first `size` bytes; *start is where
 * the numbers begin. */
static clq_status parse_head(const char *path, const uint8_t *bytes, size_t size,
                             uint64_t file_size, clq_npy *array, const number_type **type,
                             size_t *start) {
    if (size < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0 || bytes[6] < 1 || bytes[6] > 3) {
        return clq_fail(CLQ_BAD_DATA, "%s: not an npy file of version 1, 2 or 3", path);
    }
    size_t length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    *start = 10;
    if (bytes[6] > 1) {
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
        *start = 12;
    }
    char header[MAX_HEADER + 1];
    if (length > MAX_HEADER || length > size - *start) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: an npy header of %zu bytes; the file ends before it, or "
                        "it has more than %d",
                        path, length, MAX_HEADER);
    }
    memcpy(header, bytes + *start, length);
    header[length] = '\0';
    CLQ_TRY(parse_header(path, header, array, type));
    *start += length;
    const uint64_t data_size = file_size - *start, width = (uint64_t)(*type)->size;
    if (file_size != CLQ_UNKNOWN_SIZE &&
        (data_size % width != 0 || (uint64_t)array->count != data_size / width)) {
        return clq_fail(CLQ_BAD_DATA, "%s: %llu bytes of data; %lld numbers of %d bytes expected",
                        path, (unsigned long long)data_size, (long long)array->count,
                        (*type)->size);
    }
    return CLQ_OK;
}

static clq_status check_head(void *context, const char *path, const void *head, size_t head_size,
                             uint64_t size) {
    clq_npy array = {0};
    const number_type *type = NULL;
    size_t start = 0;
    (void)context;
    return parse_head(path, head, head_size, size, &array, &type, &start);
}

static clq_status parse(const char *path, const uint8_t *bytes, size_t size, clq_npy *array) {
    const number_type *type = NULL;
    size_t start = 0;
    CLQ_TRY(parse_head(path, bytes, size, size, array, &type, &start));
    array->is_integer = type->is_integer;
    array->values = clq_calloc((size_t)array->count, sizeof *array->values);
    if (!array->values) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t i = 0; i < array->count; i++) {
        array->values[i] = number_at(type, bytes + start + (size_t)i * (size_t)type->size);
        if (!isfinite(array->values[i])) {
            return clq_fail(CLQ_BAD_DATA, "%s: number %lld is not finite", path, (long long)i);
        }
    }
    return CLQ_OK;
}

clq_status clq_npy_read(const char *path, clq_npy *array) {
    void *bytes = NULL;
    size_t size = 0;
    *array = (clq_npy){0};
    CLQ_TRY(clq_file_read_checked(path, MAX_FILE_BYTES, check_head, NULL, &bytes, &size));
    clq_status status = parse(path, bytes, size, array);
    clq_free(bytes);
    if (status != CLQ_OK) {
        clq_npy_free(array);
    }
    return status;
}

void clq_npy_free(clq_npy *array) {
    clq_free(array->values);
    *array = (clq_npy){0};
}

/* Bytes of a float, lowest first. */
static void put_float(float value, uint8_t bytes[4]) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(bits >> (8 * i));
    }
}

clq_status clq_npy_write(const char *path, const float *values, const int64_t *dims, int rank) {
    char header[HEADER_SIZE + 1];
    clq_writer *writer = NULL;
    clq_status status;
    int64_t count = 1;
    /* Magic, version 1.0, length of the rest; the whole padded to 128 bytes. */
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = HEADER_SIZE - 10;
    header[9] = 0;
    int used = 10 + snprintf(header + 10, sizeof header - 10,
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int d = 0; d < rank; d++) {
        used += snprintf(header + used, sizeof header - (size_t)used, "%lld,", (long long)dims[d]);
        count *= dims[d];
    }
    used += snprintf(header + used, sizeof header - (size_t)used, "), }");
    header[used] = ' ';
    header[HEADER_SIZE - 1] = '\n';
    CLQ_TRY(clq_writer_open(path, &writer));
    CLQ_GOTO(status, cleanup, clq_writer_write(writer, header, HEADER_SIZE));
    for (int64_t i = 0; i < count; i++) {
        uint8_t bytes[4];
        put_float(values[i], bytes);
        CLQ_GOTO(status, cleanup, clq_writer_write(writer, bytes, sizeof bytes));
    }
    status = clq_writer_commit(&writer);

cleanup:
    clq_writer_abort(&writer);
    return status;
}

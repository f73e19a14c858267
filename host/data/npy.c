#include "data/npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/files.h"
#include "base/half.h"
#include "base/text.h"

#define MAX_FILE_BYTES ((size_t)1 << 34)
enum { MAX_HEADER = 4096 };

/* ---- one number ---- */

static float number_at(const clq_npy_head *type, const uint8_t *bytes) {
    uint64_t bits = 0;
    for (int i = 0; i < type->size; i++) {
        bits |= (uint64_t)bytes[type->big_endian ? type->size - 1 - i : i] << (8 * i);
    }
    if (type->kind == 'f') {
        if (type->size == 2) {
            return clq_half_to_float((uint16_t)bits);
        }
        if (type->size == 4) {
            const uint32_t low = (uint32_t)bits;
            float value;
            memcpy(&value, &low, sizeof value);
            return value;
        }
        double value;
        memcpy(&value, &bits, sizeof value);
        return clq_double_to_float(value);
    }
    if (type->kind == 'i') {
        const int unused = 64 - 8 * type->size;
        return (float)((int64_t)(bits << unused) >> unused);
    }
    return (float)bits;
}

/* ---- the header, a Python dictionary ---- */

typedef struct header {
    const char *descr, *order, *shape; /* where their values begin; NULL: not there */
} header;

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t\r\n");
}

/* Behind a quoted string that begins at `at`; NULL when it has no end. */
static const char *skip_string(const char *at) {
    const char *end = strchr(at + 1, *at);
    return end ? end + 1 : NULL;
}

/* Behind a value: at the comma or brace that ends it. NULL when there is none. */
static const char *skip_value(const char *at) {
    int depth = 0;
    while (at && *at) {
        if (depth == 0 && (*at == ',' || *at == '}')) {
            return at;
        }
        depth += strchr("([{", *at) != NULL;
        depth -= strchr(")]}", *at) != NULL;
        at = strchr("'\"", *at) ? skip_string(at) : at + 1;
    }
    return NULL;
}

/* False when the text is not such a dictionary. */
static bool read_dictionary(const char *text, header *h) {
    const char *at = skip_blanks(text);
    if (*at++ != '{') {
        return false;
    }
    for (;;) {
        at = skip_blanks(at);
        if (*at == '}') {
            return true;
        }
        const char *key = at;
        at = strchr("'\"", *at) && *at ? skip_string(at) : NULL;
        const char *colon = at ? skip_blanks(at) : NULL;
        if (!colon || *colon != ':') {
            return false;
        }
        const char **const values[] = {&h->descr, &h->order, &h->shape};
        static const char *const keys[] = {"descr", "fortran_order", "shape"};
        for (size_t i = 0; i < 3; i++) {
            const size_t length = strlen(keys[i]);
            if ((size_t)(at - key) == length + 2 && memcmp(key + 1, keys[i], length) == 0) {
                *values[i] = skip_blanks(colon + 1);
            }
        }
        at = skip_value(skip_blanks(colon + 1));
        if (!at) {
            return false;
        }
        at += *at == ',';
    }
}

/* Characters of a value of the dictionary, for a message. */
static int value_length(const char *value) {
    enum { MOST = 60 };
    const char *end = skip_value(value);
    const ptrdiff_t length = end ? end - value : (ptrdiff_t)strlen(value);
    return length < MOST ? (int)length : MOST;
}

/* "(3,)", "(2L, 3L)". */
static clq_status parse_shape(const char *path, const char *text, clq_npy_head *array) {
    array->count = 1;
    if (!text || *text != '(') {
        return clq_fail(CLQ_BAD_DATA, "%s: the npy header has no shape", path);
    }
    const char *whole = text;
    for (text = skip_blanks(text + 1); *text != ')';) {
        char *end = NULL;
        const long long dim = strtoll(text, &end, 10);
        if (end == text || dim < 1 || array->rank == CLQ_NPY_MAX_RANK ||
            !clq_mul_i64(array->count, dim, &array->count)) {
            return clq_fail(CLQ_BAD_DATA, "%s: shape %.*s: must be 1..%d dimensions above 0", path,
                            value_length(whole), whole, CLQ_NPY_MAX_RANK);
        }
        array->dims[array->rank++] = dim;
        end += *end == 'L'; /* a long of Python 2 */
        for (text = end; *text == ',' || *text == ' ';) {
            text++;
        }
    }
    return array->rank > 0
               ? CLQ_OK
               : clq_fail(CLQ_BAD_DATA, "%s: holds a single number, not an array", path);
}

/* Types that hold no single number, and what to save instead. */
static clq_status refuse_type(const char *path, const char *descr) {
    static const struct {
        const char *kinds, *what;
    } others[] = {
        {"O", "holds Python objects, which only Python can read: save an array of numbers, "
              "numpy.save(FILE, array.astype('float32'))"},
        {"SU", "holds text: save an array of numbers"},
        {"cF", "holds complex numbers: save real ones"},
        {"mM", "holds dates or times: save an array of numbers"},
        {"V", "holds records of bytes: save an array of numbers"},
    };
    if (*descr == '[') {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: holds records with named fields (%.*s): save its columns as one array "
                        "of numbers, numpy.lib.recfunctions.structured_to_unstructured",
                        path, value_length(descr), descr);
    }
    const char kind = *descr && descr[1] ? descr[2] : '\0'; /* behind quote and byte order */
    for (size_t i = 0; kind && i < sizeof others / sizeof *others; i++) {
        if (strchr(others[i].kinds, kind)) {
            return clq_fail(CLQ_BAD_DATA, "%s: %s", path, others[i].what);
        }
    }
    return clq_fail(CLQ_BAD_DATA,
                    "%s: numbers of type %.12s; supported are f2, f4, f8, i1, i2, i4, i8, u1, u2, "
                    "u4, u8 and b1",
                    path, descr);
}

static clq_status parse_type(const char *path, const char *descr, clq_npy_head *head) {
    static const struct {
        char kind;
        const char *sizes;
    } known[] = {{'f', "248"}, {'i', "1248"}, {'u', "1248"}, {'b', "1"}};
    if (!strchr("'\"", *descr) || !*descr || !descr[1] || !strchr("<>|=", descr[1])) {
        return refuse_type(path, descr);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (descr[2] == known[i].kind && descr[3] && strchr(known[i].sizes, descr[3]) &&
            descr[4] == descr[0]) {
            head->kind = descr[2];
            head->size = descr[3] - '0';
            head->big_endian = descr[1] == '>';
            return CLQ_OK;
        }
    }
    return refuse_type(path, descr);
}

static clq_status parse_header(const char *path, const char *text, clq_npy_head *head) {
    header h = {0};
    if (!read_dictionary(text, &h) || !h.descr || !h.order || !h.shape) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: its npy header is not {'descr': ..., 'fortran_order': ..., 'shape': "
                        "...}",
                        path);
    }
    head->fortran = strncmp(h.order, "True", 4) == 0;
    if (!head->fortran && strncmp(h.order, "False", 5) != 0) {
        return clq_fail(CLQ_BAD_DATA, "%s: 'fortran_order' must be True or False, is %.12s", path,
                        h.order);
    }
    CLQ_TRY(parse_type(path, h.descr, head));
    return parse_shape(path, h.shape, head);
}

clq_status clq_npy_parse(const char *path, const void *data, size_t size, uint64_t file_size,
                         clq_npy_head *head) {
    const uint8_t *bytes = data;
    *head = (clq_npy_head){0};
    if (size < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0 || bytes[6] < 1 || bytes[6] > 3) {
        return clq_fail(CLQ_BAD_DATA, "%s: not an npy file of version 1, 2 or 3", path);
    }
    size_t length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    head->start = 10;
    if (bytes[6] > 1) {
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
        head->start = 12;
    }
    char text[MAX_HEADER + 1];
    if (length > MAX_HEADER || length > size - head->start) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: an npy header of %zu bytes; the file ends before it, or "
                        "it has more than %d",
                        path, length, MAX_HEADER);
    }
    memcpy(text, bytes + head->start, length);
    text[length] = '\0';
    CLQ_TRY(parse_header(path, text, head));
    head->start += length;
    const uint64_t data_size = file_size - head->start, width = (uint64_t)head->size;
    if (file_size != CLQ_UNKNOWN_SIZE &&
        (data_size % width != 0 || (uint64_t)head->count != data_size / width)) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: %llu byte%s of data; its header promises %lld number%s of %d byte%s%s",
                        path, (unsigned long long)data_size, clq_plural((int64_t)data_size),
                        (long long)head->count, clq_plural(head->count), head->size,
                        clq_plural(head->size),
                        data_size / width < (uint64_t)head->count ? ": the file is cut off" : "");
    }
    return CLQ_OK;
}

static clq_status check_head(void *context, const char *path, const void *head, size_t head_size,
                             uint64_t size) {
    clq_npy_head parsed;
    (void)context;
    return clq_npy_parse(path, head, head_size, size, &parsed);
}

/* Where the number after `place` (in C order) stands in a file in Fortran order; `index` (rank) is
 * that of `place` and moves on. */
static int64_t next_in_fortran_order(const clq_npy_head *head, int64_t *index) {
    int64_t at = 0;
    for (int d = head->rank - 1; d >= 0 && ++index[d] == head->dims[d]; d--) {
        index[d] = 0;
    }
    for (int d = head->rank - 1; d >= 0; d--) {
        at = at * head->dims[d] + index[d];
    }
    return at;
}

clq_status clq_npy_floats(const char *path, const clq_npy_head *head, const void *data,
                          int64_t first, int64_t count, float *values) {
    const uint8_t *bytes = data;
    int64_t index[CLQ_NPY_MAX_RANK] = {0}, from = 0;
    for (int64_t i = 0; i < count; i++) {
        values[i] = number_at(head, bytes + (size_t)from * (size_t)head->size);
        if (!isfinite(values[i])) {
            return clq_fail(CLQ_BAD_DATA, "%s: number %lld is not finite", path,
                            (long long)(first + i));
        }
        from = head->fortran ? next_in_fortran_order(head, index) : i + 1;
    }
    return CLQ_OK;
}

static clq_status parse(const char *path, const uint8_t *bytes, size_t size, clq_npy *array) {
    clq_npy_head head;
    CLQ_TRY(clq_npy_parse(path, bytes, size, size, &head));
    array->rank = head.rank;
    memcpy(array->dims, head.dims, sizeof array->dims);
    array->count = head.count;
    array->is_integer = head.kind != 'f';
    array->values = clq_calloc((size_t)array->count, sizeof *array->values);
    if (!array->values) {
        return CLQ_NO_MEMORY;
    }
    return clq_npy_floats(path, &head, bytes + head.start, 0, head.count, array->values);
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

void clq_npy_make_header(const char *type, const int64_t *dims, int rank, char *header) {
    char text[CLQ_NPY_HEADER + 1];
    /* Magic, version 1.0, length of the rest; the whole padded with blanks. */
    memset(header, ' ', CLQ_NPY_HEADER);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = CLQ_NPY_HEADER - 10;
    header[9] = 0;
    int used =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", type);
    for (int d = 0; d < rank; d++) {
        used += snprintf(text + used, sizeof text - (size_t)used, "%lld,", (long long)dims[d]);
    }
    used += snprintf(text + used, sizeof text - (size_t)used, "), }");
    memcpy(header + 10, text, (size_t)used);
    header[CLQ_NPY_HEADER - 1] = '\n';
}

void clq_npy_put_floats(const float *values, size_t count, uint8_t *bytes) {
    for (size_t i = 0; i < count; i++) {
        put_float(values[i], bytes + 4 * i);
    }
}

clq_status clq_npy_write(const char *path, const float *values, const int64_t *dims, int rank) {
    char header[CLQ_NPY_HEADER];
    clq_writer *writer = NULL;
    clq_status status;
    int64_t count = 1;
    for (int d = 0; d < rank; d++) {
        count *= dims[d];
    }
    clq_npy_make_header("<f4", dims, rank, header);
    CLQ_TRY(clq_writer_open(path, &writer));
    CLQ_GOTO(status, cleanup, clq_writer_write(writer, header, sizeof header));
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

/* Arrays of .npy and .npz files as streams of rows, and those of a program's own. A .npz file is a
 * zip archive of .npy files, stored or deflated; libzip reads it, and checks what was unpacked. */
#include <clquant/data.h>

#include <stdio.h>
#include <string.h>
#include <zip.h>

#include "base/arguments.h"
#include "base/files.h"
#include "base/log.h"
#include "data/npy.h"

#define MAX_WHOLE_BYTES (INT64_C(1) << 32)
enum { MAX_ARRAYS = 1024, MAX_NAME = 1024, CHUNK_BYTES = 1 << 18 };

typedef struct stream {
    clq_array array;
    clq_npy_head head;
    char *name, *label; /* the label is for messages */
    char type[4];
    zip_uint64_t entry; /* of a .npz */
    clq_reader *file;   /* .npy; NULL: not open now */
    zip_file_t *packed; /* .npz; NULL: not open now */
    int64_t row;        /* that the stream gives next, while it is open */
    float *whole;       /* all of an array in Fortran order, once it was read */
    const float *lent;  /* a program's own, or: */
    float *made;        /* the rows that were made last */
} stream;

struct clq_arrays {
    char *path;
    zip_t *zip; /* NULL: a .npy file */
    stream *streams;
    int count;
    int labels; /* index; -1: none */
    clq_order order;
    int64_t rows; /* of a program's own; 0: a file's */
    clq_arrays_fill fill;
    void *context;
    int64_t first_made, made, room; /* which rows lie in the streams' `made`, and how many fit */
};

/* ---- streams ---- */

static void close_stream(stream *s) {
    clq_reader_close(s->file);
    if (s->packed) {
        zip_fclose(s->packed);
    }
    s->file = NULL;
    s->packed = NULL;
}

/* *got is less than `size` only at the end. */
static clq_status read_bytes(stream *s, void *data, size_t size, size_t *got) {
    if (s->file) {
        return clq_reader_read(s->file, data, size, got);
    }
    for (*got = 0; *got < size;) {
        const zip_int64_t n = zip_fread(s->packed, (char *)data + *got, size - *got);
        if (n < 0) {
            return clq_fail(CLQ_BAD_DATA, "%s: cannot be unpacked: %s", s->label,
                            zip_file_strerror(s->packed));
        }
        if (n == 0) {
            break;
        }
        *got += (size_t)n;
    }
    return CLQ_OK;
}

/* At the first byte of the .npy file. */
static clq_status open_stream(const clq_arrays *arrays, stream *s, uint64_t *size) {
    close_stream(s);
    s->row = 0;
    if (!arrays->zip) {
        CLQ_TRY(clq_reader_open(arrays->path, &s->file));
        *size = clq_reader_size(s->file);
        return CLQ_OK;
    }
    zip_stat_t info;
    s->packed = zip_fopen_index(arrays->zip, s->entry, 0);
    if (!s->packed || zip_stat_index(arrays->zip, s->entry, 0, &info) != 0) {
        return clq_fail(CLQ_BAD_DATA, "%s: cannot be unpacked: %s", s->label,
                        zip_strerror(arrays->zip));
    }
    *size = info.valid & ZIP_STAT_SIZE ? info.size : CLQ_UNKNOWN_SIZE;
    return CLQ_OK;
}

static clq_status read_head(const clq_arrays *arrays, stream *s) {
    char head[CLQ_FILE_HEAD];
    size_t got = 0;
    uint64_t size = 0;
    CLQ_TRY(open_stream(arrays, s, &size));
    CLQ_TRY(read_bytes(s, head, sizeof head, &got));
    close_stream(s);
    CLQ_TRY(clq_npy_parse(s->label, head, got, size, &s->head));
    snprintf(s->type, sizeof s->type, "%c%d", s->head.kind, s->head.size);
    s->array = (clq_array){.name = s->name, .type = s->type, .rank = s->head.rank};
    memcpy(s->array.dims, s->head.dims, sizeof s->head.dims);
    return CLQ_OK;
}

/* ---- opening ---- */

/* NULL: out of memory. */
static stream *add_stream(clq_arrays *arrays, const char *name) {
    stream *grown = clq_realloc(arrays->streams, (size_t)arrays->count + 1, sizeof *grown);
    if (!grown) {
        return NULL;
    }
    arrays->streams = grown;
    stream *s = &grown[arrays->count++];
    *s = (stream){.name = clq_strdup(name)};
    s->label =
        arrays->zip ? clq_format("%s: array \"%s\"", arrays->path, name) : clq_strdup(arrays->path);
    return s->name && s->label ? s : NULL;
}

/* An entry NAME.npy is the array NAME; others are no arrays. */
static clq_status add_entry(clq_arrays *arrays, zip_uint64_t index) {
    const char *file = zip_get_name(arrays->zip, index, 0);
    const size_t length = file ? strlen(file) : 0;
    char name[MAX_NAME];
    if (length < 4 || strcmp(file + length - 4, ".npy") != 0) {
        clq_log_warn("%s: \"%.100s\" in it is no .npy file and is passed over", arrays->path,
                     file ? file : "");
        return CLQ_OK;
    }
    if (length - 4 >= sizeof name || arrays->count == MAX_ARRAYS) {
        return clq_fail(CLQ_BAD_DATA, "%s: has more than %d arrays, or a name of over %d bytes",
                        arrays->path, MAX_ARRAYS, MAX_NAME);
    }
    memcpy(name, file, length - 4);
    name[length - 4] = '\0';
    for (int i = 0; i < arrays->count; i++) {
        if (strcmp(arrays->streams[i].name, name) == 0) {
            return clq_fail(CLQ_BAD_DATA, "%s: two arrays are named \"%s\"", arrays->path, name);
        }
    }
    stream *s = add_stream(arrays, name);
    if (!s) {
        return CLQ_NO_MEMORY;
    }
    s->entry = index;
    return CLQ_OK;
}

static clq_status open_zip(clq_arrays *arrays) {
    int code = 0;
    arrays->zip = zip_open(arrays->path, ZIP_RDONLY, &code);
    if (!arrays->zip) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        const clq_status status =
            clq_fail(code == ZIP_ER_MEMORY ? CLQ_NO_MEMORY : CLQ_BAD_DATA,
                     "%s: is no .npz file: %s", arrays->path, zip_error_strerror(&error));
        zip_error_fini(&error);
        return status;
    }
    const zip_int64_t entries = zip_get_num_entries(arrays->zip, 0);
    for (zip_int64_t i = 0; i < entries; i++) {
        CLQ_TRY(add_entry(arrays, (zip_uint64_t)i));
    }
    return arrays->count > 0 ? CLQ_OK
                             : clq_fail(CLQ_BAD_DATA, "%s: has no arrays in it", arrays->path);
}

/* By its first bytes, whatever it is called. */
static clq_status open_file(clq_arrays *arrays) {
    clq_reader *reader = NULL;
    char magic[6] = "";
    size_t got = 0;
    CLQ_TRY(clq_reader_open(arrays->path, &reader));
    const clq_status status = clq_reader_read(reader, magic, sizeof magic, &got);
    clq_reader_close(reader);
    CLQ_TRY(status);
    if (got >= 4 && memcmp(magic, "PK", 2) == 0) {
        return open_zip(arrays);
    }
    if (got < sizeof magic || memcmp(magic, "\x93NUMPY", sizeof magic) != 0) {
        return clq_fail(CLQ_BAD_DATA, "%s: is neither a .npy nor a .npz file", arrays->path);
    }
    return add_stream(arrays, "") ? CLQ_OK : CLQ_NO_MEMORY;
}

clq_status clq_arrays_open(const char *path, clq_arrays **out) {
    CLQ_NEEDS(path, out);
    clq_status status = CLQ_NO_MEMORY;
    *out = NULL;
    clq_arrays *arrays = clq_calloc(1, sizeof *arrays);
    if (!arrays) {
        return CLQ_NO_MEMORY;
    }
    arrays->labels = -1;
    arrays->path = clq_strdup(path);
    if (!arrays->path) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, open_file(arrays));
    for (int i = 0; i < arrays->count; i++) {
        CLQ_GOTO(status, cleanup, read_head(arrays, &arrays->streams[i]));
    }
    *out = arrays;
    arrays = NULL;
cleanup:
    clq_arrays_close(arrays);
    return status;
}

void clq_arrays_close(clq_arrays *arrays) {
    if (!arrays) {
        return;
    }
    for (int i = 0; i < arrays->count; i++) {
        stream *s = &arrays->streams[i];
        close_stream(s);
        clq_free(s->name);
        clq_free(s->label);
        clq_free(s->whole);
        clq_free(s->made);
    }
    if (arrays->zip) {
        zip_discard(arrays->zip);
    }
    clq_free(arrays->streams);
    clq_free(arrays->path);
    clq_free(arrays);
}

const char *clq_arrays_path(const clq_arrays *arrays) {
    CLQ_NEEDS_OR(NULL, arrays);
    return arrays->path;
}

int clq_arrays_count(const clq_arrays *arrays) {
    CLQ_NEEDS_OR(0, arrays);
    return arrays->count;
}

const clq_array *clq_arrays_at(const clq_arrays *arrays, int index) {
    CLQ_NEEDS_OR(NULL, arrays);
    return index >= 0 && index < arrays->count ? &arrays->streams[index].array : NULL;
}

/* ---- a program's own ---- */

clq_status clq_arrays_create(int64_t rows, clq_arrays **out) {
    CLQ_NEEDS(out);
    *out = NULL;
    CLQ_REQUIRE(rows >= 1, "rows must be at least 1");
    clq_arrays *arrays = clq_calloc(1, sizeof *arrays);
    if (!arrays) {
        return CLQ_NO_MEMORY;
    }
    arrays->labels = -1;
    arrays->rows = rows;
    arrays->path = clq_strdup("arrays");
    if (!arrays->path) {
        clq_arrays_close(arrays);
        return CLQ_NO_MEMORY;
    }
    *out = arrays;
    return CLQ_OK;
}

static int find(const clq_arrays *arrays, const char *name) {
    for (int i = 0; i < arrays->count; i++) {
        if (strcmp(arrays->streams[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

clq_status clq_arrays_add(clq_arrays *arrays, const char *name, const int64_t *dims, int rank,
                          const float *values) {
    CLQ_NEEDS(arrays, name);
    CLQ_REQUIRE(arrays->rows > 0, "arrays of a file take no others");
    CLQ_REQUIRE(rank >= 0 && rank < CLQ_ARRAY_MAX_RANK, "rank is out of range");
    CLQ_REQUIRE(rank == 0 || dims, "dims must not be NULL");
    clq_array array = {.type = "f4", .rank = rank + 1, .dims = {arrays->rows}};
    int64_t count = arrays->rows;
    for (int d = 0; d < rank; d++) {
        CLQ_REQUIRE(dims[d] >= 1 && dims[d] <= INT32_MAX && count <= INT64_MAX / 8 / dims[d],
                    "dims are out of range");
        array.dims[d + 1] = dims[d];
        count *= dims[d];
    }
    if (find(arrays, name) >= 0) {
        return clq_fail(CLQ_USAGE, "%s: two arrays are named \"%s\"", arrays->path, name);
    }
    CLQ_REQUIRE(arrays->count < MAX_ARRAYS, "too many arrays");
    stream *s = add_stream(arrays, name);
    if (!s) {
        return CLQ_NO_MEMORY;
    }
    array.name = s->name;
    s->array = array;
    s->head = (clq_npy_head){.rank = array.rank, .count = count, .kind = 'f', .size = 4};
    memcpy(s->head.dims, array.dims, sizeof s->head.dims);
    s->lent = values;
    return CLQ_OK;
}

clq_status clq_arrays_set_fill(clq_arrays *arrays, clq_arrays_fill fill, void *context) {
    CLQ_NEEDS(arrays);
    CLQ_REQUIRE(fill, "fill must not be NULL");
    arrays->fill = fill;
    arrays->context = context;
    return CLQ_OK;
}

clq_status clq_arrays_set_labels(clq_arrays *arrays, const char *name) {
    CLQ_NEEDS(arrays, name);
    const int index = find(arrays, name);
    if (index < 0) {
        return clq_fail(CLQ_USAGE, "%s: has no array \"%s\"", arrays->path, name);
    }
    const int rank = arrays->streams[index].head.rank;
    if (rank != 1 && rank != 3) {
        return clq_fail(CLQ_USAGE, "%s: array \"%s\" has %d axes, labels have 1 or, of pixels, 3",
                        arrays->path, name, rank);
    }
    arrays->labels = index;
    return CLQ_OK;
}

int clq_arrays_labels(const clq_arrays *arrays) {
    CLQ_NEEDS_OR(-1, arrays);
    return arrays->labels;
}

clq_status clq_arrays_set_order(clq_arrays *arrays, clq_order order) {
    CLQ_NEEDS(arrays);
    CLQ_REQUIRE((unsigned)order < CLQ_ORDER_COUNT, "order is not known");
    arrays->order = order;
    return CLQ_OK;
}

clq_order clq_arrays_order(const clq_arrays *arrays) {
    CLQ_NEEDS_OR(CLQ_ORDER_MODEL, arrays);
    return arrays->order;
}

/* ---- reading ---- */

static int64_t row_size(const stream *s) {
    return s->head.count / s->head.dims[0];
}

static clq_status read_exactly(stream *s, void *data, size_t size) {
    size_t got = 0;
    CLQ_TRY(read_bytes(s, data, size, &got));
    return got == size ? CLQ_OK : clq_fail(CLQ_BAD_DATA, "%s: the file is cut off", s->label);
}

/* Numbers from where the stream stands; `values` NULL: passes over them. In Fortran order all. */
static clq_status read_numbers(stream *s, int64_t first, int64_t count, float *values) {
    const int64_t part = s->head.fortran ? count : CHUNK_BYTES / s->head.size;
    const size_t room = (size_t)(count < part ? count : part) * (size_t)s->head.size;
    clq_status status = CLQ_OK;
    char *bytes = clq_realloc(NULL, room, 1);
    if (!bytes) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t done = 0; done < count;) {
        const int64_t n = count - done < part ? count - done : part;
        CLQ_GOTO(status, cleanup, read_exactly(s, bytes, (size_t)n * (size_t)s->head.size));
        if (values) {
            CLQ_GOTO(status, cleanup,
                     clq_npy_floats(s->label, &s->head, bytes, first + done, n, values + done));
        }
        done += n;
    }
cleanup:
    clq_free(bytes);
    return status;
}

/* Behind the last row: what libzip then finds out about the checksum. */
static clq_status check_end(stream *s) {
    char more;
    size_t got = 0;
    CLQ_TRY(read_bytes(s, &more, 1, &got));
    close_stream(s);
    return CLQ_OK;
}

static clq_status go_to(const clq_arrays *arrays, stream *s, int64_t row) {
    char head[CLQ_FILE_HEAD];
    uint64_t size = 0;
    if ((!s->file && !s->packed) || row < s->row) {
        CLQ_TRY(open_stream(arrays, s, &size));
        CLQ_TRY(read_exactly(s, head, s->head.start));
    }
    CLQ_TRY(read_numbers(s, 0, (row - s->row) * row_size(s), NULL));
    s->row = row;
    return CLQ_OK;
}

static clq_status read_rows(const clq_arrays *arrays, stream *s, int64_t first, int64_t count,
                            float *values) {
    CLQ_TRY(go_to(arrays, s, first));
    CLQ_TRY(read_numbers(s, first * row_size(s), count * row_size(s), values));
    s->row = first + count;
    return s->row == s->head.dims[0] ? check_end(s) : CLQ_OK;
}

static clq_status read_whole(const clq_arrays *arrays, stream *s) {
    if (s->head.count > MAX_WHOLE_BYTES / (int64_t)sizeof(float)) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: is in Fortran order and takes over 4 GiB: save it in C order, "
                        "numpy.ascontiguousarray",
                        s->label);
    }
    float *whole = clq_calloc((size_t)s->head.count, sizeof *whole);
    if (!whole) {
        return CLQ_NO_MEMORY;
    }
    const clq_status status = read_rows(arrays, s, 0, s->head.dims[0], whole);
    if (status != CLQ_OK) {
        clq_free(whole);
        return status;
    }
    s->whole = whole;
    return CLQ_OK;
}

static clq_status check_finite(const stream *s, int64_t first, int64_t count, const float *values) {
    for (int64_t i = 0; i < count; i++) {
        if (!(values[i] - values[i] == 0)) {
            return clq_fail(CLQ_BAD_DATA, "array \"%s\": number %lld is not finite", s->name,
                            (long long)(first + i));
        }
    }
    return CLQ_OK;
}

/* Has rows made, of all arrays that are. */
static clq_status make_rows(clq_arrays *arrays, int64_t first, int64_t count) {
    float *values[MAX_ARRAYS];
    int made = 0;
    if (!arrays->fill) {
        return clq_fail(CLQ_USAGE, "%s: some have neither values nor a function that makes them",
                        arrays->path);
    }
    for (int i = 0; i < arrays->count; i++) {
        stream *s = &arrays->streams[i];
        if (s->lent) {
            continue;
        }
        if (count > arrays->room || !s->made) {
            const int64_t room = count > arrays->room ? count : arrays->room;
            float *grown = clq_realloc(s->made, (size_t)(room * row_size(s)), sizeof *grown);
            if (!grown) {
                return CLQ_NO_MEMORY;
            }
            s->made = grown;
        }
        values[made++] = s->made;
    }
    arrays->room = count > arrays->room ? count : arrays->room;
    arrays->made = 0;
    CLQ_TRY(arrays->fill(arrays->context, first, count, values));
    arrays->first_made = first;
    arrays->made = count;
    return CLQ_OK;
}

static clq_status read_own(clq_arrays *arrays, stream *s, int64_t first, int64_t count,
                           float *values) {
    const int64_t size = row_size(s);
    if (!s->lent && (first != arrays->first_made || count != arrays->made)) {
        CLQ_TRY(make_rows(arrays, first, count));
    }
    const float *from = s->lent ? s->lent + first * size : s->made;
    memcpy(values, from, (size_t)(count * size) * sizeof *values);
    return check_finite(s, first * size, count * size, values);
}

static clq_status check_integers(const stream *s, int64_t first, int64_t count,
                                 const float *values) {
    for (int64_t i = 0; s->head.kind != 'f' && i < count; i++) {
        if (values[i] >= 0x1p24f || values[i] <= -0x1p24f) {
            return clq_fail(CLQ_BAD_DATA,
                            "%s: number %lld is %.0f, and integers from 2^24 on do not fit float32",
                            s->label, (long long)(first + i), (double)values[i]);
        }
    }
    return CLQ_OK;
}

clq_status clq_arrays_read(clq_arrays *arrays, int index, int64_t first, int64_t count,
                           float *values) {
    CLQ_NEEDS(arrays, values);
    CLQ_REQUIRE(index >= 0 && index < arrays->count, "index must be that of an array");
    stream *s = &arrays->streams[index];
    const int64_t rows = s->head.dims[0], size = row_size(s);
    CLQ_REQUIRE(first >= 0 && count >= 1 && first < rows && count <= rows - first,
                "first and count must be rows of the array");
    if (arrays->rows > 0) {
        return read_own(arrays, s, first, count, values);
    }
    if (s->head.fortran && !s->whole) {
        CLQ_TRY(read_whole(arrays, s));
    }
    if (s->whole) {
        memcpy(values, s->whole + first * size, (size_t)(count * size) * sizeof *values);
    } else {
        CLQ_TRY(read_rows(arrays, s, first, count, values));
    }
    return check_integers(s, first * size, count * size, values);
}

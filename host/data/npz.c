/* A .npz file is a zip archive of .npy files. Entries are stored, as numpy.savez stores them: local
 * header and file for each, then a directory. Sizes past 32 bits go to zip64 fields. */
#include "data/npz.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ZLIB_CONST
#include <zlib.h>

#include "base/arguments.h"
#include "base/files.h"
#include "base/text.h"
#include "data/npy.h"

enum { CHUNK = 1 << 16, MAX_TYPE = 24 };

/* A nameless file, written and then read once. */
typedef struct scratch {
    int write, read; /* descriptors, -1: none */
} scratch;

typedef struct entry {
    char *name; /* with ".npy" */
    char type[MAX_TYPE];
    int64_t dims[CLQ_NPY_MAX_RANK]; /* dims[0] counts the rows */
    int rank;
    uint64_t row_bytes, bytes; /* bytes: of all rows */
    uLong crc;                 /* of the rows, then of the whole .npy file */
    scratch rows;
    uint64_t offset; /* in the archive */
} entry;

struct clq_npz_writer {
    char *path;
    clq_writer *file;
    entry *entries;
    int count;
    bool single; /* a .npy file */
};

/* ---- nameless files ---- */

static int open_retrying(const char *path, int flags) {
    int fd;
    do {
        fd = clq_file_ops_now()->open(path, flags | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static void close_scratch(scratch *s) {
    if (s->write >= 0) {
        clq_file_ops_now()->close(s->write);
    }
    if (s->read >= 0) {
        clq_file_ops_now()->close(s->read);
    }
    *s = (scratch){-1, -1};
}

static bool create_in(const char *folder, const char *name, scratch *s) {
    static atomic_uint serial;
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/.%s.%ld-rows%u.tmp", folder, name, (long)getpid(),
                 atomic_fetch_add(&serial, 1)) >= (int)sizeof path) {
        return false;
    }
    s->write = open_retrying(path, O_WRONLY | O_CREAT | O_EXCL);
    s->read = s->write < 0 ? -1 : open_retrying(path, O_RDONLY);
    if (s->write >= 0) {
        clq_file_ops_now()->unlink(path);
    }
    if (s->read < 0) {
        close_scratch(s);
    }
    return s->read >= 0;
}

/* Beside the archive, where there is room for it; where that is a folder of devices, in /tmp. */
static clq_status create_scratch(const char *path, scratch *s) {
    char *folder = clq_path_folder(path);
    if (!folder) {
        return CLQ_NO_MEMORY;
    }
    const bool made = create_in(folder, clq_path_basename(path), s) ||
                      create_in("/tmp", clq_path_basename(path), s);
    clq_free(folder);
    return made ? CLQ_OK
                : clq_fail(CLQ_CANNOT_CREATE, "%s: no file can be made for its rows: %s", path,
                           strerror(errno));
}

/* Adds bytes to an entry. */
static clq_status write_rows(const char *path, entry *e, const uint8_t *data, size_t size) {
    e->crc = crc32_z(e->crc, data, size);
    e->bytes += size;
    while (size > 0) {
        const int64_t n = clq_file_ops_now()->write(e->rows.write, data, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return clq_fail(CLQ_IO, "%s: cannot keep its rows: %s", path,
                            n < 0 ? strerror(errno) : "nothing is written");
        }
        data += n;
        size -= (size_t)n;
    }
    return CLQ_OK;
}

static clq_status copy_rows(clq_npz_writer *w, entry *e) {
    uint8_t chunk[CHUNK];
    for (uint64_t left = e->bytes; left > 0;) {
        const int64_t n =
            clq_file_ops_now()->read(e->rows.read, chunk, left < CHUNK ? (size_t)left : CHUNK);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return clq_fail(CLQ_IO, "%s: cannot read its rows again", w->path);
        }
        CLQ_TRY(clq_writer_write(w->file, chunk, (size_t)n));
        left -= (uint64_t)n;
    }
    return CLQ_OK;
}

/* ---- arrays ---- */

clq_status clq_npz_open(const char *path, clq_npz_writer **out) {
    clq_status status = CLQ_NO_MEMORY;
    *out = NULL;
    clq_npz_writer *w = clq_calloc(1, sizeof *w);
    if (!w) {
        return CLQ_NO_MEMORY;
    }
    w->path = clq_strdup(path);
    if (w->path) {
        status = clq_writer_open(path, &w->file);
    }
    if (status != CLQ_OK) {
        clq_npz_abort(&w);
        return status;
    }
    *out = w;
    return CLQ_OK;
}

clq_status clq_npz_open_single(const char *path, clq_npz_writer **writer) {
    CLQ_TRY(clq_npz_open(path, writer));
    (*writer)->single = true;
    return CLQ_OK;
}

static clq_status add_entry(clq_npz_writer *w, const char *name, const char *type,
                            const int64_t *dims, int rank, uint64_t number_bytes) {
    CLQ_REQUIRE(rank >= 0 && rank < CLQ_NPY_MAX_RANK, "rows have up to 4 dimensions");
    CLQ_REQUIRE(!w->single || w->count == 0, "a .npy file holds one array");
    for (int i = 0; i < w->count; i++) {
        const size_t length = strlen(name);
        if (strncmp(w->entries[i].name, name, length) == 0 &&
            strcmp(w->entries[i].name + length, ".npy") == 0) {
            return clq_fail(CLQ_USAGE, "%s: two arrays are named \"%s\"", w->path, name);
        }
    }
    entry *grown = clq_realloc(w->entries, (size_t)w->count + 1, sizeof *grown);
    if (!grown) {
        return CLQ_NO_MEMORY;
    }
    w->entries = grown;
    entry *e = &grown[w->count];
    *e = (entry){.rank = rank + 1, .row_bytes = number_bytes, .rows = {-1, -1}};
    for (int d = 0; d < rank; d++) {
        e->dims[d + 1] = dims[d];
        e->row_bytes *= (uint64_t)dims[d];
    }
    snprintf(e->type, sizeof e->type, "%s", type);
    e->crc = crc32_z(0, NULL, 0);
    e->name = clq_format("%s.npy", name);
    if (!e->name) {
        return CLQ_NO_MEMORY;
    }
    if (strlen(e->name) > UINT16_MAX) {
        clq_free(e->name);
        return clq_fail(CLQ_USAGE, "%s: the name of an array is too long", w->path);
    }
    w->count++;
    return create_scratch(w->path, &e->rows);
}

clq_status clq_npz_add(clq_npz_writer *writer, const char *name, const int64_t *dims, int rank,
                       int *index) {
    *index = writer->count;
    return add_entry(writer, name, "<f4", dims, rank, sizeof(float));
}

clq_status clq_npz_append(clq_npz_writer *writer, int index, const float *rows, int64_t count) {
    entry *e = &writer->entries[index];
    uint8_t chunk[CHUNK];
    size_t left = (size_t)count * (size_t)(e->row_bytes / sizeof(float));
    e->dims[0] += count;
    while (left > 0) {
        const size_t n = left < CHUNK / 4 ? left : CHUNK / 4;
        clq_npy_put_floats(rows, n, chunk);
        CLQ_TRY(write_rows(writer->path, e, chunk, 4 * n));
        rows += n;
        left -= n;
    }
    return CLQ_OK;
}

/* The character at *text, which moves on; a byte that is part of none as Python's surrogateescape
 * has it. */
static uint32_t next_character(const char **text) {
    const uint8_t *at = (const uint8_t *)*text;
    const size_t length = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    char one[5] = "";
    for (size_t i = 0; i < length && at[i]; i++) {
        one[i] = (char)at[i];
    }
    if (length > 1 && (strlen(one) < length || !clq_is_utf8(one))) {
        (*text)++;
        return 0xdc00u + at[0];
    }
    uint32_t character = length == 1 ? at[0] : at[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        character = character << 6 | (at[i] & 0x3f);
    }
    *text += length;
    return character;
}

static size_t count_characters(const char *text) {
    size_t count = 0;
    while (*text) {
        next_character(&text);
        count++;
    }
    return count;
}

clq_status clq_npz_add_strings(clq_npz_writer *writer, const char *name, const char *const *texts,
                               int64_t count) {
    size_t longest = 1;
    char type[MAX_TYPE];
    for (int64_t i = 0; i < count; i++) {
        const size_t length = count_characters(texts[i]);
        longest = length > longest ? length : longest;
    }
    snprintf(type, sizeof type, "<U%zu", longest);
    CLQ_TRY(add_entry(writer, name, type, NULL, 0, 4 * longest));
    entry *e = &writer->entries[writer->count - 1];
    e->dims[0] = count;
    for (int64_t i = 0; i < count; i++) {
        const char *at = texts[i];
        for (size_t c = 0; c < longest; c++) {
            const uint32_t code = *at ? next_character(&at) : 0;
            const uint8_t bytes[4] = {(uint8_t)code, (uint8_t)(code >> 8), (uint8_t)(code >> 16),
                                      (uint8_t)(code >> 24)};
            CLQ_TRY(write_rows(writer->path, e, bytes, sizeof bytes));
        }
    }
    return CLQ_OK;
}

/* ---- the archive ---- */

#define ZIP64 UINT64_C(0xffffffff) /* in a 32-bit field: the number stands elsewhere */

typedef struct bytes {
    uint8_t data[128];
    size_t size;
} bytes;

static void put(bytes *b, uint64_t number, int size) {
    for (int i = 0; i < size; i++) {
        b->data[b->size++] = (uint8_t)(number >> (8 * i));
    }
}

static bool is_large(uint64_t number) {
    return number >= ZIP64;
}

/* What local headers and the directory both say, from the version that is needed on. */
static void put_common(bytes *b, const entry *e, size_t extra) {
    const uint64_t size = CLQ_NPY_HEADER + e->bytes;
    put(b, extra ? 45 : 20, 2);
    put(b, 1 << 11, 2); /* names are UTF-8 */
    put(b, 0, 2);       /* stored */
    put(b, 0, 2);       /* no time: */
    put(b, 0x21, 2);    /* 1 January 1980 */
    put(b, e->crc, 4);
    put(b, is_large(size) ? ZIP64 : size, 4);
    put(b, is_large(size) ? ZIP64 : size, 4);
    put(b, strlen(e->name), 2);
    put(b, extra, 2);
}

static clq_status write_entry(clq_npz_writer *w, entry *e) {
    const uint64_t size = CLQ_NPY_HEADER + e->bytes;
    char header[CLQ_NPY_HEADER];
    bytes b = {.size = 0};
    clq_npy_make_header(e->type, e->dims, e->rank, header);
    e->crc = crc32_combine(crc32_z(crc32_z(0, NULL, 0), (const Bytef *)header, sizeof header),
                           e->crc, (z_off_t)e->bytes);
    e->offset = clq_writer_size(w->file);
    put(&b, 0x04034b50, 4);
    put_common(&b, e, is_large(size) ? 20 : 0);
    CLQ_TRY(clq_writer_write(w->file, b.data, b.size));
    CLQ_TRY(clq_writer_write(w->file, e->name, strlen(e->name)));
    if (is_large(size)) {
        b.size = 0;
        put(&b, 1, 2), put(&b, 16, 2), put(&b, size, 8), put(&b, size, 8);
        CLQ_TRY(clq_writer_write(w->file, b.data, b.size));
    }
    CLQ_TRY(clq_writer_write(w->file, header, sizeof header));
    return copy_rows(w, e);
}

static clq_status write_directory_entry(clq_npz_writer *w, const entry *e) {
    const uint64_t size = CLQ_NPY_HEADER + e->bytes;
    bytes b = {.size = 0}, extra = {.size = 0};
    if (is_large(size)) {
        put(&extra, size, 8), put(&extra, size, 8);
    }
    if (is_large(e->offset)) {
        put(&extra, e->offset, 8);
    }
    put(&b, 0x02014b50, 4);
    put(&b, 45, 2);
    put_common(&b, e, extra.size ? 4 + extra.size : 0);
    put(&b, 0, 2), put(&b, 0, 2), put(&b, 0, 2); /* comment, disk, text or not */
    put(&b, 0, 4);
    put(&b, is_large(e->offset) ? ZIP64 : e->offset, 4);
    CLQ_TRY(clq_writer_write(w->file, b.data, b.size));
    CLQ_TRY(clq_writer_write(w->file, e->name, strlen(e->name)));
    if (extra.size) {
        b.size = 0;
        put(&b, 1, 2), put(&b, extra.size, 2);
        CLQ_TRY(clq_writer_write(w->file, b.data, b.size));
        CLQ_TRY(clq_writer_write(w->file, extra.data, extra.size));
    }
    return CLQ_OK;
}

static clq_status write_directory(clq_npz_writer *w) {
    const uint64_t start = clq_writer_size(w->file), count = (uint64_t)w->count;
    bytes b = {.size = 0};
    for (int i = 0; i < w->count; i++) {
        CLQ_TRY(write_directory_entry(w, &w->entries[i]));
    }
    const uint64_t end = clq_writer_size(w->file), size = end - start;
    if (is_large(start) || is_large(size)) {
        put(&b, 0x06064b50, 4), put(&b, 44, 8), put(&b, 45, 2), put(&b, 45, 2);
        put(&b, 0, 4), put(&b, 0, 4), put(&b, count, 8), put(&b, count, 8);
        put(&b, size, 8), put(&b, start, 8);
        put(&b, 0x07064b50, 4), put(&b, 0, 4), put(&b, end, 8), put(&b, 1, 4);
    }
    put(&b, 0x06054b50, 4), put(&b, 0, 2), put(&b, 0, 2), put(&b, count, 2), put(&b, count, 2);
    put(&b, is_large(size) ? ZIP64 : size, 4);
    put(&b, is_large(start) ? ZIP64 : start, 4);
    put(&b, 0, 2);
    return clq_writer_write(w->file, b.data, b.size);
}

static clq_status write_single(clq_npz_writer *w) {
    char header[CLQ_NPY_HEADER];
    CLQ_REQUIRE(w->count == 1, "a .npy file holds one array");
    entry *e = &w->entries[0];
    clq_npy_make_header(e->type, e->dims, e->rank, header);
    CLQ_TRY(clq_writer_write(w->file, header, sizeof header));
    return copy_rows(w, e);
}

static clq_status write_archive(clq_npz_writer *w) {
    for (int i = 0; i < w->count; i++) {
        CLQ_TRY(write_entry(w, &w->entries[i]));
    }
    return write_directory(w);
}

clq_status clq_npz_commit(clq_npz_writer **writer) {
    clq_npz_writer *w = *writer;
    clq_status status = CLQ_OK;
    CLQ_GOTO(status, cleanup, w->single ? write_single(w) : write_archive(w));
    status = clq_writer_commit(&w->file);
cleanup:
    clq_npz_abort(writer);
    return status;
}

void clq_npz_abort(clq_npz_writer **writer) {
    clq_npz_writer *w = *writer;
    *writer = NULL;
    if (w) {
        clq_writer_abort(&w->file);
        for (int i = 0; i < w->count; i++) {
            close_scratch(&w->entries[i].rows);
            clq_free(w->entries[i].name);
        }
        clq_free(w->entries);
        clq_free(w->path);
        clq_free(w);
    }
}

#include "data/gzip.h"

#include <limits.h>

#define ZLIB_CONST
#include <zlib.h>

enum { GZIP_ONLY = 16 }; /* added to zlib's window bits */

bool clq_is_gzip(const void *data, size_t size) {
    const uint8_t *b = data;
    return size >= 2 && b[0] == 0x1f && b[1] == 0x8b;
}

static voidpf allocate(voidpf context, uInt count, uInt size) {
    (void)context;
    return clq_calloc(count, size);
}

static void release(voidpf context, voidpf pointer) {
    (void)context;
    clq_free(pointer);
}

static uInt part(size_t size) {
    return size < UINT_MAX ? (uInt)size : UINT_MAX;
}

/* A file may be several gzip streams, one after the other. */
static clq_status unpack(const char *name, z_stream *z, const uint8_t *data, size_t size,
                         uint8_t *out, size_t room, size_t *got) {
    const uint8_t *const end = data + size;
    *got = 0;
    z->next_in = data;
    while (*got < room) {
        z->avail_in = part((size_t)(end - z->next_in));
        z->next_out = out + *got;
        z->avail_out = part(room - *got);
        const int result = inflate(z, Z_NO_FLUSH);
        *got = (size_t)(z->next_out - out);
        if (result == Z_STREAM_END && z->next_in < end && inflateReset(z) == Z_OK) {
            continue;
        }
        if (result == Z_STREAM_END) {
            return CLQ_OK;
        }
        if (result == Z_MEM_ERROR) {
            return clq_fail(CLQ_NO_MEMORY, "%s: cannot unpack", name);
        }
        if (result != Z_OK) {
            return clq_fail(CLQ_BAD_DATA, "%s: the gzip file is %s", name,
                            result == Z_BUF_ERROR ? "cut off" : "damaged");
        }
    }
    return CLQ_OK;
}

clq_status clq_gunzip(const char *name, const void *data, size_t size, void *out, size_t room,
                      size_t *got) {
    z_stream z = {.zalloc = allocate, .zfree = release};
    if (inflateInit2(&z, MAX_WBITS + GZIP_ONLY) != Z_OK) {
        return clq_fail(CLQ_NO_MEMORY, "%s: cannot unpack", name);
    }
    const clq_status status = unpack(name, &z, data, size, out, room, got);
    inflateEnd(&z);
    return status;
}

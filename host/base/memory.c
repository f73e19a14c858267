/* The replaceable allocator. */
#include "clquant/base.h"

#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/json.h"

static clq_allocator custom; /* .reallocate is NULL while the C library's allocator is in use */

/* ---- jansson's allocator while a custom one is in use ---- */

_Thread_local bool clq_json_parsing, clq_json_exhausted;

/* Before each of jansson's blocks; as large as the strictest alignment. */
typedef union json_block {
    bool emergency; /* from the C library's allocator */
    max_align_t alignment;
} json_block;

/* jansson's parser goes on after some failed allocations, with a byte of a string less and then
 * past its end. So while it runs a failure is noted and the C library helps out. */
static void *json_allocate(size_t size) {
    json_block *block = size < PTRDIFF_MAX ? clq_realloc(NULL, size + sizeof *block, 1) : NULL;
    const bool failed = !block;
    if (failed && clq_json_parsing) {
        clq_json_exhausted = true;
        block = malloc(size + sizeof *block);
    }
    if (!block) {
        return NULL;
    }
    block->emergency = failed;
    return block + 1;
}

static void json_release(void *pointer) {
    json_block *block = pointer ? (json_block *)pointer - 1 : NULL;
    if (block && block->emergency) {
        free(block);
    } else {
        clq_free(block);
    }
}

/* ---- the allocator ---- */

void clq_set_allocator(const clq_allocator *allocator) {
    custom = allocator ? *allocator : (clq_allocator){0};
    /* jansson's trees too. Left alone by default, where it uses malloc and free like us. */
    json_set_alloc_funcs(allocator ? json_allocate : malloc, allocator ? json_release : free);
}

/* The byte count of a request, at least 1 so that a zero-sized one yields a pointer too. */
static bool request_size(size_t count, size_t size, size_t *bytes) {
    if (!clq_mul_size(count, size, bytes) || *bytes > PTRDIFF_MAX) {
        clq_fail(CLQ_NO_MEMORY, "out of memory: %zu x %zu bytes exceed the address space", count,
                 size);
        return false;
    }
    if (*bytes == 0) {
        *bytes = 1;
    }
    return true;
}

void *clq_calloc(size_t count, size_t size) {
    size_t bytes;
    if (!request_size(count, size, &bytes)) {
        return NULL;
    }
    void *pointer;
    if (custom.reallocate) {
        pointer = custom.reallocate(custom.context, NULL, bytes);
        if (pointer) {
            memset(pointer, 0, bytes);
        }
    } else {
        pointer = calloc(1, bytes); /* large blocks come as untouched zero pages */
    }
    if (!pointer) {
        clq_fail(CLQ_NO_MEMORY, "out of memory: %zu bytes asked for", bytes);
    }
    return pointer;
}

void *clq_realloc(void *pointer, size_t count, size_t size) {
    size_t bytes;
    if (!request_size(count, size, &bytes)) {
        return NULL;
    }
    void *grown = custom.reallocate ? custom.reallocate(custom.context, pointer, bytes)
                                    : realloc(pointer, bytes);
    if (!grown) {
        clq_fail(CLQ_NO_MEMORY, "out of memory: %zu bytes asked for", bytes);
    }
    return grown;
}

void clq_free(void *pointer) {
    if (!pointer) {
        return;
    }
    if (custom.reallocate) {
        custom.reallocate(custom.context, pointer, 0);
    } else {
        free(pointer);
    }
}

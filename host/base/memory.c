/* The replaceable allocator. */
#include "clquant/base.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/json.h"

static clq_allocator custom; /* .reallocate is NULL while the C library's allocator is in use */

_Thread_local bool clq_json_exhausted;

static void *allocate(size_t size) {
    void *pointer = clq_realloc(NULL, size, 1);
    clq_json_exhausted |= pointer == NULL;
    return pointer;
}

void clq_set_allocator(const clq_allocator *allocator) {
    custom = allocator ? *allocator : (clq_allocator){0};
    /* jansson's trees too. Left alone by default, where it uses malloc and free like us. */
    json_set_alloc_funcs(allocator ? allocate : malloc, allocator ? clq_free : free);
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

/* The replaceable allocator. */
#include "clquant/base.h"

#include <jansson.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/checked.h"
#include "base/json.h"

static clq_allocator custom; /* .reallocate is NULL while the C library's allocator is in use */

/* ---- jansson's allocator while a custom one is in use ---- */

_Thread_local bool clq_json_parsing, clq_json_exhausted;

/* A block of the C library's in place of one that the custom allocator refused. */
typedef struct emergency {
    struct emergency *next;
    max_align_t block[];
} emergency;

static _Thread_local emergency *emergencies;

/* jansson's parser goes on after some failed allocations, with a byte of a string less and then
 * past its end. So while it runs a failure is noted and the C library helps out. */
static void *json_allocate(size_t size) {
    void *block = clq_realloc(NULL, size, 1);
    clq_json_exhausted = clq_json_exhausted || !block;
    if (block || !clq_json_parsing || size > PTRDIFF_MAX - sizeof(emergency)) {
        return block;
    }
    emergency *help = malloc(sizeof *help + size);
    if (!help) {
        return NULL;
    }
    help->next = emergencies;
    emergencies = help;
    return help->block;
}

static void json_release(void *pointer) {
    for (emergency **link = &emergencies; *link; link = &(*link)->next) {
        emergency *help = *link;
        if (pointer == help->block) {
            *link = help->next;
            free(help);
            return;
        }
    }
    clq_free(pointer);
}

/* ---- the allocator ---- */

void clq_json_watch_memory(void) {
    json_set_alloc_funcs(json_allocate, json_release);
}

void clq_set_allocator(const clq_allocator *allocator) {
    custom = allocator ? *allocator : (clq_allocator){0};
    /* jansson's trees too. Left alone by default, where it uses malloc and free like us. */
    json_set_alloc_funcs(allocator ? json_allocate : malloc, allocator ? json_release : free);
}

static uint64_t machine_bytes;
static pthread_once_t machine_once = PTHREAD_ONCE_INIT;

static void ask_machine(void) {
    struct sysinfo info;
    machine_bytes = sysinfo(&info) == 0 ? ((uint64_t)info.totalram + info.totalswap) * info.mem_unit
                                        : UINT64_MAX;
}

/* The byte count of a request, at least 1 so that a zero-sized one yields a pointer too. */
static bool request_size(size_t count, size_t size, size_t *bytes) {
    if (!clq_mul_size(count, size, bytes) || *bytes > PTRDIFF_MAX) {
        clq_fail(CLQ_NO_MEMORY, "out of memory: %zu x %zu bytes exceed the address space", count,
                 size);
        return false;
    }
    pthread_once(&machine_once, ask_machine);
    if (*bytes > machine_bytes) { /* malloc may promise it, and the system then ends the process */
        clq_fail(CLQ_NO_MEMORY, "out of memory: %.1f GB asked for, this machine has %.1f GB",
                 (double)*bytes / 1e9, (double)machine_bytes / 1e9);
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

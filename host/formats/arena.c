#include "formats/arena.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/numbers.h"

enum { ALIGNMENT = 16, BLOCK_SIZE = 64 * 1024, LARGE = BLOCK_SIZE / 4 };

struct clq_arena_block {
    clq_arena_block *older;
    size_t unused; /* keeps what follows 16-byte aligned */
};

static clq_status add_block(clq_arena *arena, size_t size, char **data) {
    size_t total;
    if (!clq_add_size(size, sizeof(clq_arena_block), &total)) {
        return clq_fail(CLQ_NO_MEMORY, "out of memory: %zu bytes asked for", size);
    }
    clq_arena_block *block = clq_calloc(1, total);
    if (!block) {
        return CLQ_NO_MEMORY;
    }
    block->older = arena->blocks;
    arena->blocks = block;
    *data = (char *)(block + 1);
    return CLQ_OK;
}

clq_status clq_arena_take(clq_arena *arena, size_t count, size_t size, void **out) {
    size_t bytes, used;
    if (!clq_mul_size(count, size, &bytes) || !clq_round_up_size(bytes, ALIGNMENT, &bytes) ||
        !clq_add_size(arena->used, bytes, &used)) {
        return clq_fail(CLQ_NO_MEMORY, "out of memory: %zu x %zu bytes asked for", count, size);
    }
    if (arena->limit && used > arena->limit) {
        return clq_fail(CLQ_BAD_DATA,
                        "needs more than %zu bytes of working memory, out of "
                        "proportion to the file",
                        arena->limit);
    }
    char *data = NULL;
    if (bytes > LARGE) {
        CLQ_TRY(add_block(arena, bytes, &data));
    } else {
        if (bytes > arena->left) {
            CLQ_TRY(add_block(arena, BLOCK_SIZE, &arena->next));
            arena->left = BLOCK_SIZE;
        }
        data = arena->next;
        arena->next += bytes;
        arena->left -= bytes;
    }
    arena->used = used;
    *out = data;
    return CLQ_OK;
}

clq_status clq_arena_copy(clq_arena *arena, const void *data, size_t size, void **out) {
    CLQ_TRY(clq_arena_take(arena, size, 1, out));
    if (size > 0) {
        memcpy(*out, data, size);
    }
    return CLQ_OK;
}

clq_status clq_arena_format(clq_arena *arena, char **out, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = clq_vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        return clq_fail(CLQ_INTERNAL, "a name cannot be formatted");
    }
    void *text = NULL;
    CLQ_TRY(clq_arena_take(arena, (size_t)length + 1, 1, &text));
    va_start(arguments, format);
    clq_vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    *out = text;
    return CLQ_OK;
}

void clq_arena_free(clq_arena *arena) {
    for (clq_arena_block *block = arena->blocks; block;) {
        clq_arena_block *older = block->older;
        clq_free(block);
        block = older;
    }
    *arena = (clq_arena){.limit = arena->limit};
}

/* Memory that is given back all at once: what loading or saving one file needs meanwhile. */
#ifndef CLQ_FORMATS_ARENA_H
#define CLQ_FORMATS_ARENA_H

#include <clquant/base.h>

typedef struct clq_arena_block clq_arena_block;

typedef struct clq_arena {
    clq_arena_block *blocks;
    char *next;   /* free bytes of the newest shared block */
    size_t left;  /* how many */
    size_t used;  /* bytes handed out */
    size_t limit; /* of `used`; 0: none */
} clq_arena;      /* starts zeroed */

/* `count * size` zeroed bytes, 16-byte aligned, valid until clq_arena_free. CLQ_NO_MEMORY, or
 * CLQ_BAD_DATA when the arena's limit would be passed: then a file asks for far more than it holds.
 */
clq_status clq_arena_take(clq_arena *arena, size_t count, size_t size, void **out);
clq_status clq_arena_copy(clq_arena *arena, const void *data, size_t size, void **out);
clq_status clq_arena_format(clq_arena *arena, char **out, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void clq_arena_free(clq_arena *arena); /* leaves it empty and usable */

#endif

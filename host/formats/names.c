#include "formats/names.h"

#include <string.h>

#include "base/hash.h"

/* The seed differs from run to run (address layout), so no file can aim for collisions. */
static uint64_t hash_name(const char *name) {
    static const char anchor;
    return clq_hash64_seeded(name, strlen(name), (uint64_t)(uintptr_t)&anchor);
}

/* The entry that has the name or the free one where it belongs. */
static clq_names_entry *locate(const clq_names *names, const char *name, uint64_t hash) {
    size_t mask = names->capacity - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        clq_names_entry *entry = &names->entries[i];
        if (!entry->name || (entry->hash == hash && strcmp(entry->name, name) == 0)) {
            return entry;
        }
    }
}

static clq_status grow(clq_names *names) {
    clq_names larger = {.count = names->count,
                        .capacity = names->capacity ? names->capacity * 2 : 64};
    larger.entries = clq_calloc(larger.capacity, sizeof *larger.entries);
    if (!larger.entries) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < names->capacity; i++) {
        const clq_names_entry *entry = &names->entries[i];
        if (entry->name) {
            *locate(&larger, entry->name, entry->hash) = *entry;
        }
    }
    clq_free(names->entries);
    *names = larger;
    return CLQ_OK;
}

int clq_names_find(const clq_names *names, const char *name) {
    if (names->count == 0) {
        return -1;
    }
    const clq_names_entry *entry = locate(names, name, hash_name(name));
    return entry->name ? entry->id : -1;
}

clq_status clq_names_set(clq_names *names, const char *name, int id) {
    if (names->count >= names->capacity / 4 * 3) {
        CLQ_TRY(grow(names));
    }
    uint64_t hash = hash_name(name);
    clq_names_entry *entry = locate(names, name, hash);
    names->count += entry->name == NULL;
    *entry = (clq_names_entry){entry->name ? entry->name : name, hash, id};
    return CLQ_OK;
}

void clq_names_free(clq_names *names) {
    clq_free(names->entries);
    *names = (clq_names){0};
}

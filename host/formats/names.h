/* A hash map from names to small numbers. */
#ifndef CLQ_FORMATS_NAMES_H
#define CLQ_FORMATS_NAMES_H

#include <clquant/base.h>

typedef struct clq_names_entry {
    const char *name; /* NULL: free */
    uint64_t hash;
    int id;
} clq_names_entry;

typedef struct clq_names {
    clq_names_entry *entries; /* (capacity), a power of two, at most 3/4 full */
    size_t count, capacity;
} clq_names; /* starts zeroed */

/* The id of a name, -1 when it is not there. */
int clq_names_find(const clq_names *names, const char *name);
/* Sets a name's id (>= 0). The name is not copied: it must outlive the map. */
clq_status clq_names_set(clq_names *names, const char *name, int id);
void clq_names_free(clq_names *names);

#endif

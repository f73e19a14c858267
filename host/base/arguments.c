#include "base/arguments.h"

#include <string.h>

clq_status clq_check_pointers(const char *function, const char *names, const void *const *pointers,
                              size_t count) {
    size_t first = 0; /* that is NULL */
    while (first < count && pointers[first]) {
        first++;
    }
    if (first == count) {
        return CLQ_OK;
    }
    for (; first > 0; first--) {
        names = strchr(names, ',') + 1; /* no argument has a comma of its own */
    }
    names += strspn(names, " ");
    return clq_fail(CLQ_USAGE, "%s: %.*s must not be NULL", function, (int)strcspn(names, ","),
                    names);
}

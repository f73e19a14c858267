/* What public functions demand of their arguments. Internal ones trust their callers. */
#ifndef CLQ_BASE_ARGUMENTS_H
#define CLQ_BASE_ARGUMENTS_H

#include "clquant/base.h"

/* CLQ_USAGE, naming the function and the first pointer that is NULL; `names` has them as the call
 * does, with commas. */
clq_status clq_check_pointers(const char *function, const char *names, const void *const *pointers,
                              size_t count);

#define CLQ_CHECK_POINTERS(...)                                                                    \
    clq_check_pointers(__func__, #__VA_ARGS__, (const void *const[]){__VA_ARGS__},                 \
                       sizeof((const void *const[]){__VA_ARGS__}) / sizeof(const void *))

/* Pointers that must not be NULL: CLQ_NEEDS(device, buffer). */
#define CLQ_NEEDS(...) CLQ_TRY(CLQ_CHECK_POINTERS(__VA_ARGS__))
/* The same in a function that returns something else: `value` then. The last error says why. */
#define CLQ_NEEDS_OR(value, ...)                                                                   \
    do {                                                                                           \
        if (CLQ_CHECK_POINTERS(__VA_ARGS__) != CLQ_OK) {                                           \
            return value;                                                                          \
        }                                                                                          \
    } while (0)

/* Any other rule, which the text (a literal) says: CLQ_REQUIRE(count >= 0, "count must be >= 0").
 */
#define CLQ_REQUIRE(condition, text)                                                               \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return clq_fail(CLQ_USAGE, "%s: " text, __func__);                                     \
        }                                                                                          \
    } while (0)

#endif

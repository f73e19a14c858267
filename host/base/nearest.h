/* The name that somebody meant. */
#ifndef CLQ_BASE_NEAREST_H
#define CLQ_BASE_NEAREST_H

#include <stddef.h>

/* Letters put in, left out, changed, or exchanged with their neighbour between two words; the case
 * of ASCII letters does not count. A word of more than 127 bytes is as far as it is long. */
size_t clq_word_distance(const char *a, const char *b);

/* The name nearest to `word` that is near enough to be a slip of it: one letter in three differs at
 * most, or the name begins with the word. NULL: none is. The first one of several. */
const char *clq_nearest(const char *word, const char *const *names, size_t count);

#endif

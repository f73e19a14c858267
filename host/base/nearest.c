#include "base/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { MAX_WORD = 127, SHORTEST_BEGINNING = 2 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* rows[i % 3][j]: distance of the first i letters of a from the first j of b. */
size_t clq_word_distance(const char *a, const char *b) {
    const size_t m = strlen(a), n = strlen(b);
    size_t rows[3][MAX_WORD + 1];
    if (m > MAX_WORD || n > MAX_WORD) {
        return m > n ? m : n;
    }
    for (size_t j = 0; j <= n; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= m; i++) {
        const size_t *above = rows[(i - 1) % 3];
        size_t *row = rows[i % 3];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            const int p = tolower((unsigned char)a[i - 1]), q = tolower((unsigned char)b[j - 1]);
            row[j] = least(above[j - 1] + (p != q), least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && p == tolower((unsigned char)b[j - 2]) &&
                q == tolower((unsigned char)a[i - 2])) {
                row[j] = least(row[j], rows[(i - 2) % 3][j - 2] + 1);
            }
        }
    }
    return rows[m % 3][n];
}

const char *clq_nearest(const char *word, const char *const *names, size_t count) {
    const size_t length = strlen(word), most = length < 3 ? 1 : length / 3;
    const char *nearest = NULL;
    size_t distance = most + 1;
    for (size_t i = 0; i < count; i++) {
        const bool begins =
            length >= SHORTEST_BEGINNING && strncasecmp(word, names[i], length) == 0;
        const size_t its = begins ? 1 : clq_word_distance(word, names[i]);
        if (its < distance && its < strlen(names[i])) {
            nearest = names[i];
            distance = its;
        }
    }
    return nearest;
}

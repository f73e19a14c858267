/* reduce_sum, reduce_mean, reduce_max and reduce_min of codes: x and y are bytes with pitch, rows as
 * in reduction.h by the strides of these bytes. Equations: requantize.h. A unit is a word of y. */
#include "int8_codes.h"
#include "reduction.h"
#include "requantizer.h"

/* Joins the four rows from k on, or the one at k, element by element; they start at `start`. Rows of
 * neighbouring channels lie in words. */
#define JOIN_WORD(start, JOIN, result)                                                             \
    int4 result;                                                                                   \
    if (rows_.ks2 == 1 && first + 4 <= channels && k % rows_.k2 + 4 <= rows_.k2) {                 \
        const int base = row_at(&rows_, k);                                                        \
        result = (int4)(start);                                                                    \
        for (int i = 0; i < n; i++) {                                                              \
            result = JOIN(result, codes_load4(x + AT(i)));                                         \
        }                                                                                          \
    } else {                                                                                       \
        int each[4] = {0, 0, 0, 0};                                                                \
        for (int j = 0; j < 4 && first + j < channels; j++) {                                      \
            const int base = row_at(&rows_, k + j);                                                \
            each[j] = start;                                                                       \
            for (int i = 0; i < n; i++) {                                                          \
                each[j] = JOIN(each[j], (int)x[AT(i)]);                                            \
            }                                                                                      \
        }                                                                                          \
        result = vload4(0, each);                                                                  \
    }
#define ADD(a, b) ((a) + (b))

/* Runs BODY for every word w of y, whose rows begin at k; `first` is their channel. */
#define FOR_WORDS(BODY)                                                                            \
    const int row_words = (channels + 3) / 4;                                                      \
    long w, end;                                                                                   \
    clq_share(words, 1, &w, &end);                                                                 \
    for (; w < end; w++) {                                                                         \
        const int first = (int)(w % row_words) * 4;                                                \
        const uint k = (uint)(w / row_words) * channels + first;                                   \
        BODY                                                                                       \
    }

/* f0 and f1: a mean's constants, as MEAN_INT takes them. */
__kernel void int8_reduce_sum(__global const uchar *x, __global uchar *y, int f0, int f1,
                              int x_zero, int zero, int lo, int hi, int words, int channels,
                              REDUCTION) {
    ROWS;
    FOR_WORDS(JOIN_WORD(0, ADD, total) total -= x_zero * n;
              codes_store4(MEAN_INT(4, total, f0, f1, zero, lo, hi), channels - first, y + w * 4);)
}

#if CLQ_REQUANT == 0 /* never runs in a program of another requantizer */

__kernel void int8_reduce_max(__global const uchar *x, __global uchar *y, int smallest, int words,
                              int channels, REDUCTION) {
    ROWS;
    FOR_WORDS(if (smallest) {
        JOIN_WORD(255, min, found)
        codes_store4(found, channels - first, y + w * 4);
    } else {
        JOIN_WORD(0, max, found)
        codes_store4(found, channels - first, y + w * 4);
    })
}

#endif

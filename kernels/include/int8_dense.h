/* Inputs of few channels, packed: an image's pixel is a word of which DENSE bytes count, so sums
 * over words would multiply zeros. The lines that a work-item's output rows see are packed into
 * private memory, DENSE bytes a pixel, with x_zero for what lies beside the image. The kw * DENSE
 * inputs of a line of taps then lie side by side. Words are made of them in this order, as weights
 * are packed:
 *
 *      whole words of line 0, of line 1, ..        where they lie
 *      what is left of line 0, of line 1, ..       copied into `tails`, one behind the other
 *
 * Words of 4 inputs only, no dilation, one group. The kernel defines MR, NV and DENSE. */
#ifndef CLQ_INT8_DENSE_H
#define CLQ_INT8_DENSE_H

#include "conv_int8.h"
#include "int8_rows.h"

typedef int dense_word __attribute__((aligned(1)));
typedef uchar dense_pixels16 __attribute__((ext_vector_type(64), aligned(1)));

typedef struct dense_lines {
    uchar bytes[CONV_DENSE_LINES];
    int rows[CONV_DENSE_ROWS]; /* where the lines of an output row begin */
    int pitch;                 /* of a line */
} dense_lines;

/* The inputs of a tile's pixels. */
typedef struct dense_tile {
    const uchar *from[MR];
    uchar tails[MR][CONV_DENSE_TAIL + 4] __attribute__((aligned(4)));
} dense_tile;

/* The pixel that is found next: its inputs, column, row among the item's, and pixels behind it. */
typedef struct dense_next {
    const uchar *from;
    int ox, row, left;
} dense_next;

/* Bytes first .. end - 1 become x_zero. */
static inline void dense_fill(uchar *to, int first, int end, const conv_int8 *s) {
    for (int b = first; b < end; b++)
        to[b] = (uchar)s->x_zero;
}

/* `width` pixels from pad_left before the image on; line NULL: all of them outside. */
static inline void pack_line(uchar *to, __global const uchar *line, int width, const conv_int8 *s) {
    const int left = line ? min(s->pad_left, width) : width;
    const int inside = min(s->iw, width - left);
    int at = left * DENSE, p = 0;
    dense_fill(to, 0, at, s);
#if DENSE == 3
    for (; p + 16 <= inside; p += 16, at += 48) {
        const dense_pixels16 v = *(__global const dense_pixels16 *)(line + p * 4);
        *(dense_pixels16 *)(to + at) = __builtin_shufflevector(
            v, v, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 20, 21, 22, 24, 25, 26, 28,
            29, 30, 32, 33, 34, 36, 37, 38, 40, 41, 42, 44, 45, 46, 48, 49, 50, 52, 53, 54, 56, 57,
            58, 60, 61, 62, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    }
#endif
    for (; p < inside; p++)
        for (int c = 0; c < DENSE; c++)
            to[at++] = line[p * 4 + c];
    dense_fill(to, at, width * DENSE, s);
}

/* The lines of the output rows that pixels first .. end - 1 lie in. Neighbouring rows of an image
 * share lines. */
static inline void pack_lines(dense_lines *lines, __global const uchar *x, const conv_int8 *s,
                              int first, int end) {
    const int width = (s->ow - 1) * s->stride_w + s->kw, last_row = (end - 1) / s->ow;
    const int first_row = first / s->ow;
    int at = 0, begin = 0, line = 0; /* rows' lines, those of an image, and the next of it */
    lines->pitch = width * DENSE + CONV_DENSE_GAP;
    for (int row = first_row; row <= last_row; row++) {
        const int n = row / s->oh, top = (row - n * s->oh) * s->stride_h;
        if (row == first_row || top == 0) {
            begin = at - top * lines->pitch;
            line = top;
        }
        lines->rows[row - first_row] = begin + top * lines->pitch;
        for (; line < top + s->kh; line++, at += lines->pitch) {
            const int iy = line - s->pad_top;
            pack_line(lines->bytes + at,
                      (uint)iy < (uint)s->ih ? x + ((long)n * s->ih + iy) * s->iw * s->in_pitch : 0,
                      width, s);
        }
    }
}

static inline dense_next first_dense(const dense_lines *lines, int first, int end,
                                     const conv_int8 *s) {
    const int ox = first % s->ow;
    const dense_next next = {lines->bytes + ox * s->stride_w * DENSE, ox, 0, end - 1 - first};
    return next;
}

/* Rows first .. end - 1 of a tile; those past the last pixel repeat it. */
static inline void find_dense(dense_tile *tile, int first, int end, const dense_lines *lines,
                              dense_next *next, const conv_int8 *s) {
    const int left = s->kw * DENSE % 4, whole = s->kw * DENSE - left;
    for (int i = first; i < end; i++) {
        const uchar *from = next->from + whole;
        uchar *tail = tile->tails[i];
        tile->from[i] = next->from;
        if (left) /* a word each, of which the next writes over what is too much */
            for (int ky = 0; ky < s->kh; ky++, from += lines->pitch, tail += left)
                *(dense_word *)tail = *(const dense_word *)from;
        if (next->left == 0)
            continue;
        next->left--;
        next->from += s->stride_w * DENSE;
        if (++next->ox == s->ow) {
            next->ox = 0;
            next->from = lines->bytes + lines->rows[++next->row];
        }
    }
}

/* acc += all inputs times the weights w of a block. Finds the rows of `other`, if not NULL, on the
 * way: between two tiles that would be more than the processor looks ahead, and sums would wait. */
DOT4_INLINE void add_dense(const dense_tile *tile, const dense_lines *lines, const conv_int8 *s,
                           __global const dotv_acc *w, dotv_acc *acc, dense_tile *other,
                           dense_next *next) {
    const int words = s->kw * DENSE / 4, tails = (s->kh * (s->kw * DENSE % 4) + 3) / 4;
    for (int ky = 0, at = 0; ky < s->kh; ky++, at += lines->pitch) {
        if (other)
            find_dense(other, ky * MR / s->kh, (ky + 1) * MR / s->kh, lines, next, s);
        for (int k = 0; k < words; k++, w += NV)
            TILE_STEP(*(const dense_word *)(tile->from[i] + at + 4 * k), w, acc)
    }
    for (int k = 0; k < tails; k++, w += NV)
        TILE_STEP(((const int *)tile->tails[i])[k], w, acc)
}

#endif

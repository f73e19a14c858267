/* Inputs of few channels, packed: an image's pixel is a word of which DENSE bytes count, so sums over
 * words would multiply zeros. The lines that an output row sees are packed into a ring of kh lines
 * in private memory, DENSE bytes a pixel, with x_zero for what lies beside the image. A row of the
 * panel is kh pieces of them, of kw pixels each, one behind the other. Words of 4 inputs only, no
 * dilation, one group. The kernel defines MR, KC and DENSE. */
#ifndef CLQ_INT8_DENSE_H
#define CLQ_INT8_DENSE_H

#include "conv_int8.h"
#include "int8_panel.h"

#define DENSE_PIECE 32 /* bytes moved at once; those too many are written over */

typedef int8 dense_piece __attribute__((aligned(1)));
typedef uchar dense_pixels16 __attribute__((ext_vector_type(64), aligned(1)));

typedef struct dense_lines {
    uchar bytes[CONV_DENSE_LINES];
    int image, row;          /* the output row whose lines are there; row -1: none */
    int at[CONV_DENSE_TAPS]; /* where its lines begin */
} dense_lines;

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

/* The lines of output row oy of image n, of which some may be those of the row before. */
static inline void take_lines(dense_lines *lines, __global const uchar *x, const conv_int8 *s,
                              int n, int oy) {
    const int width = (s->ow - 1) * s->stride_w + s->kw, first = oy * s->stride_h;
    const bool next = lines->row >= 0 && lines->image == n && lines->row + 1 == oy;
    const int pitch = width * DENSE + CONV_DENSE_GAP;
    for (int line = next ? max(first - s->stride_h + s->kh, first) : first; line < first + s->kh;
         line++) {
        const int iy = line - s->pad_top;
        pack_line(lines->bytes + line % s->kh * pitch,
                  (uint)iy < (uint)s->ih ? x + ((long)n * s->ih + iy) * s->iw * s->in_pitch : 0,
                  width, s);
    }
    for (int ky = 0; ky < s->kh; ky++)
        lines->at[ky] = (first + ky) % s->kh * pitch;
    lines->image = n;
    lines->row = oy;
}

/* Row i of the panel: the taps of output pixel (n, oy, ox). */
static inline void fill_dense(input_panel *panel, int i, __global const uchar *x,
                              const conv_int8 *s, int n, int oy, int ox, dense_lines *lines) {
    uchar *to = (uchar *)(panel->words + i * ROW);
    const int run = s->kw * DENSE;
    if (lines->row != oy || lines->image != n)
        take_lines(lines, x, s, n, oy);
    const uchar *column = lines->bytes + ox * s->stride_w * DENSE;
    for (int ky = 0; ky < s->kh; ky++, to += run)
        for (int b = 0; b < run; b += DENSE_PIECE)
            *(dense_piece *)(to + b) = *(const dense_piece *)(column + lines->at[ky] + b);
}

#endif

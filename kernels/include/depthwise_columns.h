/* What the int8 depthwise convolution reads and writes of a chunk of channels (CPU schedule,
 * conv2d_depthwise.cl): vectors of DOTV_PIECES pieces of 16 channels, of one column of the image
 * or, where the chunk has fewer pieces, of neighbouring columns. */
#ifndef CLQ_DEPTHWISE_COLUMNS_H
#define CLQ_DEPTHWISE_COLUMNS_H

#include "conv_int8.h"
#include "depthwise_chunks.h"
#include "int8_codes.h"
#include "planes.h"

#define PIECE DEPTHWISE_PIECE

/* At any multiple of 4 bytes. */
typedef dotv_acc any_vector __attribute__((aligned(4)));
typedef int4 any_piece __attribute__((aligned(4)));
#if DOTV_LANES == 16
typedef int8 any_half __attribute__((aligned(4)));
#elif DOTV_LANES == 8
typedef int4 any_half __attribute__((aligned(4)));
#else
typedef int2 any_half __attribute__((aligned(4)));
#endif

/* A chunk's channels of one image. */
typedef struct chunk {
    __global const uchar *image, *image_end;
    int first, left; /* its first channel, and how many there are from it on */
    int pieces;      /* of a column */
    int beside;      /* columns of a vector: DOTV_PIECES / pieces */
} chunk;

/* Of columns `step` bytes apart, all there. */
static inline dotv_acc load_columns(__global const uchar *from, int step, int pieces) {
#if DOTV_PIECES > 1
    if (pieces < DOTV_PIECES) {
        int4 parts[DOTV_PIECES];
#pragma unroll
        for (int i = 0; i < DOTV_PIECES; i++)
            parts[i] = *(__global const any_piece *)(from + (pieces == 1 ? i : i / 2) * step +
                                                     (pieces == 1 ? 0 : i % 2 * PIECE));
        return DOTV_JOIN_PIECES(parts);
    }
#endif
    return *(__global const any_vector *)from;
}

/* 16 channels of which `left` are the chunk's; what follows the others is read up to `end`. */
static inline int4 load_piece(__global const uchar *from, int left, __global const uchar *end) {
    int words[4] = {0, 0, 0, 0};
    if (left >= PIECE || from + PIECE <= end)
        return *(__global const any_piece *)from;
    for (int i = 0; i * 4 < left; i++)
        words[i] = ((__global const int *)from)[i];
    return vload4(0, words);
}

/* Of columns from `first` to before `last` `step` bytes apart, which are at `from`; others read
 * `outside`. */
static inline dotv_acc load_some(const chunk *k, __global const uchar *from, int step, int first,
                                 int last, __global const uchar *end, int4 outside) {
    int4 parts[DOTV_PIECES];
#pragma unroll
    for (int i = 0; i < DOTV_PIECES; i++) {
        const int column = i / k->pieces;
        parts[i] = outside;
        if (column >= first && column < last)
            parts[i] = load_piece(from + (long)column * step + i % k->pieces * PIECE, k->left, end);
    }
    return DOTV_JOIN_PIECES(parts);
}

/* The channels that are the chunk's, and zeros up to a multiple of 4. */
static inline void store_piece(int4 codes, __global uchar *y, int left) {
    int words[4];
    if (left >= PIECE) {
        *(__global any_piece *)y = codes;
        return;
    }
    vstore4(codes, 0, words);
    for (int c = 0; c < left; c += 4)
        codes_store4(convert_int4(as_uchar4(words[c / 4])), left - c, y + c);
}

/* The first `count` columns. */
static inline void store_columns(const chunk *k, dotv_acc codes, __global uchar *y, int step,
                                 int count) {
    int4 parts[DOTV_PIECES];
    if (k->pieces == DOTV_PIECES && k->left >= PIECE) {
        *(__global any_vector *)y = codes;
        return;
    }
    DOTV_SPLIT_PIECES(codes, parts);
#pragma unroll
    for (int i = 0; i < DOTV_PIECES; i++)
        if (i / k->pieces < count)
            store_piece(parts[i], y + (long)(i / k->pieces) * step + i % k->pieces * PIECE,
                        k->left);
}

/* All columns of a vector, all of whose channels are the chunk's. */
DOT4_INLINE void store_whole(dotv_acc codes, __global uchar *y, int pitch, int pieces) {
    int4 parts[DOTV_PIECES];
    DOTV_SPLIT_PIECES(codes, parts);
    if (pieces == DOTV_PIECES) {
        *(__global any_vector *)y = codes;
        return;
    }
    if (pieces == DOTV_PIECES / 2) {
        *(__global any_half *)y = codes.lo;
        *(__global any_half *)(y + pitch) = codes.hi;
        return;
    }
#pragma unroll
    for (int i = 0; i < DOTV_PIECES; i++)
        *(__global any_piece *)(y + i / pieces * pitch + i % pieces * PIECE) = parts[i];
}

/* ---- rows of a window ---- */

typedef struct window_rows {
    __global const uchar *at[DOTV_STEP]; /* column 0 */
    int pitch[DOTV_STEP];                /* 0: the row is outside, and all its columns are one */
} window_rows;

/* Rows ky .. of the window whose first row is y0. */
static inline window_rows rows_of_window(const chunk *k, int y0, int ky, const conv_int8 *s,
                                         __global const uchar *outside) {
    window_rows rows;
    for (int j = 0; j < DOTV_STEP; j++) {
        const int iy = y0 + (ky + j) * s->dilation_h;
        const bool inside = ky + j < s->kh && (uint)iy < (uint)s->ih;
        rows.at[j] = inside ? k->image + (long)iy * s->iw * s->in_pitch : outside;
        rows.pitch[j] = inside ? s->in_pitch : 0;
    }
    return rows;
}

/* A vector of a window's row that reaches beyond the image: columns first .. last are inside. */
__attribute__((noinline)) static dotv_acc load_edge(const chunk *k, __global const uchar *from,
                                                    int step, int first, int last, int outside) {
    return load_some(k, from, step, first, last, k->image_end, (int4)(outside));
}

#endif

/* Most int8 depthwise layers (CPU schedule, conv2d_depthwise.cl): codes by floats that are near
 * (conv_int8.h), without a residual, of whole pieces. QUICK is 1 where the program may do that.
 *
 * Where there are 32 registers of 64 bytes (ROLLS is 1), windows of 3 columns keep their words
 * there from one output to the next, 1 or 2 columns further:
 *
 *     stride 1    [x-1 x x+1] -> [x x+1 x+2]         stride 2    [x-1 x x+1] -> [x+1 x+2 x+3]
 *
 * Vectors of several columns, of narrow chunks, are cut from two such vectors. */
#ifndef CLQ_DEPTHWISE_ROLL_H
#define CLQ_DEPTHWISE_ROLL_H

#include "depthwise_columns.h"
#include "requantizer.h"

#define QUICK (CLQ_REQUANT == 0 && DOTV_LANES >= 8)
#define ROLLS (QUICK && DOTV_LANES == 16)

typedef struct quick_row quick_row;

#if QUICK
/* A chunk's tables, and where a row of y is. */
struct quick_row {
    __global const dotv_acc *w;        /* [KW][groups][planes] */
    __global const dotv_acc *starts;   /* [planes] */
    __global const dotv_real *factors; /* [planes] */
    dotv_bounds bounds;
    __global uchar *y;
    int pitch;
};

DOT4_INLINE dotv_acc quick_codes(const dotv_acc *acc, __global const dotv_real *factors,
                                 dotv_bounds bounds) {
    dotv_acc planes[4];
#pragma unroll
    for (int q = 0; q < 4; q++)
        planes[q] = dotv_round(DOTV_CAT(convert_float, DOTV_LANES)(acc[q]) * factors[q]);
    return dotv_narrow_planes(planes, bounds);
}
#endif

#if ROLLS
/* Of the vectors a and b, side by side, that from piece n on. */
#define FROM_WORD(a, b, n)                                                                         \
    __builtin_shufflevector(a, b, n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7, n + 8,       \
                            n + 9, n + 10, n + 11, n + 12, n + 13, n + 14, n + 15)
DOT4_INLINE int16 from_piece(int16 a, int16 b, int n) {
    return n == 0   ? a
           : n == 1 ? FROM_WORD(a, b, 4)
           : n == 2 ? FROM_WORD(a, b, 8)
           : n == 3 ? FROM_WORD(a, b, 12)
                    : b;
}

/* acc += the vector `by` columns behind `from` times w[planes]. */
DOT4_INLINE void roll_tap(int16 *acc, const int16 *from, const int16 *next, int by,
                          const int16 *w) {
#pragma unroll
    for (int q = 0; q < 4; q++)
        acc[q] = dotv_mac(acc[q], from_piece(from[q], next[q], by), w[q]);
}

/* The words that an output has of the one before: of its first column or, where a window's three
 * columns are three vectors, its first two. */
typedef struct rolling {
    int16 a[4], b[4];
} rolling;

#define THREE_VECTORS(pieces, stride) ((pieces) == 4 && (stride) == 1)

/* Sums and codes of the vector of outputs whose columns' words are t->a and b, c; t goes on. */
DOT4_INLINE int16 roll_codes(rolling *t, const int16 *b, const int16 *c, const quick_row *r,
                             const int16 *w, int pieces, int stride) {
    int16 acc[4];
#pragma unroll
    for (int q = 0; q < 4; q++)
        acc[q] = r->starts[q];
    roll_tap(acc, t->a, t->a, 0, w);
    if (THREE_VECTORS(pieces, stride)) {
        roll_tap(acc, t->b, t->b, 0, w + 4);
        roll_tap(acc, c, c, 0, w + 8);
    } else if (stride == 1) {
        roll_tap(acc, t->a, c, pieces, w + 4);
        roll_tap(acc, t->a, c, 2 * pieces, w + 8);
    } else {
        roll_tap(acc, b, b, 0, w + 4);
        roll_tap(acc, t->a, c, pieces, w + 8);
    }
#pragma unroll
    for (int q = 0; q < 4; q++) {
        t->a[q] = THREE_VECTORS(pieces, stride) ? t->b[q] : c[q];
        t->b[q] = THREE_VECTORS(pieces, stride) ? c[q] : t->b[q];
    }
    return quick_codes(acc, r->factors, r->bounds);
}

/* The first of the columns that outputs from column x on need beyond those of the one before, as
 * far from x as these, and the last. */
DOT4_INLINE int roll_nearest(int pieces, int stride) {
    return stride == 2 ? 1 : pieces == 4 ? 2 : 4 / pieces;
}

DOT4_INLINE int roll_farthest(int pieces, int stride) {
    return stride == 2 ? 16 / pieces - 2 : pieces == 4 ? 2 : 8 / pieces - 1;
}

/* `vectors` of outputs, the first column of whose windows is x, all inside the image. No calls, so
 * that all stays in registers. */
DOT4_INLINE void roll_inside(rolling *t, const window_rows *rows, int x, int vectors,
                             const quick_row *row, int pieces, int stride) {
    const quick_row r = *row;
    rolling now = *t;
    int16 w[12];
    __global const uchar *from[4];
    __global uchar *y = r.y;
    int step[4];
#pragma unroll
    for (int i = 0; i < 12; i++)
        w[i] = r.w[i];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        step[j] = rows->pitch[j];
        from[j] = rows->at[j] + (long)(x + (stride == 2 ? 1 : roll_nearest(pieces, 1))) * step[j];
    }
    for (int i = 0; i < vectors; i++) {
        int16 bytes[4], b[4], c[4];
        if (stride == 2) {
#pragma unroll
            for (int j = 0; j < 4; j++)
                bytes[j] = load_columns(from[j], 2 * step[j], pieces);
            dotv_unpack(bytes, b);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            bytes[j] = load_columns(from[j] + (stride == 2 ? 8 / pieces - 1 : 0) * step[j],
                                    stride * step[j], pieces);
            from[j] += stride * (4 / pieces) * step[j];
        }
        dotv_unpack(bytes, c);
        store_whole(roll_codes(&now, b, c, &r, w, pieces, stride), y, r.pitch, pieces);
        y += 4 / pieces * r.pitch;
    }
    *t = now;
}

/* A vector of columns, `stride` apart, the first of which is x; some may be outside the image. */
static inline void roll_load(int16 *words, const chunk *k, const window_rows *rows, int x,
                             int stride, const conv_int8 *s) {
    const int last = x + (k->beside - 1) * stride;
    int16 bytes[4];
    if (last < 0 || x >= s->iw) {
        for (int q = 0; q < 4; q++)
            words[q] = s->outside[0];
        return;
    }
    for (int j = 0; j < 4; j++) {
        __global const uchar *from = rows->at[j] + (long)x * rows->pitch[j];
        const int step = stride * rows->pitch[j];
        if (x >= 0 && last < s->iw)
            bytes[j] = load_columns(from, step, k->pieces);
        else
            bytes[j] = load_edge(k, from, step, (stride - 1 - x) / stride,
                                 (s->iw + stride - 1 - x) / stride, s->outside[0]);
    }
    dotv_unpack(bytes, words);
}

/* The first `count` outputs of a vector. */
__attribute__((noinline)) static void roll_edge(rolling *t, const chunk *k, const window_rows *rows,
                                                int x, int count, const conv_int8 *s,
                                                const quick_row *r) {
    const int stride = s->stride_w, beside = k->beside;
    int16 b[4], c[4], w[12];
    for (int i = 0; i < 12; i++)
        w[i] = r->w[i];
    if (stride == 2)
        roll_load(b, k, rows, x + 1, stride, s);
    roll_load(c, k, rows, x + (THREE_VECTORS(k->pieces, stride) ? 2 : stride * beside), stride, s);
    store_columns(k, roll_codes(t, b, c, r, w, k->pieces, stride), r->y, r->pitch, count);
}

#define DEFINE_ROLL(PIECES, STRIDE)                                                                \
    __attribute__((noinline)) static void roll_##PIECES##_##STRIDE(                                \
        rolling *t, const window_rows *rows, int x, int vectors, const quick_row *row) {           \
        roll_inside(t, rows, x, vectors, row, PIECES, STRIDE);                                     \
    }
DEFINE_ROLL(4, 1)
DEFINE_ROLL(2, 1)
DEFINE_ROLL(1, 1)
DEFINE_ROLL(4, 2)
DEFINE_ROLL(2, 2)
DEFINE_ROLL(1, 2)

static inline bool can_roll(const conv_int8 *s) {
    return s->kw == 3 && s->kh <= 4 && s->dilation_w == 1 && s->stride_w <= 2;
}

/* A row of y by windows of 3 columns whose words stay in registers from one output to the next. */
static inline void roll(const chunk *k, int y0, const conv_int8 *s, __global const uchar *outside,
                        quick_row *row) {
    const window_rows rows = rows_of_window(k, y0, 0, s, outside);
    const int stride = s->stride_w, pieces = k->pieces, across = stride * k->beside;
    int x = -s->pad_left;
    rolling t;
    roll_load(t.a, k, &rows, x, stride, s);
    if (THREE_VECTORS(pieces, stride))
        roll_load(t.b, k, &rows, x + 1, stride, s);
    for (int o = 0; o < s->ow;) {
        const int room = s->iw - 1 - roll_farthest(pieces, stride) - x;
        int vectors = room < 0 ? 0 : min(room / across + 1, (s->ow - o) / k->beside);
        if (vectors == 0 || x + roll_nearest(pieces, stride) < 0) {
            vectors = 1;
            roll_edge(&t, k, &rows, x, min(k->beside, s->ow - o), s, row);
        } else if (stride == 1) {
            if (pieces == 4)
                roll_4_1(&t, &rows, x, vectors, row);
            else if (pieces == 2)
                roll_2_1(&t, &rows, x, vectors, row);
            else
                roll_1_1(&t, &rows, x, vectors, row);
        } else if (pieces == 4)
            roll_4_2(&t, &rows, x, vectors, row);
        else if (pieces == 2)
            roll_2_2(&t, &rows, x, vectors, row);
        else
            roll_1_2(&t, &rows, x, vectors, row);
        o += vectors * k->beside;
        x += vectors * across;
        row->y += (long)vectors * k->beside * row->pitch;
    }
}
#endif

#endif

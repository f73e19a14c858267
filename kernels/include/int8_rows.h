/* The pixels of a register tile, and their inputs read where they lie: for words that are inputs as
 * they are, in a convolution whose taps have enough of them. The kernel defines MR and NV. */
#ifndef CLQ_INT8_ROWS_H
#define CLQ_INT8_ROWS_H

#include "conv_int8.h"
#include "dot4.h"
#include "prefetch.h"

typedef struct tile_rows {
    int y[MR], x[MR]; /* input pixel of the first tap, may lie outside */
    long at[MR];      /* its offset in bytes */
} tile_rows;

/* An output pixel. */
typedef struct tile_place {
    int n, oy, ox;
} tile_place;

/* The rows of pixels m .., of which the first is *place, which moves behind them; those past the
 * last pixel repeat it. */
static inline void place_rows(tile_rows *rows, const conv_int8 *s, int m, tile_place *place) {
    for (int i = 0; i < MR; i++) {
        const int y = place->oy * s->stride_h - s->pad_top;
        const int x = place->ox * s->stride_w - s->pad_left;
        rows->y[i] = y;
        rows->x[i] = x;
        rows->at[i] = (((long)place->n * s->ih + y) * s->iw + x) * s->in_pitch;
        if (m + i + 1 < s->pixels && ++place->ox == s->ow) {
            place->ox = 0;
            if (++place->oy == s->oh) {
                place->oy = 0;
                place->n++;
            }
        }
    }
}

/* Where the inputs of the rows begin under the tap (ky, kx), from channel c on; x_zero beyond the
 * image. */
DOT4_INLINE void find_inputs(__global const int **from, __global const uchar *x,
                             __global const int *beyond, const conv_int8 *s,
                             const tile_rows *rows, int ky, int kx, int c) {
    const int dy = ky * s->dilation_h, dx = kx * s->dilation_w;
    const long tap_at = ((long)dy * s->iw + dx) * s->in_pitch + c;
#pragma unroll
    for (int i = 0; i < MR; i++) {
        const bool inside = ((uint)(rows->y[i] + dy) < (uint)s->ih) &
                            ((uint)(rows->x[i] + dx) < (uint)s->iw);
        from[i] = inside ? (__global const int *)(x + (rows->at[i] + tap_at)) : beyond;
    }
}

/* Whether no tap of the rows lies left or right of the image: those of a line then are side by side,
 * if a tap has all channels. */
static inline bool lie_inside(const tile_rows *rows, const conv_int8 *s) {
    bool inside = true;
#pragma unroll
    for (int i = 0; i < MR; i++)
        inside &= (rows->x[i] >= 0) & (rows->x[i] + s->kw <= s->iw);
    return inside;
}

/* Whether output pixels are the input's, one after the other. */
DOT4_INLINE bool is_pointwise(const conv_int8 *s) {
    return s->kh == 1 && s->kw == 1 && s->stride_h == 1 && s->stride_w == 1 && s->pad_top == 0 &&
           s->pad_left == 0 && s->oh == s->ih && s->ow == s->iw;
}

#define LINE_STEPS (64 / DOTV_STEP) /* inputs of a line of most caches */
#define WEIGHT_AHEAD 32             /* steps before weights are needed they are asked for */

/* Asks for the inputs that lie `ahead` words behind step k where that is not 0. */
DOT4_INLINE void ask_for_rows(__global const int *const *from, int k, int ahead) {
    if (ahead) {
#pragma unroll
        for (int i = 0; i < MR; i++)
            PREFETCH(from[i] + k + ahead);
    }
}

/* acc += a step of the tile: `word`, an expression in i, are the inputs of row i, w[NV] the weights.
 */
#define TILE_STEP(word, w, acc)                                                                    \
    {                                                                                              \
        dotv_acc b_[NV];                                                                           \
        _Pragma("unroll") for (int v = 0; v < NV; v++) b_[v] = (w)[v];                             \
        _Pragma("unroll") for (int i = 0; i < MR; i++) {                                           \
            const int a_ = (word);                                                                 \
            _Pragma("unroll") for (int v = 0; v < NV; v++)(acc)[i * NV + v] =                      \
                dotv_step((acc)[i * NV + v], a_, b_[v]);                                           \
        }                                                                                          \
    }

/* acc += steps first .. end - 1 of the rows' inputs times w[end - first][NV]. Asks for weights. */
DOT4_INLINE void add_rows(__global const int *const *from, int first, int end,
                          __global const dotv_acc *w, dotv_acc *acc) {
    for (int k = first; k < end; k++, w += NV) {
#pragma unroll
        for (int v = 0; v < NV; v++)
            PREFETCH(w + WEIGHT_AHEAD * NV + v);
        TILE_STEP(from[i][k], w, acc)
    }
}

#endif

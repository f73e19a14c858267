/* FP32 convolution, CPU schedule: forward and backward-data (see conv_shape.h).
 *
 * A work-item computes register tiles of MR grid pixels x NR columns: `row_tiles` below each other
 * by `item_cols` side by side, in groups of `cols` tiles whose weights stay in the second-level
 * cache, and within a group row by row, so that the pixels stay in the first-level cache. A tile
 * reads its packed weights in one stream and the source as one scalar per row, broadcast:
 *
 *   source pixel of row i, tap t:  [ c0 c1 c2 ... ]          MR pointers
 *   packed weights of the tap:     [ NR | NR | NR | ... ]    one pointer
 *
 * A tap that falls outside the image reads a row of zeros instead. Rows past the last pixel
 * repeat it and are not stored. */
#include "ahead.h"
#include "conv_epilogue.h"
#include "conv_shape.h"
#include "tile.h"

#define ASK_CHANNELS 64 /* a 1x1 convolution asks ahead once for so many channels, */
#define ASK_FLOATS 4096 /* if the pixels of a tile are no more than this */

/* Of every row: the source pixel under a tap at (0, 0), and where the row is in src and dst. */
typedef struct tile_rows {
    int y[MR], x[MR];
    long src[MR], dst[MR];
} tile_rows;

/* `tiles` tiles side by side, whose weights begin at b; `rows` and `columns` of theirs exist. */
static inline void compute_tiles(__global const conv_shape *shape, const conv_shape *s,
                                 const conv_phase *phase, __global const float *src,
                                 __global const float *zeros, const tile_rows *r, int rows,
                                 __global const float *b, int tiles,
                                 __global const float *bias, __global const float *residual,
                                 __global float *dst, int columns, float lo, float hi) {
    /* A 1x1 convolution reads every source pixel once, so nothing of the next tile is cached. */
    const bool ask = phase->taps == 1 && MR * s->depth <= ASK_FLOATS;
    const int run = ask ? ASK_CHANNELS : s->depth, runs = (s->depth + run - 1) / run;
    const long step = (long)s->step_w * s->src_c;
    ahead next = plan_ahead(src + r->src[MR - 1] + step, 1, 0, MR, step, s->depth, tiles * runs);
    for (int tile = 0; tile < tiles; tile++) {
        fvec acc[MR * NV];
        TILE_CLEAR(acc);
        for (int t = 0; t < phase->taps; t++) {
            const conv_tap tap = CONV_TAPS(shape)[phase->first_tap + t];
            const long tap_src = ((long)tap.dy * s->src_w + tap.dx) * s->src_c;
            __global const float *from[MR];
            UNROLLED_FOR(i, MR) {
                const bool inside = ((uint)(r->y[i] + tap.dy) < (uint)s->src_h) &
                                    ((uint)(r->x[i] + tap.dx) < (uint)s->src_w);
                from[i] = inside ? src + (r->src[i] + tap_src) : zeros;
            }
            for (int c = 0; c < s->depth; c += run) {
                if (ask) {
                    ask_ahead(&next);
                }
                TILE_RUN(acc, from, b, c, min(c + run, s->depth));
            }
        }
        const int col = tile * NR;
        store_tile(acc, bias ? bias + col : bias, residual ? residual + col : residual, dst + col,
                   r->dst, rows, columns - col, lo, hi);
    }
}

/* Item (item_cols column tiles of a group, row tiles, phase). */
__kernel void conv2d_f32_tile(__global const float *src, __global const float *packed,
                              __global const conv_shape *shape, __global const float *bias,
                              __global const float *residual, __global float *dst, float lo,
                              float hi, int row_tiles, int item_cols, int cols) {
    const conv_shape s = *shape;
    const conv_phase phase = CONV_PHASES(shape)[get_global_id(2)];
    const int pixels = s.n * phase.grid_h * phase.grid_w;
    const int begin = (int)get_global_id(1) * row_tiles * MR;
    const int end = min(pixels, begin + row_tiles * MR);
    if (begin >= end) {
        return;
    }
    const int col_blocks = (s.col_tiles + item_cols - 1) / item_cols;
    const int group = (int)get_global_id(0) / col_blocks;
    const int first_tile = ((int)get_global_id(0) - group * col_blocks) * item_cols;
    const int last_tile = min(first_tile + item_cols, s.col_tiles);
    const size_t tile_weights = (size_t)phase.taps * s.depth * NR;
    __global const float *weights =
        packed + (size_t)s.groups * s.col_tiles * phase.first_tap * s.depth * NR +
        (size_t)group * s.col_tiles * tile_weights;

    for (int tile = first_tile; tile < last_tile; tile += cols) {
        const int channel = group * s.cols + tile * NR;
        int gx = begin % phase.grid_w, gy = begin / phase.grid_w;
        int n = gy / phase.grid_h;
        gy -= n * phase.grid_h;
        for (int m = begin; m < end; m += MR) {
            tile_rows r;
            UNROLLED_FOR(i, MR) {
                r.y[i] = gy * s.step_h;
                r.x[i] = gx * s.step_w;
                r.src[i] = (((long)n * s.src_h + r.y[i]) * s.src_w + r.x[i]) * s.src_c;
                r.dst[i] = (((long)n * s.dst_h + gy * s.dst_step_h + phase.out_y) * s.dst_w +
                            gx * s.dst_step_w + phase.out_x) * s.dst_c;
                if (m + i + 1 < pixels && ++gx == phase.grid_w) {
                    gx = 0;
                    if (++gy == phase.grid_h) {
                        gy = 0;
                        n++;
                    }
                }
            }
            compute_tiles(shape, &s, &phase, src + group * s.depth, packed + s.zeros, &r,
                          pixels - m, weights + tile * tile_weights, min(cols, last_tile - tile),
                          bias ? bias + channel : bias, residual ? residual + channel : residual,
                          dst + channel, s.cols - tile * NR, lo, hi);
        }
    }
}

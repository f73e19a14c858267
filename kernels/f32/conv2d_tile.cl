/* FP32 convolution, CPU schedule: forward and backward-data (see conv_shape.h).
 *
 * A work-item computes register tiles of MR grid pixels x NR columns: `row_tiles` below each other,
 * of each the `cols` column tiles side by side, so that the pixels stay in the first-level cache. A
 * tile reads its packed weights in one stream and the source as one scalar per row, broadcast:
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

#define ASK_CHANNELS 64    /* a 1x1 convolution asks ahead once for so many channels, */
#define ASK_FLOATS   4096 /* if the pixels of a tile are no more than this */

/* Item (row tiles, column tiles of a group, phase). */
__kernel void conv2d_f32_tile(__global const float *src, __global const float *packed,
                              __global const conv_shape *shape, __global const float *bias,
                              __global const float *residual, __global float *dst, float lo,
                              float hi, int row_tiles, int cols) {
    const conv_shape s = *shape;
    const conv_phase phase = CONV_PHASES(shape)[get_global_id(2)];
    const int pixels = s.n * phase.grid_h * phase.grid_w;
    int m = (int)get_global_id(0) * row_tiles * MR;
    const int m_end = min(pixels, m + row_tiles * MR);
    if (m >= m_end) {
        return;
    }
    const int col_blocks = (s.col_tiles + cols - 1) / cols;
    const int group = (int)get_global_id(1) / col_blocks;
    const int first_tile = ((int)get_global_id(1) - group * col_blocks) * cols;
    const int last_tile = min(first_tile + cols, s.col_tiles);
    const size_t tile_weights = (size_t)phase.taps * s.depth * NR;
    __global const float *weights =
        packed + (size_t)s.groups * s.col_tiles * phase.first_tap * s.depth * NR +
        ((size_t)group * s.col_tiles + first_tile) * tile_weights;
    __global const float *zeros = packed + s.zeros;
    src += group * s.depth;

    int gx = m % phase.grid_w, gy = m / phase.grid_w;
    int n = gy / phase.grid_h;
    gy -= n * phase.grid_h;
    for (; m < m_end; m += MR) {
        int row_y[MR], row_x[MR];
        long row_src[MR], row_dst[MR];
        UNROLLED_FOR(i, MR) {
            row_y[i] = gy * s.step_h;
            row_x[i] = gx * s.step_w;
            row_src[i] = (((long)n * s.src_h + row_y[i]) * s.src_w + row_x[i]) * s.src_c;
            row_dst[i] = (((long)n * s.dst_h + gy * s.dst_step_h + phase.out_y) * s.dst_w +
                          gx * s.dst_step_w + phase.out_x) * s.dst_c;
            if (m + i + 1 < pixels && ++gx == phase.grid_w) {
                gx = 0;
                if (++gy == phase.grid_h) {
                    gy = 0;
                    n++;
                }
            }
        }
        /* A 1x1 convolution reads every source pixel once, so nothing of the next tile is cached. */
        const bool ask = phase.taps == 1 && MR * s.depth <= ASK_FLOATS;
        const int run = ask ? ASK_CHANNELS : s.depth, runs = (s.depth + run - 1) / run;
        ahead next = plan_ahead(src + row_src[MR - 1] + s.step_w * s.src_c, 1, 0, MR,
                                (long)s.step_w * s.src_c, s.depth, (last_tile - first_tile) * runs);
        __global const float *b = weights; /* runs on from one column tile to the next */
        for (int tile = first_tile; tile < last_tile; tile++) {
            fvec acc[MR * NV];
            TILE_CLEAR(acc);
            for (int t = 0; t < phase.taps; t++) {
                const conv_tap tap = CONV_TAPS(shape)[phase.first_tap + t];
                const long tap_src = ((long)tap.dy * s.src_w + tap.dx) * s.src_c;
                __global const float *rows[MR];
                UNROLLED_FOR(i, MR) {
                    const bool inside = ((uint)(row_y[i] + tap.dy) < (uint)s.src_h) &
                                        ((uint)(row_x[i] + tap.dx) < (uint)s.src_w);
                    rows[i] = inside ? src + (row_src[i] + tap_src) : zeros;
                }
                for (int c = 0; c < s.depth; c += run) {
                    if (ask) {
                        ask_ahead(&next);
                    }
                    TILE_RUN(acc, rows, b, c, min(c + run, s.depth));
                }
            }
            const int col = tile * NR;
            const int channel = group * s.cols + col;
            store_tile(acc, bias ? bias + channel : bias, residual ? residual + channel : residual,
                       dst + channel, row_dst, pixels - m, s.cols - col, lo, hi);
        }
    }
}

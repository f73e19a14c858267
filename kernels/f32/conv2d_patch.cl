/* FP32 convolution of few channels, CPU schedule: forward and backward-data (see conv_shape.h).
 *
 * A work-item copies the source pixels that a block of the grid needs into a private patch, with
 * zeros where the image ends, and computes the block's register tiles from it. In the patch the
 * taps of one kernel row lie side by side (their dx differ by 1), so that a tile runs over
 * taps_w * depth floats at a time with nothing to check:
 *
 *   patch row  | p0 c0..c2 | p1 c0..c2 | p2 c0..c2 | ...      pixel p, channel c
 *               \_________ one run: 3 taps _______/
 *
 * Same packed weights and edges as conv2d_tile.cl. */
#include "conv_epilogue.h"
#include "conv_patch.h"
#include "conv_shape.h"
#include "tile.h"

/* Copies the source pixels that h x w grid pixels at (gy0, gx0) of image n reach; returns the
 * patch's pitch in floats. */
static inline int copy_patch(const conv_shape *s, const conv_phase *phase,
                             __global const float *src, int n, int gy0, int gx0, int h, int w,
                             float *patch) {
    const int patch_w = (w - 1) * s->step_w + phase->taps_w, pitch = patch_w * s->depth;
    const int patch_h = (h - 1) * s->step_h + (phase->taps_h - 1) * phase->tap_step_dy + 1;
    for (int y = 0; y < patch_h && phase->taps > 0; y++) {
        const int src_y = gy0 * s->step_h + phase->tap_dy + y;
        copy_patch_row(src + ((long)n * s->src_h + src_y) * s->src_w * s->src_c, patch + y * pitch,
                       gx0 * s->step_w + phase->tap_dx, 1, patch_w,
                       (uint)src_y < (uint)s->src_h ? s->src_w : 0, s->src_c, s->depth, s->depth);
    }
    return pitch;
}

/* The sums of one tile: MR pixels that begin at `at` in the patch, NR columns. */
static inline void sum_patch(const conv_shape *s, const conv_phase *phase, const float *patch,
                             int pitch, const int *at, __global const float *b, fvec *acc) {
    TILE_CLEAR(acc);
    for (int t = 0; t < phase->taps_h; t++) {
        const float *rows[MR];
        UNROLLED_FOR(i, MR) {
            rows[i] = patch + at[i] + t * phase->tap_step_dy * pitch;
        }
        TILE_RUN(acc, rows, b, 0, phase->taps_w * s->depth);
    }
}

/* Item (block of block_h x block_w grid pixels, `tiles` column tiles of a group). All phases of a
 * block are one item's, because they write neighbouring pixels. */
__kernel void conv2d_f32_patch(__global const float *src, __global const float *packed,
                               __global const conv_shape *shape, __global const float *bias,
                               __global const float *residual, __global float *dst, float lo,
                               float hi, int block_h, int block_w, int tiles) {
    const conv_shape s = *shape;
    /* The first phase has the largest grid. */
    const int blocks_w = (CONV_PHASES(shape)->grid_w + block_w - 1) / block_w;
    const int blocks_h = (CONV_PHASES(shape)->grid_h + block_h - 1) / block_h;
    const int block = get_global_id(0), block_y = block / blocks_w, n = block_y / blocks_h;
    const int gx0 = (block - block_y * blocks_w) * block_w;
    const int gy0 = (block_y - n * blocks_h) * block_h;
    const int col_blocks = (s.col_tiles + tiles - 1) / tiles;
    const int group = (int)get_global_id(1) / col_blocks;
    const int first_tile = ((int)get_global_id(1) - group * col_blocks) * tiles;
    const int last_tile = min(first_tile + tiles, s.col_tiles);
    src += group * s.depth;

    float patch[CONV_PATCH_FLOATS] __attribute__((aligned(64)));
    for (int p = 0; p < s.phases; p++) {
        const conv_phase phase = CONV_PHASES(shape)[p];
        const int w = min(block_w, phase.grid_w - gx0), h = min(block_h, phase.grid_h - gy0);
        if (w <= 0 || h <= 0) {
            continue;
        }
        const int pitch = copy_patch(&s, &phase, src, n, gy0, gx0, h, w, patch);
        /* From a grid pixel to the next, in its row or the next row: in patch and dst. */
        const int at_next_x = s.step_w * s.depth;
        const int at_next_y = s.step_h * pitch - (w - 1) * at_next_x;
        const long out_next_x = (long)s.dst_step_w * s.dst_c;
        const long out_next_y = (long)s.dst_step_h * s.dst_w * s.dst_c - (w - 1) * out_next_x;
        const long first_out = (((long)n * s.dst_h + gy0 * s.dst_step_h + phase.out_y) * s.dst_w +
                                gx0 * s.dst_step_w + phase.out_x) * s.dst_c;

        for (int tile = first_tile; tile < last_tile; tile++) {
            const int col = tile * NR, channel = group * s.cols + col;
            __global const float *weights =
                packed + ((size_t)s.groups * s.col_tiles * phase.first_tap +
                          ((size_t)group * s.col_tiles + tile) * phase.taps) * s.depth * NR;
            int x = 0, at = 0;
            long out = first_out;
            for (int m = 0; m < w * h; m += MR) {
                int row_at[MR];
                long row_dst[MR];
                UNROLLED_FOR(i, MR) {
                    row_at[i] = at;
                    row_dst[i] = out;
                    if (m + i + 1 < w * h) {
                        const bool wrap = ++x == w;
                        x = wrap ? 0 : x;
                        at += wrap ? at_next_y : at_next_x;
                        out += wrap ? out_next_y : out_next_x;
                    }
                }
                UNROLLED_FOR(i, MR) { /* or the stores wait, and all that follow */
                    PREFETCH(dst + channel + row_dst[i]);
                }
                fvec acc[MR * NV];
                sum_patch(&s, &phase, patch, pitch, row_at, weights, acc);
                store_tile(acc, bias ? bias + channel : bias,
                           residual ? residual + channel : residual, dst + channel, row_dst,
                           w * h - m, s.cols - col, lo, hi);
            }
        }
    }
}

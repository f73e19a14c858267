/* FP32 convolution, gradient of the weights, CPU schedule (see conv_weights_shape).
 *
 * A work-item sums a part of the pixels for `channels` source channels x `tiles` column tiles. It
 * walks the part in blocks of up to CONV_BLOCK_PIXELS pixels. Of each block it copies
 *
 *   patch  the source pixels that the block's taps reach, zeros outside the image
 *   grad   one column tile of the output gradient, [pixel][NR], zeros past the last column
 *
 * and adds, for every tile of MR rows (neighbours in a run, so neighbours in the patch):
 *
 *   acc[i][j] += patch[at(pixel) + row + i] * grad[pixel][j]
 *
 * The partial sums stay in the work-item's part of `partial` between blocks;
 * conv2d_f32_weights_reduce adds the parts up in order. */
#include "conv_patch.h"
#include "conv_shape.h"
#include "tile.h"

/* Copies the gradient's columns [col, col + cols) for the block's pixels. */
static inline void copy_grad(__global const float *grad, float *to, int w, int h, int grid_w,
                             int dst_c, int cols) {
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++, to += NR) {
            __global const float *from = grad + ((long)y * grid_w + x) * dst_c;
            if (cols >= NR) {
                UNROLLED_FOR(j, NV) {
                    FVEC_STORE(FVEC_LOAD(from + j * VL), to + j * VL);
                }
            } else {
                for (int j = 0; j < NR; j++) {
                    to[j] = j < cols ? from[j] : 0;
                }
            }
        }
    }
}

/* sum += the block's gradient over its pixels; starts from zero for the first block. */
static inline void sum_grad(const float *grad, int pixels, __global float *sum, bool first) {
    fvec acc[NV];
    UNROLLED_FOR(j, NV) {
        acc[j] = first ? (fvec)0 : FVEC_LOAD(sum + j * VL);
    }
    for (int p = 0; p < pixels; p++) {
        UNROLLED_FOR(j, NV) {
            acc[j] += FVEC_LOAD(grad + p * NR + j * VL);
        }
    }
    UNROLLED_FOR(j, NV) {
        FVEC_STORE(acc[j], sum + j * VL);
    }
}

/* Adds the block to all rows of one column tile. */
static inline void add_block(const conv_weights_shape *s, const float *patch, const int *at,
                             const float *grad, int pixels, __global float *sums, bool first) {
    const int pitch = s->patch_w * s->channels;
    for (int run = 0; run < s->runs; run++) {
        const int tap = run * s->run_taps, ky = tap / s->kw, kx = tap - ky * s->kw;
        const float *origin = patch + ky * s->dilation_h / s->pick_h * pitch +
                              kx * s->dilation_w / s->pick_w * s->channels;
        for (int row = 0; row < s->run_pad; row += MR, sums += MR * NR, origin += MR) {
            fvec acc[MR * NV];
            if (first) {
                TILE_CLEAR(acc);
            } else {
                UNROLLED_FOR(i, MR * NV) {
                    acc[i] = FVEC_LOAD(sums + i * VL);
                }
            }
            const float *g = grad;
            for (int p = 0; p < pixels; p++, g += NR) {
                const float *rows = origin + at[p];
                TILE_STEP(acc, rows[i_], g);
            }
            UNROLLED_FOR(i, MR * NV) {
                FVEC_STORE(acc[i], sums + i * VL);
            }
        }
    }
}

/* Item (channel block, column block of all groups, part). partial_bias is [part][column]. */
__kernel void conv2d_f32_weights(__global const float *src, __global const float *grad,
                                 __global const conv_weights_shape *shape,
                                 __global float *partial, __global float *partial_bias) {
    const conv_weights_shape s = *shape;
    const int channel_block = get_global_id(0), part = get_global_id(2);
    const int col_blocks = (s.col_tiles + s.tiles - 1) / s.tiles;
    const int group = (int)get_global_id(1) / col_blocks;
    const int first_tile = ((int)get_global_id(1) - group * col_blocks) * s.tiles;
    const int last_tile = min(first_tile + s.tiles, s.col_tiles);
    const int channel = channel_block * s.channels;
    const int depth = min(s.channels, s.depth - channel);
    const int step_h = s.stride_h / s.pick_h, step_w = s.stride_w / s.pick_w;
    const int pitch = s.patch_w * s.channels;

    float patch[CONV_PATCH_FLOATS + MR]; /* a run's padding reads past the last pixel */
    float block_grad[CONV_BLOCK_PIXELS * NR];
    int at[CONV_BLOCK_PIXELS];

    const int blocks = s.n * s.blocks_h * s.blocks_w;
    const int begin = (long)blocks * part / s.parts, end = (long)blocks * (part + 1) / s.parts;
    for (int block = begin; block < end; block++) {
        const int block_y = block / s.blocks_w, n = block_y / s.blocks_h;
        const int gx0 = (block - block_y * s.blocks_w) * s.block_w;
        const int gy0 = (block_y - n * s.blocks_h) * s.block_h;
        const int w = min(s.block_w, s.grid_w - gx0), h = min(s.block_h, s.grid_h - gy0);
        for (int y = 0; y < h; y++) {
            for (int x = 0; x < w; x++) {
                at[y * w + x] = y * step_h * pitch + x * step_w * s.channels;
            }
        }
        const int patch_h = (h - 1) * step_h + (s.kh - 1) * s.dilation_h / s.pick_h + 1;
        for (int y = 0; y < patch_h; y++) {
            const int src_y = gy0 * s.stride_h - s.pad_top + y * s.pick_h;
            copy_patch_row(src + ((long)n * s.src_h + src_y) * s.src_w * s.src_c +
                               group * s.depth + channel,
                           patch + y * pitch, gx0 * s.stride_w - s.pad_left, s.pick_w, s.patch_w,
                           (uint)src_y < (uint)s.src_h ? s.src_w : 0, s.src_c, depth, s.channels);
        }
        for (int tile = first_tile; tile < last_tile; tile++) {
            const size_t column_tile = ((size_t)part * s.groups + group) * s.col_tiles + tile;
            const int col = tile * NR;
            copy_grad(grad + (((long)n * s.grid_h + gy0) * s.grid_w + gx0) * s.dst_c +
                          group * s.cols + col,
                      block_grad, w, h, s.grid_w, s.dst_c, s.cols - col);
            if (channel_block == 0) {
                sum_grad(block_grad, w * h, partial_bias + column_tile * NR, block == begin);
            }
            add_block(&s, patch, at, block_grad, w * h,
                      partial + (column_tile * s.channel_blocks + channel_block) * s.runs *
                                    s.run_pad * NR,
                      block == begin);
        }
    }
}

/* Adds the parts up in order and writes dw (OC, KH, KW, IC/G) and db (OC), which may be NULL.
 * Item (REDUCE_CHANNELS channels of a group, tap, column tile of all groups). */
#define REDUCE_CHANNELS 8

__kernel void conv2d_f32_weights_reduce(__global const float *partial,
                                        __global const float *partial_bias,
                                        __global const conv_weights_shape *shape,
                                        __global float *dw, __global float *db) {
    const conv_weights_shape s = *shape;
    const int begin = (int)get_global_id(0) * REDUCE_CHANNELS;
    const int end = min(begin + REDUCE_CHANNELS, s.depth);
    const int tap = get_global_id(1), run = tap / s.run_taps, run_tap = tap - run * s.run_taps;
    const int tile = get_global_id(2), group = tile / s.col_tiles;
    const int col = (tile - group * s.col_tiles) * NR;
    const int cols = min(NR, s.cols - col);
    const size_t tile_size = (size_t)s.channel_blocks * s.runs * s.run_pad * NR;
    const size_t part_size = tile_size * s.groups * s.col_tiles;

    float rows[REDUCE_CHANNELS][NR];
    for (int c = begin; c < end; c++) {
        const int block = c / s.channels;
        const int row = (block * s.runs + run) * s.run_pad + run_tap * s.channels +
                        c - block * s.channels;
        __global const float *from = partial + tile * tile_size + (size_t)row * NR;
        fvec acc[NV];
        UNROLLED_FOR(j, NV) {
            acc[j] = FVEC_LOAD(from + j * VL);
        }
        for (int part = 1; part < s.parts; part++) {
            UNROLLED_FOR(j, NV) {
                acc[j] += FVEC_LOAD(from + part * part_size + j * VL);
            }
        }
        UNROLLED_FOR(j, NV) {
            FVEC_STORE(acc[j], &rows[c - begin][j * VL]);
        }
    }
    const size_t taps = (size_t)s.kh * s.kw, row_size = taps * s.depth;
    __global float *to = dw + ((size_t)group * s.cols + col) * row_size + (size_t)tap * s.depth;
    for (int j = 0; j < cols; j++) {
        for (int c = begin; c < end; c++) {
            to[j * row_size + c] = rows[c - begin][j];
        }
    }
    if (db && begin == 0 && tap == 0) {
        for (int j = 0; j < cols; j++) {
            float sum = 0;
            for (int part = 0; part < s.parts; part++) {
                sum += partial_bias[((size_t)part * s.groups * s.col_tiles + tile) * NR + j];
            }
            db[group * s.cols + col + j] = sum;
        }
    }
}

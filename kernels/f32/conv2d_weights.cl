/* FP32 convolution, gradient of the weights, CPU schedule (see conv_weights_shape).
 *
 * A work-item sums a part of the pixels for some source channels x `tiles` column tiles. It walks
 * the part in blocks of up to CONV_BLOCK_PIXELS pixels. Of each block it copies
 *
 *   grads  the output gradient, [column tile][pixel][NR], zeros past the last column
 *   patch  for a block of channels, the source pixels that the taps reach, zeros outside the image
 *
 * and adds, for every tile of MR rows (neighbours in a run, so neighbours in the patch):
 *
 *   acc[i][j] += patch[at(pixel) + row + i] * grads[pixel][j]
 *
 * meanwhile asking for what it will copy next. The partial sums stay in the work-item's part of
 * `partial` between blocks; conv2d_f32_weights_reduce adds the parts up in order. */
#include "ahead.h"
#include "conv_patch.h"
#include "conv_shape.h"
#include "tile.h"

/* Part of an image: grid pixels [gy0, gy0 + h) x [gx0, gx0 + w). */
typedef struct grid_block {
    int n, gy0, gx0, h, w;
} grid_block;

static inline grid_block find_block(const conv_weights_shape *s, int index) {
    const int y = index / s->blocks_w, n = y / s->blocks_h;
    grid_block b;
    b.n = n;
    b.gx0 = (index - y * s->blocks_w) * s->block_w;
    b.gy0 = (y - n * s->blocks_h) * s->block_h;
    b.w = min(s->block_w, s->grid_w - b.gx0);
    b.h = min(s->block_h, s->grid_h - b.gy0);
    return b;
}

/* Copies the gradient's columns [0, cols) for the block's pixels. */
static inline void copy_grad(const conv_weights_shape *s, const grid_block *b,
                             __global const float *grad, int cols, float *to) {
    grad += (((long)b->n * s->grid_h + b->gy0) * s->grid_w + b->gx0) * s->dst_c;
    for (int y = 0; y < b->h; y++, grad += (long)s->grid_w * s->dst_c) {
        for (int x = 0; x < b->w; x++, to += NR) {
            __global const float *from = grad + (long)x * s->dst_c;
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

static inline int patch_height(const conv_weights_shape *s, const grid_block *b) {
    return ((b->h - 1) * s->stride_h + (s->kh - 1) * s->dilation_h) / s->pick_h + 1;
}

/* Copies the source pixels of `depth` channels that the block's taps reach. */
static inline void copy_patch(const conv_weights_shape *s, const grid_block *b,
                              __global const float *src, int depth, float *patch) {
    const int pitch = s->patch_w * s->channels, height = patch_height(s, b);
    for (int y = 0; y < height; y++, patch += pitch) {
        const int src_y = b->gy0 * s->stride_h - s->pad_top + y * s->pick_h;
        copy_patch_row(src + ((long)b->n * s->src_h + src_y) * s->src_w * s->src_c, patch,
                       b->gx0 * s->stride_w - s->pad_left, s->pick_w, s->patch_w,
                       (uint)src_y < (uint)s->src_h ? s->src_w : 0, s->src_c, depth,
                       s->channels);
    }
}

/* Where each of the block's pixels begins in the patch. */
static inline void find_pixels(const conv_weights_shape *s, const grid_block *b, int *at) {
    const int step_y = s->stride_h / s->pick_h * s->patch_w * s->channels;
    const int step_x = s->stride_w / s->pick_w * s->channels;
    for (int y = 0; y < b->h; y++) {
        for (int x = 0; x < b->w; x++) {
            *at++ = y * step_y + x * step_x;
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

/* What copy_grad of `cols` columns and copy_patch will read, padding not counted. */
static inline ahead plan_grad(const conv_weights_shape *s, const grid_block *b,
                              __global const float *grad, int cols, int times) {
    return plan_ahead(grad + (((long)b->n * s->grid_h + b->gy0) * s->grid_w + b->gx0) * s->dst_c,
                      b->h, (long)s->grid_w * s->dst_c, b->w, s->dst_c, cols, times);
}

static inline ahead plan_patch(const conv_weights_shape *s, const grid_block *b,
                               __global const float *src, int depth, int times) {
    const int y = max(b->gy0 * s->stride_h - s->pad_top, 0);
    const int x = max(b->gx0 * s->stride_w - s->pad_left, 0);
    return plan_ahead(src + (((long)b->n * s->src_h + y) * s->src_w + x) * s->src_c,
                      patch_height(s, b), (long)s->pick_h * s->src_w * s->src_c, s->patch_w,
                      (long)s->pick_w * s->src_c, depth, times);
}

/* Adds the block to all rows of one column tile. */
static inline void add_block(const conv_weights_shape *s, const float *patch, const int *at,
                             const float *grad, int pixels, __global float *sums, bool first,
                             ahead *next_patch, ahead *next_grad) {
    const int pitch = s->patch_w * s->channels;
    for (int run = 0; run < s->runs; run++) {
        const int tap = run * s->run_taps, ky = tap / s->kw, kx = tap - ky * s->kw;
        const float *origin = patch + ky * s->dilation_h / s->pick_h * pitch +
                              kx * s->dilation_w / s->pick_w * s->channels;
        for (int row = 0; row < s->run_pad; row += MR, sums += MR * NR, origin += MR) {
            ask_ahead(next_patch);
            ask_ahead(next_grad);
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

/* Item (item_blocks channel blocks, `tiles` column tiles of a group, part). partial_bias is
 * [part][column]. */
__kernel void conv2d_f32_weights(__global const float *src, __global const float *grad,
                                 __global const conv_weights_shape *shape,
                                 __global float *partial, __global float *partial_bias) {
    const conv_weights_shape s = *shape;
    const int first_channels = (int)get_global_id(0) * s.item_blocks, part = get_global_id(2);
    const int last_channels = min(first_channels + s.item_blocks, s.channel_blocks);
    const int col_blocks = (s.col_tiles + s.tiles - 1) / s.tiles;
    const int group = (int)get_global_id(1) / col_blocks;
    const int first_tile = ((int)get_global_id(1) - group * col_blocks) * s.tiles;
    const int tiles = min(s.tiles, s.col_tiles - first_tile);
    const size_t tile_size = (size_t)s.runs * s.run_pad * NR; /* of a channel block's sums */
    const size_t column_tile = ((size_t)part * s.groups + group) * s.col_tiles + first_tile;
    src += group * s.depth;
    grad += group * s.cols + first_tile * NR;

    /* A run's padding reads past the last pixel of the patch. */
    float patch[CONV_PATCH_FLOATS + MR] __attribute__((aligned(64)));
    float grads[CONV_BLOCK_PIXELS * CONV_ITEM_COLUMNS] __attribute__((aligned(64)));
    int at[CONV_BLOCK_PIXELS];
    const int blocks = s.n * s.blocks_h * s.blocks_w;
    const int begin = (long)blocks * part / s.parts, end = (long)blocks * (part + 1) / s.parts;
    const int asks = s.runs * s.run_pad / MR * tiles; /* calls of ask_ahead per channel block */
    for (int index = begin; index < end; index++) {
        const grid_block block = find_block(&s, index);
        const grid_block next = find_block(&s, min(index + 1, end - 1));
        const int pixels = block.w * block.h;
        find_pixels(&s, &block, at);
        for (int tile = 0; tile < tiles; tile++) {
            float *tile_grad = grads + tile * pixels * NR;
            copy_grad(&s, &block, grad + tile * NR, s.cols - (first_tile + tile) * NR, tile_grad);
            if (first_channels == 0) {
                sum_grad(tile_grad, pixels, partial_bias + (column_tile + tile) * NR,
                         index == begin);
            }
        }
        ahead next_grad = plan_grad(&s, &next, grad, min(tiles * NR, s.cols - first_tile * NR),
                                    asks * (last_channels - first_channels));
        for (int channels = first_channels; channels < last_channels; channels++) {
            const int channel = channels * s.channels;
            copy_patch(&s, &block, src + channel, min(s.channels, s.depth - channel), patch);
            const bool more = channels + 1 < last_channels;
            ahead next_patch = plan_patch(
                &s, more ? &block : &next,
                src + (more ? channels + 1 : first_channels) * s.channels, s.channels, asks);
            for (int tile = 0; tile < tiles; tile++) {
                add_block(&s, patch, at, grads + tile * pixels * NR, pixels,
                          partial +
                              ((column_tile + tile) * s.channel_blocks + channels) * tile_size,
                          index == begin, &next_patch, &next_grad);
            }
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

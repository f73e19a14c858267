/* FP32 3x3 convolution of stride 1 by Winograd's F(OUT x OUT, 3 x 3), CPU schedule: forward and
 * backward-data (see winograd.h).
 *
 *   input   src tiles  -> transformed [block][position][tile][depth]
 *   sums    for each position a matrix product: tiles x depth times depth x columns
 *   output  sums       -> dst
 *
 * A work-item of the sums holds those of a block and a few column tiles, [position][column tile]
 * [tile][NR], and turns them into output before it goes on to the next columns. Weights are packed
 * [position][column tile][depth][NR]. */
#include "ahead.h"
#include "conv_epilogue.h"
#include "winograd_input.h"

#ifndef OWN_DEPTH
/* Item (`tiles` of the `total` tiles from first_block on). */
__kernel void conv2d_f32_winograd_input(__global const float *src, __global const float *packed,
                                        __global const winograd_shape *shape,
                                        __global float *transformed, int first_block, int tiles,
                                        int total) {
    const winograd_shape s = *shape;
    const int begin = (int)get_global_id(0) * tiles, end = min(begin + tiles, total);
    for (int tile = begin; tile < end; tile++) {
        const int block = tile / s.block;
        transform_tile(&s, src, packed + s.zeros, first_block * s.block + tile,
                       transformed + (size_t)block * POSITIONS * s.position +
                           (size_t)(tile - block * s.block) * s.pitch);
    }
}
#endif

#define ASK_CHANNELS 64 /* asks for the next weights once for so many channels */

/* The sums of one position: `rows` rows of `from` times `tiles` column tiles of weights b. The
 * weights come from far, so those of the next tile, the last time `next`, are asked for meanwhile. */
static inline void sum_position(const winograd_shape *s, const transformed_float *from, int rows,
                                __global const float *b, int tiles, __global const float *next,
                                float *sums) {
    const int depth = DEPTH_OF(s), tile_weights = depth * NR;
    const int runs = (depth + ASK_CHANNELS - 1) / ASK_CHANNELS;
    for (int tile = 0; tile < tiles; tile++, b += tile_weights) {
        ahead later = plan_ahead(tile + 1 < tiles ? b + tile_weights : next, 1, 0, 1, 0,
                                 tile_weights, rows / MR * runs);
        for (int r = 0; r < rows; r += MR, sums += MR * NR) {
            fvec acc[MR * NV];
            const transformed_float *at[MR];
            __global const float *w = b;
            UNROLLED_FOR(i, MR) {
                at[i] = from + (size_t)(r + i) * PITCH_OF(s);
            }
            TILE_CLEAR(acc);
            for (int c = 0; c < depth; c += ASK_CHANNELS) {
                ask_ahead(&later);
                TILE_RUN(acc, at, w, c, min(c + ASK_CHANNELS, depth));
            }
            UNROLLED_FOR(i, MR * NV) {
                FVEC_STORE(acc[i], sums + i * VL);
            }
        }
    }
}

/* One vector of sums, `step` floats from position to position, to its OUT x OUT output pixels, of
 * which h x w exist. `at` is where the first is in dst. */
static inline void store_output(const winograd_shape *s, const float *sums, int step,
                                __global const float *bias, __global const float *residual,
                                __global float *dst, long at, int h, int w, int cols, float lo,
                                float hi) {
    fvec half_done[OUT * EDGE];
    UNROLLED_FOR(x, EDGE) {
        fvec column[EDGE], y[OUT];
        UNROLLED_FOR(i, EDGE) {
            column[i] = FVEC_LOAD(sums + (i * EDGE + x) * step);
        }
        winograd_output(column, y);
        UNROLLED_FOR(i, OUT) {
            half_done[i * EDGE + x] = y[i];
        }
    }
    UNROLLED_FOR(i, OUT) {
        fvec out[OUT];
        winograd_output(half_done + i * EDGE, out);
        UNROLLED_FOR(j, OUT) {
            if (i < h && j < w) {
                store_vector(out[j], bias, residual, dst,
                             at + ((long)i * s->dst_w + j) * s->cols, cols, lo, hi);
            }
        }
    }
}

/* Item (item_cols column tiles, block from first_block on); takes `cols` column tiles at a time. */
__kernel void conv2d_f32_winograd(__global const float *src, __global const float *packed,
                                  __global const winograd_shape *shape,
                                  __global const float *bias, __global const float *residual,
                                  __global float *dst, __global float *transformed, float lo,
                                  float hi, int item_cols, int cols, int first_block) {
    const winograd_shape s = *shape;
    const int first = (first_block + (int)get_global_id(1)) * s.block;
    const int image_tiles = s.tiles_h * s.tiles_w;
    const int count = min(s.block, s.n * image_tiles - first), rows = (count + MR - 1) / MR * MR;
    const int begin = (int)get_global_id(0) * item_cols, end = min(begin + item_cols, s.col_tiles);
    float sums[WINOGRAD_SUMS] __attribute__((aligned(64)));
#ifdef OWN_DEPTH
    float v[POSITIONS * WINOGRAD_OWN_POSITION] __attribute__((aligned(64)));
    long out_at[WINOGRAD_OWN_POSITION / VL], next_at[WINOGRAD_OWN_POSITION / VL];
    for (int r = 0; r < rows; r++) {
        transform_tile(&s, src, packed + s.zeros, first + r, v + r * OWN_DEPTH);
        out_at[r] = find_output(&s, first + r, s.dst_h, s.dst_w, s.cols);
        next_at[r] = find_output(&s, first + s.block + r, s.src_h, s.src_w, OWN_DEPTH);
    }
#else
    __global const float *v = transformed + get_global_id(1) * POSITIONS * s.position;
#endif
    for (int tile = begin; tile < end; tile += cols) {
        const int tiles = min(cols, end - tile), step = tiles * rows * NR;
        for (int p = 0; p < POSITIONS; p++) {
            __global const float *b = packed + ((size_t)p * s.col_tiles + tile) * s.depth * NR;
            sum_position(&s, v + (size_t)p * POSITION_OF(&s), rows, b, tiles,
                         b + (size_t)s.col_tiles * s.depth * NR, sums + p * step);
#ifdef OWN_DEPTH
            for (int r = 0; r < rows && tile == begin; r++) {
                if (p < OUT * OUT) {
                    ask_pixel(src, next_at[r], s.src_w, OWN_DEPTH, p);
                } else if (p < 2 * OUT * OUT) {
                    ask_pixel(dst, out_at[r], s.dst_w, s.cols, p - OUT * OUT);
                }
            }
#endif
        }
        for (int r = 0; r < count; r++) {
            const int row = (first + r) / s.tiles_w, n = row / s.tiles_h;
            const int y = (row - n * s.tiles_h) * OUT, x = (first + r - row * s.tiles_w) * OUT;
            const long at = (((long)n * s.dst_h + y) * s.dst_w + x) * s.cols;
            for (int j = 0; j < tiles * NV && tile * NR + j * VL < s.cols; j++) {
                const int col = tile * NR + j * VL;
                const float *from = sums + (j / NV * rows + r) * NR + j % NV * VL;
                store_output(&s, from, step, bias ? bias + col : bias,
                             residual ? residual + col : residual, dst + col, at, s.dst_h - y,
                             s.dst_w - x, s.cols - col, lo, hi);
            }
        }
    }
}

#define PACK_CHANNELS 16

/* The kernels of `count` channels from `begin` on and `cols` columns, [tap][channel][NR]: whole
 * cache lines are read. w points to the first column's first tap. */
static inline void copy_taps(const winograd_shape *s, __global const float *w, int begin,
                             int count, int cols, float (*taps)[PACK_CHANNELS * NR]) {
    for (int t = 0; t < 9; t++, w += s->w_tap) {
        __global const float *from = w + (long)begin * s->w_depth;
        if (s->w_col == 1) {
            for (int c = 0; c < count; c++, from += s->w_depth) {
                for (int j = 0; j < NR; j++) {
                    taps[t][c * NR + j] = j < cols ? from[j] : 0;
                }
            }
        } else {
            for (int j = 0; j < NR; j++, from += s->w_col) {
                for (int c = 0; c < count; c++) {
                    taps[t][c * NR + j] = j < cols ? from[c] : 0;
                }
            }
        }
    }
}

/* Packs the weights. Item (PACK_CHANNELS channels, column tile). */
__kernel void conv2d_f32_winograd_pack(__global const float *w,
                                       __global const winograd_shape *shape,
                                       __global float *packed) {
    const winograd_shape s = *shape;
    const int tile = get_global_id(1), begin = (int)get_global_id(0) * PACK_CHANNELS;
    const int count = min(PACK_CHANNELS, s.depth - begin);
    float taps[9][PACK_CHANNELS * NR], transformed[POSITIONS][PACK_CHANNELS * NR];
    copy_taps(&s, w + (size_t)tile * NR * s.w_col + s.w_first, begin, count, s.cols - tile * NR,
              taps);
    for (int i = 0; i < count * NR; i += VL) {
        fvec half_done[3 * EDGE];
        UNROLLED_FOR(x, 3) {
            fvec column[3], u[EDGE];
            UNROLLED_FOR(y, 3) {
                column[y] = FVEC_LOAD(taps[3 * y + x] + i);
            }
            winograd_weights(column, u);
            UNROLLED_FOR(y, EDGE) {
                half_done[3 * y + x] = u[y];
            }
        }
        UNROLLED_FOR(y, EDGE) {
            fvec u[EDGE];
            winograd_weights(half_done + 3 * y, u);
            UNROLLED_FOR(x, EDGE) {
                FVEC_STORE(u[x], transformed[y * EDGE + x] + i);
            }
        }
    }
    __global float *to = packed + ((size_t)tile * s.depth + begin) * NR;
    for (int p = 0; p < POSITIONS; p++, to += (size_t)s.col_tiles * s.depth * NR) {
        for (int i = 0; i < count * NR; i += VL) { /* one run, since positions lie far apart */
            FVEC_STORE(FVEC_LOAD(transformed[p] + i), to + i);
        }
    }
}

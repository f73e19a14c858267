/* FP32 convolution, CPU schedule: forward and backward-data (see conv_shape.h).
 *
 * A work-item computes register tiles of MR grid pixels x NR columns: some rows of tiles by
 * `item_cols` side by side, in groups of `cols` tiles whose weights stay in the second-level
 * cache, and within a group row by row, so that the pixels stay in the first-level cache. A tile
 * reads its packed weights in one stream and the source as one scalar per row, broadcast:
 *
 *   source pixel of row i, tap t:  [ c0 c1 c2 ... ]          MR pointers
 *   packed weights of the tap:     [ NR | NR | NR | ... ]    one pointer
 *
 * Meanwhile it asks for what comes next: the weights of the next group, its own or that of the item
 * after all that use the same weights, a part for every row of tiles, and in a 1x1 convolution,
 * which reads every pixel once, the pixels of the next row; and, as a tile begins, the residual that
 * it ends with.
 *
 * A tap that falls outside the image reads a row of zeros instead. Rows past the last pixel
 * repeat it and are not stored. */
#include "conv_epilogue.h"
#include "conv_shape.h"
#include "tile.h"

/* Of every row: the source pixel under a tap at (0, 0), not set where it is the only one, and where the
 * row is in src and dst. */
typedef struct tile_rows {
    int y[MR], x[MR];
    long src[MR], dst[MR];
} tile_rows;

/* Column tiles side by side, and what to ask for while they are computed for a row of tiles. */
typedef struct tile_group {
    int tiles, columns; /* columns: those that exist */
    __global const float *weights, *bias, *residual;
    __global float *dst;
    tile_ahead next_weights, next_pixels;
} tile_group;

static inline void find_pixels(__global const float **from, const conv_shape *s, conv_tap tap,
                               __global const float *src, __global const float *zeros,
                               const tile_rows *r) {
    const long tap_src = ((long)tap.dy * s->src_w + tap.dx) * s->src_c;
    UNROLLED_FOR(i, MR) {
        const bool inside = ((uint)(r->y[i] + tap.dy) < (uint)s->src_h) &
                            ((uint)(r->x[i] + tap.dx) < (uint)s->src_w);
        from[i] = inside ? src + (r->src[i] + tap_src) : zeros;
    }
}

/* Asks for what the tile of columns from `col` on adds at its end. */
static inline void ask_residual(const tile_group *g, int col, const tile_rows *r) {
    if (g->residual) {
        UNROLLED_FOR(i, MR) {
            UNROLLED_FOR(j, NV) {
                PREFETCH(g->residual + col + r->dst[i] + j * VL);
            }
        }
    }
}

/* Whether grid, source and destination are the same pixels: a 1x1 convolution of stride 1. */
static inline bool is_pointwise(const conv_shape *s, const conv_phase *p) {
    return (p->taps == 1) & (p->tap_dy == 0) & (p->tap_dx == 0) & (p->grid_h == s->src_h) &
           (p->grid_w == s->src_w) & (s->step_h == 1) & (s->step_w == 1) & (s->phases == 1);
}

/* A row of tiles, `rows` rows of which exist. */
static inline void compute_tiles(__global const conv_shape *shape, const conv_shape *s,
                                 const conv_phase *phase, __global const float *src,
                                 __global const float *zeros, const tile_rows *r, int rows,
                                 bool pointwise, tile_group *g, float lo, float hi) {
    __global const float *b = g->weights, *from[MR];
    for (int tile = 0; tile < g->tiles; tile++) {
        fvec acc[MR * NV];
        TILE_CLEAR(acc);
        ask_residual(g, tile * NR, r);
        for (int t = 0; t < phase->taps; t++) {
            if (pointwise) {
                UNROLLED_FOR(i, MR) {
                    from[i] = src + r->src[i];
                }
            } else if (tile == 0 || phase->taps > 1) {
                find_pixels(from, s, CONV_TAPS(shape)[phase->first_tap + t], src, zeros, r);
            }
            TILE_RUN_AHEAD(acc, from, b, 0, s->depth, g->next_weights, g->next_pixels);
        }
        const int col = tile * NR;
        store_tile(acc, g->bias ? g->bias + col : g->bias,
                   g->residual ? g->residual + col : g->residual, g->dst + col, r->dst, rows,
                   g->columns - col, lo, hi);
    }
}

/* Item (phase, share of the rows of tiles, item_cols column tiles of a group). Phases differ in
 * work, so neighbouring items take turns in them: cores get runs of items. Then come those that use
 * the same weights. */
__kernel void conv2d_f32_tile(__global const float *src, __global const float *packed,
                              __global const conv_shape *shape, __global const float *bias,
                              __global const float *residual, __global float *dst, float lo,
                              float hi, int row_tiles, int item_cols, int cols) {
    const conv_shape s = *shape;
    const conv_phase phase = CONV_PHASES(shape)[get_global_id(0)];
    const int pixels = s.n * phase.grid_h * phase.grid_w;
    const int all_rows = (pixels + MR - 1) / MR, shares = (all_rows + row_tiles - 1) / row_tiles;
    const int share = get_global_id(1);
    if (share >= shares) {
        return;
    }
    const int begin = (int)((long)all_rows * share / shares) * MR;
    const int end = (int)((long)all_rows * (share + 1) / shares) * MR;
    const int col_blocks = (s.col_tiles + item_cols - 1) / item_cols;
    const int group = (int)get_global_id(2) / col_blocks;
    const int first_tile = ((int)get_global_id(2) - group * col_blocks) * item_cols;
    const int last_tile = min(first_tile + item_cols, s.col_tiles);
    const int tile_steps = phase.taps * s.depth;
    const bool pointwise = is_pointwise(&s, &phase);
    __global const float *weights =
        packed + (size_t)s.groups * s.col_tiles * phase.first_tap * s.depth * NR +
        (size_t)group * s.col_tiles * tile_steps * NR;

    for (int tile = first_tile; tile < last_tile; tile += cols) {
        const int channel = group * s.cols + tile * NR;
        tile_group g;
        g.tiles = min(cols, last_tile - tile);
        g.columns = s.cols - tile * NR;
        g.weights = weights + (size_t)tile * tile_steps * NR;
        g.bias = bias ? bias + channel : bias;
        g.residual = residual ? residual + channel : residual;
        g.dst = dst + channel;
        const int group_steps = g.tiles * tile_steps;
        const bool goes_on = tile + cols < last_tile || share == shares - 1;
        g.next_weights = plan_tile_ahead(g.weights + (size_t)group_steps * NR,
                                         goes_on ? group_steps * NR : 0,
                                         (end - begin) / MR * group_steps);
        int gx = begin % phase.grid_w, gy = begin / phase.grid_w;
        int n = gy / phase.grid_h;
        gy -= n * phase.grid_h;
        for (int m = begin; m < end; m += MR) {
            tile_rows r;
            if (pointwise) {
                UNROLLED_FOR(i, MR) {
                    r.src[i] = (long)min(m + i, pixels - 1) * s.src_c;
                    r.dst[i] = (long)min(m + i, pixels - 1) * s.dst_c;
                }
            } else {
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
            }
            __global const float *group_src = src + group * s.depth;
            g.next_pixels = phase.taps == 1
                                ? plan_tile_ahead(group_src + r.src[MR - 1] + s.src_c,
                                                  MR * s.step_w * s.src_c, group_steps)
                                : plan_tile_ahead(g.weights, 0, 1);
            compute_tiles(shape, &s, &phase, group_src, packed + s.zeros, &r, pixels - m,
                          pointwise, &g, lo, hi);
        }
    }
}

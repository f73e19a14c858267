/* Integer 3x3 convolution of stride 1 by Winograd's F(2x2, 3x3), CPU schedule; for dot paths whose
 * words are 16 bits wide (DOTV_STEP 2). Exact: docs/quantization.md, equation (7b).
 *
 *   u = G g G'      weights, doubled in both dimensions to stay whole: packed by the host
 *   v = B' d B      codes of a 4x4 input tile
 *   m = sum of u . v over the channels, at each of 16 positions
 *   A' m A          4 times the plain sums of a 2x2 output tile
 *
 *   |u| <= 9 * 128 and |v| <= 4 * 255 fit 16 bits. The host sees to it that so many channels cannot
 *   drive a sum out of int32.
 *
 * Output tiles are numbered through all images. A work-item takes item_tiles * MR of them and
 * item_blocks blocks of channels: it transforms its input to [position][tile][depth / 2] words,
 * then for each block the sums of all positions, [position][tile][NR], are matrix products and at
 * once become output. */
#include "conv_int8.h"
#include "dot4.h"
#include "prefetch.h"

#ifndef MR /* output tiles of a register tile: 4, 5 */
#define MR 5
#endif
#ifndef NV /* vectors of a tile: 2 */
#define NV 2
#endif

#define NR (NV * DOTV_LANES)
#include "int8_finish.h"

#define POSITIONS CONV_WINOGRAD_POSITIONS
#define UNROLLED_FOR(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)

/* Vectors of sums, which may wrap around on the way to the output. */
typedef DOTV_CAT(uint, DOTV_LANES) sums_vector;

/* Moved as a whole, where vload16 may take pieces. */
typedef uchar16 codes16 __attribute__((aligned(4)));
typedef uchar4 codes4 __attribute__((aligned(4)));
typedef int8 words16 __attribute__((aligned(4))); /* of 16, and of 4 transformed inputs */
typedef int2 words4 __attribute__((aligned(4)));

/* B': t[step * i] from d[0..3]. */
#define TRANSFORM_INPUT(t, step, d0, d1, d2, d3)                                                   \
    do {                                                                                           \
        (t)[0] = (d0) - (d2);                                                                      \
        (t)[step] = (d1) + (d2);                                                                   \
        (t)[2 * (step)] = (d2) - (d1);                                                             \
        (t)[3 * (step)] = (d1) - (d3);                                                             \
    } while (0)

/* Where the 16 pixels of an input tile lie; those outside the image read s->outside at `mask` 0. */
typedef struct input_tile {
    __global const uchar *from[POSITIONS];
    int mask[POSITIONS];
} input_tile;

/* transform<W>: W channels from c on, to row `to` of each position. */
#define DEFINE_TRANSFORM(W, WORDS)                                                                 \
    static inline void transform##W(const input_tile *tile, int c, int *to, int position) {        \
        short##W half_done[POSITIONS], v[POSITIONS];                                               \
        UNROLLED_FOR(x, 4) {                                                                       \
            short##W d[4];                                                                         \
            UNROLLED_FOR(y, 4) {                                                                   \
                const int i = 4 * y + x;                                                           \
                d[y] = convert_short##W(                                                           \
                    *(__global const codes##W *)(tile->from[i] + (c & tile->mask[i])));            \
            }                                                                                      \
            TRANSFORM_INPUT(half_done + x, 4, d[0], d[1], d[2], d[3]);                             \
        }                                                                                          \
        UNROLLED_FOR(y, 4) {                                                                       \
            const short##W *d = half_done + 4 * y;                                                 \
            TRANSFORM_INPUT(v + 4 * y, 1, d[0], d[1], d[2], d[3]);                                 \
            UNROLLED_FOR(x, 4) {                                                                   \
                *(words##W *)(to + (4 * y + x) * position + c / 2) = as_##WORDS(v[4 * y + x]);     \
            }                                                                                      \
        }                                                                                          \
    }
DEFINE_TRANSFORM(16, int8)
DEFINE_TRANSFORM(4, int2)

/* The input of the output tile at pixel (y, x) of image n. */
static inline void transform_tile(const conv_int8 *s, __global const uchar *images,
                                  __global const uchar *outside, int n, int y, int x, int *to,
                                  int position) {
    input_tile tile;
    for (int i = 0; i < POSITIONS; i++) {
        const int iy = y - s->pad_top + i / 4, ix = x - s->pad_left + i % 4;
        const bool inside = (uint)iy < (uint)s->ih && (uint)ix < (uint)s->iw;
        tile.from[i] =
            inside ? images + (((long)n * s->ih + iy) * s->iw + ix) * s->in_pitch : outside;
        tile.mask[i] = inside ? -1 : 0;
    }
    if (s->depth >= 16) { /* the last 16 may take some channels again */
        for (int c = 0; c < s->depth; c += 16) {
            transform16(&tile, min(c, s->depth - 16), to, position);
        }
    } else {
        for (int c = 0; c < s->depth; c += 4) {
            transform4(&tile, c, to, position);
        }
    }
}

#define FAR_WEIGHTS (256 * 1024) /* words of a layer's weights that no near cache holds */
#define ASK_STEPS 32             /* asks for the next weights once for so many steps */

/* acc += steps begin .. end of MR rows of `steps` words times those of w[steps][NV]. */
static inline void add_steps(const int *from, int steps, int begin, int end,
                             __global const dotv_acc *w, dotv_acc *acc) {
    for (int k = begin; k < end; k++) {
        dotv_acc b[NV];
        UNROLLED_FOR(v, NV) {
            b[v] = w[k * NV + v];
        }
        UNROLLED_FOR(i, MR) {
            const int a = from[i * steps + k];
            UNROLLED_FOR(v, NV) {
                acc[i * NV + v] = dotv_step(acc[i * NV + v], a, b[v]);
            }
        }
    }
}

/* The sums of one position: `rows` rows of `steps` words times w[steps][NV]. Meanwhile asks for the
 * weights of the next position, behind them, `ask` words at a time. */
static inline void sum_position(const int *from, int rows, int steps, __global const dotv_acc *w,
                                int ask, uint *sums) {
    __global const int *next = (__global const int *)w + steps * NR;
    for (int r = 0; r < rows; r += MR, from += MR * steps, sums += MR * NR) {
        dotv_acc acc[MR * NV];
        UNROLLED_FOR(i, MR * NV) {
            acc[i] = 0;
        }
        for (int k = 0; k < steps; k += ASK_STEPS, next += ask) {
            for (int i = 0; i < ask; i += LINE_FLOATS) {
                PREFETCH(next + i);
            }
            add_steps(from, steps, k, min(k + ASK_STEPS, steps), w, acc);
        }
        UNROLLED_FOR(i, MR * NV) {
            *(dotv_acc *)(sums + i * DOTV_LANES) = acc[i];
        }
    }
}

/* How many words to ask for at a time: none when a near cache holds all weights. */
static inline int words_to_ask(const conv_int8 *s, int rows, int steps) {
    const int times = rows / MR * ((steps + ASK_STEPS - 1) / ASK_STEPS);
    const bool far = (long)s->blocks * POSITIONS * steps * NR >= FAR_WEIGHTS;
    return far ? (steps * NR / times + LINE_FLOATS) / LINE_FLOATS * LINE_FLOATS : 0;
}

/* One vector of sums, `position` words from position to position, to its vector of each of the 2x2
 * pixels' lines. */
static inline void output_vector(const uint *sums, int position, dotv_acc start, int *lines) {
    sums_vector half_done[2][4];
    UNROLLED_FOR(x, 4) {
        sums_vector m[4];
        UNROLLED_FOR(y, 4) {
            m[y] = *(const sums_vector *)(sums + (4 * y + x) * position);
        }
        half_done[0][x] = m[0] + m[1] + m[2];
        half_done[1][x] = m[1] - m[2] - m[3];
    }
    UNROLLED_FOR(y, 2) {
        const sums_vector *m = half_done[y];
        const sums_vector four_sums[2] = {m[0] + m[1] + m[2], m[1] - m[2] - m[3]};
        UNROLLED_FOR(x, 2) {
            *(dotv_acc *)(lines + (2 * y + x) * NR) =
                (DOTV_CAT(as_int, DOTV_LANES)(four_sums[x]) >> 2) + start;
        }
    }
}

/* The 2x2 pixels at (py, px) of image n, as far as they exist, of one block. */
static inline void store_tile(const conv_int8 *s, const uint *sums, int position,
                              __global const int *channels, int block,
                              __global const uchar *residual, __global uchar *y, int n, int py,
                              int px) {
    const int column = block * NR, columns = min(NR, s->group_oc - column);
    const int stride = s->blocks * NR;
    int lines[4 * NR] __attribute__((aligned(64)));
    channels += column;
    UNROLLED_FOR(v, NV) {
        output_vector(sums + v * DOTV_LANES, position, ((__global const dotv_acc *)channels)[v],
                      lines + v * DOTV_LANES);
    }
    for (int i = 0; i < 4; i++) {
        const int oy = py + i / 2, ox = px + i % 2;
        if (oy >= s->oh || ox >= s->ow) {
            continue;
        }
        const long pixel = ((long)n * s->oh + oy) * s->ow + ox, at = pixel * s->out_pitch + column;
        if (s->epilogue.float_output) {
            finish_real(lines + i * NR, s, channels, stride,
                        (__global float *)y + pixel * s->oc + column, 1, columns);
        } else {
            finish_codes(lines + i * NR, s, channels, stride, residual ? residual + at : residual,
                         y + at, 1, columns);
        }
    }
}

/* Item (blocks, tiles). */
__kernel void conv2d_int8_winograd(__global const uchar *x, __global const dotv_element *weights,
                                   __global const int *channels, __global const uchar *residual,
                                   __global uchar *y, __global const conv_int8 *shape) {
    const conv_int8 s = *shape;
    const int tiles_w = (s.ow + 1) / 2, tiles_h = (s.oh + 1) / 2;
    const int all = s.pixels / (s.oh * s.ow) * tiles_h * tiles_w;
    const int first = (int)get_global_id(1) * s.item_tiles * MR;
    const int count = min(s.item_tiles * MR, all - first), rows = (count + MR - 1) / MR * MR;
    const int block_begin = (int)get_global_id(0) * s.item_blocks;
    const int block_end = min(block_begin + s.item_blocks, s.blocks);
    const int steps = s.depth / 2, position = rows * steps + CONV_WINOGRAD_GAP;
    const int ask = words_to_ask(&s, rows, steps);
    int input[CONV_WINOGRAD_INPUT] __attribute__((aligned(64)));
    uint sums[CONV_WINOGRAD_SUMS] __attribute__((aligned(64)));
    for (int r = 0; r < rows; r++) { /* rows past the last tile repeat it */
        const int tile = first + min(r, count - 1), row = tile / tiles_w, n = row / tiles_h;
        transform_tile(&s, x, (__global const uchar *)shape->outside, n, (row - n * tiles_h) * 2,
                       (tile - row * tiles_w) * 2, input + r * steps, position);
    }
    for (int block = block_begin; block < block_end; block++) {
        __global const dotv_acc *w =
            (__global const dotv_acc *)weights + (long)block * POSITIONS * steps * NV;
        for (int p = 0; p < POSITIONS; p++) {
            sum_position(input + p * position, rows, steps, w + p * steps * NV, ask,
                         sums + p * rows * NR);
        }
        for (int r = 0; r < count; r++) {
            const int tile = first + r, row = tile / tiles_w, n = row / tiles_h;
            store_tile(&s, sums + r * NR, rows * NR, channels, block, residual, y, n,
                       (row - n * tiles_h) * 2, (tile - row * tiles_w) * 2);
        }
    }
}

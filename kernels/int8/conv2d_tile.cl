/* int8 convolution, CPU schedule (see conv_int8.h): an implicit matrix product over taps.
 *
 * A work-item computes item_tiles x item_blocks register tiles of MR pixels x NR channels:
 *
 *            taps * depth                         NR = NV vectors
 *        +------------------+                   +----------------+
 *     MR | panel: widened x |  x  weights of -> | acc, registers |  -> line -> codes
 *        +------------------+     the block     +----------------+
 *
 * With IN_PLACE the inputs are read where they lie, a word of each pixel at a time (int8_rows.h).
 * Else the panel is filled from the image, row i with the inputs of pixel i, tap after tap. One
 * panel serves all blocks of the item when it holds all taps (and there is one group); else each
 * block fills it chunk by chunk. Sums start with the channels' start values. Blocks whose channels
 * all exist become codes in the registers (int8_tile.h); other sums go through `line` in memory to
 * the epilogue, 16 channels at a time.
 *
 * With DOTV_SPLIT (dot4.h) the panel holds the activations' lows. Their high bits, of which there
 * are few, are kept as a list of words for each row and multiplied behind the panel. */
#include "dot4.h"
#include "int8_epilogue.h"

#ifndef MR /* pixels of a tile: 1, 5, 6, 8, 10, 12, 20 */
#define MR 5
#endif
#ifndef NV /* vectors of a tile: 1, 2, 3, 4 */
#define NV 2
#endif
#ifndef KC /* inputs of a panel row, a multiple of 64; at least 64 */
#define KC 4864
#endif

#ifndef NIBBLES /* 1: weights are two a byte */
#define NIBBLES 0
#endif

#ifndef IN_PLACE /* 1: inputs are read where they lie, without a panel */
#define IN_PLACE 0
#endif

#define NR (NV * DOTV_LANES)
#include "int8_finish.h"
#include "int8_rows.h"
#include "int8_tile.h"
#define ROW (KC / DOTV_STEP) /* words of a panel row */

/* 64 bytes at any word: moved as a whole, where vload16 and vstore16 may take pieces. */
typedef int16 words16 __attribute__((aligned(4)));

/* The inputs of MR pixels as words, and with DOTV_SPLIT what was split off them. */
typedef struct input_panel {
    int words[MR * ROW];
#if DOTV_SPLIT
    int high_bits[MR * ROW], high_steps[MR * ROW]; /* of each row, the words that are not 0 */
    int highs[MR];                                 /* how many a row has */
    int most_highs;                                /* rows with fewer are filled up with 0 */
#endif
} input_panel;

#if DOTV_SPLIT
#define HIGH_BITS 0x80808080

static inline void add_high(input_panel *panel, int i, int step, int word) {
    const int at = i * ROW + panel->highs[i]++;
    panel->high_bits[at] = (uint)(word & HIGH_BITS) >> 7;
    panel->high_steps[at] = step;
}

static inline void even_highs(input_panel *panel) {
    panel->most_highs = 0;
    for (int i = 0; i < MR; i++)
        panel->most_highs = max(panel->most_highs, panel->highs[i]);
    for (int i = 0; i < MR; i++)
        while (panel->highs[i] < panel->most_highs)
            add_high(panel, i, 0, 0);
}

/* n inputs, a multiple of 4, to row i from step `step` on. */
static inline void copy_inputs(input_panel *panel, int i, int step, __global const uchar *from,
                               int n) {
    int *row = panel->words + i * ROW + step;
    int k = 0;
    for (; k + 32 <= n; k += 32) {
        uint highs = dotv_split32(from + k, row + k / 4);
        while (highs != 0) {
            const int word = (31 - (int)clz(highs)) / 4;
            add_high(panel, i, step + k / 4 + word, ((__global const int *)(from + k))[word]);
            highs &= (1u << 4 * word) - 1;
        }
    }
    for (; k < n; k += 4) {
        const int word = *(__global const int *)(from + k);
        row[k / 4] = word & ~HIGH_BITS;
        if (word & HIGH_BITS)
            add_high(panel, i, step + k / 4, word);
    }
}

static inline void fill_inputs(input_panel *panel, int i, int step, int word, int n) {
    for (int k = 0; k < n / 4; k++) {
        panel->words[i * ROW + step + k] = word & ~HIGH_BITS;
        if (word & HIGH_BITS)
            add_high(panel, i, step + k, word);
    }
}
#else
/* n inputs, a multiple of 4, to row i from step `step` on; the last 16 of a longer row may overlap
 * those before. */
static inline void copy_inputs(input_panel *panel, int i, int step, __global const uchar *from,
                               int n) {
    int *row = panel->words + i * ROW + step;
    int k = 0;
#if DOTV_STEP == 4
    for (; k + 64 <= n; k += 64)
        *(words16 *)(row + k / 4) = *(__global const words16 *)(from + k);
#endif
    for (; k + 16 <= n; k += 16)
        dotv_widen16(from + k, row + k / DOTV_STEP);
    if (k < n && n > 16) {
        k = n - 16;
        dotv_widen16(from + k, row + k / DOTV_STEP);
        return;
    }
    for (; k < n; k += 4)
        dotv_widen4(from + k, row + k / DOTV_STEP);
}

static inline void fill_inputs(input_panel *panel, int i, int step, int word, int n) {
    for (int k = 0; k < n / DOTV_STEP; k++)
        panel->words[i * ROW + step + k] = word;
}
#endif

/* Channels c .. c + n of taps tap .. tap + taps, side by side; run_taps of them at a time. */
static inline void fill_panel(input_panel *panel, __global const uchar *x, const conv_int8 *s,
                              const tile_rows *rows, int tap, int taps, int c, int n) {
    const int outside = DOTV_STEP == 4 ? s->x_zero * 0x01010101 : s->x_zero * 0x00010001;
    const int run = s->run_taps, first_y = tap / s->kw, first_x = tap - first_y * s->kw;
    const long line = (long)s->iw * s->in_pitch;
    for (int i = 0; i < MR; i++) {
        int ky = first_y, kx = first_x, step = 0;
#if DOTV_SPLIT
        panel->highs[i] = 0;
#endif
        for (int t = 0; t < taps; t += run) {
            const int iy = rows->y[i] + ky * s->dilation_h, dx = kx * s->dilation_w;
            const int ix = rows->x[i] + dx;
            __global const uchar *from =
                x + rows->at[i] + ky * s->dilation_h * line + dx * s->in_pitch + c;
            const bool in_y = (uint)iy < (uint)s->ih;
            if (in_y && ix >= 0 && ix + run <= s->iw) {
                copy_inputs(panel, i, step, from, run * n);
                step += run * n / DOTV_STEP;
            } else {
                for (int u = 0; u < run; u++, step += n / DOTV_STEP) {
                    if (in_y && (uint)(ix + u) < (uint)s->iw)
                        copy_inputs(panel, i, step, from + u * n, n);
                    else
                        fill_inputs(panel, i, step, outside, n);
                }
            }
            kx += run;
            if (kx == s->kw) {
                kx = 0;
                ky++;
            }
        }
    }
#if DOTV_SPLIT
    even_highs(panel);
#endif
}

/* acc += the panel's step k times w[NV]. */
static inline void add_step(const input_panel *panel, int k, __global const dotv_acc *w,
                            dotv_acc *acc) {
    dotv_acc b[NV];
#pragma unroll
    for (int v = 0; v < NV; v++)
        b[v] = w[v];
#pragma unroll
    for (int i = 0; i < MR; i++) {
        const int a = panel->words[i * ROW + k];
#pragma unroll
        for (int v = 0; v < NV; v++)
            acc[i * NV + v] = dotv_step(acc[i * NV + v], a, b[v]);
    }
}

#if DOTV_SPLIT
/* acc += the panel's steps k and k + 1, whose weights may be taken as pairs. */
static inline void add_pair(const input_panel *panel, int k, __global const dotv_acc *w,
                            dotv_acc *acc) {
#pragma unroll
    for (int i = 0; i < MR; i++) {
        const dotv_acc x0 = panel->words[i * ROW + k], x1 = panel->words[i * ROW + k + 1];
#pragma unroll
        for (int v = 0; v < NV; v++)
            acc[i * NV + v] = dotv_pair(acc[i * NV + v], x0, x1, w + v, w + NV + v);
    }
}

/* acc += the panel's highs, whose products wait for their factor of 128 in 16 bits. */
static inline void add_highs(const input_panel *panel, __global const dotv_acc *w, dotv_acc *acc) {
    for (int begin = 0; begin < panel->most_highs; begin += DOTV_BIT_STEPS) {
        const int end = min(begin + DOTV_BIT_STEPS, panel->most_highs);
        dotv_acc halves[MR * NV];
#pragma unroll
        for (int i = 0; i < MR * NV; i++)
            halves[i] = 0;
        for (int h = begin; h < end; h++) {
#pragma unroll
            for (int i = 0; i < MR; i++) {
                __global const dotv_acc *b = w + panel->high_steps[i * ROW + h] * NV;
                const int bits = panel->high_bits[i * ROW + h];
#pragma unroll
                for (int v = 0; v < NV; v++)
                    halves[i * NV + v] = dotv_add_bits(halves[i * NV + v], bits, b + v);
            }
        }
#pragma unroll
        for (int i = 0; i < MR * NV; i++)
            acc[i] += dotv_join_halves(halves[i], 128);
    }
}
#endif

#if NIBBLES
/* acc += steps k .. of the panel times 2^DOTV_NIBBLE_SHIFT w[NV], which hold as many steps. */
static inline void add_nibbles(const input_panel *panel, int k, int steps,
                               __global const dotv_acc *w, dotv_acc *acc) {
#pragma unroll
    for (int j = 0; j < steps; j++) {
        dotv_acc b[NV];
#pragma unroll
        for (int v = 0; v < NV; v++)
            b[v] = dotv_nibbles(w[v], j);
#pragma unroll
        for (int i = 0; i < MR; i++) {
            const int a = panel->words[i * ROW + k + j];
#pragma unroll
            for (int v = 0; v < NV; v++)
                acc[i * NV + v] = dotv_step(acc[i * NV + v], a, b[v]);
        }
    }
}
#endif

/* acc += `count` steps of the panel times the weights w of a block from its step `first` on, each
 * [NV], or with NIBBLES DOTV_NIBBLE_STEPS of them so. Returns where the next ones are. */
static inline __global const dotv_acc *add_steps(const input_panel *panel, int count, __global const dotv_acc *w,
                             __global const int *unfit, int first, dotv_acc *acc) {
    int k = 0;
#if NIBBLES
    for (; k + DOTV_NIBBLE_STEPS <= count; k += DOTV_NIBBLE_STEPS, w += NV)
        add_nibbles(panel, k, DOTV_NIBBLE_STEPS, w, acc);
    if (k < count) {
        add_nibbles(panel, k, count - k, w, acc);
        w += NV;
    }
    return w;
#elif DOTV_SPLIT
    while (*unfit < first)
        unfit++;
    while (k + 1 < count) {
        const int end = min(*unfit - first, count - 1);
        for (; k < end; k += 2)
            add_pair(panel, k, w + k * NV, acc);
        if (k + 1 < count) {
            add_step(panel, k, w + k * NV, acc);
            add_step(panel, k + 1, w + k * NV + NV, acc);
            k += 2;
            unfit++;
        }
    }
    add_highs(panel, w, acc);
#endif
#if !NIBBLES
    for (; k < count; k++)
        add_step(panel, k, w + k * NV, acc);
    return w + count * NV;
#endif
}

__kernel void conv2d_int8_tile(__global const uchar *x, __global const dotv_element *weights,
                               __global const int *channels, __global const uchar *residual,
                               __global uchar *y, __global const conv_int8 *shape) {
    const conv_int8 s = *shape;
    const int taps = s.kh * s.kw, steps = taps * s.depth / DOTV_STEP;
    const int stride = s.blocks * NR;
    const int block_words =
        NIBBLES ? (steps + DOTV_NIBBLE_STEPS - 1) / DOTV_NIBBLE_STEPS : steps;
    const int block_begin = (int)get_global_id(s.block_dim) * s.item_blocks;
    const int block_end = min(block_begin + s.item_blocks, s.blocks);
    const int m_begin = (int)get_global_id(1 - s.block_dim) * s.item_tiles * MR;
    const int m_end = min(m_begin + s.item_tiles * MR, s.pixels);
#if !IN_PLACE
    const bool whole = s.chunk_taps >= taps && s.depth <= KC && s.group_blocks == s.blocks;
    input_panel panel __attribute__((aligned(64)));
#endif
    int line[MR * NR] __attribute__((aligned(64)));
    tile_rows rows;
#if IN_PLACE
    __global const int *from[MR];
    const bool one_group = s.group_blocks == s.blocks;
    const bool pointwise = one_group && is_pointwise(&s);
    /* The next tile's pixels; short ones come with those before. */
    const int ahead = pointwise && s.depth >= 256 ? MR * s.in_pitch / DOTV_STEP : 0;
#endif
#if INT8_TILE
    const tile_epilogue finish = tile_epilogue_of(&s.epilogue, residual != 0);
#endif

    int ox = m_begin % s.ow, oy = m_begin / s.ow % s.oh, n = m_begin / s.ow / s.oh;
    for (int m = m_begin; m < m_end; m += MR) {
#if IN_PLACE
        if (pointwise) {
            __global const uchar *pixel = x + (long)m * s.in_pitch;
#pragma unroll
            for (int i = 0; i < MR; i++) {
                from[i] = (__global const int *)pixel;
                pixel += m + i + 1 < s.pixels ? s.in_pitch : 0;
            }
        } else
#endif
        for (int i = 0; i < MR; i++) { /* rows past the last pixel repeat it */
            rows.y[i] = oy * s.stride_h - s.pad_top;
            rows.x[i] = ox * s.stride_w - s.pad_left;
            rows.at[i] = (((long)n * s.ih + rows.y[i]) * s.iw + rows.x[i]) * s.in_pitch;
            if (m + i + 1 < s.pixels && ++ox == s.ow) {
                ox = 0;
                if (++oy == s.oh) {
                    oy = 0;
                    n++;
                }
            }
        }
#if IN_PLACE
        const int run = s.run_taps > 1 && lie_inside(&rows, &s) ? s.kw : 1;
#endif
        for (int block = block_begin; block < block_end; block++) {
            const int group = s.group_blocks == s.blocks ? 0 : block / s.group_blocks;
            const int column = (block - group * s.group_blocks) * NR;
            const int channel = group * s.group_oc + column;
            __global const dotv_acc *w =
                (__global const dotv_acc *)weights + (long)block * block_words * NV;
#if INT8_TILE
            if (residual)
#pragma unroll
                for (int i = 0; i < MR; i++)
                    PREFETCH(residual + ((long)(m + i) * s.out_pitch + channel));
#endif
            dotv_acc acc[MR * NV];
#pragma unroll
            for (int v = 0; v < NV; v++) {
#if NIBBLES
                const dotv_acc start = 0;
#else
                const dotv_acc start = ((__global const dotv_acc *)(channels + block * NR))[v];
#endif
#pragma unroll
                for (int i = 0; i < MR; i++)
                    acc[i * NV + v] = start;
            }
#if IN_PLACE
            const int count = s.depth / DOTV_STEP;
            const bool find = !pointwise && (taps > 1 || block == block_begin || !one_group);
            for (int ky = 0; ky < s.kh; ky++)
                for (int kx = 0; kx < s.kw; kx += run, w += run * count * NV) {
                    if (find)
                        find_inputs(from, x, channels + 3 * stride, &s, &rows, ky, kx,
                                    group * s.depth);
                    add_rows(from, run * count, block == block_begin ? ahead : 0, w, acc);
                }
#else
            __global const int *unfit = channels + 3 * stride + block * (steps / 2 + 1);
            int done = 0; /* steps */
            for (int tap = 0; tap < taps; tap += s.chunk_taps) {
                const int chunk = min(s.chunk_taps, taps - tap);
                for (int c = 0; c < s.depth; c += KC) {
                    const int depth = min(KC, s.depth - c);
                    if (!whole || block == block_begin)
                        fill_panel(&panel, x + group * s.depth, &s, &rows, tap, chunk, c, depth);
                    const int count = chunk * depth / DOTV_STEP;
                    w = add_steps(&panel, count, w, unfit, done, acc);
                    done += count;
                }
            }
#endif
#if NIBBLES
#pragma unroll
            for (int v = 0; v < NV; v++) {
                const dotv_acc start = ((__global const dotv_acc *)(channels + block * NR))[v];
#pragma unroll
                for (int i = 0; i < MR; i++)
                    acc[i * NV + v] = (acc[i * NV + v] >> DOTV_NIBBLE_SHIFT) + start;
            }
#endif
            const int rows_here = min(MR, s.pixels - m), columns = min(NR, s.group_oc - column);
            const long at = (long)m * s.out_pitch + channel;
#if INT8_TILE
            if (columns == NR && s.epilogue.near) {
                dotv_real factors[NV];
#pragma unroll
                for (int v = 0; v < NV; v++)
                    factors[v] =
                        ((__global const dotv_real *)(channels + stride + block * NR))[v];
                if (residual)
                    finish_tile(acc, factors, residual + at, y + at, s.out_pitch, rows_here,
                                &finish);
                else
                    finish_tile(acc, factors, 0, y + at, s.out_pitch, rows_here, &finish);
                continue;
            }
#endif
#pragma unroll
            for (int i = 0; i < MR * NV; i++)
                *(dotv_acc *)(line + i * DOTV_LANES) = acc[i];
            if (s.epilogue.float_output)
                finish_real(line, &s, channels + block * NR, stride,
                            (__global float *)y + (long)m * s.oc + channel, rows_here, columns);
            else
                finish_codes(line, &s, channels + block * NR, stride,
                             residual ? residual + at : residual, y + at, rows_here, columns);
        }
    }
}

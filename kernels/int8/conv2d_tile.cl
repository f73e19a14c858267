/* int8 convolution, CPU schedule (see conv_int8.h): an implicit matrix product over taps.
 *
 * A work-item computes item_tiles x item_blocks register tiles of MR pixels x NR channels:
 *
 *            taps * depth                         NR = NV vectors
 *        +------------------+                   +----------------+
 *     MR | panel: widened x |  x  weights of -> | acc, registers |  -> line -> codes
 *        +------------------+     the block     +----------------+
 *
 * The panel is filled from the image, row i with the inputs of pixel i, tap after tap. One panel
 * serves all blocks of the item when it holds all taps (and there is one group); else each block
 * fills it chunk by chunk. Sums start with the channels' start values and go through `line` in
 * memory to the epilogue, 16 channels at a time. */
#include "dot4.h"
#include "int8_epilogue.h"

#ifndef MR /* pixels of a tile: 1, 5, 6, 8, 12, 20 */
#define MR 5
#endif
#ifndef NV /* vectors of a tile: 1, 2, 3, 4 */
#define NV 2
#endif
#ifndef KC /* inputs of a panel row, a multiple of 64; at least 64 */
#define KC 4864
#endif

#define NR (NV * DOTV_LANES)
#define ROW (KC / DOTV_STEP) /* words of a panel row */

/* Whole tiles are finished without leaving the registers, where that is short. */
#define IN_REGISTERS (CLQ_REQUANT == 0 && NR % 16 == 0 && DOTV_LANES >= 8)
#if DOTV_LANES == 16
#define JOIN16(v) ((v)[0])
#else
#define JOIN16(v) ((int16)((v)[0], (v)[1]))
#endif

/* 64 bytes at any word: moved as a whole, where vload16 and vstore16 may take pieces. */
typedef int16 words16 __attribute__((aligned(4)));

typedef struct tile_rows {
    int y[MR], x[MR]; /* input pixel of the first tap, may lie outside */
    long at[MR];      /* its offset in bytes */
} tile_rows;

/* n inputs, a multiple of 4; the last 16 of a longer row may overlap those before. */
static inline void copy_inputs(int *row, __global const uchar *from, int n) {
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

static inline void fill_inputs(int *row, int word, int n) {
    for (int k = 0; k < n / DOTV_STEP; k++)
        row[k] = word;
}

/* Channels c .. c + n of taps tap .. tap + taps, side by side; run_taps of them at a time. */
static inline void fill_panel(int *panel, __global const uchar *x, const conv_int8 *s,
                              const tile_rows *rows, int tap, int taps, int c, int n) {
    const int outside = DOTV_STEP == 4 ? s->x_zero * 0x01010101 : s->x_zero * 0x00010001;
    const int run = s->run_taps, first_y = tap / s->kw, first_x = tap - first_y * s->kw;
    const long line = (long)s->iw * s->in_pitch;
    for (int i = 0; i < MR; i++) {
        int ky = first_y, kx = first_x;
        int *row = panel + i * ROW;
        for (int t = 0; t < taps; t += run) {
            const int iy = rows->y[i] + ky * s->dilation_h, dx = kx * s->dilation_w;
            const int ix = rows->x[i] + dx;
            __global const uchar *from =
                x + rows->at[i] + ky * s->dilation_h * line + dx * s->in_pitch + c;
            const bool in_y = (uint)iy < (uint)s->ih;
            if (in_y && ix >= 0 && ix + run <= s->iw) {
                copy_inputs(row, from, run * n);
                row += run * n / DOTV_STEP;
            } else {
                for (int u = 0; u < run; u++, row += n / DOTV_STEP) {
                    if (in_y && (uint)(ix + u) < (uint)s->iw)
                        copy_inputs(row, from + u * n, n);
                    else
                        fill_inputs(row, outside, n);
                }
            }
            kx += run;
            if (kx == s->kw) {
                kx = 0;
                ky++;
            }
        }
    }
}

/* Float results of `rows` pixels x `columns` channels of one block. */
static inline void finish_real(const int *line, const conv_int8 *s, __global const int *channel,
                               int stride, __global float *y, int rows, int columns) {
    for (int i = 0; i < rows; i++) {
        int c = 0;
        for (; c + 16 <= columns; c += 16)
            vstore16(int8_real16(vload16(0, line + i * NR + c), channel + c, stride, s->epilogue),
                     0, y + c);
        for (; c < columns; c += 4)
            store_reals4(int8_real4(vload4(0, line + i * NR + c), channel + c, stride, s->epilogue),
                         columns - c, y + c);
        y += s->oc;
    }
}

/* Codes of `rows` pixels x `columns` channels of one block, and zeros up to a multiple of 4. */
static inline void finish_codes(const int *line, const conv_int8 *s, __global const int *channel,
                                int stride, __global const uchar *residual, __global uchar *y,
                                int rows, int columns) {
    int c = 0;
    for (; c + 16 <= columns; c += 16)
        for (int i = 0; i < rows; i++) {
            const long at = (long)i * s->out_pitch + c;
            int16 q = int8_code16(vload16(0, line + i * NR + c), channel + c, stride,
                                  residual ? residual + at : residual, s->epilogue);
            codes_store16(q, y + at);
        }
    for (; c < columns; c += 4)
        for (int i = 0; i < rows; i++) {
            const long at = (long)i * s->out_pitch + c;
            int4 q = int8_code4(vload4(0, line + i * NR + c), channel + c, stride,
                                residual ? residual + at : residual, s->epilogue);
            codes_store4(q, columns - c, y + at);
        }
}

__kernel void conv2d_int8_tile(__global const uchar *x, __global const dotv_element *weights,
                               __global const int *channels, __global const uchar *residual,
                               __global uchar *y, __global const conv_int8 *shape) {
    const conv_int8 s = *shape;
    const int taps = s.kh * s.kw, steps = taps * s.depth / DOTV_STEP;
    const int stride = s.blocks * NR;
    const int block_begin = (int)get_global_id(s.block_dim) * s.item_blocks;
    const int block_end = min(block_begin + s.item_blocks, s.blocks);
    const int m_begin = (int)get_global_id(1 - s.block_dim) * s.item_tiles * MR;
    const int m_end = min(m_begin + s.item_tiles * MR, s.pixels);
    const bool whole = s.chunk_taps >= taps && s.depth <= KC && s.group_blocks == s.blocks;
    int panel[MR * ROW] __attribute__((aligned(64)));
    int line[MR * NR] __attribute__((aligned(64)));
    tile_rows rows;

    int ox = m_begin % s.ow, oy = m_begin / s.ow % s.oh, n = m_begin / s.ow / s.oh;
    for (int m = m_begin; m < m_end; m += MR) {
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
        for (int block = block_begin; block < block_end; block++) {
            const int group = block / s.group_blocks;
            const int column = (block - group * s.group_blocks) * NR;
            const int channel = group * s.group_oc + column;
            __global const dotv_acc *w =
                (__global const dotv_acc *)(weights + (long)block * steps * NR * DOTV_STEP);
            dotv_acc acc[MR * NV];
#pragma unroll
            for (int v = 0; v < NV; v++) {
                dotv_acc start = ((__global const dotv_acc *)(channels + block * NR))[v];
#pragma unroll
                for (int i = 0; i < MR; i++)
                    acc[i * NV + v] = start;
            }
            for (int tap = 0; tap < taps; tap += s.chunk_taps) {
                const int chunk = min(s.chunk_taps, taps - tap);
                for (int c = 0; c < s.depth; c += KC) {
                    const int depth = min(KC, s.depth - c);
                    if (!whole || block == block_begin)
                        fill_panel(panel, x + group * s.depth, &s, &rows, tap, chunk, c, depth);
                    const int count = chunk * depth / DOTV_STEP;
                    for (int k = 0; k < count; k++) {
                        dotv_acc b[NV];
#pragma unroll
                        for (int v = 0; v < NV; v++)
                            b[v] = w[k * NV + v];
#pragma unroll
                        for (int i = 0; i < MR; i++) {
                            const int a = panel[i * ROW + k];
#pragma unroll
                            for (int v = 0; v < NV; v++)
                                acc[i * NV + v] = dotv_step(acc[i * NV + v], a, b[v]);
                        }
                    }
                    w += count * NV;
                }
            }
            const int rows_here = min(MR, s.pixels - m), columns = min(NR, s.group_oc - column);
            const long at = (long)m * s.out_pitch + channel;
#if IN_REGISTERS
            if (rows_here == MR && columns == NR && !s.epilogue.float_output) {
#pragma unroll
                for (int i = 0; i < MR; i++) {
                    const long to = at + (long)i * s.out_pitch;
#pragma unroll
                    for (int c = 0; c < NR; c += 16) {
                        const int16 sum = JOIN16(acc + i * NV + c / DOTV_LANES);
                        codes_store16(int8_code16(sum, channels + block * NR + c, stride,
                                                  residual ? residual + to + c : residual,
                                                  s.epilogue),
                                      y + to + c);
                    }
                }
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

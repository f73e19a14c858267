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
 * With DENSE lines of few channels are packed first (int8_dense.h). Else the panel is filled from
 * the image, row i with the inputs of pixel i, tap after tap (int8_panel.h). One panel serves all
 * blocks of the item when it holds all taps (and there is one group); else each block fills it
 * chunk by chunk. Sums start with the channels' start values. Blocks whose channels all exist become
 * codes in the registers, or wait for an addition (int8_tile.h); other sums go through `line` in
 * memory to the epilogue, 16 channels at a time.
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

#ifndef DENSE /* channels of an image whose lines are packed (int8_dense.h), else 0 */
#define DENSE 0
#endif

#define NR (NV * DOTV_LANES)
#include "int8_finish.h"
#include "int8_panel.h"
#include "int8_rows.h"
#include "int8_tile.h"
#if DENSE
#include "int8_dense.h"
#endif

__kernel void conv2d_int8_tile(__global const uchar *x, __global const dotv_element *weights,
                               __global const int *channels, __global const uchar *residual,
                               __global uchar *y, __global const conv_int8 *shape) {
    const conv_int8 s = *shape;
    const int taps = s.kh * s.kw, steps = (taps * s.depth + DOTV_STEP - 1) / DOTV_STEP;
    const int stride = s.blocks * NR;
    const int block_words =
        NIBBLES ? (steps + DOTV_NIBBLE_STEPS - 1) / DOTV_NIBBLE_STEPS : steps;
    const int block_begin = (int)get_global_id(s.block_dim) * s.item_blocks;
    const int block_end = min(block_begin + s.item_blocks, s.blocks);
    const int m_begin = (int)get_global_id(1 - s.block_dim) * s.item_tiles * MR;
    const int m_end = min(m_begin + s.item_tiles * MR, s.pixels);
#if DENSE
    dense_lines lines;
    dense_tile tiles[2];
    pack_lines(&lines, x, &s, m_begin, m_end);
    dense_next next = first_dense(&lines, m_begin, m_end, &s);
    find_dense(&tiles[0], 0, MR, &lines, &next, &s);
    int turn = 0;
#elif !IN_PLACE
    input_panel panel __attribute__((aligned(64)));
    const bool whole = s.chunk_taps >= taps && s.depth <= KC && s.group_blocks == s.blocks;
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
    waiting_tile waiting __attribute__((aligned(64)));
    waiting.pitch = s.out_pitch;
    waiting.next = TILE_GROUPS;
    /* Steps between two groups of it. */
    const int piece = clamp(steps / TILE_GROUPS, 1, LINE_STEPS);
#endif

#if !DENSE
    tile_place place = {m_begin / s.ow / s.oh, m_begin / s.ow % s.oh, m_begin % s.ow};
#endif
#if IN_PLACE
    tile_rows following;
    if (!pointwise)
        place_rows(&following, &s, m_begin, &place);
#endif
    for (int m = m_begin; m < m_end; m += MR) {
#if !DENSE
#if IN_PLACE
        if (pointwise) {
            __global const uchar *pixel = x + (long)m * s.in_pitch;
#pragma unroll
            for (int i = 0; i < MR; i++) {
                from[i] = (__global const int *)pixel;
                pixel += m + i + 1 < s.pixels ? s.in_pitch : 0;
            }
        } else {
            rows = following;
        }
#else
        place_rows(&rows, &s, m, &place);
#endif
#endif
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
                    const int all = run * count, asked = block == block_begin ? ahead : 0;
#if INT8_TILE
                    if (residual)
                        for (int k = 0; k < all; k += piece) {
                            finish_some(&waiting, &finish);
                            ask_for_rows(from, k, asked);
                            add_rows(from, k, min(k + piece, all), w + k * NV, acc);
                        }
                    else
#endif
                        for (int k = 0; k < all; k += LINE_STEPS) {
                            ask_for_rows(from, k, asked);
                            add_rows(from, k, min(k + LINE_STEPS, all), w + k * NV, acc);
                        }
                    /* Between two tiles that would be more than the processor looks ahead. */
                    if (!pointwise && ky + kx == 0 && block == block_begin)
                        place_rows(&following, &s, m + MR, &place);
                }
#elif DENSE
            add_dense(&tiles[turn], &lines, &s, w, acc,
                      block == block_begin ? &tiles[1 - turn] : 0, &next);
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
            finish_rest(&waiting, &finish);
            if (columns == NR && s.epilogue.near) {
                __global const dotv_real *factors =
                    (__global const dotv_real *)(channels + stride + block * NR);
                if (!residual) {
                    dotv_real own[NV];
#pragma unroll
                    for (int v = 0; v < NV; v++)
                        own[v] = factors[v];
                    finish_tile(acc, own, y + at, s.out_pitch, rows_here, &finish);
                    continue;
                }
#pragma unroll
                for (int i = 0; i < MR * NV; i++)
                    waiting.sums[i] = acc[i];
                waiting.factors = factors;
                waiting.residual = residual + at;
                waiting.y = y + at;
                waiting.rows = rows_here;
                waiting.next = 0;
                if (!TILE_WAITS)
                    finish_rest(&waiting, &finish);
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
#if DENSE
        turn = 1 - turn;
#endif
    }
#if INT8_TILE
    finish_rest(&waiting, &finish);
#endif
}

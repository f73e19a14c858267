/* The inputs of a register tile as rows of words in private memory, and their products. The kernel
 * defines MR, NV, KC and NIBBLES. */
#ifndef CLQ_INT8_PANEL_H
#define CLQ_INT8_PANEL_H

#include "conv_int8.h"
#include "dot4.h"
#include "int8_rows.h"

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
    TILE_STEP(panel->words[i * ROW + k], w, acc)
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
static inline __global const dotv_acc *add_steps(const input_panel *panel, int count,
                                                 __global const dotv_acc *w,
                                                 __global const int *unfit, int first,
                                                 dotv_acc *acc) {
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

#endif

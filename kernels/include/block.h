/* The work-group tile of the GPU schedule: WG x WG work-items sum BM rows x BN columns, each RM x
 * RN of them, from panels in local memory that hold BK steps of the sum:
 *
 *     a [BK][BM_PITCH]    b [BK][BN]    acc[i][j] += a[k][row i] * b[k][column j]
 *
 * A work-item's rows and columns are runs of 4, each read as one vector; its runs lie 4 * WG apart,
 * so that neighbouring items read neighbouring vectors:
 *
 *     row i      i / 4 * 4 * WG + 4 * ly + i % 4        i < RM
 *     column j   j / 4 * 4 * WG + 4 * lx + j % 4        j < RN
 *
 * Words are floats, or with BLOCK_INT8 four codes and four weights each (dot4.h). */
#ifndef CLQ_BLOCK_H
#define CLQ_BLOCK_H

#include "gather.h"
#include "unroll.h"

#ifndef WG /* side of the work-group: 16, 8, 4 */
#define WG 16
#endif
#ifndef RM /* rows of a work-item: 4, 8 */
#define RM 4
#endif
#ifndef RN /* columns of a work-item: 4, 8 */
#define RN 4
#endif
#ifndef BK /* steps of a panel: 8, 16. A multiple of ITEMS * 4 / BM and ITEMS * 4 / BN */
#define BK 16
#endif
#ifndef VEC /* words that a load takes: 4 where they lie in one tap and are aligned, else 1 */
#define VEC 1
#endif

#define ITEMS (WG * WG)
#define BM (WG * RM)
#define BN (WG * RN)
#define BM_PITCH (BM + 4) /* spreads the columns of `a` over the banks */
#define A_VECTORS (BM * BK / 4 / ITEMS) /* that a work-item fetches for a panel */
#define B_VECTORS (BN * BK / 4 / ITEMS)
#define PANEL_VECTORS (BK * (BM_PITCH + BN) / 4) /* a, then b */

#ifndef NIBBLES /* with BLOCK_INT8, 1: two steps of weights in a word (dot4.h) */
#define NIBBLES 0
#endif
#define BLOCK_WEIGHTS(steps) (((steps) + NIBBLES) / (1 + NIBBLES) * (BN / 4)) /* vectors */

#ifdef BLOCK_INT8
#include "dot4.h"
typedef uint block_word;
typedef uint4 block_word4;
typedef int block_sum;
#define BLOCK_ADD(acc, a, b) dot4_us(a, b, acc)
#else
typedef float block_word;
typedef float4 block_word4;
typedef float block_sum;
#define BLOCK_ADD(acc, a, b) fma(a, b, acc)
#endif

#define BLOCK_ROW(i, ly) ((i) / 4 * 4 * WG + 4 * (ly) + (i) % 4)
#define BLOCK_COLUMN(j, lx) ((j) / 4 * 4 * WG + 4 * (lx) + (j) % 4)

/* The items that run together, 32 on most devices, take a part of the tile that is 8 wide: it needs
 * fewer different vectors than a row of 16. */
static inline int block_lx(int item) {
    return WG == 16 ? item % 8 + item / 32 % 2 * 8 : item % WG;
}

static inline int block_ly(int item) {
    return WG == 16 ? item / 8 % 4 + item / 64 * 4 : item / WG;
}

/* acc += the product of a panel. */
static inline void block_multiply(__local const block_word4 *panel, int lx, int ly,
                                  block_sum (*acc)[RN]) {
    __local const block_word4 *a_panel = panel + ly, *b_panel = panel + BK * BM_PITCH / 4 + lx;
UNROLL
    for (int k = 0; k < BK; k++) {
        block_word a[RM], b[RN];
UNROLL
        for (int i = 0; i < RM / 4; i++)
            vstore4(a_panel[k * BM_PITCH / 4 + i * WG], i, a);
UNROLL
        for (int j = 0; j < RN / 4; j++)
            vstore4(b_panel[k * BN / 4 + j * WG], j, b);
UNROLL
        for (int i = 0; i < RM; i++)
UNROLL
            for (int j = 0; j < RN; j++)
                acc[i][j] = BLOCK_ADD(acc[i][j], a[i], b[j]);
    }
}

/* ---- the product of gathered rows with packed weights ---- */

/* A work-item fetches steps block_fetch_k .. + 3 of rows block_fetch_row(i). */
static inline int block_fetch_k(int item) {
    return item % (BK / 4) * 4;
}

static inline int block_fetch_row(int item, int i) {
    return item / (BK / 4) + i * (ITEMS / (BK / 4));
}

/* What a work-item holds between the memories. */
typedef struct block_fetched {
    block_word a[A_VECTORS][4];
    block_word4 b[B_VECTORS];
} block_fetched;

static inline void block_fetch(__global const block_word *src, const gather_row *rows,
                               gather_step step, block_word outside, const gather *g,
                               __global const block_word4 *weights, int weight_vectors, int item,
                               block_fetched *to) {
UNROLL
    for (int k = 0; k < 4; k += VEC) {
        const long offset = gather_offset(step, g);
UNROLL
        for (int i = 0; i < A_VECTORS; i++) {
            const bool inside = gather_inside(rows[i], step, g);
            __global const block_word *from = src + rows[i].at + offset;
#if VEC == 4
            vstore4(inside ? *(__global const block_word4 *)from : (block_word4)(outside), 0,
                    to->a[i]);
#else
            to->a[i][k] = inside ? *from : outside;
#endif
        }
        gather_advance(&step, VEC, g);
    }
UNROLL
    for (int i = 0; i < B_VECTORS; i++) {
        const int v = item + i * ITEMS;
#if NIBBLES
        const int k = v / (BN / 4), at = k / 2 * (BN / 4) + v % (BN / 4);
        const block_word4 words = at < weight_vectors ? weights[at] : (block_word4)(0);
        to->b[i] = (block_word4)(dot4_nibbles(words.x, k % 2), dot4_nibbles(words.y, k % 2),
                                 dot4_nibbles(words.z, k % 2), dot4_nibbles(words.w, k % 2));
#else
        to->b[i] = v < weight_vectors ? weights[v] : (block_word4)(0);
#endif
    }
}

static inline void block_put(const block_fetched *from, int item, __local block_word4 *panel) {
    __local block_word *a = (__local block_word *)panel + block_fetch_k(item) * BM_PITCH;
UNROLL
    for (int i = 0; i < A_VECTORS; i++)
UNROLL
        for (int k = 0; k < 4; k++)
            a[k * BM_PITCH + block_fetch_row(item, i)] = from->a[i][k];
UNROLL
    for (int i = 0; i < B_VECTORS; i++)
        panel[BK * BM_PITCH / 4 + item + i * ITEMS] = from->b[i];
}

/* acc += rows x weights. rows: those that this item fetches; outside: the word of a step outside
 * the image; weights [steps][BN], with NIBBLES [steps / 2, rounded up][BN]; panels: two, so that one is filled while the other is read. */
static inline void block_sum_rows(__global const block_word *src, const gather_row *rows,
                                  block_word outside, const gather *g,
                                  __global const block_word *weights,
                                  __local block_word4 (*panels)[PANEL_VECTORS], int item,
                                  block_sum (*acc)[RN]) {
    __global const block_word4 *w = (__global const block_word4 *)weights;
    const int steps = g->taps_h * g->taps_w * g->depth;
    if (steps == 0)
        return;
    gather_step step = gather_first(block_fetch_k(item), g);
    block_fetched fetched;
    block_fetch(src, rows, step, outside, g, w, BLOCK_WEIGHTS(steps), item, &fetched);
    block_put(&fetched, item, panels[0]);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k0 = 0; k0 < steps; k0 += BK) {
        const int left = steps - k0 - BK, now = k0 / BK % 2;
        if (left > 0) {
            gather_advance(&step, BK, g);
            w += BLOCK_WEIGHTS(BK);
            block_fetch(src, rows, step, outside, g, w, BLOCK_WEIGHTS(left), item, &fetched);
        }
        block_multiply(panels[now], block_lx(item), block_ly(item), acc);
        if (left > 0)
            block_put(&fetched, item, panels[1 - now]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

#endif

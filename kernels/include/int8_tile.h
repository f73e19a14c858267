/* The end of an int8 convolution whose sums are a register tile of MR pixels x NV vectors, their
 * start added already: requantized by multipliers of floats and, with a residual, (4) of
 * requantize.h, without leaving the registers. The kernel defines MR and NV. */
#ifndef CLQ_INT8_TILE_H
#define CLQ_INT8_TILE_H

#include "conv_int8.h"
#include "narrow.h"
#include "requantizer.h"

#define INT8_TILE (CLQ_REQUANT == 0 && DOTV_LANES >= 8)

#if INT8_TILE

/* Vectors that lie side by side in y, of four that are narrowed together. */
#define BESIDE (NV % 4 == 0 ? 4 : NV == 2 ? 2 : 1)

/* What is the same for all channels. With a residual: bounds of y less its zero point. */
typedef struct tile_epilogue {
    dotv_bounds bounds; /* of what is written */
    int y_least, y_most, r_zero;
    float y_factor, r_factor;
} tile_epilogue;

#define WHOLE(bits) ((int)as_float(bits))

CLQ_INLINE tile_epilogue tile_epilogue_of(const int8_epilogue *e, bool residual) {
    tile_epilogue t = {dotv_bounds_of(WHOLE(e->y_zero), WHOLE(e->y_lo), WHOLE(e->y_hi))};
    if (residual) {
        t.bounds = dotv_bounds_of(WHOLE(e->out_zero), WHOLE(e->out_lo), WHOLE(e->out_hi));
        t.y_least = WHOLE(e->y_lo) - WHOLE(e->y_zero);
        t.y_most = WHOLE(e->y_hi) - WHOLE(e->y_zero);
        t.y_factor = as_float(e->y_factor);
        t.r_zero = WHOLE(e->r_zero);
        t.r_factor = as_float(e->r_factor);
    }
    return t;
}

#define TO_REAL DOTV_CAT(convert_float, DOTV_LANES)
#define TO_INT DOTV_CAT(convert_int, DOTV_LANES)

CLQ_INLINE dotv_acc tile_requantize(dotv_acc sum, dotv_real m) {
    return dotv_round(TO_REAL(sum) * m);
}

/* Zero points and bounds as integers: those have more units to run on than floats. */
CLQ_INLINE dotv_acc tile_add(dotv_acc sum, dotv_real m, __global const uchar *residual,
                             const tile_epilogue *e) {
    dotv_acc q = tile_requantize(sum, m);
    q = CLQ_AT_MOST(CLQ_AT_LEAST(q, (dotv_acc)(e->y_least)), (dotv_acc)(e->y_most));
    const dotv_acc r = TO_INT(DOTV_CAT(vload, DOTV_LANES)(0, residual)) - (dotv_acc)(e->r_zero);
    return dotv_round(TO_REAL(q) * (dotv_real)(e->y_factor) +
                      TO_REAL(r) * (dotv_real)(e->r_factor));
}

/* Codes of four vectors, two and one, as words at any word. */
typedef dotv_acc words_of4 __attribute__((aligned(4)));
#if DOTV_LANES == 16
typedef int8 words_of2 __attribute__((aligned(4)));
typedef int4 words_of1 __attribute__((aligned(4)));
#else
typedef int4 words_of2 __attribute__((aligned(4)));
typedef int2 words_of1 __attribute__((aligned(4)));
#endif

/* Codes of four vectors of a tile, from its vector `first` on; `rows` of its pixels exist, `pitch`
 * bytes apart. */
CLQ_INLINE void put_codes(dotv_acc codes, int first, __global uchar *y, long pitch, int rows) {
    const words_of2 halves[2] = {codes.lo, codes.hi};
#pragma unroll
    for (int j = 0; j < 4; j += BESIDE) {
        const int i = (first + j) / NV, v = (first + j) % NV;
        if (i < rows) {
            __global uchar *to = y + i * pitch + v * DOTV_LANES;
            if (BESIDE == 4)
                *(__global words_of4 *)to = codes;
            else if (BESIDE == 2)
                *(__global words_of2 *)to = halves[j / 2];
            else
                *(__global words_of1 *)to = j % 2 ? halves[j / 2].hi : halves[j / 2].lo;
        }
    }
}

/* Codes of `rows` of the MR pixels, `pitch` bytes apart. */
CLQ_INLINE void finish_tile(const dotv_acc *acc, const dotv_real factors[NV], __global uchar *y,
                            long pitch, int rows, const tile_epilogue *e) {
    const bool dense = BESIDE < 4 && pitch == NV * DOTV_LANES && rows == MR; /* without gaps */
#pragma unroll
    for (int first = 0; first < MR * NV; first += 4) {
        dotv_acc four[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int k = first + j < MR * NV ? first + j : MR * NV - 1;
            four[j] = tile_requantize(acc[k], factors[k % NV]);
        }
        const dotv_acc codes = dotv_narrow(four, e->bounds);
        if (dense && first + 4 <= MR * NV)
            *(__global words_of4 *)(y + first * DOTV_LANES) = codes;
        else
            put_codes(codes, first, y, pitch, rows);
    }
}

/* ---- additions ----
 *
 * They take as many units of a processor as products do, but others, and so a tile's wait in memory
 * and are done while the next one's sums run, a group of rows at a time, whose vectors
 * are a multiple of four. */

#define GROUP_ROWS (NV == 3 ? 4 : 4 / NV)
#define TILE_GROUPS ((MR + GROUP_ROWS - 1) / GROUP_ROWS)
#define TILE_WAITS (DOTV_LANES == 16) /* else they are done at once */

typedef struct waiting_tile {
    dotv_acc sums[MR * NV];
    __global const dotv_real *factors;
    __global const uchar *residual;
    __global uchar *y;
    long pitch; /* bytes from pixel to pixel, of both */
    int rows;   /* of the MR pixels there are */
    int next;   /* group that is to be done; TILE_GROUPS: none */
} waiting_tile;

CLQ_INLINE void finish_group(waiting_tile *t, const tile_epilogue *e) {
    const int row = GROUP_ROWS * t->next++, rows = t->rows - row;
    const long at = row * t->pitch;
    if (rows <= 0)
        return;
#pragma unroll
    for (int first = 0; first < GROUP_ROWS * NV; first += 4) {
        dotv_acc four[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int i = (first + j) / NV, v = (first + j) % NV;
            const int k = MR % GROUP_ROWS == 0 ? row + i : min(row + i, MR - 1);
            four[j] = tile_add(t->sums[k * NV + v], t->factors[v],
                               t->residual + at + min(i, rows - 1) * t->pitch + v * DOTV_LANES, e);
        }
        put_codes(dotv_narrow(four, e->bounds), first, t->y + at, t->pitch, rows);
    }
}

CLQ_INLINE void finish_some(waiting_tile *t, const tile_epilogue *e) {
    if (t->next < TILE_GROUPS)
        finish_group(t, e);
}

CLQ_INLINE void finish_rest(waiting_tile *t, const tile_epilogue *e) {
    while (t->next < TILE_GROUPS)
        finish_group(t, e);
}

#endif
#endif

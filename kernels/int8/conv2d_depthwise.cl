/* int8 depthwise convolution (see conv_int8.h): each output channel has one input channel.
 *
 * CPU schedule: a unit is a chunk of channels (depthwise_chunks.h) of one output row. Columns of
 * the image are first turned into words, STEP rows of one channel to a lane, so that a dot product
 * takes up to STEP taps at once and a column serves all the windows that it is in:
 *
 *     rows of x    a b c d        panel   [a e i 0] [b f j 0] [c g k 0] [d h l 0]   (STEP 4, KH 3)
 *                  e f g h                 \_______ window 0 _______/
 *                  i j k l                           \_______ window 1 _______/
 *
 * A vector is as many channels as a register has bytes or, where a chunk has fewer, those of
 * neighbouring columns. Words and sums are planes of it (dot4_planes.h), and so are the tables:
 *
 *     weights   [chunks][KW][KH / STEP][planes][lanes][STEP], rows beyond KH zero
 *     channels  as in conv_int8.h with NR = [planes][lanes]; a chunk's channels repeated for each
 *               of the columns
 *     panel     [planes][KH / STEP][columns modulo the stride][columns][channels]
 *
 * GPU schedule: a unit is 4 channels of one output pixel, 4 taps at a time; weights [taps /
 * 4][pitch][4]. Channel tables with NR = 4. */
#include "dot4.h"
#include "elementwise.h"
#include "int8_epilogue.h"

#ifdef CLQ_SCHEDULE_CPU

#include "depthwise_roll.h"

#define NR (4 * DOTV_LANES)
#define PLANE                                                                                      \
    (DEPTHWISE_PANEL / DOTV_PIECES * DOTV_LANES + 16) /* not all in the same cache sets            \
                                                       */

/* ---- columns to words ---- */

static inline void fill_vector(int *to, const dotv_acc *rows) {
    dotv_acc planes[4];
    dotv_unpack(rows, planes);
#pragma unroll
    for (int q = 0; q < 4; q++)
        *(any_vector *)(to + q * PLANE) = planes[q];
}

/* `vectors` of them, all columns inside the image; the columns of each are `step` columns apart. A
 * function of its own has the registers for it. */
__attribute__((noinline)) static void fill_inside(int *to, const window_rows *rows, int x, int step,
                                                  int pieces, int vectors) {
    __global const uchar *from[DOTV_STEP];
    long next[DOTV_STEP];
#pragma unroll
    for (int j = 0; j < DOTV_STEP; j++) {
        from[j] = rows->at[j] + (long)x * rows->pitch[j];
        next[j] = (long)step * (DOTV_PIECES / pieces) * rows->pitch[j];
    }
    for (int i = 0; i < vectors; i++, to += DOTV_LANES) {
        dotv_acc words[DOTV_STEP];
#pragma unroll
        for (int j = 0; j < DOTV_STEP; j++) {
            words[j] = pieces == DOTV_PIECES ? *(__global const any_vector *)from[j]
                                             : load_columns(from[j], step * rows->pitch[j], pieces);
            from[j] += next[j];
        }
        fill_vector(to, words);
    }
}

/* `count` columns, `stride` apart, the first of which is x0. */
static inline void fill_phase(int *to, const chunk *k, const window_rows *from, int x0, int stride,
                              int count, int iw, int outside) {
    const int first = clamp((stride - 1 - x0) / stride, 0, count);
    const int last = clamp((iw + stride - 1 - x0) / stride, first, count);
    for (int i = 0; i < count; i += k->beside, to += DOTV_LANES) {
        dotv_acc rows[DOTV_STEP];
        const int inside = i < first || k->left < PIECE ? 0 : (last - i) / k->beside;
        if (inside > 0) {
            fill_inside(to, from, x0 + i * stride, stride, k->pieces, inside);
            i += (inside - 1) * k->beside;
            to += (inside - 1) * DOTV_LANES;
            continue;
        }
        for (int j = 0; j < DOTV_STEP; j++)
            rows[j] = load_edge(k, from->at[j] + (long)(x0 + i * stride) * from->pitch[j],
                                stride * from->pitch[j], first - i, last - i, outside);
        fill_vector(to, rows);
    }
}

/* The words of `outputs` windows' columns, the first of which is column x0 of row y0. `width`:
 * vectors of a phase. */
static inline void fill_panel(int *panel, const chunk *k, int y0, int x0, int outputs, int width,
                              const conv_int8 *s, __global const uchar *outside) {
    const int columns = (outputs - 1) * s->stride_w + (s->kw - 1) * s->dilation_w + 1;
    for (int ky = 0; ky < s->kh; ky += DOTV_STEP) {
        const window_rows rows = rows_of_window(k, y0, ky, s, outside);
        for (int phase = 0; phase < s->stride_w; phase++, panel += width * DOTV_LANES)
            fill_phase(panel, k, &rows, x0 + phase, s->stride_w,
                       (columns - phase + s->stride_w - 1) / s->stride_w, s->iw, s->outside[0]);
    }
}

/* ---- sums ---- */

/* acc += the words at `panel` times the weights of all taps; those of column kx are at[kx] words
 * further, the next group of rows `group` words. */
static inline void sum_window(dotv_acc *acc, const int *panel, const int *at, int group, int groups,
                              __global const dotv_acc *w, int kw) {
    for (int kx = 0; kx < kw; kx++)
        for (int g = 0; g < groups; g++, w += 4) {
            const int *from = panel + at[kx] + g * group;
#pragma unroll
            for (int q = 0; q < 4; q++)
                acc[q] = dotv_mac(acc[q], *(const any_vector *)(from + q * PLANE), w[q]);
        }
}

#if QUICK
/* The codes of `vectors` of a panel, whole ones. A function of its own has the registers for it. */
__attribute__((noinline)) static void sum_quickly(const int *panel, const int *at, int group,
                                                  int groups, int kw, int pieces, int vectors,
                                                  const quick_row *row) {
    const quick_row r = *row;
    for (int i = 0; i < vectors; i++) {
        dotv_acc acc[4];
#pragma unroll
        for (int q = 0; q < 4; q++)
            acc[q] = r.starts[q];
        sum_window(acc, panel + i * DOTV_LANES, at, group, groups, r.w, kw);
        store_whole(quick_codes(acc, r.factors, r.bounds),
                    r.y + (long)i * (DOTV_PIECES / pieces) * r.pitch, r.pitch, pieces);
    }
}
#endif

/* ---- codes ---- */

#define DEPTHWISE_REQUANTIZE(W, ...) INT8_REQUANTIZE(W, __VA_ARGS__)
#define DEPTHWISE_ADD(W, ...) INT8_ADD(W, __VA_ARGS__)

/* The codes of a vector's sums; `channel` and `stride` as in int8_epilogue.h. */
static inline dotv_acc depthwise_codes(const dotv_acc *acc, __global const int *channel, int stride,
                                       int8_epilogue e) {
    __global const int *factors = channel + stride;
    dotv_acc codes[4];
#pragma unroll
    for (int q = 0; q < 4; q++, factors += DOTV_LANES)
        codes[q] = DEPTHWISE_REQUANTIZE(DOTV_LANES, acc[q], factors, stride, e);
    return dotv_pack(codes);
}

/* The same with a residual's codes added. */
static inline dotv_acc depthwise_added(const dotv_acc *acc, __global const int *channel, int stride,
                                       dotv_acc residual, int8_epilogue e) {
    __global const int *factors = channel + stride;
    dotv_acc codes[4];
#pragma unroll
    for (int q = 0; q < 4; q++, factors += DOTV_LANES)
        codes[q] = DEPTHWISE_ADD(DOTV_LANES, acc[q], factors, stride, dotv_plane(residual, q), e);
    return dotv_pack(codes);
}

/* Reals of the first `count` columns. */
static inline void store_reals(const chunk *k, const dotv_acc *acc, __global const int *channel,
                               int stride, __global float *y, int step, int count,
                               int8_epilogue e) {
    int sums[NR] __attribute__((aligned(64)));
#pragma unroll
    for (int q = 0; q < 4; q++)
        *(dotv_acc *)(sums + q * DOTV_LANES) = acc[q];
    for (int i = 0; i / k->pieces < count && i < DOTV_PIECES; i++)
        for (int q = 0; q < 4; q++) {
            const int lane = q * DOTV_LANES + 4 * i, c = i % k->pieces * PIECE + 4 * q;
            if (c < k->left)
                store_reals4(int8_real4(vload4(0, sums + lane), channel + lane, stride, e),
                             k->left - c, y + (long)(i / k->pieces) * step + c);
        }
}

/* ---- all of it ---- */

/* Where everything of one launch is. */
typedef struct depthwise {
    __global const uchar *x, *residual, *outside; /* outside: 64 bytes of x_zero */
    __global uchar *y;
    conv_int8 shape;
    int rows, groups; /* of all images; of a window's rows */
    int stride;       /* of the channel table */
    int width;        /* vectors of the panel for a phase */
} depthwise;

/* Chunk `block` of the channels of image n. */
static inline chunk chunk_of(const depthwise *d, int block, int n) {
    const conv_int8 *s = &d->shape;
    const long image = (long)s->ih * s->iw * s->in_pitch;
    int piece = block * DOTV_PIECES;
    chunk k = {.pieces = DOTV_PIECES};
    if (block >= s->oc / NR)
        k.pieces = depthwise_chunk(s->oc, DOTV_PIECES, block, &piece);
    k.first = piece * PIECE;
    k.left = s->oc - k.first;
    k.beside = DOTV_PIECES / k.pieces;
    k.image = d->x + n * image + k.first;
    k.image_end = d->x + d->rows / s->oh * image;
    return k;
}

/* A chunk of a row of y whose windows are in the panel, from output o of `count` on; the first one
 * is pixel `pixel`. */
static inline void finish_strip(const depthwise *d, const chunk *k, const int *panel, const int *at,
                                long pixel, int o, int count, __global const dotv_acc *w,
                                __global const int *channel) {
    const conv_int8 *s = &d->shape;
    for (; o < count; o += k->beside) {
        const long to = (pixel + o) * s->out_pitch + k->first;
        const int here = min(k->beside, count - o);
        dotv_acc acc[4], codes;
#pragma unroll
        for (int q = 0; q < 4; q++)
            acc[q] = ((__global const dotv_acc *)channel)[q];
        sum_window(acc, panel + o * k->pieces * 4, at, s->stride_w * d->width * DOTV_LANES,
                   d->groups, w, s->kw);
        if (s->epilogue.float_output) {
            store_reals(k, acc, channel, d->stride,
                        (__global float *)d->y + (pixel + o) * s->oc + k->first, s->oc, here,
                        s->epilogue);
            continue;
        }
        if (d->residual)
            codes = depthwise_added(acc, channel, d->stride,
                                    load_some(k, d->residual + to, s->out_pitch, 0, here,
                                              d->residual + (long)s->pixels * s->out_pitch, 0),
                                    s->epilogue);
        else
            codes = depthwise_codes(acc, channel, d->stride, s->epilogue);
        store_columns(k, codes, d->y + to, s->out_pitch, here);
    }
}

/* A chunk of a row of y by way of the panel. `quick`: its tables, where it may be quick; or NULL.
 */
static inline void run_panel(const depthwise *d, const chunk *k, int *panel, int row, int y0,
                             __global const dotv_acc *w, __global const int *channel,
                             quick_row *quick) {
    const conv_int8 *s = &d->shape;
    const int reach = (s->kw - 1) * s->dilation_w + 1;
    const int outputs = depthwise_outputs(DOTV_PIECES, k->pieces, d->groups, s->stride_w, reach);
    int at[DEPTHWISE_PANEL];
    for (int kx = 0; kx < s->kw; kx++) {
        const int column = kx * s->dilation_w;
        at[kx] =
            column % s->stride_w * d->width * DOTV_LANES + column / s->stride_w * k->pieces * 4;
    }
    for (int ox = 0; ox < s->ow; ox += outputs) {
        const int count = min(outputs, s->ow - ox);
        int o = 0;
        fill_panel(panel, k, y0, ox * s->stride_w - s->pad_left, count, d->width, s, d->outside);
#if QUICK
        if (quick) {
            sum_quickly(panel, at, s->stride_w * d->width * DOTV_LANES, d->groups, s->kw, k->pieces,
                        count / k->beside, quick);
            quick->y += (long)count * s->out_pitch;
            o = count / k->beside * k->beside;
        }
#endif
        finish_strip(d, k, panel, at, (long)row * s->ow + ox, o, count, w, channel);
    }
}

__kernel void conv2d_int8_depthwise(__global const uchar *x, __global const dotv_element *weights,
                                    __global const int *channels, __global const uchar *residual,
                                    __global uchar *y, __global const conv_int8 *shape) {
    depthwise d = {
        .x = x, .residual = residual, .outside = (__global const uchar *)shape->outside, .y = y};
    d.shape = *shape;
    const conv_int8 *s = &d.shape;
    d.rows = s->pixels / s->ow;
    d.groups = (s->kh + DOTV_STEP - 1) / DOTV_STEP;
    d.stride = s->blocks * NR;
    d.width = DEPTHWISE_PANEL / DOTV_PIECES / (d.groups * s->stride_w);
    int panel[4 * PLANE] __attribute__((aligned(64)));
    long unit, end;
    clq_share((long)d.rows * s->blocks, 1, &unit, &end);
    int block = (int)(unit % s->blocks), row = (int)(unit / s->blocks);
#if QUICK
    quick_row quick = {.bounds = dotv_bounds_of((int)as_float(s->epilogue.y_zero),
                                                (int)as_float(s->epilogue.y_lo),
                                                (int)as_float(s->epilogue.y_hi)),
                       .pitch = s->out_pitch};
#endif
    for (; unit < end; unit++) {
        const int n = row / s->oh, y0 = (row - n * s->oh) * s->stride_h - s->pad_top;
        const chunk k = chunk_of(&d, block, n);
        __global const dotv_acc *w =
            (__global const dotv_acc *)weights + (long)block * s->kw * d.groups * 4;
        __global const int *channel = channels + block * NR;
        bool rolled = false;
        quick_row *row_of = 0;
#if QUICK
        if (s->epilogue.near && !residual && k.left >= PIECE) {
            quick.w = w;
            quick.starts = (__global const dotv_acc *)channel;
            quick.factors = (__global const dotv_real *)(channel + d.stride);
            quick.y = y + (long)row * s->ow * s->out_pitch + k.first;
            row_of = &quick;
        }
#endif
#if ROLLS
        rolled = row_of && can_roll(s);
        if (rolled)
            roll(&k, y0, s, d.outside, &quick);
#endif
        if (!rolled)
            run_panel(&d, &k, panel, row, y0, w, channel, row_of);
        if (++block == s->blocks) {
            block = 0;
            row++;
        }
    }
}

#else

/* 4 channels of one tap; tap may lie beyond the last, where weights are zero. */
static inline uint tap_word(__global const uchar *image, int y0, int x0, int tap,
                            const conv_int8 *s) {
    const int ky = tap / s->kw, kx = tap - ky * s->kw;
    const int iy = y0 + ky * s->dilation_h, ix = x0 + kx * s->dilation_w;
    if ((uint)iy >= (uint)s->ih || (uint)ix >= (uint)s->iw)
        return (uint)s->x_zero * 0x01010101u;
    return *(__global const uint *)(image + ((long)iy * s->iw + ix) * s->in_pitch);
}

__kernel void conv2d_int8_depthwise(__global const uchar *x, __global const uint *weights,
                                    __global const int *channels, __global const uchar *residual,
                                    __global uchar *y, __global const conv_int8 *shape) {
    const conv_int8 s = *shape;
    const int stride = s.blocks * 4, taps = s.kh * s.kw;
    const long units = (long)s.pixels * s.blocks, unit = get_global_id(0);
    if (unit >= units)
        return;
    const int c = (int)(unit % s.blocks) * 4, left = s.oc - c;
    const long pixel = unit / s.blocks, n = pixel / s.ow / s.oh;
    const int y0 = (int)(pixel / s.ow % s.oh) * s.stride_h - s.pad_top;
    const int x0 = (int)(pixel % s.ow) * s.stride_w - s.pad_left;
    __global const uchar *image = x + n * s.ih * s.iw * s.in_pitch + c;
    int4 acc = vload4(0, channels + c);
    for (int tap = 0; tap < taps; tap += 4) {
        const uchar4 t0 = as_uchar4(tap_word(image, y0, x0, tap, &s));
        const uchar4 t1 = as_uchar4(tap_word(image, y0, x0, tap + 1, &s));
        const uchar4 t2 = as_uchar4(tap_word(image, y0, x0, tap + 2, &s));
        const uchar4 t3 = as_uchar4(tap_word(image, y0, x0, tap + 3, &s));
        const uint4 w = vload4(0, weights + tap / 4 * stride + c);
        acc.x = dot4_us(as_uint((uchar4)(t0.x, t1.x, t2.x, t3.x)), w.x, acc.x);
        acc.y = dot4_us(as_uint((uchar4)(t0.y, t1.y, t2.y, t3.y)), w.y, acc.y);
        acc.z = dot4_us(as_uint((uchar4)(t0.z, t1.z, t2.z, t3.z)), w.z, acc.z);
        acc.w = dot4_us(as_uint((uchar4)(t0.w, t1.w, t2.w, t3.w)), w.w, acc.w);
    }
    if (s.epilogue.float_output) {
        store_reals4(int8_real4(acc, channels + c, stride, s.epilogue), left,
                     (__global float *)y + pixel * s.oc + c);
        return;
    }
    const long at = pixel * s.out_pitch + c;
    codes_store4(
        int8_code4(acc, channels + c, stride, residual ? residual + at : residual, s.epilogue),
        left, y + at);
}

#endif

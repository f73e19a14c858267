/* int8 depthwise convolution (see conv_int8.h): each output channel has one input channel.
 *
 * CPU schedule: a unit is 16 channels of one output row. Columns of the image are first turned into
 * words, STEP rows of one channel to a lane, so that a dot product takes up to STEP taps at once
 * and a column serves all the windows that it is in:
 *
 *     rows of x    a b c d        panel   [a e i 0] [b f j 0] [c g k 0] [d h l 0]   (STEP 4, KH 3)
 *                  e f g h                 \_______ window 0 _______/
 *                  i j k l                           \_______ window 1 _______/
 *
 *     weights   [channels / 16][KW][KH / STEP][16][STEP], rows beyond KH zero
 *
 * GPU schedule: a unit is 4 channels of one output pixel, 4 taps at a time; weights [taps /
 * 4][pitch][4]. Channel tables as in conv_int8.h with NR = 16 and 4. */
#include "dot4.h"
#include "elementwise.h"
#include "int8_epilogue.h"

#ifdef CLQ_SCHEDULE_CPU

#define CHUNK 16
#define VECTORS (CHUNK / DOTV_LANES)
#ifndef PANEL /* words of 16 channels that the panel holds */
#define PANEL 256
#endif

#define TOGETHER 4 /* windows that share the loads of their weights */

/* Codes of 16 channels, of which `left` lie inside the pixel: the rest is not touched. */
static inline int16 load_chunk(__global const uchar *p, int left) {
    uint words[4] = {0, 0, 0, 0};
    if (left >= CHUNK)
        return codes_load16(p);
    for (int i = 0; i * 4 < left; i++)
        words[i] = ((__global const uint *)p)[i];
    return convert_int16(as_uchar16(vload4(0, words)));
}

/* Puts codes into byte or half `shift` of a column's word; the first row there clears the rest. */
static inline void put_codes(int *word, int16 q, int shift) {
    const int16 old = shift == 0 ? (int16)(0) : *(const int16 *)word;
    *(int16 *)word = old | q << shift; /* one store, where vstore16 may take three */
}

/* One row of the window for `count` columns, `groups` words apart; those from `first` to `last` lie
 * inside the image, and the codes of column i at from + i * pitch. */
static inline void fill_row(int *panel, int groups, int shift, __global const uchar *from,
                            int pitch, int count, int first, int last, int left, int zero) {
    const int16 outside = (int16)(zero);
    int i = 0;
    for (; i < first; i++)
        put_codes(panel + i * groups * CHUNK, outside, shift);
    if (left >= CHUNK)
        for (; i < last; i++)
            put_codes(panel + i * groups * CHUNK, codes_load16(from + (long)i * pitch), shift);
    for (; i < last; i++)
        put_codes(panel + i * groups * CHUNK, load_chunk(from + (long)i * pitch, left), shift);
    for (; i < count; i++)
        put_codes(panel + i * groups * CHUNK, outside, shift);
}

/* The words of `count` columns, the first of which is column x0 of row y0, at `from`. */
static inline void fill_columns(int *panel, __global const uchar *from, int y0, int x0, int count,
                                int groups, int left, const conv_int8 *s) {
    const int first = clamp(-x0, 0, count), last = clamp(s->iw - x0, first, count);
    for (int ky = 0; ky < s->kh; ky++) {
        const int dy = ky * s->dilation_h;
        const bool inside = (uint)(y0 + dy) < (uint)s->ih;
        fill_row(panel + ky / DOTV_STEP * CHUNK, groups, ky % DOTV_STEP * (32 / DOTV_STEP),
                 from + (long)dy * s->iw * s->in_pitch, s->in_pitch, count, inside ? first : count,
                 inside ? last : count, left, s->x_zero);
    }
}

/* Sums of TOGETHER windows; window i starts at panel[i], a word of weights has `groups` parts. */
static inline void sum_windows(int *sums, int *const *panel, __global const int *w,
                               __global const int *start, int groups, const conv_int8 *s) {
    dotv_acc acc[TOGETHER * VECTORS];
#pragma unroll
    for (int i = 0; i < TOGETHER * VECTORS; i++)
        acc[i] = DOTV_CAT(vload, DOTV_LANES)(i % VECTORS, start);
    for (int kx = 0; kx < s->kw; kx++)
        for (int g = 0; g < groups; g++, w += CHUNK) {
            const int at = (kx * s->dilation_w * groups + g) * CHUNK;
#pragma unroll
            for (int v = 0; v < VECTORS; v++) {
                const dotv_acc k = DOTV_CAT(vload, DOTV_LANES)(v, w);
#pragma unroll
                for (int i = 0; i < TOGETHER; i++)
                    acc[i * VECTORS + v] = dotv_mac(
                        acc[i * VECTORS + v], DOTV_CAT(vload, DOTV_LANES)(v, panel[i] + at), k);
            }
        }
#pragma unroll
    for (int i = 0; i < TOGETHER * VECTORS; i++)
        *(dotv_acc *)(sums + i * DOTV_LANES) = acc[i];
}

/* One pixel's chunk, of which `left` channels exist. */
static inline void finish_chunk(const int *sums, __global const int *channel, int stride, int left,
                                __global const uchar *residual, __global uchar *y,
                                const int8_epilogue e) {
    if (e.float_output) {
        for (int c = 0; c < min(left, CHUNK); c += 4)
            store_reals4(int8_real4(vload4(0, sums + c), channel + c, stride, e), left - c,
                         (__global float *)y + c);
    } else if (left >= CHUNK) {
        codes_store16(int8_code16(vload16(0, sums), channel, stride, residual, e), y);
    } else {
        for (int c = 0; c < left; c += 4)
            codes_store4(int8_code4(vload4(0, sums + c), channel + c, stride,
                                    residual ? residual + c : residual, e),
                         left - c, y + c);
    }
}

__kernel void conv2d_int8_depthwise(__global const uchar *x, __global const dotv_element *weights,
                                    __global const int *channels, __global const uchar *residual,
                                    __global uchar *y, __global const conv_int8 *shape) {
    const conv_int8 s = *shape;
    const int groups = (s.kh + DOTV_STEP - 1) / DOTV_STEP, stride = s.blocks * CHUNK;
    const int reach = (s.kw - 1) * s.dilation_w + 1;
    const int outputs = (PANEL / groups - reach) / s.stride_w + 1; /* that a panel serves */
    const long units = (long)(s.pixels / s.ow) * s.blocks;
    int panel[PANEL * CHUNK] __attribute__((aligned(64)));
    int sums[TOGETHER * CHUNK] __attribute__((aligned(64)));
    long unit, end;
    clq_share(units, 1, &unit, &end);
    for (; unit < end; unit++) {
        const int block = (int)(unit % s.blocks), c = block * CHUNK, left = s.oc - c;
        const long row = unit / s.blocks, n = row / s.oh;
        const int y0 = (int)(row % s.oh) * s.stride_h - s.pad_top;
        __global const int *w = (__global const int *)weights + (long)block * s.kw * groups * CHUNK;
        for (int ox = 0; ox < s.ow; ox += outputs) {
            const int count = min(outputs, s.ow - ox), x0 = ox * s.stride_w - s.pad_left;
            fill_columns(panel, x + ((n * s.ih + y0) * s.iw + x0) * s.in_pitch + c, y0, x0,
                         (count - 1) * s.stride_w + reach, groups, left, &s);
            for (int o = 0; o < count; o += TOGETHER) {
                int *windows[TOGETHER];
                for (int i = 0; i < TOGETHER; i++) /* those past the last repeat it */
                    windows[i] = panel + min(o + i, count - 1) * s.stride_w * groups * CHUNK;
                sum_windows(sums, windows, w, channels + c, groups, &s);
                for (int i = 0; i < min(TOGETHER, count - o); i++) {
                    const long pixel = row * s.ow + ox + o + i, at = pixel * s.out_pitch + c;
                    finish_chunk(sums + i * CHUNK, channels + c, stride, left,
                                 residual ? residual + at : residual,
                                 y + (s.epilogue.float_output ? (pixel * s.oc + c) * 4 : at),
                                 s.epilogue);
                }
            }
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

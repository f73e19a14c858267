/* Pooling of codes, shortcut A and flatten. Equations: requantize.h.
 *
 * A unit is one output pixel and CHUNK channels. Padding is ignored. */
#include "elementwise.h"
#include "int8_codes.h"
#include "requantizer.h"

#ifdef CLQ_SCHEDULE_CPU
#define CHUNK 16
#else
#define CHUNK 4
#endif

typedef struct window {
    long at;           /* bytes of the first pixel inside x, and channel */
    int height, width; /* pixels inside x */
    long to;           /* bytes of the output pixel, and channel */
    int channel;
    int index; /* of the output pixel within its image */
} window;

typedef struct pool_shape {
    int ih, iw, channels, oh, ow;
    int kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
} pool_shape;

static inline window window_of(long unit, const pool_shape *s) {
    const int pitch = (s->channels + 3) / 4 * 4, chunks = (pitch + CHUNK - 1) / CHUNK;
    const long pixel = unit / chunks;
    window w;
    w.channel = (int)(unit % chunks) * CHUNK;
    w.to = pixel * pitch + w.channel;
    const int ox = (int)(pixel % s->ow), oy = (int)(pixel / s->ow % s->oh);
    const long n = pixel / s->ow / s->oh;
    w.index = oy * s->ow + ox;
    const int y = oy * s->stride_h - s->pad_top, x = ox * s->stride_w - s->pad_left;
    const int y0 = max(y, 0), x0 = max(x, 0);
    w.height = min(y + s->kernel_h, s->ih) - y0;
    w.width = min(x + s->kernel_w, s->iw) - x0;
    w.at = ((n * s->ih + y0) * s->iw + x0) * pitch + w.channel;
    return w;
}

#define POOL_SHAPE_ARGUMENTS                                                                       \
    int ih, int iw, int channels, int oh, int ow, int kernel_h, int kernel_w, int stride_h,        \
        int stride_w, int pad_top, int pad_left
#define POOL_SHAPE                                                                                 \
    { ih, iw, channels, oh, ow, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left }

/* BODY(W) for the channels of window `w`: 16 at once, or 4 at `c` beyond its first. */
#if CHUNK == 16
#define FOR_CHUNK(w, channels, BODY)                                                               \
    int c = 0;                                                                                     \
    if ((w).channel + 16 <= (channels)) {                                                          \
        BODY(16)                                                                                   \
    } else                                                                                         \
        for (; (w).channel + c < (channels); c += 4) {                                             \
            BODY(4)                                                                                \
        }
#define codes_put16(q, left, p) codes_store16(q, p)
#else
#define FOR_CHUNK(w, channels, BODY)                                                               \
    const int c = 0;                                                                               \
    BODY(4)
#endif
#define codes_put4(q, left, p) codes_store4(q, left, p)

/* factors (OH, OW): a mean's constants by the output pixel's place, as their windows hold different
 * numbers. */
__kernel void int8_avg_pool(__global const uchar *x, __global uchar *y,
                            __global const int2 *factors, int x_zero, int zero, int lo, int hi,
                            int units, POOL_SHAPE_ARGUMENTS) {
    const pool_shape s = POOL_SHAPE;
    const long pitch = (s.channels + 3) / 4 * 4;
    long unit, end;
    clq_share(units, 1, &unit, &end);
    for (; unit < end; unit++) {
        const window w = window_of(unit, &s);
        const int2 m = factors[w.index];
#define AVG_POOL(W)                                                                                \
    int##W sum = (int##W)(-x_zero * w.height * w.width);                                           \
    for (int i = 0; i < w.height; i++)                                                             \
        for (int j = 0; j < w.width; j++)                                                          \
            sum += codes_load##W(x + w.at + c + (i * (long)s.iw + j) * pitch);                     \
    codes_put##W(MEAN_INT(W, sum, m.x, m.y, zero, lo, hi), s.channels - w.channel - c,             \
                 y + w.to + c);
        FOR_CHUNK(w, s.channels, AVG_POOL)
    }
}

#if CLQ_REQUANT == 0 /* none of these ever runs in a program of another requantizer */

__kernel void int8_max_pool(__global const uchar *x, __global uchar *y, int units,
                            POOL_SHAPE_ARGUMENTS) {
    const pool_shape s = POOL_SHAPE;
    const long pitch = (s.channels + 3) / 4 * 4;
    long unit, end;
    clq_share(units, 1, &unit, &end);
    for (; unit < end; unit++) {
        const window w = window_of(unit, &s);
#define MAX_POOL(W)                                                                                \
    int##W best = (int##W)(0);                                                                     \
    for (int i = 0; i < w.height; i++)                                                             \
        for (int j = 0; j < w.width; j++)                                                          \
            best = max(best, codes_load##W(x + w.at + c + (i * (long)s.iw + j) * pitch));          \
    codes_put##W(best, s.channels - w.channel - c, y + w.to + c);
        FOR_CHUNK(w, s.channels, MAX_POOL)
    }
}

/* Units are words of y. */
__kernel void int8_shortcut_a(__global const uchar *x, __global uchar *y, int words, int ih, int iw,
                              int ic, int oh, int ow, int oc, int stride, int front, int zero) {
    const int in_pitch = (ic + 3) / 4 * 4, row = (oc + 3) / 4;
    long w, end;
    clq_share(words, 1, &w, &end);
    for (; w < end; w++) {
        const long pixel = w / row;
        const int first = (int)(w % row) * 4;
        const int ox = (int)(pixel % ow), oy = (int)(pixel / ow % oh);
        const long n = pixel / ow / oh;
        __global const uchar *from =
            x + ((n * ih + oy * stride) * iw + ox * stride) * in_pitch - front;
        int4 q;
        if (first >= front && first + 4 <= front + ic && front % 4 == 0) {
            q = codes_load4(from + first);
        } else {
            int codes[4];
            for (int k = 0; k < 4; k++)
                codes[k] = first + k >= front && first + k < front + ic ? from[first + k] : zero;
            q = vload4(0, codes);
        }
        codes_store4(q, oc - first, y + w * 4);
    }
}

#endif

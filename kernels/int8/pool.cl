/* Pooling of codes, shortcut A and flatten. Equations: requantize.h.
 *
 * A unit is one output pixel and CHUNK channels. Padding is ignored. */
#include "code_chunks.h"
#include "elementwise.h"
#include "requantizer.h"

typedef struct window {
    long at;           /* bytes of the first pixel inside x, and channel */
    int height, width; /* pixels inside x, dilation apart */
    long to;           /* bytes of the output pixel, and channel */
    int channel;
    int index; /* of the output pixel within its image */
} window;

typedef struct pool_shape {
    int ih, iw, channels, oh, ow;
    int kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
} pool_shape;

/* Of the pixels at + k * dilation, 0 <= k < taps, the first k that lies in 0 .. size - 1, and how
 * many do. */
static inline int2 pixels_inside(int at, int taps, int dilation, int size) {
    int first = max(-at, 0), end = size - at;
    if (dilation > 1) {
        first = (first + dilation - 1) / dilation;
        end = (end + dilation - 1) / dilation;
    }
    return (int2)(first, min(taps, end) - first);
}

static inline window window_of(int unit, const pool_shape *s) {
    const int pitch = CODE_PITCH(s->channels), chunks = CODE_CHUNKS(s->channels);
    const int pixel = unit / chunks;
    window w;
    w.channel = (unit - pixel * chunks) * CHUNK;
    w.to = (long)pixel * pitch + w.channel;
    const int line = pixel / s->ow, ox = pixel - line * s->ow;
    const long n = line / s->oh;
    const int oy = line - (int)n * s->oh;
    w.index = oy * s->ow + ox;
    const int y = oy * s->stride_h - s->pad_top, x = ox * s->stride_w - s->pad_left;
    const int2 rows = pixels_inside(y, s->kernel_h, s->dilation_h, s->ih);
    const int2 columns = pixels_inside(x, s->kernel_w, s->dilation_w, s->iw);
    const int y0 = y + rows.x * s->dilation_h, x0 = x + columns.x * s->dilation_w;
    w.height = rows.y;
    w.width = columns.y;
    w.at = ((n * s->ih + y0) * s->iw + x0) * pitch + w.channel;
    return w;
}

#define POOL_SHAPE_ARGUMENTS                                                                       \
    int ih, int iw, int channels, int oh, int ow, int kernel_h, int kernel_w, int stride_h,        \
        int stride_w, int pad_top, int pad_left, int dilation_h, int dilation_w
#define POOL_SHAPE                                                                                 \
    {                                                                                              \
        ih, iw, channels, oh, ow, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left,       \
            dilation_h, dilation_w                                                                 \
    }

/* factors (OH, OW): a mean's constants by the output pixel's place, as their windows hold different
 * numbers. */
__kernel void int8_avg_pool(__global const uchar *x, __global uchar *y,
                            __global const int2 *factors, int x_zero, int zero, int lo, int hi,
                            int units, POOL_SHAPE_ARGUMENTS) {
    const pool_shape s = POOL_SHAPE;
    const long pitch = CODE_PITCH(s.channels);
    const long down = s.dilation_h * (long)s.iw, along = s.dilation_w;
    long unit, end;
    clq_share(units, 1, &unit, &end);
    for (; unit < end; unit++) {
        const window w = window_of((int)unit, &s);
        const int2 m = factors[w.index];
#define AVG_POOL(W)                                                                                \
    int##W sum = (int##W)(-x_zero * w.height * w.width);                                           \
    for (int i = 0; i < w.height; i++)                                                             \
        for (int j = 0; j < w.width; j++)                                                          \
            sum += codes_load##W(x + w.at + c + (i * down + j * along) * pitch);                     \
    codes_put##W(MEAN_INT(W, sum, m.x, m.y, zero, lo, hi), s.channels - w.channel - c,             \
                 y + w.to + c);
        FOR_CHUNK(w.channel, s.channels, AVG_POOL)
    }
}

#if CLQ_REQUANT == 0 /* none of these ever runs in a program of another requantizer */

/* 64 channels at any multiple of 4 bytes. */
typedef uchar bytes64 __attribute__((ext_vector_type(64), aligned(4)));

__kernel void int8_max_pool(__global const uchar *x, __global uchar *y, int units,
                            POOL_SHAPE_ARGUMENTS) {
    const pool_shape s = POOL_SHAPE;
    const long pitch = CODE_PITCH(s.channels);
    const long down = s.dilation_h * (long)s.iw * pitch, along = s.dilation_w * pitch;
    long unit, end;
    clq_share(units, 1, &unit, &end);
    while (unit < end) {
        const window w = window_of((int)unit, &s);
        __global const uchar *from = x + w.at;
#define MAX_POOL(T, LOAD)                                                                          \
    T best = (T)(0);                                                                               \
    for (int i = 0; i < w.height; i++)                                                             \
        for (int j = 0; j < w.width; j++) {                                                        \
            const T code = LOAD(from + i * down + j * along);                                      \
            best = CLQ_AT_LEAST(best, code);                                                       \
        }
#ifdef CLQ_SCHEDULE_CPU
#define LOAD_BYTES(p) *(__global const bytes64 *)(p)
        if (w.channel + 64 <= s.channels && unit + 64 / CHUNK <= end) {
            MAX_POOL(bytes64, LOAD_BYTES)
            *(__global bytes64 *)(y + w.to) = best;
            unit += 64 / CHUNK;
            continue;
        }
#endif
#define MAX_POOL_INT(W)                                                                            \
    from = x + w.at + c;                                                                           \
    MAX_POOL(int##W, codes_load##W)                                                                \
    codes_put##W(best, s.channels - w.channel - c, y + w.to + c);
        FOR_CHUNK(w.channel, s.channels, MAX_POOL_INT)
        unit++;
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

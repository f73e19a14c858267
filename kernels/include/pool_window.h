/* The windows of pooling: output pixel (oh, ow) of y (N, OH, OW, C) sees rows oh * SH - PT + kh,
 * 0 <= kh < KH, of x (N, IH, IW, C), and columns likewise. */
#ifndef CLQ_POOL_WINDOW_H
#define CLQ_POOL_WINDOW_H

#include "pixels.h"

#define POOL_SHAPE                                                                                 \
    int batch, int IH, int IW, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PT, int PL
#define X_AT(h, w) PIXEL(n, h, w, IH, IW, C)
#define Y_AT(h, w) PIXEL(n, h, w, OH, OW, C)

/* Runs BODY for every kh (row ih) of output row h's window that lies in the image; for every kw
 * (column iw) of output column w's. */
#define FOR_WINDOW_ROWS(BODY)                                                                      \
    for (int kh = max(0, PT - h * SH); kh < KH && h * SH - PT + kh < IH; kh++) {                   \
        const int ih = h * SH - PT + kh;                                                           \
        BODY                                                                                       \
    }
#define FOR_WINDOW_COLUMNS(BODY)                                                                   \
    for (int kw = max(0, PL - w * SW); kw < KW && w * SW - PL + kw < IW; kw++) {                   \
        const int iw = w * SW - PL + kw;                                                           \
        BODY                                                                                       \
    }
#define FOR_WINDOW(BODY) FOR_WINDOW_ROWS(FOR_WINDOW_COLUMNS(BODY))

/* How many pixels the mean of output (oh, ow) counts: those in the image, or, with the padding,
 * those in the padded image, where a window may hang over its end (ceil_mode). */
static inline int clq_window_count(int oh, int ow, int IH, int IW, int KH, int KW, int SH, int SW,
                                   int PT, int PL, int PB, int PR, int include_pad) {
    const int top = oh * SH - PT, left = ow * SW - PL;
    const int bottom = min(top + KH, include_pad ? IH + PB : IH);
    const int right = min(left + KW, include_pad ? IW + PR : IW);
    const int height = bottom - (include_pad ? top : max(top, 0));
    const int width = right - (include_pad ? left : max(left, 0));
    return height * width;
}
#define WINDOW_COUNT(oh, ow)                                                                       \
    clq_window_count(oh, ow, IH, IW, KH, KW, SH, SW, PT, PL, PB, PR, include_pad)

#endif

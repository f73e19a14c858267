/* The windows of pooling: output pixel (oh, ow) of y (N, OH, OW, C) sees rows oh * SH - PT + kh * DH,
 * 0 <= kh < KH, of x (N, IH, IW, C), and columns likewise. */
#ifndef CLQ_POOL_WINDOW_H
#define CLQ_POOL_WINDOW_H

#include "pixels.h"

#define POOL_SHAPE                                                                                 \
    int batch, int IH, int IW, int C, int OH, int OW, int KH, int KW, int SH, int SW, int PT,      \
        int PL, int DH, int DW
#define X_AT(h, w) PIXEL(n, h, w, IH, IW, C)
#define Y_AT(h, w) PIXEL(n, h, w, OH, OW, C)

/* ceil(pixels / dilation), for pixels > 0, mostly without a division; else 0. */
static inline int clq_dilated(int pixels, int dilation) {
    return pixels <= 0 ? 0 : dilation == 1 ? pixels : (pixels + dilation - 1) / dilation;
}

/* Runs BODY for every kh (row ih) of output row h's window that lies in the image; for every kw
 * (column iw) of output column w's. */
#define FOR_WINDOW_ROWS(BODY)                                                                      \
    for (int kh = clq_dilated(PT - h * SH, DH); kh < KH && h * SH - PT + kh * DH < IH; kh++) {     \
        const int ih = h * SH - PT + kh * DH;                                                      \
        BODY                                                                                       \
    }
#define FOR_WINDOW_COLUMNS(BODY)                                                                   \
    for (int kw = clq_dilated(PL - w * SW, DW); kw < KW && w * SW - PL + kw * DW < IW; kw++) {     \
        const int iw = w * SW - PL + kw * DW;                                                      \
        BODY                                                                                       \
    }
#define FOR_WINDOW(BODY) FOR_WINDOW_ROWS(FOR_WINDOW_COLUMNS(BODY))

/* How many pixels the mean of output (oh, ow) counts: those in the image, or, with the padding,
 * those in the padded image, where a window may hang over its end (ceil_mode). */
static inline int clq_window_pixels(int at, int taps, int dilation, int size, int pad,
                                    int include_pad) {
    const int until = clq_dilated((include_pad ? size + pad : size) - at, dilation);
    return min(taps, until) - (include_pad ? 0 : clq_dilated(-at, dilation));
}
#define WINDOW_COUNT(oh, ow)                                                                       \
    (clq_window_pixels((oh)*SH - PT, KH, DH, IH, PB, include_pad) *                                \
     clq_window_pixels((ow)*SW - PL, KW, DW, IW, PR, include_pad))

#endif

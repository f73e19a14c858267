/* The shape of one 2-D convolution, shared by the FP32 and int8 launchers.
 *
 * x (N, IH, IW, IC), w (OC, KH, KW, IC / G), y (N, OH, OW, OC), all NHWC.
 * A linear layer is the same with IH = IW = KH = KW = 1. A transposed convolution makes y from x as
 * the convolution from y to x, of this kernel, stride, padding and dilation, brings gradients back.
 */
#ifndef CLQUANT_OPS_CONV_GEOMETRY_H
#define CLQUANT_OPS_CONV_GEOMETRY_H

#include <clquant/ops.h>

typedef struct clq_conv_geometry {
    int n, ih, iw, ic;
    int oc, kh, kw;
    int oh, ow;
    int stride_h, stride_w;
    int pad_top, pad_left; /* the bottom and right padding follow from oh and ow */
    int dilation_h, dilation_w;
    int groups; /* ic and oc are multiples of it; groups == ic == oc is depthwise */
    bool transposed;
} clq_conv_geometry;

static inline bool clq_conv_is_depthwise(const clq_conv_geometry *g) {
    return g->groups > 1 && g->groups == g->ic && g->groups == g->oc;
}

#endif

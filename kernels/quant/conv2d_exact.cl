/* Convolution on codes for layers whose sums floats may not hold: equation (7) in int32.
 *
 *   x (N, IH, IW, IC) float q - z;  w (G, KH, KW, IC/G, OC/G) codes;  bias (OC) codes or NULL
 *   sums (N, OH, OW, OC)
 *
 * Pixels of x are spread_h and spread_w apart, with zeros between them: 1 for a convolution, the
 * stride for a transposed one, which then has stride 1 and its kernel turned around.
 *
 * Plain on purpose: it is what the integer network's kernels are compared with. A work-item makes
 * up to 16 output channels of one pixel; dimension 0 counts pixels, 1 blocks of channels. */

__kernel void conv2d_codes_exact(__global const float *x, __global const char *w,
                                 __global const int *bias, __global int *sums, int pixels, int IH,
                                 int IW, int IC, int OH, int OW, int OC, int KH, int KW,
                                 int stride_h, int stride_w, int pad_top, int pad_left,
                                 int dilation_h, int dilation_w, int groups, int spread_h,
                                 int spread_w) {
    const int depth = IC / groups, cols = OC / groups;
    const int blocks = (cols + 15) / 16; /* of a group */
    const int pixel = get_global_id(0), block = get_global_id(1);
    if (pixel >= pixels || block >= blocks * groups) {
        return;
    }
    const int group = block / blocks, first = block % blocks * 16;
    const int ow = pixel % OW, oh = pixel / OW % OH, n = pixel / OW / OH;
    const int width = min(16, cols - first);
    w += (long)group * KH * KW * depth * cols + first;

    int16 acc = 0;
    for (int kh = 0; kh < KH; kh++) {
        const int y = oh * stride_h - pad_top + kh * dilation_h, ih = y / spread_h;
        for (int kw = 0; kw < KW; kw++) {
            const int x0 = ow * stride_w - pad_left + kw * dilation_w, iw = x0 / spread_w;
            if (y < 0 || y % spread_h != 0 || ih >= IH || x0 < 0 || x0 % spread_w != 0 ||
                iw >= IW) {
                continue;
            }
            __global const float *from = x + (((long)n * IH + ih) * IW + iw) * IC + group * depth;
            __global const char *tap = w + (long)(kh * KW + kw) * depth * cols;
            for (int c = 0; c < depth; c++) {
                /* The host leaves 16 bytes behind the weights; lanes past `width` are not kept. */
                acc += convert_int(from[c]) * convert_int16(vload16(0, tap + (long)c * cols));
            }
        }
    }
    int lanes[16];
    vstore16(acc, 0, lanes);
    const int channel = group * cols + first;
    for (int l = 0; l < width; l++) {
        sums[(long)pixel * OC + channel + l] = lanes[l] + (bias ? bias[channel + l] : 0);
    }
}

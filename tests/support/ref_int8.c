#include "support/ref_int8.h"

#include <math.h>
#include <string.h>

#include "support/ref_requantize.h"

int ref_int8_pitch(int channels) {
    return (channels + 3) / 4 * 4;
}

static uint8_t clamp_code(double v, int lo, int hi) {
    return (uint8_t)(v < lo ? lo : v > hi ? hi : v);
}

static uint8_t round_to_code(float v, int zero_point, int lo, int hi) {
    return clamp_code((double)rintf(v) + zero_point, lo, hi);
}

static uint8_t requantize(const clq_conv2d_int8_params *p, int oc, int64_t acc) {
    float product = p->x_scale * p->w_scale[oc];
    return clamp_code(ref_requantize(p->requantizer, acc, product / p->y_scale) + p->y_zero_point,
                      p->y_lo, p->y_hi);
}

static uint8_t add_codes(clq_requantizer requantizer, int qa, float sa, int za, int qb, float sb,
                         int zb, float so, int zo, int lo, int hi) {
    return clamp_code(ref_requantized_add(requantizer, qa - za, sa, qb - zb, sb, so) + zo, lo, hi);
}

static int64_t conv_sum(const clq_conv_geometry *g, const clq_conv2d_int8_params *p,
                        const uint8_t *x, int n, int oy, int ox, int oc) {
    int inputs = g->ic / g->groups, group = oc / (g->oc / g->groups);
    int64_t acc = p->bias ? p->bias[oc] : 0;
    for (int ky = 0; ky < g->kh; ky++) {
        for (int kx = 0; kx < g->kw; kx++) {
            int iy = oy * g->stride_h - g->pad_top + ky * g->dilation_h;
            int ix = ox * g->stride_w - g->pad_left + kx * g->dilation_w;
            if (iy < 0 || iy >= g->ih || ix < 0 || ix >= g->iw) {
                continue;
            }
            const uint8_t *pixel =
                x + (((size_t)n * g->ih + iy) * g->iw + ix) * ref_int8_pitch(g->ic);
            const int8_t *w = p->w + (((size_t)oc * g->kh + ky) * g->kw + kx) * inputs;
            for (int c = 0; c < inputs; c++) {
                acc += (pixel[group * inputs + c] - p->x_zero_point) * w[c];
            }
        }
    }
    return acc;
}

void ref_conv2d_int8(const clq_conv_geometry *g, const clq_conv2d_int8_params *p, const uint8_t *x,
                     const uint8_t *residual, void *y) {
    int pitch = ref_int8_pitch(g->oc);
    if (!p->float_output) {
        memset(y, 0, (size_t)g->n * g->oh * g->ow * pitch);
    }
    for (int n = 0; n < g->n; n++) {
        for (int oy = 0; oy < g->oh; oy++) {
            for (int ox = 0; ox < g->ow; ox++) {
                size_t pixel = ((size_t)n * g->oh + oy) * g->ow + ox;
                for (int oc = 0; oc < g->oc; oc++) {
                    int64_t acc = conv_sum(g, p, x, n, oy, ox, oc);
                    if (p->float_output) {
                        float m = p->x_scale * p->w_scale[oc];
                        float real = (float)acc * m;
                        real = p->float_act != CLQ_ACT_NONE && real < 0 ? 0 : real;
                        real = p->float_act == CLQ_ACT_RELU6 && real > 6 ? 6 : real;
                        ((float *)y)[pixel * g->oc + oc] = real;
                        continue;
                    }
                    uint8_t q = requantize(p, oc, acc);
                    if (p->has_residual) {
                        q = add_codes(p->requantizer, q, p->y_scale, p->y_zero_point,
                                      residual[pixel * pitch + oc], p->r_scale, p->r_zero_point,
                                      p->out_scale, p->out_zero_point, p->out_lo, p->out_hi);
                    }
                    ((uint8_t *)y)[pixel * pitch + oc] = q;
                }
            }
        }
    }
}

void ref_int8_quantize(const float *real, uint8_t *codes, int pixels, int channels,
                       clq_int8_range range) {
    int pitch = ref_int8_pitch(channels);
    memset(codes, 0, (size_t)pixels * pitch);
    for (int i = 0; i < pixels; i++) {
        for (int c = 0; c < channels; c++) {
            float v = real[(size_t)i * channels + c] / range.scale;
            codes[(size_t)i * pitch + c] =
                isnan(v) ? (uint8_t)range.lo
                         : round_to_code(v, range.zero_point, range.lo, range.hi);
        }
    }
}

void ref_int8_dequantize(const uint8_t *codes, float *real, int pixels, int channels, float scale,
                         int32_t zero_point) {
    for (int i = 0; i < pixels; i++) {
        for (int c = 0; c < channels; c++) {
            int q = codes[(size_t)i * ref_int8_pitch(channels) + c];
            real[(size_t)i * channels + c] = scale * (float)(q - zero_point);
        }
    }
}

void ref_int8_add(clq_requantizer requantizer, const uint8_t *a, clq_int8_range ra,
                  const uint8_t *b, clq_int8_range rb, uint8_t *y, clq_int8_range ry, int pixels,
                  int channels) {
    int pitch = ref_int8_pitch(channels);
    for (int i = 0; i < pixels * pitch; i++) {
        y[i] = i % pitch >= channels
                   ? 0
                   : add_codes(requantizer, a[i], ra.scale, ra.zero_point, b[i], rb.scale,
                               rb.zero_point, ry.scale, ry.zero_point, ry.lo, ry.hi);
    }
}

/* The part of a window that lies inside x: y0 <= y < y1, x0 <= x < x1. */
typedef struct window {
    int y0, y1, x0, x1;
} window;

static window window_inside(const clq_int8_pool *p, int oy, int ox) {
    int y = oy * p->stride_h - p->pad_top, x = ox * p->stride_w - p->pad_left;
    window w = {y < 0 ? 0 : y, y + p->kernel_h, x < 0 ? 0 : x, x + p->kernel_w};
    w.y1 = w.y1 > p->ih ? p->ih : w.y1;
    w.x1 = w.x1 > p->iw ? p->iw : w.x1;
    return w;
}

void ref_int8_max_pool(const uint8_t *x, uint8_t *y, const clq_int8_pool *p) {
    int pitch = ref_int8_pitch(p->channels);
    memset(y, 0, (size_t)p->n * p->oh * p->ow * pitch);
    for (int i = 0; i < p->n * p->oh * p->ow; i++) {
        int n = i / (p->oh * p->ow);
        window w = window_inside(p, i / p->ow % p->oh, i % p->ow);
        for (int c = 0; c < p->channels; c++) {
            int best = 0;
            for (int iy = w.y0; iy < w.y1; iy++) {
                for (int ix = w.x0; ix < w.x1; ix++) {
                    int q = x[(((size_t)n * p->ih + iy) * p->iw + ix) * pitch + c];
                    best = q > best ? q : best;
                }
            }
            y[(size_t)i * pitch + c] = (uint8_t)best;
        }
    }
}

void ref_int8_avg_pool(clq_requantizer requantizer, const uint8_t *x, uint8_t *y,
                       const clq_int8_pool *p, int pad_bottom, int pad_right, bool include_pad,
                       clq_int8_range rx, clq_int8_range ry) {
    int pitch = ref_int8_pitch(p->channels);
    memset(y, 0, (size_t)p->n * p->oh * p->ow * pitch);
    for (int i = 0; i < p->n * p->oh * p->ow; i++) {
        int n = i / (p->oh * p->ow), oy = i / p->ow % p->oh, ox = i % p->ow;
        window w = window_inside(p, oy, ox);
        int count = (w.y1 - w.y0) * (w.x1 - w.x0);
        if (include_pad) {
            int top = oy * p->stride_h - p->pad_top, left = ox * p->stride_w - p->pad_left;
            int bottom = top + p->kernel_h, right = left + p->kernel_w;
            bottom = bottom > p->ih + pad_bottom ? p->ih + pad_bottom : bottom;
            right = right > p->iw + pad_right ? p->iw + pad_right : right;
            count = (bottom - top) * (right - left);
        }
        for (int c = 0; c < p->channels; c++) {
            int sum = 0;
            for (int iy = w.y0; iy < w.y1; iy++) {
                for (int ix = w.x0; ix < w.x1; ix++) {
                    sum += x[(((size_t)n * p->ih + iy) * p->iw + ix) * pitch + c] - rx.zero_point;
                }
            }
            double v = ref_requantized_mean(requantizer, sum, count, rx.scale, ry.scale);
            y[(size_t)i * pitch + c] = clamp_code(v + ry.zero_point, ry.lo, ry.hi);
        }
    }
}

void ref_int8_shortcut_a(const uint8_t *x, uint8_t *y, const clq_int8_shortcut *s) {
    int in_pitch = ref_int8_pitch(s->ic), out_pitch = ref_int8_pitch(s->oc);
    memset(y, 0, (size_t)s->n * s->oh * s->ow * out_pitch);
    for (int i = 0; i < s->n * s->oh * s->ow; i++) {
        int n = i / (s->oh * s->ow), iy = i / s->ow % s->oh * s->stride, ix = i % s->ow * s->stride;
        for (int c = 0; c < s->oc; c++) {
            int from = c - s->front;
            y[(size_t)i * out_pitch + c] =
                from >= 0 && from < s->ic
                    ? x[(((size_t)n * s->ih + iy) * s->iw + ix) * in_pitch + from]
                    : (uint8_t)s->zero_point;
        }
    }
}

/* FP32 depthwise convolution (one channel a group): forward and backward-data on conv_shape with
 * its channels as columns, and the gradient of the weights. Vectors run over the channels; with the
 * GPU schedule a vector is one float and neighbouring work-items take neighbouring channels.
 *
 * Weights are packed [phase][column tile][tap][column of the tile]. */
#include "conv_epilogue.h"
#include "conv_shape.h"
#include "tile.h"

/* NR channels from p, of which `cols` exist; the others are zero. */
static inline void load_channels(__global const float *p, int cols, fvec *v) {
    if (cols >= NR) {
        UNROLLED_FOR(j, NV) {
            v[j] = FVEC_LOAD(p + j * VL);
        }
    } else {
        float row[NR];
        for (int j = 0; j < NR; j++) {
            row[j] = j < cols ? p[j] : 0;
        }
        UNROLLED_FOR(j, NV) {
            v[j] = FVEC_LOAD(row + j * VL);
        }
    }
}

/* Item (column tile, MR neighbours of a grid row, (phase * N + n) * grid rows + grid row). */
__kernel void conv2d_f32_depthwise(__global const float *src, __global const float *packed,
                                   __global const conv_shape *shape, __global const float *bias,
                                   __global const float *residual, __global float *dst, float lo,
                                   float hi, int max_grid_h) {
    const conv_shape s = *shape;
    const int image_row = get_global_id(2), image = image_row / max_grid_h;
    const int phase_index = image / s.n, n = image - phase_index * s.n;
    const int gy = image_row - image * max_grid_h, gx = (int)get_global_id(1) * MR;
    const int tile = get_global_id(0), col = tile * NR, cols = s.cols - col;
    if (tile >= s.col_tiles || phase_index >= s.phases) {
        return;
    }
    const conv_phase phase = CONV_PHASES(shape)[phase_index];
    if (gy >= phase.grid_h || gx >= phase.grid_w) {
        return;
    }
    __global const float *w = packed + ((size_t)s.col_tiles * phase.first_tap +
                                        (size_t)tile * phase.taps) * NR;
    fvec acc[MR * NV];
    TILE_CLEAR(acc);
    for (int t = 0; t < phase.taps; t++, w += NR) {
        const conv_tap tap = CONV_TAPS(shape)[phase.first_tap + t];
        const int y = gy * s.step_h + tap.dy;
        if ((uint)y >= (uint)s.src_h) {
            continue;
        }
        __global const float *row = src + ((long)n * s.src_h + y) * s.src_w * s.src_c + col;
        UNROLLED_FOR(i, MR) {
            const int x = (gx + i) * s.step_w + tap.dx;
            if ((uint)x < (uint)s.src_w && gx + i < phase.grid_w) {
                fvec a[NV];
                load_channels(row + (long)x * s.src_c, cols, a);
                UNROLLED_FOR(j, NV) {
                    acc[i * NV + j] = FVEC_FMA(a[j], FVEC_LOAD(w + j * VL), acc[i * NV + j]);
                }
            }
        }
    }
    UNROLLED_FOR(i, MR) {
        if (gx + i < phase.grid_w) {
            const long at = (((long)n * s.dst_h + gy * s.dst_step_h + phase.out_y) * s.dst_w +
                             (gx + i) * s.dst_step_w + phase.out_x) * s.dst_c + col;
            store_row(acc + i * NV, bias ? bias + col : bias, residual ? residual + at : residual,
                      dst + at, cols, lo, hi);
        }
    }
}

/* acc += grad * src for NR channels; src NULL stands for ones. */
static inline void add_product(__global const float *grad, __global const float *src, int cols,
                               fvec *acc) {
    fvec g[NV], x[NV];
    load_channels(grad, cols, g);
    if (src) {
        load_channels(src, cols, x);
    }
    UNROLLED_FOR(j, NV) {
        acc[j] = src ? FVEC_FMA(g[j], x[j], acc[j]) : acc[j] + g[j];
    }
}

/* Sums grad * src over the grid rows of one part, for one tap or (tap == taps) grad alone, the
 * gradient of the bias. Item (column tile, tap, part); partial is [part][tap][column]. */
#define CHAINS 4 /* independent sums, to hide the latency of the addition */

__kernel void conv2d_f32_depthwise_weights(__global const float *src, __global const float *grad,
                                           __global const conv_weights_shape *shape,
                                           __global float *partial) {
    const conv_weights_shape s = *shape;
    const int tile = get_global_id(0), col = tile * NR, cols = s.cols - col;
    const int tap = get_global_id(1), part = get_global_id(2), taps = s.kh * s.kw;
    if (tile >= s.col_tiles || tap > taps || part >= s.parts) {
        return;
    }
    const bool bias = tap == taps;
    const int dy = tap / s.kw * s.dilation_h - s.pad_top;
    const int dx = tap % s.kw * s.dilation_w - s.pad_left;
    /* The grid columns whose source pixel lies inside the image. */
    int begin_x = 0, end_x = s.grid_w;
    if (!bias) {
        begin_x = clamp((s.stride_w - 1 - dx) / s.stride_w, 0, s.grid_w);
        end_x = clamp((s.src_w - dx + s.stride_w - 1) / s.stride_w, begin_x, s.grid_w);
    }
    const int rows = s.n * s.grid_h;
    const int begin = (long)rows * part / s.parts, end = (long)rows * (part + 1) / s.parts;
    fvec acc[CHAINS * NV];
    UNROLLED_FOR(i, CHAINS * NV) {
        acc[i] = (fvec)0;
    }
    for (int row = begin; row < end; row++) {
        const int n = row / s.grid_h, y = (row - n * s.grid_h) * s.stride_h + dy;
        if (!bias && (uint)y >= (uint)s.src_h) {
            continue;
        }
        __global const float *g = grad + (long)row * s.grid_w * s.dst_c + col;
        __global const float *x = src + (((long)n * s.src_h + y) * s.src_w + dx) * s.src_c + col;
        const long step = (long)s.stride_w * s.src_c;
        int gx = begin_x;
        for (; gx + CHAINS <= end_x; gx += CHAINS) {
            UNROLLED_FOR(i, CHAINS) {
                add_product(g + (long)(gx + i) * s.dst_c, bias ? 0 : x + (gx + i) * step, cols,
                            acc + i * NV);
            }
        }
        for (; gx < end_x; gx++) {
            add_product(g + (long)gx * s.dst_c, bias ? 0 : x + gx * step, cols, acc);
        }
    }
    __global float *to = partial + ((size_t)part * (taps + 1) + tap) * s.col_tiles * NR + col;
    UNROLLED_FOR(j, NV) {
        fvec sum = acc[j];
        UNROLLED_FOR(i, CHAINS - 1) {
            sum += acc[(i + 1) * NV + j];
        }
        FVEC_STORE(sum, to + j * VL);
    }
}

/* Adds the parts in order; dw (C, KH, KW, 1), db (C) or NULL. Item (channel, tap). */
__kernel void conv2d_f32_depthwise_reduce(__global const float *partial,
                                          __global const conv_weights_shape *shape,
                                          __global float *dw, __global float *db) {
    const int channel = get_global_id(0), tap = get_global_id(1);
    const int taps = shape->kh * shape->kw;
    if (channel >= shape->cols || tap > taps || (tap == taps && !db)) {
        return;
    }
    const size_t pitch = (size_t)shape->col_tiles * shape->col_tile;
    float sum = 0;
    for (int part = 0; part < shape->parts; part++) {
        sum += partial[((size_t)part * (taps + 1) + tap) * pitch + channel];
    }
    if (tap == taps) {
        db[channel] = sum;
    } else {
        dw[(size_t)channel * taps + tap] = sum;
    }
}

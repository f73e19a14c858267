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

#ifdef TAPS_W /* constants of the window that the host knows */

#define COLUMNS ((MR - 1) * STEP_W + TAPS_W) /* source columns under MR neighbours */

/* Asks for the source rows that the next grid row adds, below the pixels of MR neighbours; a line
 * serves several column tiles. */
static inline void ask_next_row(const conv_shape *s, const conv_phase *phase,
                                __global const float *src, int gy, int gx, int col) {
    const int y = (gy + 1) * s->step_h + phase->tap_dy + (phase->taps_h - 1) * phase->tap_step_dy;
    if (col % LINE_FLOATS != 0) {
        return;
    }
    for (int i = 0; i < s->step_h && y - i < s->src_h; i++) {
        __global const float *at =
            src + ((long)(y - i) * s->src_w + gx * STEP_W + phase->tap_dx) * s->src_c + col;
        UNROLLED_FOR(x, MR * STEP_W) {
            PREFETCH(at + (long)x * s->src_c);
        }
    }
}

/* acc = the sum over taps for MR neighbours of a grid row, the first of which is (gy, gx), with
 * TAPS_W taps next to each other in each row of taps and STEP_W source pixels from neighbour to
 * neighbour: a source pixel is loaded once for all of them. If not `inside`, source pixels may lie
 * outside the image sideways. All NR channels exist. */
static inline __attribute__((always_inline)) void
sum_window(const conv_shape *s, const conv_phase *phase, __global const float *src, int gy, int gx,
           __global const float *w, bool inside, fvec *acc) {
    const int x0 = gx * STEP_W + phase->tap_dx;
    TILE_CLEAR(acc);
    for (int t = 0; t < phase->taps_h; t++, w += TAPS_W * NR) {
        const int y = gy * s->step_h + phase->tap_dy + t * phase->tap_step_dy;
        if ((uint)y >= (uint)s->src_h) {
            continue;
        }
        __global const float *from = src + ((long)y * s->src_w + x0) * s->src_c;
        fvec wv[TAPS_W * NV];
        UNROLLED_FOR(k, TAPS_W * NV) {
            wv[k] = FVEC_LOAD(w + k * VL);
        }
        UNROLLED_FOR(x, COLUMNS) {
            if (inside || (uint)(x0 + x) < (uint)s->src_w) {
                UNROLLED_FOR(j, NV) {
                    const fvec v = FVEC_LOAD(from + (long)x * s->src_c + j * VL);
                    UNROLLED_FOR(k, TAPS_W) {
                        const int i = (x - k) / STEP_W;
                        if (x >= k && (x - k) % STEP_W == 0 && i < MR) {
                            acc[i * NV + j] = FVEC_FMA(v, wv[k * NV + j], acc[i * NV + j]);
                        }
                    }
                }
            }
        }
    }
}

#else

/* acc = the sum over taps for MR neighbours of a grid row, the first of which is (gy, gx): none
 * reaches outside the image sideways, and all NR channels exist. */
static inline void sum_inside(__global const conv_shape *shape, const conv_shape *s,
                              const conv_phase *phase, __global const float *src, int gy, int gx,
                              __global const float *w, fvec *acc) {
    const long step = (long)s->step_w * s->src_c;
    TILE_CLEAR(acc);
    for (int t = 0; t < phase->taps; t++, w += NR) {
        const conv_tap tap = CONV_TAPS(shape)[phase->first_tap + t];
        const int y = gy * s->step_h + tap.dy, x = gx * s->step_w + tap.dx;
        if ((uint)y < (uint)s->src_h) {
            __global const float *from = src + ((long)y * s->src_w + x) * s->src_c;
            UNROLLED_FOR(j, NV) {
                const fvec wv = FVEC_LOAD(w + j * VL);
                UNROLLED_FOR(i, MR) {
                    acc[i * NV + j] =
                        FVEC_FMA(FVEC_LOAD(from + i * step + j * VL), wv, acc[i * NV + j]);
                }
            }
        }
    }
}

#endif

/* The sum with every neighbour and channel checked; `cols` channels exist. */
static inline void sum_checked(__global const conv_shape *shape, const conv_shape *s,
                               const conv_phase *phase, __global const float *src, int gy, int gx,
                               int cols, __global const float *w, fvec *acc) {
    TILE_CLEAR(acc);
    for (int t = 0; t < phase->taps; t++, w += NR) {
        const conv_tap tap = CONV_TAPS(shape)[phase->first_tap + t];
        const int y = gy * s->step_h + tap.dy;
        UNROLLED_FOR(i, MR) {
            const int x = (gx + i) * s->step_w + tap.dx;
            if (gx + i < phase->grid_w && (uint)y < (uint)s->src_h && (uint)x < (uint)s->src_w) {
                fvec a[NV];
                load_channels(src + ((long)y * s->src_w + x) * s->src_c, cols, a);
                UNROLLED_FOR(j, NV) {
                    acc[i * NV + j] = FVEC_FMA(a[j], FVEC_LOAD(w + j * VL), acc[i * NV + j]);
                }
            }
        }
    }
}

/* Item (`tiles` column tiles, `steps` times MR neighbours of a grid row, (phase * N + n) *
 * max_grid_h + grid row). */
__kernel void conv2d_f32_depthwise(__global const float *src, __global const float *packed,
                                   __global const conv_shape *shape, __global const float *bias,
                                   __global const float *residual, __global float *dst, float lo,
                                   float hi, int tiles, int steps, int max_grid_h) {
    const conv_shape s = *shape;
    const int image_row = get_global_id(2), image = image_row / max_grid_h;
    const int phase_index = image / s.n, n = image - phase_index * s.n;
    const int gy = image_row - image * max_grid_h;
    const int first_tile = (int)get_global_id(0) * tiles;
    const int last_tile = min(first_tile + tiles, s.col_tiles);
    if (phase_index >= s.phases) {
        return;
    }
    const conv_phase phase = CONV_PHASES(shape)[phase_index];
    if (gy >= phase.grid_h) {
        return;
    }
    const int begin = (int)get_global_id(1) * steps * MR;
    const int end = min(begin + steps * MR, phase.grid_w);
    src += (long)n * s.src_h * s.src_w * s.src_c;
    const long row = (((long)n * s.dst_h + gy * s.dst_step_h + phase.out_y) * s.dst_w +
                      phase.out_x) * s.dst_c;
    for (int gx = begin; gx < end; gx += MR) {
        const int first_x = gx * s.step_w + phase.tap_dx;
        const int last_x = first_x + (MR - 1) * s.step_w + (phase.taps_w - 1) * phase.tap_step_dx;
        const bool inside = gx + MR <= phase.grid_w && first_x >= 0 && last_x < s.src_w;
        long at[MR];
        UNROLLED_FOR(i, MR) {
            at[i] = row + (long)min(gx + i, phase.grid_w - 1) * s.dst_step_w * s.dst_c;
        }
        for (int tile = first_tile; tile < last_tile; tile++) {
            const int col = tile * NR;
            __global const float *w =
                packed + ((size_t)s.col_tiles * phase.first_tap + (size_t)tile * phase.taps) * NR;
            fvec acc[MR * NV];
#ifdef TAPS_W
            ask_next_row(&s, &phase, src, gy, gx, col);
            if (inside && s.cols - col >= NR) {
                sum_window(&s, &phase, src + col, gy, gx, w, true, acc);
            } else if (s.cols - col >= NR) {
                sum_window(&s, &phase, src + col, gy, gx, w, false, acc);
#else
            if (inside && s.cols - col >= NR) {
                sum_inside(shape, &s, &phase, src + col, gy, gx, w, acc);
#endif
            } else {
                sum_checked(shape, &s, &phase, src + col, gy, gx, s.cols - col, w, acc);
            }
            store_tile(acc, bias ? bias + col : bias, residual ? residual + col : residual,
                       dst + col, at, phase.grid_w - gx, s.cols - col, lo, hi);
        }
    }
}

#define MAX_TAPS 32 /* sums that an item keeps */

/* sums += the sum over `count` pixels of grad * src, which may be NULL for ones. */
static inline void add_row(__global const float *grad, long grad_step, __global const float *src,
                           long src_step, int count, int cols, float *sums) {
    fvec acc[MR * NV]; /* MR independent sums hide the latency of the addition */
    TILE_CLEAR(acc);
    for (int p = 0; p < count; p += MR) {
        UNROLLED_FOR(i, MR) {
            if (p + i < count) {
                fvec g[NV], x[NV];
                load_channels(grad + (p + i) * grad_step, cols, g);
                if (src) {
                    load_channels(src + (p + i) * src_step, cols, x);
                }
                UNROLLED_FOR(j, NV) {
                    acc[i * NV + j] = src ? FVEC_FMA(g[j], x[j], acc[i * NV + j])
                                          : acc[i * NV + j] + g[j];
                }
            }
        }
    }
    UNROLLED_FOR(j, NV) {
        fvec sum = FVEC_LOAD(sums + j * VL);
        UNROLLED_FOR(i, MR) {
            sum += acc[i * NV + j];
        }
        FVEC_STORE(sum, sums + j * VL);
    }
}

/* Sums grad * src over the grid rows of one part for up to MAX_TAPS taps; the tap after the last
 * stands for grad alone, the gradient of the bias. Item (column tile, MAX_TAPS taps, part); partial
 * is [part][tap][column]. */
__kernel void conv2d_f32_depthwise_weights(__global const float *src, __global const float *grad,
                                           __global const conv_weights_shape *shape,
                                           __global float *partial) {
    const conv_weights_shape s = *shape;
    const int tile = get_global_id(0), col = tile * NR, cols = s.cols - col;
    const int part = get_global_id(2), taps = s.kh * s.kw;
    const int first_tap = (int)get_global_id(1) * MAX_TAPS;
    const int last_tap = min(first_tap + MAX_TAPS, taps + 1);
    if (tile >= s.col_tiles || first_tap >= last_tap || part >= s.parts) {
        return;
    }
    const int rows = s.n * s.grid_h;
    const int begin = (long)rows * part / s.parts, end = (long)rows * (part + 1) / s.parts;
    float sums[MAX_TAPS * NR];
    for (int i = 0; i < MAX_TAPS * NR; i++) {
        sums[i] = 0;
    }
    for (int row = begin; row < end; row++) {
        const int n = row / s.grid_h, gy = row - n * s.grid_h;
        __global const float *g = grad + (long)row * s.grid_w * s.dst_c + col;
        for (int tap = first_tap; tap < last_tap; tap++) {
            float *to = sums + (tap - first_tap) * NR;
            if (tap == taps) {
                add_row(g, s.dst_c, 0, 0, s.grid_w, cols, to);
                continue;
            }
            const int ky = tap / s.kw, y = gy * s.stride_h + ky * s.dilation_h - s.pad_top;
            const int dx = (tap - ky * s.kw) * s.dilation_w - s.pad_left;
            /* The grid columns whose source pixel lies inside the image. */
            const int x0 = clamp((s.stride_w - 1 - dx) / s.stride_w, 0, s.grid_w);
            const int x1 = clamp((s.src_w - dx + s.stride_w - 1) / s.stride_w, x0, s.grid_w);
            if ((uint)y < (uint)s.src_h) {
                const long at = ((long)n * s.src_h + y) * s.src_w + x0 * s.stride_w + dx;
                add_row(g + (long)x0 * s.dst_c, s.dst_c, src + at * s.src_c + col,
                        (long)s.stride_w * s.src_c, x1 - x0, cols, to);
            }
        }
    }
    for (int tap = first_tap; tap < last_tap; tap++) {
        for (int j = 0; j < NR; j++) {
            partial[((size_t)part * (taps + 1) + tap) * s.col_tiles * NR + col + j] =
                sums[(tap - first_tap) * NR + j];
        }
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

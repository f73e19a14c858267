/* FP32 convolution, GPU schedule: forward and backward-data (see conv_shape.h).
 *
 * A matrix product of the pixels' patches (never stored, see gather.h) with the packed weights. A
 * work-group computes BM grid pixels x BN columns (block.h): group (pixel block, column tile of all
 * groups, phase). */
#include "block.h"
#include "conv_epilogue.h"
#include "conv_shape.h"

/* The grid position of pixel m. */
static inline void locate(int m, const conv_phase *phase, int *n, int *gy, int *gx) {
    const int row = m / phase->grid_w;
    *gx = m - row * phase->grid_w;
    *n = row / phase->grid_h;
    *gy = row - *n * phase->grid_h;
}

static inline gather_row source_row(int m, int pixels, int group, const conv_phase *phase,
                                    const conv_shape *s) {
    int n, gy, gx;
    if (m >= pixels)
        return (gather_row){GATHER_NOWHERE, 0, 0};
    locate(m, phase, &n, &gy, &gx);
    gather_row row = {gy * s->step_h + phase->tap_dy, gx * s->step_w + phase->tap_dx, 0};
    row.at = (((long)n * s->src_h + row.y) * s->src_w + row.x) * s->src_c + group * s->depth;
    return row;
}

/* dst[at .. at + 3] = act(sum + bias + residual), of which `left` exist; all where `whole`. */
static inline void store4(float4 y, __global const float *residual, __global float *dst, size_t at,
                          int left, bool whole, float lo, float hi) {
    if (whole && left > 0) {
        if (residual)
            y += *(__global const float4 *)(residual + at);
        y = y < lo ? (float4)lo : y;
        *(__global float4 *)(dst + at) = y > hi ? (float4)hi : y;
        return;
    }
    const float sums[4] = {y.x, y.y, y.z, y.w};
UNROLL
    for (int j = 0; j < 4; j++)
        if (j < left) {
            const float one = sums[j] + (residual ? residual[at + j] : 0);
            dst[at + j] = CONV_ACT(one, lo, hi);
        }
}

static inline float4 load_bias4(__global const float *bias, int left) {
    return (float4)(left > 0 ? bias[0] : 0, left > 1 ? bias[1] : 0, left > 2 ? bias[2] : 0,
                    left > 3 ? bias[3] : 0);
}

/* Adds bias and residual and stores. Reads the shape anew: registers are scarce before. */
static inline void store_block(float (*acc)[RN], __global const conv_shape *shape,
                               __global const float *bias, __global const float *residual,
                               __global float *dst, float lo, float hi, int item) {
    const conv_shape s = *shape;
    const conv_phase phase = CONV_PHASES(shape)[get_group_id(2)];
    const int pixels = s.n * phase.grid_h * phase.grid_w, first = (int)get_group_id(0) * BM;
    const int tile = (int)get_group_id(1), group = tile / s.col_tiles;
    const int col = (tile - group * s.col_tiles) * BN;
    const bool aligned = s.cols % 4 == 0 && s.dst_c % 4 == 0;
    float4 b[RN / 4];
UNROLL
    for (int j = 0; j < RN / 4; j++) {
        const int c = col + BLOCK_COLUMN(4 * j, block_lx(item));
        b[j] = bias ? load_bias4(bias + group * s.cols + c, s.cols - c) : (float4)(0);
    }
UNROLL
    for (int i = 0; i < RM; i++) {
        const int m = first + BLOCK_ROW(i, block_ly(item));
        int n, gy, gx;
        if (m >= pixels)
            continue;
        locate(m, &phase, &n, &gy, &gx);
        const size_t pixel = ((size_t)n * s.dst_h + gy * s.dst_step_h + phase.out_y) * s.dst_w +
                             gx * s.dst_step_w + phase.out_x;
UNROLL
        for (int j = 0; j < RN / 4; j++) {
            const int c = col + BLOCK_COLUMN(4 * j, block_lx(item));
            store4(vload4(j, acc[i]) + b[j], residual, dst, pixel * s.dst_c + group * s.cols + c,
                   s.cols - c, aligned, lo, hi);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(WG, WG, 1))) void
conv2d_f32_block(__global const float *restrict src, __global const float *restrict packed,
                 __global const conv_shape *restrict shape, __global const float *restrict bias,
                 __global const float *residual, __global float *dst, float lo, float hi) {
    __local float4 panels[2][PANEL_VECTORS];
    const int item = (int)get_local_id(1) * WG + (int)get_local_id(0);
    const conv_shape s = *shape;
    const conv_phase phase = CONV_PHASES(shape)[get_group_id(2)];
    const int pixels = s.n * phase.grid_h * phase.grid_w, first = (int)get_group_id(0) * BM;
    if (first >= pixels) /* the whole group */
        return;
    const int tile = (int)get_group_id(1), group = tile / s.col_tiles;
    const gather g = {s.src_h, s.src_w,           s.src_c,          phase.taps_h, phase.taps_w,
                      s.depth, phase.tap_step_dy, phase.tap_step_dx};
    __global const float *w = packed + ((size_t)s.groups * s.col_tiles * phase.first_tap +
                                        (size_t)tile * phase.taps) * s.depth * BN;
    gather_row rows[A_VECTORS];
    float acc[RM][RN];
UNROLL
    for (int i = 0; i < A_VECTORS; i++)
        rows[i] = source_row(first + block_fetch_row(item, i), pixels, group, &phase, &s);
UNROLL
    for (int i = 0; i < RM; i++)
UNROLL
        for (int j = 0; j < RN; j++)
            acc[i][j] = 0;
    block_sum_rows(src, rows, 0, &g, w, panels, item, acc);
    store_block(acc, shape, bias, residual, dst, lo, hi, item);
}

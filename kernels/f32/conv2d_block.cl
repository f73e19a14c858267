/* FP32 convolution, GPU schedule: forward and backward-data (see conv_shape.h).
 *
 * A matrix product of the pixels' patches (never stored; row = pixel, k = tap * depth + channel)
 * with the packed weights. A work-group computes BM grid pixels x BN columns: group
 * (pixel block, column tile of all groups, phase). */
#include "block.h"
#include "conv_epilogue.h"
#include "conv_shape.h"

#define OUTSIDE (-(1 << 30)) /* a row above every image */

/* The grid position of pixel m. */
static inline void locate(int m, const conv_phase *phase, int *n, int *gy, int *gx) {
    const int row = m / phase->grid_w;
    *gx = m - row * phase->grid_w;
    *n = row / phase->grid_h;
    *gy = row - *n * phase->grid_h;
}

__kernel __attribute__((reqd_work_group_size(WG, WG, 1))) void
conv2d_f32_block(__global const float *src, __global const float *packed,
                 __global const conv_shape *shape, __global const float *bias,
                 __global const float *residual, __global float *dst, float lo, float hi) {
    __local float a_panel[BK * BM_PITCH], b_panel[BK * BN];
    __local int row_y[BM], row_x[BM];
    __local long row_src[BM];
    const int lx = get_local_id(0), ly = get_local_id(1), item = ly * WG + lx;
    const conv_shape s = *shape;
    const conv_phase phase = CONV_PHASES(shape)[get_group_id(2)];
    const int pixels = s.n * phase.grid_h * phase.grid_w, first = (int)get_group_id(0) * BM;
    if (first >= pixels) { /* the whole group */
        return;
    }
    const int tile = get_group_id(1), group = tile / s.col_tiles;
    const int col = (tile - group * s.col_tiles) * BN;
    __global const float *w = packed + ((size_t)s.groups * s.col_tiles * phase.first_tap +
                                        (size_t)tile * phase.taps) * s.depth * BN;
    __global const conv_tap *taps = CONV_TAPS(shape) + phase.first_tap;

    for (int r = item; r < BM; r += ITEMS) {
        int n = 0, gy = 0, gx = 0;
        if (first + r < pixels) {
            locate(first + r, &phase, &n, &gy, &gx);
        }
        row_y[r] = first + r < pixels ? gy * s.step_h : OUTSIDE;
        row_x[r] = gx * s.step_w;
        row_src[r] = (((long)n * s.src_h + gy * s.step_h) * s.src_w + row_x[r]) * s.src_c +
                     group * s.depth;
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    float4 acc[4] = {(float4)0, (float4)0, (float4)0, (float4)0};
    const int depth = phase.taps * s.depth; /* of the product */
    for (int k0 = 0; k0 < depth; k0 += BK) {
        const int k = item % BK, t = (k0 + k) / s.depth;
        const int dy = k0 + k < depth ? taps[t].dy : OUTSIDE;
        const int dx = k0 + k < depth ? taps[t].dx : 0;
        const long tap_src = ((long)dy * s.src_w + dx) * s.src_c + k0 + k - t * s.depth;
        for (int r = item / BK; r < BM; r += ITEMS / BK) {
            const bool inside = (uint)(row_y[r] + dy) < (uint)s.src_h &&
                                (uint)(row_x[r] + dx) < (uint)s.src_w;
            a_panel[k * BM_PITCH + r] = inside ? src[row_src[r] + tap_src] : 0;
        }
        for (int i = item; i < BK * BN; i += ITEMS) {
            b_panel[i] = k0 + i / BN < depth ? w[(size_t)k0 * BN + i] : 0;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        block_multiply(a_panel, b_panel, lx, ly, acc);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    for (int i = 0; i < 4; i++) {
        const int m = first + 4 * ly + i;
        if (m < pixels) {
            int n, gy, gx;
            locate(m, &phase, &n, &gy, &gx);
            const size_t pixel = ((size_t)n * s.dst_h + gy * s.dst_step_h + phase.out_y) * s.dst_w +
                                 gx * s.dst_step_w + phase.out_x;
            const float sums[4] = {acc[i].x, acc[i].y, acc[i].z, acc[i].w};
            for (int j = 0; j < 4 && col + 4 * lx + j < s.cols; j++) {
                const int channel = group * s.cols + col + 4 * lx + j;
                const size_t at = pixel * s.dst_c + channel;
                const float y =
                    sums[j] + (bias ? bias[channel] : 0) + (residual ? residual[at] : 0);
                dst[at] = CONV_ACT(y, lo, hi);
            }
        }
    }
}

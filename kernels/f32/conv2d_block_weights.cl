/* FP32 convolution, gradient of the weights, GPU schedule (see conv_weights_shape).
 *
 * A matrix product over the pixels: rows r = tap * depth + channel of the source, columns of the
 * output gradient. Group (row block, column tile of all groups, part of the pixels); partial is
 * [part][column tile of all groups][run_pad][BN], summed by conv2d_f32_block_reduce. */
#include "block.h"
#include "conv_shape.h"

__kernel __attribute__((reqd_work_group_size(WG, WG, 1))) void
conv2d_f32_block_weights(__global const float *src, __global const float *grad,
                         __global const conv_weights_shape *shape, __global float *partial,
                         __global float *partial_bias) {
    __local float4 panel[PANEL_VECTORS];
    __local float *a_panel = (__local float *)panel, *b_panel = a_panel + BK * BM_PITCH;
    __local int pixel_y[BK], pixel_x[BK];
    __local long pixel_src[BK];
    const int item = (int)get_local_id(1) * WG + (int)get_local_id(0);
    const int lx = block_lx(item), ly = block_ly(item);
    const conv_weights_shape s = *shape;
    const int tile = get_group_id(1), group = tile / s.col_tiles, part = get_group_id(2);
    const int col = (tile - group * s.col_tiles) * BN;
    const int pixels = s.n * s.grid_h * s.grid_w;
    const int begin = (long)pixels * part / s.parts, end = (long)pixels * (part + 1) / s.parts;

    /* This work-item always loads the same row of a_panel and column of b_panel. */
    const int row = item % BM, r = (int)get_group_id(0) * BM + row;
    const int tap = r / s.depth, ky = tap / s.kw;
    const int dy = r < s.run_rows ? ky * s.dilation_h - s.pad_top : GATHER_NOWHERE;
    const int dx = (tap - ky * s.kw) * s.dilation_w - s.pad_left;
    const long tap_src = ((long)dy * s.src_w + dx) * s.src_c + group * s.depth + r - tap * s.depth;
    const bool col_exists = col + row < s.cols;
    __global const float *grad_col = grad + group * s.cols + col + row;

    float acc[RM][RN];
    for (int i = 0; i < RM; i++)
        for (int j = 0; j < RN; j++)
            acc[i][j] = 0;
    float bias = 0;
    for (int p0 = begin; p0 < end; p0 += BK) {
        if (item < BK) {
            const int p = p0 + item, y = p / s.grid_w, n = y / s.grid_h;
            const int iy = (y - n * s.grid_h) * s.stride_h, ix = (p - y * s.grid_w) * s.stride_w;
            pixel_y[item] = p < end ? iy : GATHER_NOWHERE;
            pixel_x[item] = ix;
            pixel_src[item] = (((long)n * s.src_h + iy) * s.src_w + ix) * s.src_c;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = item / BM; k < BK; k += ITEMS / BM) {
            const bool inside = (uint)(pixel_y[k] + dy) < (uint)s.src_h &&
                                (uint)(pixel_x[k] + dx) < (uint)s.src_w;
            a_panel[k * BM_PITCH + row] = inside ? src[pixel_src[k] + tap_src] : 0;
            b_panel[k * BN + row] =
                col_exists && p0 + k < end ? grad_col[(size_t)(p0 + k) * s.dst_c] : 0;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        block_multiply(panel, lx, ly, acc);
        for (int k = 0; k < BK && item < BN; k++) {
            bias += b_panel[k * BN + item];
        }
    }

    const size_t column_tile = (size_t)part * s.groups * s.col_tiles + tile;
    __global float *to =
        partial + (column_tile * s.run_pad + get_group_id(0) * BM) * BN;
    for (int i = 0; i < RM; i++)
        for (int j = 0; j < RN; j += 4)
            *(__global float4 *)(to + BLOCK_ROW(i, ly) * BN + BLOCK_COLUMN(j, lx)) =
                vload4(j / 4, acc[i]);

    if (get_group_id(0) == 0 && item < BN) {
        partial_bias[column_tile * BN + item] = bias;
    }
}

/* Adds the parts in order; dw (OC, KH, KW, IC/G), db (OC) or NULL. Item (column of the tile, row,
 * column tile of all groups). */
__kernel void conv2d_f32_block_reduce(__global const float *partial,
                                      __global const float *partial_bias,
                                      __global const conv_weights_shape *shape, __global float *dw,
                                      __global float *db) {
    const int j = get_global_id(0), row = get_global_id(1), tile = get_global_id(2);
    const int tiles = shape->groups * shape->col_tiles, group = tile / shape->col_tiles;
    const int col = (tile - group * shape->col_tiles) * BN + j;
    if (j >= BN || row >= shape->run_rows || tile >= tiles || col >= shape->cols) {
        return;
    }
    float sum = 0, sum_bias = 0;
    for (int part = 0; part < shape->parts; part++) {
        const size_t column_tile = (size_t)part * tiles + tile;
        sum += partial[(column_tile * shape->run_pad + row) * BN + j];
        sum_bias += partial_bias[column_tile * BN + j];
    }
    dw[((size_t)group * shape->cols + col) * shape->run_rows + row] = sum;
    if (db && row == 0) {
        db[group * shape->cols + col] = sum_bias;
    }
}

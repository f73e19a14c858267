/* Packs the weights w (OC, KH, KW, IC/G) for the FP32 convolution kernels (see conv_shape.h):
 * [phase][group][column tile][tap][depth][column]. Items (channel, tile of all groups, tap of all
 * phases); with the GPU schedule (column of the tile + channel * col_tile, tile, tap). */
#include "conv_shape.h"

#define BLOCK 16
#define MAX_COLS 64 /* columns of the widest tile */

__kernel void conv2d_f32_pack(__global const float *w, __global const conv_shape *shape,
                              __global float *packed, int tap_count, int channels) {
    const conv_shape s = *shape;
    const int tile = get_global_id(1), t = get_global_id(2);
    if (tile >= s.groups * s.col_tiles || t >= tap_count) {
        return;
    }
    const conv_tap tap = CONV_TAPS(shape)[t];
    const conv_phase phase = CONV_PHASES(shape)[tap.phase];
    const int group = tile / s.col_tiles, col = (tile - group * s.col_tiles) * s.col_tile;
    const int cols = min(s.col_tile, s.cols - col);
    __global const float *from =
        w + (size_t)group * s.w_group + (size_t)col * s.w_col + (size_t)tap.index * s.w_tap;
    __global float *to = packed + ((size_t)s.groups * s.col_tiles * phase.first_tap +
                                   (size_t)tile * phase.taps + t - phase.first_tap) *
                                      s.depth * s.col_tile;
#ifdef CLQ_SCHEDULE_GPU
    const int at = get_global_id(0), c = at / s.col_tile, j = at - c * s.col_tile;
    if (c < s.depth) {
        to[at] = j < cols ? from[(size_t)j * s.w_col + (size_t)c * s.w_depth] : 0;
    }
#else
    const int begin = (int)get_global_id(0) * channels, end = min(begin + channels, s.depth);
    if (s.w_col == 1) { /* rows of columns already */
        for (int c = begin; c < end; c++) {
            for (int j = 0; j < s.col_tile; j++) {
                to[(size_t)c * s.col_tile + j] = j < cols ? from[j + (size_t)c * s.w_depth] : 0;
            }
        }
        return;
    }
    /* Transposes blocks of BLOCK channels: whole cache lines are read, then written. */
    float block[MAX_COLS][BLOCK];
    for (int c0 = begin; c0 < end; c0 += BLOCK) {
        const int count = min(BLOCK, end - c0);
        for (int j = 0; j < cols; j++) {
            for (int c = 0; c < count; c++) {
                block[j][c] = from[(size_t)j * s.w_col + (size_t)(c0 + c) * s.w_depth];
            }
        }
        for (int c = 0; c < count; c++) {
            for (int j = 0; j < s.col_tile; j++) {
                to[(size_t)(c0 + c) * s.col_tile + j] = j < cols ? block[j][c] : 0;
            }
        }
    }
#endif
}

/* int8 convolution, GPU schedule (see conv_int8.h): a matrix product of the pixels' patches (never
 * stored, see gather.h) with the packed weights. A work-group computes BM pixels x BN channels
 * (block.h): group (block, pixel block). Weights are packed with NR = BN, STEP = 4; with NIBBLES sums
 * are 2^DOT4_NIBBLE_SHIFT times too large. */
#define BLOCK_INT8
#include "block.h"
#include "conv_int8_group.h"

__kernel __attribute__((reqd_work_group_size(WG, WG, 1))) void
conv2d_int8_group(__global const uchar *restrict x, __global const uint *restrict weights,
                  __global const int *restrict channels, __global const uchar *residual,
                  __global uchar *y, __global const conv_int8 *restrict shape) {
    __local uint4 panels[2][PANEL_VECTORS];
    const conv_int8 s = *shape;
    const int item = (int)get_local_id(1) * WG + (int)get_local_id(0);
    const int block = (int)get_group_id(0), m0 = (int)get_group_id(1) * BM;
    const gather g = int8_gather(&s);
    __global const uint *w =
        weights + (long)block * BLOCK_WEIGHTS(g.taps_h * g.taps_w * g.depth) * 4;
    gather_row rows[A_VECTORS];
    int acc[RM][RN];
UNROLL
    for (int i = 0; i < A_VECTORS; i++)
        rows[i] = int8_row(m0 + block_fetch_row(item, i), block / s.group_blocks, &s);
UNROLL
    for (int j = 0; j < RN; j++) {
        const int start =
            NIBBLES ? 0 : channels[block * BN + BLOCK_COLUMN(j, block_lx(item))];
UNROLL
        for (int i = 0; i < RM; i++)
            acc[i][j] = start;
    }
    block_sum_rows((__global const uint *)x, rows, (uint)s.x_zero * 0x01010101u, &g, w, panels,
                   item, acc);

#if NIBBLES
UNROLL
    for (int j = 0; j < RN; j++) {
        const int start = channels[block * BN + BLOCK_COLUMN(j, block_lx(item))];
UNROLL
        for (int i = 0; i < RM; i++)
            acc[i][j] = (acc[i][j] >> DOT4_NIBBLE_SHIFT) + start;
    }
#endif
    const conv_int8 end = *shape; /* read anew: registers are scarce before */
UNROLL
    for (int j = 0; j < RN; j += 4)
UNROLL
        for (int i = 0; i < RM; i++)
            int8_store4(vload4(j / 4, acc[i]),
                        int8_locate(m0 + BLOCK_ROW(i, block_ly(item)), block,
                                    BLOCK_COLUMN(j, block_lx(item)), BN, &end, channels),
                        end.blocks * BN, &end.epilogue, residual, y);
}

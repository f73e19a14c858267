/* What the host tells the FP32 convolution kernels about one convolution; both sides include it.
 *
 * Forward and backward-data are the same sum over taps. A launch computes dst (N, dst_h, dst_w,
 * dst_c) from src (N, src_h, src_w, src_c):
 *
 *   dst[n, gy * dst_step_h + out_y, gx * dst_step_w + out_x, g * cols + j] =
 *     sum over taps t, channels c < depth of
 *       src[n, gy * step_h + dy(t), gx * step_w + dx(t), g * depth + c] * w(t, g, j, c)
 *
 * where a source pixel outside the image counts as zero. Forward has one phase (out_y = out_x = 0,
 * dst_step = 1, step = the stride). Backward-data has a phase for every residue of the input pixel
 * modulo the stride (dst_step = the stride, step = 1) with the taps that reach it.
 *
 * The kernels get one buffer: a conv_shape, its phases, all their taps. Weights are packed
 * [phase][group][column tile][tap][depth][column of the tile], columns past the last as zeros. */
#ifndef CLQ_CONV_SHAPE_H
#define CLQ_CONV_SHAPE_H

typedef struct conv_shape {
    int n;
    int src_h, src_w, src_c;
    int dst_h, dst_w, dst_c;
    int groups, depth, cols; /* depth, cols: source and destination channels of a group */
    int step_h, step_w, dst_step_h, dst_step_w;
    int col_tiles; /* column tiles of a group */
    int col_tile;  /* columns of a tile */
    int phases;
    int zeros; /* where the packed weights' tail of zeros begins, in floats */
    /* w[g, j, t, c] is at g * w_group + j * w_col + index(t) * w_tap + c * w_depth */
    int w_group, w_col, w_tap, w_depth;
} conv_shape;

typedef struct conv_phase {
    int grid_h, grid_w; /* 0 when the image is smaller than the stride */
    int out_y, out_x;
    int first_tap, taps; /* in the tap table: taps_h rows of taps_w, dy and dx ascending */
    int taps_h, taps_w;
    int tap_dy, tap_step_dy; /* dy of the first row of taps, and from row to row */
    int tap_dx, tap_step_dx;
} conv_phase;

typedef struct conv_tap {
    int dy, dx;
    int index; /* kh * KW + kw */
    int phase;
} conv_tap;

/* Backward-weights. A work-item of the CPU schedule owns `item_blocks` blocks of `channels`
 * channels of a group and `tiles` column tiles, and walks a part of the image blocks. From each it
 * copies the source pixels it needs into a patch, where the taps of one kernel row are one run of
 * rows of the result:
 *
 *   run kh: rows f = kw * channels + c        run_rows = KW * channels, padded to run_pad
 *
 * (every tap is a run of its own when dilation_w > 1). Partial sums are
 * [part][group][column tile][channel block][run][run_pad][column of the tile]. */
typedef struct conv_weights_shape {
    int n;
    int src_h, src_w, src_c;
    int grid_h, grid_w, dst_c; /* dy is (N, grid_h, grid_w, dst_c) */
    int groups, depth, cols;
    int kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
    int col_tiles, col_tile;
    int parts;
    int channels, channel_blocks, item_blocks, tiles;
    int runs, run_taps, run_rows, run_pad; /* run_taps: taps of a run */
    int block_h, block_w, blocks_h, blocks_w;
    int pick_h, pick_w; /* source pixels from one patch pixel to the next */
    int patch_w;        /* patch pixels in a row */
} conv_weights_shape;

/* Room of the private patch in floats: what a first-level cache of 32 KB holds beside the rest. */
#define CONV_PATCH_FLOATS 6144
/* The most pixels of a backward-weights block, and columns of its work-item. */
#define CONV_BLOCK_PIXELS 128
#define CONV_ITEM_COLUMNS 64

#ifdef __OPENCL_C_VERSION__
#define CONV_PHASES(shape) ((__global const conv_phase *)((shape) + 1))
#define CONV_TAPS(shape) ((__global const conv_tap *)(CONV_PHASES(shape) + (shape)->phases))
#endif

#endif

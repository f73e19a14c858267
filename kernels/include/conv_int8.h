/* What the host tells the int8 convolution kernels about one convolution; both sides include it.
 *
 * y (N, OH, OW, OC) from x (N, IH, IW, IC), u8, each pixel `pitch` bytes (channels rounded up to a
 * multiple of 4). Output channels are computed in blocks of NR, none of which crosses a group. The
 * host packs, for each block, in this order:
 *
 *   weights   [blocks][taps][depth / STEP][NR][STEP]    STEP inputs are one word of the dot product
 *             (tensor cores: padded and ordered as conv2d_mma.cl says; Winograd: the taps are the
 *             positions of the transformed weights)
 *             with DENSE those of a line's whole words, then what is left of lines (int8_dense.h)
 *             with NIBBLES [blocks][inputs / 8, rounded up][NR] words of 8 inputs each (dot4.h)
 *   channels  [3][blocks * NR] int32:
 *     [0] bias - x_zero * sum of the channel's weights: what the sums start with, so that raw codes
 *         can be multiplied instead of codes less the zero point. A tap outside the image reads
 *         x_zero, and so adds nothing.
 *     [1] the requantizer's factor: float M, int mantissa or int shift (requantize.h)
 *     [2] the shift of the fixed-point mantissa
 *     (depthwise on the CPU schedule: some are there several times, in the order that
 *     conv2d_depthwise.cl says, as the weights)
 *   unfit     [blocks][steps / 2 + 1] int32 behind the channels, only with DOTV_SPLIT (dot4.h): the
 *     even steps of the block whose weights may not be taken as a pair with the next step's,
 *     ascending, then INT_MAX
 *   beyond    [run_taps * depth] bytes of x_zero behind the channels, only with IN_PLACE: what taps
 *     above or below the image read, and one beside it */
#ifndef CLQ_CONV_INT8_H
#define CLQ_CONV_INT8_H

#define CONV_PAIR_LIMIT 258 /* dot4.h, dotv_pair */
/* On tensor cores a channel's inputs are padded with zeros to a multiple of this. */
#define CONV_INT8_MMA_PAD 128

/* Winograd's algorithm (conv2d_winograd.cl): positions of a tile, room of a work-item for its
 * transformed input and for its sums (words), and words that keep the positions from crowding into
 * a few cache sets. */
#define CONV_WINOGRAD_POSITIONS 16
#define CONV_WINOGRAD_INPUT (80 * 1024)
#define CONV_WINOGRAD_SUMS (8 * 1024)
#define CONV_WINOGRAD_GAP 16

/* Packed lines of few channels (int8_dense.h): bytes of a work-item's, gap behind each line for what
 * is moved too much, most output rows of an item, and most inputs of a pixel that are in no whole
 * word of a line. */
#define CONV_DENSE_LINES (24 * 1024)
#define CONV_DENSE_GAP 64
#define CONV_DENSE_ROWS 64
#define CONV_DENSE_TAIL 32

/* From a sum, less its start, to an output code. Zero points and bounds are whole numbers: ints, or
 * for the float requantizer the bits of floats. */
typedef struct int8_epilogue {
    int y_zero, y_lo, y_hi;
    int y_factor, r_factor, add_shift; /* residual: clq_add_factors of scales.h */
    int r_zero, out_zero, out_lo, out_hi;
    int near;         /* 1: codes by floats, and no number that becomes one reaches 2^30 */
    int float_output; /* 1: y is float (N, OH, OW, OC), acc * factor; none of the above applies */
    float float_lo, float_hi; /* and clamped to these */
} int8_epilogue;

typedef struct conv_int8 {
    unsigned outside[16]; /* x_zero 64 times: what taps outside the image read; aligned */
    int pixels;           /* N * OH * OW */
    int ih, iw, in_pitch;
    int oh, ow, oc, out_pitch;
    int kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
    int depth;        /* bytes that a group reads of an input pixel, a multiple of 4 but with DENSE */
    int group_oc;     /* output channels of a group */
    int group_blocks; /* blocks of a group */
    int blocks;       /* of all groups */
    int x_zero;
    /* CPU schedule */
    int chunk_taps;  /* taps whose inputs fit the panel together, at least 1 */
    int run_taps;    /* kw when a kernel row's inputs lie together in memory, else 1 */
    int item_tiles;  /* register tiles (of MR pixels, or MR 2x2 tiles of Winograd's) of a work-item,
                        one below the other */
    int item_blocks; /* blocks of a work-item */
    int block_dim;   /* which dimension of the launch counts blocks; 1 - block_dim counts tiles */
    int8_epilogue epilogue;
} conv_int8;

#endif

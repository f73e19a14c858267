/* Choosing register tiles and image blocks for the FP32 convolution kernels. */
#ifndef CLQUANT_OPS_CONV2D_F32_TILE_H
#define CLQUANT_OPS_CONV2D_F32_TILE_H

#include <clquant/device.h>

/* The tile of kernels/include/tile.h (CPU) or conv2d_block.cl (GPU). */
typedef struct clq_conv_tile {
    int rows;         /* MR; GPU: pixels of a work-group */
    int cols;         /* NR; GPU: columns of a work-group */
    int group;        /* GPU: work-items along each side of a work-group */
    int vector;       /* floats a vector: rows * cols / vector multiply-adds a step */
    char options[96]; /* for clq_kernel_get */
} clq_conv_tile;

/* The tile for a matrix of rows x cols: what the device's registers hold, with few of either
 * wasted. */
clq_conv_tile clq_conv_choose_tile(const clq_device_info *info, int rows, int cols);
/* The tile of pixels x channel vectors for a depthwise convolution. */
clq_conv_tile clq_conv_channel_tile(const clq_device_info *info, int channels);

/* The same with rows x vectors as `wanted` where that is not 0; false when the device has no such
 * tile. */
bool clq_conv_find_tile(const clq_device_info *info, int rows, int cols, const int wanted[2],
                        clq_conv_tile *tile);
bool clq_conv_find_channel_tile(const clq_device_info *info, int channels, const int wanted[2],
                                clq_conv_tile *tile);
/* For rows of grid_w grid pixels, step_w source pixels apart, each the sum of taps_w source pixels
 * next to each other in every row of taps; false where that is no gain. */
bool clq_conv_find_window_tile(const clq_device_info *info, int channels, int grid_w, int taps_w,
                               int step_w, const int wanted[2], clq_conv_tile *tile);

/* The work-group tile of clq_f32_group_tiles for `products` (groups, phases) sums over taps of rows
 * x cols each, `depth` channels a tap; its number as in clq_choose_group_tile, with `tile`
 * unchanged when that is 0. */
int clq_conv_group_tile(const clq_device_info *info, int wanted, size_t rows, int cols,
                        size_t products, int depth, clq_conv_tile *tile);

/* What one block of h x w grid pixels costs, in any unit; negative when it does not fit. */
typedef double clq_conv_block_cost(const void *context, int h, int w);

/* The block sizes that cut a grid of grid_h x grid_w into the cheapest whole, with no block of more
 * than max_pixels; false when not even a block of one pixel fits. */
bool clq_conv_choose_block(int grid_h, int grid_w, int max_pixels, clq_conv_block_cost *cost,
                           const void *context, int *block_h, int *block_w);

#endif

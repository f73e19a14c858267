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
    char options[48]; /* for clq_kernel_get */
} clq_conv_tile;

/* The tile for a matrix of `cols` columns: what the device's registers hold, with few columns
 * wasted. */
clq_conv_tile clq_conv_choose_tile(const clq_device_info *info, int cols);
/* The tile of the GPU schedule for the sums over taps (conv2d_block.cl) of rows x cols each,
 * `products` of them (groups, phases), over `depth` channels a tap. */
clq_conv_tile clq_conv_block_tile(const clq_device_info *info, size_t rows, int cols,
                                  size_t products, int depth);
/* The tile of pixels x channel vectors for a depthwise convolution. */
clq_conv_tile clq_conv_channel_tile(const clq_device_info *info, int channels);

/* What one block of h x w grid pixels costs, in any unit; negative when it does not fit. */
typedef double clq_conv_block_cost(const void *context, int h, int w);

/* The block sizes that cut a grid of grid_h x grid_w into the cheapest whole, with no block of more
 * than max_pixels; false when not even a block of one pixel fits. */
bool clq_conv_choose_block(int grid_h, int grid_w, int max_pixels, clq_conv_block_cost *cost,
                           const void *context, int *block_h, int *block_w);

#endif

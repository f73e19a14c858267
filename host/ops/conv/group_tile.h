/* Choosing the tile of a work-group for the matrix products of the GPU schedule. */
#ifndef CLQUANT_OPS_GROUP_TILE_H
#define CLQUANT_OPS_GROUP_TILE_H

#include <clquant/device.h>

typedef struct clq_group_tile {
    int items;      /* work-items of a group */
    int rows, cols; /* of the product that a group computes */
    float cost;     /* of a multiply-add, 1 for the best tile: smaller ones load more for each */
    const char *options; /* for the kernel */
} clq_group_tile;

typedef struct clq_group_tiles {
    const clq_group_tile *list; /* the last is taken to fit every device */
    int count;
} clq_group_tiles;

extern const clq_group_tiles clq_f32_group_tiles;  /* conv2d_block.cl */
extern const clq_group_tiles clq_int8_group_tiles; /* conv2d_group.cl */
extern const clq_group_tiles clq_mma_group_tiles;  /* conv2d_mma.cl */

/* The number, from 1, of the tile with which the device is done first with `products` products of
 * rows x cols: a large one, unless smaller ones waste less or leave fewer compute units idle. With
 * `wanted` > 0 that one; 0 when there is none such or the device's groups are too small. */
int clq_choose_group_tile(const clq_device_info *info, const clq_group_tiles *tiles, int wanted,
                          size_t rows, size_t cols, size_t products);

/* Work-items along a side of a square group. */
int clq_group_side(const clq_group_tile *tile);

#endif

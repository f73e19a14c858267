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

/* The tile with which the device is done first with `products` products of rows x cols: a large
 * one, unless smaller ones waste less or leave fewer compute units idle. Among those whose groups
 * the device can launch, else the last of the table. */
const clq_group_tile *clq_choose_group_tile(const clq_device_info *info,
                                            const clq_group_tile *tiles, size_t count, size_t rows,
                                            size_t cols, size_t products);

#endif

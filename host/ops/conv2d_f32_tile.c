#include "ops/conv2d_f32_tile.h"

#include <stdio.h>

#include "base/checked.h"
#include "ops/group_tile.h"

typedef struct tile_choice {
    int simd_bytes, rows, vectors;
    double cost; /* per multiply-add: how far a full tile stays from the peak */
} tile_choice;

/* Accumulators + one row of weights + a broadcast fill the registers: 32 with 64-byte vectors, 16
 * below. Narrow tiles load more per multiply-add. */
static const tile_choice choices[] = {
    {64, 6, 4, 1.0}, {64, 8, 3, 1.0},  {64, 12, 2, 1.02}, {64, 12, 1, 1.15},
    {32, 6, 2, 1.0}, {32, 8, 1, 1.25}, {16, 6, 2, 1.0},   {16, 8, 1, 1.25},
};

clq_conv_tile clq_conv_choose_tile(const clq_device_info *info, int cols) {
    clq_conv_tile tile = {0};
    if (info->schedule == CLQ_SCHEDULE_GPU) {
        tile.group = info->max_work_group >= 256 ? 16 : info->max_work_group >= 64 ? 8 : 4;
        tile.rows = tile.cols = tile.group * 4;
        tile.vector = 1;
        snprintf(tile.options, sizeof tile.options, "-DWG=%d", tile.group);
        return tile;
    }
    const int simd = info->simd_bytes >= 64 ? 64 : info->simd_bytes == 32 ? 32 : 16;
    const tile_choice *best = NULL;
    double best_cost = 0;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        const tile_choice *c = &choices[i];
        const size_t width = (size_t)c->vectors * (size_t)simd / sizeof(float);
        const double cost = (double)clq_round_up((size_t)cols, width) * c->cost;
        if (c->simd_bytes == simd && (!best || cost < best_cost)) {
            best = c;
            best_cost = cost;
        }
    }
    tile.rows = best->rows;
    tile.vector = simd / (int)sizeof(float);
    tile.cols = best->vectors * tile.vector;
    snprintf(tile.options, sizeof tile.options, "-DMR=%d -DNV=%d", best->rows, best->vectors);
    return tile;
}

static const clq_group_tile block_tiles[] = {
    {256, 128, 128, 1.0f, "-DWG=16 -DRM=8 -DRN=8 -DBK=8"},
    {256, 128, 64, 1.1f, "-DWG=16 -DRM=8 -DRN=4 -DBK=16"},
    {64, 64, 64, 1.1f, "-DWG=8 -DRM=8 -DRN=8 -DBK=8"},
    {64, 32, 32, 1.6f, "-DWG=8 -DRM=4 -DRN=4 -DBK=32"},
    {16, 16, 16, 3.5f, "-DWG=4 -DRM=4 -DRN=4 -DBK=16"}, /* for devices of small groups */
};

clq_conv_tile clq_conv_block_tile(const clq_device_info *info, size_t rows, int cols,
                                  size_t products, int depth) {
    const clq_group_tile *t = clq_choose_group_tile(
        info, block_tiles, sizeof block_tiles / sizeof *block_tiles, rows, (size_t)cols, products);
    clq_conv_tile tile = {.rows = t->rows, .cols = t->cols, .vector = 1};
    tile.group = t->items >= 256 ? 16 : t->items >= 64 ? 8 : 4;
    snprintf(tile.options, sizeof tile.options, "%s -DVEC=%d", t->options, depth % 4 == 0 ? 4 : 1);
    return tile;
}

clq_conv_tile clq_conv_channel_tile(const clq_device_info *info, int channels) {
    clq_conv_tile tile = {.rows = 1, .cols = 1, .vector = 1};
    if (info->schedule == CLQ_SCHEDULE_GPU) {
        snprintf(tile.options, sizeof tile.options, "-DMR=1 -DNV=1");
        return tile;
    }
    /* The widest vectors that divide the channels, if any do. */
    const int widest = info->simd_bytes >= 64 ? 16 : info->simd_bytes == 32 ? 8 : 4;
    tile.vector = widest;
    while (tile.vector > 4 && channels % tile.vector != 0) {
        tile.vector /= 2;
    }
    tile.vector = channels % tile.vector == 0 ? tile.vector : widest;
    const int vectors = channels % (2 * tile.vector) == 0 ? 2 : 1;
    tile.rows = 4;
    tile.cols = vectors * tile.vector;
    snprintf(tile.options, sizeof tile.options, "-DMR=%d -DNV=%d -DVECTOR_BYTES=%d", tile.rows,
             vectors, tile.vector * (int)sizeof(float));
    return tile;
}

/* The next smaller block edge that cuts `size` into more pieces; 0 when there is none. */
static int next_edge(int size, int edge) {
    if (edge <= 1) {
        return 0;
    }
    const int pieces = (size + edge - 1) / edge;
    const int next = (size + pieces) / (pieces + 1);
    return next < edge ? next : edge - 1;
}

bool clq_conv_choose_block(int grid_h, int grid_w, int max_pixels, clq_conv_block_cost *cost,
                           const void *context, int *block_h, int *block_w) {
    double best = -1;
    int w = grid_w < max_pixels ? grid_w : max_pixels;
    for (; w > 0; w = next_edge(grid_w, w)) {
        int h = grid_h < max_pixels / w ? grid_h : max_pixels / w;
        for (; h > 0; h = next_edge(grid_h, h)) {
            const double one = cost(context, h, w);
            const double blocks = (double)((grid_h + h - 1) / h) * ((grid_w + w - 1) / w);
            if (one >= 0 && (best < 0 || one * blocks < best)) {
                best = one * blocks;
                *block_h = h;
                *block_w = w;
            }
        }
    }
    return best >= 0;
}

#include "ops/conv/group_tile.h"

#include "base/checked.h"
#include "ops/conv/conv_choice.h"

#define TILES(array)                                                                               \
    { array, sizeof(array) / sizeof *(array) }

static const clq_group_tile f32_tiles[] = {
    {256, 128, 128, 1.0f, "-DWG=16 -DRM=8 -DRN=8 -DBK=8"},
    {256, 128, 64, 1.1f, "-DWG=16 -DRM=8 -DRN=4 -DBK=16"},
    {64, 64, 64, 1.1f, "-DWG=8 -DRM=8 -DRN=8 -DBK=8"},
    {64, 32, 32, 1.6f, "-DWG=8 -DRM=4 -DRN=4 -DBK=32"},
    {16, 16, 16, 3.5f, "-DWG=4 -DRM=4 -DRN=4 -DBK=16"}, /* for devices of small groups */
};
const clq_group_tiles clq_f32_group_tiles = TILES(f32_tiles);

static const clq_group_tile int8_tiles[] = {
    {256, 128, 128, 1.0f, "-DWG=16 -DRM=8 -DRN=8 -DBK=8"},
    {256, 128, 64, 1.1f, "-DWG=16 -DRM=8 -DRN=4 -DBK=16"},
    {64, 64, 64, 1.1f, "-DWG=8 -DRM=8 -DRN=8 -DBK=8"},
    {64, 32, 32, 1.5f, "-DWG=8 -DRM=4 -DRN=4 -DBK=32"},
    {16, 16, 16, 3.5f, "-DWG=4 -DRM=4 -DRN=4 -DBK=16"},
};
const clq_group_tiles clq_int8_group_tiles = TILES(int8_tiles);

static const clq_group_tile mma_tiles[] = {
    {128, 128, 128, 1.0f, "-DWM=2 -DWN=2 -DMT=4 -DNT=8 -DSTAGES=3"},
    {128, 128, 64, 1.2f, "-DWM=2 -DWN=2 -DMT=4 -DNT=4 -DSTAGES=4"},
    {128, 64, 64, 1.4f, "-DWM=2 -DWN=2 -DMT=2 -DNT=4 -DSTAGES=4"},
    {64, 64, 32, 1.5f, "-DWM=2 -DWN=1 -DMT=2 -DNT=4 -DBK=128 -DSTAGES=3"},
    {64, 32, 32, 1.9f, "-DWM=2 -DWN=1 -DMT=1 -DNT=4 -DBK=128 -DSTAGES=4"},
};
const clq_group_tiles clq_mma_group_tiles = TILES(mma_tiles);

/* Work-items that keep a compute unit busy. */
enum { UNIT_ITEMS = 512 };

/* How long the compute unit with the most groups takes. With too few of them it is as slow as with
 * as many as keep it busy. */
static double tile_time(const clq_device_info *info, const clq_group_tile *t, size_t rows,
                        size_t cols, size_t products) {
    const size_t groups =
        clq_ceil_div(rows, (size_t)t->rows) * clq_ceil_div(cols, (size_t)t->cols) * products;
    const size_t most = clq_ceil_div(groups, info->compute_units > 0 ? info->compute_units : 1);
    const size_t enough = UNIT_ITEMS / (size_t)t->items;
    return (double)(most > enough ? most : enough) * t->rows * t->cols * (double)t->cost;
}

int clq_choose_group_tile(const clq_device_info *info, const clq_group_tiles *tiles, int wanted,
                          size_t rows, size_t cols, size_t products) {
    int best = 0;
    double least = 0;
    for (int i = 1; i <= tiles->count; i++) {
        const clq_group_tile *t = &tiles->list[i - 1];
        const double time = tile_time(info, t, rows, cols, products);
        const bool fits =
            (size_t)t->items <= info->max_work_group || (best == 0 && i == tiles->count);
        if (clq_allows(wanted, i) && fits && (best == 0 || time < least)) {
            best = i;
            least = time;
        }
    }
    return best;
}

int clq_group_side(const clq_group_tile *tile) {
    return tile->items >= 256 ? 16 : tile->items >= 64 ? 8 : 4;
}

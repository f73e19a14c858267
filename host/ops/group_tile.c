#include "ops/group_tile.h"

#include "base/checked.h"

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

const clq_group_tile *clq_choose_group_tile(const clq_device_info *info,
                                            const clq_group_tile *tiles, size_t count, size_t rows,
                                            size_t cols, size_t products) {
    const clq_group_tile *best = NULL;
    double least = 0;
    for (size_t i = 0; i < count; i++) {
        const double time = tile_time(info, &tiles[i], rows, cols, products);
        if ((size_t)tiles[i].items <= info->max_work_group && (!best || time < least)) {
            best = &tiles[i];
            least = time;
        }
    }
    return best ? best : &tiles[count - 1];
}

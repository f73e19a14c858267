#include "ops/conv/conv2d_f32_tile.h"

#include <stdio.h>

#include "base/checked.h"
#include "ops/conv/conv_choice.h"
#include "ops/conv/conv_class.h"
#include "ops/conv/group_tile.h"

bool clq_conv_find_tile(const clq_device_info *info, int rows, int cols, const int wanted[2],
                        clq_conv_tile *tile) {
    const clq_f32_vectors *vectors = clq_f32_vectors_of(info);
    const clq_register_tile *best = NULL;
    double best_cost = 0;
    *tile = (clq_conv_tile){.vector = vectors->simd_bytes / (int)sizeof(float)};
    for (int i = 0; i < CLQ_MAX_TILES && vectors->tiles[i].rows > 0; i++) {
        const clq_register_tile *t = &vectors->tiles[i];
        const size_t width = (size_t)(t->vectors * tile->vector);
        const double cost = (double)clq_round_up((size_t)rows, (size_t)t->rows) *
                            (double)clq_round_up((size_t)cols, width) * t->cost;
        if (clq_allows(wanted[0], t->rows) && clq_allows(wanted[1], t->vectors) &&
            (!best || cost < best_cost)) {
            best = t;
            best_cost = cost;
        }
    }
    if (!best) {
        return false;
    }
    tile->rows = best->rows;
    tile->cols = best->vectors * tile->vector;
    snprintf(tile->options, sizeof tile->options, "-DMR=%d -DNV=%d", best->rows, best->vectors);
    return true;
}

int clq_conv_group_tile(const clq_device_info *info, int wanted, size_t rows, int cols,
                        size_t products, int depth, clq_conv_tile *tile) {
    const int number =
        clq_choose_group_tile(info, &clq_f32_group_tiles, wanted, rows, (size_t)cols, products);
    if (number > 0) {
        const clq_group_tile *t = &clq_f32_group_tiles.list[number - 1];
        *tile = (clq_conv_tile){
            .rows = t->rows, .cols = t->cols, .group = clq_group_side(t), .vector = 1};
        snprintf(tile->options, sizeof tile->options, "%s -DVEC=%d", t->options,
                 depth % 4 == 0 ? 4 : 1);
    }
    return number;
}

/* For conv2d_block_weights.cl: 4 x 4 sums a work-item. */
static clq_conv_tile square_tile(const clq_device_info *info) {
    const int side = info->max_work_group >= 256 ? 16 : info->max_work_group >= 64 ? 8 : 4;
    clq_conv_tile tile = {.group = side, .rows = 4 * side, .cols = 4 * side, .vector = 1};
    snprintf(tile.options, sizeof tile.options, "-DWG=%d", side);
    return tile;
}

clq_conv_tile clq_conv_choose_tile(const clq_device_info *info, int rows, int cols) {
    static const int any[2] = {0, 0};
    clq_conv_tile tile;
    if (info->schedule == CLQ_SCHEDULE_GPU) {
        return square_tile(info);
    }
    clq_conv_find_tile(info, rows, cols, any, &tile);
    return tile;
}

bool clq_conv_find_channel_tile(const clq_device_info *info, int channels, const int wanted[2],
                                clq_conv_tile *tile) {
    *tile = (clq_conv_tile){.rows = 1, .cols = 1, .vector = 1};
    if (info->schedule == CLQ_SCHEDULE_GPU) {
        snprintf(tile->options, sizeof tile->options, "-DMR=1 -DNV=1");
        return true;
    }
    /* The widest vectors that divide the channels, if any do. */
    const int widest = clq_f32_vectors_of(info)->simd_bytes / (int)sizeof(float);
    tile->vector = widest;
    while (tile->vector > 4 && channels % tile->vector != 0) {
        tile->vector /= 2;
    }
    tile->vector = channels % tile->vector == 0 ? tile->vector : widest;
    const int fitting = channels % (2 * tile->vector) == 0 ? 2 : 1;
    const int vectors = wanted[1] > 0 ? wanted[1] : fitting;
    tile->rows = 4;
    tile->cols = vectors * tile->vector;
    snprintf(tile->options, sizeof tile->options, "-DMR=%d -DNV=%d -DVECTOR_BYTES=%d", tile->rows,
             vectors, tile->vector * (int)sizeof(float));
    return clq_allows(wanted[0], tile->rows) && vectors <= 2;
}

clq_conv_tile clq_conv_channel_tile(const clq_device_info *info, int channels) {
    static const int any[2] = {0, 0};
    clq_conv_tile tile;
    clq_conv_find_channel_tile(info, channels, any, &tile);
    return tile;
}

bool clq_conv_find_window_tile(const clq_device_info *info, int channels, int grid_w, int taps_w,
                               int step_w, const int wanted[2], clq_conv_tile *tile) {
    /* The sums, a row of taps and a source pixel stay in 16 registers. At a step of 2 neighbours
     * share less, and whole lines are worth more. */
    static const int rows[] = {7, 8, 4};
    enum { MAX_TAPS = 7, MAX_STEP = 2, CHOICES = sizeof rows / sizeof *rows };
    static const int any[2] = {0, 0};
    if (info->schedule == CLQ_SCHEDULE_GPU || taps_w > MAX_TAPS || step_w > MAX_STEP ||
        !clq_conv_find_channel_tile(info, channels, any, tile)) {
        return false;
    }
    const int vectors = step_w == 1 ? 1 : tile->cols / tile->vector;
    tile->rows = 0;
    for (int i = step_w == 1 ? 0 : CHOICES - 1; i < CHOICES; i++) {
        if (clq_allows(wanted[0], rows[i]) &&
            (tile->rows == 0 || clq_round_up((size_t)grid_w, (size_t)rows[i]) <
                                    clq_round_up((size_t)grid_w, (size_t)tile->rows))) {
            tile->rows = rows[i];
        }
    }
    tile->cols = vectors * tile->vector;
    snprintf(tile->options, sizeof tile->options,
             "-DMR=%d -DNV=%d -DVECTOR_BYTES=%d -DTAPS_W=%d -DSTEP_W=%d", tile->rows, vectors,
             tile->vector * (int)sizeof(float), taps_w, step_w);
    return tile->rows > 0 && clq_allows(wanted[1], vectors);
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

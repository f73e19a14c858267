/* Choosing kernel, register tile and work-items of an FP32 sum over taps. */
#include "ops/conv/conv2d_f32_plan.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "ops/conv/conv2d_f32_shape.h"
#include "ops/conv/conv2d_f32_tile.h"
#include "ops/conv/conv_class.h"
#include "ops/conv/group_tile.h"

/* The extremes of all phases: what a launch must cover. */
typedef struct extent {
    int grid_h, grid_w;
    int span_h, taps_w, taps; /* source rows and columns that the taps of a pixel reach */
    int taps_h;
    bool runs; /* neighbouring taps of a row are neighbouring pixels */
} extent;

/* What one plan is made from. */
typedef struct planner {
    const clq_device_info *info;
    conv_shape shape; /* with the tile's columns */
    extent extent;
    clq_conv_tile tile;
    const clq_conv_choice *wanted;
    clq_f32_plan *plan;
} planner;

static int max_int(int a, int b) {
    return a > b ? a : b;
}

static size_t clamp_size(size_t value, size_t low, size_t high) {
    return value < low ? low : value > high ? high : value;
}

static extent find_extent(const conv_phase *phases, int count) {
    extent e = {.runs = true};
    for (int i = 0; i < count; i++) {
        const conv_phase *p = &phases[i];
        e.grid_h = max_int(e.grid_h, p->grid_h);
        e.grid_w = max_int(e.grid_w, p->grid_w);
        e.span_h = max_int(e.span_h, (p->taps_h - 1) * p->tap_step_dy + 1);
        e.taps_h = max_int(e.taps_h, p->taps_h);
        e.taps_w = max_int(e.taps_w, p->taps_w);
        e.taps = max_int(e.taps, p->taps);
        e.runs = e.runs && (p->taps_w <= 1 || p->tap_step_dx == 1);
    }
    return e;
}

/* How many work-items a launch needs to keep all cores busy to the end. Nothing but speed depends
 * on it: an output element's sum is the same however the tiles are shared out. */
static size_t wanted_items(const planner *p) {
    const clq_conv_class *class = clq_conv_class_of(p->info);
    const size_t items = (size_t) class->f32.items_per_unit * p->info->compute_units;
    const size_t least = (size_t) class->f32.min_items;
    return items > least ? items : least;
}

/* The tile's columns, once it is known. */
static void set_tile(planner *p) {
    p->shape.col_tile = p->plan->col_tile = p->tile.cols;
    p->shape.col_tiles = p->plan->col_tiles =
        (int)clq_ceil_div((size_t)p->shape.cols, (size_t)p->tile.cols);
    memcpy(p->plan->options, p->tile.options, sizeof p->plan->options);
}

static void set_register_tile(planner *p) {
    set_tile(p);
    p->plan->choice.tile[0] = p->tile.rows;
    p->plan->choice.tile[1] = p->tile.cols / p->tile.vector;
}

static void set_extra(planner *p, size_t a, size_t b, size_t c) {
    p->plan->extra[0] = (int)a;
    p->plan->extra[1] = (int)b;
    p->plan->extra[2] = (int)c;
    p->plan->extras = 3;
}

static size_t pixel_count(const planner *p) {
    return (size_t)p->shape.n * (size_t)p->extent.grid_h * (size_t)p->extent.grid_w;
}

/* ---- few channels: conv2d_patch.cl ---- */

enum { MAX_BLOCK_PIXELS = 256 };

/* Cycles of a block: its tiles, each with a little to set up, and the copy. */
static double patch_cost(const void *context, int h, int w) {
    const planner *p = context;
    const conv_shape *s = &p->shape;
    const double patch_w = (double)(w - 1) * s->step_w + p->extent.taps_w;
    const double patch_h = (double)(h - 1) * s->step_h + p->extent.span_h;
    const double floats = patch_w * patch_h * s->depth;
    if (floats > CONV_PATCH_FLOATS) {
        return -1;
    }
    const double tiles = (double)clq_ceil_div((size_t)h * (size_t)w, (size_t)p->tile.rows);
    const double step = (double)p->tile.rows * p->tile.cols / p->tile.vector / 2;
    const double tile_cycles = p->extent.taps * s->depth * step + 12.0 * p->tile.rows;
    return tiles * s->col_tiles * tile_cycles + 2 * floats / p->tile.vector + 10 * patch_h + 300;
}

static bool choose_block(const planner *p, int *h, int *w) {
    const extent *e = &p->extent;
    if (p->wanted->block[0] > 0) {
        *h = p->wanted->block[0];
        *w = p->wanted->block[1];
        return *h <= e->grid_h && *w <= e->grid_w && patch_cost(p, *h, *w) >= 0;
    }
    return clq_conv_choose_block(e->grid_h, e->grid_w, MAX_BLOCK_PIXELS, patch_cost, p, h, w);
}

static bool plan_patch(planner *p) {
    int h, w;
    if (!clq_conv_find_tile(p->info, (int)pixel_count(p), p->shape.cols, p->wanted->tile,
                            &p->tile)) {
        return false;
    }
    set_register_tile(p);
    const extent *e = &p->extent;
    if (!e->runs || e->taps <= 1 || !choose_block(p, &h, &w) || h * w < p->tile.rows) {
        return false;
    }
    const size_t blocks = (size_t)p->shape.n * clq_ceil_div((size_t)e->grid_h, (size_t)h) *
                          clq_ceil_div((size_t)e->grid_w, (size_t)w);
    /* All columns from one patch, unless that leaves cores idle. */
    const size_t col_tiles = (size_t)p->shape.col_tiles;
    size_t tiles = col_tiles;
    while (tiles > 1 && blocks * clq_ceil_div(col_tiles, tiles) < wanted_items(p)) {
        tiles = (tiles + 1) / 2;
    }
    if (p->wanted->items[0] > 0) {
        tiles = (size_t)p->wanted->items[1];
    }
    p->plan->range = CLQ_RANGE2(blocks, (size_t)p->shape.groups * clq_ceil_div(col_tiles, tiles));
    set_extra(p, (size_t)h, (size_t)w, tiles);
    p->plan->choice.block[0] = h;
    p->plan->choice.block[1] = w;
    p->plan->choice.items[0] = 1;
    p->plan->choice.items[1] = (int)tiles;
    return p->wanted->items[0] <= 1 && tiles <= col_tiles;
}

/* ---- register tiles: conv2d_tile.cl ---- */

/* Whether all compute units have the same to do, within a tenth. */
static bool shares_evenly(const planner *p, size_t items) {
    const size_t units = p->info->compute_units;
    return 10 * clq_ceil_div(items, units) * units <= 11 * items;
}

/* Few pixels and many weights: an item is a column tile and all rows, so that the weights are read
 * from memory once, or fewer rows where that is what lets all units work to the end. */
static void choose_streaming_items(const planner *p, size_t rows, size_t *row_tiles,
                                   size_t *item_cols) {
    const size_t columns = (size_t)p->shape.groups * (size_t)p->shape.col_tiles;
    size_t shares = 1;
    while (shares < rows && !shares_evenly(p, columns * shares) &&
           columns * shares < wanted_items(p)) {
        shares++;
    }
    *row_tiles = clq_ceil_div(rows, shares);
    *item_cols = 1;
}

/* An item's row tiles are as many as leave their pixels in the second-level cache, or as use
 * weights often that do not stay there; its columns as many as there are. When that makes too few
 * items, an item gives up first the columns, if their weights do not stay in the cache anyway,
 * then rows. */
static void choose_items(const planner *p, size_t rows, size_t tile_weights, size_t *row_tiles,
                         size_t *item_cols) {
    const clq_conv_class *class = clq_conv_class_of(p->info);
    const conv_shape *s = &p->shape;
    const size_t groups = (size_t)s->groups, col_tiles = (size_t)s->col_tiles;
    const size_t tile_pixels =
        (size_t)p->tile.rows * (size_t)(s->step_h * s->step_w) * (size_t)s->depth * sizeof(float);
    const size_t pixels = pixel_count(p) * (size_t)s->depth * sizeof(float);
    const size_t cached = (size_t) class->f32.cached_weights;
    const size_t weights = groups * col_tiles * tile_weights;
    if (weights > cached && weights > groups * pixels) {
        choose_streaming_items(p, rows, row_tiles, item_cols);
        return;
    }
    const size_t fewest_cols = clamp_size(cached / tile_weights, 1, col_tiles);
    *item_cols = col_tiles;
    *row_tiles = (size_t) class->f32.max_row_tiles;
    if (tile_weights <= cached) {
        *row_tiles = clamp_size((size_t) class->f32.cached_pixels / tile_pixels, 4, *row_tiles);
    }
    while (*item_cols * *row_tiles > 1 &&
           groups * clq_ceil_div(col_tiles, *item_cols) * clq_ceil_div(rows, *row_tiles) <
               wanted_items(p)) {
        if (*item_cols > fewest_cols || *row_tiles == 1) {
            *item_cols = (*item_cols + 1) / 2;
        } else {
            *row_tiles = (*row_tiles + 1) / 2;
        }
    }
}

static bool plan_tile(planner *p) {
    if (!clq_conv_find_tile(p->info, (int)pixel_count(p), p->shape.cols, p->wanted->tile,
                            &p->tile)) {
        return false;
    }
    set_register_tile(p);
    const conv_shape *s = &p->shape;
    const size_t col_tiles = (size_t)s->col_tiles, groups = (size_t)s->groups;
    const size_t rows = clq_ceil_div(pixel_count(p), (size_t)p->tile.rows);
    const size_t tile_weights = (size_t)max_int(p->extent.taps, 1) * (size_t)s->depth *
                                sizeof(float) * (size_t)p->tile.cols;
    const size_t cached = (size_t)clq_conv_class_of(p->info)->f32.cached_weights;
    size_t cols = clamp_size(cached / tile_weights, 1, col_tiles), row_tiles, item_cols;
    choose_items(p, rows, tile_weights, &row_tiles, &item_cols);
    if (p->wanted->items[0] > 0) {
        row_tiles = (size_t)p->wanted->items[0];
        item_cols = (size_t)p->wanted->items[1];
    }
    cols = p->wanted->cols > 0 ? (size_t)p->wanted->cols : cols < item_cols ? cols : item_cols;
    p->plan->range = CLQ_RANGE3((size_t)s->phases, clq_ceil_div(rows, row_tiles),
                                groups * clq_ceil_div(col_tiles, item_cols));
    set_extra(p, row_tiles, item_cols, cols);
    p->plan->choice.items[0] = (int)row_tiles;
    p->plan->choice.items[1] = (int)item_cols;
    p->plan->choice.cols = (int)cols;
    return item_cols <= col_tiles && cols <= item_cols;
}

/* ---- depthwise: conv2d_depthwise.cl ---- */

/* An item takes a grid row of all channels, or less of it when there are few rows. */
static bool plan_depthwise(planner *p) {
    const conv_shape *s = &p->shape;
    const bool gpu = p->info->schedule == CLQ_SCHEDULE_GPU;
    const bool window =
        s->phases == 1 && p->extent.runs &&
        clq_conv_find_window_tile(p->info, s->cols, p->extent.grid_w, p->extent.taps_w, s->step_w,
                                  p->wanted->tile, &p->tile);
    if (!window && !clq_conv_find_channel_tile(p->info, s->cols, p->wanted->tile, &p->tile)) {
        return false;
    }
    set_register_tile(p);
    const size_t rows = (size_t)s->phases * (size_t)s->n * (size_t)p->extent.grid_h;
    const size_t all_steps = clq_ceil_div((size_t)p->extent.grid_w, (size_t)p->tile.rows);
    const size_t col_tiles = (size_t)s->col_tiles;
    size_t tiles = gpu ? 1 : col_tiles, steps = gpu ? 1 : all_steps;
    while (tiles > 1 && rows * clq_ceil_div(col_tiles, tiles) < wanted_items(p)) {
        tiles = (tiles + 1) / 2;
    }
    if (p->wanted->items[0] > 0) {
        steps = (size_t)p->wanted->items[0];
        tiles = (size_t)p->wanted->items[1];
    }
    p->plan->range =
        CLQ_RANGE3(clq_ceil_div(col_tiles, tiles), clq_ceil_div(all_steps, steps), rows);
    set_extra(p, tiles, steps, (size_t)p->extent.grid_h);
    p->plan->choice.items[0] = (int)steps;
    p->plan->choice.items[1] = (int)tiles;
    return steps <= all_steps && tiles <= col_tiles;
}

/* ---- work-groups: conv2d_block.cl ---- */

static bool plan_group(planner *p) {
    const conv_shape *s = &p->shape;
    const int number =
        clq_conv_group_tile(p->info, p->wanted->group, pixel_count(p), s->cols,
                            (size_t)s->groups * (size_t)s->phases, s->depth, &p->tile);
    if (number == 0) {
        return false;
    }
    set_tile(p);
    const size_t side = (size_t)p->tile.group;
    p->plan->choice.group = number;
    p->plan->range = CLQ_RANGE3(clq_ceil_div(pixel_count(p), (size_t)p->tile.rows) * side,
                                (size_t)p->shape.groups * (size_t)p->shape.col_tiles * side,
                                (size_t)p->shape.phases);
    p->plan->range.local[0] = p->plan->range.local[1] = side;
    p->plan->range.local[2] = 1;
    return true;
}

/* ---- the choice ---- */

static const struct {
    const char *name;
    bool (*plan)(planner *);
    bool cpu, gpu, depthwise; /* where it runs, and whether that is what it is for */
} kernels[CLQ_CONV_KERNEL_COUNT] = {
    [CLQ_CONV_TILE] = {"conv2d_f32_tile", plan_tile, true, false, false},
    [CLQ_CONV_PATCH] = {"conv2d_f32_patch", plan_patch, true, false, false},
    [CLQ_CONV_GROUP] = {"conv2d_f32_block", plan_group, false, true, false},
    [CLQ_CONV_DEPTHWISE] = {"conv2d_f32_depthwise", plan_depthwise, true, true, true},
};

/* On a device of the GPU schedule, where nothing else works: every item for itself. */
static void force_cpu_schedule(clq_f32_plan *plan) {
    const size_t length = strlen(plan->options);
    snprintf(plan->options + length, sizeof plan->options - length, " %s", CLQ_FORCE_CPU_SCHEDULE);
    plan->range.local[0] = plan->range.local[1] = plan->range.local[2] = 1;
}

/* The register tiles, when asked for by name, run everywhere: they are what is left when a
 * self-test failed. */
static bool plan_with(planner *p, clq_conv_kernel kernel, bool depthwise) {
    const bool cpu = p->info->schedule == CLQ_SCHEDULE_CPU;
    *p->plan = (clq_f32_plan){.kernel_name = kernels[kernel].name, .choice.kernel = kernel};
    const bool asked = kernel == CLQ_CONV_TILE && p->wanted->kernel == CLQ_CONV_TILE && !depthwise;
    const bool can = kernels[kernel].plan &&
                     (asked || ((cpu ? kernels[kernel].cpu : kernels[kernel].gpu) &&
                                kernels[kernel].depthwise == depthwise)) &&
                     kernels[kernel].plan(p);
    if (can && asked && !cpu) {
        force_cpu_schedule(p->plan);
    }
    return can;
}

bool clq_f32_make_plan(const clq_device_info *info, const conv_shape *shape,
                       const conv_phase *phases, bool depthwise, const clq_conv_choice *choice,
                       clq_f32_plan *plan) {
    static const clq_conv_choice open = {0};
    planner p = {.info = info,
                 .shape = *shape,
                 .extent = find_extent(phases, shape->phases),
                 .wanted = choice ? choice : &open,
                 .plan = plan};
    if (p.wanted->kernel != CLQ_CONV_ANY) {
        return plan_with(&p, p.wanted->kernel, depthwise);
    }
    if (depthwise) {
        return plan_with(&p, CLQ_CONV_DEPTHWISE, true);
    }
    if (info->schedule == CLQ_SCHEDULE_GPU) {
        return plan_with(&p, CLQ_CONV_GROUP, false);
    }
    return (shape->depth <= clq_conv_class_of(info)->f32.patch_depth &&
            plan_with(&p, CLQ_CONV_PATCH, false)) ||
           plan_with(&p, CLQ_CONV_TILE, false);
}

/* ---- candidates ---- */

typedef struct search {
    const clq_device_info *info;
    conv_shape shape;
    conv_phase phase; /* a forward has one */
    bool depthwise;
    clq_conv_candidates *found;
} search;

/* Adds a choice that can be had, with what it leaves open filled in; whether it could. */
static bool consider(const search *s, const clq_conv_choice *choice, clq_conv_choice *whole) {
    clq_f32_plan plan;
    if (!clq_f32_make_plan(s->info, &s->shape, &s->phase, s->depthwise, choice, &plan)) {
        return false;
    }
    clq_conv_add_candidate(s->found, &plan.choice);
    if (whole) {
        *whole = plan.choice;
    }
    return true;
}

/* Work-items around those of a whole choice, and more and fewer columns whose weights are to stay
 * in the cache. */
static void consider_items(const search *s, const clq_conv_choice *whole) {
    for (int scaling = 0; scaling < CLQ_ITEM_SCALINGS; scaling++) {
        clq_conv_choice choice = clq_conv_scale_items(whole, scaling);
        choice.cols = 0;
        consider(s, &choice, NULL);
    }
    const int cols[] = {whole->cols / 2, 2 * whole->cols, whole->items[1]};
    for (int i = 0; whole->cols > 0 && i < 3; i++) {
        clq_conv_choice choice = *whole;
        choice.cols = cols[i];
        consider(s, &choice, NULL);
    }
}

/* Blocks of half the height, half the width, or both. */
static void consider_blocks(const search *s, const clq_conv_choice *whole) {
    for (int halved = 1; halved <= 3; halved++) {
        clq_conv_choice choice = {.kernel = whole->kernel};
        memcpy(choice.tile, whole->tile, sizeof choice.tile);
        for (int i = 0; i < 2; i++) {
            choice.block[i] = halved & (1 << i) ? (whole->block[i] + 1) / 2 : whole->block[i];
        }
        consider(s, &choice, NULL);
    }
}

/* Every register tile with one of the CPU schedule's kernels. */
static void consider_tiles(const search *s, clq_conv_kernel kernel) {
    const clq_f32_vectors *vectors = clq_f32_vectors_of(s->info);
    for (int i = 0; i < CLQ_MAX_TILES && vectors->tiles[i].rows > 0; i++) {
        clq_conv_choice whole, choice = {.kernel = kernel};
        choice.tile[0] = vectors->tiles[i].rows;
        choice.tile[1] = vectors->tiles[i].vectors;
        if (consider(s, &choice, &whole)) {
            consider_items(s, &whole);
            if (kernel == CLQ_CONV_PATCH) {
                consider_blocks(s, &whole);
            }
        }
    }
}

void clq_f32_candidates(const clq_device_info *info, const clq_conv_geometry *geometry,
                        clq_conv_candidates *candidates) {
    search s = {.info = info,
                .shape = clq_f32_shape(geometry, false),
                .depthwise = clq_conv_is_depthwise(geometry),
                .found = candidates};
    clq_conv_choice first = {0};
    clq_f32_phases(geometry, false, &s.phase, NULL);
    candidates->count = 0;
    consider(&s, &first, &first);
    if (s.depthwise) {
        for (int vectors = 1; vectors <= 2; vectors++) {
            clq_conv_choice whole, choice = {.kernel = CLQ_CONV_DEPTHWISE};
            choice.tile[0] = first.tile[0];
            choice.tile[1] = vectors;
            if (consider(&s, &choice, &whole)) {
                consider_items(&s, &whole);
            }
        }
        return;
    }
    if (info->schedule == CLQ_SCHEDULE_CPU) {
        consider_tiles(&s, CLQ_CONV_TILE);
        consider_tiles(&s, CLQ_CONV_PATCH);
    }
    for (int i = 1; i <= clq_f32_group_tiles.count; i++) {
        consider(&s, &(clq_conv_choice){.kernel = CLQ_CONV_GROUP, .group = i}, NULL);
    }
}

#include "ops/conv2d_f32_sum.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

/* Sums over up to this many channels go through a private patch: for those, working out where a
 * tap's pixels are costs more than copying them. */
enum { PATCH_DEPTH = 32 };

double clq_conv_operations(const clq_conv_geometry *g) {
    return 2.0 * g->n * g->oh * g->ow * g->oc * g->kh * g->kw * (g->ic / g->groups);
}

static bool is_depthwise(const clq_conv_geometry *g) {
    return g->groups > 1 && g->groups == g->ic && g->groups == g->oc;
}

/* ---- the tables ---- */

/* Everything of the shape but the tile. */
static conv_shape make_shape(const clq_conv_geometry *g, bool backward) {
    const int taps = g->kh * g->kw, in = g->ic / g->groups, out = g->oc / g->groups;
    conv_shape s = {.n = g->n, .groups = g->groups, .phases = 1};
    if (backward) {
        s.src_h = g->oh, s.src_w = g->ow, s.src_c = g->oc;
        s.dst_h = g->ih, s.dst_w = g->iw, s.dst_c = g->ic;
        s.depth = out, s.cols = in;
        s.step_h = s.step_w = 1;
        s.dst_step_h = g->stride_h, s.dst_step_w = g->stride_w;
        s.phases = g->stride_h * g->stride_w;
        s.w_col = 1, s.w_depth = taps * in;
    } else {
        s.src_h = g->ih, s.src_w = g->iw, s.src_c = g->ic;
        s.dst_h = g->oh, s.dst_w = g->ow, s.dst_c = g->oc;
        s.depth = in, s.cols = out;
        s.step_h = g->stride_h, s.step_w = g->stride_w;
        s.dst_step_h = s.dst_step_w = 1;
        s.w_col = taps * in, s.w_depth = 1;
    }
    s.w_group = out * taps * in;
    s.w_tap = in;
    if (is_depthwise(g)) { /* the channels are the columns of one group */
        s.groups = s.depth = 1;
        s.cols = g->ic;
        s.w_col = taps;
        s.w_tap = 1;
    }
    return s;
}

/* The taps of one axis that reach residue `phase` of the input, offsets ascending. */
typedef struct axis {
    int grid, first, step, count;
    int kernel_first, kernel_step; /* kernel index of the first tap, and from tap to tap */
} axis;

static axis forward_axis(int out, int kernel, int pad, int dilation) {
    return (axis){out, -pad, dilation, kernel, 0, 1};
}

static axis backward_axis(int in, int kernel, int stride, int pad, int dilation, int phase) {
    axis a = {.grid = in > phase ? (in - phase + stride - 1) / stride : 0};
    for (int k = kernel - 1; k >= 0; k--) {
        const int reach = phase + pad - k * dilation;
        if (reach % stride != 0) {
            continue;
        }
        const int offset = reach / stride;
        if (a.count == 0) {
            a.first = offset;
            a.kernel_first = k;
        } else if (a.count == 1) {
            a.step = offset - a.first;
            a.kernel_step = k - a.kernel_first;
        }
        a.count++;
    }
    return a;
}

/* Fills the phase and its taps; returns how many taps. */
static int add_phase(const clq_conv_geometry *g, int index, axis h, axis w, int first_tap,
                     conv_phase *phase, conv_tap *taps) {
    *phase = (conv_phase){.grid_h = h.grid,
                          .grid_w = w.grid,
                          .first_tap = first_tap,
                          .taps = h.count * w.count,
                          .taps_h = h.count,
                          .taps_w = w.count,
                          .tap_dy = h.first,
                          .tap_step_dy = h.step,
                          .tap_dx = w.first,
                          .tap_step_dx = w.step};
    for (int y = 0; y < h.count; y++) {
        for (int x = 0; x < w.count; x++) {
            const int kh = h.kernel_first + y * h.kernel_step;
            const int kw = w.kernel_first + x * w.kernel_step;
            taps[first_tap + y * w.count + x] =
                (conv_tap){h.first + y * h.step, w.first + x * w.step, kh * g->kw + kw, index};
        }
    }
    return phase->taps;
}

static int fill_phases(const clq_conv_geometry *g, bool backward, conv_phase *phases,
                       conv_tap *taps) {
    int count = 0;
    if (!backward) {
        return add_phase(g, 0, forward_axis(g->oh, g->kh, g->pad_top, g->dilation_h),
                         forward_axis(g->ow, g->kw, g->pad_left, g->dilation_w), 0, phases, taps);
    }
    for (int y = 0; y < g->stride_h; y++) {
        const axis h = backward_axis(g->ih, g->kh, g->stride_h, g->pad_top, g->dilation_h, y);
        for (int x = 0; x < g->stride_w; x++) {
            const axis w = backward_axis(g->iw, g->kw, g->stride_w, g->pad_left, g->dilation_w, x);
            conv_phase *phase = &phases[y * g->stride_w + x];
            count += add_phase(g, y * g->stride_w + x, h, w, count, phase, taps);
            phase->out_y = y;
            phase->out_x = x;
        }
    }
    return count;
}

/* ---- choosing the kernel ---- */

/* The extremes of all phases: what a launch must cover. */
typedef struct extent {
    int grid_h, grid_w;
    int span_h, taps_w, taps; /* source rows and columns that the taps of a pixel reach */
    int taps_h;
    bool runs; /* neighbouring taps of a row are neighbouring pixels */
} extent;

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
static size_t wanted_items(const clq_device *device) {
    const size_t units = clq_device_get_info(device)->compute_units;
    return 8 * units > 32 ? 8 * units : 32;
}

typedef struct patch_context {
    const conv_shape *shape;
    const extent *extent;
    const clq_conv_tile *tile;
} patch_context;

/* Cycles of a block: its tiles, each with a little to set up, and the copy. */
static double patch_cost(const void *context, int h, int w) {
    const patch_context *c = context;
    const conv_shape *s = c->shape;
    const double patch_w = (double)(w - 1) * s->step_w + c->extent->taps_w;
    const double patch_h = (double)(h - 1) * s->step_h + c->extent->span_h;
    const double floats = patch_w * patch_h * s->depth;
    if (floats > CONV_PATCH_FLOATS) {
        return -1;
    }
    const double tiles = (double)clq_ceil_div((size_t)h * (size_t)w, (size_t)c->tile->rows);
    const double step = (double)c->tile->rows * c->tile->cols / c->tile->vector / 2;
    const double tile_cycles = c->extent->taps * s->depth * step + 12.0 * c->tile->rows;
    return tiles * s->col_tiles * tile_cycles + 2 * floats / c->tile->vector + 10 * patch_h + 300;
}

/* Whether the patch kernel suits; sets its blocks. */
static bool plan_patch(clq_conv_sum *sum, const extent *e, const clq_conv_tile *tile) {
    enum { MAX_PIXELS = 256 };
    const conv_shape *s = &sum->shape;
    const patch_context context = {s, e, tile};
    int h, w;
    if (!e->runs || e->taps <= 1 || s->depth > PATCH_DEPTH ||
        !clq_conv_choose_block(e->grid_h, e->grid_w, MAX_PIXELS, patch_cost, &context, &h, &w) ||
        h * w < tile->rows) {
        return false;
    }
    const size_t blocks = (size_t)s->n * clq_ceil_div((size_t)e->grid_h, (size_t)h) *
                          clq_ceil_div((size_t)e->grid_w, (size_t)w);
    /* All columns from one patch, unless that leaves cores idle. */
    int tiles = s->col_tiles;
    while (tiles > 1 &&
           blocks * (size_t)((s->col_tiles + tiles - 1) / tiles) < wanted_items(sum->device)) {
        tiles = (tiles + 1) / 2;
    }
    sum->range =
        CLQ_RANGE2(blocks, (size_t)s->groups * clq_ceil_div((size_t)s->col_tiles, (size_t)tiles));
    sum->extra[0] = h;
    sum->extra[1] = w;
    sum->extra[2] = tiles;
    sum->extras = 3;
    return true;
}

/* An item's row tiles are as many as leave their pixels in the second-level cache, its columns as
 * many as there are. When that makes too few items, an item gives up first the columns, if their
 * weights do not stay in the cache anyway, then rows. */
static void plan_tile(clq_conv_sum *sum, const extent *e, const clq_conv_tile *tile) {
    enum { CACHED_WEIGHTS = 128 * 1024, CACHED_PIXELS = 128 * 1024, MAX_ROW_TILES = 12 };
    const conv_shape *s = &sum->shape;
    const size_t wanted = wanted_items(sum->device);
    const size_t pixels = (size_t)s->n * (size_t)e->grid_h * (size_t)e->grid_w;
    const size_t rows = clq_ceil_div(pixels, (size_t)tile->rows);
    const size_t col_tiles = (size_t)s->col_tiles, groups = (size_t)s->groups;
    const size_t depth_bytes = (size_t)s->depth * sizeof(float);
    const size_t tile_weights = (size_t)max_int(e->taps, 1) * depth_bytes * (size_t)tile->cols;
    const size_t tile_pixels = (size_t)tile->rows * (size_t)(s->step_h * s->step_w) * depth_bytes;

    size_t cols = clamp_size(CACHED_WEIGHTS / tile_weights, 1, col_tiles), item_cols = col_tiles;
    size_t row_tiles = clamp_size(CACHED_PIXELS / tile_pixels, 4, MAX_ROW_TILES);
    while (item_cols * row_tiles > 1 &&
           groups * clq_ceil_div(col_tiles, item_cols) * clq_ceil_div(rows, row_tiles) < wanted) {
        if (item_cols > cols || row_tiles == 1) {
            item_cols = (item_cols + 1) / 2;
        } else {
            row_tiles = (row_tiles + 1) / 2;
        }
    }
    cols = cols < item_cols ? cols : item_cols;
    sum->range = CLQ_RANGE3(groups * clq_ceil_div(col_tiles, item_cols),
                            clq_ceil_div(rows, row_tiles), (size_t)s->phases);
    sum->extra[0] = (int)row_tiles;
    sum->extra[1] = (int)item_cols;
    sum->extra[2] = (int)cols;
    sum->extras = 3;
}

/* An item takes a grid row of all channels, or less of it when there are few rows. */
static void plan_depthwise(clq_conv_sum *sum, const extent *e, const clq_conv_tile *tile) {
    const conv_shape *s = &sum->shape;
    const size_t rows = (size_t)s->phases * (size_t)s->n * (size_t)e->grid_h;
    const size_t steps = clq_ceil_div((size_t)e->grid_w, (size_t)tile->rows);
    const size_t col_tiles = (size_t)s->col_tiles;
    size_t tiles = col_tiles, item_steps = steps;
    if (clq_device_get_info(sum->device)->schedule == CLQ_SCHEDULE_GPU) {
        tiles = item_steps = 1;
    }
    while (tiles > 1 && rows * clq_ceil_div(col_tiles, tiles) < wanted_items(sum->device)) {
        tiles = (tiles + 1) / 2;
    }
    sum->range = CLQ_RANGE3(clq_ceil_div(col_tiles, tiles), clq_ceil_div(steps, item_steps), rows);
    sum->extra[0] = (int)tiles;
    sum->extra[1] = (int)item_steps;
    sum->extra[2] = e->grid_h;
    sum->extras = 3;
}

static clq_conv_tile choose_block_tile(const clq_device_info *info, const conv_shape *s,
                                       const extent *e) {
    const size_t pixels = (size_t)s->n * (size_t)e->grid_h * (size_t)e->grid_w;
    return clq_conv_block_tile(info, pixels, s->cols, (size_t)s->groups * (size_t)s->phases,
                               s->depth);
}

static void plan_block(clq_conv_sum *sum, const extent *e, const clq_conv_tile *tile) {
    const conv_shape *s = &sum->shape;
    const size_t pixels = (size_t)s->n * (size_t)e->grid_h * (size_t)e->grid_w;
    const size_t side = (size_t)tile->group;
    sum->range = CLQ_RANGE3(clq_ceil_div(pixels, (size_t)tile->rows) * side,
                            (size_t)s->groups * (size_t)s->col_tiles * side, (size_t)s->phases);
    sum->range.local[0] = sum->range.local[1] = side;
    sum->range.local[2] = 1;
}

static clq_status choose_kernel(clq_conv_sum *sum, const clq_conv_geometry *g,
                                const conv_phase *phases) {
    const clq_device_info *info = clq_device_get_info(sum->device);
    conv_shape *s = &sum->shape;
    const extent e = find_extent(phases, s->phases);
    const bool depthwise = is_depthwise(g);
    const clq_conv_tile tile = depthwise ? clq_conv_channel_tile(info, s->cols)
                               : info->schedule == CLQ_SCHEDULE_GPU
                                   ? choose_block_tile(info, s, &e)
                                   : clq_conv_choose_tile(info, s->cols);
    s->col_tile = tile.cols;
    s->col_tiles = (s->cols + tile.cols - 1) / tile.cols;
    const char *name = "conv2d_f32_tile";
    if (depthwise) {
        name = "conv2d_f32_depthwise";
        plan_depthwise(sum, &e, &tile);
    } else if (info->schedule == CLQ_SCHEDULE_GPU) {
        name = "conv2d_f32_block";
        plan_block(sum, &e, &tile);
    } else if (plan_patch(sum, &e, &tile)) {
        name = "conv2d_f32_patch";
    } else {
        plan_tile(sum, &e, &tile);
    }
    CLQ_TRY(clq_kernel_get(sum->device, name, tile.options, &sum->kernel));
    return clq_kernel_get(sum->device, "conv2d_f32_pack", NULL, &sum->pack);
}

/* ---- buffers ---- */

/* The packed weights and behind them the zeros that taps outside the image read. */
static clq_status take_weights(clq_conv_sum *sum) {
    conv_shape *s = &sum->shape;
    const size_t weights = (size_t)s->groups * (size_t)s->col_tiles * (size_t)s->col_tile *
                           (size_t)s->depth * (size_t)sum->taps;
    const size_t zeros = (size_t)s->depth * sizeof(float);
    if (weights > INT32_MAX) {
        return clq_fail(CLQ_NO_MEMORY, "a convolution with %zu packed weights: the limit is 2^31",
                        weights);
    }
    s->zeros = (int)weights;
    CLQ_TRY(clq_buffer_create(sum->device, weights * sizeof(float) + zeros, &sum->packed));
    return clq_buffer_fill(sum->packed, weights * sizeof(float), zeros, 0);
}

static clq_status upload_tables(clq_conv_sum *sum, const conv_phase *phases, const conv_tap *taps) {
    const size_t phase_bytes = (size_t)sum->shape.phases * sizeof *phases;
    const size_t tap_bytes = (size_t)sum->taps * sizeof *taps;
    const size_t shape_bytes = sizeof sum->shape;
    CLQ_TRY(clq_buffer_create(sum->device, shape_bytes + phase_bytes + tap_bytes, &sum->tables));
    CLQ_TRY(clq_buffer_write(sum->tables, 0, shape_bytes, &sum->shape));
    CLQ_TRY(clq_buffer_write(sum->tables, shape_bytes, phase_bytes, phases));
    return clq_buffer_write(sum->tables, shape_bytes + phase_bytes, tap_bytes, taps);
}

clq_status clq_conv_sum_init(clq_conv_sum *sum, clq_device *device,
                             const clq_conv_geometry *geometry, bool backward) {
    clq_status status = CLQ_OK;
    sum->device = device;
    sum->operations = clq_conv_operations(geometry);
    sum->shape = make_shape(geometry, backward);
    conv_phase *phases = clq_calloc((size_t)sum->shape.phases, sizeof *phases);
    conv_tap *taps = clq_calloc((size_t)geometry->kh * (size_t)geometry->kw, sizeof *taps);
    if (!phases || !taps) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    sum->taps = fill_phases(geometry, backward, phases, taps);
    CLQ_GOTO(status, cleanup, choose_kernel(sum, geometry, phases));
    CLQ_GOTO(status, cleanup, take_weights(sum));
    CLQ_GOTO(status, cleanup, upload_tables(sum, phases, taps));
cleanup:
    clq_free(phases);
    clq_free(taps);
    return status;
}

void clq_conv_sum_free(clq_conv_sum *sum) {
    clq_buffer_release(sum->tables);
    clq_buffer_release(sum->packed);
    memset(sum, 0, sizeof *sum);
}

/* ---- running ---- */

clq_status clq_conv_sum_load_weights(clq_conv_sum *sum, clq_buffer *w) {
    enum { CHANNELS = 64 }; /* an item packs this many */
    const conv_shape *s = &sum->shape;
    const bool gpu = clq_device_get_info(sum->device)->schedule == CLQ_SCHEDULE_GPU;
    const size_t depth =
        gpu ? (size_t)s->depth * (size_t)s->col_tile : clq_ceil_div((size_t)s->depth, CHANNELS);
    const clq_range range =
        CLQ_RANGE3(depth, (size_t)s->groups * (size_t)s->col_tiles, (size_t)sum->taps);
    return CLQ_LAUNCH(sum->device, sum->pack, range, CLQ_BUF(w), CLQ_BUF(sum->tables),
                      CLQ_BUF(sum->packed), CLQ_I32(sum->taps), CLQ_I32(CHANNELS));
}

clq_status clq_conv_sum_run(clq_conv_sum *sum, clq_buffer *src, clq_buffer *bias,
                            clq_buffer *residual, clq_act act, clq_buffer *dst) {
    const float lo = act == CLQ_ACT_NONE ? -INFINITY : 0.0f;
    const float hi = act == CLQ_ACT_RELU6 ? 6.0f : INFINITY;
    const clq_arg args[] = {
        CLQ_BUF(src),
        CLQ_BUF(sum->packed),
        CLQ_BUF(sum->tables),
        CLQ_BUF(bias),
        CLQ_BUF(residual),
        CLQ_BUF(dst),
        CLQ_F32(lo),
        CLQ_F32(hi),
        CLQ_I32(sum->extra[0]),
        CLQ_I32(sum->extra[1]),
        CLQ_I32(sum->extra[2]),
    };
    clq_device_set_work(sum->device, sum->operations);
    return clq_launch(sum->device, sum->kernel, sum->range, args, 8 + (size_t)sum->extras);
}

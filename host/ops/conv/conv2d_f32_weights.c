#include "ops/conv/conv2d_f32_weights.h"

#include <string.h>

#include "base/checked.h"
#include "ops/conv/conv2d_f32_shape.h"
#include "ops/conv/conv2d_f32_tile.h"

/* The pixels are cut into parts until there are about this many work-items. The number depends on
 * the shape alone, so that the order of the sums does. */
enum { WANTED_ITEMS = 128, MIN_PART_PIXELS = 256 };
/* An item's sums should stay in the second-level cache. */
enum { ITEM_SUMS_BYTES = 96 * 1024 };
/* Room of a patch that one tap reads, so that the gradient stays in the first-level cache too. */
enum { ONE_TAP_FLOATS = CONV_PATCH_FLOATS * 2 / 3 };

static int min_int(int a, int b) {
    return a < b ? a : b;
}

static int max_int(int a, int b) {
    return a > b ? a : b;
}

static int round_up(int a, int b) {
    return clq_ceil_div_int(a, b) * b;
}

static conv_weights_shape make_shape(const clq_conv_geometry *g) {
    conv_weights_shape s = {
        .n = g->n,
        .src_h = g->ih,
        .src_w = g->iw,
        .src_c = g->ic,
        .grid_h = g->oh,
        .grid_w = g->ow,
        .dst_c = g->oc,
        .groups = g->groups,
        .depth = g->ic / g->groups,
        .cols = g->oc / g->groups,
        .kh = g->kh,
        .kw = g->kw,
        .stride_h = g->stride_h,
        .stride_w = g->stride_w,
        .pad_top = g->pad_top,
        .pad_left = g->pad_left,
        .dilation_h = g->kh > 1 ? g->dilation_h : 1,
        .dilation_w = g->kw > 1 ? g->dilation_w : 1,
        .parts = 1,
    };
    /* A 1x1 convolution over all pixels is a matrix product: one long row. */
    if (g->kh == 1 && g->kw == 1 && g->stride_h == 1 && g->stride_w == 1 && g->pad_top == 0 &&
        g->pad_left == 0 && g->oh == g->ih && g->ow == g->iw) {
        s.src_w = s.grid_w = g->n * g->ih * g->iw;
        s.n = s.src_h = s.grid_h = 1;
    }
    return s;
}

/* ---- CPU schedule: blocks and patches ---- */

typedef struct block_context {
    const conv_weights_shape *shape;
    const clq_conv_tile *tile;
} block_context;

static int patch_width(const conv_weights_shape *s, int block_w) {
    return ((block_w - 1) * s->stride_w + (s->kw - 1) * s->dilation_w) / s->pick_w + 1;
}

static int patch_height(const conv_weights_shape *s, int block_h) {
    return ((block_h - 1) * s->stride_h + (s->kh - 1) * s->dilation_h) / s->pick_h + 1;
}

/* The most channels whose patch fits, in equal blocks of whole vectors; 0 when not one fits. */
static int block_channels(const conv_weights_shape *s, const clq_conv_tile *tile, int h, int w) {
    enum { MAX_CHANNELS = 96 };
    const int64_t pixels = (int64_t)patch_width(s, w) * patch_height(s, h);
    const int64_t room = s->kh * s->kw == 1 ? ONE_TAP_FLOATS : CONV_PATCH_FLOATS;
    const int fit = (int)(room / pixels);
    if (fit >= s->depth && s->depth <= MAX_CHANNELS) {
        return s->depth;
    }
    const int most = min_int(fit, MAX_CHANNELS) / tile->vector * tile->vector;
    if (most == 0) {
        return min_int(fit, s->depth);
    }
    return min_int(
        most, round_up(clq_ceil_div_int(s->depth, clq_ceil_div_int(s->depth, most)), tile->vector));
}

/* Cycles that a block takes for all channels of a group and one item's columns. */
static double block_cost(const void *context, int h, int w) {
    const block_context *c = context;
    const conv_weights_shape *s = c->shape;
    const int channels = block_channels(s, c->tile, h, w);
    if (channels == 0) {
        return -1;
    }
    const double pixels = (double)h * w, vectors = (double)c->tile->cols / c->tile->vector;
    const double step = c->tile->rows * vectors / 2;
    const double rows = round_up(s->run_taps * channels, c->tile->rows);
    const double tiles = (double)s->runs * rows / c->tile->rows;
    const double patch = (double)patch_width(s, w) * patch_height(s, h) * channels;
    const double add = s->tiles * tiles * ((pixels + 4) * step + 12);
    const double copy = 2 * patch / c->tile->vector + 10 * patch_height(s, h) + 100;
    return clq_ceil_div_int(s->depth, channels) * (add + copy);
}

static clq_status plan_blocks(clq_conv_weights *weights, const clq_conv_tile *tile) {
    conv_weights_shape *s = &weights->shape;
    const block_context context = {s, tile};
    s->tiles = min_int(s->col_tiles, CONV_ITEM_COLUMNS / tile->cols);
    s->pick_h = s->kh == 1 ? s->stride_h : 1;
    s->pick_w = s->kw == 1 ? s->stride_w : 1;
    s->run_taps = s->dilation_w == 1 ? s->kw : 1;
    s->runs = s->kh * s->kw / s->run_taps;
    if (!clq_conv_choose_block(s->grid_h, s->grid_w, CONV_BLOCK_PIXELS, block_cost, &context,
                               &s->block_h, &s->block_w)) {
        return clq_fail(
            CLQ_USAGE, "a %dx%d convolution kernel with dilation %dx%d reaches more than %d pixels",
            s->kh, s->kw, s->dilation_h, s->dilation_w, CONV_PATCH_FLOATS);
    }
    s->blocks_h = clq_ceil_div_int(s->grid_h, s->block_h);
    s->blocks_w = clq_ceil_div_int(s->grid_w, s->block_w);
    s->patch_w = patch_width(s, s->block_w);
    s->channels = block_channels(s, tile, s->block_h, s->block_w);
    s->channel_blocks = clq_ceil_div_int(s->depth, s->channels);
    s->run_rows = s->run_taps * s->channels;
    s->run_pad = round_up(s->run_rows, tile->rows);

    const int64_t pixels = (int64_t)s->n * s->grid_h * s->grid_w;
    const int64_t blocks = (int64_t)s->n * s->blocks_h * s->blocks_w;
    const int sums_bytes = s->runs * s->run_pad * s->tiles * tile->cols * (int)sizeof(float);
    s->item_blocks = min_int(s->channel_blocks, max_int(1, ITEM_SUMS_BYTES / sums_bytes));
    const int64_t items = (int64_t)clq_ceil_div_int(s->channel_blocks, s->item_blocks) * s->groups *
                          clq_ceil_div_int(s->col_tiles, s->tiles);
    int64_t parts = (WANTED_ITEMS + items - 1) / items;
    parts = parts < pixels / MIN_PART_PIXELS ? parts : pixels / MIN_PART_PIXELS;
    parts = parts < blocks ? parts : blocks;
    s->parts = parts > 1 ? (int)parts : 1;
    return CLQ_OK;
}

static clq_status plan_cpu(clq_conv_weights *weights, const clq_conv_tile *tile) {
    enum { REDUCE_CHANNELS = 8 }; /* as in conv2d_weights.cl */
    conv_weights_shape *s = &weights->shape;
    CLQ_TRY(plan_blocks(weights, tile));
    const size_t tiles = (size_t)s->groups * (size_t)s->col_tiles;
    const size_t row_bytes = (size_t)s->parts * tiles * (size_t)tile->cols * sizeof(float);
    weights->partial_size =
        row_bytes * (size_t)s->channel_blocks * (size_t)s->runs * (size_t)s->run_pad;
    weights->partial_bias_size = row_bytes;
    weights->range = CLQ_RANGE3((size_t)clq_ceil_div_int(s->channel_blocks, s->item_blocks),
                                (size_t)(s->groups * clq_ceil_div_int(s->col_tiles, s->tiles)),
                                (size_t)s->parts);
    weights->reduce_range = CLQ_RANGE3((size_t)clq_ceil_div_int(s->depth, REDUCE_CHANNELS),
                                       (size_t)(s->kh * s->kw), tiles);
    CLQ_TRY(clq_kernel_get(weights->device, "conv2d_f32_weights", tile->options, &weights->kernel));
    return clq_kernel_get(weights->device, "conv2d_f32_weights_reduce", tile->options,
                          &weights->reduce);
}

/* ---- GPU schedule ---- */

static clq_status plan_gpu(clq_conv_weights *weights, const clq_conv_tile *tile) {
    enum { GPU_ITEMS = 256, GPU_PART_PIXELS = 512 };
    conv_weights_shape *s = &weights->shape;
    s->runs = 1;
    s->channels = s->depth;
    s->channel_blocks = 1;
    s->run_taps = s->kh * s->kw;
    s->run_rows = s->run_taps * s->depth;
    s->run_pad = round_up(s->run_rows, tile->rows);
    const int64_t pixels = (int64_t)s->n * s->grid_h * s->grid_w;
    const int64_t groups = (int64_t)s->run_pad / tile->rows * s->groups * s->col_tiles;
    int64_t parts = (GPU_ITEMS + groups - 1) / groups;
    parts = parts < pixels / GPU_PART_PIXELS ? parts : pixels / GPU_PART_PIXELS;
    s->parts = parts > 1 ? (int)parts : 1;

    const size_t tiles = (size_t)s->groups * (size_t)s->col_tiles, side = (size_t)tile->group;
    const size_t row_bytes = (size_t)s->parts * tiles * (size_t)tile->cols * sizeof(float);
    weights->partial_size = row_bytes * (size_t)s->run_pad;
    weights->partial_bias_size = row_bytes;
    weights->range =
        CLQ_RANGE3((size_t)(s->run_pad / tile->rows) * side, tiles * side, (size_t)s->parts);
    weights->range.local[0] = weights->range.local[1] = side;
    weights->range.local[2] = 1;
    weights->reduce_range = CLQ_RANGE3((size_t)tile->cols, (size_t)s->run_rows, tiles);
    CLQ_TRY(clq_kernel_get(weights->device, "conv2d_f32_block_weights", tile->options,
                           &weights->kernel));
    return clq_kernel_get(weights->device, "conv2d_f32_block_reduce", tile->options,
                          &weights->reduce);
}

/* ---- depthwise ---- */

static clq_status plan_depthwise(clq_conv_weights *weights, const clq_conv_tile *tile) {
    enum { MAX_TAPS = 32 }; /* as in conv2d_depthwise.cl */
    conv_weights_shape *s = &weights->shape;
    const int sums = s->kh * s->kw + 1; /* and the bias */
    const int parts = clq_ceil_div_int(2 * WANTED_ITEMS, s->col_tiles);
    s->parts = min_int(parts, s->n * s->grid_h);
    weights->partial_size =
        (size_t)s->parts * (size_t)sums * (size_t)s->col_tiles * (size_t)tile->cols * sizeof(float);
    weights->range = CLQ_RANGE3((size_t)s->col_tiles, (size_t)clq_ceil_div_int(sums, MAX_TAPS),
                                (size_t)s->parts);
    weights->reduce_range = CLQ_RANGE2((size_t)s->cols, (size_t)sums);
    CLQ_TRY(clq_kernel_get(weights->device, "conv2d_f32_depthwise_weights", tile->options,
                           &weights->kernel));
    return clq_kernel_get(weights->device, "conv2d_f32_depthwise_reduce", tile->options,
                          &weights->reduce);
}

/* ---- the interface ---- */

clq_status clq_conv_weights_init(clq_conv_weights *weights, clq_device *device,
                                 const clq_conv_geometry *geometry) {
    const clq_device_info *info = clq_device_get_info(device);
    const bool depthwise = clq_conv_is_depthwise(geometry);
    conv_weights_shape *s = &weights->shape;
    weights->device = device;
    weights->operations = clq_conv_operations(geometry);
    *s = make_shape(geometry);
    if (depthwise) { /* the channels are the columns of one group */
        s->groups = s->depth = 1;
        s->cols = geometry->ic;
    }
    const clq_conv_tile tile = depthwise
                                   ? clq_conv_channel_tile(info, s->cols)
                                   : clq_conv_choose_tile(info, geometry->kw * s->depth, s->cols);
    s->col_tile = tile.cols;
    s->col_tiles = clq_ceil_div_int(s->cols, tile.cols);
    if (depthwise) {
        CLQ_TRY(plan_depthwise(weights, &tile));
    } else if (info->schedule == CLQ_SCHEDULE_GPU) {
        CLQ_TRY(plan_gpu(weights, &tile));
    } else {
        CLQ_TRY(plan_cpu(weights, &tile));
    }
    CLQ_TRY(clq_scratch_reserve(device, weights->partial_size + weights->partial_bias_size));
    CLQ_TRY(clq_buffer_create(device, sizeof *s, &weights->shape_buffer));
    return clq_buffer_write(weights->shape_buffer, 0, sizeof *s, s);
}

void clq_conv_weights_free(clq_conv_weights *weights) {
    clq_buffer_release(weights->shape_buffer);
    memset(weights, 0, sizeof *weights);
}

static clq_status run_depthwise(clq_conv_weights *weights, clq_buffer *x, clq_buffer *dy,
                                clq_buffer *partial, clq_buffer *dw, clq_buffer *db) {
    clq_device_set_work(weights->device, weights->operations);
    CLQ_TRY(CLQ_LAUNCH(weights->device, weights->kernel, weights->range, CLQ_BUF(x), CLQ_BUF(dy),
                       CLQ_BUF(weights->shape_buffer), CLQ_BUF(partial)));
    return CLQ_LAUNCH(weights->device, weights->reduce, weights->reduce_range, CLQ_BUF(partial),
                      CLQ_BUF(weights->shape_buffer), CLQ_BUF(dw), CLQ_BUF(db));
}

static clq_status run_tiles(clq_conv_weights *weights, clq_buffer *x, clq_buffer *dy,
                            clq_buffer *partial, clq_buffer *partial_bias, clq_buffer *dw,
                            clq_buffer *db) {
    clq_device_set_work(weights->device, weights->operations);
    CLQ_TRY(CLQ_LAUNCH(weights->device, weights->kernel, weights->range, CLQ_BUF(x), CLQ_BUF(dy),
                       CLQ_BUF(weights->shape_buffer), CLQ_BUF(partial), CLQ_BUF(partial_bias)));
    return CLQ_LAUNCH(weights->device, weights->reduce, weights->reduce_range, CLQ_BUF(partial),
                      CLQ_BUF(partial_bias), CLQ_BUF(weights->shape_buffer), CLQ_BUF(dw),
                      CLQ_BUF(db));
}

clq_status clq_conv_weights_run(clq_conv_weights *weights, clq_buffer *x, clq_buffer *dy,
                                clq_buffer *dw, clq_buffer *db) {
    clq_status status = CLQ_OK;
    clq_buffer *partial = NULL, *partial_bias = NULL;
    CLQ_GOTO(status, cleanup, clq_scratch_take(weights->device, weights->partial_size, &partial));
    if (weights->partial_bias_size == 0) {
        CLQ_GOTO(status, cleanup, run_depthwise(weights, x, dy, partial, dw, db));
    } else {
        CLQ_GOTO(status, cleanup,
                 clq_scratch_take(weights->device, weights->partial_bias_size, &partial_bias));
        CLQ_GOTO(status, cleanup, run_tiles(weights, x, dy, partial, partial_bias, dw, db));
    }
cleanup: /* the queued launches still complete */
    clq_buffer_release(partial);
    clq_buffer_release(partial_bias);
    return status;
}

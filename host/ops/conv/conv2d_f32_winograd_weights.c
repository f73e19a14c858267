#include "ops/conv/conv2d_f32_winograd_weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "ops/conv/conv2d_f32_shape.h"
#include "ops/conv/conv2d_f32_tile.h"
#include "ops/conv/conv2d_f32_winograd.h"

enum { OUT = 4, EDGE = OUT + 2, POSITIONS = EDGE * EDGE };
enum { BLOCK_TILES = 128 };                       /* that are summed before sums become taps */
enum { OWN_BLOCK_TILES = 24, OWN_CHANNELS = 16 }; /* `own`: tiles, and what divides the channels */
enum { WANTED_ITEMS = 32 };                       /* of a launch */
enum { SCRATCH_BYTES = 24 << 20 };                /* for a launch's transformed tiles */
enum { READ_PAST = CONV_ITEM_COLUMNS };           /* floats read behind them, but not used */
enum { GRAD_VECTORS = 8, REDUCE_CHANNELS = 8 };   /* as in the kernels */

static int min_int(int a, int b) {
    return a < b ? a : b;
}

static int max_int(int a, int b) {
    return a > b ? a : b;
}

static int tile_count(const winograd_shape *s) {
    return s->n * s->tiles_h * s->tiles_w;
}

static int block_count(const winograd_shape *s) {
    return clq_ceil_div_int(tile_count(s), s->block);
}

/* Floats of a block's transformed tiles. */
static size_t input_block(const winograd_shape *s) {
    return (size_t)POSITIONS * (size_t)s->position;
}

static size_t grad_block(const winograd_shape *s) {
    return (size_t)POSITIONS * (size_t)WINOGRAD_POSITION(s->block, WINOGRAD_PITCH(s->cols));
}

/* ---- choosing ---- */

bool clq_winograd_weights_own(const clq_device *device, const clq_conv_geometry *g) {
    const int vector = clq_winograd_vector(device);
    return g->ic % OWN_CHANNELS == 0 && g->oc % vector == 0 &&
           OWN_BLOCK_TILES * max_int(g->ic, g->oc) <= WINOGRAD_OWN_POSITION &&
           POSITIONS * g->ic * g->oc <= WINOGRAD_SUMS;
}

/* The register tile: 16 or 8 sums, with as many rows as the channels are a multiple of. */
static clq_conv_tile own_tile(const clq_device *device, const clq_conv_geometry *g) {
    const int vector = clq_winograd_vector(device), vectors = g->oc % (2 * vector) == 0 ? 2 : 1;
    clq_conv_tile tile = {
        .rows = (vector == 16 ? 16 : 8) / vectors, .cols = vectors * vector, .vector = vector};
    snprintf(tile.options, sizeof tile.options, "-DMR=%d -DNV=%d", tile.rows, vectors);
    return tile;
}

bool clq_winograd_weights_choose(const clq_device *device, const clq_conv_geometry *g) {
    /* Vectors a cycle, and cycles of a vector: measured on a Zen 3, in its own memory on a Zen 5, a
     * guide elsewhere. */
    const double direct_cost = 1.2, product_cost = 1.2, taps_cycles = 120;
    const double transform_cycles = clq_winograd_weights_own(device, g) ? 5 : 15;
    const int vector = clq_winograd_vector(device);
    if (!clq_winograd_suits(device, g) || g->ic < vector || g->oc < vector) {
        return false;
    }
    const double tiles = (double)g->n * clq_ceil_div_int(g->oh, OUT) * clq_ceil_div_int(g->ow, OUT);
    const double weights = (double)g->ic * g->oc / vector;
    const double direct = clq_conv_operations(g) / (4.0 * vector) * direct_cost;
    const double products = POSITIONS * tiles * weights / 2 * product_cost;
    const double transforms = POSITIONS * tiles * (g->ic + g->oc) / vector * transform_cycles;
    return products + transforms + weights * ceil(tiles / BLOCK_TILES) * taps_cycles < direct;
}

/* ---- planning ---- */

/* How the partial sums lie: as if every tap were a run of `rows` channels. */
static void lay_out_sums(conv_weights_shape *sums, const winograd_shape *s,
                         const clq_conv_tile *tile) {
    const int most = WINOGRAD_SUMS / (POSITIONS * tile->cols) / tile->rows * tile->rows;
    const int blocks = clq_ceil_div_int(s->depth, most);
    const int rows = clq_ceil_div_int(clq_ceil_div_int(s->depth, blocks), tile->rows) * tile->rows;
    *sums = (conv_weights_shape){
        .groups = 1,
        .depth = s->depth,
        .cols = s->cols,
        .kh = 3,
        .kw = 3,
        .col_tiles = s->col_tiles,
        .col_tile = tile->cols,
        .channels = rows,
        .channel_blocks = clq_ceil_div_int(s->depth, rows),
        .runs = 9,
        .run_taps = 1,
        .run_rows = rows,
        .run_pad = rows,
    };
    const int items = sums->channel_blocks * sums->col_tiles;
    const size_t block_bytes = (input_block(s) + grad_block(s)) * sizeof(float);
    const int fit = block_bytes < SCRATCH_BYTES ? (int)(SCRATCH_BYTES / block_bytes) : 1;
    sums->parts = min_int(min_int(clq_ceil_div_int(WANTED_ITEMS, items), fit), block_count(s));
}

/* Each part does as many blocks, the last what is left. */
static void share_blocks(clq_conv_winograd_weights *conv) {
    const int blocks = block_count(&conv->shape);
    conv->part_blocks = clq_ceil_div_int(blocks, min_int(blocks, WANTED_ITEMS));
    conv->sums.parts = clq_ceil_div_int(blocks, conv->part_blocks);
}

static clq_status take_kernels(clq_conv_winograd_weights *conv, const clq_conv_tile *tile) {
    char options[sizeof tile->options + 32];
    const int length = snprintf(options, sizeof options, "-DOUT=%d %s", OUT, tile->options);
    CLQ_TRY(
        clq_kernel_get(conv->device, "conv2d_f32_weights_reduce", tile->options, &conv->reduce));
    if (conv->own) {
        snprintf(options + length, sizeof options - (size_t)length, " -DOWN_DEPTH=%d",
                 conv->shape.depth);
        return clq_kernel_get(conv->device, "conv2d_f32_winograd_weights_own", options,
                              &conv->kernel);
    }
    CLQ_TRY(clq_kernel_get(conv->device, "conv2d_f32_winograd_input", options, &conv->input));
    CLQ_TRY(clq_kernel_get(conv->device, "conv2d_f32_winograd_grad", options, &conv->grad));
    return clq_kernel_get(conv->device, "conv2d_f32_winograd_weights", options, &conv->kernel);
}

/* ---- scratch ---- */

/* What a run takes for its length. */
typedef struct scratch {
    clq_buffer *inputs, *grads, *partial, *partial_bias;
} scratch;

/* The same in bytes. */
typedef struct scratch_sizes {
    size_t inputs, grads, partial, partial_bias;
} scratch_sizes;

static scratch_sizes size_scratch(const clq_conv_winograd_weights *conv) {
    const conv_weights_shape *sums = &conv->sums;
    const size_t parts = (size_t)sums->parts;
    const size_t rows = (size_t)(9 * sums->channel_blocks * sums->run_pad);
    const size_t bias = parts * (size_t)(sums->col_tiles * sums->col_tile) * sizeof(float);
    const size_t launched = conv->own ? 0 : parts; /* blocks whose tiles a launch keeps */
    return (scratch_sizes){
        .inputs = (launched * input_block(&conv->shape) + READ_PAST) * sizeof(float),
        .grads = (launched * grad_block(&conv->shape) + READ_PAST) * sizeof(float),
        .partial = rows * bias,
        .partial_bias = bias,
    };
}

static clq_status reserve_scratch(const clq_conv_winograd_weights *conv) {
    const scratch_sizes sizes = size_scratch(conv);
    return clq_scratch_reserve(conv->device,
                               sizes.inputs + sizes.grads + sizes.partial + sizes.partial_bias);
}

static clq_status take_scratch(const clq_conv_winograd_weights *conv, scratch *t) {
    const scratch_sizes sizes = size_scratch(conv);
    CLQ_TRY(clq_scratch_take(conv->device, sizes.inputs, &t->inputs));
    CLQ_TRY(clq_scratch_take(conv->device, sizes.grads, &t->grads));
    CLQ_TRY(clq_scratch_take(conv->device, sizes.partial, &t->partial));
    return clq_scratch_take(conv->device, sizes.partial_bias, &t->partial_bias);
}

static void give_scratch(scratch *t) {
    clq_buffer_release(t->inputs);
    clq_buffer_release(t->grads);
    clq_buffer_release(t->partial);
    clq_buffer_release(t->partial_bias);
}

/* ---- the interface ---- */

static clq_status upload(clq_device *device, const void *data, size_t size, clq_buffer **buffer) {
    CLQ_TRY(clq_buffer_create(device, size, buffer));
    return clq_buffer_write(*buffer, 0, size, data);
}

clq_status clq_conv_winograd_weights_init(clq_conv_winograd_weights *conv, clq_device *device,
                                          const clq_conv_geometry *g) {
    const bool own = clq_winograd_weights_own(device, g);
    const clq_conv_tile tile =
        own ? own_tile(device, g) : clq_conv_choose_tile(clq_device_get_info(device), g->ic, g->oc);
    const int tiles = g->n * clq_ceil_div_int(g->oh, OUT) * clq_ceil_div_int(g->ow, OUT);
    const clq_winograd_plan plan = {
        .out = OUT,
        .vectors = tile.cols / tile.vector,
        .block = own ? OWN_BLOCK_TILES : min_int(tiles, BLOCK_TILES),
    };
    const size_t zeros = (size_t)max_int(g->ic, g->oc) * sizeof(float);
    winograd_shape *s = &conv->shape;
    conv->device = device;
    conv->own = own;
    *s = clq_winograd_shape(g, false, &plan, tile.vector);
    s->zeros = 0;
    s->pitch = WINOGRAD_PITCH(s->depth);
    s->position = WINOGRAD_POSITION(s->block, s->pitch);
    lay_out_sums(&conv->sums, s, &tile);
    if (own) {
        share_blocks(conv);
    }
    conv->operations = 2.0 * POSITIONS * tiles * g->ic * g->oc;
    CLQ_TRY(take_kernels(conv, &tile));
    CLQ_TRY(reserve_scratch(conv));
    CLQ_TRY(clq_buffer_create(device, zeros, &conv->zeros));
    CLQ_TRY(clq_buffer_fill(conv->zeros, 0, zeros, 0));
    CLQ_TRY(upload(device, s, sizeof *s, &conv->shape_buffer));
    return upload(device, &conv->sums, sizeof conv->sums, &conv->sums_buffer);
}

void clq_conv_winograd_weights_free(clq_conv_winograd_weights *conv) {
    clq_buffer_release(conv->shape_buffer);
    clq_buffer_release(conv->sums_buffer);
    clq_buffer_release(conv->zeros);
    memset(conv, 0, sizeof *conv);
}

/* All parts in one launch. */
static clq_status run_own(clq_conv_winograd_weights *conv, clq_buffer *x, clq_buffer *dy,
                          const scratch *t) {
    clq_device_set_work(conv->device, conv->operations);
    return CLQ_LAUNCH(conv->device, conv->kernel, CLQ_RANGE1((size_t)conv->sums.parts), CLQ_BUF(x),
                      CLQ_BUF(dy), CLQ_BUF(conv->zeros), CLQ_BUF(conv->shape_buffer),
                      CLQ_BUF(t->partial), CLQ_BUF(t->partial_bias), CLQ_I32(conv->part_blocks));
}

/* Adds `blocks` blocks to as many parts. */
static clq_status run_blocks(clq_conv_winograd_weights *conv, clq_buffer *x, clq_buffer *dy,
                             const scratch *t, int first, int blocks) {
    const winograd_shape *s = &conv->shape;
    const conv_weights_shape *sums = &conv->sums;
    const int tiles = min_int(blocks * s->block, tile_count(s) - first * s->block);
    const int vectors = s->cols / clq_winograd_vector(conv->device);
    CLQ_TRY(clq_winograd_transform_input(conv->device, conv->input, x, conv->zeros,
                                         conv->shape_buffer, t->inputs, first, tiles));
    CLQ_TRY(CLQ_LAUNCH(conv->device, conv->grad,
                       CLQ_RANGE2((size_t)max_int(vectors / GRAD_VECTORS, 1), (size_t)blocks),
                       CLQ_BUF(dy), CLQ_BUF(conv->zeros), CLQ_BUF(conv->shape_buffer),
                       CLQ_BUF(t->grads), CLQ_BUF(t->partial_bias), CLQ_I32(first)));
    clq_device_set_work(conv->device, conv->operations * tiles / tile_count(s));
    return CLQ_LAUNCH(
        conv->device, conv->kernel,
        CLQ_RANGE3((size_t)sums->channel_blocks, (size_t)sums->col_tiles, (size_t)blocks),
        CLQ_BUF(t->inputs), CLQ_BUF(t->grads), CLQ_BUF(conv->shape_buffer), CLQ_BUF(t->partial),
        CLQ_I32(sums->run_pad), CLQ_I32(first));
}

clq_status clq_conv_winograd_weights_run(clq_conv_winograd_weights *conv, clq_buffer *x,
                                         clq_buffer *dy, clq_buffer *dw, clq_buffer *db) {
    const conv_weights_shape *sums = &conv->sums;
    const int blocks = block_count(&conv->shape);
    clq_status status = CLQ_OK;
    scratch t = {0};
    clq_device_set_work(conv->device, 0);
    CLQ_GOTO(status, cleanup, take_scratch(conv, &t));
    if (conv->own) {
        CLQ_GOTO(status, cleanup, run_own(conv, x, dy, &t));
    }
    for (int first = 0; first < blocks && !conv->own; first += sums->parts) {
        CLQ_GOTO(status, cleanup,
                 run_blocks(conv, x, dy, &t, first, min_int(sums->parts, blocks - first)));
    }
    CLQ_GOTO(status, cleanup,
             CLQ_LAUNCH(conv->device, conv->reduce,
                        CLQ_RANGE3((size_t)clq_ceil_div_int(sums->depth, REDUCE_CHANNELS), 9,
                                   (size_t)sums->col_tiles),
                        CLQ_BUF(t.partial), CLQ_BUF(t.partial_bias), CLQ_BUF(conv->sums_buffer),
                        CLQ_BUF(dw), CLQ_BUF(db)));
cleanup: /* the queued launches still complete */
    give_scratch(&t);
    return status;
}

#include "ops/conv/conv2d_f32_winograd.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "ops/conv/conv2d_f32_shape.h"

/* A launch takes as many blocks as have room for their transformed input in this. */
enum { SCRATCH_BYTES = 16 << 20 };

static int min_int(int a, int b) {
    return a < b ? a : b;
}

static int round_up(int a, int b) {
    return clq_ceil_div_int(a, b) * b;
}

int clq_winograd_vector(const clq_device *device) {
    const unsigned simd = clq_device_get_info(device)->simd_bytes;
    return simd >= 64 ? 16 : simd == 32 ? 8 : 4;
}

static int positions(const clq_winograd_plan *plan) {
    return (plan->out + 2) * (plan->out + 2);
}

winograd_shape clq_winograd_shape(const clq_conv_geometry *g, bool backward,
                                  const clq_winograd_plan *plan, int vector) {
    winograd_shape s = {.n = g->n, .w_tap = g->ic};
    if (backward) { /* the kernel turned by half */
        s.src_h = g->oh, s.src_w = g->ow, s.depth = g->oc;
        s.dst_h = g->ih, s.dst_w = g->iw, s.cols = g->ic;
        s.first_y = g->pad_top - 2, s.first_x = g->pad_left - 2;
        s.w_col = 1, s.w_depth = 9 * g->ic;
        s.w_first = 8 * g->ic, s.w_tap = -g->ic;
    } else {
        s.src_h = g->ih, s.src_w = g->iw, s.depth = g->ic;
        s.dst_h = g->oh, s.dst_w = g->ow, s.cols = g->oc;
        s.first_y = -g->pad_top, s.first_x = -g->pad_left;
        s.w_col = 9 * g->ic, s.w_depth = 1;
    }
    s.tiles_h = clq_ceil_div_int(s.dst_h, plan->out);
    s.tiles_w = clq_ceil_div_int(s.dst_w, plan->out);
    s.block = plan->block;
    s.pitch = s.depth;
    s.position = WINOGRAD_POSITION(s.block, s.pitch);
    s.col_tiles = clq_ceil_div_int(s.cols, plan->vectors * vector);
    return s;
}

static int tile_count(const winograd_shape *s) {
    return s->n * s->tiles_h * s->tiles_w;
}

/* ---- choosing ---- */

/* rows x vectors of sums. `cost` is what a multiplication takes compared with the peak. The fewer
 * rows are for images of few tiles; 4 of 4 vectors take weights as fast as the second cache gives
 * them. */
static const struct register_tile {
    int vector, rows, vectors;
    double cost;
} register_tiles[] = {
    {16, 6, 4, 1.1}, {16, 5, 4, 1.1},  {16, 4, 4, 1.25}, {16, 8, 3, 1.1}, {16, 12, 2, 1.15},
    {16, 8, 2, 1.1}, {16, 12, 1, 1.2}, {8, 6, 2, 1.1},   {8, 5, 2, 1.12}, {8, 4, 3, 1.1},
    {4, 6, 2, 1.1},  {4, 5, 2, 1.12},  {4, 4, 3, 1.1},
};

/* Cycles, bytes a cycle and bytes: measured on a Zen 3, and no more than a guide elsewhere. */
enum { TILE_CYCLES = 24, LAUNCH_CYCLES = 15000, CACHE_BYTES = 480 * 1024, CACHED_BYTES = 4 << 20 };
static const double second_cache_rate = 16, third_cache_rate = 10, memory_rate = 9;
static const double transform_cycles = 8; /* of a vector at a position */

static double most(double a, double b) {
    return a > b ? a : b;
}

/* What a plan takes on all compute units, in cycles. */
static double plan_cycles(const clq_device_info *info, const winograd_shape *s,
                          const clq_winograd_plan *plan, const struct register_tile *tile) {
    const double units = info->compute_units;
    const double vectors = clq_ceil_div_int(s->depth, tile->vector), count = positions(plan);
    const double items = (double)clq_ceil_div_int(tile_count(s), plan->block) *
                         clq_ceil_div_int(s->col_tiles, plan->item_cols);
    const double step = tile->rows * tile->vectors * tile->cost / 2;
    const double products =
        count * plan->item_cols * (plan->block / tile->rows) * (s->depth * step + TILE_CYCLES);
    const double tile_weights = count * tile->vectors * tile->vector * s->depth * sizeof(float);
    const double weights = plan->item_cols * tile_weights / third_cache_rate;
    const double block_bytes = count * plan->block * s->depth * sizeof(float);
    const double reads = clq_ceil_div_int(plan->item_cols, plan->cols) * block_bytes /
                         (block_bytes <= CACHE_BYTES ? second_cache_rate : third_cache_rate);
    const double input = count * vectors * transform_cycles;
    const double output = count * plan->item_cols * tile->vectors * plan->block * transform_cycles;
    const double bytes = tile_count(s) * count * s->depth * sizeof(float); /* transformed */
    const double apart = tile_count(s) * input / units + LAUNCH_CYCLES +
                         (bytes > CACHED_BYTES ? 2 * bytes / memory_rate : 0);
    const double item =
        products + weights + reads + output + (plan->fused ? plan->block * input : 0);
    const double all = ceil(items / units) * item + (plan->fused ? 0 : apart);
    return most(all, s->col_tiles * tile_weights / memory_rate);
}

/* Whether a work-item can keep its transformed input to itself. */
static bool can_fuse(const winograd_shape *s, int vector) {
    return s->depth % vector == 0 && s->block * s->depth <= WINOGRAD_OWN_POSITION;
}

/* The best of all ways to cut the work with this output and register tile. */
static double choose_cut(const clq_device_info *info, const clq_conv_geometry *g, bool backward,
                         const struct register_tile *tile, clq_winograd_plan *plan) {
    enum { CACHED_SUMS = 28 * 1024 };
    double best = INFINITY;
    clq_winograd_plan p = *plan;
    p.rows = tile->rows;
    p.vectors = tile->vectors;
    p.depth = backward ? g->oc : g->ic;
    const int floats = positions(&p) * tile->vectors * tile->vector; /* sums of a tile */
    for (p.block = p.rows; p.block * floats <= WINOGRAD_SUMS; p.block += p.rows) {
        const winograd_shape s = clq_winograd_shape(g, backward, &p, tile->vector);
        for (p.item_cols = s.col_tiles; p.item_cols > 0; p.item_cols /= 2) {
            const int fit = CACHED_SUMS / (p.block * floats);
            p.cols = fit < 1 ? 1 : fit < p.item_cols ? fit : p.item_cols;
            for (int fused = 0; fused <= can_fuse(&s, tile->vector); fused++) {
                p.fused = fused;
                const double cycles = plan_cycles(info, &s, &p, tile);
                if (cycles < best) {
                    best = cycles;
                    *plan = p;
                }
            }
        }
        if (p.block >= tile_count(&s)) {
            break;
        }
    }
    return best;
}

bool clq_winograd_suits(const clq_device *device, const clq_conv_geometry *g) {
    return clq_device_get_info(device)->schedule == CLQ_SCHEDULE_CPU && g->kh == 3 && g->kw == 3 &&
           g->groups == 1 && g->stride_h == 1 && g->stride_w == 1 && g->dilation_h == 1 &&
           g->dilation_w == 1;
}

bool clq_winograd_choose(const clq_device *device, const clq_conv_geometry *g, bool backward,
                         clq_winograd_plan *plan) {
    /* What a multiplication of the sum over taps takes compared with the peak; larger output tiles
     * round more and take more memory, so they must be worth it. */
    const double sum_cost = 1.2, large_cost = 1.1;
    const double most_weights = 1 << 25; /* of 4 x 36 / 9 packed, with room for a column tile */
    const clq_device_info *info = clq_device_get_info(device);
    const int vector = clq_winograd_vector(device);
    if (!clq_winograd_suits(device, g) || (backward ? g->oc : g->ic) < vector ||
        (double)g->ic * g->oc > most_weights) {
        return false;
    }
    const double products = clq_conv_operations(g) / (4.0 * vector * info->compute_units);
    double best = most(products * sum_cost, 9.0 * g->ic * g->oc * sizeof(float) / memory_rate);
    bool found = false;
    for (int out = 2; out <= 4; out += 2) {
        for (size_t i = 0; i < sizeof register_tiles / sizeof *register_tiles; i++) {
            clq_winograd_plan p = {.out = out};
            if (register_tiles[i].vector == vector) {
                const double cycles = choose_cut(info, g, backward, &register_tiles[i], &p) *
                                      (out == 4 ? large_cost : 1);
                if (cycles < best) {
                    best = cycles;
                    *plan = p;
                    found = true;
                }
            }
        }
    }
    return found;
}

/* ---- the interface ---- */

static void size_weights(clq_conv_winograd *conv, size_t tile_cols) {
    winograd_shape *s = &conv->shape;
    conv->packed.weights =
        (size_t)positions(&conv->plan) * (size_t)s->col_tiles * tile_cols * (size_t)s->depth;
    conv->packed.zeros = (size_t)s->depth;
    s->zeros = (int)conv->packed.weights;
}

clq_status clq_conv_winograd_init(clq_conv_winograd *conv, clq_device *device,
                                  const clq_conv_geometry *geometry, bool backward,
                                  const clq_winograd_plan *plan) {
    char options[96];
    const int vector = clq_winograd_vector(device);
    winograd_shape *s = &conv->shape;
    conv->device = device;
    *s = clq_winograd_shape(geometry, backward, plan, vector);
    conv->plan = *plan;
    conv->plan.fused = plan->fused && can_fuse(s, vector);
    conv->operations = 2.0 * positions(plan) * tile_count(s) * s->depth * s->cols;
    const size_t block_bytes = (size_t)positions(plan) * (size_t)s->position * sizeof(float);
    const int fit = block_bytes < SCRATCH_BYTES ? (int)(SCRATCH_BYTES / block_bytes) : 1;
    const int blocks = clq_ceil_div_int(tile_count(s), s->block);
    conv->launch_blocks = conv->plan.fused ? blocks : min_int(fit, blocks);
    conv->scratch_bytes = conv->plan.fused ? 0 : (size_t)conv->launch_blocks * block_bytes;
    const int length = snprintf(options, sizeof options, "-DOUT=%d -DMR=%d -DNV=%d", plan->out,
                                plan->rows, plan->vectors);
    if (conv->plan.fused) {
        snprintf(options + length, sizeof options - (size_t)length, " -DOWN_DEPTH=%d", s->depth);
    } else {
        CLQ_TRY(clq_kernel_get(device, "conv2d_f32_winograd_input", options, &conv->input));
    }
    CLQ_TRY(clq_kernel_get(device, "conv2d_f32_winograd_pack", options, &conv->pack));
    CLQ_TRY(clq_kernel_get(device, "conv2d_f32_winograd", options, &conv->kernel));
    size_weights(conv, (size_t)(plan->vectors * vector));
    CLQ_TRY(clq_buffer_create(device, sizeof *s, &conv->shape_buffer));
    return clq_buffer_write(conv->shape_buffer, 0, sizeof *s, s);
}

void clq_conv_winograd_free(clq_conv_winograd *conv) {
    clq_buffer_release(conv->shape_buffer);
    clq_conv_packed_release(&conv->packed);
    memset(conv, 0, sizeof *conv);
}

clq_status clq_conv_winograd_load_weights(clq_conv_winograd *conv, clq_buffer *w) {
    enum { PACK_CHANNELS = 16 }; /* as in conv2d_winograd.cl */
    const winograd_shape *s = &conv->shape;
    const clq_range range =
        CLQ_RANGE2((size_t)clq_ceil_div_int(s->depth, PACK_CHANNELS), (size_t)s->col_tiles);
    return CLQ_LAUNCH(conv->device, conv->pack, range, CLQ_BUF(w), CLQ_BUF(conv->shape_buffer),
                      CLQ_BUF(conv->packed.buffer));
}

clq_status clq_winograd_transform_input(clq_device *device, clq_kernel *kernel, clq_buffer *src,
                                        clq_buffer *zeros, clq_buffer *shape,
                                        clq_buffer *transformed, int first_block, int tiles) {
    enum { ITEMS = 32 };
    const int item = clq_ceil_div_int(tiles, ITEMS);
    return CLQ_LAUNCH(device, kernel, CLQ_RANGE1((size_t)clq_ceil_div_int(tiles, item)),
                      CLQ_BUF(src), CLQ_BUF(zeros), CLQ_BUF(shape), CLQ_BUF(transformed),
                      CLQ_I32(first_block), CLQ_I32(item), CLQ_I32(tiles));
}

clq_status clq_conv_winograd_run(clq_conv_winograd *conv, clq_buffer *src, clq_buffer *bias,
                                 clq_buffer *residual, clq_act act, clq_buffer *dst) {
    const winograd_shape *s = &conv->shape;
    const clq_winograd_plan *plan = &conv->plan;
    const float lo = act == CLQ_ACT_NONE ? -INFINITY : 0.0f;
    const float hi = act == CLQ_ACT_RELU6 ? 6.0f : INFINITY;
    const int blocks = clq_ceil_div_int(tile_count(s), s->block);
    clq_status status = CLQ_OK;
    clq_buffer *transformed = NULL;
    if (!plan->fused) {
        CLQ_TRY(clq_scratch_take(conv->device, conv->scratch_bytes, &transformed));
    }
    for (int first = 0; first < blocks; first += conv->launch_blocks) {
        const int count = min_int(conv->launch_blocks, blocks - first);
        const clq_range range =
            CLQ_RANGE2((size_t)clq_ceil_div_int(s->col_tiles, plan->item_cols), (size_t)count);
        if (!plan->fused) {
            const int left = round_up(tile_count(s) - first * s->block, plan->rows);
            clq_device_set_work(conv->device, 0);
            CLQ_GOTO(status, cleanup,
                     clq_winograd_transform_input(
                         conv->device, conv->input, src, conv->packed.buffer, conv->shape_buffer,
                         transformed, first, min_int(left, count * s->block)));
        }
        clq_device_set_work(conv->device, conv->operations * count / blocks);
        CLQ_GOTO(status, cleanup,
                 CLQ_LAUNCH(conv->device, conv->kernel, range, CLQ_BUF(src),
                            CLQ_BUF(conv->packed.buffer), CLQ_BUF(conv->shape_buffer),
                            CLQ_BUF(bias), CLQ_BUF(residual), CLQ_BUF(dst), CLQ_BUF(transformed),
                            CLQ_F32(lo), CLQ_F32(hi), CLQ_I32(plan->item_cols), CLQ_I32(plan->cols),
                            CLQ_I32(first)));
    }
cleanup: /* the queued launches still complete */
    clq_buffer_release(transformed);
    return status;
}

/* Choosing kernel, register tile and work-items of an integer convolution. */
#include <stdio.h>

#include "ops/conv2d_int8_plan.h"
#include "ops/group_tile.h"

enum {
    PANEL_BYTES = 48 * 1024, /* private panel of a work-item: streams through the first cache */
    MAX_KC = 4864,           /* inputs of a panel row: 3 x 3 x 512 and a little */
    CACHED_WEIGHTS =
        256 * 1024,          /* weights that an item uses again and again; half a second cache */
    ITEM_MACS = 1000 * 1000, /* enough to forget the cost of starting an item */
    ITEMS_PER_UNIT = 4       /* so that the last items to finish leave little idle */
};

static int divide_up(int a, int b) {
    return a / b + (a % b != 0);
}

static int round_up(int a, int b) {
    return divide_up(a, b) * b;
}

/* ---- registers ---- */

/* Sums of a register tile: rows x vectors of `lanes`. `cost` is what one multiplication takes
 * compared with the best tile (loads of weights and activations for each). */
typedef struct tile {
    int rows, vectors;
    float cost;
} tile;

/* As in kernels/include/dot4.h, which says what fits the registers. */
static void vector_form(const clq_device_info *info, int *lanes, int *step) {
    bool vnni = info->dot == CLQ_DOT_AVX512VNNI || info->dot == CLQ_DOT_AVXVNNI;
    *step = vnni ? 4 : 2;
    if (info->dot == CLQ_DOT_AVX512VNNI) {
        *lanes = 16;
    } else if (vnni || info->dot == CLQ_DOT_AVX2 || info->simd_bytes >= 32) {
        *lanes = 8;
    } else {
        *lanes = 4;
    }
}

static tile choose_tile(int pixels, int channels, int lanes, int step) {
    static const tile wide[] = {
        {6, 4, 1.0f}, {5, 4, 1.02f}, {8, 3, 1.03f}, {12, 2, 1.05f}, {20, 1, 1.15f}};
    static const tile narrow[] = {{6, 2, 1.0f}, {12, 1, 1.1f}};
    static const tile narrow_pairs[] = {{5, 2, 1.0f}, {10, 1, 1.1f}};
    const tile *tiles = lanes == 16 ? wide : step == 4 ? narrow : narrow_pairs;
    int count = lanes == 16 ? 5 : 2;
    tile best = tiles[0];
    double least = 0;
    if (pixels == 1) {
        best.rows = 1;
        return best;
    }
    for (int i = 0; i < count; i++) {
        double rows = round_up(pixels, tiles[i].rows);
        double cost = rows * round_up(channels, tiles[i].vectors * lanes) * (double)tiles[i].cost;
        if (i == 0 || cost < least) {
            least = cost;
            best = tiles[i];
        }
    }
    return best;
}

/* ---- groups ---- */

/* How many groups of the network to compute as one whose weights outside the groups' own are zero.
 * Blocks and the bytes read and written must start at multiples of 4, and as long as it fits one
 * block a merged group costs no more than each of its parts would. */
static int merge_groups(const clq_conv_geometry *g, int nr) {
    int in = g->ic / g->groups, out = g->oc / g->groups, best = g->groups;
    for (int m = 1; m < g->groups; m++) {
        bool aligned = g->groups % m == 0 && m * in % 4 == 0 && m * out % 4 == 0;
        if (aligned && (best == g->groups || m * out <= nr)) {
            best = m;
        }
    }
    return best;
}

static void set_groups(const clq_conv_geometry *g, clq_int8_plan *plan, int nr) {
    conv_int8 *s = &plan->shape;
    int m = merge_groups(g, nr);
    plan->merged_groups = m;
    plan->nr = nr;
    s->depth = round_up(g->ic / g->groups * m, 4);
    s->group_oc = g->oc / g->groups * m;
    s->group_blocks = divide_up(s->group_oc, nr);
    s->blocks = s->group_blocks * (g->groups / m);
}

/* ---- work-items ---- */

static long items_of(int tiles, int item_tiles, int blocks, int item_blocks) {
    return (long)divide_up(tiles, item_tiles) * divide_up(blocks, item_blocks);
}

/* Blocks that share a panel, then tiles that share those blocks' weights, then fewer of either
 * until every compute unit has some items. */
static void choose_items(const clq_device_info *info, const tile *t, int kc, clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    int taps = s->kh * s->kw, tiles = divide_up(s->pixels, t->rows);
    long block_macs = (long)taps * s->depth * plan->nr;
    long block_bytes = block_macs * plan->element_bytes;
    long wanted = (long)info->compute_units * ITEMS_PER_UNIT;
    bool whole = (long)taps * s->depth <= kc && s->group_blocks == s->blocks;
    long blocks = 1, item_tiles;
    if (whole) {
        blocks = CACHED_WEIGHTS / block_bytes;
        blocks = blocks < 1 ? 1 : blocks > s->blocks ? s->blocks : blocks;
    }
    item_tiles = ITEM_MACS / (block_macs * t->rows * blocks) + 1;
    item_tiles = item_tiles > tiles ? tiles : item_tiles;
    while (item_tiles > 1 && items_of(tiles, (int)item_tiles, s->blocks, (int)blocks) < wanted) {
        item_tiles = (item_tiles + 1) / 2;
    }
    while (blocks > 1 && items_of(tiles, (int)item_tiles, s->blocks, (int)blocks) < wanted) {
        blocks = (blocks + 1) / 2;
    }
    s->item_tiles = (int)item_tiles;
    s->item_blocks = (int)blocks;
    /* The larger operand is walked slowly, so that each of its parts is read once. */
    s->block_dim = (long)s->blocks * block_bytes > (long)s->pixels * s->in_pitch ? 1 : 0;
    size_t counts[2] = {(size_t)divide_up(tiles, s->item_tiles),
                        (size_t)divide_up(s->blocks, s->item_blocks)};
    plan->range =
        s->block_dim ? CLQ_RANGE2(counts[0], counts[1]) : CLQ_RANGE2(counts[1], counts[0]);
}

static void plan_tile(const clq_device_info *info, const clq_conv_geometry *g, int requantizer,
                      clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    int lanes, step;
    vector_form(info, &lanes, &step);
    tile t = choose_tile(s->pixels, g->oc / g->groups == g->oc ? g->oc : 4 * lanes, lanes, step);
    int taps = g->kh * g->kw;
    plan->kind = CLQ_INT8_TILE;
    plan->dot = info->dot;
    plan->step = step;
    plan->element_bytes = step == 4 ? 1 : 2;
    set_groups(g, plan, t.vectors * lanes);
    int kc = PANEL_BYTES / (t.rows * plan->element_bytes) / 64 * 64;
    kc = kc > MAX_KC ? MAX_KC : kc;
    bool whole_rows = s->depth == s->in_pitch && g->dilation_w == 1 && g->kw * s->depth <= 64 &&
                      taps * s->depth <= kc;
    s->chunk_taps = s->depth >= kc ? 1 : taps * s->depth <= kc ? taps : kc / s->depth;
    s->run_taps = whole_rows ? g->kw : 1;
    choose_items(info, &t, kc, plan);
    snprintf(plan->options, sizeof plan->options, "-DMR=%d -DNV=%d -DKC=%d -DCLQ_REQUANT=%d",
             t.rows, t.vectors, kc, requantizer);
}

/* ---- work-groups (kernels/int8/conv2d_group.cl, conv2d_mma.cl) ---- */

static const clq_group_tile group_tiles[] = {
    {256, 128, 128, 1.0f, "-DWG=16 -DRM=8 -DRN=8 -DBK=8"},
    {256, 128, 64, 1.1f, "-DWG=16 -DRM=8 -DRN=4 -DBK=16"},
    {64, 64, 64, 1.1f, "-DWG=8 -DRM=8 -DRN=8 -DBK=8"},
    {64, 32, 32, 1.5f, "-DWG=8 -DRM=4 -DRN=4 -DBK=32"},
    {16, 16, 16, 3.5f, "-DWG=4 -DRM=4 -DRN=4 -DBK=16"}, /* for devices of small groups */
};

static const clq_group_tile mma_tiles[] = {
    {128, 128, 128, 1.0f, "-DWM=2 -DWN=2 -DMT=4 -DNT=8 -DSTAGES=3"},
    {128, 128, 64, 1.2f, "-DWM=2 -DWN=2 -DMT=4 -DNT=4 -DSTAGES=4"},
    {128, 64, 64, 1.4f, "-DWM=2 -DWN=2 -DMT=2 -DNT=4 -DSTAGES=4"},
    {64, 64, 32, 1.5f, "-DWM=2 -DWN=1 -DMT=2 -DNT=4 -DBK=128 -DSTAGES=3"},
    {64, 32, 32, 1.9f, "-DWM=2 -DWN=1 -DMT=1 -DNT=4 -DBK=128 -DSTAGES=4"},
};

/* An entry of the plan's tables. */
static void set_tile(const clq_group_tile *tile, const clq_conv_geometry *g, int requantizer,
                     clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    set_groups(g, plan, tile->cols);
    const bool vectors = s->depth % 16 == 0 && s->in_pitch % 16 == 0;
    snprintf(plan->options, sizeof plan->options, "%s -DVEC=%d -DCLQ_REQUANT=%d", tile->options,
             vectors ? 4 : 1, requantizer);
}

static const clq_group_tile *choose_tile_of(const clq_device_info *info,
                                            const clq_group_tile *tiles, size_t count,
                                            const clq_conv_geometry *g, const clq_int8_plan *plan) {
    return clq_choose_group_tile(info, tiles, count, (size_t)plan->shape.pixels,
                                 (size_t)(g->oc / g->groups), (size_t)g->groups);
}

static void plan_group(const clq_device_info *info, const clq_conv_geometry *g, int requantizer,
                       clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    const clq_group_tile *tile =
        choose_tile_of(info, group_tiles, sizeof group_tiles / sizeof *group_tiles, g, plan);
    const size_t side = tile->items >= 256 ? 16 : tile->items >= 64 ? 8 : 4;
    plan->kind = CLQ_INT8_GROUP;
    plan->dot = info->dot;
    plan->step = 4;
    plan->element_bytes = 1;
    set_tile(tile, g, requantizer, plan);
    plan->range =
        CLQ_RANGE2((size_t)s->blocks * side, (size_t)divide_up(s->pixels, tile->rows) * side);
    plan->range.local[0] = plan->range.local[1] = side;
    plan->range.local[2] = 1;
}

static void plan_mma(const clq_device_info *info, const clq_conv_geometry *g, int requantizer,
                     clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    const clq_group_tile *tile =
        choose_tile_of(info, mma_tiles, sizeof mma_tiles / sizeof *mma_tiles, g, plan);
    plan->kind = CLQ_INT8_MMA;
    plan->dot = info->dot;
    plan->step = 16;
    plan->pad = CONV_INT8_MMA_PAD;
    plan->element_bytes = 1;
    set_tile(tile, g, requantizer, plan);
    plan->range = CLQ_RANGE2((size_t)s->blocks * (size_t)tile->items,
                             (size_t)divide_up(s->pixels, tile->rows));
    plan->range.local[0] = (size_t)tile->items;
    plan->range.local[1] = plan->range.local[2] = 1;
}

/* ---- depthwise (kernels/int8/conv2d_depthwise.cl) ---- */

enum { DEPTHWISE_PANEL = 256, DEPTHWISE_CHUNK = 16, DEPTHWISE_GRAIN = 8 };

/* Whether the CPU schedule's panel holds a window and some more columns. */
static bool fits_panel(const clq_conv_geometry *g, int step) {
    long reach = (long)(g->kw - 1) * g->dilation_w + 1;
    return reach * divide_up(g->kh, step) <= DEPTHWISE_PANEL / 2 && g->stride_w <= reach;
}

static void plan_depthwise(const clq_device_info *info, const clq_conv_geometry *g, int requantizer,
                           clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    bool cpu = info->schedule == CLQ_SCHEDULE_CPU;
    int lanes, step = 4;
    if (cpu) {
        vector_form(info, &lanes, &step);
    }
    plan->kind = CLQ_INT8_DEPTHWISE;
    plan->dot = info->dot == CLQ_DOT_MMA ? CLQ_DOT_DP4A : info->dot; /* no matrix product here */
    plan->by_columns = cpu;
    plan->step = step;
    plan->element_bytes = step == 2 ? 2 : 1;
    plan->nr = cpu ? DEPTHWISE_CHUNK : 4;
    plan->merged_groups = 1;
    s->depth = 1;
    s->group_oc = 1;
    s->group_blocks = 1;
    s->blocks = divide_up(g->oc, plan->nr);
    int64_t units = (int64_t)s->blocks * (cpu ? g->n * g->oh : s->pixels);
    int64_t items = units;
    if (cpu) {
        items = (int64_t)info->compute_units * ITEMS_PER_UNIT;
        items = items > units / DEPTHWISE_GRAIN ? units / DEPTHWISE_GRAIN : items;
    }
    plan->range = CLQ_RANGE1((size_t)(items > 0 ? items : 1));
    snprintf(plan->options, sizeof plan->options, "-DCLQ_REQUANT=%d", requantizer);
}

void clq_int8_make_plan(const clq_device_info *info, const clq_conv_geometry *g,
                        clq_requantizer requantizer, clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    *plan = (clq_int8_plan){0};
    s->pixels = g->n * g->oh * g->ow;
    s->ih = g->ih;
    s->iw = g->iw;
    s->in_pitch = round_up(g->ic, 4);
    s->oh = g->oh;
    s->ow = g->ow;
    s->oc = g->oc;
    s->out_pitch = round_up(g->oc, 4);
    s->kh = g->kh;
    s->kw = g->kw;
    s->stride_h = g->stride_h;
    s->stride_w = g->stride_w;
    s->pad_top = g->pad_top;
    s->pad_left = g->pad_left;
    s->dilation_h = g->dilation_h;
    s->dilation_w = g->dilation_w;
    int lanes, step;
    vector_form(info, &lanes, &step);
    bool cpu = info->schedule == CLQ_SCHEDULE_CPU;
    if (g->groups > 1 && g->groups == g->ic && g->ic == g->oc && (!cpu || fits_panel(g, step))) {
        plan_depthwise(info, g, (int)requantizer, plan);
    } else if (cpu) {
        plan_tile(info, g, (int)requantizer, plan);
    } else if (info->dot == CLQ_DOT_MMA) {
        plan_mma(info, g, (int)requantizer, plan);
    } else {
        plan_group(info, g, (int)requantizer, plan);
    }
}

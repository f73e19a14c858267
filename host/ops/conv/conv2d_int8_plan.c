/* Choosing kernel, register tile and work-items of an integer convolution. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/include/depthwise_chunks.h"
#include "ops/conv/conv2d_int8_plan.h"
#include "ops/conv/conv_class.h"
#include "ops/conv/group_tile.h"

static int divide_up(int a, int b) {
    return a / b + (a % b != 0);
}

static int round_up(int a, int b) {
    return divide_up(a, b) * b;
}

/* ---- registers ---- */

/* The tile that `wanted` asks for, or the one that wastes least; false when the registers have no
 * such tile. One pixel needs one row. */
static bool choose_tile(const clq_int8_vectors *vectors, int pixels, int channels,
                        const int wanted[2], clq_register_tile *tile) {
    double least = 0;
    *tile = (clq_register_tile){0};
    for (int i = 0; i < CLQ_MAX_TILES && vectors->tiles[i].rows > 0; i++) {
        clq_register_tile t = vectors->tiles[i];
        t.rows = pixels == 1 ? 1 : t.rows;
        double rows = round_up(pixels, t.rows);
        double cost =
            pixels == 1 ? i : rows * round_up(channels, t.vectors * vectors->lanes) * t.cost;
        if (clq_allows(wanted[0], t.rows) && clq_allows(wanted[1], t.vectors) &&
            (tile->rows == 0 || cost < least)) {
            least = cost;
            *tile = t;
        }
    }
    return tile->rows > 0;
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

/* Sums of weights that dot4.h multiplies by 16 must stay in int32. */
static bool fits_nibbles(const clq_conv_geometry *g) {
    enum { MOST_INPUTS = INT32_MAX / (16 * 8 * 255) };
    return (int64_t)g->kh * g->kw * (g->ic / g->groups) <= MOST_INPUTS;
}

/* Where weights stream from memory for a few pixels, half of them take less time (seen on a Zen 5,
 * one pixel); where many pixels use each, taking them apart in the loop costs more than it saves,
 * and they are one a byte. */
static bool prefers_nibbles(const clq_conv_choice *wanted, const conv_int8 *s) {
    enum { FEW_PIXELS = 4 };
    return wanted->bits ? wanted->bits == 4 : s->pixels <= FEW_PIXELS;
}

static long weight_bytes(const clq_int8_plan *plan, long weights) {
    return plan->nibbles ? weights / 2 : weights * plan->element_bytes;
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

/* The size of parts, at most `most` and more than half of that, that leaves the last part least
 * empty: a core that is given half of the items should have half of the work. */
static long even_part(long whole, long most) {
    long best = most, least = whole;
    for (long part = most; 2 * part > most; part--) {
        long missing = (whole + part - 1) / part * part - whole;
        if (missing < least) {
            least = missing;
            best = part;
        }
    }
    return best;
}

/* Blocks that share a panel, then tiles that share those blocks' weights, then fewer of either
 * until every compute unit has some items. */
static void choose_items(const clq_device_info *info, int tiles, int rows, int kc,
                         clq_int8_plan *plan) {
    const clq_conv_class *class = clq_conv_class_of(info);
    conv_int8 *s = &plan->shape;
    int taps = s->kh * s->kw;
    long block_macs = (long)taps * s->depth * plan->nr;
    long wanted = (long)info->compute_units * class->int8.items_per_unit;
    bool whole = (long)taps * s->depth <= kc && s->group_blocks == s->blocks;
    long blocks = 1, item_tiles;
    if (whole) {
        blocks = class->int8.cached_weights / weight_bytes(plan, block_macs);
        blocks = even_part(s->blocks, blocks < 1 ? 1 : blocks > s->blocks ? s->blocks : blocks);
    }
    item_tiles = class->int8.item_macs / (block_macs * rows * blocks) + 1;
    item_tiles = even_part(tiles, item_tiles > tiles ? tiles : item_tiles);
    while (item_tiles > 1 && items_of(tiles, (int)item_tiles, s->blocks, (int)blocks) < wanted) {
        item_tiles = even_part(tiles, (item_tiles + 1) / 2);
    }
    while (blocks > 1 && items_of(tiles, (int)item_tiles, s->blocks, (int)blocks) < wanted) {
        blocks = even_part(s->blocks, (blocks + 1) / 2);
    }
    s->item_tiles = (int)item_tiles;
    s->item_blocks = (int)blocks;
}

/* ---- packed lines of few channels (kernels/include/int8_dense.h) ---- */

/* Lines that the output rows of an item see at most: those of an image follow each other. */
static int dense_lines(const clq_conv_geometry *g, int rows) {
    int images = g->n == 1 ? 1 : (rows + 2 * g->oh - 2) / g->oh;
    images = images > rows ? rows : g->kh > g->stride_h ? images : 1;
    return (rows - images) * g->stride_h + images * g->kh;
}

/* The most tiles of an item: wherever they begin, the lines of their rows have room. */
static int most_dense_tiles(const clq_conv_geometry *g, int tile_rows) {
    const int64_t line = ((int64_t)(g->ow - 1) * g->stride_w + g->kw) * g->ic + CONV_DENSE_GAP;
    int rows = 0;
    while (rows < CONV_DENSE_ROWS && dense_lines(g, rows + 1) * line <= CONV_DENSE_LINES) {
        rows++;
    }
    return rows > 0 ? ((rows - 1) * g->ow + 1) / tile_rows : 0;
}

/* Whether packing pays, where a pixel's word is not full and sums are long, and can be. */
static bool can_dense(const clq_conv_geometry *g, const clq_int8_plan *plan, int tile_rows) {
    enum { WORD = 4, LEAST_TAPS = 9 };
    return plan->step == WORD && plan->kernel == CLQ_CONV_TILE && !plan->nibbles &&
           g->groups == 1 && g->ic < WORD && g->kh * g->kw >= LEAST_TAPS && g->dilation_h == 1 &&
           g->dilation_w == 1 && g->kh * (g->kw * g->ic % WORD) <= CONV_DENSE_TAIL &&
           most_dense_tiles(g, tile_rows) > 0;
}

/* As many tiles as have room, of few items as many for each compute unit. */
static void choose_dense_items(const clq_device_info *info, int tiles, int most,
                               clq_int8_plan *plan) {
    const int units = (int)info->compute_units;
    int items = units * clq_conv_class_of(info)->int8.items_per_unit;
    items = divide_up(tiles, most) > items ? round_up(divide_up(tiles, most), units) : items;
    plan->shape.item_tiles = divide_up(tiles, items);
    plan->shape.item_blocks = plan->shape.blocks;
}

/* ---- the tile kernel ---- */

static bool plan_items(const clq_device_info *info, const clq_conv_geometry *g,
                       const clq_conv_choice *wanted, int rows, int kc, clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    int tiles = divide_up(s->pixels, rows), most = tiles;
    if (plan->dense) {
        most = most_dense_tiles(g, rows);
        choose_dense_items(info, tiles, most, plan);
    } else {
        choose_items(info, tiles, rows, kc, plan);
    }
    if (wanted->items[0] > 0) {
        s->item_tiles = wanted->items[0];
        s->item_blocks = wanted->items[1];
    }
    const long weights = weight_bytes(plan, (long)s->kh * s->kw * s->depth * plan->nr) * s->blocks;
    /* The larger operand is walked slowly, so that each of its parts is read once. */
    s->block_dim = weights > (long)s->pixels * s->in_pitch ? 1 : 0;
    if (wanted->order > 0) {
        s->block_dim = wanted->order == 1;
    }
    size_t counts[2] = {(size_t)divide_up(tiles, s->item_tiles),
                        (size_t)divide_up(s->blocks, s->item_blocks)};
    plan->range =
        s->block_dim ? CLQ_RANGE2(counts[0], counts[1]) : CLQ_RANGE2(counts[1], counts[0]);
    plan->choice.items[0] = s->item_tiles;
    plan->choice.items[1] = s->item_blocks;
    plan->choice.order = s->block_dim ? 1 : 2;
    return s->item_tiles <= tiles && s->item_tiles <= most && s->item_blocks <= s->blocks &&
           wanted->order <= 2;
}

/* Splitting pays where few activations are above 127, as behind a ReLU, in sums that are not short.
 * Pairs of steps must not straddle the panel's chunks: whole taps are pairs, or all of it fits the
 * smallest panel. */
static bool can_split(const clq_device_info *info, const clq_conv_geometry *g, int x_zero) {
    enum { LOW_ZERO_POINT = 64, SMALL_PANEL = 2048, SHORT_SUM = 64 };
    const long taps = (long)g->kh * g->kw;
    return clq_int8_vectors_of(info, CLQ_CONV_SPLIT) != NULL && x_zero < LOW_ZERO_POINT &&
           taps * (g->ic / g->groups) >= SHORT_SUM &&
           (g->ic / g->groups % 8 == 0 || taps * g->ic <= SMALL_PANEL);
}

/* On a device of the GPU schedule, where nothing else works: every item for itself. */
static void force_cpu_schedule(clq_int8_plan *plan) {
    const size_t length = strlen(plan->options);
    snprintf(plan->options + length, sizeof plan->options - length, " %s", CLQ_FORCE_CPU_SCHEDULE);
    plan->range.local[0] = plan->range.local[1] = plan->range.local[2] = 1;
}

static void use_nibbles(clq_int8_plan *plan) {
    const size_t length = strlen(plan->options);
    if (plan->nibbles) {
        plan->choice.bits = 4;
        plan->pad = 8;
        snprintf(plan->options + length, sizeof plan->options - length, " -DNIBBLES=1");
    }
}

/* Bytes that are read as they are need no panel, unless the taps, or lines of taps that lie side
 * by side, are so short that finding their pixels costs more than copying them. */
static void choose_inputs(const clq_conv_geometry *g, clq_int8_plan *plan) {
    enum { SHORT_TAP = 32, SHORT_RUN = 12 };
    plan->in_place =
        plan->step == 4 && plan->kernel == CLQ_CONV_TILE && !plan->nibbles && !plan->dense &&
        (g->kh * g->kw == 1 || plan->shape.depth >= SHORT_TAP ||
         (plan->shape.run_taps > 1 && plan->shape.run_taps * plan->shape.depth >= SHORT_RUN));
    const size_t length = strlen(plan->options);
    if (plan->in_place) {
        snprintf(plan->options + length, sizeof plan->options - length, " -DIN_PLACE=1");
    } else if (plan->dense) {
        snprintf(plan->options + length, sizeof plan->options - length, " -DDENSE=%d", g->ic);
    }
}

static bool plan_tile(const clq_device_info *info, const clq_conv_geometry *g,
                      const clq_conv_choice *wanted, clq_int8_plan *plan) {
    const clq_conv_class *class = clq_conv_class_of(info);
    const bool split = plan->kernel == CLQ_CONV_SPLIT;
    const clq_int8_vectors *vectors = clq_int8_vectors_of(info, plan->kernel);
    conv_int8 *s = &plan->shape;
    clq_register_tile t;
    if (!vectors || (split && !can_split(info, g, s->x_zero)) ||
        !choose_tile(vectors, s->pixels, g->groups == 1 ? g->oc : 4 * vectors->lanes, wanted->tile,
                     &t)) {
        return false;
    }
    int taps = g->kh * g->kw;
    plan->step = vectors->step;
    plan->element_bytes = vectors->element_bytes;
    set_groups(g, plan, t.vectors * vectors->lanes);
    int kc = class->int8.panel_bytes / (t.rows * plan->element_bytes) / 64 * 64;
    kc = kc > class->int8.max_inputs ? class->int8.max_inputs : kc;
    bool whole_rows = s->depth == s->in_pitch && g->dilation_w == 1 && taps * s->depth <= kc;
    plan->dense = can_dense(g, plan, t.rows);
    if (plan->dense) {
        s->depth = g->ic;
        plan->pad = plan->step;
    }
    s->chunk_taps = s->depth >= kc ? 1 : taps * s->depth <= kc ? taps : kc / s->depth;
    s->run_taps = whole_rows ? g->kw : 1;
    /* A word of 8 weights must not straddle the panel's chunks. */
    plan->nibbles = plan->nibbles && !split && (s->depth % 8 == 0 || taps * s->depth <= kc);
    plan->choice.tile[0] = t.rows;
    plan->choice.tile[1] = t.vectors;
    snprintf(plan->options, sizeof plan->options, "-DMR=%d -DNV=%d -DKC=%d -DDOTV_SPLIT=%d", t.rows,
             t.vectors, kc, split);
    use_nibbles(plan);
    choose_inputs(g, plan);
    const bool can = plan_items(info, g, wanted, t.rows, kc, plan);
    if (info->schedule == CLQ_SCHEDULE_GPU) {
        force_cpu_schedule(plan);
    }
    return can;
}

/* ---- Winograd's algorithm (kernels/int8/conv2d_winograd.cl) ---- */

static long winograd_tiles(const clq_conv_geometry *g) {
    return (long)g->n * divide_up(g->oh, 2) * divide_up(g->ow, 2);
}

/* Whether the shape can have it. An input channel adds up to 4 * 255 * 9 * 128 to a sum, which must
 * stay in int32. */
static bool can_winograd(const clq_device_info *info, const clq_conv_geometry *g) {
    enum { MOST_CHANNELS = INT32_MAX / (4 * 255 * 128 * 9) };
    return info->schedule == CLQ_SCHEDULE_CPU && g->kh == 3 && g->kw == 3 && g->stride_h == 1 &&
           g->stride_w == 1 && g->dilation_h == 1 && g->dilation_w == 1 && g->groups == 1 &&
           g->ic <= MOST_CHANNELS && clq_int8_vectors_of(info, CLQ_CONV_INT8_WINOGRAD) != NULL;
}

/* Whether an item's transformed input and its sums have room. */
static bool fits_winograd(const clq_int8_plan *plan, long tiles) {
    const long inputs = tiles * plan->shape.depth / plan->step + CONV_WINOGRAD_GAP;
    return CONV_WINOGRAD_POSITIONS * inputs <= CONV_WINOGRAD_INPUT &&
           CONV_WINOGRAD_POSITIONS * tiles * plan->nr <= CONV_WINOGRAD_SUMS;
}

/* What all items of item_tiles x item_blocks register tiles take on their compute units, in cycles
 * for each input channel; measured on a Zen 3, and no more than a guide elsewhere. */
static double winograd_cycles(const clq_device_info *info, const clq_int8_plan *plan, int tiles,
                              const clq_register_tile *tile, int item_tiles, int item_blocks) {
    const double transform = 2, products_rate = 25, weights_rate = 30;
    const double numbers = CONV_WINOGRAD_POSITIONS * (double)plan->nr * item_blocks;
    const int rows = item_tiles * tile->rows;
    const long items = items_of(tiles, rows, plan->shape.blocks, item_blocks);
    const long turns = (items + info->compute_units - 1) / info->compute_units;
    return (double)turns * (rows * (transform + numbers / products_rate * tile->cost) +
                            numbers * plan->element_bytes / weights_rate);
}

/* The cheapest of all ways to cut the work with the plan's tile that fit, if cheaper than *least.
 */
static bool choose_winograd_items(const clq_device_info *info, const clq_int8_plan *plan, int tiles,
                                  const clq_register_tile *tile, double *least, int items[2]) {
    bool cheaper = false;
    for (int below = 1; fits_winograd(plan, (long)below * tile->rows); below++) {
        for (int beside = plan->shape.blocks; beside > 0; beside /= 2) {
            const double cycles = winograd_cycles(info, plan, tiles, tile, below, beside);
            if (cycles < *least) {
                *least = cycles;
                items[0] = below;
                items[1] = beside;
                cheaper = true;
            }
        }
    }
    return cheaper;
}

/* Tile and items together, as `wanted` allows; false when no tile can be had. */
static bool choose_winograd(const clq_device_info *info, const clq_conv_geometry *g,
                            const clq_conv_choice *wanted, clq_int8_plan *plan) {
    const clq_int8_vectors *vectors = clq_int8_vectors_of(info, plan->kernel);
    double least = INFINITY;
    for (int i = 0; i < CLQ_MAX_TILES && vectors->tiles[i].rows > 0; i++) {
        const clq_register_tile *t = &vectors->tiles[i];
        if (!clq_allows(wanted->tile[0], t->rows) || !clq_allows(wanted->tile[1], t->vectors)) {
            continue;
        }
        set_groups(g, plan, t->vectors * vectors->lanes);
        if (choose_winograd_items(info, plan, (int)winograd_tiles(g), t, &least,
                                  plan->choice.items)) {
            plan->choice.tile[0] = t->rows;
            plan->choice.tile[1] = t->vectors;
        }
    }
    if (plan->choice.tile[0] == 0) {
        return false;
    }
    set_groups(g, plan, plan->choice.tile[1] * vectors->lanes);
    return true;
}

static bool plan_winograd(const clq_device_info *info, const clq_conv_geometry *g,
                          const clq_conv_choice *wanted, clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    const clq_conv_choice *choice = &plan->choice;
    if (!can_winograd(info, g)) {
        return false;
    }
    plan->nibbles = false;
    plan->step = clq_int8_vectors_of(info, plan->kernel)->step;
    plan->element_bytes = clq_int8_vectors_of(info, plan->kernel)->element_bytes;
    if (!choose_winograd(info, g, wanted, plan)) {
        return false;
    }
    if (wanted->items[0] > 0) {
        plan->choice.items[0] = wanted->items[0];
        plan->choice.items[1] = wanted->items[1];
    }
    s->item_tiles = choice->items[0];
    s->item_blocks = choice->items[1];
    const int rows = s->item_tiles * choice->tile[0];
    plan->range = CLQ_RANGE2((size_t)divide_up(s->blocks, s->item_blocks),
                             (size_t)divide_up((int)winograd_tiles(g), rows));
    plan->operations = 2.0 * CONV_WINOGRAD_POSITIONS * (double)winograd_tiles(g) * g->ic * g->oc;
    snprintf(plan->options, sizeof plan->options, "-DMR=%d -DNV=%d", choice->tile[0],
             choice->tile[1]);
    return fits_winograd(plan, rows) && s->item_blocks <= s->blocks && wanted->order == 0;
}

/* ---- work-groups (kernels/int8/conv2d_group.cl, conv2d_mma.cl) ---- */

/* The tile of a list, its channels as blocks and its options; NULL when it cannot be had. */
static const clq_group_tile *set_group_tile(const clq_device_info *info, const clq_conv_geometry *g,
                                            const clq_group_tiles *tiles, int wanted,
                                            clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    plan->choice.group = clq_choose_group_tile(info, tiles, wanted, (size_t)s->pixels,
                                               (size_t)(g->oc / g->groups), (size_t)g->groups);
    if (plan->choice.group == 0) {
        return NULL;
    }
    const clq_group_tile *tile = &tiles->list[plan->choice.group - 1];
    set_groups(g, plan, tile->cols);
    snprintf(plan->options, sizeof plan->options, "%s -DVEC=%d", tile->options,
             s->depth % 16 == 0 && s->in_pitch % 16 == 0 ? 4 : 1);
    return tile;
}

static bool plan_group(const clq_device_info *info, const clq_conv_geometry *g,
                       const clq_conv_choice *wanted, clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    const clq_group_tile *tile =
        set_group_tile(info, g, &clq_int8_group_tiles, wanted->group, plan);
    if (!tile) {
        return false;
    }
    const size_t side = (size_t)clq_group_side(tile);
    if (info->dot == CLQ_DOT_MMA) {
        plan->dot = CLQ_DOT_DP4A;
    }
    use_nibbles(plan);
    plan->range =
        CLQ_RANGE2((size_t)s->blocks * side, (size_t)divide_up(s->pixels, tile->rows) * side);
    plan->range.local[0] = plan->range.local[1] = side;
    plan->range.local[2] = 1;
    return true;
}

static bool plan_mma(const clq_device_info *info, const clq_conv_geometry *g,
                     const clq_conv_choice *wanted, clq_int8_plan *plan) {
    conv_int8 *s = &plan->shape;
    const clq_group_tile *tile = set_group_tile(info, g, &clq_mma_group_tiles, wanted->group, plan);
    if (!tile || info->dot != CLQ_DOT_MMA) {
        return false;
    }
    plan->step = 16;
    plan->nibbles = false;
    plan->pad = CONV_INT8_MMA_PAD;
    plan->range = CLQ_RANGE2((size_t)s->blocks * (size_t)tile->items,
                             (size_t)divide_up(s->pixels, tile->rows));
    plan->range.local[0] = (size_t)tile->items;
    plan->range.local[1] = plan->range.local[2] = 1;
    return true;
}

/* ---- depthwise (kernels/int8/conv2d_depthwise.cl) ---- */

/* Whether the CPU schedule's panel holds the windows of some outputs. */
static bool fits_panel(const clq_conv_geometry *g, const clq_int8_vectors *vectors) {
    enum { LEAST_OUTPUTS = 4 };
    const long reach = (long)(g->kw - 1) * g->dilation_w + 1;
    const int groups = divide_up(g->kh, vectors->step), widest = vectors->lanes / 4;
    return reach < DEPTHWISE_PANEL && groups < DEPTHWISE_PANEL && g->stride_w <= reach &&
           depthwise_outputs(widest, widest, groups, g->stride_w, (int)reach) >= LEAST_OUTPUTS;
}

static bool is_depthwise(const clq_device_info *info, const clq_conv_geometry *g) {
    return clq_conv_is_depthwise(g) && (info->schedule == CLQ_SCHEDULE_GPU ||
                                        fits_panel(g, clq_int8_vectors_of(info, CLQ_CONV_TILE)));
}

/* Chunks of channels and rows of outputs; the items are shares of their pairs. */
static int64_t plan_chunks(const clq_device_info *info, const clq_conv_geometry *g,
                           clq_int8_plan *plan) {
    const clq_int8_vectors *vectors = clq_int8_vectors_of(info, CLQ_CONV_TILE);
    int first;
    plan->step = vectors->step;
    plan->element_bytes = vectors->element_bytes;
    plan->by_columns = true;
    plan->pieces = vectors->lanes / 4;
    plan->nr = plan->pieces * DEPTHWISE_PIECE;
    plan->shape.blocks = g->oc / plan->nr;
    while (depthwise_chunk(g->oc, plan->pieces, plan->shape.blocks, &first) > 0) {
        plan->shape.blocks++;
    }
    return (int64_t)plan->shape.blocks * g->n * g->oh;
}

static bool plan_depthwise(const clq_device_info *info, const clq_conv_geometry *g,
                           const clq_conv_choice *wanted, clq_int8_plan *plan) {
    enum { GRAIN = 4 }; /* units that an item should have */
    conv_int8 *s = &plan->shape;
    int64_t units, items;
    if (!is_depthwise(info, g)) {
        return false;
    }
    plan->nibbles = false;
    plan->merged_groups = 1;
    s->depth = 1;
    s->group_oc = 1;
    s->group_blocks = 1;
    if (info->dot == CLQ_DOT_MMA) {
        plan->dot = CLQ_DOT_DP4A; /* no matrix product here */
    }
    if (info->schedule == CLQ_SCHEDULE_CPU) {
        units = plan_chunks(info, g, plan);
        items = (int64_t)info->compute_units * clq_conv_class_of(info)->int8.items_per_unit;
        items = items > units / GRAIN ? units / GRAIN : items;
        items = wanted->shares > 0 ? wanted->shares : items > 0 ? items : 1;
        plan->choice.shares = (int)items;
    } else {
        plan->nr = 4;
        s->blocks = divide_up(g->oc, plan->nr);
        items = units = (int64_t)s->blocks * s->pixels;
    }
    plan->range = CLQ_RANGE1((size_t)items);
    return items <= units;
}

/* ---- the choice ---- */

static void start_plan(const clq_device_info *info, const clq_conv_geometry *g, int32_t x_zero,
                       clq_int8_plan *plan) {
    *plan = (clq_int8_plan){.dot = info->dot, .step = 4, .element_bytes = 1};
    conv_int8 *s = &plan->shape;
    s->x_zero = x_zero;
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
}

/* Where multiplying less outweighs the transforms, and weights of 7 times the size. */
static bool prefers_winograd(const clq_device_info *info, const clq_conv_geometry *g) {
    enum { LEAST_CHANNELS = 32, LEAST_TILES = 16 };
    return can_winograd(info, g) && info->dot == CLQ_DOT_AVX2 && g->ic >= LEAST_CHANNELS &&
           g->oc >= LEAST_CHANNELS && winograd_tiles(g) >= LEAST_TILES;
}

static clq_conv_kernel choose_kernel(const clq_device_info *info, const clq_conv_geometry *g,
                                     const clq_int8_plan *plan) {
    if (is_depthwise(info, g)) {
        return CLQ_CONV_DEPTHWISE;
    }
    if (prefers_winograd(info, g) && !plan->nibbles) {
        return CLQ_CONV_INT8_WINOGRAD;
    }
    if (info->schedule == CLQ_SCHEDULE_CPU) {
        return can_split(info, g, plan->shape.x_zero) && !plan->nibbles ? CLQ_CONV_SPLIT
                                                                        : CLQ_CONV_TILE;
    }
    return info->dot == CLQ_DOT_MMA ? CLQ_CONV_MMA : CLQ_CONV_GROUP;
}

bool clq_int8_make_plan(const clq_device_info *info, const clq_conv_geometry *g,
                        clq_requantizer requantizer, int32_t x_zero_point, bool four_bits,
                        const clq_conv_choice *choice, clq_int8_plan *plan) {
    static const clq_conv_choice open = {0};
    const clq_conv_choice *wanted = choice ? choice : &open;
    bool cpu = info->schedule == CLQ_SCHEDULE_CPU, made = false;
    start_plan(info, g, x_zero_point, plan);
    plan->nibbles = four_bits && fits_nibbles(g) && prefers_nibbles(wanted, &plan->shape);
    plan->kernel = wanted->kernel ? wanted->kernel : choose_kernel(info, g, plan);
    plan->choice.kernel = plan->kernel;
    switch (plan->kernel) {
    case CLQ_CONV_TILE:
    case CLQ_CONV_SPLIT:
        made = (cpu || wanted->kernel == CLQ_CONV_TILE) && plan_tile(info, g, wanted, plan);
        break;
    case CLQ_CONV_INT8_WINOGRAD:
        made = plan_winograd(info, g, wanted, plan);
        break;
    case CLQ_CONV_GROUP:
        made = !cpu && plan_group(info, g, wanted, plan);
        break;
    case CLQ_CONV_MMA:
        made = !cpu && plan_mma(info, g, wanted, plan);
        break;
    case CLQ_CONV_DEPTHWISE:
        made = plan_depthwise(info, g, wanted, plan);
        break;
    default:
        break;
    }
    made = made && (wanted->bits == 0 || wanted->bits == (plan->nibbles ? 4 : 8));
    size_t length = strlen(plan->options);
    snprintf(plan->options + length, sizeof plan->options - length, " -DCLQ_REQUANT=%d",
             (int)requantizer);
    return made;
}
